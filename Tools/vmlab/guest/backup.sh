# shellcheck shell=bash
# The pages about backup software, on the kernel's initiator: every line of their blocks runs, in the order in which it
# stands there. A block `sh` is run line by line; a block `conf` becomes the file that its first line names, or is added
# to it. Only CHANGER, DRIVE1, DRIVE2 and PASSWORD are put in, as the pages say. /host has the pages and `carousel`.
. /lab/lib.sh

export CAROUSEL_STATE=/tmp/state
changer=CHANGER drive1=DRIVE1 drive2=DRIVE2 password=password
address=192.0.2.10

# filled: standard input with the names of this machine put in.
filled() {
    sed -e "s/CHANGER/$changer/g; s/DRIVE1/$drive1/g; s/DRIVE2/$drive2/g; s/PASSWORD/$password/g" "$@"
}

# learn_names: what `carousel library show` says once the library is there.
learn_names() {
    [ "$changer" = CHANGER ] || return 0
    carousel library show backup >/tmp/shown 2>/dev/null || return 0
    changer=$(awk 'tolower($0) ~ /^serial ?number/ { print $NF; exit }' /tmp/shown)
    carousel drive list backup >/tmp/shown
    drive1=$(awk '$1 ~ /drive:1$/ { print $4; exit }' /tmp/shown)
    drive2=$(awk '$1 ~ /drive:2$/ { print $4; exit }' /tmp/shown)
}

# write_block FILE: a block of configuration goes where its first line says.
write_block() {
    local first target
    first=$(head -n 1 "$1")
    target=${first##* }
    mkdir -p "${target%/*}"
    case $first in
        "# add to "*) filled "$1" | tail -n +2 >>"$target" ;;
        *) filled "$1" | tail -n +2 >"$target" ;;
    esac
}

# run_block FILE: each line of commands, with those that go on after a backslash.
run_block() {
    local line
    while IFS= read -r line <&4; do
        while [[ $line == *\\ ]] && IFS= read -r more <&4; do line="${line%\\}$more"; done
        [ -n "$line" ] || continue
        line=$(filled <<<"$line")
        check "$line" bash -c "$line"
        settle
        learn_names
    done 4<"$1"
}

# settle: udev has made its links of what a line has brought.
settle() { udevadm settle --timeout=20 >/dev/null 2>&1; }

