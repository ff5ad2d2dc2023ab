"""The contract (openapi.yaml), whether a request fits it as it was sent, and whether an answer is one that it tells of.

Generated requests are judged by what stands on the wire, not by what a generator meant by them: a number where a text
is expected is a text in a query, a list of one is a value, and what holds nothing is not sent at all.
"""

import functools
import gzip
import json
import re
import urllib.parse

import jsonschema_rs
import yaml

from harness import ROOT

CONTRACT = yaml.load((ROOT / "openapi.yaml").read_text(), yaml.CSafeLoader)
METHODS = ("get", "put", "post", "patch", "delete")
BODY_MAX, TARGET_MAX, FIELDS_MAX = 1 << 20, 8 << 10, 16 << 10
INTEGER_MAX = 1 << 63


def resolved(part):
    """What a reference stands for."""
    while "$ref" in part:
        found = CONTRACT
        for key in part["$ref"].removeprefix("#/").split("/"):
            found = found[key]
        part = found
    return part


def operations():
    """Method, path and operation of each."""
    for path, item in CONTRACT["paths"].items():
        for method in METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def parameters_of(operation, place):
    found = [resolved(one) for one in operation.get("parameters", [])]
    return {one["name"]: one for one in found if one["in"] == place}


@functools.lru_cache(maxsize=None)
def validator(text):
    """Of a schema as JSON."""
    return jsonschema_rs.Draft202012Validator({**json.loads(text), "components": CONTRACT["components"]})


def errors_of(schema, value):
    return [error.message for error in validator(json.dumps(schema)).iter_errors(value)]


# ---- a request as it was sent ----

def value_of(text, schema):
    """Of a text in a path, a query or a header field, as its schema reads it; what it can't read stays a text."""
    if schema.get("type") == "integer" and re.fullmatch("[0-9]+", text):
        return int(text)
    if schema.get("type") == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


def query_value(parameter, texts):
    schema = parameter["schema"]
    if schema.get("type") != "array":
        return value_of(texts[0], schema) if len(texts) == 1 else texts
    if not parameter.get("explode", True):
        texts = texts[0].split(",") if len(texts) == 1 else [texts]
    return [value_of(one, schema["items"]) for one in texts]


def query_faults(operation, query):
    known, sent = parameters_of(operation, "query"), {}
    for pair in filter(None, query.split("&")):
        name, _, text = pair.partition("=")
        sent.setdefault(urllib.parse.unquote_plus(name), []).append(urllib.parse.unquote_plus(text))
    for name, texts in sent.items():
        if name not in known:
            yield "no parameter %r" % name
        else:
            yield from errors_of(known[name]["schema"], query_value(known[name], texts))


def path_faults(operation, template, path):
    pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template))
    found = re.fullmatch(pattern, path)
    if not found:
        yield "another path"
        return
    for name, parameter in parameters_of(operation, "path").items():
        yield from errors_of(parameter["schema"], value_of(urllib.parse.unquote(found[name]), parameter["schema"]))


def header_faults(operation, headers):
    for name, parameter in parameters_of(operation, "header").items():
        text = headers.get(name)
        if text is None:
            yield from ["no %s" % name] if parameter.get("required") else []
        else:
            text = text.decode("latin-1") if isinstance(text, bytes) else text
            yield from errors_of(parameter["schema"], value_of(text.strip(" \t"), parameter["schema"]))


def small_integer(text):
    number = int(text)
    if not -INTEGER_MAX <= number < INTEGER_MAX:
        raise ValueError("an integer of more than 64 bits")
    return number


def no_constant(text):
    raise ValueError("%s is no JSON" % text)


def body_faults(operation, headers, body):
    wanted = operation.get("requestBody")
    if not body:
        if wanted and wanted.get("required"):
            yield "no content"
        return
    if not wanted:
        yield "content"
        return
    kind = (headers.get("Content-Type") or "").partition(";")[0]
    if kind not in wanted["content"]:
        yield "content of another type"
        return
    try:
        value = json.loads(body, parse_int=small_integer, parse_constant=no_constant)
        json.dumps(value, ensure_ascii=False).encode()  # halves of surrogate pairs are no characters
    except ValueError as error:
        yield str(error)
    else:
        yield from errors_of(wanted["content"][kind]["schema"], value)


