/* Durations, times, base64 and field paths as texts. Dates are the proleptic Gregorian calendar's. */
#include "base/wellknown.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
    NANOS_DIGITS = 9,
    NANOS_PER_SECOND = 1000000000,
    SECONDS_PER_DAY = 86400,
    DAYS_PER_ERA = 146097, /* 400 years */
    EPOCH_DAYS = 719468,   /* from 0000-03-01 to 1970-01-01 */
};
#define DURATION_SECONDS_MAX INT64_C(315576000000)
#define TIMESTAMP_SECONDS_MIN INT64_C(-62135596800) /* 0001-01-01 */
#define TIMESTAMP_SECONDS_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59 */

/* What is left of a text. */
struct text {
    const char *p, *end;
};

static bool take(struct text *t, char c)
{
    if (t->p == t->end || *t->p != c)
        return false;
    t->p++;
    return true;
}

/* min to max digits; false when there are fewer, or more. */
static bool take_digits(struct text *t, unsigned min, unsigned max, int64_t *ret)
{
    unsigned n = 0;
    int64_t value = 0;

    for (; t->p < t->end && *t->p >= '0' && *t->p <= '9'; n++) {
        if (n == max)
            return false;
        value = value * 10 + (*t->p++ - '0');
    }
    *ret = value;
    return n >= min;
}

/* ".5", or nothing. */
static bool take_fraction(struct text *t, int32_t *ret_nanos)
{
    const char *start;
    int64_t value = 0;

    *ret_nanos = 0;
    if (!take(t, '.'))
        return true;
    start = t->p;
    if (!take_digits(t, 1, NANOS_DIGITS, &value))
        return false;
    for (size_t n = (size_t)(t->p - start); n < NANOS_DIGITS; n++)
        value *= 10;
    *ret_nanos = (int32_t)value;
    return true;
}

static void print_fraction(struct buf *b, int32_t nanos)
{
    if (nanos == 0)
        return;
    if (nanos % 1000000 == 0)
        buf_printf(b, ".%03d", nanos / 1000000);
    else if (nanos % 1000 == 0)
        buf_printf(b, ".%06d", nanos / 1000);
    else
        buf_printf(b, ".%09d", nanos);
}

int wellknown_parse_duration(const char *text, size_t n, struct wellknown_time *ret)
{
    struct text t = {text, text + n};
    bool negative = take(&t, '-');
    int64_t seconds;
    int32_t nanos;

    if (!take_digits(&t, 1, 12, &seconds) || !take_fraction(&t, &nanos) || !take(&t, 's') || t.p != t.end)
        return -EINVAL;
    if (seconds > DURATION_SECONDS_MAX || (seconds == DURATION_SECONDS_MAX && nanos > 0))
        return -EINVAL;
    *ret = negative ? (struct wellknown_time){-seconds, -nanos} : (struct wellknown_time){seconds, nanos};
    return 0;
}

int wellknown_print_duration(struct buf *b, struct wellknown_time t)
{
    bool negative = t.seconds < 0 || t.nanos < 0;

    if (t.seconds > DURATION_SECONDS_MAX || t.seconds < -DURATION_SECONDS_MAX || t.nanos >= NANOS_PER_SECOND ||
        t.nanos <= -NANOS_PER_SECOND || (t.seconds > 0 && t.nanos < 0) || (t.seconds < 0 && t.nanos > 0))
        return -EINVAL;
    buf_printf(b, "%s%" PRId64, negative ? "-" : "", negative ? -t.seconds : t.seconds);
    print_fraction(b, negative ? -t.nanos : t.nanos);
    return buf_append_byte(b, 's');
}

/* Years are counted from March, so that a leap day is a year's last. */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
    int64_t from_march = (month + 9) % 12;
    int64_t y = year - (month <= 2);
    int64_t era = y / 400, of_era = y % 400;

    return era * DAYS_PER_ERA + of_era * 365 + of_era / 4 - of_era / 100 + (153 * from_march + 2) / 5 + day - 1 -
           EPOCH_DAYS;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

static bool take_date(struct text *t, int64_t *ret_seconds)
{
    int64_t year, month, day;

    if (!take_digits(t, 4, 4, &year) || !take(t, '-') || !take_digits(t, 2, 2, &month) || !take(t, '-') ||
        !take_digits(t, 2, 2, &day))
        return false;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return false;
    *ret_seconds = days_from_date(year, month, day) * SECONDS_PER_DAY;
    return true;
}

