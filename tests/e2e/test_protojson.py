"""protobuf JSON and the validation rules in C, held against Python's json_format and against Envoy itself."""

import importlib
import json
import math
import pathlib
import random
import re
import struct
import subprocess
import sys

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor as F

from harness import BUILD, TYPES, validate

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "proto"))

import generate  # noqa: E402

WELL_KNOWN = ["Duration", "Timestamp", "Struct", "Value", "ListValue", "FieldMask", "Empty", "Any", "DoubleValue",
              "FloatValue", "Int64Value", "UInt64Value", "Int32Value", "UInt32Value", "BoolValue", "StringValue",
              "BytesValue"]
# Always tried; of the rest of the schema, a part that the seed decides.
FAVOURITES = """
envoy.config.cluster.v3.Cluster envoy.config.listener.v3.Listener envoy.config.route.v3.RouteConfiguration
envoy.config.route.v3.VirtualHost envoy.config.route.v3.Route envoy.config.endpoint.v3.ClusterLoadAssignment
envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig
envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext envoy.extensions.transport_sockets.tls.v3.Secret
envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext envoy.extensions.upstreams.http.v3.HttpProtocolOptions
envoy.config.core.v3.HealthCheck envoy.config.core.v3.Metadata envoy.config.accesslog.v3.AccessLogFilter
envoy.service.discovery.v3.DeltaDiscoveryResponse envoy.config.rbac.v3.Policy xds.type.v3.TypedStruct
envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication envoy.config.bootstrap.v3.Bootstrap
""".split()


class Tool:
    """tests/tools/protojson_tool.c as a function."""

    def __init__(self):
        self.child = subprocess.Popen([BUILD / "tools" / "protojson_tool"], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE)

    def ask(self, verb, kind, argument):
        self.child.stdin.write(f"{verb} {kind} {argument}\n".encode())
        self.child.stdin.flush()
        return self.child.stdout.readline().decode().rstrip("\n")

    def good(self, verb, kind, argument):
        answer = self.ask(verb, kind, argument)
        assert answer.startswith("ok "), f"{verb} {kind} {argument[:2000]}: {answer}"
        return answer[3:]

    def fault(self, verb, kind, argument):
        """(field, text)"""
        answer = self.ask(verb, kind, argument)
        assert answer.startswith("error "), f"{verb} {kind} {argument[:2000]}: {answer}"
        rest = answer.split(" ", 2)[2]
        field, end = json.JSONDecoder().raw_decode(rest)
        return field, json.loads(rest[end:])

    def encode(self, message_type, value):
        return bytes.fromhex(self.good("encode", message_type, json.dumps(value)))

    def decode(self, message):
        return json.loads(self.good("decode", message.DESCRIPTOR.full_name, message.SerializeToString().hex()))

    def close(self):
        self.child.stdin.close()
        assert self.child.wait(10) == 0


@pytest.fixture(scope="module")
def tool():
    t = Tool()
    yield t
    t.close()


def message_classes():
    """{full name: class} of what the tables cover."""
    classes = {}
    for name in generate.module_names():
        module = importlib.import_module(name)
        if generate.OPTION_FILES.match(module.DESCRIPTOR.name):
            continue
        stack = [getattr(module, m) for m in module.DESCRIPTOR.message_types_by_name]
        while stack:
            cls = stack.pop()
            if not cls.DESCRIPTOR.GetOptions().map_entry:
                classes[cls.DESCRIPTOR.full_name] = cls
            stack += [getattr(cls, nested) for nested in cls.DESCRIPTOR.nested_types_by_name]
    return dict(sorted(classes.items()))


CLASSES = message_classes()


