# shellcheck shell=bash
# Helpers for guest scripts; read it with ". /lab/lib.sh". A script of checks ends with "finish", whose last line counts
# them and which exits with 1 if any failed.

passed=0
failed=0

step() { printf '\n== [%s s] %s\n' "$(cut -d' ' -f1 /proc/uptime)" "$*"; }

pass() {
    passed=$((passed + 1))
    echo "  ok    $1"
}

fail() {
    failed=$((failed + 1))
    echo "  FAIL  $1"
}

# check WHAT COMMAND...: runs the command, in this shell; shows its output only when it fails.
check() {
    local check_status
    "${@:2}" >/tmp/check.output 2>&1
    check_status=$?
    verdict "$1" $check_status || tail -n 30 /tmp/check.output | sed 's/^/        /'
    return $check_status
}

# show WHAT COMMAND...: like check, but always shows the output.
show() {
    local what=$1 status
    shift
    "$@" 2>&1 | sed 's/^/        /'
    status=${PIPESTATUS[0]}
    verdict "$what" "$status"
}

# refuse WHAT COMMAND...: like check, of a command that must fail.
refuse() {
    if "${@:2}" >/tmp/check.output 2>&1; then
        fail "$1: it should have failed"
    else
        pass "$1"
    fi
}

# expect WHAT WANTED GOT: the two texts are the same.
expect() {
    if [ "$2" = "$3" ]; then pass "$1"; else fail "$1: expected \"$2\", got \"$3\""; fi
}

verdict() { if [ "$2" -eq 0 ]; then pass "$1"; else fail "$1 (status $2)"; return 1; fi; }

finish() {
    printf '\n== [%s s] guest: %d passed, %d failed\n' "$(cut -d' ' -f1 /proc/uptime)" "$passed" "$failed"
    [ "$failed" -eq 0 ]
    exit
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
    local tries=$(($1 * 5))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.2
    done
}

# listens PORT: something accepts connections there.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# --- iSCSI initiator --------------------------------------------------------------------------------

# start_iscsid: the kernel's command time-outs stay as they are; only what waits for a lost or absent peer is shortened,
# so that a script whose target dies ends within the time limit.
start_iscsid() {
    modprobe -a iscsi_tcp sd_mod st ch sg
    mkdir -p /etc/iscsi /run/lock/iscsi
    echo "InitiatorName=iqn.2000-01.org.example:initiator" >/etc/iscsi/initiatorname.iscsi
    sed -i -e 's/^\(node.session.timeo.replacement_timeout\) *=.*/\1 = 30/' \
        -e 's/^\(node.session.initial_login_retry_max\) *=.*/\1 = 2/' /etc/iscsi/iscsid.conf
    iscsid -f >/tmp/iscsid.log 2>&1 &
    wait_for 10 grep -q '@ISCSIADM_ABSTRACT_NAMESPACE' /proc/net/unix
}

# discover PORTAL and login PORTAL TARGET; login makes the node record itself where no discovery has.
discover() { iscsiadm -m discovery -t sendtargets -p "$1"; }

login() {
    iscsiadm -m node -T "$2" -p "$1" >/dev/null 2>&1 || iscsiadm -m node -T "$2" -p "$1" -o new || return
    iscsiadm -m node -T "$2" -p "$1" --login
}

logout() { iscsiadm -m node -T "$1" --logout; }

# --- Devices ----------------------------------------------------------------------------------------

# device LUN CLASS: the node in /dev of the newest SCSI host's unit LUN; CLASS is block, scsi_tape, scsi_changer or
# scsi_generic. A tape's is the one that does not rewind.
device() {
    local unit found=
    # shellcheck disable=SC2045  # sorted by number, which a pattern alone is not
    for unit in $(ls -dv /sys/bus/scsi/devices/*:*:*:"$1" 2>/dev/null); do
        case $2 in
            scsi_tape) set -- "$1" "$2" "$unit"/scsi_tape/nst*[0-9] ;;
            *) set -- "$1" "$2" "$unit/$2"/* ;;
        esac
        [ -e "$3" ] && found=/dev/${3##*/}
    done
    [ -n "$found" ] && echo "$found"
}

# wait_device LUN CLASS: the same, waiting for it to appear and printing it.
wait_device() {
    wait_for 15 device "$1" "$2" && wait_for 5 test -e "$(device "$1" "$2")" && device "$1" "$2"
}

