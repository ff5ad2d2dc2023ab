"""Several gateways in one daemon: which Envoy gets what, and who may have it."""

import grpc
import pytest

from certificates import CA
from declare import l4, l7
from harness import Igwd, free_port, wait_answer, wait_until
from xds_client import CDS, LDS, SDS, Ended, Mirror, XdsClient


def two_addresses(lab):
    return [lab.world.ip(2) + ":50051", lab.world.ip(2) + ":50052=edge-b"]


@pytest.mark.sanitized
def test_two_gateways_two_envoys_and_a_service_that_changes_gateway(lab, sotw):
    one, two = lab.world.backend(10), lab.world.backend(11)
    lab.add("test/svc/a", l4(one.address, lab.at(8000)))
    lab.add("test/svc/b", l4(two.address, lab.at(8001), gateway="edge-b"))
    lab.add("test/svc/moving", l4(one.address, lab.at(8002)))
    first = lab.up(sotw, igwd={"xds": two_addresses(lab)})
    second = lab.world.envoy(lab.igwd, gateway="edge-b", xds=lab.world.ip(2) + ":50052", sotw=sotw).wait_live()
    wait_answer(lab.at(8000), backend="b10")
    wait_answer(lab.at(8001), backend="b11")
    wait_answer(lab.at(8002), backend="b10")
    first.wait_listeners(lab.at(8000) + "/tcp", lab.at(8002) + "/tcp")
    second.wait_listeners(lab.at(8001) + "/tcp")
    assert sorted(second.dynamic_clusters()) == ["test/svc/b.expose#0"]
    lab.agent.set_keywords("test/svc/moving", {"expose#0.gateway": "edge-b"})
    first.wait_listeners(lab.at(8000) + "/tcp")
    second.wait_listeners(lab.at(8001) + "/tcp", lab.at(8002) + "/tcp")
    wait_answer(lab.at(8002), backend="b10")
    lab.agent.set_keywords("test/svc/moving", {"expose#0.gateway": "envoy"})
    second.wait_listeners(lab.at(8001) + "/tcp")
    first.wait_listeners(lab.at(8000) + "/tcp", lab.at(8002) + "/tcp")


def test_gateways_share_no_listener_addresses_with_each_other(lab):
    one, two = lab.world.backend(10), lab.world.backend(11)
    lab.add("test/svc/a", l4(one.address, lab.at(8000)))
    lab.add("test/svc/b", l4(two.address, lab.at(8000), gateway="edge-b"))
    first = lab.up(igwd={"xds": two_addresses(lab)})
    second = lab.world.envoy(lab.igwd, gateway="edge-b", xds=lab.world.ip(2) + ":50052").wait_live()
    first.wait_endpoints("test/svc/a.expose#0", [one.endpoint])
    second.wait_endpoints("test/svc/b.expose#0", [two.endpoint])
    assert list(first.dynamic_listeners()) == list(second.dynamic_listeners()) == [lab.at(8000) + "/tcp"]


@pytest.fixture
def both(lab):
    """A service in each of the gateways envoy and edge-b; any gateway on the unix socket."""
    lab.world.backend(10)
    lab.add("test/svc/a", l4(lab.world.ip(10), lab.at(8000)))
    lab.add("test/svc/b", l4(lab.world.ip(10), lab.at(8001), gateway="edge-b"))
    lab.socket = "unix:" + lab.world.path("xds.sock")
    lab.igwd = lab.world.igwd(agent=lab.agent, xds=[lab.world.ip(2) + ":50051", lab.socket + "=*",
                                                    lab.world.ip(2) + ":50052=edge-b,edge-c"])
    lab.following()
    return lab


def clusters(address, sotw=False, **node):
    """The clusters that a proxy is given."""
    with XdsClient(address, sotw=sotw, **node) as client:
        client.subscribe(CDS)
        return sorted(client.resources(client.next()))


A, B = ["test/svc/a.expose#0"], ["test/svc/b.expose#0"]


@pytest.mark.parametrize("node, expected", [
    ({"metadata": {"gateway": "edge-b"}, "cluster": "envoy", "node_id": "envoy"}, B),
    ({"metadata": {"gateway": "envoy"}, "cluster": "edge-b", "node_id": "edge-b"}, A),
    ({"cluster": "edge-b", "node_id": "envoy"}, B),
    ({"cluster": "", "node_id": "edge-b"}, B),
    ({"cluster": "some-cluster", "node_id": "edge-b"}, B),
    ({"cluster": "some-cluster", "node_id": "some-node"}, A),
    ({"metadata": {"gateway": 5, "other": {"deep": ["x"]}}, "cluster": "edge-b"}, B),
])
def test_a_proxy_belongs_to_the_gateway_that_its_node_names(both, node, expected, sotw):
    wait_until(lambda: clusters(both.socket, sotw, **node) == expected)


