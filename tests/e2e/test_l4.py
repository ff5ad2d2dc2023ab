"""L4: what a plain exposure makes reachable, and what it does not."""

import socket

import pytest

from declare import flex, l4
from harness import (Backend, Load, connect, free_port, holds_for, read_line, tcp_echo, udp_echo, wait_answer,
                     wait_until)


def refused(address):
    """Whether nobody takes the connection, or it ends without an answer."""
    try:
        tcp_echo(address)
        return False
    except OSError:
        return True


@pytest.mark.sanitized
def test_an_exposure_is_reachable_and_follows_its_address(lab, sotw):
    one, two = lab.world.backend(10), lab.world.backend(11)
    lab.add("test/svc/web", l4({"n1": one.address, "n2": two.address}, lab.at(8000)), started=["n1"])
    envoy = lab.up(sotw)
    assert wait_answer(lab.at(8000)).backend == "b10"
    assert list(envoy.dynamic_clusters()) == ["test/svc/web.expose#0"]
    assert list(envoy.dynamic_listeners()) == [lab.at(8000) + "/tcp"]
    assert envoy.endpoints("test/svc/web.expose#0") == [one.endpoint]
    lab.agent.move("test/svc/web", "n1", "n2")
    wait_answer(lab.at(8000), backend="b11")
    envoy.wait_endpoints("test/svc/web.expose#0", [two.endpoint])
    assert envoy.rejected() == {}


def test_services_may_come_and_go_after_the_start(lab, sotw):
    one = lab.world.backend(10)
    envoy = lab.up(sotw)
    lab.add("test/svc/late", l4(one.address, lab.at(8000)))
    wait_answer(lab.at(8000), backend="b10")
    lab.agent.remove_service("test/svc/late")
    wait_until(lambda: refused(lab.at(8000)), what="the listener to go")
    wait_until(lambda: not envoy.dynamic_clusters() and not envoy.dynamic_listeners(), what="Envoy to be empty")
    lab.add("test/svc/late", l4(one.address, lab.at(8000)))
    wait_answer(lab.at(8000), backend="b10")


def test_every_up_address_of_every_node_is_an_endpoint(lab):
    backends = [lab.world.backend(10 + i) for i in range(4)]
    config = flex({"n1": backends[0].address, "n2": backends[1].address, "n3": backends[2].address}, lab.at(8000))
    config["ip#2"] = {"ipname@n1": backends[3].address, "ipname@n2": backends[0].address, "ipname@n3": "127.0.0.9",
                      "expose": "expose#0"}
    lab.add("test/svc/web", config, started=["n1", "n2"])
    envoy = lab.up()
    # n2's second address is n1's first: an endpoint is one, however many name it. n3 is down.
    envoy.wait_endpoints("test/svc/web.expose#0", [b.endpoint for b in backends if b is not backends[2]])
    with Load(lab.at(8000), pause=0.001) as load:
        wait_until(lambda: set(load.by) == {"b10", "b11", "b13"}, what="all three to answer")
    load.assert_clean()


def test_a_down_address_gets_no_traffic(lab):
    one, two = lab.world.backend(10), lab.world.backend(11)
    lab.add("test/svc/down", l4(one.address, lab.at(8000)), started=False)
    lab.add("test/svc/half", flex({"n1": one.address, "n2": two.address}, lab.at(8001)), started=["n2"])
    envoy = lab.up()
    wait_answer(lab.at(8001), backend="b11")
    envoy.wait_endpoints("test/svc/down.expose#0", [])
    assert refused(lab.at(8000))
    with Load(lab.at(8001), pause=0.001) as load:
        load.wait_answered(50)
    load.assert_clean(50)
    assert one.count == 0
    lab.agent.start_instance("test/svc/down", "n1")
    wait_answer(lab.at(8000), backend="b10")


def test_a_cni_address_is_served_once_it_is_allocated(lab):
    one = lab.world.backend(10)
    lab.agent.address_pool = iter([one.address])
    lab.add("test/svc/cni", l4(None, lab.at(8000), ip={"type": "cni", "ipname": None}), started=False)
    envoy = lab.up()
    envoy.wait_endpoints("test/svc/cni.expose#0", [])
    lab.agent.start_instance("test/svc/cni", "n1")
    wait_answer(lab.at(8000), backend="b10")


