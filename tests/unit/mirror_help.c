/* What came of a mirror as text, a large data set, and the recording. See mirror_help.h. */
#include "tests/unit/mirror_help.h"

#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

struct pictured {
    char *path, *text;
};

static void pictured_free(struct pictured *p)
{
    if (!p)
        return;
    mem_free(p->path);
    mem_free(p->text);
    mem_free(p);
}

static char *facts_text(const struct facts *f)
{
    struct buf b = {0};

    for (size_t i = 0; i < f->n_resources; i++)
        buf_printf(&b, "%s %s %s %s\n", f->path, f->resources[i].rid, f->resources[i].type, f->resources[i].info);
    for (size_t i = 0; i < f->n_addresses; i++) {
        const struct fact_address *a = &f->addresses[i];

        buf_printf(&b, "%s %s %s %s '%s' %s '%s'", f->path, a->node, a->instance, a->rid, a->address,
                   a->up ? "UP" : "NO", a->state);
        for (size_t k = 0; k < a->n_exposes; k++)
            buf_printf(&b, " %s", a->exposes[k]);
        buf_append_byte(&b, '\n');
    }
    if (f->disagreement)
        buf_printf(&b, "%s: %s\n", f->path, f->disagreement);
    return buf_take(&b, NULL);
}

void picture_take(struct picture *p, struct mirror *m)
{
    struct facts f;
    bool gone;

    p->taken = p->gone = 0;
    while (mirror_next_touched(m, &f, &gone)) {
        struct pictured *before;

        p->taken++;
        if (gone) {
            p->gone++;
            before = map_removes(&p->services, f.path);
            CHECK(before);
        } else {
            struct pictured *s = mem_new(struct pictured);

            s->path = mem_strdup(f.path);
            s->text = facts_text(&f);
            before = map_puts(&p->services, s->path, s);
        }
        pictured_free(before);
    }
}

void picture_clear(struct picture *p)
{
    struct map_entry *e;

    for (size_t i = 0; map_next(&p->services, &i, &e);)
        pictured_free(e->value);
    map_clear(&p->services);
}

char *picture_text(const struct picture *p)
{
    void **sorted = map_sorted_values(&p->services);
    struct buf b = {0};

    for (size_t i = 0; i < p->services.count; i++)
        buf_append_str(&b, ((struct pictured *)sorted[i])->text);
    mem_free(sorted);
    return buf_take(&b, NULL);
}

const char *picture_service(const struct picture *p, const char *path)
{
    const struct pictured *s = map_gets(&p->services, path);

    return s ? s->text : "";
}

int feed_status(struct mirror *m, const char *json, size_t n, struct err *e)
{
    int r;

    mirror_status_begin(m);
    r = mirror_status_feed(m, json, n, e);
    return r < 0 ? r : mirror_status_end(m, false, e);
}

struct mirror *mirror_of(const char *json)
{
    struct mirror *m = mirror_new(0);
    struct err e = {0};

    CHECK_INT(feed_status(m, json, strlen(json), &e), 0);
    return m;
}

char *text_of_status(const char *json, size_t n)
{
    struct mirror *m = mirror_new(0);
    struct picture p = {0};
    struct err e = {0};
    char *text;

    CHECK_INT(feed_status(m, json, n, &e), 0);
    picture_take(&p, m);
    text = picture_text(&p);
    picture_clear(&p);
    mirror_free(m);
    return text;
}

