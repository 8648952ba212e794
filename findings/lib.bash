# Read in by each finding. Gives a folder to work in that is gone at the end, and what is unpacked
# into it: nothing is installed, and nothing of the machine is changed.
#
# Ends: 0 seen as described, 1 it behaves in another way now, 2 a pinned package is no longer
# served, 3 it could not be tried here.
# shellcheck shell=bash
set -Eeuo pipefail
export LC_ALL=C.UTF-8 PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

NAME=$(basename "$0" .sh)
trap 'echo "$NAME: line $LINENO: $BASH_COMMAND: failed, so this can not be tried" >&2; exit 3' ERR
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
ROOT=$WORK/root # of what is unpacked
LIBRARIES=$ROOT/usr/lib/$(uname -m)-linux-gnu
cd "$WORK"

# unpack PACKAGE[=VERSION]...: Debian packages, by apt as it is configured. With a version is what
# the finding is about; without, what that needs to run and a small machine may not have.
unpack() {
    local package
    mkdir -p "$WORK/packages" "$ROOT"
    (cd "$WORK/packages" && apt-get --quiet download "$@" > log 2>&1) || {
        sed 's/^/  /' "$WORK/packages/log" >&2
        echo "$NAME: apt does not serve all of: $*" >&2
        exit 2
    }
    for package in "$WORK"/packages/*.deb; do
        dpkg --extract "$package" "$ROOT"
    done
    rm -rf "$WORK/packages"
}

# run COMMAND...: with the unpacked libraries.
run() {
    local old=$ROOT/lib/${LIBRARIES##*/}
    LD_LIBRARY_PATH=$LIBRARIES:$LIBRARIES/systemd:$old:$old/systemd "$@"
}

# expect WHAT WANTED SEEN: both texts are the same, or the finding is out of date.
expect() {
    [ "$2" != "$3" ] || return 0
    printf '%s: it is another way now: %s\n  was: %s\n  is:  %s\n' "$NAME" "$1" "$2" "$3" >&2
    exit 1
}

saw() { echo "$NAME: $*"; }
