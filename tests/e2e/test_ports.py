"""Allocated listener ports: from the range, written back once, the same for ever."""

import pytest

from declare import flex, l4
from harness import wait_answer, wait_until

RANGE = ["--port-range", "21000-21004"]


def declared(lab, path, node="n1", expose="expose#0"):
    """The port that the agent has in its data."""
    status = lab.agent.daemon_status()["monitor"]["nodes"][node]["services"]["status"]
    return status[path]["resources"][expose]["info"]["listener_port"]


def allocated(envoy, cluster):
    """The port of the listener that leads to a cluster."""
    for listener in envoy.dynamic_listeners().values():
        for chain in listener["filter_chains"]:
            if chain["filters"][0]["typed_config"].get("cluster") == cluster:
                return listener["address"]["socket_address"]["port_value"]
    raise LookupError("no listener leads to " + cluster)


def automatic(lab, n=10, **more):
    return l4(lab.world.ip(n), lab.world.ip(1) + ":0", **more)


@pytest.mark.sanitized
def test_a_port_is_allocated_served_and_written_back_once(lab):
    lab.world.backend(10)
    lab.add("test/svc/auto", automatic(lab))
    envoy = lab.up(igwd={"args": RANGE})
    port = wait_until(lambda: allocated(envoy, "test/svc/auto.expose#0"))
    assert 21000 <= port <= 21004
    wait_answer(lab.at(port), backend="b10")
    wait_until(lambda: declared(lab, "test/svc/auto") == port)
    request = lab.agent.requests_of("object_action")
    assert len(request) == 1
    assert request[0]["method"] == "POST" and request[0]["node"] == "n1"
    assert request[0]["options"]["path"] == "test/svc/auto"
    assert request[0]["options"]["options"]["kw"] == ["expose#0.listener_port=%d" % port]
    # What came back of it changes nothing.
    lab.add("test/svc/marker", l4(lab.world.ip(10), lab.at(8000)))
    wait_answer(lab.at(8000))
    assert allocated(envoy, "test/svc/auto.expose#0") == port
    assert len(lab.agent.requests_of("object_action")) == 1


def test_ports_differ_and_avoid_what_others_declare(lab):
    lab.world.backend(10)
    lab.add("test/svc/fixed", l4(lab.world.ip(10), lab.at(21000)))
    for i in range(4):
        lab.add("test/svc/auto%d" % i, automatic(lab))
    envoy = lab.up(igwd={"args": RANGE})
    ports = [wait_until(lambda: allocated(envoy, "test/svc/auto%d.expose#0" % i)) for i in range(4)]
    assert sorted(ports) == [21001, 21002, 21003, 21004]
    for port in (21000, *ports):
        wait_answer(lab.at(port))


def test_an_exhausted_range_is_said_and_harms_nobody_else(lab):
    lab.world.backend(10)
    for i in range(5):
        lab.add("test/svc/auto%d" % i, automatic(lab))
    envoy = lab.up(igwd={"args": RANGE})
    wait_until(lambda: len(envoy.dynamic_listeners()) == 5)
    lab.add("test/svc/more", automatic(lab))
    lab.add("test/svc/fixed", l4(lab.world.ip(10), lab.at(8000)))
    wait_answer(lab.at(8000))
    lab.igwd.wait_logged("test/svc/more.expose#0", "listener_port")
    # A port of nobody's gives way where there is no other.
    freed = allocated(envoy, "test/svc/auto2.expose#0")
    lab.agent.remove_service("test/svc/auto2")
    wait_until(lambda: allocated(envoy, "test/svc/more.expose#0") == freed)
    wait_answer(lab.at(freed))


def test_the_same_exposure_keeps_its_port_over_every_restart(lab):
    lab.world.backend(10)
    lab.add("test/svc/auto", automatic(lab))
    lab.add("test/svc/second", automatic(lab))
    # The agent never takes it: what is stored has to do.
    lab.agent.answers["object_action"] = {"status": 1, "error": "no"}
    envoy = lab.up(igwd={"args": RANGE})
    ports = [wait_until(lambda: allocated(envoy, "test/svc/%s.expose#0" % n)) for n in ("auto", "second")]
    wait_until(lambda: lab.agent.count("object_action") >= 2)
    for kill in (False, True, True):
        lab.igwd.restart(kill=kill)
        lab.following()
        wait_answer(lab.at(ports[0]))
    # Another order of events.
    lab.agent.die()
    lab.agent.restart()
    lab.agent.remove_service("test/svc/auto")
    wait_until(lambda: "test/svc/auto.expose#0" not in envoy.dynamic_clusters())
    lab.add("test/svc/auto", automatic(lab))
    wait_answer(lab.at(ports[0]))
    assert [allocated(envoy, "test/svc/%s.expose#0" % n) for n in ("auto", "second")] == ports


def test_a_failed_write_back_is_logged_and_tried_again(lab):
    lab.world.backend(10)
    lab.add("test/svc/auto", automatic(lab))
    failing = {"nodes": {"n1": {"status": 500, "error": "sequence item 0"}}, "status": "1"}
    lab.agent.answers["object_action"] = failing
    envoy = lab.up(igwd={"args": RANGE})
    port = wait_until(lambda: allocated(envoy, "test/svc/auto.expose#0"))
    wait_answer(lab.at(port))
    lab.igwd.wait_logged("test/svc/auto", "sequence item 0")
    del lab.agent.answers["object_action"]
    wait_until(lambda: declared(lab, "test/svc/auto") == port, timeout=60)


def test_a_scalers_port_is_written_to_it_and_to_its_slaves(lab):
    backends = [lab.world.backend(10 + i) for i in range(3)]
    config = flex({"n1": backends[0].address}, lab.world.ip(1) + ":0")
    config["DEFAULT"]["scale"] = "2"
    lab.add("test/svc/scal", config)
    envoy = lab.up(igwd={"args": RANGE})
    port = wait_until(lambda: allocated(envoy, "test/svc/scal.expose#0"))
    wait_answer(lab.at(port), backend="b10")
    paths = {"test/svc/scal", "test/svc/0.scal", "test/svc/1.scal"}
    wait_until(lambda: {r["options"]["path"] for r in lab.agent.requests_of("object_action")} == paths)
    wait_until(lambda: declared(lab, "test/svc/0.scal") == declared(lab, "test/svc/1.scal") == port)
    assert list(envoy.dynamic_clusters()) == ["test/svc/scal.expose#0"]


def test_ports_of_two_gateways_are_independent(lab):
    lab.world.backend(10)
    lab.add("test/svc/a", automatic(lab))
    lab.add("test/svc/b", automatic(lab, gateway="edge-b"))
    envoy = lab.up(igwd={"args": ["--port-range", "21000-21000"],
                         "xds": [lab.world.ip(2) + ":50051", lab.world.ip(2) + ":50052=edge-b"]})
    assert wait_until(lambda: allocated(envoy, "test/svc/a.expose#0")) == 21000
    other = lab.world.envoy(lab.igwd, gateway="edge-b", xds=lab.world.ip(2) + ":50052")
    assert wait_until(lambda: allocated(other, "test/svc/b.expose#0")) == 21000
