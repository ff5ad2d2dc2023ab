"""The end-to-end tests' own tools, held against a static Envoy: if these are wrong, nothing else is worth much."""

import socket
import threading
import time

import pytest

from certificates import CA
from harness import (TYPES, Envoy, Load, Network, WebSocket, address_json, client_context, connect, exchange,
                     fingerprint, free_port, read_line, request, server_context, tcp_echo, udp_echo, validate,
                     wait_answer, wait_until)

HCM = TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = {"name": "envoy.filters.http.router",
          "typed_config": {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}}


def cluster(name, *endpoints):
    return {"name": name, "type": "STATIC", "connect_timeout": "0.25s", "circuit_breakers": {
        "thresholds": [{"max_retries": 100}]}, "load_assignment": {
        "cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": address_json(e)}} for e in endpoints]}]}}


def tcp_listener(address, target):
    return {"name": address, "address": address_json(address), "filter_chains": [{"filters": [{
        "name": "tcp", "typed_config": {"@type": TYPES + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                                        "stat_prefix": "tcp", "cluster": target, "max_connect_attempts": 3}}]}]}


def http_chain(target, certificate=None, names=()):
    chain = {"filters": [{"name": "http", "typed_config": {
        "@type": HCM, "stat_prefix": "http", "http_filters": [ROUTER], "upgrade_configs": [
            {"upgrade_type": "websocket"}],
        "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": target, "retry_policy": {
                "retry_on": "connect-failure,refused-stream", "num_retries": 2,
                "host_selection_retry_max_attempts": 5, "retry_host_predicate": [{
                    "name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {
                        "@type": TYPES + "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}}]
            }}}]}]}}}]}
    if names:
        chain["filter_chain_match"] = {"server_names": list(names)}
    if certificate:
        chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": TYPES + "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"tls_certificates": [{"certificate_chain": {"inline_string": certificate.chain},
                                                         "private_key": {"inline_string": certificate.key}}]}}}
    return chain


def static(listeners, clusters):
    return {"node": {"id": "static", "cluster": "static"},
            "static_resources": {"listeners": listeners, "clusters": clusters}}


def test_backends_of_each_kind_say_who_they_are(world, ca):
    certificate = ca.issue("b.test")
    http = world.backend(10, name="h")
    echo = world.backend(11, kind="echo", name="e")
    udp = world.backend(12, kind="udp", name="u")
    greeter = world.backend(13, kind="greeter", name="g")
    secure = world.backend(14, name="s", tls=server_context(certificate, client_ca=ca))
    answer = request(http.endpoint, "/x?y", host="a.b", headers={"X-Seen": "1"})
    assert (answer.status, answer.backend, answer.json["path"]) == (200, "h", "/x?y")
    assert ["host", "a.b"] in answer.json["headers"] and ["x-seen", "1"] in answer.json["headers"]
    assert request(http.endpoint, "/status/503").status == 503
    assert request(http.endpoint, "/", method="POST", body=b"body").json["body"] == "body"
    assert tcp_echo(echo.endpoint) == b"e hello"
    assert udp_echo(udp.endpoint) == b"u hello"
    with connect(greeter.endpoint) as s:
        assert read_line(s) == b"220 g"
    with WebSocket(http.endpoint) as ws:
        assert ws.echo(b"x" * 300) == b"h " + b"x" * 300
    me = client_context(ca, client=ca.issue("me", client=True))
    answer = request(secure.endpoint, tls=me, sni="b.test")
    assert answer.json["sni"] == "b.test" and answer.json["client"] == [[["commonName", "me"]]]
    assert fingerprint(secure.endpoint, "b.test", client=ca.issue("me", client=True)) == certificate.fingerprint
    with pytest.raises(OSError):
        request(secure.endpoint, tls=client_context(ca), sni="b.test")


def test_a_stopped_backend_refuses_and_can_start_again(world):
    for kind in ("http", "echo", "udp"):
        b = world.backend(10, kind=kind)
        b.stop()
        with pytest.raises(OSError):
            udp_echo(b.endpoint, timeout=0.3) if kind == "udp" else connect(b.endpoint)
        b.start()
        if kind == "udp":
            assert udp_echo(b.endpoint) == b"b10 hello"
        else:
            connect(b.endpoint).close()
        b.stop()


def test_networks_of_two_tests_differ_and_are_held():
    networks = [Network() for _ in range(20)]
    assert len({n.prefix for n in networks}) == 20
    for n in networks:
        with pytest.raises(OSError), socket.socket() as s:
            s.bind((n.ip(253)[:-3] + "254", Network.ANCHOR_PORT))
        n.close()


