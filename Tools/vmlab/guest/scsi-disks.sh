# shellcheck shell=bash disable=SC2154
# Commands of disks by sg3_utils, with what is on the medium afterwards, and file systems on disks of all block sizes:
# part of scsi.sh.

# blocks_of DEVICE FIRST COUNT: blocks of 512 bytes, past the page cache.
blocks_of() {
    dd if="$1" bs=64k skip=$(($2 * 512)) count=$(($3 * 512)) iflag=direct,skip_bytes,count_bytes,fullblock status=none
}

# holds DEVICE FIRST COUNT FILE [SKIP]: the blocks are those of the file, from its block SKIP on.
holds() {
    cmp <(blocks_of "$1" "$2" "$3") <(dd if="$4" bs=64k skip=$((${5:-0} * 512)) count=$(($3 * 512)) \
        iflag=skip_bytes,count_bytes,fullblock status=none)
}

# put FIRST COUNT: blocks of /tmp/random, from its beginning.
put() {
    dd if=/tmp/random of="$first" bs=64k seek=$(($1 * 512)) count=$(($2 * 512)) oflag=direct,seek_bytes conv=notrunc \
        iflag=count_bytes,fullblock status=none
}

# pattern BYTE BLOCKS: a file /tmp/pattern of such bytes (octal).
pattern() { head -c $(($2 * 512)) /dev/zero | tr '\0' "\\$1" >/tmp/pattern; }

blocks() {
    step "commands of disks"
    settle "$first_generic"
    put 0 2048
    copies
    compared
    same
    written
    unmapped
    marked
    plain "sg_verify" sg_verify --lba=0 --count=64 "$first_generic"
    plain "sg_sync" sg_sync "$first_generic"
    plain "sg_reset --device" sg_reset --device "$first_generic"
    settle "$first_generic"
}

# copies: EXTENDED COPY (LID1) to another disk of the same initiator.
copies() {
    local other
    check "login to the other disk" login_as default other
    check "it appears" wait_device 0 block
    other=$(device 0 block)
    settle "$(generic "$other")"
    plain "sg_xcopy, sent to the source" sg_xcopy --on_src if="$first_generic" of="$(generic "$other")" bs=512 \
        count=2048 skip=0 seek=64
    check "the copy is right" holds "$other" 64 2048 /tmp/random
    plain "sg_xcopy, sent to the destination" sg_xcopy --on_dst if="$first_generic" of="$(generic "$other")" bs=512 \
        count=1000 skip=8 seek=4096
    check "the copy is right" holds "$other" 4096 1000 /tmp/random 8
    plain "sg_copy_results --params" sg_copy_results --params "$first_generic"
    check "logout of the other disk" iscsiadm -m node -T "$prefix:other" --logout
}

compared() {
    blocks_of "$first" 8 4 >/tmp/found
    pattern 125 4
    plain "sg_compare_and_write" sg_compare_and_write --lba=8 --num=4 --xferlen=4096 --inc=/tmp/found \
        --inw=/tmp/pattern "$first_generic"
    check "it has written" holds "$first" 8 4 /tmp/pattern
    check "a miscompare ends with MISCOMPARE" ends 14 sg_compare_and_write --quiet --lba=8 --num=4 --xferlen=4096 \
        --inc=/tmp/found --inw=/tmp/found "$first_generic"
    check "and writes nothing" holds "$first" 8 4 /tmp/pattern
}

# same: WRITE SAME in its three lengths.
same() {
    local form
    for form in 10 16 32; do
        pattern "1$form" 64
        plain "sg_write_same --$form" sg_write_same --"$form" --lba=100 --num=64 --in=/tmp/pattern --xferlen=512 \
            "$first_generic"
        check "it has written" holds "$first" 100 64 /tmp/pattern
    done
    for form in 16 32; do
        put 100 64
        plain "sg_write_same --$form --ndob" sg_write_same --"$form" --ndob --lba=100 --num=64 "$first_generic"
        check "there are zeros" holds "$first" 100 64 /dev/zero
        put 128 64
        plain "sg_write_same --$form --unmap" sg_write_same --"$form" --unmap --lba=128 --num=64 --in=/dev/zero \
            --xferlen=512 "$first_generic"
        check "there are zeros" holds "$first" 128 64 /dev/zero
    done
}

