/*
 * Sessions: life, the proxy's gateway, requests, and what they subscribe to.
 *
 * A request is decoded, its answer to an earlier response is taken (xds_verdict.c), then what it says of its
 * subscription. Subscriptions only mark slots as pending; what is sent is decided when the stream can take a message,
 * from the newest state (xds_send.c).
 *
 * Until the gateway of a proxy is known and complete its requests are kept as they came, and it is sent nothing: an
 * empty answer would delete what it has.
 */
#include "server/xds_session.h"

#include "base/utf8.h"
#include "server/xds_question.h"
#include "server/xds_stream.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void on_change(struct xds_watcher *w, const struct xds_touched *touched, size_t n);

struct xds_session *xds_session_new(const struct xds_session_options *options, clock_ns now)
{
    struct xds_session *s = mem_new(struct xds_session);

    s->watcher.changed = on_change;
    s->common = options->common;
    s->options = *options;
    s->peer = mem_strdup(options->peer);
    s->grace_until = now + XDS_GRACE;
    s->deadline = INT64_MAX;
    buf_init(&s->held_requests, XDS_HELD_REQUESTS_MAX + XDS_REQUEST_MAX + sizeof(uint32_t));
    for (unsigned type = 0; type < XDS_TYPES; type++) {
        s->subs[type].type = (enum xds_type)type;
        s->subs[type].sums = options->variant == XDS_SOTW;
    }
    xds_roster_add(s->common->directory, s);
    return s;
}

static void free_responses(struct xds_response *r)
{
    while (r) {
        struct xds_response *next = r->next;

        xds_response_free(r);
        r = next;
    }
}

static void sub_clear(struct xds_sub *sub)
{
    for (uint32_t slot = 0; slot < sub->cap; slot++)
        xds_form_unref(sub->held[slot]);
    for (uint32_t slot = bits_next(&sub->named, 0); slot != BITS_END; slot = bits_next(&sub->named, slot + 1))
        xds_slot_unref(sub->table->space, slot);
    free_responses(sub->first);
    xds_mixes_free(sub);
    xds_bridges_free(sub);
    while (sub->groups) {
        struct xds_group *next = sub->groups->next;

        mem_free(sub->groups);
        sub->groups = next;
    }
    mem_free(sub->held);
    bits_clear(&sub->named);
    bits_clear(&sub->pending);
    bits_clear(&sub->blocked);
    bits_clear(&sub->owed);
    bits_clear(&sub->suspect);
    bits_clear(&sub->holding);
    bits_clear(&sub->same);
    bits_clear(&sub->confirmed);
}

void xds_session_free(struct xds_session *s)
{
    if (!s)
        return;
    xds_unwatch(&s->watcher);
    xds_progress_leave(s);
    xds_kept_leave(s);
    xds_roster_remove(s->common->directory, s);
    for (unsigned type = 0; type < XDS_TYPES; type++) {
        sub_clear(&s->subs[type]);
        bits_clear(&s->in_use[type]);
    }
    free_responses(s->awaited);
    xds_kept_free(s);
    bits_clear(&s->waived);
    xds_refusing_put(s->common->refusals, s->refusing);
    xds_gateway_unref(s->gateway);
    buf_clear(&s->held_requests);
    mem_free(s->node_id);
    mem_free(s->node_cluster);
    mem_free(s->node_gateway);
    mem_free(s->node_version);
    mem_free(s->peer);
    mem_free(s);
}

const char *xds_session_node(const struct xds_session *s)
{
    return s->node_id;
}

clock_ns xds_session_deadline(const struct xds_session *s)
{
    return s->deadline;
}

/* ---- what the client holds ---- */

/* A form that is not the current one; takes the reference (f may be NULL). */
static void keep_other(struct xds_sub *sub, uint32_t slot, struct xds_form *f)
{
    if (slot >= sub->cap) {
        uint32_t cap = sub->table->cap > slot ? sub->table->cap : slot + slot / 4 + 1;

        if (!f)
            return;
        sub->held = mem_realloc(sub->held, cap, sizeof(struct xds_form *));
        memset(sub->held + sub->cap, 0, (cap - sub->cap) * sizeof(struct xds_form *));
        sub->cap = cap;
    }
    xds_form_unref(sub->held[slot]);
    sub->held[slot] = f;
}

