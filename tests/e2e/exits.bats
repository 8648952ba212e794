#!/usr/bin/env bats
# Every way to end, in all three modes, and what Nomad is told of it, as a table. The tasks of a table are
# the groups of one job, and run at once.
load lib

teardown_file() { agent_as_ever; }

bats::on_failure() { journalctl -n 30 -q -o cat -u nomad.service; }

# config KIND COMMAND
config() {
    if [ "$1" = booted ]; then
        printf 'image = "%s"\nephemeral = true\n' "${2:-debian}"
        return
    fi
    printf 'image = "busybox"\nephemeral = true\nboot = false\ncommand = [%s]\n' "$2"
    [ "$1" = child ] || echo 'process_two = false'
}

group() { # NAME KIND COMMAND
    local memory=32
    [ "$2" != booted ] || memory=128
    cat << END
  group "$1" {
    restart {
      attempts = 0
      mode     = "fail"
    }
    $(no_reschedule)
    task "main" {
      driver = "nspawn"
      config {
        $(config "$2" "$3")
      }
      resources {
        cpu    = 10
        memory = $memory
      }
    }
  }
END
}

# read_rows KIND: into $names, $expectations, $actions and $groups, from standard input
read_rows() {
    local name expected command action
    names=() expectations=() actions=() groups=
    while IFS='|' read -r name expected command action; do
        command=$(trim "$command")
        [ "$1" = booted ] || [[ $command == '"'* ]] || command="\"/bin/sh\", \"-c\", \"$command\""
        groups+=$(group "row${#names[@]}" "$1" "$command")$'\n'
        names+=("$(trim "$name")")
        expectations+=("$(trim "$expected")")
        actions+=("$(trim "$action")")
    done
}

# Until the job's tasks have ended or wait for something to be done to them.
await_up() { # JOB KIND N
    local up='.State == "running"'
    [ "$2" != booted ] || up='any(.Events[].DisplayMessage; startswith("Booted in "))'
    await_allocs "$1" "length == $3 and all(.[].TaskStates.main; . != null and (.State == \"dead\" or ($up)))"
}

print_row() { # ROW KIND SEEN
    printf '# %-6s | %-40s | %-8s | %-8s%s\n' "$2" "${names[$1]}" "${expectations[$1]}" "$3" \
        "$(task_log 2> /dev/null | sed -n 's/^note: / /p')"
}

