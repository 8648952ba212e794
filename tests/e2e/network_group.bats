#!/usr/bin/env bats
# The network of a group of tasks: shared, with user namespaces on; names and resolvers in it, and in
# containers with a network of their own.
load lib

setup_file() { bare_image bare; }

teardown_file() { rm -rf --one-file-system /var/lib/machines/bare; }

bats::on_failure() { journalctl -n 30 -q -o cat -u nomad.service; }

inside() { # TASK COMMAND...
    local task=$1
    shift
    nomad alloc exec -i=false -t=false -task "$task" "$ALLOC" "$@"
}

# Three tasks: a web server; a process that is not root, on a port below 1024; a booted system.
run_group() {
    submit_job group << 'END'
job "group" {
  group "group" {
    network {
      mode = "bridge"
      port "http" {
        to           = 80
        host_network = "outside"
      }
      dns {
        servers  = ["192.0.2.53", "2001:db8::53"]
        searches = ["example.test"]
        options  = ["ndots:2", "timeout:1"]
      }
    }
    task "web" {
      driver = "nspawn"
      config {
        image   = "nginx"
        boot    = false
        command = ["/usr/sbin/nginx", "-g", "daemon off;"]
      }
      resources {
        cpu = 10
      }
    }
    task "worker" {
      driver = "nspawn"
      user   = "nobody"
      config {
        image          = "bare"
        ephemeral      = true
        boot           = false
        hostname       = "worker.example.test"
        command        = ["/usr/bin/socat", "-d", "-d", "TCP4-LISTEN:81,fork", "EXEC:id -u"]
        bind_read_only = { "/var/lib/machines/nginx/usr" = "/usr" }
      }
      resources {
        cpu = 10
      }
    }
    task "system" {
      driver = "nspawn"
      config {
        image          = "bare"
        ephemeral      = true
        bind_read_only = { "/var/lib/machines/debian/usr" = "/usr" }
      }
      resources {
        cpu = 10
      }
    }
  }
}
END
    await group '[.TaskStates[] | select(.State == "running")] | length == 3'
    await group 'any(.TaskStates.system.Events[].DisplayMessage; startswith("Booted in "))'
    await_log "listening on" stderr worker
}

@test "tasks of a group share their network, in user namespaces of their own" {
    local task map address resolver hosts
    run_group

    for task in web worker system; do
        map=$(xargs < "/proc/$(leader "$task")/uid_map")
        echo "# uid_map of $task, which began on the host: $map" >&3
        [ "$(inside "$task" cat /proc/self/uid_map | xargs)" != "0 0 4294967295" ]
        [[ $map != "0 0 "* ]]
    done
    [ "$(stat -L -c %i "/proc/$(leader web)/ns/net")" = "$(stat -L -c %i "/proc/$(leader worker)/ns/net")" ]
    [ "$(stat -L -c %i "/proc/$(leader web)/ns/net")" = "$(stat -L -c %i "/proc/$(leader system)/ns/net")" ]
    [ "$(stat -L -c %i "/proc/$(leader web)/ns/user")" != "$(stat -L -c %i "/proc/$(leader worker)/ns/user")" ]

    # A web server on port 80, from the second task, the third, the host and from outside.
    inside worker curl -sSf --retry 5 --retry-connrefused http://127.0.0.1/ | grep "Welcome to nginx!"
    nsenter -t "$(leader system)" -n curl -sSf http://127.0.0.1/ | grep "Welcome to nginx!"
    curl -sSf "http://198.51.100.1:$(published_port http)/" | grep "Welcome to nginx!"
    outside curl -sSf "http://198.51.100.1:$(published_port http)/" | grep "Welcome to nginx!"
    echo "# nginx on port 80 answers: task worker on 127.0.0.1, outside on 198.51.100.1:$(published_port http)" >&3

    # Somebody else than root on port 81.
    [ "$(inside web curl -sS --http0.9 http://127.0.0.1:81/)" = 65534 ]

    # Names.
    address=$(nsenter -t "$(leader web)" -n ip -4 -oneline address show scope global | awk '{ sub("/.*", "", $4); print $4 }')
    [[ $address == 172.26.* ]]
    for task in web worker system; do
        hosts=$(inside "$task" cat /etc/hosts)
        grep -E '^127\.0\.0\.1[[:space:]]+localhost' <<< "$hosts"
        grep -E '^::1[[:space:]].*localhost' <<< "$hosts"
        [ "$(inside "$task" getent ahostsv4 "$(inside "$task" hostname)" | awk 'NR == 1 { print $1 }')" = "$address" ]
        resolver=$(inside "$task" cat /etc/resolv.conf)
        [ "$(grep -E '^(nameserver|search|options)' <<< "$resolver" | sort | xargs)" = \
            "nameserver 192.0.2.53 nameserver 2001:db8::53 options ndots:2 timeout:1 search example.test" ]
    done
    [ "$(inside worker hostname)" = worker.example.test ]
    [ "$(inside web hostname)" = "$(machine web)" ]
    [ "$(inside system hostname)" = "$(machine system)" ]
}

