# shellcheck shell=bash
# What the scripts of Tools/ share: messages, packages, the build, temporary folders and child processes.
# Read it with:  . "$(dirname "$(readlink -f "$0")")/lib/common.sh"
#
# Environment:
#   CAROUSEL_BIN   a folder that has `carousel` and `carousel-bench` already; nothing is built then

set -euo pipefail

tools=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
root=$(dirname "$tools")

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# help_from_header "$@": when the first argument is --help, prints the comment at the top of the script and ends.
help_from_header() {
    case ${1:-} in
        -h | --help)
            sed -n '2,/^[^#]/{/^#/!d;s/^# \{0,1\}//;p}' "$0"
            exit 0
            ;;
    esac
}

# --- Packages ---------------------------------------------------------------------------------------

# packages_of GROUP...: the names Tools/packages lists under [GROUP].
packages_of() {
    local group
    for group in "$@"; do
        awk -v group="[$group]" '/^\[/ { inside = $1 == group; next } { sub(/#.*/, "") } inside && NF { print $1 }' \
            "$tools/packages"
    done | sort -u
}

# missing_packages GROUP...: those of them that are not installed.
missing_packages() {
    local package
    command -v dpkg-query >/dev/null || return 0 # not Debian: whoever runs this brings the programs
    for package in $(packages_of "$@"); do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
    done
}

# install_packages GROUP...: installs what is missing, as root or through sudo.
install_packages() {
    local missing as_root=()
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        may_use_sudo ||
            die "Debian packages are missing that this user cannot install (neither root nor sudo): ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# may_use_sudo: without a password, or with one that can be asked for.
may_use_sudo() {
    command -v sudo >/dev/null || return 1
    sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }
}

# --- Build ------------------------------------------------------------------------------------------

# find_swift: puts the toolchain in PATH if it is not there.
find_swift() {
    command -v swift >/dev/null && return 0
    local folder
    for folder in /opt/swift/usr/bin "$HOME/.local/share/swiftly/bin"; do
        if [ -x "$folder/swift" ]; then
            PATH=$folder:$PATH
            return 0
        fi
    done
    die "no Swift toolchain in PATH or /opt/swift; install Swift 6.3 from https://www.swift.org/install/linux/"
}

# build_release PRODUCT...: builds the executables for release, with Swift's own libraries inside, and sets `bin` to the
# folder they are in. There they are without symbols, which are in PRODUCT.debug beside them, where debuggers and perf
# find them.
build_release() {
    if [ -n "${CAROUSEL_BIN:-}" ]; then
        bin=$(readlink -f "$CAROUSEL_BIN")
        return 0
    fi
    local product built
    install_packages build
    find_swift
    bin=$root/.build/bin
    mkdir -p "$bin"
    for product in "$@"; do
        say "building $product"
        swift build --package-path "$root" -c release --static-swift-stdlib --product "$product" >&2
        built=$(swift build --package-path "$root" -c release --static-swift-stdlib --show-bin-path)/$product
        # Under another name first: the old one may run, and a script that is interrupted leaves no half.
        if [ ! "$bin/$product" -nt "$built" ]; then
            objcopy --only-keep-debug "$built" "$bin/$product.debug"
            objcopy --strip-all --add-gnu-debuglink="$bin/$product.debug" "$built" "$bin/$product.new"
            mv "$bin/$product.new" "$bin/$product"
        fi
    done
}

# --- Temporary folder and child processes -----------------------------------------------------------

work=
children=()

# make_work_folder: sets `work` to a new folder that goes away with the script, after its child processes.
make_work_folder() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/carousel.XXXXXX")
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

clean_up() {
    local pid folder
    for pid in "${children[@]}"; do end_process "$pid" || true; done
    [ -n "$work" ] || return 0
    for folder in "$work"/*/; do
        ! mountpoint -q "$folder" || umount "$folder" || return 0
    done
    rm -rf "$work"
}

# end_process PID [SECONDS]: ends a child process with SIGTERM, and with SIGKILL when it is still there after the time.
# Fails in the latter case.
end_process() {
    local pid=$1 tries=$((${2:-10} * 20))
    is_running "$pid" || return 0
    kill -TERM "$pid"
    while is_running "$pid"; do
        tries=$((tries - 1))
        if [ $tries -le 0 ]; then
            kill -KILL "$pid" 2>/dev/null || true
            wait "$pid" 2>/dev/null || true
            return 1
        fi
        sleep 0.05
    done
    wait "$pid" 2>/dev/null || true
}

# is_running PID: it is a child of this script that has not ended. (The number of one that has may belong to another
# process.)
is_running() {
    [ -r "/proc/$1/status" ] &&
        awk -v parent=$$ '/^State:/ { ended = $2 == "Z" } /^PPid:/ { exit !($2 == parent && !ended) }' \
            "/proc/$1/status" 2>/dev/null
}

# wait_until SECONDS COMMAND...: until the command succeeds; fails when it has not within the time.
wait_until() {
    local tries=$(($1 * 20))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.05
    done
}

# --- Network ----------------------------------------------------------------------------------------

# free_port: a TCP port nobody listens on, below the range the kernel gives out by itself.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)); do
        port_is_used "$port" || break
    done
    echo "$port"
}

port_is_used() {
    local hex
    printf -v hex ':%04X ' "$1"
    grep -qs "$hex" /proc/net/tcp /proc/net/tcp6
}

# answers PORT: something accepts connections there.
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
