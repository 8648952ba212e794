#include "rpc/grpc/grpc_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"

static int read_prefix(struct grpc_reader *reader, const uint8_t *bytes, size_t n,
                       size_t *ret_used)
{
    size_t part = GRPC_WIRE_PREFIX_SIZE - reader->n_prefix;
    if (part > n)
        part = n;
    if (part > 0)
        memcpy(reader->prefix + reader->n_prefix, bytes, part);
    reader->n_prefix += part;
    *ret_used = part;
    if (reader->n_prefix > 0 && reader->prefix[0] > 1)
        return -EBADMSG;
    if (reader->n_prefix > 0 && reader->prefix[0] == 1)
        return -EPROTO;
    if (reader->n_prefix < GRPC_WIRE_PREFIX_SIZE)
        return 0;
    reader->length = (uint32_t)reader->prefix[1] << 24 | (uint32_t)reader->prefix[2] << 16 |
                     (uint32_t)reader->prefix[3] << 8 | reader->prefix[4];
    return reader->length > GRPC_WIRE_MESSAGE_MAX ? -EMSGSIZE : 1;
}

/* What is allocated for `n` bytes: doubling, but never beyond the message. */
static size_t allocation(const struct grpc_reader *reader, size_t n)
{
    if (n <= reader->n_allocated)
        return reader->n_allocated;
    size_t wanted = reader->n_allocated * 2;
    if (wanted < n)
        wanted = n;
    return wanted > reader->length ? reader->length : wanted;
}

static void make_room(struct grpc_reader *reader, size_t n)
{
    size_t wanted = allocation(reader, n);
    if (wanted == reader->n_allocated)
        return;
    reader->bytes = alloc_grow(reader->bytes, wanted, 1);
    reader->n_allocated = wanted;
}

size_t grpc_reader_room(const struct grpc_reader *reader, size_t n)
{
    if (reader->n_prefix < GRPC_WIRE_PREFIX_SIZE)
        return n;
    size_t left = reader->length - reader->n_bytes;
    return allocation(reader, reader->n_bytes + (n < left ? n : left));
}

int grpc_reader_feed(struct grpc_reader *reader, const uint8_t *bytes, size_t n, size_t *ret_used)
{
    size_t used = 0;
    if (reader->n_prefix < GRPC_WIRE_PREFIX_SIZE) {
        int r = read_prefix(reader, bytes, n, &used);
        if (r <= 0) {
            *ret_used = used;
            return r;
        }
    }
    size_t part = reader->length - reader->n_bytes;
    if (part > n - used)
        part = n - used;
    if (part > 0) {
        make_room(reader, reader->n_bytes + part);
        memcpy(reader->bytes + reader->n_bytes, bytes + used, part);
        reader->n_bytes += part;
    }
    *ret_used = used + part;
    return grpc_reader_is_whole(reader);
}

bool grpc_reader_is_whole(const struct grpc_reader *reader)
{
    return reader->n_prefix == GRPC_WIRE_PREFIX_SIZE && reader->n_bytes == reader->length;
}

bool grpc_reader_is_empty(const struct grpc_reader *reader)
{
    return reader->n_prefix == 0;
}

void grpc_reader_next(struct grpc_reader *reader)
{
    free(reader->bytes);
    *reader = (struct grpc_reader){};
}

void grpc_wire_prefix(uint8_t *to, uint32_t n)
{
    *to++ = 0;
    *to++ = (uint8_t)(n >> 24);
    *to++ = (uint8_t)(n >> 16);
    *to++ = (uint8_t)(n >> 8);
    *to++ = (uint8_t)n;
}

/* Microseconds, of which a nanosecond is the thousandth part. */
static uint64_t scale(uint64_t value, char unit)
{
    switch (unit) {
    case 'H':
        return value * 3600 * 1000000;
    case 'M':
        return value * 60 * 1000000;
    case 'S':
        return value * 1000000;
    case 'm':
        return value * 1000;
    case 'u':
        return value;
    default:
        return value / 1000;
    }
}

int grpc_wire_parse_timeout(const char *s, size_t n, uint64_t *ret_usec)
{
    if (n < 2 || n > 9 || !memchr("HMSmun", s[n - 1], 6))
        return -EINVAL;
    uint64_t value = 0;
    for (size_t i = 0; i < n - 1; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -EINVAL;
        value = value * 10 + (uint64_t)(s[i] - '0');
    }
    *ret_usec = scale(value, s[n - 1]);
    return 0;
}

bool grpc_wire_is_content_type(const char *s, size_t n)
{
    static const char type[] = "application/grpc", proto[] = "+proto";
    size_t n_type = sizeof(type) - 1, n_proto = sizeof(proto) - 1;
    if (n < n_type || memcmp(s, type, n_type) != 0)
        return false;
    s += n_type;
    n -= n_type;
    if (n >= n_proto && memcmp(s, proto, n_proto) == 0) {
        s += n_proto;
        n -= n_proto;
    }
    return n == 0 || *s == ';' || *s == ' ';
}

char *grpc_wire_percent_encode(const char *s)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = strlen(s);
    char *encoded = alloc_zero(n * 3 + 1, 1), *to = encoded;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        bool is_edge = i == 0 || i == n - 1;
        if (c >= (is_edge ? '!' : ' ') && c <= '~' && c != '%') {
            *to++ = (char)c;
            continue;
        }
        *to++ = '%';
        *to++ = digits[c >> 4];
        *to++ = digits[c & 15];
    }
    return encoded;
}

char *grpc_wire_base64(const uint8_t *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *encoded = alloc_zero(n / 3 * 4 + 5, 1), *to = encoded;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t group = (uint32_t)bytes[i] << 16;
        if (left > 1)
            group |= (uint32_t)bytes[i + 1] << 8;
        if (left > 2)
            group |= bytes[i + 2];
        *to++ = digits[group >> 18];
        *to++ = digits[group >> 12 & 63];
        if (left > 1)
            *to++ = digits[group >> 6 & 63];
        if (left > 2)
            *to++ = digits[group & 63];
    }
    return encoded;
}

/* -1: none of them. */
static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int grpc_wire_decode_base64(const char *s, size_t n, uint8_t *to, size_t *ret_n)
{
    if (n > 0 && n % 4 == 0)
        for (unsigned i = 0; i < 2 && s[n - 1] == '='; i++)
            n--;
    if (n % 4 == 1)
        return -EBADMSG;
    uint32_t group = 0;
    size_t n_written = 0;
    for (size_t i = 0; i < n; i++) {
        int digit = base64_digit(s[i]);
        if (digit < 0)
            return -EBADMSG;
        group = group << 6 | (uint32_t)digit;
        /* every digit but the first of four completes a byte */
        if (i % 4 > 0)
            to[n_written++] = (uint8_t)(group >> (6 - 2 * (i % 4)));
    }
    *ret_n = n_written;
    return 0;
}
