#!/usr/bin/env python3
"""Generates the Envoy schema's C code from the file descriptors that the package xds-protos carries.

    generate.py --out DIR

    DIR/envoy.desc        a FileDescriptorSet of everything the tables cover, options included
    DIR/c/**/*.pb-c.[ch]  protobuf-c code of ROOTS and of what they refer to
    DIR/schema_tables.c   the tables behind proto/schema.h, of all of Envoy's v3 types
    DIR/stamp             written last, always: what a makefile depends on

The same input gives the same bytes, and a file whose bytes did not change is not touched.

The tables cover every v3 file of Envoy and all that these refer to. Files that only define options (validate.proto,
descriptor.proto, ...) are left out: no message refers to them, which is checked. What remains is proto3 throughout,
checked as well: no groups, extensions, required fields or defaults need to be known by the readers of the tables.
"""

import argparse
import importlib
import os
import re
import struct
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2

# What translation and the xDS sessions build or read as C structs. Everything else passes as JSON through the tables.
ROOTS = """
envoy/config/cluster/v3/cluster.proto
envoy/config/endpoint/v3/endpoint.proto
envoy/config/listener/v3/listener.proto
envoy/config/route/v3/route.proto
envoy/extensions/access_loggers/file/v3/file.proto
envoy/extensions/access_loggers/stream/v3/stream.proto
envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.proto
envoy/extensions/filters/http/router/v3/router.proto
envoy/extensions/filters/listener/http_inspector/v3/http_inspector.proto
envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.proto
envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto
envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto
envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto
envoy/extensions/filters/udp/udp_proxy/v3/route.proto
envoy/extensions/filters/udp/udp_proxy/v3/udp_proxy.proto
envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto
envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.proto
envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.proto
envoy/extensions/transport_sockets/tls/v3/secret.proto
envoy/extensions/transport_sockets/tls/v3/tls.proto
envoy/extensions/upstreams/http/v3/http_protocol_options.proto
envoy/service/discovery/v3/ads.proto
envoy/service/discovery/v3/discovery.proto
google/protobuf/any.proto
google/protobuf/empty.proto
google/rpc/status.proto
""".split()

OPTION_FILES = re.compile(r"^(validate/|google/protobuf/(descriptor|compiler/|json_)|(envoy|udpa|xds)/annotations/)")

FieldProto = descriptor_pb2.FieldDescriptorProto

# The numbers below are those of proto/schema.h; generated assertions hold the two together.
FIELD_REPEATED, FIELD_PACKED, FIELD_MAP, FIELD_PRESENCE, FIELD_SENSITIVE, FIELD_DISALLOWED = 1, 2, 4, 8, 16, 32
MESSAGE_MAP_ENTRY, MESSAGE_UNCHECKED = 1, 2
NO_ONEOF = 255
FIELDS_MAX, ONEOFS_MAX, PATTERNS_MAX = 128, 16, 64
KINDS = {
    "Any": "ANY", "Duration": "DURATION", "Timestamp": "TIMESTAMP", "Struct": "STRUCT", "Value": "VALUE",
    "ListValue": "LIST_VALUE", "FieldMask": "FIELD_MASK", "Empty": "EMPTY", "DoubleValue": "WRAPPER",
    "FloatValue": "WRAPPER", "Int64Value": "WRAPPER", "UInt64Value": "WRAPPER", "Int32Value": "WRAPPER",
    "UInt32Value": "WRAPPER", "BoolValue": "WRAPPER", "StringValue": "WRAPPER", "BytesValue": "WRAPPER",
}
PACKABLE = set(range(1, 19)) - {FieldProto.TYPE_STRING, FieldProto.TYPE_BYTES, FieldProto.TYPE_MESSAGE,
                                FieldProto.TYPE_GROUP}


# --------------------------------------------------------------------------------------------------------------------
# The descriptors


def module_names():
    """The _pb2 modules of Envoy's v3 files, the shared xDS types and the well-known types."""
    for name in ("any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers"):
        yield f"google.protobuf.{name}_pb2"
    for package in ("envoy", "udpa", "xds", "validate"):
        for base in importlib.import_module(package).__path__:
            for folder, _, files in sorted(os.walk(base)):
                parts = [package] + os.path.relpath(folder, base).split(os.sep)
                parts = [p for p in parts if p != "."]
                if package == "envoy" and "v3" not in parts and "annotations" not in parts:
                    continue
                for name in sorted(files):
                    if name.endswith("_pb2.py"):
                        yield ".".join(parts + [name[:-3]])


