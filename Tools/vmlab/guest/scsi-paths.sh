# shellcheck shell=bash disable=SC2154
# dm-multipath by access states (ALUA), under verified writes: part of scsi.sh.

second_portal=10.99.0.1:3260

# path PORTAL: the disk of the session through it.
path() {
    local session
    for session in /sys/class/iscsi_session/session*; do
        [ "$(cat "$session/targetname")" = "$prefix:paths" ] || continue
        [ "$(cat /sys/class/iscsi_connection/connection"${session##*session}":0/persistent_address)" = "${1%:*}" ] ||
            continue
        basename "$session"/device/target*/*:0/block/*
    done
}

# priority DISK WANTED: multipathd has that priority for the path.
priority() { [ "$(multipathd show paths raw format '%d %p' | awk -v path="$1" '$1 == path { print $2 }')" = "$2" ]; }

# requests DISK: how many reads and writes the kernel has sent by that path.
requests() { awk '{ print $1 + $5 }' "/sys/block/$1/stat"; }

# only_by DISK OTHER: while more is written, requests go by the first path and none by the other. (Those that were under
# way when the paths were switched have ended by then: a round has.)
only_by() {
    local used idle
    wrote_more 1 || return
    used=$(requests "$1") idle=$(requests "$2")
    wrote_more 2 || return
    used=$(($(requests "$1") - used)) idle=$(($(requests "$2") - idle))
    echo "$1: $used requests, $2: $idle"
    if [ "$used" -eq 0 ] || [ "$idle" -gt 0 ]; then
        look
        return 1
    fi
}

# look: how things stand, for those who look for a fault.
look() {
    local disk
    carousel alua show paths
    multipath -ll
    for disk in /sys/block/sd*; do echo "${disk##*/}: $(cat "$disk/device/access_state" 2>&1)"; done
    dmesg | tail -n 60
}

# set_state GROUP STATE [OPTION...]: the operator does.
set_state() { carousel alua set paths "$@"; }

# is_set GROUP STATE BY: the daemon says that the group is in the state, in no transition, and by whom.
is_set() {
    carousel alua show paths --json | jq -e ".status.groups[] | select(.group == $1) |
        .state == \"$2\" and .changedBy == \"$3\" and (.isTransitioning | not)"
}

# is_in_transition DISK: REPORT TARGET PORT GROUPS by that path says so of a group.
is_in_transition() { sg_rtpg -d "$(generic "/dev/$1")" | grep -q 'access state : 0x0f'; }

# access_state DISK STATE: what the kernel's device handler has learned.
access_state() { [ "$(cat "/sys/block/$1/device/access_state")" = "$2" ]; }

access_states() {
    local a b map=/dev/mapper/mpatha
    step "two paths by their access states"
    check "a portal in a group of its own" carousel portal create $second_portal --portal-group 2
    check "a disk is created" carousel disk create paths --size 64MiB
    check "it is open to those who come by the second address" carousel target access paths open --open
    # The two initiators of the other disk are no two paths to it.
    check "multipathd" start_multipath "^(vd|${first##*/}\$|${second##*/}\$)" \
        "path_grouping_policy group_by_prio" "detect_prio no" "prio alua" "failback immediate"
    check "discovery" iscsiadm -m discovery -t sendtargets -p "$portal" -I default
    check "a node of each portal" sh -c "iscsiadm -m node | grep -c $prefix:paths | grep -qx 2"
    check "time-outs" notice_lost_paths "$prefix:paths"
    check "login by both" iscsiadm -m node -T "$prefix:paths" -I default --login
    check "two paths" wait_for 30 two_of_one || { multipath -ll; multipathd show paths; return; }
    a=$(path "$portal") b=$(path $second_portal)
    map=/dev/mapper/$(multipathd show maps raw format '%n %N' | head -n 1 | cut -d ' ' -f 1)
    check "the map is a block device" wait_for 10 test -b "$map"
    check "the first path has priority 50" wait_for 30 priority "$a" 50
    check "so has the second" wait_for 30 priority "$b" 50
    show "multipath -ll" multipath -ll
    check "writes begin" begin_writes "$map"

    check "the second group becomes active/non-optimized" set_state 2 active/non-optimized
    check "the second path has priority 10" wait_for 30 priority "$b" 10
    check "the first keeps 50" priority "$a" 50
    show "writes go by the first only" only_by "$a" "$b"

    # With explicit ALUA the kernel asks for active/optimized where it uses a path that is not: not before it has to.
    check "the other way round" set_state 2 active/optimized
    check "the second path has priority 50 again" wait_for 30 priority "$b" 50
    check "the first group becomes active/non-optimized" set_state 1 active/non-optimized
    check "the first path has priority 10" wait_for 30 priority "$a" 10
    show "writes go by the second only" only_by "$b" "$a"
    check "the first group goes to standby" set_state 1 standby
    check "the first path has priority 1" wait_for 30 priority "$a" 1
    check "the kernel knows its state" wait_for 30 access_state "$a" standby
    show "writes go by the second only" only_by "$b" "$a"

    check "the second address vanishes" ip address delete 10.99.0.1/32 dev second
    check "its path fails" wait_for 60 paths failed 1
    check "the kernel has the first group become active/optimized" wait_for 60 is_set 1 active/optimized "an initiator"
    check "the writes go on" wrote_more 2
    check "the second address comes back" ip address add 10.99.0.1/32 dev second
    check "its path comes back" wait_for 60 paths active 2
    check "the first path has priority 50" wait_for 30 priority "$a" 50
    check "so has the second" wait_for 30 priority "$b" 50

    check "the first group becomes active/non-optimized" set_state 1 active/non-optimized
    check "the first path has priority 10" wait_for 30 priority "$a" 10
    check "it goes to standby" set_state 1 standby
    check "the first path has priority 1" wait_for 30 priority "$a" 1
    # Long enough to be seen on a machine that is busy.
    check "it comes back in a transition of 25 s" set_state 1 active/optimized --transition 25
    check "it is in transition" is_in_transition "$b"
    check "the writes go on meanwhile" wrote_more 1
    check "it is there" wait_for 60 is_set 1 active/optimized "the operator"
    check "the first path has priority 50 again" wait_for 30 priority "$a" 50
    check "the second becomes unavailable, in a transition of 4 s under its own writes" \
        set_state 2 unavailable --transition 4
    check "it is there" wait_for 30 is_set 2 unavailable "the operator"
    check "the second path fails" wait_for 30 paths failed 1
    show "writes go by the first only" only_by "$a" "$b"

    check "an initiator has the second become active/optimized, by the first path" \
        sg_stpg --tp=2 --state=0 "$(generic "/dev/$a")"
    check "it is, after its transition" wait_for 30 is_set 2 active/optimized "an initiator"
    check "two paths are well" wait_for 60 paths active 2
    check "the second path has priority 50" wait_for 60 priority "$b" 50
    check "the first is preferred, and active/optimized" set_state 1 active/optimized --preferred
    check "both are used by their states" wait_for 30 priority "$a" 50
    check "two paths are well" wait_for 60 paths active 2

    check "no write has failed, and all was read as it was written" end_writes
    check "the kernel has seen no I/O error on the map" sh -c \
        "! dmesg | grep -E 'I/O error, dev dm-|Buffer I/O error|lost async page write'"
    check "the map is flushed" wait_for 10 multipath -F
    check "logout of both" iscsiadm -m node -T "$prefix:paths" -I default --logout
}

two_of_one() { sessions_to_paths && paths active 2; }
sessions_to_paths() { [ "$(grep -lx "$prefix:paths" /sys/class/iscsi_session/*/targetname | wc -l)" -eq 2 ]; }
