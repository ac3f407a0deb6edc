# shellcheck shell=bash disable=SC2154
# The daemon and the kernel's initiator in one guest: sd, st, ch and sg with mkfs, mt, mtx and tar on a disk and a tape
# library. /host has the program `carousel`. Each topic is a function; the list of them is at the end of the file.
. /lab/lib.sh
. /lab/daemon.sh

library=$prefix:library
disk_target=$prefix:disk

# changer_shows PATTERN: mtx lists it.
changer_shows() { mtx -f "$changer" status | grep -q -- "$1"; }

# --- Topics -----------------------------------------------------------------------------------------

set_up() {
    step "daemon, library and disk"
    head -c 48M /dev/urandom >/tmp/random
    check "the daemon starts" start_daemon --portal "$portal" || return
    check "a library is created" carousel library create library --profile ibm-03584l32 --drives 2 \
        --drive-profile ibm-ult3580-td8 --slots 8 --mail-slots 2 --cartridges 4 --first-barcode V00001L8 \
        --cartridge-size 128MiB
    check "a small cartridge is created" carousel tape create library SMALL1L8 --size 32MiB
    check "another one" carousel tape create library SMALL2L8 --size 32MiB
    check "a disk is created" carousel disk create disk --size 128MiB
    show "targets" carousel target list
}

log_in() {
    step "login"
    check "iscsid starts" start_iscsid
    show "discovery" discover "$portal"
    check "login to the disk" login "$portal" "$disk_target"
    check "login to the library" login "$portal" "$library"
    check "the disk appears" wait_device 0 block
    check "the changer appears" wait_device 0 scsi_changer
    check "the first drive appears" wait_device 1 scsi_tape
    check "the second drive appears" wait_device 2 scsi_tape
    disk=$(device 0 block)
    tape=$(device 1 scsi_tape)
    tape2=$(device 2 scsi_tape)
    changer=$(generic "$(device 0 scsi_changer)")
    show "lsscsi" lsscsi -g
    local type
    for type in disk tape mediumx; do check "lsscsi lists a $type" sh -c "lsscsi | grep -qw $type"; done
    show "sessions" carousel session list
}

changer_moves() {
    step "changer"
    show "mtx status" mtx -f "$changer" status
    check "2 drives, 8 slots, 2 mail slots" changer_shows '2 Drives, 10 Slots ( 2 Import/Export )'
    check "mtx inventory" mtx -f "$changer" inventory
    check "mtx load 1 0" mtx -f "$changer" load 1 0
    check "the first drive is full" \
        changer_shows 'Data Transfer Element 0:Full (Storage Element 1 Loaded):VolumeTag = V00001L8'
    check "slot 1 is empty" changer_shows 'Storage Element 1:Empty'
    check "mtx load 2 1" mtx -f "$changer" load 2 1
    check "mtx transfer 3 7" mtx -f "$changer" transfer 3 7
    check "slot 7 is full" changer_shows 'Storage Element 7:Full :VolumeTag=V00003L8'
    check "mtx transfer to a mail slot" mtx -f "$changer" transfer 7 9
    check "the mail slot is full" changer_shows 'Storage Element 9 IMPORT/EXPORT:Full :VolumeTag=V00003L8'
    check "mtx transfer from the mail slot" mtx -f "$changer" transfer 9 3
    refuse "mtx transfer to a full slot is refused" mtx -f "$changer" transfer 3 4
    refuse "mtx load from an empty slot is refused" mtx -f "$changer" load 8 1
    refuse "mtx load to a full drive is refused" mtx -f "$changer" load 3 0
    check "mtx unload to another slot" mtx -f "$changer" unload 8 1
    check "slot 8 is full" changer_shows 'Storage Element 8:Full :VolumeTag=V00002L8'
    check "mtx load it again" mtx -f "$changer" load 8 1
    show "the daemon says the same" carousel library show library
}

