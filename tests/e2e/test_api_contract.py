"""The contract against the daemon: every operation answers as openapi.yaml says, to good requests and to bad ones."""

import json
import os
import urllib.parse

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, settings

from api_client import TOKEN, Api, quote
from declare import l4, l7
from harness import ROOT, World

CONTRACT = yaml.safe_load((ROOT / "openapi.yaml").read_text())
CASES = int(os.environ.get("TEST_API_CASES", "20"))
METHODS = {"get", "put", "post", "patch", "delete"}
AUTHORIZATION = {"Authorization": "Bearer " + TOKEN}

# What exists in the daemon of these tests, for the variables of paths.
NAMES = {"/api/v1/gateways": "envoy", "/api/v1/listeners": "envoy|127.9.9.9:8443/tcp",
         "/api/v1/exposures": "test/svc/web.expose#0", "/api/v1/services": "test/svc/web",
         "/api/v1/certificates": "test/sec/cert", "/api/v1/revisions": "1"}
# They need a connected proxy: see test_proxies.py.
WITHOUT_OBJECTS = {"getProxy", "listProxyResources"}

# Answers that would go on for ever, and what ends them.
ENDLESS = {("GET", "/api/v1/events"): {"seconds": 0}}

schema = schemathesis.openapi.from_path(str(ROOT / "openapi.yaml"))
# Its coverage phase makes thousands of cases of lists with many filters, for minutes, before a test begins.
schema.config.phases.update(phases=["examples", "fuzzing"])
# A client that says it has any version already is told so.
schema.config.checks.positive_data_acceptance.expected_statuses.append("304")


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
    """A daemon with one of each kind of object, behind a token."""
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
        yield Api(world, agent).wait_exposures(3)
    finally:
        world.close()


@schema.parametrize()
@settings(max_examples=CASES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_schemathesis_finds_nothing(case, api):
    if (case.method, case.operation.path) in ENDLESS:
        case.query = {**(case.query or {}), **ENDLESS[case.method, case.operation.path]}
    case.call_and_validate(base_url="http://" + api.tcp, headers=AUTHORIZATION)


@pytest.mark.parametrize("method, path, operation", operations())
def test_every_operation_has_a_good_answer(api, method, path, operation):
    variables = [p["name"] for p in operation.get("parameters", []) if p.get("in") == "path"]
    names = {name: NAMES.get(path.partition("/{")[0], "1") for name in variables}
    concrete = path
    for name, value in names.items():
        concrete = concrete.replace("{%s}" % name, quote(value))
    query = ENDLESS.get((method, path), {})
    content = {}
    if "requestBody" in operation:
        content = {"body": operation["requestBody"]["content"]["application/json"]["example"],
                   "media_type": "application/json"}
    response = api.get(concrete + ("?" + urllib.parse.urlencode(query) if query else ""), method, headers={**AUTHORIZATION, **content_type(content)}, tcp=True,
                       body=json.dumps(content["body"]).encode() if content else None)
    if operation["operationId"] in WITHOUT_OBJECTS:
        assert response.status == 404
        return
    assert response.status == 200, response
    case = schema[path][method].Case(path_parameters={k: quote(v) for k, v in names.items()}, query=query,
                                    **content)
    case.call_and_validate(base_url="http://" + api.tcp, headers=AUTHORIZATION)


def content_type(content):
    return {"Content-Type": content["media_type"]} if content else {}


@pytest.mark.parametrize("method, path, operation", operations())
def test_every_example_fits_its_schema(method, path, operation):
    validator = schemathesis.openapi  # the one that answers are validated with
    for status, answer in [("request", operation.get("requestBody", {})), *operation["responses"].items()]:
        for media in answer.get("content", {}).values():
            if "example" in media and "application/json" in answer["content"]:
                found = errors_of(media["schema"], media["example"])
                assert not found, (validator.__name__, status, found)


def errors_of(part, value):
    import jsonschema
    document = {"$ref": "#/components/wanted", "components": {**CONTRACT["components"], "wanted": part}}
    return [error.message for error in jsonschema.Draft202012Validator(document).iter_errors(value)]


def test_lists_show_every_kind_of_object(api):
    for plural in ("gateways", "listeners", "exposures", "services", "certificates", "topology"):
        assert api.v1("/" + plural)["items"], plural


def test_the_daemon_serves_the_contract_it_was_built_with(api):
    assert yaml.safe_load(api.get("/api/v1/openapi.yaml").body) == CONTRACT
