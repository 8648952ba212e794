#include "reactor/program.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/child.h"
#include "reactor/cleanup.h"
#include "reactor/memory_file.h"
#include "reactor/utf8.h"

/* Of users' shells these are often not in PATH, and an agent may have been started from one. */
#define ADMINISTRATORS_DIRS "/usr/local/sbin:/usr/sbin:/sbin"

#define EXIT_NOT_EXECUTED 127

struct program {
    char *name;
    struct child *child;
    sd_event_source *timeout;
    uint64_t timeout_usec;
    bool is_late;
    int said_fd;
    int *exec_error; /* shared with the process; 0 once it is another program */
    program_done_fn done;
    void *data;
};

/* --- in the process -------------------------------------------------------------------------- */

struct start {
    char *const *argv;
    int input_fd, said_fd;
    int *exec_error;
};

static void extend_path(void)
{
    const char *path = getenv("PATH");
    CLEANUP_FREE char *longer = alloc_printf("%s%s" ADMINISTRATORS_DIRS, path != NULL ? path : "",
                                             path != NULL ? ":" : "/usr/local/bin:/usr/bin:/bin:");

    (void)setenv("PATH", longer, true);
}

static int execute(const void *args)
{
    const struct start *start = args;
    int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    /* We ignore it, which the program would inherit. */
    (void)signal(SIGPIPE, SIG_DFL);
    if (null_fd >= 0 && dup2(start->input_fd, STDIN_FILENO) >= 0 &&
        dup2(null_fd, STDOUT_FILENO) >= 0 && dup2(start->said_fd, STDERR_FILENO) >= 0) {
        /* Also what somebody before us has left open. */
        (void)close_range(STDERR_FILENO + 1, ~0U, 0);
        extend_path();
        (void)execvp(start->argv[0], start->argv);
    }
    *start->exec_error = errno;
    return EXIT_NOT_EXECUTED;
}

/* --- the end --------------------------------------------------------------------------------- */

/* The descriptor's place is the process's too: there ends what it has said. Heap. */
static char *read_said(int fd)
{
    char text[PROGRAM_SAID_MAX + 1];
    off_t end = lseek(fd, 0, SEEK_CUR), begin = end > PROGRAM_SAID_MAX ? end - PROGRAM_SAID_MAX : 0;
    ssize_t n = end > 0 ? pread(fd, text, (size_t)(end - begin), begin) : 0;

    while (n > 0 && (isspace((unsigned char)text[n - 1]) || text[n - 1] == '\0'))
        n--;
    text[n > 0 ? n : 0] = '\0';
    return utf8_clean(text);
}

/* Answers the result. The sentence is heap, and untouched when the program was content. */
static int judge(const struct program *program, int code, int status, char **ret_sentence)
{
    const char *name = program->name;

    if (code == CLD_EXITED && *program->exec_error != 0) {
        *ret_sentence = alloc_printf("'%s' cannot be run: %s", name,
                                     strerror(*program->exec_error));
        return -*program->exec_error;
    }
    if (code == CLD_EXITED) {
        if (status != 0)
            *ret_sentence = alloc_printf("'%s' exited with status %d", name, status);
        return status != 0 ? -EIO : 0;
    }
    if (program->is_late && status == SIGKILL) {
        *ret_sentence = alloc_printf("'%s' was killed because it took more than %.3g s", name,
                                     (double)program->timeout_usec / 1e6);
        return -ETIMEDOUT;
    }
    if (code == 0)
        *ret_sentence = alloc_printf("'%s' was awaited by somebody else", name);
    else
        *ret_sentence = alloc_printf("'%s' was ended by signal %d", name, status);
    return code == 0 ? -ECHILD : -EINTR;
}

static void on_exited(int code, int status, void *data)
{
    struct program *program = data;
    program_done_fn done = program->done;
    void *done_data = program->data;
    CLEANUP_FREE char *said = read_said(program->said_fd);
    CLEANUP_FREE char *sentence = NULL;

    program->child = NULL;
    int r = judge(program, code, status, &sentence);
    if (sentence != NULL && *said != '\0') {
        char *both = alloc_printf("%s: %s", sentence, said);
        free(sentence);
        sentence = both;
    }
    (void)program_free(program);
    done(r, sentence != NULL ? sentence : said, done_data);
}

/* It may have ended by itself before: then that is what counts. */
static int on_timeout(sd_event_source *source, uint64_t usec, void *data)
{
    struct program *program = data;

    (void)source;
    (void)usec;
    program->is_late = true;
    child_kill(program->child);
    return 0;
}

/* --- the beginning --------------------------------------------------------------------------- */

/* Of a size that can't be changed, so that it can't be outgrown; memory takes what is written. */
static int new_said_file(void)
{
    CLEANUP_CLOSE int fd = memory_file_new("program-said", "", 0);

    if (fd < 0)
        return fd;
    if (ftruncate(fd, PROGRAM_SPOKEN_MAX) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) < 0)
        return -errno;
    return TAKE_FD(fd);
}

static int start_child(sd_event *event, struct program *program, char *const argv[],
                       const char *input)
{
    void *shared = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                        0);

    if (shared == MAP_FAILED)
        return -errno;
    program->exec_error = shared;
    program->said_fd = new_said_file();
    if (program->said_fd < 0)
        return program->said_fd;
    CLEANUP_CLOSE int input_fd = memory_file_new("program-input", input, strlen(input));
    if (input_fd < 0)
        return input_fd;
    struct start start = {
        .argv = argv,
        .input_fd = input_fd,
        .said_fd = program->said_fd,
        .exec_error = program->exec_error,
    };
    program->child = child_new(event, "program", execute, &start, on_exited, program);
    return program->child != NULL ? 0 : -EAGAIN;
}

int program_start(sd_event *event, char *const argv[], const char *input, uint64_t timeout_usec,
                  program_done_fn done, void *data, struct program **ret)
{
    struct program *program = ALLOC_NEW(struct program);

    assert(argv[0] != NULL);
    *program = (struct program){
        .name = alloc_strdup(argv[0]),
        .timeout_usec = timeout_usec,
        .said_fd = -EBADF,
        .done = done,
        .data = data,
    };
    int r = start_child(event, program, argv, input);
    if (r < 0) {
        (void)program_free(program);
        return r;
    }
    r = sd_event_add_time_relative(event, &program->timeout, CLOCK_MONOTONIC, timeout_usec, 0,
                                   on_timeout, program);
    assert(r >= 0);
    (void)sd_event_source_set_description(program->timeout, "program-timeout");
    *ret = program;
    return 0;
}

struct program *program_free(struct program *program)
{
    if (program == NULL)
        return NULL;
    program->timeout = sd_event_source_disable_unref(program->timeout);
    program->child = child_free(program->child);
    (void)close_fd(program->said_fd);
    if (program->exec_error != NULL)
        (void)munmap(program->exec_error, sizeof(int));
    free(program->name);
    free(program);
    return NULL;
}
