#!/usr/bin/env bats
# Each option does what the reference says.
load lib

# prints JOB: runs the job whose body is standard input to its end, with success; what it printed is in
# $output and $lines
prints() {
    submit "$1"
    await_dead "$1"
    [ "$(exit_code)" = 0 ] || { events; task_log stderr; return 1; }
    output=$(task_log)
    mapfile -t lines <<< "$output"
    echo "$output"
}

@test "image: an absolute path" {
    prints absolute << 'END'
config {
  image   = "/var/lib/machines/busybox"
  boot    = false
  command = ["/bin/sh", "-c", ". /etc/os-release; echo $ID"]
}
END
    [ "${lines[-1]}" = busybox ]
}

@test "image: relative to the task's directory" {
    prints relative << 'END'
config {
  image   = "local/tree"
  boot    = false
  command = ["/bin/cat", "/usr/lib/os-release"]
  bind    = {
    "/var/lib/machines/busybox/bin" = "/bin"
  }
}
template {
  data        = "ID=marked"
  destination = "local/tree/usr/lib/os-release"
}
END
    [ "${lines[-1]}" = ID=marked ]
}

@test "image: relative to the agent's working directory" {
    local dir
    dir=$(readlink "/proc/$(systemctl show -P MainPID nomad.service)/cwd")
    [ "$dir" = / ]
    prints agent << 'END'
config {
  image   = "var/lib/machines/busybox"
  boot    = false
  command = ["/bin/sh", "-c", ". /etc/os-release; echo $ID"]
}
END
    [ "${lines[-1]}" = busybox ]
}

@test "boot = false, process_two: the command has an init above it, or is PID 1" {
    prints two << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/readlink", "/proc/self"]
}
END
    [ "${lines[-1]}" = 2 ]
    prints one << 'END'
config {
  image       = "busybox"
  boot        = false
  process_two = false
  command     = ["/bin/readlink", "/proc/self"]
}
END
    [ "${lines[-1]}" = 1 ]
}

@test "boot: command is the init's arguments" {
    submit rescue service << 'END'
config {
  image     = "debian"
  ephemeral = true
  command   = ["systemd.unit=rescue.target"]
}
END
    await_running rescue
    await_log "Reached target.*rescue.target"
}

@test "ephemeral: nothing stays in the image" {
    prints ephemeral << 'END'
config {
  image     = "busybox"
  boot      = false
  ephemeral = true
  command   = ["/bin/sh", "-c", "touch /written && echo done"]
}
END
    [ "${lines[-1]}" = done ]
    [ ! -e /var/lib/machines/busybox/written ]
    run ! compgen -G '/var/lib/machines/.#*'
}

@test "ephemeral: nor when systemd-nspawn itself is killed" {
    submit ephemeral service << 'END'
config {
  image     = "busybox"
  boot      = false
  ephemeral = true
  command   = ["/bin/sleep", "100000"]
}
END
    await_running ephemeral
    compgen -G '/var/lib/machines/.#machine.busybox*' > /dev/null
    systemctl kill --signal=KILL --kill-who=all "$(unit)"
    await_dead ephemeral
    nomad job stop -purge ephemeral > /dev/null
    until_changed /var/lib/machines has_no_copies
}
has_no_copies() { ! compgen -G '/var/lib/machines/.#*' > /dev/null; }

@test "read_only: the image can't be written, Nomad's directories can" {
    prints read-only << 'END'
config {
  image     = "busybox"
  boot      = false
  read_only = true
  command   = ["/bin/sh", "-c", "touch /written || touch /alloc/data/a /local/b /secrets/c && echo done"]
}
END
    [ "${lines[-1]}" = done ]
    [ ! -e /var/lib/machines/busybox/written ]
    [ -e "$ALLOCS/$ALLOC/alloc/data/a" ]
}

@test "read_only: an image that has no mount points gets them, with ephemeral, too" {
    local ephemeral
    mkdir -p /srv/shared /srv/volume
    echo bound > /srv/shared/in
    echo kept > /srv/volume/in
    for ephemeral in false true; do
        fresh_image
        GROUP='volume "data" {
          type   = "host"
          source = "static"
        }' prints "fresh-$ephemeral" << END
