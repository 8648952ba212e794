# shellcheck shell=bash
# Shared by the scripts in this folder, which make and run the test host: a throwaway systemd host
# in Linux namespaces, from Debian packages, for machines whose own PID 1 may be anything.
#
#   tests/host/prepare trees nomad  make what each of them needs; what is called first does so, too
#   tests/host/boot NAME            boot one (about a second when the caches are warm)
#   tests/host/run NAME COMMAND...  run a command in it, as a unit of the host
#   tests/host/shell NAME           a root shell in it, for people
#   tests/host/agent NAME           start Nomad in it and wait until the node is ready
#   tests/host/stop NAME            end it, leave nothing
#
# Everything kept lies in $NSPAWN_CACHE, keyed by the content that it was made from: a changed
# package list or go.sum makes a new one, and a half-made one is never taken for whole.

# shellcheck source=tests/strict.sh
. "$(dirname "${BASH_SOURCE[0]}")/../strict.sh"
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
# Scripts and tests read what tools print.
export LC_ALL=C.UTF-8 NOMAD_CLI_SHOW_HINTS=0

HOST_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034 # of use to those who read this in
SRC_DIR=$(cd "$HOST_DIR/../.." && pwd)
CACHE_DIR=${NSPAWN_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/nomad-driver-nspawn}
RUN_DIR=$CACHE_DIR/hosts

need_root() {
    [ "$(id -u)" = 0 ] || die "the test host needs root (namespaces, mounts, cgroups); run it with sudo"
}

# key_of WORD FILE...: a short name for what is made from these files
key_of() {
    local word=$1
    shift
    echo "$word-$(cat -- "$@" | sha256sum | cut -c1-16)"
}

# drop_others WORD KEY: older results of the same kind, unless somebody still uses or makes them
drop_others() {
    local old
    for old in "$CACHE_DIR/$1"-*; do
        [ -e "$old" ] && [ "${old%.lock}" = "$old" ] && [ "${old%.part}" != "$CACHE_DIR/$2" ] || continue
        flock --nonblock --exclusive "${old%.part}.lock" rm -rf --one-file-system "$old" || continue
        rm -f "${old%.part}.lock"
    done
}

# make_once KEY FUNCTION: prints the path of $CACHE_DIR/KEY after FUNCTION TARGET has made it there;
# or of $NSPAWN_MADE/KEY, if that is there: the folder of somebody else's made things.
# A second caller waits for the first, and for what the first has left running when it was killed: the
# lock is held by all who are at work on it. What is not whole has another name (.part).
make_once() {
    local path=$CACHE_DIR/$1
    if [ -n "${NSPAWN_MADE-}" ] && [ -e "$NSPAWN_MADE/$1" ]; then
        realpath "$NSPAWN_MADE/$1"
        return
    fi
    if [ ! -e "$path" ]; then
        mkdir -p "$CACHE_DIR"
        make_locked "$path" "$2"
        drop_others "${1%-*}" "$1"
    fi
    echo "$path"
}

# No part of this, nor its calls, may stand in a condition or before "||": that would switch off set -e
# inside of the function that makes, and a failure in the midst of it would be overlooked.
make_locked() ( # PATH FUNCTION
    exec 9> "$1.lock"
    flock --exclusive --nonblock 9 || { say "waiting for who makes $1 already"; flock --exclusive 9; }
    [ ! -e "$1" ] || exit 0
    rm -rf --one-file-system "$1.part"
    "$2" "$1.part" >&2
    mv -T "$1.part" "$1"
)

# The libraries of clouds and their like, by which Nomad finds its peers and fetches artifacts where it
# runs in one. They are half of the work of building it, and half of that when they are not optimized.
# All that Nomad does is there, and the rest of it is as in any Nomad.
UNOPTIMIZED=(
    cloud.google.com/go google.golang.org/api github.com/aws github.com/Azure github.com/tencentcloud
    github.com/softlayer github.com/vmware/govmomi
)

