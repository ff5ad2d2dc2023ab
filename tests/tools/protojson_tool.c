/*
 * protobuf JSON, wire bytes and the validation rules from the command line, for the tests that hold them against
 * other implementations. One request a line on standard input, one answer a line on standard output:
 *
 *
 *     encode TYPE JSON       ok HEX | error CODE FIELD TEXT
 *
 *     decode TYPE HEX        ok JSON
 *
 *     redact TYPE HEX        ok JSON
 *
 *     validate TYPE HEX      ok
 *
 * FIELD and TEXT are JSON strings.
 */
#include "base/buf.h"
#include "base/json.h"
#include "proto/protojson.h"
#include "proto/validate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int from_hex(const char *hex, struct buf *ret)
{
    for (; hex[0] && hex[1]; hex += 2) {
        char byte[3] = {hex[0], hex[1], '\0'}, *end;
        buf_append_byte(ret, (uint8_t)strtoul(byte, &end, 16));
        if (*end)
            return -EINVAL;
    }
    return *hex ? -EINVAL : 0;
}

static int encode(const struct schema_message *type, const char *text, struct buf *answer, struct err *e)
{
    _cleanup_(buf_clear) struct buf wire = {0};
    json_t *json;
    int r;

    r = json_parse(text, strlen(text), &json, e);
    if (r < 0)
        return r;
    r = protojson_to_wire(json, type, &wire, e);
    json_decref(json);
    for (size_t i = 0; r == 0 && i < wire.len; i++)
        buf_printf(answer, "%02x", wire.data[i]);
    return r;
}

static int decode(const struct schema_message *type, const struct buf *wire, unsigned flags, struct buf *answer,
                  struct err *e)
{
    json_t *json;
    char *text;
    int r;

    r = protojson_from_wire(wire->data, wire->len, type, flags, &json, e);
    if (r < 0)
        return r;
    text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    buf_append_str(answer, text);
    free(text); /* lint: call because it is jansson's memory */
    json_decref(json);
    return 0;
}

static int answer(const char *verb, const char *type_name, const char *argument, struct buf *ret, struct err *e)
{
    const struct schema_message *type = schema_find(type_name);
    _cleanup_(buf_clear) struct buf wire = {0};

    if (!type)
        return err_set(e, -ENOENT, NULL, "", "no such type");
    if (strcmp(verb, "encode") == 0)
        return encode(type, argument, ret, e);
    if (from_hex(argument, &wire) < 0)
        return err_set(e, -EINVAL, NULL, "", "not hexadecimal");
    if (strcmp(verb, "validate") == 0)
        return validate_wire(wire.data, wire.len, type, e);
    return decode(type, &wire, strcmp(verb, "redact") == 0 ? PROTOJSON_REDACT : 0, ret, e);
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;

    while (getline(&line, &size, stdin) > 0) {
        _cleanup_(buf_clear) struct buf out = {0};
        struct err e = {0};
        char *verb, *type, *argument = line;
        int r;

        line[strcspn(line, "\n")] = '\0';
        verb = strsep(&argument, " ");
        type = strsep(&argument, " ");
        if (!type)
            return EXIT_FAILURE;
        buf_append_str(&out, "ok ");
        r = answer(verb, type, argument ? argument : "", &out, &e);
        if (r < 0) {
            buf_reset(&out);
            buf_printf(&out, "error %d ", r);
            buf_json_string(&out, e.field, strlen(e.field));
            buf_append_byte(&out, ' ');
            buf_json_string(&out, e.text, strlen(e.text));
        }
        puts(buf_cstr(&out));
        fflush(stdout);
    }
    free(line); /* lint: call because it is getline's memory */
    return EXIT_SUCCESS;
}