def test_envoy_passes_l4_http_websockets_and_tls_by_name(world, ca):
    a, b = ca.issue("a.test"), ca.issue("b.test")
    http = world.backend(10)
    echo = world.backend(11, kind="echo")
    l4, plain, tls = (world.ip(1) + ":%d" % port for port in (8000, 8001, 8443))
    names = [http_chain("http", a, ["a.test"]), http_chain("http", b, ["b.test"])]
    envoy = world.envoy(bootstrap=static(
        [tcp_listener(l4, "echo"),
         {"name": plain, "address": address_json(plain), "filter_chains": [http_chain("http")]},
         {"name": tls, "address": address_json(tls), "filter_chains": names, "listener_filters": [
             {"name": "tls", "typed_config": {
                 "@type": TYPES + "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"}}]}],
        [cluster("http", http.endpoint), cluster("echo", echo.endpoint)])).wait_live()
    assert tcp_echo(l4) == b"b11 hello"
    assert wait_answer(plain).backend == "b10"
    with WebSocket(plain) as ws:
        assert ws.echo(b"hi") == b"b10 hi"
    assert fingerprint(tls, "a.test") == a.fingerprint
    assert fingerprint(tls, "b.test") == b.fingerprint
    assert request(tls, tls=client_context(ca), sni="a.test").backend == "b10"
    assert envoy.stat("cluster.http.upstream_rq_total") == 3
    assert envoy.endpoints("echo") == [echo.endpoint]
    assert envoy.updates()["listener_manager.listener_added"] == 3
    assert envoy.rejected() == {}
    assert envoy.running() and envoy.memory() > 1 << 20


def test_load_counts_every_request_and_every_failure(world):
    good = world.backend(10)
    for mode in ("new", "keepalive"):
        with Load(good.endpoint, mode, pause=0.001) as load:
            load.wait_answered(200)
        load.assert_clean(200)
        assert load.by == {"b10": load.answered}
        assert (load.connections == 4) == (mode == "keepalive")
    echo = world.backend(11, kind="echo")
    with Load(echo.endpoint, "tcp", pause=0.001) as load:
        load.wait_answered(50)
    load.assert_clean(50)
    with Load(good.endpoint, path="/close", pause=0.001, workers=1) as load:
        wait_until(lambda: load.failed > 5)
    assert load.sent == load.failed and load.answered == 0
    with pytest.raises(AssertionError, match="requests failed"):
        load.assert_clean()
    with Load(good.endpoint, path="/status/500", workers=1) as load:
        wait_until(lambda: load.failed > 2)
    assert load.answered == 0


@pytest.mark.parametrize("mode", ["new", "keepalive", "tcp"])
def test_a_backend_that_stops_with_care_loses_no_request_behind_envoy(world, mode):
    kind = "echo" if mode == "tcp" else "http"
    one, two = world.backend(10, kind=kind), world.backend(11, kind=kind)
    address = world.ip(1) + ":8000"
    chain = tcp_listener(address, "c") if mode == "tcp" else {
        "name": address, "address": address_json(address), "filter_chains": [http_chain("c")]}
    world.envoy(bootstrap=static([chain], [cluster("c", one.endpoint, two.endpoint)])).wait_live()
    # Several at once could all have each of their three attempts at the one that is gone: they share the round robin.
    with Load(address, mode, workers=1 if mode == "tcp" else 4, pause=0.005) as load:
        wait_until(lambda: len(load.by) == 2)
        one.stop()
        load.wait_answered(100)
        one.start()
        load.wait_answered(100)
    load.assert_clean(200)


def test_envoy_names_what_is_wrong_with_a_configuration(world):
    assert "EDS" in validate(static([], [{"name": "c", "type": "EDS"}]), world)
    assert validate(static([], [cluster("c", "127.0.0.1:1")]), world) is None


def test_wait_until_gives_the_last_reason():
    with pytest.raises(AssertionError, match="waited for x in vain; at last .*7"):
        def look():
            assert 7 == 8
        wait_until(look, 0.05, "x")
    began = time.monotonic()
    flag = threading.Event()
    threading.Timer(0.05, flag.set).start()
    wait_until(flag.is_set)
    assert time.monotonic() - began < 5


def test_a_world_ends_what_it_started(world):
    from harness import World
    inner = World("inner")
    b = inner.backend(10)
    envoy = Envoy(inner, bootstrap=static([], [])).start()
    pid, directory = envoy.pid, inner.directory
    inner.close()
    assert not directory.exists()
    with pytest.raises(ProcessLookupError):
        import os
        os.kill(pid, 0)
    with pytest.raises(OSError):
        connect(b.endpoint)


def test_a_world_complains_of_a_crash(world):
    from harness import World
    inner = World("inner")
    envoy = Envoy(inner, bootstrap=static([], [])).start()
    envoy.child.kill()
    envoy.child.wait()
    with pytest.raises(AssertionError, match="envoy-1 ended with -9"):
        inner.close()


def test_certificates_of_other_kinds_and_chains(world):
    root = CA("root")
    middle = CA("middle", parent=root)
    leaf = middle.issue("c.test", kind="rsa2048", chain=[middle])
    b = world.backend(10, tls=server_context(leaf))
    assert request(b.endpoint, tls=client_context(root), sni="c.test").status == 200
    with pytest.raises(OSError):
        request(b.endpoint, tls=client_context(CA("other")), sni="c.test")


def test_ipv6_and_free_ports(world):
    port = free_port("::1")
    from harness import Backend
    b = world.add(Backend("::1", port).start())
    assert request("[::1]:%d" % port).backend == "backend"
    assert b.endpoint == "[::1]:%d" % port
    with connect(b.endpoint) as s:
        assert exchange(s, "/a", close=False).json["path"] == "/a"
        assert exchange(s, "/b").json["path"] == "/b"
