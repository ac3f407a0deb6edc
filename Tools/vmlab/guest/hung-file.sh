# shellcheck shell=bash disable=SC2154
# Ten disks, and the host's file under one of them hangs, as on a dead NFS server or a path without disks: the other
# nine keep their throughput and answer everything, and the tenth goes on when its file does. /host has the programs
# `carousel` and `carousel-bench`. Each topic is a function; the list of them is at the end of the file.
. /lab/lib.sh
. /lab/daemon.sh

# Seconds of each measurement, and the share of its throughput that a disk must keep, in percent.
measured=6
share=90

target() { echo "$prefix:$1"; }
url() { echo "iscsi://$portal/$(target "$1")/0"; }

# --- A file that hangs ----------------------------------------------------------------------------------

# make_device: a file system on a device that can be suspended, with the image of a disk that is in no cache.
make_device() {
    local device
    modprobe -a loop dm_mod && truncate -s 192M /tmp/device && losetup /dev/loop0 /tmp/device &&
        dmsetup create hung --noudevsync --table "0 $((192 * 2048)) linear /dev/loop0 0" &&
        # Without udev the node has the kernel's own name.
        device=/dev/$(dmsetup info -c --noheadings -o blkdevname hung) && wait_for 5 test -b "$device" &&
        mkfs.ext4 -q -F "$device" && mkdir -p /mnt/hung && mount "$device" /mnt/hung &&
        head -c 64M /dev/urandom >/mnt/hung/image && forget_caches
}

forget_caches() { sync && echo 3 >/proc/sys/vm/drop_caches; }

# suspend_device HOW: what waits for the device waits; with "frozen" the file system takes no writes either.
suspend_device() {
    case $1 in
        frozen) dmsetup suspend --noudevsync hung ;;
        stuck) dmsetup suspend --noudevsync --noflush --nolockfs hung ;;
    esac
}

resume_device() { dmsetup resume --noudevsync hung; }

set_up() {
    step "ten disks"
    install -m 755 /host/carousel-bench /tmp
    check "a device that can hang" make_device || return
    # Without kept memory, so that reads of the image need its file.
    check "the daemon starts" start_daemon --portal "$portal" --kept-memory 0 || return
    for number in 1 2 3 4 5 6 7 8 9; do
        check "disk $number" carousel disk create "d$number" --size 16MiB
    done
    check "the disk whose file will hang" carousel disk create hung --image /mnt/hung/image
    check "iscsid starts" start_iscsid
}

# has_ended: commands for the file end.
has_ended() { [ "$(load hung 1 --operation read)" -gt 0 ]; }

# --- Work ---------------------------------------------------------------------------------------------

# load DISK SECONDS [OPTION...]: operations a second.
load() {
    /tmp/carousel-bench load --url "$(url "$1")" --operation mixed --depth 8 --warmup 1 \
        --seconds "$2" "${@:3}" 2>>/tmp/load.errors | awk 'NR == 1 { print int($1) }'
}

# throughput: operations a second of nine disks, each by its own initiator at the same time, in one line.
throughput() {
    local number
    for number in 1 2 3 4 5 6 7 8 9; do load "d$number" $measured >"/tmp/load.$number" & done
    # shellcheck disable=SC2046  # the jobs of this shell but the daemon and the load on the disk that hangs
    wait $(jobs -p | grep -vx -e "$daemon" -e "${hung_load:-$daemon}")
    cat /tmp/load.[1-9] | xargs
}

sum() { echo "$*" | tr ' ' '\n' | awk '{ total += $1 } END { print int(total) }'; }

# keeps BEFORE MEANWHILE: all nine together, and that none of them stands still.
keeps() {
    [ $((100 * $(sum "$2"))) -ge $((share * $(sum "$1"))) ] || return
    for value in $2; do [ "${value%.*}" -gt 0 ] || return; done
}

# answers DISK: what an initiator asks for, each within ten seconds.
answers() {
    local disk
    login "$portal" "$(target "$1")" && disk=$(wait_device 0 block) || return
    timeout 10 sg_turs "$(generic "$disk")" && timeout 10 sg_inq "$(generic "$disk")" &&
        timeout 10 dd if=/dev/zero of="$disk" bs=64k count=4 oflag=direct status=none &&
        timeout 10 dd if="$disk" of=/dev/null bs=64k count=4 iflag=direct status=none &&
        timeout 10 sg_sync "$(generic "$disk")" && logout "$(target "$1")"
}

# hang HOW WHAT: the nine before, while the file hangs, and the tenth afterwards.
hang() {
    local before meanwhile try hung_load
    step "$2"
    check "the caches are empty" forget_caches
    before=$(throughput)
    check "the file hangs" suspend_device "$1" || return
    # Far more commands than the engine has threads: reads of what is in no cache, and writes.
    /tmp/carousel-bench load --url "$(url hung)" --operation mixed --depth 64 --connections 4 --seconds 600 \
        >/tmp/load.hung 2>&1 &
    hung_load=$!
    expect "no read of the file ends" 0 "$(load hung 2 --operation read)"
    for try in 1 2 3; do
        meanwhile=$(throughput)
        # The emulated machine is never quite the same, but not three times in a row.
        keeps "$before" "$meanwhile" && break
    done
    echo "        operations a second of nine disks: $before = $(sum "$before") before," \
        "$meanwhile = $(sum "$meanwhile") meanwhile (try $try)"
    check "the nine keep $share % of their throughput" keeps "$before" "$meanwhile"
    check "a disk beside the one that hangs answers" answers d1
    check "another one does" answers d9
    check "the daemon answers" timeout 10 /tmp/carousel status --state "$state"
    check "the file goes on" resume_device
    check "so do the commands" wait_for 30 has_ended
    check "none of them failed" kill $hung_load
    wait $hung_load
    check "the disk answers" answers hung
}

stuck() { hang stuck "a device that does nothing"; }
frozen() { hang frozen "a file system that takes no writes"; }

tear_down() {
    step "the end"
    check "the daemon ends" stop_daemon
    refuse "no command failed" grep -q 'level=error\| error ' /tmp/daemon.log
}

topics=(stuck frozen)
[ $# -eq 0 ] || topics=("$@")
set_up || finish
for topic in "${topics[@]}"; do "$topic"; done
tear_down
finish