class Maker:
    """Messages with random content, the same in every run."""

    TEXTS = ["", "a", "svc.example.org", 'quo"te\\', "tab\tnew\nline", "größe", "日本語", "🚀", "\u2028", "x" * 200]

    # No key begins with another: Python's own order of such keys is not by their bytes, and shows inside of an Any.
    KEYS = TEXTS[1:]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def message(self, cls, depth=0):
        name = cls.DESCRIPTOR.full_name
        m = cls()
        if name.startswith("google.protobuf."):
            special = getattr(self, "make_" + name.rsplit(".", 1)[1].lower(), None)
            if special:
                special(m, depth)
                return m
        chance = 0.7 if depth < 2 else 0.4 if depth < 5 else 0.1
        done = set()
        for field in m.DESCRIPTOR.fields:
            if field.containing_oneof in done and field.containing_oneof:
                continue
            if self.random.random() < chance and (depth < 7 or field.type != F.TYPE_MESSAGE):
                done.add(field.containing_oneof)
                self.fill(m, field, depth)
        return m

    def fill(self, m, field, depth):
        if field.message_type and field.message_type.GetOptions().map_entry:
            key, value = field.message_type.fields
            for _ in range(self.random.randint(0, 3)):
                k = self.random.choice(self.KEYS) if key.type == F.TYPE_STRING else self.scalar(key)
                if value.type == F.TYPE_MESSAGE:
                    getattr(m, field.name)[k].CopyFrom(self.submessage(value, depth))
                else:
                    getattr(m, field.name)[k] = self.scalar(value)
        elif field.is_repeated:
            for _ in range(self.random.randint(0, 3)):
                if field.type == F.TYPE_MESSAGE:
                    getattr(m, field.name).add().CopyFrom(self.submessage(field, depth))
                else:
                    getattr(m, field.name).append(self.scalar(field))
        elif field.type == F.TYPE_MESSAGE:
            getattr(m, field.name).CopyFrom(self.submessage(field, depth))
        else:
            setattr(m, field.name, self.scalar(field))

    def submessage(self, field, depth):
        return self.message(field.message_type._concrete_class, depth + 1)

    def integer(self, bits, signed):
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        return self.random.choice([0, 1, low, high, self.random.randint(low, high), self.random.randint(0, 1000)])

    def double(self):
        return self.random.choice([0.0, -0.0, 1.0, 0.1, -2.5, 1e300, 5e-324, math.inf, -math.inf, math.nan, 1 / 3,
                                   self.random.uniform(-1e6, 1e6), 123456789.0])

    def float(self):
        value = self.random.choice([0.0, 1.0, 0.1, -2.5, 3.4e38, 1e-45, math.inf, 16777217.0,
                                    self.random.uniform(-1e6, 1e6)])
        return struct.unpack("<f", struct.pack("<f", value))[0]

    def scalar(self, field):
        kind = field.type
        if kind == F.TYPE_BOOL:
            return self.random.random() < 0.7
        if kind == F.TYPE_STRING:
            return self.random.choice(self.TEXTS)
        if kind == F.TYPE_BYTES:
            return self.random.randbytes(self.random.randint(0, 40))
        if kind == F.TYPE_DOUBLE:
            return self.double()
        if kind == F.TYPE_FLOAT:
            return self.float()
        if kind == F.TYPE_ENUM:
            return 4711 if self.random.random() < 0.05 and field.enum_type.name != "NullValue" else \
                self.random.choice(field.enum_type.values).number
        signed = kind in (F.TYPE_INT32, F.TYPE_INT64, F.TYPE_SINT32, F.TYPE_SINT64, F.TYPE_SFIXED32, F.TYPE_SFIXED64)
        wide = kind in (F.TYPE_INT64, F.TYPE_SINT64, F.TYPE_SFIXED64, F.TYPE_UINT64, F.TYPE_FIXED64)
        return self.integer(64 if wide else 32, signed)

    def make_duration(self, m, _depth):
        m.seconds = self.random.choice([0, 1, -1, 315576000000, -315576000000, self.random.randint(-10**6, 10**6)])
        nanos = self.random.choice([0, 500000000, 1, 123456000, 999999999])
        if abs(m.seconds) < 315576000000:
            m.nanos = -nanos if m.seconds < 0 or (m.seconds == 0 and self.random.random() < 0.5) else nanos

    def make_timestamp(self, m, _depth):
        m.seconds = self.random.choice([0, -1, -62135596800, 253402300799, 951782400, 1709164800, 4107542399,
                                        self.random.randint(-62135596800, 253402300799)])
        m.nanos = self.random.choice([0, 500000000, 1, 123456000, 999999999])

    def make_fieldmask(self, m, _depth):
        m.paths.extend(self.random.sample(["a", "foo_bar", "foo_bar.baz_qux", "x.y"], self.random.randint(0, 3)))

    def make_any(self, m, depth):
        if self.random.random() < 0.1:
            return
        if self.random.random() < 0.3:
            content = self.message(CLASSES["google.protobuf." + self.random.choice(WELL_KNOWN)], depth + 2)
        else:
            content = self.message(CLASSES[self.random.choice(list(CLASSES))], depth + 3)
        m.Pack(content, deterministic=True)

    def json_value(self, depth):
        kind = self.random.randint(0, 6 if depth < 6 else 4)
        if kind == 5:
            return {t: self.json_value(depth + 1) for t in self.random.sample(self.KEYS, self.random.randint(0, 3))}
        if kind == 6:
            return [self.json_value(depth + 1) for _ in range(self.random.randint(0, 3))]
        return [None, True, 1.5, self.random.choice(self.TEXTS), 123456789012.0][kind]

    def make_struct(self, m, depth):
        m.update({t: self.json_value(depth) for t in self.random.sample(self.KEYS, self.random.randint(0, 4))})

    def make_value(self, m, depth):
        json_format.ParseDict(self.json_value(depth), m)

    def make_listvalue(self, m, depth):
        m.extend([self.json_value(depth) for _ in range(self.random.randint(0, 3))])


