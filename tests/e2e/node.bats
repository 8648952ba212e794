#!/usr/bin/env bats
# What the driver says of the node, and that it follows changes.
load lib

teardown() {
    systemctl unmask --runtime --quiet systemd-machined.service
    systemctl start systemd-machined.service
    rm -f /srv/e2e-agent.hcl
    await_driver '.Healthy'
}

# await_driver EXPRESSION: until the node's nspawn driver is as it says; it is then in $DRIVER
await_driver() {
    local headers index=0 until=$((SECONDS + AWAIT_SECONDS)) id
    headers=$(mktemp -p "$BATS_TEST_TMPDIR")
    id=$(curl -sf "$API/nodes" | jq -r '.[0].ID')
    while [ $SECONDS -lt $until ]; do
        NODE=$(curl -sf -D "$headers" "$API/node/$id?index=$index&wait=5s") || return 1
        index=$(awk 'tolower($1) == "x-nomad-index:" { print $2 + 0 }' "$headers")
        DRIVER=$(jq -c .Drivers.nspawn <<< "$NODE")
        ! jq -e "$1" <<< "$DRIVER" > /dev/null || return 0
    done
    echo "the driver is not within $AWAIT_SECONDS s: $1"
    echo "$DRIVER"
    return 1
}

@test "a whole node is healthy, and its attributes tell what was probed" {
    await_driver '.Healthy and .Detected and .HealthDescription == "Healthy"'
    attribute() { jq -r ".Attributes[\"driver.nspawn$1\"]" <<< "$NODE"; }
    [ "$(attribute "")" = 1 ]
    [ "$(attribute .version)" = "$(systemctl --version | awk 'NR == 1 { print $2 }')" ]
    [ "$(attribute .machined)" = true ]
    [ "$(attribute .user_namespaces)" = true ]
    [ "$(attribute .idmapped_mounts)" = true ]
    [ "$(attribute .cgroup)" = v2 ]
}

@test "a machined that can't be started makes the node unhealthy, until it is back" {
    systemctl mask --runtime --quiet systemd-machined.service
    systemctl stop systemd-machined.service
    await_driver '.Healthy | not'
    jq -r .HealthDescription <<< "$DRIVER"
    jq -e '.HealthDescription | test("machined")' <<< "$DRIVER"
    systemctl unmask --runtime --quiet systemd-machined.service
    systemctl start systemd-machined.service
    await_driver '.Healthy'
}

@test "a machined that stops when idle is no failure" {
    systemctl stop systemd-machined.service
    # It would be told within a moment; whatever comes first, the node stays as it is.
    run ! timeout 3 bash -c 'source /srv/src/tests/e2e/lib.bash; '"$(declare -f await_driver)"'; BATS_TEST_TMPDIR='"$BATS_TEST_TMPDIR"'; await_driver ".Healthy | not"'
}

@test "the bus going away makes the node unhealthy, and its tasks run on" {
    submit bus << 'END'
config {
  image   = "busybox"
  boot    = false
  command = ["/bin/sh", "-c", "while [ ! -e /alloc/data/end ]; do usleep 20000; done; exit 5"]
}
END
    await_running bus
    systemctl stop dbus.socket dbus.service
    await_driver '.Healthy | not'
    jq -r .HealthDescription <<< "$DRIVER"
    jq -e '.HealthDescription | test("bus")' <<< "$DRIVER"
    # Ended while nobody could tell.
    touch "$ALLOCS/$ALLOC/alloc/data/end"
    systemctl start dbus.socket dbus.service
    await_driver '.Healthy'
    await_dead bus
    [ "$(exit_code)" = 5 ]
    [ "$(events | grep -c Terminated)" -le 1 ]
    nomad job stop -purge -detach bus
    await_no_containers
}

