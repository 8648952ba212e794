#include "tests/support/reactor/bus_text.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

static void must(int r)
{
    assert(r >= 0);
}

static void put_string(FILE *out, const char *text)
{
    (void)fputc('"', out);
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == '"' || *text == '\\')
            (void)fprintf(out, "\\x%02x", (unsigned char)*text);
        else
            (void)fputc(*text, out);
    (void)fputc('"', out);
}

static void put_fd(FILE *out, int fd)
{
    CLEANUP_FREE char *path = alloc_printf("/proc/self/fd/%d", fd);
    char target[256];
    ssize_t n = readlink(path, target, sizeof(target));

    (void)fprintf(out, "<%.*s>", n > 0 ? (int)n : 0, target);
}

static void put_basic(FILE *out, sd_bus_message *m, char type)
{
    union {
        const char *s;
        uint8_t y;
        uint16_t q;
        int16_t n;
        uint32_t u;
        int32_t i;
        uint64_t t;
        int64_t x;
        double d;
    } value = {};

    must(sd_bus_message_read_basic(m, type, &value));
    switch (type) {
    case 's':
    case 'o':
    case 'g':
        put_string(out, value.s);
        break;
    case 'b':
        (void)fputs(value.i ? "true" : "false", out);
        break;
    case 'y':
        (void)fprintf(out, "0x%02x", value.y);
        break;
    case 'u':
        (void)fprintf(out, "%" PRIu32, value.u);
        break;
    case 'i':
        (void)fprintf(out, "%" PRId32, value.i);
        break;
    case 't':
        (void)fprintf(out, "%" PRIu64, value.t);
        break;
    case 'h':
        put_fd(out, value.i);
        break;
    default:
        assert(false && "a type that no message of ours has");
    }
}

static void put_values(FILE *out, sd_bus_message *m, int depth, bool on_lines);

static void put_container(FILE *out, sd_bus_message *m, char type, const char *contents, int depth)
{
    bool on_lines = type == 'a' && (contents[0] == '(' || contents[0] == '{');

    must(sd_bus_message_enter_container(m, type, contents));
    if (type == 'v')
        (void)fprintf(out, "%s ", contents);
    else
        (void)fputc(type == 'a' ? '[' : '(', out);
    put_values(out, m, depth + on_lines, on_lines);
    if (type != 'v')
        (void)fputc(type == 'a' ? ']' : ')', out);
    must(sd_bus_message_exit_container(m));
}

static void put_values(FILE *out, sd_bus_message *m, int depth, bool on_lines)
{
    const char *contents;
    char type;
    bool is_first = true;

    while (sd_bus_message_peek_type(m, &type, &contents) > 0) {
        if (on_lines)
            (void)fprintf(out, "\n%*s", 2 * depth, "");
        else if (!is_first)
            (void)fputs(", ", out);
        is_first = false;
        if (contents == NULL)
            put_basic(out, m, type);
        else
            put_container(out, m, type, contents, depth);
        if (on_lines)
            (void)fputc(',', out);
    }
    if (on_lines && !is_first)
        (void)fprintf(out, "\n%*s", 2 * (depth - 1), "");
}

char *bus_text(sd_bus_message *message)
{
    char *text = NULL;
    size_t n_bytes;
    FILE *out = open_memstream(&text, &n_bytes);

    assert(out != NULL);
    (void)sd_bus_message_seal(message, 1, 0); /* refused when it is, which is as good */
    must(sd_bus_message_rewind(message, true));
    (void)fprintf(out, "%s(", sd_bus_message_get_member(message));
    put_values(out, message, 0, false);
    (void)fputs(")\n", out);
    (void)fclose(out);
    return text;
}

sd_bus *bus_text_connection(void)
{
    sd_bus *bus = NULL;
    int fds[2];

    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
    must(sd_bus_new(&bus));
    must(sd_bus_set_fd(bus, fds[0], fds[0]));
    must(sd_bus_negotiate_fds(bus, true));
    must(sd_bus_start(bus));
    (void)close(fds[1]);
    return bus;
}
