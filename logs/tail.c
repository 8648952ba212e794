#include "logs/tail.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/utf8.h"

/* Twice what is kept, so that bytes move down once in TAIL_BYTES_MAX and not with every piece. */
#define ROOM (2 * TAIL_BYTES_MAX)

struct tail {
    int pipe[2];
    size_t n_doubled; /* what is in the pipe, between tail_double and tail_keep */
    size_t n_seen;
    char bytes[ROOM];
    size_t n_bytes;
};

int tail_new(struct tail **ret)
{
    struct tail *tail = ALLOC_NEW(struct tail);

    tail->pipe[0] = tail->pipe[1] = -EBADF;
    if (pipe2(tail->pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
        int r = -errno;
        tail_free(tail);
        return r;
    }
    *ret = tail;
    return 0;
}

struct tail *tail_free(struct tail *tail)
{
    if (tail == NULL)
        return NULL;
    close_fd(tail->pipe[0]);
    close_fd(tail->pipe[1]);
    free(tail);
    return NULL;
}

ssize_t tail_double(struct tail *tail, int fd, size_t n_max)
{
    assert(tail->n_doubled == 0);

    ssize_t n = tee(fd, tail->pipe[1], n_max, SPLICE_F_NONBLOCK);
    if (n < 0)
        return -errno;
    tail->n_doubled = (size_t)n;
    return n;
}

static void append(struct tail *tail, const char *bytes, size_t n)
{
    assert(n <= TAIL_BYTES_MAX);

    if (tail->n_bytes + n > ROOM) {
        memmove(tail->bytes, tail->bytes + tail->n_bytes - TAIL_BYTES_MAX, TAIL_BYTES_MAX);
        tail->n_bytes = TAIL_BYTES_MAX;
    }
    memcpy(tail->bytes + tail->n_bytes, bytes, n);
    tail->n_bytes += n;
}

/* Empties the pipe, so that the next tee starts with an empty one. */
void tail_keep(struct tail *tail, size_t n_moved)
{
    char bytes[TAIL_BYTES_MAX];

    assert(n_moved <= tail->n_doubled);
    while (tail->n_doubled > 0) {
        size_t n_wanted = tail->n_doubled < sizeof(bytes) ? tail->n_doubled : sizeof(bytes);
        ssize_t n = read(tail->pipe[0], bytes, n_wanted);
        if (n <= 0)
            break;
        size_t n_kept = (size_t)n < n_moved ? (size_t)n : n_moved;
        append(tail, bytes, n_kept);
        tail->n_seen += n_kept;
        n_moved -= n_kept;
        tail->n_doubled -= (size_t)n;
    }
    tail->n_doubled = 0;
}

bool tail_is_over(const struct tail *tail)
{
    return tail->n_seen >= TAIL_OUTPUT_MAX;
}

char *tail_line(struct tail *tail, int fd, tail_skip_fn skip)
{
    /* What is unread now will be doubled once more when it is moved: it is kept in a copy only. */
    CLEANUP_FREE struct tail *copy = alloc_memdup(tail, sizeof(*tail));

    ssize_t n = tail_double(copy, fd, TAIL_OUTPUT_MAX);
    if (n > 0)
        tail_keep(copy, (size_t)n);
    return tail_last_line(copy->bytes, copy->n_bytes, skip);
}

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

/* Bytes of the terminal sequence at `s` (ECMA-48: ESC, and for CSI its parameters and final
 * byte). */
static size_t sequence_length(const char *s, size_t n)
{
    size_t i = 2;

    if (n < 2 || s[0] != '\x1b')
        return 0;
    if (s[1] != '[')
        return 2;
    while (i < n && (unsigned char)s[i] >= 0x20 && (unsigned char)s[i] < 0x40)
        i++;
    return i < n ? i + 1 : n;
}

static bool is_control(const char *s, size_t n)
{
    unsigned char first = (unsigned char)s[0];

    if (first < 0x20 || first == 0x7f)
        return true;
    /* C1, U+0080 to U+009F */
    return first == 0xc2 && n >= 2 && (unsigned char)s[1] >= 0x80 && (unsigned char)s[1] < 0xa0;
}

/* Answers the line without what a terminal would act on; a tab becomes a space. Heap. */
static char *strip(const char *s, size_t n)
{
    char *text = alloc_zero(n + 1, 1);
    size_t n_text = 0;

    while (n > 0) {
        size_t n_skip = sequence_length(s, n);
        if (n_skip == 0 && *s == '\t') {
            text[n_text++] = ' ';
            n_skip = 1;
        } else if (n_skip == 0 && is_control(s, n)) {
            n_skip = (unsigned char)*s == 0xc2 ? 2 : 1;
        } else if (n_skip == 0) {
            text[n_text++] = *s;
            n_skip = 1;
        }
        s += n_skip;
        n -= n_skip;
    }
    return text;
}

static void trim(char *text)
{
    size_t n_blank = strspn(text, " "), n = strlen(text);

    memmove(text, text + n_blank, n - n_blank + 1);
    n -= n_blank;
    while (n > 0 && text[n - 1] == ' ')
        text[--n] = '\0';
}

static void cut(char *text)
{
    size_t n = strlen(text), n_kept = 0, length;

    while (n_kept < n && (length = utf8_sequence(text + n_kept, n - n_kept)) > 0 &&
           n_kept + length <= TAIL_LINE_MAX)
        n_kept += length;
    text[n_kept] = '\0';
}

static char *clean(const char *s, size_t n)
{
    CLEANUP_FREE char *text = strip(s, n);
    char *line = utf8_clean(text);

    trim(line);
    cut(line);
    return line;
}

char *tail_last_line(const char *bytes, size_t n_bytes, tail_skip_fn skip)
{
    size_t end = n_bytes;

    while (end > 0) {
        size_t start = end;
        while (start > 0 && !is_line_end(bytes[start - 1]))
            start--;
        CLEANUP_FREE char *line = clean(bytes + start, end - start);
        if (line[0] != '\0' && (skip == NULL || !skip(line)))
            return TAKE_PTR(line);
        end = start > 0 ? start - 1 : 0;
    }
    return NULL;
}
