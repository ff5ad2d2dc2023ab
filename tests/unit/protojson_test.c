/* protobuf's JSON form, to and from wire bytes. */
#include "proto/protojson.h"

#include "base/json.h"
#include "base/wellknown.h"
#include "proto/wire.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLUSTER "envoy.config.cluster.v3.Cluster"
#define LISTENER "envoy.config.listener.v3.Listener"
#define ANY "google.protobuf.Any"
#define URL "type.googleapis.com/"

static int encode(const char *type, const char *text, struct buf *ret, struct err *e)
{
    json_t *json;
    int r;

    CHECK_INT(json_parse(text, strlen(text), &json, e), 0);
    r = protojson_to_wire(json, schema_find(type), ret, e);
    json_decref(json);
    return r;
}

static void append_hex(struct buf *b, const char *hex)
{
    for (; *hex; hex += *hex == ' ' ? 1 : 2) {
        char digits[3] = {hex[0], hex[1], '\0'};
        if (*hex != ' ')
            buf_append_byte(b, (uint8_t)strtoul(digits, NULL, 16));
    }
}

/* The JSON gives these bytes, in hexadecimal. */
static void check_wire(const char *type, const char *text, const char *hex)
{
    _cleanup_(buf_clear) struct buf wire = {0}, expected = {0};
    struct err e = {0};

    append_hex(&expected, hex);
    if (encode(type, text, &wire, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s: %s", text, e.field, e.text);
    CHECK_MEM(wire.data, wire.len, expected.data, expected.len);
}

static void check_fault(const char *type, const char *text, const char *field, const char *words)
{
    _cleanup_(buf_clear) struct buf wire = {0};
    struct err e = {0};

    buf_append_str(&wire, "kept");
    CHECK_INT(encode(type, text, &wire, &e), -EINVAL);
    CHECK_STR(e.field, field);
    if (!strstr(e.text, words))
        test_fail(__FILE__, __LINE__, "%s: \"%s\" does not say \"%s\"", text, e.text, words);
    CHECK_STR(buf_cstr(&wire), "kept");
}

static int decode(const char *type, const struct buf *wire, unsigned flags, char **ret, struct err *e)
{
    json_t *json;
    int r = protojson_from_wire(wire->data, wire->len, schema_find(type), flags, &json, e);

    if (r < 0)
        return r;
    *ret = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    json_decref(json);
    return 0;
}

static void check_json_of(const char *type, const char *hex, unsigned flags, const char *expected)
{
    _cleanup_(buf_clear) struct buf wire = {0};
    struct err e = {0};
    char *text;

    append_hex(&wire, hex);
    if (decode(type, &wire, flags, &text, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s: %s", hex, e.field, e.text);
    CHECK_STR(text, expected);
    free(text); /* lint: call because it is jansson's memory */
}

/* The JSON comes back as it was, or as the other text. */
static void check_back(const char *type, const char *text, unsigned flags, const char *expected)
{
    _cleanup_(buf_clear) struct buf wire = {0}, hex = {0};
    struct err e = {0};

    if (encode(type, text, &wire, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s: %s", text, e.field, e.text);
    for (size_t i = 0; i < wire.len; i++)
        buf_printf(&hex, "%02x", wire.data[i]);
    check_json_of(type, buf_cstr(&hex), flags, expected ? expected : text);
}

static void check_malformed(const char *type, const char *hex, const char *field)
{
    _cleanup_(buf_clear) struct buf wire = {0};
    struct err e = {0};
    char *text;

    append_hex(&wire, hex);
    CHECK_INT(decode(type, &wire, 0, &text, &e), -EBADMSG);
    CHECK_STR(e.field, field);
    CHECK(e.text[0]);
}

/* ---- to wire --------------------------------------------------------------------------------------------------- */

TEST(fields_are_written_in_the_order_of_their_numbers)
{
    check_wire(CLUSTER, "{\"type\": \"EDS\", \"name\": \"a\"}", "0a0161 1003");
    check_wire(CLUSTER, "{\"name\": \"a\", \"type\": 3}", "0a0161 1003");
    check_wire(CLUSTER, "{}", "");
}

TEST(both_spellings_of_a_name_are_read_but_not_at_once)
{
    check_wire(CLUSTER, "{\"connect_timeout\": \"0.25s\"}", "2205 1080e59a77");
    check_wire(CLUSTER, "{\"connectTimeout\": \"0.25s\"}", "2205 1080e59a77");
    check_fault(CLUSTER, "{\"connectTimeout\": \"1s\", \"connect_timeout\": \"1s\"}", "connect_timeout",
                "is the same field as connectTimeout");
    check_fault(CLUSTER, "{\"connectTimeout\": null, \"connect_timeout\": \"1s\"}", "connect_timeout",
                "is the same field as connectTimeout");
}

TEST(an_unknown_field_is_named_with_its_path)
{
    check_fault(CLUSTER, "{\"conect_timeout\": \"1s\"}", "conect_timeout", "is not a field of " CLUSTER);
    check_fault(LISTENER, "{\"filterChains\": [{}, {\"filters\": [{\"nam\": 1}]}]}", "filterChains[1].filters[0].nam",
                "is not a field of envoy.config.listener.v3.Filter");
}

TEST(two_members_of_a_oneof_are_refused)
{
    check_fault("envoy.config.core.v3.DataSource", "{\"filename\": \"a\", \"inline_string\": \"b\"}", "inline_string",
                "cannot be given together with filename");
    check_wire("envoy.config.core.v3.DataSource", "{\"filename\": null, \"inline_string\": \"b\"}", "1a0162");
    check_wire("envoy.config.core.v3.DataSource", "{\"filename\": \"\"}", "0a00");
}

TEST(zeros_are_left_out_where_they_cannot_be_told_from_absence)
{
    check_wire(CLUSTER, "{\"name\": \"\", \"type\": \"STATIC\"}", "1000"); /* type is a member of a oneof */
    check_wire(CLUSTER, "{\"lb_policy\": \"ROUND_ROBIN\", \"respect_dns_ttl\": false}", "");
    check_wire(CLUSTER, "{\"per_connection_buffer_limit_bytes\": 0}", "2a00");
    check_wire("google.protobuf.DoubleValue", "-0.0", "09 0000000000000080");
}

TEST(null_is_absence_except_for_values)
{
    check_wire(CLUSTER, "{\"name\": null, \"health_checks\": null, \"connect_timeout\": null}", "");
    check_wire("google.protobuf.Value", "null", "0800");
    check_wire("google.protobuf.ListValue", "[null]", "0a020800");
    check_fault(CLUSTER, "{\"health_checks\": [null]}", "health_checks[0]", "must not be null");
    check_fault("envoy.config.core.v3.Metadata", "{\"filter_metadata\": {\"a\": null}}", "filter_metadata[\"a\"]",
                "must not be null");
}

TEST(integers_are_read_as_numbers_and_as_text_within_their_range)
{
    check_wire("google.protobuf.UInt32Value", "4294967295", "08ffffffff0f");
    check_wire("google.protobuf.UInt32Value", "\"4294967295\"", "08ffffffff0f");
    check_wire("google.protobuf.UInt32Value", "1.0", "0801");
    check_wire("google.protobuf.UInt32Value", "1e3", "08e807");
    check_wire("google.protobuf.UInt32Value", "\"1e3\"", "08e807");
    check_wire("google.protobuf.Int32Value", "-2147483648", "0880808080f8ffffffff01");
    check_wire("google.protobuf.Int64Value", "\"-9223372036854775808\"", "0880808080808080808001");
    check_wire("google.protobuf.Int64Value", "9223372036854775807", "08ffffffffffffffff7f");
    check_wire("google.protobuf.UInt64Value", "\"18446744073709551615\"", "08ffffffffffffffffff01");
    check_wire("google.protobuf.UInt64Value", "9223372036854775808.0", "0880808080808080808001");
    check_fault("google.protobuf.UInt32Value", "4294967296", "", "must be an integer from 0 to 4294967295");
    check_fault("google.protobuf.UInt32Value", "-1", "", "must be an integer from 0");
    check_fault("google.protobuf.UInt32Value", "1.5", "", "must be an integer from 0");
    check_fault("google.protobuf.UInt32Value", "1e300", "", "must be an integer from 0");
    check_fault("google.protobuf.Int32Value", "2147483648", "", "from -2147483648 to 2147483647");
    check_fault("google.protobuf.Int64Value", "\"9223372036854775808\"", "", "to 9223372036854775807");
    check_fault("google.protobuf.Int64Value", "\"-9223372036854775809\"", "", "from -9223372036854775808");
    check_fault("google.protobuf.UInt64Value", "\"18446744073709551616\"", "", "to 18446744073709551615");
    check_fault("google.protobuf.UInt64Value", "\"-1\"", "", "from 0");
    check_fault("google.protobuf.UInt32Value", "true", "", "must be an integer, not true or false");
    check_fault("google.protobuf.UInt32Value", "{}", "", "must be an integer, not an object");
}

TEST(text_that_is_not_quite_a_number_is_refused)
{
    static const char *const bad[] = {"\"\"",   "\" 1\"", "\"1 \"",  "\"+1\"", "\"01\"",  "\"0x10\"", "\"1.\"",
                                      "\".5\"", "\"1e\"", "\"--1\"", "\"-\"",  "\"nan\"", "\"1,0\"",  "\"inf\""};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        check_fault("google.protobuf.Int64Value", bad[i], "", "must be an integer");
        check_fault("google.protobuf.DoubleValue", bad[i], "", "must be a number");
    }
}

TEST(floating_point_numbers_have_texts_for_what_is_not_finite)
{
    check_wire("google.protobuf.DoubleValue", "\"NaN\"", "09 000000000000f87f");
    check_wire("google.protobuf.DoubleValue", "\"Infinity\"", "09 000000000000f07f");
    check_wire("google.protobuf.DoubleValue", "\"-Infinity\"", "09 000000000000f0ff");
    check_wire("google.protobuf.DoubleValue", "\"1.5\"", "09 000000000000f83f");
    check_wire("google.protobuf.DoubleValue", "2", "09 0000000000000040");
    check_wire("google.protobuf.FloatValue", "0.1", "0d cdcccc3d");
    check_wire("google.protobuf.FloatValue", "3.4028235e38", "0d ffff7f7f"); /* how the largest is written */
    check_wire("google.protobuf.FloatValue", "\"-Infinity\"", "0d 000080ff");
    check_fault("google.protobuf.FloatValue", "3.4028236e38", "", "single precision");
    check_fault("google.protobuf.DoubleValue", "\"1e999\"", "", "must be a number");
    check_fault("google.protobuf.DoubleValue", "true", "", "must be a number, not true or false");
}

TEST(bools_are_true_or_false_only)
{
    check_wire("google.protobuf.BoolValue", "true", "0801");
    check_wire("google.protobuf.BoolValue", "false", "");
    check_fault("google.protobuf.BoolValue", "\"true\"", "", "must be true or false, not a text");
    check_fault("google.protobuf.BoolValue", "1", "", "must be true or false, not a number");
}

TEST(enums_are_names_or_numbers)
{
    check_wire(CLUSTER, "{\"lb_policy\": \"MAGLEV\"}", "3005");
    check_wire(CLUSTER, "{\"lb_policy\": 5}", "3005");
    check_wire(CLUSTER, "{\"lb_policy\": 4711}", "30e724"); /* proto3's enums are open; the rules are not */
    check_wire(CLUSTER, "{\"lb_policy\": -1}", "30ffffffffffffffffff01");
    check_fault(CLUSTER, "{\"lb_policy\": \"maglev\"}", "lb_policy", "must be one of ROUND_ROBIN, LEAST_REQUEST,");
    check_fault(CLUSTER, "{\"lb_policy\": 4294967296}", "lb_policy", "must be an integer from -2147483648");
    check_fault(CLUSTER, "{\"lb_policy\": []}", "lb_policy", "not a list");
}

TEST(bytes_are_base64_of_either_alphabet)
{
    check_wire("google.protobuf.BytesValue", "\"+/+/AQ==\"", "0a04 fbffbf01");
    check_wire("google.protobuf.BytesValue", "\"-_-_AQ\"", "0a04 fbffbf01");
    check_wire("google.protobuf.BytesValue", "\"\"", "");
    check_wire("google.protobuf.BytesValue", "\"AAA=\"", "0a02 0000");
    check_fault("google.protobuf.BytesValue", "\"A\"", "", "must be bytes in base64");
    check_fault("google.protobuf.BytesValue", "\"AA=\"", "", "must be bytes in base64");
    check_fault("google.protobuf.BytesValue", "\"AA==AA==\"", "", "must be bytes in base64");
    check_fault("google.protobuf.BytesValue", "\"A A=\"", "", "must be bytes in base64");
    check_fault("google.protobuf.BytesValue", "\"A===\"", "", "must be bytes in base64");
    check_fault("google.protobuf.BytesValue", "1", "", "must be bytes in base64, not a number");
}

TEST(a_fault_never_shows_the_value)
{
    _cleanup_(buf_clear) struct buf wire = {0};
    struct err e = {0};

    CHECK_INT(encode("envoy.config.core.v3.DataSource", "{\"inline_bytes\": \"hunter2!\"}", &wire, &e), -EINVAL);
    CHECK(!strstr(e.text, "hunter2"));
    CHECK_INT(encode(CLUSTER, "{\"lb_policy\": \"hunter2\"}", &wire, &e), -EINVAL);
    CHECK(!strstr(e.text, "hunter2"));
}

TEST(lists_are_packed_where_the_schema_packs)
{
    check_wire("envoy.config.route.v3.RetryPolicy", "{\"retriable_status_codes\": [503, \"1\", 2.0]}",
               "3a04 f703 0102");
    check_wire("envoy.config.route.v3.RetryPolicy", "{\"retriable_status_codes\": []}", "");
    check_wire("envoy.config.route.v3.VirtualHost", "{\"domains\": [\"\", \"b\"]}", "1200 120162");
    check_fault("envoy.config.route.v3.RetryPolicy", "{\"retriable_status_codes\": [1, \"x\"]}",
                "retriable_status_codes[1]", "must be an integer");
    check_fault("envoy.config.route.v3.VirtualHost", "{\"domains\": \"b\"}", "domains", "must be a list, not a text");
}

TEST(maps_are_sorted_by_their_keys)
{
    check_wire("google.protobuf.Struct", "{\"b\": true, \"a\": false, \"\": true, \"aa\": false}",
               "0a06 0a00 12022001  0a07 0a0161 12022000  0a08 0a026161 12022000  0a07 0a0162 12022001");
    check_wire("cel.expr.SourceInfo", "{\"positions\": {\"2\": 1, \"-1\": 2, \"10\": 3}}",
               "220d 08ffffffffffffffffff01 1002 2204 0802 1001 2204 080a 1003");
    check_fault("cel.expr.SourceInfo", "{\"positions\": {\"1\": 1, \"1.0\": 2}}", "positions[\"1.0\"]",
                "is given twice");
    check_fault("cel.expr.SourceInfo", "{\"positions\": {\"one\": 1}}", "positions[\"one\"]", "must be an integer");
    check_fault("cel.expr.SourceInfo", "{\"positions\": {\"1\": \"x\"}}", "positions[\"1\"]", "must be an integer");
    check_fault("google.protobuf.Struct", "[]", "", "must be an object, not a list");
}

TEST(durations_are_seconds_with_an_s)
{
    check_wire("google.protobuf.Duration", "\"1.5s\"", "0801 1080cab5ee01");
    check_wire("google.protobuf.Duration", "\"-0.000000001s\"", "10ffffffffffffffffff01");
    check_wire("google.protobuf.Duration", "\"315576000000s\"", "0880bcaece9709");
    check_wire("google.protobuf.Duration", "\"0s\"", "");
    static const char *const bad[] = {"\"1\"",    "\"s\"",   "\".5s\"", "\"1.s\"",           "\"1.0000000000s\"",
                                      "\"1 s\"",  "\"+1s\"", "\"1ms\"", "\"315576000001s\"", "\"315576000000.1s\"",
                                      "\"1e3s\"", "\"\"",    "\"--1s\""};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        check_fault("google.protobuf.Duration", bad[i], "", "must be a duration in seconds such as \"1.5s\"");
    check_fault("google.protobuf.Duration", "1.5", "", "must be a duration such as \"1.5s\", not a number");
}

TEST(timestamps_are_times_of_the_calendar)
{
    check_wire("google.protobuf.Timestamp", "\"1970-01-01T00:00:00Z\"", "");
    check_wire("google.protobuf.Timestamp", "\"1969-12-31T23:59:59.5Z\"", "08ffffffffffffffffff01 1080cab5ee01");
    check_wire("google.protobuf.Timestamp", "\"2024-02-29T13:00:01+01:00\"", "08c1e381af06");
    check_wire("google.protobuf.Timestamp", "\"2024-02-29T11:00:01-01:00\"", "08c1e381af06");
    static const char *const bad[] = {
        "\"2023-02-29T00:00:00Z\"",      "\"1900-02-29T00:00:00Z\"",     "\"2024-13-01T00:00:00Z\"",
        "\"2024-00-01T00:00:00Z\"",      "\"2024-01-00T00:00:00Z\"",     "\"2024-04-31T00:00:00Z\"",
        "\"2024-01-01T24:00:00Z\"",      "\"2024-01-01T00:60:00Z\"",     "\"2024-01-01T00:00:60Z\"",
        "\"2024-01-01T00:00:00\"",       "\"2024-01-01 00:00:00Z\"",     "\"2024-01-01T00:00:00.Z\"",
        "\"2024-01-01T00:00:00z\"",      "\"0000-01-01T00:00:00Z\"",     "\"0001-01-01T00:00:00+00:01\"",
        "\"9999-12-31T23:59:59-00:01\"", "\"2024-01-01T00:00:00+1:00\"", "\"\""};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        check_fault("google.protobuf.Timestamp", bad[i], "", "must be a time");
}

TEST(any_is_written_by_its_type)
{
    check_wire(
        ANY, "{\"@type\": \"" URL "google.protobuf.Duration\", \"value\": \"1s\"}",
        "0a2c 747970652e676f6f676c65617069732e636f6d2f676f6f676c652e70726f746f6275662e4475726174696f6e 1202 0801");
    check_wire(ANY, "{\"@type\": \"x/google.protobuf.Empty\"}",
               "0a17 782f676f6f676c652e70726f746f6275662e456d707479");
    check_wire(ANY, "{\"@type\": \"x/google.protobuf.Empty\", \"value\": {}}",
               "0a17 782f676f6f676c652e70726f746f6275662e456d707479");
    check_wire(ANY, "{\"name\": \"a\", \"@type\": \"x/" CLUSTER "\"}",
               "0a21 782f656e766f792e636f6e6669672e636c75737465722e76332e436c7573746572 1203 0a0161");
    check_wire(ANY, "{}", "");
}

TEST(faults_of_any_name_what_is_wrong)
{
    check_fault(ANY, "{\"name\": \"a\"}", "@type", "is required");
    check_fault(ANY, "{\"@type\": 1}", "@type", "is required");
    check_fault(ANY, "{\"@type\": \"x/no.such.Type\"}", "@type", "is not a type of Envoy's API: x/no.such.Type");
    check_fault(ANY, "{\"@type\": \"google.protobuf.Empty\"}", "@type", "is not a type of Envoy's API");
    check_fault(ANY, "{\"@type\": \"x/google.protobuf.Duration\"}", "value", "is required beside \"@type\"");
    check_fault(ANY, "{\"@type\": \"x/google.protobuf.Duration\", \"seconds\": 1}", "seconds", "stands in \"value\"");
    check_fault(ANY, "{\"@type\": \"x/google.protobuf.Duration\", \"value\": 1}", "value", "must be a duration");
    check_fault(ANY, "{\"@type\": \"x/" CLUSTER "\", \"value\": {}}", "value", "is not a field of " CLUSTER);
    check_fault(LISTENER,
                "{\"filter_chains\": [{\"filters\": [{\"typed_config\": {\"@type\": \"" URL
                "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\", \"stat_prefix\": 7}}]}]}",
                "filter_chains[0].filters[0].typed_config.stat_prefix", "must be a text, not a number");
    check_fault(ANY, "[]", "", "must be an object, not a list");
}

TEST(wrappers_struct_and_field_masks_have_their_own_form)
{
    check_wire("google.protobuf.StringValue", "\"a\"", "0a0161");
    check_wire("google.protobuf.StringValue", "\"\"", "");
    check_wire("google.protobuf.Value", "[1, \"a\", true, {\"k\": null}]",
               "3221 0a0911000000000000f03f 0a031a0161 0a022001 0a0b2a090a070a016b12020800");
    check_wire("google.protobuf.FieldMask", "\"fooBar.baz,x\"", "0a0b 666f6f5f6261722e62617a 0a01 78");
    check_wire("google.protobuf.FieldMask", "\"\"", "");
    check_fault("google.protobuf.FieldMask", "\"foo_bar\"", "", "lowerCamelCase");
    check_fault("google.protobuf.FieldMask", "\",a\"", "", "lowerCamelCase");
    check_fault("google.protobuf.FieldMask", "\"a,\"", "", "lowerCamelCase");
    check_wire("google.protobuf.Empty", "{}", "");
    check_fault("google.protobuf.Empty", "{\"a\": 1}", "a", "is not a field of google.protobuf.Empty");
}

/* {"a": {"a": ... {} ...}} as a Struct. */
static void nested_struct(struct buf *text, unsigned depth)
{
    buf_reset(text);
    for (unsigned i = 1; i < depth; i++)
        buf_append_str(text, "{\"a\":");
    buf_append_str(text, "{}");
    for (unsigned i = 1; i < depth; i++)
        buf_append_byte(text, '}');
}

TEST(nesting_ends_where_envoy_stops_to_read)
{
    _cleanup_(buf_clear) struct buf text = {0}, wire = {0};
    struct err e = {0};

    /* A level of JSON is three of the message: the Struct, its entry, the Value. */
    nested_struct(&text, WIRE_DEPTH_MAX / 3 + 1);
    CHECK_INT(encode("google.protobuf.Struct", buf_cstr(&text), &wire, &e), 0);
    nested_struct(&text, WIRE_DEPTH_MAX / 3 + 2);
    CHECK_INT(encode("google.protobuf.Struct", buf_cstr(&text), &wire, &e), -EINVAL);
    CHECK(strstr(e.text, "is nested too deep"));
}

TEST(json_that_was_built_without_a_parser_is_bounded_too)
{
    _cleanup_(buf_clear) struct buf wire = {0};
    struct err e = {0};
    json_t *json = json_pack("{s:s}", "@type", "x/google.protobuf.Empty");

    for (unsigned i = 0; i < 1000; i++)
        json = json_pack("{s:s, s:o}", "@type", "x/google.protobuf.Any", "value", json);
    CHECK_INT(protojson_to_wire(json, schema_find(ANY), &wire, &e), -EINVAL);
    CHECK(strstr(e.text, "is nested too deep"));
    json_decref(json);
}

TEST(a_message_past_the_buffer_s_maximum_is_refused_and_leaves_the_buffer)
{
    struct buf wire;
    struct err e = {0};

    buf_init(&wire, 10);
    CHECK_INT(encode("google.protobuf.StringValue", "\"12345678\"", &wire, &e), 0);
    CHECK_INT(wire.len, 10);
    CHECK_INT(encode("google.protobuf.StringValue", "\"1\"", &wire, &e), -EMSGSIZE);
    CHECK_INT(wire.len, 10);
    CHECK_INT(wire.max, 10);
    CHECK(!wire.overflow);
    buf_clear(&wire);
}

TEST(lengths_of_more_than_one_byte_are_put_in_front)
{
    _cleanup_(buf_clear) struct buf wire = {0}, text = {0};
    struct err e = {0};
    char letters[301];

    memset(letters, 'x', 300);
    letters[300] = '\0';
    buf_printf(&text, "{\"filters\": [{\"name\": \"%s\"}]}", letters);
    CHECK_INT(encode("envoy.config.listener.v3.FilterChain", buf_cstr(&text), &wire, &e), 0);
    CHECK_INT(wire.len, 306);
    CHECK_MEM(wire.data, 6, "\x1a\xaf\x02\x0a\xac\x02", 6);
}

/* ---- from wire ------------------------------------------------------------------------------------------------- */

TEST(messages_come_back_as_they_were)
{
    check_back(CLUSTER, "{\"name\":\"a\",\"connect_timeout\":\"0.250s\",\"lb_policy\":\"MAGLEV\",\"type\":\"EDS\"}",
               0, "{\"name\":\"a\",\"type\":\"EDS\",\"connect_timeout\":\"0.250s\",\"lb_policy\":\"MAGLEV\"}");
    check_back(CLUSTER, "{\"name\":\"a\",\"connect_timeout\":\"1s\"}", PROTOJSON_JSON_NAMES,
               "{\"name\":\"a\",\"connectTimeout\":\"1s\"}");
    check_back("google.protobuf.Struct", "{\"a\":[1.5,\"x\",true,null,{}],\"b\":{\"c\":[]}}", 0, NULL);
    check_back(ANY, "{\"@type\":\"x/google.protobuf.Duration\",\"value\":\"1.000000001s\"}", 0, NULL);
    check_back(ANY, "{\"@type\":\"x/" CLUSTER "\",\"name\":\"a\"}", 0, NULL);
    check_back(ANY, "{\"@type\":\"x/google.protobuf.Empty\"}", 0, NULL);
    check_back(ANY, "{\"@type\":\"x/google.protobuf.Value\",\"value\":null}", 0, NULL);
    check_back(ANY, "{}", 0, NULL);
    check_back("google.protobuf.Timestamp", "\"2024-02-29T13:00:01.000001+01:00\"", 0,
               "\"2024-02-29T12:00:01.000001Z\"");
    check_back("google.protobuf.Timestamp", "\"0001-01-01T00:00:00Z\"", 0, NULL);
    check_back("google.protobuf.Timestamp", "\"9999-12-31T23:59:59.999Z\"", 0, NULL);
    check_back("google.protobuf.Duration", "\"-0.500s\"", 0, NULL);
    check_back("google.protobuf.FieldMask", "\"fooBar.baz,x\"", 0, NULL);
    check_back("google.protobuf.BytesValue", "\"-_-_AQ\"", 0, "\"+/+/AQ==\"");
    check_back("google.protobuf.UInt64Value", "\"18446744073709551615\"", 0, NULL);
    check_back("google.protobuf.Int64Value", "-1", 0, "\"-1\"");
    check_back("google.protobuf.FloatValue", "0.1", 0, NULL);
    check_back("google.protobuf.FloatValue", "16777217", 0, "16777216.0");
    check_back("google.protobuf.DoubleValue", "\"NaN\"", 0, NULL);
    check_back("google.protobuf.DoubleValue", "\"-Infinity\"", 0, NULL);
    check_back("cel.expr.SourceInfo", "{\"positions\":{\"-1\":2}}", 0, "{\"positions\":{\"-1\":2}}");
    check_back(CLUSTER, "{\"lb_policy\":4711}", 0, NULL);
}

TEST(what_the_schema_does_not_know_is_left_out)
{
    check_json_of(CLUSTER, "f8ff7f01 0a0161 fdff7f01020304", 0, "{\"name\":\"a\"}");
    check_json_of(CLUSTER, "0801 0a0161", 0, "{\"name\":\"a\"}"); /* name, written as a number */
}

TEST(both_forms_of_repeated_numbers_are_read)
{
    check_json_of("envoy.config.route.v3.RetryPolicy", "3a0301f703 3803 3a00", 0,
                  "{\"retriable_status_codes\":[1,503,3]}");
}

TEST(the_last_of_several_records_counts_and_messages_are_put_together)
{
    check_json_of(CLUSTER, "0a0161 0a0162", 0, "{\"name\":\"b\"}");
    check_json_of(CLUSTER, "22020801 22021002 22020803", 0, "{\"connect_timeout\":\"3.000000002s\"}");
    check_json_of("envoy.config.core.v3.DataSource", "0a0161 1a0162", 0, "{\"inline_string\":\"b\"}");
    check_json_of("google.protobuf.Struct", "0a070a016112020800 0a070a016112022001 0a00", 0,
                  "{\"a\":true,\"\":null}");
}

TEST(an_any_of_an_unknown_type_is_shown_as_bytes)
{
    check_json_of(ANY, "0a03782f79 1203010203", 0, "{\"@type\":\"x/y\",\"value\":\"AQID\"}");
    check_json_of(ANY, "0a03782f79 1203010203", PROTOJSON_REDACT, "{\"@type\":\"x/y\",\"value\":\"[redacted]\"}");
    check_json_of(ANY, "1203010203", 0, "{\"@type\":\"\",\"value\":\"AQID\"}");
}

TEST(secrets_are_redacted_wherever_they_stand)
{
    const char *certificate = "{\"certificate_chain\":{\"inline_string\":\"CHAIN\"},"
                              "\"private_key\":{\"inline_string\":\"KEY\"},\"password\":{\"filename\":\"/p\"}}";
    _cleanup_(buf_clear) struct buf text = {0}, expected = {0};

    check_back("envoy.extensions.transport_sockets.tls.v3.TlsCertificate", certificate, PROTOJSON_REDACT,
               "{\"certificate_chain\":{\"inline_string\":\"CHAIN\"},\"private_key\":\"[redacted]\","
               "\"password\":\"[redacted]\"}");
    check_back("envoy.extensions.transport_sockets.tls.v3.TlsCertificate", certificate, 0, NULL);
    check_back("envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys",
               "{\"keys\":[{\"inline_bytes\":\"AQID\"},{}]}", PROTOJSON_REDACT, "{\"keys\":\"[redacted]\"}");
    check_back("envoy.extensions.transport_sockets.tls.v3.GenericSecret",
               "{\"secrets\":{\"a\":{\"inline_bytes\":\"AQID\"}}}", PROTOJSON_REDACT, "{\"secrets\":\"[redacted]\"}");
    buf_printf(&text, "{\"@type\":\"x/envoy.extensions.transport_sockets.tls.v3.Secret\",\"name\":\"n\",%s%s}",
               "\"tls_certificate\":", certificate);
    buf_append_str(&expected, "{\"@type\":\"x/envoy.extensions.transport_sockets.tls.v3.Secret\",\"name\":\"n\","
                              "\"tls_certificate\":{\"certificate_chain\":{\"inline_string\":\"CHAIN\"},"
                              "\"private_key\":\"[redacted]\",\"password\":\"[redacted]\"}}");
    check_back(ANY, buf_cstr(&text), PROTOJSON_REDACT, buf_cstr(&expected));
}

TEST(bytes_that_are_no_message_are_refused_with_the_path)
{
    check_malformed(CLUSTER, "0a", "");
    check_malformed(CLUSTER, "0a0561", "");
    check_malformed(CLUSTER, "00", "");
    check_malformed(CLUSTER, "0b", "");                       /* a group */
    check_malformed(CLUSTER, "10ffffffffffffffffffff01", ""); /* more than ten bytes of a number */
    check_malformed(CLUSTER, "220108", "connect_timeout");
    check_malformed(CLUSTER, "0a02c328", "name"); /* not UTF-8 */
    check_malformed("envoy.config.route.v3.VirtualHost", "12016112 01ff", "domains[1]");
    check_malformed("envoy.config.route.v3.RetryPolicy", "3a01ff", "retriable_status_codes");
    check_malformed("google.protobuf.Struct", "0a070a0161120222ff", "fields[\"a\"]");
    check_malformed("google.protobuf.Struct", "0a020aff", "fields");
    check_malformed(ANY, "0a1a782f676f6f676c652e70726f746f6275662e4475726174696f6e120108", "value");
    check_malformed("google.protobuf.Duration", "0801 10ffffffffffffffffff01", ""); /* signs that differ */
    check_malformed("google.protobuf.Timestamp", "08ff91b8c398feffffff01", "");     /* before the year 1 */
    check_malformed("google.protobuf.FieldMask", "0a0141", "");
    check_malformed("google.protobuf.FieldMask", "0a00", "");
}

TEST(bytes_that_are_nested_without_end_are_refused)
{
    _cleanup_(buf_clear) struct buf wire = {0}, outer = {0};
    struct err e = {0};
    char *text;

    /* Value { list_value { values { list_value { ... */
    for (unsigned i = 0; i < 10000; i++) {
        buf_reset(&outer);
        wire_put_bytes(&outer, i % 2 ? 6 : 1, wire.len ? wire.data : (const uint8_t *)"", wire.len);
        buf_reset(&wire);
        buf_append(&wire, outer.data, outer.len);
    }
    CHECK_INT(decode("google.protobuf.Value", &wire, 0, &text, &e), -EBADMSG);
    CHECK(strstr(e.text, "is nested too deep"));
}

TEST(faults_need_no_place_to_be_described)
{
    _cleanup_(buf_clear) struct buf wire = {0};
    json_t *json = json_pack("{s:[{s:i}]}", "health_checks", "nothing", 1);
    json_t *back;

    CHECK_INT(protojson_to_wire(json, schema_find(CLUSTER), &wire, NULL), -EINVAL);
    json_decref(json);
    buf_append_byte(&wire, 0);
    CHECK_INT(protojson_from_wire(wire.data, wire.len, schema_find(CLUSTER), 0, &back, NULL), -EBADMSG);
}
