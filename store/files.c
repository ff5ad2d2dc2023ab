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

int directory_lock(const char *directory, int *ret_fd, struct err *e)
{
    _cleanup_(mem_free_p) char *path = mem_printf("%s/lock", directory);

    if (mkdir(directory, 0700) < 0 && errno != EEXIST)
        return file_error(e, directory, "the state directory cannot be made");
    *ret_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*ret_fd < 0)
        return file_error(e, path, "the lock cannot be opened");
    if (flock(*ret_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return err_set(e, -EEXIST, directory, "", "another igwd uses this state directory");
    return file_error(e, path, "the directory cannot be locked");
}