void xds_hold(struct xds_sub *sub, uint32_t slot, struct xds_form *f)
{
    struct xds_form *before = xds_held(sub, slot);

    if (before == f)
        return;
    if (before && sub->sums)
        xds_sum_subtract(&sub->sum, before->hash);
    if (f && sub->sums)
        xds_sum_add(&sub->sum, f->hash);
    if (!f || !xds_same_form(before, f))
        bits_unset(&sub->confirmed, slot);
    if (f && f == xds_current(sub->table, slot)) {
        bits_set(&sub->same, slot);
        keep_other(sub, slot, NULL);
    } else {
        bits_unset(&sub->same, slot);
        keep_other(sub, slot, f ? xds_form_ref(f) : NULL);
    }
    if (f)
        bits_set(&sub->holding, slot);
    else
        bits_unset(&sub->holding, slot);
}

/* The client dropped it by itself: it does not want it any more. */
static void forget(struct xds_sub *sub, uint32_t slot)
{
    bits_unset(&sub->pending, slot);
    bits_unset(&sub->blocked, slot);
    bits_unset(&sub->owed, slot);
    bits_unset(&sub->suspect, slot);
    xds_hold(sub, slot, NULL);
}

static void forget_uncovered(struct xds_sub *sub)
{
    for (uint32_t slot = bits_next(&sub->holding, 0); slot != BITS_END && !sub->wildcard;
         slot = bits_next(&sub->holding, slot + 1)) {
        /* Words of which all is covered are passed over. */
        if ((bits_word(&sub->holding, slot / 64) & ~bits_word(&sub->named, slot / 64)) == 0)
            slot |= 63;
        else if (!xds_covers(sub, slot))
            forget(sub, slot);
    }
}

void xds_session_unblock(struct xds_session *s)
{
    for (unsigned type = 0; type < XDS_TYPES; type++) {
        struct xds_sub *sub = &s->subs[type];

        if (sub->blocked.count == 0)
            continue;
        bits_add_all(&sub->pending, &sub->blocked);
        bits_reset(&sub->blocked);
    }
}

/* ---- the gateway ---- */

static void look_at_all(struct xds_sub *sub)
{
    if (sub->wildcard)
        bits_add_all(&sub->pending, &sub->table->live);
    bits_add_all(&sub->pending, &sub->named);
    bits_add_all(&sub->pending, &sub->holding);
}

/* What another client took is nothing to one that refused nothing. */
static bool passes_over(const struct xds_session *s, const struct xds_touched *touched, size_t n)
{
    return n > 0 && touched->accepted && xds_refusing_count(s->refusing) == 0;
}

static void on_change(struct xds_watcher *w, const struct xds_touched *touched, size_t n)
{
    struct xds_session *s = (struct xds_session *)w;
    bool concerned = !touched;

    assert(touched || n == 0);
    if (passes_over(s, touched, n))
        return;
    for (unsigned type = 0; !touched && s->gateway && type < XDS_TYPES; type++)
        if (s->subs[type].asked)
            look_at_all(&s->subs[type]);
    for (size_t i = 0; i < n; i++) {
        struct xds_sub *sub = &s->subs[touched[i].type];

        /* What the client has is not the current form any more. */
        if (touched[i].before && bits_unset(&sub->same, touched[i].slot))
            keep_other(sub, touched[i].slot, xds_form_ref(touched[i].before));
        if (!sub->asked || (!xds_covers(sub, touched[i].slot) && !xds_held(sub, touched[i].slot)))
            continue;
        bits_set(&sub->pending, touched[i].slot);
        xds_keep(s, sub, touched[i].slot);
        concerned = true;
    }
    (void)xds_progress_advance(s, 0); /* a session that is concerned is asked again anyway */
    if (concerned) {
        s->in_use_valid = false;
        s->options.ready(s->options.arg);
    }
}

void xds_session_try_again(struct xds_session *s)
{
    on_change(&s->watcher, NULL, 0);
}

static struct xds_gateway *find_gateway(const struct xds_session *s, const char *name)
{
    return name && *name ? xds_directory_find(s->common->directory, name, strlen(name)) : NULL;
}

