"""Lists of the REST interface against the agent's services: pages, filters, sorting, fields, and what is in them."""

import pytest

from api_client import Api
from declare import l4, l7
from harness import wait_until

N = 25


@pytest.fixture
def api(world):
    agent = world.agent(nodes=["n1", "n2"])
    for i in range(N):
        agent.add_service("ns%d/svc/s%02d" % (i % 3, i), l4("10.0.0.%d" % (i + 1), "127.9.9.9:%d" % (8000 + i)))
    return Api(world, agent).wait_exposures(N)


def names(items):
    return [item["name"] for item in items]


@pytest.mark.sanitized
def test_pages_hold_everything_once_whatever_their_size(api):
    whole = names(api.v1("/exposures")["items"])
    assert len(whole) == N and whole == sorted(whole)
    for limit in (1, 7, N - 1, N, N + 1):
        pages = list(api.pages("/exposures", limit))
        assert sum(map(names, pages), []) == whole
        assert all(len(page) == limit for page in pages[:-1])


@pytest.mark.sanitized
def test_what_is_there_all_the_time_is_shown_once_while_others_come_and_go(api):
    stay = set(names(api.v1("/exposures")["items"]))
    seen = []
    for i, page in enumerate(api.pages("/exposures", 4)):
        seen += names(page)
        gone = page[-1]["service"]  # the very object that the cursor names
        stay.discard(page[-1]["name"])
        api.agent.remove_service(gone)
        api.agent.add_service("ns1/svc/new%d" % i, l4("10.1.0.1", "127.9.9.9:%d" % (9000 + i)))
        wait_until(lambda: api.get("/api/v1/services/" + gone.replace("/", "%2F")).status == 404)
    assert len(seen) == len(set(seen)) and stay <= set(seen)


def test_filters_search_sorting_and_fields(api):
    found = api.v1("/exposures?namespace=ns0&namespace=ns1&listener_port=8000&listener_port=8002")["items"]
    assert names(found) == ["ns0/svc/s00.expose#0"], "the same name: or; different names: and"
    assert names(api.v1("/exposures?q=SVC%2FS1")["items"]) == sorted(
        "ns%d/svc/s%02d.expose#0" % (i % 3, i) for i in range(10, 20))
    ports = [p["listener_port"] for p in sum(api.pages("/exposures?sort=-listener_port&fields=listener_port", 4), [])]
    assert ports == list(range(8000 + N - 1, 7999, -1))
    item = api.v1("/exposures?limit=1&fields=name,status.endpoints")["items"][0]
    assert set(item) == {"name", "status"} and set(item["status"]) == {"endpoints"}


def test_a_list_says_how_many_there_are_where_they_were_counted(api):
    third = sum(i % 3 == 0 for i in range(N))
    for query, total in (("limit=2", N), ("limit=2&sort=name", N), ("limit=2&sort=name&namespace=ns0", third),
                         ("limit=2&namespace=ns0", None), ("namespace=ns0", third), ("q=svc%2Fs1", 10), ("q=nothing", 0)):
        assert api.v1("/exposures?" + query)["total"] == total, query
    page = api.v1("/exposures?limit=2")
    assert api.v1("/exposures?limit=2&after=" + page["next"])["total"] == N
    for plural, total in (("services", N), ("listeners", N), ("topology", N), ("gateways", 1), ("proxies", 0),
                          ("certificates", 0), ("alarms", 0), ("sessions", 0), ("tokens", 0)):
        assert api.v1("/%s?limit=1" % plural)["total"] == total, plural
    assert api.v1("/revisions?limit=1")["total"] == len(api.v1("/revisions?limit=1000")["items"])
    tag = api.get("/api/v1/exposures?limit=2").headers["ETag"]
    api.agent.remove_service("ns0/svc/s24")
    wait_until(lambda: api.v1("/exposures?limit=2")["total"] == N - 1)
    assert api.get("/api/v1/exposures?limit=2").headers["ETag"] != tag, "another number is another page"
    assert api.v1("/services?limit=1")["total"] == N - 1


def test_a_cursor_belongs_to_its_list(api):
    cursor = api.v1("/exposures?limit=2&namespace=ns0")["next"]
    assert api.get("/api/v1/exposures?limit=9&namespace=ns0&after=" + cursor).status == 200
    for path in ("/exposures?after=", "/exposures?namespace=ns1&after=", "/exposures?namespace=ns0&sort=name&after=",
                 "/services?after="):
        response = api.get("/api/v1" + path + cursor)
        assert response.status == 404 and response.json["errors"][0]["parameter"] == "after", response
    assert api.get("/api/v1/exposures?after=nonsense").status == 404


