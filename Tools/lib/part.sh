# shellcheck shell=bash
# What every part of Tools/test (the scripts in Tools/tests) begins with:
#
#   . "$(dirname "$(readlink -f "$0")")/../lib/part.sh"
#   begin_part "$@"
#
# It ends with `finish`, whose line "NAME: 3 passed, 0 failed, 1 skipped" Tools/test reads.

. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
. "$tools/lib/daemon.sh"

# begin_part "$@": help, packages, the build, a temporary folder.
begin_part() {
    help_from_header "$@"
    install_packages run test
    build_release carousel carousel-bench
    make_work_folder
}

passed=0
failed=0
skipped=0

pass() {
    passed=$((passed + 1))
    printf '  ok    %s\n' "$1"
}

fail() {
    failed=$((failed + 1))
    printf '  FAIL  %s\n' "$1"
}

skip() {
    skipped=$((skipped + 1))
    printf '  skip  %s\n' "$1"
}

# check WHAT COMMAND...: passes when the command succeeds; shows its output when it does not. The command runs in this
# shell, so a function may set variables.
check() {
    local check_status=0
    "${@:2}" >"$work/check.output" 2>&1 || check_status=$?
    if [ $check_status -eq 0 ]; then
        pass "$1"
    else
        fail "$1 (status $check_status)"
        tail -n 30 "$work/check.output" | sed 's/^/        /'
    fi
}

# expect WHAT WANTED GOT: passes when the two texts are the same.
expect() {
    if [ "$2" = "$3" ]; then pass "$1"; else fail "$1: expected \"$2\", got \"$3\""; fi
}

# skip_part WHY: the whole part cannot run here.
skip_part() {
    skip "$1"
    finish
}

# check_refused WHAT COMMAND...: passes when the command fails.
check_refused() {
    local what=$1
    shift
    if "$@" >/dev/null 2>&1; then fail "$what: it should have failed"; else pass "$what"; fi
}

finish() {
    printf '%s: %d passed, %d failed, %d skipped\n' "${0##*/}" "$passed" "$failed" "$skipped"
    [ "$failed" -eq 0 ]
    exit
}
