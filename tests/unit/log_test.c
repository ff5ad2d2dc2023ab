/* The log: its two formats, escaping, cutting, and that a line is whole whatever happens beside it. */
#include "base/log.h"

#include "base/mem.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <string.h>

static char last_line[32768];
static size_t lines;

static void keep_line(const char *line, size_t len, void *arg)
{
    (void)arg; /* the line is kept in one place */
    CHECK(len > 0 && len < sizeof(last_line) && line[len - 1] == '\n');
    memcpy(last_line, line, len - 1);
    last_line[len - 1] = '\0';
    lines++;
    errno = EIO;
}

static void begin(enum log_level level, enum log_format format)
{
    log_setup(level, format);
    log_set_sink(keep_line, NULL);
    lines = 0;
    last_line[0] = '\0';
}

static void end(void)
{
    log_set_sink(NULL, NULL);
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_AUTO);
}

/* What follows "time=... ", 24 characters of time. */
static const char *behind_time(void)
{
    CHECK(strncmp(last_line, "time=", 5) == 0 && strlen(last_line) > 30 && last_line[29] == ' ');
    return last_line + 30;
}

TEST(logfmt_values_are_quoted_when_needed)
{
    begin(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    log_event(LOG_LEVEL_INFO, "agent connected", "socket", "/run/a.sock", "n", LOG_INT(-3), "none", NULL, "empty", "",
              "space", "a b", "quote", "a\"b", "equal", "a=b", "line", "a\nlevel=error", "slash", "a\\b", "utf8",
              "\xc3\xa9", NULL);
    CHECK_STR(behind_time(), "level=info msg=\"agent connected\" socket=/run/a.sock n=-3 empty=\"\" space=\"a b\" "
                             "quote=\"a\\\"b\" equal=\"a=b\" line=\"a\\nlevel=error\" slash=\"a\\\\b\" "
                             "utf8=\"\xc3\xa9\"");
    end();
}

TEST(json_lines_are_json)
{
    json_t *line;

    begin(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
    log_event(LOG_LEVEL_DEBUG, "a \"b\"\n", "x", "\x01\xff", NULL);
    line = json_loads(last_line, 0, NULL);
    CHECK(line);
    CHECK_STR(json_string_value(json_object_get(line, "level")), "debug");
    CHECK_STR(json_string_value(json_object_get(line, "msg")), "a \"b\"\n");
    CHECK_STR(json_string_value(json_object_get(line, "x")), "\x01\xef\xbf\xbd");
    CHECK_INT(json_string_length(json_object_get(line, "time")), 24);
    CHECK_INT(json_object_size(line), 4);
    json_decref(line);
    end();
}

TEST(what_is_below_the_level_is_not_logged)
{
    begin(LOG_LEVEL_WARNING, LOG_FORMAT_LOGFMT);
    log_event(LOG_LEVEL_NOTICE, "x", NULL);
    log_err(LOG_LEVEL_INFO, &(struct err){.text = "t"}, "x", NULL);
    CHECK_INT(lines, 0);
    CHECK(!log_enabled(LOG_LEVEL_NOTICE) && log_enabled(LOG_LEVEL_WARNING) && log_enabled(LOG_LEVEL_ERROR));
    log_event(LOG_LEVEL_WARNING, "x", NULL);
    log_event(LOG_LEVEL_ERROR, "x", NULL);
    CHECK_INT(lines, 2);
    end();
}

TEST(an_error_is_logged_with_its_object_and_field)
{
    struct err e = {0};

    err_set(&e, -EINVAL, "web.expose#1", "port", "too large");
    begin(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    log_err(LOG_LEVEL_ERROR, &e, "left out", "gateway", "envoy", NULL);
    CHECK_STR(behind_time(),
              "level=error msg=\"left out\" object=web.expose#1 field=port error=\"too large\" gateway=envoy");
    log_err(LOG_LEVEL_ERROR, &(struct err){.text = "t"}, "m", NULL);
    CHECK_STR(behind_time(), "level=error msg=m error=t");
    end();
}

/* A text of n bytes of that character, which has two bytes. */
static char *long_text(size_t n)
{
    char *text = mem_alloc(n + 1);

    for (size_t i = 0; i + 1 < n; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    return text;
}

TEST(a_long_value_is_cut_between_characters)
{
    char *text = long_text(6001);

    for (enum log_format format = LOG_FORMAT_LOGFMT; format <= LOG_FORMAT_JSON; format++) {
        size_t length;

        begin(LOG_LEVEL_INFO, format);
        log_event(LOG_LEVEL_INFO, "m", "before", "1", "long", text, "behind", "2", NULL);
        length = strlen(last_line);
        CHECK(length > 4000 && length < 5000);
        CHECK(strstr(last_line, "\xc3\xa9...\""));
        CHECK(strstr(last_line, "behind"));
        end();
    }
    mem_free(text);
}

TEST(a_long_value_that_needs_no_quotes_is_cut_too)
{
    char text[6000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    begin(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    log_event(LOG_LEVEL_INFO, "m", "long", text, "behind", "2", NULL);
    CHECK(strlen(last_line) < 5000 && strstr(last_line, "x...\" behind=2"));
    end();
}

TEST(a_field_that_does_not_fit_is_left_out_and_the_line_says_so)
{
    char *text = long_text(4000);
    json_t *line;

    begin(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    log_event(LOG_LEVEL_INFO, "m", "a", text, "b", text, "c", text, "d", text, "e", text, "f", "small", NULL);
    line = json_loads(last_line, 0, NULL);
    CHECK(line);
    CHECK(json_is_true(json_object_get(line, "truncated")));
    CHECK_STR(json_string_value(json_object_get(line, "a")), text);
    CHECK_STR(json_string_value(json_object_get(line, "f")), "small");
    CHECK(!json_object_get(line, "e"));
    json_decref(line);
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    log_event(LOG_LEVEL_INFO, "m", "a", text, "b", text, "c", text, "d", text, "e", text, "f", "small", NULL);
    CHECK(strstr(last_line, " f=small truncated=true"));
    end();
    mem_free(text);
}

TEST(a_line_of_escapes_only_stays_json)
{
    char text[4000];
    json_t *line;

    memset(text, 1, sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    begin(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    log_event(LOG_LEVEL_INFO, "m", "a", text, "b", "x", NULL);
    line = json_loads(last_line, 0, NULL);
    CHECK(line && json_is_true(json_object_get(line, "truncated")));
    CHECK_STR(json_string_value(json_object_get(line, "b")), "x");
    json_decref(line);
    end();
}

TEST(logging_keeps_errno)
{
    begin(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    errno = ENOENT;
    log_event(LOG_LEVEL_INFO, "m", NULL);
    CHECK_INT(errno, ENOENT);
    end();
}

TEST(names_of_levels_and_formats_are_parsed)
{
    static const char *const levels[] = {"error", "warning", "notice", "info", "debug"};
    enum log_level level = LOG_LEVEL_ERROR;
    enum log_format format = LOG_FORMAT_AUTO;

    for (int i = 0; i < 5; i++) {
        CHECK_INT(log_level_parse(levels[i], &level), 0);
        CHECK_INT(level, i);
    }
    CHECK_INT(log_level_parse("loud", &level), -EINVAL);
    CHECK_INT(log_level_parse("", &level), -EINVAL);
    CHECK_INT(log_format_parse("json", &format), 0);
    CHECK_INT(format, LOG_FORMAT_JSON);
    CHECK_INT(log_format_parse("logfmt", &format), 0);
    CHECK_INT(format, LOG_FORMAT_LOGFMT);
    CHECK_INT(log_format_parse("auto", &format), 0);
    CHECK_INT(format, LOG_FORMAT_AUTO);
    CHECK_INT(log_format_parse("xml", &format), -EINVAL);
}

static void count_line(const char *line, size_t len, void *arg)
{
    CHECK(len > 10 && line[len - 1] == '\n' && memchr(line, '\n', len) == line + len - 1);
    ++*(size_t *)arg;
}

static void *log_many(void *arg)
{
    for (int i = 0; i < 500; i++)
        log_event(LOG_LEVEL_INFO, "m", "thread", arg, NULL);
    return NULL;
}

/* Means something under TSan. */
TEST(threads_write_whole_lines)
{
    pthread_t threads[4];
    size_t count = 0;

    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    log_set_sink(count_line, &count);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        CHECK_INT(pthread_create(&threads[i], NULL, log_many, "x"), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    end();
    CHECK_INT(count, 2000);
}
