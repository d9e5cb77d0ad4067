# Sourced by the other scripts: finds or installs the tools that build the host and the component.
#
# The host and the tests need Rust and a C compiler. The component needs Rust's wasm32-wasip2 target: from rustup where
# rustup can download it, else from Debian's packages. Those have nearly all of it: the standard library is compiled
# here, and the component linker comes from elsewhere.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Everything here looks into target/. A test that calls a script has the others from cargo, and the build script of ring
# looks at them: half of the host would be built anew in each of the two environments.
unset CARGO_TARGET_DIR "${!CARGO_MANIFEST_@}" "${!CARGO_PKG_@}"

say() { printf '%s\n' "sekali: $*" >&2; }
fail() { say "$*"; exit 1; }

# make_state DIRECTORY STORE: makes a directory for state, which nobody but its owner may read. As root, PostgreSQL is
# another user, which has to get through.
make_state() {
    local mode=700
    [ "$2" = sqlite ] || [ "$(id -u)" -ne 0 ] || mode=711
    [ "$1" = "$PWD/.sekali" ] || [ ! -d "$1" ] || return 0
    mkdir -p "$1"
    chmod "$mode" "$1"
}

# claim DIRECTORY: takes it into use, alone, until this shell and what it starts have ended. Adds to claimed.
claimed=()
claim() {
    local directory descriptor name user="another program"
    command -v flock >/dev/null || return 0
    exec {directory}<"$1"
    claimed+=("$directory")
    flock --nonblock "$directory" && return
    for descriptor in /proc/[0-9]*/fd/*; do
        [[ $descriptor != /proc/$$/* && $descriptor -ef $1 ]] || continue
        user=${descriptor#/proc/} user=${user%%/*}
        name=$(cat "/proc/$user/comm")
        # Of a script, and nothing behind it: an argument may be a secret.
        [ "$name" != bash ] || name=$(tr '\0' '\n' <"/proc/$user/cmdline" | sed -n 2p)
        user="process $user ($name)"
        break
    done 2>/dev/null
    fail "the directory $1 is in use by $user: end it, or name another by --state-dir"
}

# usage: the comment at the top of the script that was called.
usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "scripts/${0##*/}"; }

# asks_help ARGUMENT...: true if one of them asks how the script is used.
asks_help() { [[ " $* " == *" --help "* || " $* " == *" -h "* ]]; }

# step WHAT COMMAND...: runs a command, and says what it does and how long it took.
step() {
    local what=$1 began=$SECONDS
    shift
    say "$what"
    "$@"
    say "$what: $((SECONDS - began)) s"
}

# long_build ARTIFACT WHAT PACKAGE ARGUMENT...: cargo build, of what the package has. While the artifact is missing that
# takes minutes, and tells how far it is: by cargo's own bar in a terminal, else in a line every half minute. Otherwise
# it is done in a moment, or tells what is compiled.
long_build() {
    local artifact=$1 what=$2 package=$3 pause=30 crates=
    shift 3
    if [ -e "$artifact" ]; then
        what="${what%% (*} again" pause=3
    else
        say "building $what"
        if [ -t 2 ]; then
            cargo build "$@"
            return
        fi
        crates=" of about $(cargo tree --prefix none --edges normal,build -p "$package" 2>/dev/null | sort -u | wc -l || true)"
    fi
    mkdir -p target
    local log began=$SECONDS shown=$SECONDS
    log=$(mktemp target/build.XXXXXX)
    cargo build --verbose "$@" >"$log" 2>&1 &
    trap 'kill $! 2>/dev/null; rm -f "$log"; exit 130' INT TERM
    while kill -0 $! 2>/dev/null; do
        sleep 0.1
        [ $((SECONDS - shown)) -ge $pause ] || continue
        shown=$SECONDS pause=30
        say "building $what: $(grep -cE '^ +(Compiling|Fresh) ' "$log")$crates crates in $((SECONDS - began)) s:" \
            "$(sed -nE 's/^ *(Compiling [^ ]+|Blocking .*)( v.*)?/\1/p' "$log" | tail -n 1)"
    done
    local status=0
    wait $! || status=$?
    trap - INT TERM
    # A compiler that was killed has left no other line, which is no failure of this script.
    [ "$status" -eq 0 ] || grep -v "^ *\(Running\|Fresh\|Compiling\|Dirty\)" "$log" >&2 || true
    rm "$log"
    [ "$status" -eq 0 ] || fail "the build failed for the reason above"
}

