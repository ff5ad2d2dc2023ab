"""Exposures set over the REST interface: overrides of the agent's, and exposures of the API's own."""

import pytest

from api_client import Api, bearer, done, drain, exposure, pointers, quote
from declare import l4, l7
from harness import wait_until

WEB = "test/svc/web.expose#0"
OWN = "own/svc/a.expose#0"
SECRET = "hunter2"


@pytest.fixture
def api(world):
    agent = world.agent(nodes=["n1", "n2"])
    agent.add_service("test/svc/web", l7(
        {"n1": "10.0.0.2", "n2": "10.0.0.3"}, "127.9.9.9:8443", ["a.example.org", "b.example.org"],
        routes=[{"match_prefix": "/x", "route_timeout": "2500ms"}, {"match_path": "/y"}],
        cluster_data='{"connect_timeout": "1s", "metadata": {"filter_metadata": {"a": {"password": "%s"}}}}' % SECRET))
    agent.add_service("test/svc/l4", l4("10.0.0.1", "127.9.9.9:8080"))
    return Api(world, agent).wait_exposures(2)


def spec(response):
    """The part of a tag that an edit changes."""
    return response.headers["ETag"].partition(".")[0]


@pytest.mark.sanitized
def test_a_patch_overrides_one_field_and_survives_the_agents_events(api):
    before = api.v1(exposure(WEB))
    answer = done(api.patch(exposure(WEB), {"lb_policy": "random"}))
    assert answer["changes"] == [{"kind": "exposure", "name": WEB, "change": "changed",
                                  "before": {"lb_policy": "round robin"}, "after": {"lb_policy": "random"}}]
    assert answer["object"]["lb_policy"] == "random" and answer["object"]["overridden"] == ["lb_policy"]
    api.agent.set_config("test/svc/web", l7("10.0.0.9", "127.9.9.9:8444", ["c.example.org"]))
    wait_until(lambda: api.v1(exposure(WEB))["listener_port"] == 8444)
    after = api.v1(exposure(WEB))
    assert after["lb_policy"] == "random" and after["overridden"] == ["lb_policy"] and after["origin"] == "agent"
    assert before["lb_policy"] == "round robin"


@pytest.mark.sanitized
def test_what_is_read_can_be_put_back_and_changes_nothing(api):
    first = api.get("/api/v1" + exposure(WEB))
    answer = done(api.put(exposure(WEB), first.json, headers={"If-Match": first.headers["ETag"]}))
    assert answer["changes"] == [] and answer["object"]["overridden"] == []
    assert spec(api.get("/api/v1" + exposure(WEB))) == spec(first)
    done(api.put(exposure(WEB), {**first.json, "listener_port": 9443}))
    second = api.v1(exposure(WEB))
    assert second["overridden"] == ["listener_port"] and second["status"]["listener_port"] == 9443
    done(api.put(exposure(WEB), {**second, "listener_port": 8443}))
    assert api.v1(exposure(WEB))["overridden"] == [], "what is the agent's again is no override"


def test_a_secret_that_was_left_out_stays_as_it_is_and_can_be_changed(api):
    shown = api.v1(exposure(WEB))
    assert SECRET not in str(shown)
    password = shown["cluster_data"]["metadata"]["filter_metadata"]["a"]
    assert password == {"password": "[redacted]"}
    done(api.put(exposure(WEB), {**shown, "cluster_data": {**shown["cluster_data"], "connect_timeout": "3s"}}))
    assert api.v1(exposure(WEB) + "/overrides")["items"][0]["value"] == {"connect_timeout": "3s"}
    answer = api.put(exposure(WEB), {**shown, "cluster_data": {"metadata": {"filter_metadata": {
        "a": {"password": "other"}}}}})
    assert "other" not in answer.body.decode() and SECRET not in answer.body.decode()
    assert done(answer)["object"]["overridden"] == ["cluster_data"]
    shown["cluster_data"]["metadata"]["filter_metadata"]["b"] = {"password": "[redacted]"}
    assert pointers(api.put(exposure(WEB), shown)) == {"#/cluster_data/metadata/filter_metadata/b/password"}


