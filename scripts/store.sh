# Sourced by backup and restore: the files of the store, and the check of a copy.

# find_store DIR: the file of the events in a directory of stores, also where the host chose its name.
find_store() {
    if [ ! -f "$1/events.db" ] && [ -f "$1/sqlite_db.db" ]; then
        echo "$1/sqlite_db.db"
    else
        echo "$1/events.db"
    fi
}

# query DATABASE STATEMENT...: read-only, so that a database that is moved away meanwhile is not made anew. The wait is
# for the moment in which the log is recovered after a crash.
query() { sqlite3 -readonly -bail -batch -cmd ".timeout 10000" "$@"; }

# verify COPY: its integrity and its books. Prints the number of its events and its last seq.
verify() {
    local found readable books
    found=$(query "$1" "pragma integrity_check(3)") || fail "the copy cannot be read, so the database may be damaged"
    [ "$found" = ok ] || fail "the copy is damaged, so the database may be: $found"
    readable="select count(*) from events" counted="unique_processed"
    # Since schema 27, rows stay of events that are gone.
    if [ "$(query "$1" "select count(*) from pragma_table_info('events') where name = 'gone'")" = 1 ]; then
        readable+=" where gone is null" counted="unique_processed - expired - erased"
    fi
    books=$(query -separator ' ' "$1" "select ($readable), coalesce(sum($counted), 0),
        (select coalesce(max(seq), 0) from events) from topics") || fail "it is no database of Sekali's: name another"
    set -- $books
    [ "$1" = "$2" ] || fail "the copy holds $1 events, and $2 were counted: it is not kept"
    echo "$1 $3"
}
