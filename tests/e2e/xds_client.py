"""An xDS client that says and shows exactly what goes over the wire; where a real Envoy would hide it."""

import queue
import threading

import grpc
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.filters.udp.udp_proxy.v3 import udp_proxy_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from google.protobuf import json_format, struct_pb2
from google.rpc import status_pb2

from harness import LIMIT

# Imported so that json_format knows the types inside of Any.
KNOWN = (http_connection_manager_pb2, http_protocol_options_pb2, previous_hosts_pb2, router_pb2, tcp_proxy_pb2,
         tls_inspector_pb2, tls_pb2, udp_proxy_pb2)
PREFIX = "type.googleapis.com/"
CDS = PREFIX + "envoy.config.cluster.v3.Cluster"
EDS = PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = PREFIX + "envoy.config.listener.v3.Listener"
RDS = PREFIX + "envoy.config.route.v3.RouteConfiguration"
SDS = PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
MESSAGES = {CDS: cluster_pb2.Cluster, EDS: endpoint_pb2.ClusterLoadAssignment, LDS: listener_pb2.Listener,
            RDS: route_pb2.RouteConfiguration, SDS: secret_pb2.Secret}


class Ended(Exception):
    """The stream ended; code and details are gRPC's."""

    def __init__(self, code, details):
        super().__init__("%s: %s" % (code, details))
        self.code = code
        self.details = details


class XdsClient:
    """One ADS stream, incremental unless sotw. Nothing is acknowledged on its own, except by collect()."""

    def __init__(self, address, node_id="client", cluster="envoy", metadata=None, sotw=False, credentials=None):
        target = address if address.startswith("unix:") else "ipv4:" + address
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
                   ("grpc.use_local_subchannel_pool", 1)]
        self.channel = (grpc.secure_channel(target, credentials, options) if credentials
                        else grpc.insecure_channel(target, options))
        self.node = base_pb2.Node(id=node_id, cluster=cluster)
        if metadata:
            self.node.metadata.CopyFrom(json_format.ParseDict(metadata, struct_pb2.Struct()))
        self.sotw = sotw
        self.out = queue.Queue()
        self.responses = queue.Queue()
        self.call = self.stream(self.channel, iter(self.out.get, None))
        self.first = True
        threading.Thread(target=self._receive, daemon=True).start()

    def stream(self, channel, requests):
        stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
        return (stub.StreamAggregatedResources if self.sotw else stub.DeltaAggregatedResources)(requests)

    def _receive(self):
        try:
            for response in self.call:
                self.responses.put(response)
            self.responses.put(Ended(grpc.StatusCode.OK, ""))
        except grpc.RpcError as error:
            self.responses.put(Ended(error.code(), error.details()))

    def send(self, request):
        if self.first:
            request.node.CopyFrom(self.node)
            self.first = False
        self.out.put(request)

    def subscribe(self, kind, *names, versions=None):
        if self.sotw:
            self.send(discovery_pb2.DiscoveryRequest(type_url=kind, resource_names=names))
        else:
            self.send(discovery_pb2.DeltaDiscoveryRequest(type_url=kind, resource_names_subscribe=names,
                                                          initial_resource_versions=versions or {}))

    def ack(self, response, error=None, names=()):
        """Takes a response, or refuses it with words."""
        status = status_pb2.Status(code=3, message=error) if error else None
        if self.sotw:
            self.send(discovery_pb2.DiscoveryRequest(
                type_url=response.type_url, response_nonce=response.nonce, error_detail=status, resource_names=names,
                version_info="" if error else response.version_info))
        else:
            self.send(discovery_pb2.DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce,
                                                          error_detail=status))

    def next(self, timeout=None):
        """The next response; raises Ended at the end of the stream, AssertionError when none comes."""
        try:
            response = self.responses.get(timeout=LIMIT if timeout is None else timeout)
        except queue.Empty:
            raise AssertionError("no response came") from None
        if isinstance(response, Ended):
            self.responses.put(response)
            raise response
        return response

    def silent_for(self, seconds):
        """Whether nothing came."""
        try:
            response = self.responses.get(timeout=seconds)
        except queue.Empty:
            return True
        self.responses.put(response)
        return False

    def resources(self, response):
        """name -> decoded message."""
        found = {}
        for resource in response.resources:
            packed = resource if self.sotw else resource.resource
            message = MESSAGES[response.type_url].FromString(packed.value)
            found[name_of(message)] = message
        return found

    def close(self):
        self.out.put(None)
        self.call.cancel()
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def name_of(message):
    return message.cluster_name if isinstance(message, endpoint_pb2.ClusterLoadAssignment) else message.name


def as_json(message):
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


class Mirror:
    """Everything that a gateway serves, kept up to date over one incremental stream, as JSON by type and name."""

    def __init__(self, address, **options):
        self.client = XdsClient(address, **options)
        self.held = {kind: {} for kind in MESSAGES}
        self.versions = {kind: {} for kind in MESSAGES}
        self.lock = threading.Lock()
        self.asked = {RDS: set(), SDS: set(), EDS: set()}
        self.responses = []
        self.ended = self.failure = None
        for kind in (CDS, LDS):
            self.client.subscribe(kind)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while True:
            try:
                response = self.client.next(3600)
                found = {name: as_json(m) for name, m in self.client.resources(response).items()}
            except Ended as end:
                self.ended = end
                return
            except Exception as error:  # for whoever looks: a test that waits for more would wait in vain
                self.failure = error
                return
            with self.lock:
                self.responses.append((response.type_url, sorted(found), list(response.removed_resources)))
                held, versions = self.held[response.type_url], self.versions[response.type_url]
                held.update(found)
                versions.update({r.name: r.version for r in response.resources})
                for name in response.removed_resources:
                    held.pop(name, None)
                    versions.pop(name, None)
            self.client.ack(response)
            if response.type_url == CDS:
                self._ask(EDS, [n for n, c in found.items() if c.get("type") == "EDS"])
            elif response.type_url == LDS:
                for listener in found.values():
                    self._ask(RDS, list(find_all(listener, "route_config_name")))
                    self._ask(SDS, [c["name"] for c in find_all(listener, "tls_certificate_sds_secret_configs")
                                    if isinstance(c, dict)])

    def _ask(self, kind, names):
        new = [name for name in names if name not in self.asked[kind]]
        if new:
            self.asked[kind].update(new)
            self.client.subscribe(kind, *new)

    def get(self, kind, name=None):
        if self.failure:
            raise RuntimeError("the mirror stopped") from self.failure
        with self.lock:
            return dict(self.held[kind]) if name is None else self.held[kind].get(name)

    def endpoints(self, cluster):
        assignment = self.get(EDS, cluster)
        if assignment is None:
            return None
        return sorted("%s:%d" % (a["address"], a["port_value"]) for a in find_all(assignment, "socket_address"))

    def count(self):
        return len(self.responses)

    def close(self):
        self.client.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def find_all(value, key):
    """All values of that key, at any depth; the items of lists one by one."""
    if isinstance(value, dict):
        for k, v in value.items():
            if k == key:
                yield from v if isinstance(v, list) else [v]
            else:
                yield from find_all(v, key)
    elif isinstance(value, list):
        for item in value:
            yield from find_all(item, key)
