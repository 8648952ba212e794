#include "rpc/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print_version(void);
static int print_help(void);

static const struct command {
    const char *name, *help;
    int (*run)(void); /* answers the status of the process */
} commands[] = {
    { "--help", "print this and exit", print_help },
    { "--version", "print the version and exit", print_version },
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const char usage[] =
    "nomad-driver-nspawn " PLUGIN_VERSION ": task driver for HashiCorp Nomad that runs\n"
    "systemd-nspawn containers.\n"
    "\n"
    "This program is a plugin: it is launched by a Nomad agent and not by hand. Put it into the\n"
    "agent's plugin_dir and name it in the agent's configuration:\n"
    "\n"
    "  plugin \"nomad-driver-nspawn\" {\n"
    "    config {\n"
    "      enabled = true\n"
    "    }\n"
    "  }\n"
    "\n"
    "Jobs then use it with driver = \"nspawn\".\n"
    "\n";

static void put_usage(FILE *to)
{
    (void)fputs(usage, to);
    for (size_t i = 0; i < N_COMMANDS; i++)
        (void)fprintf(to, "  %-9s  %s\n", commands[i].name, commands[i].help);
}

/* An answer that nobody can have got is a failure. */
static int flush_answer(void)
{
    return fflush(stdout) == 0 && !ferror(stdout) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int print_version(void)
{
    (void)fputs("nomad-driver-nspawn " PLUGIN_VERSION "\n", stdout);
    return flush_answer();
}

static int print_help(void)
{
    put_usage(stdout);
    return flush_answer();
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    return NULL;
}

int command_run(int argc, char **argv)
{
    const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;

    if (command != NULL && argc == 2)
        return command->run();
    if (argc > 1)
        (void)fprintf(stderr, "nomad-driver-nspawn: '%s': not understood\n\n",
                      argv[command != NULL ? 2 : 1]);
    put_usage(stderr);
    return EXIT_FAILURE;
}
