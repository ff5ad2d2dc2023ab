/*
 * The rules of protoc-gen-validate for one value, with the semantics of its C++ code, which is what Envoy runs.
 * Notable there: a comparison with NaN breaks no bound; a pattern has to match the whole text; the class of header
 * names contains the comma; texts are counted in code points.
 *
 * Patterns are compiled when they are first needed and kept for the life of the process.
 */
#include "proto/rules.h"

#include "base/buf.h"
#include "base/regex.h"
#include "base/utf8.h"
#include "proto/formats.h"
#include "proto/wire.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdatomic.h>

enum { WORDS_MAX = 400, UNORDERED = 2, NAMES_MAX = 8 };

static const struct schema_field time_field = {.type = SCHEMA_TYPE_INT64};

const struct schema_rule *rules_find(const struct schema_rule *rules, enum schema_rule_op op)
{
    for (; rules->op != SCHEMA_RULE_END; rules++) {
        if (rules->op == op)
            return rules;
    }
    return NULL;
}

/* The i-th text of a rule. */
static const char *rule_text(const struct schema_rule *rule, unsigned i, size_t *ret_len)
{
    uint64_t number = schema_numbers[rule->arg + i];

    *ret_len = number >> 32;
    return schema_text((uint32_t)number);
}

/* ---- the rules in words ---------------------------------------------------------------------------------------- */

static void put_nanoseconds(struct buf *b, int64_t ns)
{
    const int64_t second = INT64_C(1000000000);
    uint64_t fraction = (uint64_t)(ns % second < 0 ? -(ns % second) : ns % second);

    if (ns < 0 && ns > -second)
        buf_append_byte(b, '-');
    buf_printf(b, "%" PRId64, ns / second);
    if (fraction != 0) {
        buf_printf(b, ".%09" PRIu64, fraction);
        while (b->data[b->len - 1] == '0')
            b->len--;
    }
    buf_append_byte(b, 's');
}

static void put_number(struct buf *b, const struct schema_field *f, uint64_t value)
{
    const struct schema_enum_value *name;

    if (f == &time_field) {
        put_nanoseconds(b, (int64_t)value);
        return;
    }
    switch (f->type) {
    case SCHEMA_TYPE_DOUBLE:
    case SCHEMA_TYPE_FLOAT:
        buf_printf(b, "%g", wire_double(value));
        break;
    case SCHEMA_TYPE_BOOL:
        buf_append_str(b, value ? "true" : "false");
        break;
    case SCHEMA_TYPE_ENUM:
        name = schema_enum_by_number(schema_field_enum(f), (int32_t)value);
        if (name)
            buf_append_str(b, schema_text(name->name));
        else
            buf_printf(b, "%" PRId64, (int64_t)value);
        break;
    case SCHEMA_TYPE_UINT64:
    case SCHEMA_TYPE_FIXED64:
        buf_printf(b, "%" PRIu64, value);
        break;
    default:
        buf_printf(b, "%" PRId64, (int64_t)value);
    }
}

static void put_list(struct buf *b, const struct schema_field *f, const struct schema_rule *rule, bool texts)
{
    for (unsigned i = 0; i < rule->count; i++) {
        if (i > 0)
            buf_append_str(b, ", ");
        if (i == NAMES_MAX) {
            buf_append_str(b, "...");
            return;
        }
        if (texts) {
            size_t n;
            const char *text = rule_text(rule, i, &n);
            buf_json_string(b, text, n);
        } else {
            put_number(b, f, schema_numbers[rule->arg + i]);
        }
    }
}

