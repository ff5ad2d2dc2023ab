/*
 * Parsing, canonical writing and table-driven decoding of JSON values. Messages never quote a value: it may be a
 * secret.
 */
#include "base/json.h"

#include "base/buf.h"
#include "base/utf8.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DEPTH_MAX = 64, STRING_MAX_DEFAULT = 1 << 20, LIST_MAX_DEFAULT = 1024, DURATION_TEXT_MAX = 64 };
static const int64_t duration_max = INT64_C(1) << 62;

/* jansson shares our fate when memory ends: nobody has an error path for that. Keys and passwords come as JSON, and
 * only jansson knows when a text of it is not needed any more. */
__attribute__((constructor)) static void take_over_memory(void)
{
    json_set_alloc_funcs(mem_alloc, mem_free_wiped);
}

/* ---- text to value and back ---- */

/* jansson's own sentences may quote the text. */
static const char *fault_text(enum json_error_code code)
{
    switch (code) {
    case json_error_premature_end_of_input:
        return "the text ends too early";
    case json_error_end_of_input_expected:
        return "there is more behind the value";
    case json_error_invalid_utf8:
        return "not UTF-8";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "a NUL character";
    case json_error_duplicate_key:
        return "a key that occurs twice in an object";
    case json_error_numeric_overflow:
        return "a number that is too large";
    default:
        return "not JSON";
    }
}

