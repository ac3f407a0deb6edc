# shellcheck shell=bash
# SCSI commands of sg3_utils from two initiators of the kernel: reservations, a fence under writes, and what the units
# say of themselves. /host has the program `carousel`. Each topic is a function; the list of them is at the end of the
# file.
. /lab/lib.sh

state=/tmp/state
portal=127.0.0.1:3260
prefix=iqn.2026-11.dev.carousel

carousel() { /tmp/carousel "$@" --state $state; }

set_up() {
    step "daemon, two initiators"
    install -m 755 /host/carousel /tmp/carousel
    /tmp/carousel serve --state $state --portal $portal >>/tmp/daemon.log 2>&1 &
    daemon=$!
    check "the daemon starts" wait_for 20 listens 3260 || return
    check "it answers" wait_for 10 carousel status
    check "a disk is created" carousel disk create disk --size 64MiB
    check "a library is created" carousel library create library --profile ibm-03584l32 --drives 1 \
        --drive-profile ibm-ult3580-td8 --slots 4 --mail-slots 1 --cartridges 2 --cartridge-size 64MiB
    check "iscsid starts" start_iscsid
    check "another initiator" another_initiator
    log_in_both disk && read -r first second < <(nodes block 0) &&
        read -r first_generic second_generic < <(nodes scsi_generic 0)
    log_in_both library
    read -r tape_first tape_second < <(nodes scsi_generic 1)
    read -r changer_first changer_second < <(changers)
    show "lsscsi" lsscsi -g
}

# another_initiator: an interface of open-iscsi with a name of its own.
another_initiator() {
    iscsiadm -m iface -I second --op new &&
        iscsiadm -m iface -I second --op update -n iface.initiatorname -v iqn.2000-01.org.example:second &&
        iscsiadm -m iface -I second --op update -n iface.transport_name -v tcp
}

# log_in_both NAME: both initiators, the first one first.
log_in_both() {
    check "the first initiator logs in to $1" login_as default "$prefix:$1"
    check "the second initiator logs in to $1" login_as second "$prefix:$1"
}

login_as() {
    iscsiadm -m node -T "$2" -p $portal -I "$1" -o new && iscsiadm -m node -T "$2" -p $portal -I "$1" --login &&
        iscsiadm -m node -T "$2" -p $portal -I "$1" -o update -n node.session.timeo.replacement_timeout -v 5
}

# nodes CLASS LUN: the nodes of the units with that number of the two newest SCSI hosts, the older one first.
nodes() {
    local class=$1 lun=$2 found=() unit node
    wait_for 15 sh -c "test \$(ls -d /sys/bus/scsi/devices/*:*:*:$lun/$class/* 2>/dev/null | wc -l) -ge 2"
    # shellcheck disable=SC2045  # sorted by number, which a pattern alone is not
    for unit in $(ls -dv /sys/bus/scsi/devices/*:*:*:"$lun"); do
        for node in "$unit/$class"/*; do [ -e "$node" ] && found+=("/dev/${node##*/}"); done
    done
    echo "${found[*]: -2}"
}

two_changers() { [ "$(find /sys/class/scsi_changer -mindepth 1 | wc -l)" -ge 2 ]; }

# changers: the generic nodes of both ways to the changer.
changers() {
    local found=() node
    wait_for 15 two_changers
    # shellcheck disable=SC2045
    for node in $(ls -dv /sys/class/scsi_changer/*/device/scsi_generic/*); do found+=("/dev/${node##*/}"); done
    echo "${found[*]: -2}"
}

# --- Persistent reservations ---------------------------------------------------------------------------

# out NODE ACTION [OPTION...]: PERSISTENT RESERVE OUT.
out() { sg_persist --no-inquiry --out "--$2" "${@:3}" "$1"; }

# keys NODE: the registered keys, in one line.
keys() { sg_persist --no-inquiry --in --read-keys "$1" | sed -n 's/^ *\(0x[0-9a-f]*\)$/\1/p' | xargs; }

# holder NODE: key and type of the reservation.
holder() {
    sg_persist --no-inquiry --in --read-reservation "$1" | sed -n 's/.*Key=\(.*\)/\1/p; s/.*type: \(.*\)/\1/p' | xargs
}