const char *xds_session_unknown_gateway(const struct xds_session *s)
{
    if (!s->node_known || s->gateway || !s->common->directory->complete)
        return NULL;
    if (s->node_gateway)
        return s->node_gateway;
    return s->common->default_gateway ? s->common->default_gateway : "";
}

static void remember(struct xds_session *s)
{
    char id[XDS_PROXY_ID_MAX];

    if (s->common->presence)
        s->known = xds_presence_came(s->common->presence, &(struct xds_visitor){.gateway = s->gateway->name,
                                                                                .node_id = s->node_id,
                                                                                .node_cluster = s->node_cluster,
                                                                                .id = xds_proxy_id(s, id),
                                                                                .peer = s->peer,
                                                                                .version = s->node_version,
                                                                                .variant = s->options.variant,
                                                                                .at = s->roster.began_at});
}

/*
 * A proxy belongs to the gateway that its metadata names, else its cluster, else its id, else to the default one. The
 * metadata's word stands even if there is no such gateway (then the proxy waits for it); the others are the names of
 * many a thing, and count only if they are a gateway's.
 */
static int resolve_gateway(struct xds_session *s, clock_ns now, struct err *e)
{
    struct xds_gateway *g = NULL;
    const char *name = s->node_gateway;

    if (!name) {
        g = find_gateway(s, s->node_cluster);
        if (!g)
            g = find_gateway(s, s->node_id);
        name = g ? g->name : s->common->default_gateway;
    }
    if (!g)
        g = find_gateway(s, name);
    if (name && (g || s->node_gateway || s->common->directory->complete) && !s->options.allowed(s->options.arg, name))
        return err_set(e, -EACCES, name, NULL, "this address does not serve the gateway to you");
    if (!g)
        return 0;
    s->gateway = xds_gateway_ref(g);
    for (unsigned type = 0; type < XDS_TYPES; type++)
        s->subs[type].table = &g->tables[type];
    s->refusing = xds_refusing_get(s->common->refusals, s->proxy, g->name);
    s->stream = xds_refusing_begin(s->refusing, s->options.aggregated ? XDS_TYPES : s->options.type);
    xds_unwatch(&s->watcher);
    xds_watch(&g->watchers, &s->watcher);
    xds_progress_join(s, now);
    remember(s);
    return 0;
}

static char *text_of(struct xds_span span)
{
    return span.n ? mem_strndup(span.p, span.n) : NULL;
}

/* What it says of its version: as a text (NULL: nothing that could be one), and as a number. */
static char *version_of(const struct xds_node *node, uint64_t *ret_digest)
{
    struct xds_span text = node->agent_version;
    uint64_t numbers[3];

    *ret_digest = hash_bytes(text.n ? text.p : "", text.n);
    if (text.n == 0)
        return NULL;
    if (!node->is_build_version)
        return utf8_prefix(text.p, text.n) == text.n ? text_of(text) : NULL;
    if (xds_decode_build_version(text, numbers, ret_digest) < 0)
        return NULL;
    return mem_printf("%" PRIu64 ".%" PRIu64 ".%" PRIu64, numbers[0], numbers[1], numbers[2]);
}

/* The node may come with the first request only, and stands for the life of the stream. */
static int take_node(struct xds_session *s, const struct xds_node *node, clock_ns now, struct err *e)
{
    const struct xds_span parts[] = {node->id, node->agent_name, node->cluster};
    uint64_t build;

    if (s->node_known)
        return 0;
    s->node_known = true;
    s->node_id = text_of(node->id);
    s->node_cluster = text_of(node->cluster);
    s->node_gateway = text_of(node->gateway);
    s->node_version = version_of(node, &build);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        s->proxy = hash_seeded(parts[i].n ? parts[i].p : "", parts[i].n, s->proxy + 1);
    s->proxy = hash_seeded(&build, sizeof(build), s->proxy);
    if (s->node_gateway)
        s->proxy = hash_seeded(s->node_gateway, strlen(s->node_gateway), s->proxy);
    xds_watch(&s->common->directory->unresolved, &s->watcher);
    return resolve_gateway(s, now, e);
}

