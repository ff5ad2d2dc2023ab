"""What is written over the REST interface beside exposures: gateways, certificates, grants, tokens; and what is the same
for all of it: revisions, undo, the whole as one document, change sets, roles."""

import concurrent.futures

import pytest

from api_client import VIEWER, Api, bearer, certificate, done, drain, exposure, pointers, quote
from declare import BAD_CLUSTER, l4, l7
from harness import wait_answer, wait_until

WEB = "test/svc/web.expose#0"
OWN = "own/svc/a.expose#0"
L4 = "test/svc/l4.expose#0"
CERTIFICATE = certificate("test/sec/made")


@pytest.fixture
def api(world):
    agent = world.agent(nodes=["n1"])
    agent.add_service("test/svc/web", l7("10.0.0.2", "127.9.9.9:8443", ["a.example.org"]))
    agent.add_service("test/svc/l4", l4("10.0.0.1", "127.9.9.9:8080", gateway="edge"))
    return Api(world, agent).wait_exposures(2)


# ---- gateways, certificates, grants ----

@pytest.mark.sanitized
def test_settings_of_a_gateway(api):
    made = done(api.put("/gateways/spare", {"port_min": 2000, "port_max": 2100}), 201)
    assert made["object"]["port_min"] == 2000 and made["object"]["allow_files"] is False
    shown = api.get("/api/v1/gateways/spare")
    assert done(api.put("/gateways/spare", shown.json))["changes"] == [
        {"kind": "gateway", "name": "spare", "change": "changed", "before": {},
         "after": {"allow_files": False, "allow_cluster_header": False}}]
    done(api.patch("/gateways/spare", {"port_max": 2200}, headers={"If-Match": shown.headers["ETag"]}))
    assert api.v1("/gateways/spare")["port_max"] == 2200
    assert pointers(api.patch("/gateways/spare", {"port_max": 100})) == {"#/port_max"}
    assert pointers(api.put("/gateways/spare", {"port_min": "x", "colour": 1})) == {"#/colour"}
    assert pointers(api.put("/gateways/spare", {"port_min": "x", "allow_files": 1})) == {"#/port_min", "#/allow_files"}
    assert pointers(api.patch("/gateways/spare", {"port_min": 0})) == {"#/port_min"}
    assert api.put("/gateways/" + quote("a b"), {}).status == 404
    done(api.delete("/gateways/spare"))
    assert api.v1("/gateways/spare")["port_min"] != 2000, "a gateway that was named stays, as it is by default"
    assert api.delete("/gateways/spare").status == 409 and api.delete("/gateways/none").status == 404
    taken = api.delete("/gateways/edge")
    assert taken.status == 409 and L4 in taken.json["detail"] and "PUT with {}" in taken.json["detail"]


@pytest.mark.sanitized
def test_a_certificate_goes_in_and_its_key_never_comes_out(api, ca):
    one, other = ca.issue("a.example.org"), ca.issue("b.example.org")
    made = api.put(CERTIFICATE, {"certificate_chain": one.key + one.chain, "private_key": one.key})
    assert done(made, 201)["object"]["origin"] == "api"
    assert made.json["object"]["status"]["leaf"]["names"] == ["a.example.org"]
    secret_line = one.key.splitlines()[2]
    done(api.patch(exposure(WEB), {"listener_certificates": [{"certificate_secret": "test/sec/made"}]}))
    wait_until(lambda: api.v1(exposure(WEB))["status"]["certificate"]["state"] == "ok")
    in_use = api.delete(CERTIFICATE)
    assert in_use.status == 409 and WEB in in_use.json["detail"]
    shown = api.v1(CERTIFICATE)
    assert done(api.put(CERTIFICATE, shown))["changes"] == [], "the key that was not sent stays"
    assert pointers(api.put(CERTIFICATE, {"certificate_chain": other.chain})) == {"#/certificate_chain"}
    assert pointers(api.put(CERTIFICATE, {"certificate_chain": one.chain, "private_key": None})) == {"#/private_key"}
    assert pointers(api.put(CERTIFICATE, {"certificate_chain": "x", "private_key": 1})) == {"#/private_key"}
    assert pointers(api.put(CERTIFICATE, {})) == {"#/certificate_chain"}, "the key that was kept has none"
    assert pointers(api.put(certificate("test/sec/new"), {})) == {"#"}, "nothing is no certificate"
    done(api.put(CERTIFICATE, {"certificate_chain": other.chain, "private_key": other.key}))
    for where in ("/certificates", CERTIFICATE, "/revisions", "/config", "/revisions/%d/diff?against=1" % (
            api.v1("/summary")["revision"])):
        text = api.get("/api/v1" + where).body.decode()
        assert secret_line not in text and "PRIVATE KEY" not in text, where
    assert secret_line not in made.body.decode()
    done(api.delete(exposure(WEB) + "/overrides"))
    done(api.delete(CERTIFICATE))
    assert api.delete(CERTIFICATE).status == 404 and api.put("/certificates/x", {}).status == 404


