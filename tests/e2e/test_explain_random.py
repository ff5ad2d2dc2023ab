"""POST /explain against a real Envoy: random gateways, random requests, and the same answer every time."""

import collections
import concurrent.futures
import json
import os
import random

from api_client import Api
from certificates import CA
from harness import World, client_context, exchange, wait_until
from random_gateway import Setting, observe

SEEDS = [int(seed) for seed in os.environ.get("TEST_EXPLAIN_SEEDS", "1 2 3 4 5 6 7 8").split()]
FREE = 450  # requests of each gateway that are sent as they are drawn
ENOUGH = 60  # of each kind; then only the rare ones are sent
DRAWS_MAX = 3500  # of each gateway
LEAST = 50
RIVALS_MAX = 32

# Every kind of outcome that has to be seen often enough.
KINDS = [
    "forwarded", "redirected", "no_endpoint", "no_route", "no_vhost", "misdirected", "refused", "no_handshake",
    "no_chain", "no_listener",
    "forwarded: l4 in plaintext", "forwarded: l4, TLS passes", "forwarded: l4, TLS ends", "forwarded: http",
    "forwarded: https", "forwarded: TLS towards the endpoint", "forwarded: host rewritten",
    "forwarded: path rewritten", "forwarded: path normalized",
    "route: match_path", "route: match_prefix", "route: match_regex", "route: undeclared", "route: without case",
    "redirect: host", "redirect: https", "redirect: path", "redirect: path with a query", "redirect: prefix",
    "redirect: everything", "redirect: escaped slashes",
    "no_endpoint: http", "no_endpoint: l4", "no_endpoint: secret missing",
    "no_handshake: plaintext", "no_handshake: TLS", "no_handshake: client certificate",
    "refused: 400", "refused: 403",
    "listener: exact", "listener: wildcard",
    "chain: exact", "chain: wildcard", "chain: default",
    "certificate: one of several", "vhost: exact", "vhost: suffix", "vhost: prefix", "vhost: any",
    "client certificate accepted",
]


# ---- kinds ----

def chain_kinds(question, e):
    if e["listener"]["name"] is None:
        return
    yield "listener: " + ("wildcard" if "|0.0.0.0:" in e["listener"]["name"] else "exact")
    if e["chain"]["name"] is None:
        return
    name = e["chain"]["server_name"]
    yield "chain: " + ("default" if name is None else "wildcard" if name.startswith("*") else "exact")
    if e["certificate"] and e["certificate"]["rivals"]:
        yield "certificate: one of several"
    if e["outcome"] == "no_handshake":
        yield "no_handshake: " + ("TLS" if not e["chain"]["tls"] else "client certificate" if question["tls"]
                                  else "plaintext")


def domain_kind(domain):
    return ("any" if domain == "*" else "suffix" if domain.startswith("*") else "prefix" if domain.endswith("*")
            else "exact")


def route_kinds(setting, e):
    if e["vhost"] and e["vhost"]["domain"]:
        yield "vhost: " + domain_kind(e["vhost"]["domain"])
    route = e["route"]
    if e["outcome"] == "redirected":
        yield "redirect: " + (redirect_kind(setting, route) if route else "escaped slashes")
    if route and route["exposure"]:
        yield "route: " + (route["reason"].split(" ")[0] if route["name"] else "undeclared")
        if "without regard to case" in route["reason"]:
            yield "route: without case"


def redirect_kind(setting, route):
    path = route["exposure"].rpartition(".")[0]
    section = setting.services[path][0][route["name"]]
    said = {key.split("_")[1] for key in section if key.startswith("redirect_")} - {"response", "strip"}
    if len(said) > 1:
        return "everything"
    if "?" in section.get("redirect_path_redirect", ""):
        return "path with a query"
    return said.pop() if said else "code alone"


def forward_kinds(question, setting, e):
    config = setting.services[e["cluster"]["exposure"].rpartition(".")[0]][0]
    if e["outcome"] == "no_endpoint":
        yield "no_endpoint: " + ("secret missing" if "lacks the secret" in e["cluster"]["reason"]
                                 else "http" if e["status"] else "l4")
        return
    if e["chain"]["kind"] == "l4":
        yield "forwarded: l4" + (", TLS ends" if e["chain"]["tls"] else ", TLS passes" if question["tls"]
                                 else " in plaintext")
        return
    yield "forwarded: https" if e["chain"]["tls"] else "forwarded: http"
    if "cluster_certificates" in config["expose#0"]:
        yield "forwarded: TLS towards the endpoint"
    if e["forwarded"]["host"] != question["host"]:
        yield "forwarded: host rewritten"
    if "route_prefix_rewrite" in config.get(e["route"]["name"], {}):
        yield "forwarded: path rewritten"
    elif e["forwarded"]["path"] != question["path"]:
        yield "forwarded: path normalized"
    if "validation_secret" in json.dumps(config):
        yield "client certificate accepted"


def kinds_of(question, setting, e):
    yield e["outcome"]
    if e["outcome"] == "refused":
        yield "refused: %d" % e["status"]
    yield from chain_kinds(question, e)
    yield from route_kinds(setting, e)
    if e["cluster"]:
        yield from forward_kinds(question, setting, e)


# ---- the same answer ----

def check_forwarded(question, setting, e, seen):
    assert seen.kind == "answered" and seen.response.status == 200, "it should be forwarded"
    answer = seen.response.json
    endpoints = [one["name"] for one in e["cluster"]["endpoints"]]
    assert answer["backend"] in endpoints, "it should go to one of %s" % endpoints
    path, host = question["path"], question["host"]
    if e["chain"]["kind"] == "l7":
        path, host = e["forwarded"]["path"], e["forwarded"]["host"]
    assert answer["path"] == path, "the path should be %s" % path
    assert ["host", host] in answer["headers"], "the host should be %s" % host
    if question["tls"] and not e["chain"]["tls"]:
        assert seen.fingerprint == setting.own.fingerprint, "the endpoint's certificate should be seen"


