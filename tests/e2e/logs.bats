#!/usr/bin/env bats
# Output reaches `nomad alloc logs` whole and in order.
load lib

@test "stdout and stderr of a process are kept apart" {
    submit logs << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sh", "-c", "echo to stdout; echo to stderr >&2"]
}
END
    await_dead logs
    [ "$(task_log stdout)" = "to stdout" ]
    [ "$(task_log stderr)" = "to stderr" ]
    [ "$(nomad alloc logs "$ALLOC")" = "to stdout" ]
    [ "$(nomad alloc logs -stderr "$ALLOC")" = "to stderr" ]
}

@test "a process that lives five milliseconds has complete logs and its exit code" {
    submit brief << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sh", "-c", "seq 1 500; exit 9"]
}
END
    await_dead brief
    [ "$(exit_code)" = 9 ]
    diff <(task_log) <(seq 1 500)
}

@test "no line is lost or repeated while the plugin is killed ten times" {
    submit lines << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sh", "-c", "for i in $(seq 1 100); do seq $((i * 2000 - 1999)) $((i * 2000)); usleep 80000; done; exit 42"]
}
logs {
  max_files     = 10
  max_file_size = 10
}
END
    await_running lines
    local leader plugins
    leader=$(leader)
    for _ in $(seq 10); do
        plugins+=" $(plugin_pid)"
        kill_plugin
        [ "$(leader)" = "$leader" ]
    done
    plugins+=" $(plugin_pid)"
    await_dead lines
    [ "$(tr ' ' '\n' <<< "$plugins" | sort -u | grep -c .)" = 11 ]
    [ "$(exit_code)" = 42 ]
    cmp <(task_log) <(seq 1 200000)
}

@test "the console of a booted system is its log" {
    submit console service << 'END'
config {
  image = "debian"
}
resources {
  memory = 256
}
END
    await_running console
    await_log "Reached target.*multi-user.target"
    nomad alloc logs "$ALLOC" | grep -q "Welcome to .*Debian"
}