def chosen_types(seed, count):
    rest = [name for name in CLASSES if name not in FAVOURITES]
    return FAVOURITES * 4 + random.Random(seed).sample(rest, count) + ["google.protobuf." + n for n in WELL_KNOWN] * 4


def shuffled(value, rng):
    """The same JSON with the members of its objects in another order."""
    if isinstance(value, dict):
        items = [(k, shuffled(v, rng)) for k, v in value.items()]
        rng.shuffle(items)
        return dict(items)
    return [shuffled(v, rng) for v in value] if isinstance(value, list) else value


def same(a, b):
    """Equal JSON values, NaN (a text here) and the difference between 1 and 1.0 aside."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b or (
        not isinstance(a, (bool, str)) and not isinstance(b, (bool, str)) and a is not None and a == b)


def test_json_becomes_the_same_bytes_as_python_writes(tool):
    maker = Maker(1)
    rng = random.Random(2)
    sizes = []
    for name in chosen_types(3, 500):
        message = maker.message(CLASSES[name])
        wire = message.SerializeToString(deterministic=True)
        value = json_format.MessageToDict(message, preserving_proto_field_name=rng.random() < 0.5,
                                          use_integers_for_enums=rng.random() < 0.2)
        encoded = tool.encode(name, value)
        assert CLASSES[name].FromString(encoded).SerializeToString(deterministic=True) == wire, (name, value)
        assert tool.encode(name, shuffled(value, rng)) == encoded, name
        sizes.append(len(wire))
    assert sum(sizes) > 100000 and max(sizes) > 5000, "the messages made are too small to prove anything"


def test_bytes_become_the_same_json_as_python_writes(tool):
    maker = Maker(4)
    for name in chosen_types(5, 500):
        message = maker.message(CLASSES[name])
        decoded = tool.decode(message)
        expected = json_format.MessageToDict(message, preserving_proto_field_name=True)
        assert same(decoded, expected), (name, decoded, expected)
        again = json_format.ParseDict(decoded, CLASSES[name]())
        assert same(json_format.MessageToDict(again, preserving_proto_field_name=True), expected), name


DAMAGE = [None, True, "x", "", -1, 1.5, 0, [], {}, "1", "1.0", "-2s", "2s", "NaN", [None], {"@type": "x"}, "AQI",
          "2024-01-01T00:00:00Z", {"a": 1}, [1], 1e300, 2**40, "-1"]


def places(value):
    """(container, key) of everything in a JSON value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


def python_reads(name, value):
    try:
        return json_format.ParseDict(value, CLASSES[name]())
    except (json_format.ParseError, AttributeError, TypeError, ValueError):  # not all its faults are its own
        return None


def test_damaged_json_is_never_taken_where_python_refuses_it(tool):
    """We are stricter here and there (an empty text is no message, true no number), and never more lenient."""
    maker = Maker(6)
    rng = random.Random(7)
    refused = taken = 0
    for name in chosen_types(8, 400):
        value = json_format.MessageToDict(maker.message(CLASSES[name]), preserving_proto_field_name=True)
        if not isinstance(value, dict) or not value:
            continue
        container, key = rng.choice(list(places(value)))
        if isinstance(container, dict) and rng.random() < 0.2:
            container["no_such_field"] = 1
        else:
            container[key] = rng.choice(DAMAGE)
        expected = python_reads(name, value)
        answer = tool.ask("encode", name, json.dumps(value))
        if not answer.startswith("ok "):
            refused += 1
            continue
        assert expected is not None, (name, value)
        taken += 1
        encoded = CLASSES[name].FromString(bytes.fromhex(answer[3:]))
        assert same(json_format.MessageToDict(encoded), json_format.MessageToDict(expected)), (name, value)
    assert refused > 100 and taken > 20, (refused, taken)


