"""Two that claim the same: the first keeps it, the other is left out with a reason, and takes over in the end."""

import pytest

from declare import l4, l7
from harness import Load, client_context, holds_for, request, server_context, wait_answer


@pytest.mark.sanitized
def test_a_listener_address_taken_twice(lab, sotw):
    one, two, three = (lab.world.backend(10 + i) for i in range(3))
    lab.add("test/svc/first", l4(one.address, lab.at(8000)))
    envoy = lab.up(sotw)
    wait_answer(lab.at(8000), backend="b10")
    with Load(lab.at(8000), workers=2) as load:
        lab.add("test/svc/a-smaller-name", l4(two.address, lab.at(8000)))
        lab.add("test/svc/other", l4(three.address, lab.at(8001)))
        wait_answer(lab.at(8001), backend="b12")
        lab.igwd.wait_logged("test/svc/a-smaller-name.expose#0", "test/svc/first.expose#0")
        load.wait_answered(20)
        assert set(load.by) == {"b10"}
        # Over a restart too the first is the first.
        lab.igwd.restart()
        lab.following()
        lab.add("test/svc/marker", l4(three.address, lab.at(8002)))
        wait_answer(lab.at(8002))
        assert set(load.by) == {"b10"}
    load.assert_clean()
    lab.agent.remove_service("test/svc/first")
    wait_answer(lab.at(8000), backend="b11")
    assert envoy.rejected() == {}


def test_of_two_that_come_at_once_the_smaller_name_wins(lab):
    one, two = lab.world.backend(10), lab.world.backend(11)
    lab.add("test/svc/b", l4(one.address, lab.at(8000)))
    lab.add("test/svc/a", l4(two.address, lab.at(8000)))
    lab.up()
    wait_answer(lab.at(8000), backend="b11")
    lab.igwd.wait_logged("test/svc/b.expose#0", "test/svc/a.expose#0")


def test_an_exposure_that_comes_back_has_to_queue_again(lab):
    one, two = lab.world.backend(10), lab.world.backend(11)
    lab.add("test/svc/first", l4(one.address, lab.at(8000)))
    lab.up()
    wait_answer(lab.at(8000), backend="b10")
    lab.add("test/svc/second", l4(two.address, lab.at(8000)))
    lab.igwd.wait_logged("test/svc/second.expose#0", "test/svc/first.expose#0")
    lab.agent.set_keywords("test/svc/first", {"expose#0.listener_port": "8001"})
    wait_answer(lab.at(8000), backend="b11")
    wait_answer(lab.at(8001), backend="b10")
    lab.agent.set_keywords("test/svc/first", {"expose#0.listener_port": "8000"})
    lab.igwd.wait_logged("test/svc/first.expose#0", "test/svc/second.expose#0")
    holds_for(lambda: request(lab.at(8000)).backend == "b11", 0.3)


def test_a_server_name_taken_twice(lab, ca):
    for n, name in ((10, "first"), (11, "second"), (12, "third")):
        lab.world.backend(n, tls=server_context(ca.issue("a.test", "c.test")))
        sni = "a.test" if n < 12 else "c.test"
        lab.add("test/svc/" + name, l4(lab.world.ip(n), lab.at(8443), sni=sni))
    lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca), sni="a.test", backend="b10")
    wait_answer(lab.at(8443), tls=client_context(ca), sni="c.test", backend="b12")
    lab.igwd.wait_logged("test/svc/second.expose#0", "test/svc/first.expose#0")
    lab.agent.remove_service("test/svc/first")
    wait_answer(lab.at(8443), tls=client_context(ca), sni="a.test", backend="b11")


@pytest.mark.sanitized
def test_a_domain_claimed_by_two_namespaces(lab):
    for n, path in ((10, "one/svc/web"), (11, "two/svc/web")):
        lab.world.backend(n)
    lab.add("two/svc/web", l7(lab.world.ip(11), lab.at(8000), "web.test"))
    envoy = lab.up()
    wait_answer(lab.at(8000), host="web.test", backend="b11")
    lab.add("one/svc/web", l7(lab.world.ip(10), lab.at(8000), ["web.test", "one.test"]))
    # Only what is claimed twice is lost.
    wait_answer(lab.at(8000), host="one.test", backend="b10")
    lab.igwd.wait_logged("one/svc/web.expose#0", "two/svc/web.expose#0", "web.test")
    assert request(lab.at(8000), host="web.test").backend == "b11"
    lab.agent.remove_service("two/svc/web")
    wait_answer(lab.at(8000), host="web.test", backend="b10")
    assert envoy.rejected() == {}


