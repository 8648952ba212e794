#!/bin/bash
# systemd-networkd 252 (Debian 12: systemd, libsystemd-shared 252.39-1~deb12u2).
#
# A link that comes with an address, as a container manager sets it, and a .network file that names
# the same address: most times networkd fails the link, and what waits for the network waits in
# vain. It does so only where the address was set without a broadcast address, which `ip address
# add` and others leave out unless told: then it asks the kernel for the address that is there
# 65,536 times, for about a second, and takes the number for an error; about one time in ten it is
# content with the first answer. Set with `broadcast +` the same address is taken as it is, each
# time. KeepConfiguration=yes without Address= keeps it, too.
#
# Seen: "host0: Failed to configure address: Numerical result out of range", at the first or second
# try; with the broadcast address, and with KeepConfiguration: "host0: State changed: configuring ->
# configured".
. "$(dirname "$0")/lib.bash"
unpack systemd=252.39-1~deb12u2 libsystemd-shared=252.39-1~deb12u2 libapparmor1 libblkid1 libcap2 \
    libgcrypt20 libgpg-error0 libip4tc2 libkmod2 libmount1 libseccomp2 libssl3

# In namespaces of its own: with a /sys that is read-only it does not wait for udev, and without a
# bus it works as well. Its user may not be there.
echo 'root:x:0:0::/:/bin/sh
systemd-network:x:998:998::/:/bin/false' > passwd
cat > inside <<'END'
set -eu
mount --make-rprivate /
mount -t sysfs -o ro sysfs /sys
mount -t tmpfs -o mode=0755 tmpfs /run
mount --bind "$WORK/passwd" /etc/passwd
mkdir -p /run/systemd/network
printf '%s\n' '[Match]' Name=host0 '[Network]' LinkLocalAddressing=no "$SETTING" \
    > /run/systemd/network/10-host0.network
ip link add host0 type veth peer name other
# shellcheck disable=SC2086
ip address add 10.7.0.2/24 $BROADCAST dev host0
ip link set other up
ip link set host0 up
exec "$ROOT/lib/systemd/systemd-networkd"
END

# end_of SETTING BROADCAST: what becomes of host0
end_of() {
    local pid
    mkfifo log
    WORK=$WORK ROOT=$ROOT SETTING=$1 BROADCAST=$2 \
        SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_COLOR=0 \
        run unshare --net --mount --pid --fork --kill-child bash inside > log 2>&1 &
    pid=$!
    timeout 60 grep --max-count=1 \
        -E '^host0: (Failed to configure|State changed: configuring -> )' log ||
        echo "nothing in 60 s"
    kill -KILL "$pid"
    wait "$pid" 2> wait-said || true
    rm log
}

configured='host0: State changed: configuring -> configured'
for ((try = 0; try < 10; try++)); do
    seen=$(end_of Address=10.7.0.2/24 '')
    [ "$seen" = "$configured" ] || break
done
expect "an address without broadcast" \
    'host0: Failed to configure address: Numerical result out of range' "$seen"
seen=$(end_of Address=10.7.0.2/24 'broadcast +')
expect "the same with broadcast" "$configured" "$seen"
seen=$(end_of KeepConfiguration=yes '')
expect "no Address= but KeepConfiguration=yes" "$configured" "$seen"
saw "Address= of an address that is set without broadcast fails the link: ERANGE"