identities() {
    step "identities"
    local node
    for node in "$disk" "$(generic "$tape")" "$changer"; do
        sg_turs -n 3 "$node" >/dev/null 2>&1 # takes the unit attentions of the login and of the loading away
        check "sg_turs $node" sg_turs "$node"
        check "sg_inq $node" sg_inq "$node"
        check "sg_vpd $node: supported pages" sg_vpd -p sv "$node"
        check "sg_vpd $node: unit serial number" sg_vpd -p sn "$node"
        check "sg_vpd $node: device identification" sg_vpd -p di "$node"
        check "sg_luns $node" sg_luns "$node"
        check "sg_opcodes $node" sg_opcodes "$node"
        check "sg_requests $node" sg_requests "$node"
    done
    show "loaderinfo" loaderinfo -f "$changer"
    check "sg_readcap" sg_readcap "$disk"
    show "sg_readcap --16" sg_readcap --16 "$disk"
    local page
    for page in bl bdc lbpv; do check "sg_vpd of the disk: $page" sg_vpd -p $page "$disk"; done
    check "sg_modes of the disk" sg_modes -a "$disk"
    check "sg_modes of the changer" sg_modes -a "$changer"
}

tape_positions() {
    step "mt: positions"
    check "mt rewind" mt -f "$tape" rewind
    show "mt status" mt -f "$tape" status
    expect "flags of a tape at its beginning" "BOT ONLINE IM_REP_EN" "$(tape_flags "$tape")"
    check "a file of 4 blocks" write_blocks "$tape" 64k 4
    check "a file of 3 blocks" write_blocks "$tape" 64k 3
    check "a file of 5 blocks" write_blocks "$tape" 64k 5
    expect "file number after them" 3 "$(tape_file "$tape")"
    expect "mt tell after them" 15 "$(tape_tell "$tape")"
    check "rewind" mt -f "$tape" rewind
    check "the first file is right" same_blocks "$tape" 64k 4
    check "mt fsf over its end" mt -f "$tape" fsf 1
    expect "file number" 1 "$(tape_file "$tape")"
    expect "the second file, read to its end" $((3 * 65536)) "$(read_blocks "$tape" 64k | wc -c)"
    check "the third file is right" same_blocks "$tape" 64k 5
    check "mt bsf" mt -f "$tape" bsf 1
    expect "mt tell before the file mark" 8 "$(tape_tell "$tape")"
    expect "nothing to read before the file mark" 0 "$(read_blocks "$tape" 64k | wc -c)"
    check "mt fsr" mt -f "$tape" fsr 3
    expect "block number" 3 "$(tape_block "$tape")"
    check "mt bsr" mt -f "$tape" bsr 1
    expect "mt tell" 11 "$(tape_tell "$tape")"
    check "the block there is right" same_blocks "$tape" 64k 1 2
    check "mt eom" mt-gnu -f "$tape" eom
    expect "file number at the end of data" 3 "$(tape_file "$tape")"
    refuse "mt fsr beyond the end of data fails" mt -f "$tape" fsr 1
    local mode
    for mode in "the drive's own" logical; do
        check "mt seek ($mode address)" mt -f "$tape" seek 5
        expect "mt tell ($mode address)" 5 "$(tape_tell "$tape")"
        check "the blocks there are right" same_blocks "$tape" 64k 3
        check "mt stsetoptions scsi2logical" mt -f "$tape" stsetoptions scsi2logical
    done
    check "mt asf" mt -f "$tape" asf 2
    expect "mt tell at the third file" 9 "$(tape_tell "$tape")"
}

tape_writing() {
    step "mt: marks, erasing, block sizes"
    check "mt eod" mt -f "$tape" eod
    check "mt weof 2" mt -f "$tape" weof 2
    expect "mt tell after the marks" 17 "$(tape_tell "$tape")"
    check "mt asf 1" mt -f "$tape" asf 1
    check "a block in the middle" write_blocks "$tape" 64k 1
    check "mt eod" mt -f "$tape" eod
    expect "what was after it is gone" 7 "$(tape_tell "$tape")"
    check "mt asf 1" mt -f "$tape" asf 1
    check "mt erase in the middle" mt -f "$tape" erase
    check "mt eod" mt -f "$tape" eod
    expect "mt tell at the end of data" 5 "$(tape_tell "$tape")"
    check "rewind" mt -f "$tape" rewind
    check "the first file is still right" same_blocks "$tape" 64k 4
    check "rewind" mt -f "$tape" rewind
    check "mt erase" mt -f "$tape" erase
    check "rewind" mt -f "$tape" rewind
    refuse "a blank tape has nothing to read" skip_blocks "$tape" 64k 1

    check "mt setblk 512" mt -f "$tape" setblk 512
    check "a file of 160 fixed blocks" write_blocks "$tape" 8k 10
    expect "mt tell" 161 "$(tape_tell "$tape")"
    check "rewind" mt -f "$tape" rewind
    check "mt status says 512" sh -c "mt -f $tape status | grep -q 'Tape block size 512 bytes'"
    check "16 blocks a read are right" same_blocks "$tape" 8k 10
    check "rewind" mt -f "$tape" rewind
    expect "a read beyond the file's end gives what is there" $((160 * 512)) "$(read_blocks "$tape" 64k | wc -c)"
    check "mt setblk 0" mt -f "$tape" setblk 0
    check "rewind" mt -f "$tape" rewind
    expect "three short blocks in large buffers" $((3 * 512)) "$(read_blocks "$tape" 64k 3 | wc -c)"
    check "rewind" mt -f "$tape" rewind
    check "blocks of 1 MiB" write_blocks "$tape" 1M 4
    check "rewind" mt -f "$tape" rewind
    check "they are right" same_blocks "$tape" 1M 4
    check "rewind" mt -f "$tape" rewind
    refuse "a block larger than the buffer is an error" skip_blocks "$tape" 64k 1
    expect "and the tape stands behind it" 1 "$(tape_tell "$tape")"
    check "mt compression on" mt -f "$tape" compression 1
    check "mt compression off" mt -f "$tape" compression 0
    check "rewind" mt -f "$tape" rewind
    show "tapeinfo" tapeinfo -f "$(generic "$tape")"
}

