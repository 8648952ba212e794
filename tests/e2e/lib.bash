# shellcheck shell=bash
# Shared by the end-to-end tests, which run inside the test host (tests/host/lib.sh) beside a Nomad
# server (port 4646) and a client (5646). One job a test, with one group and one task `main` unless
# the test says otherwise. What is waited for is an event: of Nomad (blocking queries), of the journal
# or of a directory; AWAIT_SECONDS only ends what hangs.

bats_require_minimum_version 1.5.0

API=http://127.0.0.1:4646/v1
CLIENT=http://127.0.0.1:5646
ALLOCS=/var/lib/nomad/alloc
AWAIT_SECONDS=60
export NOMAD_CLI_SHOW_HINTS=0

teardown() {
    local job status=0
    for job in $(curl -sf "$API/jobs" | jq -r '.[].ID'); do
        nomad job stop -purge -detach "$job" > /dev/null
    done
    await_no_containers || status=1
    [ -z "${IMAGE-}" ] || rm -rf --one-file-system "$IMAGE"
    return $status # all that bats looks at
}

# --- jobs ---------------------------------------------------------------------------------------

# submit JOB [TYPE]: a job whose task's body (config, resources, ...) is standard input; then $ALLOC
# is its allocation. Nothing is tried twice, so that a failure is seen as it is.
submit() {
    local body
    body=$(cat)
    submit_job "$1" << END
job "$1" {
  type = "${2:-batch}"
  group "group" {
    restart {
      attempts = 0
      mode     = "fail"
    }
    ${RESCHEDULE-$(no_reschedule)}
    ${GROUP-}
    task "${TASK:-main}" {
      driver = "nspawn"
      $body
    }
  }
}
END
}

no_reschedule() {
    echo 'reschedule {
      attempts  = 0
      unlimited = false
    }'
}

# submit_job JOB: the whole job is standard input
submit_job() {
    local file=$BATS_TEST_TMPDIR/$1.nomad.hcl
    cat > "$file"
    nomad job run -detach "$file"
    await "$1" true
    ALLOC=$(jq -r .ID <<< "$FOUND")
}

# await JOB EXPRESSION: until the job's newest allocation is as the jq expression says; it is then in
# $FOUND. States and events of the task `main` are in .TaskStates.main.
await() {
    local status=0
    await_allocs "$1" "max_by(.CreateIndex) | if . == null then false else ($2) end" || status=1
    FOUND=$(jq -c 'max_by(.CreateIndex)' <<< "$ALL_FOUND")
    return $status
}

# await_allocs JOB EXPRESSION: the same of the list of all its allocations, which is then in $ALL_FOUND
await_allocs() {
    local headers index=0 until=$((SECONDS + AWAIT_SECONDS))
    headers=$(mktemp -p "$BATS_TEST_TMPDIR")
    while [ $SECONDS -lt $until ]; do
        ALL_FOUND=$(curl -sf -D "$headers" "$API/job/$1/allocations?index=$index&wait=5s") || return 1
        index=$(awk 'tolower($1) == "x-nomad-index:" { print $2 + 0 }' "$headers")
        ! jq -e "$2" <<< "$ALL_FOUND" > /dev/null || return 0
    done
    echo "job $1: not within $AWAIT_SECONDS s: $2"
    jq '.[] | {ClientStatus, TaskStates}' <<< "$ALL_FOUND"
    return 1
}

# find_row ROW: of a job whose groups are row0, row1, ... and whose allocations are in $ALL_FOUND
find_row() {
    FOUND=$(jq -c "map(select(.TaskGroup == \"row$1\"))[0]" <<< "$ALL_FOUND")
    ALLOC=$(jq -r .ID <<< "$FOUND")
}

await_running() { await "$1" ".TaskStates.${2:-main}.State == \"running\""; }
await_dead() { await "$1" ".TaskStates.${2:-main}.State == \"dead\""; }

# What Nomad shows people of the task's events, one a line; of $FOUND.
events() { jq -r ".TaskStates.${1:-main}.Events[].DisplayMessage" <<< "$FOUND"; }
# The code and the signal that the last end was reported with.
exit_detail() { jq -r ".TaskStates.${2:-main}.Events | map(select(.Type == \"Terminated\"))[-1].Details.$1" <<< "$FOUND"; }
exit_code() { exit_detail exit_code "$@"; }
exit_signal() { exit_detail signal "$@"; }

task_log() { # [STREAM [TASK]]
    cat "$ALLOCS/$ALLOC/alloc/logs/${2:-main}.${1:-stdout}".[0-9]*
}

# fresh_image: $IMAGE is an image of this test's own, without the mount points that earlier tasks left
# in that of which it is a copy
fresh_image() {
    IMAGE=/var/lib/machines/fresh-$BATS_TEST_NUMBER
    rm -rf --one-file-system "$IMAGE"
    mkdir "$IMAGE"
    cp -a --reflink=auto /var/lib/machines/busybox/{bin,etc,usr,var,root,srv} "$IMAGE"
}

# bare_image NAME: the Debian image without its /usr, for jobs that bind that (of `debian`, or of `nginx`):
# a container's own copy of it costs nothing
bare_image() {
    local dir=/var/lib/machines/$1 entry
    mkdir -p "$dir/usr/lib"
    for entry in /var/lib/machines/debian/*; do
        [ "${entry##*/}" = usr ] || cp -a "$entry" "$dir/"
    done
    cp /var/lib/machines/debian/usr/lib/os-release "$dir/usr/lib/"
}

