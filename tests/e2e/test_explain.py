"""POST /explain: what is asked, what is answered, who may ask; that the answers are true: test_explain_random.py."""

import json

import pytest

from api_client import TOKEN, VIEWER, Api, bearer, pointers
from declare import l4, l7
from harness import WebSocket, client_context, exchange, udp_echo, wait_answer, wait_until

PATH = "/api/v1/explain"


class Asking:
    def __init__(self, api):
        self.api = api

    def raw(self, body, **options):
        return self.api.post("/explain", body, **options)

    def __call__(self, address, **more):
        host, _, port = address.rpartition(":")
        response = self.raw({"address": host.strip("[]"), "port": int(port), **more})
        assert response.status == 200, response
        return response.json

    def faults(self, body, status=422):
        response = self.raw(body)
        assert response.headers["Content-Type"] == "application/problem+json"
        return pointers(response, status)


@pytest.fixture
def asking(lab):
    """A service with routes, on a daemon without an Envoy."""
    lab.add("test/svc/web", l7("127.0.0.1", lab.at(8000), ["web.test"], [{"match_prefix": "/x"}]))
    return Asking(Api(lab.world, lab.agent).wait_exposures(1))


@pytest.mark.sanitized
def test_the_whole_way_is_told(lab, ca):
    world = lab.world
    one = world.backend(10)
    lab.agent.set_secret("test/sec/web", ca.issue("www.web.test").secret())
    lab.add("test/svc/web", l7({"n1": one.address, "n2": world.ip(11)}, lab.at(8443), ["www.web.test"],
                               [{"match_path": "/exact"}, {"match_prefix": "/app", "route_prefix_rewrite": "/"}],
                               certificates={"front": "web"}), started=["n1"])
    lab.add("test/svc/wild", l4(world.ip(12), lab.at(8443), sni="*.web.test"))
    ask = Asking(Api(world, lab.agent).wait_exposures(2))
    envoy = world.envoy(ask.api.igwd).wait_live()
    said = ask(lab.at(8443), sni="www.web.test", path="/app/x?y")
    assert said["outcome"] == "forwarded" and said["status"] is None and said["gateway"] == "envoy"
    assert said["listener"]["envoy_name"] == lab.at(8443) + "/tcp"
    assert said["chain"]["kind"] == "l7" and said["chain"]["tls"] and said["chain"]["server_name"] == "www.web.test"
    assert said["chain"]["envoy_name"] in [one["name"] for one in envoy.dynamic_listeners()[
        said["listener"]["envoy_name"]]["filter_chains"]]
    assert said["chain"]["rivals"] == [{"name": "sni:test/svc/wild.expose#0", "reason":
                                        'its name "*.web.test" is less exact than "www.web.test"'}]
    assert said["certificate"]["secret"] == "test/sec/web"
    assert said["vhost"]["domain"] == "www.web.test"
    assert said["route"]["name"] == "route#1" and said["route"]["exposure"] == "test/svc/web.expose#0"
    assert [one["name"] for one in said["route"]["rivals"]] == ["test/svc/web.expose#0 route#0"]
    assert said["forwarded"] == {"host": "www.web.test", "path": "//x?y"}
    assert [one["name"] for one in said["cluster"]["endpoints"]] == [one.endpoint]
    assert [one["name"] for one in said["cluster"]["rivals"]] == [world.ip(11) + ":8000"]
    answer = wait_answer(lab.at(8443), "/app/x?y", tls=client_context(ca), sni="www.web.test", backend="b10")
    assert answer.json["path"] == said["forwarded"]["path"]


def test_an_endpoint_that_goes_down_is_told_at_once(lab):
    lab.add("test/svc/x", l4(lab.world.ip(10), lab.at(8000)))
    ask = Asking(Api(lab.world, lab.agent).wait_exposures(1))
    assert ask(lab.at(8000))["outcome"] == "forwarded"
    lab.agent.stop_instance("test/svc/x", "n1")
    wait_until(lambda: ask(lab.at(8000))["outcome"] == "no_endpoint")
    said = ask(lab.at(8000))
    assert said["cluster"]["endpoints"] == [] and said["status"] is None
    assert "no endpoint of test/svc/x.expose#0 is up" in said["summary"]


def test_udp(lab):
    world = lab.world
    world.backend(10, kind="udp")
    lab.add("test/svc/up", l4(world.ip(10), lab.at(9000), protocol="udp"))
    lab.add("test/svc/down", l4(world.ip(11), lab.at(9001), protocol="udp"), started=[])
    ask = Asking(Api(world, lab.agent).wait_exposures(2))
    world.envoy(ask.api.igwd).wait_live()
    assert ask(lab.at(9000), protocol="udp")["outcome"] == "forwarded"
    assert wait_until(lambda: udp_echo(lab.at(9000))) == b"b10 hello"
    assert ask(lab.at(9001), protocol="udp")["outcome"] == "no_endpoint"
    with pytest.raises(TimeoutError):
        udp_echo(lab.at(9001))
    assert ask(lab.at(9002), protocol="udp")["outcome"] == "no_listener"
    assert ask(lab.at(9000))["outcome"] == "no_listener", "TCP is another listener"


def test_websockets(lab):
    lab.agent.older = True
    routes = [{"match_prefix": "/no", "route_use_websocket": "false"}, {"match_prefix": "/"}]
    lab.add("test/svc/x", l7(lab.world.backend(10).address, lab.at(8000), "web.test", routes))
    ask = Asking(Api(lab.world, lab.agent).wait_exposures(1))
    lab.world.envoy(ask.api.igwd).wait_live()
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    for path, outcome, status in (("/", "forwarded", 101), ("/no", "refused", 403)):
        assert ask(lab.at(8000), host="web.test", path=path, headers=headers)["outcome"] == outcome
        with WebSocket(lab.at(8000), path, host="web.test") as ws:
            assert ws.status == status


