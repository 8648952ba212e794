#include "tasks/network/name_files.h"

#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

char *name_files_hosts(const char *hostname, const struct address *addresses, size_t n)
{
    CLEANUP(strv_done) struct strv lines = {};

    strv_push(&lines, "127.0.0.1 localhost");
    strv_push(&lines, "::1 localhost ip6-localhost ip6-loopback");
    for (size_t i = 0; i < n; i++) {
        CLEANUP_FREE char *address = address_text(&addresses[i]);
        strv_printf(&lines, "%s %s", address, hostname);
    }
    if (n == 0)
        strv_printf(&lines, "127.0.1.1 %s", hostname);
    strv_push(&lines, "");
    return strv_join(&lines, "\n");
}

/* --- resolv.conf ----------------------------------------------------------------------------- */

/* The words after the keyword, when that is what the line begins with; else NULL. */
static const char *words_of(const char *line, const char *keyword)
{
    size_t n = strlen(keyword);

    line += strspn(line, " \t");
    if (strncmp(line, keyword, n) != 0 || (line[n] != ' ' && line[n] != '\t'))
        return NULL;
    return line + n + strspn(line + n, " \t");
}

static void add_words(struct strv *to, const char *words)
{
    while (*words != '\0') {
        size_t n = strcspn(words, " \t");
        strv_push_owned(to, alloc_strndup(words, n));
        words += n + strspn(words + n, " \t");
    }
}

static void parse_line(const char *line, struct task_dns *dns)
{
    const struct {
        const char *keyword;
        struct strv *list;
        bool is_set_anew; /* the last of such lines counts */
    } rows[] = {
        { "nameserver", &dns->servers, false },
        { "search", &dns->searches, true },
        { "domain", &dns->searches, true },
        { "options", &dns->options, false },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *words = words_of(line, rows[i].keyword);
        if (words == NULL)
            continue;
        if (rows[i].is_set_anew)
            strv_done(rows[i].list);
        add_words(rows[i].list, words);
    }
}

static void parse(const char *text, struct task_dns *dns)
{
    CLEANUP_FREE char *copy = alloc_strdup(text);
    char *rest = copy, *line;

    while ((line = strsep(&rest, "\n")) != NULL)
        parse_line(line, dns);
}

static void dns_done(struct task_dns *dns)
{
    strv_done(&dns->servers);
    strv_done(&dns->searches);
    strv_done(&dns->options);
}

static bool is_reachable(const char *server)
{
    struct address address;

    /* "fe80::1%eth0" is no address to us, and good on one link of the host only. */
    return address_parse(server, &address) >= 0 && !address_is_loopback(&address);
}

const char *name_files_resolv_of_host(const char *text, const char *other)
{
    CLEANUP(dns_done) struct task_dns dns = {};

    if (text == NULL)
        return other;
    parse(text, &dns);
    for (size_t i = 0; i < dns.servers.n_items; i++)
        if (is_reachable(dns.servers.items[i]))
            return text;
    return other != NULL ? other : text;
}

char *name_files_resolv(const struct task_dns *dns, const char *host_text)
{
    CLEANUP(dns_done) struct task_dns host = {};
    CLEANUP(strv_done) struct strv lines = {};

    if (host_text != NULL)
        parse(host_text, &host);
    const struct strv *servers = dns->servers.n_items > 0 ? &dns->servers : &host.servers;
    const struct strv *searches = dns->searches.n_items > 0 ? &dns->searches : &host.searches;
    const struct strv *options = dns->options.n_items > 0 ? &dns->options : &host.options;
    for (size_t i = 0; i < servers->n_items; i++)
        strv_printf(&lines, "nameserver %s", servers->items[i]);
    CLEANUP_FREE char *search = strv_join(searches, " "), *option = strv_join(options, " ");
    if (*search != '\0')
        strv_printf(&lines, "search %s", search);
    if (*option != '\0')
        strv_printf(&lines, "options %s", option);
    strv_push(&lines, "");
    return strv_join(&lines, "\n");
}
