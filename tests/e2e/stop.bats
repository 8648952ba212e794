#!/usr/bin/env bats
# Stops, signals, freezing, and what is told of them: of single processes and of booted systems.
load lib

# From "Killing" to "Killed", in ms.
stop_msec() {
    jq '.TaskStates.main.Events | (map(select(.Type == "Killed"))[-1].Time -
        map(select(.Type == "Killing"))[-1].Time) / 1000000 | floor' <<< "$FOUND"
}

n_events() { events | grep -c -- "$1" || true; }

# script JOB SCRIPT [BODY [LINE]]: a shell script as a single process, running and "ready" in its log;
# LINE is one more of the config
script() {
    submit "$1" service << JOB
config {
  image     = "busybox"
  ephemeral = true
  boot      = false
  command   = ["/bin/sh", "-c", "$2"]
  ${4-}
}
${3-}
JOB
    await_running "$1"
    await_log ready
}

booted() { # JOB [BODY]
    submit "$1" service << JOB
config {
  image     = "debian"
  ephemeral = true
}
${2-}
JOB
    await_running "$1"
    await "$1" '[.TaskStates.main.Events[].DisplayMessage] | any(startswith("Booted in "))'
}

# inside COMMAND...: in the namespaces of the container's PID 1
inside() { nsenter -t "$(leader)" -U -m -u -i -n -p -r -S 0 -G 0 -- "$@"; }

no_copies() { ! compgen -G '/var/lib/machines/.#machine.*' > /dev/null; }

sleeper='echo ready; while :; do sleep 1000 & wait; done'

