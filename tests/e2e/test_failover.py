"""What a user notices when addresses come and go: nothing, as long as one is up."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import pytest

from declare import flex, l4, l7
from harness import Load, WebSocket, connect, read_line, tcp_echo, wait_answer, wait_until

LATE = 0.51  # seconds between an address's end and its announcement, as in the recording


def two_up_one_down(lab, mode):
    """A flex service, up on n1 and n2, at port 8000; its backends by node."""
    kind = "echo" if mode == "tcp" else "http"
    backends = {n: lab.world.backend(10 + i, kind=kind) for i, n in enumerate(("n1", "n2", "n3"))}
    addresses = {n: b.address for n, b in backends.items()}
    if mode == "tcp":
        config = flex(addresses, lab.at(8000))
    else:
        config = l7(addresses, lab.at(8000), "web.test")
    lab.add("test/svc/web", config, started=["n1", "n2"])
    backends["n3"].stop()
    return backends


def under_load(lab, mode):
    return Load(lab.at(8000), mode, host="web.test", workers=4, pause=0.005)


@pytest.mark.parametrize("mode", ["tcp", "new", "keepalive"])
def test_a_planned_move_that_is_announced_late_fails_no_request(lab, mode, sotw):
    backends = two_up_one_down(lab, mode)
    envoy = lab.up(sotw)
    cluster = "test/svc/web.expose#0"
    envoy.wait_endpoints(cluster, [backends["n1"].endpoint, backends["n2"].endpoint])
    with under_load(lab, mode) as load:
        load.wait_answered(50)
        where = "n1"
        for there in ("n3", "n1"):
            lab.agent.move("test/svc/web", where, there, late=LATE, on_down=backends[where].stop,
                           on_up=backends[there].start, orchestrated=False)
            envoy.wait_endpoints(cluster, [backends[there].endpoint, backends["n2"].endpoint])
            wait_until(lambda: load.by[backends[there].name] > 10)
            where = there
    load.assert_clean(100)


HTTP2_CLIENT = """
const session = require("http2").connect("http://" + process.argv[1]);
const counted = { answered: 0, failed: [], by: {}, ended: 0 };
let halt = false;
session.on("close", () => counted.ended++).on("error", (error) => counted.failed.push(String(error)));
const ask = () => new Promise((done) => {
    const stream = session.request({ ":path": "/", ":authority": "web.test" });
    let status, body = "";
    stream.on("response", (headers) => { status = headers[":status"]; });
    stream.on("data", (piece) => { body += piece; });
    stream.on("error", (error) => { counted.failed.push(String(error)); done(); });
    stream.on("end", () => {
        if (status !== 200) counted.failed.push(`${status} ${body}`);
        else {
            const { backend } = JSON.parse(body);
            counted.answered++;
            counted.by[backend] = (counted.by[backend] || 0) + 1;
        }
        done();
    });
});
const work = async () => { while (!halt) { await ask(); await new Promise((next) => setTimeout(next, 5)); } };
process.stdin.on("end", () => { halt = true; }).resume();
Promise.all(Array.from({ length: 8 }, work)).then(() => {
    process.stdout.write(JSON.stringify(counted));
    session.close();
});
"""


def test_a_planned_move_fails_no_stream_of_an_http2_connection(lab, sotw):
    backends = two_up_one_down(lab, "new")
    envoy = lab.up(sotw)
    cluster = "test/svc/web.expose#0"
    envoy.wait_endpoints(cluster, [backends["n1"].endpoint, backends["n2"].endpoint])
    wait_answer(lab.at(8000), host="web.test")
    with subprocess.Popen([pathlib.Path(sys.prefix, "bin", "node"), "-e", HTTP2_CLIENT, lab.at(8000)], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        wait_until(lambda: len(backends["n1"].requests) > 50)
        lab.agent.move("test/svc/web", "n1", "n3", late=LATE, on_down=backends["n1"].stop,
                       on_up=backends["n3"].start, orchestrated=False)
        envoy.wait_endpoints(cluster, [backends["n2"].endpoint, backends["n3"].endpoint])
        wait_until(lambda: len(backends["n3"].requests) > 50)
        counted = json.loads(client.communicate(timeout=60)[0])
    assert counted["failed"] == [] and counted["ended"] == 0, counted
    assert set(counted["by"]) == {"b10", "b11", "b12"}


def test_a_websocket_ends_with_its_endpoint_and_no_other(lab):
    backends = two_up_one_down(lab, "new")
    envoy = lab.up()
    wait_answer(lab.at(8000), host="web.test")
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(WebSocket(lab.at(8000), host="web.test")) for _ in range(8)]
        there = {ws: ws.echo(b"a").split()[0] for ws in sockets}
        assert set(there.values()) == {b"b10", b"b11"}
        lab.agent.stop_instance("test/svc/web", "n1", late=LATE, on_down=backends["n1"].stop)
        envoy.wait_endpoints("test/svc/web.expose#0", [backends["n2"].endpoint])
        for ws in sockets:
            assert ws.echo(b"b") == there[ws] + b" b", "its server let it go on"
        backends["n1"].kill()
        for ws in sockets:
            if there[ws] == b"b11":
                assert ws.echo(b"c") == b"b11 c"
            else:
                with contextlib.suppress(OSError):
                    assert ws.echo(b"c") is None


def test_an_orchestrated_move_fails_no_request(lab):
    backends = two_up_one_down(lab, "new")
    envoy = lab.up()
    wait_answer(lab.at(8000), host="web.test")
    with Load(lab.at(8000), "new", host="web.test", workers=4) as load:
        load.wait_answered(50)
        lab.agent.move("test/svc/web", "n1", "n3", late=LATE, on_down=backends["n1"].stop,
                       on_up=backends["n3"].start)
        envoy.wait_endpoints("test/svc/web.expose#0", [backends["n2"].endpoint, backends["n3"].endpoint])
        load.wait_answered(50)
    load.assert_clean(100)


def test_an_address_that_goes_down_fails_no_request(lab):
    backends = two_up_one_down(lab, "new")
    envoy = lab.up()
    wait_answer(lab.at(8000), host="web.test")
    with Load(lab.at(8000), "new", host="web.test", workers=4) as load:
        for _ in range(3):
            load.wait_answered(30)
            backends["n1"].stop()
            lab.agent.resource_down("test/svc/web", "n1")
            envoy.wait_endpoints("test/svc/web.expose#0", [backends["n2"].endpoint])
            load.wait_answered(30)
            backends["n1"].start()
            lab.agent.resource_down("test/svc/web", "n1", up=True)
            envoy.wait_endpoints("test/svc/web.expose#0", [backends["n1"].endpoint, backends["n2"].endpoint])
    load.assert_clean(180)


def test_a_rolling_restart_of_all_instances_fails_no_request(lab):
    backends = two_up_one_down(lab, "keepalive")
    backends["n3"].start()
    lab.agent.start_instance("test/svc/web", "n3")
    envoy = lab.up()
    everyone = [b.endpoint for b in backends.values()]
    envoy.wait_endpoints("test/svc/web.expose#0", everyone)
    with Load(lab.at(8000), "keepalive", host="web.test", workers=4) as load:
        for node, backend in backends.items():
            lab.agent.stop_instance("test/svc/web", node, late=LATE, on_down=backend.stop)
            envoy.wait_endpoints("test/svc/web.expose#0", [e for e in everyone if e != backend.endpoint])
            load.wait_answered(20)
            lab.agent.start_instance("test/svc/web", node, late=LATE, on_up=backend.start)
            envoy.wait_endpoints("test/svc/web.expose#0", everyone)
            load.wait_answered(20)
    load.assert_clean(120)


@pytest.mark.sanitized
def test_an_endpoint_change_touches_endpoints_alone(lab, sotw):
    backends = two_up_one_down(lab, "tcp")
    lab.add("test/svc/other", l4(backends["n2"].address, lab.at(8001)))
    envoy = lab.up(sotw)
    cluster = "test/svc/web.expose#0"
    envoy.wait_endpoints(cluster, [backends["n1"].endpoint, backends["n2"].endpoint])
    before = envoy.updates()
    others = envoy.stat("cluster.test/svc/other.expose#0.update_success")
    for _ in range(3):
        lab.agent.resource_down("test/svc/web", "n1")
        envoy.wait_endpoints(cluster, [backends["n2"].endpoint])
        lab.agent.resource_down("test/svc/web", "n1", up=True)
        envoy.wait_endpoints(cluster, [backends["n1"].endpoint, backends["n2"].endpoint])
    assert envoy.updates() == before
    assert envoy.stat("cluster.test/svc/other.expose#0.update_success") == others


def test_a_changed_cluster_does_not_warm_for_15_seconds(lab, sotw):
    one, two = lab.world.backend(10), lab.world.backend(11)
    lab.add("test/svc/web", l7({"n1": one.address, "n2": two.address}, lab.at(8000), "web.test"))
    lab.add("test/svc/empty", l4(one.address, lab.at(8001)), started=False)
    envoy = lab.up(sotw)
    wait_answer(lab.at(8000), host="web.test")
    with Load(lab.at(8000), "new", host="web.test", workers=2) as load:
        for policy in ("random", "least_request", "ring_hash", "maglev"):
            for path in ("test/svc/web", "test/svc/empty"):
                began = time.monotonic()
                lab.agent.set_keywords(path, {"expose#0.lb_policy": policy})
                name = path + ".expose#0"
                wait_until(lambda: envoy.dynamic_clusters()[name].get("lb_policy") == policy.upper(), timeout=8,
                           what="%s to be %s" % (path, policy))
                assert time.monotonic() - began < 8
                assert envoy.warming() == []
            load.wait_answered(10)
    load.assert_clean()


def test_a_thousand_changes_in_a_burst_end_in_the_right_state(lab, sotw):
    backends = {n: lab.world.backend(10 + i, kind="echo") for i, n in enumerate(("n1", "n2"))}
    count = 100
    for i in range(count):
        lab.add("test/svc/s%d" % i, flex({n: b.address for n, b in backends.items()}, lab.at(10000 + i)))
    envoy = lab.up(sotw)
    wait_until(lambda: len(envoy.dynamic_listeners()) == count, what="all listeners")
    lab.following()
    down = {}
    for k in range(1000):
        i, node = (k * 37) % count, ("n1", "n2")[k // 100 % 2]
        down[i, node] = not down.get((i, node), False)
        lab.agent.resource_down("test/svc/s%d" % i, node, up=not down[i, node])
    wanted = {"test/svc/s%d.expose#0" % i: sorted(backends[n].endpoint for n in backends if not down.get((i, n)))
              for i in range(count)}

    def right():
        statuses = envoy.get_json("/clusters?format=json")["cluster_statuses"]
        found = {}
        for status in statuses:
            hosts = [h["address"]["socket_address"] for h in status.get("host_statuses", [])]
            found[status["name"]] = sorted("%s:%d" % (h["address"], h["port_value"]) for h in hosts)
        wrong = [name for name in wanted if found.get(name) != wanted[name]]
        assert not wrong, "%d are wrong, such as %s: %s" % (len(wrong), wrong[0], found.get(wrong[0]))
        return True
    wait_until(right, what="the state that the last changes say")
    assert lab.agent.count("events") == 1, "the burst was not kept up with"


def test_a_burst_of_mixed_changes_ends_in_the_right_state(lab):
    b = lab.world.backend(10)
    for i in range(20):
        lab.add("test/svc/s%d" % i, l7(b.address, lab.at(8000), "s%d.test" % i))
    envoy = lab.up()
    wait_answer(lab.at(8000), host="s19.test")
    for k in range(15):
        for i in range(20):
            path = "test/svc/s%d" % i
            if k % 3 == 0:
                lab.agent.remove_service(path)
            elif k % 3 == 1:
                lab.add(path, l7(b.address, lab.at(8000 + k % 2), "s%d-%d.test" % (i, k)), started=bool(i % 2))
            else:
                lab.agent.set_keywords(path, {"expose#0.lb_policy": "random", "vhost#0.domains": "z%d.test" % i})
    for i in range(20):
        wait_answer(lab.at(8001), host="z%d.test" % i, status=200 if i % 2 else 503)
    envoy.wait_listeners(lab.at(8001) + "/tcp")
    assert envoy.rejected() == {}


def test_make_before_break_when_a_service_is_replaced(lab, sotw):
    """A domain goes from one service to another that claims it too, again and again, under load; then the first one
    is removed, its cluster with it."""
    one, two = lab.world.backend(10), lab.world.backend(11)
    lab.add("test/svc/first", l7(one.address, lab.at(8000), "web.test"))
    envoy = lab.up(sotw)
    wait_answer(lab.at(8000), host="web.test")
    with Load(lab.at(8000), "keepalive", host="web.test", workers=2) as load:
        for name, old, backend in (("second", "first", two), ("third", "second", one), ("fourth", "third", two)):
            lab.add("test/svc/" + name, l7(backend.address, lab.at(8000), ["web.test", name + ".test"]))
            wait_answer(lab.at(8000), host=name + ".test")
            load.wait_answered(5)
            lab.agent.set_keywords("test/svc/" + old, {"vhost#0.domains": "old.test"})
            wait_answer(lab.at(8000), host="web.test", backend=backend.name)
            lab.agent.remove_service("test/svc/" + old)
            load.wait_answered(5)
            wait_until(lambda: "test/svc/%s.expose#0" % old not in envoy.dynamic_clusters())
    load.assert_clean()
    assert envoy.rejected() == {}


def test_a_route_to_a_new_cluster_waits_until_envoy_has_it_ready(lab, sotw):
    """Two services claim a domain; the second one's cluster comes only when it gets the domain."""
    backends = [lab.world.backend(10), lab.world.backend(11)]
    lab.add("test/svc/s0", l7(backends[0].address, lab.at(8000), "web.test"))
    lab.up(sotw)
    wait_answer(lab.at(8000), host="web.test")
    with Load(lab.at(8000), "keepalive", host="web.test", workers=2, pause=0.001) as load:
        for i in range(1, 9):
            lab.add("test/svc/s%d" % i, l7(backends[i % 2].address, lab.at(8000), "web.test"))
            lab.igwd.wait_logged("test/svc/s%d.expose#0" % i, "test/svc/s%d.expose#0" % (i - 1))
            lab.agent.set_keywords("test/svc/s%d" % (i - 1), {"vhost#0.domains": "old%d.test" % i})
            wait_answer(lab.at(8000), host="web.test", backend=backends[i % 2].name)
    load.assert_clean()