# written: the commands of sg_write_x that a disk has, and that it has no others.
written() {
    # The tags of protection information, which sg_write_x sets by itself: the disk has none.
    local form tags=(--ref-tag=0 --app-tag=0 --tag-mask=0)
    for form in 16 32; do
        plain "sg_write_x --normal --$form" sg_write_x --normal --$form "${tags[@]}" --strict --quiet \
            --in=/tmp/random --lba=200 --num=$form "$first_generic"
        check "it has written" holds "$first" 200 $form /tmp/random
        pattern "2$form" 8
        plain "sg_write_x --same --$form" sg_write_x --same=0 --$form "${tags[@]}" --quiet --in=/tmp/pattern \
            --lba=300 --num=8 "$first_generic"
        check "it has written" holds "$first" 300 8 /tmp/pattern
    done
    plain "sg_write_x --atomic" sg_write_x --atomic=0 --16 --strict --quiet --in=/tmp/random --lba=400 --num=512 \
        "$first_generic"
    check "it has written" holds "$first" 400 512 /tmp/random
    pattern 17 8
    put 500 8
    plain "sg_write_x --or" sg_write_x --or --16 --strict --quiet --in=/tmp/pattern --lba=500 --num=8 "$first_generic"
    check "all bits of the pattern are set" sh -c "dd if=$first bs=512 skip=500 count=8 iflag=direct status=none |
        od -An -v -tu1 -w1 | awk '(\$1 % 16) != 15 { exit 1 }'"
    plain "sg_write_verify" sg_write_verify --16 --lba=600 --num=8 --in=/tmp/random --ilen=4096 "$first_generic"
    check "it has written" holds "$first" 600 8 /tmp/random
    # What sg_opcodes does not list is refused.
    sg_opcodes "$first_generic" >/tmp/plain
    check "no WRITE SCATTERED, no WRITE STREAM" sh -c '! grep -qiE "scattered|stream" /tmp/plain'
    check "WRITE STREAM is refused" ends 9 sg_write_x --stream=1 --16 --quiet --in=/tmp/random --lba=0 --num=1 \
        "$first_generic"
}

# status FIRST [OPTION...]: GET LBA STATUS of the blocks from there on: mapped or deallocated.
status() { sg_get_lba_status --lba="$1" "${@:2}" "$first_generic" | grep -oiE 'mapped|deallocated' | head -n 1; }

unmapped() {
    local form
    put 1024 1024
    plain "sg_unmap" sg_unmap --force --lba=1024,1800 --num=512,8 "$first_generic"
    check "there are zeros" holds "$first" 1024 512 /dev/zero
    check "in both ranges" holds "$first" 1800 8 /dev/zero
    check "and nothing else is lost" holds "$first" 1536 264 /tmp/random 512
    for form in 16 32; do
        plain "sg_get_lba_status --$form" sg_get_lba_status --$form --lba=1024 "$first_generic"
        expect "what was unmapped" deallocated "$(status 1024 --$form)"
        expect "what was not" mapped "$(status 1536 --$form)"
    done
    plain "sg_get_lba_status of many" sg_get_lba_status --lba=0 --maxlen=4096 --brief "$first_generic"
    plain "sg_rep_pip" sg_rep_pip "$first_generic"
}

# marked: blocks that WRITE LONG makes unreadable.
marked() {
    put 2000 8
    plain "sg_write_long --wr_uncor" sg_write_long --16 --wr_uncor --lba=2003 --xfer_len=0 "$first_generic"
    check "the block cannot be read" ends 3 sg_raw -r 512 "$first_generic" 28 00 00 00 07 d3 00 00 01 00
    check "the block before it can" holds "$first" 2002 1 /tmp/random 2
    plain "sg_reassign" sg_reassign --address=2003 "$first_generic"
    check "it can be read" sg_raw -r 512 "$first_generic" 28 00 00 00 07 d3 00 00 01 00
    check "READ DEFECT DATA is answered" sg_reassign --grown "$first_generic"
}