removal() {
    step "locking and unloading"
    check "mt lock" mt -f "$tape" lock
    refuse "mtx unload of a locked drive is refused" mtx -f "$changer" unload 1 0
    check "mt unlock" mt -f "$tape" unlock
    check "mt offline" mt -f "$tape" offline
    check "mt status says so" sh -c "mt -f $tape status | grep -q DR_OPEN"
    check "mt load" mt -f "$tape" load
    check "mt status says it is back" sh -c "mt -f $tape status | grep -q 'BOT ONLINE'"
    check "mtx unload" mtx -f "$changer" unload 1 0
    # st would wait two minutes for a cartridge in a plain open.
    refuse "an empty drive has nothing to read" dd if="$tape" of=/dev/null bs=64k count=1 iflag=nonblock status=none
    check "mtx load" mtx -f "$changer" load 1 0
}

make_tree() {
    mkdir -p /tmp/tree/few /tmp/tree/many
    cp -r /lab /usr/share/mime-packages /tmp/tree/few/ 2>/dev/null
    head -c 6M /tmp/random >/tmp/tree/few/large
    ln /tmp/tree/few/large /tmp/tree/few/hard-link
    ln -s large /tmp/tree/few/symbolic-link
    : >/tmp/tree/few/empty
    split -b 7001 -a 3 <(head -c 1M /tmp/random) /tmp/tree/many/
}

# tar_compare TAPE BLOCKING
tar_compare() { mt -f "$1" rewind && tar -C /tmp -b "$2" --compare -f "$1"; }

tar_trees() {
    step "tar of a tree to two tapes"
    make_tree
    check "rewind" mt -f "$tape" rewind
    check "rewind" mt -f "$tape2" rewind
    tar -C /tmp -b 512 -cf "$tape" tree &
    local first=$!
    check "tar to the second drive" tar -C /tmp -b 20 -cf "$tape2" tree
    check "tar to the first drive, at the same time" wait $first
    check "tar --compare of the first" tar_compare "$tape" 512
    check "tar --compare of the second" tar_compare "$tape2" 20
    mkdir -p /tmp/out
    check "rewind" mt -f "$tape2" rewind
    check "tar extracts the second" tar -C /tmp/out -b 20 -xf "$tape2"
    check "the trees are the same" diff -r /tmp/tree /tmp/out/tree
    rm -rf /tmp/out
}