/* "must be " and what comes before the rule's argument, if it has one. */
static const char *const words[SCHEMA_RULE_COUNT] = {
    [SCHEMA_RULE_REQUIRED] = "is required",
    [SCHEMA_RULE_CONST] = "must be ",
    [SCHEMA_RULE_LT] = "must be less than ",
    [SCHEMA_RULE_LTE] = "must be at most ",
    [SCHEMA_RULE_GT] = "must be greater than ",
    [SCHEMA_RULE_GTE] = "must be at least ",
    [SCHEMA_RULE_IN] = "must be one of ",
    [SCHEMA_RULE_NOT_IN] = "must not be one of ",
    [SCHEMA_RULE_LT_NOW] = "must be in the past",
    [SCHEMA_RULE_GT_NOW] = "must be in the future",
    [SCHEMA_RULE_WITHIN] = "must be no further from now than ",
    [SCHEMA_RULE_DEFINED_ONLY] = "must be one of the values of the enum ",
    [SCHEMA_RULE_TEXT_CONST] = "must be ",
    [SCHEMA_RULE_TEXT_IN] = "must be one of ",
    [SCHEMA_RULE_TEXT_NOT_IN] = "must not be one of ",
    [SCHEMA_RULE_TEXT_PREFIX] = "must begin with ",
    [SCHEMA_RULE_TEXT_SUFFIX] = "must end in ",
    [SCHEMA_RULE_TEXT_CONTAINS] = "must contain ",
    [SCHEMA_RULE_TEXT_NOT_CONTAINS] = "must not contain ",
    [SCHEMA_RULE_PATTERN] = "must match the regular expression ",
    [SCHEMA_RULE_EMAIL] = "must be an e-mail address",
    [SCHEMA_RULE_HOSTNAME] = "must be a host name",
    [SCHEMA_RULE_IP] = "must be an IP address",
    [SCHEMA_RULE_IPV4] = "must be an IPv4 address",
    [SCHEMA_RULE_IPV6] = "must be an IPv6 address",
    [SCHEMA_RULE_URI] = "must be an absolute URI",
    [SCHEMA_RULE_URI_REF] = "must be a URI",
    [SCHEMA_RULE_ADDRESS] = "must be an IP address or a host name",
    [SCHEMA_RULE_UUID] = "must be a UUID",
    [SCHEMA_RULE_BYTES_IP] = "must be the 4 or 16 bytes of an IP address",
    [SCHEMA_RULE_BYTES_IPV4] = "must be the 4 bytes of an IPv4 address",
    [SCHEMA_RULE_BYTES_IPV6] = "must be the 16 bytes of an IPv6 address",
    [SCHEMA_RULE_HTTP_HEADER_NAME] = "must be a name of an HTTP header",
    [SCHEMA_RULE_HTTP_HEADER_VALUE] = "must be a value of an HTTP header, without control characters",
};

/* Rules on a length or count: the number stands between "must be at least" and what is counted. */
static const struct {
    const char *before, *unit, *after;
} amounts[SCHEMA_RULE_COUNT] = {
    [SCHEMA_RULE_LEN] = {"must be", "character", " long"},
    [SCHEMA_RULE_MIN_LEN] = {"must be at least", "character", " long"},
    [SCHEMA_RULE_MAX_LEN] = {"must be at most", "character", " long"},
    [SCHEMA_RULE_LEN_BYTES] = {"must be", "byte", " long"},
    [SCHEMA_RULE_MIN_BYTES] = {"must be at least", "byte", " long"},
    [SCHEMA_RULE_MAX_BYTES] = {"must be at most", "byte", " long"},
    [SCHEMA_RULE_MIN_ITEMS] = {"must have at least", "item", ""},
    [SCHEMA_RULE_MAX_ITEMS] = {"must have at most", "item", ""},
    [SCHEMA_RULE_MIN_PAIRS] = {"must have at least", "pair", ""},
    [SCHEMA_RULE_MAX_PAIRS] = {"must have at most", "pair", ""},
};

static void put_amount(struct buf *b, const struct schema_field *f, const struct schema_rule *rule)
{
    uint64_t n = schema_numbers[rule->arg];
    const char *unit = f && f->type == SCHEMA_TYPE_BYTES ? "byte" : amounts[rule->op].unit;

    buf_printf(b, "%s %" PRIu64 " %s%s%s", amounts[rule->op].before, n, unit, n == 1 ? "" : "s",
               amounts[rule->op].after);
}

