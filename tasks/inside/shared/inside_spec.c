#include "tasks/inside/shared/inside_spec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

#define SPEC_MAGIC 0x6e730001 /* raised when the layout changes */

enum { SPEC_PID1 = 1 << 0, SPEC_USER = 1 << 1, SPEC_DIRECTORY = 1 << 2, SPEC_ALL = (1 << 3) - 1 };

/* Then the strings, each with its NUL: user, directory, arguments, environment. */
struct head {
    uint32_t magic, flags, n_argv, n_environment;
};

/* --- writing --------------------------------------------------------------------------------- */

static void collect(const struct inside_spec *spec, struct strv *texts)
{
    if (spec->user != NULL)
        strv_push(texts, spec->user);
    if (spec->directory != NULL)
        strv_push(texts, spec->directory);
    strv_copy(texts, &spec->argv);
    strv_copy(texts, &spec->environment);
}

void inside_spec_encode(const struct inside_spec *spec, uint8_t **ret_bytes, size_t *ret_n_bytes)
{
    struct head head = {
        .magic = SPEC_MAGIC,
        .flags = (spec->is_pid1 ? SPEC_PID1 : 0U) | (spec->user != NULL ? SPEC_USER : 0U) |
                 (spec->directory != NULL ? SPEC_DIRECTORY : 0U),
        .n_argv = (uint32_t)spec->argv.n_items,
        .n_environment = (uint32_t)spec->environment.n_items,
    };
    CLEANUP(strv_done) struct strv texts = {};
    size_t n_bytes = sizeof(head);

    collect(spec, &texts);
    for (size_t i = 0; i < texts.n_items; i++)
        n_bytes += strlen(texts.items[i]) + 1;
    uint8_t *bytes = alloc_zero(n_bytes, 1), *to = mempcpy(bytes, &head, sizeof(head));
    for (size_t i = 0; i < texts.n_items; i++)
        to = mempcpy(to, texts.items[i], strlen(texts.items[i]) + 1);
    *ret_bytes = bytes;
    *ret_n_bytes = n_bytes;
}

/* --- reading --------------------------------------------------------------------------------- */

struct reader {
    const uint8_t *at;
    size_t n_left;
};

static char *take_text(struct reader *reader)
{
    const uint8_t *end = reader->n_left > 0 ? memchr(reader->at, '\0', reader->n_left) : NULL;

    if (end == NULL)
        return NULL;
    size_t n = (size_t)(end - reader->at);
    char *text = alloc_strndup((const char *)reader->at, n);
    reader->at += n + 1;
    reader->n_left -= n + 1;
    return text;
}

static bool take_texts(struct reader *reader, size_t n, struct strv *to)
{
    for (size_t i = 0; i < n; i++) {
        char *text = take_text(reader);
        if (text == NULL)
            return false;
        strv_push_owned(to, text);
    }
    return true;
}

static bool take_all(struct reader *reader, const struct head *head, struct inside_spec *spec)
{
    spec->is_pid1 = (head->flags & SPEC_PID1) != 0;
    if (head->flags & SPEC_USER && (spec->user = take_text(reader)) == NULL)
        return false;
    if (head->flags & SPEC_DIRECTORY && (spec->directory = take_text(reader)) == NULL)
        return false;
    return take_texts(reader, head->n_argv, &spec->argv) &&
           take_texts(reader, head->n_environment, &spec->environment) && reader->n_left == 0;
}

int inside_spec_decode(struct inside_spec *spec, const uint8_t *bytes, size_t n_bytes)
{
    struct head head;

    *spec = (struct inside_spec){};
    if (n_bytes < sizeof(head))
        return -EBADMSG;
    memcpy(&head, bytes, sizeof(head));
    if (head.magic != SPEC_MAGIC || (head.flags & ~(uint32_t)SPEC_ALL) != 0)
        return -EBADMSG;
    struct reader reader = { .at = bytes + sizeof(head), .n_left = n_bytes - sizeof(head) };
    if (take_all(&reader, &head, spec))
        return 0;
    inside_spec_done(spec);
    return -EBADMSG;
}

int inside_spec_read(struct inside_spec *spec, int fd)
{
    struct stat file;

    *spec = (struct inside_spec){};
    if (fstat(fd, &file) < 0)
        return -errno;
    if (file.st_size < 0 || (size_t)file.st_size > INSIDE_SPEC_BYTES_MAX)
        return -EFBIG;
    size_t n_bytes = (size_t)file.st_size, n_read = 0;
    CLEANUP_FREE uint8_t *bytes = alloc_zero(n_bytes + 1, 1);
    while (n_read < n_bytes) {
        ssize_t n = pread(fd, bytes + n_read, n_bytes - n_read, (off_t)n_read);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EBADMSG; /* it became shorter */
        n_read += (size_t)n;
    }
    return inside_spec_decode(spec, bytes, n_bytes);
}

void inside_spec_done(struct inside_spec *spec)
{
    free(spec->user);
    free(spec->directory);
    strv_done(&spec->argv);
    strv_done(&spec->environment);
    *spec = (struct inside_spec){};
}
