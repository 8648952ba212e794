#!/usr/bin/env bats
# Starting, stopping, signals, statistics, restarts; and that nothing is left behind.
load lib

sleeper='config {
  image     = "busybox"
  ephemeral = true
  boot      = false
  command   = ["/bin/sh", "-c", "trap \"echo term; exit 3\" TERM; trap \"echo hup\" HUP; trap \"echo usr1; exit 4\" USR1; echo ready; while :; do sleep 1000 & wait; done"]
}'

@test "stop: a process gets SIGTERM, may finish, and its last output and code are kept" {
    submit stop service <<< "$sleeper"
    await_running stop
    await_log ready
    nomad job stop -detach stop
    await_dead stop
    [ "$(exit_code)" = 3 ]
    [ "$(task_log)" = $'ready\nterm' ]
}

@test "stop: the job's kill_signal" {
    submit usr1 service <<< "$sleeper
kill_signal = \"SIGUSR1\""
    await_running usr1
    await_log ready
    nomad job stop -detach usr1
    await_dead usr1
    [ "$(exit_code)" = 4 ]
    [ "$(task_log)" = $'ready\nusr1' ]
}

@test "stop: who does not end within kill_timeout is killed" {
    submit deaf service << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1000 & wait; done"]
}
kill_timeout = "1s"
END
    await_running deaf
    await_log ready
    nomad job stop -detach deaf
    await_dead deaf
    # From "Killing" to "Killed": the timeout, and a second at most.
    local msec
    msec=$(jq '.TaskStates.main.Events | (map(select(.Type == "Killed"))[-1].Time -
               map(select(.Type == "Killing"))[-1].Time) / 1000000 | floor' <<< "$FOUND")
    echo "$msec ms"
    [ "$msec" -ge 1000 ]
    [ "$msec" -lt 2000 ]
}

@test "stop: a booted system is shut down in order" {
    submit system service << 'END'
config {
  image = "debian"
}
kill_timeout = "30s"
END
    await_running system
    await_log "Reached target.*multi-user.target"
    nomad job stop -detach system
    await_dead system
    [ "$(exit_code)" = 0 ]
    task_log | grep -q "Reached target.*shutdown.target"
}

@test "signal: nomad alloc signal reaches the process" {
    submit signal service <<< "$sleeper"
    await_running signal
    await_log ready
    nomad alloc signal -s SIGHUP "$ALLOC"
    await_log hup
    run ! nomad alloc signal -s SIGNONE "$ALLOC"
    [[ "$output" == *SIGNONE* ]]
}

@test "restart: the same allocation starts again" {
    submit again service <<< "$sleeper"
    await_running again
    await_log ready
    nomad alloc restart "$ALLOC"
    await again '[.TaskStates.main.Events[] | select(.Type == "Started")] | length == 2'
    await_log ready
    [ "$(task_log | grep -c ready)" = 2 ]
}

@test "the statistics of a task" {
    submit stats << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sh", "-c", "while :; do :; done"]
}
END
    await_running stats
    usage() {
        curl -sf "$CLIENT/v1/client/allocation/$ALLOC/stats" |
            jq -e ".Tasks.main.ResourceUsage.CpuStats | $1" > /dev/null
    }
    # Nomad samples once a second; nothing tells when it has.
    local until=$((SECONDS + 20))
    until usage '.Percent > 20 and .Percent < 250 and (.Measured | index("Percent")) != null'; do
        [ $SECONDS -lt $until ]
        sleep 0.2
    done
    usage '.TotalTicks > 0 and .UserMode > .SystemMode'
}

@test "limits: memory and cpu are set on the unit" {
    submit limits << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sleep", "1000"]
}
resources {
  cpu        = 500
  memory     = 32
}
END
    await_running limits
    [ "$(systemctl show -P MemoryMax "$(unit)")" = $((32 << 20)) ]
    [ "$(systemctl show -P CPUWeight "$(unit)")" != "[not set]" ]
    local weight
    weight=$(systemctl show -P CPUWeight "$(unit)")
    [ "$weight" -ge 1 ]
    [ "$weight" -le 10000 ]
}

