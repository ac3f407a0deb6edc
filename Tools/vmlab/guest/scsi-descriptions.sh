# shellcheck shell=bash disable=SC2154
# What the units say of themselves, by sg3_utils, and that it is so: part of scsi.sh.

# Words by which sg3_utils complains of what it has got.
complaints='badly formed|malformed|bad |unable to decode|unexpected|too short|truncated response|unsupported|<<'
complaints+='|not supported|illegal|invalid|reserved \[|unknown'

# Lines that are no complaints: a TapeAlert flag that is not set; limits that sg_vpd and sg_copy_results explain;
# sg_logs 1.46 knows TapeAlert of drives only, not of changers.
no_complaints=': 0$|percentages not supported|Inline data not supported|Unable to decode page = 0x2e, here is hex'

# What is said on standard error when all is well.
remarks='^data-in decoded as sense:$|Sense key: No Sense$|No additional sense information$|^$'
remarks+='|^sg_xcopy: [0-9]* blocks, 1 command$|^Read Block Limits results:$|imum block size: [0-9]* byte'

# plain WHAT COMMAND...: passes when the command succeeds and complains of nothing. Its output is in /tmp/plain.
plain() {
    local plain_status=0
    "${@:2}" >/tmp/plain 2>/tmp/plain.errors || plain_status=$?
    if [ $plain_status -eq 0 ] && ! grep -qvE "$remarks" /tmp/plain.errors &&
        ! grep -vE "$no_complaints" /tmp/plain | grep -qiE "$complaints"; then
        pass "$1"
    else
        fail "$1 (status $plain_status)"
        grep -vE "$no_complaints" /tmp/plain | grep -iE "$complaints" | head -n 5 | sed 's/^/        > /'
        tail -n 6 /tmp/plain /tmp/plain.errors | sed 's/^/        /'
        return 1
    fi
}

# says WORDS: the last plain command has said so.
says() { grep -qF -- "$1" /tmp/plain; }

# has WHAT WORDS...: the same, for each of them.
has() {
    local words missing=()
    for words in "${@:2}"; do says "$words" || missing+=("$words"); done
    expect "$1" "" "${missing[*]}"
}

# pages_of CONTROL NODE: the mode pages that there are.
pages_of() { sg_modes -a -c "$1" "$2" 2>&1 | sed -n 's/^>> \(.*\), page_control.*/\1/p'; }

# described WHAT NODE LUNS: what any unit says, where LUNS units are in the target.
described() {
    local what=$1 node=$2 luns=$3 control
    step "what a $what says of itself"
    settle "$node"
    plain "$what: sg_inq" sg_inq "$node"
    plain "$what: sg_vpd -a" sg_vpd -a "$node"
    plain "$what: sg_vpd -a -l" sg_vpd -a -l "$node"
    plain "$what: sg_modes -a" sg_modes -a "$node"
    plain "$what: sg_modes -a -a, with subpages" sg_modes -a -a "$node"
    plain "$what: sg_modes -6 -a" sg_modes -6 -a "$node"
    for control in 1 2 3; do
        expect "$what: sg_modes -c $control has the same pages" "$(pages_of 0 "$node")" "$(pages_of $control "$node")"
    done
    plain "$what: sg_logs -a" sg_logs -a "$node"
    plain "$what: sg_logs -A, with subpages" sg_logs -A "$node"
    plain "$what: sg_opcodes" sg_opcodes "$node"
    has "$what: it has the commands of SPC" 'Inquiry' 'Persistent reserve out, register and move' \
        'Set target port groups' 'Report supported operation codes' 'Log select' 'Send diagnostic' 'Write buffer' \
        'Report timestamp' 'Set identifying information'
    plain "$what: sg_opcodes -R -m, time-outs and masks" sg_opcodes -R -m "$node"
    plain "$what: sg_opcodes -t -q" sg_opcodes -t -q "$node"
    has "$what: it has the task management functions" 'Abort task set' 'Clear ACA' 'Logical unit reset' 'Query task'
    plain "$what: sg_luns" sg_luns "$node"
    expect "$what: there are as many units" "$luns" "$(sg_luns -q "$node" | grep -c .)"
    plain "$what: sg_luns -s 1, the well known ones" sg_luns -s 1 -d "$node"
    plain "$what: sg_luns -s 2, all" sg_luns -s 2 -d "$node"
    plain "$what: sg_requests" sg_requests "$node"
    plain "$what: sg_requests -d" sg_requests -d "$node"
    plain "$what: sg_ident" sg_ident "$node"
    plain "$what: sg_timestamp" sg_timestamp "$node"
    plain "$what: sg_read_buffer" sg_read_buffer -m desc "$node"
    self_tested "$what" "$node"
    grouped "$what" "$node"
}