def test_an_address_serves_what_it_lists_and_nothing_else(both):
    tcp, other = both.world.ip(2) + ":50051", both.world.ip(2) + ":50052"
    wait_until(lambda: clusters(tcp, cluster="envoy") == A)
    assert clusters(other, cluster="edge-b") == B
    for address, gateway in ((tcp, "edge-b"), (other, "envoy")):
        for sotw in (False, True):
            with XdsClient(address, cluster=gateway, metadata={"gateway": gateway}, sotw=sotw) as client:
                client.subscribe(CDS)
                with pytest.raises(Ended) as end:
                    client.next()
                assert end.value.code == grpc.StatusCode.PERMISSION_DENIED
                assert gateway in end.value.details
    assert both.igwd.logged("edge-b")


def test_of_an_unknown_gateway_nothing_is_answered_and_it_is_logged(both):
    metadata = {"gateway": "edge-zz"}
    with XdsClient(both.socket, metadata=metadata) as client:
        client.subscribe(CDS)
        client.subscribe(LDS)
        assert client.silent_for(1.0)
        both.igwd.wait_logged("edge-zz")
        # It is made by being named.
        both.add("test/svc/z", l4(both.world.ip(10), both.at(8009), gateway="edge-zz"))
        assert list(client.resources(client.next())) == ["test/svc/z.expose#0"]


def test_the_default_gateway_can_be_turned_off(lab):
    lab.world.backend(10)
    lab.add("test/svc/a", l4(lab.world.ip(10), lab.at(8000)))
    lab.add("test/svc/b", l4(lab.world.ip(10), lab.at(8001), gateway="edge-b"))
    address = "unix:" + lab.world.path("xds.sock")
    lab.igwd = lab.world.igwd(agent=lab.agent, gateway="none", xds=address + "=*")
    wait_until(lambda: clusters(address, cluster="edge-b") == B)
    with XdsClient(address, cluster="whatever", node_id="x") as client:
        client.subscribe(CDS)
        try:
            assert client.silent_for(1.0)
        except Ended as end:
            assert end.code == grpc.StatusCode.PERMISSION_DENIED
    lab.igwd.wait_logged("test/svc/a.expose#0", "gateway")


def test_another_name_of_the_default_gateway(lab):
    lab.world.backend(10)
    lab.add("test/svc/a", l4(lab.world.ip(10), lab.at(8000)))
    lab.add("test/svc/b", l4(lab.world.ip(10), lab.at(8001), gateway="envoy"))
    envoy = lab.up(igwd={"gateway": "edge-a"})
    envoy.wait_listeners(lab.at(8000) + "/tcp")
    wait_answer(lab.at(8000))


def test_envoys_over_a_unix_socket(lab):
    one = lab.world.backend(10)
    lab.add("test/svc/a", l4(one.address, lab.at(8000)))
    lab.add("test/svc/b", l4(one.address, lab.at(8001), gateway="edge-b"))
    address = "unix:" + lab.world.path("xds.sock")
    lab.igwd = lab.world.igwd(agent=lab.agent, xds=address)
    lab.world.envoy(lab.igwd).wait_live()
    lab.world.envoy(lab.igwd, gateway="edge-b").wait_live()
    wait_answer(lab.at(8000), backend="b10")
    wait_answer(lab.at(8001), backend="b10")
    # A socket that a killed daemon left behind is no obstacle.
    lab.igwd.restart(kill=True)
    lab.add("test/svc/c", l4(one.address, lab.at(8002)))
    wait_answer(lab.at(8002), timeout=40)


def test_secrets_go_only_to_gateways_that_refer_to_them(lab, ca):
    lab.world.backend(10)
    lab.agent.set_secret("test/sec/a", ca.issue("a.test").secret())
    lab.agent.set_secret("test/sec/b", ca.issue("b.test").secret())
    lab.add("test/svc/a", l7(lab.world.ip(10), lab.at(8443), "a.test", certificates={"front": "a"}))
    lab.add("test/svc/b", l7(lab.world.ip(10), lab.at(8443), "b.test", certificates={"front": "b"},
                             gateway="edge-b"))
    address = "unix:" + lab.world.path("xds.sock")
    lab.igwd = lab.world.igwd(agent=lab.agent, xds=address)
    for gateway, mine, others in (("envoy", "a", "b"), ("edge-b", "b", "a")):
        with Mirror(address, cluster=gateway) as mirror:
            wait_until(lambda: list(mirror.get(SDS)) == ["tls_certificate/test/sec/" + mine])
        for sotw in (False, True):
            with XdsClient(address, cluster=gateway, sotw=sotw) as client:
                client.subscribe(SDS, "tls_certificate/test/sec/" + others)
                try:
                    response = client.next(timeout=1)
                except AssertionError:
                    continue
                assert not client.resources(response), "another gateway's private key was given away"