static void put_rule(struct buf *b, const struct schema_field *f, const struct schema_rule *rule)
{
    if (amounts[rule->op].before) {
        put_amount(b, f, rule);
        return;
    }
    buf_append_str(b, words[rule->op]);
    switch (rule->op) {
    case SCHEMA_RULE_CONST ... SCHEMA_RULE_NOT_IN:
    case SCHEMA_RULE_WITHIN:
        put_list(b, f, rule, false);
        break;
    case SCHEMA_RULE_TEXT_CONST ... SCHEMA_RULE_TEXT_NOT_CONTAINS:
        put_list(b, f, rule, true);
        break;
    case SCHEMA_RULE_DEFINED_ONLY:
        buf_append_str(b, schema_text(schema_field_enum(f)->name));
        break;
    case SCHEMA_RULE_PATTERN:
        buf_append_str(b, schema_text(schema_patterns[rule->arg]));
        break;
    default:
        break;
    }
}

/* is: the value in words, or NULL where it is not to be shown. */
static int broken(const struct schema_field *f, const struct schema_rule *rule, const uint64_t *is, struct err *e)
{
    _cleanup_(buf_clear) struct buf b;

    buf_init(&b, WORDS_MAX);
    if (rule->op == SCHEMA_RULE_EITHER) {
        put_rule(&b, f, rule + 1);
        buf_append_str(&b, " or ");
        put_rule(&b, f, rule + 2);
    } else {
        put_rule(&b, f, rule);
    }
    if (is && rule->op != SCHEMA_RULE_CONST) {
        buf_append_str(&b, ", is ");
        put_number(&b, f, *is);
    }
    return err_set(e, -EINVAL, NULL, "", "%s", buf_cstr(&b));
}

/* ---- numbers --------------------------------------------------------------------------------------------------- */

static int compare_double(double a, double b)
{
    if (a < b)
        return -1;
    if (a > b)
        return 1;
    return a == b ? 0 : UNORDERED;
}

