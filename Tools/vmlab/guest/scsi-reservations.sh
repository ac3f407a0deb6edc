# shellcheck shell=bash disable=SC2154
# Persistent reservations of two initiators: part of scsi.sh.

# out NODE ACTION [OPTION...]: PERSISTENT RESERVE OUT.
out() { sg_persist --no-inquiry --out "--$2" "${@:3}" "$1"; }

# into NODE ACTION: PERSISTENT RESERVE IN.
into() { sg_persist --no-inquiry --in "--$2" "$1"; }

# keys NODE: the registered keys in one line, sorted.
keys() { into "$1" read-keys | sed -n 's/^ *\(0x[0-9a-f]*\)$/\1/p' | sort | xargs; }

# holder NODE: key and type of the reservation.
holder() { into "$1" read-reservation | sed -n 's/.*Key=\(.*\)/\1/p; s/.*type: \(.*\)/\1/p' | xargs; }

# full_status NODE: READ FULL STATUS, a line for each registration, sorted: key, whether it holds the reservation.
full_status() {
    into "$1" read-full-status |
        sed -n 's/^ *Key=\(0x[0-9a-f]*\)$/\1/p; s/^[ <]*\(not reservation holder\|reservation holder\)[ >]*$/\1/ip' |
        paste -d ' ' - - | tr '[:upper:]' '[:lower:]' | sort | paste -s -d ';'
}

# transport_id NODE KEY: the TransportID of who is registered with it, as sg_persist takes it.
transport_id() {
    into "$1" read-full-status | awk -v key="Key=$2" '$1 ~ /^Key=/ { mine = $1 == key }
        mine && /iqn\./ { sub(/^.*iqn\./, "iqn."); sub(/ *$/, ""); print; exit }'
}

# daemon_shows WORDS: `carousel reservation list` has them.
daemon_shows() { carousel reservation list | grep -qi "$1"; }

# reads NODE, writes NODE: a command that write exclusive reservations of others allow, and one that they do not; of a
# changer there is none of the first kind (SMC-3 clause 4.6).
reads() {
    case $1 in
        "$first_generic" | "$second_generic") sg_raw -r 512 "$1" 28 00 00 00 00 00 00 00 01 00 ;;
        "$tape_first" | "$tape_second") sg_raw "$1" 01 00 00 00 00 00 ;;
        *) sg_raw -r 255 "$1" b8 00 00 00 ff ff 00 00 00 ff 00 00 ;;
    esac
}

writes() {
    case $1 in
        "$first_generic" | "$second_generic") sg_raw -s 512 -i /dev/zero "$1" 2a 00 00 00 00 00 00 00 01 00 ;;
        "$tape_first" | "$tape_second") sg_raw "$1" 10 00 00 00 00 00 ;;
        *) sg_raw "$1" 07 00 00 00 00 00 ;;
    esac
}

# may NODE: what it may do.
may() {
    local found=() action
    for action in reads writes; do
        $action "$1" >/tmp/may.output 2>&1
        case $? in
            0) found+=("$action") ;;
            # RESERVATION CONFLICT
            24) ;;
            *) found+=("$action ($(tail -n 1 /tmp/may.output))") ;;
        esac
    done
    echo "${found[*]}"
}