@test "limits: who takes more memory than allowed is killed, and Nomad is told why" {
    need_controller memory
    submit oom << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sh", "-c", "tail /dev/zero"]
}
resources {
  memory = 16
}
END
    await_dead oom
    jq -e '.TaskStates.main.Events | map(select(.Type == "Terminated"))[-1].Details.oom_killed == "true"' <<< "$FOUND"
}

@test "limits: a task that lives on without the killed process has an event that says so" {
    need_controller memory
    submit survivor << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sh", "-c", "tail /dev/zero; echo goes on; exec sleep 1000"]
}
resources {
  memory = 16
}
END
    await survivor '.TaskStates.main.Events | any(.DisplayMessage | test("killed a process.*out of memory"))'
    await_log "goes on"
}

@test "limits: the cpu weight is the kernel's" {
    need_controller cpu
    submit weight << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sleep", "1000"]
}
END
    await_running weight
    grep -qx '[1-9][0-9]*' /sys/fs/cgroup/nspawn.slice/*.slice/"$(unit)"/cpu.weight
}

# All that a start could leave, sorted; of the plugin its descriptors as well.
snapshot() {
    systemctl list-units --all --plain --no-legend 'nspawn*' | awk '{ print "unit", $1 }'
    machinectl list --all --no-legend | awk '{ print "machine", $1 }'
    findmnt -rno TARGET | sed 's/^/mount /'
    find /run /tmp /var/tmp /var/lib/machines -xdev \( -type p -o -type s -o -name '*nspawn*' -o -name '.#*' \) \
        -not -path '*/as-unit-*' -not -path '/tmp/bats*' | sed 's/^/file /'
    find /run/systemd/nspawn* /run/nomad-driver-nspawn 2> /dev/null | sed 's/^/file /'
    find /sys/fs/cgroup/nspawn.slice -type d | sed 's/^/cgroup /'
    ip -oneline link | awk '{ print "link", $2 }'
    find "/proc/$(plugin_pid)/fd" -type l -printf '%l\n' | sed 's/[0-9]\{2,\}//; s/^/fd /'
    echo "descriptors $(find "/proc/$(plugin_pid)/fd" -type l | wc -l)"
}

private_kb() { awk '/^Private_Dirty:/ { print $2 }' "/proc/$(plugin_pid)/smaps_rollup"; }

has_no_alloc_mounts() { ! findmnt -rno TARGET | grep -q "^$ALLOCS/"; }

is_as_before() { snapshot | sort > "$BATS_TEST_TMPDIR/after" && cmp -s "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after"; }

@test "thirty starts and stops leave nothing, and the plugin does not grow" {
    local i before after
    # What the first ones make once and for all (nspawn.slice, pools) is not counted.
    for i in 1 2 3; do
        submit "cycle$i" service <<< "$sleeper"
        await_running "cycle$i"
        nomad job stop -purge -detach "cycle$i"
        await_no_containers
    done
    # What Nomad keeps of earlier allocations goes at some time.
    nomad system gc
    until_changed /run has_no_alloc_mounts
    snapshot | sort > "$BATS_TEST_TMPDIR/before"
    before=$(private_kb)
    for i in $(seq 30); do
        submit "cycle$i" service <<< "$sleeper"
        await_running "cycle$i"
        if [ $((i % 2)) = 0 ]; then
            await_log ready
        fi
        nomad job stop -purge -detach "cycle$i"
        await_no_containers
    done
    nomad system gc
    until_changed /run is_as_before || {
        diff "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
        return 1
    }
    after=$(private_kb)
    echo "private dirty: $before kB before, $after kB after"
    [ "$after" -le $((before + 64)) ]
}
