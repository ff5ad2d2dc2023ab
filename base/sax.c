/*
 * The incremental JSON reader.
 *
 * Between tokens the reader stands in MODE_STRUCTURE and `expect` says what may come. A string or word (number or
 * literal) that lies whole in the piece that is being read is handed on from there; only one that spans pieces or has
 * escapes is gathered in `token`. What is done never depends on where the pieces were cut: limits and checks look at
 * whole tokens.
 *
 * Skipping works on blocks of 64 bytes as bit masks, see json_block.h.
 */
#include "base/sax.h"

#include "base/buf.h"
#include "base/json_block.h"
#include "base/text.h"
#include "base/utf8.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { TOKEN_MAX_DEFAULT = 16 << 20, DEPTH_MAX_DEFAULT = 64, TOKEN_KEEP = 1 << 16 };

enum mode {
    MODE_STRUCTURE, /* between tokens */
    MODE_STRING,    /* in a string that is gathered in token */
    MODE_ESCAPE,    /* behind its backslash */
    MODE_HEX,       /* in the four digits of \u */
    MODE_LOW_SLASH, /* behind a high surrogate: \ must come */
    MODE_LOW_U,     /* and u */
    MODE_WORD,      /* in a number or literal that is gathered in token */
    MODE_SKIP,
};

enum expect {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_END, /* behind [ */
    EXPECT_KEY_OR_END,   /* behind { */
    EXPECT_KEY,          /* behind a comma in an object */
    EXPECT_COLON,
    EXPECT_COMMA_OR_END,
    EXPECT_NOTHING, /* the value is complete */
};

enum { NO_EVENT = -1 };

struct sax {
    sax_handler handler;
    void *arg;
    struct sax_limits limits; /* with the defaults put in */

    /* The piece that is being read. */
    const char *begin, *at, *end;
    uint64_t offset; /* of begin in the text */
    struct err *err;

    enum mode mode;
    enum expect expect;
    bool failed;
    int event; /* whose handler is running, or NO_EVENT */

    unsigned depth;
    bool *is_object; /* limits.max_depth of them */

    struct buf token;
    uint64_t token_offset; /* of its start, for errors */
    bool is_key, has_high; /* of the string that is being read; has_high: bytes above 0x7f */
    unsigned hex_digits;
    uint32_t code, high_surrogate; /* high_surrogate 0: none */

    bool skip_asked; /* by the handler that ran last */
    bool skip_value; /* the value that comes next */
    struct json_skip skip;
    char skip_close; /* the bracket that ends it; '"' for a string */
};

struct sax *sax_new(const struct sax_limits *limits, sax_handler handler, void *arg)
{
    struct sax *s = mem_new(struct sax);

    if (limits)
        s->limits = *limits;
    if (s->limits.max_token == 0)
        s->limits.max_token = TOKEN_MAX_DEFAULT;
    if (s->limits.max_depth == 0)
        s->limits.max_depth = DEPTH_MAX_DEFAULT;
    s->handler = handler;
    s->arg = arg;
    s->is_object = mem_array(bool, s->limits.max_depth);
    buf_init(&s->token, s->limits.max_token);
    sax_reset(s);
    return s;
}

void sax_free(struct sax *s)
{
    if (!s)
        return;
    buf_clear(&s->token);
    mem_free(s->is_object);
    mem_free(s);
}

void sax_reset(struct sax *s)
{
    if (s->token.cap > TOKEN_KEEP)
        buf_clear(&s->token);
    buf_reset(&s->token);
    s->offset = 0;
    s->mode = MODE_STRUCTURE;
    s->expect = EXPECT_VALUE;
    s->failed = false;
    s->event = NO_EVENT;
    s->depth = 0;
    s->skip_asked = s->skip_value = false;
}

void sax_set_handler(struct sax *s, sax_handler handler, void *arg)
{
    s->handler = handler;
    s->arg = arg;
}

