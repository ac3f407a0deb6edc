# shellcheck shell=bash disable=SC2154,SC2120
# A daemon of our own for a test or a benchmark: state in `$work`, one portal on a free port of the loopback interface.
# Needs common.sh, `bin` and `work`. Sets `state`, `port`, `daemon` (the process) and `daemon_log`.

state=
port=
daemon=
daemon_log=

# carousel ARGUMENT...: the command line on our daemon's state.
carousel() { "$bin/carousel" "$@" --state "$state"; }

# start_daemon [OPTION...]: starts `carousel serve` (again, if it ended) and waits until it serves.
start_daemon() {
    state=${state:-$work/state}
    port=${port:-$(free_port)}
    daemon_log=$work/daemon.log
    "$bin/carousel" serve --state "$state" --portal "127.0.0.1:$port" "$@" >>"$daemon_log" 2>&1 &
    daemon=$!
    children+=("$daemon")
    if ! wait_until 15 daemon_serves; then
        say "the daemon does not serve on port $port; the end of its output:"
        tail -n 20 "$daemon_log" >&2
        return 1
    fi
}

# daemon_serves: it accepts connections and answers the command line.
daemon_serves() { is_running "$daemon" && answers "$port" && carousel status >/dev/null; }

# stop_daemon: SIGTERM; fails when it does not end by itself in 10 s.
stop_daemon() { end_process "$daemon" 10; }

# kill_daemon: SIGKILL.
kill_daemon() {
    kill -KILL "$daemon"
    wait "$daemon" 2>/dev/null || true
}

# make_disk NAME SIZE [ARGUMENT...], make_library NAME [ARGUMENT...]: what most parts start with.
make_disk() { carousel disk create "$1" --size "$2" "${@:3}" >/dev/null; }

make_library() {
    carousel library create "$1" --profile "$library_profile" --drives 2 --drive-profile "$drive_profile" \
        --slots 8 --mail-slots 2 "${@:2}" >/dev/null
}

library_profile=ibm-03584l32
drive_profile=ibm-ult3580-td8

# url NAME LUN: the address of a logical unit, as libiscsi and QEMU write it.
url() { echo "iscsi://127.0.0.1:$port/$(iqn "$1")/$2"; }
iqn() { echo "iqn.2026-11.dev.carousel:$1"; }

# resident_kilobytes, open_files: what the daemon holds now.
resident_kilobytes() { awk '/^VmRSS:/ { print $2 }' "/proc/$daemon/status"; }
open_files() { find "/proc/$daemon/fd" -mindepth 1 2>/dev/null | wc -l; }
