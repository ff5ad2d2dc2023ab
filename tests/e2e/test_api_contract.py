"""The contract against the daemon: every operation answers as openapi.yaml says, to good requests and to bad ones."""

import os

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi import converter

from api_client import TOKEN, Api, bearer, certificate, drain, exposure, quote
from declare import l4, l7
from harness import ROOT, World, wait_until
from xds_client import Mirror

CONTRACT = yaml.safe_load((ROOT / "openapi.yaml").read_text())
CASES = int(os.environ.get("TEST_API_CASES", "20"))
METHODS = {"get", "put", "post", "patch", "delete"}
AUTHORIZATION = bearer(TOKEN)["headers"]

# What exists in the daemon of these tests, for the variables of paths.
NAMES = {"/api/v1/gateways": "envoy", "/api/v1/listeners": "envoy|127.9.9.9:8443/tcp",
         "/api/v1/exposures": "test/svc/web.expose#0", "/api/v1/services": "test/svc/web",
         "/api/v1/certificates": "test/sec/cert", "/api/v1/revisions": "1"}

# Answers that would go on for ever, and what ends them.
ENDLESS = {("GET", "/api/v1/events"): {"seconds": 0}}

# A pattern and a length would become one regular expression, which is too large for its own validator.
converter.update_quantifier = lambda pattern, *_: pattern

schema = schemathesis.openapi.from_path(str(ROOT / "openapi.yaml"))
# Its coverage phase makes thousands of cases of lists with many filters, for minutes, before a test begins.
schema.config.phases.update(phases=["examples", "fuzzing"])
# Else requests that should be bad in other ways lose their token first, and are all answered with 401.
schema.config.generation.update(with_security_parameters=False)
# A client that says it has any version already is told so.
schema.config.checks.positive_data_acceptance.expected_statuses.append("304")
# What a schema can't say: tags that do not fit (412), none where one is needed (428), values that do not fit each other
# or what is there (422), what is not kept any more (410), types of content (415).
schema.config.checks.positive_data_acceptance.expected_statuses += ["410", "412", "415", "422", "428"]


def list_parameters():
    """Names of the query parameters that may be repeated."""
    named = [p for p in CONTRACT["components"].get("parameters", {}).values()]
    for item in CONTRACT["paths"].values():
        for operation in item.values():
            named += [p for p in operation.get("parameters", []) if "$ref" not in p]
    return {p["name"] for p in named if p.get("in") == "query" and p["schema"].get("type") == "array"}


LISTS = list_parameters()


@schema.hook
def filter_case(_context, case):
    """Without those that are no fault once they are sent: an unknown parameter that holds nothing is not sent, and a
    single value where a list is expected is a list of one."""
    known = {parameter.name for parameter in case.operation.query}
    return all(is_sent(value) if name not in known else name not in LISTS or isinstance(value, (list, tuple, dict))
               for name, value in (case.query or {}).items())


def is_sent(value):
    values = value if isinstance(value, (list, tuple, dict)) else [value]
    return any(one is not None and one != [] and one != {} for one in values)


def operations():
    return [pytest.param(method.upper(), path, operation, id=operation["operationId"])
            for path, item in CONTRACT["paths"].items() for method, operation in item.items() if method in METHODS]


@pytest.fixture(scope="module")
def api(ca):
    """A daemon with one of each kind of object, behind a token. Its proxy acks whatever it gets, and opens nothing."""
    world = World("contract")
    try:
        agent = world.agent(nodes=["n1", "n2"])
        agent.set_secret("test/sec/cert", ca.issue("a.example.org", "b.example.org").secret())
        agent.add_service("test/svc/l4", l4("10.0.0.1", "127.9.9.9:8080"))
        agent.add_service("test/svc/web", l7(
            {"n1": "10.0.0.2", "n2": "10.0.0.3"}, "127.9.9.9:8443", ["a.example.org", "c.example.org"],
            certificates={"front": "test/sec/cert"}, lb_policy="ring_hash",
            cluster_data='{"connect_timeout": "1s"}',
            routes=[{"match_prefix": "/x", "route_timeout": "2.5s", "hash_policies": "hashpolicy#0"},
                    {"match_path": "/y", "redirect_path_redirect": "/z", "redirect_response_code": "308"}],
            policies=[{"type": "envoy", "cookie_name": "sid", "cookie_ttl": "1h"}]))
        agent.add_service("test/svc/bad", l7("10.0.0.4", "127.9.9.9:8081", ["d.example.org"],
                                             routes=[{"match_regex": "["}]))
        api = Api(world, agent).wait_exposures(3)
        world.stack.callback(Mirror(api.igwd.xds[0], node_id="proxy").close)
        wait_until(lambda: api.v1("/proxies")["items"], what="a proxy")
        yield api
    finally:
        world.close()