def check_rivals(e):
    """Nobody wins and loses; all have a reason; there are not too many."""
    for step in ("listener", "chain", "certificate", "vhost", "cluster"):
        if e[step] is None:
            continue
        names = [one["name"] for one in e[step]["rivals"]]
        assert e[step]["name"] not in names and len(names) <= RIVALS_MAX and all(names), "rivals at the %s" % step
        assert all(one["reason"] for one in e[step]["rivals"])
    if e["route"] and e["route"]["name"]:
        assert "%s %s" % (e["route"]["exposure"], e["route"]["name"]) not in [
            one["name"] for one in e["route"]["rivals"]], "rivals at the route"


def check(question, setting, e, seen):
    """Whether Envoy did what the explanation says."""
    outcome = e["outcome"]
    check_rivals(e)
    if outcome == "no_listener":
        assert seen.kind == "refused"
    elif outcome in ("no_chain", "no_handshake") or (outcome == "no_endpoint" and e["status"] is None):
        assert seen.kind == "closed", "the connection should be closed"
    elif outcome == "forwarded":
        check_forwarded(question, setting, e, seen)
    else:
        assert seen.kind == "answered" and seen.response.status == e["status"]
        # An HTTP parser that refuses a request has no name to give.
        assert seen.response.headers["Server"] == "envoy" or e["status"] == 400, "the gateway should answer itself"
        assert seen.response.headers["Location"] == e["location"]
    if seen.kind == "answered" and e["certificate"]:
        wanted = setting.fingerprints[e["certificate"]["secret"]]
        assert seen.fingerprint == wanted, "another certificate is shown"


class Asker:
    """POST /explain over one connection that is kept."""

    def __init__(self, api):
        self.socket = api.connect()

    def __call__(self, question):
        response = exchange(self.socket, "/api/v1/explain", "POST", body=json.dumps(question).encode(),
                            headers={"Content-Type": "application/json"}, close=False)
        assert response.status == 200, (question, response)
        return response.json


# ---- the test ----

def make_certificates(ca):
    return {"ca": ca, "backend": ca.issue("backend"), "client": ca.issue("someone", client=True),
            "front": {"one": ca.issue("a.test", "*.a.test", "x.test"),
                      "two": ca.issue("*.x.test", "b.a.test", "*.test"),
                      "rsa": ca.issue("a.test", "www.x.test", "*.b.a.test", kind="rsa2048")}}


def start(world, seed, certificates):
    """A random gateway, a daemon that knows all of it, and an Envoy that has it."""
    agent = world.agent(nodes=["n1", "n2", "n3"])
    setting = Setting(world, agent, random.Random(seed), certificates)
    api = Api(world, agent).wait_exposures(len(setting.services))
    envoy = world.envoy(api.igwd).wait_live()
    wanted = {one["envoy_name"] for one in api.v1("/listeners?limit=1000")["items"] if one["status"]["open"]}
    wait_until(lambda: set(envoy.dynamic_listeners()) == wanted and not envoy.warming(), what="all listeners")
    return api, envoy, setting


def ask_all(setting, api, counts):
    """Draws requests until each kind was seen often enough; returns those to send with what was said of them."""
    ask = Asker(api)
    chosen = []
    for n in range(DRAWS_MAX):
        question = setting.question()
        said = ask(question)
        kinds = set(kinds_of(question, setting, said))
        if n >= FREE and all(counts[kind] >= ENOUGH for kind in kinds):
            if all(counts[kind] >= ENOUGH for kind in KINDS):
                break
            continue
        counts.update(kinds)
        chosen.append((question, said))
    return chosen


def compare(setting, chosen, contexts, seed):
    failures = []
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for (question, said), seen in zip(chosen, pool.map(lambda one: observe(one[0], contexts), chosen)):
            try:
                check(question, setting, said, seen)
            except AssertionError as error:
                failures.append("%s\n  asked: %s\n  said: %s\n  seen: %r" % (
                    error, json.dumps(question), json.dumps(said), seen))
    assert not failures, "seed %d: %d of %d requests went another way:\n%s" % (
        seed, len(failures), len(chosen), "\n".join(failures[:5]))


def compare_counters(envoy, chosen):
    """What can't be told apart from outside, Envoy counts."""
    outcomes = collections.Counter(said["outcome"] for _, said in chosen)
    uncertified = sum("client certificate" in said["summary"] for _, said in chosen)
    stats = envoy.stats("^listener\\..*\\.(no_filter_chain_match|fail_verify_no_cert)$")
    assert sum(v for k, v in stats.items() if k.endswith("no_filter_chain_match")) == outcomes["no_chain"]
    assert sum(v for k, v in stats.items() if k.endswith("fail_verify_no_cert")) == uncertified


def test_envoy_does_what_the_explanation_says(request):
    certificates = make_certificates(CA())
    contexts = [client_context(), client_context(client=certificates["client"])]
    counts = collections.Counter()
    total = 0
    for seed in SEEDS:
        world = request.node.world = World("seed %d" % seed)
        try:
            api, envoy, setting = start(world, seed, certificates)
            chosen = ask_all(setting, api, counts)
            compare(setting, chosen, contexts, seed)
            compare_counters(envoy, chosen)
            total += len(chosen)
        finally:
            world.close()
    missing = {kind: counts[kind] for kind in KINDS if counts[kind] < LEAST}
    assert not missing, "seeds %s: too few of %s among %d requests: %s" % (SEEDS, missing, total, counts)