# run_page PAGE: all its blocks, in order.
run_page() {
    local block kind
    step "$1"
    rm -rf /tmp/blocks
    mkdir /tmp/blocks
    awk '/^```/ { if (file) { close(file); file = ""; next }
                  kind = substr($0, 4)
                  if (kind == "sh" || kind == "conf") file = sprintf("/tmp/blocks/%02d.%s", ++count, kind)
                  else file = "/dev/null"
                  next }
         file { print > file }' "/host/$1"
    for block in /tmp/blocks/*; do
        kind=${block##*.}
        if [ "$kind" = sh ]; then run_block "$block"; else check "$(head -n 1 "$block")" write_block "$block"; fi
    done
}

# defaults: the configuration that Debian's packages make when they are installed, which the guest's are not.
defaults() {
    local program
    mkdir -p /etc/bacula /run/bacula /var/lib/bacula /var/log/bacula /var/lib/amanda /var/log/amanda
    for program in sd dir fd; do
        sed -e "s/@[a-z_]*@/host/g; s/X\{3\}_[A-Z_]*X\{3\}/$password/g" \
            /usr/share/bacula-common/defconfig/bacula-$program.conf >/etc/bacula/bacula-$program.conf
    done
    sqlite3 /var/lib/bacula/$password.db </usr/share/dbconfig-common/data/bacula-director-sqlite3/install/sqlite3
    for program in auth account password session session-noninteractive; do
        echo "${program%%-*} required pam_permit.so" >/etc/pam.d/common-$program
    done
    chown backup:backup /etc/amanda /var/log/amanda /var/lib/amanda
    touch /var/lib/amanda/amandates
    usermod -a -G tape backup 2>/dev/null || sed -i 's/^\(tape:.*\)$/\1backup/' /etc/group
}

# services: a `systemctl` for the one service that the pages restart; there is no systemd in the guest.
services() {
    mkdir -p /usr/local/bin /run/lock/iscsi
    cat >/usr/local/bin/systemctl <<'SCRIPT'
#!/bin/bash
[ "$*" = "restart iscsid" ] || exit 1
listens() { grep -q @ISCSIADM_ABSTRACT_NAMESPACE /proc/net/unix; }
pkill -x iscsid
for _ in {1..25}; do listens || break; sleep 0.2; done
# In a process group of its own, all of which it ends when it ends.
setsid iscsid -f >/tmp/iscsid.log 2>&1 </dev/null &
for _ in {1..25}; do listens && exit; sleep 0.2; done
exit 1
SCRIPT
    chmod +x /usr/local/bin/systemctl
}

set_up() {
    step "daemon, udev and initiator"
    install -D -m 755 /host/carousel /usr/local/bin/carousel
    ip address add $address/32 dev lo
    services
    modprobe -a iscsi_tcp sd_mod st ch sg
    echo "InitiatorName=iqn.2000-01.org.example:initiator" >/etc/iscsi/initiatorname.iscsi
    mkdir -p /run/udev
    check "udev starts" /lib/systemd/systemd-udevd --daemon
    udevadm trigger
    carousel serve --demo >/tmp/daemon.log 2>&1 &
    check "the daemon starts" wait_for 20 carousel status
    check "iscsid starts" systemctl restart iscsid
    defaults
}

# first_minutes: the README's lines for the kernel's initiator, on the demo that it has the daemon serve.
first_minutes() {
    step "README: the first minutes"
    local node
    sed -n '/^or, with the kernel/,/^`\.build/p' /host/README.md | sed -n 's/^    //p' >/tmp/first-minutes
    head -n 3 /tmp/first-minutes >/tmp/lines
    run_block /tmp/lines
    check "the changer appears" wait_device 0 scsi_changer
    node=$(generic "$(device 0 scsi_changer)")
    sed -n '4,$p' /tmp/first-minutes | sed "s|/dev/sgN|$node|" >/tmp/lines
    run_block /tmp/lines
    check "there were 5 lines" test "$(wc -l </tmp/first-minutes)" -eq 5
    check "logout" iscsiadm -m node --logout
    rm -rf /etc/iscsi/nodes /etc/iscsi/send_targets /var/lib/iscsi/nodes /var/lib/iscsi/send_targets
}

bacula() { run_page Bacula.md; }

# bareos: Debian has no package of it, so its resources are read by the parser that it descends from.
bareos() {
    mkdir -p /usr/lib/bareos
    cp -r /etc/bacula/scripts /usr/lib/bareos/
    run_page Bareos.md
    {
        sed -n '/^Autochanger {/,$!p' /etc/bacula/bacula-sd.conf
        grep -h -v 'Device Type = Tape' /etc/bareos/bareos-sd.d/*/carousel.conf
        sed -n '/^Messages {/,/^}/p' /etc/bacula/bacula-sd.conf
    } >/tmp/bareos-sd.conf
    check "bacula-sd -t reads them" bacula-sd -t -c /tmp/bareos-sd.conf
}

amanda() { run_page Amanda.md; }

[ $# -gt 0 ] || set -- first_minutes bacula bareos amanda
set_up
for topic in "$@"; do
    [ "$topic" = first_minutes ] || [ "$changer" != CHANGER ] || run_page Backup.md
    $topic
done
# shellcheck disable=SC2154  # counted by lib.sh
if [ "$failed" -gt 0 ]; then
    step "the daemon's output, and the kernel's last words"
    tail -n 40 /tmp/daemon.log
    dmesg | tail -n 20
fi
finish
