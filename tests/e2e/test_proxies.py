"""Saved is not applied: what each real Envoy has, what it refused, and how far each revision has come, over REST."""

import signal
import threading

import pytest

from api_client import VIEWER, Api, Stream
from declare import BAD_CLUSTER, l4, l7
from harness import SLOW, wait_answer, wait_until

BAD_REGEX = "/[a-z0-9-]{1,63}/x"  # refused unless the bootstrap raises the limit on programs, as ours does
GOOD = ["test/svc/one.expose#0", "test/svc/web.expose#0", "test/svc/tls.expose#0"]


@pytest.fixture
def served(lab, ca):
    """An L4 service, one of plaintext HTTP, one of HTTPS; the REST interface; no Envoy yet."""
    lab.backend = lab.world.backend(10)
    certificate = ca.issue("tls.test")
    lab.agent.set_secret("test/sec/cert", certificate.secret())
    lab.add("test/svc/one", l4(lab.backend.address, lab.at(10000)))
    lab.add("test/svc/web", l7(lab.backend.address, lab.at(10080), "web.test", [{"match_prefix": "/"}]))
    lab.add("test/svc/tls", l7(lab.backend.address, lab.at(10443), "tls.test",
                               certificates={"front": "test/sec/cert"}))
    lab.api = Api(lab.world, lab.agent)
    lab.igwd = lab.api.igwd
    lab.api.wait_exposures(3)
    return lab


def wait_programmed(lab, name, state, **numbers):
    def look():
        found = lab.api.programmed(name)
        assert found["state"] == state and {k: found[k] for k in numbers} == numbers, (name, found)
        return found
    return wait_until(look)


def node_of(envoy):
    return envoy.name.replace("envoy", "node")


def connected(lab):
    return lab.api.v1("/proxies?presence=connected")["items"]


def proxy_of(lab, envoy):
    """The connected proxy that is this Envoy, by its node's id."""
    found = [p for p in connected(lab) if p["node_id"] == node_of(envoy)]
    assert len(found) == 1, found
    return found[0]


def resources(lab, envoy, **filters):
    query = "".join("&%s=%s" % pair for pair in filters.items())
    path = "/proxies/%s/resources?limit=1000%s" % (proxy_of(lab, envoy)["id"], query)
    return {(r["type"], r["name"]): r["status"] for r in lab.api.v1(path)["items"]}


def revision(lab):
    return lab.api.v1("/summary")["revision"]


def rollout(lab, number, **headers):
    return lab.api.v1("/revisions/%d/rollout" % number, headers=headers)


def start(lab, **options):
    return lab.world.envoy(lab.igwd, **options).wait_live()


@pytest.mark.sanitized
def test_an_exposure_is_programmed_once_all_proxies_acked_all_that_carries_it(served, sotw):
    lab = served
    wait_until(lambda: lab.api.programmed(GOOD[0])["reason"] == "no_proxies")
    envoys = [start(lab, sotw=sotw), start(lab, sotw=not sotw)]
    for name in GOOD:
        wait_programmed(lab, name, "ok", proxies=2, acked=2, nacked=0)
    wait_answer(lab.at(10080), host="web.test", backend="b10")
    listed = lab.api.v1("/exposures?programmed=ok")["items"]
    assert sorted(item["name"] for item in listed) == sorted(GOOD)
    for envoy in envoys:
        states = resources(lab, envoy)
        assert {kind for kind, _ in states} == {"CLUSTER", "ENDPOINT", "SECRET", "LISTENER", "ROUTE"}
        assert {status["state"] for status in states.values()} == {"ACKED"}, states
        assert states["CLUSTER", GOOD[0]]["version"]
        proxy = proxy_of(lab, envoy)
        assert proxy["gateway"] == "envoy" and proxy["status"]["state"] == "ACKED"
        assert proxy["envoy_version"].startswith("1."), proxy
        assert sum(kind["ACKED"] for kind in proxy["status"]["resources"]) == len(states)
    summary = lab.api.v1("/summary")
    assert summary["proxies"] == 2 and summary["exposures"]["programmed"]["ok"] == 3
    metrics = lab.api.get("/metrics").body.decode()
    assert 'igwd_proxies{gateway="envoy"} 2\n' in metrics
    assert 'igwd_resources_acked{gateway="envoy"} %d\n' % sum(len(resources(lab, e)) for e in envoys) in metrics
    assert 'igwd_resources_nacked{gateway="envoy"} 0\n' in metrics
    # One goes away: the other is all there is.
    envoys[0].kill()
    for name in GOOD:
        wait_programmed(lab, name, "ok", proxies=1, acked=1)
    assert [p["node_id"] for p in connected(lab)] == [proxy_of(lab, envoys[1])["node_id"]]