# generic DEVICE: the SCSI generic node of a disk, tape or changer.
generic() {
    local node=${1##*/} found
    found=$(echo /sys/class/*/"$node"/device/scsi_generic/*)
    echo "/dev/${found##*/}"
}

# --- Tape -------------------------------------------------------------------------------------------

# tape_file TAPE, tape_block TAPE, tape_flags TAPE: where st says the tape is, and its status words ("BOT ONLINE …").
tape_file() { mt -f "$1" status | sed -n 's/^File number=\(-\{0,1\}[0-9]*\),.*/\1/p'; }
tape_block() { mt -f "$1" status | sed -n 's/^File number=.*block number=\(-\{0,1\}[0-9]*\),.*/\1/p'; }
tape_flags() { mt -f "$1" status | sed -n '/^General status/{n;s/^ *//;s/ *$//;p}'; }

# tape_tell TAPE: the drive's own block address.
tape_tell() { mt -f "$1" tell | sed -n 's/^At block \([0-9]*\)\..*/\1/p'; }

# write_blocks TAPE SIZE COUNT, read_blocks TAPE SIZE [COUNT]: one file of that many blocks of /tmp/random; what a file
# holds; skip_blocks: the same, thrown away.
write_blocks() { dd if=/tmp/random of="$1" bs="$2" count="$3" iflag=fullblock status=none; }
read_blocks() { dd if="$1" bs="$2" ${3:+count="$3"} status=none; }
skip_blocks() { read_blocks "$@" >/dev/null; }

# same_blocks TAPE SIZE COUNT [SKIP]: the next file (or as many blocks of it) is what lies at that place of /tmp/random.
same_blocks() {
    cmp <(read_blocks "$1" "$2" "$3") <(dd if=/tmp/random bs="$2" count="$3" skip="${4:-0}" iflag=fullblock status=none)
}

# --- Disk -------------------------------------------------------------------------------------------

# disk_mount_test DEVICE: makes a file system, puts 8 MB of random data in it, mounts it again, compares, checks it.
disk_mount_test() {
    local dir=/mnt/disk
    mkdir -p $dir
    head -c 8M /dev/urandom >/tmp/disk.random &&
        mkfs.ext4 -q -F "$1" && mount "$1" $dir && cp /tmp/disk.random $dir/ && umount $dir &&
        mount "$1" $dir && cmp /tmp/disk.random $dir/disk.random && umount $dir && e2fsck -f -n "$1"
}

# disk_raw_test DEVICE MEGABYTES: writes random data past the page cache, reads it back so, compares.
disk_raw_test() {
    head -c "$2M" /dev/urandom >/tmp/raw &&
        dd if=/tmp/raw of="$1" bs=64k oflag=direct status=none &&
        dd if="$1" of=/tmp/raw.back bs=64k count=$(($2 * 16)) iflag=direct,fullblock status=none &&
        cmp /tmp/raw /tmp/raw.back
}

# --- Verified writes that go on while something happens -------------------------------------------------

# begin_writes DEVICE: rounds of writes in the background, each to another place and read back, until end_writes. A
# script has 24 MB of random data in /tmp/random for it.
begin_writes() {
    rm -f /tmp/writes.stop
    echo 0 >/tmp/writes.rounds
    (
        round=0
        while [ ! -e /tmp/writes.stop ]; do
            round=$((round + 1))
            dd if=/tmp/random of="$1" bs=64k oflag=direct conv=notrunc seek=$((round % 7)) count=320 \
                iflag=fullblock status=none || exit 1
            cmp <(dd if="$1" bs=64k skip=$((round % 7)) count=320 iflag=direct status=none) \
                <(dd if=/tmp/random bs=64k count=320 iflag=fullblock status=none) || exit 2
            # In one step: a reader never finds the file empty.
            echo $round >/tmp/writes.rounds.new && mv /tmp/writes.rounds.new /tmp/writes.rounds
        done
    ) >/tmp/writes.log 2>&1 &
    writer=$!
    wait_for 60 wrote 2
}

# wrote ROUNDS: that many rounds have ended.
wrote() { [ "$(cat /tmp/writes.rounds)" -ge "$1" ]; }

# wrote_more ROUNDS: that many more have ended.
wrote_more() {
    local wanted=$(($(cat /tmp/writes.rounds) + $1))
    wait_for 120 wrote $wanted
}

# end_writes: no write and no read has failed, and each round was as it was written.
end_writes() {
    : >/tmp/writes.stop
    wait "$writer" || { echo "a write or a comparison failed"; cat /tmp/writes.log; return 1; }
    echo "$(cat /tmp/writes.rounds) rounds"
}

# --- Several paths ----------------------------------------------------------------------------------------

# second_address ADDRESS: an address of its own, which can be taken away as a pulled cable would.
second_address() {
    modprobe dummy && ip link add second type dummy && ip link set second up && ip address add "$1/32" dev second
}

# start_multipath DEVICES SETTING...: udev and multipathd, with these lines in the defaults of its configuration; it
# leaves devices alone whose names match.
start_multipath() {
    local others=$1
    shift
    {
        printf '%s\n' 'defaults {' '    find_multipaths no' '    user_friendly_names yes' '    polling_interval 1' \
            '    max_polling_interval 2' '    path_checker tur' '    no_path_retry 60' '    fast_io_fail_tmo 3'
        printf '    %s\n' "$@"
        printf '%s\n' '}' 'blacklist {' "    devnode \"$others\"" '}'
    } >/etc/multipath.conf
    modprobe -a dm_mod dm_multipath dm_round_robin scsi_dh_alua 2>/dev/null
    mkdir -p /run/udev
    /lib/systemd/systemd-udevd --daemon && udevadm trigger && multipathd
}

# notice_lost_paths TARGET: sessions that begin later fail their commands soon after their peer has gone.
notice_lost_paths() {
    iscsiadm -m node -T "$1" -o update -n node.session.timeo.replacement_timeout -v 5 &&
        iscsiadm -m node -T "$1" -o update -n 'node.conn[0].timeo.noop_out_interval' -v 2 &&
        iscsiadm -m node -T "$1" -o update -n 'node.conn[0].timeo.noop_out_timeout' -v 2
}

# sessions_are N: that many sessions are logged in and well.
sessions_are() { [ "$(iscsiadm -m session -P 1 2>/dev/null | grep -c 'iSCSI Session State: LOGGED_IN')" -eq "$1" ]; }

# paths STATE N: the multipath device has that many paths in the state (active or failed).
paths() { [ "$(multipathd show paths raw format '%t' | grep -cw "$1")" -eq "$2" ]; }