def load_files():
    """Returns {name: FileDescriptorProto}, dependencies before those that need them."""
    files = {}

    def add(descriptor):
        if descriptor.name in files:
            return
        for dependency in descriptor.dependencies:
            add(dependency)
        files[descriptor.name] = descriptor_pb2.FileDescriptorProto.FromString(descriptor.serialized_pb)

    for name in module_names():
        add(importlib.import_module(name).DESCRIPTOR)
    return files


def walk_messages(file):
    """Yields (full name, DescriptorProto) of all messages of a file, nested ones too."""
    stack = [(f".{file.package}.{m.name}"[1:] if file.package else m.name, m) for m in file.message_type]
    while stack:
        name, message = stack.pop()
        yield name, message
        stack += [(f"{name}.{m.name}", m) for m in message.nested_type]


def walk_enums(file):
    for enum in file.enum_type:
        yield f"{file.package}.{enum.name}", enum
    for name, message in walk_messages(file):
        for enum in message.enum_type:
            yield f"{name}.{enum.name}", enum


# --------------------------------------------------------------------------------------------------------------------
# protobuf-c


def strip_for_c(files):
    """Copies without options and without the imports that only options needed: a fourth less C code to compile."""
    home = {}
    for file in files.values():
        for name, _ in list(walk_messages(file)) + list(walk_enums(file)):
            home["." + name] = file.name
    stripped = {}
    for file in files.values():
        copy = descriptor_pb2.FileDescriptorProto()
        copy.CopyFrom(file)
        copy.ClearField("options")
        copy.ClearField("service")
        copy.ClearField("extension")
        copy.ClearField("public_dependency")
        used = set()
        for _, message in walk_messages(copy):
            map_entry = message.options.map_entry
            message.ClearField("options")
            if map_entry:
                message.options.map_entry = True
            for oneof in message.oneof_decl:
                oneof.ClearField("options")
            for field in message.field:
                packed = field.options.packed if field.options.HasField("packed") else None
                field.ClearField("options")
                if packed is not None:
                    field.options.packed = packed
                if field.type_name:
                    used.add(home[field.type_name])
        for _, enum in walk_enums(copy):
            enum.ClearField("options")
            for value in enum.value:
                value.ClearField("options")
            if len({v.number for v in enum.value}) < len(enum.value):
                enum.options.allow_alias = True
        used.discard(file.name)
        del copy.dependency[:]
        copy.dependency.extend(sorted(used))
        stripped[file.name] = copy
    return stripped


def closure(files, roots):
    """The roots and all that they import, dependencies first."""
    done = {}

    def add(name):
        if name in done:
            return
        for dependency in files[name].dependency:
            add(dependency)
        done[name] = files[name]

    for root in roots:
        add(root)
    return done


def generate_c(files, out):
    missing = [root for root in ROOTS if root not in files]
    if missing:
        sys.exit(f"generate.py: xds-protos does not have {', '.join(missing)}")
    needed = closure(strip_for_c(files), ROOTS)
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        descriptors = os.path.join(scratch, "set")
        with open(descriptors, "wb") as file:
            file.write(descriptor_pb2.FileDescriptorSet(file=needed.values()).SerializeToString(deterministic=True))
        fresh = os.path.join(scratch, "c")
        os.mkdir(fresh)
        subprocess.run(["protoc", f"--descriptor_set_in={descriptors}", f"--c_out={fresh}", *needed], check=True)
        made = set()
        for folder, _, names in os.walk(fresh):
            for name in names:
                path = os.path.relpath(os.path.join(folder, name), fresh)
                made.add(path)
                with open(os.path.join(folder, name), "rb") as file:
                    write_if_changed(os.path.join(out, "c", path), file.read())
    for folder, _, names in os.walk(os.path.join(out, "c")):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.relpath(path, os.path.join(out, "c")) not in made:
                os.unlink(path)