def test_both_kinds_of_patches_reach_into_arrays(api):
    done(api.patch(exposure(WEB), [{"op": "test", "path": "/vhosts/0/routes/0/match_prefix", "value": "/x"},
                               {"op": "replace", "path": "/vhosts/0/routes/0/match_prefix", "value": "/z"}],
                   kind="application/json-patch+json"))
    assert [r.get("match_prefix") for r in api.v1(exposure(WEB))["vhosts"][0]["routes"]] == ["/z", None]
    failed = api.patch(exposure(WEB), [{"op": "test", "path": "/port", "value": 1}],
                       kind="application/json-patch+json")
    assert pointers(failed, 409) == {"#/0/value"}
    assert pointers(api.patch(exposure(WEB), [{"op": "remove", "path": "/nothing"}],
                              kind="application/json-patch+json")) == {"#/0/path"}
    assert api.patch(exposure(WEB), {"port": 1}, kind="application/json").status == 415
    assert api.patch(exposure("test/svc/none.expose#0"), {"port": 1}).status == 404


def test_all_faults_are_told_with_their_places(api):
    bad = {"port": 8000, "surprise": 1, "vhosts": [{"domains": ["a.org"], "routes": [
        {"match_prefix": "/"}, {"match_regex": 7, "colour": "red"}]}]}
    assert pointers(api.put(exposure(OWN), bad)) == {"#/surprise", "#/vhosts/0/routes/1/match_regex",
                                                 "#/vhosts/0/routes/1/colour"}
    assert pointers(api.put(exposure(OWN), {"port": 70000, "lb_policy": "best", "vhosts": [{"routes": [
        {"match_prefix": "/a"}, {"match_regex": "["}]}]})) == {"#/port", "#/lb_policy",
                                                               "#/vhosts/0/routes/1/match_regex"}
    assert pointers(api.put(exposure(OWN), {})) == {"#/port"}
    malformed = api.put(exposure(OWN), b'{"port": 80,\n "x"}')
    assert malformed.status == 400 and "line 2" in malformed.json["errors"][0]["detail"]
    assert pointers(api.put(exposure(OWN), [1])) == {"#"}
    assert api.put(exposure("nothing"), {"port": 80}).status == 404


@pytest.mark.sanitized
def test_an_exposure_of_the_apis_own_is_made_changed_and_removed(api):
    body = {"port": 8000, "listener_addr": "127.9.9.9", "listener_port": 7000,
            "endpoints": [{"address": "10.1.0.1", "port": 80}, {"address": "10.1.0.2", "port": 81}]}
    made = done(api.put(exposure(OWN), body, headers={"If-None-Match": "*"}), 201)
    assert made["object"]["origin"] == "api" and made["object"]["endpoints"] == body["endpoints"]
    assert made["effects"] == [{"gateway": "envoy", "listener": "127.9.9.9:7000/tcp", "effect": "adds_listener",
                                "chains": []}]
    assert api.put(exposure(OWN), body, headers={"If-None-Match": "*"}).status == 412
    assert [e["name"] for e in api.v1(exposure(OWN) + "/endpoints")["items"]] == ["10.1.0.1:80", "10.1.0.2:81"]
    shown = api.v1(exposure(OWN))
    done(api.put(exposure(OWN), shown))
    assert {**api.v1(exposure(OWN)), "status": None} == {**shown, "status": None}
    done(api.patch(exposure(OWN), {"endpoints": [{"address": "10.1.0.3", "port": 80}], "enabled": False}))
    assert api.v1(exposure(OWN))["enabled"] is False
    removed = done(api.delete(exposure(OWN)))
    assert removed["object"] is None
    assert api.get("/api/v1" + exposure(OWN)).status == 404 and api.delete(exposure(OWN)).status == 404


def test_an_agents_exposure_can_not_be_deleted_but_disabled(api):
    refused = api.delete(exposure(WEB))
    assert refused.status == 409 and "enabled" in refused.json["detail"]
    done(api.patch(exposure(WEB), {"enabled": False}))
    shown = api.v1(exposure(WEB))
    assert shown["enabled"] is False and shown["overridden"] == ["enabled"]
    assert api.v1("/listeners/" + quote("envoy|127.9.9.9:8443/tcp"))["status"]["chains"] == [] if api.get(
        "/api/v1/listeners/" + quote("envoy|127.9.9.9:8443/tcp")).status == 200 else True


def test_two_writers_with_the_same_tag(api):
    tag = api.get("/api/v1" + exposure(WEB)).headers["ETag"]
    changed = done(api.patch(exposure(WEB), {"lb_policy": "random"}, headers={"If-Match": tag}))
    assert changed["etag"].partition(".")[0] != tag.partition(".")[0], "the specification changed, and its tag"
    late = api.patch(exposure(WEB), {"lb_policy": "maglev"}, headers={"If-Match": tag})
    assert late.status == 412 and late.headers["ETag"] != tag
    done(api.patch(exposure(WEB), {"lb_policy": "maglev"}, headers={"If-Match": late.headers["ETag"]}))
    assert api.patch(exposure(WEB), {"lb_policy": "random"}, headers={"If-Match": '"x", "y"'}).status == 412
    done(api.patch(exposure(WEB), {"lb_policy": "random"}, headers={"If-Match": "*"}))