def test_an_identical_route_claimed_twice_in_one_namespace(lab):
    for n, (name, routes) in enumerate({"a": [{"match_prefix": "/x"}, {"match_prefix": "/a"}],
                                        "b": [{"match_prefix": "/x"}, {"match_prefix": "/b"}]}.items()):
        lab.world.backend(10 + n, name=name)
        lab.add("test/svc/" + name, l7(lab.world.ip(10 + n), lab.at(8000), "web.test", routes))
    lab.up()
    for path, backend in (("/a", "a"), ("/b", "b"), ("/x", "a")):
        wait_answer(lab.at(8000), path, host="web.test", backend=backend)
    lab.igwd.wait_logged("test/svc/b.expose#0", "test/svc/a.expose#0")
    lab.agent.remove_service("test/svc/a")
    wait_answer(lab.at(8000), "/x", host="web.test", backend="b")


def test_plain_l4_and_l7_on_one_address_conflict(lab):
    lab.world.backend(10), lab.world.backend(11)
    lab.add("test/svc/l4", l4(lab.world.ip(10), lab.at(8000)))
    lab.up()
    wait_answer(lab.at(8000), backend="b10")
    lab.add("test/svc/l7", l7(lab.world.ip(11), lab.at(8000), "web.test"))
    lab.igwd.wait_logged("test/svc/l7.expose#0", "test/svc/l4.expose#0")
    assert request(lab.at(8000), host="web.test").backend == "b10"
    lab.agent.remove_service("test/svc/l4")
    wait_answer(lab.at(8000), host="web.test", backend="b11")


def test_l4_and_l7_share_an_address_where_names_tell_them_apart(lab, ca):
    certificate = ca.issue("seven.test")
    lab.agent.set_secret("test/sec/seven", certificate.secret())
    lab.world.backend(10, tls=server_context(ca.issue("four.test")))
    lab.world.backend(11)
    lab.world.backend(12, name="plain")
    lab.add("test/svc/four", l4(lab.world.ip(10), lab.at(8443), sni="four.test"))
    lab.add("test/svc/seven", l7(lab.world.ip(11), lab.at(8443), "seven.test", certificates={"front": "seven"}))
    lab.add("test/svc/plain", l4(lab.world.ip(12), lab.at(8443)))
    envoy = lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca), sni="four.test", backend="b10")
    wait_answer(lab.at(8443), tls=client_context(ca), sni="seven.test", backend="b11")
    wait_answer(lab.at(8443), backend="plain")
    assert len(envoy.dynamic_listeners()[lab.at(8443) + "/tcp"]["filter_chains"]) == 3


def test_l7_exposures_with_other_filter_settings_conflict_on_a_plain_address(lab):
    lab.world.backend(10), lab.world.backend(11)
    lab.add("test/svc/a", l7(lab.world.ip(10), lab.at(8000), "a.test"))
    lab.up()
    wait_answer(lab.at(8000), host="a.test", backend="b10")
    lab.add("test/svc/b", l7(lab.world.ip(11), lab.at(8000), "b.test",
                             filter_config_data='{"server_name": "mine"}'))
    lab.igwd.wait_logged("test/svc/b.expose#0", "test/svc/a.expose#0")
    assert request(lab.at(8000), host="b.test").status == 404


def test_one_name_with_two_certificates_conflicts(lab, ca):
    for name in ("a", "b"):
        lab.agent.set_secret("test/sec/" + name, ca.issue("web.test").secret())
    lab.world.backend(10), lab.world.backend(11)
    lab.add("test/svc/a", l7(lab.world.ip(10), lab.at(8443), "web.test", certificates={"front": "a"}))
    lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca), sni="web.test", backend="b10")
    lab.add("test/svc/b", l7(lab.world.ip(11), lab.at(8443), "web.test", certificates={"front": "b"}))
    lab.igwd.wait_logged("test/svc/b.expose#0", "test/svc/a.expose#0")
    lab.agent.remove_service("test/svc/a")
    wait_answer(lab.at(8443), tls=client_context(ca), sni="web.test", backend="b11")


def test_instances_that_disagree_the_newest_configuration_wins(lab):
    one, two = lab.world.backend(10), lab.world.backend(11)
    lab.add("test/svc/web", l4({"n1": one.address, "n2": two.address}, lab.at(8000)), started=["n1", "n2"])
    envoy = lab.up()
    wait_answer(lab.at(8000))
    base = ["monitor", "nodes", "n2", "services"]
    lab.agent.emit([[base + ["status", "test/svc/web", "resources", "expose#0", "info", "lb_policy"], "random"],
                    [base + ["status", "test/svc/web", "resources", "expose#0", "info", "listener_port"], 8001],
                    [base + ["config", "test/svc/web", "updated"], 4102444800.0],
                    [base + ["config", "test/svc/web", "csum"], "f" * 32]])
    wait_answer(lab.at(8001))
    envoy.wait_endpoints("test/svc/web.expose#0", [one.endpoint, two.endpoint])
    assert envoy.dynamic_clusters()["test/svc/web.expose#0"]["lb_policy"] == "RANDOM"
    lab.igwd.wait_logged("test/svc/web", "disagree")
