#!/usr/bin/env bats
# Networks as a table: each mode by kind by user namespace, all at once for one mode, each answering with
# its machine's name. Beside it what a group's network holds, and what is refused.
load lib

# What answers is a socket unit, or socat.
setup_file() {
    bare_image answer
    mkdir -p /srv/answer
    printf '[Socket]\nListenStream=%%i\nAccept=yes\n' > /srv/answer/answer@.socket
    printf '[Service]\nExecStart=hostname\nStandardInput=socket\n' > /srv/answer/answer@.service

    ip link add shelf type bridge
    ip address add 192.0.2.1/24 dev shelf
    ip link set shelf up
    print_row mode kind userns address inside itself host neighbour outside port >&3
}

teardown_file() {
    ip link delete shelf
    rm -rf --one-file-system /var/lib/machines/answer /srv/answer
}

bats::on_failure() { journalctl -n 30 -q -o cat -u nomad.service; }

# --- the table ----------------------------------------------------------------------------------

print_row() {
    printf '# %-12s | %-7s | %-6s | %-16s | %-15s | %-6s | %-4s | %-9s | %-7s | %s\n' "$@"
}

# group ROW NETWORK KIND USERNS PORT OPTIONS
group() {
    local from=debian kind="command = [\"systemd.wants=answer@$5.socket\"]"
    if [ "$3" = process ]; then
        from=nginx
        kind="boot = false
        command = [\"/usr/bin/socat\", \"-d\", \"-d\", \"TCP6-LISTEN:$5,fork,ipv6only=0\", \"EXEC:hostname\"]"
    fi
    cat << END
  group "row$1" {
    restart {
      attempts = 0
      mode     = "fail"
    }
    $(no_reschedule)
    $2
    task "main" {
      driver = "nspawn"
      config {
        image            = "answer"
        ephemeral        = true
        user_namespacing = $([ "$4" = on ] && echo true || echo false)
        bind_read_only   = {
          "/var/lib/machines/$from/usr" = "/usr"
          "/srv/answer"                 = "/etc/systemd/system.control"
        }
        $kind
        $6
      }
      resources {
        cpu    = 10
        memory = 64
      }
    }
  }
END
}

port_block() { printf 'port "answer" {\n to = 80\n host_network = "outside"\n}\n'; }

# read_rows NETWORK: rows "kind | userns | options, separated by ';' | address | what reaches it"
read_rows() {
    local kind userns options address expected port
    kinds=() usernses=() options_of=() addresses=() expectations=() ports=() groups=
    while IFS='|' read -r kind userns options address expected; do
        kind=$(trim "$kind") userns=$(trim "$userns") options=$(trim "$options")
        # In the host's network no two can have the same, and none one below 1024.
        port=80
        [[ $options != *"network_veth = false"* ]] || port=$((8001 + ${#kinds[@]}))
        groups+=$(group "${#kinds[@]}" "$1" "$kind" "$userns" "$port" "${options//;/$'\n'}")$'\n'
        kinds+=("$kind") usernses+=("$userns") options_of+=("$options") ports+=("$port")
        addresses+=("$(trim "$address")") expectations+=("$(trim "$expected")")
    done
}

# Until all tasks run, booted systems to the end of their boot, with the addresses that they get
await_up() { # JOB KINDS
    local booted addressed=true
    booted=$(printf '%s\n' "${kinds[@]}" |
        jq -R . | jq -sc 'to_entries | map(select(.value == "booted").key)')
    [[ $groups != *network_address* && $groups != *network_zone* ]] || addressed='has("Address: ")'
    await_allocs "$1" "def has(\$text): any(.Events[].DisplayMessage; startswith(\$text));
        length == ${#kinds[@]} and all(.[]; (.TaskGroup[3:] | tonumber) as \$row | .TaskStates.main |
        . != null and .State == \"running\" and $addressed and
        ((\$row | IN(${booted}[]) | not) or has(\"Booted in \")))"
}

userns_of_leader() {
    local _ base
    read -r _ base _ < "/proc/$1/uid_map"
    [ "$base" = 0 ] && echo off || echo on
}

# address_inside LEADER: the first that is not of its own link only
address_inside() {
    nsenter -t "$1" -n ip -4 -oneline address show scope global |
        awk 'NR == 1 { sub("/.*", "", $4); print $4 }'
}

# reaches ADDRESS:PORT [COMMAND...]: whether it is this machine that answers, to a program that COMMAND runs
reaches() {
    local address=$1 answer
    shift
    answer=$(timeout 5 "$@" socat -u "TCP:$address,connect-timeout=1" - 2> /dev/null) || true
    [ "$answer" = "$(machine)" ] && echo yes || echo no
}

# see_row ROW LEADER...: what is expected and what is seen, in $seen, and $inside
see_row() {
    local row=$1 port=${ports[$1]} leaders published
    shift
    leaders=("$@")
    inside=$(address_inside "${leaders[row]}")
    published=$(published_port answer)
    seen=$(reaches "127.0.0.1:$port" nsenter -t "${leaders[row]}" -n)
    if [ -n "$inside" ]; then
        seen+=" $(reaches "$inside:$port")"
        seen+=" $(reaches "$inside:$port" nsenter -t "${leaders[row ^ 1]}" -n)"
        seen+=" $(reaches "$inside:$port" ip netns exec outside)"
    else
        # It has none: so that it is nobody's neighbour either.
        inside=none
        seen+=" $(reaches "127.0.0.1:$port")"
        seen+=" $(reaches "127.0.0.1:$port" nsenter -t "${leaders[row ^ 1]}" -n) -"
    fi
    seen+=" $([ -n "$published" ] && reaches "198.51.100.1:$published" ip netns exec outside || echo -)"
}

# table MODE [NETWORK]: of rows as read_rows has them, each with its neighbour (the first two are, and the
# last two), in groups with this content of the network block
table() {
    local kinds usernses options_of addresses expectations ports groups leaders=() row seen inside
    local job=network-${1//[^a-z]/-} userns address network='' n_wrong=0
    [ -z "${2-}" ] || printf -v network 'network {\n%s\n}' "$2"
    read_rows "$network"
    printf 'job "%s" {\n%s}\n' "$job" "$groups" > "$BATS_TEST_TMPDIR/job.hcl"
    nomad job run -detach "$BATS_TEST_TMPDIR/job.hcl" > /dev/null
    await_up "$job"
    for row in "${!kinds[@]}"; do
        find_row "$row"
        leaders+=("$(leader)")
        [ "${kinds[row]}" = booted ] || await_log "listening on" stderr
    done
    for row in "${!kinds[@]}"; do
        find_row "$row"
        userns=$(userns_of_leader "${leaders[row]}")
        see_row "$row" "${leaders[@]}"
        address=$(sed -n 's/.*network_address = "\([^"]*\)".*/\1/p' <<< "${options_of[row]}")
        # shellcheck disable=SC2086 # words
        print_row "$1" "${kinds[row]}" "$userns" "$address" "$inside" $seen >&3
        # shellcheck disable=SC2053 # a pattern
        if [ "$userns" = "${usernses[row]}" ] && [[ $inside == ${addresses[row]} ]] &&
            [ "$seen" = "${expectations[row]}" ]; then
            continue
        fi
        echo "expected ${usernses[row]} | ${addresses[row]} | ${expectations[row]}"
        n_wrong=$((n_wrong + 1))
    done
    [ $n_wrong = 0 ]
}

# Columns of what is expected: by its own loopback, from the host, a neighbour, outside; from outside by the
# published port.

@test "the host's network" {
    table host << 'END'
process | on  | network_veth = false | 198.51.100.1 | yes yes yes yes -
process | off | network_veth = false | 198.51.100.1 | yes yes yes yes -
booted  | on  | network_veth = false | 198.51.100.1 | yes yes yes yes -
booted  | off | network_veth = false | 198.51.100.1 | yes yes yes yes -
END
}

@test "network_veth" {
    table veth "$(port_block)" << 'END'
process | on  | ports = ["answer"]; network_address = "auto" | 10.187.*  | yes yes yes no yes
process | off | ports = ["answer"]; network_address = "auto" | 10.187.*  | yes yes yes no yes
booted  | on  | ports = ["answer"]; network_address = "dhcp" | 192.168.* | yes yes yes no yes
booted  | off | ports = ["answer"]; network_address = "dhcp" | 192.168.* | yes yes yes no yes
END
}

@test "network_bridge" {
    table bridge "$(port_block)" << 'END'
process | on  | ports = ["answer"]; network_bridge = "shelf"; network_address = "192.0.2.11/24"; network_gateway = "192.0.2.1" | 192.0.2.11 | yes yes yes no yes
process | off | ports = ["answer"]; network_bridge = "shelf"; network_address = "192.0.2.12/24"; network_gateway = "192.0.2.1" | 192.0.2.12 | yes yes yes no yes
booted  | on  | ports = ["answer"]; network_bridge = "shelf"; network_address = "auto" | 10.187.*  | yes yes yes no yes
booted  | off | ports = ["answer"]; network_bridge = "shelf"; network_address = "auto" | 10.187.*  | yes yes yes no yes
END
}

@test "network_zone" {
    table zone "$(port_block)" << 'END'
process | on  | ports = ["answer"]; network_zone = "lane"; network_address = "auto" | 10.187.*  | yes yes yes no yes
process | off | ports = ["answer"]; network_zone = "lane"; network_address = "auto" | 10.187.*  | yes yes yes no yes
booted  | on  | ports = ["answer"]; network_zone = "lane"; network_address = "auto" | 10.187.*  | yes yes yes no yes
booted  | off | ports = ["answer"]; network_zone = "lane"; network_address = "auto" | 10.187.*  | yes yes yes no yes
END
}

# A macvlan and its parent don't reach each other.
@test "network_macvlan" {
    table macvlan << 'END'
process | on  | network_macvlan = "uplink"; network_address = "198.51.100.11/24" | 198.51.100.11 | yes no yes yes -
process | off | network_macvlan = "uplink"; network_address = "198.51.100.12/24" | 198.51.100.12 | yes no yes yes -
booted  | on  | network_macvlan = "uplink"; network_address = "198.51.100.13/24" | 198.51.100.13 | yes no yes yes -
booted  | off | network_macvlan = "uplink"; network_address = "198.51.100.14/24" | 198.51.100.14 | yes no yes yes -
END
}

@test "private_network" {
    table private << 'END'
process | on  | private_network = true | none | yes no no - -
process | off | private_network = true | none | yes no no - -
booted  | on  | private_network = true | none | yes no no - -
booted  | off | private_network = true | none | yes no no - -
END
}

@test "group bridge" {
    table "group bridge" "mode = \"bridge\"
$(port_block)" << 'END'
process | on  | | 172.26.* | yes yes yes no yes
process | off | | 172.26.* | yes yes yes no yes
booted  | on  | | 172.26.* | yes yes yes no yes
booted  | off | | 172.26.* | yes yes yes no yes
END
}

# Nomad 1.11 takes `mode = "none"` and then refuses it itself (below); what it means is a CNI network that has
# nothing but a loopback.
@test "cni/alone, which is what none means" {
    table cni/alone 'mode = "cni/alone"' << 'END'
process | on  | | none | yes no no - -
process | off | | none | yes no no - -
booted  | on  | | none | yes no no - -
booted  | off | | none | yes no no - -
END
}

@test "cni/NAME" {
    table cni/lan "mode = \"cni/lan\"
$(port_block)" << 'END'
process | on  | | 10.51.0.* | yes yes yes no yes
process | off | | 10.51.0.* | yes yes yes no yes
booted  | on  | | 10.51.0.* | yes yes yes no yes
booted  | off | | 10.51.0.* | yes yes yes no yes
END
}

# Nomad tells a switch of nothing when an address gets another station: whoever knew the last one would go on
# to send to that.
@test "an address that goes from one container to the next is announced" {
    local job
    for job in first second; do
        submit "$job" service << 'END'
config {
  image           = "answer"
  ephemeral       = true
  boot            = false
  command         = ["/usr/bin/socat", "-d", "-d", "TCP6-LISTEN:80,fork,ipv6only=0", "EXEC:hostname"]
  bind_read_only  = { "/var/lib/machines/nginx/usr" = "/usr" }
  network_macvlan = "uplink"
  network_address = "198.51.100.20/24"
}
END
        await_log "listening on" stderr
        [ "$(reaches 198.51.100.20:80 ip netns exec outside)" = yes ]
        nomad job stop -purge "$job" > /dev/null
        await_no_containers
    done
}

# --- refused ------------------------------------------------------------------------------------

# read_refused: "network | options | sentence"; a line break is a ';' in both
read_refused() {
    local network options sentence
    networks=() options_of=() sentences=() groups=
    while IFS='|' read -r network options sentence; do
        network=$(trim "$network") options=$(trim "$options")
        groups+=$(group "${#sentences[@]}" "network {
            ${network//;/$'\n'}
        }" process on 80 "${options//;/$'\n'}")$'\n'
        networks+=("$network") options_of+=("$options") sentences+=("$(trim "$sentence")")
    done
}

@test "what can't be is refused in a sentence" {
    local networks options_of sentences groups row n_wrong=0
    read_refused << 'END'
| network_zone = "lane"; network_bridge = "shelf" | options 'network_zone' and 'network_bridge' exclude each other: a container has one network; remove one of them
| network_macvlan = "uplink"; network_veth = true | options 'network_macvlan' and 'network_veth' exclude each other: a container has one network; remove one of them
| network_zone = "a-long-way-off" | option 'network_zone': 'a-long-way-off' is no name for it; at most 12 letters, digits, '-', '_' and '.' are taken
| network_macvlan = "uplink"; network_address = "auto" | option 'network_address': "auto" needs a network that this host makes (network_veth, network_zone or network_bridge); with 'network_macvlan' use "dhcp", or write the address
| private_network = true; network_address = "dhcp" | option 'network_address': the container has no link of its own (private_network = true); remove the option
| network_address = "192.0.2.7" | option 'network_address': '192.0.2.7': expected "dhcp", "auto", or an address with the length of its network's prefix, like "192.0.2.7/24"
| network_gateway = "192.0.2.1" | option 'network_gateway' needs an address in 'network_address'; remove it, or write both
| network_timeout = "soon" | option 'network_timeout': 'soon': expected a time like "10s" or "1m30s", at most an hour
port "http" {} | network_veth = false; ports = ["http"] | option 'ports': the container uses the host's network (network_veth = false), where its ports are the host's own; remove the option
port "http" {} | private_network = true; ports = ["http"] | option 'ports': the container has only a loopback; remove the option, or private_network
port "http" {} | network_macvlan = "uplink"; ports = ["http"] | option 'ports': with 'network_macvlan' the container is reached by its own address; remove the option
port "http" {} | ports = ["web"] | option 'ports': the group's `network` block has no port "web"; it has http
port "http" {} | ports = ["http"]; port_map = { http = 80 } | options 'ports' and 'port_map' say the same in two ways; remove port_map
mode = "bridge" | network_zone = "lane" | option 'network_zone': the task is in the network of its group; remove the option, or the group's `network { mode }`
mode = "bridge" | network_address = "auto" | option 'network_address': the task is in the network of its group; remove the option, or the group's `network { mode }`
dns { servers = ["192.0.2.53"] } | resolv_conf = "off" | option 'resolv_conf' and the group's `network { dns }` both say what /etc/resolv.conf is; remove one of them
mode = "none" | | pre-run hook "network" failed: network already configured but not found in state
| network_bridge = "nosuch" | to bridge nosuch: No such device
| network_macvlan = "nosuch" | systemd-nspawn: Failed to resolve interface "nosuch": No such device
END
    printf 'job "refused" {\n%s}\n' "$groups" > "$BATS_TEST_TMPDIR/job.hcl"
    nomad job run -detach "$BATS_TEST_TMPDIR/job.hcl" > /dev/null
    await_allocs refused "length == ${#sentences[@]} and all(.[]; .TaskStates.main.State == \"dead\")"
    for row in "${!sentences[@]}"; do
        find_row "$row"
        if events | grep -qF -- "${sentences[row]}"; then
            echo "# refused: ${networks[row]:+network { ${networks[row]} \} }${options_of[row]}" \
                "| ${sentences[row]}" >&3
            continue
        fi
        echo "row $row, ${networks[row]} ${options_of[row]}: expected ${sentences[row]}"
        events
        n_wrong=$((n_wrong + 1))
    done
    [ $n_wrong = 0 ]
}

# What systemd-nspawn is called with is seen by a program in its place.
@test "ipvlan: the argument, and the error where the kernel has none" {
    local argument
    if ip link add link uplink name probe type ipvlan; then
        ip link delete probe
        skip "this kernel has ipvlan"
    fi
    cp /usr/bin/systemd-nspawn /run/nspawn
    printf '#!/bin/sh\nprintf "%%s\\n" "$@" > /run/nspawn-argv\nexec /run/nspawn "$@"\n' > /run/nspawn-seen
    chmod 755 /run/nspawn-seen
    mount --bind /run/nspawn-seen /usr/bin/systemd-nspawn
    submit ipvlan << 'END'
config {
  image           = "busybox"
  boot            = false
  command         = ["/bin/true"]
  network_ipvlan  = "uplink"
  network_address = "198.51.100.21/24"
}
END
    await_dead ipvlan || { umount /usr/bin/systemd-nspawn; return 1; }
    umount /usr/bin/systemd-nspawn
    argument=$(grep ipvlan /run/nspawn-argv)
    rm /run/nspawn /run/nspawn-seen /run/nspawn-argv
    echo "# ipvlan: systemd-nspawn $argument" >&3
    echo "# ipvlan: $(events | grep systemd-nspawn)" >&3
    [ "$argument" = --network-ipvlan=uplink ]
    events | grep -F "systemd-nspawn: Failed to add new ipvlan interfaces: Operation not supported"
}
