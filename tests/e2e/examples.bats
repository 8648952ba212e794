#!/usr/bin/env bats
# Each example does what its head says. `debian` and `hello` are shown by tests/demo, too.
load lib

# example NAME: its job, under way; $FOUND and $ALLOC as after submit
example() {
    nomad job run -detach "/srv/src/examples/$1/$1.nomad.hcl"
    await "$1" true
    ALLOC=$(jq -r .ID <<< "$FOUND")
}

# example_prints NAME: one that ends by itself, with success; its log is in $output
example_prints() {
    example "$1"
    await_dead "$1" "$1"
    [ "$(exit_code "$1")" = 0 ] || { events "$1"; return 1; }
    output=$(task_log stdout "$1")
    echo "$output"
}

@test "every example is a job that Nomad takes" {
    local file
    for file in /srv/src/examples/*/*.nomad.hcl; do
        nomad job validate "$file"
    done
}

@test "examples/debian boots" {
    example debian
    await_running debian debian
    await_log "Reached target.*multi-user.target" stdout debian
}

@test "examples/hello counts" {
    example hello
    await_running hello hello
    await_log "hello 3" stdout hello
    [ "$(task_log stdout hello | head -n 3)" = $'hello 1\nhello 2\nhello 3' ]
}

@test "examples/environment" {
    example_prints environment
    [ "$output" = $'Good morning, world\nI am environment of environment' ]
}

@test "examples/secrets" {
    example_prints secrets
    [[ "$output" == "-rw------- "*" 0 "*" 0 "*"not much of a secret" ]]
    [ "$(tr -d ' ' < "$ALLOCS/$ALLOC/alloc/data/length")" = 21 ]
}

@test "examples/bind" {
    example_prints bind
    [ "${output%%$'\n'*}" = "page of job bind" ]
    [[ "$output" == *"$(head -n 1 /etc/os-release)" ]]
}

@test "examples/volumes" {
    nomad volume create /srv/src/examples/volumes/data.volume.hcl
    example_prints volumes
    [ "$output" = "run by $ALLOC" ]
    [ "$(find /var/lib/nomad -name runs -printf '%U\n')" = 0 ]
    nomad job stop -purge -detach volumes
}

@test "examples/user" {
    example_prints user
    [[ "$output" == "uid=1000(worker) gid=1000(worker)"*$'\n/tmp\nwritten by worker' ]]
}

@test "examples/limits" {
    example limits
    await_running limits limits
    [ "$(systemctl show -P MemoryMax "$(unit limits)")" = $((64 << 20)) ]
    systemctl set-property --runtime "$(unit limits)" MemoryMax=256M
    [ "$(systemctl show -P MemoryMax "$(unit limits)")" = $((256 << 20)) ]
}

@test "examples/ephemeral" {
    nomad job run -detach /srv/src/examples/ephemeral/ephemeral.nomad.hcl
    # Both allocations at once.
    /srv/src/tests/host/await job/ephemeral/allocations \
        'length == 2 and all(.[]; .ClientStatus == "complete")' > "$BATS_TEST_TMPDIR/allocs"
    local texts
    texts=$(cat "$ALLOCS"/*/alloc/logs/ephemeral.stdout.0 | sort)
    [[ "$texts" == *$'mark 0 on throwaway\nmark 1 on throwaway'* ]]
    [ ! -e /var/lib/machines/busybox/srv/mark ]
}
