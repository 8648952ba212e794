#!/bin/bash
# nft 1.0.6 (Debian 12: nftables, libnftables1 1.0.6-2+deb12u2).
#
# `nft --json list ruleset` is meant to be read back by `nft --json --file`. A map that leads to two
# values at once, an address and a port as for publishing ports, is listed with both as one text,
# "ipv4_addr . inet_service", where the reader wants a list of two names, as it is for the keys
# beside it. So what one nft has saved as JSON it does not load, and nothing of the rest is loaded
# either; saved as text, it does.
#
# Seen: "Error: Invalid map type 'ipv4_addr . inet_service'."
. "$(dirname "$0")/lib.bash"
unpack nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 \
    libbsd0 libedit2 libgmp10 libjansson4 libmnl0 libnftnl11 libxtables12

nft() { run "$ROOT/usr/sbin/nft" "$@"; }

round() { # in a network namespace of its own
    nft 'table ip boats {
             map ports {
                 type inet_service : ipv4_addr . inet_service
                 elements = { 80 : 10.0.0.1 . 8080 }
             }
         }'
    nft list ruleset > text
    nft --json list ruleset > json
    nft flush ruleset
    nft --file text && echo "text: loaded"
    nft flush ruleset
    nft --json --file json 2> error && echo "JSON: loaded" ||
        sed --quiet 's/.*Error: /JSON: /p; q' error
}
export -f nft round run
export ROOT LIBRARIES
seen=$(unshare --net bash -euc round)
expect "what is loaded" "text: loaded
JSON: Invalid map type 'ipv4_addr . inet_service'." "$seen"
saw "a map to address and port, listed as JSON, is refused: Invalid map type"
