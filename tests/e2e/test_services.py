"""The discovery services as a client sees them on the wire: single ones, wrong requests, and the protocol's fine
print, with a real gRPC client."""

import grpc
import pytest
from envoy.service.cluster.v3 import cds_pb2_grpc
from envoy.service.discovery.v3 import ads_pb2, discovery_pb2
from envoy.service.endpoint.v3 import eds_pb2_grpc
from envoy.service.listener.v3 import lds_pb2_grpc
from envoy.service.route.v3 import rds_pb2_grpc
from envoy.service.secret.v3 import sds_pb2_grpc

from declare import l4, l7
from harness import wait_until
from xds_client import CDS, EDS, LDS, RDS, SDS, Ended, Mirror, XdsClient

STUBS = {CDS: (cds_pb2_grpc.ClusterDiscoveryServiceStub, "Clusters"),
         EDS: (eds_pb2_grpc.EndpointDiscoveryServiceStub, "Endpoints"),
         LDS: (lds_pb2_grpc.ListenerDiscoveryServiceStub, "Listeners"),
         RDS: (rds_pb2_grpc.RouteDiscoveryServiceStub, "Routes"),
         SDS: (sds_pb2_grpc.SecretDiscoveryServiceStub, "Secrets")}
INVALID = grpc.StatusCode.INVALID_ARGUMENT
KINDS = pytest.mark.parametrize("kind", list(STUBS), ids=["cds", "eds", "lds", "rds", "sds"])


@pytest.fixture
def served(lab, ca):
    """Something of every type; lab.names has the resources by type."""
    lab.agent.set_secret("test/sec/web", ca.issue("web.test").secret())
    lab.world.backend(10)
    lab.add("test/svc/web", l7(lab.world.ip(10), lab.at(8443), "web.test", certificates={"front": "web"}))
    lab.add("test/svc/tcp", l4(lab.world.ip(10), lab.at(8000)))
    lab.igwd = lab.world.igwd(agent=lab.agent)
    with Mirror(lab.igwd.xds[0]) as mirror:
        wait_until(lambda: len(mirror.get(LDS)) == 2 and mirror.get(SDS) and len(mirror.get(EDS)) == 2
                   and mirror.get(RDS))
        lab.names = {kind: sorted(mirror.get(kind)) for kind in STUBS}
    return lab


class Single(XdsClient):
    """A stream of a single service."""

    def __init__(self, address, kind, sotw):
        self.kind = kind
        super().__init__(address, sotw=sotw)

    def stream(self, channel, requests):
        stub, plural = STUBS[self.kind]
        return getattr(stub(channel), ("Stream" if self.sotw else "Delta") + plural)(requests)


@KINDS
def test_single_services_serve_their_type(served, kind, sotw):
    lab = served
    with Single(lab.igwd.xds[0], kind, sotw) as client:
        client.subscribe(kind, *([] if kind in (CDS, LDS) else lab.names[kind]))
        response = client.next()
        assert response.type_url == kind
        assert sorted(client.resources(response)) == lab.names[kind]
        client.ack(response, names=lab.names[kind] if kind not in (CDS, LDS) else ())
        if kind == EDS:
            lab.agent.resource_down("test/svc/tcp", "n1")
            changed = client.resources(client.next())
            assert list(changed) == ["test/svc/tcp.expose#0"]


@KINDS
def test_a_type_that_does_not_fit_a_single_service_ends_its_stream(served, kind, sotw):
    other = EDS if kind != EDS else CDS
    with Single(served.igwd.xds[0], kind, sotw) as client:
        client.subscribe(other, "x")
        with pytest.raises(Ended) as end:
            client.next()
    assert end.value.code == grpc.StatusCode.INVALID_ARGUMENT


def test_unary_and_unknown_methods_are_unimplemented(served):
    channel = grpc.insecure_channel("ipv4:" + served.igwd.xds[0])
    fetch = [getattr(stub(channel), "Fetch" + plural) for stub, plural in STUBS.values()
             if hasattr(stub(channel), "Fetch" + plural)]
    unknown = channel.unary_unary("/no.such.Service/Method", request_serializer=lambda x: x,
                                  response_deserializer=lambda x: x)
    for call in fetch:
        with pytest.raises(grpc.RpcError) as error:
            call(discovery_pb2.DiscoveryRequest(), timeout=20)
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError) as error:
        unknown(b"", timeout=20)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert len(fetch) == 5
    channel.close()


def test_an_unknown_type_gets_nothing_and_disturbs_nobody(served, sotw):
    with XdsClient(served.igwd.xds[0], sotw=sotw) as client:
        client.subscribe("type.googleapis.com/envoy.config.nonsense.v3.Nothing", "x")
        assert client.silent_for(0.3)
        client.subscribe(CDS)
        assert sorted(client.resources(client.next())) == served.names[CDS]
        client.subscribe("type.googleapis.com/envoy.service.runtime.v3.Runtime", "y")
        client.subscribe(LDS)
        assert client.next().type_url == LDS


def raw_stream(lab, requests):
    channel = grpc.insecure_channel("ipv4:" + lab.igwd.xds[0])
    call = channel.stream_stream("/%s/DeltaAggregatedResources" % ads_pb2.DESCRIPTOR.services_by_name[
        "AggregatedDiscoveryService"].full_name, request_serializer=lambda x: x, response_deserializer=lambda x: x)
    return channel, call(iter(requests), timeout=20)


