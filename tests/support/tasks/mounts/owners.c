#include "tests/support/tasks/mounts/owners.h"

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/event.h"
#include "tests/support/scratch_dir.h"

/* In which nothing must happen. Longer than anything that is merely slow to come. */
#define IDLE_USEC 100000

static unsigned n_shifted, n_unshifted;

char *owners_path(const struct owners *f, const char *name)
{
    return scratch_dir_path(f->dir, name);
}

void owners_make_dir(const struct owners *f, const char *name)
{
    CLEANUP_FREE char *path = owners_path(f, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

void owners_make_file(const struct owners *f, const char *name)
{
    CLEANUP_FREE char *path = owners_path(f, name);
    CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
}

void owners_make_files(const struct owners *f, const char *dir, const char *prefix, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        CLEANUP_FREE char *name = alloc_printf("%s/%s%u", dir, prefix, i);
        owners_make_file(f, name);
    }
}

/* Each with a file. */
void owners_make_dirs(const struct owners *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        CLEANUP_FREE char *dir = alloc_printf("root/dir%u", i);
        CLEANUP_FREE char *file = alloc_printf("root/dir%u/file", i);
        owners_make_dir(f, dir);
        owners_make_file(f, file);
    }
}

void owners_give(const struct owners *f, const char *name, uid_t uid, gid_t gid, mode_t mode)
{
    CLEANUP_FREE char *path = owners_path(f, name);
    assert_int_equal(lchown(path, uid, gid), 0);
    if (mode != 0)
        assert_int_equal(chmod(path, mode), 0);
}

void owners_move(const struct owners *f, const char *from, const char *to)
{
    CLEANUP_FREE char *path = owners_path(f, from);
    CLEANUP_FREE char *target = owners_path(f, to);
    assert_int_equal(rename(path, target), 0);
}

/* Mounts of a test are its own: nobody else sees them, and they go with the process. */
void owners_mount(const struct owners *f, const char *source, const char *name,
                     unsigned long flags)
{
    static bool is_private;
    CLEANUP_FREE char *target = owners_path(f, name);

    if (!is_private) {
        assert_int_equal(unshare(CLONE_NEWNS), 0);
        assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
        is_private = true;
    }
    assert_int_equal(mount(source, target, "tmpfs", flags, NULL), 0);
}

void owners_unmount(const struct owners *f, const char *name)
{
    CLEANUP_FREE char *path = owners_path(f, name);

    if (umount(path) < 0)
        fail_msg("%s: %s", path, strerror(errno));
}

struct stat owners_look(const struct owners *f, const char *name)
{
    CLEANUP_FREE char *path = owners_path(f, name);
    struct stat st;

    if (lstat(path, &st) < 0)
        fail_msg("%s: %s", name, strerror(errno));
    return st;
}

void owners_expect(const struct owners *f, const char *name, uid_t uid, gid_t gid)
{
    struct stat st = owners_look(f, name);

    if (st.st_uid != uid || st.st_gid != gid)
        fail_msg("%s: expected %u:%u, is %u:%u", name, uid, gid, st.st_uid, st.st_gid);
}

void owners_expect_shifted(const struct owners *f, const char *name)
{
    owners_expect(f, name, OWNERS_BASE, OWNERS_BASE);
}

void owners_expect_untouched(const struct owners *f, const char *name)
{
    owners_expect(f, name, 0, 0);
}

static bool is_shifted(uid_t id)
{
    return id - OWNERS_BASE < 65536;
}

static int count_owner(const char *path, const struct stat *st, int type, struct FTW *info)
{
    (void)path, (void)type, (void)info;
    if (is_shifted(st->st_uid) && is_shifted(st->st_gid))
        n_shifted++;
    else
        n_unshifted++;
    return 0;
}

unsigned owners_count(const struct owners *f)
{
    n_shifted = n_unshifted = 0;
    assert_int_equal(nftw(f->root, count_owner, 64, FTW_PHYS), 0);
    return n_shifted;
}

void owners_expect_all_shifted(const struct owners *f, unsigned n_at_least)
{
    (void)owners_count(f);
    assert_int_equal(n_unshifted, 0);
    assert_in_range(n_shifted, n_at_least, UINT32_MAX);
}

