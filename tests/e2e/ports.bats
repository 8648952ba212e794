#!/usr/bin/env bats
# Published ports: where they answer, who is seen there, and what becomes of them.
# shellcheck disable=SC2030,SC2031 # each test is a process of its own, for all of its functions
load lib

teardown_file() {
    local bridge
    for bridge in br-ports br-other; do
        ! ip link show $bridge > /dev/null 2>&1 || ip link delete $bridge
    done
}

no_restart() {
    echo 'restart {
      attempts = 0
      mode     = "fail"
    }'
}

# --- asking -------------------------------------------------------------------------------------

# The number on the host that Nomad gave the label, for $ALLOC.
port() {
    curl -sf "$API/allocation/$ALLOC" |
        jq -re --arg name "$1" '.AllocatedResources.Shared.Ports[] | select(.Label == $name).Value'
}

# in_container TASK COMMAND...: a program of the host with the container's network
in_container() {
    local pid
    pid=$(leader "$1")
    shift
    nsenter -t "$pid" -n "$@"
}

# address_of FAMILY [TASK]: 4 or 6; of a container of $ALLOC, from inside
address_of() {
    in_container "${2:-main}" ip -j "-$1" address show dev host0 scope global | jq -re '.[0].addr_info[0].local'
}
# The first hop of its default route: the host's end.
gateway_of() { in_container "${2:-main}" ip -j "-$1" route show default | jq -re '.[0].gateway'; }

