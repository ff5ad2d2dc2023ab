/*
 * Look-ups in the generated tables: binary searches, as messages, fields, names and enum values are sorted.
 */
#include "proto/schema.h"

#include <string.h>

/* Compares name (NUL-terminated, from the pool) with the n bytes of text, as strcmp would. */
static int compare(const char *name, const char *text, size_t n)
{
    int order = strncmp(name, text, n);

    return order != 0 ? order : name[n] != '\0';
}

static const struct schema_message *find(const char *name, size_t n)
{
    size_t low = 0, high = schema_n_messages;

    if (memchr(name, '\0', n) != NULL)
        return NULL;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(schema_name(&schema_messages[middle]), name, n);
        if (order == 0)
            return &schema_messages[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct schema_message *schema_find(const char *full_name)
{
    return find(full_name, strlen(full_name));
}

const struct schema_message *schema_find_url(const char *type_url, size_t n)
{
    const char *slash = memrchr(type_url, '/', n);

    if (slash == NULL)
        return NULL;
    return find(slash + 1, n - (size_t)(slash + 1 - type_url));
}

const struct schema_field *schema_field_by_number(const struct schema_message *m, uint32_t number)
{
    const struct schema_field *fields = &schema_fields[m->first_field];
    size_t low = 0, high = m->n_fields;

    /* Most messages number their fields 1, 2, 3, ... */
    if (number - 1 < high && fields[number - 1].number == number)
        return &fields[number - 1];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (fields[middle].number == number)
            return &fields[middle];
        if (fields[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct schema_field *schema_field_by_name(const struct schema_message *m, const char *name)
{
    const struct schema_field *fields = &schema_fields[m->first_field];

    for (int json = 0; json < 2; json++) {
        const uint8_t *order = (json ? schema_by_json_name : schema_by_name) + m->first_field;
        size_t low = 0, high = m->n_fields;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            const struct schema_field *f = &fields[order[middle]];
            int difference = strcmp(schema_text(json ? f->json_name : f->name), name);
            if (difference == 0)
                return f;
            if (difference < 0)
                low = middle + 1;
            else
                high = middle;
        }
    }
    return NULL;
}

const struct schema_enum_value *schema_enum_by_name(const struct schema_enum *en, const char *name)
{
    const struct schema_enum_value *values = &schema_enum_values[en->first_value];

    for (unsigned i = 0; i < en->n_values; i++) {
        if (strcmp(schema_text(values[i].name), name) == 0)
            return &values[i];
    }
    return NULL;
}

const struct schema_enum_value *schema_enum_by_number(const struct schema_enum *en, int32_t number)
{
    const struct schema_enum_value *values = &schema_enum_values[en->first_value];

    for (unsigned i = 0; i < en->n_values && values[i].number <= number; i++) {
        if (values[i].number == number)
            return &values[i];
    }
    return NULL;
}