/* As an agent writes it: ten instances of each service, one kilobyte each. */
char *large_status_text(unsigned services, unsigned nodes, size_t *ret_n)
{
    struct buf b = {0};

    buf_append_str(&b, "{\"monitor\": {\"nodes\": {");
    for (unsigned n = 0; n < nodes; n++) {
        buf_printf(&b, "%s\"node%u\": {\"monitor\": {\"status\": \"idle\"}, \"services\": {\"status\": {",
                   n ? ", " : "", n);
        for (unsigned s = 0; s < services; s++)
            buf_printf(
                &b,
                "%s\"prod/svc/web%05u\": {\"updated\": 1795390084.6512842, \"kind\": \"svc\", \"app\": \"default\", "
                "\"env\": \"TST\", \"placement\": \"nodes order\", \"topology\": \"flex\", \"frozen\": 0, "
                "\"subsets\": {}, \"resources\": {\"ip#1\": {\"status\": \"up\", \"type\": \"ip\", \"label\": "
                "\"10.%u.%u.%u/32 lo\", \"provisioned\": {\"state\": true, \"mtime\": 1795390083.8719854}, "
                "\"info\": {\"ipaddr\": \"10.%u.%u.%u\", \"ipdev\": \"lo\", \"netmask\": \"32\", \"expose\": "
                "[\"expose#0\"]}}, \"expose#0\": {\"status\": \"n/a\", \"type\": \"expose.envoy\", \"label\": "
                "\"envoy expose 80/tcp via 0.0.0.0:8080\", \"info\": {\"lb_policy\": \"round robin\", "
                "\"listener_port\": %u, \"port\": 80, \"protocol\": \"tcp\"}}}, \"status_group\": {\"ip\": "
                "\"up\", \"fs\": \"n/a\", \"disk\": \"n/a\", \"app\": \"n/a\"}, \"overall\": \"up\", \"avail\": "
                "\"up\", "
                "\"optional\": \"n/a\", \"provisioned\": true, \"csum\": \"6ac3e94f8bffa6ccdf17d6593695d1e3\", "
                "\"monitor\": {\"status\": \"idle\", \"placement\": \"leader\", \"status_updated\": "
                "1795390084.678161, \"local_expect\": \"started\", \"local_expect_updated\": 1795390084.678}}",
                s ? ", " : "", s, n, s / 256, s % 256, n, s / 256, s % 256, s % 60000);
        buf_append_str(&b, "}, \"config\": {");
        for (unsigned s = 0; s < services; s++)
            buf_printf(&b,
                       "%s\"prod/svc/web%05u\": {\"updated\": 1795390083.8094523, \"csum\": \"%032u\", \"scope\": "
                       "[\"node0\", \"node1\"]}",
                       s ? ", " : "", s, s);
        buf_append_str(&b, "}}}");
    }
    buf_append_str(&b, "}}, \"cluster\": {\"nodes\": []}}");
    return buf_take(&b, ret_n);
}

/* ---- the recording ---- */

char *file_text(const char *path, size_t *ret_n)
{
    FILE *f = fopen(path, "r");
    struct buf b = {0};
    size_t n;

    if (!f)
        test_fail(__FILE__, __LINE__, "cannot read %s: tests run in the project's root", path);
    do {
        uint8_t *to = buf_reserve(&b, 1 << 16);

        n = fread(to, 1, 1 << 16, f);
        b.len += n;
    } while (n);
    fclose(f);
    return buf_take(&b, ret_n);
}

static char *option(const json_t *request, const char *name)
{
    return mem_strdup(json_string_value(json_object_get(json_object_get(request, "options"), name)));
}

/* The bytes of the last member of a line's object. */
static void take_member(struct recorded *r, const char *line, const char *end, const char *key)
{
    const char *at = strstr(line, key);

    CHECK(at && end[-1] == '}');
    at += strlen(key);
    r->n = (size_t)(end - 1 - at);
    r->text = mem_strndup(at, r->n);
}

struct recording recording_load(void)
{
    struct recording recording = {0};
    size_t n;
    char *all = file_text("tests/data/session.jsonl", &n), *end;

    for (char *line = all; *line; line = end + 1) {
        struct recorded r = {0};
        json_t *json, *request;

        end = strchr(line, '\n');
        CHECK(end);
        *end = '\0';
        json = json_loads(line, 0, NULL);
        CHECK(json);
        request = json_object_get(json, "request");
        r.action = mem_strdup(json_string_value(json_object_get(request, "action")));
        r.path = option(request, "path");
        r.key = option(request, "key");
        r.is_event = json_object_get(json, "event") != NULL;
        if (r.is_event)
            take_member(&r, line, end, "\"event\": ");
        else if (json_object_get(json, "response"))
            take_member(&r, line, end, "\"response\": ");
        recording.items = mem_realloc(recording.items, recording.n + 1, sizeof(r));
        recording.items[recording.n++] = r;
        json_decref(json);
    }
    mem_free(all);
    return recording;
}

void recording_free(struct recording *r)
{
    for (size_t i = 0; i < r->n; i++) {
        mem_free(r->items[i].text);
        mem_free(r->items[i].action);
        mem_free(r->items[i].path);
        mem_free(r->items[i].key);
    }
    mem_free(r->items);
    *r = (struct recording){0};
}

const struct recorded *recording_last_status(const struct recording *r)
{
    for (size_t i = r->n; i-- > 0;)
        if (r->items[i].action && strcmp(r->items[i].action, "daemon_status") == 0)
            return &r->items[i];
    return NULL;
}