def test_several_exposures_of_one_service_and_inline_mappings(lab):
    http, echo = lab.world.backend(10), lab.world.backend(10, kind="echo", port=8001, name="e")
    config = l4(http.address, lab.at(8000))
    config["ip#1"]["expose"] = "expose#0 expose#1 80/tcp:8080"
    config["expose#1"] = {"type": "envoy", "port": "8001", "listener_addr": lab.world.ip(1)}
    lab.add("test/svc/two", config)
    envoy = lab.up()
    wait_answer(lab.at(8000), backend="b10")
    # listener_port defaults to port.
    wait_until(lambda: tcp_echo(lab.at(8001)) == b"e hello")
    assert sorted(envoy.dynamic_clusters()) == ["test/svc/two.expose#0", "test/svc/two.expose#1"]
    assert echo.count == 1


def test_an_exposure_that_no_address_names_has_no_endpoints(lab):
    one = lab.world.backend(10)
    config = l4(one.address, lab.at(8000))
    config["expose#1"] = {"type": "envoy", "port": "8000", "listener_addr": lab.world.ip(1), "listener_port": "8001"}
    lab.add("test/svc/x", config)
    envoy = lab.up()
    wait_answer(lab.at(8000))
    envoy.wait_endpoints("test/svc/x.expose#1", [])
    lab.agent.set_keywords("test/svc/x", {"ip#1.expose": "expose#0 expose#1"})
    wait_answer(lab.at(8001), backend="b10")
    lab.agent.unset_keywords("test/svc/x", "ip#1.expose")
    envoy.wait_endpoints("test/svc/x.expose#0", [])
    envoy.wait_endpoints("test/svc/x.expose#1", [])


def test_another_listener_port_or_endpoint_port_takes_effect(lab):
    one, other = lab.world.backend(10), lab.world.backend(10, port=8001, name="other")
    lab.add("test/svc/x", l4(one.address, lab.at(8000)))
    envoy = lab.up()
    wait_answer(lab.at(8000))
    lab.agent.set_keywords("test/svc/x", {"expose#0.listener_port": "9000"})
    wait_answer(lab.at(9000))
    envoy.wait_listeners(lab.at(9000) + "/tcp")
    lab.agent.set_keywords("test/svc/x", {"expose#0.port": "8001"})
    wait_answer(lab.at(9000), backend="other")
    assert other.count


def test_services_of_the_root_namespace_and_of_others_are_alike(lab):
    one, two = lab.world.backend(10), lab.world.backend(11)
    lab.add("web", l4(one.address, lab.at(8000)))
    lab.add("ns/svc/web", l4(two.address, lab.at(8001)))
    envoy = lab.up()
    wait_answer(lab.at(8000), backend="b10")
    wait_answer(lab.at(8001), backend="b11")
    assert sorted(envoy.dynamic_clusters()) == ["ns/svc/web.expose#0", "web.expose#0"]


@pytest.mark.sanitized
def test_udp(lab, sotw):
    one, two = (lab.world.backend(n, kind="udp") for n in (10, 11))
    lab.add("test/svc/dns", l4({"n1": one.address, "n2": two.address}, lab.at(5300), protocol="udp"), started=["n1"])
    envoy = lab.up(sotw)
    wait_until(lambda: udp_echo(lab.at(5300)) == b"b10 hello")
    assert list(envoy.dynamic_listeners()) == [lab.at(5300) + "/udp"]
    large = b"x" * 65000  # of several packets, as with DNS, logs or flows
    wait_until(lambda: udp_echo(lab.at(5300), large) == b"b10 " + large)
    # A TCP health check marks every UDP endpoint failed.
    assert "health_checks" not in envoy.dynamic_clusters()["test/svc/dns.expose#0"]
    lab.agent.move("test/svc/dns", "n1", "n2")
    wait_until(lambda: udp_echo(lab.at(5300)) == b"b11 hello")


def test_udp_and_tcp_share_a_port(lab):
    udp, echo = lab.world.backend(10, kind="udp"), lab.world.backend(11, kind="echo")
    lab.add("test/svc/u", l4(udp.address, lab.at(5300), protocol="udp"))
    lab.add("test/svc/t", l4(echo.address, lab.at(5300)))
    envoy = lab.up()
    wait_until(lambda: udp_echo(lab.at(5300)) == b"b10 hello")
    wait_until(lambda: tcp_echo(lab.at(5300)) == b"b11 hello")
    envoy.wait_listeners(lab.at(5300) + "/tcp", lab.at(5300) + "/udp")