def test_connections_under_way_end_in_peace_when_their_endpoint_is_drained(lab):
    one, two = lab.world.backend(10), lab.world.backend(11)
    lab.add("test/svc/web", l7({"n1": one.address, "n2": two.address}, lab.at(8000), "web.test"), started=["n1"])
    lab.up()
    wait_answer(lab.at(8000), host="web.test", backend="b10")
    with connect(lab.at(8000)) as slow:
        slow.sendall(b"GET /slow?ms=1500 HTTP/1.1\r\nHost: web.test\r\n\r\n")
        wait_until(lambda: any(path.startswith("/slow") for _, path, _ in one.requests))
        lab.agent.move("test/svc/web", "n1", "n2")
        wait_answer(lab.at(8000), host="web.test", backend="b11")
        slow.settimeout(20)
        assert slow.recv(65536).startswith(b"HTTP/1.1 200")


def keepalive_of(address, port):
    """Until the kernel asks whether the other side of a connection to that address is alive, in seconds (proc(5):
    timer 2 of /proc/net/tcp)."""
    there = "%s:%04X" % (socket.inet_aton(address)[::-1].hex().upper(), port)
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in file]
    kind, _, left = next(row[5] for row in rows if row[2] == there and row[3] == "01").partition(":")
    assert kind == "02", "another timer runs, or none"
    return int(left, 16) / os.sysconf("SC_CLK_TCK")


