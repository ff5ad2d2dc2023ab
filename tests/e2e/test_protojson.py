"""protobuf JSON and the validation rules in C, held against Python's json_format and against Envoy itself."""

import base64
import copy
import importlib
import json
import math
import pathlib
import random
import struct
import subprocess
import sys

import pytest
from google.protobuf import any_pb2, json_format
from google.protobuf.descriptor import FieldDescriptor as F

from harness import BUILD, TYPES

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
