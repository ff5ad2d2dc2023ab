"""gRPC through a route: messages, streams, status and deadlines arrive, and a planned move fails no call."""

import collections
import concurrent.futures
import threading
import time

import grpc
import pytest

from certificates import CA
from declare import l7
from harness import SLOW, Load, wait_until
from test_failover import LATE

HTTP2 = {"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    "explicit_http_config": {"http2_protocol_options": {}}}}}
ECHO, COUNT, FAIL = "/test.Echo/Echo", "/test.Echo/Count", "/test.Echo/Fail"


class GrpcBackend(grpc.GenericRpcHandler):
    """Echo answers with its name and the message; Count with a message each 0.1 s, as many as it is told; Fail with a
    status. stop() is what a server does that is ended with care: no new connection, GOAWAY, calls may finish."""

    def __init__(self, address, name, port=8000):
        self.address, self.name, self.port = address, name, port
        self.server = None

    @property
    def endpoint(self):
        return "%s:%d" % (self.address, self.port)

    def start(self):
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), handlers=[self],
                                  options=[("grpc.so_reuseport", 0)])
        assert self.server.add_insecure_port(self.endpoint) == self.port
        self.server.start()
        return self

    def stop(self):
        if self.server:
            self.server.stop(grace=30)
            self.server = None

    def service(self, handler_call_details):
        if handler_call_details.method.startswith(COUNT):
            return grpc.unary_stream_rpc_method_handler(self.count)
        return grpc.unary_unary_rpc_method_handler(self.fail if handler_call_details.method == FAIL else self.echo)

    def echo(self, request, context):
        context.set_trailing_metadata((("x-served-by", self.name),))
        return self.name.encode() + b" " + request

    def count(self, request, context):
        for i in range(int(request)):
            yield b"%s %d" % (self.name.encode(), i)
            time.sleep(0.1)

    def fail(self, request, context):
        context.abort(grpc.StatusCode.NOT_FOUND, request.decode())


class GrpcLoad(Load):
    """Unary calls, one after the other of each worker, all on one connection."""

    def __init__(self, address, host, **options):
        super().__init__(address, "grpc", host=host, **options)
        self.channel = channel(address, host)

    def _one(self, kept):
        return None, self.channel.unary_unary(ECHO)(b"load", timeout=self.timeout).split()[0].decode()

    def stop(self):
        super().stop()
        self.channel.close()
        return self


def channel(address, host, ca=None):
    options = [("grpc.default_authority", host), ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    if not ca:
        return grpc.insecure_channel(address, options)
    credentials = grpc.ssl_channel_credentials(ca.pem.encode() if isinstance(ca.pem, str) else ca.pem)
    return grpc.secure_channel(address, credentials, options + [("grpc.ssl_target_name_override", host)])


def wait_served(calls, by=None):
    def look():
        answer = calls.unary_unary(ECHO)(b"?", timeout=5 * SLOW)
        assert not by or answer.startswith(by.encode())
        return answer

    def try_it():
        try:
            return look()
        except grpc.RpcError as error:
            raise ConnectionError(error.details()) from error
    return wait_until(try_it)


def code_of(call):
    with pytest.raises(grpc.RpcError) as failed:
        call()
    return failed.value.code(), failed.value.details()


def backends_on(lab, nodes=("n1", "n2", "n3")):
    return {node: lab.world.add(GrpcBackend(lab.world.ip(10 + i), "g%d" % (10 + i)).start())
            for i, node in enumerate(nodes)}


def declare(lab, backends, routes=None, certificates=None, **options):
    lab.add("test/svc/grpc", l7({node: b.address for node, b in backends.items()}, lab.at(8000), "grpc.test", routes,
                                certificates, cluster_data=HTTP2), **options)


def test_calls_streams_and_status_arrive(lab, sotw):
    ca = CA()
    lab.agent.set_secret("test/sec/grpc", ca.issue("grpc.test").secret())
    declare(lab, backends_on(lab, ["n1"]), certificates={"front": "grpc"})
    lab.up(sotw)
    with channel(lab.at(8000), "grpc.test", ca) as calls:
        assert wait_served(calls) == b"g10 ?"
        answer, call = calls.unary_unary(ECHO).with_call(b"x" * 100000)
        assert answer == b"g10 " + b"x" * 100000 and ("x-served-by", "g10") in call.trailing_metadata()
        assert list(calls.unary_stream(COUNT)(b"3")) == [b"g10 0", b"g10 1", b"g10 2"]
        assert code_of(lambda: calls.unary_unary(FAIL)(b"no such thing")) == (
            grpc.StatusCode.NOT_FOUND, "no such thing")
        assert code_of(lambda: list(calls.unary_stream(COUNT)(b"100", timeout=0.3)))[0] == \
            grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_stream_is_as_long_as_its_routes_timeout_lets_it(lab):
    declare(lab, backends_on(lab, ["n1"]), [{"match_path": COUNT, "route_timeout": "0"},
                                            {"match_prefix": "/", "route_timeout": "0.5"}])
    lab.up()
    with channel(lab.at(8000), "grpc.test") as calls:
        wait_served(calls)
        assert len(list(calls.unary_stream(COUNT)(b"12"))) == 12
        with pytest.raises(grpc.RpcError):
            list(calls.unary_stream(COUNT + "More")(b"12"))


def test_calls_and_streams_go_on_when_their_service_moves(lab, sotw):
    """The orchestrator tells that an instance is to stop before it stops: nothing new goes there from then on, and
    what has begun there may end."""
    backends = backends_on(lab)
    backends["n3"].stop()
    declare(lab, backends, started=["n1", "n2"])
    envoy = lab.up(sotw)
    cluster = "test/svc/grpc.expose#0"
    envoy.wait_endpoints(cluster, [backends["n1"].endpoint, backends["n2"].endpoint])
    with channel(lab.at(8000), "grpc.test") as calls:
        wait_served(calls)
    counted = collections.Counter()

    def follow():
        with channel(lab.at(8000), "grpc.test") as calls:
            answers = list(calls.unary_stream(COUNT)(b"30"))
        counted[answers[0].split()[0], len(answers)] += 1
    watchers = [threading.Thread(target=follow, daemon=True) for _ in range(8)]
    with GrpcLoad(lab.at(8000), "grpc.test", pause=0.005) as load:
        for watcher in watchers:
            watcher.start()
        load.wait_answered(50)
        lab.agent.stop_instance("test/svc/grpc", "n1", late=LATE, on_down=backends["n1"].stop, announced=0.5)
        lab.agent.start_instance("test/svc/grpc", "n3", on_up=backends["n3"].start)
        envoy.wait_endpoints(cluster, [backends["n2"].endpoint, backends["n3"].endpoint])
        wait_until(lambda: load.by["g12"] > 10)
        for watcher in watchers:
            watcher.join(30 * SLOW)
    load.assert_clean(100)
    assert set(counted) == {(b"g10", 30), (b"g11", 30)} and sum(counted.values()) == 8, "streams were cut"