static bool take_hours_minutes(struct text *t, int64_t *ret_seconds)
{
    int64_t hours, minutes;

    if (!take_digits(t, 2, 2, &hours) || !take(t, ':') || !take_digits(t, 2, 2, &minutes) || hours > 23 ||
        minutes > 59)
        return false;
    *ret_seconds = hours * 3600 + minutes * 60;
    return true;
}

/* "Z", "+01:00". */
static bool take_offset(struct text *t, int64_t *ret_seconds)
{
    bool negative;

    *ret_seconds = 0;
    if (take(t, 'Z'))
        return true;
    negative = take(t, '-');
    if ((!negative && !take(t, '+')) || !take_hours_minutes(t, ret_seconds))
        return false;
    if (negative)
        *ret_seconds = -*ret_seconds;
    return true;
}

int wellknown_parse_timestamp(const char *text, size_t n, struct wellknown_time *ret)
{
    struct text t = {text, text + n};
    int64_t date, minutes, seconds, offset;
    int32_t nanos;

    if (!take_date(&t, &date) || !take(&t, 'T') || !take_hours_minutes(&t, &minutes) || !take(&t, ':') ||
        !take_digits(&t, 2, 2, &seconds) || seconds > 59 || !take_fraction(&t, &nanos) || !take_offset(&t, &offset) ||
        t.p != t.end)
        return -EINVAL;
    seconds += date + minutes - offset;
    if (seconds < TIMESTAMP_SECONDS_MIN || seconds > TIMESTAMP_SECONDS_MAX)
        return -EINVAL;
    *ret = (struct wellknown_time){seconds, nanos};
    return 0;
}

int wellknown_print_timestamp(struct buf *b, struct wellknown_time t)
{
    int64_t days, second, era, of_era, year, of_year, month;

    if (t.seconds < TIMESTAMP_SECONDS_MIN || t.seconds > TIMESTAMP_SECONDS_MAX || t.nanos < 0 ||
        t.nanos >= NANOS_PER_SECOND)
        return -EINVAL;
    second = (t.seconds - TIMESTAMP_SECONDS_MIN) % SECONDS_PER_DAY;
    days = (t.seconds - second) / SECONDS_PER_DAY + EPOCH_DAYS;
    era = days / DAYS_PER_ERA;
    of_era = days % DAYS_PER_ERA;
    year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    of_year = of_era - (365 * year + year / 4 - year / 100);
    month = (5 * of_year + 2) / 153;
    buf_printf(b, "%04" PRId64 "-%02" PRId64 "-%02" PRId64, year + era * 400 + (month >= 10), (month + 2) % 12 + 1,
               of_year - (153 * month + 2) / 5 + 1);
    buf_printf(b, "T%02" PRId64 ":%02" PRId64 ":%02" PRId64, second / 3600, second / 60 % 60, second % 60);
    print_fraction(b, t.nanos);
    return buf_append_byte(b, 'Z');
}

/* ---- base64 ---------------------------------------------------------------------------------------------------- */

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

int wellknown_parse_base64(struct buf *b, const char *text, size_t n)
{
    size_t padding = 0;
    uint32_t bits = 0;

    while (padding < 2 && n > 0 && text[n - 1] == '=') {
        n--;
        padding++;
    }
    if (n % 4 == 1 || (padding != 0 && (n + padding) % 4 != 0))
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 != 0)
            buf_append_byte(b, (uint8_t)(bits >> (6 - 2 * (i % 4))));
    }
    return 0;
}

void wellknown_print_base64(struct buf *b, const uint8_t *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t bits = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);
        char group[4] = {digits[bits >> 18], digits[bits >> 12 & 63], left > 1 ? digits[bits >> 6 & 63] : '=',
                         left > 2 ? digits[bits & 63] : '='};
        buf_append(b, group, sizeof(group));
    }
}

/* ---- paths ----------------------------------------------------------------------------------------------------- */

int wellknown_parse_path(struct buf *b, const char *text, size_t n)
{
    if (n == 0)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == '_')
            return -EINVAL;
        if (c >= 'A' && c <= 'Z') {
            buf_append_byte(b, '_');
            c = (char)(c - 'A' + 'a');
        }
        buf_append_byte(b, (uint8_t)c);
    }
    return 0;
}

int wellknown_print_path(struct buf *b, const char *text, size_t n)
{
    if (n == 0)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c >= 'A' && c <= 'Z')
            return -EINVAL;
        if (c == '_') {
            c = ++i < n ? text[i] : '\0';
            if (c < 'a' || c > 'z')
                return -EINVAL;
            c = (char)(c - 'a' + 'A');
        }
        buf_append_byte(b, (uint8_t)c);
    }
    return 0;
}
