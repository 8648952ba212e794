#!/usr/bin/env bats
# What the other end-to-end tests take for granted about the test host they run in.
bats_require_minimum_version 1.5.0

@test "the host's own units are active" {
    systemctl is-active dbus.service systemd-journald.service systemd-networkd.service
}

@test "Nomad's server and client are active" {
    systemctl is-active nomad-server.service nomad.service
}

@test "PID 1 is a systemd, in a cgroup tree of its own" {
    [ "$(cat /proc/1/comm)" = systemd ]
    [ "$(stat --file-system --format=%T /sys/fs/cgroup)" = cgroup2fs ]
    grep -qx 0::/init.scope /proc/1/cgroup
}

@test "machined answers, and knows the images" {
    run -0 machinectl list-images --no-legend
    [[ "$output" =~ busybox\ +directory ]]
    [[ "$output" =~ debian\ +directory ]]
    [[ "$output" =~ nginx\ +directory ]]
}

@test "the images are trees of an operating system" {
    [ -x /var/lib/machines/debian/lib/systemd/systemd ]
    [ -x /var/lib/machines/nginx/usr/sbin/nginx ]
    [ -x /var/lib/machines/busybox/bin/busybox ]
    grep -qx ID=debian /var/lib/machines/debian/etc/os-release
    grep -qx ID=debian /var/lib/machines/nginx/etc/os-release
    grep -qx ID=busybox /var/lib/machines/busybox/etc/os-release
}

@test "systemd-nspawn runs the busybox image" {
    run -7 systemd-nspawn --quiet --directory=/var/lib/machines/busybox --ephemeral --register=no \
        --console=pipe sh -c 'echo "here is $$"; exit 7'
    [ "$output" = "here is 1" ]
}

@test "the source tree cannot be written" {
    [ -f /srv/src/tests/e2e/host.bats ]
    run ! touch /srv/src/written
    [[ "$output" == *"Read-only file system"* ]]
}

@test "no way leads out of the host, nor out of its neighbour" {
    local family
    for family in -4 -6; do
        run -0 ip -oneline $family route show default
        [ -z "$output" ]
        run -0 ip -n outside -oneline $family route show default
        [ -z "$output" ]
    done
}

# seen_as LISTENER ADDRESS: the neighbour connects to the address, and is told by which one it came
seen_as() {
    {
        grep -q -m 1 "listening on"
        ip netns exec outside socat -u "TCP:$2" -
        cat > /dev/null
    } < <(exec timeout 10 socat -d -d "$1,reuseaddr" "EXEC:printenv SOCAT_PEERADDR" 2>&1)
}

@test "the neighbour reaches the host by IPv4 and IPv6" {
    run -0 seen_as TCP4-LISTEN:7 198.51.100.1:7
    [ "$output" = 198.51.100.2 ]
    run -0 seen_as TCP6-LISTEN:7 "[2001:db8:51::1]:7"
    [ "$output" = "[2001:0db8:0051:0000:0000:0000:0000:0002]" ]
}

@test "Nomad has bridge and CNI networks to offer" {
    local modes
    modes=$(curl -sSf "http://127.0.0.1:4646/v1/node/$(nomad node status -quiet)" |
        jq -r '.NodeResources.Networks[].Mode' | sort -u | xargs)
    [ "$modes" = "bridge cni/alone cni/lan host" ]
}
