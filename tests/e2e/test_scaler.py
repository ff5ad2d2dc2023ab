"""Scalers: the whole example of OpenSVC's documentation, and what slaves may look like."""

import pytest

from declare import flex, l7
from harness import client_context, connect, exchange, request, server_context, wait_answer, wait_until

EXAMPLE = """\
[DEFAULT]
nodes = n1
topology = flex
scale = 1

[ip#1]
type = cni
expose = expose#0 expose#1 expose#2

[expose#0]
type = envoy
listener_addr = {addr}
listener_port = 8080
port = 8000

[certificate#1]
type = tls
certificate_chain_filename = {chain}
private_key_filename = {key}

[expose#1]
type = envoy
listener_addr = {addr}
listener_port = 8443
port = 8443
sni = svcweb.acme.org
listener_certificates = certificate#1
cluster_certificates = certificate#1

[expose#2]
type = envoy
listener_addr = {addr}
listener_port = 8443
port = 8443
vhosts = vhost#0
listener_certificates = certificate#1
cluster_certificates = certificate#1

[vhost#0]
type = envoy
domains = alt-svcweb.acme.org
routes = route#0 route#1

[route#0]
type = envoy
match_prefix = /realtime/generic
route_use_websocket = true

[route#1]
type = envoy
match_prefix = /
"""


def test_the_documentations_example_scaled_to_four_and_back(lab, ca):
    certificate = ca.issue("svcweb.acme.org", "alt-svcweb.acme.org")
    tls = server_context(certificate)
    plain = [lab.world.backend(10 + i) for i in range(4)]
    secure = [lab.world.backend(10 + i, port=8443, tls=tls, name="s%d" % (10 + i)) for i in range(4)]
    lab.agent.address_pool = iter([b.address for b in plain])
    lab.add("test/svc/svcweb", EXAMPLE.format(addr=lab.world.ip(1), chain=lab.world.write("s.pem", certificate.chain),
                                              key=lab.world.write("s.key", certificate.key)))
    envoy = lab.up()
    names = ["test/svc/svcweb.expose#%d" % i for i in range(3)]

    def served(n):
        envoy.wait_endpoints(names[0], [b.endpoint for b in plain[:n]])
        for name in names[1:]:
            envoy.wait_endpoints(name, [b.endpoint for b in secure[:n]])
        seen = set()

        def all_answer():
            seen.add(request(lab.at(8080)).backend)
            return seen == {b.name for b in plain[:n]}
        wait_until(all_answer, what="%d to answer" % n)
        for host in ("svcweb.acme.org", "alt-svcweb.acme.org"):
            wait_answer(lab.at(8443), "/realtime/generic/x", tls=client_context(ca, alpn=()), sni=host)
    served(1)
    lab.agent.scale("test/svc/svcweb", 4)
    served(4)
    assert sorted(envoy.dynamic_clusters()) == names
    before = envoy.updates()
    lab.agent.scale("test/svc/svcweb", 1)
    served(1)
    assert envoy.updates() == before, "scaling is a matter of endpoints alone"
    with connect(lab.at(8443), tls=client_context(ca), sni="alt-svcweb.acme.org") as s:
        assert exchange(s, "/", host="alt-svcweb.acme.org").backend == "s10"


@pytest.mark.parametrize("path", ["scal", "test/svc/scal"])
def test_slaves_belong_to_their_scaler_in_any_namespace(lab, path):
    one, two = lab.world.backend(10), lab.world.backend(11)
    config = flex({"n1": one.address, "n2": two.address}, lab.at(8000))
    config["DEFAULT"]["scale"] = "1"
    lab.add(path, config)
    envoy = lab.up()
    envoy.wait_endpoints(path + ".expose#0", [one.endpoint])
    lab.agent.scale(path, 2)
    envoy.wait_endpoints(path + ".expose#0", [one.endpoint, two.endpoint])
    assert list(envoy.dynamic_clusters()) == [path + ".expose#0"]
    lab.agent.remove_service(path)
    wait_until(lambda: not envoy.dynamic_clusters())


def test_a_scaler_with_vhosts_and_a_slave_that_is_down(lab):
    one, two = lab.world.backend(10), lab.world.backend(11)
    config = l7({"n1": one.address, "n2": two.address}, lab.at(8000), "web.test")
    config["DEFAULT"]["scale"] = "2"
    lab.add("test/svc/scal", config)
    envoy = lab.up()
    envoy.wait_endpoints("test/svc/scal.expose#0", [one.endpoint, two.endpoint])
    lab.agent.resource_down("test/svc/0.scal", "n2")
    envoy.wait_endpoints("test/svc/scal.expose#0", [one.endpoint])
    wait_answer(lab.at(8000), host="web.test", backend="b10")


def test_a_service_that_becomes_a_scaler_keeps_its_names(lab):
    one = lab.world.backend(10)
    config = flex({"n1": one.address}, lab.at(8000))
    lab.add("test/svc/x", config)
    envoy = lab.up()
    wait_answer(lab.at(8000))
    with lab.agent.lock:
        lab.agent.scale("test/svc/x", 1)
    envoy.wait_endpoints("test/svc/x.expose#0", [one.endpoint])
    wait_answer(lab.at(8000), backend="b10")
    assert list(envoy.dynamic_clusters()) == ["test/svc/x.expose#0"]