# runs KIND: rows "exit | code signal | command | what is done from outside, once it runs" from standard
# input; a command without quotes is a shell's, that of a booted system is its image. What a task prints
# behind "note:" is in the table.
runs() {
    local names expectations actions groups row seen job=exits-$1 n_wrong=0
    read_rows "$1"
    printf 'job "%s" {\n  type = "batch"\n%s}\n' "$job" "$groups" > "$BATS_TEST_TMPDIR/exits.hcl"
    nomad job run -detach "$BATS_TEST_TMPDIR/exits.hcl" > /dev/null
    await_up "$job" "$1" ${#names[@]}
    for row in "${!names[@]}"; do
        find_row "$row"
        ${actions[row]}
    done
    await_allocs "$job" 'all(.[]; .TaskStates.main.State == "dead")'
    for row in "${!names[@]}"; do
        find_row "$row"
        seen="$(exit_code) $(exit_signal)"
        print_row "$row" "$1" "$seen" >&3
        [ "$seen" != "${expectations[row]}" ] || continue
        echo "${names[row]}: $seen, expected ${expectations[row]}"
        events
        n_wrong=$((n_wrong + 1))
    done
    [ $n_wrong = 0 ]
}

# --- what is done from outside --------------------------------------------------------------------

kill_leader() { kill "-$1" "$(leader)"; }
kill_nspawn() { kill -KILL "$(systemctl show -P MainPID "$(unit)")"; }
in_system() { nsenter -t "$(leader)" -U -m -u -i -n -p -r -S 0 -G 0 -- systemctl --no-block "$@"; }

send() {
    await_log ready
    nomad alloc signal -s "$1" "$ALLOC"
}

# As if the init had left no exit status.
send_without_status() {
    rm "/run/nomad-driver-nspawn/$(machine)/status"
    send "$1"
}

@test "the init's child" {
    runs child << 'END'
exit 0                                | 0 0    | exit 0          |
exit 1                                | 1 0    | exit 1          |
exit 7                                | 7 0    | exit 7          |
exit 126                              | 126 0  | exit 126        |
exit 127                              | 127 0  | exit 127        |
exit 133                              | 133 0  | exit 133        |
exit 255                              | 255 0  | exit 255        |
killed by TERM                        | 143 15 | kill -TERM $$   |
killed by KILL                        | 137 9  | kill -KILL $$   |
killed by SEGV                        | 139 11 | ulimit -c 0; f() { f; }; f |
killed by SEGV, core                  | 139 11 | ulimit -c unlimited; ulimit -s 256; cd /tmp; f() { f; }; (f); ls core* > /dev/null && echo note: core dumped; f |
command not found                     | 127 0  | "/no/such"      |
not executable                        | 126 0  | "/etc/os-release" |
power-off inside                      | 0 0    | poweroff -f; sleep 1000 |
reboot inside                         | 133 0  | reboot -f; sleep 1000 |
init killed from outside              | 137 9  | sleep 1000      | kill_leader KILL
nspawn killed                         | 137 9  | sleep 1000      | kill_nspawn
END
}

@test "PID 1" {
    runs pid1 << 'END'
exit 0                                | 0 0    | exit 0          |
exit 1                                | 1 0    | exit 1          |
exit 7                                | 7 0    | exit 7          |
exit 126                              | 126 0  | exit 126        |
exit 127                              | 127 0  | exit 127        |
exit 133                              | 133 0  | exit 133        |
exit 255                              | 255 0  | exit 255        |
TERM and KILL of itself: not for a PID 1 | 5 0 | kill -TERM $$; kill -KILL $$; exit 5 |
killed by KILL                        | 137 9  | sleep 1000; exit 6 | kill_leader KILL
killed by SEGV                        | 139 11 | ulimit -c 0; f() { f; }; f |
killed by SEGV, core                  | 139 11 | ulimit -c unlimited; ulimit -s 256; cd /tmp; f() { f; }; (f); ls core* > /dev/null && echo note: core dumped; f |
command not found                     | 127 0  | "/no/such"      |
not executable                        | 126 0  | "/etc/os-release" |
power-off                             | 0 0    | exec poweroff -f |
reboot                                | 133 0  | exec reboot -f |
nspawn killed                         | 137 9  | sleep 1000; exit 6 | kill_nspawn
END
}

# systemd's PID 1 takes SIGTERM as "execute yourself again", and ends itself with 255 after a crash.
@test "booted" {
    runs booted << 'END'
systemctl exit 0                      | 0 0    | | in_system exit 0
systemctl exit 7                      | 7 0    | | in_system exit 7
systemctl exit 127                    | 127 0  | | in_system exit 127
systemctl exit 133                    | 133 0  | | in_system exit 133
systemctl exit 255                    | 255 0  | | in_system exit 255
power-off                             | 0 0    | | in_system poweroff
reboot                                | 133 0  | | in_system reboot
PID 1 killed by KILL                  | 137 9  | | kill_leader KILL
PID 1 crashed by SEGV                 | 255 0  | | kill_leader SEGV
nspawn killed                         | 137 9  | | kill_nspawn
nspawn fails: no init in the image    | 1 0    | busybox |
END
}

# The init's code is left, not that it was a signal.
@test "the init's child, where the init has left no status" {
    runs child << 'END'
exit 7, no status                     | 7 0    | trap 'exit 7' USR1; echo ready; while :; do sleep 1000 & wait; done | send_without_status SIGUSR1
killed by TERM, no status             | 143 0  | echo ready; exec sleep 1000 | send_without_status SIGTERM
END
}

# nspawn's own code is left, 1 for every signal; single processes have the init's status.
@test "where the kernel keeps no exit status" {
    agent_with NSPAWN_TEST_NO_EXIT_STATUS=1
    runs child << 'END'
exit 7, no kernel                     | 7 0    | exit 7          |
killed by TERM, no kernel             | 143 15 | kill -TERM $$   |
killed by TERM, no kernel, no status  | 143 0  | echo ready; exec sleep 1000 | send_without_status SIGTERM
reboot inside, no kernel              | 133 0  | reboot -f; sleep 1000 |
END
    runs pid1 << 'END'
exit 7, no kernel                     | 7 0    | exit 7          |
killed by SEGV, no kernel             | 1 0    | f() { f; }; f   |
killed by KILL, no kernel             | 1 0    | sleep 1000; exit 6 | kill_leader KILL
END
    runs booted << 'END'
systemctl exit 7, no kernel           | 7 0    | | in_system exit 7
PID 1 killed by KILL, no kernel       | 1 0    | | kill_leader KILL
END
}