/* ---- subscriptions ---- */

/*
 * The names of a list with their slots, looked up some at a time: a request may hold ten thousand of each of three
 * kinds, and most of the time would go into waiting for memory.
 */
struct names {
    struct xds_list list;
    bool is_map;
    const struct xds_space *space;
    struct xds_span names[MAP_MANY_MAX], values[MAP_MANY_MAX];
    uint32_t slots[MAP_MANY_MAX];
    size_t n, at;
    int failed; /* what comes next is no entry: the error that xds_map_next() gave */
};

static void names_begin(struct names *it, const struct xds_sub *sub, struct xds_list list, bool is_map)
{
    it->list = list;
    it->is_map = is_map;
    it->space = sub->table->space;
    it->n = it->at = 0;
    it->failed = 0;
}

static bool names_fill(struct names *it)
{
    struct map_lookup found[MAP_MANY_MAX];

    it->at = 0;
    for (it->n = 0; it->n < MAP_MANY_MAX; it->n++) {
        struct xds_span *name = &it->names[it->n];
        int more = it->is_map ? xds_map_next(&it->list, name, &it->values[it->n]) : xds_list_next(&it->list, name);

        if (more < 0)
            it->failed = more;
        if (more <= 0)
            break;
        found[it->n].key = name->p;
        found[it->n].key_len = name->n;
    }
    map_get_many(&it->space->by_name, found, it->n);
    for (size_t i = 0; i < it->n; i++)
        it->slots[i] = found[i].value ? ((const struct xds_name *)found[i].value)->slot : XDS_NO_SLOT;
    return it->n > 0;
}

/* The next name; its slot is XDS_NO_SLOT if nobody knew it when it was looked up (at most MAP_MANY_MAX names ago). */
static bool names_next(struct names *it, struct xds_span *ret_name, uint32_t *ret_slot)
{
    if (it->at == it->n && !names_fill(it))
        return false;
    *ret_name = it->names[it->at];
    *ret_slot = it->slots[it->at++];
    return true;
}

/* Of a map: what stands beside the name that came last. */
static struct xds_span names_value(const struct names *it)
{
    return it->values[it->at - 1];
}

/*
 * The slot of a name that the client speaks of; slot: what was found. A name that nobody knew gets one, with a
 * reference that is the caller's (ret_new).
 */
static int name_slot(struct xds_sub *sub, struct xds_span name, uint32_t *slot, bool *ret_new, struct err *e)
{
    *ret_new = false;
    if (*slot != XDS_NO_SLOT)
        return 0;
    /* It may stand twice in one request. */
    *slot = xds_slot_find(sub->table->space, name.p, name.n);
    if (*slot != XDS_NO_SLOT)
        return 0;
    if (utf8_prefix(name.p, name.n) != name.n || memchr(name.p, 0, name.n))
        return err_set(e, -EINVAL, NULL, "resource_names", "a name is not valid UTF-8");
    if (sub->named.count + sub->holding.count > 2 * sub->table->live.count + XDS_UNKNOWN_NAMES_MAX)
        return err_set(e, -ENOBUFS, NULL, "resource_names", "more than %d names that do not exist",
                       XDS_UNKNOWN_NAMES_MAX);
    *slot = xds_slot_new(sub->table->space, name.p, name.n);
    *ret_new = true;
    return 0;
}

static void subscribe(struct xds_sub *sub, uint32_t slot)
{
    if (bits_set(&sub->named, slot))
        xds_slot_ref(sub->table->space, slot);
    bits_set(&sub->pending, slot);
}

/* False when it was not subscribed by name. */
static bool unsubscribe(struct xds_sub *sub, uint32_t slot)
{
    if (!bits_unset(&sub->named, slot))
        return false;
    if (!sub->wildcard)
        forget(sub, slot);
    sub->claims = false;
    xds_slot_unref(sub->table->space, slot);
    return true;
}

static bool is_wildcard(struct xds_span name)
{
    return xds_span_is(name, "*");
}

static bool has_wildcard(enum xds_type type)
{
    return type == XDS_CLUSTER || type == XDS_LISTENER;
}

/* A wildcard over secrets is none: who wants a private key has to name it. */
static bool allows_wildcard(enum xds_type type)
{
    return type != XDS_SECRET;
}