@pytest.mark.sanitized
def test_what_envoy_refuses_is_shown_with_its_words_at_the_proxy_and_at_the_exposure(served, sotw):
    lab = served
    bad = "test/svc/bad.expose#0"
    lab.add("test/svc/bad", l4(lab.backend.address, lab.at(10001), cluster_data=BAD_CLUSTER))
    lab.api.wait_exposures(4)
    envoy = start(lab, sotw=sotw)
    found = wait_programmed(lab, bad, "failed", proxies=1, nacked=1, acked=0)
    assert found["reason"] == "nacked" and "malformed IP address" in found["message"], found
    for name in GOOD:
        wait_programmed(lab, name, "ok", proxies=1, acked=1, nacked=0)
    def shown():
        refused = resources(lab, envoy, state="NACKED")
        assert set(refused) == {("CLUSTER", bad)}, refused
        assert "malformed IP address" in refused["CLUSTER", bad]["error"]
        assert proxy_of(lab, envoy)["status"]["state"] == "NACKED"
        return True
    wait_until(shown)
    assert rollout(lab, revision(lab))["state"] == "nacked"
    # It is held back over reconnects as well, and stays visible.
    before = proxy_of(lab, envoy)["id"]
    assert sum(envoy.rejected().values()) > 0
    envoy.kill()
    wait_until(lambda: connected(lab) == [])
    envoy.start().wait_live()
    wait_until(shown)
    wait_programmed(lab, bad, "failed", nacked=1)
    assert proxy_of(lab, envoy)["id"] != before
    assert sum(envoy.rejected().values()) == 0, "the same process' successor got what was refused"
    assert 'igwd_resources_nacked{gateway="envoy"} 1\n' in lab.api.get("/metrics").body.decode()
    lab.agent.set_keywords("test/svc/bad", {"expose#0.cluster_data": {"connect_timeout": "1s"}})
    wait_programmed(lab, bad, "ok", proxies=1, acked=1, nacked=0)
    assert resources(lab, envoy, state="NACKED") == {}


def test_one_of_two_envoys_refuses(served):
    lab = served
    takes, refuses = start(lab), start(lab, handmade=True)
    for name in GOOD:
        wait_programmed(lab, name, "ok", proxies=2, acked=2)
    before = revision(lab)
    lab.agent.set_keywords("test/svc/web", {"route#0.match_prefix": None, "route#0.match_regex": BAD_REGEX})
    found = wait_programmed(lab, "test/svc/web.expose#0", "failed", proxies=2, acked=1, nacked=1)
    assert "size" in found["message"], found
    wait_programmed(lab, "test/svc/one.expose#0", "ok", proxies=2, acked=2)
    assert resources(lab, takes, state="NACKED") == {}
    assert [kind for kind, _ in resources(lab, refuses, state="NACKED")] == ["ROUTE"]
    number = revision(lab)
    assert number > before

    def told():
        found = rollout(lab, number)
        assert found["complete"], found
        return found
    found = wait_until(told)
    assert found["state"] == "nacked" and found["counts"] == {"proxies": 2, "nacked": 1, "pending": 0, "acked": 1}
    first, second = found["proxies"]
    assert first["node_id"] == proxy_of(lab, refuses)["node_id"] and first["state"] == "nacked"
    assert first["errors"][0]["type"] == "ROUTE" and "size" in first["errors"][0]["error"]
    assert second["state"] == "acked" and second["errors"] == []


@pytest.mark.sanitized
def test_a_rollout_is_pending_until_the_last_proxy_acked_and_can_be_waited_for(served, sotw):
    lab = served
    quick, slow = start(lab, sotw=sotw), start(lab, sotw=sotw)
    for name in GOOD:
        wait_programmed(lab, name, "ok", proxies=2, acked=2)
    assert rollout(lab, revision(lab))["state"] == "acked"
    slow.signal(signal.SIGSTOP)
    try:
        before = revision(lab)
        lab.agent.set_keywords("test/svc/one", {"expose#0.lb_policy": "random"})
        wait_until(lambda: revision(lab) > before)
        number = revision(lab)

        def one_acked():
            found = rollout(lab, number)
            assert found["counts"] == {"proxies": 2, "nacked": 0, "pending": 1, "acked": 1}, found
            return found
        found = wait_until(one_acked)
        assert found["state"] == "pending" and not found["complete"] and found["completed_at"] is None
        assert found["proxies"][0]["node_id"] == proxy_of(lab, slow)["node_id"], "those that are waited for come first"
        assert lab.api.programmed(GOOD[0])["reason"] == "pending"
        assert lab.api.programmed(GOOD[1])["state"] == "ok"
        assert rollout(lab, number, Prefer="wait=1")["state"] == "pending", "the time was over"
        waited = []
        thread = threading.Thread(target=lambda: waited.append(rollout(lab, number, Prefer="wait=60")))
        thread.start()
    finally:
        slow.signal(signal.SIGCONT)
    thread.join(30 * SLOW)
    assert waited and waited[0]["state"] == "acked" and waited[0]["complete"], waited
    assert waited[0]["completed_at"] > waited[0]["published_at"]
    wait_programmed(lab, GOOD[0], "ok", proxies=2, acked=2)
    assert quick.running()
    # An endpoint that goes down makes no revision, and opens none again.
    lab.agent.remove_service("test/svc/web")
    wait_until(lambda: revision(lab) > number)
    assert rollout(lab, revision(lab), Prefer="wait=20")["state"] == "acked"
    assert lab.api.get("/api/v1/revisions/%d/rollout" % (revision(lab) + 1)).status == 404
    assert lab.api.get("/api/v1/revisions/none/rollout").status == 404


