"""What translation makes, held against the real Envoy's --mode validate, resource kind by resource kind.

Envoy takes a static configuration apart as it does what comes over xDS. Each world is tried twice: as it is, with all
references going to an ADS that nobody serves; and with assignments, routes and secrets put in the place of what refers
to them, which has Envoy load them too; then once more as igwd itself puts it together for dry runs, with dummies for
all secrets.
"""

import copy
import json
import subprocess

import pytest

from harness import BUILD, validate

TOOL = BUILD / "tools" / "translate_tool"


def run_tool(*arguments, text=None):
    done = subprocess.run([str(TOOL), *arguments], input=text, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def translate(document):
    """(resources by kind of the gateway "envoy", faults, everything)."""
    result = run_tool("resources", text=json.dumps(document))
    return result["envoy"], result["faults"], result


def bootstrap(**options):
    return run_tool("bootstrap", *("%s=%s" % pair for pair in options.items()))


def walk(value):
    """Every object in a JSON value, outer ones first."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(item)


def as_it_is(resources):
    config = bootstrap()
    config["static_resources"]["clusters"] += resources["cluster"]
    config["static_resources"]["listeners"] = resources["listener"]
    return config


def put_together(resources):
    resources = copy.deepcopy(resources)
    assignments = {a["cluster_name"]: a for a in resources["endpoint"]}
    routes = {r["name"]: r for r in resources["route"]}
    for cluster in resources["cluster"]:
        if cluster.pop("eds_cluster_config", None):
            cluster["type"] = "STATIC"
            cluster["load_assignment"] = assignments.pop(cluster["name"])
    for item in walk(resources):
        if "rds" in item:
            item["route_config"] = routes.pop(item.pop("rds")["route_config_name"])
        if "sds_config" in item:
            assert item.pop("sds_config") == {"ads": {}, "resource_api_version": "V3"}
    assert not assignments and not routes, "resources that nothing refers to"
    config = as_it_is(resources)
    config["static_resources"]["secrets"] = resources["secret"]
    return config


def trial(document):
    """The form of dry runs: complete, and without anybody's secret."""
    text = json.dumps(document)
    config = run_tool("trial", text=text)
    assert config is not None
    for secret in document.get("secrets", {}).values():
        for name in ("private_key", "certificate_chain", "trusted_ca"):
            assert json.dumps(secret.get(name) or "[none]")[1:-1] not in json.dumps(config), name
    left = {"rds", "eds_cluster_config", "sds_config", "password"}
    assert not [item for item in walk(config["static_resources"]) if left & set(item)]
    return config


def accepted(document, world, faults=()):
    """All forms pass in Envoy, and translation told of just those faults: (exposure, part of field or text)."""
    resources, told, _ = translate(document)
    for config in (as_it_is(resources), put_together(resources), trial(document)):
        words = validate(config, world)
        assert words is None, "%s\n%s" % (words, json.dumps(config, indent=1))
    assert len(told) == len(faults), told
    for (owner, field, text), (expected, part) in zip(told, faults):
        assert owner == expected and (part in field or part in text), (owner, field, text)
    return resources


def service(resources, *exposes, addresses=("192.0.2.1", "192.0.2.2")):
    exposes = exposes or [rid for rid in resources if rid.startswith("expose#")]
    return {"resources": resources,
            "addresses": [{"address": a, "rid": "ip#%d" % i, "exposes": exposes} for i, a in enumerate(addresses)]}


def world_of(**services):
    return {"services": {"test/svc/" + name: s for name, s in services.items()}}


def only(items):
    assert len(items) == 1, items
    return items[0]


def filter_of(listener, chain=0):
    return listener["filter_chains"][chain]["filters"][0]["typed_config"]


# ---- bootstraps --------------------------------------------------------------------------------

@pytest.mark.parametrize("options", [
    {}, {"sotw": 1}, {"xds": "unix:/run/igwd/xds.sock", "admin": "unix:admin.sock"}, {"xds": "[::1]:50051"},
    {"xds": "igwd.example:50051", "gateway": "edge", "node_id": "node1", "node_cluster": "c1"}])
def test_envoy_takes_the_bootstrap_as_it_is(world, options):
    config = bootstrap(**options)
    assert validate(config, world) is None


def test_envoy_takes_the_bootstrap_with_certificates(world, ca):
    client = ca.issue("edge", client=True)
    files = {"ca_file": world.write("ca.pem", ca.pem), "certificate_file": world.write("client.pem", client.chain),
             "key_file": world.write("client.key", client.key)}
    assert validate(bootstrap(xds="192.0.2.1:50051", **files), world) is None


def test_a_regex_as_large_as_the_limit_passes_with_the_bootstrap_only(world):
    document = world_of(web=service({"expose#0": {"port": 80, "vhosts": ["vhost#0"]},
                                     "vhost#0": {"domains": ["a.example"], "routes": ["route#0"]},
                                     "route#0": {"match_regex": "/[a-z0-9-]{1,120}/x"}}))
    resources = accepted(document, world)
    config = put_together(resources)
    del config["layered_runtime"]
    assert "regex" in validate(config, world)


# ---- L4 ----------------------------------------------------------------------------------------

def test_l4_of_each_lb_policy(world):
    policies = ["round robin", "least_request", "ring_hash", "random", "maglev", "original_dst_lb"]
    document = world_of(**{"s%d" % i: service({"expose#0": {"port": 80, "listener_port": 8000 + i, "lb_policy": p}})
                           for i, p in enumerate(policies)})
    resources = accepted(document, world)
    assert [c.get("lb_policy", "ROUND_ROBIN") for c in resources["cluster"]] == [
        "ROUND_ROBIN", "LEAST_REQUEST", "RING_HASH", "RANDOM", "MAGLEV", "CLUSTER_PROVIDED"]
    assert [bool(filter_of(listener).get("hash_policy")) for listener in resources["listener"]] == [
        False, False, True, False, True, False]
    assert len(resources["endpoint"]) == 5
    assert "health_checks" not in resources["cluster"][5]


def test_l4_over_ipv6(world):
    resources = accepted(world_of(web=service({"expose#0": {"port": 80, "listener_addr": "::"}},
                                              addresses=["2001:db8::1"])), world)
    assert only(resources["listener"])["name"] == "[::]:80/tcp"


@pytest.mark.parametrize("policy", ["round robin", "maglev"])
def test_udp(world, policy):
    resources = accepted(world_of(dns=service({"expose#0": {"port": 53, "listener_port": 5353, "protocol": "udp",
                                                            "lb_policy": policy}})), world)
    listener = only(resources["listener"])
    assert listener["name"] == "0.0.0.0:5353/udp"
    assert listener["address"]["socket_address"]["protocol"] == "UDP"
    assert "health_checks" not in only(resources["cluster"])
    config = only(listener["listener_filters"])["typed_config"]
    assert bool(config.get("hash_policies")) == (policy == "maglev")


def test_a_service_without_endpoints_up(world):
    s = service({"expose#0": {"port": 80}})
    for address in s["addresses"]:
        address["up"] = False
    resources = accepted(world_of(web=s), world)
    assert "endpoints" not in only(resources["endpoint"])


# ---- TLS ---------------------------------------------------------------------------------------

def certificates(ca, world):
    pair, inner = ca.issue("a.example", "b.example"), ca.issue("c.example", password="secret")
    return {
        "secrets": {"test/sec/pair": pair.secret(), "test/sec/locked": inner.secret(),
                    "test/sec/trust": {"trusted_ca": ca.pem, "verify_certificate_hash": inner.fingerprint}},
        "certificate#secret": {"certificate_secret": "pair"},
        "certificate#locked": {"certificate_secret": "locked"},
        "certificate#file": {"certificate_chain_filename": world.write("chain.pem", pair.chain),
                             "private_key_filename": world.write("key.pem", pair.key)},
        "certificate#inline": {"certificate_chain_inline_string": pair.chain,
                               "private_key_inline_string": pair.key},
        "certificate#client": {"certificate_secret": "pair", "validation_secret": "trust"},
        "certificate#trust": {"validation_secret": "trust"},
    }


@pytest.mark.parametrize("kind", ["secret", "locked", "file", "inline", "client"])
@pytest.mark.parametrize("layer", ["l4", "l7"])
def test_tls_that_ends_at_the_gateway(world, ca, kind, layer):
    made = certificates(ca, world)
    rid = "certificate#" + kind
    more = {"sni": ["a.example"]} if layer == "l4" else {"vhosts": ["vhost#0"]}
    document = world_of(web=service({"expose#0": {"port": 443, "listener_certificates": [rid], **more},
                                     "vhost#0": {"domains": ["a.example"]}, rid: made[rid]}))
    document["secrets"] = made["secrets"]
    resources = accepted(document, world)
    listener = only(resources["listener"])
    chain = only(listener["filter_chains"])
    assert chain["filter_chain_match"]["server_names"] == ["a.example"]
    assert "tls_inspector" in only(listener["listener_filters"])["name"]
    assert listener["continue_on_listener_filters_timeout"] and listener["listener_filters_timeout"] == "1s"
    context = chain["transport_socket"]["typed_config"]
    assert context.get("require_client_certificate", False) == (kind == "client")
    common = context["common_tls_context"]
    assert common.get("alpn_protocols") == (["h2", "http/1.1"] if layer == "l7" else None)
    assert common["tls_params"]["tls_minimum_protocol_version"] == "TLSv1_2"
    assert sorted(s["name"] for s in resources["secret"]) == sorted(
        ["tls_certificate/test/sec/" + {"secret": "pair", "client": "pair", "locked": "locked"}[kind]]
        if kind in ("secret", "client", "locked") else ["tls_certificate/test/svc/web." + rid]) + (
            ["validation_context/test/sec/trust"] if kind == "client" else [])


@pytest.mark.parametrize("kind", ["secret", "file", "inline", "client", "trust"])
@pytest.mark.parametrize("layer", ["l4", "l7"])
def test_tls_towards_the_endpoints(world, ca, kind, layer):
    made = certificates(ca, world)
    rid = "certificate#" + kind
    document = world_of(web=service({"expose#0": {"port": 443, "listener_port": 80, "cluster_certificates": [rid],
                                                  **({"vhosts": ["vhost#0"]} if layer == "l7" else {})},
                                     "vhost#0": {"domains": ["a.example"]}, rid: made[rid]}))
    document["secrets"] = made["secrets"]
    resources = accepted(document, world)
    tls = only(resources["cluster"])["transport_socket"]["typed_config"]
    context = tls["common_tls_context"]
    options = only(resources["cluster"]).get("typed_extension_protocol_options", {})
    assert ("sni" in tls, "auto_sni" in json.dumps(options)) == (layer == "l7", layer == "l7")
    assert ("tls_certificate_sds_secret_configs" in context) == (kind != "trust")
    assert ("validation_context_sds_secret_config" in context) == (kind in ("client", "trust"))


def test_a_key_file_of_the_exposure_goes_with_its_cluster_certificate(world, ca):
    made = certificates(ca, world)["certificate#file"]
    key = made.pop("private_key_filename")
    resources = accepted(world_of(web=service({
        "expose#0": {"port": 443, "listener_port": 80, "cluster_certificates": ["certificate#0"],
                     "cluster_private_key_filename": key}, "certificate#0": made})), world)
    assert only(resources["secret"])["tls_certificate"]["private_key"] == {"filename": key}


def test_a_cluster_whose_secret_is_missing_has_no_endpoints_and_speaks_no_plaintext(world):
    document = world_of(web=service({
        "expose#0": {"port": 443, "listener_port": 80, "cluster_certificates": ["certificate#0"]},
        "certificate#0": {"certificate_secret": "missing"}}))
    resources = accepted(document, world)  # it is no fault of the translation's: the verdict has said so
    code, field, text = only(translate(document)[2]["verdicts"]["test/svc/web.expose#0"])
    assert (code, field) == ("unready", "certificate#0.certificate_secret") and "missing" in text
    assert only(resources["cluster"]) == {"name": "test/svc/web.expose#0", "type": "STATIC"}
    assert resources["endpoint"] == []


# ---- L7 ----------------------------------------------------------------------------------------

ROUTES = {
    "path": {"match_path": "/exact"},
    "prefix": {"match_prefix": "/p", "match_case_sensitive": "false"},
    "regex": {"match_regex": "/r/[0-9]+", "match_case_sensitive": False},
    "rewrite": {"match_prefix": "/rw", "route_prefix_rewrite": "/", "route_host_rewrite": "inner.example"},
    "timeout": {"match_prefix": "/t", "route_timeout": "2m"},
    "forever": {"match_prefix": "/f", "route_timeout": 0},
    "websocket": {"match_prefix": "/ws", "route_use_websocket": True},
    "plain": {"match_prefix": "/http", "route_use_websocket": False},
    "https": {"match_prefix": "/s", "redirect_https_redirect": True, "redirect_strip_query": False},
    "host": {"match_prefix": "/h", "redirect_host_redirect": "other.example", "redirect_response_code": 302},
    "to-path": {"match_prefix": "/tp", "redirect_path_redirect": "/elsewhere", "redirect_response_code": 303,
                "redirect_strip_query": True},
    "to-prefix": {"match_prefix": "/tx", "redirect_prefix_rewrite": "/y", "redirect_response_code": 307},
    "permanent": {"match_prefix": "/pm", "redirect_host_redirect": "o.example", "redirect_response_code": 308},
    "hashed": {"match_prefix": "/hash", "hash_policies": ["hashpolicy#0", "hashpolicy#1", "hashpolicy#2"]},
}


def test_routes_of_each_kind(world):
    names = {name: "route#%d" % i for i, name in enumerate(ROUTES)}
    document = world_of(web=service({
        "expose#0": {"port": 80, "vhosts": ["vhost#0", "vhost#1"], "lb_policy": "ring_hash"},
        "vhost#0": {"domains": ["a.example", "*.b.example"], "routes": list(names.values())},
        "vhost#1": {"domains": ["c.example"]},
        "hashpolicy#0": {"cookie_name": "session", "cookie_path": "/", "cookie_ttl": 3600, "terminal": True},
        "hashpolicy#1": {"header_header_name": "x-user"}, "hashpolicy#2": {"connection_source_ip": True},
        **{names[n]: r for n, r in ROUTES.items()}}))
    resources = accepted(document, world)
    config = only(resources["route"])
    assert config["ignore_port_in_host_matching"]
    hosts = {tuple(v["domains"]): v for v in config["virtual_hosts"]}
    routes = {r["match"].get("prefix", "path or regex"): r for r in hosts[("*.b.example", "a.example")]["routes"]}
    assert routes["/s"]["redirect"]["https_redirect"]
    assert routes["/h"]["redirect"] == {"host_redirect": "other.example", "response_code": "FOUND"}
    assert routes["/tp"]["redirect"] == {"path_redirect": "/elsewhere", "response_code": "SEE_OTHER",
                                         "strip_query": True}
    assert routes["/tx"]["redirect"] == {"prefix_rewrite": "/y", "response_code": "TEMPORARY_REDIRECT"}
    assert routes["/f"]["route"]["timeout"] == "0s" and routes["/t"]["route"]["timeout"] == "120s"
    assert routes["/http"]["route"]["upgrade_configs"] == [{"upgrade_type": "websocket", "enabled": False}]
    assert routes["/hash"]["route"]["hash_policy"] == [
        {"cookie": {"name": "session", "path": "/", "ttl": "3600s"}, "terminal": True},
        {"header": {"header_name": "x-user"}}, {"connection_properties": {"source_ip": True}}]
    assert only(hosts[("c.example",)]["routes"])["match"] == {"prefix": "/"}
    retries = hosts[("c.example",)]["retry_policy"]
    assert retries["retry_on"] == "connect-failure,refused-stream" and retries["num_retries"] == 2


def test_hosts_that_are_not_served_on_a_tls_chain_get_421_where_there_are_several_chains(world, ca):
    made = certificates(ca, world)
    document = world_of(web=service({"expose#0": {"port": 443, "vhosts": ["vhost#0"],
                                                  "listener_certificates": ["certificate#0"]},
                                     "vhost#0": {"domains": ["a.example"]},
                                     "certificate#0": made["certificate#secret"]}))
    document["secrets"] = made["secrets"]
    alone = only(accepted(document, world)["route"])
    assert [v["domains"] for v in alone["virtual_hosts"]] == [["a.example"]]
    document["services"]["test/svc/other"] = service({"expose#0": {"port": 443, "sni": ["x.example"]}})
    shared = only(accepted(document, world)["route"])
    last = shared["virtual_hosts"][-1]
    assert last["domains"] == ["*"] and only(last["routes"])["direct_response"] == {"status": 421}


def test_route_cluster_header_is_answered_503_unless_the_gateway_allows_it(world):
    document = world_of(web=service({"expose#0": {"port": 80, "vhosts": ["vhost#0"]},
                                     "vhost#0": {"domains": ["a.example"], "routes": ["route#0"]},
                                     "route#0": {"route_cluster_header": "x-cluster"}}))
    _, _, result = translate(document)
    assert "not_allowed" in json.dumps(result["verdicts"])
    document["gateways"] = {"envoy": {"allow_cluster_header": True}}
    route = only(only(only(accepted(document, world)["route"])["virtual_hosts"])["routes"])
    assert route["route"] == {"cluster_header": "x-cluster"}


# ---- passed-through JSON -----------------------------------------------------------------------

def test_a_cluster_starts_from_cluster_data_and_keeps_what_is_ours(world):
    data = {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "mine", "connectTimeout": "3s",
            "type": "STRICT_DNS", "load_assignment": {"cluster_name": "x"}, "health_checks": [],
            "outlier_detection": {"consecutive_5xx": 3}, "lb_policy": "RANDOM",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}}}}
    cluster = only(accepted(world_of(web=service({"expose#0": {"port": 80, "cluster_data": data}})), world)["cluster"])
    assert cluster["name"] == "test/svc/web.expose#0" and cluster["type"] == "EDS"
    assert cluster["connect_timeout"] == "3s" and cluster["lb_policy"] == "RANDOM"
    assert "load_assignment" not in cluster and "health_checks" not in cluster
    assert cluster["outlier_detection"] == {"consecutive_5xx": 3} and "circuit_breakers" in cluster