def test_addresses_beyond_loopback_need_tls(world):
    igwd = Igwd(world, xds="0.0.0.0:50051")
    done = igwd.run("--xds", "0.0.0.0:50051", "--state", world.path("s"), "--check-config", check=False)
    assert done.returncode != 0 and "0.0.0.0:50051" in done.stderr


def test_beyond_loopback_the_client_certificate_names_the_gateways(lab, ca):
    lab.world.backend(10)
    lab.add("test/svc/a", l4(lab.world.ip(10), lab.at(8000)))
    lab.add("test/svc/b", l4(lab.world.ip(10), lab.at(8001), gateway="edge-b"))
    clients = CA("proxies")
    server = ca.issue("127.0.0.1")
    port = free_port("0.0.0.0")
    lab.igwd = lab.world.igwd(agent=lab.agent, xds="0.0.0.0:%d" % port, args=[
        "--xds-cert", lab.world.write("s.pem", server.chain),
        "--xds-key", lab.world.write("s.key", server.key, 0o600),
        "--xds-client-ca", lab.world.write("c.pem", clients.pem)])

    def credentials(certificate):
        return grpc.ssl_channel_credentials(ca.pem.encode(), certificate.key.encode(), certificate.chain.encode())

    def ask(certificate, gateway):
        with XdsClient("127.0.0.1:%d" % port, cluster=gateway, credentials=credentials(certificate)) as client:
            client.subscribe(CDS)
            return sorted(client.resources(client.next()))
    mine = clients.issue("edge-b", client=True)
    wait_until(lambda: ask(mine, "edge-b") == B)
    for certificate, gateway, code in ((mine, "envoy", grpc.StatusCode.PERMISSION_DENIED),
                                       (clients.issue("x", client=True), "edge-b", grpc.StatusCode.PERMISSION_DENIED),
                                       (CA("others").issue("edge-b", client=True), "edge-b",
                                        grpc.StatusCode.UNAVAILABLE)):
        with pytest.raises(Ended) as end:
            ask(certificate, gateway)
        assert end.value.code == code
    assert sorted(ask(clients.issue("edge-b", "envoy", client=True), "envoy")) == A


def test_an_envoy_talks_to_an_igwd_of_the_right_name_only(lab, ca):
    lab.world.backend(10)
    lab.add("test/svc/a", l4(lab.world.ip(10), lab.at(8000)))
    server, client = ca.issue("igwd.test"), ca.issue("envoy", client=True)
    address = "0.0.0.0:%d" % free_port("0.0.0.0")
    authority = ["--xds-client-ca", lab.world.write("ca.pem", ca.pem)]
    lab.igwd = lab.world.igwd(agent=lab.agent, xds=address, args=[
        "--xds-cert", lab.world.write("s.pem", server.chain),
        "--xds-key", lab.world.write("s.key", server.key, 0o600), *authority])
    own = ["--xds-cert", lab.world.write("c.pem", client.chain),
           "--xds-key", lab.world.write("c.key", client.key, 0o600), *authority]

    def envoy(name):
        return lab.world.envoy(lab.igwd, bootstrap=lab.igwd.bootstrap("127.0.0.1:9901", args=[
            *own, "--tls-name", name]))
    wrong = envoy("other.test")
    wait_until(lambda: wrong.stat("cluster.igwd-xds.ssl.fail_verify_san") > 0)
    assert wrong.dynamic_clusters() == {}
    right = envoy("igwd.test").wait_live()
    wait_answer(lab.at(8000), backend="b10")
    assert right.stat("cluster.igwd-xds.ssl.fail_verify_san") == 0


def test_a_gateway_that_nobody_names_any_more_keeps_answering(both):
    with Mirror(both.socket, cluster="edge-b") as mirror:
        wait_until(lambda: list(mirror.get(CDS)) == B)
        both.agent.remove_service("test/svc/b")
        wait_until(lambda: mirror.get(CDS) == {} and mirror.get(LDS) == {})
        both.add("test/svc/c", l4(both.world.ip(10), both.at(8001), gateway="edge-b"))
        wait_until(lambda: list(mirror.get(CDS)) == ["test/svc/c.expose#0"])
