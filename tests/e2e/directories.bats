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

# What nspawn makes in an image that it ID-maps is nobody's.
@test "mount points that stay in an image belong to the image's owner" {
    fresh_image
    mkdir -p /srv/shared
    submit owner << END
config {
  image   = "$IMAGE"
  boot    = false
  command = ["/bin/true"]
  bind    = {
    "/srv/shared" = "/mnt/dir"
    "/etc/passwd" = "/mnt/file"
  }
}
END
    await_dead owner
    [ "$(exit_code)" = 0 ]
    (cd "$IMAGE"; stat -c '%n %u:%g %F' alloc local secrets mnt mnt/*) | diff - <(cat << 'END'
alloc 0:0 directory
local 0:0 directory
secrets 0:0 directory
mnt 0:0 directory
mnt/dir 0:0 directory
mnt/file 0:0 regular empty file
END
    )
    [ -z "$(ls "$IMAGE/alloc")" ]
}

@test "links in an image lead nowhere outside of it" {
    fresh_image
    rm -rf /srv/outside
    mkdir -p /srv/outside /srv/shared "$IMAGE/srv/outside"
    ln -s ../../../../../srv/outside "$IMAGE/relative"
    ln -s /srv/outside "$IMAGE/absolute"
    ln -s ../../../../srv/outside/alloc "$IMAGE/alloc"
    submit links << END
config {
  image          = "$IMAGE"
  boot           = false
  command        = ["/bin/sh", "-c", "touch /alloc/data/made && ls /srv/outside"]
  bind           = { "/srv/shared" = "/relative/one" }
  bind_read_only = { "/srv/shared" = "/absolute/two" }
}
END
    await_dead links
    events
    [ "$(task_log)" = $'alloc\none\ntwo' ]
    [ -e "$ALLOCS/$ALLOC/alloc/data/made" ]
    [ -z "$(ls /srv/outside)" ]
    [ "$(stat -c %u "$IMAGE"/srv/outside/{one,two})" = $'0\n0' ]
}

@test "an image whose alloc directory is its own root hurts only itself" {
    local before
    fresh_image
    ln -s / "$IMAGE/alloc"
    before=$(ls -A /)
    submit root << END
config {
  image   = "$IMAGE"
  boot    = false
  command = ["/bin/true"]
}
END
    await_dead root
    events
    [ "$(jq .TaskStates.main.Failed <<< "$FOUND")" = true ]
    [ "$(ls -A /)" = "$before" ]
}
