#!/usr/bin/env bats
# The program itself: launched by hand, by an agent, and what it is linked with.
load lib

PLUGIN=/opt/nomad/plugins/nomad-driver-nspawn

teardown() { :; }

@test "launched by hand it says what it is" {
    run -1 --separate-stderr "$PLUGIN"
    [ -z "$output" ]
    [[ "$stderr" == *plugin_dir* ]]
}

@test "--version and --help" {
    run -0 --separate-stderr "$PLUGIN" --version
    [[ "$output" =~ ^nomad-driver-nspawn\ [0-9]+\.[0-9]+\.[0-9]+ ]]
    run -0 --separate-stderr "$PLUGIN" --help
    [[ "$output" == *driver* ]]
}

@test "it is linked with what README.md names, and nothing else" {
    local wanted needed
    wanted="libc.so.6 libmnl.so.0 libsystemd.so.0"
    needed=$(objdump -p "$PLUGIN" | awk '$1 == "NEEDED" { print $2 }' | sort | xargs)
    [ "$needed" = "$wanted" ]
    run -0 ldd "$PLUGIN"
    run ! grep -i 'not found' <<< "$output"
}

@test "it has one thread, under a running agent" {
    [ "$(ls "/proc/$(plugin_pid)/task" | wc -l)" = 1 ]
    grep -qx 'Threads:[[:space:]]*1' "/proc/$(plugin_pid)/status"
}

@test "SIGINT does nothing: the agent ends its plugins in order" {
    local pid
    pid=$(plugin_pid)
    kill -INT "$pid"
    [ "$(plugin_pid)" = "$pid" ]
    curl -sf "$API/nodes" > /dev/null
    [ "$(plugin_pid)" = "$pid" ]
}

@test "a hardened binary" {
    run -0 readelf -hldW "$PLUGIN"
    [[ "$output" == *"DYN (Position-Independent Executable file)"* ]]
    [[ "$output" == *GNU_RELRO* ]]
    [[ "$output" == *BIND_NOW* || "$output" == *"FLAGS_1"*NOW* ]]
    [[ "$(readelf -lW "$PLUGIN" | grep GNU_STACK)" == *"RW "* ]]
    # The linker's note needs a C library that has it, too; the landing pads are ours.
    [ "$(objdump -d --no-show-raw-insn "$PLUGIN" | grep -c endbr64)" -gt 100 ]
    readelf -sW --dyn-syms "$PLUGIN" | grep -q __stack_chk_fail
    readelf -sW --dyn-syms "$PLUGIN" | grep -q '_chk@'
}

@test "garbage on its socket ends the connection, not the plugin" {
    local pid socket
    pid=$(plugin_pid)
    socket=$(ss -xlpn | awk -v pid="pid=$pid," 'index($0, pid) { print $5; exit }')
    [ -S "$socket" ]
    run ! curl -s --max-time 5 --unix-socket "$socket" http://plugin/
    run ! curl -s --max-time 5 --unix-socket "$socket" -T /dev/urandom telnet://plugin/
    [ "$(plugin_pid)" = "$pid" ]
    # It still answers: a new task starts.
    submit after << 'END'
config {
  image     = "busybox"
  ephemeral = true
  boot      = false
  command   = ["/bin/true"]
}
END
    await_dead after
    [ "$(exit_code)" = 0 ]
    [ "$(plugin_pid)" = "$pid" ]
    nomad job stop -purge -detach after
    await_no_containers
}