# progress_has_ended: REQUEST SENSE shows no progress any more.
progress_has_ended() { ! sg_requests --progress "$first_generic" 2>&1 | grep -qi 'progress indication'; }

# whole_disks: SANITIZE and FORMAT UNIT, each of which leaves nothing of what was there.
whole_disks() {
    step "operations on all blocks"
    settle "$first_generic"
    put 0 4096
    plain "sg_sanitize --block" sg_sanitize --block --quick --wait "$first_generic"
    check "there are zeros" holds "$first" 0 4096 /dev/zero
    put 0 4096
    pattern 252 1
    plain "sg_sanitize --overwrite" sg_sanitize --overwrite --pattern=/tmp/pattern --ipl=512 --quick --wait \
        "$first_generic"
    pattern 252 131072
    check "the pattern is on all blocks" holds "$first" 0 131072 /tmp/pattern
    plain "sg_sanitize --overwrite --invert --count=2" sg_sanitize --overwrite --pattern=/tmp/pattern --ipl=4 \
        --count=2 --invert --quick --wait "$first_generic"
    plain "sg_sanitize --overwrite --zero --early" sg_sanitize --overwrite --zero --early --quick "$first_generic"
    check "it ends" wait_for 60 progress_has_ended
    check "there are zeros" holds "$first" 0 131072 /dev/zero
    plain "sg_sanitize --fail" sg_sanitize --fail --quick "$first_generic"
    check "there is no cryptographic erase" ends 5 sg_sanitize --crypto --quick --wait "$first_generic"
    put 0 4096
    plain "sg_format --format" sg_format --format --quick --wait "$first_generic"
    check "there are zeros" holds "$first" 0 4096 /dev/zero
    put 0 4096
    plain "sg_format --format --format, with a pattern by default" sg_format --format --ip-def --quick --wait \
        "$first_generic"
    check "there are zeros" holds "$first" 0 4096 /dev/zero
    plain "sg_format, the size" sg_format "$first_generic"
    plain "sg_start --stop" sg_start --stop "$first_generic"
    check "it is not ready" ends 2 sg_turs "$first_generic"
    plain "sg_start --start" sg_start --start "$first_generic"
    plain "sg_start --pc=2, idle" sg_start --pc=2 "$first_generic"
    plain "sg_start --pc=1, active" sg_start --pc=1 "$first_generic"
    plain "sg_prevent" sg_prevent "$first_generic"
    plain "sg_prevent --allow" sg_prevent --allow "$first_generic"
}

# tapes: what there is of sg3_utils for tape drives, beside mt.
tapes() {
    step "commands of tape drives"
    settle "$tape_first"
    plain "sg_read_block_limits" sg_read_block_limits "$tape_first"
    plain "sg_read_attr" sg_read_attr "$tape_first"
    plain "sg_read_attr, by the cartridge's own words" sg_read_attr --filter=0x401 "$tape_first"
    plain "sg_prevent" sg_prevent "$tape_first"
    plain "sg_prevent --allow" sg_prevent --allow "$tape_first"
}

# --- File systems -----------------------------------------------------------------------------------------

# queue DEVICE NAME: what the kernel has learned of a disk.
queue() { cat "/sys/block/${1##*/}/queue/$2"; }

# allocated NAME: the kilobytes of storage that the disk's image has on the host.
allocated() { du -k "$(image "$1")" | cut -f 1; }

