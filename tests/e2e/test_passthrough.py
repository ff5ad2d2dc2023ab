"""JSON that users pass through to Envoy: cluster_data and filter_config_data, good and bad."""

import json

import pytest

from api_client import Api, done, pointers
from declare import l4, l7
from harness import request, wait_answer, wait_until

A_TYPE = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
TCP = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
HCM = ("type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager")


@pytest.mark.sanitized
def test_a_cluster_starts_from_cluster_data_and_keeps_what_igwd_owns(lab):
    one = lab.world.backend(10)
    data = {
        "name": "other", "type": "STATIC", "connect_timeout": "1s", "altStatName": "mine",
        "circuit_breakers": {"thresholds": [{"max_connections": 7, "maxRetries": 9}]},
        "common_lb_config": {"healthy_panic_threshold": {"value": 12.5}},
        "per_connection_buffer_limit_bytes": "4096",
        "load_assignment": {"cluster_name": "x", "endpoints": []},
        "metadata": {"filter_metadata": {"a.b": {"n": None, "list": [1, "x", True], "s": {"deep": 1.5}}}},
        "typedExtensionProtocolOptions": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": A_TYPE, "common_http_protocol_options": {"idle_timeout": "12.5s"},
            "explicit_http_config": {"http_protocol_options": {}}}},
    }
    lab.add("test/svc/x", l7(one.address, lab.at(8000), "*", cluster_data=data))
    envoy = lab.up()
    wait_answer(lab.at(8000), backend="b10")
    cluster = envoy.dynamic_clusters()["test/svc/x.expose#0"]
    assert cluster["type"] == "EDS" and "load_assignment" not in cluster
    assert cluster["connect_timeout"] == "1s" and cluster["alt_stat_name"] == "mine"
    assert cluster["circuit_breakers"]["thresholds"][0]["max_connections"] == 7
    assert cluster["circuit_breakers"]["thresholds"][0]["max_retries"] == 9
    assert cluster["common_lb_config"]["healthy_panic_threshold"]["value"] == 12.5
    assert cluster["per_connection_buffer_limit_bytes"] == 4096
    assert cluster["metadata"]["filter_metadata"]["a.b"] == {"n": None, "list": [1, "x", True], "s": {"deep": 1.5}}
    options = next(iter(cluster["typed_extension_protocol_options"].values()))
    assert options["common_http_protocol_options"]["idle_timeout"] == "12.500s"


def test_cluster_data_may_come_as_text(lab):
    one = lab.world.backend(10)
    lab.add("test/svc/x", l4(one.address, lab.at(8000), cluster_data='{"connect_timeout": "2s"}'))
    envoy = lab.up()
    wait_answer(lab.at(8000))
    assert envoy.dynamic_clusters()["test/svc/x.expose#0"]["connect_timeout"] == "2s"
    lab.agent.set_keywords("test/svc/x", {"expose#0.cluster_data": '{"connect_timeout": "3s"}'})
    wait_answer(lab.at(8000))


def test_a_tcp_filter_starts_from_its_data(lab):
    one = lab.world.backend(10)
    data = {"@type": TCP, "cluster": "other", "idleTimeout": "77s", "max_connect_attempts": 6}
    lab.add("test/svc/x", l4(one.address, lab.at(8000), filter_config_data=data))
    envoy = lab.up()
    wait_answer(lab.at(8000), backend="b10")
    proxy = envoy.dynamic_listeners()[lab.at(8000) + "/tcp"]["filter_chains"][0]["filters"][0]["typed_config"]
    assert proxy["cluster"] == "test/svc/x.expose#0"
    assert (proxy["idle_timeout"], proxy["max_connect_attempts"]) == ("77s", 6)