def test_a_fault_is_told_with_a_pointer_to_its_place(api):
    api.agent.add_service("bad/svc/x", l7("10.2.0.1", "127.9.9.9:7000", ["a.example.org"],
                                          routes=[{"match_prefix": "/a"}, {"match_regex": "["}]))
    path = "/exposures/bad%2Fsvc%2Fx.expose%230"
    wait_until(lambda: api.get("/api/v1" + path).status == 200)
    accepted = api.v1(path)["status"]["accepted"]
    assert accepted["state"] == "failed" and accepted["reason"] == "invalid"
    assert accepted["problems"][0]["pointer"] == "#/vhosts/0/routes/1/match_regex"


def test_a_conflict_names_the_winner(api):
    api.agent.add_service("zz/svc/late", l4("10.2.0.1", "127.9.9.9:8003"))
    path = "/exposures/zz%2Fsvc%2Flate.expose%230"
    wait_until(lambda: api.get("/api/v1" + path).status == 200)
    accepted = api.v1(path)["status"]["accepted"]
    assert accepted["reason"] == "conflict" and "ns0/svc/s03.expose#0" in accepted["message"]
    listener = api.v1("/listeners/envoy%7C127.9.9.9%3A8003%2Ftcp")
    assert {e["name"]: e["verdict"] for e in listener["status"]["exposures"]} == {
        "ns0/svc/s03.expose#0": "accepted", "zz/svc/late.expose#0": "conflict"}


def test_private_keys_and_what_is_named_like_a_secret_never_come_out(api, ca):
    certificate = ca.issue("a.example.org", days=29)
    api.agent.set_secret("tls/sec/cert", certificate.secret())
    api.agent.add_service("tls/svc/x", l7(
        "10.2.0.1", "127.9.9.9:7001", ["a.example.org", "b.example.org"],
        certificates={"front": "tls/sec/cert",
                      "inline": {"certificate_chain_inline_string": certificate.key + certificate.chain,
                                 "private_key_inline_string": certificate.key}},
        cluster_data='{"metadata": {"filter_metadata": {"a": {"password": "hunter2"}}}}'))
    wait_until(lambda: api.v1("/certificates")["items"] and api.v1("/certificates")["items"][0]["status"]["leaf"])
    shown = api.v1("/certificates/tls%2Fsec%2Fcert")
    assert shown["status"]["pair"] == "expires_soon" and shown["status"]["leaf"]["names"] == ["a.example.org"]
    assert shown["status"]["leaf"]["fingerprint_sha256"] == certificate.fingerprint
    assert shown["status"]["used_by"][0]["names_not_covered"] == ["b.example.org"]
    assert [a["name"] for a in api.v1("/alarms")["items"]] == ["certificate tls/sec/cert"]
    secret_line = certificate.key.splitlines()[2]
    exposure = api.get("/api/v1/exposures/tls%2Fsvc%2Fx.expose%230").body.decode()
    assert "[redacted]" in exposure and "BEGIN CERTIFICATE" in exposure
    for path in ("/exposures", "/certificates", "/listeners", "/topology", "/services", "/alarms", "/summary",
                 "/exposures/tls%2Fsvc%2Fx.expose%230", "/certificates/tls%2Fsec%2Fcert"):
        body = api.get("/api/v1" + path).body.decode()
        assert secret_line not in body and "PRIVATE KEY" not in body and "hunter2" not in body, path


def test_a_bootstrap_is_that_of_the_command_line(api, world):
    made = api.v1("/gateways/envoy/bootstrap?node_id=n7&admin=127.0.0.1:9999")
    assert made == api.igwd.bootstrap("127.0.0.1:9999", node_id="n7", cluster="envoy")
    assert api.get("/api/v1/gateways/nope/bootstrap").status == 404
    assert api.get("/api/v1/gateways/envoy/bootstrap?admin=x").json["errors"][0]["parameter"] == "admin"
    assert world.name


def test_a_gateway_says_where_its_envoys_can_come_to(api):
    assert api.v1("/gateways/envoy")["status"]["xds"] == [{"address": api.igwd.xds[0], "tls": False}]
    assert api.put("/gateways/edge", {}).status == 201
    assert api.v1("/gateways/edge")["status"]["xds"] == []
    assert "no xDS address serves" in api.get("/api/v1/gateways/edge/bootstrap").json["detail"]


def test_the_summary_counts_what_there_is(api):
    summary = api.v1("/summary")
    assert summary["exposures"]["total"] == N and summary["endpoints"] == {"total": N, "up": N}
    assert summary["exposures"]["accepted"]["ok"] == N and summary["listeners"] == N
    assert summary["agent"] == "following" and summary["complete"] and not summary["stale"]
    api.agent.stop()
    wait_until(lambda: api.v1("/summary")["stale"])
    alarms = [a for a in api.v1("/alarms")["items"] if a["name"] == "agent"]
    assert len(alarms) == 1 and alarms[0]["since"], "it is one, and says since when"