void sax_skip(struct sax *s)
{
    assert(s->event == SAX_OBJECT_BEGIN || s->event == SAX_ARRAY_BEGIN || s->event == SAX_KEY);
    s->skip_asked = true;
}

static uint64_t here(const struct sax *s)
{
    return s->offset + (uint64_t)(s->at - s->begin);
}

/* A fault at the byte that is being looked at. */
static int unexpected(struct sax *s, const char *expected)
{
    uint8_t c = (uint8_t)*s->at;

    if (c > ' ' && c < 0x7f)
        return err_set(s->err, -EBADMSG, NULL, NULL, "byte %llu: expected %s, not '%c'", (unsigned long long)here(s),
                       expected, c);
    return err_set(s->err, -EBADMSG, NULL, NULL, "byte %llu: expected %s, not 0x%02x", (unsigned long long)here(s),
                   expected, c);
}

static int bad_token(struct sax *s, const char *what)
{
    return err_set(s->err, -EBADMSG, NULL, NULL, "byte %llu: %s", (unsigned long long)s->token_offset, what);
}

static int too_long(struct sax *s)
{
    return err_set(s->err, -EMSGSIZE, NULL, NULL, "byte %llu: a string or number of more than %zu bytes",
                   (unsigned long long)s->token_offset, s->limits.max_token);
}

static int emit(struct sax *s, enum sax_event event, const char *text, size_t n)
{
    int r;

    s->event = (int)event;
    r = s->handler(s->arg, event, text, n);
    s->event = NO_EVENT;
    return r;
}

/* Behind a token: nearly always the separator is there already, and nothing or a space behind it. Taking them at once
 * saves the most frequent turns of read_structure(). */
static void pass_separator(struct sax *s, char separator, enum expect next)
{
    if (s->at == s->end || *s->at != separator)
        return;
    s->at++;
    s->expect = next;
    if (s->at < s->end && *s->at == ' ')
        s->at++;
}

static void value_ended(struct sax *s)
{
    s->mode = MODE_STRUCTURE;
    s->expect = s->depth ? EXPECT_COMMA_OR_END : EXPECT_NOTHING;
    if (s->depth)
        pass_separator(s, ',', s->is_object[s->depth - 1] ? EXPECT_KEY : EXPECT_VALUE);
}

/* ---- skipping ---- */

static void begin_skip(struct sax *s, char open)
{
    s->skip_asked = s->skip_value = false;
    s->mode = MODE_SKIP;
    s->skip = (struct json_skip){.depth = open != '"'};
    s->skip_close = open == '"' ? '"' : open == '{' ? '}' : ']';
}

/* At most one block; at ends behind it, or behind the end of what is skipped. */
static int skip_block(struct sax *s)
{
    bool ended;

    s->at += json_skip_block(&s->skip, s->at, (size_t)(s->end - s->at), &ended);
    if (!ended)
        return 0;
    if (*s->at != s->skip_close)
        return unexpected(s, s->skip_close == '}' ? "'}'" : "']'");
    s->at++;
    value_ended(s);
    return 0;
}

static int skip(struct sax *s)
{
    int r = 0;

    while (r == 0 && s->mode == MODE_SKIP && s->at < s->end)
        r = skip_block(s);
    return r;
}

/* ---- strings ---- */

static int string_ended(struct sax *s, const char *text, size_t n)
{
    int r;

    if (s->has_high && utf8_prefix(text, n) != n)
        return bad_token(s, "a string that is not UTF-8");
    s->mode = MODE_STRUCTURE;
    if (s->is_key) {
        s->expect = EXPECT_COLON;
        pass_separator(s, ':', EXPECT_VALUE);
        r = emit(s, SAX_KEY, text, n);
        s->skip_value = s->skip_asked;
        s->skip_asked = false;
        return r;
    }
    value_ended(s);
    return emit(s, SAX_STRING, text, n);
}