static int compare_unsigned(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_signed(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare(enum schema_type type, uint64_t a, uint64_t b)
{
    switch (type) {
    case SCHEMA_TYPE_DOUBLE:
    case SCHEMA_TYPE_FLOAT:
        return compare_double(wire_double(a), wire_double(b));
    case SCHEMA_TYPE_UINT32:
    case SCHEMA_TYPE_UINT64:
    case SCHEMA_TYPE_FIXED32:
    case SCHEMA_TYPE_FIXED64:
    case SCHEMA_TYPE_BOOL:
        return compare_unsigned(a, b);
    default:
        return compare_signed((int64_t)a, (int64_t)b);
    }
}

static bool among(enum schema_type type, const struct schema_rule *rule, uint64_t value)
{
    for (unsigned i = 0; i < rule->count; i++) {
        if (compare(type, value, schema_numbers[rule->arg + i]) == 0)
            return true;
    }
    return false;
}

static bool number_breaks(const struct schema_field *f, const struct schema_rule *rule, uint64_t value)
{
    int c;

    switch (rule->op) {
    case SCHEMA_RULE_CONST:
    case SCHEMA_RULE_IN:
        return !among(f->type, rule, value);
    case SCHEMA_RULE_NOT_IN:
        return among(f->type, rule, value);
    case SCHEMA_RULE_DEFINED_ONLY:
        return !schema_enum_by_number(schema_field_enum(f), (int32_t)value);
    case SCHEMA_RULE_EITHER:
        return number_breaks(f, rule + 1, value) && number_breaks(f, rule + 2, value);
    case SCHEMA_RULE_LT ... SCHEMA_RULE_GTE:
        c = compare(f->type, value, schema_numbers[rule->arg]);
        break;
    default:
        return false;
    }
    if (c == UNORDERED)
        return false;
    switch (rule->op) {
    case SCHEMA_RULE_LT:
        return c >= 0;
    case SCHEMA_RULE_LTE:
        return c > 0;
    case SCHEMA_RULE_GT:
        return c <= 0;
    default:
        return c < 0;
    }
}

int rules_check_number(const struct schema_field *f, const struct schema_rule *rules, uint64_t value, struct err *e)
{
    for (const struct schema_rule *rule = rules; rule->op != SCHEMA_RULE_END; rule++) {
        if (rule->op == SCHEMA_RULE_IGNORE_EMPTY && compare(f->type, value, 0) == 0)
            return 0;
        if (number_breaks(f, rule, value))
            return broken(f, rule, &value, e);
        if (rule->op == SCHEMA_RULE_EITHER)
            rule += 2;
    }
    return 0;
}

static bool time_breaks(const struct schema_rule *rule, int64_t value, int64_t now)
{
    uint64_t apart = value > now ? (uint64_t)value - (uint64_t)now : (uint64_t)now - (uint64_t)value;

    switch (rule->op) {
    case SCHEMA_RULE_LT_NOW:
        return value >= now;
    case SCHEMA_RULE_GT_NOW:
        return value <= now;
    case SCHEMA_RULE_WITHIN:
        return apart > schema_numbers[rule->arg];
    default:
        return number_breaks(&time_field, rule, (uint64_t)value);
    }
}

int rules_check_time(const struct schema_rule *rules, int64_t value, int64_t now, struct err *e)
{
    uint64_t bits = (uint64_t)value;

    for (const struct schema_rule *rule = rules; rule->op != SCHEMA_RULE_END; rule++) {
        if (time_breaks(rule, value, now))
            return broken(&time_field, rule, &bits, e);
        if (rule->op == SCHEMA_RULE_EITHER)
            rule += 2;
    }
    return 0;
}

/* ---- texts ----------------------------------------------------------------------------------------------------- */

/* RE2, as Envoy: the whole text has to match. Two threads may compile one pattern; one of them throws it away. */
static bool matches(unsigned pattern, const char *p, size_t n)
{
    static _Atomic(struct regex *) compiled[SCHEMA_PATTERNS_MAX];
    struct regex *regex = atomic_load_explicit(&compiled[pattern], memory_order_acquire);

    if (!regex) {
        struct regex *mine, *other = NULL;
        int size, r;
        r = regex_new(schema_text(schema_patterns[pattern]), &mine, &size, NULL);
        assert(r == 0);
        regex = mine;
        if (!atomic_compare_exchange_strong(&compiled[pattern], &other, mine)) {
            regex_free(mine);
            regex = other;
        }
    }
    return regex_full_match(regex, p, n);
}

static bool text_among(const struct schema_rule *rule, const char *p, size_t n)
{
    for (unsigned i = 0; i < rule->count; i++) {
        size_t len;
        const char *text = rule_text(rule, i, &len);
        if (len == n && memcmp(text, p, n) == 0)
            return true;
    }
    return false;
}

static bool length_breaks(const struct schema_field *f, const struct schema_rule *rule, const char *p, size_t n)
{
    uint64_t limit = schema_numbers[rule->arg];

    switch (rule->op) {
    case SCHEMA_RULE_LEN:
    case SCHEMA_RULE_MIN_LEN:
    case SCHEMA_RULE_MAX_LEN:
        if (f->type == SCHEMA_TYPE_STRING)
            n = utf8_count(p, n);
        break;
    default:
        break;
    }
    switch (rule->op) {
    case SCHEMA_RULE_LEN:
    case SCHEMA_RULE_LEN_BYTES:
        return n != limit;
    case SCHEMA_RULE_MIN_LEN:
    case SCHEMA_RULE_MIN_BYTES:
        return n < limit;
    default:
        return n > limit;
    }
}

static bool part_breaks(const struct schema_rule *rule, const char *p, size_t n)
{
    size_t len;
    const char *part = rule_text(rule, 0, &len);

    switch (rule->op) {
    case SCHEMA_RULE_TEXT_PREFIX:
        return n < len || memcmp(p, part, len) != 0;
    case SCHEMA_RULE_TEXT_SUFFIX:
        return n < len || memcmp(p + n - len, part, len) != 0;
    case SCHEMA_RULE_TEXT_CONTAINS:
        return memmem(p, n, part, len) == NULL;
    default:
        return memmem(p, n, part, len) != NULL;
    }
}

static bool address_size_breaks(const struct schema_rule *rule, size_t n)
{
    bool v4 = n == sizeof(struct in_addr), v6 = n == sizeof(struct in6_addr);

    if (rule->op == SCHEMA_RULE_BYTES_IP)
        return !v4 && !v6;
    return rule->op == SCHEMA_RULE_BYTES_IPV4 ? !v4 : !v6;
}

static bool format_breaks(const struct schema_rule *rule, const char *p, size_t n)
{
    bool ip;

    switch (rule->op) {
    case SCHEMA_RULE_EMAIL:
        return !format_email(p, n);
    case SCHEMA_RULE_HOSTNAME:
        return !format_hostname(p, n);
    case SCHEMA_RULE_IP:
    case SCHEMA_RULE_ADDRESS:
        ip = format_ipv4(p, n) || format_ipv6(p, n);
        return !ip && (rule->op == SCHEMA_RULE_IP || !format_hostname(p, n));
    case SCHEMA_RULE_IPV4:
        return !format_ipv4(p, n);
    case SCHEMA_RULE_IPV6:
        return !format_ipv6(p, n);
    case SCHEMA_RULE_URI:
        return !format_uri(p, n, true);
    case SCHEMA_RULE_URI_REF:
        return !format_uri(p, n, false);
    case SCHEMA_RULE_UUID:
        return !format_uuid(p, n);
    default:
        return address_size_breaks(rule, n);
    }
}

static bool text_breaks(const struct schema_field *f, const struct schema_rule *rule, const char *p, size_t n)
{
    switch (rule->op) {
    case SCHEMA_RULE_LEN ... SCHEMA_RULE_MAX_BYTES:
        return length_breaks(f, rule, p, n);
    case SCHEMA_RULE_TEXT_CONST:
    case SCHEMA_RULE_TEXT_IN:
        return !text_among(rule, p, n);
    case SCHEMA_RULE_TEXT_NOT_IN:
        return text_among(rule, p, n);
    case SCHEMA_RULE_TEXT_PREFIX ... SCHEMA_RULE_TEXT_NOT_CONTAINS:
        return part_breaks(rule, p, n);
    case SCHEMA_RULE_PATTERN:
        return !matches(rule->arg, p, n);
    case SCHEMA_RULE_EMAIL ... SCHEMA_RULE_BYTES_IPV6:
        return format_breaks(rule, p, n);
    case SCHEMA_RULE_HTTP_HEADER_NAME:
        return rule->count ? !format_header_name(p, n) : !format_header_text(p, n, false);
    case SCHEMA_RULE_HTTP_HEADER_VALUE:
        return !format_header_text(p, n, rule->count != 0);
    default:
        return false;
    }
}

int rules_check_text(const struct schema_field *f, const struct schema_rule *rules, const uint8_t *p, size_t n,
                     struct err *e)
{
    const char *text = n ? (const char *)p : "";

    for (const struct schema_rule *rule = rules; rule->op != SCHEMA_RULE_END; rule++) {
        if (rule->op == SCHEMA_RULE_IGNORE_EMPTY && n == 0)
            return 0;
        if (text_breaks(f, rule, text, n))
            return broken(f, rule, NULL, e);
    }
    return 0;
}

int rules_check_count(const struct schema_rule *rules, size_t count, struct err *e)
{
    for (const struct schema_rule *rule = rules; rule->op != SCHEMA_RULE_END; rule++) {
        bool least = rule->op == SCHEMA_RULE_MIN_ITEMS || rule->op == SCHEMA_RULE_MIN_PAIRS;
        bool most = rule->op == SCHEMA_RULE_MAX_ITEMS || rule->op == SCHEMA_RULE_MAX_PAIRS;
        if (rule->op == SCHEMA_RULE_IGNORE_EMPTY && count == 0)
            return 0;
        if ((least && count < schema_numbers[rule->arg]) || (most && count > schema_numbers[rule->arg]))
            return broken(NULL, rule, NULL, e);
    }
    return 0;
}
