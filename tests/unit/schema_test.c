/* The generated tables and the look-ups in them. */
#include "base/regex.h"
#include "proto/schema.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

TEST(every_message_is_found_by_its_name_and_its_url)
{
    for (size_t i = 0; i < schema_n_messages; i++) {
        const struct schema_message *m = &schema_messages[i];
        char url[512];
        int n = snprintf(url, sizeof(url), "type.googleapis.com/%sX", schema_name(m));
        CHECK(schema_find(schema_name(m)) == m);
        CHECK(schema_find_url(url, (size_t)n - 1) == m);
        CHECK(i == 0 || strcmp(schema_name(m - 1), schema_name(m)) < 0);
    }
    CHECK(schema_n_messages > 1000);
}

TEST(names_that_are_only_alike_are_not_found)
{
    const char url[] = "type.googleapis.com/google.protobuf.Any";

    CHECK(schema_find("envoy.config.cluster.v3.Cluste") == NULL);
    CHECK(schema_find("envoy.config.cluster.v3.Cluster ") == NULL);
    CHECK(schema_find("envoy.config.cluster.v3.cluster") == NULL);
    CHECK(schema_find("envoy.api.v2.Cluster") == NULL);
    CHECK(schema_find("") == NULL);
    CHECK(schema_find("~") == NULL);
    CHECK(schema_find_url("google.protobuf.Any", 19) == NULL); /* an URL has a slash */
    CHECK(schema_find_url("a/b/google.protobuf.Any", 23) == schema_find("google.protobuf.Any"));
    CHECK(schema_find_url(url, sizeof(url)) == NULL); /* the NUL is a byte of it */
    CHECK(schema_find_url("", 0) == NULL);
    CHECK(schema_find_url("/", 1) == NULL);
}

TEST(every_field_is_found_by_its_number_and_both_spellings)
{
    for (size_t i = 0; i < schema_n_messages; i++) {
        const struct schema_message *m = &schema_messages[i];
        for (unsigned j = 0; j < m->n_fields; j++) {
            const struct schema_field *f = schema_field_at(m, j);
            CHECK(schema_field_by_number(m, f->number) == f);
            CHECK(schema_field_by_name(m, schema_text(f->name)) == f);
            CHECK(schema_field_by_name(m, schema_text(f->json_name)) == f);
            CHECK_INT(schema_field_index(m, f), j);
            CHECK(j == 0 || (f - 1)->number < f->number);
        }
    }
}

TEST(fields_that_are_not_there_are_not_found)
{
    const struct schema_message *cluster = schema_find("envoy.config.cluster.v3.Cluster");

    CHECK_STR(schema_text(schema_field_by_name(cluster, "connectTimeout")->name), "connect_timeout");
    CHECK_STR(schema_text(schema_field_by_name(cluster, "connect_timeout")->json_name), "connectTimeout");
    CHECK(schema_field_by_name(cluster, "ConnectTimeout") == NULL);
    CHECK(schema_field_by_name(cluster, "connect_timeou") == NULL);
    CHECK(schema_field_by_name(cluster, "") == NULL);
    CHECK(schema_field_by_number(cluster, 0) == NULL);
    CHECK(schema_field_by_number(cluster, 12345) == NULL);
    CHECK(schema_field_by_number(cluster, UINT32_MAX) == NULL);
    CHECK(schema_field_by_number(schema_find("google.protobuf.Empty"), 1) == NULL);
}

static void check_rules(const struct schema_field *f)
{
    for (const struct schema_rule *rule = &schema_rules[f->rules]; rule->op != SCHEMA_RULE_END; rule++) {
        CHECK(rule < schema_rules + schema_n_rules);
        CHECK(rule->op < SCHEMA_RULE_COUNT);
        if (rule->op == SCHEMA_RULE_PATTERN)
            CHECK(rule->arg < schema_n_patterns);
        else if (rule->op == SCHEMA_RULE_ITEMS || rule->op == SCHEMA_RULE_KEYS || rule->op == SCHEMA_RULE_VALUES)
            CHECK(rule->arg < schema_n_rules);
        else
            CHECK(rule->arg + rule->count <= schema_n_numbers);
    }
}

static void check_field(const struct schema_message *m, const struct schema_field *f)
{
    CHECK_INT(schema_rules[0].op, SCHEMA_RULE_END);
    CHECK(f->rules < schema_n_rules);
    CHECK(f->oneof == SCHEMA_NO_ONEOF || f->oneof < m->n_oneofs);
    if (f->type == SCHEMA_TYPE_MESSAGE) {
        const struct schema_message *target = schema_field_message(f);
        CHECK(f->target < schema_n_messages);
        CHECK(!(target->flags & SCHEMA_MESSAGE_MAP_ENTRY) == !(f->flags & SCHEMA_FIELD_MAP));
        CHECK(f->flags & (SCHEMA_FIELD_REPEATED | SCHEMA_FIELD_PRESENCE));
    }
    if (f->type == SCHEMA_TYPE_ENUM)
        CHECK(f->target < schema_n_enums && schema_field_enum(f)->n_values > 0);
    if (f->flags & SCHEMA_FIELD_MAP) {
        const struct schema_message *entry = schema_field_message(f);
        CHECK(f->flags & SCHEMA_FIELD_REPEATED);
        CHECK_INT(entry->n_fields, 2);
        CHECK_INT(schema_field_at(entry, 0)->number, 1);
        CHECK_INT(schema_field_at(entry, 1)->number, 2);
    }
    if (f->flags & SCHEMA_FIELD_PACKED)
        CHECK(f->type != SCHEMA_TYPE_STRING && f->type != SCHEMA_TYPE_BYTES && f->type != SCHEMA_TYPE_MESSAGE);
    check_rules(f);
}