/* Steps over what needs no look: stops at a quote, backslash, control character or the end. */
static void pass_plain(struct sax *s)
{
    s->at += json_plain_bytes(s->at, (size_t)(s->end - s->at), &s->has_high);
}

/* In a string: its plain bytes up to what ends it or needs gathering. */
static int read_string(struct sax *s)
{
    const char *start = s->at;
    size_t n;

    pass_plain(s);
    n = (size_t)(s->at - start);
    if (n > s->limits.max_token - s->token.len)
        return too_long(s);
    if (s->at < s->end && *s->at == '"') {
        s->at++;
        if (s->token.len == 0)
            return string_ended(s, start, n);
        buf_append(&s->token, start, n);
        return string_ended(s, (const char *)s->token.data, s->token.len);
    }
    buf_append(&s->token, start, n);
    s->mode = MODE_STRING;
    if (s->at == s->end)
        return 0;
    if (*s->at != '\\')
        return unexpected(s, "no control character in a string");
    s->at++;
    s->mode = MODE_ESCAPE;
    return 0;
}

/* A string that is skipped: most are short and lie whole in the piece, which is quicker than masks. */
static void skip_string(struct sax *s)
{
    pass_plain(s);
    if (s->at == s->end || *s->at != '"') {
        begin_skip(s, '"');
        return;
    }
    s->at++;
    s->skip_asked = s->skip_value = false;
    value_ended(s);
}

static int begin_string(struct sax *s, bool is_key)
{
    s->token_offset = here(s);
    s->at++;
    if (!is_key && s->skip_value) {
        skip_string(s);
        return 0;
    }
    buf_reset(&s->token);
    s->is_key = is_key;
    s->has_high = false;
    s->high_surrogate = 0;
    return read_string(s);
}

static int append_code(struct sax *s, uint32_t code)
{
    char bytes[UTF8_MAX_BYTES];
    unsigned n = utf8_encode(code, bytes);

    s->mode = MODE_STRING;
    return buf_append(&s->token, bytes, n) < 0 ? too_long(s) : 0;
}

static int read_escape(struct sax *s)
{
    static const char codes[256] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                    ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};
    uint8_t c = (uint8_t)*s->at;

    if (c == 'u') {
        s->at++;
        s->mode = MODE_HEX;
        s->hex_digits = 0;
        s->code = 0;
        return 0;
    }
    if (!codes[c])
        return unexpected(s, "an escape sequence");
    s->at++;
    return append_code(s, (uint8_t)codes[c]);
}

/* The high surrogate before was half of a pair. */
static int replace_half(struct sax *s)
{
    s->high_surrogate = 0;
    return append_code(s, UTF8_REPLACEMENT);
}

/* RFC 8259, section 7: beyond the basic plane, two escapes that are a pair of UTF-16 surrogates. */
static int code_unit_read(struct sax *s)
{
    uint32_t unit = s->code, high = s->high_surrogate;
    bool is_high = unit >= 0xd800 && unit < 0xdc00, is_low = unit >= 0xdc00 && unit < 0xe000;

    if (high && !is_low) {
        int r = replace_half(s);

        if (r < 0)
            return r;
        high = 0;
    }
    if (is_high) {
        s->high_surrogate = unit;
        s->mode = MODE_LOW_SLASH;
        return 0;
    }
    if (is_low && !high)
        return replace_half(s);
    s->high_surrogate = 0;
    return append_code(s, high ? 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00) : unit);
}

static int read_hex(struct sax *s)
{
    while (s->at < s->end) {
        int value = text_hex_value(*s->at);

        if (value < 0)
            return unexpected(s, "a hexadecimal digit");
        s->at++;
        s->code = s->code << 4 | (uint32_t)value;
        if (++s->hex_digits == 4)
            return code_unit_read(s);
    }
    return 0;
}