static void set_wildcard(struct xds_sub *sub, bool wildcard)
{
    if (sub->wildcard == wildcard)
        return;
    sub->wildcard = wildcard;
    if (wildcard)
        bits_add_all(&sub->pending, &sub->table->live);
    else
        forget_uncovered(sub);
}

/* State of the world: the request's list is the whole subscription. */
static int replace_names(struct xds_session *s, struct xds_sub *sub, struct xds_list list, struct err *e)
{
    struct bits wanted = {0};
    struct xds_span name;
    bool wildcard = false, more = false, new;
    struct names it;
    uint32_t slot;
    int r = 0;

    names_begin(&it, sub, list, false);
    while (r == 0 && names_next(&it, &name, &slot)) {
        if (is_wildcard(name) && allows_wildcard(sub->type)) {
            wildcard = true;
            continue;
        }
        r = name_slot(sub, name, &slot, &new, e);
        if (r < 0)
            break;
        bits_set(&wanted, slot);
        if (!bits_get(&sub->named, slot)) {
            more |= !sub->wildcard;
            subscribe(sub, slot);
        }
        if (new)
            xds_slot_unref(sub->table->space, slot);
    }
    if (r == 0) {
        more |= wildcard && !sub->wildcard;
        set_wildcard(sub, wildcard);
        for (slot = bits_next(&sub->named, 0); slot != BITS_END; slot = bits_next(&sub->named, slot + 1))
            if (!bits_get(&wanted, slot))
                unsubscribe(sub, slot);
        if (more && xds_is_full(s, sub->type))
            sub->answer_due = true;
    }
    bits_clear(&wanted);
    return r;
}

/*
 * A stale request subscribes to nothing, but what it does not name any more the client has dropped, maybe to ask for
 * it anew in the next one: which would be lost, if the session took the one before for what it had.
 */
static void drop_unnamed(struct xds_sub *sub, const struct xds_request *request)
{
    struct bits kept = {0};
    struct xds_span name;
    struct names it;
    uint32_t slot;

    if (request->memo == (int)sub->type)
        return;
    names_begin(&it, sub, request->names, false);
    while (names_next(&it, &name, &slot))
        if (slot != XDS_NO_SLOT)
            bits_set(&kept, slot);
    for (slot = bits_next(&sub->named, 0); slot != BITS_END; slot = bits_next(&sub->named, slot + 1))
        if (!bits_get(&kept, slot) && unsubscribe(sub, slot))
            sub->memo = (struct xds_memo){0};
    bits_clear(&kept);
}

static int take_names(struct xds_session *s, struct xds_sub *sub, const struct xds_request *request, struct err *e)
{
    int r;

    if (request->memo == (int)sub->type)
        return 0;
    if (request->names.count == 0 && !sub->had_names) {
        set_wildcard(sub, has_wildcard(sub->type));
        return 0;
    }
    sub->had_names = true;
    r = replace_names(s, sub, request->names, e);
    sub->memo = r == 0 ? xds_list_memo(&request->names) : (struct xds_memo){0};
    return r;
}

/* Asked for again: sent again. What the client told that it has (with the first request) is not. */
static void subscribe_told(struct xds_sub *sub, const struct bits *slots, bool first)
{
    for (uint32_t slot = bits_next(slots, 0); slot != BITS_END; slot = bits_next(slots, (slot | 63) + 1)) {
        uint32_t word = slot / 64;
        uint64_t told = bits_word(slots, word);

        for (uint64_t new = told & ~bits_word(&sub->named, word); new; new &= new - 1)
            xds_slot_ref(sub->table->space, word * 64 + (uint32_t)__builtin_ctzll(new));
        bits_set_word(&sub->named, word, told);
        bits_set_word(&sub->pending, word, told);
        bits_set_word(&sub->owed, word, first ? told & ~bits_word(&sub->holding, word) : told);
    }
}

