#!/usr/bin/env bats
# `nomad alloc exec` and script hooks: commands in containers that run, in both modes.
load lib

bats::on_failure() { journalctl -n 30 -q -o cat -u nomad.service; }

process() {
    submit exec service << 'END'
config {
  image     = "busybox"
  ephemeral = true
  boot      = false
  command   = ["/bin/sleep", "100000"]
}
env {
  GREETING = "hello there"
}
END
    await_running exec
}

booted() {
    submit exec service << 'END'
config {
  image     = "debian"
  ephemeral = true
}
env {
  GREETING = "hello there"
}
END
    await_running exec
}

in_task() { nomad alloc exec -i=false -t=false "$ALLOC" "$@"; }

# in_terminal COMMAND...: with a terminal of Nomad's own, which is what script(1) gives it, and whose
# input does not end
in_terminal() {
    local keyboard=$BATS_TEST_TMPDIR/keyboard
    [ -p "$keyboard" ] || mkfifo "$keyboard"
    script --quiet --return --echo never --command "nomad alloc exec -i -t $ALLOC $*" /dev/null \
        0<> "$keyboard"
}

# ended_with PID: STATUS is that of a child of this very shell
ended_with() {
    STATUS=0
    wait "$1" || STATUS=$?
}

scopes() { compgen -G "/sys/fs/cgroup/nspawn.slice/nspawn-*.slice/$(unit)/exec-*.scope"; }
unit_dir() { dirname /sys/fs/cgroup/nspawn.slice/nspawn-*.slice/"$(unit)"/cgroup.procs; }
has_scopes() { scopes > /dev/null; }
has_no_scopes() { ! has_scopes; }

check_codes() {
    in_task /bin/true
    run -7 in_task /bin/sh -c 'exit 7'
    run -255 in_task /bin/sh -c 'exit 255'
    run -127 --separate-stderr in_task /no/such/command
    # shellcheck disable=SC2154 # bats sets it
    [ "$stderr" = "/no/such/command: not found" ]
    run -127 in_task nosuchcommand
    run -126 --separate-stderr in_task /etc/os-release
    [ "$stderr" = "/etc/os-release: Permission denied" ]
    run -137 in_task /bin/sh -c 'kill -KILL $$'
    run -143 in_task /bin/sh -c 'kill -TERM $$'
}

check_surroundings() {
    # its output and errors apart, and its input to the end
    run -0 --separate-stderr in_task /bin/sh -c 'echo out; echo err >&2'
    [ "$output" = out ]
    [ "$stderr" = err ]
    [ "$(echo one two | nomad alloc exec -i -t=false "$ALLOC" /bin/cat)" = "one two" ]
    [ "$(head -c 3000000 /dev/urandom | tee >(sha256sum > "$BATS_TEST_TMPDIR/sum") |
        nomad alloc exec -i -t=false "$ALLOC" /bin/cat | sha256sum)" = "$(cat "$BATS_TEST_TMPDIR/sum")" ]

    # shellcheck disable=SC2016 # what runs inside expands it
    [ "$(in_task /bin/sh -c 'echo $GREETING; pwd; id -u; echo $container')" = $'hello there\n/\n0\nsystemd-nspawn' ]
    in_task /bin/cat /proc/self/cgroup | grep -q '^0::.*/exec-[0-9]*\.scope$'
    # As PID 1 of the container is confined, so is it.
    local word
    for word in CapBnd NoNewPrivs Seccomp Seccomp_filters; do
        [ "$(in_task /bin/grep "^$word:" /proc/self/status)" = "$(grep "^$word:" "/proc/$(leader)/status")" ]
    done
    # shellcheck disable=SC2016
    [ "$(in_task /bin/sh -c 'for n in ipc mnt net pid user uts cgroup; do readlink /proc/self/ns/$n; done')" = \
        "$(for n in ipc mnt net pid user uts cgroup; do readlink "/proc/$(leader)/ns/$n"; done)" ]
    # /dev/stdout by name
    [ "$(in_task /bin/sh -c 'echo by name > /dev/stdout')" = "by name" ]
}

check_terminal() {
    run -0 in_terminal tty
    [[ $output =~ ^/dev/pts/[0-9]+ ]]
    run -7 in_terminal sh -c "'exit 7'"
    run -127 in_terminal nosuchcommand
    [[ $output = *"not found"* ]]
    [[ $(in_terminal sh -c "'echo \$TERM; echo err >&2'") = *err* ]]
}

@test "a process: codes, surroundings, a terminal" {
    process
    check_codes
    check_surroundings
    check_terminal
    until_changed "$(unit_dir)" has_no_scopes
}

@test "a booted system: codes, surroundings, a terminal" {
    booted
    check_codes
    check_surroundings
    check_terminal
    until_changed "$(unit_dir)" has_no_scopes
}

@test "the task's user and its directory" {
    submit exec service << 'END'
user = "worker"
config {
  image             = "busybox"
  ephemeral         = true
  boot              = false
  command           = ["/bin/sleep", "100000"]
  working_directory = "/usr"
}
END
    await_running exec
    [ "$(in_task /bin/sh -c 'id -u; pwd; echo by name > /dev/stdout')" = $'1000\n/usr\nby name' ]
    [[ $(in_task /bin/grep ^CapEff: /proc/self/status) =~ 0000000000000000$ ]]
    run -0 in_terminal tty
}

@test "a plugin that is killed during an exec leaves nothing of it, and the task goes on" {
    process
    in_task /bin/sh -c 'sleep 200000 & sleep 200000' 3>&- &
    local client=$!
    until_changed "$(unit_dir)" has_scopes
    kill_plugin
    wait "$client" || true
    until_changed "$(unit_dir)" has_no_scopes
    run ! pgrep -f "^sleep 200000"
    await exec '.TaskStates.main.State == "running" and .TaskStates.main.Restarts == 0'
}

@test "an exec ends with its client, and with its task" {
    process
    nomad alloc exec -i=false -t=false "$ALLOC" /bin/sleep 100000 3>&- &
    local client=$!
    until_changed "$(unit_dir)" has_scopes
    kill -KILL "$client"
    wait "$client" || true
    until_changed "$(unit_dir)" has_no_scopes

    in_task /bin/sleep 100000 3>&- &
    client=$!
    until_changed "$(unit_dir)" has_scopes
    nomad job stop -detach exec > /dev/null
    ended_with "$client"
    [ "$STATUS" = 137 ]
}

@test "fifty at once" {
    process
    local i pids=()
    for i in $(seq 50); do
        in_task /bin/sh -c "exit $i" 3>&- &
        pids+=($!)
    done
    for i in $(seq 50); do
        ended_with "${pids[i - 1]}"
        [ "$STATUS" = "$i" ]
    done
    until_changed "$(unit_dir)" has_no_scopes
}

@test "nothing is executed in a task that has ended" {
    submit exec << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/true"]
}
END
    await_dead exec
    run ! in_task /bin/true
}
