# shellcheck shell=bash disable=SC2154
# Disks with snapshots under file systems of the kernel: space that comes back, snapshots under writes, a file out of a
# snapshot, clones, rollback, `kill -9`. /host has the program `carousel`. Each topic is a function; the list of them is
# at the end of the file.
. /lab/lib.sh
. /lab/daemon.sh

# On the guest's disk, which keeps holes and extended attributes.
# shellcheck disable=SC2034
state=/root/state

set_up() {
    step "daemon and initiator"
    head -c 16M /dev/urandom >/tmp/random
    check "the daemon starts" start_daemon --portal "$portal" || finish_with_daemon
    check "a disk with snapshots is created" carousel disk create work --size 1GiB --format carousel
    check "iscsid starts" start_iscsid
    mkdir -p /mnt/disk /mnt/snapshot /mnt/clone
}

# attach NAME: logs in to the disk and prints its node.
attach() { login "$portal" "$prefix:$1" >/dev/null && wait_device 0 block; }

detach() { logout "$prefix:$1"; }

# used NAME: the KiB that the image of the disk has on the host.
used() { du -k "$(image "$1")" | cut -f1; }

# trimmed FILE_SYSTEM MKFS...: what a file took is given back when it is deleted and trimmed.
trimmed() {
    local disk full empty
    check "$1: a disk" carousel disk create "on-$1" --size 512MiB --format carousel
    disk=$(attach "on-$1") || { fail "$1: login"; return; }
    check "$1: mkfs" "${@:2}" "$disk"
    check "$1: mount" mount "$disk" /mnt/disk
    check "$1: three files of 16 MB" cp /tmp/random /mnt/disk/1
    cp /tmp/random /mnt/disk/2
    cp /tmp/random /mnt/disk/3
    check "$1: sync" sync -f /mnt/disk
    full=$(used "on-$1")
    check "$1: the image has them" test "$full" -gt 48000
    check "$1: two are deleted" rm /mnt/disk/1 /mnt/disk/3
    # XFS frees what was deleted in the background; with the end of a mount it has.
    check "$1: umount" umount /mnt/disk
    check "$1: mount" mount "$disk" /mnt/disk
    check "$1: fstrim" fstrim -v /mnt/disk
    check "$1: sync" sync -f /mnt/disk
    check "$1: the host has 30 MB back" wait_for 30 gives_back "on-$1" $((full - 30000))
    empty=$(used "on-$1")
    echo "        image with three files: $full KiB, with one: $empty KiB"
    check "$1: the third file is right" cmp /tmp/random /mnt/disk/2
    check "$1: umount" umount /mnt/disk
    check "$1: logout" detach "on-$1"
    check "$1: the disk is deleted" carousel disk delete "on-$1" --yes
}

# gives_back NAME KIB: its image has no more than that.
gives_back() { [ "$(used "$1")" -le "$2" ]; }

space() {
    step "space that comes back"
    trimmed ext4 mkfs.ext4 -q -F
    trimmed xfs mkfs.xfs -q -f
}

# writer NODE: writes the numbers from 1 on to 64 blocks in turn, each past the page cache, and notes in /tmp/written
# the last one that the disk has acknowledged, in /tmp/begun the one that is on its way.
writer() {
    local number=0
    while [ ! -e /tmp/stop ]; do
        number=$((number + 1))
        echo $number >/tmp/begun
        printf '%-4096d' $number | dd of="$1" bs=4096 seek=$((number % 64)) oflag=direct iflag=fullblock \
            conv=notrunc status=none || break
        echo $number >/tmp/written
    done
}

# is_beginning NODE LEAST MOST: its 64 blocks are what the first so many numbers have left, from LEAST to MOST.
is_beginning() {
    local block value last=0 wanted
    local values=()
    for block in {0..63}; do
        value=$(dd if="$1" bs=4096 skip="$block" count=1 iflag=direct status=none | tr -d '\0' | cut -d' ' -f1)
        values[block]=${value:-0}
        [ "${values[block]}" -le "$last" ] || last=${values[block]}
    done
    if [ "$last" -lt "$2" ] || [ "$last" -gt "$3" ]; then
        echo "it has $last numbers, not $2 to $3"
        return 1
    fi
    for block in {0..63}; do
        wanted=$((last - (last - block + 64) % 64))
        [ $wanted -gt 0 ] || wanted=0
        [ "${values[block]}" -eq $wanted ] || { echo "block $block has ${values[block]}, not $wanted"; return 1; }
    done
}