def test_ipv6_listeners_and_endpoints(lab):
    six = lab.world.add(Backend("::1", free_port("::1"), name="six").start())
    four = lab.world.backend(10)
    port, other = free_port("::1"), free_port("::1")
    lab.add("test/svc/six", l4("::1", "[::1]:%d" % port, port=six.port))
    lab.add("test/svc/mixed", l4("::1", lab.at(8000), port=six.port))
    lab.add("test/svc/other", l4(four.address, "[::1]:%d" % other))
    # Mapped into IPv6 is another way to write an IPv4 address, which Envoy does not know.
    lab.add("test/svc/mapped", l4("::ffff:" + four.address, "[::ffff:%s]:8001" % lab.world.ip(1)))
    envoy = lab.up()
    assert wait_answer("[::1]:%d" % port).backend == "six"
    assert wait_answer(lab.at(8000)).backend == "six"
    assert wait_answer("[::1]:%d" % other).backend == "b10"
    wait_answer(lab.at(8001), backend="b10")
    assert "[::1]:%d/tcp" % port in envoy.dynamic_listeners()


@pytest.mark.parametrize("policy, envoys", [
    ("round robin", "ROUND_ROBIN"), ("least_request", "LEAST_REQUEST"), ("ring_hash", "RING_HASH"),
    ("random", "RANDOM"), ("maglev", "MAGLEV"), ("ROUND_ROBIN", "ROUND_ROBIN"), ("Least-Request", "LEAST_REQUEST"),
])
def test_lb_policies(lab, policy, envoys):
    one = lab.world.backend(10)
    lab.add("test/svc/x", l4(one.address, lab.at(8000), lb_policy=policy))
    envoy = lab.up()
    wait_answer(lab.at(8000))
    # Envoy does not show its default.
    assert envoy.dynamic_clusters()["test/svc/x.expose#0"].get("lb_policy", "ROUND_ROBIN") == envoys


def test_original_dst_is_a_cluster_of_that_type(lab):
    one = lab.world.backend(10)
    lab.add("test/svc/orig", l4(one.address, lab.at(8000), lb_policy="original_dst_lb"))
    lab.add("test/svc/x", l4(one.address, lab.at(8001)))
    envoy = lab.up()
    wait_answer(lab.at(8001))
    cluster = wait_until(lambda: envoy.dynamic_clusters()["test/svc/orig.expose#0"])
    assert cluster["type"] == "ORIGINAL_DST" and cluster["lb_policy"] == "CLUSTER_PROVIDED"
    assert "health_checks" not in cluster and "eds_cluster_config" not in cluster
    assert envoy.rejected() == {}


def test_an_unknown_policy_or_protocol_harms_its_exposure_alone(lab):
    one = lab.world.backend(10)
    lab.add("test/svc/bad", l4(one.address, lab.at(8000), lb_policy="fastest"))
    lab.add("test/svc/worse", l4(one.address, lab.at(8002), protocol="sctp"))
    lab.add("test/svc/good", l4(one.address, lab.at(8001)))
    lab.up()
    wait_answer(lab.at(8001))
    lab.igwd.wait_logged("test/svc/bad.expose#0", "lb_policy")
    lab.igwd.wait_logged("test/svc/worse.expose#0", "protocol")
    assert refused(lab.at(8000)) and refused(lab.at(8002))
    lab.agent.set_keywords("test/svc/bad", {"expose#0.lb_policy": "random"})
    wait_answer(lab.at(8000))


@pytest.mark.parametrize("keyword, value", [
    ("port", None), ("port", "http"), ("port", 0), ("port", 65536), ("port", -1), ("port", 3.5), ("port", {"a": 1}),
    ("port", [80]), ("port", True), ("listener_addr", "nowhere"), ("listener_addr", "300.1.1.1"),
    ("listener_addr", 5), ("listener_port", "x"), ("listener_port", 70000), ("gateway", "a b"), ("sni", 7),
    ("sni", ["*bad*"]), ("vhosts", ["vhost#9"]), ("vhosts", {"a": 1}), ("listener_certificates", ["certificate#9"]),
    ("protocol", ["tcp"]), ("cluster_data", "{nonsense"), ("filter_config_data", [1]),
])
def test_a_wrong_value_of_any_keyword_is_named_and_harms_nothing_else(lab, keyword, value):
    one = lab.world.backend(10)
    bad = l4(one.address, lab.at(8000))
    if value is None:
        del bad["expose#0"][keyword]
    else:
        bad["expose#0"][keyword] = value
    # Of the same service: also its good exposure must live.
    bad["expose#1"] = {"type": "envoy", "port": "8000", "listener_addr": lab.world.ip(1), "listener_port": "8002"}
    bad["ip#1"]["expose"] = "expose#0 expose#1"
    lab.add("test/svc/bad", bad)
    lab.add("test/svc/good", l4(one.address, lab.at(8001)))
    lab.up()
    wait_answer(lab.at(8001))
    wait_answer(lab.at(8002))
    lab.igwd.wait_logged("test/svc/bad.expose#0", keyword)
    assert refused(lab.at(8000))