# reserved_between WHAT A B: the life of a reservation between two nexuses of a unit.
reserved_between() {
    local what=$1 a=$2 b=$3
    step "persistent reservations: $what"
    settle "$a" "$b"
    check "$what: REPORT CAPABILITIES" into "$a" report-capabilities
    check "$what: the first registers" out "$a" register --param-sark=0xa
    check "$what: the second registers" out "$b" register --param-sark=0xb
    expect "$what: the keys" "0xa 0xb" "$(keys "$b")"
    check "$what: REGISTER with a wrong key is a conflict" ends 24 out "$a" register --param-rk=0x9 --param-sark=0x8
    check "$what: REGISTER AND IGNORE EXISTING KEY" out "$a" register-ignore --param-sark=0xc
    check "$what: the first has its key again" out "$a" register --param-rk=0xc --param-sark=0xa
    check "$what: RESERVE of type 5" out "$a" reserve --param-rk=0xa --prout-type=5
    check "$what: the same once more" out "$a" reserve --param-rk=0xa --prout-type=5
    expect "$what: the holder" "0xa Write Exclusive, registrants only" "$(holder "$b")"
    expect "$what: READ FULL STATUS" "0xa reservation holder;0xb not reservation holder" "$(full_status "$b")"
    check "$what: another RESERVE is a conflict" ends 24 out "$b" reserve --param-rk=0xb --prout-type=3
    check "$what: RELEASE of another type is refused" ends 5 out "$a" release --param-rk=0xa --prout-type=6
    check "$what: the daemon shows it" daemon_shows 'write exclusive'
    check "$what: no reservation is lost" ends 5 out "$a" replace-lost --param-rk=0xa --param-sark=0xa \
        --prout-type=1
    check "$what: the second preempts" out "$b" preempt --param-rk=0xb --param-sark=0xa --prout-type=6
    expect "$what: the key that is left" "0xb" "$(keys "$b")"
    expect "$what: the new holder" "0xb Exclusive Access, registrants only" "$(holder "$b")"
    settle "$a"
    check "$what: the first may not release it" ends 24 out "$a" release --param-rk=0xa --prout-type=6
    check "$what: RELEASE" out "$b" release --param-rk=0xb --prout-type=6
    expect "$what: nobody holds it" "" "$(holder "$b")"
    check "$what: CLEAR" out "$b" clear --param-rk=0xb
    expect "$what: no keys" "" "$(keys "$b")"
}

# types_between WHAT A B: what the other one may do under each type, unregistered and registered.
types_between() {
    local what=$1 a=$2 b=$3 type unregistered registered
    step "types of reservations: $what"
    check "$what: the first registers" out "$a" register --param-sark=0xa
    while read -r type unregistered registered; do
        case $what,$unregistered in changer,*) unregistered=nothing ;; esac
        settle "$a" "$b"
        check "$what: RESERVE of type $type" out "$a" reserve --param-rk=0xa --prout-type="$type"
        expect "$what, type $type: the holder" "reads writes" "$(may "$a")"
        expect "$what, type $type: the other one" "${unregistered/nothing/}" "$(may "$b")"
        check "$what: the other one registers" out "$b" register --param-sark=0xb
        case $what,$registered in changer,reads) registered=nothing ;; esac
        registered=${registered/everything/reads writes}
        expect "$what, type $type: the other one, registered" "${registered/nothing/}" "$(may "$b")"
        check "$what: it unregisters" out "$b" register --param-rk=0xb --param-sark=0
        check "$what: RELEASE of type $type" out "$a" release --param-rk=0xa --prout-type="$type"
    done <<'TYPES'
1 reads reads
3 nothing nothing
5 reads everything
6 nothing everything
7 reads everything
8 nothing everything
TYPES
    check "$what: the first unregisters" out "$a" register --param-rk=0xa --param-sark=0
}