config {
  image     = "$IMAGE"
  boot      = false
  read_only = true
  ephemeral = $ephemeral
  command   = ["/bin/sh", "-c", "touch /written || touch /alloc/data/a /local/b /secrets/c /tmp/d /run/e && cat /data/in /mnt/dir/in /mnt/file"]
  bind = {
    "/srv/shared" = "/mnt/dir"
  }
  bind_read_only = {
    "/srv/shared/in" = "/mnt/file"
  }
}
volume_mount {
  volume      = "data"
  destination = "/data"
}
END
        [ "$output" = $'kept\nbound\nbound' ]
        [ ! -e "$IMAGE/written" ]
    done
}

@test "environment: Nomad's own win, and odd values arrive as they are" {
    prints environment << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/env"]
  environment = {
    FROM_OPTION     = "option"
    FROM_BOTH       = "option"
    NOMAD_TASK_NAME = "mine"
    ODD             = " $HOME %n \\ \"double\" 'single' "
    LD_PRELOAD      = "/nowhere/evil.so"
    SYSTEMD_LOG_LEVEL = "debug"
  }
}
env {
  FROM_BOTH = "nomad"
}
END
    grep -qx 'FROM_OPTION=option' <<< "$output"
    grep -qx 'FROM_BOTH=nomad' <<< "$output"
    grep -qx 'NOMAD_TASK_NAME=main' <<< "$output"
    grep -qxF "ODD= \$HOME %n \\ \"double\" 'single' " <<< "$output"
    grep -qx 'LD_PRELOAD=/nowhere/evil.so' <<< "$output"
}

@test "environment: not in argv, not in the unit, not in nspawn's own" {
    submit secret << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sh", "-c", "echo ready; exec sleep 1000"]
}
env {
  PASSWORD   = "correct-horse"
  LD_PRELOAD = "/nowhere/evil.so"
}
END
    await_running secret
    await_log ready
    local pid
    pid=$(systemctl show -P MainPID "$(unit)")
    [[ "$(tr '\0' '\n' < "/proc/$pid/cmdline")" == *systemd-nspawn* ]]
    run ! grep -z -e correct-horse -e evil "/proc/$pid/environ" "/proc/$pid/cmdline"
    run ! grep -r correct-horse /run/systemd/transient
    run ! grep -rs correct-horse /run/systemd/nspawn
    # What an exec needs of it is for root alone.
    [ "$(stat -c %a:%U "/run/nomad-driver-nspawn/$(machine)/spec")" = 600:root ]
    run ! grep -rs correct-horse /run/nomad-driver-nspawn --devices=skip --exclude=spec
    run ! grep correct-horse <(systemctl show "$(unit)")
    run ! grep correct-horse <(journalctl -q -o cat)
    local payload
    payload=$(cat "/proc/$(leader)/task/$(leader)/children")
    grep -qz '^PASSWORD=correct-horse$' "/proc/${payload% }/environ"
}

@test "working_directory, hostname" {
    prints where << 'END'
config {
  image             = "busybox"
  boot              = false
  working_directory = "/usr"
  hostname          = "chosen"
  command           = ["/bin/sh", "-c", "pwd; hostname"]
}
END
    [ "${lines[-2]}" = /usr ]
    [ "${lines[-1]}" = chosen ]
}

@test "user: of the option, which wins over the task's own; both reach the image's user" {
    prints option << 'END'
user = "root"
config {
  image   = "busybox"
  boot    = false
  user    = "worker"
  command = ["/bin/id", "-un"]
}
END
    [ "${lines[-1]}" = worker ]
    prints nomad << 'END'
user = "worker"
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sh", "-c", "echo to stderr > /dev/stderr; id -un > /dev/stdout"]
}
END
    [ "${lines[-1]}" = worker ]
    [ "$(task_log stderr)" = "to stderr" ]
}

@test "user_namespacing: root inside is another user outside, unless it is switched off" {
    submit mapped << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sleep", "1000"]
}
END
    await_running mapped
    [ "$(stat -c %u "/proc/$(leader)")" -ge 524288 ]
    submit plain << 'END'
