/*
 * RE2 behind C. Patterns are compiled as Envoy does: RE2's defaults (UTF-8, its default memory), without its own log.
 * No exception crosses: RE2 throws none, and memory that ends ends the process.
 */
#include <cassert>
#include <cerrno>

#include <re2/re2.h>

extern "C" {
#include "base/regex.h"
}

namespace
{
const unsigned regex_magic = 0x72656765;
}

struct regex {
    explicit regex(const char *pattern) : re(pattern, RE2::Quiet)
    {
    }

    unsigned magic = regex_magic;
    RE2 re;
};

int regex_new(const char *pattern, struct regex **ret_regex, int *ret_size, struct err *e)
{
    auto *r = new regex(pattern);

    if (!r->re.ok()) {
        int code = err_set(e, -EINVAL, nullptr, nullptr, "%s", r->re.error().c_str());

        delete r;
        return code;
    }
    if (ret_size)
        *ret_size = r->re.ProgramSize();
    *ret_regex = r;
    return 0;
}

void regex_free(struct regex *r)
{
    if (!r)
        return;
    assert(r->magic == regex_magic);
    delete r;
}

bool regex_full_match(const struct regex *r, const char *text, size_t n)
{
    assert(r->magic == regex_magic);
    return RE2::FullMatch(re2::StringPiece(text, n), r->re);
}
