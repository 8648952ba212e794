#include "tasks/spec/signal_name.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "reactor/alloc.h"

/* At most two digits are a signal; what is longer is none. */
static bool parse_number(const char *text, int *ret)
{
    size_t n = strlen(text);

    if (n == 0 || n > 2 || strspn(text, "0123456789") != n)
        return false;
    *ret = (int)strtol(text, NULL, 10);
    return true;
}

/* What the C library does not call by these names, and jobs do. */
static const struct {
    const char *name;
    int signal;
} aliases[] = { { "IO", SIGIO }, { "IOT", SIGIOT } };

static int parse_alias(const char *name)
{
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
        if (strcasecmp(aliases[i].name, name) == 0)
            return aliases[i].signal;
    return -EINVAL;
}

static int parse_realtime(const char *name)
{
    int offset = 0, signal = -EINVAL;

    if (strncasecmp(name, "RTMIN", 5) == 0) {
        if (name[5] == '\0' || (name[5] == '+' && parse_number(name + 6, &offset)))
            signal = SIGRTMIN + offset;
    } else if (strncasecmp(name, "RTMAX", 5) == 0) {
        if (name[5] == '\0' || (name[5] == '-' && parse_number(name + 6, &offset)))
            signal = SIGRTMAX - offset;
    }
    return signal >= SIGRTMIN ? signal : -EINVAL;
}

static int parse_name(const char *name)
{
    for (int signal = 1; signal < SIGRTMIN; signal++) {
        const char *abbreviation = sigabbrev_np(signal);
        if (abbreviation != NULL && strcasecmp(abbreviation, name) == 0)
            return signal;
    }
    int signal = parse_alias(name);
    return signal < 0 ? parse_realtime(name) : signal;
}

/* Written out, as who mistyped one wants to read them; a test holds it to what is parsed. */
#define SIGNAL_NAMES                                                                       \
    "SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGIOT, SIGBUS, SIGFPE, SIGKILL, " \
    "SIGUSR1, SIGSEGV, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT, SIGCHLD, SIGCONT, "  \
    "SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, "   \
    "SIGWINCH, SIGPOLL, SIGIO, SIGPWR, SIGSYS, SIGRTMIN, SIGRTMIN+n, SIGRTMAX-n, SIGRTMAX"

int signal_name_parse(const char *name, struct fail *reterr)
{
    int signal;

    if (!parse_number(name, &signal))
        signal = parse_name(strncasecmp(name, "SIG", 3) == 0 ? name + 3 : name);
    if (signal < 1 || signal > SIGRTMAX)
        return fail_set(reterr, -EINVAL,
                        "signal '%s': expected one of " SIGNAL_NAMES
                        ", or a number from 1 to %d",
                        name, SIGRTMAX);
    return signal;
}

char *signal_name_format(int signal)
{
    const char *abbreviation = signal < SIGRTMIN ? sigabbrev_np(signal) : NULL;

    if (signal >= SIGRTMIN)
        return signal == SIGRTMIN ? alloc_strdup("SIGRTMIN")
                                  : alloc_printf("SIGRTMIN+%d", signal - SIGRTMIN);
    return abbreviation != NULL ? alloc_printf("SIG%s", abbreviation) : alloc_printf("%d", signal);
}