def count_case(node):
    """How many there were stands in the report; tests/run.py adds them up."""
    known = dict(node.user_properties).get("cases", 0)
    node.user_properties[:] = [("cases", known + 1)]


@schema.parametrize()
@settings(max_examples=CASES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_schemathesis_finds_nothing(case, api, request):
    count_case(request.node)
    if (case.method, case.operation.path) in ENDLESS:
        case.query = {**(case.query or {}), **ENDLESS[case.method, case.operation.path]}
    for name, value in (case.query or {}).items():
        if isinstance(value, bool):  # an example's would be sent as Python writes it
            case.query[name] = str(value).lower()
    case.call_and_validate(base_url="http://" + api.tcp, headers=AUTHORIZATION)


# What is there before an operation, and what is asked, where the contract's example does not fit this daemon.
OWN = "own/svc/own.expose#0"
DRAIN = drain("test/svc/web.expose#0", "10.0.0.2:8000")
OVERRIDE = ("PATCH", exposure("test/svc/web.expose#0"), {"lb_policy": "random"})
GRANT = ("PUT", "/grants/" + quote("a|domain|b.org"), {"reason": "x"})
MAKE_OWN = ("PUT", exposure(OWN), {"port": 80, "listener_addr": "127.9.9.9", "listener_port": 7777})
BEFORE = {
    "deleteExposure": [MAKE_OWN], "deleteDrain": [("PUT", DRAIN, {})], "deleteExposureOverrides": [OVERRIDE],
    "deleteExposureOverride": [OVERRIDE], "listExposureOverrides": [OVERRIDE], "listOverrides": [OVERRIDE],
    "deleteGateway": [("PUT", "/gateways/spare", {"port_min": 2000})], "getGrant": [GRANT], "listGrants": [GRANT],
    "deleteGrant": [GRANT], "restoreRevision": [OVERRIDE, MAKE_OWN],
}
VARIABLES = {
    "putExposure": {"name": OWN}, "deleteExposure": {"name": OWN}, "deleteGateway": {"name": "spare"},
    "putCertificate": {"name": "api/sec/made"}, "deleteCertificate": {"name": "api/sec/made"},
}
DEFAULTS = {"endpoint": "10.0.0.2:8000", "field": "lb_policy", "revision": "1"}
CONTENT = {
    "putExposure": {"port": 8000, "listener_addr": "127.9.9.9", "listener_port": 7777, "lb_policy": "ring_hash"},
    "patchExposure": {"lb_policy": "maglev"},
    "postChangeset": {"operations": [{"method": "PATCH", "kind": "Exposure", "name": "test/svc/web.expose#0",
                                      "body": {"lb_policy": "random"}}]},
    "putConfig": {"gateways": {"envoy": {"port_min": 3000}}},
}


def do(api, method, path, body, **options):
    response = api.write(method, path, body, *(["application/merge-patch+json"] if method == "PATCH" else []),
                         **options)
    assert response.status in (200, 201), (method, path, response.body)
    return response.json


def browser_of_its_own(api):
    """Fields of a request by a session's cookie, whose name has the port that is asked."""
    response = api.post("/sessions", None, **bearer(TOKEN))
    secret = response.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    return {"Cookie": "igwd-%s=%s" % (api.tcp.rpartition(":")[2], secret), "Sec-Fetch-Site": "same-origin"}


def special(api, ca, operation, variables):
    """What has to be made or looked up before the operation: changes the variables, returns content."""
    content = CONTENT.get(operation)
    if operation in ("putCertificate", "deleteCertificate"):
        one = ca.issue("api.example.org")
        content = {"certificate_chain": one.chain, "private_key": one.key}
        if operation == "deleteCertificate":
            do(api, "PUT", certificate(variables["name"]), content)
    elif operation in ("getProxy", "listProxyResources"):
        variables["id"] = api.v1("/proxies")["items"][0]["id"]
    elif operation in ("getToken", "deleteToken"):
        made = do(api, "POST", "/tokens", {"name": operation + os.urandom(4).hex(), "role": "viewer"})
        variables["id"] = made["object"]["id"]
    elif operation in ("getSession", "deleteSession"):
        variables["id"] = do(api, "POST", "/sessions", None, **bearer(TOKEN))["id"]
    elif operation == "postToken":
        content = {"name": "made" + os.urandom(4).hex(), "role": "operator", "gateways": ["envoy"]}
    elif operation in ("getGrant", "putGrant", "deleteGrant"):
        variables["id"] = "a|domain|b.org"
    elif operation in ("getRevision", "getRevisionDiff", "getRollout", "restoreRevision"):
        newest = api.v1("/summary")["revision"]
        variables["revision"] = str(newest)
        content = {"restore": newest - 2}
    return content


@pytest.mark.parametrize("method, path, operation", operations())
def test_every_operation_has_a_good_answer(api, ca, method, path, operation):
    name = operation["operationId"]
    for step in BEFORE.get(name, ()):
        do(api, *step)
    variables = {p["name"]: DEFAULTS.get(p["name"], NAMES.get(path.partition("/{")[0], "1"))
                 for p in operation.get("parameters", []) if p.get("in") == "path"}
    variables.update(VARIABLES.get(name, {}))
    content = special(api, ca, name, variables)
    arguments = {"path_parameters": {key: quote(value) for key, value in variables.items()},
                 "query": ENDLESS.get((method, path), {})}
    if "requestBody" in operation:
        kind, media = next(iter(operation["requestBody"]["content"].items()))
        arguments.update(body=media["example"] if content is None else content, media_type=kind)
    case = schema[path][method].Case(**arguments)
    headers = {**AUTHORIZATION, **({"If-Match": "*"} if name == "putConfig" else {})}
    excluded = []
    if name == "deleteCurrentSession":  # by a cookie, whose name over plaintext a contract can't say
        headers, excluded = browser_of_its_own(api), [schemathesis.checks.ignored_auth]
    response = case.call_and_validate(base_url="http://" + api.tcp, headers=headers, excluded_checks=excluded)
    assert response.status_code in (200, 201, 204), response.content


@pytest.mark.parametrize("method, path, operation", operations())
def test_every_example_fits_its_schema(method, path, operation):
    validator = schemathesis.openapi  # the one that answers are validated with
    for status, answer in [("request", operation.get("requestBody", {})), *operation["responses"].items()]:
        for media in answer.get("content", {}).values():
            if "example" in media and "application/json" in answer["content"]:
                found = errors_of(media["schema"], media["example"])
                assert not found, (validator.__name__, status, found)


def schemas_of_requests():
    """Each schema that a request's content is held against, once, with its name."""
    seen = set()

    def walk(schema, where):
        while "$ref" in schema:
            where = schema["$ref"].rpartition("/")[2]
            schema = CONTRACT["components"]["schemas"][where]
        if id(schema) in seen:
            return
        seen.add(id(schema))
        yield where, schema
        for name, one in schema.get("properties", {}).items():
            yield from walk(one, where + "." + name)
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                yield from walk(schema[key], where + "/" + key)

    for _method, path, operation in (parameter.values for parameter in operations()):
        for media in operation.get("requestBody", {}).get("content", {}).values():
            yield from walk(media["schema"], path)


@pytest.mark.parametrize("text", ["\0", "a\0b"])
def test_no_text_of_a_request_may_hold_a_nul(api, text):
    """The daemon takes no content that holds one, so the contract must not say that it does."""
    assert api.post("/explain", {"address": "10.0.0.1", "port": 80, "gateway": text}).status == 400
    kinds = [(where, [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", []), schema)
             for where, schema in schemas_of_requests()]
    texts = [(where, schema) for where, types, schema in kinds if "string" in types]
    assert len(texts) > 50
    assert not [where for where, schema in texts if not errors_of(schema, text)]


def schemas_of_parameters():
    """The schema of each text in a path or a query, with the parameter's name."""
    for _method, path, operation in (parameter.values for parameter in operations()):
        for one in operation.get("parameters", []):
            one = CONTRACT["components"]["parameters"][one["$ref"].rpartition("/")[2]] if "$ref" in one else one
            schema = one["schema"].get("items", one["schema"])
            if one["in"] in ("path", "query") and schema.get("type") == "string":
                yield "%s %s" % (path, one["name"]), schema


@pytest.mark.parametrize("text", ["\x1f", "a\nb", "\x7f"])
def test_no_parameter_may_hold_a_control_character(api, text):
    """As with a NUL in content."""
    assert api.get("/api/v1/exposures?q=" + quote(text)).status == 400
    assert api.get("/api/v1" + exposure("a" + text)).status == 400
    texts = list(schemas_of_parameters())
    assert len(texts) > 50
    assert not [where for where, schema in texts if not errors_of(schema, text)]


def errors_of(part, value):
    import jsonschema
    document = {"$ref": "#/components/wanted", "components": {**CONTRACT["components"], "wanted": part}}
    return [error.message for error in jsonschema.Draft202012Validator(document).iter_errors(value)]


def test_lists_show_every_kind_of_object(api):
    for plural in ("gateways", "listeners", "exposures", "services", "certificates", "proxies", "topology"):
        assert api.v1("/" + plural)["items"], plural


def test_the_daemon_serves_the_contract_it_was_built_with(api):
    assert yaml.safe_load(api.get("/api/v1/openapi.yaml").body) == CONTRACT
