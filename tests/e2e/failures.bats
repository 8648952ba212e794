#!/usr/bin/env bats
# What cannot work says why, in one sentence, and leaves nothing behind.
load lib

# The last thing that Nomad tells people about the task, and how long it took from the start of the
# driver's work to the failure.
failure() { jq -r '.TaskStates.main.Events | map(select(.Type == "Driver Failure"))[-1].DisplayMessage' <<< "$FOUND"; }
took_msec() {
    jq -r '(.TaskStates.main.Events | map(select(.Type == "Driver Failure"))[-1].Time -
            (map(select(.Type == "Task Setup"))[-1].Time)) / 1000000 | floor' <<< "$FOUND"
}

# fails JOB PATTERN: the job whose body is standard input fails to start, with this sentence, within
# a second, and nothing is left.
fails() {
    submit "$1"
    await_dead "$1"
    failure
    [[ "$(failure)" == *"$2"* ]] || { echo "expected: $2"; return 1; }
    [ "$(failure | wc -l)" = 1 ]
    [ "$(took_msec)" -lt 1000 ]
    run ! compgen -G '/run/systemd/transient/nspawn-*'
    run ! compgen -G '/run/nomad-driver-nspawn/*'
    run ! compgen -G '/run/systemd/nspawn/*.nspawn'
    [ -z "$(machinectl list --no-legend | grep -v '^\.host')" ]
    ! findmnt -rno TARGET | grep /run/nomad-driver-nspawn
}

@test "an image that is not there" {
    fails no-image "'/srv/nowhere'" << 'END'
config {
  image = "/srv/nowhere"
}
END
}

@test "an image by a name that machined does not know" {
    fails no-name "nowhere" << 'END'
config {
  image = "nowhere"
}
END
}

@test "a directory that is no OS tree" {
    mkdir -p /srv/no-tree/etc
    fails no-tree "os-release" << 'END'
config {
  image = "/srv/no-tree"
}
END
    [ "$(ls -A /srv/no-tree)" = etc ]
}

@test "nspawn that fails at once is quoted" {
    fails no-bind "/srv/missing-source" << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/true"]
  bind    = {
    "/srv/missing-source" = "/srv"
  }
}
END
}

@test "an image that another task has for itself, with the remedy" {
    submit has << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sleep", "1000"]
}
END
    await_running has
    submit wants << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/true"]
}
END
    await_dead wants
    failure
    [[ "$(failure)" == *"/var/lib/machines/busybox is currently busy; another container runs from it: set ephemeral = true, or read_only = true in both"* ]]
    await_running has
}

@test "a machine's name that is in use" {
    # Nomad chooses the allocation's id, so the task is started at first with what only it can give.
    submit first << 'END'
config {
  image     = "busybox"
  ephemeral = true
  boot      = false
  command   = ["/bin/sleep", "1000"]
}
restart {
  attempts = 1
  delay    = "1s"
  mode     = "fail"
}
END
    await_running first
    local name
    name=$(machine)
    kill -KILL "$(leader)"
    until_changed /run/systemd/machines [ ! -e "/run/systemd/machines/$name" ]
    systemd-run -q --unit squatter systemd-nspawn -q --keep-unit --ephemeral -D /var/lib/machines/busybox \
        --machine="$name" --console=pipe /bin/sleep 1000
    await first '.TaskStates.main.State == "dead"'
    systemctl stop squatter.service
    systemctl reset-failed squatter.service
    failure
    [[ "$(failure)" == *"$name"*"already exists"* ]]
}

@test "a link that the task left in its directory is not followed out of it" {
    submit escape << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sh", "-c", "cat /mnt/etc/shadow && exit 1; rm -rf /local/data; ln -s / /local/data; exit 9"]
  bind = {
    "local/data" = "/mnt"
  }
}
template {
  data        = "mine"
  destination = "local/data/file"
}
restart {
  attempts = 1
  delay    = "0s"
  mode     = "fail"
}
END
    await_dead escape
    failure
    [[ "$(failure)" == *"bind 'local/data': leads out of the task's directory"* ]]
    [ "$(task_log)" = "" ]
}

@test "a command that is missing in the image ends the task, not the start" {
    submit missing << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/missing-command", "--flag"]
}
END
    await_dead missing
    events
    [ "$(jq .TaskStates.main.Failed <<< "$FOUND")" = true ]
    [ "$(exit_code)" != 0 ]
    events | grep -q '"/bin/missing-command".*No such file or directory'
}

@test "a command that is not executable ends the task, not the start" {
    submit forbidden << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/etc/os-release"]
}
END
    await_dead forbidden
    [ "$(exit_code)" != 0 ]
    events | grep -q '"/etc/os-release".*Permission denied'
}

@test "an unknown option is refused by Nomad" {
    submit unknown << 'END'
config {
  image  = "busybox"
  imgage = "busybox"
}
END
    await_dead unknown
    events | grep -qi 'imgage'
}

@test "a wrong type is refused by Nomad" {
    submit wrong << 'END'
config {
  image = "busybox"
  boot  = "perhaps"
}
END
    await_dead wrong
    events | grep -qi 'boot'
}

@test "options that exclude each other are named" {
    fails exclude "process_two" << 'END'
config {
  image       = "busybox"
  boot        = true
  process_two = true
}
END
}

@test "a single process without a command" {
    fails no-command "command" << 'END'
config {
  image = "busybox"
  boot  = false
}
END
}

@test "each option that is not built yet is refused by name" {
    local line name
    for line in 'pivot_root = "/x"' 'volatile = "overlay"' 'private_users = "identity"'; do
        name=${line%% *}
        fails "later-${name//_/-}" "$name" << END
config {
  image = "debian"
  $line
}
END
    done
    fails later-download "image_download" << 'END'
config {
  image = "debian"
  image_download {
    url = "http://127.0.0.1/image.tar"
  }
}
END
}

@test "booted: a variable with a line break is refused by name and not mangled" {
    fails break "'TWO_LINES'" << 'END'
config {
  image     = "debian"
  ephemeral = true
}
env {
  TWO_LINES = "one\ntwo"
}
END
}

@test "a user that the image does not know" {
    fails no-user "nosuchuser" << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/id"]
  user    = "nosuchuser"
}
END
}