# ---- Envoy's rules -------------------------------------------------------------------------------------------------

HCM = TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
LISTENER, CLUSTER = "envoy.config.listener.v3.Listener", "envoy.config.cluster.v3.Cluster"


def good_listener():
    return {
        "name": "http", "address": {"socket_address": {"address": "127.0.0.1", "port_value": 8080}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": {
            "@type": HCM, "stat_prefix": "http",
            "http_filters": [{"name": "router", "typed_config": {
                "@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}}],
            "route_config": {"name": "routes", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "route": {"cluster": "web"}}]}]}}}]}]}


def good_tcp_listener():
    return {
        "name": "tcp", "address": {"socket_address": {"address": "127.0.0.1", "port_value": 8080}},
        "filter_chains": [{"filters": [{"name": "tcp", "typed_config": {
            "@type": TYPES + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "tcp",
            "cluster": "web"}}]}]}


def good_cluster():
    return {
        "name": "web", "type": "STATIC", "connect_timeout": "0.25s",
        "load_assignment": {"cluster_name": "web", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
            "socket_address": {"address": "127.0.0.1", "port_value": 8081}}}}]}]},
        "health_checks": [{"timeout": "1s", "interval": "10s", "unhealthy_threshold": 3, "healthy_threshold": 1,
                           "tcp_health_check": {}}],
        "typed_extension_protocol_options": {HTTP_OPTIONS: {
            "@type": TYPES + HTTP_OPTIONS, "explicit_http_config": {"http2_protocol_options": {}}}}}


def put(value, path, new):
    """Sets what path names ("a[0].b", as in our own faults); a new of None takes it away."""
    steps = [int(s[1:-1]) if s[0] == "[" and s[1] != '"' else s.strip('[]"')
             for s in re.findall(r'\["[^"]*"\]|\[\d+\]|[^.\[]+', path)]
    for step in steps[:-1]:
        value = value[step] if isinstance(step, int) else value.setdefault(step, {})
    if new is None:
        del value[steps[-1]]
    else:
        value[steps[-1]] = new


CHAIN = "filter_chains[0].filters[0].typed_config."
VHOST = CHAIN + "route_config.virtual_hosts[0]."
ROUTE = VHOST + "routes[0]."
OPTIONS = 'typed_extension_protocol_options["%s"].' % HTTP_OPTIONS
HTTP2 = OPTIONS + "explicit_http_config.http2_protocol_options."
QUIC = OPTIONS + "auto_config.http3_protocol_options.quic_protocol_options.connection_keepalive."

