/* Problem documents. Invariant: an answer of 400 or more is one of these, whoever made it. */
#include "api/fault.h"

#include "api/writer.h"
#include "base/json.h"

#include <stdarg.h>

void fault_add(struct fault_list *l, enum fault_place place, const char *name, const char *code, const char *fmt, ...)
{
    va_list ap;

    if (l->n == FAULTS_MAX)
        return;
    if (!l->items)
        l->items = arena_array(l->arena, struct fault, FAULTS_MAX);
    va_start(ap, fmt);
    _cleanup_(mem_free_p) char *detail = mem_vprintf(fmt, ap);
    va_end(ap);
    l->items[l->n++] = (struct fault){place, arena_strdup(l->arena, name), code, arena_strdup(l->arena, detail)};
}

const char *fault_pointer(struct arena *arena, const char *place, const char *member)
{
    _cleanup_(mem_free_p) char *pointer = json_pointer(place, member);

    return arena_strdup(arena, pointer);
}

/* The reason phrase (RFC 9110, 15). */
static const char *title_of(unsigned status)
{
    static const struct {
        unsigned status;
        const char *title;
    } titles[] = {
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {409, "Conflict"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
    };

    for (size_t i = 0; i < ARRAY_LEN(titles); i++)
        if (titles[i].status == status)
            return titles[i].title;
    return "Error";
}

void fault_answer(struct http_answer *a, const char *request_id, unsigned status, const char *detail,
                  const struct fault_list *faults)
{
    static const char *const places[] = {"pointer", "parameter", "header"};
    struct writer w = {.out = &a->body};

    a->status = status;
    a->content_type = "application/problem+json";
    buf_reset(&a->body);
    http_content_unref(a->content);
    a->content = NULL;
    writer_open(&w, NULL, '{');
    writer_text(&w, "type", "about:blank");
    writer_text(&w, "title", title_of(status));
    writer_int(&w, "status", status);
    writer_text(&w, "detail", detail);
    writer_text(&w, "request_id", request_id);
    writer_open(&w, "errors", '[');
    for (size_t i = 0; faults && i < faults->n; i++) {
        const struct fault *f = &faults->items[i];
        writer_open(&w, NULL, '{');
        writer_text(&w, places[f->place], f->name);
        writer_text(&w, "code", f->code);
        writer_text(&w, "detail", f->detail);
        writer_close(&w, '}');
    }
    writer_close(&w, ']');
    writer_close(&w, '}');
}