# --------------------------------------------------------------------------------------------------------------------
# The tables


class Strings:
    """The pool: NUL-terminated texts, each once; a text is its offset. Offset 0 is the empty text."""

    def __init__(self):
        self.offsets = {b"": 0}
        self.parts = [b"\0"]
        self.size = 1

    def add(self, text):
        data = text.encode() if isinstance(text, str) else text
        if data not in self.offsets:
            self.offsets[data] = self.size
            self.parts.append(data + b"\0")
            self.size += len(data) + 1
        return self.offsets[data]


def json_name(name):
    """lowerCamelCase as protoc makes it."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def number_bits(field, value):
    """A rule's number as 64 bits: integers sign-extended, float and double as a double's bits."""
    if field.type in (FieldProto.TYPE_DOUBLE, FieldProto.TYPE_FLOAT):
        return struct.unpack("<Q", struct.pack("<d", value))[0]
    return int(value) & 0xFFFFFFFFFFFFFFFF


def nanoseconds(value):
    """Of a Duration or Timestamp; 64 bits hold 292 years of them."""
    result = value.seconds * 10**9 + value.nanos
    if abs(result) >= 2**63:
        sys.exit(f"generate.py: a rule's time does not fit 64 bits: {value}")
    return result


class Rules:
    """validate.rules as lists of (operation, count, argument), each list ended by the operation END.

    What an argument is, is said at struct schema_rule in proto/schema.h.
    """

    WRAPPED = ("float", "double", "int32", "int64", "uint32", "uint64", "bool", "string", "bytes")
    NUMERIC = ("float", "double", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64",
               "sfixed32", "sfixed64")
    LENGTHS = ("len", "min_len", "max_len", "len_bytes", "min_bytes", "max_bytes", "min_items", "max_items",
               "min_pairs", "max_pairs")
    TEXTS = ("prefix", "suffix", "contains", "not_contains")
    FORMATS = ("email", "hostname", "ip", "ipv4", "ipv6", "uri", "uri_ref", "address", "uuid")
    FLAGS = ("required", "skip", "ignore_empty", "defined_only", "unique", "no_sparse")  # in the order of the table

    def __init__(self, strings):
        self.strings = strings
        self.table = [("END", 0, 0)]
        self.numbers = []
        self.patterns = []
        self.known = {(): 0}

    def put_numbers(self, values):
        values = list(values)
        for start in range(len(self.numbers) - len(values) + 1):
            if self.numbers[start:start + len(values)] == values:
                return start
        self.numbers += values
        return len(self.numbers) - len(values)

    def text(self, data):
        """A text in the pool of numbers: its length in the upper half, its offset in the lower."""
        data = data.encode() if isinstance(data, str) else data
        return len(data) << 32 | self.strings.add(data)

    def put(self, rules):
        """Adds a list of rules; returns its index. Equal lists are one."""
        key = tuple(rules)
        if key not in self.known:
            self.known[key] = len(self.table)
            self.table += [*rules, ("END", 0, 0)]
        return self.known[key]

    def of_field(self, field, rules, entry=()):
        """FieldRules to an index; 0 when there are none. entry: the key and the value field of a map's entry.

        As in Envoy's generated validators, the rules of messages count for a message without rules of its kind, and
        for a wrapper; a duration, timestamp or Any has a required of its own.
        """
        kind = rules.WhichOneof("type")
        result = []
        if field.type == FieldProto.TYPE_MESSAGE and (kind is None or kind in self.WRAPPED):
            result += self.flags(rules.message)
        if kind:
            own = getattr(rules, kind)
            result += self.flags(own)
            result += self.exclude_range(sum((self.of_rule(kind, own, *pair) for pair in own.ListFields()), []), own)
            for name, element in (("items", field), *zip(("keys", "values"), entry)):
                nested = self.of_field(element, getattr(own, name)) if hasattr(own, name) else 0
                if nested:
                    result.append((name.upper(), 0, nested))
        return self.put(result)

    def flags(self, rules):
        names = [f.name for f, value in rules.ListFields() if value is True and f.name in self.FLAGS]
        return [(name.upper(), 0, 0) for name in sorted(names, key=self.FLAGS.index)]

    def of_rule(self, kind, rules, field, value):
        name = field.name
        if name in self.FLAGS or name in ("items", "keys", "values"):
            return []
        if name in self.LENGTHS:
            return [(name.upper(), 0, self.put_numbers([value]))]
        if kind in self.NUMERIC or kind in ("enum", "bool"):
            return self.numeric(field, value)
        if kind in ("string", "bytes"):
            return self.textual(kind, name, value, rules)
        if kind == "any" and name in ("in", "not_in"):
            return [("TEXT_" + name.upper(), len(value), self.put_numbers(map(self.text, value)))]
        if kind in ("duration", "timestamp"):
            return self.temporal(name, value)
        sys.exit(f"generate.py: unknown rule {kind}.{name}")

    @staticmethod
    def exclude_range(result, rules):
        """A lower bound that is not below the upper one means that what lies between them is refused."""

        def bound(*names):
            for name in names:
                if any(f.name == name for f, _ in rules.ListFields()):
                    value = getattr(rules, name)
                    return name.upper(), nanoseconds(value) if hasattr(value, "nanos") else value
            return None, None

        upper_name, upper = bound("lt", "lte")
        lower_name, lower = bound("gt", "gte")
        if upper is None or lower is None or upper > lower:
            return result
        pair = [rule for rule in result if rule[0] in (upper_name, lower_name)]
        return [("EITHER", 0, 0), *pair, *(rule for rule in result if rule not in pair)]

    def numeric(self, field, value):
        name = field.name.upper()
        if name not in ("CONST", "LT", "LTE", "GT", "GTE", "IN", "NOT_IN"):
            sys.exit(f"generate.py: unknown rule {field.full_name}")
        values = list(value) if name in ("IN", "NOT_IN") else [value]
        return [(name, len(values), self.put_numbers(number_bits(field, v) for v in values))]

    def textual(self, kind, name, value, rules):
        if name == "const" or name in self.TEXTS:
            return [("TEXT_" + name.upper(), 1, self.put_numbers([self.text(value)]))]
        if name in ("in", "not_in"):
            return [("TEXT_" + name.upper(), len(value), self.put_numbers(map(self.text, value)))]
        if name == "pattern":
            if value not in self.patterns:
                self.patterns.append(value)
            return [("PATTERN", 0, self.patterns.index(value))]
        if name in self.FORMATS:
            return [(("BYTES_" if kind == "bytes" else "") + name.upper(), 0, 0)] if value else []
        if name == "well_known_regex":
            strict = not rules.HasField("strict") or rules.strict
            header = {1: "HTTP_HEADER_NAME", 2: "HTTP_HEADER_VALUE"}.get(value)
            return [(header, int(strict), 0)] if header else []
        if name == "strict":
            return []
        sys.exit(f"generate.py: unknown rule {kind}.{name}")

    def temporal(self, name, value):
        if name in ("lt_now", "gt_now"):
            return [(name.upper(), 0, 0)] if value else []
        values = list(value) if name in ("in", "not_in") else [value]
        if name not in ("const", "lt", "lte", "gt", "gte", "within", "in", "not_in"):
            sys.exit(f"generate.py: unknown rule on time {name}")
        return [(name.upper(), len(values), self.put_numbers(nanoseconds(v) & 0xFFFFFFFFFFFFFFFF for v in values))]


class Tables:
    def __init__(self, files):
        from envoy.annotations import deprecation_pb2
        from udpa.annotations import sensitive_pb2
        from validate import validate_pb2

        self.disallowed = deprecation_pb2.disallowed_by_default
        self.sensitive = sensitive_pb2.sensitive
        self.validate = validate_pb2
        self.strings = Strings()
        self.rules = Rules(self.strings)
        messages, enums = {}, {}
        for file in files.values():
            if OPTION_FILES.match(file.name):
                continue
            if file.syntax != "proto3":
                sys.exit(f"generate.py: {file.name} is {file.syntax or 'proto2'}, the tables are of proto3 only")
            messages.update(walk_messages(file))
            enums.update(walk_enums(file))
        self.messages = dict(sorted(messages.items()))
        self.message_index = {"." + name: i for i, name in enumerate(self.messages)}
        self.enums = dict(sorted(enums.items()))
        self.enum_index = {"." + name: i for i, name in enumerate(self.enums)}
        self.field_rows, self.by_name, self.by_json_name = [], [], []
        self.oneof_rows, self.message_rows, self.enum_rows, self.value_rows = [], [], [], []
        for name, message in self.messages.items():
            self.add_message(name, message)
        for name, enum in self.enums.items():
            self.add_enum(name, enum)

    def add_message(self, name, message):
        fields = sorted(message.field, key=lambda f: f.number)
        if len(fields) > FIELDS_MAX or len(message.oneof_decl) > ONEOFS_MAX:
            sys.exit(f"generate.py: {name} has more fields or oneofs than schema.h allows")
        synthetic = {f.oneof_index for f in fields if f.proto3_optional}
        oneofs = {}
        for i, oneof in enumerate(message.oneof_decl):
            if i not in synthetic:
                oneofs[i] = len(oneofs)
                self.oneof_rows.append((self.strings.add(oneof.name),
                                        int(oneof.options.Extensions[self.validate.required])))
        options = message.options
        flags = MESSAGE_MAP_ENTRY if options.map_entry else 0
        if options.Extensions[self.validate.disabled] or options.Extensions[self.validate.ignored]:
            flags |= MESSAGE_UNCHECKED
        package, _, short = name.rpartition(".")
        kind = KINDS.get(short, "PLAIN") if package == "google.protobuf" else "PLAIN"
        self.message_rows.append((self.strings.add(name), len(self.field_rows), len(self.oneof_rows) - len(oneofs),
                                  len(fields), len(oneofs), flags, f"SCHEMA_KIND_{kind}"))
        for field in fields:
            self.field_rows.append(self.field_row(field, oneofs))
        names = [f.name for f in fields]
        camel = [f.json_name or json_name(f.name) for f in fields]
        self.by_name += sorted(range(len(fields)), key=names.__getitem__)
        self.by_json_name += sorted(range(len(fields)), key=camel.__getitem__)

    def field_row(self, field, oneofs):
        options = field.options
        target, flags = 0, 0
        if field.type == FieldProto.TYPE_GROUP:
            sys.exit(f"generate.py: groups are not supported ({field.name})")
        if field.type == FieldProto.TYPE_ENUM:
            target = self.enum_index[field.type_name]
        elif field.type == FieldProto.TYPE_MESSAGE:
            target = self.message_index[field.type_name]
        if field.label == FieldProto.LABEL_REPEATED:
            flags |= FIELD_REPEATED
            if field.type in PACKABLE and (options.packed or not options.HasField("packed")):
                flags |= FIELD_PACKED
            if field.type == FieldProto.TYPE_MESSAGE and self.messages[field.type_name[1:]].options.map_entry:
                flags |= FIELD_MAP
        elif field.HasField("oneof_index") or field.type == FieldProto.TYPE_MESSAGE:
            flags |= FIELD_PRESENCE
        if options.Extensions[self.sensitive]:
            flags |= FIELD_SENSITIVE
        if options.Extensions[self.disallowed]:
            flags |= FIELD_DISALLOWED
        entry = self.messages[field.type_name[1:]].field if flags & FIELD_MAP else ()
        rules = self.rules.of_field(field, options.Extensions[self.validate.rules], entry)
        oneof = oneofs.get(field.oneof_index, NO_ONEOF) if field.HasField("oneof_index") else NO_ONEOF
        names = self.strings.add(field.name), self.strings.add(field.json_name or json_name(field.name))
        return (*names, field.number, rules, target, field.type, flags, oneof)

    def add_enum(self, name, enum):
        values = sorted(enum.value, key=lambda v: v.number)  # stable: of aliases the one declared first leads
        self.enum_rows.append((self.strings.add(name), len(self.value_rows), len(values)))
        for value in values:
            self.value_rows.append((self.strings.add(value.name), value.number))

    def render(self):
        out = ['/* Generated by proto/generate.py from xds-protos; do not edit. */', '#include "proto/schema.h"', ""]
        for name, value in (("FIELD_REPEATED", FIELD_REPEATED), ("FIELD_PACKED", FIELD_PACKED),
                            ("FIELD_MAP", FIELD_MAP), ("FIELD_PRESENCE", FIELD_PRESENCE),
                            ("FIELD_SENSITIVE", FIELD_SENSITIVE), ("FIELD_DISALLOWED", FIELD_DISALLOWED),
                            ("MESSAGE_MAP_ENTRY", MESSAGE_MAP_ENTRY), ("MESSAGE_UNCHECKED", MESSAGE_UNCHECKED),
                            ("NO_ONEOF", NO_ONEOF), ("FIELDS_MAX", FIELDS_MAX), ("ONEOFS_MAX", ONEOFS_MAX),
                            ("PATTERNS_MAX", PATTERNS_MAX)):
            out.append(f'_Static_assert(SCHEMA_{name} == {value}, "schema.h and generate.py differ");')
        out.append("")
        patterns = [self.strings.add(p) for p in self.rules.patterns]
        if len(patterns) > PATTERNS_MAX:
            sys.exit("generate.py: more patterns than schema.h allows")
        self.render_table(out, "struct schema_message", "schema_messages", self.message_rows)
        self.render_table(out, "struct schema_field", "schema_fields", self.field_rows)
        self.render_table(out, "uint8_t", "schema_by_name", self.by_name)
        self.render_table(out, "uint8_t", "schema_by_json_name", self.by_json_name)
        self.render_table(out, "struct schema_oneof", "schema_oneofs", self.oneof_rows)
        self.render_table(out, "struct schema_enum", "schema_enums", self.enum_rows)
        self.render_table(out, "struct schema_enum_value", "schema_enum_values", self.value_rows)
        self.render_table(out, "struct schema_rule", "schema_rules",
                          [(f"SCHEMA_RULE_{op}", count, arg) for op, count, arg in self.rules.table])
        self.render_table(out, "uint64_t", "schema_numbers", [f"{n:#x}u" for n in self.rules.numbers or [0]])
        self.render_table(out, "uint32_t", "schema_patterns", patterns or [0])
        out.append(f"const size_t schema_n_messages = {len(self.message_rows)};")
        out.append(f"const size_t schema_n_enums = {len(self.enum_rows)};")
        out.append(f"const size_t schema_n_rules = {len(self.rules.table)};")
        out.append(f"const size_t schema_n_numbers = {len(self.rules.numbers)};")
        out.append(f"const size_t schema_n_patterns = {len(patterns)};")
        out.append("")
        out.append(f"const char schema_strings[{self.strings.size + 1}] =")
        for part in self.strings.parts:
            out.append(f'    "{c_escape(part)}"')
        out[-1] += ";"
        return "\n".join(out) + "\n"

    @staticmethod
    def render_table(out, ctype, name, rows):
        out.append(f"const {ctype} {name}[] = {{")
        cells = ["{" + ",".join(map(str, row)) + "}" if isinstance(row, tuple) else str(row) for row in rows]
        line = "   "
        for cell in cells:
            if len(line) + len(cell) > 112:
                out.append(line)
                line = "   "
            line += f" {cell},"
        out += [line, "};", ""]


def c_escape(data):
    """Three octal digits always, so that what follows cannot become a part of the escape."""
    return "".join(chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}" for b in data)


# --------------------------------------------------------------------------------------------------------------------


def write_if_changed(path, data):
    try:
        with open(path, "rb") as file:
            if file.read() == data:
                return
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "wb") as file:
        file.write(data)
    os.replace(path + ".new", path)


def main():
    parser = argparse.ArgumentParser(description="Generates the Envoy schema's C code from xds-protos.")
    parser.add_argument("--out", required=True, metavar="DIR")
    out = parser.parse_args().out
    os.makedirs(out, exist_ok=True)
    files = load_files()
    descriptors = descriptor_pb2.FileDescriptorSet(file=files.values())
    write_if_changed(os.path.join(out, "envoy.desc"), descriptors.SerializeToString(deterministic=True))
    generate_c(files, out)
    write_if_changed(os.path.join(out, "schema_tables.c"), Tables(files).render().encode())
    with open(os.path.join(out, "stamp"), "w", encoding="ascii") as file:
        file.write(f"{len(files)} files\n")


if __name__ == "__main__":
    main()