# seen PROTOCOL ADDRESS PORT [COMMAND...]: as `ask`; the client's address as the server saw it
seen() {
    local address
    address=$(ask "$@" 2> /dev/null) || return 1
    address=${address#[}
    getent ahosts "${address%]}" | awk '{ print $1; exit }' # without socat's zeros
}

# row KIND FROM PROTOCOL ADDRESS EXPECTED [COMMAND...]: a row of the table; EXPECTED "-": no answer
row() {
    local kind=$1 from=$2 protocol=$3 address=$4 expected=$5 is
    shift 5
    is=$(seen "$protocol" "$address" "$PORT" "$@") || is=-
    printf '# %-7s %-9s %-4s %-15s %s\n' "$kind" "$from" "$protocol" "$address" "$is" >&3
    [ "$is" = "$expected" ] || { echo "$kind, $from, $protocol, $address: seen as $is, not $expected"; return 1; }
}

# --- where they answer ----------------------------------------------------------------------------

# submit_servers OPTIONS: `main` publishes the port "echo"; `near` has the same options, `far` a link of
# its own. Sets PORT.
submit_servers() {
    GROUP="
    network {
      port \"echo\" { to = 7 }
    }
    $(sleeper near "$1")
    $(sleeper far '')" submit ports service << END
config {
  image           = "nginx"
  ephemeral       = true
  boot            = false
  network_address = "auto"
  ports           = ["echo"]
  command         = $(server_command 7)
  $1
}
END
    await ports 'all(.TaskStates[]; .State == "running") and (.TaskStates | length) == 3'
    await_serving
    PORT=$(port echo)
}

sleeper() { # TASK OPTIONS
    cat << END
task "$1" {
  driver = "nspawn"
  config {
    image           = "busybox"
    ephemeral       = true
    boot            = false
    network_address = "auto"
    command         = ["/bin/sleep", "1000"]
    $2
  }
}
END
}

# table KIND NEAR4 NEAR6: the last two: as what a neighbour in the same network is seen
table() {
    local kind=$1 near4=$2 near6=$3 protocol loopback=$GATEWAY4
    printf '# %-7s %-9s %-4s %-15s %s\n' network from by "to" "seen as" >&3
    for protocol in tcp udp; do
        # On an administrator's bridge a program stands between, which knows tcp only.
        [ "$kind $protocol" != "bridge udp" ] || loopback=-
        row "$kind" host $protocol 127.0.0.1 "$loopback"
        row "$kind" host $protocol "$HOST4" "$HOST4"
        row "$kind" host $protocol "$HOST6" "$HOST6"
        row "$kind" outside $protocol "$HOST4" "$OUTSIDE4" outside
        row "$kind" outside $protocol "$HOST6" "$OUTSIDE6" outside
        row "$kind" far $protocol "$HOST4" "$(address_of 4 far)" in_container far
        row "$kind" far $protocol "$HOST6" "$(address_of 6 far)" in_container far
        row "$kind" near $protocol "$HOST4" "$near4" in_container near
        row "$kind" near $protocol "$HOST6" "$near6" in_container near
        row "$kind" itself $protocol "$HOST4" "$GATEWAY4" in_container main
        row "$kind" itself $protocol "$HOST6" "$GATEWAY6" in_container main
    done
    row "$kind" host tcp ::1 "$GATEWAY4"
    row "$kind" host udp ::1 -
}

ends() { GATEWAY4=$(gateway_of 4) GATEWAY6=$(gateway_of 6); }

@test "a port of a container with a link of its own answers everywhere, and clients are seen as they are" {
    submit_servers ''
    ends
    table veth "$(address_of 4 near)" "$(address_of 6 near)"
}

@test "a port of a container in a zone answers everywhere; neighbours in it come by the host" {
    submit_servers 'network_zone = "ports"'
    ends
    table zone "$GATEWAY4" "$GATEWAY6"
}

@test "a port of a container on an administrator's bridge answers everywhere, on 127.0.0.1 by tcp" {
    ip link add name br-ports type bridge
    ip link set br-ports up
    local before
    before=$(ip -o address show dev br-ports scope global)
    submit_servers 'network_bridge = "br-ports"'
    ends
    table bridge "$GATEWAY4" "$GATEWAY6"
    [ "$(cat /proc/sys/net/ipv4/conf/br-ports/route_localnet)" = 0 ]
    nomad job stop -purge -detach ports
    await_no_containers
    until_changed /run/systemd/transient bridge_is "$before"
}

bridge_is() { [ "$(ip -o address show dev br-ports scope global)" = "$1" ]; }

# --- which port is which ----------------------------------------------------------------------------

# says_its_port PORT...: the `command` of a server that tells everybody to which of its ports they came
says_its_port() {
    # shellcheck disable=SC2016 # the shell inside expands it
    local script='
        for port; do
            socat -d -d "TCP6-LISTEN:$port,ipv6only=0,fork,reuseaddr" "SYSTEM:read line; echo $port" &
        done
        wait'
    jq -cn '["/bin/bash", "-c"] + $ARGS.positional' --args "$script" server "$@"
}

listens_to() { [ "$(task_log stderr 2> /dev/null | grep -c ' listening on ')" -ge "$1" ]; }
await_listening() { until_changed "$ALLOCS/$ALLOC/alloc/logs" listens_to "$1"; } # N

# shellcheck disable=SC2016 # Nomad expands it
@test "ports: static and dynamic, with and without 'to', one inside under two numbers" {
    GROUP='network {
      port "to"      { to = 7 }
      port "both"    {
        static = 8071
        to     = 7
      }
      port "static"  { static = 8072 }
      port "dynamic" {}
      port "left_out" { to = 7 }
    }' submit ports service << END
config {
  image           = "nginx"
  ephemeral       = true
  boot            = false
  network_address = "auto"
  ports           = ["to", "both", "static", "dynamic"]
  command         = $(says_its_port 7 8072 '${NOMAD_PORT_dynamic}')
}
END
    await_listening 3
    local address
    for address in 127.0.0.1 ::1 "$HOST4" "$HOST6"; do
        [ "$(ask tcp "$address" "$(port to)")" = 7 ]
        [ "$(ask tcp "$address" 8071)" = 7 ]
        [ "$(ask tcp "$address" 8072)" = 8072 ]
        [ "$(ask tcp "$address" "$(port dynamic)")" = "$(port dynamic)" ]
        run ! ask tcp "$address" "$(port left_out)"
    done
}