def test_an_idle_connection_to_a_host_that_died_is_found_out(lab):
    backend = lab.world.backend(10, kind="echo")
    lab.add("test/svc/echo", l4(backend.address, lab.at(8000)))
    lab.up()
    wait_until(lambda: tcp_echo(lab.at(8000)))
    with connect(lab.at(8000)) as s:
        s.sendall(b"a\n")
        assert read_line(s) == b"b10 a"
        assert wait_until(lambda: keepalive_of(backend.address, 8000)) <= 30


def test_tcp_connections_stay_with_an_endpoint_that_is_up(lab):
    one, two = lab.world.backend(10, kind="echo"), lab.world.backend(11, kind="echo")
    lab.add("test/svc/echo", flex({"n1": one.address, "n2": two.address}, lab.at(8000)), started=["n1"])
    envoy = lab.up()
    envoy.wait_endpoints("test/svc/echo.expose#0", [one.endpoint])
    with connect(lab.at(8000)) as s:
        s.sendall(b"a\n")
        assert read_line(s) == b"b10 a"
        lab.agent.start_instance("test/svc/echo", "n2")
        envoy.wait_endpoints("test/svc/echo.expose#0", [one.endpoint, two.endpoint])
        lab.agent.set_keywords("test/svc/echo", {"expose#0.lb_policy": "random"})
        wait_until(lambda: envoy.dynamic_clusters()["test/svc/echo.expose#0"].get("lb_policy") == "RANDOM")
        s.sendall(b"b\n")
        assert read_line(s) == b"b10 b"


