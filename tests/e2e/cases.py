"""Requests that schemathesis generates from the contract, in all of its phases, each time the same ones.

Its coverage phase takes values from a fresh run of Hypothesis each, for every operation anew. What follows makes the same
kinds of values in a hundredth of the time:
- the values of a schema are made once, whichever operations have it;
- a pattern that is one class of characters is a text of these, not a regular expression to be walked;
- an array as long as may be is one item again and again;
- a text's other types are left out where all is text: in paths, queries and header fields;
- what is worked out of a schema alone (its canonical form, a value of it) is worked out once for each schema, and none is
  held against the schema of schemas each time: the contract is (test_api_lint.py).
"""

import copy
import functools
import json
import os
import pickle
import re

import hypothesis.strategies as st
import jsonschema
from hypothesis_jsonschema import _canonicalise, _from_schema


def remembered(function):
    """Each result by the JSON of what it is made of; whoever asks gets one of their own."""
    made = {}

    def one(*arguments):
        try:
            key = json.dumps(arguments[-1], sort_keys=True)
        except TypeError:  # bytes
            return function(*arguments)
        if "$ref" in key:  # what is meant depends on where it stands
            return function(*arguments)
        if key not in made:
            made[key] = pickle.dumps(function(*arguments))
        return pickle.loads(made[key])
    return one


# Before schemathesis is loaded, which takes them from there.
for name in ("canonicalish", "merged"):
    setattr(_canonicalise, name, remembered(getattr(_canonicalise, name)))
    setattr(_from_schema, name, getattr(_canonicalise, name))
_canonicalise._get_validator_class = jsonschema.validators.validator_for
os.environ["SCHEMATHESIS_BENCHMARK_SEED"] = "1"  # it reads it when it is loaded

# pylint: disable=wrong-import-position
import schemathesis
from re import _constants as tokens, _parser as parser
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode, coverage
from schemathesis.generation.hypothesis import builder
from schemathesis.specs.openapi import converter, patterns

from contract import BODY_MAX, CONTRACT
from harness import ROOT

MERGED_MAX = 65536  # a pattern and a length as one expression become too large for its validator past that
REPEATED_MIN = 64


def characters_of(kind, value):
    """A class of characters as Hypothesis has it; None: it is another thing."""
    if kind is tokens.NOT_LITERAL:
        return st.characters(codec="utf-8", exclude_characters=chr(value))
    if kind is not tokens.IN:
        return None
    negated, found = value[0][0] is tokens.NEGATE, ""
    for kind_of_one, one in value[negated:]:
        if kind_of_one is tokens.LITERAL:
            found += chr(one)
        elif kind_of_one is tokens.RANGE:
            found += "".join(map(chr, range(one[0], one[1] + 1)))
        else:
            return None
    return st.characters(codec="utf-8", exclude_characters=found) if negated else \
        st.characters(categories=(), include_characters=found)


@functools.lru_cache(maxsize=None)
def text_of_class(pattern):
    """The texts of "^[...]*$"; None: the pattern is another one."""
    parts = list(parser.parse(pattern))
    if [op for op, _ in parts] != [tokens.AT, tokens.MAX_REPEAT, tokens.AT]:
        return None
    low, high, (*_, one) = parts[1][1]
    while one[0] is tokens.SUBPATTERN and len(one[1][3]) == 1:
        one = one[1][3][0]
    alphabet = characters_of(*one)
    return alphabet and st.text(alphabet, min_size=low, max_size=None if high is tokens.MAXREPEAT else int(high))


def from_regex(regex, _original=st.from_regex, **options):
    return (isinstance(regex, str) and text_of_class(regex)) or _original(regex, **options)


def lists(elements, _original=st.lists, **options):
    least = options.get("min_size") or 0
    if least < REPEATED_MIN or options.get("unique") or options.get("unique_by"):
        return _original(elements, **options)
    return elements.map(lambda one: [one] * least)


def update_quantifier(pattern, low, high, _original=patterns.update_quantifier):
    return pattern if (high or 0) > MERGED_MAX else _original(pattern, low, high)


def negative_type(ctx, types, seen, schema, _original=coverage._negative_type):
    if ctx.location == ParameterLocation.BODY or "string" not in ([types] if isinstance(types, str) else types):
        yield from _original(ctx, types, seen, schema)


def cover_schema(ctx, schema, seen=None, _original=coverage.cover_schema_iter, _made={}):
    text = json.dumps(schema, sort_keys=True)
    if seen is not None or "$ref" in text:  # what is meant depends on where it stands
        return _original(ctx, schema, seen)
    key = (text, ctx.location, tuple(ctx.generation_modes), ctx.is_required, ctx.media_type, tuple(ctx.path))
    if key not in _made:
        _made[key] = list(_original(ctx, schema))
    return iter(_made[key])


