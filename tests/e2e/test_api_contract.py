"""The contract against the daemon: every operation answers as openapi.yaml says, to good requests and to bad ones."""

import collections
import http.cookiejar
import json
import os

import pytest
import requests
import requests.adapters
import yaml
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi import checks as openapi_checks

import cases
from api_client import TOKEN, Api, bearer, certificate, drain, exposure, pointers, quote
from certificates import CA
from contract import (BODY_MAX, CONTRACT, FIELDS_MAX, TARGET_MAX, answer_faults, errors_of, expected, operations,
                      parameters_of, resolved)
from declare import l4, l7
from harness import Response, World, exchange, wait_until
from xds_client import Mirror

CASES = int(os.environ.get("TEST_API_CASES", "10"))
# Each takes seconds to be thought of; what their parts may be is tried one by one.
WHOLES = ["putConfig", "postChangeset"]
CASES_OF_WHOLES = max(1, CASES // 4)
AUTHORIZATION = bearer(TOKEN)["headers"]

# What exists in the daemon of these tests, for the variables of paths.
NAMES = {"/api/v1/gateways": "envoy", "/api/v1/listeners": "envoy|127.9.9.9:8443/tcp",
         "/api/v1/exposures": "test/svc/web.expose#0", "/api/v1/services": "test/svc/web",
         "/api/v1/certificates": "test/sec/cert", "/api/v1/revisions": "1"}

cases.pem_formats(CA().issue("api.example.org"))
schema = cases.schema
# They go by what a generator meant; what was sent is judged by is_as_expected(), in both directions and to the status.
REPLACED = [openapi_checks.negative_data_rejection, openapi_checks.positive_data_acceptance]


def each_operation():
    return [pytest.param(*one, id=one[2]["operationId"]) for one in operations()]


class Streams(requests.adapters.HTTPAdapter):
    """Of a stream that goes on for ever, the first that it says."""

    def send(self, request, **options):  # pylint: disable=arguments-differ
        response = super().send(request, **{**options, "stream": True})
        if response.headers.get("Content-Type") == "text/event-stream":
            response._content = response.raw.read1()
            response._content_consumed = True
            response.raw.close()
        return response


@pytest.fixture(scope="module")
def session():
    with requests.Session() as one:
        one.mount("http://", Streams())
        one.headers = {}
        one.trust_env = False  # no proxy is looked for
        yield one


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


def is_as_expected(_context, response, case):
    """Whether it was taken if it fits the contract as it was sent, and else refused for what is wrong with it."""
    if case.method.lower() in CONTRACT["paths"][case.operation.path]:
        statuses, faults = expected(case.method, case.operation.path, response.request)
        assert response.status_code in statuses, "%d is none of %s: %s" % (
            response.status_code, sorted(statuses), faults or "it fits the contract")


def judge(api, session, case, excluded=()):
    for name, value in (case.query or {}).items():
        if isinstance(value, bool):  # an example's would be sent as Python writes it
            case.query[name] = str(value).lower()
    case.call_and_validate(base_url="http://" + api.tcp, headers=AUTHORIZATION, session=session,
                           additional_checks=[is_as_expected], excluded_checks=[*REPLACED, *excluded])


@schema.exclude(operation_id=WHOLES).parametrize()
@settings(max_examples=CASES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_schemathesis_finds_nothing(case, api, session, request):
    count_case(request.node)
    judge(api, session, case)


@schema.include(operation_id=WHOLES).parametrize()
@settings(max_examples=CASES_OF_WHOLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_schemathesis_finds_nothing_in_whole_documents(case, api, session, request):
    count_case(request.node)
    judge(api, session, case)


@pytest.mark.parametrize("method, path, operation", each_operation())
def test_schemathesis_finds_nothing_at_the_bounds(method, path, operation, api, session, request):
    del operation
    for case in cases.coverage_cases(method, path):
        count_case(request.node)
        judge(api, session, case)


def test_schemathesis_finds_nothing_in_chains_of_requests(api, request):
    """What was made is there, and is there no more once it was removed: along the links of the contract."""
    linked = schema.include(operation_id=["postToken", "getToken", "deleteToken", "postSession", "getSession",
                                          "deleteSession"])
    seen = collections.Counter()
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))  # it comes with its token alone

    class Chains(linked.as_state_machine()):
        def get_call_kwargs(self, case):
            return {"base_url": "http://" + api.tcp, "headers": AUTHORIZATION, "session": session}

        def validate_response(self, response, case, additional_checks=None, **options):
            count_case(request.node)
            seen[case.operation.definition.raw["operationId"], response.status_code] += 1
            case.validate_response(response, additional_checks=[is_as_expected], excluded_checks=REPLACED,
                                   transport_kwargs=options)

        def teardown(self):
            """Each begins with what there was before: then the same steps have the same answers."""
            for kind in ("/tokens/", "/sessions/"):
                for one in api.v1(kind[:-1])["items"]:
                    assert api.delete(kind + one["id"]).status in (200, 204)

    Chains.run(settings=settings(max_examples=CASES, stateful_step_count=6, deadline=None, derandomize=True,
                                 phases=[Phase.generate], suppress_health_check=list(HealthCheck)))
    for one in (("getToken", 200), ("getSession", 200), ("deleteToken", 200), ("deleteSession", 204)):
        assert seen[one] > 1, seen


def test_whole_documents_and_change_sets_take_and_refuse_of_each_part_what_the_contract_says(api, request):
    answers = collections.Counter()
    for method, path, body in cases.parts_of_wholes():
        count_case(request.node)
        response = api.write(method, path.removeprefix("/api/v1") + "?dry_run=true", body, headers={"If-Match": "*"})
        sent = requests.Request(method, "http://igwd" + path + "?dry_run=true", {"If-Match": "*"}, json=body).prepare()
        statuses, faults = expected(method, path, sent)
        assert response.status in statuses, (faults or "it fits the contract", response, body)
        answers[path, response.status < 300] += 1
    assert len(answers) == 4 and min(answers.values()) > 100, "both are often taken, and often refused: %s" % answers


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
        variables["id"] = api.v1("/proxies?presence=connected")["items"][0]["id"]
    elif operation == "deleteProxy":
        leaver = Mirror(api.igwd.xds[0], node_id="leaver")
        wait_until(lambda: api.v1("/proxies?node_id=leaver")["items"], what="a proxy")
        leaver.close()
        variables["id"] = wait_until(lambda: api.v1("/proxies?node_id=leaver&presence=away")["items"])[0]["id"]
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


def variables_of(path, operation):
    return {**{name: DEFAULTS.get(name, NAMES.get(path.partition("/{")[0], "1"))
               for name in parameters_of(operation, "path")}, **VARIABLES.get(operation["operationId"], {})}


@pytest.mark.parametrize("method, path, operation", each_operation())
def test_every_operation_has_a_good_answer(api, ca, session, method, path, operation):
    name = operation["operationId"]
    for step in BEFORE.get(name, ()):
        do(api, *step)
    variables = variables_of(path, operation)
    content = special(api, ca, name, variables)
    arguments = {"path_parameters": {key: quote(value) for key, value in variables.items()}}
    if "requestBody" in operation:
        kind, media = next(iter(operation["requestBody"]["content"].items()))
        arguments.update(body=media["example"] if content is None else content, media_type=kind)
    case = schema[path][method].Case(**arguments)
    headers = {**AUTHORIZATION, **({"If-Match": "*"} if name == "putConfig" else {})}
    excluded = []
    if name == "deleteCurrentSession":  # by a cookie, whose name over plaintext a contract can't say
        headers, excluded = browser_of_its_own(api), [openapi_checks.ignored_auth]
    response = case.call_and_validate(base_url="http://" + api.tcp, headers=headers, session=session,
                                      excluded_checks=excluded)
    assert response.status_code in (200, 201, 204), response.content
    if "304" in operation["responses"]:
        again = case.call_and_validate(base_url="http://" + api.tcp, headers={**headers, "If-None-Match": "*"})
        assert again.status_code == 304 and not again.content


def provocations(method, path, operation):
    """Statuses, and a request of the operation that each must be the answer to: method, target, host, fields, content."""
    target = path
    for name, value in variables_of(path, operation).items():
        target = target.replace("{%s}" % name, quote(value))
    plain = (method, target, None, AUTHORIZATION, None)

    def but(**other):
        return tuple(other.get(part, value) for part, value in zip(("method", "target", "host", "fields", "body"), plain))

    def fields(**more):
        return {**AUTHORIZATION, **{name.replace("_", "-"): value for name, value in more.items()}}
    yield 400, but(target=target + "?no-such-parameter=1")
    yield 405, but(method="TRACE")
    yield 406, but(fields=fields(Accept="image/png"))
    yield 413, but(fields=fields(Content_Length=str(BODY_MAX + 1)))
    yield 414, but(target=target + "?" + "q" * TARGET_MAX)
    yield 421, but(host="elsewhere.example.org")
    yield 431, but(fields=fields(X_Long="x" * FIELDS_MAX))
    if operation.get("security") != []:
        yield 401, but(fields={})
    if "requestBody" in operation:
        yield 415, but(fields=fields(Content_Type="text/plain"), body=b"x")
    if "If-Match" in parameters_of(operation, "header"):
        yield 412, but(fields=fields(If_Match='"another"'))


# What depends on more than the request, or on what the handler does with its content, and where it is seen.
ELSEWHERE = {
    200: "test_every_operation_has_a_good_answer", 201: "test_every_operation_has_a_good_answer",
    204: "test_every_operation_has_a_good_answer", 304: "test_every_operation_has_a_good_answer",
    403: "test_api_writes, test_api_access, test_api_shell: who asks is looked at before any handler",
    404: "test_schemathesis_finds_nothing: names that are made up", 409: "test_api_writes, test_conflicts",
    410: "tests/unit/edit_test.c: revisions that are not kept any more", 422: "test_schemathesis_finds_nothing",
    428: "test_schemathesis_finds_nothing_at_the_bounds", 429: "test_api_access: logins are counted before any handler",
    500: "no request makes it: an answer of more than the daemon takes", 503: "test_api_shell: of any but a probe",
}


@pytest.mark.parametrize("method, path, operation", each_operation())
def test_every_documented_refusal_is_given(api, method, path, operation):
    documented = {int(status) for status in operation["responses"]}
    seen = set()
    for step in BEFORE.get(operation["operationId"], ()):
        do(api, *step)
    for status, (verb, target, host, fields, body) in provocations(method, path, operation):
        with api.connect(tcp=True) as s:
            response = exchange(s, target, verb, host=host, headers=fields, body=body)
        assert response.status == status, (status, response.body)
        content = resolved(operation["responses"][str(status)]).get("content", {})
        assert not content or not errors_of(content["application/problem+json"]["schema"], response.json)
        seen.add(status)
    assert seen <= documented and documented - seen <= set(ELSEWHERE), documented - seen - set(ELSEWHERE)


@pytest.mark.parametrize("method, path, operation", each_operation())
def test_every_example_fits_its_schema(method, path, operation):
    del method, path
    for status, answer in [("request", operation.get("requestBody", {})), *operation["responses"].items()]:
        for media in answer.get("content", {}).values():
            if "example" in media and "application/json" in answer["content"]:
                found = errors_of(media["schema"], media["example"])
                assert not found, (status, found)


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
        for one in schema.get("anyOf", []) + schema.get("oneOf", []):
            yield from walk(one, where)

    for _method, path, operation in operations():
        for media in operation.get("requestBody", {}).get("content", {}).values():
            yield from walk(media["schema"], path)


@pytest.mark.parametrize("text", ["\0", "a\0b"])
def test_no_text_of_a_request_may_hold_a_nul(api, text):
    """The daemon takes no content that holds one, so the contract must not say that it does."""
    assert pointers(api.post("/explain", {"address": "10.0.0.1", "port": 80, "gateway": text})) == {"#"}
    kinds = [(where, [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", []), schema)
             for where, schema in schemas_of_requests()]
    texts = [(where, schema) for where, types, schema in kinds if "string" in types]
    assert len(texts) > 50
    assert not [where for where, schema in texts if not errors_of(schema, text)]


def schemas_of_parameters():
    """The schema of each text in a path or a query, with the parameter's name."""
    for _method, path, operation in operations():
        for one in map(resolved, operation.get("parameters", [])):
            text = one["schema"].get("items", one["schema"])
            if one["in"] in ("path", "query") and text.get("type") == "string":
                yield "%s %s" % (path, one["name"]), text


@pytest.mark.parametrize("text", ["\x1f", "a\nb", "\x7f"])
def test_no_parameter_may_hold_a_control_character(api, text):
    """As with a NUL in content."""
    assert api.get("/api/v1/exposures?q=" + quote(text)).status == 400
    assert api.get("/api/v1" + exposure("a" + text)).status == 400
    texts = list(schemas_of_parameters())
    assert len(texts) > 50
    assert not [where for where, schema in texts if not errors_of(schema, text)]


def schemas_below(part, where=""):
    """Every schema of the contract, wherever it stands."""
    if isinstance(part, dict):
        yield where, part
    for key, one in part.items() if isinstance(part, dict) else enumerate(part):
        if isinstance(one, (dict, list)) and key not in ("example", "examples", "enum", "required"):
            yield from schemas_below(one, "%s/%s" % (where, key))


def is_open(schema):
    """Whether an object may have members that nothing is said of. A schema of them says something: Json, that they can
    be anything."""
    types = schema.get("type", [])
    return "object" in ([types] if isinstance(types, str) else types) and not (
        schema.get("additionalProperties") is False or schema.get("additionalProperties"))


GATEWAY_DATA = ("cluster_data", "tcp_proxy_data", "udp_proxy_data", "http_connection_manager_data", "retry_policy_data")


def test_no_object_of_the_contract_is_open():
    found = dict(schemas_below(CONTRACT))
    assert sum("additionalProperties" in one for one in found.values()) > 100
    assert not [where for where, one in found.items() if is_open(one)]
    assert is_open({"type": "object"}) and is_open({"type": ["object", "null"], "properties": {}})
    anything = {"$ref": "#/components/schemas/Json"}
    said = {where.rpartition("/additionalProperties")[0] for where, one in found.items()
            if where.endswith("/additionalProperties") and one == anything}
    assert {where for where in said if not where.startswith("/paths/")} == {
        "/components/schemas/" + where for where in (
            "Json/anyOf/0",  # is what it is
            "JsonPatch/items/oneOf/0", "JsonPatch/items/oneOf/1", "JsonPatch/items/oneOf/2",  # RFC 6902, 4
            "Change/properties/before/anyOf/0", "Change/properties/after/anyOf/0",  # members of whatever changed
            *("%s%s/properties/%s%s" % (kind, form, member, "/anyOf/0" if form == "Patch" else "")
              for kind, members in (("Exposure", ("cluster_data", "filter_config_data")), ("Gateway", GATEWAY_DATA))
              for form in ("Fields", "Input", "Patch") for member in members))}, "what is passed through to Envoy"


def test_lists_show_every_kind_of_object(api):
    for plural in ("gateways", "listeners", "exposures", "services", "certificates", "proxies", "topology"):
        assert api.v1("/" + plural)["items"], plural


def test_the_daemon_serves_the_contract_it_was_built_with(api):
    assert yaml.safe_load(api.get("/api/v1/openapi.yaml").body) == CONTRACT


def test_an_answer_that_the_contract_does_not_tell_of_is_noticed(api):
    """As Api.exchange() looks for in whatever any test is answered."""
    path = "/api/v1" + exposure("test/svc/web.expose#0")
    with api.connect() as s:
        good = exchange(s, path)
    assert not list(answer_faults("GET", path, good))

    def faults(status=200, kind="application/json", **more):
        return list(answer_faults("GET", path, Response(status, {"Content-Type": kind},
                                                         json.dumps({**good.json, **more}).encode())))
    assert not faults()
    assert "418 is not documented" in faults(status=418)[0]
    assert "content of the type 'text/html'" in faults(kind="text/html")[0]
    assert "'colour' was unexpected" in faults(colour="red")[0] and faults(port="x")
    assert faults(status=404, kind="application/problem+json") and faults(status=304)
    assert "of the type" in list(answer_faults("GET", "/nowhere", Response(404, {}, b"")))[0]
