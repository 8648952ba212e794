/* The main program of a fuzz target without a fuzzer: runs the files that are named, and those in
 * the directories that are, once each. Prints how many there were; none is a failure. */
#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/input.h"

static unsigned n_run;

static void die(const char *path)
{
    perror(path);
    exit(1);
}

static void run_file(const char *path)
{
    FILE *file = fopen(path, "re");
    uint8_t *bytes = NULL;
    size_t n = 0, part;

    if (file == NULL)
        die(path);
    /* Exactly as large as what is in it, so that a byte too far is seen. */
    if (fseek(file, 0, SEEK_END) != 0)
        die(path);
    long size = ftell(file);
    rewind(file);
    bytes = size > 0 ? malloc((size_t)size) : NULL;
    if (size < 0 || (size > 0 && bytes == NULL))
        die(path);
    while (n < (size_t)size && (part = fread(bytes + n, 1, (size_t)size - n, file)) > 0)
        n += part;
    if (n < (size_t)size)
        die(path);
    (void)fclose(file);
    (void)fprintf(stderr, "%s\n", path); /* the last one is who did it */
    (void)LLVMFuzzerTestOneInput(bytes, n);
    free(bytes);
    n_run++;
}

static void run_dir(const char *path, DIR *dir)
{
    const struct dirent *entry;

    while ((entry = readdir(dir)) != NULL) {
        char file[PATH_MAX];

        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        run_file(file);
    }
    (void)closedir(dir);
}

int main(int argc, char *argv[])
{
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);

        if (dir != NULL)
            run_dir(argv[i], dir);
        else
            run_file(argv[i]);
    }
    (void)printf("%u inputs\n", n_run);
    return n_run > 0 ? 0 : 1;
}
