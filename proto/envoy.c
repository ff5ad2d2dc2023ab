/* What all translations build with: wrappers, Any, addresses; packing, and unpacking into an arena. */
#include "proto/envoy.h"

#include "base/clock.h"
#include "store/service.h"

#include <string.h>

uint8_t *pb_pack(struct arena *a, const ProtobufCMessage *m, size_t *ret_len)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *wire = arena_alloc(a, n ? n : 1);

    *ret_len = protobuf_c_message_pack(m, wire);
    return wire;
}

static void *allocate(void *arena, size_t n)
{
    return arena_alloc(arena, n);
}

static void leave_to_the_arena(void *arena, void *p)
{
    (void)arena; /* the arena frees all at once */
    (void)p;
}

void *pb_unpack(struct arena *a, const ProtobufCMessageDescriptor *type, const uint8_t *wire, size_t n)
{
    ProtobufCAllocator allocator = {allocate, leave_to_the_arena, a};

    return protobuf_c_message_unpack(type, &allocator, n, wire);
}

pb_any *pb_any_empty(struct arena *a, const char *type_name)
{
    static const char prefix[] = "type.googleapis.com/";
    pb_any *any = pb_any_new(a);
    size_t n = strlen(type_name) + 1;

    any->type_url = arena_alloc(a, sizeof(prefix) - 1 + n);
    memcpy(any->type_url, prefix, sizeof(prefix) - 1);
    memcpy(any->type_url + sizeof(prefix) - 1, type_name, n);
    return any;
}

pb_any *pb_any_of(struct arena *a, const ProtobufCMessage *m)
{
    pb_any *any = pb_any_empty(a, m->descriptor->name);

    any->value.data = pb_pack(a, m, &any->value.len);
    return any;
}

pb_bool *pb_bool_of(struct arena *a, bool value)
{
    pb_bool *m = pb_bool_new(a);

    m->value = value;
    return m;
}

pb_uint32 *pb_uint32_of(struct arena *a, uint32_t value)
{
    pb_uint32 *m = pb_uint32_new(a);

    m->value = value;
    return m;
}

pb_uint64 *pb_uint64_of(struct arena *a, uint64_t value)
{
    pb_uint64 *m = pb_uint64_new(a);

    m->value = value;
    return m;
}

pb_duration *pb_duration_of(struct arena *a, int64_t ns)
{
    pb_duration *m = pb_duration_new(a);

    m->seconds = ns / CLOCK_NS_PER_S;
    m->nanos = (int32_t)(ns % CLOCK_NS_PER_S);
    return m;
}

void *pb_list_of(struct arena *a, void *element)
{
    void **list = arena_array(a, void *, 1);

    list[0] = element;
    return list;
}

pb_address *pb_address_of(struct arena *a, const struct address *address, uint16_t port, bool udp)
{
    pb_address *m = pb_address_new(a);
    pb_socket_address *s = pb_socket_address_new(a);
    char text[ADDRESS_TEXT_MAX];

    s->address = arena_strdup(a, address_text(address, text));
    s->port_specifier_case = PB_CORE(SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE);
    s->port_value = port;
    if (udp)
        s->protocol = PB_CORE(SOCKET_ADDRESS__PROTOCOL__UDP);
    m->address_case = PB_CORE(ADDRESS__ADDRESS_SOCKET_ADDRESS);
    m->socket_address = s;
    return m;
}

pb_config_source *pb_ads_source(struct arena *a)
{
    pb_config_source *m = pb_config_source_new(a);

    m->config_source_specifier_case = PB_CORE(CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_ADS);
    m->ads = pb_ads_new(a);
    m->resource_api_version = PB_CORE(API_VERSION__V3);
    return m;
}
