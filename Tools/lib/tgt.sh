# shellcheck shell=bash disable=SC2154
# Debian's tgt beside our own daemon, for Tools/bench: a disk (LUN 1, plain reads and writes) and a tape drive with a
# cartridge (LUN 2) on a free port, with a control channel of its own. Needs common.sh and `work`. Sets `tgt` (the
# process).

tgt=
tgt_port=
tgt_channel=$((1000 + RANDOM % 20000))
tgt_name=iqn.2026-11.dev.carousel:tgt

tgt_admin() { tgtadm -C "$tgt_channel" --lld iscsi "$@"; }

# start_tgt MEGABYTES: of the disk and of the cartridge each.
start_tgt() {
    tgt_port=$(free_port)
    tgtd -f -C "$tgt_channel" --iscsi "portal=127.0.0.1:$tgt_port" >"$work/tgt.log" 2>&1 &
    tgt=$!
    children+=("$tgt")
    wait_until 10 tgt_admin --op show --mode target || die "tgtd does not start: $(tail -n 1 "$work/tgt.log")"
    truncate -s "$1M" "$work/tgt.disk"
    tgtimg --op new --device-type tape --barcode BENCH1L8 --size "$1" --type data --file "$work/tgt.tape" >/dev/null
    tgt_admin --mode target --op new --tid 1 -T "$tgt_name"
    # Digests for those who ask for them.
    tgt_admin --mode target --op update --tid 1 --name HeaderDigest --value CRC32C
    tgt_admin --mode target --op update --tid 1 --name DataDigest --value CRC32C
    tgt_admin --mode logicalunit --op new --tid 1 --lun 1 --bstype rdwr -b "$work/tgt.disk"
    tgt_admin --mode logicalunit --op new --tid 1 --lun 2 --device-type tape -b "$work/tgt.tape"
    tgt_admin --mode target --op bind --tid 1 -I ALL
}

# tgt_url disk|tape
tgt_url() {
    local unit=1
    [ "$1" = disk ] || unit=2
    echo "iscsi://127.0.0.1:$tgt_port/$tgt_name/$unit"
}