def test_gateways_are_told_apart(lab):
    lab.add("test/svc/x", l4(lab.world.ip(10), lab.at(8000), gateway="edge"))
    ask = Asking(Api(lab.world, lab.agent).wait_exposures(1))
    said = ask(lab.at(8000))
    assert said["outcome"] == "no_listener" and said["gateway"] == "envoy"
    assert said["listener"]["rivals"] == [{"name": "edge|%s/tcp" % lab.at(8000),
                                           "reason": "it is of the gateway edge"}]
    assert ask(lab.at(8000), gateway="edge")["outcome"] == "forwarded"
    assert ask.faults({"address": "10.0.0.1", "port": 1, "gateway": "none"}, 404) == {"#/gateway"}


def test_what_is_left_out_has_defaults(asking, lab):
    said = asking(lab.at(8000))
    assert said["outcome"] == "no_vhost" and '"%s"' % lab.world.ip(1) in said["summary"]
    assert asking(lab.at(8000), host="web.test", path="/x/y")["outcome"] == "forwarded"
    assert asking(lab.at(8000), host="web.test")["route"]["reason"] == "no route matches the path /"
    plain = asking(lab.at(8000), sni="web.test", tls=False, path="/x")
    assert plain["outcome"] == "forwarded" and any("sni counts as the host alone" in note for note in plain["notes"])
    assert any("sni does not count" in note for note in
               asking(lab.at(8000), sni="web.test", tls=False, host="web.test")["notes"])
    assert asking(lab.at(8000), sni="web.test")["outcome"] == "no_handshake"
    assert asking(lab.at(8000), host="web.test", tls=None, headers=None, path="/x")["outcome"] == "forwarded"


@pytest.mark.parametrize("change, pointers", [
    ({"address": None}, {"#/address"}), ({"port": None}, {"#/port"}), ({"address": "web.test"}, {"#/address"}),
    ({"port": 0}, {"#/port"}), ({"port": 65536}, {"#/port"}), ({"port": "80"}, {"#/port"}),
    ({"protocol": "sctp"}, {"#/protocol"}), ({"tls": "yes"}, {"#/tls"}), ({"sni": "a b"}, {"#/sni"}),
    ({"sni": "a" * 254}, {"#/sni"}), ({"sni": ""}, {"#/sni"}), ({"host": "a/b"}, {"#/host"}),
    ({"path": "x"}, {"#/path"}), ({"path": "/a b"}, {"#/path"}), ({"path": "/\u00e9"}, {"#/path"}),
    ({"path": "/" + "a" * 8192}, {"#/path"}), ({"headers": []}, {"#/headers"}),
    ({"headers": {"a b": "x"}}, {"#/headers/a b"}), ({"headers": {"a/~": "x"}}, {"#/headers/a~1~0"}),
    ({"headers": {"a": "x\r\nb: c"}}, {"#/headers/a"}),
    ({"headers": {"a": 1}}, {"#/headers/a"}), ({"headers": {"h%d" % i: "" for i in range(65)}}, {"#/headers"}),
    ({"unknown": 1}, {"#/unknown"}), ({"port": 0, "path": "x", "no": 1}, {"#/port", "#/path", "#/no"}),
])
def test_every_fault_of_a_question_is_told(asking, change, pointers):
    assert asking.faults({"address": "10.0.0.1", "port": 80, **change}) == pointers


@pytest.mark.parametrize("body", [b"{", b"{\"port\":1,\"port\":2}", b"\xff", b"{\"address\": }"])
def test_what_is_no_json_is_told_with_its_place(asking, body):
    response = asking.raw(body)
    assert response.status == 400 and "line 1" in response.json["detail"], response


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'{"address":"\\u0000","port":1}'])
def test_a_question_is_an_object(asking, body):
    assert asking.raw(body).status == 422
    assert asking.raw(b"").status == 400


def test_the_interface_is_kept(asking):
    good = {"address": "10.0.0.1", "port": 80}
    response = asking.raw(good)
    assert response.status == 200 and response.headers["ETag"] is None
    assert response.headers["Content-Type"] == "application/json"
    assert asking.raw(good, headers={"If-None-Match": "*"}).status == 200
    assert asking.raw(good, kind="text/plain").status == 415
    assert asking.api.get(PATH).status == 405
    assert asking.api.get(PATH + "?x=1", "POST", headers={"Content-Type": "application/json"},
                          body=b"{}").status == 400


def test_a_viewer_may_ask_and_a_stranger_may_not(asking):
    good = {"address": "10.0.0.1", "port": 80}
    for token, status in ((TOKEN, 200), (VIEWER, 200), ("igwd_" + "x" * 43, 401)):
        assert asking.raw(good, **bearer(token)).status == status
    assert asking.raw(good, tcp=True).status == 401


def test_asking_changes_nothing(asking, lab):
    before = asking.api.get("/api/v1/exposures").body, asking.api.v1("/summary")["revision"]
    with asking.api.connect() as s:
        for i in range(50):
            body = json.dumps({"address": lab.world.ip(1), "port": 8000, "host": "h%d" % i}).encode()
            assert asking.api.exchange(s, PATH, "POST", headers={"Content-Type": "application/json"}, body=body,
                            close=False).status == 200
    assert (asking.api.get("/api/v1/exposures").body, asking.api.v1("/summary")["revision"]) == before