/* Looks at brackets outside of strings only; whether it is JSON at all is the parser's business. */
static int check_depth(const char *text, size_t n, struct err *e)
{
    size_t depth = 0, line = 1, line_start = 0;
    bool in_string = false;

    for (size_t i = 0; i < n; i++) {
        char c = text[i];

        if (c == '\n') {
            line++;
            line_start = i + 1;
        } else if (in_string && c == '\\') {
            i++;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && (c == '{' || c == '[')) {
            if (++depth > DEPTH_MAX)
                return err_set(e, -EBADMSG, NULL, NULL, "line %zu, column %zu: nested deeper than %d", line,
                               i - line_start + 1, DEPTH_MAX);
        } else if (!in_string && (c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return 0;
}

char *json_pointer(const char *place, const char *member)
{
    struct buf b;

    buf_init(&b, 0);
    buf_append_str(&b, place);
    buf_append_byte(&b, '/');
    for (; *member; member++)
        if (*member == '~' || *member == '/')
            buf_append_str(&b, *member == '~' ? "~0" : "~1");
        else
            buf_append_byte(&b, (uint8_t)*member);
    return buf_take(&b, NULL);
}

int json_parse(const char *text, size_t n, json_t **ret_json, struct err *e)
{
    json_error_t fault;
    json_t *json;
    int r = check_depth(text, n, e);

    if (r < 0)
        return r;
    json = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &fault);
    if (!json) {
        enum json_error_code code = json_error_code(&fault);
        bool unfit = code == json_error_null_character || code == json_error_null_byte_in_key ||
                     code == json_error_numeric_overflow;
        return err_set(e, unfit ? -EINVAL : -EBADMSG, NULL, NULL, "line %d, column %d: %s", fault.line, fault.column,
                       fault_text(code));
    }
    *ret_json = json;
    return 0;
}

static int append(const char *p, size_t n, void *arg)
{
    return buf_append(arg, p, n);
}

char *json_canonical(const json_t *json)
{
    struct buf b;
    int r;

    buf_init(&b, 0);
    b.secret = true; /* it may be; what is handed over is the caller's to wipe */
    r = json_dump_callback(json, append, &b, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    /* It fails only for values that no parser makes. */
    assert(r == 0);
    return buf_take(&b, NULL);
}

/* ---- durations ---- */

static const struct {
    const char *name;
    int64_t ns;
} units[] = {{"ns", 1},
             {"us", 1000},
             {"ms", 1000000},
             {"s", INT64_C(1000000000)},
             {"m", INT64_C(60000000000)},
             {"h", INT64_C(3600000000000)},
             {"d", INT64_C(86400000000000)},
             {"w", INT64_C(604800000000000)}};

/* The unit at the start of text: letters up to what is none. 0 if it is not known. */
static int64_t read_unit(const char **text)
{
    size_t n = 0;

    while ((*text)[n] >= 'a' && (*text)[n] <= 'z')
        n++;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strlen(units[i].name) == n && strncmp(units[i].name, *text, n) == 0) {
            *text += n;
            return units[i].ns;
        }
    return 0;
}

/* Digits with an optional fraction, in billionths; what is finer is dropped. -1: none, or too many. */
static __int128 read_billionths(const char **text)
{
    const char *p = *text;
    __int128 value = 0;
    int64_t place = 1000000000;

    if (!isdigit((unsigned char)*p))
        return -1;
    for (; isdigit((unsigned char)*p); p++) {
        value = value * 10 + (__int128)(*p - '0') * place;
        if (value > (__int128)duration_max * place)
            return -1;
    }
    if (*p == '.') {
        if (!isdigit((unsigned char)*++p))
            return -1;
        for (; isdigit((unsigned char)*p); p++) {
            place /= 10;
            value += (*p - '0') * place;
        }
    }
    *text = p;
    return value;
}

int duration_parse(const char *text, int64_t *ret_ns)
{
    const char *p = text;
    __int128 total = 0;

    do {
        __int128 value = read_billionths(&p);
        /* Only a number that stands alone means seconds. */
        int64_t unit = *p == '\0' && total == 0 && strspn(text, "0123456789.") == strlen(text) ? INT64_C(1000000000)
                                                                                               : read_unit(&p);

        if (value < 0 || unit == 0)
            return -EINVAL;
        total += value / 1000000000 * unit + value % 1000000000 * unit / 1000000000;
        if (total >= duration_max)
            return -EINVAL;
    } while (*p);
    *ret_ns = (int64_t)total;
    return 0;
}

/* ---- decoding by table ---- */

struct decoder {
    const struct json_field *field;
    bool lenient;
    struct arena *arena;
    void *member; /* of the struct */
    struct err *e;
};

static int wrong(struct decoder *d, const char *expected)
{
    return err_set(d->e, -EINVAL, NULL, NULL, "must be %s", expected);
}

/* Of numbers: both 0 is no bound, a maximum below the minimum is none either. */
static bool has_min(const struct json_field *f)
{
    return f->min != 0 || f->max != 0;
}

static bool has_max(const struct json_field *f)
{
    return has_min(f) && f->max >= f->min;
}

/* 0, or the fault that says the bounds; unit: what a number is counted in, for the message and as a divisor. */
static int check_bounds(struct decoder *d, double number, const char *what, double unit)
{
    const struct json_field *f = d->field;

    if (has_max(f) && !(number >= (double)f->min && number <= (double)f->max))
        return err_set(d->e, -EINVAL, NULL, NULL, "must be %s from %.15g to %.15g", what, (double)f->min / unit,
                       (double)f->max / unit);
    if (has_min(f) && !(number >= (double)f->min))
        return err_set(d->e, -EINVAL, NULL, NULL, "must be %s of at least %.15g", what, (double)f->min / unit);
    return 0;
}

/* The text of a JSON string, or NULL if it is none or a C string cannot hold it. */
static const char *text_of(const json_t *value)
{
    const char *text = json_string_value(value);

    return text && strlen(text) == json_string_length(value) ? text : NULL;
}

static const char *lenient_text_of(const struct decoder *d, const json_t *value)
{
    return d->lenient ? text_of(value) : NULL;
}

static int copy_text(struct decoder *d, const char *text, size_t n, const char **ret_text)
{
    int64_t min = d->field->min, max = d->field->max ? d->field->max : STRING_MAX_DEFAULT;
    int64_t count = (int64_t)utf8_count(text, n);

    if (count < min || count > max)
        return err_set(d->e, -EINVAL, NULL, NULL, "must have %lld to %lld characters, not %lld", (long long)min,
                       (long long)max, (long long)count);
    *ret_text = arena_strndup(d->arena, text, n);
    return 0;
}

static int decode_string(struct decoder *d, const json_t *value)
{
    const char *text = text_of(value);

    return text ? copy_text(d, text, strlen(text), d->member) : wrong(d, "a text");
}

static int decode_bool(struct decoder *d, const json_t *value)
{
    static const struct {
        const char *text;
        bool value;
    } texts[] = {{"true", true}, {"false", false}, {"yes", true}, {"no", false}, {"1", true}, {"0", false}};
    const char *text = lenient_text_of(d, value);

    if (json_is_boolean(value)) {
        *(bool *)d->member = json_is_true(value);
        return 0;
    }
    for (size_t i = 0; text && i < ARRAY_LEN(texts); i++)
        if (strcasecmp(text, texts[i].text) == 0) {
            *(bool *)d->member = texts[i].value;
            return 0;
        }
    return wrong(d, "true or false");
}

static int decode_int(struct decoder *d, const json_t *value)
{
    const char *text = lenient_text_of(d, value);
    int64_t number;
    int r;

    if (json_is_integer(value)) {
        number = json_integer_value(value);
    } else if (text && (isdigit((unsigned char)text[0]) || (text[0] == '-' && isdigit((unsigned char)text[1])))) {
        char *end;

        errno = 0;
        number = strtoll(text, &end, 10);
        if (*end || errno)
            return wrong(d, "an integer");
    } else {
        return wrong(d, "an integer");
    }
    r = check_bounds(d, (double)number, "an integer", 1);
    if (r == 0)
        *(int64_t *)d->member = number;
    return r;
}

/* RFC 8259's numbers only: strtod() would also take "inf", "nan", hexadecimal and the locale's comma. */
static int parse_double(const char *text, double *ret_number)
{
    json_t *json;

    if (!text || text[strspn(text, "0123456789+-.eE")] != '\0')
        return -EINVAL;
    json = json_loads(text, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    if (!json)
        return -EINVAL;
    *ret_number = json_number_value(json);
    json_decref(json);
    return 0;
}

static int decode_double(struct decoder *d, const json_t *value)
{
    double number;
    int r;

    if (json_is_number(value))
        number = json_number_value(value);
    else if (parse_double(lenient_text_of(d, value), &number) < 0)
        return wrong(d, "a number");
    r = check_bounds(d, number, "a number", 1);
    if (r == 0)
        *(double *)d->member = number;
    return r;
}

static int decode_duration(struct decoder *d, const json_t *value)
{
    static const char expected[] = "a duration: seconds, or a text such as \"15s\", \"2m\", \"1h30m\" or \"250ms\"";
    const char *text = text_of(value);
    int64_t ns;
    int r;

    if (json_is_number(value)) {
        double exact = json_number_value(value) * 1e9;

        if (!(exact >= 0 && exact < (double)duration_max))
            return wrong(d, expected);
        ns = json_is_integer(value) ? json_integer_value(value) * 1000000000 : llround(exact);
    } else if (!text || strlen(text) > DURATION_TEXT_MAX || duration_parse(text, &ns) < 0) {
        return wrong(d, expected);
    }
    r = check_bounds(d, (double)ns, "a number of seconds", 1e9);
    if (r == 0)
        *(int64_t *)d->member = ns;
    return r;
}

static size_t max_items(const struct json_field *f)
{
    return f->max_items ? f->max_items : LIST_MAX_DEFAULT;
}

static int too_many(struct decoder *d)
{
    return err_set(d->e, -EINVAL, NULL, NULL, "must have at most %zu items", max_items(d->field));
}

static int decode_words(struct decoder *d, const char *text)
{
    static const char blanks[] = " \t\r\n\f\v";
    struct json_strings list = {0};
    size_t words = 0;

    for (const char *p = text + strspn(text, blanks); *p; p += strspn(p, blanks)) {
        words++;
        p += strcspn(p, blanks);
    }
    if (words > max_items(d->field))
        return too_many(d);
    list.items = arena_array(d->arena, const char *, words);
    for (const char *p = text + strspn(text, blanks); *p; p += strspn(p, blanks)) {
        size_t n = strcspn(p, blanks);
        int r = copy_text(d, p, n, &list.items[list.count++]);

        if (r < 0)
            return r;
        p += n;
    }
    *(struct json_strings *)d->member = list;
    return 0;
}

static int decode_string_list(struct decoder *d, const json_t *value)
{
    const char *words = lenient_text_of(d, value);
    struct json_strings list = {.count = json_array_size(value)};

    if (words)
        return decode_words(d, words);
    if (!json_is_array(value))
        return wrong(d, "a list of texts");
    if (list.count > max_items(d->field))
        return too_many(d);
    list.items = arena_array(d->arena, const char *, list.count);
    for (size_t i = 0; i < list.count; i++) {
        const char *text = text_of(json_array_get(value, i));
        int r = text ? copy_text(d, text, strlen(text), &list.items[i]) : wrong(d, "a text");

        if (r < 0) {
            char index[32];

            snprintf(index, sizeof(index), "[%zu]", i);
            err_prefix_field(d->e, index);
            return r;
        }
    }
    *(struct json_strings *)d->member = list;
    return 0;
}

bool json_same_name(const char *a, const char *b)
{
    static const char ignored[] = "-_ ";

    for (;; a++, b++) {
        a += strspn(a, ignored);
        b += strspn(b, ignored);
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
            return false;
        if (!*a)
            return true;
    }
}

static int decode_enum(struct decoder *d, const json_t *value)
{
    const struct json_enum *names = d->field->names;
    const char *text = text_of(value);
    struct buf expected;

    for (size_t i = 0; text && names[i].name; i++)
        if (d->lenient ? json_same_name(text, names[i].name) : strcmp(text, names[i].name) == 0) {
            *(int *)d->member = names[i].value;
            return 0;
        }
    buf_init(&expected, 0);
    for (size_t i = 0; names[i].name; i++)
        buf_printf(&expected, "%s\"%s\"", i ? ", " : "", names[i].name);
    wrong(d, buf_cstr(&expected));
    buf_clear(&expected);
    return -EINVAL;
}

static int decode_json(struct decoder *d, const json_t *value)
{
    const char *text = lenient_text_of(d, value);
    _cleanup_(mem_free_p) char *canonical = NULL;
    json_t *parsed = NULL;
    int r;

    if (text) {
        r = json_parse(text, strlen(text), &parsed, d->e);
        if (r < 0)
            return r;
        value = parsed;
    }
    if (json_is_object(value))
        canonical = json_canonical(value);
    json_decref(parsed);
    if (!canonical)
        return wrong(d, "a JSON object");
    return copy_text(d, canonical, strlen(canonical), d->member);
}

static int (*const decoders[])(struct decoder *d, const json_t *value) = {
    [JSON_FIELD_STRING] = decode_string,     [JSON_FIELD_BOOL] = decode_bool,
    [JSON_FIELD_INT] = decode_int,           [JSON_FIELD_DOUBLE] = decode_double,
    [JSON_FIELD_DURATION] = decode_duration, [JSON_FIELD_STRING_LIST] = decode_string_list,
    [JSON_FIELD_ENUM] = decode_enum,         [JSON_FIELD_JSON] = decode_json};

/* One field of the table. */
static int decode_field(const json_t *object, const struct json_field *f, unsigned flags, struct arena *arena,
                        void *out, struct err *e)
{
    const json_t *value = json_object_get(object, f->name);
    struct decoder d = {.field = f,
                        .lenient = flags & JSON_DECODE_LENIENT,
                        .arena = arena,
                        .member = (char *)out + f->offset,
                        .e = e};
    int r;

    if (!value || json_is_null(value))
        return f->required ? err_set(e, -EINVAL, NULL, f->name, "is required") : 0;
    r = decoders[f->type](&d, value);
    if (r < 0) {
        err_prefix_field(e, f->name);
        return r;
    }
    if (f->set_offset)
        *(bool *)((char *)out + f->set_offset) = true;
    return 0;
}

static bool is_known(const char *key, const struct json_field *fields, size_t n_fields)
{
    for (size_t i = 0; i < n_fields; i++)
        if (strcmp(key, fields[i].name) == 0)
            return true;
    return false;
}

struct fault_list {
    json_fault report;
    void *arg;
    int first; /* code; 0: none yet */
};

static void add_fault(struct fault_list *faults, const struct err *e)
{
    if (faults->first == 0)
        faults->first = e->code;
    if (faults->report)
        faults->report(faults->arg, e);
}

int json_decode(const json_t *object, const struct json_field *fields, size_t n_fields, unsigned flags,
                struct arena *arena, void *out, json_fault fault, void *fault_arg)
{
    struct fault_list faults = {.report = fault, .arg = fault_arg};
    const char *key;
    json_t *value;
    struct err e = {0};

    if (!json_is_object(object)) {
        err_set(&e, -EINVAL, NULL, NULL, "must be an object");
        add_fault(&faults, &e);
        return faults.first;
    }
    for (size_t i = 0; i < n_fields; i++) {
        e = (struct err){0};
        if (decode_field(object, &fields[i], flags, arena, out, &e) < 0)
            add_fault(&faults, &e);
    }
    if (flags & JSON_DECODE_IGNORE_UNKNOWN)
        return faults.first;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (is_known(key, fields, n_fields))
            continue;
        e = (struct err){0};
        err_set(&e, -EINVAL, NULL, key, "is not known here");
        add_fault(&faults, &e);
    }
    return faults.first;
}
