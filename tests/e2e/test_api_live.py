"""Edits over the REST interface until requests arrive, or don't: the real daemon, a real Envoy, real backends."""

import json
import random
import re
import signal
import socket
import threading

import pytest

from api_client import Api, certificate, done, drain, exposure
from declare import BAD_CLUSTER, l4, l7
from harness import SLOW, Backend, Load, client_context, free_port, request, wait_answer, wait_until

OWN = "own.expose#0"
KILLS = 200


class Scene:
    """A daemon with its API, an Envoy, and two backends."""

    def __init__(self, world, services=(), **options):
        self.world = world
        self.agent = world.agent(nodes=["n1", "n2"])
        self.one, self.two = world.backend(10), world.backend(11)
        for path, config in services:
            self.agent.add_service(path, config(self))
        self.api = Api(world, self.agent, **options)
        self.api.wait_exposures(len(services))
        self.envoy = world.envoy(self.api.igwd).wait_live()

    def at(self, port):
        return "%s:%d" % (self.world.ip(1), port)

    def listener(self, port):
        return {"listener_addr": self.world.ip(1), "listener_port": port}

    def own(self, port, *backends, **members):
        """An exposure of the API's own, with these backends as its endpoints."""
        endpoints = [{"address": b.address, "port": b.port} for b in backends]
        return {"port": 8000, "endpoints": endpoints, **self.listener(port), **members}


def refused(address):
    try:
        request(address, timeout=2 * SLOW)
    except OSError:
        return True
    return False


@pytest.mark.sanitized
def test_an_exposure_of_the_apis_own_is_reached_moved_disabled_and_removed(world):
    scene = Scene(world)
    done(scene.api.put(exposure(OWN), scene.own(8101, scene.one)), 201)
    wait_answer(scene.at(8101), backend=scene.one.name)
    done(scene.api.patch(exposure(OWN), {"endpoints": [{"address": scene.two.address, "port": scene.two.port}]}))
    wait_answer(scene.at(8101), backend=scene.two.name)
    done(scene.api.patch(exposure(OWN), {"enabled": False}))
    wait_until(lambda: refused(scene.at(8101)))
    done(scene.api.patch(exposure(OWN), {"enabled": True, "listener_port": 8102}))
    wait_answer(scene.at(8102), backend=scene.two.name)
    done(scene.api.delete(exposure(OWN)))
    wait_until(lambda: refused(scene.at(8102)))
    assert not scene.envoy.rejected()


def test_endpoints_by_dns_name_are_resolved_by_envoy(world):
    name = socket.gethostname()
    address = socket.gethostbyname(name)
    port = free_port(address)
    world.add(Backend(address, port, name="local")).start()
    scene = Scene(world)
    done(scene.api.put(exposure(OWN), scene.own(8101, endpoints=[{"address": name, "port": port}])), 201)
    wait_answer(scene.at(8101), backend="local", timeout=30 * SLOW)


@pytest.mark.sanitized
def test_an_override_moves_the_agents_exposure_and_its_revert_brings_it_back(world):
    scene = Scene(world, [("web", lambda s: l4(s.one.address, s.at(8101)))])
    wait_answer(scene.at(8101), backend=scene.one.name)
    answer = done(scene.api.patch(exposure("web.expose#0"), {"listener_port": 8103}))
    wait_answer(scene.at(8103), backend=scene.one.name)
    wait_until(lambda: refused(scene.at(8101)))
    scene.api.igwd.restart(kill=True)
    scene.api.wait_live()
    assert scene.api.v1(exposure("web.expose#0"))["overridden"] == ["listener_port"]
    wait_answer(scene.at(8103), backend=scene.one.name)
    done(scene.api.post("/revisions", {"restore": answer["number"] - 1}))
    wait_answer(scene.at(8101), backend=scene.one.name)
    assert scene.api.v1(exposure("web.expose#0"))["overridden"] == []


def test_a_drained_endpoint_gets_nothing_new_and_no_request_is_lost(world):
    scene = Scene(world)
    done(scene.api.put(exposure(OWN), scene.own(8101, scene.one, scene.two)), 201)
    wait_answer(scene.at(8101), backend=scene.two.name)
    one = drain(OWN, "%s:%d" % (scene.one.address, scene.one.port))
    with Load(scene.at(8101)) as load:
        wait_until(lambda: load.by[scene.one.name] > 20 and load.by[scene.two.name] > 20)
        done(scene.api.put(one, {"reason": "a test"}), 201)
        scene.envoy.wait_endpoints(OWN, ["%s:%d" % (scene.two.address, scene.two.port)])
        before = load.by[scene.two.name]
        wait_until(lambda: load.by[scene.two.name] > before + 50)
        done(scene.api.delete(one))
        before = load.by[scene.one.name]
        wait_until(lambda: load.by[scene.one.name] > before + 20)
    assert not load.failures, load.failures[:3]