def test_filters_start_from_filter_config_data_and_keep_what_is_ours(world):
    cors = {"name": "cors", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"}}
    resources = accepted(world_of(
        tcp=service({"expose#0": {"port": 1, "listener_port": 8001, "filter_config_data": {
            "stat_prefix": "x", "cluster": "mine", "idle_timeout": "5s", "max_connect_attempts": 2}}}),
        http=service({"expose#0": {"port": 1, "listener_port": 8002, "vhosts": ["vhost#0"], "filter_config_data": {
            "httpFilters": [cors], "server_name": "gw", "use_remote_address": False,
            "route_config": {"name": "mine"}}}, "vhost#0": {"domains": ["a.example"]}}),
        udp=service({"expose#0": {"port": 1, "listener_port": 8003, "protocol": "udp", "filter_config_data": {
            "stat_prefix": "x", "idle_timeout": "5s"}}})), world)
    tcp, http, udp = resources["listener"]
    assert filter_of(tcp) == {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "cluster": "test/svc/tcp.expose#0", "stat_prefix": "test/svc/tcp.expose#0", "idle_timeout": "5s",
        "max_connect_attempts": 2}
    hcm = filter_of(http)
    assert [f["name"] for f in hcm["http_filters"]] == ["cors", "envoy.filters.http.router"]
    assert hcm["server_name"] == "gw" and hcm["use_remote_address"] is False and hcm["normalize_path"]
    assert "route_config" not in hcm and hcm["rds"]
    assert only(udp["listener_filters"])["typed_config"]["idle_timeout"] == "5s"


FILE_LOG = {"name": "file", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": "/tmp/log"}}


@pytest.mark.parametrize("keyword, data, field", [
    ("cluster_data", {"no_such_field": 1}, "cluster_data.no_such_field"),
    ("cluster_data", {"connect_timeout": "soon"}, "cluster_data.connect_timeout"),
    ("cluster_data", {"connect_timeout": "0s"}, "cluster_data.connect_timeout"),
    ("cluster_data", {"health_checks": [{"timeout": "1s"}]}, "cluster_data.health_checks[0].interval"),
    ("cluster_data", {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener"}, "cluster_data.@type"),
    ("cluster_data", {"transport_socket": {"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {"validation_context": {"trusted_ca": {"filename": "/etc/ssl/ca.pem"}}}}}},
     "cluster_data.transport_socket.typed_config.common_tls_context.validation_context.trusted_ca.filename"),
    ("cluster_data", {"lrs_server": {"self": {}}}, "cluster_data.lrs_server"),
    ("filter_config_data", {"access_log": [FILE_LOG]}, "filter_config_data.access_log[0]"),
    ("filter_config_data", {"statPrefix": 3}, "filter_config_data.statPrefix"),
])
def test_bad_json_is_an_error_that_names_its_path(world, keyword, data, field):
    document = world_of(bad=service({"expose#0": {"port": 80, keyword: data}}),
                        good=service({"expose#0": {"port": 81}}))
    resources, _, result = translate(document)
    assert [c["name"] for c in resources["cluster"]] == ["test/svc/good.expose#0"]
    code, where, _text = only(result["verdicts"]["test/svc/bad.expose#0"])
    assert code in ("invalid", "not_allowed") and where.endswith(field), (code, where)
    accepted(document, world)


def test_what_only_the_gateway_refuses_is_left_out_and_harms_nothing_else(world):
    """The store's check lets pass what some gateway allows; the exposure's own has the last word."""
    data = {"health_checks": [{"timeout": "1s", "interval": "5s", "unhealthy_threshold": 1, "healthy_threshold": 1,
                               "tcp_health_check": {}, "event_log_path": world.write("events", "")}]}
    document = {"gateways": {"envoy": {}, "edge": {"allow_files": True}}, **world_of(
        filter=service({"expose#0": {"port": 1, "filter_config_data": {"access_log": [FILE_LOG]}}}),
        cluster=service({"expose#0": {"port": 2, "cluster_data": data}}), good=service({"expose#0": {"port": 3}}))}
    resources = accepted(document, world, [
        ("test/svc/cluster.expose#0", "cluster_data.health_checks[0].event_log_path"),
        ("test/svc/filter.expose#0", "filter_config_data.access_log[0]")])
    assert [listener["name"] for listener in resources["listener"]] == ["0.0.0.0:2/tcp", "0.0.0.0:3/tcp"]
    assert only([c for c in resources["cluster"] if c["name"] == "test/svc/cluster.expose#0"])["type"] == "STATIC"
    for s in document["services"].values():
        s["resources"]["expose#0"]["gateway"] = "edge"
    _, faults, result = translate(document)
    assert faults == []
    assert len(result["edge"]["listener"]) == 3 and not result["envoy"]["listener"]
    assert {c["type"] for c in result["edge"]["cluster"]} == {"EDS"}
