#include "reactor/log.h"

#include <assert.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "reactor/cleanup.h"
#include "reactor/clock.h"
#include "reactor/utf8.h"

static const char *const level_names[LOG_LEVEL_MAX] = {
    [LOG_LEVEL_TRACE] = "trace", [LOG_LEVEL_DEBUG] = "debug", [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_WARN] = "warn",   [LOG_LEVEL_ERROR] = "error",
};

static enum log_level lowest = LOG_LEVEL_TRACE;

/* Of an id, which Nomad makes of a UUID and a name of at most 128 bytes: enough for any of its own,
 * and the message has its place beside any other. */
#define TASK_SHOWN_MAX 512

/* A message fills what is left but for its quote, the brace and the newline. */
#define RECORD_TAIL 3

struct record {
    char bytes[LOG_RECORD_MAX];
    size_t n;
    size_t room; /* for what is still to come of a string */
};

static void put_text(struct record *record, const char *text)
{
    size_t n = strlen(text);

    assert(n <= sizeof(record->bytes) - record->n);
    memcpy(record->bytes + record->n, text, n);
    record->n += n;
}

/* A part of a string, whole; with the first that does not fit the string ends. */
static void put_part(struct record *record, const char *bytes, size_t n)
{
    if (n > record->room) {
        record->room = 0;
        return;
    }
    memcpy(record->bytes + record->n, bytes, n);
    record->n += n;
    record->room -= n;
}

static void put_byte(struct record *record, unsigned char c)
{
    char escape[8];

    if (c == '"' || c == '\\')
        put_part(record, (char[]){ '\\', (char)c }, 2);
    else if (c == '\n')
        put_part(record, "\\n", 2);
    else if (c < 0x20 || c == 0x7f) {
        (void)snprintf(escape, sizeof(escape), "\\u%04x", c);
        put_part(record, escape, strlen(escape));
    } else
        put_part(record, (char[]){ (char)c }, 1);
}

static void put_string(struct record *record, const char *text, size_t n_max)
{
    size_t left = strlen(text);

    put_text(record, "\"");
    record->room = n_max;
    while (left > 0 && record->room > 0) {
        size_t length = utf8_sequence(text, left);
        if (length == 1)
            put_byte(record, (unsigned char)*text);
        else if (length > 1)
            put_part(record, text, length);
        else
            put_part(record, "\xef\xbf\xbd", 3);
        length += length == 0;
        text += length;
        left -= length;
    }
    put_text(record, "\"");
}

static void put_timestamp(struct record *record)
{
    uint64_t now_usec = clock_now_usec(CLOCK_REALTIME);
    time_t seconds = (time_t)(now_usec / 1000000);
    struct tm tm;
    char date[32], text[64];

    (void)gmtime_r(&seconds, &tm);
    (void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(text, sizeof(text), "%s.%06uZ", date, (unsigned)(now_usec % 1000000));
    put_string(record, text, sizeof(text));
}

/* A reader that is gone or slow must not stop the loop; there is nobody to tell. The descriptor is
 * not ours alone to be made non-blocking when the plugin is run by hand. */
static void send_record(const struct record *record)
{
    struct pollfd fd = { .fd = STDERR_FILENO, .events = POLLOUT };

    if (poll(&fd, 1, 0) <= 0 || !(fd.revents & POLLOUT))
        return;
    ssize_t written = write(STDERR_FILENO, record->bytes, record->n);
    (void)written;
}

_Static_assert(LOG_RECORD_MAX <= PIPE_BUF, "a longer record might have to wait for room");

void log_set_level(enum log_level level)
{
    lowest = level;
}

void log_write(enum log_level level, const char *task, const char *format, ...)
{
    struct record record;
    va_list args;

    if (level < lowest)
        return;
    /* Memory that others have used and will use, instead of a page of its own for ever. */
    CLEANUP_FREE char *message = malloc(LOG_RECORD_MAX);
    if (message == NULL)
        return;
    va_start(args, format);
    (void)vsnprintf(message, LOG_RECORD_MAX, format, args);
    va_end(args);

    record.n = 0;
    put_text(&record, "{\"@level\":");
    put_string(&record, level_names[level], SIZE_MAX);
    put_text(&record, ",\"@timestamp\":");
    put_timestamp(&record);
    if (task != NULL) {
        put_text(&record, ",\"task_id\":");
        put_string(&record, task, TASK_SHOWN_MAX);
    }
    put_text(&record, ",\"@message\":");
    put_string(&record, message, sizeof(record.bytes) - record.n - 1 - RECORD_TAIL);
    put_text(&record, "}\n");

    send_record(&record);
}