static int read_low_start(struct sax *s)
{
    if (*s->at != (s->mode == MODE_LOW_SLASH ? '\\' : 'u')) {
        enum mode next = s->mode == MODE_LOW_SLASH ? MODE_STRING : MODE_ESCAPE;
        int r = replace_half(s);

        s->mode = next;
        return r;
    }
    s->at++;
    if (s->mode == MODE_LOW_SLASH) {
        s->mode = MODE_LOW_U;
        return 0;
    }
    s->mode = MODE_HEX;
    s->hex_digits = 0;
    s->code = 0;
    return 0;
}

/* ---- numbers and literals ---- */

static bool is_word_byte(char c)
{
    char lower = c | 0x20;

    return (c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'z') || c == '-' || c == '+' || c == '.';
}

static size_t count_digits(const char *p, const char *end)
{
    const char *start = p;

    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return (size_t)(p - start);
}

/* RFC 8259, section 6. */
static bool is_number(const char *p, size_t n)
{
    const char *end = p + n;
    size_t digits;

    if (p < end && *p == '-')
        p++;
    digits = count_digits(p, end);
    if (digits == 0 || (digits > 1 && *p == '0'))
        return false;
    p += digits;
    if (p < end && *p == '.') {
        digits = count_digits(++p, end);
        if (digits == 0)
            return false;
        p += digits;
    }
    if (p < end && (*p | 0x20) == 'e') {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        digits = count_digits(p, end);
        if (digits == 0)
            return false;
        p += digits;
    }
    return p == end;
}

static int word_ended(struct sax *s, const char *text, size_t n)
{
    enum sax_event event;
    bool quiet = s->skip_value;

    if (n == 4 && memcmp(text, "true", 4) == 0)
        event = SAX_TRUE;
    else if (n == 5 && memcmp(text, "false", 5) == 0)
        event = SAX_FALSE;
    else if (n == 4 && memcmp(text, "null", 4) == 0)
        event = SAX_NULL;
    else if (is_number(text, n))
        event = SAX_NUMBER;
    else
        return bad_token(s, "expected a value");
    s->skip_value = false;
    value_ended(s);
    return quiet ? 0 : emit(s, event, text, n);
}

static int read_word(struct sax *s)
{
    const char *start = s->at;
    size_t n;

    while (s->at < s->end && is_word_byte(*s->at))
        s->at++;
    n = (size_t)(s->at - start);
    if (n > s->limits.max_token - s->token.len)
        return too_long(s);
    if (s->at < s->end && s->token.len == 0)
        return word_ended(s, start, n);
    buf_append(&s->token, start, n);
    s->mode = MODE_WORD;
    return s->at < s->end ? word_ended(s, (const char *)s->token.data, s->token.len) : 0;
}

/* ---- structure ---- */

static int begin_container(struct sax *s)
{
    bool is_object = *s->at == '{';
    int r;

    if (s->skip_value) {
        begin_skip(s, *s->at++);
        return 0;
    }
    if (s->depth == s->limits.max_depth)
        return err_set(s->err, -EMSGSIZE, NULL, NULL, "byte %llu: nested deeper than %u", (unsigned long long)here(s),
                       s->limits.max_depth);
    s->at++;
    s->is_object[s->depth++] = is_object;
    s->expect = is_object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
    r = emit(s, is_object ? SAX_OBJECT_BEGIN : SAX_ARRAY_BEGIN, NULL, 0);
    if (r == 0 && s->skip_asked) {
        s->depth--;
        begin_skip(s, is_object ? '{' : '[');
    }
    return r;
}

static int end_container(struct sax *s)
{
    bool is_object = s->is_object[s->depth - 1];

    s->at++;
    s->depth--;
    value_ended(s);
    return emit(s, is_object ? SAX_OBJECT_END : SAX_ARRAY_END, NULL, 0);
}

