#!/usr/bin/env bats
# Nomad's directories of a task, seen from inside a user namespace.
load lib

teardown_file() {
    load lib
    agent_as_ever
}

# What must be so whatever way the owners are made right. The template is rendered again when the
# variable changes; both times it is 0600 and root's.
check_directories() {
    nomad var put -force -out none nomad/jobs/directories word=first
    submit directories service << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sh", "-c", <<-SH
    cd /secrets
    cat word; stat -c '%u:%a' word
    touch /alloc/data/made /local/made /secrets/made && stat -c '%u made' /alloc/data/made /local/made /secrets/made
    mkdir /local/dir && echo deep > /local/dir/file && stat -c '%u deep' /local/dir/file
    touch /alloc/logs/mine || echo logs are read-only
    echo watching
    while ! grep -q second word; do usleep 20000; done
    cat word; stat -c '%u:%a' word
    echo end
    exec sleep 1000
  SH
  ]
}
template {
  data        = <<-T
    {{ with nomadVar "nomad/jobs/directories" }}{{ .word }}{{ end }}
  T
  destination = "secrets/word"
  perms       = "0600"
  uid         = 0
  gid         = 0
  change_mode = "noop"
}
END
    await_running directories
    await_log watching
    nomad var put -force -out none nomad/jobs/directories word=second
    await_log end
    task_log
    diff <(task_log | tr -d ' ') - << 'END'
first
0:600
0made
0made
0made
0deep
logsareread-only
watching
second
0:600
end
END
    [ ! -e "$ALLOCS/$ALLOC/alloc/logs/mine" ]
}

@test "secrets, local and alloc are right by ID-mapped mounts" {
    check_directories
    [ "$(stat -c %u "$ALLOCS/$ALLOC/main/local/made")" = 0 ]
}

@test "secrets is right where a tmpfs can't be ID-mapped" {
    agent_with NSPAWN_TEST_NO_IDMAP=tmpfs
    check_directories
    [ "$(stat -c %u "$ALLOCS/$ALLOC/main/secrets/word")" -ge 524288 ]
    [ "$(stat -c %u "$ALLOCS/$ALLOC/main/local/made")" = 0 ]
}

@test "all are right where nothing can be ID-mapped, after a plugin's death too" {
    agent_with NSPAWN_TEST_NO_IDMAP=all
    check_directories
    [ "$(stat -c %u "$ALLOCS/$ALLOC/main/secrets/word")" -ge 524288 ]
    kill_plugin
    # As an operator does it: followed by the new plugin, too.
    echo -n > "$ALLOCS/$ALLOC/main/local/later"
    is_shifted() { [ "$(stat -c %u "$1")" -ge 524288 ]; }
    until_changed "$ALLOCS/$ALLOC/main/local" is_shifted "$ALLOCS/$ALLOC/main/local/later"
}

@test "two tasks of a group share the alloc directory where nothing can be ID-mapped" {
    agent_with NSPAWN_TEST_NO_IDMAP=all
    GROUP='task "reader" {
      driver = "nspawn"
      config {
        image   = "busybox"
        ephemeral = true
        boot    = false
        command = ["/bin/sh", "-c", "while [ ! -e /alloc/data/word ]; do usleep 20000; done; stat -c %u /alloc/data/word; cat /alloc/data/word; echo read"]
      }
    }' submit pair << 'END'
config {
  image   = "busybox"
  ephemeral = true
  boot    = false
  command = ["/bin/sh", "-c", "umask 077; echo shared > /alloc/data/.word; mv /alloc/data/.word /alloc/data/word; sleep 1000"]
}
END
    await_running pair
    await_log read stdout reader
    [ "$(task_log stdout reader)" = $'0\nshared\nread' ]
}

@test "logs are read-only without a user namespace, too" {
    agent_as_ever
    submit readonly << 'END'
config {
  image            = "busybox"
  boot             = false
  user_namespacing = false
  command          = ["/bin/sh", "-c", "touch /alloc/logs/mine || echo logs are read-only; touch /alloc/data/made && echo data is not"]
}
END
    await_dead readonly
    [ "$(task_log)" = $'logs are read-only\ndata is not' ]
}

@test "volumes of the host are mounted, read-only where the job says so" {
    mkdir -p /srv/volume
    echo kept > /srv/volume/in
    GROUP='volume "data" {
      type   = "host"
      source = "static"
    }' submit volume << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sh", "-c", "cat /data/in; echo new > /data/out; touch /fixed/out || echo refused"]
}
volume_mount {
  volume      = "data"
  destination = "/data"
}
volume_mount {
  volume      = "data"
  destination = "/fixed"
  read_only   = true
}
END
    await_dead volume
    [ "$(task_log)" = $'kept\nrefused' ]
    [ "$(cat /srv/volume/out)" = new ]
    [ "$(stat -c %u /srv/volume/out)" = 0 ]
}