def test_what_drains_is_what_the_documentation_says(lab):
    """docs/operations.md, "What ends connections"."""
    web, echo = lab.world.backend(10), lab.world.backend(11, kind="echo")
    lab.add("test/svc/web", l7(web.address, lab.at(8000), "web.test"))
    lab.add("test/svc/echo", l4(echo.address, lab.at(8001)))
    envoy = lab.up()

    def draining():
        return tuple(envoy.stat("listener_manager.total_%s_draining" % kind) for kind in ("filter_chains", "listeners"))
    wait_answer(lab.at(8000), host="web.test")
    wait_until(lambda: tcp_echo(lab.at(8001)))
    lab.add("test/svc/more", l7(web.address, lab.at(8000), "more.test", [{"match_prefix": "/", "route_timeout": "3"}]))
    lab.agent.set_keywords("test/svc/echo", {"expose#0.lb_policy": "random"})
    wait_answer(lab.at(8000), host="more.test")
    wait_until(lambda: envoy.dynamic_clusters()["test/svc/echo.expose#0"].get("lb_policy") == "RANDOM")
    assert draining() == (0, 0)
    for path in ("test/svc/web", "test/svc/more"):
        lab.agent.set_keywords(path, {"expose#0.filter_config_data": {"stream_idle_timeout": "77s"}})
    wait_until(lambda: draining() == (1, 0))
    lab.add("test/svc/named", l4(echo.address, lab.at(8001), sni="named.test"))
    wait_until(lambda: draining()[1] == 1)
