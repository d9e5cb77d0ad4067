# Sourced by the other scripts: a PostgreSQL server of Debian's package, with its state in a directory.

# The programs of the newest version: Debian has no directory of PATH with the server.
postgres_programs() {
    local programs=
    for programs in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V); do :; done
    printf %s "$programs"
}

has_postgres() {
    [ -x "$(postgres_programs)/postgres" ]
}

ensure_postgres() {
    has_postgres || install "PostgreSQL" postgresql
    has_postgres || fail "PostgreSQL's server is missing: install Debian's package postgresql, then run this again"
}

# as_owner DIRECTORY COMMAND...: runs a command as the user of a directory's state. PostgreSQL refuses to be root's.
as_owner() {
    local directory=$1
    shift
    if [ "$(id -u)" -eq 0 ]; then
        (cd "$directory" && setpriv --reuid=postgres --regid=postgres --clear-groups "$@")
    else
        "$@"
    fi
}

# free_port FROM: the first port from there on that nobody listens on.
free_port() {
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    printf %s "$port"
}

# start_postgres DIRECTORY [SETTING...]: starts the server whose state is there, and makes the state if there is none.
# Sets postgres_port and postgres_url.
start_postgres() {
    local directory=$1 programs password setting options
    shift
    programs=$(postgres_programs)
    mkdir -p "$directory"
    chmod 700 "$directory"
    [ "$(id -u)" -ne 0 ] || chown postgres:postgres "$directory"
    as_owner "$directory" test -w "$directory" ||
        fail "PostgreSQL's user cannot reach $directory: keep the state where it can, with --state-dir"
    if [ ! -e "$directory/data/PG_VERSION" ]; then
        say "making a database in $directory"
        password=$(head -c 24 /dev/urandom | base64 | tr -d '/+=\n')
        (umask 077 && printf '%s\n' "$password" >"$directory/password")
        [ "$(id -u)" -ne 0 ] || chown postgres:postgres "$directory/password"
        as_owner "$directory" "$programs/initdb" --pgdata "$directory/data" --username sekali --pwfile "$directory/password" \
            --auth=scram-sha-256 --locale=C --encoding=UTF8 >"$directory/initdb.log" 2>&1 ||
            fail "the database could not be made: $directory/initdb.log says why; remove $directory, then run this again"
    fi
    # One that lives on behind a script that was killed. Nobody else uses it: the directory is claimed.
    if as_owner "$directory" "$programs/pg_ctl" --pgdata "$directory/data" status >/dev/null; then
        say "ending the PostgreSQL of $directory, which was left running"
        stop_postgres "$directory"
    fi
    password=$(cat "$directory/password")
    postgres_port=$(free_port "${postgres_port:-54320}")
    options="-p $postgres_port -k $directory -c listen_addresses=127.0.0.1"
    for setting in "$@"; do options+=" -c $setting"; done
    (
        # The server lives on behind a script that is killed, and must not keep the directory claimed.
        for descriptor in "${claimed[@]}"; do exec {descriptor}<&-; done
        as_owner "$directory" "$programs/pg_ctl" --pgdata "$directory/data" --log "$directory/log" --options "$options" \
            --wait start >/dev/null
    ) || fail "PostgreSQL did not start: $directory/log says why"
    postgres_url="postgres://sekali:$password@127.0.0.1:$postgres_port/postgres?sslmode=disable"
}

# use_database DIRECTORY: the variables of the component for the database of DATABASE_URL, or else for a server whose
# state is in DIRECTORY, and which is started. The directory is claimed. Sets own_postgres to the directory then.
use_database() {
    local servers
    own_postgres=
    if [ -z "${DATABASE_URL:-}" ]; then
        ensure_postgres
        mkdir -p "$1"
        claim "$1"
        start_postgres "$1"
        own_postgres=$1
        say "PostgreSQL serves on 127.0.0.1:$postgres_port, with its state in $own_postgres"
        DATABASE_URL=$postgres_url
    fi
    mapfile -t servers < <(database_hosts "$DATABASE_URL")
    export SPIN_VARIABLE_DATABASE_URL=$DATABASE_URL
    export SPIN_VARIABLE_DATABASE_HOST=${servers[0]} SPIN_VARIABLE_DATABASE_STANDBY_HOST=${servers[1]:-${servers[0]}}
}

# stop_postgres DIRECTORY [MODE]: stops the server whose state is there, fast unless another mode is given.
stop_postgres() {
    as_owner "$1" "$(postgres_programs)/pg_ctl" --pgdata "$1/data" --mode "${2:-fast}" --wait stop >/dev/null
}

# database_hosts URL: the servers that a database URL names, as host:port, one a line.
database_hosts() {
    local hosts=${1#*://} host
    hosts=${hosts%%[/?]*}
    hosts=${hosts##*@}
    for host in ${hosts//,/ }; do
        case $host in
            *:*) printf '%s\n' "$host" ;;
            *) printf '%s:5432\n' "$host" ;;
        esac
    done
}
