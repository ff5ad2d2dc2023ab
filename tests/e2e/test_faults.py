"""The agent's faults, and others' on igwd's doors: what is served stays served, and everything is caught up with."""

import json
import os
import random
import socket
import time

import pytest

from declare import l4, l7
from harness import Igwd, Load, holds_for, request, wait_answer, wait_until


@pytest.fixture
def served(lab):
    """web is served from b10; its other address is b11's. One more change tells that igwd follows again."""
    lab.one, lab.two = lab.world.backend(10), lab.world.backend(11)
    lab.config = l4({"n1": lab.one.address, "n2": lab.two.address}, lab.at(8000))
    lab.add("test/svc/web", lab.config, started=["n1"])
    return lab


def wait_stale(lab):
    lab.igwd.wait_logged("stale")


def assert_follows(lab, limit=None):
    """A move is followed, there and back."""
    lab.agent.move("test/svc/web", "n1", "n2")
    wait_answer(lab.at(8000), backend="b11", timeout=limit)
    lab.agent.move("test/svc/web", "n2", "n1")
    wait_answer(lab.at(8000), backend="b10", timeout=limit)


@pytest.mark.sanitized
@pytest.mark.parametrize("fault", [
    "close", "cut", "gap", "invalid JSON", "not an object", "no NUL for long", "patch of a wrong type",
    "patch without data", "data of a wrong type", "path of a wrong type", "path that does not fit",
    "removal that does not fit", "index that does not fit", "garbage", "deep nesting", "invalid UTF-8",
    "die and live", "restart",
])
def test_whatever_the_agent_does_the_last_state_is_served_and_it_is_caught_up_with(served, fault):
    lab, agent = served, served.agent
    envoy = lab.up()
    wait_answer(lab.at(8000), backend="b10")
    lab.following()
    before = envoy.updates()
    base = ["monitor", "nodes", "n1", "services", "status", "test/svc/web"]
    raw = {
        "invalid JSON": b'{"kind": "patch", "id": \0', "not an object": b'[1, 2]\0', "no NUL for long": b" " * 100000,
        "garbage": bytes(random.Random(1).randrange(256) for _ in range(5000)) + b"\0",
        "deep nesting": b"[" * 100000 + b"\0", "invalid UTF-8": b'{"kind": "\xff\xfe"}\0',
        "patch of a wrong type": b'{"kind": "patch", "id": "x", "ts": [], "data": []}\0',
        "patch without data": json.dumps({"kind": "patch", "id": agent.last_id + 1, "ts": 1}).encode() + b"\0",
    }
    changes = {
        "data of a wrong type": {"a": 1}, "path of a wrong type": [[["monitor", None, 1.5], 1]],
        "path that does not fit": [[base[:-1] + ["test/svc/none", "resources", "ip#1", "status"], "up"]],
        "removal that does not fit": [[base + ["resources", "ip#7"]]],
        "index that does not fit": [[base + ["resources", "ip#1", "info", "expose", 7], "expose#9"]],
    }
    with Load(lab.at(8000)) as load:
        load.wait_answered(10)
        if fault in raw:
            agent.send_raw(raw[fault])
        elif fault in changes:
            agent.emit(changes[fault], apply=False, mix=False)
        elif fault == "gap":
            # What was lost is only in the whole.
            agent.services["test/svc/web"].config["expose#0"]["lb_policy"] = "random"
            agent.lose([[base + ["resources", "expose#0", "info", "lb_policy"], "random"]])
            agent.make_noise()
            wait_until(lambda: envoy.dynamic_clusters()["test/svc/web.expose#0"].get("lb_policy") == "RANDOM")
            before = envoy.updates()
        elif fault == "restart":
            agent.restart()
        elif fault == "die and live":
            agent.die()
            load.wait_answered(50)
            agent.live()
        else:
            {"close": agent.close_subscribers, "cut": agent.cut}[fault]()
        load.wait_answered(20)
    load.assert_clean()
    assert_follows(lab)
    assert envoy.updates() == before, "a fault of the agent's changed a listener or cluster"
    assert lab.igwd.running()


def test_an_agent_that_is_absent_at_start_is_waited_for(lab):
    one = lab.world.backend(10)
    lab.add("test/svc/web", l4(one.address, lab.at(8000)))
    lab.agent.stop_listening()
    lab.igwd = lab.world.igwd(agent=lab.agent)
    lab.envoy = lab.world.envoy(lab.igwd)
    # Nothing is known yet: Envoy is held, not told that there is nothing.
    holds_for(lambda: not lab.envoy.get("/ready").startswith("LIVE"), 1, "an Envoy that waits")
    lab.agent.listen()
    wait_answer(lab.at(8000), backend="b10")
    lab.envoy.wait_live()