def test_a_secret_of_the_agents_is_not_taken_over(api, ca):
    api.agent.set_secret("test/sec/cert", ca.issue("a.example.org").secret())
    api.agent.set_config("test/svc/web", l7("10.0.0.2", "127.9.9.9:8443", ["a.example.org"],
                                            certificates={"front": "test/sec/cert"}))
    where = certificate("test/sec/cert")
    wait_until(lambda: api.get("/api/v1" + where).status == 200 and api.v1(where)["status"]["leaf"])
    one = ca.issue("b.example.org")
    assert api.put(where, {"certificate_chain": one.chain, "private_key": one.key}).status == 409
    assert api.delete(where).status == 409


@pytest.mark.sanitized
def test_a_grant_lets_another_namespace_use_a_secret(api, ca):
    one = ca.issue("own.example.org")
    done(api.put(certificate("tls/sec/shared"), {"certificate_chain": one.chain, "private_key": one.key}),
         201)
    body = {"port": 80, "listener_addr": "127.9.9.9", "listener_port": 7000, "sni": ["own.example.org"],
            "listener_certificates": [{"certificate_secret": "tls/sec/shared"}]}
    assert pointers(api.put(exposure(OWN), body)) == {"#/listener_certificates/0/certificate_secret"}
    grant = "/grants/" + quote("own|secret|tls/sec/shared")
    made = done(api.put(grant, {"reason": "ours"}), 201)
    assert made["object"]["namespace"] == "own" and made["object"]["target"] == "tls/sec/shared"
    done(api.put(exposure(OWN), body), 201)
    assert api.v1(exposure(OWN))["status"]["accepted"]["state"] == "ok"
    assert [g["id"] for g in api.v1("/grants?namespace=own&type=secret")["items"]] == ["own|secret|tls/sec/shared"]
    assert api.put("/grants/x", {}).status == 404 and pointers(api.put(grant, {"reason": 7})) == {"#/reason"}
    done(api.delete(grant))
    assert api.delete(grant).status == 404


# ---- revisions ----

@pytest.mark.sanitized
def test_revisions_say_who_and_what_and_can_be_restored(api):
    start = api.v1("/summary")["revision"]
    first = done(api.patch(exposure(WEB), {"lb_policy": "random"}))["number"]
    done(api.put("/gateways/spare", {"port_min": 2000}), 201)
    last = done(api.put(exposure(OWN), {"port": 80, "listener_addr": "127.9.9.9", "listener_port": 7000}),
                201)["number"]
    shown = api.v1("/revisions/%d" % first)
    assert shown["author"] == "root" and shown["cause"].startswith("PATCH /api/v1/exposures/")
    assert shown["documents"] == [{"kind": "override", "name": WEB, "change": "created"}]
    assert [r["number"] for r in api.v1("/audit?sort=-number")["items"]] == [last, last - 1, first]
    diff = api.v1("/revisions/%d/diff?against=%d" % (last, start))
    assert {(d["kind"], d["name"], d["change"]) for d in diff["documents"]} == {
        ("override", WEB, "created"), ("gateway", "spare", "created"), ("exposure", OWN, "created")}
    back = api.v1("/revisions/%d/diff?against=%d" % (start, last))
    assert {d["change"] for d in back["documents"]} == {"removed"}
    restored = done(api.post("/revisions", {"restore": first}))
    assert restored["number"] == last + 1
    assert api.get("/api/v1" + exposure(OWN)).status == 404 and api.v1("/gateways/spare")["port_min"] != 2000
    assert api.v1(exposure(WEB))["lb_policy"] == "random", "what was there after it stays"
    done(api.post("/revisions", {"restore": last}))
    assert api.v1(exposure(OWN))["listener_port"] == 7000
    assert done(api.post("/revisions", {"restore": last}))["changes"] == []
    assert api.post("/revisions", {"restore": last + 1000}).status == 404
    assert pointers(api.post("/revisions", {"restore": "x", "y": 1})) == {"#/y"}
    assert api.get("/api/v1/revisions/%d/diff?against=99999" % last).status == 404
    assert api.get("/api/v1/revisions/x").status == 404