/* Of all inotify descriptors of this process, as the kernel says. */
unsigned owners_n_watches(void)
{
    unsigned n = 0;
    char line[256];
    DIR *dir = opendir("/proc/self/fdinfo");
    struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        CLEANUP_FREE char *path = alloc_printf("/proc/self/fdinfo/%s", entry->d_name);
        FILE *file = entry->d_name[0] != '.' ? fopen(path, "re") : NULL;
        while (file != NULL && fgets(line, sizeof(line), file) != NULL)
            n += strncmp(line, "inotify wd:", 11) == 0;
        if (file != NULL)
            (void)fclose(file);
    }
    (void)closedir(dir);
    return n;
}

static void on_ready(const struct fail *fail, void *data)
{
    struct owners *f = data;

    f->n_ready++;
    f->is_ready = true;
    if (fail != NULL)
        fail_copy(&f->fail, fail);
    if (f->frees_in_ready)
        f->ownership = ownership_free(f->ownership);
}

void owners_init(struct owners *f)
{
    *f = (struct owners){ .dir = scratch_dir_new() };
    assert_int_equal(sd_event_new(&f->event), 0);
    owners_make_dir(f, "root");
    f->root = owners_path(f, "root");
}

void owners_done(struct owners *f)
{
    f->ownership = ownership_free(f->ownership);
    sd_event_unref(f->event);
    fail_done(&f->fail);
    scratch_dir_free(f->dir);
    free(f->root);
}

int owners_follow_all(struct owners *f, const struct strv *dirs, uid_t base,
                      struct ownership **ret, struct fail *fail)
{
    return ownership_new(f->event, dirs, base, on_ready, f, ret, fail);
}

int owners_follow(struct owners *f, const char *path, uid_t base, struct ownership **ret,
                  struct fail *fail)
{
    CLEANUP(strv_done) struct strv dirs = {};

    strv_push(&dirs, path);
    return owners_follow_all(f, &dirs, base, ret, fail);
}

void owners_start(struct owners *f)
{
    assert_int_equal(owners_follow(f, f->root, OWNERS_BASE, &f->ownership, NULL), 0);
}

void owners_start_and_wait(struct owners *f)
{
    owners_start(f);
    assert_true(event_run_until_set(f->event, &f->is_ready));
    assert_int_equal(f->fail.error, 0);
}

struct awaited {
    const struct owners *f;
    const char *name;
};

static bool has_come(void *data)
{
    const struct awaited *awaited = data;
    CLEANUP_FREE char *path = owners_path(awaited->f, awaited->name);
    struct stat st;

    return lstat(path, &st) == 0 && st.st_uid == OWNERS_BASE && st.st_gid == OWNERS_BASE;
}

void owners_await_shifted(struct owners *f, const char *name)
{
    if (!event_run_until(f->event, has_come, &(struct awaited){ f, name }))
        fail_msg("%s: was not shifted", name);
}

static uint64_t now_usec(const struct owners *f)
{
    uint64_t now = 0;

    assert_true(sd_event_now(f->event, CLOCK_MONOTONIC, &now) >= 0);
    return now;
}

/* Looks at the whole tree, so not after each event. */
static bool are_all_shifted(void *data)
{
    static uint64_t next_usec;

    if (now_usec(data) < next_usec)
        return false;
    (void)owners_count(data);
    next_usec = now_usec(data) + 20000;
    return n_unshifted == 0;
}

void owners_await_all_shifted(struct owners *f)
{
    if (!event_run_until(f->event, are_all_shifted, f))
        fail_msg("%u of %u were not shifted", n_unshifted, n_unshifted + n_shifted);
}

static bool has_ended(void *data)
{
    pid_t *pid = data;
    int status = -1;

    if (waitpid(*pid, &status, WNOHANG) != *pid)
        return false;
    assert_int_equal(status, 0);
    return true;
}

void owners_await_exit(struct owners *f, pid_t pid)
{
    assert_true(event_run_until(f->event, has_ended, &pid));
}

void owners_expect_idle(struct owners *f)
{
    event_run_pending(f->event);
    assert_int_equal(event_count_during(f->event, IDLE_USEC), 0);
}