static int subscribe_delta(struct xds_sub *sub, struct xds_list list, bool first, struct err *e)
{
    struct xds_space *space = sub->table->space;
    struct xds_memo memo = xds_list_memo(&list);
    struct xds_span name;
    struct names it;
    uint32_t slot;
    bool new;
    int r;

    if (memo.length && xds_same_memo(&memo, &space->told)) {
        subscribe_told(sub, &space->told_slots, first);
        return 0;
    }
    if (memo.length) {
        space->told = (struct xds_memo){0};
        bits_reset(&space->told_slots);
    }
    names_begin(&it, sub, list, false);
    while (names_next(&it, &name, &slot)) {
        if (is_wildcard(name) && allows_wildcard(sub->type)) {
            set_wildcard(sub, true);
            memo.length = 0; /* a list of more than names */
            continue;
        }
        r = name_slot(sub, name, &slot, &new, e);
        if (r < 0)
            return r;
        /* Asked for again: sent again. What the client told that it has (with the first request) is not. */
        if (!first || !xds_held(sub, slot))
            bits_set(&sub->owed, slot);
        subscribe(sub, slot);
        if (memo.length)
            bits_set(&space->told_slots, slot);
        if (new)
            xds_slot_unref(space, slot);
    }
    if (memo.length)
        space->told = memo;
    return 0;
}

static void unsubscribe_delta(struct xds_sub *sub, struct xds_list list)
{
    struct xds_span name;
    struct names it;
    uint32_t slot;

    names_begin(&it, sub, list, false);
    while (names_next(&it, &name, &slot)) {
        if (is_wildcard(name) && allows_wildcard(sub->type)) {
            set_wildcard(sub, false);
            continue;
        }
        /* Not known, or not any more: the list may hold it twice. */
        if (slot == XDS_NO_SLOT || !sub->table->space->names[slot])
            continue;
        unsubscribe(sub, slot);
        /* Still covered by the wildcard: the client has to be told that it stays (xds_protocol). */
        if (sub->wildcard) {
            bits_set(&sub->owed, slot);
            bits_set(&sub->pending, slot);
        }
    }
}

/* Of a resource, 16 digits. Any other text stands for something that is not known here. */
static uint64_t parse_version(struct xds_span text)
{
    uint64_t version;

    if (text.n == 16 && xds_hex_parse(text.p, text.n, &version))
        return version;
    return hash_bytes(text.n ? text.p : "", text.n) | 1;
}

/*
 * Whether the client has just what is current, all of it: nearly always so after a reconnect. Told from the sum of
 * what it lists, in whatever order that is, without looking up any of the names.
 */
static bool has_all_current(const struct xds_table *t, struct xds_list list)
{
    struct xds_span name, version;
    struct hash128 sum = {0};
    int more;

    if (list.count == 0 || list.count != t->live.count)
        return false;
    while ((more = xds_map_next(&list, &name, &version)) > 0)
        xds_sum_add(&sum, xds_version_hash(name.p, name.n, parse_version(version)));
    return more == 0 && hash128_equal(sum, t->sum);
}

/* The client came with this version, which is not the current one. */
static void hold_version(struct xds_session *s, struct xds_sub *sub, uint32_t slot, uint64_t version)
{
    struct xds_form *f = xds_accepted(sub->table, slot);

    if (!f || f->version != version)
        f = xds_kept(s, sub, slot);
    f = f && f->version == version ? xds_form_ref(f) : xds_form_foreign(s->gateway, sub->type, slot, version);
    xds_hold(sub, slot, f);
    xds_form_unref(f);
}

/* initial_resource_versions: what the client has from an earlier stream. */
static int take_versions(struct xds_session *s, struct xds_sub *sub, struct xds_list list, struct err *e)
{
    struct xds_span name;
    struct names it;
    uint32_t slot;
    bool new;

    if (has_all_current(sub->table, list)) {
        struct bits *const takes[] = {&sub->pending, &sub->same, &sub->holding, &sub->confirmed};

        for (size_t i = 0; i < ARRAY_LEN(takes); i++)
            bits_add_all(takes[i], &sub->table->live);
        return 0;
    }
    names_begin(&it, sub, list, true);
    while (names_next(&it, &name, &slot)) {
        uint64_t version = parse_version(names_value(&it));
        int r = name_slot(sub, name, &slot, &new, e);

        if (r < 0)
            return r;
        bits_set(&sub->pending, slot);
        if (slot < sub->table->cap && sub->table->versions[slot] == version) {
            bits_set(&sub->same, slot);
            bits_set(&sub->holding, slot);
        } else {
            hold_version(s, sub, slot, version);
        }
        bits_set(&sub->confirmed, slot);
        if (new)
            xds_slot_unref(sub->table->space, slot);
    }
    if (it.failed)
        return err_set(e, -EINVAL, NULL, "initial_resource_versions",
                       it.failed == -E2BIG ? "a name or version is too long" : "not a valid protobuf message");
    return 0;
}