# install_tool NAME@VERSION: a program of crates.io, in target/tools. It is compiled here: /tmp may be small.
install_tool() {
    cargo install --quiet --locked --debug --root target/tools --target-dir target/tools/build "$1"
    rm -rf target/tools/build
}

# ensure_space GIGABYTES WHAT: a full disk ends a compiler by a signal that nobody understands.
ensure_space() {
    local free
    free=$(df --output=avail --block-size=1G . | tail -n 1)
    [ "$free" -ge "$1" ] || fail "$2 needs $1 GB on this disk, and $((free)) are free: make room, or clone to another disk"
}

debian_packages=(rustc-web cargo-web rust-web-src lld-22 wasi-libc)

# install WHAT PACKAGE...: installs from Debian as root, and prints the command for others.
install() {
    local what=$1
    shift
    if ! command -v apt-get >/dev/null; then
        fail "$what is missing: install it (on Debian: apt-get install $*), then run this again"
    fi
    if [ "$(id -u)" -ne 0 ]; then
        fail "$what is missing: run 'sudo apt-get update && sudo apt-get install -y --no-install-recommends $*', then run this again"
    fi
    say "installing $what from Debian's packages (about a minute)"
    local log=target/apt.log
    mkdir -p target
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1 ||
        fail "apt-get could not install $*: see $log; with Debian 12 or newer and its security updates enabled it can"
}