# ---- all of it, and some of it, as one ----

@pytest.mark.sanitized
def test_the_whole_is_exported_and_applied(api, ca):
    one = ca.issue("a.example.org")
    done(api.patch(exposure(WEB), {"lb_policy": "random"}))
    done(api.put(CERTIFICATE, {"certificate_chain": one.chain, "private_key": one.key}), 201)
    done(api.put("/gateways/spare", {"port_min": 2000}), 201)
    exported = api.get("/api/v1/config")
    assert set(exported.json["overrides"]) == {WEB} and "private_key" not in exported.json["certificates"][
        "test/sec/made"]
    assert api.put("/config", exported.json).status == 428
    tag = {"headers": {"If-Match": exported.headers["ETag"]}}
    assert done(api.put("/config", exported.json, **tag))["changes"] == []
    bad = {**exported.json, "gateways": {"spare": {"port_min": 0}}, "grants": {"x|secret|y/sec/z": {"reason": 1}}}
    assert pointers(api.put("/config", bad, **tag)) == {"#/gateways/spare/port_min",
                                                        "#/grants/x|secret|y~1sec~1z/reason"}
    wanted = {"gateways": {"other": {"port_min": 3000}}, "certificates": exported.json["certificates"],
              "exposures": {OWN: {"port": 80, "listener_addr": "127.9.9.9", "listener_port": 7000}}}
    done(api.put("/config", wanted, **tag))
    after = api.v1("/config")
    assert set(after["gateways"]) == {"other"} and after["overrides"] == {} and set(after["exposures"]) == {OWN}
    assert api.v1(exposure(WEB))["lb_policy"] == "round robin"
    assert api.v1(CERTIFICATE)["status"]["leaf"] is not None, "the key that is not in the document stayed"
    assert api.put("/config", wanted, **tag).status == 412


@pytest.mark.sanitized
def test_a_change_set_is_all_or_nothing(api):
    before = api.v1("/summary")["revision"]
    good = [{"method": "PATCH", "kind": "Exposure", "name": WEB, "body": {"lb_policy": "random"}},
            {"method": "PUT", "kind": "Gateway", "name": "spare", "body": {"port_min": 2000}}]
    bad = {"method": "PUT", "kind": "Exposure", "name": OWN, "body": {"port": 0, "colour": 1}}
    refused = api.post("/changesets", {"operations": good + [bad]})
    assert pointers(refused) == {"#/operations/2/body/colour"}
    bad["body"] = {"port": 0}
    assert pointers(api.post("/changesets", {"operations": good + [bad]})) == {"#/operations/2/body/port"}
    assert api.v1("/summary")["revision"] == before and api.get("/api/v1/gateways/spare").status == 404
    assert pointers(api.post("/changesets", {"operations": good + good[:1]})) == {"#/operations/2"}
    assert pointers(api.post("/changesets", {"operations": [{"method": "GET", "kind": "X", "name": ""}]})) == {
        "#/operations/0/method", "#/operations/0/kind", "#/operations/0/name"}
    assert api.post("/changesets", {"operations": good + [
        {"method": "DELETE", "kind": "Exposure", "name": OWN}]}).status == 404
    made = done(api.post("/changesets", {"operations": good}))
    assert made["number"] == before + 1 and len(made["changes"]) == 2
    assert api.v1(exposure(WEB))["lb_policy"] == "random" and api.v1("/gateways/spare")["port_min"] == 2000