@pytest.mark.parametrize("method, path, body", [("PUT", exposure(OWN), {"port": 80}),
                                                ("DELETE", exposure(WEB), None),
                                                ("PUT", drain(WEB, "10.0.0.2:8000"), {}), ("PUT", "/config", {})])
@pytest.mark.parametrize("name, value", [("If-Match", "abc"), ("If-None-Match", '"a" "b"')])
def test_a_condition_that_can_not_be_read_stops_the_write(api, method, path, body, name, value):
    revision = api.v1("/summary")["revision"]
    refused = api.write(method, path, body, headers={"If-Match": "*", name: value} if "config" in path else {name: value})
    assert refused.status == 400 and [(e["header"], e["code"]) for e in refused.json["errors"]] == [(name, "malformed")]
    assert api.v1("/summary")["revision"] == revision


def test_a_section_can_not_be_named_as_another_kind(api):
    """It would get another name, silently."""
    vhosts = api.v1(exposure(WEB))["vhosts"]
    vhosts[0]["rid"], vhosts[0]["routes"][1]["rid"] = "vhost-0", "vhost#1"
    assert pointers(api.patch(exposure(WEB), {"vhosts": vhosts})) == {"#/vhosts/0/rid", "#/vhosts/0/routes/1/rid"}


def test_coded_content_is_refused(api):
    for coding in ("gzip", "br", "gzip, identity"):
        refused = api.patch(exposure(WEB), {"lb_policy": "random"}, headers={"Content-Encoding": coding})
        assert refused.status == 415 and refused.headers["Accept-Encoding"] == "identity"
        assert [e["header"] for e in refused.json["errors"]] == ["Content-Encoding"]
    done(api.patch(exposure(WEB), {"lb_policy": "random"}, headers={"Content-Encoding": "identity"}))


def test_an_endpoint_that_flaps_fails_no_edit(api):
    tag = api.get("/api/v1" + exposure(WEB)).headers["ETag"]
    api.agent.resource_down("test/svc/web", "n1")
    wait_until(lambda: api.v1(exposure(WEB))["status"]["endpoints"]["up"] == 1)
    assert api.get("/api/v1" + exposure(WEB)).headers["ETag"] != tag
    done(api.patch(exposure(WEB), {"lb_policy": "random"}, headers={"If-Match": tag}))


@pytest.mark.sanitized
def test_overrides_are_listed_and_reverted_alone(api):
    done(api.patch(exposure(WEB), {"lb_policy": "random", "listener_port": 9443}))
    items = {i["field"]: i for i in api.v1(exposure(WEB) + "/overrides")["items"]}
    assert items["lb_policy"]["value"] == "random" and items["lb_policy"]["agent_value"] == "round robin"
    assert items["listener_port"]["value"] == 9443 and str(items["listener_port"]["agent_value"]) == "8443"
    assert items["lb_policy"]["author"] == "root" and items["lb_policy"]["in_effect"] is True
    other = api.post("/tokens", {"name": "other", "role": "operator", "gateways": ["envoy"]}).json["token"]
    done(api.patch(exposure(WEB), {"listener_port": 9444}, **bearer(other)))
    authors = {i["field"]: (i["author"], i["revision"]) for i in api.v1(exposure(WEB) + "/overrides")["items"]}
    assert authors["lb_policy"] == ("root", items["lb_policy"]["revision"]), "each is the one's who set it so"
    assert authors["listener_port"] == ("other", api.v1("/summary")["revision"])
    assert [i["field"] for i in api.v1("/overrides?author=other")["items"]] == ["listener_port"]
    done(api.patch(exposure(WEB), {"listener_port": 9443}))
    done(api.delete(exposure(WEB) + "/overrides/lb_policy"))
    assert api.v1(exposure(WEB))["overridden"] == ["listener_port"]
    assert api.delete(exposure(WEB) + "/overrides/lb_policy").status == 404
    api.agent.remove_service("test/svc/web")
    wait_until(lambda: api.get("/api/v1" + exposure(WEB)).status == 404)
    inert = api.v1("/overrides")["items"]
    assert [(i["exposure"], i["in_effect"]) for i in inert] == [(WEB, False)]
    api.agent.add_service("test/svc/web", l4("10.0.0.7", "127.9.9.9:8443"))
    wait_until(lambda: api.get("/api/v1" + exposure(WEB)).status == 200)
    assert api.v1(exposure(WEB))["listener_port"] == 9443, "it is in effect again"
    done(api.delete(exposure(WEB) + "/overrides"))
    assert api.v1(exposure(WEB))["overridden"] == [] and api.v1("/overrides")["items"] == []
    assert api.delete(exposure(WEB) + "/overrides").status == 404