# take_out PROGRAM: a server of Debian's for the tests, such as /usr/sbin/nginx, in target/nginx unless it is installed:
# taken out of its package, which would start a service. The libraries that it needs are installed.
take_out() {
    local program=$1 package=${1##*/} directory libraries
    directory=target/$package
    [ ! -x "$program" ] || return 0
    if [ ! -x "$directory$program" ]; then
        say "taking $package out of Debian's package"
        mkdir -p "$directory"
        (
            cd "$directory"
            rm -f "$package"_*.deb
            apt-get download "$package" >log 2>&1 || { apt-get update && apt-get download "$package"; } >>log 2>&1
            dpkg -x "$package"_*.deb .
        ) || fail "$package is missing, and apt-get could not download its package: see $directory/log"
    fi
    if ldd "$directory$program" | grep -q "not found"; then
        mapfile -t libraries < <(dpkg-deb --field "$directory/$package"_*.deb Depends | tr , '\n' | grep -oE '\blib[^ ]+')
        install "the libraries of $package" "${libraries[@]}"
    fi
}

ensure_native() {
    command -v cc >/dev/null || install "a C compiler" gcc libc6-dev
    command -v cargo >/dev/null || install "Rust" rustc-web cargo-web
}

ensure_sqlite() {
    command -v sqlite3 >/dev/null || install "sqlite3" sqlite3
}

ensure_lints() {
    if command -v rustup >/dev/null && ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
        say "adding rustfmt and clippy by rustup"
        rustup component add rustfmt clippy >/dev/null 2>&1 || fail "rustup cannot add them: run 'rustup component add rustfmt clippy'"
    fi
    cargo fmt --version >/dev/null 2>&1 || install "rustfmt" rustfmt-web
    cargo clippy --version >/dev/null 2>&1 || install "clippy" rust-web-clippy
}

has_wasm_target() {
    [ -d "$(rustc --print sysroot 2>/dev/null)/lib/rustlib/wasm32-wasip2/lib" ]
}

has_debian_wasm() {
    [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ] && [ -x /usr/bin/wasm-ld-22 ] && [ -d /usr/lib/wasm32-wasi ] &&
        [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/std" ]
}

ensure_wasm() {
    has_wasm_target && return
    has_debian_wasm && return
    if command -v rustup >/dev/null; then
        say "adding the wasm32-wasip2 target by rustup"
        timeout 300 rustup target add wasm32-wasip2 >/dev/null 2>&1 && return
        say "rustup cannot download it here"
    fi
    install "the wasm32-wasip2 target" "${debian_packages[@]}"
}

# Debian lacks wasm-component-ld, the last step of linking. A toolchain of rustup brings one; else it is built.
ensure_component_linker() {
    [ -x target/wasm-tools/bin/wasm-component-ld ] && return
    mkdir -p target/wasm-tools/bin
    ln -sf /usr/bin/wasm-ld-22 target/wasm-tools/bin/wasm-ld
    local rustups
    for rustups in "$(rustc --print sysroot)"/lib/rustlib/*/bin/wasm-component-ld; do
        [ -x "$rustups" ] && ln -sf "$rustups" target/wasm-tools/bin/ && return
    done
    say "building the component linker (about two minutes, once)"
    cargo install --quiet --locked --root target/wasm-tools wasm-component-ld@0.5.31
}

# Builds sekali.wasm and sekali_pages.wasm in target/wasm32-wasip2/component, or the packages in its arguments.
build_component() {
    ensure_wasm
    [ $# -gt 0 ] || set -- -p sekali -p sekali-pages
    local component=target/wasm32-wasip2/component/sekali.wasm what="the component (about two minutes the first time)"
    set -- "$@" --profile component --target wasm32-wasip2
    if has_wasm_target; then
        long_build "$component" "$what" sekali "$@"
    else
        ensure_component_linker
        (
            export PATH="$PWD/target/wasm-tools/bin:/usr/bin:$PATH" RUSTC_BOOTSTRAP=1
            export RUSTFLAGS="-L native=/usr/lib/wasm32-wasi"
            long_build "$component" "$what" sekali "$@" -Zbuild-std=std,panic_abort
        )
    fi
}

# Native programs are built as members of the whole workspace, and not as a package: else cargo chooses other features of
# the crates that they share, and compiles those again for each (features/Cargo.toml).

# All features that are for use.
all_stores=sekali-host/libsql,sekali-host/postgres
all_features=sekali-clients/stress-test,sekali-clients/tables,$all_stores

# build_program NAME WHAT PACKAGE FEATURES: builds target/release/NAME with these features, and with those that it was
# built with before: else the scripts would take them from each other, and from a service that is started again.
build_program() {
    local name=$1 what=$2 package=$3 features known=target/release/.$1.features
    features=$(printf '%s\n' "$4" $(cat "$known" 2>/dev/null || true) | tr , '\n' | sed '/^$/d' | sort -u | paste -sd, -)
    long_build "target/release/$name" "$what" "$package" --workspace --release --bin "$name" \
        ${features:+--features "$features"}
    printf '%s\n' "$features" >"$known"
}

# build_host FEATURES: builds target/release/sekali-host for SQLite, and for what the features name.
build_host() {
    build_program sekali-host "the host (about six minutes the first time, on two cores)" sekali-host "$1"
}

# build_client NAME FEATURES: builds a program of clients/.
build_client() {
    build_program "$1" "the $1 (about two minutes the first time)" sekali-clients "$2"
}

# Builds target/faults/sekali-host, which makes faults on request, and then the host for all stores: cargo builds both in
# the same place, and takes what has not changed from its cache.
build_hosts() {
    build_host "$all_stores"
    # Not optimised: it has to be built quickly, and not to run fast.
    cargo build --quiet --release --workspace --bin sekali-host --features "sekali-host/faults,$all_stores" \
        --config profile.release.package.sekali-host.opt-level=0
    rm -rf target/faults
    mkdir target/faults
    cp -p target/release/sekali-host target/release/sekali-host.d target/faults
    build_host "$all_stores"
}

# run_host DIRECTORY ARGUMENT...: runs the host in DIRECTORY, in place of this shell.
run_host() {
    local program=$PWD/target/release/sekali-host directory=$1
    shift
    ensure_native
    build_host ""
    cd "$directory"
    exec "$program" "$@"
}

# run_program NAME FEATURES DIRECTORY ARGUMENT...: runs a program of clients/ in DIRECTORY, in place of this shell.
run_program() {
    local name=$1 features=$2 program=$PWD/target/release/$1 directory=$3
    shift 3
    ensure_native
    build_client "$name" "$features"
    cd "$directory"
    exec "$program" "$@"
}
