/* Files of the state directory. For the files of this layer that handle them; nobody else includes it. */
#ifndef STORE_FILES_H
#define STORE_FILES_H

#include "base/err.h"

#include <stdbool.h>

/* errno's error, with what could not be done to the file; a full quota is a full disk (-ENOSPC). */
int file_error(struct err *e, const char *path, const char *what);
/* Also a link that leads nowhere. */
bool file_exists(const char *path);
/* fsync(); flags: of open(), beside read only (O_DIRECTORY). */
int file_flush(const char *path, int flags, struct err *e);
/* The new file has mode 0600, is flushed, and must not be there before. What is copied is left nowhere in memory. */
int file_copy(const char *from, const char *to, struct err *e);
/* Makes the state directory (0700) where it is missing, and locks it for this process, until the descriptor is
 * closed; also one on a file system that can only be read. -EEXIST: somebody has it. */
int directory_lock(const char *directory, int *ret_fd, struct err *e);

#endif
