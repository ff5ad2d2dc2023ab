/* Filling and showing the one error type. Texts are formatted aside first: they may quote what e already holds. */
#include "base/err.h"

#include "base/utf8.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char ellipsis[] = "...";

/* length: that of the whole text, of which s holds the beginning when it is size or more. */
static void end_in_ellipsis(char *s, size_t size, size_t length)
{
    if (length >= size)
        memcpy(s + utf8_cut(s, size - 1, size - sizeof(ellipsis)), ellipsis, sizeof(ellipsis));
}

static void copy_cut(char *to, size_t size, const char *from)
{
    size_t length = strlen(from);

    memmove(to, from, length < size ? length + 1 : size - 1);
    to[size - 1] = '\0';
    end_in_ellipsis(to, size, length);
}

int err_set(struct err *e, int code, const char *object, const char *field, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;
    int n;

    assert(code < 0);
    if (!e)
        return code;
    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0)
        text[0] = '\0';
    else
        end_in_ellipsis(text, sizeof(text), (size_t)n);
    e->code = code;
    if (object)
        copy_cut(e->object, sizeof(e->object), object);
    if (field)
        copy_cut(e->field, sizeof(e->field), field);
    memcpy(e->text, text, sizeof(text));
    return code;
}

void err_prefix_field(struct err *e, const char *prefix)
{
    char field[ERR_FIELD_MAX];
    const char *dot;
    int n;

    if (!e || !prefix[0])
        return;
    dot = e->field[0] && e->field[0] != '[' ? "." : "";
    n = snprintf(field, sizeof(field), "%s%s%s", prefix, dot, e->field);
    if (n < 0)
        return;
    end_in_ellipsis(field, sizeof(field), (size_t)n);
    memcpy(e->field, field, sizeof(field));
}

void err_field_to_text(struct err *e)
{
    if (e && e->field[0])
        err_set(e, e->code, NULL, "", "%s: %s", e->field, e->text);
}

void err_set_object(struct err *e, const char *object)
{
    if (e)
        copy_cut(e->object, sizeof(e->object), object);
}

const char *err_format(const struct err *e, char *buf, unsigned n)
{
    int length;

    if (n == 0)
        return buf;
    length = snprintf(buf, n, "%s%s%s%s%s", e->object, e->object[0] && (e->field[0] || e->text[0]) ? ": " : "",
                      e->field, e->field[0] && e->text[0] ? ": " : "", e->text);
    if (length < 0)
        buf[0] = '\0';
    else if (n >= sizeof(ellipsis))
        end_in_ellipsis(buf, n, (size_t)length);
    return buf;
}
