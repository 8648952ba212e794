#!/bin/bash
# skopeo 1.9.3 (Debian 12: skopeo 1.9.3+ds1-1+b10).
#
# An OCI layout is a directory for many images, by name. Several copies into one layout at the same
# time all end with 0, and the names of most are not there afterwards: each writes the index anew
# with what it had read when it began. Their blobs stay and belong to nobody. One copier at a time,
# or a layout an image.
#
# Seen: six copies at once, six times exit 0; one to four names in index.json, in each of twelve
# tries.
. "$(dirname "$0")/lib.bash"
unpack skopeo=1.9.3+ds1-1+b10 libassuan0 libdevmapper1.02.1 libgpg-error0 libgpgme11

blob() { # FILE: puts it into the layout, prints its name and size as JSON
    local sum
    sum=$(sha256sum < "$1" | cut -d' ' -f1)
    printf '"digest":"sha256:%s","size":%d' "$sum" "$(stat --format=%s "$1")"
    mv "$1" "image/blobs/sha256/$sum"
}

# An image of no layer.
type=application/vnd.oci.image
mkdir -p image/blobs/sha256
echo '{"imageLayoutVersion":"1.0.0"}' > image/oci-layout
echo '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}' > config
config=$(blob config)
printf '{"schemaVersion":2,"config":{"mediaType":"%s",%s},"layers":[]}' \
    "$type.config.v1+json" "$config" > manifest
manifest=$(blob manifest)
printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s",%s}]}' \
    "$type.manifest.v1+json" "$manifest" > image/index.json

copy() { # LAYOUT:NAME
    run "$ROOT/usr/bin/skopeo" --insecure-policy --tmpdir "$WORK" copy --quiet oci:image "oci:$1"
}

names() { grep -o '"org.opencontainers.image.ref.name":"[^"]*"' "$1/index.json" | wc -l; }

for i in 1 2 3 4 5 6; do
    copy "turns:name$i"
done
expect "names after six copies in turn" 6 "$(names turns)"

# It is a race: fewer than six, at least once.
for ((try = 0; try < 20; try++)); do
    rm -rf shared
    pids=()
    for i in 1 2 3 4 5 6; do
        copy "shared:name$i" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid"
    done
    left=$(names shared)
    [ "$left" = 6 ] || break
done
[ "$left" -lt 6 ] ||
    expect "names after six copies at once" "fewer than 6" "$left in each of 20 tries"
saw "six copies at once into one layout all end with 0, and $left of six names are there"