def test_a_declaration_that_becomes_invalid_keeps_its_last_good_form(lab):
    one = lab.world.backend(10)
    lab.add("test/svc/x", l4(one.address, lab.at(8000)))
    lab.up()
    wait_answer(lab.at(8000))
    with Load(lab.at(8000)) as load:
        lab.agent.set_keywords("test/svc/x", {"expose#0.lb_policy": "nonsense"})
        lab.igwd.wait_logged("test/svc/x.expose#0", "lb_policy")
        load.wait_answered(30)
        lab.agent.set_keywords("test/svc/x", {"expose#0.lb_policy": "random"})
        lab.igwd.wait_logged("mended", "test/svc/x.expose#0")
        load.wait_answered(30)
    load.assert_clean(60)


def test_endpoints_on_loopback_are_refused_unless_allowed(lab):
    one = lab.world.backend(10)
    lab.add("test/svc/x", l4(one.address, lab.at(8000)))
    for n, address in enumerate(["169.254.1.1", "0.0.0.0", "224.0.0.1", "::1", "fe80::1", "ff02::1", "::",
                                 "::ffff:127.0.0.1"]):
        lab.add("test/svc/r%d" % n, l4(address, lab.at(8010 + n)))
    lab.add("test/svc/ok", l4("10.255.255.1", lab.at(8100)))
    envoy = lab.up(igwd={"networks": None})
    envoy.wait_endpoints("test/svc/ok.expose#0", ["10.255.255.1:8000"])
    for name in ["x"] + ["r%d" % n for n in range(8)]:
        envoy.wait_endpoints("test/svc/%s.expose#0" % name, [])
    assert refused(lab.at(8000)) and one.count == 0


def test_server_first_protocols_speak_at_once(lab, ca):
    greeter = lab.world.backend(10, kind="greeter", name="smtp")
    http = lab.world.backend(11)
    lab.add("test/svc/smtp", l4(greeter.address, lab.at(2500)))
    lab.add("test/svc/smtp2", l4(greeter.address, lab.at(2501)))
    lab.add("test/svc/tls", l4(http.address, lab.at(2501), sni="web.test"))
    envoy = lab.up()
    envoy.wait_listeners(lab.at(2500) + "/tcp", lab.at(2501) + "/tcp")

    def greeting(address):
        with connect(address) as s:
            return read_line(s)
    assert wait_until(lambda: greeting(lab.at(2500))) == b"220 smtp"
    # Behind the TLS inspector it takes its timeout, 1 s instead of Envoy's 15 s.
    with connect(lab.at(2501), timeout=8) as s:
        assert read_line(s) == b"220 smtp"
    lab.igwd.wait_logged("test/svc/smtp2.expose#0")


def test_a_dead_node_has_no_endpoint_up_until_it_is_back(lab):
    backends = {n: lab.world.backend(10 + i) for i, n in enumerate(("n1", "n2", "n3"))}
    lab.add("test/svc/web", flex({n: b.address for n, b in backends.items()}, lab.at(8000)))
    envoy = lab.up()
    everyone = [b.endpoint for b in backends.values()]
    but_n2 = [backends["n1"].endpoint, backends["n3"].endpoint]
    envoy.wait_endpoints("test/svc/web.expose#0", everyone)
    for away in (lab.agent.node_null, lab.agent.node_away, lab.agent.node_partial):
        away("n2")
        envoy.wait_endpoints("test/svc/web.expose#0", but_n2)
        lab.agent.node_back("n2")
        envoy.wait_endpoints("test/svc/web.expose#0", everyone)


def test_the_orchestrators_intent_takes_an_endpoint_out_while_others_are_up(lab):
    one, two = lab.world.backend(10), lab.world.backend(11)
    lab.add("test/svc/web", flex({"n1": one.address, "n2": two.address}, lab.at(8000)))
    envoy = lab.up()
    both = [one.endpoint, two.endpoint]
    envoy.wait_endpoints("test/svc/web.expose#0", both)
    for key, value in (("status", "stopping"), ("global_expect", "stopped"), ("global_expect", "shutdown"),
                       ("global_expect", "deleted"), ("global_expect", "placed@n2")):
        lab.agent.set_monitor("test/svc/web", "n1", **{key: value})
        envoy.wait_endpoints("test/svc/web.expose#0", [two.endpoint])
        lab.agent.set_monitor("test/svc/web", "n1", **{key: "idle" if key == "status" else None})
        envoy.wait_endpoints("test/svc/web.expose#0", both)


