#!/bin/bash
# systemd-nspawn 252 (Debian 12: systemd-container, libsystemd-shared 252.39-1~deb12u2).
#
# It ends with the exit status of what runs in the container, from 0 to 255, but for one: 133
# becomes 1, with and without --as-pid2. It is the number by which nspawn asks its unit for a reboot
# (RestartForceExitStatus=133), and a payload must not. Who looks for a container's exit status sees
# an ordinary failure.
#
# Seen: 132 132, 133 1, 134 134, in both modes.
. "$(dirname "$0")/lib.bash"
unpack systemd-container=252.39-1~deb12u2 libsystemd-shared=252.39-1~deb12u2 busybox-static \
    libapparmor1 libblkid1 libcap2 libgcrypt20 libgpg-error0 libip4tc2 libkmod2 libmount1 \
    libseccomp2 libssl3

mkdir -p tree/{bin,etc,usr,proc,sys,dev,run,tmp}
cp "$ROOT/bin/busybox" tree/bin/sh
touch tree/etc/os-release

# It moves to cgroups of its own making, so into one of ours, of the second version; and it wants to
# see no other.
cgroup=$(findmnt --noheadings --first-only --types cgroup2 --output TARGET)/finding.$$
mkdir "$cgroup"
trap 'find "$cgroup" -depth -type d -exec rmdir {} +; rm -rf "$WORK"' EXIT
cat > inside <<'END'
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /run
umount --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
for status in 132 133 134; do
    r=0
    "$ROOT/usr/bin/systemd-nspawn" --quiet --register=no --keep-unit --console=pipe ${MODE:+$MODE} \
        --directory="$WORK/tree" /bin/sh -c "exit $status" || r=$?
    echo "$status $r"
done
END

statuses() { # MODE
    (
        echo "$BASHPID" > "$cgroup/cgroup.procs"
        MODE=$1 WORK=$WORK ROOT=$ROOT \
            run unshare --mount --cgroup --pid --fork --kill-child --mount-proc bash inside |
            paste --serial --delimiters=,
    )
}
for mode in --as-pid2 ''; do
    seen=$(statuses "$mode")
    expect "statuses of payload and nspawn${mode:+ with $mode}" "132 132,133 1,134 134" "$seen"
done
saw "a payload's exit status 133 is 1 of nspawn's; 132 and 134 are kept"
