# shellcheck shell=bash
# The parts that run in the virtual machine of Tools/vmlab; read it after part.sh.
# shellcheck disable=SC2154  # tools, work and bin are of common.sh

# run_guest SCRIPT [TOPIC...]: boots the guest with the daemon in /host, runs a script of Tools/vmlab/guest in it, and
# takes over what it counted. The part is skipped, with one line, where QEMU cannot run. The guest has `guest_seconds`.
guest_seconds=600
run_guest() {
    local script=$1 vm_run=$tools/vmlab/vm-run status=0 guest_passed guest_failed
    shift
    if ! "$vm_run" "$tools/vmlab/guest/hello.sh" >"$work/hello" 2>&1; then
        skip_part "QEMU cannot run the guest here: $(tail -n 1 "$work/hello")"
    fi
    mkdir -p "$work/host"
    strip -o "$work/host/carousel" "$bin/carousel"
    VMLAB_TIMEOUT=$guest_seconds "$vm_run" "$tools/vmlab/guest/$script" "$work/host" "$@" 2>&1 |
        tee "$work/guest" || status=$?
    read -r guest_passed guest_failed < <(
        sed -n 's/^== .* guest: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$work/guest"
    )
    passed=$((passed + ${guest_passed:-0}))
    failed=$((failed + ${guest_failed:-0}))
    if [ "$status" -ne 0 ] && [ "${guest_failed:-0}" -eq 0 ]; then
        fail "the guest ended with status $status before it had finished"
    fi
}