def test_a_dry_run_says_what_would_be_and_does_nothing(api):
    before = api.get("/api/v1" + exposure(WEB))
    dry = api.patch(exposure(WEB) + "?dry_run=true", {"listener_port": 9443})
    assert dry.status == 200 and dry.json["number"] is None and dry.json["dry_run"] is True
    assert dry.json["changes"][0]["after"] == {"listener_port": 9443}
    assert {(e["listener"], e["effect"]) for e in dry.json["effects"]} == {
        ("127.9.9.9:8443/tcp", "removes_listener"), ("127.9.9.9:9443/tcp", "adds_listener")}
    assert spec(api.get("/api/v1" + exposure(WEB))) == spec(before)
    assert api.put(exposure(OWN) + "?dry_run=true", {"port": 80}).status == 201
    assert api.get("/api/v1" + exposure(OWN)).status == 404
    assert pointers(api.put(exposure(OWN) + "?dry_run=true", {"port": 0})) == {"#/port"}


def test_a_conflict_names_the_other(api):
    taken = api.put(exposure(OWN), {"port": 80, "listener_addr": "127.9.9.9", "listener_port": 8080})
    assert taken.status == 409 and "test/svc/l4.expose#0" in taken.json["detail"], taken.body
    assert api.get("/api/v1" + exposure(OWN)).status == 404


@pytest.mark.sanitized
def test_a_name_that_both_have_is_the_apis_until_it_lets_go(api):
    body = {"port": 80, "listener_addr": "127.9.9.9", "listener_port": 7000}
    done(api.put(exposure(OWN), body), 201)
    api.agent.add_service("own/svc/a", l4("10.0.0.9", "127.9.9.9:7500"))
    wait_until(lambda: api.v1(exposure(OWN))["status"]["accepted"]["problems"], what="the conflict to be told")
    both = api.v1(exposure(OWN))
    assert both["origin"] == "api" and both["listener_port"] == 7000, both
    done(api.patch(exposure(OWN), {"listener_port": 7001}))
    assert api.v1(exposure(OWN))["listener_port"] == 7001 and api.v1("/overrides")["items"] == []
    done(api.delete(exposure(OWN)))
    agents = api.v1(exposure(OWN))
    assert agents["origin"] == "agent" and agents["listener_port"] == 7500
    done(api.put(exposure(OWN), {**body, "listener_port": 7002}))
    assert api.v1(exposure(OWN))["overridden"] == ["listener_port", "port"], "and is overridden from now on"


@pytest.mark.sanitized
def test_endpoints_are_drained_and_get_traffic_again(api):
    one = drain(WEB, "10.0.0.2:8000")
    made = done(api.put(one, {"reason": "disk"}), 201)
    assert made["object"]["status"] == {**made["object"]["status"], "drained": True, "up": False}
    assert api.v1(exposure(WEB))["status"]["endpoints"]["up"] == 1
    done(api.put(one))
    assert api.put(drain(WEB, "10.9.9.9:1")).status == 404
    assert pointers(api.put(one, {"reason": 1})) == {"#/reason"}
    done(api.delete(one))
    assert api.v1(exposure(WEB))["status"]["endpoints"]["up"] == 2
    assert api.delete(one).status == 404


def test_a_mark_of_an_endpoint_that_is_gone_is_taken_back_under_conditions(api):
    one = drain(WEB, "10.0.0.2:8000")
    done(api.put(one, {"reason": "disk"}), 201)
    api.agent.remove_service("test/svc/web")
    wait_until(lambda: api.get("/api/v1" + exposure(WEB)).status == 404)
    assert api.delete(one, headers={"If-None-Match": "*"}).status == 412, "there is a mark"
    assert api.delete(one, headers={"If-Match": '"a"'}).status == 412, "the endpoint has no tag any more"
    done(api.delete(one, headers={"If-None-Match": '"a"'}))
    assert api.delete(one).status == 404