# (what is changed, where, to what, the field that is at fault, our words)
BROKEN = [
    ("tcp", CHAIN + "stat_prefix", "", CHAIN + "stat_prefix", "must be at least 1 character long"),
    ("tcp", CHAIN + "stat_prefix", None, CHAIN + "stat_prefix", "must be at least 1 character long"),
    ("tcp", CHAIN + "cluster", None, CHAIN + "cluster_specifier", "is required: one of cluster, weighted_clusters"),
    ("tcp", CHAIN + "max_connect_attempts", 0, CHAIN + "max_connect_attempts", "must be at least 1, is 0"),
    ("tcp", "address.socket_address.port_value", 65536, "address.socket_address.port_value",
     "must be at most 65535, is 65536"),
    ("tcp", "address.socket_address.address", "", "address.socket_address.address", "at least 1 character"),
    ("tcp", "address.socket_address.port_value", None, "address.socket_address.port_specifier", "is required"),
    ("tcp", "filter_chains[0].filters[0].name", "", "filter_chains[0].filters[0].name", "at least 1 character"),
    ("tcp", 'metadata.filter_metadata', {"": {}}, 'metadata.filter_metadata[""]', "at least 1 character"),
    ("http", CHAIN + "codec_type", 9, CHAIN + "codec_type", "must be one of the values of the enum"),
    ("http", CHAIN + "max_request_headers_kb", 0, CHAIN + "max_request_headers_kb", "must be greater than 0, is 0"),
    ("http", CHAIN + "max_request_headers_kb", 8193, CHAIN + "max_request_headers_kb", "must be at most 8192"),
    ("http", CHAIN + "http_filters[0].name", "", CHAIN + "http_filters[0].name", "at least 1 character"),
    ("http", CHAIN + "server_name", "a\nb", CHAIN + "server_name", "must be a value of an HTTP header"),
    ("http", VHOST + "domains", [], VHOST + "domains", "must have at least 1 item"),
    ("http", VHOST + "domains", ["a\rb"], VHOST + "domains[0]", "must be a value of an HTTP header"),
    ("http", VHOST + "name", "", VHOST + "name", "at least 1 character"),
    ("http", VHOST + "request_headers_to_add", [{"header": {"key": "", "value": "x"}}],
     VHOST + "request_headers_to_add[0].header.key", "at least 1 character"),
    ("http", VHOST + "request_headers_to_add", [{"header": {"key": "a\nb", "value": "x"}}],
     VHOST + "request_headers_to_add[0].header.key", "must be a name of an HTTP header"),
    ("http", VHOST + "request_headers_to_add", [{"header": {"key": "a", "value": "x" * 16385}}],
     VHOST + "request_headers_to_add[0].header.value", "must be at most 16384 bytes long"),
    ("http", VHOST + "request_headers_to_add", [{}], VHOST + "request_headers_to_add[0].header", "is required"),
    ("http", ROUTE + "match", {}, ROUTE + "match.path_specifier", "is required: one of prefix, path, safe_regex"),
    ("http", ROUTE + "match", {"path_separated_prefix": "/a/"}, ROUTE + "match.path_separated_prefix",
     "must match the regular expression ^[^?#]+[^?#/]$"),
    ("http", ROUTE + "match", {"safe_regex": {"regex": ""}}, ROUTE + "match.safe_regex.regex", "at least 1"),
    ("http", ROUTE + "route", None, ROUTE + "action", "is required"),
    ("http", ROUTE + "route.cluster", "", ROUTE + "route.cluster", "at least 1 character"),
    ("http", CHAIN + "request_headers_timeout", "-1s", CHAIN + "request_headers_timeout",
     "must be at least 0s, is -1s"),
    ("http", ROUTE + "route.timeout", "-0.000000001s", ROUTE + "route.timeout", "must not be a negative duration"),
    ("http", ROUTE + "route.timeout", "9223372036s", ROUTE + "route.timeout",
     "must be a duration of at most 9223372035s"),
    ("http", ROUTE + "route.hash_policy", [{}], ROUTE + "route.hash_policy[0].policy_specifier", "is required"),
    ("http", ROUTE + "route.retry_policy.retry_back_off", {"base_interval": "0s"},
     ROUTE + "route.retry_policy.retry_back_off.base_interval", "must be greater than 0s, is 0s"),
    ("http", ROUTE + "route.retry_policy.retry_back_off", {},
     ROUTE + "route.retry_policy.retry_back_off.base_interval", "is required"),
    ("http", ROUTE + "route.internal_redirect_policy.response_headers_to_copy", ["a", "b", "a"],
     ROUTE + "route.internal_redirect_policy.response_headers_to_copy", "must not have the same item twice"),
    ("http", ROUTE + "route.rate_limits", [{"actions": [{"dynamic_metadata": {
        "descriptor_key": "a", "metadata_key": {"key": "k", "path": [{"key": "p"}]}}}]}],
     ROUTE + "route.rate_limits[0].actions[0].dynamic_metadata", "is deprecated"),
    ("web", "name", "", "name", "at least 1 character"),
    ("web", "connect_timeout", "0s", "connect_timeout", "must be greater than 0s, is 0s"),
    ("web", "lb_policy", 99, "lb_policy", "must be one of the values of the enum"),
    ("web", "health_checks[0].timeout", None, "health_checks[0].timeout", "is required"),
    ("web", "health_checks[0].interval", "0s", "health_checks[0].interval", "must be greater than 0s"),
    ("web", "health_checks[0].unhealthy_threshold", None, "health_checks[0].unhealthy_threshold", "is required"),
    ("web", "health_checks[0].tcp_health_check", None, "health_checks[0].health_checker", "is required"),
    ("web", "health_checks[0].tcp_health_check.send", {"text": ""}, "health_checks[0].tcp_health_check.send.text",
     "at least 1 character"),
    ("web", "outlier_detection.max_ejection_percent", 101, "outlier_detection.max_ejection_percent",
     "must be at most 100, is 101"),
    ("web", "common_lb_config.healthy_panic_threshold.value", 100.5, "common_lb_config.healthy_panic_threshold.value",
     "must be at most 100, is 100.5"),
    ("web", HTTP2 + "max_concurrent_streams", 0, HTTP2 + "max_concurrent_streams", "must be at least 1, is 0"),
    ("web", HTTP2 + "initial_stream_window_size", 65534, HTTP2 + "initial_stream_window_size",
     "must be at least 65535, is 65534"),
    ("web", "transport_socket.name", "", "transport_socket.name", "at least 1 character"),
    ("web", OPTIONS[:-1], {"@type": TYPES + HTTP_OPTIONS}, OPTIONS + "upstream_protocol_options", "is required"),
    ("web", OPTIONS[:-1], {"@type": TYPES + HTTP_OPTIONS, "auto_config": {"http3_protocol_options": {
        "quic_protocol_options": {"connection_keepalive": {"initial_interval": "0.0005s"}}}}},
     QUIC + "initial_interval", "must be at most 0s or must be at least 0.001s, is 0.0005s"),
]

