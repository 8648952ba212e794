#!/usr/bin/env bats
# Single processes under our init, and instead of it: what they find, and how their end is told.
load lib

# ends JOB CODE SIGNAL SCRIPT [LINE]: a shell script in a container; LINE is one more of the config
ends() {
    submit "$1" << JOB
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sh", "-c", "$4"]
  ${5-}
}
JOB
    await_dead "$1"
    echo "$1: code $(exit_code), signal $(exit_signal); expected $2, $3"
    [ "$(exit_code)" = "$2" ]
    [ "$(exit_signal)" = "$3" ]
}

# What `config` is standard input's prints, once it has ended well.
prints() {
    submit "$1"
    await_dead "$1"
    output=$(task_log)
    mapfile -t lines <<< "$output"
    echo "$output"
    [ "$(exit_code)" = 0 ] || { events; task_log stderr; return 1; }
}

@test "exit codes are the command's own" {
    local code
    for code in 0 1 126 127 133 255; do
        ends "code-$code" "$code" 0 "exit $code"
    done
    ends pid1 7 0 "exit 7" "process_two = false"
}

@test "a signal that kills the command is told, with 128 and its number as the code" {
    ends term 143 15 'kill -TERM $$'
    ends kill 137 9 'kill -KILL $$'
    ends segv 139 11 'kill -SEGV $$'
}

@test "the environment arrives byte for byte" {
    local text
    text=$(printf '%-61440s' x | tr ' ' 'y')
    prints bytes << JOB
config {
  image       = "busybox"
  boot        = false
  command     = ["/bin/sh", "-c", "printf %s \"\$TEXT\" | md5sum; printf %s \"\$QUOTES\" | md5sum; printf %s \"\$LARGE\" | md5sum"]
  environment = {
    QUOTES = "it's \\"so\\" \\\\ \$HOME %h"
    LARGE  = "$text"
  }
}
env {
  TEXT = "one\\ntwo\\r\\n\\n"
}
JOB
    [ "${lines[0]}" = "$(printf 'one\ntwo\r\n\n' | md5sum)" ]
    [ "${lines[1]}" = "$(printf '%s' "it's \"so\" \\ \$HOME %h" | md5sum)" ]
    [ "${lines[2]}" = "$(printf '%s' "$text" | md5sum)" ]
}

@test "a command that is PID 1 has the same environment, user and directory" {
    prints pid1 << 'JOB'
user = "worker"
config {
  image             = "busybox"
  boot              = false
  process_two       = false
  working_directory = "/tmp"
  command           = ["/bin/sh", "-c", "echo $$; id -un; pwd; echo \"$LINES_\"; echo $HOME"]
  environment       = { LINES_ = "one\ntwo" }
}
JOB
    [ "$output" = $'1\nworker\n/tmp\none\ntwo\n/tmp' ]
}

@test "a user by name and by number, in an image without getent" {
    fresh_image
    rm "$IMAGE/bin/getent"
    local user
    for user in worker 1000 4711; do
        prints "user-$user" << JOB
user = "$user"
config {
  image   = "$IMAGE"
  boot    = false
  command = ["/bin/sh", "-c", "id -u; id -g"]
}
JOB
        [ "${lines[0]}" = "${user/worker/1000}" ]
        [ "${lines[1]}" = "${user/worker/1000}" ]
    done
}

@test "an image with one static binary and an empty /usr" {
    IMAGE=/var/lib/machines/static-$BATS_TEST_NUMBER
    mkdir -p "$IMAGE/usr"
    cp /var/lib/machines/busybox/bin/busybox "$IMAGE/echo"
    prints static << JOB
config {
  image   = "$IMAGE"
  boot    = false
  command = ["/echo", "alone"]
}
JOB
    [ "${lines[0]}" = alone ]
    prints static-user << JOB
user = "12"
config {
  image   = "$IMAGE"
  boot    = false
  command = ["/echo", "alone"]
}
JOB
}

@test "a command that is not found, or not executable, ends with 127 or 126" {
    submit not-found << 'JOB'
config {
  image   = "busybox"
  boot    = false
  command = ["no-such-command", "--flag"]
}
JOB
    await_dead not-found
    [ "$(exit_code)" = 127 ]
    events | grep -q '"no-such-command".*No such file or directory'
    submit not-executable << 'JOB'
config {
  image       = "busybox"
  boot        = false
  process_two = false
  command     = ["/etc/os-release"]
}
JOB
    await_dead not-executable
    [ "$(exit_code)" = 126 ]
    events | grep -q '"/etc/os-release".*Permission denied'
}

@test "a directory that the user may not enter fails the start, and the message says so" {
    submit no-directory << 'JOB'
config {
  image             = "busybox"
  boot              = false
  working_directory = "/no/such"
  command           = ["/bin/true"]
}
JOB
    await_dead no-directory
    events
    events | grep -q "'/no/such' (working_directory) cannot be entered inside as user 'root': No such file"
}

@test "the init leaves no zombie, passes signals on, and shows nobody its secrets" {
    submit init service << 'JOB'
config {
  image       = "busybox"
  boot        = false
  environment = { SECRET = "correct-horse" }
  command     = ["/bin/sh", "-c", "trap 'echo got hup' HUP; (true & exec true); echo up; while :; do sleep 1000 & wait; done"]
}
JOB
    await_running init
    await_log up
    local leader
    leader=$(leader)
    [ "$(cat /proc/"$leader"/task/*/children | wc -w)" = 1 ]
    run ! grep -qa correct-horse "/proc/$leader/environ"
    kill -HUP "$leader"
    await_log "got hup"
    grep -E '^(VmRSS|RssAnon)' "/proc/$leader/status" >&3
}

@test "machinectl poweroff ends the command in order" {
    submit poweroff service << 'JOB'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sh", "-c", "trap 'echo got term; exit 3' TERM; echo up; while :; do sleep 1000 & wait; done"]
}
JOB
    await_running poweroff
    await_log up
    machinectl poweroff "$(machine)"
    await_dead poweroff
    [ "$(exit_code)" = 3 ]
    await_log "got term"
}

@test "what a process of any user says by sd_notify reaches systemd-nspawn" {
    local cursor
    cursor=$(journal_cursor)
    submit notify service << 'JOB'
user = "nobody"
config {
  image     = "debian"
  boot      = false
  ephemeral = true
  command   = ["/bin/sh", "-c", "systemd-notify --ready --status='warm and ready'; sleep 1000"]
}
JOB
    await_running notify
    await_journal "$cursor" "Container running: warm and ready"
}
