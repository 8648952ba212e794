#!/usr/bin/env bats
# What Nomad's agent executes in tasks by ExecTask: scripts of templates, here on a Nomad variable.
load lib

bats::on_failure() { journalctl -n 30 -q -o cat -u nomad.service; }

put() { nomad var put -force "nomad/jobs/$1" "word=$2" > /dev/null; }

# template SCRIPT: of a task whose job is `scripts`
template() {
    cat << END
template {
  data        = "{{ with nomadVar \"nomad/jobs/scripts\" }}{{ .word }}{{ end }}"
  destination = "local/word"
  change_mode = "script"
  change_script {
    command       = "/bin/sh"
    args          = ["-c", "$1"]
    timeout       = "20s"
    fail_on_error = true
  }
}
END
}

process() {
    cat << END
config {
  image     = "busybox"
  ephemeral = true
  boot      = false
  command   = ["/bin/sleep", "100000"]
}
END
}

booted() {
    cat << END
config {
  image     = "debian"
  ephemeral = true
}
END
}

seen() { grep -qx "$1" "$ALLOCS/$ALLOC/alloc/seen" 2> /dev/null; }

# changes KIND: the script runs inside, with the task's environment, on each change and not before
changes() {
    put scripts first
    # shellcheck disable=SC2016 # the container's shell expands it
    local script='echo \"$(cat $NOMAD_TASK_DIR/word) $container\" >> $NOMAD_ALLOC_DIR/seen'
    submit scripts service < <("$1"; template "$script")
    await_running scripts
    [ ! -e "$ALLOCS/$ALLOC/alloc/seen" ]
    put scripts second
    until_changed "$ALLOCS/$ALLOC/alloc" seen "second systemd-nspawn"
    put scripts third
    until_changed "$ALLOCS/$ALLOC/alloc" seen "third systemd-nspawn"
    run -0 wc -l < "$ALLOCS/$ALLOC/alloc/seen"
    [ "$output" = 2 ]
    await scripts '.TaskStates.main.State == "running" and .TaskStates.main.Restarts == 0'
}

@test "a script on a change of a variable: a process" { changes process; }

@test "a script on a change of a variable: a booted system" { changes booted; }

@test "a script that fails ends the task, as its template says" {
    put scripts first
    submit scripts service < <(process; template 'exit 3')
    await_running scripts
    put scripts second
    await_dead scripts
    events | grep -q 'Template ran script .* but it exited with code: 3'
}
