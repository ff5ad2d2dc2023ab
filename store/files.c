/* What several files of this layer do to files. */
#include "store/files.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int file_error(struct err *e, const char *path, const char *what)
{
    int number = errno == EDQUOT || errno == EFBIG ? ENOSPC : errno;

    return err_set(e, -number, path, "", "%s: %s", what, strerrordesc_np(errno));
}

bool file_exists(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0;
}

int file_flush(const char *path, int flags, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | flags), r = 0;

    if (fd < 0 || fsync(fd) < 0)
        r = file_error(e, path, "cannot be flushed");
    if (fd >= 0)
        close(fd);
    return r;
}

static int copy_bytes(int in, int out)
{
    char bytes[1 << 16];
    ssize_t n, r = 0;

    while (r >= 0 && (n = read(in, bytes, sizeof(bytes))) != 0) {
        if (n < 0)
            r = -1;
        for (ssize_t at = 0; r >= 0 && at < n; at += r)
            r = write(out, bytes + at, (size_t)(n - at));
    }
    mem_wipe(bytes, sizeof(bytes));
    return r < 0 ? -1 : 0;
}

int file_copy(const char *from, const char *to, struct err *e)
{
    int in = open(from, O_RDONLY | O_CLOEXEC), out, r = 0;

    if (in < 0)
        return file_error(e, from, "cannot be read");
    out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (out < 0 || copy_bytes(in, out) < 0 || fsync(out) < 0)
        r = file_error(e, to, "cannot be written");
    if (out >= 0)
        close(out);
    close(in);
    return r;
}

int directory_lock(const char *directory, int *ret_fd, struct err *e)
{
    _cleanup_(mem_free_p) char *path = mem_printf("%s/lock", directory);

    if (mkdir(directory, 0700) < 0 && errno != EEXIST)
        return file_error(e, directory, "the state directory cannot be made");
    *ret_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*ret_fd < 0 && errno == EROFS)
        *ret_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*ret_fd < 0)
        return file_error(e, path, "the lock cannot be opened");
    if (flock(*ret_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return err_set(e, -EEXIST, directory, "", "another igwd uses this state directory");
    return file_error(e, path, "the directory cannot be locked");
}