# moved_between WHAT A B: REGISTER AND MOVE, there and back, and what PREEMPT does to all registrants.
moved_between() {
    local what=$1 a=$2 b=$3 to_a to_b
    step "REGISTER AND MOVE, all registrants: $what"
    settle "$a" "$b"
    check "$what: the first registers" out "$a" register --param-sark=0xa
    check "$what: the second registers" out "$b" register --param-sark=0xb
    to_a=$(transport_id "$a" 0xa) to_b=$(transport_id "$a" 0xb)
    check "$what: they have TransportIDs with an ISID" grep -q '^iqn.*,i,0x.* iqn.*second,i,0x' <<<"$to_a $to_b"
    check "$what: RESERVE of type 1" out "$a" reserve --param-rk=0xa --prout-type=1
    check "$what: REGISTER AND MOVE" out "$a" register-move --param-rk=0xa --param-sark=0xc --transport-id="$to_b" \
        --relative-target-port=1
    expect "$what: the holder is the second" "0xc Write Exclusive" "$(holder "$b")"
    expect "$what: READ FULL STATUS" "0xa not reservation holder;0xc reservation holder" "$(full_status "$b")"
    settle "$b"
    check "$what: the first may not move it" ends 24 out "$a" register-move --param-rk=0xa --param-sark=0xd \
        --transport-id="$to_a" --relative-target-port=1
    check "$what: the second moves it back and unregisters" out "$b" register-move --unreg --param-rk=0xc \
        --param-sark=0xe --transport-id="$to_a" --relative-target-port=1
    expect "$what: the holder is the first" "0xe Write Exclusive" "$(holder "$b")"
    expect "$what: the key that is left" "0xe" "$(keys "$b")"
    settle "$a" "$b"
    check "$what: RELEASE" out "$a" release --param-rk=0xe --prout-type=1
    check "$what: the second registers again" out "$b" register --param-sark=0xb
    check "$what: RESERVE of type 7" out "$b" reserve --param-rk=0xb --prout-type=7
    expect "$what: both hold it" "0xb reservation holder;0xe reservation holder" "$(full_status "$a")"
    check "$what: PREEMPT of all registrants" out "$a" preempt --param-rk=0xe --param-sark=0 --prout-type=3
    expect "$what: one is left" "0xe reservation holder" "$(full_status "$a")"
    settle "$b"
    check "$what: the other one's RESERVE is a conflict" ends 24 out "$b" reserve --param-rk=0xb --prout-type=3
    check "$what: the holder unregisters" out "$a" register --param-rk=0xe --param-sark=0
    expect "$what: nobody holds it" "" "$(holder "$b")"
    settle "$a" "$b"
}

reservations() {
    local rule
    for rule in reserved_between types_between moved_between; do
        $rule disk "$first_generic" "$second_generic"
        $rule "tape drive" "$tape_first" "$tape_second"
        $rule changer "$changer_first" "$changer_second"
    done
}

aptpl() {
    step "registrations after the daemon was killed"
    settle "$first_generic" "$second_generic"
    check "the first registers, with APTPL" out "$first_generic" register --param-sark=0xa --param-aptpl
    check "it reserves" out "$first_generic" reserve --param-rk=0xa --prout-type=1
    kill_daemon
    check "the daemon starts again" start_daemon
    check "the second initiator is back" wait_for 60 sg_turs "$second_generic"
    settle "$second_generic"
    expect "the key is there" "0xa" "$(keys "$second_generic")"
    expect "the reservation is" "0xa Write Exclusive" "$(holder "$second_generic")"
    refuse "the second may not write" dd if=/dev/zero of="$second" bs=4k count=1 oflag=direct status=none
    check "an operator ends it" carousel reservation clear disk
    settle "$second_generic"
    check "the second may write" dd if=/dev/zero of="$second" bs=4k count=1 oflag=direct status=none
    check "the first is back" wait_for 60 sg_turs "$first_generic"
    check "all sessions are back" wait_for 60 sessions_are 4
    settle "$first_generic" "$tape_first" "$tape_second" "$changer_first" "$changer_second"
}

# --- A fence, as cluster software makes one --------------------------------------------------------------

# Four writers of the node that will be fenced, each with a region of its own, whose blocks have their numbers in them.
writers=4
region=32000 # blocks: 250 times 64 KiB

# writer NUMBER: writes the blocks of its region one after the other, as fast as it can; how many the disk has answered
# with GOOD is in /tmp/writer.NUMBER then, as dd says it, and why it ended.
writer() {
    timeout 120 dd if=/tmp/numbers of="$first" bs=512 seek=$(($1 * region)) oflag=direct conv=notrunc \
        >"/tmp/writer.$1" 2>&1
}

