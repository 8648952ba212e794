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
}

@test "the images are trees of an operating system" {
    [ -x /var/lib/machines/debian/lib/systemd/systemd ]
    [ -x /var/lib/machines/busybox/bin/busybox ]
    grep -qx ID=debian /var/lib/machines/debian/etc/os-release
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

@test "only the loopback link leads out of the host" {
    run -0 ip -oneline -4 route show default
    [ -z "$output" ]
}
