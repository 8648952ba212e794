#include "tests/support/rpc/h2/hpack.h"

#include <nghttp2/nghttp2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

/* The protocol's default, which is what both ends of ours use. */
#define TABLE_BYTES 4096
#define HEADERS_MAX 64

void hpack_init(struct hpack *hpack)
{
    assert_int_equal(nghttp2_hd_deflate_new(&hpack->deflater, TABLE_BYTES), 0);
    assert_int_equal(nghttp2_hd_inflate_new(&hpack->inflater), 0);
}

void hpack_done(struct hpack *hpack)
{
    nghttp2_hd_deflate_del(hpack->deflater);
    nghttp2_hd_inflate_del(hpack->inflater);
}

/* Cuts `lines` where names and values end. */
static size_t parse(char *lines, nghttp2_nv *headers)
{
    size_t n = 0;

    while (*lines != '\0') {
        char *value = strstr(lines, ": "), *end = strchr(lines, '\n');

        assert_true(value != NULL && end != NULL && value < end && n < HEADERS_MAX);
        headers[n++] = (nghttp2_nv){
            .name = (uint8_t *)lines,
            .namelen = (size_t)(value - lines),
            .value = (uint8_t *)value + 2,
            .valuelen = (size_t)(end - value) - 2,
        };
        lines = end + 1;
    }
    return n;
}

size_t hpack_encode(struct hpack *hpack, const char *lines, uint8_t *to, size_t size)
{
    CLEANUP_FREE char *copy = alloc_strdup(lines);
    nghttp2_nv headers[HEADERS_MAX];
    size_t n = parse(copy, headers);

    ssize_t n_bytes = nghttp2_hd_deflate_hd(hpack->deflater, to, size, headers, n);
    assert_true(n_bytes >= 0);
    return (size_t)n_bytes;
}

char *hpack_decode(struct hpack *hpack, const uint8_t *block, size_t n)
{
    char *text = NULL;
    size_t n_text = 0;
    FILE *file = open_memstream(&text, &n_text);
    int flags = 0;

    assert_non_null(file);
    while ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0) {
        nghttp2_nv header;
        ssize_t used = nghttp2_hd_inflate_hd2(hpack->inflater, &header, &flags, block, n, 1);

        if (used < 0) {
            (void)fclose(file);
            free(text);
            return NULL;
        }
        block += used;
        n -= (size_t)used;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
            (void)fprintf(file, "%s: %s\n", (const char *)header.name, (const char *)header.value);
    }
    (void)nghttp2_hd_inflate_end_headers(hpack->inflater);
    (void)fclose(file);
    return text;
}