def test_a_certificate_that_envoy_refuses_is_shown_at_the_exposure_that_needs_it(served, sotw):
    lab = served
    lab.add("test/svc/bad", l7(lab.backend.address, lab.at(10444), "bad.test", certificates={"front": {
        "certificate_chain_filename": "/nonexistent/chain.pem", "private_key_filename": "/nonexistent/key.pem"}}))
    lab.api.wait_exposures(4)
    envoy = lab.world.envoy(lab.igwd, sotw=sotw)
    found = wait_programmed(lab, "test/svc/bad.expose#0", "failed", proxies=1, nacked=1)
    assert found["reason"] == "nacked" and "/nonexistent/" in found["message"], found
    for name in GOOD:
        wait_programmed(lab, name, "ok", proxies=1, acked=1)
    assert [kind for kind, _ in resources(lab, envoy, state="NACKED")] == ["SECRET"]


@pytest.mark.sanitized
def test_the_daemon_stops_while_somebody_waits_for_a_rollout(served):
    lab = served
    envoy = start(lab)
    wait_programmed(lab, GOOD[0], "ok", proxies=1, acked=1)
    envoy.signal(signal.SIGSTOP)
    try:
        before = revision(lab)
        lab.agent.set_keywords("test/svc/one", {"expose#0.lb_policy": "random"})
        wait_until(lambda: revision(lab) > before)
        with lab.api.connect() as waiting:
            waiting.sendall(b"GET /api/v1/revisions/%d/rollout HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\n\r\n"
                            % revision(lab))
            wait_until(lambda: rollout(lab, revision(lab))["state"] == "pending")
            code, _ = lab.igwd.terminate(20 * SLOW)
            assert code == 0
    finally:
        envoy.signal(signal.SIGCONT)


def told(kind, name, change):
    return lambda data: (data["kind"], data["name"], data["change"]) == (kind, name, change)


def alarms(lab):
    """Those of proxies."""
    return {a["name"]: a["text"] for a in lab.api.v1("/alarms")["items"] if a["name"].startswith("proxy ")}


def absent(lab, envoy, presence):
    """Waits until it is that."""
    def look():
        found = [p for p in lab.api.v1("/proxies?presence=" + presence)["items"] if p["node_id"] == node_of(envoy)]
        assert len(found) == 1, lab.api.v1("/proxies")["items"]
        return found[0]
    return wait_until(look)


def restart(lab, gone_after, **options):
    lab.igwd.env["IGWD_GONE_AFTER"] = str(gone_after)
    lab.igwd.restart(**options)
    lab.api.wait_live()