# What a fault of each part is answered with.
ANSWERS = {"path": {400, 404}, "query": {400}, "header": {400, 428}, "body": {400, 415, 422}}


def faults_of(method, template, request):
    """Of a prepared request (of requests): what is wrong by the contract, by the part where it stands."""
    operation = CONTRACT["paths"][template][method.lower()]
    url = urllib.parse.urlsplit(request.url)
    body = request.body.encode() if isinstance(request.body, str) else request.body
    found = {"path": list(path_faults(operation, template, url.path)), "query": list(query_faults(operation, url.query)),
             "header": list(header_faults(operation, request.headers)),
             "body": list(body_faults(operation, request.headers, body))}
    return {part: faults for part, faults in found.items() if faults}


def limits_of(request):
    """The statuses of the limits that a prepared request is beyond."""
    url = urllib.parse.urlsplit(request.url)
    fields = sum(len(name) + len(value) for name, value in request.headers.items())
    return ({413} if len(request.body or b"") > BODY_MAX else set()) | (
        {414} if len(url.path + url.query) + 1 > TARGET_MAX else set()) | ({431} if fields > FIELDS_MAX else set())


def refusals(method, template, request):
    """What a request that fits the contract may be answered beside success, each for what the contract can't say."""
    operation = CONTRACT["paths"][template][method.lower()]
    documented = {int(status) for status in operation["responses"]}
    query = urllib.parse.urlsplit(request.url).query
    conditions = {"If-Match", "If-None-Match"} & set(request.headers)
    why = {
        304: method == "GET" and bool(conditions),  # it has what it says
        404: "{" in template or "after=" in query or bool(request.body) or method == "DELETE",  # it is not there
        409: True,                                  # what is there is in the way
        410: True,                                  # what it names is kept no more
        412: method != "GET" and bool(conditions),  # it expects another state
        422: bool(request.body),                    # values do not fit each other, or what is there
    }
    return {status for status, may_be in why.items() if may_be and status in documented}


def expected(method, template, request):
    """The statuses that a request may be answered with, and why it may not succeed."""
    limits = limits_of(request)
    if limits:
        return limits, "it is beyond limits"
    faults = faults_of(method, template, request)
    allowed = refusals(method, template, request)
    if not faults:
        return {200, 201, 204} | allowed, None
    wrong = set().union(*(ANSWERS[part] for part in faults))
    if "query" not in faults:  # which is looked at before anything else is
        wrong |= allowed - {304}
    else:  # but for what can be told only of the object, or the list, that is there and says what it can be read for
        wrong |= allowed & ({404, 409} if method.upper() == "GET" else {404})
    if "another path" in faults.get("path", ()):
        wrong |= {405}
    return wrong, faults


# ---- an answer ----

PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


@functools.lru_cache(maxsize=None)
def template_of(path):
    """The contract's path for one that was asked; None: it has none. Paths without variables are the more exact ones."""
    for template in sorted(CONTRACT["paths"], key=lambda one: one.count("{")):
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
            return template
    return None


@functools.lru_cache(maxsize=None)
def content_of(template, verb, status):
    """Of an answer, its types, each with what judges it; None: it is not documented."""
    operation = CONTRACT["paths"].get(template, {}).get(verb)
    if operation and str(status) not in operation["responses"]:
        return None
    content = resolved(operation["responses"][str(status)]).get("content", {}) if operation else PROBLEM
    return {kind.partition(";")[0]: validator(json.dumps(media["schema"])) for kind, media in content.items()}


def answer_faults(method, target, response):
    """Of an answer to whatever was sent: what the contract does not tell of."""
    template = template_of(target.partition("?")[0])
    if method == "OPTIONS" or template is None and response.status < 400:
        return  # as of every resource; a page of the dashboard
    content = content_of(template, "get" if method == "HEAD" else method.lower(), response.status)
    kind = (response.headers.get("Content-Type") or "").partition(";")[0]
    if content is None:
        yield "status %d is not documented" % response.status
    elif kind not in content and (content or response.body):
        yield "content of the type %r, not of %s" % (kind, sorted(content))
    elif kind.endswith("json") and method != "HEAD":
        body = gzip.decompress(response.body) if response.headers.get("Content-Encoding") == "gzip" else response.body
        yield from (error.message for error in content[kind].iter_errors(json.loads(body)))