@test "port_map gives ports their numbers inside, and publishes those it does not name, too" {
    GROUP='network {
      port "mapped" { to = 9 }
      port "other"  { to = 8 }
    }' submit ports service << END
config {
  image           = "nginx"
  ephemeral       = true
  boot            = false
  network_address = "auto"
  port_map { mapped = 7 }
  command         = $(says_its_port 7 8)
}
END
    await_listening 2
    [ "$(ask tcp 127.0.0.1 "$(port mapped)")" = 7 ]
    [ "$(ask tcp "$HOST4" "$(port other)" outside)" = 8 ]
}

# --- host_network -----------------------------------------------------------------------------------

rules_have() { nft list table inet nomad_nspawn | grep -qF "$1"; }
# await_rules TEXT: until the packet filter has it
await_rules() {
    local changes status=0
    exec {changes}< <(exec nft monitor)
    local monitor=$! until=$((SECONDS + AWAIT_SECONDS))
    until rules_have "$1" || [ $SECONDS -ge $until ]; do
        read -r -t 1 -u "$changes" _ || true
    done
    kill $monitor
    exec {changes}<&-
    rules_have "$1"
}

@test "a port of a host_network answers by that interface's addresses and the loopback, not by others" {
    ip link add name br-other type bridge
    ip address add 203.0.113.1/24 dev br-other
    ip address add 2001:db8:71::1/64 dev br-other nodad
    ip link set br-other up
    GROUP='network {
      port "echo" {
        to           = 7
        host_network = "outside"
      }
    }' submit ports service << END
config {
  image           = "nginx"
  ephemeral       = true
  boot            = false
  network_address = "auto"
  ports           = ["echo"]
  command         = $(server_command 7)
}
END
    await_serving
    local address protocol PORT
    PORT=$(port echo)
    for protocol in tcp udp; do
        [ "$(seen $protocol "$HOST4" "$PORT" outside)" = "$OUTSIDE4" ]
        [ "$(seen $protocol "$HOST6" "$PORT" outside)" = "$OUTSIDE6" ]
        [ "$(seen $protocol 127.0.0.1 "$PORT")" = "$(gateway_of 4)" ]
        for address in 203.0.113.1 2001:db8:71::1; do
            run ! ask $protocol $address "$PORT"
        done
    done
    [ "$(seen tcp ::1 "$PORT")" = "$(gateway_of 4)" ]

    # The interface gets another address of the family that Nomad did not name.
    local other=2001:db8:51::9
    [ "$(curl -sf "$API/allocation/$ALLOC" | jq -r '.AllocatedResources.Shared.Ports[0].HostIP')" = "$HOST4" ]
    ip address add $other/64 dev uplink nodad
    await_rules "$other . tcp . $PORT"
    [ "$(seen tcp $other "$PORT" outside)" = "$OUTSIDE6" ]
    ip address delete $other/64 dev uplink
    ip link delete br-other
}

# --- what is refused ---------------------------------------------------------------------------------