# noted FILE: a number that the writer is about to replace may be missing for a moment.
noted() {
    local number=
    until [ -n "$number" ]; do number=$(cat "$1"); done
    echo "$number"
}

writes() {
    local disk snapshot number least=() most=() pid
    step "snapshots while a writer goes on"
    check "a disk" carousel disk create busy --size 64MiB --format carousel
    disk=$(attach busy) || { fail "login"; return; }
    rm -f /tmp/stop
    echo 0 >/tmp/written
    echo 1 >/tmp/begun
    writer "$disk" &
    pid=$!
    for number in 1 2 3 4 5; do
        sleep 1
        least[number]=$(noted /tmp/written)
        check "snapshot $number" carousel snapshot create "busy@s$number"
        most[number]=$(noted /tmp/begun)
    done
    sleep 1
    touch /tmp/stop
    wait $pid
    check "the writer got far" test "$(cat /tmp/written)" -gt 100
    for number in 1 2 3 4 5; do
        check "snapshot $number is mapped" carousel snapshot map "busy@s$number" "shown$number"
        snapshot=$(attach "shown$number") || { fail "login"; continue; }
        check "snapshot $number has ${least[number]} to ${most[number]} numbers, in order" \
            is_beginning "$snapshot" "${least[number]}" "${most[number]}"
        refuse "nobody writes it" dd if=/dev/zero of="$snapshot" bs=4096 count=1 oflag=direct
        check "logout" detach "shown$number"
    done
    check "the disk has all" is_beginning "$disk" "$(cat /tmp/written)" "$(cat /tmp/written)"
    check "logout" detach busy
}

# a_file_system: the disk `work` has ext4, and is mounted.
a_file_system() {
    disk=$(attach work) || { fail "login"; return 1; }
    blkid "$disk" >/dev/null 2>&1 || check "mkfs" mkfs.ext4 -q -F "$disk"
    check "mount" mount "$disk" /mnt/disk
}

restore() {
    local disk snapshot
    step "a file out of yesterday's snapshot"
    a_file_system || return
    cp /tmp/random /mnt/disk/letter
    check "sync" sync -f /mnt/disk
    show "carousel snapshot create work@yesterday" carousel snapshot create work@yesterday
    echo "nonsense" >/mnt/disk/letter
    check "the file is spoiled" sync -f /mnt/disk
    show "carousel snapshot list work" carousel snapshot list work
    show "carousel snapshot map work@yesterday old" carousel snapshot map work@yesterday old
    show "iscsiadm -m node -T $prefix:old -p $portal --login" login "$portal" "$prefix:old"
    snapshot=$(wait_device 0 block) || { fail "it appears"; return; }
    show "mount -o ro,noload $snapshot /mnt/snapshot" mount -o ro,noload "$snapshot" /mnt/snapshot
    show "cp /mnt/snapshot/letter /mnt/disk/letter" cp /mnt/snapshot/letter /mnt/disk/letter
    show "umount /mnt/snapshot" umount /mnt/snapshot
    show "iscsiadm -m node -T $prefix:old --logout" detach old
    show "carousel disk delete old --yes" carousel disk delete old --yes
    check "the file is what it was yesterday" cmp /tmp/random /mnt/disk/letter
    check "umount" umount /mnt/disk
    check "fsck" e2fsck -f -n "$disk"
    show "carousel snapshot diff work@yesterday work" carousel snapshot diff work@yesterday work
    check "logout" detach work
}