@pytest.mark.sanitized
def test_a_proxy_of_several_that_does_not_come_back_is_an_alarm_until_it_does_or_is_forgotten(served):
    lab = served
    restart(lab, 1)
    envoy, other = start(lab), start(lab)
    wait_until(lambda: len(connected(lab)) == 2)
    before = proxy_of(lab, envoy)
    stream = Stream(lab.api, "?kind=Proxy&kind=Alarm")
    envoy.kill()
    stream.until(told("Proxy", before["id"], "modified"))
    alarm = "proxy " + before["id"]
    stream.until(told("Alarm", alarm, "added"))
    found = absent(lab, envoy, "gone")
    assert {k: found[k] for k in ("id", "gateway", "peer", "first_seen_at", "connected_at")} == {
        k: before[k] for k in ("id", "gateway", "peer", "first_seen_at", "connected_at")}
    assert found["left_at"] > found["connected_at"] and "its connection ended" in found["status"]["ended"]
    assert found["status"]["state"] is None and found["status"]["resources"] == []
    assert lab.api.v1("/proxies/%s/resources" % found["id"])["items"] == []
    assert '"%s" of gateway "envoy" left at %s' % (node_of(envoy), found["left_at"]) in alarms(lab)[alarm]
    assert {k: lab.api.v1("/summary")[k] for k in ("proxies", "proxies_gone")} == {"proxies": 1, "proxies_gone": 1}
    status = lab.api.v1("/gateways/envoy")["status"]
    assert (status["proxies"], status["proxies_gone"]) == (1, 1)
    assert 'igwd_proxies_gone{gateway="envoy"} 1\n' in lab.api.get("/metrics").body.decode()
    # A daemon that is started anew knows it, and calls nobody gone who is about to come back.
    stream.close()
    restart(lab, 600)
    assert set(alarms(lab)) == {alarm}
    wait_until(lambda: [p["node_id"] for p in connected(lab)] == [node_of(other)])
    assert {p["node_id"]: p["status"]["presence"] for p in lab.api.v1("/proxies")["items"]} == {
        node_of(envoy): "gone", node_of(other): "connected"}
    assert len(lab.igwd.logged('"alarm"', "did not come back")) == 1
    # It comes back.
    stream = Stream(lab.api, "?kind=Alarm")
    envoy.start().wait_live()
    stream.until(told("Alarm", alarm, "removed"))
    stream.close()
    again = proxy_of(lab, envoy)
    assert again["id"] != before["id"] and again["first_seen_at"] == before["first_seen_at"]
    assert alarms(lab) == {} and lab.api.get("/api/v1/proxies/" + before["id"]).status == 404
    assert lab.api.delete("/proxies/" + again["id"]).status == 409
    # It leaves while no daemon is there, and has its time to come back from then on.
    envoy.signal(signal.SIGSTOP)
    restart(lab, 1)
    gone = absent(lab, envoy, "gone")
    assert gone["id"] == again["id"] and gone["status"]["ended"] == "igwd was stopped"
    envoy.kill()
    # It was taken away on purpose.
    wait_until(lambda: [p["node_id"] for p in connected(lab)] == [node_of(other)])
    path = "/proxies/" + gone["id"]
    assert lab.api.delete(path + "?dry_run=true").status == 204 and "proxy " + gone["id"] in alarms(lab)
    assert lab.api.delete(path, headers={"If-Match": '"1.2"'}).status == 412
    assert lab.api.delete(path, headers={"Authorization": "Bearer " + VIEWER}, tcp=True).status == 403
    assert lab.api.delete(path).status == 204
    assert lab.api.delete(path).status == 404
    assert [p["node_id"] for p in lab.api.v1("/proxies")["items"]] == [node_of(other)] and alarms(lab) == {}


@pytest.mark.sanitized
def test_proxies_that_come_and_go_and_what_they_take_is_told_as_it_happens(served):
    lab = served
    stream = Stream(lab.api, "?kind=Proxy&kind=Exposure&kind=Rollout")
    envoy = start(lab)
    came = stream.until(lambda data: data["kind"] == "Proxy")[-1][2]
    assert came["change"] == "added" and proxy_of(lab, envoy)["id"] == came["name"]
    while proxy_of(lab, envoy)["status"]["state"] != "ACKED":
        stream.until(told("Proxy", came["name"], "modified"))
    # What is changed is told of when it is saved, and again when it is live.
    envoy.signal(signal.SIGSTOP)
    try:
        lab.agent.set_keywords("test/svc/one", {"expose#0.lb_policy": "random"})
        stream.until(told("Exposure", GOOD[0], "modified"))
        wait_until(lambda: lab.api.programmed(GOOD[0])["reason"] == "pending")
        number = revision(lab)
    finally:
        envoy.signal(signal.SIGCONT)
    stream.until(told("Rollout", str(number), "modified"))
    assert rollout(lab, number)["state"] == "acked"
    stream.until(told("Exposure", GOOD[0], "modified"))
    assert lab.api.programmed(GOOD[0])["state"] == "ok"
    # What it refuses is told of at the exposure.
    bad = "test/svc/bad.expose#0"
    lab.add("test/svc/bad", l4(lab.backend.address, lab.at(10001), cluster_data=BAD_CLUSTER))
    stream.until(told("Exposure", bad, "added"))
    while lab.api.programmed(bad)["reason"] != "nacked":
        stream.until(told("Exposure", bad, "modified"))
    while proxy_of(lab, envoy)["status"]["state"] != "NACKED":
        stream.until(told("Proxy", came["name"], "modified"))
    envoy.kill()
    stream.until(told("Proxy", came["name"], "modified"))
    assert connected(lab) == []
    stream.close()


def test_what_proxies_said_is_told_again_to_who_comes_back_and_pushes_nothing_out(served):
    lab = served
    place = lab.api.v1("/exposures")["event"]
    stream = Stream(lab.api, "?kind=Proxy")
    start(lab)
    first = next(stream.events())
    stream.close()
    again = list(Stream(lab.api, "?kind=Proxy&seconds=0&after=" + place).events())
    assert [data["name"] for _, _, data in again] == [first[2]["name"]], "once of each"
    assert list(Stream(lab.api, "?kind=Proxy&seconds=0").events()) == [], "from now on"
