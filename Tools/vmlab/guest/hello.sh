# shellcheck shell=bash
# The smallest guest script: says what it runs on. For measuring the boot time, too.
echo "hello from $(uname -r) on $(nproc) processors, $(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo) MB"
