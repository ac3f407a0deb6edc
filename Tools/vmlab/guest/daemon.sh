# shellcheck shell=bash
# The daemon of a guest script: /host has the program `carousel`. Read it with ". /lab/daemon.sh" after lib.sh. A script
# with a daemon ends with "finish_with_daemon".

state=/tmp/state
# shellcheck disable=SC2034  # for the script that reads it
portal=127.0.0.1:3260 prefix=iqn.2026-11.dev.carousel
daemon=

# carousel ARGUMENT...: the command line on our daemon's state.
carousel() { /tmp/carousel "$@" --state $state; }

# start_daemon [OPTION...]: `carousel serve` (again, if it has ended), until it listens and answers. Portals are kept:
# they are named the first time only.
start_daemon() {
    [ -x /tmp/carousel ] || install -m 755 /host/carousel /tmp/carousel
    /tmp/carousel serve --state $state "$@" >>/tmp/daemon.log 2>&1 &
    daemon=$!
    wait_for 30 listens 3260 && wait_for 10 carousel status
}

# stop_daemon: SIGTERM; its exit status.
stop_daemon() {
    kill -TERM "$daemon"
    wait "$daemon"
}

# kill_daemon: SIGKILL.
kill_daemon() {
    kill -KILL "$daemon"
    wait "$daemon" 2>/dev/null
    return 0
}

# image NAME: the file that is the disk's medium.
image() { carousel disk show "$1" --json | jq -r .status.image; }

# finish_with_daemon: like finish, with what the daemon and the kernel have said when something has failed.
finish_with_daemon() {
    # shellcheck disable=SC2154  # counted by lib.sh
    if [ "$failed" -gt 0 ]; then
        step "the daemon's output, and the kernel's last words"
        tail -n 40 /tmp/daemon.log
        dmesg | tail -n 40
    fi
    finish
}