def test_a_removal_in_a_change_set_takes_no_body(api):
    """It would be ignored, whatever was wanted by it."""
    one = {"method": "DELETE", "kind": "Gateway", "name": "spare"}
    assert pointers(api.post("/changesets", {"operations": [{**one, "body": {}}]})) == {"#/operations/0/body"}
    assert api.post("/changesets", {"operations": [{**one, "body": None}]}).status == 404


# ---- who may ----

@pytest.mark.sanitized
def test_a_token_is_made_used_and_taken_away(api):
    made = api.post("/tokens", {"name": "dash", "role": "viewer"})
    assert made.status == 201, made.body
    token = made.json["token"]
    assert len(token) == 48 and made.headers["Location"] == "/api/v1/tokens/" + made.json["object"]["id"]
    assert api.v1("/auth/whoami", **bearer(token))["name"] == "dash"
    assert token not in api.get("/api/v1/tokens").body.decode() and "sha256" not in api.get(
        "/api/v1/tokens").body.decode()
    assert api.post("/tokens", {"name": "dash", "role": "admin"}).status == 409
    assert pointers(api.post("/tokens", {"name": "a b", "role": "operator"})) == {"#/name", "#/gateways"}
    assert pointers(api.post("/tokens", {"role": "boss"})) == {"#/name", "#/role"}
    assert "token" not in api.post("/tokens?dry_run=true", {"name": "x", "role": "viewer"}).json
    done(api.delete("/tokens/" + made.json["object"]["id"]))
    assert api.get("/api/v1/auth/whoami", **bearer(token)).status == 401


@pytest.mark.sanitized
def test_a_viewer_reads_and_an_operator_edits_what_is_on_its_gateways(api):
    operator = api.post("/tokens", {"name": "op", "role": "operator", "gateways": ["edge"]}).json["token"]
    for token in (VIEWER, operator):
        assert api.get("/api/v1" + exposure(WEB), **bearer(token)).status == 200
        assert api.patch(exposure(WEB), {"lb_policy": "random"}, **bearer(token)).status == 403
        assert api.put("/gateways/edge", {}, **bearer(token)).status == 403
        assert api.get("/api/v1/tokens", **bearer(token)).status == 403
        assert api.post("/tokens", {"name": "x", "role": "admin"}, **bearer(token)).status == 403
        assert api.post("/revisions", {"restore": 0}, **bearer(token)).status == 403
        nothing = api.patch(exposure("no/svc/x.expose#0"), {"port": 1}, **bearer(VIEWER))
        assert nothing.status == 403, "who may not write is not told what is there"
    assert api.patch(exposure(L4), {"lb_policy": "random"}, **bearer(VIEWER)).status == 403
    changed = done(api.patch(exposure(L4), {"lb_policy": "random"}, **bearer(operator)))
    assert changed["object"]["lb_policy"] == "random"
    assert api.v1("/revisions/%d" % changed["number"])["author"] == "op"
    away = api.patch(exposure(L4), {"gateway": "envoy"}, **bearer(operator))
    assert away.status == 403, "an operator can't give an exposure away"
    body = {"port": 80, "listener_addr": "127.9.9.9", "listener_port": 7000}
    assert api.put(exposure(OWN), body, **bearer(operator)).status == 403
    done(api.put(exposure(OWN), {**body, "gateway": "edge"}, **bearer(operator)), 201)
    sneaky = [{"method": "PATCH", "kind": "Exposure", "name": L4, "body": {"lb_policy": "maglev"}},
              {"method": "PUT", "kind": "Gateway", "name": "edge", "body": {"allow_files": True}}]
    assert api.post("/changesets", {"operations": sneaky}, **bearer(operator)).status == 403
    done(api.post("/changesets", {"operations": sneaky[:1]}, **bearer(operator)))
    done(api.put(drain(L4, "10.0.0.1:8000"), **bearer(operator)), 201)
    assert api.put(drain(WEB, "10.0.0.2:8000"), **bearer(operator)).status == 403