static int take_delta(struct xds_session *s, struct xds_sub *sub, const struct xds_request *request, clock_ns now,
                      struct err *e)
{
    uint64_t nonce = xds_nonce_parse(request->nonce);
    bool first = !sub->asked;
    int r = 0;

    sub->asked = true;
    if (first) {
        sub->answer_due = request->versions.count == 0;
        r = take_versions(s, sub, request->versions, e);
        if (r == 0 && request->names.count == 0 && has_wildcard(sub->type))
            set_wildcard(sub, true);
    } else if (nonce && request->refused) {
        xds_take_nack(s, sub, nonce, request->words, now);
    } else if (nonce) {
        xds_take_ack(s, sub, nonce, now);
    }
    if (r == 0)
        r = subscribe_delta(sub, request->names, first, e);
    if (r < 0)
        return r;
    unsubscribe_delta(sub, request->unsubscribe);
    if (first)
        forget_uncovered(sub);
    sub->answer_due = sub->answer_due && sub->wildcard;
    return 0;
}

static int take_first_sotw(struct xds_session *s, struct xds_sub *sub, const struct xds_request *request,
                           clock_ns now, struct err *e)
{
    int r;

    sub->asked = true;
    sub->answer_due = xds_is_full(s, sub->type);
    sub->presumed = request->version.n > 0;
    sub->claims = xds_version_parse(request->version, &sub->claim);
    r = take_names(s, sub, request, e);
    /* Before anything changes; that of another type may have waited for this one. */
    for (unsigned type = 0; r == 0 && type < XDS_TYPES; type++)
        if (s->subs[type].claims)
            xds_check_claim(s, &s->subs[type], now);
    return r;
}

/*
 * What the client says to the response with that nonce. The version beside a refusal is that of what the client has:
 * if it is that of this response, it was taken, and the words are about an earlier one (Envoy, while it warms,
 * answers for several at once); if it is that of an earlier one, that one was taken.
 */
static void take_sotw_verdict(struct xds_session *s, struct xds_sub *sub, const struct xds_request *request,
                              uint64_t nonce, clock_ns now)
{
    struct hash128 version;
    uint64_t taken = 0;

    if (!request->refused) {
        xds_take_ack(s, sub, nonce, now);
        return;
    }
    if (xds_version_parse(request->version, &version))
        for (const struct xds_response *r = sub->first; r && r->nonce <= nonce; r = r->next)
            if (!r->answered && hash128_equal(r->version, version))
                taken = r->nonce;
    if (taken)
        xds_take_ack(s, sub, taken, now);
    if (taken != nonce)
        xds_take_nack(s, sub, nonce, request->words, now);
    else
        xds_tell_nack(s, sub, request->words);
}

static int take_sotw(struct xds_session *s, struct xds_sub *sub, const struct xds_request *request, clock_ns now,
                     struct err *e)
{
    uint64_t nonce = xds_nonce_parse(request->nonce);

    if (!sub->asked)
        return take_first_sotw(s, sub, request, now, e);
    /* What it came with, before it drops something of that. */
    if (sub->claims)
        xds_check_claim(s, sub, now);
    if (sub->nonce && nonce != sub->nonce) {
        /* A stale request: it is not answered. What it says of an earlier response counts. */
        if (nonce)
            take_sotw_verdict(s, sub, request, nonce, now);
        drop_unnamed(sub, request);
        return 0;
    }
    if (sub->nonce)
        take_sotw_verdict(s, sub, request, nonce, now);
    return take_names(s, sub, request, e);
}

/* ---- requests ---- */

