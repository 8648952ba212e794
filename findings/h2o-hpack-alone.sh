#!/bin/bash
# libh2o 2.2.5 (Debian 12: libh2o-evloop-dev, libh2o-dev-common, libh2o-evloop0.13 2.2.5+dfsg2-7),
# when only its HTTP/2 codec is wanted, without its server.
#
# Three things that nothing says. h2o/http2_internal.h, which declares the codec, includes khash.h,
# and no package of h2o has it (the one in libhts-dev will do). pkg-config's flags for the evloop
# library are not enough for its headers: without -DH2O_USE_LIBUV=0 they want libuv's. And there is
# no function to make a header table: one that is filled with zeros, as the struct of a new
# connection would be, decodes a first block, but has room for no entry. So the second request,
# which refers to a header of the first one, as HPACK is meant to be used, ends the connection: -9,
# COMPRESSION_ERROR. hpack_capacity and hpack_max_capacity have both to be set first, to 4096, from
# which HTTP/2 starts.
#
# Seen: "uv.h: No such file or directory", then "khash.h: No such file or directory"; then, of two
# blocks with one table each: zero-filled "0 -9", with capacity "0 0".
. "$(dirname "$0")/lib.bash"
unpack libh2o-evloop-dev=2.2.5+dfsg2-7 libh2o-dev-common=2.2.5+dfsg2-7 \
    libh2o-evloop0.13=2.2.5+dfsg2-7 libhts-dev libssl-dev libssl3 libwslay1 zlib1g

cat > two.c <<'END'
#include <h2o.h>
#include <h2o/http2.h>
#include <h2o/http2_internal.h>
#include <stdio.h>

static int decode(h2o_hpack_header_table_t *table, const uint8_t *block, size_t n)
{
    static h2o_req_t request;
    int seen = 0;
    size_t length = SIZE_MAX;
    const char *text = NULL;
    memset(&request, 0, sizeof(request));
    h2o_mem_init_pool(&request.pool);
    int r = h2o_hpack_parse_headers(&request, table, block, n, &seen, &length, NULL, &text);
    h2o_mem_clear_pool(&request.pool);
    return r;
}

int main(void)
{
    /* GET http / with "boat: yes", to be remembered; then the same by its number, 62. */
    static const uint8_t first[] = "\x82\x86\x84\x40\x04" "boat\x03" "yes";
    static const uint8_t second[] = "\x82\x86\x84\xbe";
    for (int capacity = 0; capacity <= 4096; capacity += 4096) {
        h2o_hpack_header_table_t table = {};
        table.hpack_capacity = table.hpack_max_capacity = capacity;
        int a = decode(&table, first, sizeof(first) - 1);
        int b = decode(&table, second, sizeof(second) - 1);
        printf("%d: %d %d\n", capacity, a, b);
        h2o_hpack_dispose_header_table(&table);
    }
    return 0;
}
END
include=(-I"$ROOT/usr/include" -I"$ROOT/usr/include/$(uname -m)-linux-gnu")

missing() { # FLAG...: the header that gcc looks for in vain
    { gcc -std=gnu11 "$@" -c two.c 2>&1 || true; } |
        sed --quiet 's/.*fatal error: \(.*\): No such file.*/\1/p'
}

flags=$(PKG_CONFIG_PATH='' PKG_CONFIG_LIBDIR=$LIBRARIES/pkgconfig pkg-config --cflags libh2o-evloop)
expect "what the .pc file says of libuv" "" "$(grep -o H2O_USE_LIBUV <<< "$flags" || true)"
seen=$(missing "${include[@]}" -DH2O_USE_LIBUV=0)
expect "the header that is missing" khash.h "$seen"
# The machine may have libuv's.
if [ ! -e /usr/include/uv.h ]; then
    seen=$(missing "${include[@]}" -I"$ROOT/usr/include/htslib")
    expect "the header that is missing without the flag" uv.h "$seen"
fi
gcc -std=gnu11 "${include[@]}" -I"$ROOT/usr/include/htslib" -DH2O_USE_LIBUV=0 two.c -o two \
    -L"$LIBRARIES" -lh2o-evloop -Wl,--allow-shlib-undefined
seen=$(run ./two | paste --serial --delimiters=,)
expect "two blocks by capacity" "0: 0 -9,4096: 0 0" "$seen"
saw "no khash.h, no -DH2O_USE_LIBUV=0; a zero-filled table refuses the second request"
