#include "tasks/images/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/resolve.h"

static int check_directory(const char *image, const char *path, struct fail *reterr)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return fail_set(reterr, -errno, "image '%s': cannot use '%s': %s", image, path,
                        strerror(errno));
    if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
        return fail_set(reterr, -EOPNOTSUPP,
                        "image '%s': '%s' is a disk image, which this version can't run; unpack it "
                        "into a directory",
                        image, path);
    if (!S_ISDIR(st.st_mode))
        return fail_set(reterr, -ENOTDIR, "image '%s': '%s' is no directory", image, path);
    return 0;
}

/* The task itself writes into its directory, also what it will be started from the next time: so a
 * link there leads no further. Answers 1: `*ret_path` is set; 0: it is not there. */
static int find_below_task(const char *image, const char *task_dir, char **ret_path,
                           struct fail *reterr)
{
    int r = resolve_below(task_dir, image, ret_path);

    if (r == -ENOENT || r == -ENOTDIR)
        return 0;
    /* "../images/debian" may be the agent's. What is a link in the task's directory is not. */
    if (r == -EXDEV && strstr(image, "..") != NULL)
        return 0;
    if (r < 0)
        return fail_set(reterr, r, "image '%s': %s; give an absolute path", image,
                        r == -EXDEV ? "leads out of the task's directory" : strerror(-r));
    return 1;
}

static char *find_below_agent(const char *image)
{
    CLEANUP_FREE char *cwd = getcwd(NULL, 0);
    CLEANUP_FREE char *path = cwd != NULL ? alloc_printf("%s/%s", cwd, image) : NULL;

    return path != NULL && access(path, F_OK) == 0 ? realpath(path, NULL) : NULL;
}

static int find_relative(const char *image, const char *task_dir, char **ret_path,
                         struct fail *reterr)
{
    int r = find_below_task(image, task_dir, ret_path, reterr);

    if (r == 0)
        *ret_path = find_below_agent(image);
    return r;
}

int image_find(const char *image, const char *task_dir, char **ret_path, struct fail *reterr)
{
    CLEANUP_FREE char *path = NULL;

    int r = 0;

    if (image[0] == '/')
        path = alloc_strdup(image);
    else
        r = find_relative(image, task_dir, &path, reterr);
    if (r < 0)
        return r;
    if (path == NULL && strchr(image, '/') != NULL)
        return fail_set(reterr, -ENOENT,
                        "image '%s': neither the task's directory nor the agent's working "
                        "directory has it; give an absolute path or the name of an image as "
                        "`machinectl list-images` shows it",
                        image);
    if (path == NULL)
        return IMAGE_ASK_MACHINED;
    r = check_directory(image, path, reterr);
    if (r < 0)
        return r;
    *ret_path = TAKE_PTR(path);
    return IMAGE_FOUND;
}

int image_take_known(const char *image, const char *path, const struct fail *fail, char **ret_path,
                     struct fail *reterr)
{
    if (fail != NULL && fail->error == -ENOENT)
        return fail_set(reterr, -ENOENT,
                        "image '%s': no directory of this name in the task's directory or the "
                        "agent's working directory, and `machinectl list-images` does not show it",
                        image);
    if (fail != NULL && fail->recoverable)
        return fail_set_recoverable(reterr, fail->error, "image '%s': %s", image, fail_text(fail));
    if (fail != NULL)
        return fail_set(reterr, fail->error, "image '%s': %s", image, fail_text(fail));
    int r = check_directory(image, path, reterr);
    if (r < 0)
        return r;
    *ret_path = alloc_strdup(path);
    return 0;
}