# The host's port that Nomad has chosen for the label.
published_port() {
    curl -sSf "$API/allocation/$ALLOC" |
        jq -r --arg name "$1" '.AllocatedResources.Shared.Ports[]? | select(.Label == $name).Value'
}

trim() { sed 's/^ *//; s/ *$//' <<< "$1"; }

# --- waiting ------------------------------------------------------------------------------------

# until_changed DIRECTORY COMMAND...: runs the command after each change in the directory until it
# succeeds. The second of the time limit covers what happened between the two.
until_changed() {
    local dir=$1 until=$((SECONDS + AWAIT_SECONDS))
    shift
    until "$@"; do
        [ $SECONDS -lt $until ] || { echo "not within $AWAIT_SECONDS s: $*"; return 1; }
        inotifywait -qq -t 1 "$dir" || true
    done
}

log_has() { task_log "${2:-stdout}" "${3:-main}" 2> /dev/null | grep -q -- "$1"; }
# await_log PATTERN [STREAM [TASK]]: in the task's log
await_log() { until_changed "$ALLOCS/$ALLOC/alloc/logs" log_has "$@"; }

has_no_containers() { ! compgen -G '/run/systemd/transient/nspawn-*' > /dev/null; }
await_no_containers() { until_changed /run/systemd/transient has_no_containers; }

# In the journal of nomad.service, which has the plugin's lines too.
journal_cursor() { journalctl -n 0 --show-cursor -q | sed -n 's/^-- cursor: //p'; }
# await_journal CURSOR PATTERN
await_journal() {
    timeout "$AWAIT_SECONDS" grep -m 1 -E -- "$2" \
        < <(exec journalctl -f -n all -q -o cat --after-cursor="$1" -u nomad.service)
}

# --- networks -----------------------------------------------------------------------------------

# The host's own addresses, and those of its neighbour in the namespace `outside` (tests/host/make-outside).
# shellcheck disable=SC2034 # of use to those who read this in
HOST4=198.51.100.1 HOST6=2001:db8:51::1 OUTSIDE4=198.51.100.2 OUTSIDE6=2001:db8:51::2

# outside COMMAND...: as the neighbour
outside() { ip netns exec outside "$@"; }

# server_command PORT: the `command` of a task with the image `nginx` that tells everybody who comes to
# the port, by tcp or udp, the address it saw; await_serving waits until it listens to all
server_command() {
    # shellcheck disable=SC2016 # the shell inside expands it
    local script='
        for server in TCP4-LISTEN UDP4-RECVFROM TCP6-LISTEN UDP6-RECVFROM; do
            options=fork,reuseaddr
            [[ $server != *6* ]] || options+=,ipv6only
            socat -d -d "$server:$0,$options" "SYSTEM:read line; echo \$SOCAT_PEERADDR" &
        done
        wait'
    jq -cn '["/bin/bash", "-c"] + $ARGS.positional' --args "$script" "$1"
}

serves() { [ "$(task_log stderr "${1:-main}" 2> /dev/null | grep -cE ' (listening|receiving) on ')" -ge 4 ]; }
await_serving() { until_changed "$ALLOCS/$ALLOC/alloc/logs" serves "$@"; } # [TASK]

# ask PROTOCOL ADDRESS PORT [COMMAND...]: prints what the server says there to the one that the command
# leads to: `outside`, or `nomad alloc exec ...`; without one to the host
ask() {
    local target=("$1" "$2" "$3")
    shift 3
    # head takes a datagram whole.
    # shellcheck disable=SC2016 # the inner shell expands it
    "$@" timeout "${ASK_SECONDS:-10}" bash -c '
        exec 4<> "/dev/$0/$1/$2" && echo >&4 && line=$(head -n 1 <&4) && [ -n "$line" ] && echo "$line"
        ' "${target[@]}"
}

# --- the plugin and the machines ----------------------------------------------------------------

# The plugin that serves the agent.
plugin_pid() { pgrep -x -P "$(systemctl show -P MainPID nomad.service)" nomad-driver-ns; }

# restart_plugin: SIGKILL, and on when the next one serves
kill_plugin() {
    local cursor
    cursor=$(journal_cursor)
    kill -KILL "$(plugin_pid)"
    await_journal "$cursor" "${1:-recovered as machine}" > /dev/null
}

machine() { echo "${1:-main}-$ALLOC"; }
leader() { machinectl show --property=Leader --value "$(machine "$@")"; }
unit() { echo "nspawn-$(machine "$@").service"; }

# restart_agent: with its state; on when the node is ready
await_agent() { /srv/src/tests/host/node-ready; }

# agent_with KEY=VALUE...: runs the agent, and so the plugin, with these variables from now on
agent_with() {
    mkdir -p /run/systemd/system/nomad.service.d
    printf '[Service]\n' > /run/systemd/system/nomad.service.d/environment.conf
    printf 'Environment=%s\n' "$@" >> /run/systemd/system/nomad.service.d/environment.conf
    systemctl daemon-reload
    systemctl restart nomad.service
    await_agent
}

agent_as_ever() {
    [ -e /run/systemd/system/nomad.service.d/environment.conf ] || return 0
    rm -r /run/systemd/system/nomad.service.d
    systemctl daemon-reload
    systemctl restart nomad.service
    await_agent
}

# Skips the test, aloud, where the host has not got the cgroup controller.
need_controller() {
    grep -qw "$1" /sys/fs/cgroup/cgroup.controllers ||
        skip "needs the cgroup controller '$1', which this machine has not given to cgroup v2"
}