# daemon_shows WORDS: `carousel reservation list` has them.
daemon_shows() { carousel reservation list | grep -qi "$1"; }

# settle NODE...: takes the unit attentions.
settle() {
    local node
    for node in "$@"; do
        while sg_turs "$node" 2>&1 | grep -qi 'unit attention'; do :; done
        sg_turs "$node" >/dev/null 2>&1
        sg_turs "$node" >/dev/null 2>&1
    done
    return 0
}

# reserved_between WHAT A B: the life of a reservation between two nexuses of a unit.
reserved_between() {
    local what=$1 a=$2 b=$3
    step "persistent reservations: $what"
    settle "$a" "$b"
    check "$what: REPORT CAPABILITIES" sg_persist --no-inquiry --in --report-capabilities "$a"
    check "$what: the first registers" out "$a" register --param-sark=0xa
    check "$what: the second registers" out "$b" register --param-sark=0xb
    expect "$what: the keys" "0xa 0xb" "$(keys "$b")"
    refuse "$what: REGISTER with a wrong key is refused" out "$a" register --param-rk=0x9 --param-sark=0x8
    check "$what: RESERVE of type 5" out "$a" reserve --param-rk=0xa --prout-type=5
    expect "$what: the holder" "0xa Write Exclusive, registrants only" "$(holder "$b")"
    refuse "$what: another RESERVE is refused" out "$b" reserve --param-rk=0xb --prout-type=3
    check "$what: READ FULL STATUS" sg_persist --no-inquiry --in --read-full-status "$b"
    check "$what: the daemon shows it" daemon_shows 'write exclusive'
    check "$what: the second preempts" out "$b" preempt --param-rk=0xb --param-sark=0xa --prout-type=6
    expect "$what: the key that is left" "0xb" "$(keys "$b")"
    settle "$a"
    refuse "$what: the first may not release it" out "$a" release --param-rk=0xa --prout-type=6
    check "$what: RELEASE" out "$b" release --param-rk=0xb --prout-type=6
    expect "$what: nobody holds it" "" "$(holder "$b")"
    check "$what: CLEAR" out "$b" clear --param-rk=0xb
    expect "$what: no keys" "" "$(keys "$b")"
}

reservations() {
    reserved_between disk "$first_generic" "$second_generic"
    reserved_between "tape drive" "$tape_first" "$tape_second"
    reserved_between changer "$changer_first" "$changer_second"
}

aptpl() {
    step "registrations after the daemon was killed"
    settle "$first_generic" "$second_generic"
    check "the first registers, with APTPL" out "$first_generic" register --param-sark=0xa --param-aptpl
    check "it reserves" out "$first_generic" reserve --param-rk=0xa --prout-type=1
    kill -KILL "$daemon"
    wait "$daemon" 2>/dev/null
    /tmp/carousel serve --state $state >>/tmp/daemon.log 2>&1 &
    daemon=$!
    check "the daemon starts again" wait_for 20 listens 3260
    check "the second initiator is back" wait_for 30 sg_turs "$second_generic"
    settle "$second_generic"
    expect "the key is there" "0xa" "$(keys "$second_generic")"
    expect "the reservation is" "0xa Write Exclusive" "$(holder "$second_generic")"
    refuse "the second may not write" dd if=/dev/zero of="$second" bs=4k count=1 oflag=direct status=none
    check "an operator ends it" carousel reservation clear disk
    settle "$second_generic"
    check "the second may write" dd if=/dev/zero of="$second" bs=4k count=1 oflag=direct status=none
    check "the first is back" wait_for 30 sg_turs "$first_generic"
    settle "$first_generic"
}

# --- A fence, as cluster software makes one --------------------------------------------------------------

# writer: the node that will be fenced writes numbered blocks, one after the other, as fast as it can.
writer() {
    local number=0
    while [ ! -e /tmp/writer.stop ]; do
        number=$((number + 1))
        printf '%-511d\n' $number | dd of="$first" bs=512 seek=$((number % 1024)) oflag=direct conv=notrunc \
            status=none 2>/dev/null || { echo $number >/tmp/writer.failed; return; }
        echo $number >/tmp/writer.done
    done
}