def test_an_http_filter_starts_from_its_data(lab):
    one = lab.world.backend(10)
    data = {"server_name": "gateway-of-mine", "common_http_protocol_options": {
        "max_headers_count": 200}, "http_filters": [
            {"name": "envoy.filters.http.compressor", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor",
                "compressor_library": {"name": "gzip", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip"}}}},
            {"name": "envoy.filters.http.router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}
    lab.add("test/svc/x", l7(one.address, lab.at(8000), "web.test", filter_config_data=data))
    lab.up()
    answer = wait_answer(lab.at(8000), host="web.test")
    assert answer.headers["server"] == "gateway-of-mine"
    body = "x" * 5000
    answer = request(lab.at(8000), "/?" + body, host="web.test", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip" and len(answer.body) < 2000


def test_a_udp_filter_starts_from_its_data(lab):
    udp = lab.world.backend(10, kind="udp")
    lab.add("test/svc/u", l4(udp.address, lab.at(5300), protocol="udp",
                             filter_config_data={"idle_timeout": "9s"}))
    envoy = lab.up()
    envoy.wait_listeners(lab.at(5300) + "/udp")
    assert '"9s"' in json.dumps(envoy.dynamic_listeners()[lab.at(5300) + "/udp"])


# What is passed through, what igwd has to say of it: a path in the JSON, and something of what is wrong there.
BAD_CLUSTERS = [
    ({"conect_timeout": "1s"}, "conect_timeout"),
    ({"connect_timeout": "soon"}, "connect_timeout"),
    ({"connect_timeout": 1.5}, "connect_timeout"),
    ({"circuit_breakers": {"thresholds": [{}, {"max_connections": "many"}]}}, "thresholds[1].max_connections"),
    ({"circuit_breakers": {"thresholds": {"max_connections": 1}}}, "thresholds"),
    ({"circuit_breakers": {"thresholds": [{"max_connections": -1}]}}, "thresholds[0].max_connections"),
    ({"circuit_breakers": {"thresholds": [{"max_connections": 4294967296}]}}, "thresholds[0].max_connections"),
    ({"dns_lookup_family": "V5_ONLY"}, "dns_lookup_family"),
    ({"metadata": []}, "metadata"),
    ({"typed_extension_protocol_options": {"x": {"@type": "type.googleapis.com/envoy.no.Such"}}}, "x"),
    ({"typed_extension_protocol_options": {"x": {"a": 1}}}, "x"),
    ({"typed_extension_protocol_options": {"x": {"@type": A_TYPE, "bad": 1}}}, "bad"),
    ({"connect_timeout": "1s", "connectTimeout": "2s"}, "onnect"),
    # What Envoy's own rules refuse.
    ({"connect_timeout": "-1s"}, "connect_timeout"),
    ({"outlier_detection": {"max_ejection_percent": 101}}, "max_ejection_percent"),
    ({"health_checks": [{"timeout": "1s"}]}, "health_checks[0]"),
    ({"common_lb_config": {"healthy_panic_threshold": {"value": 101}}}, "healthy_panic_threshold"),
]


@pytest.mark.parametrize("data, where", BAD_CLUSTERS, ids=[w + str(i) for i, (_, w) in enumerate(BAD_CLUSTERS)])
def test_bad_cluster_data_is_named_by_its_path_and_left_out_alone(lab, data, where):
    one = lab.world.backend(10)
    lab.add("test/svc/bad", l4(one.address, lab.at(8001), cluster_data=data))
    lab.add("test/svc/good", l4(one.address, lab.at(8000)))
    envoy = lab.up()
    wait_answer(lab.at(8000))
    lab.igwd.wait_logged("test/svc/bad.expose#0", "cluster_data", where)
    assert list(envoy.dynamic_clusters()) == ["test/svc/good.expose#0"]
    assert envoy.rejected() == {}, "it was found out by Envoy only"
    lab.agent.set_keywords("test/svc/bad", {"expose#0.cluster_data": {"connect_timeout": "1s"}})
    wait_answer(lab.at(8001))


BAD_FILTERS = [
    ("l4", {"idle_timeout": {}}, "idle_timeout"), ("l4", {"no_such": 1}, "no_such"),
    ("l4", {"@type": HCM}, "@type"), ("l7", {"@type": TCP}, "@type"),
    ("l7", {"http_filters": [{"name": "x", "typed_config": {"@type": "nonsense"}}]}, "http_filters[0]"),
    ("l7", {"codec_type": "HTTP9"}, "codec_type"),
    ("l7", {"http2_protocol_options": {"max_concurrent_streams": "x"}}, "max_concurrent_streams"),
    ("l4", {"max_connect_attempts": 0}, "max_connect_attempts"),
    ("l7", {"http2_protocol_options": {"max_concurrent_streams": 0}}, "max_concurrent_streams"),
]


@pytest.mark.parametrize("level, data, where", BAD_FILTERS,
                         ids=[w + str(i) for i, (_, _, w) in enumerate(BAD_FILTERS)])
def test_bad_filter_data_is_named_by_its_path_and_left_out_alone(lab, level, data, where):
    one = lab.world.backend(10)
    more = {"filter_config_data": data}
    lab.add("test/svc/bad", l4(one.address, lab.at(8001), **more) if level == "l4"
            else l7(one.address, lab.at(8001), "*", **more))
    lab.add("test/svc/good", l4(one.address, lab.at(8000)))
    envoy = lab.up()
    wait_answer(lab.at(8000))
    lab.igwd.wait_logged("test/svc/bad.expose#0", "filter_config_data", where)
    assert envoy.rejected() == {}, "it was found out by Envoy only"


# Files, access logs, secrets and configuration sources that a service may not name.
FORBIDDEN = [
    ("cluster_data", {"transport_socket": {"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {"validation_context": {"trusted_ca": {"filename": "/etc/passwd"}}}}}}),
    ("cluster_data", {"transport_socket": {"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {"tls_certificate_sds_secret_configs": [
            {"name": "tls_certificate/other/sec/x", "sds_config": {"ads": {}}}]}}}}),
    ("cluster_data", {"transport_socket": {"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {"validation_context": {"trusted_ca": {"environment_variable": "HOME"}}}}}}),
    ("filter_config_data", {"access_log": [{"name": "f", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": "/tmp/should-not-be-there"}}]}),
]


@pytest.mark.parametrize("keyword, data", FORBIDDEN)
def test_passed_through_json_may_not_name_files_logs_or_secrets(lab, keyword, data):
    one = lab.world.backend(10)
    lab.add("test/svc/bad", l4(one.address, lab.at(8001), **{keyword: data}))
    lab.add("test/svc/good", l4(one.address, lab.at(8000)))
    envoy = lab.up()
    wait_answer(lab.at(8000))
    lab.igwd.wait_logged("test/svc/bad.expose#0", keyword)
    assert list(envoy.dynamic_clusters()) == ["test/svc/good.expose#0"]


def test_sensitive_fields_of_passed_through_json_are_not_logged(lab):
    one = lab.world.backend(10)
    data = {"transport_socket": {"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {"tls_certificates": [{"private_key": {"inline_string": "TOPSECRET"},
                                                     "bad_field": 1}]}}}}
    lab.add("test/svc/bad", l4(one.address, lab.at(8001), cluster_data=data))
    lab.add("test/svc/good", l4(one.address, lab.at(8000)))
    lab.up(igwd={"args": ["--log-level", "debug"]})
    wait_answer(lab.at(8000))
    lab.igwd.wait_logged("test/svc/bad.expose#0")
    assert "TOPSECRET" not in lab.igwd.log_text()


@pytest.mark.sanitized
def test_what_a_gateways_exposures_start_from_is_set_over_the_api_and_their_own_words_go_over_it(world):
    backends = [world.backend(n) for n in (10, 11)]
    agent = world.agent(nodes=["n1"])
    tcp, http, own, udp = (world.ip(1) + ":%d" % port for port in (8000, 8001, 8002, 8003))
    agent.add_service("tcp", l4(backends[0].address, tcp))
    agent.add_service("udp", l4(backends[0].address, udp, protocol="udp"))
    agent.add_service("web", l7(backends[0].address, http, "*"))
    agent.add_service("own", l7(backends[1].address, own, "*", cluster_data={"connectTimeout": "9s"},
                                filter_config_data={"server_name": "mine"}))
    api = Api(world, agent)
    envoy = world.envoy(api.igwd, args=["--file-flush-interval-msec", "100"]).wait_live()
    for address in (tcp, http, own):
        wait_answer(address)
    log = {"name": "file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": world.path("log"),
        "log_format": {"text_format_source": {"inline_string": "%RESPONSE_CODE%\n"}}}}
    settings = {
        "cluster_data": {"connect_timeout": "2s", "health_checks": [{
            "timeout": "1s", "interval": "60s", "unhealthy_threshold": 9, "healthy_threshold": 1,
            "tcp_health_check": {}}]},
        "tcp_proxy_data": {"max_connect_attempts": 5},
        "udp_proxy_data": {"idle_timeout": "33s"},
        "http_connection_manager_data": {"server_name": "of-the-gateway", "access_log": [log]},
        "retry_policy_data": {"num_retries": 7},
    }
    dry = api.put("/gateways/envoy?dry_run=true", settings)
    assert dry.status == 200, dry.json
    assert {(e["listener"], e["effect"]) for e in dry.json["effects"]} == {
        (tcp + "/tcp", "drains_chain"), (http + "/tcp", "drains_chain"), (own + "/tcp", "drains_chain"),
        (udp + "/udp", "drains_listener")}
    done(api.put("/gateways/envoy", settings, headers={"Prefer": "wait=10"}), 200)

    def filter_of(address):
        filters = envoy.dynamic_listeners()[address + "/tcp"]["filter_chains"][0]["filters"]
        return filters[0]["typed_config"]
    # What is acked is in effect a moment later: a listener's threads are told of it, a cluster warms.
    wait_until(lambda: wait_answer(http).headers["server"] == "of-the-gateway")
    assert wait_answer(own).headers["server"] == "mine", "what it says itself goes over it"
    assert "access_log" in filter_of(own), "and what it does not say is the gateway's"
    wait_until(lambda: set(open(world.path("log"), encoding="ascii")) == {"200\n"})
    assert filter_of(tcp)["max_connect_attempts"] == 5
    assert envoy.dynamic_listeners()[udp + "/udp"]["listener_filters"][0]["typed_config"]["idle_timeout"] == "33s"
    wait_until(lambda: {name: one["connect_timeout"] for name, one in envoy.dynamic_clusters().items()} == {
        "tcp.expose#0": "2s", "udp.expose#0": "2s", "web.expose#0": "2s", "own.expose#0": "9s"})
    clusters = envoy.dynamic_clusters()
    assert [one["health_checks"][0]["unhealthy_threshold"] for one in clusters.values() if "health_checks" in one] \
        == [9, 9, 9] and "health_checks" not in clusters["udp.expose#0"], "over TCP can't be found whether UDP answers"
    policy = envoy.dynamic_routes()[next(n for n in envoy.dynamic_routes() if n.startswith(http))]
    assert policy["virtual_hosts"][0]["retry_policy"]["num_retries"] == 7
    assert policy["virtual_hosts"][0]["retry_policy"]["retry_on"] == "connect-failure,refused-stream"

    shown = api.v1("/gateways/envoy")
    assert shown["cluster_data"] == settings["cluster_data"]
    inline = shown["http_connection_manager_data"]["access_log"][0]["typed_config"]["log_format"]["text_format_source"]
    assert inline == {"inline_string": "[redacted]"}
    assert done(api.put("/gateways/envoy", shown))["effects"] == [], "what is shown can be put back"
    before = envoy.updates()
    api.igwd.restart()
    api.wait_live()
    wait_until(lambda: api.v1("/proxies?state=ACKED")["items"])
    for field, value, where in (("cluster_data", {"connect_timeout": "soon"}, "connect_timeout"),
                                ("http_connection_manager_data", {"request_timeout": "x"}, "request_timeout"),
                                ("retry_policy_data", {"num_retries": -1}, "num_retries"),
                                ("tcp_proxy_data", {"max_connect_attempts": 0}, "max_connect_attempts"),
                                ("udp_proxy_data", {"colour": 1}, "colour")):
        refused = api.patch("/gateways/envoy", {field: value})
        assert pointers(refused) == {"#/" + field} and where in refused.json["errors"][0]["detail"], refused.json
    assert envoy.updates() == before, "neither a restart nor a fault changes anything"
    done(api.patch("/gateways/envoy", {field: None for field in settings}, headers={"Prefer": "wait=10"}))
    wait_until(lambda: wait_answer(http).headers["server"] == "envoy")
    assert filter_of(tcp)["max_connect_attempts"] == 16 and "access_log" not in filter_of(own)