# go_make TARGET COMMAND ARGUMENT...: what `go COMMAND` makes of the modules that tests/go pins. What is
# stripped in the end is compiled without debugging information.
go_make() {
    local go target=$1 command=$2 module options=(-gcflags=all=-dwarf=false)
    shift 2
    go=$("$HOST_DIR/go")
    for module in "${UNOPTIMIZED[@]}"; do
        options+=("-gcflags=$module/...=-dwarf=false -N -l")
    done
    (
        cd "$SRC_DIR/tests/go"
        export GOFLAGS="-mod=readonly -modcacherw -buildvcs=false" GOTOOLCHAIN=local CGO_ENABLED=0
        export GOPATH="${GOPATH:-$CACHE_DIR/go}" GOCACHE="${GOCACHE:-$CACHE_DIR/go-build}"
        # The compilers need not collect garbage before they end, where memory is there.
        [ -n "${GOGC-}" ] || ! has_memory || export GOGC=400
        "$go" "$command" -trimpath "${options[@]}" -ldflags "-s -w" -o "$target" "$@"
    )
}

has_memory() { awk '/^MemAvailable:/ { kib = $2 } END { exit kib < 8 * 1024 * 1024 }' /proc/meminfo; }

# debian_mirror SUITE: where this machine's apt has it from, or else another suite of Debian, unless
# DEBIAN_MIRROR names another
debian_mirror() {
    local mirror=${DEBIAN_MIRROR-} found
    if [ -z "$mirror" ]; then
        # shellcheck disable=SC2016 # apt expands it
        found=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI) $(ORIGIN)' \
            'Created-By: Packages' 'Component: main')
        # Other people's packages are found under a suite's name, too.
        mirror=$(awk -v suite="$1" '
            { rank = ($1 == suite) + 2 * ($3 == "Debian" && $1 !~ /-security$/) }
            rank > best { best = rank; mirror = $2 }
            END { print mirror }' <<< "$found")
    fi
    [ -n "$mirror" ] || die "apt knows no source of Debian $1 here: apt-get update, or set DEBIAN_MIRROR to one"
    echo "$mirror"
}

# The cgroup v2 mount; a hybrid machine has it somewhere below /sys/fs/cgroup.
cgroup2_dir() {
    local dir
    dir=$(findmnt --types cgroup2 --noheadings --output TARGET | head -n1)
    [ -n "$dir" ] || die "no cgroup v2 mount on this machine; mount -t cgroup2 cgroup2 DIR first"
    echo "$dir"
}

host_cgroup() { echo "$(cgroup2_dir)/nspawn-host-$1"; }

# host_pid1 NAME: the host's PID 1 as seen from outside; fails when the host does not run
host_pid1() {
    local outer pid
    outer=$(cat "$RUN_DIR/$1/outer.pid" 2> /dev/null) || return 1
    [ "$(readlink "/proc/$outer/exe" 2> /dev/null)" = "$(readlink -f "$(command -v unshare)")" ] ||
        return 1
    read -r pid < "/proc/$outer/task/$outer/children" || [ -n "$pid" ] || return 1
    echo "$pid"
}

# start_time PID: with the number it tells a process from a later one of the same number
start_time() { sed 's/.*) //' "/proc/$1/stat" 2> /dev/null | cut -d' ' -f20; }

# build WHAT...: by make, or by the jobs that a make above us shares out
build() {
    local jobs=(-j"$(nproc)")
    [[ ${MAKEFLAGS-} != *jobserver* ]] || jobs=()
    "${MAKE:-make}" --no-print-directory "${jobs[@]}" OUT="${OUT:-build}" "$@"
}

check_name() {
    [[ ${1-} =~ ^[a-z][a-z0-9-]{0,30}$ ]] ||
        die "'${1-}' is no host name: expected a letter, then letters, digits and dashes"
}

# start_child LOG COMMAND...: in the background, in a process group of its own, so that a signal to this
# script is handled at once, by a trap that calls end_child. A command (no function) is told to end when
# this script is killed, too. The output goes to LOG, or with "-" to ours.
# (No redirection of a call of this function: it would hold for the trap, too.)
CHILD=
start_child() {
    local log=$1
    shift
    set -m
    {
        [ "$log" = - ] || exec > "$log" 2>&1
        [ "$(type -t "$1")" = function ] || exec setpriv --pdeathsig TERM -- "$@"
        "$@"
    } < /dev/null &
    CHILD=$!
    set +m
}

# finish_child: waits for what was started, and gives its status
finish_child() {
    local status=0
    wait "$CHILD" || status=$?
    CHILD=
    return $status
}

run_child() {
    start_child - "$@"
    finish_child
}

# end_child: with all that it has started
end_child() {
    [ -n "$CHILD" ] || return 0
    kill -TERM -- "-$CHILD" 2> /dev/null || true
    wait "$CHILD" 2> /dev/null || true
    CHILD=
}