fencing() {
    step "a fence under writes"
    settle "$first_generic" "$second_generic"
    check "both register" sh -c "sg_persist --no-inquiry --out --register --param-sark=0xa $first_generic &&
        sg_persist --no-inquiry --out --register --param-sark=0xb $second_generic"
    check "the first reserves for registrants (type 5)" out "$first_generic" reserve --param-rk=0xa --prout-type=5
    rm -f /tmp/writer.*
    writer &
    local writer=$!
    sleep 4
    check "it writes" test -s /tmp/writer.done
    check "the second preempts and aborts" out "$second_generic" preempt-abort --param-rk=0xb --param-sark=0xa \
        --prout-type=5
    # What is on the medium when the command has ended: nothing of the fenced node may follow.
    dd if="$second" of=/tmp/after bs=512 count=1024 iflag=direct status=none
    sleep 2
    dd if="$second" of=/tmp/later bs=512 count=1024 iflag=direct status=none
    check "not one write of the fenced node after the preempt" cmp /tmp/after /tmp/later
    check "its write has failed" wait_for 10 test -s /tmp/writer.failed
    touch /tmp/writer.stop
    wait "$writer"
    expect "the one who is left" "0xb" "$(keys "$second_generic")"
    check "the other one writes" dd if=/dev/urandom of="$second" bs=4k count=16 oflag=direct status=none
    check "CLEAR" out "$second_generic" clear --param-rk=0xb
    settle "$first_generic" "$second_generic"
}

# --- What the units say of themselves ----------------------------------------------------------------------

# plain WHAT COMMAND...: passes when the command succeeds and complains of nothing.
plain() {
    local what=$1
    shift
    if "$@" >/tmp/plain.output 2>/tmp/plain.errors &&
        ! grep -qiE 'error|fail|truncat|unexpected|bad' /tmp/plain.errors; then
        pass "$what"
    else
        fail "$what"
        tail -n 12 /tmp/plain.output /tmp/plain.errors | sed 's/^/        /'
    fi
}

descriptions() {
    step "what the units say of themselves"
    local node
    for node in "$first_generic" "$tape_first" "$changer_first"; do
        settle "$node"
        plain "sg_inq $node" sg_inq "$node"
        plain "sg_vpd -a $node" sg_vpd -a "$node"
        plain "sg_modes -a $node" sg_modes -a "$node"
        plain "sg_logs -a $node" sg_logs -a "$node"
        plain "sg_opcodes $node" sg_opcodes "$node"
        plain "sg_opcodes -t $node" sg_opcodes -t "$node"
        plain "sg_luns $node" sg_luns "$node"
        plain "sg_luns -s 2 $node" sg_luns -s 2 "$node"
        plain "sg_requests $node" sg_requests "$node"
        plain "sg_senddiag -t $node" sg_senddiag -t "$node"
    done
    plain "sg_readcap -l" sg_readcap -l "$first_generic"
}

blocks() {
    step "commands of disks"
    settle "$first_generic"
    head -c 1024 /dev/zero >/tmp/compare
    plain "sg_write_same" sg_write_same --lba=0 --num=64 --in=/dev/zero --xferlen=512 "$first_generic"
    plain "sg_compare_and_write" sg_compare_and_write --lba=0 --num=1 --in=/tmp/compare "$first_generic"
    plain "sg_unmap" sg_unmap --lba=0 --num=64 --force "$first_generic"
    plain "sg_get_lba_status" sg_get_lba_status --lba=0 "$first_generic"
    plain "sg_verify" sg_verify --lba=0 --count=64 "$first_generic"
    plain "sg_sync" sg_sync "$first_generic"
    plain "sg_reset --device" sg_reset --device "$first_generic"
    settle "$first_generic"
}

log_out() {
    step "logout"
    check "logout" iscsiadm -m node --logoutall=all
    kill -TERM "$daemon"
    check "the daemon ends on SIGTERM with status 0" wait "$daemon"
}

[ $# -gt 0 ] || set -- reservations aptpl fencing descriptions blocks
set_up
for topic in "$@"; do $topic; done
log_out
# shellcheck disable=SC2154  # counted by lib.sh
if [ "$failed" -gt 0 ]; then
    step "the daemon's output, and the kernel's last words"
    tail -n 40 /tmp/daemon.log
    dmesg | tail -n 40
fi
finish
