#include "tasks/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

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

/* Answers whether `base`/`image` is there at all; "." and ".." inside are the author's business. */
static char *existing_below(const char *base, const char *image)
{
    CLEANUP_FREE char *path = alloc_printf("%s/%s", base, image);

    return access(path, F_OK) == 0 ? realpath(path, NULL) : NULL;
}

static char *find_relative(const char *image, const char *task_dir)
{
    char *path = existing_below(task_dir, image);

    if (path != NULL)
        return path;
    CLEANUP_FREE char *cwd = getcwd(NULL, 0);
    return cwd != NULL ? existing_below(cwd, image) : NULL;
}

int image_find(const char *image, const char *task_dir, char **ret_path, struct fail *reterr)
{
    CLEANUP_FREE char *path = NULL;

    if (image[0] == '/')
        path = alloc_strdup(image);
    else
        path = find_relative(image, task_dir);
    if (path == NULL && strchr(image, '/') != NULL)
        return fail_set(reterr, -ENOENT,
                        "image '%s': neither the task's directory nor the agent's working "
                        "directory has it; give an absolute path or the name of an image as "
                        "`machinectl list-images` shows it",
                        image);
    if (path == NULL)
        return IMAGE_ASK_MACHINED;
    int r = check_directory(image, path, reterr);
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