/* Or, right behind '[', the end of the array. */
static int begin_value(struct sax *s)
{
    char c = *s->at;

    if (c == '"')
        return begin_string(s, false);
    if (c == '{' || c == '[')
        return begin_container(s);
    if (c == ']' && s->expect == EXPECT_VALUE_OR_END)
        return end_container(s);
    if (!is_word_byte(c))
        return unexpected(s, s->expect == EXPECT_VALUE_OR_END ? "a value or ']'" : "a value");
    s->token_offset = here(s);
    buf_reset(&s->token);
    return read_word(s);
}

static int read_comma_or_end(struct sax *s)
{
    bool is_object = s->is_object[s->depth - 1];

    if (*s->at == ',') {
        s->at++;
        s->expect = is_object ? EXPECT_KEY : EXPECT_VALUE;
        return 0;
    }
    if (*s->at == (is_object ? '}' : ']'))
        return end_container(s);
    return unexpected(s, is_object ? "',' or '}'" : "',' or ']'");
}

static int read_key(struct sax *s)
{
    if (*s->at == '"')
        return begin_string(s, true);
    if (s->expect == EXPECT_KEY)
        return unexpected(s, "a key");
    return *s->at == '}' ? end_container(s) : unexpected(s, "a key or '}'");
}

static int read_colon(struct sax *s)
{
    if (*s->at != ':')
        return unexpected(s, "':'");
    s->at++;
    s->expect = EXPECT_VALUE;
    return 0;
}

static int read_structure(struct sax *s)
{
    char c = *s->at;

    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
        s->at++;
        return 0;
    }
    switch (s->expect) {
    case EXPECT_KEY_OR_END:
    case EXPECT_KEY:
        return read_key(s);
    case EXPECT_COLON:
        return read_colon(s);
    case EXPECT_VALUE_OR_END:
    case EXPECT_VALUE:
        return begin_value(s);
    case EXPECT_COMMA_OR_END:
        return read_comma_or_end(s);
    case EXPECT_NOTHING:
        break;
    }
    return unexpected(s, "the end of the text");
}

static int read_next(struct sax *s)
{
    switch (s->mode) {
    case MODE_STRUCTURE:
        return read_structure(s);
    case MODE_STRING:
        return read_string(s);
    case MODE_ESCAPE:
        return read_escape(s);
    case MODE_HEX:
        return read_hex(s);
    case MODE_LOW_SLASH:
    case MODE_LOW_U:
        return read_low_start(s);
    case MODE_WORD:
        return read_word(s);
    case MODE_SKIP:
        break;
    }
    return skip(s);
}

int sax_feed(struct sax *s, const char *p, size_t n, struct err *e)
{
    uint64_t left = s->limits.max_bytes ? s->limits.max_bytes - s->offset : UINT64_MAX;
    bool too_much = n > left;
    int r = 0;

    assert(!s->failed && s->event == NO_EVENT);
    s->err = e;
    s->begin = s->at = p;
    s->end = p + (too_much ? left : n);
    while (r == 0 && s->at < s->end)
        r = read_next(s);
    if (r == 0 && too_much)
        r = err_set(e, -EMSGSIZE, NULL, NULL, "more than %llu bytes", (unsigned long long)s->limits.max_bytes);
    s->offset = here(s);
    s->begin = s->at = s->end = NULL;
    s->failed = r != 0;
    return r;
}

bool sax_done(const struct sax *s)
{
    return !s->failed && s->mode == MODE_STRUCTURE && s->expect == EXPECT_NOTHING;
}

int sax_finish(struct sax *s, struct err *e)
{
    int r = 0;

    assert(!s->failed && s->event == NO_EVENT);
    s->err = e;
    if (s->mode == MODE_WORD)
        r = word_ended(s, (const char *)s->token.data, s->token.len);
    if (r == 0 && !sax_done(s))
        r = err_set(e, -EBADMSG, NULL, NULL, "byte %llu: the text ends too early", (unsigned long long)s->offset);
    s->failed = r != 0;
    return r;
}