/* XDS_TYPES when it is none of ours. */
static enum xds_type type_of(struct xds_span url)
{
    for (unsigned type = 0; type < XDS_TYPES; type++)
        if (xds_span_is(url, xds_type_url[type]))
            return (enum xds_type)type;
    return XDS_TYPES;
}

static int take_request(struct xds_session *s, const struct xds_request *request, clock_ns now, struct err *e)
{
    enum xds_type type = s->options.aggregated || request->type_url.n ? type_of(request->type_url) : s->options.type;
    struct xds_sub *sub;
    int r;

    if (!s->options.aggregated && type != s->options.type)
        return err_set(e, -EINVAL, NULL, "type_url", "this service serves %s only", xds_type_url[s->options.type]);
    if (type == XDS_TYPES)
        return 0; /* of a type that is not served: no answer, and no harm to the others */
    sub = &s->subs[type];
    r = s->options.variant == XDS_DELTA ? take_delta(s, sub, request, now, e) : take_sotw(s, sub, request, now, e);
    s->in_use_valid = false;
    xds_session_unblock(s);
    (void)xds_progress_advance(s, now); /* when it wants to be called again it says after the next message */
    return r;
}

static int decode(struct xds_session *s, const uint8_t *p, size_t n, struct xds_request *ret, struct err *e)
{
    struct xds_memo memos[XDS_TYPES];
    int r;

    if (s->options.variant == XDS_DELTA) {
        r = xds_decode_delta(p, n, ret, e);
    } else {
        for (unsigned type = 0; type < XDS_TYPES; type++)
            memos[type] = s->subs[type].memo;
        r = xds_decode_sotw(p, n, memos, XDS_TYPES, ret, e);
        /* The list of another type, by chance: it has to be parsed for this one. */
        if (r == 0 && ret->memo >= 0 && type_of(ret->type_url) != (enum xds_type)ret->memo)
            r = xds_decode_sotw(p, n, NULL, 0, ret, e);
    }
    if (r == -E2BIG)
        return err_set(e, -ENOBUFS, NULL, NULL, "%s", e->text);
    return r < 0 ? err_set(e, -EINVAL, NULL, NULL, "%s", e->text) : 0;
}

/* Keeps a request until the gateway is known. */
static void hold_request(struct xds_session *s, const uint8_t *p, size_t n)
{
    uint32_t len = (uint32_t)n;

    buf_append(&s->held_requests, &len, sizeof(len));
    buf_append(&s->held_requests, p, n);
    assert(!s->held_requests.overflow);
}

static int take_held_requests(struct xds_session *s, clock_ns now, struct err *e)
{
    size_t at = 0;
    int r = 0;

    while (r == 0 && at < s->held_requests.len) {
        struct xds_request request;
        uint32_t len;

        memcpy(&len, s->held_requests.data + at, sizeof(len));
        at += sizeof(len);
        r = decode(s, s->held_requests.data + at, len, &request, e);
        if (r == 0)
            r = take_request(s, &request, now, e);
        at += len;
    }
    buf_clear(&s->held_requests);
    return r;
}

bool xds_session_takes_requests(const struct xds_session *s)
{
    return s->held_requests.len <= XDS_HELD_REQUESTS_MAX;
}

int xds_session_request(struct xds_session *s, const uint8_t *p, size_t n, clock_ns now, struct err *e)
{
    struct xds_request request;
    int r;

    assert(n <= XDS_REQUEST_MAX && xds_session_takes_requests(s));
    r = decode(s, p, n, &request, e);
    if (r < 0)
        return r;
    r = take_node(s, &request.node, now, e);
    if (r < 0)
        return r;
    if (!s->gateway || s->held_requests.len > 0) {
        hold_request(s, p, n);
        return 0;
    }
    return take_request(s, &request, now, e);
}

int xds_session_settle(struct xds_session *s, clock_ns now, struct err *e)
{
    int r;

    if (!s->node_known)
        return 0;
    if (!s->gateway) {
        r = resolve_gateway(s, now, e);
        if (r < 0 || !s->gateway)
            return r;
    }
    if (!s->gateway->known)
        return 0;
    if (s->held_requests.len > 0) {
        r = take_held_requests(s, now, e);
        if (r < 0)
            return r;
    }
    return 1;
}