def test_the_last_address_of_a_flex_service_stays_until_it_is_down(lab):
    one, two = lab.world.backend(10), lab.world.backend(11)
    lab.add("test/svc/web", flex({"n1": one.address, "n2": two.address}, lab.at(8000)), started=["n1"])
    envoy = lab.up()
    wait_answer(lab.at(8000))
    lab.agent.set_monitor("test/svc/web", "n1", global_expect="stopped")
    lab.agent.set_keywords("test/svc/web", {"expose#0.lb_policy": "random"})  # told after it, so taken after it
    wait_until(lambda: envoy.dynamic_clusters()["test/svc/web.expose#0"].get("lb_policy") == "RANDOM")
    assert envoy.endpoints("test/svc/web.expose#0") == [one.endpoint]
    lab.agent.stop_instance("test/svc/web", "n1")
    envoy.wait_endpoints("test/svc/web.expose#0", [])


def test_noise_changes_nothing(lab):
    one = lab.world.backend(10)
    lab.add("test/svc/web", l4(one.address, lab.at(8000)))
    envoy = lab.up()
    wait_answer(lab.at(8000))
    before = (envoy.updates(), envoy.stats("update_attempt"))
    lab.agent.make_noise(300)
    lab.agent.emit_event("node_thaw", a=[1, {"b": None}])
    lab.add("test/svc/marker", l4(one.address, lab.at(8001)))
    wait_answer(lab.at(8001))
    lab.agent.remove_service("test/svc/marker")
    assert before[0]["listener_manager.listener_added"] == 1
    assert lab.agent.count("events") == 1, "noise made it subscribe again"
    assert lab.agent.count("daemon_status") <= 2


def test_defaults_of_a_cluster(lab):
    one = lab.world.backend(10)
    lab.add("test/svc/web", l4(one.address, lab.at(8000)))
    envoy = lab.up()
    wait_answer(lab.at(8000))
    cluster = envoy.dynamic_clusters()["test/svc/web.expose#0"]
    assert cluster["type"] == "EDS" and cluster["connect_timeout"] == "0.250s"
    check = cluster["health_checks"][0]
    assert "tcp_health_check" in check
    assert (check["timeout"], check["interval"], check["no_traffic_interval"]) == ("1s", "10s", "10s")
    assert (check["unhealthy_threshold"], check["healthy_threshold"]) == (3, 1)
    assert cluster["ignore_health_on_host_removal"] is True
    proxy = envoy.dynamic_listeners()[lab.at(8000) + "/tcp"]["filter_chains"][0]["filters"][0]["typed_config"]
    assert proxy["max_connect_attempts"] >= 3


def test_many_connections_at_once_and_half_closed_ones(lab):
    echo = lab.world.backend(10, kind="echo")
    lab.add("test/svc/echo", l4(echo.address, lab.at(7000)))
    lab.up()
    wait_until(lambda: tcp_echo(lab.at(7000)) == b"b10 hello")
    sockets = [connect(lab.at(7000)) for _ in range(50)]
    for i, s in enumerate(sockets):
        s.sendall(b"%d\n" % i)
        s.shutdown(socket.SHUT_WR)
    for i, s in enumerate(sockets):
        assert read_line(s) == b"b10 %d" % i
        s.close()


def test_connections_that_are_open_survive_changes_of_other_services(lab):
    echo = lab.world.backend(10, kind="echo")
    lab.add("test/svc/echo", l4(echo.address, lab.at(7000)))
    lab.up()
    wait_until(lambda: tcp_echo(lab.at(7000)) == b"b10 hello")
    with connect(lab.at(7000)) as s:
        for i in range(5):
            lab.add("test/svc/other%d" % i, l4(echo.address, lab.at(7100 + i)))
            wait_until(lambda: tcp_echo(lab.at(7100 + i)) == b"b10 hello")
            s.sendall(b"still\n")
            assert read_line(s) == b"b10 still"
            lab.agent.remove_service("test/svc/other%d" % i)
        holds_for(lambda: not s.sendall(b"still\n") and read_line(s) == b"b10 still", 0.2)