@test "dns {} without a network of the group's, in a process and a booted system" {
    local task
    submit_job dns << 'END'
job "dns" {
  group "group" {
    network {
      dns {
        servers = ["192.0.2.53"]
      }
    }
    task "process" {
      driver = "nspawn"
      config {
        image     = "busybox"
        ephemeral = true
        boot      = false
        command   = ["/bin/sleep", "100000"]
      }
    }
    task "system" {
      driver = "nspawn"
      config {
        image          = "bare"
        ephemeral      = true
        bind_read_only = { "/var/lib/machines/debian/usr" = "/usr" }
      }
    }
  }
}
END
    await dns '[.TaskStates[] | select(.State == "running")] | length == 2'
    for task in process system; do
        [ "$(inside "$task" cat /etc/resolv.conf | grep -v '^#')" = "nameserver 192.0.2.53" ]
    done
}

@test "resolv_conf: off, copy-host, bind-host, delete" {
    local mode row=0
    for mode in off copy-host bind-host delete; do
        echo "group \"row$((row++))\" {
  restart {
    attempts = 0
    mode     = \"fail\"
  }
  $(no_reschedule)
  task \"main\" {
    driver = \"nspawn\"
    config {
      image       = \"busybox\"
      ephemeral   = true
      boot        = false
      resolv_conf = \"$mode\"
      command     = [\"/bin/sh\", \"-c\", \"echo $mode; cat /etc/resolv.conf; grep -c ' /etc/resolv.conf ' /proc/self/mountinfo; true\"]
    }
  }
}"
    done > "$BATS_TEST_TMPDIR/groups"
    printf 'job "resolv" {\n  type = "batch"\n%s\n}\n' "$(cat "$BATS_TEST_TMPDIR/groups")" > "$BATS_TEST_TMPDIR/job.hcl"
    nomad job run -detach "$BATS_TEST_TMPDIR/job.hcl" > /dev/null
    await_allocs resolv 'length == 4 and all(.[]; .TaskStates.main.State == "dead")'
    for row in 0 1 2 3; do
        find_row "$row"
        task_log
        mode=$(task_log | head -n 1)
        case $mode in
        off | delete) [ "$(task_log | tail -n +2)" = 0 ] ;;
        copy-host) [ "$(task_log | tail -n +2)" = "$(cat /etc/resolv.conf)"$'\n'0 ] ;;
        bind-host) [ "$(task_log | tail -n +2)" = "$(cat /etc/resolv.conf)"$'\n'1 ] ;;
        esac
    done
}

@test "the address is shown by Nomad and by machinectl" {
    local address
    submit shown service << 'END'
config {
  image           = "busybox"
  ephemeral       = true
  boot            = false
  command         = ["/bin/sh", "-c", "ip -4 -o addr show host0 | sed 's,.*inet ,,; s,/.*,,'; exec sleep 100000"]
  network_address = "auto"
}
END
    await_log 10.187
    address=$(task_log)
    await shown 'any(.TaskStates.main.Events[].DisplayMessage; startswith("Address: "))'
    nomad alloc status "$ALLOC" | grep -E "Address: $address, fd6e:"
    machinectl list --no-legend | grep -F "$address"
    machinectl status "$(machine)" | grep -E "Address: $address"
    [ "$(curl -sSf "$API/allocation/$ALLOC" | jq -r '.TaskStates.main.Events[] | select(.Details.address).Details.address' | cut -d, -f1)" = "$address" ]
}