config {
  image            = "busybox"
  boot             = false
  ephemeral        = true
  user_namespacing = false
  command          = ["/bin/sleep", "1000"]
}
END
    await_running plain
    [ "$(stat -c %u "/proc/$(leader)")" = 0 ]
}

@test "bind, bind_read_only" {
    mkdir -p /srv/shared /srv/fixed "/srv/odd:name"
    chmod 777 /srv/shared
    echo here > /srv/shared/in
    echo fixed > /srv/fixed/in
    echo odd > /srv/odd:name/in
    prints bind << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sh", "-c", "cat /mnt/shared/in /mnt/fixed/in '/mnt/odd:target/in' /mnt/own/in; echo out > /mnt/shared/out; touch /mnt/fixed/out || echo refused"]
  bind = {
    "/srv/shared"   = "/mnt/shared"
    "/srv/odd:name" = "/mnt/odd:target"
    "local"         = "/mnt/own"
  }
  bind_read_only = {
    "/srv/fixed" = "/mnt/fixed"
  }
}
template {
  data        = "own"
  destination = "local/in"
}
END
    [[ "$output" == *here*fixed*odd*own*refused* ]]
    [ "$(cat /srv/shared/out)" = out ]
    [ ! -e /srv/fixed/out ]
}

@test "capability" {
    prints capability << 'END'
config {
  image      = "busybox"
  boot       = false
  capability = ["CAP_SYS_TIME"]
  command    = ["/bin/grep", "CapBnd", "/proc/self/status"]
}
END
    # Bit 25, by capability.h.
    [ $((0x${lines[-1]##*[[:space:]]} >> 25 & 1)) = 1 ]
    prints no-capability << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/grep", "CapBnd", "/proc/self/status"]
}
END
    [ $((0x${lines[-1]##*[[:space:]]} >> 25 & 1)) = 0 ]
}

@test "console: a terminal when asked for" {
    prints console << 'END'
config {
  image   = "busybox"
  boot    = false
  console = "read-only"
  command = ["/bin/sh", "-c", "tty; test -t 1 && echo terminal"]
}
END
    [[ "$output" == */dev/*terminal* ]]
}

@test "resolv_conf" {
    echo "nameserver 192.0.2.53" > /etc/resolv.conf
    prints resolv << 'END'
config {
  image       = "busybox"
  boot        = false
  resolv_conf = "copy-host"
  command     = ["/bin/cat", "/etc/resolv.conf"]
}
END
    [[ "$output" == *"nameserver 192.0.2.53"* ]]
}

@test "network_veth: a link of its own, or the host's network" {
    prints own << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/ls", "/sys/class/net"]
}
END
    [[ "$output" == *host0* ]]
    prints host << 'END'
config {
  image        = "busybox"
  boot         = false
  network_veth = false
  command      = ["/bin/readlink", "/proc/self/ns/net"]
}
END
    [ "${lines[-1]}" = "$(readlink /proc/self/ns/net)" ]
}

@test "a booted system with networkd gets an address on its veth" {
    submit address service << 'END'
config {
  image     = "debian"
  ephemeral = true
}
END
    await_running address
    # networkd in the host gives out leases on ve-*; the container's writes this when it has one.
    local dir
    dir=/proc/$(leader)/root/run/systemd/netif/links
    until_changed "${dir%/links}" test -d "$dir"
    has_lease() { grep -qs '^OPER_STATE=routable' "$dir"/*; }
    until_changed "$dir" has_lease
    machinectl list --no-legend | grep "$(machine)" | grep -E '(10|172|192\.168|169\.254)\.[0-9]'
}

@test "names of tasks that are no machine's name" {
    local name
    for name in with_underscore "$(printf 'l%.0s' {1..60})"; do
        TASK=$name submit "${name:0:20}" << 'END'
config {
  image     = "busybox"
  ephemeral = true
  boot      = false
  command   = ["/bin/hostname"]
}
END
        await_dead "${name:0:20}" "$name"
        [ "$(exit_code "$name")" = 0 ]
        [ -n "$(task_log stdout "$name")" ]
    done
}