clones() {
    local disk clone
    step "a clone as another disk"
    a_file_system || return
    cp /tmp/random /mnt/disk/common
    check "sync" sync -f /mnt/disk
    check "snapshot" carousel snapshot create work@base
    check "clone" carousel disk clone work@base copy
    clone=$(attach copy) || { fail "login"; return; }
    check "it has another identity" \
        test "$(sg_inq -p 0x80 "$disk" | tail -n 1)" != "$(sg_inq -p 0x80 "$clone" | tail -n 1)"
    # The snapshot is of a mounted file system: status 1 says that the journal was replayed.
    e2fsck -f -y "$clone" >/tmp/check.output 2>&1
    check "fsck makes the clone whole" test $? -le 1
    check "it has another UUID" tune2fs -f -U random "$clone"
    check "mount" mount "$clone" /mnt/clone
    check "the common file is there" cmp /tmp/random /mnt/clone/common
    check "the clone is written" sh -c 'echo of the clone >/mnt/clone/own; rm /mnt/clone/common; sync -f /mnt/clone'
    check "the disk, too" sh -c 'echo of the disk >/mnt/disk/own; sync -f /mnt/disk'
    expect "the clone has its own file" "of the clone" "$(cat /mnt/clone/own)"
    expect "the disk has its own" "of the disk" "$(cat /mnt/disk/own)"
    check "the disk still has the common one" cmp /tmp/random /mnt/disk/common
    check "umount" umount /mnt/disk /mnt/clone
    check "fsck of the disk" e2fsck -f -n "$disk"
    check "fsck of the clone" e2fsck -f -n "$clone"
    check "a snapshot that has a clone is deleted" carousel snapshot delete work@base --yes
    check "the clone lives on" dd if="$clone" of=/dev/null bs=1M iflag=direct
    check "logout" detach copy
    check "logout" detach work
    check "the clone is deleted" carousel disk delete copy --yes
}

rollback() {
    local disk generic
    step "a disk goes back"
    a_file_system || return
    echo before >/mnt/disk/state
    check "sync" sync -f /mnt/disk
    check "umount" umount /mnt/disk
    check "snapshot" carousel snapshot create work@before
    check "mount" mount "$disk" /mnt/disk
    echo after >/mnt/disk/state
    check "umount" umount /mnt/disk
    generic=/dev/$(basename "$(ls -d "/sys/block/${disk##*/}/device/scsi_generic/"*)")
    sg_turs "$generic" >/dev/null 2>&1
    check "rollback" carousel snapshot rollback work@before --yes
    sg_turs -v "$generic" >/tmp/turs 2>&1
    check "the kernel is told that the medium may have changed" grep -qi 'medium may have changed' /tmp/turs ||
        sed 's/^/        /' /tmp/turs
    check "its cache of the disk is emptied" blockdev --flushbufs "$disk"
    check "mount" mount "$disk" /mnt/disk
    expect "the file is what it was" before "$(cat /mnt/disk/state)"
    check "umount" umount /mnt/disk
    check "fsck" e2fsck -f -n "$disk"
    check "what was before the rollback is kept" sh -c "/tmp/carousel snapshot list work --state $state |
        grep -q 'work@before-rollback-'"
    check "logout" detach work
}

kills() {
    local disk sum snapshot number copier
    step "kill -9 of the daemon"
    a_file_system || return
    cp /tmp/random /mnt/disk/kept
    check "sync" sync -f /mnt/disk
    check "snapshot" carousel snapshot create work@kept
    check "umount" umount /mnt/disk
    check "the snapshot is mapped" carousel snapshot map work@kept kept
    snapshot=$(attach kept) || { fail "login"; return; }
    sum=$(dd if="$snapshot" bs=1M iflag=direct status=none | sha256sum)
    check "logout" detach kept
    for number in 1 2 3; do
        check "mount" mount "$disk" /mnt/disk
        (while cp /tmp/random "/mnt/disk/round$number" && sync -f /mnt/disk; do :; done) >/dev/null 2>&1 &
        copier=$!
        sleep 2
        check "a snapshot meanwhile" carousel snapshot create "work@round$number"
        kill_daemon
        check "the daemon starts again" start_daemon
        sleep 3
        kill $copier 2>/dev/null
        wait $copier 2>/dev/null
        check "sync" sync -f /mnt/disk
        check "umount" wait_for 20 umount /mnt/disk
        check "fsck" e2fsck -f -y "$disk"
        check "mount" mount "$disk" /mnt/disk
        check "the file is right" cmp /tmp/random /mnt/disk/kept
        check "umount" umount /mnt/disk
        snapshot=$(attach kept) || { fail "login"; return; }
        expect "the snapshot is what it was" "$sum" "$(dd if="$snapshot" bs=1M iflag=direct status=none | sha256sum)"
        check "logout" detach kept
    done
    check "logout" detach work
    check "the check finds nothing" carousel check work
}

log_out() {
    step "logout"
    iscsiadm -m node --logoutall=all >/dev/null 2>&1
    check "the check finds nothing" carousel check
    check "the daemon ends on SIGTERM with status 0" stop_daemon
}

[ $# -gt 0 ] || set -- space writes restore clones rollback kills
set_up
for topic in "$@"; do $topic; done
log_out
finish_with_daemon