# said_by GROUP SENTENCE: of $ALL_FOUND, the group's task was not started, and says why
said_by() {
    local said
    said=$(jq -r --arg group "$1" '.[] | select(.TaskGroup == $group).TaskStates.main |
        select(.Failed) | .Events[].DisplayMessage' <<< "$ALL_FOUND")
    grep -qF -- "$2" <<< "$said" || { echo "$1: $said"; return 1; }
}

refused_group() { # NAME OPTIONS PORT [COMMAND]
    cat << END
group "$1" {
  network {
    port "http"  {}
    port "other" { to = 80 }
    port "static" { static = $3 }
  }
  $(no_restart)
  task "main" {
    driver = "nspawn"
    config {
      image     = "busybox"
      ephemeral = true
      boot      = false
      command   = ["/bin/sh", "-c", "exec ${4-sleep 1000}"]
      $2
    }
  }
}
END
}

# All at once: Nomad takes four seconds to be done with a task that it could not start.
@test "ports that cannot be published are refused in a sentence" {
    local said line
    exec {said}< <(exec timeout 60 socat -d -d TCP-LISTEN:8073,bind=127.0.0.1 STDOUT 2>&1)
    local program=$!
    until [[ ${line-} == *" listening on "* ]]; do read -r -t 10 -u "$said" line; done
    submit_job refused << END
job "refused" {
  type = "batch"
  $(no_reschedule)
  $(refused_group label 'ports = ["http", "htpp"]' 8074)
  $(refused_group twice 'ports = ["http", "http"]' 8075)
  $(refused_group map 'port_map { web = 80 }' 8076)
  $(refused_group two_ways 'ports = ["http"]
                            port_map { other = 80 }' 8077)
  $(refused_group host 'ports        = ["http"]
                        network_veth = false' 8078)
  $(refused_group private 'ports           = ["http"]
                           private_network = true' 8079)
  $(refused_group taken 'ports = ["static"]' 8073)
  $(refused_group address 'network_address = "dhcp"
                           network_timeout = "1s"
                           ports           = ["other"]' 8080)
  $(refused_group client 'network_address = "dhcp"
                          ports           = ["other"]' 8081 dhclient)
}
END
    await_allocs refused 'length == 9 and all(.[]; .ClientStatus == "failed")'
    kill $program
    exec {said}<&-
    local has='it has static, http, other'
    said_by label "option 'ports': the group's \`network\` block has no port \"htpp\"; $has"
    said_by twice "option 'ports': \"http\" is there twice"
    said_by map "option 'port_map': the group's \`network\` block has no port \"web\"; $has"
    said_by two_ways "options 'ports' and 'port_map' say the same in two ways; remove port_map"
    said_by host "option 'ports': the container uses the host's network (network_veth = false), where its ports are the host's own; remove the option"
    said_by private "option 'ports': the container has only a loopback; remove the option, or private_network"
    said_by taken "port 8073 of the host (\"static\") is taken by a program of the host (tcp); see 'ss -lnp', and stop that program or choose another port"
    said_by address "the container has no address on 'host0' after 1 s (network_timeout), and its ports need one: run a DHCP client in it and serve DHCP, or set network_address = \"auto\""
    said_by client 'The container ended before it had an address'
    said_by client 'Exit Code: 127'
}

@test "a port that another task has is not taken from it" {
    GROUP='network {
      port "http" { to = 80 }
    }
    task "second" {
      driver = "nspawn"
      config {
        image           = "busybox"
        ephemeral       = true
        boot            = false
        network_address = "auto"
        ports           = ["http"]
        command         = ["/bin/sleep", "1000"]
      }
    }' submit refused << 'END'
config {
  image           = "busybox"
  ephemeral       = true
  boot            = false
  network_address = "auto"
  ports           = ["http"]
  command         = ["/bin/sleep", "1000"]
}
END
    await refused 'any(.TaskStates[]; .Failed)'
    jq -r '.TaskStates[].Events[].DisplayMessage' <<< "$FOUND" |
        grep -E "port $(port http) of the host \(\"http\"\) is that of the machine '(main|second)-$ALLOC' already"
}

# --- another address ----------------------------------------------------------------------------------

answers() { [ "$(ask tcp "$1" "$PORT" 2> /dev/null)" = "${2:-7}" ]; }

@test "ports follow a container to another address, and to its next start" {
    GROUP='network {
      port "echo" { to = 7 }
    }' submit ports service << END
config {
  image           = "nginx"
  ephemeral       = true
  boot            = false
  ports           = ["echo"]
  network_timeout = "30s"
  command         = $(says_its_port 7 | jq -c '.[2] |= "dhclient host0 && " + .')
}
END
    await_listening 1
    local old new prefix gateway PORT address
    PORT=$(port echo)
    for address in 127.0.0.1 ::1 "$HOST4"; do
        answers "$address"
    done

    old=$(address_of 4) gateway=$(gateway_of 4)
    # Of the sixteen the first is the gateway's and the last goes to all.
    new=${old%.*}.$(((${old##*.} & ~15) + ((${old##*.} & 15) == 13 ? 14 : 13)))
    prefix=$(in_container main ip -j -4 address show dev host0 | jq '.[0].addr_info[0].prefixlen')
    nomad alloc exec "$ALLOC" /bin/sh -c "
        ip address add $new/$prefix dev host0 && ip address delete $old/$prefix dev host0
        ip address show dev host0 | grep -q $new/ || ip address add $new/$prefix dev host0
        ip route replace default via $gateway"
    await_rules ": $new . 7"
    await ports ".TaskStates.main.Events | any(.DisplayMessage | contains(\"Address: $new\"))"
    run ! rules_have ": $old . 7"
    for address in 127.0.0.1 ::1 "$HOST4"; do
        until_changed /run/systemd/transient answers "$address"
    done

    nomad alloc restart "$ALLOC" > /dev/null
    await ports '.TaskStates.main | .State == "running" and .Restarts == 1'
    await_listening 2
    for address in 127.0.0.1 ::1 "$HOST4"; do
        answers "$address"
    done
}

@test "an address that came in time is not missed when the time is over" {
    GROUP='network {
      port "http" { to = 80 }
    }' submit intime service << 'END'
config {
  image           = "busybox"
  boot            = false
  network_address = "dhcp"
  network_timeout = "2s"
  ports           = ["http"]
  command         = ["/bin/sh", "-c", "ip address add 192.0.2.50/24 dev host0; ip link set host0 up; sleep 3; echo over; sleep 1000"]
}
END
    await_log over
    await intime '.TaskStates.main.Events | any(.DisplayMessage == "Address: 192.0.2.50")'
    run ! grep -F "has no address" <<< "$(events)"
}

# --- the plugin and the agent ---------------------------------------------------------------------------

submit_web() { # JOB [OPTIONS]
    GROUP='network {
      port "http" { to = 80 }
    }' submit "$1" service << END
config {
  image           = "nginx"
  ephemeral       = true
  boot            = false
  network_address = "auto"
  ports           = ["http"]
  command         = ["/bin/bash", "-c", "nginx && echo up && sleep 1000"]
  ${2-}
}
END
    await_log up
}

# requests N URL [COMMAND...]: each a connection of its own, 80 a second; prints those that failed
requests() {
    local n=$1 url=$2
    shift 2
    "$@" curl -sS --rate 80/s -H 'Connection: close' -o /dev/null -w '%{http_code}\n' "$url?[1-$n]" 2>&1 | sort | uniq -c
}

next_change() { # FD OF NFT MONITOR
    local line
    until [[ ${line-} == "# new generation"* ]]; do
        read -r -t 10 -u "$1" line || return 1
    done
}

@test "a port answers all the time while the plugin is killed again and again" {
    submit_web ports
    local PORT n_kills=0 first changes
    PORT=$(port http)
    first=$(address_of 4)
    requests 1000 "http://$HOST4:$PORT/" outside > "$BATS_TEST_TMPDIR/outside" 3>&- &
    local outside=$!
    requests 1000 "http://127.0.0.1:$PORT/" > "$BATS_TEST_TMPDIR/loopback" 3>&- &
    local loopback=$!
    requests 1000 "http://[::1]:$PORT/" > "$BATS_TEST_TMPDIR/proxy" 3>&- &
    local proxy=$!
    exec {changes}< <(exec nft monitor)
    local monitor=$!
    while kill -0 $outside 2> /dev/null; do
        kill_plugin
        next_change "$changes" # the next plugin makes all rules anew
        n_kills=$((n_kills + 1))
    done
    kill $monitor
    exec {changes}<&-
    wait $outside $loopback $proxy
    local from
    for from in outside loopback proxy; do
        echo "# $from: $(xargs < "$BATS_TEST_TMPDIR/$from") (number, status) while the plugin was killed $n_kills times" >&3
        [ "$(xargs < "$BATS_TEST_TMPDIR/$from")" = "1000 200" ]
    done
    [ $n_kills -ge 3 ]

    # Right after the death, and before the next plugin has been told of any task: another address.
    kill -KILL "$(plugin_pid)"
    submit_web second
    [ "$(address_of 4)" != "$first" ]
    curl -sSf -o /dev/null "http://127.0.0.1:$(port http)/"
    curl -sSf -o /dev/null "http://127.0.0.1:$PORT/"
}

@test "rules that somebody has flushed are back with the next change, and with the next plugin" {
    submit_web ports
    local PORT
    PORT=$(port http)
    nft flush ruleset
    kill_plugin
    await_rules "tcp . $PORT "
    curl -sSf -o /dev/null "http://127.0.0.1:$PORT/"
    outside curl -sSf -o /dev/null "http://$HOST4:$PORT/"
    nft flush ruleset
    submit_web second
    outside curl -sSf -o /dev/null "http://$HOST4:$(port http)/"
    outside curl -sSf -o /dev/null "http://$HOST4:$PORT/"
    # It has a table of its own for containers that it serves.
    systemctl restart systemd-networkd.service
}

# What there is of networks on the host; of interfaces that come and go the numbers differ.
network_state() {
    nft list ruleset
    ip -o link | sed -E 's/^[0-9]+: //' | cut -d ' ' -f 1
    ip -o address | sed -E 's/^[0-9]+: //; s/ valid_lft.*//'
    ip route show table all
    ip -6 route show table all | sed -E 's/ expires [0-9]+sec//'
    systemctl list-units --all --plain --no-legend 'nspawn-*port*' | cut -d ' ' -f 1
    grep -sho 'vz-[^ ]*' /run/systemd/network/10-nomad-nspawn.network || true # zones
}
network_is() { [ "$(network_state)" = "$1" ]; }
await_network() { # STATE
    until_changed /run/systemd/transient network_is "$1" || { diff <(echo "$1") <(network_state); return 1; }
}

# ending_group NAME OPTIONS: ends when /alloc/data/end is there
ending_group() {
    cat << END
group "$1" {
  network {
    port "http" { to = 80 }
  }
  $(no_restart)
  task "main" {
    driver = "nspawn"
    config {
      image           = "busybox"
      ephemeral       = true
      boot            = false
      network_address = "auto"
      ports           = ["http"]
      command         = ["/bin/sh", "-c", "while [ ! -e /alloc/data/end ]; do usleep 20000; done"]
      $2
    }
  }
}
END
}

have_ended() { ! compgen -G '/sys/fs/cgroup/nspawn.slice/*/*/payload' > /dev/null; }

@test "of containers that ended while nobody was there, nothing is left" {
    local before alloc
    before=$(network_state)
    submit_job ports << END
job "ports" {
  type = "batch"
  $(ending_group veth '')
  $(ending_group zone 'network_zone = "ports"')
}
END
    await_allocs ports 'length == 2 and all(.[]; .TaskStates.main.State == "running")'
    run ! network_is "$before"
    systemctl stop nomad.service
    run ! pgrep -x nomad-driver-ns
    run ! have_ended
    for alloc in $(jq -r '.[].ID' <<< "$ALL_FOUND"); do
        touch "$ALLOCS/$alloc/alloc/data/end"
    done
    until_changed /sys/fs/cgroup/nspawn.slice have_ended
    run -0 rules_have "comment"
    systemctl start nomad.service
    await_agent
    await_allocs ports 'all(.[]; .ClientStatus == "complete")'
    await_network "$before"
}

@test "fifty starts and ends with ports leave the host as it was" {
    local before round
    before=$(network_state)
    for round in 1 2 3 4 5; do
        submit_job "cycle-$round" << END
job "cycle-$round" {
  type = "batch"
  $(ending_group veth '' | sed 's/^  network {/  count = 5\n&/; s|while .* done|true|')
  $(ending_group zone 'network_zone = "ports"' | sed 's/^  network {/  count = 5\n&/; s|while .* done|true|')
}
END
        await_allocs "cycle-$round" 'length == 10 and all(.[]; .ClientStatus == "complete")'
        nomad job stop -purge -detach "cycle-$round"
    done
    await_network "$before"
}
