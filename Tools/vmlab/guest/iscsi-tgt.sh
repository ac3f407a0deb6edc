# shellcheck shell=bash
# Kernel initiator (open-iscsi, TCP) against a user-space target (Debian's tgt) with a disk (LUN 1), a tape
# drive (LUN 2) and a media changer (LUN 3) with four slots; all in this guest, over lo.
. /lab/lib.sh
iqn=iqn.2000-01.org.example:vtl
vtl=/tmp/vtl
mkdir -p $vtl

step "target"
tgtd -f >/tmp/tgtd.log 2>&1 &
wait_for 10 tgtadm --lld iscsi --op show --mode target
unit() { tgtadm --lld iscsi --mode logicalunit --op "$@"; }
truncate -s 64M $vtl/disk
truncate -s 4k $vtl/smc
for n in 1 2 3; do
    tgtimg --op new --device-type tape --barcode "TAPE000$n" --size 64 --type data --file "$vtl/TAPE000$n"
done
tgtadm --lld iscsi --op new --mode target --tid 1 -T $iqn
unit new --tid 1 --lun 1 -b $vtl/disk
unit new --tid 1 --lun 2 -b $vtl/TAPE0001 --device-type tape
unit update --tid 1 --lun 2 --params online=0 # unload it: the changer brings the tapes
unit new --tid 1 --lun 3 -b $vtl/smc --device-type changer
for params in media_home=$vtl \
    element_type=4,start_address=1,quantity=1 element_type=4,address=1,tid=1,lun=2 \
    element_type=1,start_address=16,quantity=1 \
    element_type=2,start_address=1024,quantity=4 \
    element_type=2,address=1024,barcode=TAPE0001,sides=1 \
    element_type=2,address=1025,barcode=TAPE0002,sides=1 \
    element_type=2,address=1026,barcode=TAPE0003,sides=1
do
    unit update --tid 1 --lun 3 --params "$params"
done
tgtadm --lld iscsi --op bind --mode target --tid 1 -I ALL

step "log in over TCP"
check "iscsid starts" start_iscsid
check "discovery" discover 127.0.0.1:3260
check "log in" login 127.0.0.1:3260 $iqn
check "disk appears" wait_device 1 block
check "tape appears" wait_device 2 scsi_tape
check "changer appears (ch driver)" wait_device 3 scsi_changer
check "changer appears (sg driver)" wait_device 3 scsi_generic
disk=$(device 1 block) tape=$(device 2 scsi_tape) changer=$(device 3 scsi_generic)
show "lsscsi" lsscsi -g

step "inquiries"
for dev in "$disk" "$(device 2 scsi_generic)" "$changer"; do check "sg_inq $dev" sg_inq "$dev"; done
check "sg_luns" sg_luns "$disk"

step "changer and tape"
show "mtx status" mtx -f "$changer" status
check "load slot 1 into the drive" mtx -f "$changer" load 1 0
mtx -f "$changer" status | head -n 2
show "mt status" mt -f "$tape" status
mkdir -p /tmp/in /tmp/out
head -c 2M /dev/urandom > /tmp/in/random
cp /etc/passwd /tmp/in/
check "rewind" mt -f "$tape" rewind
check "tar to the tape" tar -C /tmp/in -b 20 -cf "$tape" .
check "rewind" mt -f "$tape" rewind
check "tar from the tape" tar -C /tmp/out -b 20 -xf "$tape"
check "same files" diff -r /tmp/in /tmp/out
show "mt status after reading" mt -f "$tape" status
check "rewind" mt -f "$tape" rewind
check "space one file mark" mt -f "$tape" fsf 1
check "unload through the changer" mtx -f "$changer" unload 1 0

step "disk"
check "mkfs, mount, compare, fsck" disk_mount_test "$disk"

step "log out"
check "log out" logout $iqn
check "disk gone" test ! -e "$disk"
finish