# Odd, and taken by both.
ACCEPTED = [
    ("http", VHOST + "request_headers_to_add", [{"header": {"key": "a,b", "value": "tab\there"}}]),
    ("http", VHOST + "request_headers_to_add", [{"header": {"key": "x" * 16384, "value": "x" * 16384}}]),
    ("http", CHAIN + "server_name", "größe"),
    ("http", ROUTE + "match", {"path_separated_prefix": "/a"}),
    ("http", ROUTE + "route.internal_redirect_policy.response_headers_to_copy", ["a", "b"]),
    ("http", ROUTE + "route.timeout", "9223372035s"),
    ("http", "metadata.typed_filter_metadata", {"x": {"@type": TYPES + "google.protobuf.Duration", "value": "-1s"}}),
    ("tcp", "address.socket_address.port_value", 0),
    ("tcp", CHAIN + "max_connect_attempts", 1),
    ("web", "common_lb_config.healthy_panic_threshold.value", 100.0),
    ("web", "outlier_detection.max_ejection_percent", 100),
    ("web", HTTP2 + "initial_stream_window_size", 65535),
]


def resources_with(which, path, new):
    """{name: (type, JSON)} of a whole configuration with one change in it."""
    made = {"http": (LISTENER, good_listener()), "tcp": (LISTENER, good_tcp_listener()),
            "web": (CLUSTER, good_cluster())}
    made["tcp"][1]["address"]["socket_address"]["port_value"] = 8082
    if which:
        put(made[which][1], path, new)
    return made


def envoy_says(resources, world):
    listeners = [value for kind, value in resources.values() if kind == LISTENER]
    clusters = [value for kind, value in resources.values() if kind == CLUSTER]
    return validate({"static_resources": {"listeners": listeners, "clusters": clusters}}, world)


def we_say(resources, tool):
    """(field, words), or None when we take it all."""
    for kind, value in resources.values():
        wire = tool.encode(kind, value).hex()
        if tool.ask("validate", kind, wire) != "ok ":
            return tool.fault("validate", kind, wire)
    return None


def test_a_good_configuration_breaks_no_rule(tool, world):
    assert we_say(resources_with(None, None, None), tool) is None
    assert envoy_says(resources_with(None, None, None), world) is None


@pytest.mark.parametrize("which, path, new, field, words", BROKEN,
                         ids=["%s-%s-%s" % (b[0], b[3].rsplit(".", 1)[-1], n) for n, b in enumerate(BROKEN)])
def test_what_envoy_refuses_is_refused_with_the_same_field(tool, world, which, path, new, field, words):
    resources = resources_with(which, path, new)
    fault = we_say(resources, tool)
    assert fault and fault[0] == field and words in fault[1], fault
    envoy = envoy_says(resources, world)
    name = re.sub(r'\[[^\]]*\]$', "", field).rsplit(".", 1)[-1]
    camel = "".join(part.capitalize() for part in name.split("_"))
    assert envoy and re.search(r"ValidationError\.%s\b|field: \"?%s\"?|deprecated option.*%s|Invalid duration"
                               % (camel, name, name), envoy), envoy


@pytest.mark.parametrize("which, path, new", ACCEPTED)
def test_what_envoy_takes_is_taken(tool, world, which, path, new):
    resources = resources_with(which, path, new)
    assert we_say(resources, tool) is None
    assert envoy_says(resources, world) is None
