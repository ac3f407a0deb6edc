# shellcheck shell=bash disable=SC2154
# The iSCSI front end against the kernel's initiator: negotiated lengths, digests, CHAP, two paths with one that dies,
# drain of a portal and a restart of the daemon, each under writes that are read back and compared. /host has the
# program `carousel`. Each topic is a function; the list of them is at the end of the file.
. /lab/lib.sh
. /lab/daemon.sh

second=10.99.0.1:3260
target=$prefix:disk

set_up() {
    step "daemon and disk"
    head -c 24M /dev/urandom >/tmp/random
    check "a second address" second_address 10.99.0.1
    check "the daemon starts on two portals" start_daemon --portal "$portal" --portal $second || return
    check "a disk is created" carousel disk create disk --size 64MiB
    check "it is open to those who come by the second address" carousel target access disk open --open
    check "iscsid starts" start_iscsid
    check "discovery" discover "$portal"
}

# set_node NAME VALUE...: settings of the node record at the first portal.
set_node() {
    while [ $# -gt 0 ]; do
        iscsiadm -m node -T "$target" -p "$portal" -o update -n "$1" -v "$2" || return
        shift 2
    done
}

# negotiated NAME: what the session agreed on.
negotiated() { iscsiadm -m session -P 2 | sed -n "s/^[[:space:]]*$1: //p" | head -n 1; }

# log_in, log_out: the first portal; log_in sets `disk`.
log_in() {
    iscsiadm -m node -T "$target" -p "$portal" --login && wait_for 15 device 0 block && disk=$(device 0 block) &&
        wait_for 5 test -b "$disk"
}

log_out() { iscsiadm -m node -T "$target" -p "${1:-$portal}" --logout && wait_for 10 sh -c "! test -e '$disk'"; }

# compare_writes DEVICE [SIZE]: writes of SIZE past the page cache, then reads, are the same.
compare_writes() {
    dd if=/tmp/random of="$1" bs="${2:-1M}" oflag=direct status=none &&
        dd if="$1" bs="${2:-1M}" count=$((24 * 1024 * 1024)) iflag=direct,count_bytes,fullblock status=none |
        cmp - /tmp/random
}

# --- Topics -----------------------------------------------------------------------------------------------

# lengths: InitialR2T and ImmediateData in all combinations, with small, middle and large limits.
lengths() {
    step "negotiated lengths"
    local r2t immediate burst first receive
    for r2t in Yes No; do
        for immediate in Yes No; do
            while read -r burst first receive; do
                check "settings" set_node node.session.iscsi.InitialR2T $r2t \
                    node.session.iscsi.ImmediateData $immediate node.session.iscsi.MaxBurstLength "$burst" \
                    node.session.iscsi.FirstBurstLength "$first" \
                    'node.conn[0].iscsi.MaxRecvDataSegmentLength' "$receive"
                check "login: InitialR2T=$r2t ImmediateData=$immediate burst $burst first $first receive $receive" \
                    log_in || continue
                expect "InitialR2T" $r2t "$(negotiated InitialR2T)"
                expect "ImmediateData" $immediate "$(negotiated ImmediateData)"
                check "MaxBurstLength is at most $burst" test "$(negotiated MaxBurstLength)" -le "$burst"
                expect "MaxRecvDataSegmentLength" "$receive" "$(negotiated MaxRecvDataSegmentLength)"
                check "writes and reads are the same" compare_writes "$disk"
                check "and in small pieces" disk_raw_test "$disk" 1
                check "logout" log_out
            done <<LENGTHS
4096 4096 4096
65536 16384 131072
16776192 16776192 16776192
LENGTHS
        done
    done
    set_node node.session.iscsi.InitialR2T No node.session.iscsi.ImmediateData Yes \
        node.session.iscsi.MaxBurstLength 16776192 node.session.iscsi.FirstBurstLength 262144 \
        'node.conn[0].iscsi.MaxRecvDataSegmentLength' 262144
}

digests() {
    step "digests"
    local header data
    while read -r header data; do
        check "settings" set_node 'node.conn[0].iscsi.HeaderDigest' "$header" 'node.conn[0].iscsi.DataDigest' "$data"
        check "login: HeaderDigest $header, DataDigest $data" log_in || continue
        expect "HeaderDigest" "${header%%,*}" "$(negotiated HeaderDigest)"
        expect "DataDigest" "${data%%,*}" "$(negotiated DataDigest)"
        check "writes and reads are the same" compare_writes "$disk"
        check "logout" log_out
    done <<DIGESTS
CRC32C None
None CRC32C
CRC32C CRC32C
CRC32C,None None,CRC32C
DIGESTS
    set_node 'node.conn[0].iscsi.HeaderDigest' None 'node.conn[0].iscsi.DataDigest' None
}

# set_secrets ALGORITHM: the daemon asks for `host`, and proves itself as `target`, by that algorithm only. The secrets
# are set with the first, md5.
set_secrets() {
    [ "$1" != md5 ] || {
        echo "initiators secret" | carousel chap create target:disk host --secret-file - &&
            echo "the target's own" | carousel chap create target:disk target --secret-file - --mutual
    } && carousel chap allow target:disk "$1"
}

# set_chap ALGORITHMS SECRET [TARGET_SECRET]: how the initiator proves itself, and what it expects of the target.
set_chap() {
    set_node node.session.auth.authmethod CHAP node.session.auth.chap_algs "$1" \
        node.session.auth.username host node.session.auth.password "$2" \
        node.session.auth.username_in "${3:+target}" node.session.auth.password_in "$3"
}

# discover_chap SECRET: discovery by `finder`.
discover_chap() {
    iscsiadm -m discoverydb -t sendtargets -p "$portal" -o new >/dev/null
    iscsiadm -m discoverydb -t sendtargets -p "$portal" -o update -n discovery.sendtargets.auth.authmethod -v CHAP \
        -n discovery.sendtargets.auth.username -v finder -n discovery.sendtargets.auth.password -v "$1" &&
        iscsiadm -m discoverydb -t sendtargets -p "$portal" --discover
}

chap() {
    step "CHAP"
    local ours theirs
    while read -r ours theirs; do
        check "secrets with $ours" set_secrets "$ours"
        check "settings" set_chap "$theirs" "initiators secret"
        check "login with $theirs" log_in || continue
        check "writes and reads are the same" compare_writes "$disk"
        check "logout" log_out
        check "settings" set_chap "$theirs" "initiators secret" "the target's own"
        check "login in both directions" log_in && check "logout" log_out
        check "settings" set_chap "$theirs" "initiators secret" "not the target's"
        refuse "a target with another secret is not trusted" log_in
        check "settings" set_chap "$theirs" "another's secret"
        refuse "another secret is refused" log_in
    done <<ALGORITHMS
md5 MD5
sha1 SHA1
sha-256 SHA256
sha3-256 SHA3-256
ALGORITHMS
    check "settings" set_chap MD5 "initiators secret"
    refuse "an algorithm that is not allowed is refused" log_in
    check "the target forgets" carousel chap waive target:disk --open
    check "settings" set_node node.session.auth.authmethod None
    check "login without" log_in && check "logout" log_out
    check "a secret for discovery" sh -c "echo 'finders secret' | /tmp/carousel chap create discovery finder \
        --secret-file - --state $state"
    refuse "discovery without it is refused" discover "$portal"
    show "discovery with it" discover_chap "finders secret"
    refuse "discovery with another is refused" discover_chap "another's secret"
    check "discovery for all" carousel chap waive discovery --open
    check "no secret is in the log" sh -c "! grep -q secret /tmp/daemon.log"
    iscsiadm -m discoverydb -t sendtargets -p "$portal" -o delete >/dev/null 2>&1
    check "discovery" discover "$portal"
}

# two_paths: sets `map`, the multipath device over both portals.
two_paths() {
    start_multipath '^vd' "path_grouping_policy multibus" && discover "$portal" && discover $second &&
        notice_lost_paths "$target" &&
        iscsiadm -m node -T "$target" --login && wait_for 20 sessions_are 2 && wait_for 30 paths active 2 &&
        map=/dev/mapper/mpatha && wait_for 10 test -b "$map"
}

multipath_io() {
    step "two paths, one of which dies"
    check "two sessions, one multipath device" two_paths || { multipathd show paths; multipath -ll -v3; return; }
    show "multipath -ll" multipath -ll
    check "writes and reads are the same" compare_writes "$map"
    check "writes begin" begin_writes "$map"
    check "the second address vanishes" ip address delete 10.99.0.1/32 dev second
    check "its path fails" wait_for 30 paths failed 1
    check "the writes go on" wrote_more 3
    check "the second address comes back" ip address add 10.99.0.1/32 dev second
    check "its path comes back" wait_for 60 paths active 2
    check "the writes go on" wrote_more 3
    check "no write has failed and the last are there" end_writes
}

# connections PORTAL: how many there are through it, as the daemon says.
connections() { carousel portal list --json | jq ".items[] | select(.name == \"$1\") | .status.connections"; }

# is_left PORTAL: nobody is on it.
is_left() { [ "$(connections "$1")" -eq 0 ]; }

# drain: a portal asks its initiator to leave, which is sent to the other portal when it logs in again.
drain() {
    step "drain of a portal"
    check "writes begin" begin_writes "$map"
    check "the second portal is drained" carousel portal drain $second --seconds 5
    check "nobody is left on it" wait_for 30 is_left $second
    check "the writes go on" wrote_more 3
    check "its session has gone over to the other" wait_for 30 sessions_are 2
    expect "connections of the other portal" 2 "$(connections "$portal")"
    check "two paths" wait_for 60 paths active 2
    show "portals" carousel portal list
    check "it takes logins again" carousel portal resume $second
    check "the writes go on" wrote_more 3
    check "no write has failed and the last are there" end_writes
    check "the map is flushed" multipath -F
    check "logout of both" iscsiadm -m node -T "$target" --logout
}

# restart: the daemon goes and comes back under writes of one session, which is recovered.
restart() {
    step "restart under writes"
    iscsiadm -m node -T "$target" -o update -n node.session.timeo.replacement_timeout -v 60
    multipathd shutdown 2>/dev/null
    wait_for 10 sessions_are 0
    check "login" log_in || return
    check "writes begin" begin_writes "$disk"
    check "the daemon ends on SIGTERM with status 0" stop_daemon
    check "the daemon starts again" start_daemon || return
    check "the session comes back" wait_for 60 sessions_are 1
    check "the writes go on" wrote_more 3
    kill_daemon
    check "the daemon starts again after SIGKILL" start_daemon || return
    check "the session comes back" wait_for 60 sessions_are 1
    check "the writes go on" wrote_more 3
    check "no write has failed and the last are there" end_writes
    check "logout" log_out
}

if [ $# -eq 0 ]; then set -- lengths digests chap multipath_io drain restart; fi
set_up
for topic in "$@"; do $topic; done
check "the daemon ends on SIGTERM with status 0" stop_daemon
finish_with_daemon
