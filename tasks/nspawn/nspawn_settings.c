#include "tasks/nspawn/nspawn_settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/utf8.h"

/* Enough to recognise a name by, in a message. */
#define NAME_SHOWN_MAX 64

void nspawn_settings_merge(const struct pairs *job, const struct pairs *nomad, struct pairs *ret)
{
    pairs_copy(ret, job);
    pairs_copy(ret, nomad);
}

/* nspawn drops the whole file over one of these, which Unicode reserves for a program's own use. */
static bool has_noncharacter(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        const unsigned char *u = (const unsigned char *)c;
        if (u[0] == 0xef && u[1] == 0xb7 && u[2] >= 0x90 && u[2] <= 0xaf)
            return true; /* U+FDD0 to U+FDEF */
        if (u[0] == 0xef && u[1] == 0xbf && u[2] >= 0xbe)
            return true; /* U+FFFE, U+FFFF */
        if (u[0] >= 0xf0 && (u[1] & 0x0f) == 0x0f && u[2] == 0xbf && u[3] >= 0xbe)
            return true; /* the same of each further plane */
    }
    return false;
}

static const char *why_not_text(const char *text)
{
    if (!utf8_is_valid(text, strlen(text)))
        return "is not UTF-8";
    if (has_noncharacter(text))
        return "holds a code point that is no character (like U+FFFE)";
    if (strpbrk(text, "\n\r") != NULL)
        return "holds a line break";
    return NULL;
}

static int refuse(const char *name, const char *what, const char *why, struct fail *reterr)
{
    CLEANUP_FREE char *cut = alloc_strndup(name, strnlen(name, NAME_SHOWN_MAX));
    CLEANUP_FREE char *clean = utf8_clean(cut);

    for (char *c = clean; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return fail_set(reterr, -EINVAL,
                    "environment variable '%s': its %s %s, which can't be carried into the "
                    "container; remove it, or hand it over in a file (a template block)",
                    clean, what, why);
}

static int check_limits(const struct pair *pair, struct fail *reterr)
{
    const char *why = NULL;

    if (*pair->key == '\0')
        why = "is empty";
    else if (strchr(pair->key, '=') != NULL)
        why = "holds a '='";
    if (why != NULL)
        return refuse(pair->key, "name", why, reterr);
    if (strlen(pair->key) + 1 + strlen(pair->value) > NSPAWN_SETTINGS_VARIABLE_BYTES_MAX)
        return refuse(pair->key, "value", "is longer than execve(2) takes (128 KiB)", reterr);
    return 0;
}

static int check_text(const struct pair *pair, struct fail *reterr)
{
    const char *why = why_not_text(pair->key);

    if (why != NULL)
        return refuse(pair->key, "name", why, reterr);
    why = why_not_text(pair->value);
    return why != NULL ? refuse(pair->key, "value", why, reterr) : 0;
}

int nspawn_settings_check(const struct pairs *environment, struct fail *reterr)
{
    size_t n_bytes = 0;

    for (size_t i = 0; i < environment->n_items; i++) {
        const struct pair *pair = &environment->items[i];
        int r = check_limits(pair, reterr);
        if (r < 0)
            return r;
        n_bytes += strlen(pair->key) + strlen(pair->value) + 2;
    }
    if (n_bytes > NSPAWN_SETTINGS_BYTES_MAX)
        return fail_set(reterr, -EINVAL,
                        "the environment has %zu bytes, at most %zu are taken; hand the large "
                        "variables over in files (template blocks)",
                        n_bytes, NSPAWN_SETTINGS_BYTES_MAX);
    return 0;
}

/* The parser takes everything between quotes of one kind as it is, backslashes too, and puts pieces
 * that touch together: so single quotes around all but single quotes, and double quotes around
 * those. */
static char *append_quoted(char *to, const char *text)
{
    while (*text != '\0') {
        char quote = *text == '\'' ? '"' : '\'';
        size_t n = quote == '"' ? strspn(text, "'") : strcspn(text, "'");

        *to++ = quote;
        to = mempcpy(to, text, n);
        *to++ = quote;
        text += n;
    }
    return to;
}

static const char assignment[] = "Environment=";

/* Of one line, at most: each byte in quotes of its own. */
static size_t line_bytes_max(const struct pair *pair)
{
    return sizeof(assignment) + 3 * (strlen(pair->key) + 1 + strlen(pair->value)) + 1;
}

/* No line can be longer than the 1 MiB that systemd reads. */
_Static_assert(3 * NSPAWN_SETTINGS_VARIABLE_BYTES_MAX + sizeof(assignment) < 1 << 20,
               "a variable of the longest kind must fit into a line");

static char *append_pair(char *to, const struct pair *pair)
{
    CLEANUP_FREE char *text = alloc_printf("%s=%s", pair->key, pair->value);

    to = stpcpy(to, assignment);
    to = append_quoted(to, text);
    return stpcpy(to, "\n");
}

int nspawn_settings_format(const struct pairs *environment, char **ret_text, struct fail *reterr)
{
    static const char head[] = "[Exec]\n";
    size_t text_bytes = sizeof(head);

    int r = nspawn_settings_check(environment, reterr);
    if (r < 0)
        return r;
    for (size_t i = 0; i < environment->n_items; i++) {
        const struct pair *pair = &environment->items[i];
        r = check_text(pair, reterr);
        if (r < 0)
            return r;
        text_bytes += line_bytes_max(pair);
    }

    char *text = alloc_zero(text_bytes, 1);
    char *to = stpcpy(text, head);
    for (size_t i = 0; i < environment->n_items; i++)
        to = append_pair(to, &environment->items[i]);
    *ret_text = text;
    return 0;
}