def test_a_drained_name_leaves_its_cluster(world):
    """Envoy resolves names itself: they stand in the cluster."""
    scene = Scene(world)
    names = ["one.test", "two.test"]
    done(scene.api.put(exposure(OWN), scene.own(8101, endpoints=[{"address": name, "port": 80} for name in names])), 201)

    def resolved():
        cluster = scene.envoy.dynamic_clusters().get(OWN, {})
        return [one["endpoint"]["address"]["socket_address"]["address"]
                for part in cluster.get("load_assignment", {}).get("endpoints", [])
                for one in part.get("lb_endpoints", [])]

    wait_until(lambda: resolved() == names)
    for name in names:
        done(scene.api.put(drain(OWN, name + ":80")), 201)
        wait_until(lambda: name not in resolved(), what=name + " to leave")
    assert scene.api.v1(exposure(OWN))["status"]["endpoints"]["up"] == 0
    for name in names:
        done(scene.api.delete(drain(OWN, name + ":80")))
    wait_until(lambda: resolved() == names)


def test_a_certificate_of_the_apis_own_is_served_and_replaced_without_a_new_chain(world, ca):
    scene = Scene(world)
    certificates = [ca.issue("own.test"), ca.issue("own.test", "more.test")]
    name = certificate("sec/own")
    done(scene.api.put(name, {"certificate_chain": certificates[0].chain, "private_key": certificates[0].key}),
         201)
    done(scene.api.put(exposure(OWN), scene.own(
        8443, scene.one, vhosts=[{"domains": ["own.test", "more.test"], "routes": []}],
        listener_certificates=[{"certificate_secret": "sec/own"}])), 201)
    context = client_context(ca)
    wait_answer(scene.at(8443), backend=scene.one.name, host="own.test", tls=context, sni="own.test")
    updates = scene.envoy.stat("listener_manager.listener_modified")
    done(scene.api.put(name, {"certificate_chain": certificates[1].chain, "private_key": certificates[1].key}))
    wait_answer(scene.at(8443), backend=scene.one.name, host="more.test", tls=context, sni="more.test")
    assert scene.envoy.stat("listener_manager.listener_modified") == updates
    shown = scene.api.get("/api/v1" + name).body
    assert b"PRIVATE KEY" not in shown and b"more.test" in shown


def test_what_a_gateway_allows_is_settled_over_the_api(world):
    log = {"access_log": [{"name": "envoy.access_loggers.file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": world.path("access.log")}}]}
    scene = Scene(world, [("web", lambda s: l4(s.one.address, s.at(8101), filter_config_data=json.dumps(
        {"stat_prefix": "x", **log})))])
    accepted = scene.api.v1(exposure("web.expose#0"))["status"]["accepted"]
    assert accepted["state"] == "failed" and "allow" in str(accepted), accepted
    done(scene.api.put("/gateways/envoy", {"allow_files": True}))
    wait_answer(scene.at(8101), backend=scene.one.name)
    assert scene.api.v1(exposure("web.expose#0"))["status"]["accepted"]["state"] == "ok"
    # A permission that is taken away takes effect at once: the last good form is just what is forbidden.
    done(scene.api.put("/gateways/envoy", {"allow_files": False}))
    wait_until(lambda: scene.envoy.dynamic_listeners() == {}, what="it to go off its listener")
    accepted = scene.api.v1(exposure("web.expose#0"))["status"]["accepted"]
    assert (accepted["state"], accepted["reason"]) == ("failed", "not_allowed"), accepted
    assert "filter_config_data.access_log" in str(accepted["problems"]), accepted
    done(scene.api.put("/gateways/envoy", {"allow_files": True}))
    wait_answer(scene.at(8101), backend=scene.one.name)


@pytest.mark.sanitized
def test_a_write_that_envoy_refuses_is_told_with_its_words_and_harms_nobody_else(world):
    scene = Scene(world, [("web", lambda s: l4(s.one.address, s.at(8101))),
                          ("other", lambda s: l4(s.two.address, s.at(8102)))])
    wait_answer(scene.at(8101), backend=scene.one.name)
    answer = done(scene.api.patch(exposure("web.expose#0"), {"cluster_data": BAD_CLUSTER}))
    status = wait_until(lambda: scene.api.programmed("web.expose#0")["state"] == "failed" and
                        scene.api.programmed("web.expose#0"))
    assert "malformed IP address" in status["message"], status
    wait_until(lambda: scene.api.programmed("other.expose#0")["state"] == "ok")
    rollout = scene.api.v1("/revisions/%d/rollout" % answer["number"])
    assert "nacked" in str(rollout), rollout
    assert request(scene.at(8101)).backend == scene.one.name, "the last accepted form goes on"
    done(scene.api.delete(exposure("web.expose#0") + "/overrides"))
    wait_until(lambda: scene.api.programmed("web.expose#0")["state"] == "ok")


