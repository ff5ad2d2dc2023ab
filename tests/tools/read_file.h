/* A whole file, for the benchmark's HTTP programs. */
#ifndef TESTS_TOOLS_READ_FILE_H
#define TESTS_TOOLS_READ_FILE_H

#include "base/buf.h"

#include <errno.h>
#include <stdio.h>

/* 0 or a negative errno; buf_clear() b in any case. */
static inline int read_file(const char *path, struct buf *b)
{
    FILE *f = fopen(path, "re");
    char part[4096];
    size_t n;
    int r = 0;

    buf_init(b, 0);
    if (!f)
        return -errno;
    while (r == 0 && (n = fread(part, 1, sizeof(part), f)) > 0)
        r = buf_append(b, part, n);
    (void)fclose(f); /* it was only read */
    return r;
}

#endif