# file_system NAME LOGICAL PHYSICAL [OPTION...]: makes a disk and works on it.
file_system() {
    local name=$1 disk before
    check "a disk $name is created" carousel disk create "$name" --size 96MiB --block-size "$2" "${@:4}"
    check "$name: login" login_as default "$name"
    check "$name: it appears" wait_device 0 block
    disk=$(device 0 block)
    expect "$name: logical blocks" "$2" "$(queue "$disk" logical_block_size)"
    expect "$name: physical blocks" "$3" "$(queue "$disk" physical_block_size)"
    plain "$name: sg_readcap -l" sg_readcap -l "$(generic "$disk")"
    has "$name: its size" 'Device size: 100663296 bytes' "Logical block length=$2 bytes"
    check "$name: mkfs, mount, compare, fsck" disk_mount_test "$disk"
    check "$name: mkfs" mkfs.ext4 -q -F "$disk"
    check "$name: mount" mount "$disk" /mnt/disk
    check "$name: 24 MB" cp /tmp/random /mnt/disk/random
    check "$name: sync" sync -f /mnt/disk
    before=$(allocated "$name")
    check "$name: they are removed" rm /mnt/disk/random
    # What was freed before its transaction is on the medium is not trimmed.
    check "$name: sync" sync -f /mnt/disk
    show "$name: fstrim" fstrim -v /mnt/disk
    check "$name: the host has 23 MB more room ($before KiB before)" \
        test "$(allocated "$name")" -le $((before - 23 * 1024))
    check "$name: the same once more" cp /tmp/random /mnt/disk/random
    check "$name: umount" umount /mnt/disk
    check "$name: fsck" e2fsck -f -n "$disk"
    check "$name: mount" mount "$disk" /mnt/disk
    check "$name: the file is right" cmp /tmp/random /mnt/disk/random
    check "$name: umount" umount /mnt/disk
    check "$name: logout" iscsiadm -m node -T "$prefix:$name" --logout
    check "$name: its medium is as large as ever" test "$(stat -c %s "$(image "$name")")" -eq 100663296
}

file_systems() {
    local disk
    step "file systems on disks of all block sizes"
    file_system n512 512 512
    file_system e512 512 4096 --physical-block-size 4096
    file_system k4 4096 4096
    # The kernel's initiator asks for no protection information; it is there all the same.
    file_system protected 512 512 --protection 1
    check "a disk whose blocks are not aligned" carousel disk create shifted --size 96MiB --physical-block-size 4096 \
        --alignment 7
    check "login" login_as default shifted
    check "it appears" wait_device 0 block
    disk=$(device 0 block)
    expect "the kernel sees how it is aligned" 3584 "$(cat "/sys/block/${disk##*/}/alignment_offset")"
    check "mkfs, mount, compare, fsck" disk_mount_test "$disk"
    check "logout" iscsiadm -m node -T "$prefix:shifted" --logout
}

# has_size DEVICE BYTES
has_size() { [ "$(blockdev --getsize64 "$1")" -eq "$2" ]; }

# growth: a mounted disk becomes larger, and its file system too.
growth() {
    local disk before
    step "a mounted disk grows"
    check "a disk is created" carousel disk create growing --size 64MiB
    check "login" login_as default growing
    check "it appears" wait_device 0 block
    disk=$(device 0 block)
    check "mkfs" mkfs.ext4 -q -F "$disk"
    mkdir -p /mnt/disk
    check "mount" mount "$disk" /mnt/disk
    check "24 MB" cp /tmp/random /mnt/disk/random
    before=$(df -k --output=size /mnt/disk | tail -n 1)
    refuse "it does not become smaller" carousel disk set growing --size 32MiB
    check "it becomes larger" carousel disk set growing --size 160MiB
    check "rescan" tee "/sys/block/${disk##*/}/device/rescan" <<<1
    check "the kernel sees it" wait_for 10 has_size "$disk" $((160 * 1024 * 1024))
    check "resize2fs while it is mounted" resize2fs "$disk"
    check "the file system has 80 MiB more" \
        test "$(df -k --output=size /mnt/disk | tail -n 1)" -ge $((before + 80 * 1024))
    check "which can be filled" sh -c 'cat /tmp/random /tmp/random /tmp/random /tmp/random >/mnt/disk/more'
    check "sync" sync -f /mnt/disk
    check "umount" umount /mnt/disk
    check "fsck" e2fsck -f -n "$disk"
    check "mount" mount "$disk" /mnt/disk
    check "the old file is right" cmp /tmp/random /mnt/disk/random
    check "the new one is" sh -c 'cat /tmp/random /tmp/random /tmp/random /tmp/random | cmp - /mnt/disk/more'
    check "umount" umount /mnt/disk
    check "logout" iscsiadm -m node -T "$prefix:growing" --logout
}