st.from_regex, st.lists = from_regex, lists
converter.update_quantifier = coverage.update_quantifier = update_quantifier
coverage._negative_type, coverage.cover_schema_iter = negative_type, cover_schema
coverage.CoverageContext.generate_from_schema = remembered(coverage.CoverageContext.generate_from_schema)

schema = schemathesis.openapi.from_path(str(ROOT / "openapi.yaml"))
# Its coverage phase is run by coverage_cases(): all of it would be made before any test begins.
schema.config.phases.update(phases=["examples", "fuzzing"])
# Else requests that should be bad in other ways lose their token first, and are all answered with 401.
schema.config.generation.update(with_security_parameters=False)
# Bad requests are tried one by one: a chain is of good ones, or it ends where it begins.
schema.config.phases.stateful.generation.update(modes=[GenerationMode.POSITIVE])
# The only field that is required is a condition (RFC 6585, 3).
schema.config.checks.missing_required_header.expected_statuses = ["428"]


# What a whole takes of parts is what single requests take, which is tried at its bounds there: here each part has one
# value. What a whole says of any other part is tried by
# parts_of_wholes().
PARTS = {
    "ExposureInput": {"port": 8000, "listener_addr": "127.9.9.9", "listener_port": 7777},
    "ExposurePatch": {"lb_policy": "random"}, "GatewayInput": {"port_min": 3000}, "GatewayPatch": {"port_min": 3000},
    "CertificateInput": {"trusted_ca": "none"}, "GrantInput": {"reason": "x"},
}
WHOLES = {"/api/v1/config": "ConfigInput", "/api/v1/changesets": "ChangesetInput"}


def with_fixed_parts(value):
    if isinstance(value, list):
        return [with_fixed_parts(one) for one in value]
    if not isinstance(value, dict):
        return value
    part = value.get("$ref", "").rpartition("/")[2]
    return {"const": PARTS[part]} if part in PARTS else {key: with_fixed_parts(one) for key, one in value.items()}


def wholes():
    """The contract with another schema of what wholes are sent as."""
    raw = copy.deepcopy(CONTRACT)
    for path, name in WHOLES.items():
        for operation in raw["paths"][path].values():
            if "requestBody" in operation:
                operation["requestBody"]["content"]["application/json"]["schema"] = with_fixed_parts(
                    CONTRACT["components"]["schemas"][name])
    found = schemathesis.openapi.from_dict(raw)
    found.config = schema.config
    return found


schema_of_wholes = wholes()


def coverage_cases(method, path):
    """Those of an operation's coverage phase."""
    of = schema_of_wholes if path in WHOLES and method != "GET" else schema
    return builder.generate_coverage_cases(
        operation=of[path][method], generation_modes=list(GenerationMode), auth_storage=None, as_strategy_kwargs={},
        generate_duplicate_query_parameters=True,
        unexpected_methods=schema.config.phases.coverage.unexpected_methods,
        generation_config=schema.config.generation)


def pem_formats(certificate):
    """A text of these formats is of this certificate, so that pairs fit."""
    schemathesis.openapi.format("pem-certificates", st.just(certificate.chain))
    schemathesis.openapi.format("pem-private-key", st.just(certificate.key))


def bodies_of(method, path):
    """What an operation's coverage phase sends as content, each once; none that is too large with something around it."""
    found = {json.dumps(case.body): case.body for case in coverage_cases(method, path)
             if isinstance(case.body, (dict, list, str, int, float, type(None)))}
    return [body for text, body in found.items() if len(text) < BODY_MAX * 9 // 10]


# Kind, method and path of a single request; an object's name; where it stands in a whole document.
SINGLE = [
    ("Exposure", "PUT", "/api/v1/exposures/{name}", "own/svc/part.expose#0", "exposures"),
    ("Exposure", "PATCH", "/api/v1/exposures/{name}", "test/svc/web.expose#0", "overrides"),
    ("Gateway", "PUT", "/api/v1/gateways/{name}", "spare", "gateways"),
    ("Gateway", "PATCH", "/api/v1/gateways/{name}", "envoy", None),
    ("Certificate", "PUT", "/api/v1/certificates/{name}", "api/sec/part", "certificates"),
    ("Grant", "PUT", "/api/v1/grants/{id}", "a|domain|b.org", "grants"),
]


def parts_of_wholes():
    """Each content of single requests in their coverage phase, as a part of one whole and of the other in turn."""
    for kind, method, path, name, section in SINGLE:
        for i, body in enumerate(bodies_of(method, path)):
            if section and i % 2:
                yield "PUT", "/api/v1/config", {section: {name: body}}
            else:
                yield "POST", "/api/v1/changesets", {"operations": [
                    {"method": method, "kind": kind, "name": name, "body": body}]}