# self_tested WHAT NODE: SEND DIAGNOSTIC, and what the log page says afterwards.
self_tested() {
    local test
    plain "$1: sg_senddiag -l" sg_senddiag -l "$2"
    plain "$1: sg_senddiag -t" sg_senddiag -t "$2"
    for test in 1 2 5 6; do plain "$1: sg_senddiag -s $test" sg_senddiag -s $test "$2"; done
    check "$1: there is no self-test to abort" ends 5 sg_senddiag -s 4 "$2"
    plain "$1: sg_senddiag -e" sg_senddiag -e "$2"
    plain "$1: the self-test log page" sg_logs -p 0x10 "$2"
    has "$1: the self-tests were completed" 'completed without error'
}

# grouped WHAT NODE: SET TARGET PORT GROUPS, which REPORT TARGET PORT GROUPS and the operator see.
grouped() {
    plain "$1: sg_rtpg -d" sg_rtpg -d "$2"
    has "$1: it is active/optimized" 'target port group id : 0x1' '(active/optimized)'
    plain "$1: sg_stpg --active" sg_stpg --tp=1 --active "$2"
    plain "$1: sg_rtpg -d -e" sg_rtpg -d -e "$2"
    has "$1: it is active/non-optimized, as asked for" '(active/non optimized)' \
        'changed by SET TARGET PORT GROUPS command'
    plain "$1: sg_stpg --standby" sg_stpg --tp=1 --standby "$2"
    plain "$1: sg_rtpg in standby" sg_rtpg -d "$2"
    has "$1: it is in standby" '(standby)'
    case $1 in
        disk) refuse "$1: which reads nothing" sg_raw -r 512 "$2" 28 00 00 00 00 00 00 00 01 00 ;;
    esac
    check "$1: the operator sees it" sh -c "/tmp/carousel alua list --state $state | grep -q standby"
    plain "$1: sg_stpg --optimized" sg_stpg --tp=1 --optimized "$2"
    settle "$2"
    check "$1: it is ready" sg_turs "$2"
}

# told KIND NAME FIELD: what the daemon says of a resource.
told() { carousel "$1" show "$2" --json | jq -r ".status.$3"; }

descriptions() {
    described disk "$first_generic" 1
    plain "disk: sg_vpd -p sn" sg_vpd -p sn "$first_generic"
    has "disk: the serial number is the daemon's" "Unit serial number: $(told disk disk serialNumber)"
    plain "disk: sg_vpd -p di" sg_vpd -p di "$first_generic"
    has "disk: so is the NAA designator" "0x$(told disk disk naa)"
    has "disk: and the port's name" "$prefix:disk,t,0x0001"
    plain "disk: sg_vpd -p bl" sg_vpd -p bl "$first_generic"
    has "disk: limits" 'Maximum compare and write length: 255 blocks' 'Maximum transfer length: 32768 blocks' \
        'Maximum unmap block descriptor count: 256' 'Maximum atomic transfer length: 2048 blocks'
    plain "disk: sg_readcap -l" sg_readcap -l "$first_generic"
    has "disk: it has 64 MiB" 'Device size: 67108864 bytes' 'lbpme=1, lbprz=1'
    described "tape drive" "$tape_first" 2
    has_number "tape drive" "$tape_first" "$(drive_number)"
    described changer "$changer_first" 2
    has_number changer "$changer_first" "$(told library library serialNumber)"
}

# has_number WHAT NODE NUMBER: its unit serial number is the one that the daemon says.
has_number() {
    plain "$1: sg_vpd -p sn" sg_vpd -p sn "$2"
    expect "$1: the serial number is the daemon's" "$3" "$(sed -n 's/^ *Unit serial number: *//p' /tmp/plain)"
}

drive_number() { carousel drive list library --json | jq -r '.items[0].status.serialNumber'; }
