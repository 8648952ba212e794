#!/bin/bash
# umoci 0.4.7 (Debian 12: umoci 0.4.7+ds-3+b7).
#
# A layer is a tar archive, and POSIX's pax format allows headers for all files that follow, type
# "g". `git archive` writes one into each archive (the commit), and GNU tar on request. umoci takes
# such an archive as a layer without a word, and then can't unpack the image that it has made: it
# takes the header for a file of a type that it does not know.
#
# Seen: "unpack entry: ...GlobalHead...: unknown typeflag '\x67'", exit 1; the same file without
# that header is unpacked.
. "$(dirname "$0")/lib.bash"
unpack umoci=0.4.7+ds-3+b7

umoci=$ROOT/usr/bin/umoci
echo ahoy > hello
tar --format=pax --create --file plain.tar hello
# With "=" for all files, with ":=" it would be for each.
tar --format=pax --pax-option=comment=boat --create --file global.tar hello
"$umoci" init --layout image

unpacked() { # NAME: how it ends, of an image with the layer NAME.tar
    "$umoci" new --image "image:$1"
    "$umoci" raw add-layer --image "image:$1" "$1.tar" > said 2>&1
    if "$umoci" raw unpack --image "image:$1" "tree-$1" > said 2>&1; then
        cat "tree-$1/hello"
    else
        grep -oE 'unknown typeflag .*' said
    fi
}
seen=$(unpacked plain)
expect "a layer without a global header" ahoy "$seen"
seen=$(unpacked global)
expect "a layer with one" "unknown typeflag '\\x67'" "$seen"
saw "umoci adds a layer with a global pax header, and can not unpack it: $seen"