@pytest.mark.sanitized
def test_many_writers_of_one_object_lose_nothing(api):
    """Each takes its own route out or in, without a tag: what another did meanwhile is not undone."""
    writers, rounds = 8, 6
    done(api.patch(exposure(WEB), {"vhosts": [{"domains": ["a.example.org"], "routes": [{"match_prefix": "/"}]}]}))

    def write(n):
        statuses = []
        for i in range(rounds):
            own = {"port": 80, "listener_addr": "127.9.9.9", "listener_port": 7100 + n,
                   "lb_policy": ["random", "maglev"][i % 2]}
            add = [{"op": "add", "path": "/vhosts/0/routes/0", "value": {"match_path": "/%d/%d" % (n, i)}}]
            statuses.append(api.put(exposure("own/svc/w%d.expose#0" % n), own).status)
            statuses.append(api.patch(exposure(WEB), add, kind="application/json-patch+json").status)
        return statuses
    with concurrent.futures.ThreadPoolExecutor(writers) as pool:
        statuses = sum(pool.map(write, range(writers)), [])
    assert set(statuses) <= {200, 201}, statuses
    routes = {r.get("match_path") for r in api.v1(exposure(WEB))["vhosts"][0]["routes"]}
    assert routes == {None} | {"/%d/%d" % (n, i) for n in range(writers) for i in range(rounds)}
    assert len(api.v1("/exposures?origin=api")["items"]) == writers


@pytest.mark.sanitized
def test_what_was_answered_survives_a_kill(api):
    done(api.patch(exposure(WEB), {"lb_policy": "random"}))
    made = api.post("/tokens", {"name": "dash", "role": "viewer"}).json
    api.igwd.kill()
    api.igwd.start()
    api.wait_live()
    assert api.v1(exposure(WEB))["overridden"] == ["lb_policy"] and api.v1(exposure(WEB))["lb_policy"] == "random"
    assert api.v1("/auth/whoami", **bearer(made["token"]))["name"] == "dash"


# ---- saved is not applied ----

WAIT = {"headers": {"Prefer": "wait=20"}}


@pytest.mark.sanitized
def test_a_write_waits_for_the_proxies_and_says_who_refused_it(api, world):
    world.envoy(api.igwd).wait_live()
    wait_until(lambda: api.v1("/proxies")["items"], what="the proxy to connect")
    answer = api.patch(exposure(WEB), {"lb_policy": "random"}, **WAIT)
    assert answer.headers["Preference-Applied"] == "wait=20"
    rollout = done(answer)["rollout_status"]
    assert rollout["state"] == "acked" and rollout["counts"]["acked"] == 1, rollout
    refused = done(api.patch(exposure(WEB), {"cluster_data": BAD_CLUSTER}, **WAIT))
    assert refused["rollout_status"]["state"] == "nacked", refused["rollout_status"]
    assert "malformed IP address" in str(refused["rollout_status"]["proxies"]), "with Envoy's words"
    mended = done(api.delete(exposure(WEB) + "/overrides/cluster_data", **WAIT))
    assert mended["rollout_status"]["state"] == "acked", mended["rollout_status"]
    assert done(api.patch(exposure(WEB), {"lb_policy": "maglev"}))["rollout_status"] is None


def test_traffic_follows_an_exposure_of_the_apis_own(api, world):
    """Addresses, and a name that Envoy resolves itself."""
    one = world.backend(10)
    envoy = world.envoy(api.igwd)
    listener = world.ip(1)
    for number, (port, address) in enumerate([(7001, one.address), (7002, "localhost.localdomain")]):
        body = {"port": one.port, "listener_addr": listener, "listener_port": port,
                "endpoints": [{"address": address, "port": one.port}]}
        done(api.put(exposure("own/svc/a.expose#%d" % number), body), 201)
    envoy.wait_live()
    wait_answer("%s:7001" % listener, backend=one.name)
    done(api.patch(exposure(OWN), {"enabled": False}, **WAIT))
    wait_until(lambda: "%s:7001/tcp" % listener not in envoy.dynamic_listeners(), what="the listener to go")
    assert api.v1(exposure("own/svc/a.expose#1"))["status"]["accepted"]["state"] == "ok"