def test_a_write_can_wait_until_it_is_live(world):
    scene = Scene(world, [("web", lambda s: l7(s.one.address, s.at(8101), "web.test"))])
    wait_answer(scene.at(8101), backend=scene.one.name, host="web.test")
    wait = {"Prefer": "wait=30"}
    response = scene.api.patch(exposure("web.expose#0"), {"listener_port": 8105}, headers=wait)
    done(response)
    assert response.headers["Preference-Applied"] == "wait=30"
    assert request(scene.at(8105), host="web.test").backend == scene.one.name, "what was answered is live"
    assert response.json["rollout_status"]["state"] == "acked", response.json["rollout_status"]
    response = scene.api.patch(exposure("web.expose#0"), {"cluster_data": BAD_CLUSTER}, headers=wait)
    assert done(response)["rollout_status"]["state"] == "nacked"
    assert "malformed IP address" in str(response.json["rollout_status"])


def test_nothing_that_was_answered_is_lost_however_often_the_daemon_is_killed(world):
    agent = world.agent(nodes=["n1"])
    api = Api(world, agent)
    api.wait_live()
    ledger, halt = {}, threading.Event()
    dice = random.Random(7)

    def write(worker):
        """Each name belongs to one writer; the ledger has what was answered, and what was under way."""
        n = 0
        while not halt.is_set():
            n += 1
            name = "w%d-%d.expose#0" % (worker, n % 5)
            body = {"port": 1 + n % 60000, "listener_port": 20000 + 10 * worker + n % 5,
                    "endpoints": [{"address": "10.0.0.1", "port": 1 + n % 60000}]}
            known = ledger.setdefault(name, [None, []])
            known[1].append(body["port"])
            try:
                response = api.put(exposure(name), body)
            except (OSError, ValueError):
                halt.wait(0.01)
                continue
            if response.status in (200, 201):
                ledger[name] = [body["port"], []]

    writers = [threading.Thread(target=write, args=(i,), daemon=True) for i in range(4)]
    for writer in writers:
        writer.start()
    for _ in range(KILLS):
        halt.wait(dice.uniform(0, 0.05))
        api.igwd.kill()
        api.igwd.start()
    halt.set()
    for writer in writers:
        writer.join(60)
    api.wait_live()
    found = {item["name"]: item["port"] for item in api.v1("/exposures?limit=1000")["items"]}
    for name, (answered, under_way) in ledger.items():
        allowed = [answered] + under_way
        assert found.get(name) in allowed, (name, found.get(name), allowed)
    assert any(answered for answered, _ in ledger.values())
    revisions = [item["number"] for item in api.v1("/revisions?limit=1000")["items"]]
    assert len(revisions) == len(set(revisions))


@pytest.mark.sanitized
def test_many_who_wait_leave_room_for_others_and_are_forgotten_when_they_go(world):
    scene = Scene(world)
    api = scene.api
    done(api.put(exposure(OWN), scene.own(8101, scene.one), headers={"Prefer": "wait=30"}), 201)
    scene.envoy.signal(signal.SIGSTOP)
    held = []
    try:
        number = done(api.patch(exposure(OWN), {"lb_policy": "random"}))["number"]
        for _ in range(128):
            held.append(api.connect())
            held[-1].sendall(b"GET /api/v1/revisions/%d/rollout HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\n\r\n"
                             % number)
        wait_until(lambda: waiting(api) == 128)
        answer = api.patch(exposure(OWN), {"lb_policy": "ring_hash"}, headers={"Prefer": "wait=30"})
        assert done(answer)["rollout_status"] is None or answer.json["rollout_status"]["state"] == "pending"
        assert answer.headers["Preference-Applied"] == "wait=0", "it is done, and nobody waited"
        assert api.get("/livez").status == 200 and api.get("/readyz").status == 200
        for s in held:
            s.close()
        wait_until(lambda: waiting(api) == 0)
    finally:
        scene.envoy.signal(signal.SIGCONT)
        for s in held:
            s.close()
    assert done(api.patch(exposure(OWN), {"lb_policy": "maglev"}, headers={"Prefer": "wait=30"}))[
        "rollout_status"]["state"] == "acked"


def waiting(api):
    text = api.get("/metrics").body.decode()
    return int(re.search(r"^igwd_http_requests_waiting (\d+)$", text, re.MULTILINE).group(1))