def test_the_socket_may_appear_late_and_be_replaced(world):
    from harness import SimAgent
    igwd = Igwd(world, agent_path=world.path("later.sock")).start()
    one = world.backend(10)
    listener = world.ip(1) + ":8000"
    envoy = world.envoy(igwd)
    for i in range(2):
        agent = SimAgent(world.path("later.sock"), nodes=["n1"], seed=i)
        agent.add_service("test/svc/web", l4(one.address, listener))
        agent.start()
        wait_answer(listener, backend="b10")
        wait_until(lambda: agent.subscribers)
        agent.stop()
    holds_for(lambda: request(listener).backend == "b10", 0.5)
    assert envoy.running()


@pytest.mark.sanitized
def test_an_agent_that_comes_back_with_other_content_is_believed_at_once(lab, sotw):
    one, two, three = (lab.world.backend(10 + i) for i in range(3))
    lab.add("test/svc/kept", l4(one.address, lab.at(8000)))
    lab.add("test/svc/changed", l4(one.address, lab.at(8001)))
    lab.add("test/svc/gone", l4(one.address, lab.at(8002)))
    envoy = lab.up(sotw)
    envoy.wait_listeners(*(lab.at(p) + "/tcp" for p in (8000, 8001, 8002)))

    def content(agent):
        agent.add_service("test/svc/kept", l4(one.address, lab.at(8000)))
        agent.add_service("test/svc/changed", l4(two.address, lab.at(8001)))
        agent.add_service("test/svc/new", l4(three.address, lab.at(8003)))
    with Load(lab.at(8000)) as load:
        load.wait_answered(10)
        lab.agent.restart(content)
        envoy.wait_listeners(*(lab.at(p) + "/tcp" for p in (8000, 8001, 8003)))
        wait_answer(lab.at(8001), backend="b11")
        wait_answer(lab.at(8003), backend="b12")
        load.wait_answered(10)
    load.assert_clean()