# end_of_tape: one file on as many tapes as it needs, then blocks until a tape takes no more.
end_of_tape() {
    step "end of the tape"
    check "mtx unload the second drive" mtx -f "$changer" unload 2 1
    check "mtx load a small cartridge" mtx -f "$changer" load 5 1
    cat >/tmp/next-volume <<SCRIPT
#!/bin/bash
mtx -f $changer unload 5 1 && mtx -f $changer load 6 1
SCRIPT
    chmod +x /tmp/next-volume
    check "tar of 48 MB over two tapes of 32 MiB" tar -C /tmp -b 128 -M -F /tmp/next-volume -cf "$tape2" random
    check "it has changed tapes" changer_shows 'Data Transfer Element 1:Full (Storage Element 6 Loaded)'
    check "back to the first tape" mtx -f "$changer" unload 6 1
    check "mtx load it" mtx -f "$changer" load 5 1
    check "tar --compare over both tapes" tar -C /tmp -b 128 -M -F /tmp/next-volume --compare -f "$tape2"

    check "rewind" mt -f "$tape2" rewind
    local blocks trailers=0
    dd if=/tmp/random of="$tape2" bs=64k 2>/tmp/dd.out
    check "dd ends with ENOSPC at the early warning" grep -q 'No space left on device' /tmp/dd.out
    blocks=$(sed -n 's/^\([0-9]*\)+.*records out/\1/p' /tmp/dd.out)
    check "after 24 to 32 MiB ($blocks blocks of 64 KiB)" test "$blocks" -ge 384 -a "$blocks" -le 512
    check "there is room for a trailer" write_blocks "$tape2" 64k 1
    while [ $trailers -lt 200 ] && write_blocks "$tape2" 64k 1 2>/dev/null; do trailers=$((trailers + 1)); done
    check "the tape ends after some more ($trailers)" test $trailers -lt 200
    check "rewind" mt -f "$tape2" rewind
    check "all blocks are there and right" same_blocks "$tape2" 64k "$blocks"
    expect "and nothing more before the mark" 0 "$(read_blocks "$tape2" 64k | wc -c)"
    check "the trailer is right" same_blocks "$tape2" 64k 1
    check "mt eod" mt -f "$tape2" eod
    # Each trailer is a block and the file mark that closing the device writes.
    check "the tape holds all that was written" test "$(tape_tell "$tape2")" -ge $((blocks + 3 + 2 * trailers))
    check "back to the larger cartridge" mtx -f "$changer" unload 6 1
    check "mtx load it" mtx -f "$changer" load 2 1
}

disk_work() {
    step "disk"
    check "16 MB past the page cache" disk_raw_test "$disk" 16
    check "blkdiscard" blkdiscard -o 1M -l 4M "$disk"
    check "discarded blocks read as zeroes" cmp -n 4194304 -i 1048576:0 "$disk" /dev/zero
    check "blkdiscard --zeroout" blkdiscard -z -o 8M -l 4M "$disk"
    check "mkfs, mount, compare, fsck" disk_mount_test "$disk"
    check "mkfs" mkfs.ext4 -q -F "$disk"
    mkdir -p /mnt/disk
    check "mount" mount "$disk" /mnt/disk
    check "copy a tree" cp -a /tmp/tree /mnt/disk/
    check "fstrim" fstrim /mnt/disk
    check "sync" sync -f /mnt/disk
}

# sessions_are_back: both are logged in again.
sessions_are_back() { [ "$(iscsiadm -m session -P 1 | grep -c 'iSCSI Session State: LOGGED_IN')" -eq 2 ]; }

# restart: the daemon goes and comes back under a mounted file system and two loaded drives.
restart() {
    step "restart of the daemon"
    mtx -f "$changer" status >/tmp/inventory.before
    check "the daemon ends on SIGTERM with status 0" stop_daemon
    check "the daemon starts again" start_daemon || return
    check "the kernel's sessions come back" wait_for 40 sessions_are_back
    mtx -f "$changer" status >/tmp/inventory.after
    check "the inventory is the same" diff /tmp/inventory.before /tmp/inventory.after
    echo 3 >/proc/sys/vm/drop_caches
    check "the mounted file system goes on" diff -r /tmp/tree /mnt/disk/tree
    check "it can be written to" cp /tmp/random /mnt/disk/later
    check "umount" umount /mnt/disk
    show "fsck" e2fsck -f -n "$disk"
    check "tar --compare of the first tape" tar_compare "$tape" 512
    check "tar --compare of the second tape" tar_compare "$tape2" 20
    check "the mount again" mount "$disk" /mnt/disk
    check "the later file is right" cmp /tmp/random /mnt/disk/later
    check "umount" umount /mnt/disk
}

log_out() {
    step "logout"
    check "logout of the library" logout "$library"
    check "logout of the disk" logout "$disk_target"
    check "the disk is gone" wait_for 5 test ! -e "$disk"
    check "the daemon ends on SIGTERM with status 0" stop_daemon
}

if [ $# -eq 0 ]; then
    set -- changer_moves identities tape_positions tape_writing removal tar_trees end_of_tape disk_work restart
fi
set_up
log_in
for topic in "$@"; do $topic; done
log_out
finish_with_daemon
