/* Envoy's rules on wire bytes; and each kind of rule by itself, those that no field of today has included. */
#include "proto/validate.h"

#include "base/json.h"
#include "proto/formats.h"
#include "proto/protojson.h"
#include "proto/rules.h"
#include "proto/wire.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CLUSTER "envoy.config.cluster.v3.Cluster"
#define TCP_PROXY "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"

static void append_hex(struct buf *b, const char *hex)
{
    for (; *hex; hex += *hex == ' ' ? 1 : 2) {
        char digits[3] = {hex[0], hex[1], '\0'};
        if (*hex != ' ')
            buf_append_byte(b, (uint8_t)strtoul(digits, NULL, 16));
    }
}

static int validate(const char *type, const char *text, struct err *e)
{
    _cleanup_(buf_clear) struct buf wire = {0};
    json_t *json;
    int r;

    CHECK_INT(json_parse(text, strlen(text), &json, e), 0);
    r = protojson_to_wire(json, schema_find(type), &wire, e);
    json_decref(json);
    if (r < 0)
        test_fail(__FILE__, __LINE__, "%s: %s: %s", text, e->field, e->text);
    return validate_wire(wire.data, wire.len, schema_find(type), e);
}

static void check_good(const char *type, const char *text)
{
    struct err e = {0};

    if (validate(type, text, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s: %s", text, e.field, e.text);
}

static void check_broken(const char *type, const char *text, const char *field, const char *words)
{
    struct err e = {0};

    CHECK_INT(validate(type, text, &e), -EINVAL);
    CHECK_INT(e.code, -EINVAL);
    CHECK_STR(e.field, field);
    CHECK_STR(e.text, words);
}

static int validate_hex(const char *type, const char *hex, struct err *e)
{
    _cleanup_(buf_clear) struct buf wire = {0};

    append_hex(&wire, hex);
    return validate_wire(wire.data, wire.len, schema_find(type), e);
}

/* ---- messages -------------------------------------------------------------------------------------------------- */

TEST(a_zero_that_is_absent_is_held_against_the_rules_too)
{
    check_broken(CLUSTER, "{}", "name", "must be at least 1 character long");
    check_good(CLUSTER, "{\"name\": \"a\"}");
    check_broken(TCP_PROXY, "{\"cluster\": \"a\"}", "stat_prefix", "must be at least 1 character long");
}

TEST(a_required_message_and_a_required_oneof_are_missed)
{
    check_broken(TCP_PROXY, "{\"stat_prefix\": \"a\"}", "cluster_specifier",
                 "is required: one of cluster, weighted_clusters");
    check_broken("envoy.config.core.v3.HeaderValueOption", "{}", "header", "is required");
    check_broken("envoy.config.core.v3.HttpUri", "{\"uri\": \"x\", \"cluster\": \"a\"}", "timeout", "is required");
    check_broken("envoy.config.core.v3.TypedExtensionConfig", "{\"name\": \"a\"}", "typed_config", "is required");
}

TEST(a_fault_inside_of_an_any_has_the_whole_path)
{
    check_broken("envoy.config.listener.v3.Listener",
                 "{\"address\": {\"pipe\": {\"path\": \"/x\"}}, \"filter_chains\": [{}, {\"filters\": [{\"name\": "
                 "\"a\", \"typed_config\": {\"@type\": \"x/" TCP_PROXY "\", \"cluster\": \"a\"}}]}]}",
                 "filter_chains[1].filters[0].typed_config.stat_prefix", "must be at least 1 character long");
    check_broken(CLUSTER,
                 "{\"name\": \"a\", \"typed_extension_protocol_options\": {\"b\\n\": {\"@type\": \"x/" TCP_PROXY
                 "\", \"stat_prefix\": \"a\"}}}",
                 "typed_extension_protocol_options[\"b\\n\"].cluster_specifier",
                 "is required: one of cluster, weighted_clusters");
}

TEST(an_any_of_an_unknown_type_is_left_alone)
{
    CHECK_INT(validate_hex("google.protobuf.Any", "0a03782f79 1203ffffff", NULL), 0);
    CHECK_INT(validate_hex("google.protobuf.Any", "1203ffffff", NULL), 0);
}

TEST(the_keys_and_values_of_maps_have_rules)
{
    check_broken("envoy.config.core.v3.Metadata", "{\"filter_metadata\": {\"\": {}}}", "filter_metadata[\"\"]",
                 "must be at least 1 character long");
    check_broken("xds.data.orca.v3.OrcaLoadReport", "{\"utilization\": {\"cpu\": 0.5, \"net\": 1.5}}",
                 "utilization[\"net\"]", "must be at most 1, is 1.5");
    check_good("xds.data.orca.v3.OrcaLoadReport", "{\"utilization\": {\"cpu\": 0.5, \"net\": \"NaN\"}}");
    check_broken("xds.type.matcher.v3.Matcher.MatcherTree.MatchMap", "{}", "map", "must have at least 1 pair");
}

TEST(the_elements_of_lists_have_rules_and_their_number_too)
{
    check_broken("envoy.config.route.v3.VirtualHost", "{\"name\": \"a\"}", "domains", "must have at least 1 item");
    check_broken("envoy.config.route.v3.VirtualHost", "{\"name\": \"a\", \"domains\": [\"b\", \"c\\nd\"]}",
                 "domains[1]", "must be a value of an HTTP header, without control characters");
    check_broken("envoy.config.metrics.v3.HistogramBucketSettings",
                 "{\"match\": {\"exact\": \"a\"}, \"buckets\": [1, 0.5, 2, 0.5]}", "buckets",
                 "must not have the same item twice");
    check_good("envoy.config.metrics.v3.HistogramBucketSettings",
               "{\"match\": {\"exact\": \"a\"}, \"buckets\": [1, 0.5, 2]}");
    check_broken("envoy.config.metrics.v3.HistogramBucketSettings",
                 "{\"match\": {\"exact\": \"a\"}, \"buckets\": [1, 0]}", "buckets[1]",
                 "must be greater than 0, is 0");
}

TEST(wrappers_are_held_against_the_rules_of_their_value)
{
    check_good(TCP_PROXY, "{\"stat_prefix\": \"a\", \"cluster\": \"a\"}");
    check_good(TCP_PROXY, "{\"stat_prefix\": \"a\", \"cluster\": \"a\", \"max_connect_attempts\": 1}");
    check_broken(TCP_PROXY, "{\"stat_prefix\": \"a\", \"cluster\": \"a\", \"max_connect_attempts\": 0}",
                 "max_connect_attempts", "must be at least 1, is 0");
    check_broken("envoy.config.core.v3.HealthCheck",
                 "{\"timeout\": \"1s\", \"interval\": \"1s\", \"healthy_threshold\": 1, \"grpc_health_check\": {}}",
                 "unhealthy_threshold", "is required");
}

TEST(durations_are_compared_in_nanoseconds)
{
    check_broken(CLUSTER, "{\"name\": \"a\", \"connect_timeout\": \"0s\"}", "connect_timeout",
                 "must be greater than 0s, is 0s");
    check_good(CLUSTER, "{\"name\": \"a\", \"connect_timeout\": \"0.000000001s\"}");
    check_broken(CLUSTER, "{\"name\": \"a\", \"dns_refresh_rate\": \"0.001s\"}", "dns_refresh_rate",
                 "must be greater than 0.001s, is 0.001s");
    check_good(CLUSTER, "{\"name\": \"a\", \"dns_refresh_rate\": \"0.001000001s\"}");
    check_broken("envoy.config.core.v3.HttpUri", "{\"uri\": \"x\", \"cluster\": \"a\", \"timeout\": \"4294967296s\"}",
                 "timeout", "must be less than 4294967296s, is 4294967296s");
    check_broken("envoy.config.route.v3.RouteAction", "{\"cluster\": \"a\", \"timeout\": \"-1s\"}", "timeout",
                 "must not be a negative duration");
    check_broken("envoy.config.route.v3.RouteAction", "{\"cluster\": \"a\", \"timeout\": \"315576000000s\"}",
                 "timeout", "must be a duration of at most 9223372035s");
}

TEST(a_range_may_be_excluded)
{
    const char *words = "must be at most 0s or must be at least 0.001s, is 0.000999999s";

    check_good("envoy.config.core.v3.QuicKeepAliveSettings", "{\"initial_interval\": \"0s\"}");
    check_good("envoy.config.core.v3.QuicKeepAliveSettings", "{\"initial_interval\": \"0.001s\"}");
    check_broken("envoy.config.core.v3.QuicKeepAliveSettings", "{\"initial_interval\": \"0.000999999s\"}",
                 "initial_interval", words);
}

TEST(enums_must_be_defined_and_allowed)
{
    check_broken(CLUSTER, "{\"name\": \"a\", \"lb_policy\": 4711}", "lb_policy",
                 "must be one of the values of the enum envoy.config.cluster.v3.Cluster.LbPolicy, is 4711");
    check_broken("envoy.type.v3.HttpStatus", "{}", "code", "must not be one of Empty, is Empty");
    check_good("envoy.type.v3.HttpStatus", "{\"code\": \"OK\"}");
}

TEST(texts_are_measured_and_matched)
{
    check_broken("envoy.config.core.v3.SchemeHeaderTransformation", "{\"scheme_to_overwrite\": \"ftp\"}",
                 "scheme_to_overwrite", "must be one of \"http\", \"https\"");
    check_broken("envoy.config.route.v3.RateLimit.HitsAddend", "{\"format\": \"%x\"}", "format", "must end in \"%\"");
    check_broken("envoy.config.route.v3.RateLimit.HitsAddend", "{\"format\": \"x%\"}", "format",
                 "must begin with \"%\"");
    check_good("envoy.config.route.v3.RateLimit.HitsAddend", "{\"format\": \"%x%\"}");
    check_good("envoy.config.route.v3.RateLimit.HitsAddend", "{}"); /* ignore_empty */
    check_broken("envoy.config.route.v3.RouteMatch", "{\"path_separated_prefix\": \"/a?\"}", "path_separated_prefix",
                 "must match the regular expression ^[^?#]+[^?#/]$");
    check_good("envoy.config.route.v3.RouteMatch", "{\"path_separated_prefix\": \"/a\"}");
    check_broken("envoy.config.common.matcher.v3.HttpGenericBodyMatch.GenericTextMatch", "{\"binary_match\": \"\"}",
                 "binary_match", "must be at least 1 byte long");
    check_broken("envoy.config.rbac.v3.Permission", "{\"any\": false}", "any", "must be true");
    check_good("envoy.config.rbac.v3.Permission", "{\"any\": true}");
}

TEST(what_envoy_switched_off_is_refused)
{
    check_broken("envoy.config.route.v3.RateLimit.Action",
                 "{\"dynamic_metadata\": {\"descriptor_key\": \"a\", \"metadata_key\": {\"key\": \"k\", \"path\": "
                 "[{\"key\": \"p\"}]}}}",
                 "dynamic_metadata", "is deprecated and not accepted by Envoy any more");
}

TEST(rules_are_not_followed_where_a_field_skips_them)
{
    check_good("envoy.config.core.v3.KeyValueAppend", "{\"entry\": {\"key\": \"\"}}");
}

/* ---- bytes ----------------------------------------------------------------------------------------------------- */

TEST(unknown_fields_and_other_wire_types_are_not_looked_at)
{
    CHECK_INT(validate_hex(CLUSTER, "0a0161 f8ff7f01 fdff7f00000000", NULL), 0);
    CHECK_INT(validate_hex(CLUSTER, "0a0161 2001", NULL), 0); /* connect_timeout, as a number */
}

TEST(the_last_of_several_records_counts)
{
    struct err e = {0};

    CHECK_INT(validate_hex(CLUSTER, "0a00 0a0161", NULL), 0);
    CHECK_INT(validate_hex(CLUSTER, "0a0161 0a00", &e), -EINVAL);
    CHECK_STR(e.field, "name");
}

TEST(a_message_in_several_records_is_one)
{
    struct err e = {0};

    /* connect_timeout: seconds in one record, nanoseconds in the other. */
    CHECK_INT(validate_hex(CLUSTER, "0a0161 2200 22021001", NULL), 0);
    CHECK_INT(validate_hex(CLUSTER, "0a0161 2200 2200", &e), -EINVAL);
    CHECK_STR(e.field, "connect_timeout");
}

TEST(the_last_member_of_a_oneof_counts)
{
    struct err e = {0};

    /* Of a DataSource, filename must not be empty; an inline_string may be. */
    CHECK_INT(validate_hex("envoy.config.core.v3.DataSource", "0a00 1a00", NULL), 0);
    CHECK_INT(validate_hex("envoy.config.core.v3.DataSource", "1a00 0a00", &e), -EINVAL);
    CHECK_STR(e.field, "filename");
}

TEST(bytes_that_are_no_message_are_told_from_broken_rules)
{
    static const char *const bad[] = {
        "0a", "0a0561", "00", "0b", "0c", "0f", "0a0161 2201", "0a0161 220108", "10ffffffffffffffffffff01"};
    struct err e;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        memset(&e, 0, sizeof(e));
        CHECK_INT(validate_hex(CLUSTER, bad[i], &e), -EBADMSG);
        CHECK(e.text[0]);
    }
    CHECK_STR(e.field, "");
    CHECK_INT(validate_hex("envoy.config.route.v3.RetryPolicy", "3a01ff", &e), -EBADMSG);
    CHECK_STR(e.field, "retriable_status_codes");
    CHECK_INT(validate_hex("google.protobuf.Struct", "0a020aff", &e), -EBADMSG);
    CHECK_STR(e.field, "fields");
}

TEST(text_that_is_not_utf8_is_refused_wherever_it_stands)
{
    struct err e = {0};

    CHECK_INT(validate_hex(CLUSTER, "0a0161 0a02c328", &e), -EBADMSG);
    CHECK_STR(e.field, "name");
    CHECK_STR(e.text, "is not UTF-8");
    CHECK_INT(validate_hex(CLUSTER, "0a0a61616161616161616161 6200 0a09616161616161616180", &e), -EBADMSG);
    CHECK_INT(validate_hex("envoy.config.route.v3.VirtualHost", "0a0161 120162 1201ff", &e), -EBADMSG);
    CHECK_STR(e.field, "domains[1]");
    CHECK_INT(validate_hex("google.protobuf.Struct", "0a030a01ff", &e), -EBADMSG);
    CHECK_INT(validate_hex("envoy.config.core.v3.DataSource", "1202c328", NULL), 0); /* bytes may be anything */
}

TEST(nesting_without_end_is_refused)
{
    _cleanup_(buf_clear) struct buf wire = {0}, outer = {0};
    struct err e = {0};

    for (unsigned i = 0; i < 10000; i++) {
        buf_reset(&outer);
        wire_put_bytes(&outer, i % 2 ? 6 : 1, wire.len ? wire.data : (const uint8_t *)"", wire.len);
        buf_reset(&wire);
        buf_append(&wire, outer.data, outer.len);
    }
    CHECK_INT(validate_wire(wire.data, wire.len, schema_find("google.protobuf.Value"), &e), -EBADMSG);
    CHECK(strstr(e.text, "is nested too deep"));
}

TEST(what_the_encoder_takes_is_not_too_deep_for_the_rules)
{
    _cleanup_(buf_clear) struct buf text = {0};
    struct err e = {0};

    for (unsigned i = 0; i < WIRE_DEPTH_MAX / 3; i++)
        buf_append_str(&text, "{\"a\":");
    buf_append_str(&text, "{}");
    for (unsigned i = 0; i < WIRE_DEPTH_MAX / 3; i++)
        buf_append_byte(&text, '}');
    CHECK_INT(validate("google.protobuf.Struct", buf_cstr(&text), &e), 0);
}

static void *match_patterns(void *arg)
{
    const struct schema_message *m = schema_find("envoy.config.route.v3.RouteMatch");
    const uint8_t good[] = {0x72, 2, '/', 'a'}, bad[] = {0x72, 2, '/', '?'};

    for (unsigned i = 0; i < 1000; i++) {
        if (validate_wire(good, sizeof(good), m, NULL) != 0 || validate_wire(bad, sizeof(bad), m, NULL) != -EINVAL)
            *(bool *)arg = false;
    }
    return NULL;
}

TEST(several_threads_may_check_at_once)
{
    pthread_t threads[4];
    bool good[ARRAY_LEN(threads)];

    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        good[i] = true;
        CHECK_INT(pthread_create(&threads[i], NULL, match_patterns, &good[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        CHECK(good[i]);
}

/* ---- rules by themselves --------------------------------------------------------------------------------------- */

/* Where a number stands in the pool, which the tables hold for rules of their own. */
static uint32_t number(uint64_t value)
{
    for (size_t i = 0; i < schema_n_numbers; i++) {
        if (schema_numbers[i] == value)
            return (uint32_t)i;
    }
    test_fail(__FILE__, __LINE__, "no rule has the number %llu", (unsigned long long)value);
}

/* A text of a rule in the pool, whatever it is. */
static uint32_t text(const char *wanted)
{
    for (size_t i = 0; i < schema_n_numbers; i++) {
        uint64_t n = schema_numbers[i];
        if (n >> 32 == strlen(wanted) && strcmp(schema_text((uint32_t)n), wanted) == 0)
            return (uint32_t)i;
    }
    test_fail(__FILE__, __LINE__, "no rule has the text %s", wanted);
}

static int check_text(enum schema_type type, enum schema_rule_op op, uint16_t count, uint32_t arg, const char *value,
                      struct err *e)
{
    struct schema_rule rules[] = {{.op = op, .count = count, .arg = arg}, {.op = SCHEMA_RULE_END}};
    struct schema_field f = {.type = type};

    return rules_check_text(&f, rules, (const uint8_t *)value, strlen(value), e);
}

TEST(lengths_of_strings_are_code_points_and_of_bytes_bytes)
{
    static const struct {
        enum schema_type type;
        enum schema_rule_op op;
        const char *good, *bad, *words;
    } cases[] = {
        {SCHEMA_TYPE_STRING, SCHEMA_RULE_LEN, "größ", "größe", "must be 4 characters long"},
        {SCHEMA_TYPE_STRING, SCHEMA_RULE_MIN_LEN, "größ", "grö", "must be at least 4 characters long"},
        {SCHEMA_TYPE_STRING, SCHEMA_RULE_MAX_LEN, "größ", "große", "must be at most 4 characters long"},
        {SCHEMA_TYPE_STRING, SCHEMA_RULE_LEN_BYTES, "grö", "größ", "must be 4 bytes long"},
        {SCHEMA_TYPE_STRING, SCHEMA_RULE_MIN_BYTES, "grö", "gr", "must be at least 4 bytes long"},
        {SCHEMA_TYPE_STRING, SCHEMA_RULE_MAX_BYTES, "grö", "größ", "must be at most 4 bytes long"},
        {SCHEMA_TYPE_BYTES, SCHEMA_RULE_LEN, "grö", "größ", "must be 4 bytes long"},
        {SCHEMA_TYPE_BYTES, SCHEMA_RULE_MAX_LEN, "grö", "größ", "must be at most 4 bytes long"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        CHECK_INT(check_text(cases[i].type, cases[i].op, 0, number(4), cases[i].good, NULL), 0);
        CHECK_INT(check_text(cases[i].type, cases[i].op, 0, number(4), cases[i].bad, &e), -EINVAL);
        CHECK_STR(e.text, cases[i].words);
    }
}

TEST(parts_of_texts_are_looked_for)
{
    static const struct {
        enum schema_rule_op op;
        const char *good, *bad, *words;
    } cases[] = {
        {SCHEMA_RULE_TEXT_CONST, "http", "https", "must be \"http\""},
        {SCHEMA_RULE_TEXT_IN, "http", "htt", "must be one of \"http\""},
        {SCHEMA_RULE_TEXT_NOT_IN, "https", "http", "must not be one of \"http\""},
        {SCHEMA_RULE_TEXT_PREFIX, "https", "xhttp", "must begin with \"http\""},
        {SCHEMA_RULE_TEXT_SUFFIX, "xhttp", "https", "must end in \"http\""},
        {SCHEMA_RULE_TEXT_CONTAINS, "xhttpx", "ht tp", "must contain \"http\""},
        {SCHEMA_RULE_TEXT_NOT_CONTAINS, "ht tp", "xhttpx", "must not contain \"http\""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        CHECK_INT(check_text(SCHEMA_TYPE_STRING, cases[i].op, 1, text("http"), cases[i].good, NULL), 0);
        CHECK_INT(check_text(SCHEMA_TYPE_STRING, cases[i].op, 1, text("http"), cases[i].bad, &e), -EINVAL);
        CHECK_STR(e.text, cases[i].words);
    }
}

TEST(well_known_forms_of_text_are_known)
{
    static const struct {
        enum schema_rule_op op;
        const char *good, *bad;
    } cases[] = {
        {SCHEMA_RULE_EMAIL, "a.b+c@example.org", "a@b@c"},
        {SCHEMA_RULE_HOSTNAME, "a-1.example.org", "a_1.example.org"},
        {SCHEMA_RULE_IP, "192.0.2.1", "192.0.2.256"},
        {SCHEMA_RULE_IP, "2001:db8::1", "2001:db8:::1"},
        {SCHEMA_RULE_IPV4, "192.0.2.1", "::1"},
        {SCHEMA_RULE_IPV6, "::ffff:192.0.2.1", "192.0.2.1"},
        {SCHEMA_RULE_ADDRESS, "::1", ":::1"},
        {SCHEMA_RULE_ADDRESS, "localhost", "local host"},
        {SCHEMA_RULE_URI, "https://example.org/%20?x=1#y", "//example.org"},
        {SCHEMA_RULE_URI_REF, "/a/b?c", "/a b"},
        {SCHEMA_RULE_UUID, "01234567-89ab-cdef-0123-456789ABCDEF", "01234567-89ab-cdef-0123-456789ABCDEG"},
        {SCHEMA_RULE_BYTES_IP, "1234", "12345"},
        {SCHEMA_RULE_BYTES_IPV4, "1234", "1234567890123456"},
        {SCHEMA_RULE_BYTES_IPV6, "1234567890123456", "1234"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        if (check_text(SCHEMA_TYPE_STRING, cases[i].op, 0, 0, cases[i].good, &e) != 0)
            test_fail(__FILE__, __LINE__, "%s: %s", cases[i].good, e.text);
        if (check_text(SCHEMA_TYPE_STRING, cases[i].op, 0, 0, cases[i].bad, &e) != -EINVAL)
            test_fail(__FILE__, __LINE__, "%s is taken", cases[i].bad);
        CHECK(strncmp(e.text, "must be a", 9) == 0 || strncmp(e.text, "must be the ", 12) == 0);
    }
}

static bool hostname(const char *p)
{
    return format_hostname(p, strlen(p));
}

TEST(host_names_have_labels_of_the_right_size)
{
    char label[65], name[260];

    memset(label, 'a', sizeof(label));
    CHECK(format_hostname(label, 63));
    CHECK(!format_hostname(label, 64));
    for (size_t i = 0; i < sizeof(name); i++)
        name[i] = i % 2 ? '.' : 'a';
    CHECK(format_hostname(name, 253));
    CHECK(format_hostname(name, 254)); /* the last dot does not count */
    CHECK(!format_hostname(name, 255));
    CHECK(hostname("a."));
    CHECK(!hostname(""));
    CHECK(!hostname("."));
    CHECK(!hostname("a.."));
    CHECK(!hostname(".a"));
    CHECK(!hostname("a..b"));
    CHECK(!hostname("-a"));
    CHECK(!hostname("a-"));
    CHECK(!hostname("a.-b"));
    CHECK(!format_hostname("a\0b", 3));
    CHECK(!format_ipv4("1.2.3.4\0", 8));
}

TEST(headers_have_names_and_values_of_their_own)
{
    CHECK(format_header_name("x-a_b,c", 7)); /* the comma: as Envoy's pattern has it */
    CHECK(format_header_name(":path", 5));
    CHECK(!format_header_name(":", 1));
    CHECK(!format_header_name("", 0));
    CHECK(!format_header_name("a b", 3));
    CHECK(!format_header_name("a:b", 3));
    CHECK(!format_header_name("a\0", 2));
    CHECK(format_header_text("a\tb", 3, true));
    CHECK(!format_header_text("a\x01", 2, true));
    CHECK(!format_header_text("a\x7f", 2, true));
    CHECK(format_header_text("a\x01", 2, false));
    CHECK(!format_header_text("a\0", 2, false));
    CHECK(!format_header_text("a\r", 2, false));
    CHECK(!format_header_text("a\n", 2, false));
    CHECK(format_header_text("", 0, true));
}

static int check_number(enum schema_type type, enum schema_rule_op op, uint64_t limit, uint64_t value)
{
    struct schema_rule rules[] = {{.op = op, .count = 1, .arg = number(limit)}, {.op = SCHEMA_RULE_END}};
    struct schema_field f = {.type = type};

    return rules_check_number(&f, rules, value, NULL);
}

TEST(numbers_are_compared_as_what_they_are)
{
    uint64_t minus = (uint64_t)-1, one = wire_from_double(1), nan = wire_from_double((double)NAN);

    CHECK_INT(check_number(SCHEMA_TYPE_INT32, SCHEMA_RULE_GTE, 0, minus), -EINVAL);
    CHECK_INT(check_number(SCHEMA_TYPE_UINT64, SCHEMA_RULE_GTE, 0, minus), 0);
    CHECK_INT(check_number(SCHEMA_TYPE_INT64, SCHEMA_RULE_LT, 1, minus), 0);
    CHECK_INT(check_number(SCHEMA_TYPE_UINT64, SCHEMA_RULE_LT, 1, minus), -EINVAL);
    CHECK_INT(check_number(SCHEMA_TYPE_UINT32, SCHEMA_RULE_LT, 1, 1), -EINVAL);
    CHECK_INT(check_number(SCHEMA_TYPE_UINT32, SCHEMA_RULE_LTE, 1, 1), 0);
    CHECK_INT(check_number(SCHEMA_TYPE_UINT32, SCHEMA_RULE_LTE, 1, 2), -EINVAL);
    CHECK_INT(check_number(SCHEMA_TYPE_UINT32, SCHEMA_RULE_GT, 1, 1), -EINVAL);
    CHECK_INT(check_number(SCHEMA_TYPE_UINT32, SCHEMA_RULE_GT, 1, 2), 0);
    CHECK_INT(check_number(SCHEMA_TYPE_UINT32, SCHEMA_RULE_CONST, 1, 1), 0);
    CHECK_INT(check_number(SCHEMA_TYPE_UINT32, SCHEMA_RULE_CONST, 1, 2), -EINVAL);
    CHECK_INT(check_number(SCHEMA_TYPE_UINT32, SCHEMA_RULE_IN, 1, 2), -EINVAL);
    CHECK_INT(check_number(SCHEMA_TYPE_UINT32, SCHEMA_RULE_NOT_IN, 1, 1), -EINVAL);
    CHECK_INT(check_number(SCHEMA_TYPE_DOUBLE, SCHEMA_RULE_LT, one, wire_from_double(-2)), 0);
    CHECK_INT(check_number(SCHEMA_TYPE_DOUBLE, SCHEMA_RULE_GT, one, wire_from_double(-2)), -EINVAL);
    CHECK_INT(check_number(SCHEMA_TYPE_DOUBLE, SCHEMA_RULE_LT, one, nan), 0); /* as in C++ */
    CHECK_INT(check_number(SCHEMA_TYPE_DOUBLE, SCHEMA_RULE_CONST, one, nan), -EINVAL);
}

TEST(empty_values_are_ignored_where_a_rule_says_so)
{
    struct schema_rule rules[] = {{.op = SCHEMA_RULE_IGNORE_EMPTY},
                                  {.op = SCHEMA_RULE_GT, .count = 1, .arg = number(1)},
                                  {.op = SCHEMA_RULE_END}};
    struct schema_field f = {.type = SCHEMA_TYPE_UINT32};

    CHECK_INT(rules_check_number(&f, rules, 0, NULL), 0);
    CHECK_INT(rules_check_number(&f, rules, 1, NULL), -EINVAL);
    CHECK_INT(rules_check_number(&f, rules, 2, NULL), 0);
    rules[1] = (struct schema_rule){.op = SCHEMA_RULE_MIN_ITEMS, .arg = number(4)};
    CHECK_INT(rules_check_count(rules, 0, NULL), 0);
    CHECK_INT(rules_check_count(rules, 1, NULL), -EINVAL);
    CHECK_INT(rules_check_count(rules, 4, NULL), 0);
    rules[1].op = SCHEMA_RULE_MAX_PAIRS;
    CHECK_INT(rules_check_count(rules, 5, NULL), -EINVAL);
}

static int check_time(enum schema_rule_op op, int64_t value, int64_t now)
{
    struct schema_rule rules[] = {{.op = op, .count = 1, .arg = number(1000000)}, {.op = SCHEMA_RULE_END}};

    return rules_check_time(rules, value, now, NULL);
}

TEST(times_are_compared_with_now)
{
    CHECK_INT(check_time(SCHEMA_RULE_LT_NOW, 9, 10), 0);
    CHECK_INT(check_time(SCHEMA_RULE_LT_NOW, 10, 10), -EINVAL);
    CHECK_INT(check_time(SCHEMA_RULE_GT_NOW, 11, 10), 0);
    CHECK_INT(check_time(SCHEMA_RULE_GT_NOW, 10, 10), -EINVAL);
    CHECK_INT(check_time(SCHEMA_RULE_WITHIN, 5, 1000005), 0);
    CHECK_INT(check_time(SCHEMA_RULE_WITHIN, 4, 1000005), -EINVAL);
    CHECK_INT(check_time(SCHEMA_RULE_WITHIN, 1000006, 5), -EINVAL);
    CHECK_INT(check_time(SCHEMA_RULE_GTE, INT64_MIN, 0), -EINVAL);
}
