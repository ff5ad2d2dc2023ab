/*
 * The dashboard's files, which stand in the program: anybody may have them, since they hold nothing of the state.
 * web/build.py makes them at build time, and says how long each may be kept: all but the entry stand at a path that
 * names their content, so that a browser never asks for them twice.
 */
#ifndef API_PAGES_H
#define API_PAGES_H

#include "api/call.h"

struct page {
    const char *path; /* "/ui/0123456789abcdef/app.js" */
    const char *content_type;
    const char *etag; /* with quotes, of the plain form */
    bool forever;     /* what stands at this path never becomes another */
    const uint8_t *plain, *plain_end;
    const uint8_t *gzip, *gzip_end; /* both NULL: it would not get smaller */
};

/* Of this build; sorted by path. */
extern const struct page web_pages[];
extern const size_t web_n_pages;

/* Answers when one of the pages stands at the call's path; false: none does. */
bool pages_answer(struct call *c, const struct page *pages, size_t n);

#endif