TEST(all_relations_in_the_tables_stay_within_them)
{
    for (size_t i = 0; i < schema_n_messages; i++) {
        for (unsigned j = 0; j < schema_messages[i].n_fields; j++)
            check_field(&schema_messages[i], schema_field_at(&schema_messages[i], j));
    }
}

TEST(the_well_known_types_have_the_fields_that_their_readers_count_on)
{
    static const struct {
        const char *name;
        enum schema_kind kind;
        unsigned n_fields;
    } types[] = {
        {"google.protobuf.Any", SCHEMA_KIND_ANY, 2},
        {"google.protobuf.Duration", SCHEMA_KIND_DURATION, 2},
        {"google.protobuf.Timestamp", SCHEMA_KIND_TIMESTAMP, 2},
        {"google.protobuf.Struct", SCHEMA_KIND_STRUCT, 1},
        {"google.protobuf.Value", SCHEMA_KIND_VALUE, 6},
        {"google.protobuf.ListValue", SCHEMA_KIND_LIST_VALUE, 1},
        {"google.protobuf.FieldMask", SCHEMA_KIND_FIELD_MASK, 1},
        {"google.protobuf.Empty", SCHEMA_KIND_EMPTY, 0},
        {"google.protobuf.UInt32Value", SCHEMA_KIND_WRAPPER, 1},
        {"google.protobuf.StringValue", SCHEMA_KIND_WRAPPER, 1},
        {"envoy.config.cluster.v3.Cluster", SCHEMA_KIND_PLAIN, 0},
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        const struct schema_message *m = schema_find(types[i].name);
        CHECK(m != NULL);
        CHECK_INT(m->kind, types[i].kind);
        if (m->kind == SCHEMA_KIND_PLAIN)
            continue;
        CHECK_INT(m->n_fields, types[i].n_fields);
        for (unsigned j = 0; j < m->n_fields; j++)
            CHECK_INT(schema_field_at(m, j)->number, j + 1);
    }
}

TEST(enum_values_are_found_by_name_and_number)
{
    const struct schema_field *f = schema_field_by_name(schema_find("envoy.config.cluster.v3.Cluster"), "lb_policy");
    const struct schema_enum *en = schema_field_enum(f);

    CHECK_STR(schema_text(en->name), "envoy.config.cluster.v3.Cluster.LbPolicy");
    CHECK_INT(schema_enum_by_name(en, "RING_HASH")->number, 2);
    CHECK_STR(schema_text(schema_enum_by_number(en, 2)->name), "RING_HASH");
    CHECK(schema_enum_by_name(en, "ring_hash") == NULL);
    CHECK(schema_enum_by_name(en, "") == NULL);
    CHECK(schema_enum_by_number(en, -1) == NULL);
    CHECK(schema_enum_by_number(en, 4) == NULL); /* reserved, between others */
    CHECK(schema_enum_by_number(en, 1000) == NULL);
}

static bool is_sensitive(const char *message, const char *field)
{
    return schema_field_by_name(schema_find(message), field)->flags & SCHEMA_FIELD_SENSITIVE;
}

TEST(what_must_be_kept_secret_is_marked)
{
    CHECK(is_sensitive("envoy.extensions.transport_sockets.tls.v3.TlsCertificate", "private_key"));
    CHECK(is_sensitive("envoy.extensions.transport_sockets.tls.v3.TlsCertificate", "password"));
    CHECK(is_sensitive("envoy.extensions.transport_sockets.tls.v3.TlsCertificate", "pkcs12"));
    CHECK(is_sensitive("envoy.extensions.transport_sockets.tls.v3.GenericSecret", "secret"));
    CHECK(is_sensitive("envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys", "keys"));
    CHECK(is_sensitive("envoy.extensions.filters.http.basic_auth.v3.BasicAuth", "users"));
    CHECK(!is_sensitive("envoy.extensions.transport_sockets.tls.v3.TlsCertificate", "certificate_chain"));
}

TEST(every_pattern_of_the_rules_compiles)
{
    CHECK(schema_n_patterns > 0);
    for (size_t i = 0; i < schema_n_patterns; i++) {
        struct regex *regex;
        int size;
        CHECK_INT(regex_new(schema_text(schema_patterns[i]), &regex, &size, NULL), 0);
        regex_free(regex);
    }
}