@test "a process that takes two seconds to end may, and its code and last line are kept" {
    script slow "trap 'sleep 2; echo bye; exit 9' TERM; $sleeper"
    nomad job stop -detach slow
    await_dead slow
    [ "$(exit_code)" = 9 ]
    [ "$(exit_signal)" = 0 ]
    [ "$(task_log)" = $'ready\nbye' ]
    [ "$(n_events "Sent SIGTERM to the task's process")" = 1 ]
    [ "$(n_events "Did not end")" = 0 ]
}

@test "a process that ignores SIGTERM is killed after its timeout, and it is said" {
    script deaf "trap '' TERM; $sleeper" 'kill_timeout = "1s"'
    nomad job stop -detach deaf
    await_dead deaf
    echo "$(exit_code) $(exit_signal) $(stop_msec) ms"
    [ "$(exit_code)" = 137 ]
    [ "$(exit_signal)" = 9 ]
    [ "$(stop_msec)" -ge 1000 ]
    [ "$(stop_msec)" -lt 2000 ]
    [ "$(n_events "Did not end within 1 s, killed by SIGKILL")" = 1 ]
    no_copies
}

@test "the same where the kernel keeps no exit status" {
    agent_with NSPAWN_TEST_NO_EXIT_STATUS=1
    script deaf-old "trap '' TERM; $sleeper" 'kill_timeout = "1s"'
    nomad job stop -detach deaf-old
    await_dead deaf-old
    agent_as_ever
    echo "$(exit_code) $(exit_signal)"
    [ "$(exit_code)" = 137 ]
    [ "$(exit_signal)" = 9 ]
}

@test "a booted system says when it has booted, and is shut down in order" {
    booted system 'kill_timeout = "30s"'
    nomad job stop -detach system
    await_dead system
    echo "$(exit_code) $(exit_signal)"
    events
    [ "$(exit_code)" = 0 ]
    [ "$(exit_signal)" = 0 ]
    [ "$(n_events "^Booted in [0-9.]* s$")" = 1 ]
    [ "$(n_events "Sent SIGRTMIN+3 to the system's init")" = 1 ]
    no_copies
}

@test "signals reach a process, real-time ones too; what is none is refused with the list" {
    script signals "trap 'echo usr2' USR2; trap 'echo rt' 39; $sleeper"
    nomad alloc signal -s SIGUSR2 "$ALLOC"
    await_log usr2
    nomad alloc signal -s SIGRTMIN+5 "$ALLOC"
    await_log rt
    run ! nomad alloc signal -s SIGNONE "$ALLOC"
    [[ "$output" == *SIGNONE*SIGHUP*SIGRTMIN+n* ]]
}

@test "signals reach PID 1: of a process that is it, and of a booted system" {
    submit pid1 service << 'END'
config {
  image       = "busybox"
  boot        = false
  process_two = false
  command     = ["/bin/sh", "-c", "trap 'echo usr1' USR1; trap 'exit 6' TERM; echo ready; while :; do sleep 1000 & wait; done"]
}
END
    await_running pid1
    await_log ready
    nomad alloc signal -s SIGUSR1 "$ALLOC"
    await_log usr1
    nomad job stop -detach pid1
    await_dead pid1
    [ "$(exit_code)" = 6 ]

    booted off
    nomad alloc signal -s SIGRTMIN+4 "$ALLOC" # systemd: power off
    await_dead off
    [ "$(exit_code)" = 0 ]
}

@test "signals by number and by names that begin with a number's, in all three modes" {
    local mode
    for mode in true false; do
        script "numbers-$mode" "trap 'echo usr1' 10; trap 'echo rt3' 37; trap 'echo rt30' 64; $sleeper" "" "process_two = $mode"
        nomad alloc signal -s 10 "$ALLOC"
        await_log usr1
        nomad alloc signal -s SIGRTMIN+3 "$ALLOC"
        await_log 'rt3$'
        nomad alloc signal -s SIGRTMAX "$ALLOC"
        await_log rt30
        run ! nomad alloc signal -s 65 "$ALLOC"
        [[ "$output" == *"'65'"*SIGHUP*SIGRTMIN+n* ]]
    done

    booted numbers
    run ! nomad alloc signal -s SIGNONE "$ALLOC"
    [[ "$output" == *SIGNONE*SIGHUP*SIGRTMIN+n* ]]
    nomad alloc signal -s 38 "$ALLOC" # SIGRTMIN+4: power off
    await_dead numbers
    [ "$(exit_code)" = 0 ]
}

# details KEY: what the driver's events of the task are annotated with, one a line
details() {
    jq -r ".TaskStates.main.Events[] | select(.Type == \"Driver\").Details.$1 | values" <<< "$FOUND"
}

@test "each event is told once, with annotations: booted, stopping and killed" {
    booted told 'kill_timeout = "1s"
kill_signal = "SIGWINCH"' # which systemd does not end of
    [[ $(details boot_time) =~ ^[0-9]+\.[0-9]\ s$ ]]
    nomad job stop -detach told
    await_dead told
    events
    [ "$(details signal)" = $'SIGWINCH\nSIGKILL' ]
    [ "$(details kill_timeout)" = "1 s" ]
    [ "$(n_events "^Booted in")" = 1 ]
    [ "$(n_events "^Sent SIGWINCH to the system's init$")" = 1 ]
    [ "$(n_events "killed by SIGKILL")" = 1 ]
}

@test "a command that can't be executed is told once, with the reason" {
    local command
    for command in /no/such /etc/os-release; do
        submit "not${command//\//-}" << END
config {
  image   = "busybox"
  boot    = false
  command = ["$command"]
}
END
        await_dead "not${command//\//-}"
        events
        [ "$(n_events "cannot be executed")" = 1 ]
        [ "$(details command)" = "$command" ]
        [[ $(details reason) =~ ^(No such file or directory|Permission denied)$ ]]
    done
}

@test "the newest status of a process is told, and the next one not before 30 s" {
    submit statuses service << 'END'
config {
  image     = "debian"
  ephemeral = true
  boot      = false
  command   = ["/bin/sh", "-c", "for n in one two three; do systemd-notify --status=$n; done; exec sleep 1000"]
}
END
    await statuses '.TaskStates.main.Events | any(.DisplayMessage == "Status: three")'
    events
    [ "$(details status)" = $'one\nthree' ]
    [ "$(jq '.TaskStates.main.Events | map(select(.Details.status != null).Time) | .[1] - .[0] >= 30e9' <<< "$FOUND")" = true ]
}

@test "SIGSTOP freezes the whole container, SIGCONT thaws it, and a stop ends a frozen one" {
    script frozen "trap 'exit 3' TERM; $sleeper"
    nomad alloc signal -s SIGSTOP "$ALLOC"
    [ "$(systemctl show -P FreezerState "$(unit)")" = frozen ]
    nomad alloc signal -s SIGCONT "$ALLOC"
    [ "$(systemctl show -P FreezerState "$(unit)")" = running ]
    nomad alloc signal -s SIGSTOP "$ALLOC"
    nomad job stop -detach frozen
    await_dead frozen
    [ "$(exit_code)" = 3 ]
}

@test "power-off and reboot inside a booted system" {
    booted poweroff
    inside systemctl poweroff
    await_dead poweroff
    echo "$(exit_code) $(exit_signal)"
    [ "$(exit_code)" = 0 ]
    [ "$(exit_signal)" = 0 ]

    booted reboot
    inside systemctl reboot
    await_dead reboot
    echo "$(exit_code) $(exit_signal)"
    [ "$(exit_code)" = 133 ]
    [ "$(exit_signal)" = 0 ]
}

@test "a process that says it is ready, and how it is, has that told once" {
    submit notify service << 'END'
config {
  image   = "debian"
  boot    = false
  command = ["/bin/sh", "-c", "systemd-notify --ready --status='three of four'; systemd-notify --ready; echo ready; exec sleep 1000"]
}
END
    await_running notify
    await_log ready
    await notify '[.TaskStates.main.Events[].DisplayMessage] | any(startswith("Ready after ")) and any(. == "Status: three of four")'
    [ "$(n_events "^Ready after")" = 1 ]
}

@test "a stop while systemd is being re-executed is in time" {
    script reexec "trap 'echo bye; exit 5' TERM; $sleeper" 'kill_timeout = "5s"'
    systemctl daemon-reexec &
    nomad job stop -detach reexec
    await_dead reexec
    wait
    echo "$(stop_msec) ms"
    [ "$(exit_code)" = 5 ]
    [ "$(stop_msec)" -lt 6000 ]
}

@test "a plugin that is killed during a stop: the task ends as asked" {
    script orphan "end() { trap '' TERM; echo term; sleep 2; exit 4; }; trap end TERM; $sleeper" 'kill_timeout = "20s"'
    nomad job stop -detach orphan
    await_log term
    kill -KILL "$(plugin_pid)"
    await_dead orphan
    [ "$(task_log)" = $'ready\nterm' ]
    [ "$(exit_code)" = 4 ]
    await_no_containers
}
