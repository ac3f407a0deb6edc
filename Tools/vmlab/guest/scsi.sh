# shellcheck shell=bash disable=SC2154
# SCSI commands of sg3_utils from two initiators of the kernel: reservations, a fence under writes, what the units say
# of themselves, the commands of disks; then file systems on disks of several block sizes, and dm-multipath through
# changes of access states. /host has the program `carousel`. Each topic is a function, here or in the scripts that are
# read below; the list of them is at the end of the file.
. /lab/lib.sh
. /lab/daemon.sh
. /lab/scsi-reservations.sh
. /lab/scsi-descriptions.sh
. /lab/scsi-disks.sh
. /lab/scsi-paths.sh

# On the guest's disk: what goes on after a restart is kept in extended attributes, which /tmp has not.
# shellcheck disable=SC2034
state=/root/state

set_up() {
    step "daemon, two initiators"
    head -c 24M /dev/urandom >/tmp/random
    check "a second address" second_address 10.99.0.1
    check "the daemon starts" start_daemon --portal "$portal" || finish_with_daemon
    check "a disk is created" carousel disk create disk --size 64MiB
    check "another disk" carousel disk create other --size 64MiB
    check "a library is created" carousel library create library --profile ibm-03584l32 --drives 1 \
        --drive-profile ibm-ult3580-td8 --slots 4 --mail-slots 1 --cartridges 2 --cartridge-size 64MiB
    check "iscsid starts" start_iscsid
    check "another initiator" another_initiator
    # shellcheck disable=SC2034  # used by the other scripts
    log_in_both disk && read -r first second < <(nodes block 0) &&
        read -r first_generic second_generic < <(nodes scsi_generic 0)
    log_in_both library
    # shellcheck disable=SC2034
    read -r tape_first tape_second < <(nodes scsi_generic 1)
    # shellcheck disable=SC2034
    read -r changer_first changer_second < <(nodes scsi_generic 0)
    check "a cartridge is loaded" mtx -f "$changer_first" load 1 0
    settle "$tape_first" "$tape_second"
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
    check "the first initiator logs in to $1" login_as default "$1"
    check "the second initiator logs in to $1" login_as second "$1"
}

# login_as INTERFACE NAME
login_as() {
    local node=(-m node -T "$prefix:$2" -p "$portal" -I "$1")
    iscsiadm "${node[@]}" -o new &&
        iscsiadm "${node[@]}" -o update -n node.session.timeo.replacement_timeout -v 30 && iscsiadm "${node[@]}" --login
}

# nodes CLASS LUN: the nodes of the units with that number of the two newest SCSI hosts, the older one first.
nodes() {
    local found=()
    wait_for 15 two_nodes "$@"
    # shellcheck disable=SC2207  # names without spaces
    found=($(units "$@"))
    wait_for 5 test -e "${found[-1]}"
    echo "${found[-2]} ${found[-1]}"
}

# units CLASS LUN: the nodes of all units with that number, in the order in which their hosts came.
units() {
    local unit node
    # shellcheck disable=SC2045  # sorted by number, which a pattern alone is not
    for unit in $(ls -dv /sys/bus/scsi/devices/*:*:*:"$2" 2>/dev/null); do
        for node in "$unit/$1"/*; do [ -e "$node" ] && echo "/dev/${node##*/}"; done
    done
}

# two_nodes CLASS LUN: each of the two newest hosts has one.
two_nodes() {
    local host
    # shellcheck disable=SC2012  # sorted by number
    for host in $(ls -dv /sys/class/scsi_host/host* | tail -n 2); do
        compgen -G "$host/device/session*/target*/*:*:*:$2/$1/*" >/dev/null || return
    done
}

# settle NODE...: takes the unit attentions, which are a few at most.
settle() {
    local node left
    for node in "$@"; do
        left=20
        sg_turs "$node" >/dev/null 2>&1
        # 6: UNIT ATTENTION.
        while [ $? -eq 6 ] && [ $((left -= 1)) -gt 0 ]; do sg_turs "$node" >/dev/null 2>&1; done
    done
    return 0
}

# ends STATUS COMMAND...: sg3_utils has a status for each outcome: 3 MEDIUM ERROR, 5 ILLEGAL REQUEST, 9 INVALID COMMAND
# OPERATION CODE, 14 MISCOMPARE, 24 RESERVATION CONFLICT.
ends() {
    local ends_status=0
    "${@:2}" || ends_status=$?
    [ $ends_status -eq "$1" ] || { echo "it ended with $ends_status"; return 1; }
}

log_out() {
    step "logout"
    check "logout" iscsiadm -m node --logoutall=all
    check "the daemon ends on SIGTERM with status 0" stop_daemon
}

if [ $# -eq 0 ]; then
    set -- reservations aptpl fencing descriptions blocks whole_disks tapes file_systems growth access_states
fi
set_up
for topic in "$@"; do $topic; done
log_out
finish_with_daemon
