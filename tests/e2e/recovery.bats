#!/usr/bin/env bats
# Containers outlive the plugin and the agent, and nothing of them is lost.
load lib

# A booted system and a process that prints; and, in a job of its own (a task that fails takes its
# group with it), a process that ends with 7 when the file /alloc/data/end appears.
submit_three() {
    submit ending << 'END'
config {
  image     = "busybox"
  ephemeral = true
  boot      = false
  command   = ["/bin/sh", "-c", "echo before; while [ ! -e /alloc/data/end ]; do usleep 20000; done; echo after; exit 7"]
}
END
    ENDING=$ALLOC
    await_running ending
    GROUP='task "process" {
      driver = "nspawn"
      config {
        image     = "busybox"
        ephemeral = true
        boot      = false
        command   = ["/bin/sh", "-c", "seq 1 3; while [ ! -e /alloc/data/go-on ]; do usleep 20000; done; seq 4 10; exec sleep 1000"]
      }
    }' submit two service << 'END'
config {
  image = "debian"
}
END
    TWO=$ALLOC
    await_running two main
    await_running two process
    await_log 3 stdout process
    LEADERS="$(leader main) $(leader process)"
}

has_ended() { [ "$(systemctl show -P SubState "$(unit)")" = exited ]; }

# "ending" ends while nobody but systemd is there.
end_meanwhile() {
    ALLOC=$ENDING
    touch "$ALLOCS/$ALLOC/alloc/data/end"
    until_changed "/sys/fs/cgroup/nspawn.slice" has_ended
}

n_starts() { jq '[.TaskStates[].Events[] | select(.Type == "Started")] | length' <<< "$FOUND"; }

# What must be so after any kind of restart, during which "ending" ended.
check_three() {
    await_dead ending
    [ "$(exit_code)" = 7 ]
    [ "$(n_starts)" = 1 ]
    ALLOC=$ENDING
    [ "$(task_log)" = $'before\nafter' ]

    await two '[.TaskStates[].State] == ["running", "running"]'
    [ "$(n_starts)" = 2 ]
    ALLOC=$TWO
    [ "$(leader main) $(leader process)" = "$LEADERS" ]
    touch "$ALLOCS/$ALLOC/alloc/data/go-on"
    await_log 10 stdout process
    diff <(task_log stdout process) <(seq 1 10)
}

@test "an agent that was stopped and started has its tasks again" {
    submit_three
    systemctl stop nomad.service
    run ! pgrep -x nomad-driver-ns
    end_meanwhile
    systemctl start nomad.service
    await_agent
    check_three
}

@test "an agent that was killed and started has its tasks again" {
    submit_three
    local plugin
    plugin=$(plugin_pid)
    systemctl kill --kill-whom=main --signal=SIGKILL nomad.service
    # The plugin notices by itself that nobody needs it any more.
    timeout 30 tail --pid="$plugin" -f /dev/null
    end_meanwhile
    systemctl reset-failed nomad.service
    systemctl start nomad.service
    await_agent
    check_three
}

@test "a process that ended while no plugin ran is reported with its code" {
    submit_three
    local cursor
    cursor=$(journal_cursor)
    kill -STOP "$(plugin_pid)"
    end_meanwhile
    kill -KILL "$(plugin_pid)"
    await_journal "$cursor" "recovered as machine 'main-$ENDING" > /dev/null
    check_three
}

@test "one plugin serves the agent, with one thread" {
    submit idle << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sleep", "1000"]
}
END
    await_running idle
    kill_plugin
    [ "$(pgrep -x nomad-driver-ns | wc -l)" = 1 ]
    [ "$(ls "/proc/$(plugin_pid)/task" | wc -l)" = 1 ]
}