def test_a_gap_is_not_a_deletion(served):
    lab = served
    envoy = lab.up()
    wait_answer(lab.at(8000), backend="b10")
    before = envoy.updates()
    lab.agent.die()
    wait_stale(lab)
    # Half an answer, an empty one, an error: none of them is the agent's word that there is nothing.
    whole = lab.agent.status_bytes()
    texts = ["", "\0", "{}\0", '{"status": 1, "error": "starting"}\0', "null\0", "[]\0", '{"monitor": null}\0',
             '{"monitor": {"nodes": null}}\0', '{"monitor": {"nodes": []}}\0', '{"monitor": {"nodes": {}}}\0']
    for answer in [whole[:len(whole) // 2], whole[:-1] + b", }\0", whole + b"x\0", *(t.encode() for t in texts)]:
        asked = lab.agent.count("daemon_status")
        lab.agent.answers["daemon_status"] = answer
        if lab.agent.server is None:
            lab.agent.live()
        else:
            lab.agent.close_subscribers()
        wait_until(lambda: lab.agent.count("daemon_status") > asked, timeout=60, what="a fetch of %r" % answer[:30])
        holds_for(lambda: request(lab.at(8000)).backend == "b10", 0.1)
    assert envoy.updates() == before and envoy.endpoints("test/svc/web.expose#0") == [lab.one.endpoint]
    del lab.agent.answers["daemon_status"]
    assert_follows(lab, limit=60)


def test_a_slow_fetch_does_not_lose_what_happens_meanwhile(served):
    lab = served
    envoy = lab.up()
    wait_answer(lab.at(8000), backend="b10")
    stale = lab.agent.status_bytes() + b"\0"
    lab.agent.delays["daemon_status"] = 1.0
    lab.agent.answers["daemon_status"] = stale  # what the agent had when it began to answer
    asked = lab.agent.count("daemon_status")
    lab.agent.close_subscribers()
    wait_until(lambda: lab.agent.count("daemon_status") > asked and lab.agent.subscribers)
    lab.agent.move("test/svc/web", "n1", "n2", orchestrated=False)
    lab.agent.answers.clear()
    lab.agent.delays.clear()
    wait_answer(lab.at(8000), backend="b11")
    envoy.wait_endpoints("test/svc/web.expose#0", [lab.two.endpoint])


def test_an_answer_above_the_limit_is_refused_and_said(served):
    lab = served
    lab.up(igwd={"args": ["--max-status-size", "1"]})
    wait_answer(lab.at(8000), backend="b10")

    def huge(_request):
        yield b'{"monitor": {"nodes": {"n1": {"services": {"status": {"x": "'
        for _ in range(64):
            yield b"x" * 65536
        yield b'"}}}}}}\0'
    lab.agent.answers["daemon_status"] = huge
    lab.agent.close_subscribers()
    lab.igwd.wait_logged("1048576")
    assert lab.igwd.memory() < 300 << 20
    assert request(lab.at(8000)).backend == "b10"
    lab.agent.answers.clear()
    assert_follows(lab, limit=60)


def test_an_event_that_never_ends_costs_bounded_memory(served):
    lab = served
    lab.up()
    wait_answer(lab.at(8000), backend="b10")
    before = lab.igwd.memory()
    lab.agent.slow_limit = 1 << 40
    piece = b'{"kind": "patch", "id": 1, "data": "' + b"x" * (1 << 20)
    lab.agent.send_raw(piece)
    for _ in range(400):
        if not lab.agent.subscribers:
            break
        lab.agent.send_raw(b"x" * (1 << 20))
        wait_until(lambda: all(w.transport.get_write_buffer_size() < 4 << 20 for w in list(lab.agent.subscribers)))
    assert lab.igwd.memory() - before < 350 << 20
    lab.agent.close_subscribers()
    assert_follows(lab)


@pytest.mark.parametrize("broken", [None, 7, "x", [], {"resources": None}, {"resources": {"expose#0": None}},
                                    {"resources": {"expose#0": {"type": "expose.envoy"}}},
                                    {"resources": {"ip#1": {"status": "up", "info": []}}},
                                    {"resources": {"ip#1": {"status": 1, "info": {"ipaddr": 5, "expose": "x"}}}},
                                    {"resources": {"expose#0": {"type": 3, "info": {"port": [1]}}}},
                                    {"scaler_slaves": 5}, {"scaler_slaves": ["test/svc/none", None]},
                                    {"scaler_slave": "yes", "resources": {}}, {"monitor": "idle"},
                                    {"resources": {"vhost#0": {"type": "vhost.envoy", "status": "n/a",
                                                               "info": {"domains": ["caf\udce9"]}},
                                                   "caf\udce9": {"type": "expose.envoy", "info": {"port": "\ud800"}}}}])
def test_an_instance_that_is_no_sense_harms_nobody_else(lab, broken):
    one = lab.world.backend(10)
    lab.add("test/svc/bad", l4(one.address, lab.at(8001)))
    lab.add("test/svc/good", l4({"n1": one.address}, lab.at(8000)))
    lab.up()
    wait_answer(lab.at(8001))
    lab.agent.emit([[["monitor", "nodes", "n1", "services", "status", "test/svc/bad"], broken],
                    [["monitor", "nodes", "n2", "services", "status", "test/svc/bad"], broken]])
    lab.add("test/svc/next", l4(one.address, lab.at(8002)))
    wait_answer(lab.at(8002))
    wait_answer(lab.at(8000))
    # Also in a whole answer.
    lab.agent.close_subscribers()
    lab.add("test/svc/last", l4(one.address, lab.at(8003)))
    wait_answer(lab.at(8003))
    wait_answer(lab.at(8000))


def test_older_dates_and_missing_keys_are_taken(lab):
    one = lab.world.backend(10)
    lab.add("test/svc/web", l4(one.address, lab.at(8000)))
    base = ["monitor", "nodes", "n1", "services", "status", "test/svc/web"]
    lab.agent.emit([[base + ["updated"], "2019-01-01 10:00:00.000000"], [base + ["csum"]], [base + ["status_group"]],
                    [base + ["monitor"]], [["monitor", "nodes", "n1", "compat"]], [["monitor", "services"], {}],
                    [["listener"]], [["scheduler"], None]])
    lab.agent.noise = False
    lab.up()
    wait_answer(lab.at(8000), backend="b10")


def test_fetches_back_off_and_go_on_for_ever(served):
    lab = served
    lab.up()
    wait_answer(lab.at(8000), backend="b10")
    lab.agent.answers["daemon_status"] = b"nonsense\0"
    asked = lab.agent.count("daemon_status")
    lab.agent.close_subscribers()
    wait_until(lambda: lab.agent.count("daemon_status") >= asked + 4, timeout=60)
    began = lab.igwd.cpu()
    time.sleep(2)
    assert lab.igwd.cpu() - began < 0.5, "it spins"
    assert lab.agent.count("daemon_status") - asked < 60, "it does not back off"
    lab.agent.answers.clear()
    assert_follows(lab, limit=60)


def test_sigterm_ends_it_within_two_seconds_and_envoy_goes_on(served):
    lab = served
    envoy = lab.up()
    wait_answer(lab.at(8000), backend="b10")
    lab.agent.start_noise(50)
    code, seconds = lab.igwd.terminate()
    assert code == 0 and seconds < 2 * float(os.environ.get("TEST_SLOW", "1")), (code, seconds)
    lab.agent.stop_noise()
    holds_for(lambda: request(lab.at(8000)).backend == "b10", 0.3)
    lab.igwd.start()
    assert_follows(lab)
    assert envoy.running()


def test_sigterm_ends_it_while_nothing_answers(world):
    igwd = Igwd(world, agent_path=world.path("nobody.sock")).start()
    code, seconds = igwd.terminate()
    assert code == 0 and seconds < 2 * float(os.environ.get("TEST_SLOW", "1"))


@pytest.mark.sanitized
def test_garbage_on_the_xds_address_harms_nobody(served):
    lab = served
    lab.up()
    wait_answer(lab.at(8000), backend="b10")
    host, port = lab.igwd.xds[0].split(":")
    rng = random.Random(3)
    for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 1000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 5000,
                 bytes(rng.randrange(256) for _ in range(20000))):
        for _ in range(5):
            with socket.create_connection((host, int(port)), timeout=10) as s:
                try:
                    s.sendall(data)
                    s.settimeout(0.05)
                    s.recv(1000)
                except OSError:
                    pass
    descriptors = lab.igwd.descriptors()
    sockets = [socket.create_connection((host, int(port)), timeout=10) for _ in range(200)]
    assert_follows(lab)
    for s in sockets:
        s.close()
    wait_until(lambda: lab.igwd.descriptors() <= descriptors + 5, what="the descriptors to be closed")
    assert lab.igwd.running()


def test_streams_that_open_and_vanish_leave_nothing(served):
    from xds_client import CDS, EDS, LDS, XdsClient
    lab = served
    lab.up()
    wait_answer(lab.at(8000), backend="b10")

    def visit(n):
        for i in range(n):
            client = XdsClient(lab.igwd.xds[0], node_id="visitor-%d" % i, sotw=bool(i % 2))
            for kind in (CDS, EDS, LDS)[:i % 4]:
                client.subscribe(kind)
            if i % 4:
                client.next()
            client.close()
    visit(60)
    memory, descriptors = lab.igwd.memory(), lab.igwd.descriptors()
    visit(240)
    wait_until(lambda: lab.igwd.descriptors() <= descriptors + 3)
    assert lab.igwd.memory() < memory + (20 << 20)
    assert_follows(lab)


def test_a_client_that_does_not_read_slows_nobody(served):
    from xds_client import CDS, LDS, XdsClient
    lab = served
    lab.up()
    wait_answer(lab.at(8000), backend="b10")
    with XdsClient(lab.igwd.xds[0], node_id="lazy") as lazy:
        for kind in (CDS, LDS):
            lazy.subscribe(kind)
        for i in range(200):
            lab.agent.set_keywords("test/svc/web", {"expose#0.lb_policy": ("random", "maglev")[i % 2]})
        assert_follows(lab)
    assert lab.igwd.running()


def test_an_unreadable_socket_is_said(world):
    igwd = Igwd(world, agent_path=world.path("absent.sock")).start()
    igwd.wait_logged("absent.sock")


def test_two_envoys_are_served_alike(served):
    lab = served
    lab.add("test/svc/l7", l7(lab.one.address, lab.at(8001), "*"))
    first = lab.up()
    wait_answer(lab.at(8001))
    # The second listens on the same addresses, as Envoys of a flex gateway do on other machines.
    second = lab.world.envoy(lab.igwd, sotw=True)
    second.wait_listeners(lab.at(8000) + "/tcp", lab.at(8001) + "/tcp")
    assert first.dynamic_clusters() == second.dynamic_clusters()
    assert first.dynamic_routes() == second.dynamic_routes()
    lab.agent.move("test/svc/web", "n1", "n2")
    for envoy in (first, second):
        envoy.wait_endpoints("test/svc/web.expose#0", [lab.two.endpoint])
    second.kill()
    lab.agent.move("test/svc/web", "n2", "n1")
    first.wait_endpoints("test/svc/web.expose#0", [lab.one.endpoint])


@pytest.mark.sanitized
def test_an_agent_that_hangs_without_closing_is_noticed_and_followed_again_once_it_wakes(served):
    lab = served
    lab.up(igwd={"args": ["--agent-silence", "1"]})
    wait_answer(lab.at(8000), backend="b10")
    lab.following()
    lab.agent.hang()
    try:
        lab.igwd.wait_logged("agent lost", "says nothing and answers nothing")
        lab.igwd.wait_logged("alarm", "agent")
        wait_answer(lab.at(8000), backend="b10")
    finally:
        lab.agent.wake()
    lab.igwd.wait_logged("alarm is over", "agent")
    assert_follows(lab)