# on_medium NUMBER [PIECES]: how many blocks of its region there are, one after the other from the beginning; the blocks
# after these are zero, or it says so. It looks at all, or at so many pieces of 64 KiB.
on_medium() {
    dd if="$second" bs=64k skip=$(($1 * 250)) count="${2:-250}" iflag=direct status=none | tr -d '\0 ' |
        awk '$1 != NR - 1 { print "block " $1 " after " NR - 1; bad = 1; exit } END { if (!bad) print NR }'
}

# has_written NUMBER BLOCKS: so many, at least.
has_written() { [ "$(on_medium "$1" 1)" -ge "$2" ]; }

# answered NUMBER: how many writes the disk has answered with GOOD.
answered() { sed -n 's/^\([0-9]*\)+0 records out$/\1/p' "/tmp/writer.$1"; }

# conflicts NUMBER: the writer has ended because of a RESERVATION CONFLICT (EBADE), and what the disk has answered is
# there, and at most the one write beyond it that was under way.
conflicts() {
    local written acknowledged
    written=$(on_medium "$1") acknowledged=$(answered "$1")
    echo "$written blocks on the medium, $acknowledged writes answered: $(grep writing "/tmp/writer.$1")"
    grep -q 'Invalid exchange' "/tmp/writer.$1" && [ "$written" -ge "$acknowledged" ] &&
        [ "$written" -le $((acknowledged + 1)) ]
}

fencing() {
    step "a fence under writes"
    local number jobs=()
    settle "$first_generic" "$second_generic"
    # A fenced command may never be answered (TAS is zero): the kernel aborts it when its time is over, and tries again.
    echo 5 >"/sys/block/${first##*/}/device/timeout"
    awk -v count=$region 'BEGIN { for (i = 0; i < count; i++) printf "%-511d\n", i }' >/tmp/numbers
    check "the disk is empty" blkdiscard -z "$second"
    check "both register" sh -c "sg_persist --no-inquiry --out --register --param-sark=0xa $first_generic &&
        sg_persist --no-inquiry --out --register --param-sark=0xb $second_generic"
    check "the first reserves for registrants (type 5)" out "$first_generic" reserve --param-rk=0xa --prout-type=5
    for ((number = 0; number < writers; number++)); do
        writer $number &
        jobs+=($!)
    done
    for ((number = 0; number < writers; number++)); do
        check "writer $number writes" wait_for 60 has_written $number 20
    done
    check "the second preempts and aborts" out "$second_generic" preempt-abort --param-rk=0xb --param-sark=0xa \
        --prout-type=5
    # What is on the medium when the command has ended: nothing of the fenced node may follow.
    dd if="$second" of=/tmp/after bs=64k iflag=direct status=none
    for job in "${jobs[@]}"; do
        wait "$job"
        expect "a writer has failed" 1 $?
    done
    for number in 1 2 3 4 5 6 7 8 9 10; do
        refuse "it tries again, number $number" dd if=/tmp/random of="$first" bs=4k count=1 seek=$((number * 1000)) \
            oflag=direct conv=notrunc status=none
    done
    dd if="$second" of=/tmp/later bs=64k iflag=direct status=none
    check "not one write of the fenced node after the preempt" cmp /tmp/after /tmp/later
    for ((number = 0; number < writers; number++)); do
        show "writer $number: what was answered is there, and nothing later" conflicts $number
    done
    expect "the one who is left" "0xb" "$(keys "$second_generic")"
    expect "it holds the reservation" "0xb Write Exclusive, registrants only" "$(holder "$second_generic")"
    check "the other one writes" dd if=/dev/urandom of="$second" bs=4k count=16 oflag=direct status=none
    check "CLEAR" out "$second_generic" clear --param-rk=0xb
    settle "$first_generic" "$second_generic"
    check "the fenced node may write again" dd if=/dev/zero of="$first" bs=4k count=1 oflag=direct status=none
}
