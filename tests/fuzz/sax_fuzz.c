/*
 * Fuzzes the incremental JSON reader. The first four bytes choose limits, what is skipped and how the text is cut;
 * the rest is the text. Cut or whole, the events and the result must be the same; and without limits and skipping a
 * text is accepted exactly when jansson accepts it.
 */
#include "base/hash.h"
#include "base/mem.h"
#include "base/sax.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

struct reader {
    struct sax *sax;
    uint64_t events; /* a hash of all so far */
    unsigned count, skip_every;
};

static int hash_event(void *arg, enum sax_event event, const char *text, size_t n)
{
    struct reader *r = arg;
    bool can_skip = event == SAX_OBJECT_BEGIN || event == SAX_ARRAY_BEGIN || event == SAX_KEY;

    r->events = hash_seeded(text ? text : "", n, r->events + (uint64_t)event);
    if (r->skip_every && can_skip && ++r->count % r->skip_every == 0)
        sax_skip(r->sax);
    return 0;
}

/* piece 0: whole. Each piece is a copy of its own, so that a look behind its end is seen. */
static int read_text(struct reader *r, const struct sax_limits *limits, const char *text, size_t n, size_t piece)
{
    struct err e = {0};
    int code = 0;

    r->sax = sax_new(limits, hash_event, r);
    for (size_t at = 0, step; code == 0 && at < n; at += step) {
        char *copy;

        step = piece && piece < n - at ? piece : n - at;
        copy = mem_dup(text + at, step);
        code = sax_feed(r->sax, copy, step, &e);
        mem_free(copy);
    }
    if (code == 0)
        code = sax_finish(r->sax, &e);
    assert(code == e.code);
    sax_free(r->sax);
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sax_limits limits;
    struct reader whole = {0}, cut = {0};
    const char *text = (const char *)data + 4;
    json_error_t fault;
    json_t *json;
    int code;

    if (size < 4)
        return 0;
    size -= 4;
    limits = (struct sax_limits){.max_depth = data[0] & 15, .max_token = data[0] >> 4, .max_bytes = data[1] * 4u};
    whole.skip_every = cut.skip_every = data[2] & 7;
    code = read_text(&whole, &limits, text, size, 0);
    assert(read_text(&cut, &limits, text, size, data[3] ? data[3] : 1) == code);
    assert(whole.events == cut.events);
    /* jansson steps over a NUL behind a number. */
    if (data[0] || data[1] || whole.skip_every || code == -EMSGSIZE || memchr(text, 0, size))
        return 0;
    json = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &fault);
    /* Half of a surrogate pair is text to us (sax.h). */
    if (json ||
        (json_error_code(&fault) != json_error_numeric_overflow && strncmp(fault.text, "invalid Unicode", 15)))
        assert((json != NULL) == (code == 0));
    json_decref(json);
    return 0;
}
