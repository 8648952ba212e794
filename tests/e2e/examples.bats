#!/usr/bin/env bats
# Each example does what its head says. `debian` and `hello` are shown by tests/demo, too.
load lib

# example NAME [ARGUMENT...]: its job, under way; $FOUND and $ALLOC as after submit
example() {
    nomad job run -detach "${@:2}" "/srv/src/examples/$1/$1.nomad.hcl"
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

@test "examples/nginx answers on all addresses of the host" {
    example nginx
    await nginx .DeploymentStatus.Healthy
    local page="Welcome to nginx"
    curl -sSf http://127.0.0.1:8080/ | grep -q "$page"
    curl -sSf "http://$HOST4:8080/" | grep -q "$page"
    outside curl -sSf "http://$HOST4:8080/" | grep -q "$page"
    await_log "$OUTSIDE4 .*GET / HTTP/1.1. 200" stdout nginx
    run -0 nomad alloc exec -task nginx "$ALLOC" cat /proc/1/comm
    [ "$output" = init ]
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

@test "examples/bridge: two containers share a namespace, and its port is published" {
    example bridge
    await_dead bridge client
    [ "$(exit_code client)" = 0 ]
    task_log stdout client | grep -q "Welcome to nginx"
    curl -sSf http://127.0.0.1:8081/ | grep -q "Welcome to nginx"
}

@test "examples/zone: the client finds the server, and the node both by name" {
    example zone
    await_log "Welcome to nginx" stdout client
    curl -sSf "http://$(machine server)/" | grep -q "Welcome to nginx"
    run -0 getent ahostsv4 "$(machine client)"
}

@test "examples/network_bridge has its address on the bridge" {
    ip link add name br-example type bridge
    ip address add 192.0.2.1/24 dev br-example
    ip link set br-example up
    example network_bridge
    await_log listening stdout network_bridge
    curl -sSf http://192.0.2.10/ | grep -q "Welcome to nginx"
    nomad job stop -purge -detach network_bridge
    await_no_containers
    ip link delete br-example
}

@test "examples/macvlan is a station of the network outside" {
    example macvlan -var interface=uplink
    await_log listening stdout macvlan
    outside curl -sSf http://198.51.100.7/ | grep -q "Welcome to nginx"
    await_log "^$OUTSIDE4 " stdout macvlan
}

@test "examples/service is registered with the addresses of its containers" {
    nomad job run -detach /srv/src/examples/service/service.nomad.hcl
    await_allocs service 'length == 2 and all(.[]; .TaskStates.service.State == "running")'
    local address addresses
    for ALLOC in $(jq -r '.[].ID' <<< "$ALL_FOUND"); do
        await_log listening stdout service
    done
    addresses=$(curl -sSf "$API/service/service-example" | jq -r '.[] | "\(.Address):\(.Port)"' | sort -u)
    [ "$(wc -l <<< "$addresses")" = 2 ]
    for address in $addresses; do
        curl -sSf "http://$address/" | grep -q "Welcome to nginx"
    done
}