def nested(depth):
    """node { metadata { fields { "a": { struct_value { ... } } } } }, that deep."""
    def field(number, data):
        size, length = len(data), b""
        while size > 127:
            length += bytes([size & 127 | 128])
            size >>= 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + data
    struct = b""
    for _ in range(depth):
        struct = field(1, field(1, b"a") + field(2, field(5, struct)))
    return field(1, field(3, struct))


@pytest.mark.sanitized
@pytest.mark.parametrize("data, code", [
    (b"\xff" * 100, INVALID), (b"\x0a\xff\xff\xff\xff\x0f", INVALID), (b"\x0a", INVALID), (5000, None),
    (15000, None), (b"\x08\x01" * 1000, None),
], ids=["ff", "too long", "cut", "nested", "nested deeper", "wrong types"])
def test_requests_that_are_no_requests_end_at_most_their_own_stream(served, data, code):
    data = nested(data) if isinstance(data, int) else data
    with Mirror(served.igwd.xds[0]) as mirror:
        wait_until(lambda: sorted(mirror.get(CDS)) == served.names[CDS])
        channel, call = raw_stream(served, [data])
        # The client says no more than this: the stream ends one way or the other, without an answer.
        with pytest.raises((grpc.RpcError, StopIteration)) as end:
            next(call)
        if code:
            assert end.value.code() == code
        channel.close()
        served.agent.resource_down("test/svc/tcp", "n1")
        wait_until(lambda: mirror.endpoints("test/svc/tcp.expose#0") == [])
    assert served.igwd.running()


def test_a_request_above_the_limit_is_refused(served):
    huge = discovery_pb2.DeltaDiscoveryRequest(type_url=CDS, resource_names_subscribe=["x" * (20 << 20)])
    channel = grpc.insecure_channel("ipv4:" + served.igwd.xds[0], options=[("grpc.max_send_message_length", -1)])
    call = channel.stream_stream("/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
                                 request_serializer=lambda x: x, response_deserializer=lambda x: x)
    with pytest.raises(grpc.RpcError) as error:
        next(call(iter([huge.SerializeToString()]), timeout=20))
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    channel.close()


def test_what_a_client_holds_already_is_not_sent_again(served):
    with Mirror(served.igwd.xds[0]) as mirror:
        wait_until(lambda: len(mirror.get(EDS)) == 2)
        versions = {kind: dict(found) for kind, found in mirror.versions.items()}
    with XdsClient(served.igwd.xds[0]) as client:
        client.subscribe(CDS, "*", versions={**versions[CDS], "gone": "1"})
        response = client.next()
        assert not response.resources and list(response.removed_resources) == ["gone"]
        client.ack(response)
        client.subscribe(EDS, *served.names[EDS], versions=versions[EDS])
        assert client.silent_for(0.3)
        # Asked for again, it is sent again.
        client.subscribe(EDS, served.names[EDS][0])
        assert list(client.resources(client.next())) == served.names[EDS][:1]


def test_sotw_a_client_that_comes_back_with_the_version_is_sent_nothing(served):
    with XdsClient(served.igwd.xds[0], sotw=True) as client:
        client.subscribe(CDS)
        version = client.next().version_info
        assert version
    with XdsClient(served.igwd.xds[0], sotw=True) as client:
        client.send(discovery_pb2.DiscoveryRequest(type_url=CDS, version_info=version))
        assert client.silent_for(0.5)
        served.agent.set_keywords("test/svc/tcp", {"expose#0.lb_policy": "random"})
        response = client.next()
        assert response.version_info != version and sorted(client.resources(response)) == served.names[CDS]
    with XdsClient(served.igwd.xds[0], sotw=True) as client:
        client.send(discovery_pb2.DiscoveryRequest(type_url=CDS, version_info=version))
        assert client.next().version_info == response.version_info


def test_an_absent_name_is_declared_absent_and_sent_when_it_appears(served):
    name = "test/svc/late.expose#0"
    with XdsClient(served.igwd.xds[0]) as client:
        client.subscribe(EDS, name)
        response = client.next()
        assert list(response.removed_resources) == [name] and not response.resources
        client.ack(response)
        served.add("test/svc/late", l4(served.world.ip(10), served.at(8005)))
        assert list(client.resources(client.next())) == [name]


def test_sotw_names_that_do_not_exist_get_nothing_until_they_do(served):
    name = "test/svc/late.expose#0"
    with XdsClient(served.igwd.xds[0], sotw=True) as client:
        client.subscribe(EDS, name)
        assert client.silent_for(0.3)
        served.add("test/svc/late", l4(served.world.ip(10), served.at(8005)))
        assert list(client.resources(client.next())) == [name]


def test_two_streams_of_one_node_live_side_by_side(served):
    """As during a hot restart of Envoy."""
    with XdsClient(served.igwd.xds[0], node_id="twin") as old, XdsClient(served.igwd.xds[0], node_id="twin") as new:
        for client in (old, new):
            client.subscribe(CDS)
            client.ack(client.next())
            client.subscribe(EDS, *served.names[EDS])
            client.ack(client.next())
        served.agent.resource_down("test/svc/tcp", "n1")
        for client in (old, new):
            assert list(client.resources(client.next())) == ["test/svc/tcp.expose#0"]


def test_ten_thousand_clusters_in_one_response(lab):
    """gRPC's limits are set on purpose: by default 4 MiB would be too much."""
    lab.agent.generate(10000, 1, listener_addr=lab.world.ip(1), namespace="n" * 400)
    lab.igwd = lab.world.igwd(agent=lab.agent)
    with XdsClient(lab.igwd.xds[0], sotw=True) as client:
        client.subscribe(CDS)
        response = client.next()
        count, size = len(response.resources), response.ByteSize()
        assert count == 10000 and size > 4 << 20
