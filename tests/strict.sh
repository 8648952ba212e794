# shellcheck shell=bash
# Read in by every script of this folder before anything else (host/lib.sh does so for those that
# read that): a command that fails ends the script, and says so.

set -Eeuo pipefail
# A command substitution would go on after a failure in it.
shopt -s inherit_errexit

# What ended with this status has told why. So one message is printed, by who knows most, and not one
# more by each shell and script on the way out.
TOLD=97

say() { printf '%s\n' "==> $*" >&2; }
die() { printf '%s\n' "$0: $*" >&2; exit $TOLD; }

# Commands whose failure is expected stand in a condition, where this is not called; nor is it meant
# after "set +e".
on_error() { # STATUS STATUSES-OF-PIPE FILE LINE COMMAND
    local pipe=
    [[ $- == *e* ]] || return 0
    # Of a pipe bash names the last command only.
    [[ $2 != *' '* ]] || pipe=" (those of its pipe: $2)"
    [ "$1" = $TOLD ] || printf '%s\n' "$3:$4: '$5' failed with status $1$pipe" >&2
    exit $TOLD
}
trap 'on_error $? "${PIPESTATUS[*]}" "${BASH_SOURCE[0]-$0}" $LINENO "$BASH_COMMAND"' ERR
