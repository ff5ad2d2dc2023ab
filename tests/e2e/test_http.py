"""L7: hosts, paths, rewrites, redirects, timeouts, websockets, session affinity, and what an edge has to do."""

import collections

import pytest

from declare import l4, l7
from harness import Load, WebSocket, connect, exchange, http, request, wait_answer, wait_until


def header(response, name):
    """What the backend saw."""
    return [value for key, value in response.json["headers"] if key == name]


def two_services(lab, routes):
    """`marked` has the routes, `rest` takes everything else of the same domain."""
    lab.add("test/svc/marked", l7(lab.world.backend(10, name="marked").address, lab.at(8000), "web.test", routes))
    lab.add("test/svc/rest", l7(lab.world.backend(11, name="rest").address, lab.at(8000), "web.test"))


def ask(lab, path="/", host="web.test", **options):
    return request(lab.at(8000), path, host=host, **options)


def wait_taken(lab, path, backend, host="web.test"):
    return wait_answer(lab.at(8000), path, host=host, backend=backend)


@pytest.mark.sanitized
def test_hosts_tell_services_apart(lab, sotw):
    for n, name in enumerate(("a", "b")):
        lab.add("test/svc/" + name, l7(lab.world.backend(10 + n, name=name).address, lab.at(8000),
                                       [name + ".test", "www.%s.test" % name]))
    lab.add("test/svc/wild", l7(lab.world.backend(12, name="wild").address, lab.at(8000), "*.wild.test"))
    envoy = lab.up(sotw)
    for host, backend in (("a.test", "a"), ("www.a.test", "a"), ("b.test", "b"), ("x.wild.test", "wild"),
                          ("a.test:8000", "a"), ("a.test:1234", "a"), ("A.TEST", "a")):
        wait_taken(lab, "/", backend, host)
    assert ask(lab, host="c.test").status == 404
    assert len(envoy.dynamic_routes()) == 1
    names = [v["name"] for v in next(iter(envoy.dynamic_routes().values()))["virtual_hosts"]]
    assert "test/svc/a.expose#0.vhost#0" in names


def test_the_services_name_is_the_default_domain(lab):
    lab.add("test/svc/shop", l7(lab.world.backend(10).address, lab.at(8000), None))
    lab.up()
    wait_taken(lab, "/", "b10", "shop")
    assert ask(lab, host="other").status == 404


@pytest.mark.parametrize("route, taken, left", [
    ({"match_path": "/exact"}, ["/exact", "/exact?q=1"], ["/exact/", "/exac", "/", "/EXACT"]),
    ({"match_prefix": "/pre"}, ["/pre", "/prefix", "/pre/x"], ["/", "/p", "/PRE"]),
    ({"match_regex": "/user/[0-9]+"}, ["/user/17", "/user/17?x=y"], ["/user/x", "/user/17/x", "/user/"]),
    ({"match_prefix": "/pre", "match_case_sensitive": "false"}, ["/PRE", "/pre/x"], ["/"]),
    ({"match_path": "/Exact", "match_case_sensitive": False}, ["/eXACT"], ["/eXACT/"]),
    ({"match_path": "/Exact", "match_case_sensitive": "true"}, ["/Exact"], ["/exact"]),
    ({"match_regex": "/[a-z0-9-]{1,63}/x"}, ["/abc-1/x"], ["/" + "a" * 64 + "/x", "/A/x"]),
])
def test_matches(lab, route, taken, left):
    two_services(lab, [route])
    lab.up()
    wait_taken(lab, taken[0], "marked")
    for path in taken:
        assert ask(lab, path).backend == "marked", path
    for path in left:
        assert ask(lab, path).backend == "rest", path


def test_a_regex_without_case(lab):
    two_services(lab, [{"match_regex": "/Abc", "match_case_sensitive": "false"}])
    lab.up()
    wait_taken(lab, "/abc", "marked")
    assert ask(lab, "/ABC").backend == "marked" and ask(lab, "/abcd").backend == "rest"


def test_a_route_without_a_match_takes_everything(lab):
    lab.add("test/svc/x", l7(lab.world.backend(10).address, lab.at(8000), "web.test", [{}]))
    lab.up()
    wait_taken(lab, "/any/thing", "b10")


def test_routes_are_tried_in_their_order(lab):
    routes = [{"match_prefix": "/a/b", "route_host_rewrite": "first"}, {"match_prefix": "/a",
                                                                        "route_host_rewrite": "second"},
              {"match_prefix": "/a/b/c", "route_host_rewrite": "never"},
              {"match_prefix": "/", "route_host_rewrite": "last"}]
    lab.add("test/svc/x", l7(lab.world.backend(10).address, lab.at(8000), "web.test", routes))
    lab.up()
    wait_taken(lab, "/", "b10")
    for path, host in (("/a/b/c", "first"), ("/a/x", "second"), ("/x", "last")):
        assert header(ask(lab, path), "host") == [host]
    lab.agent.set_keywords("test/svc/x", {"vhost#0.routes": "route#2 route#1 route#3"})
    wait_until(lambda: header(ask(lab, "/a/b/c"), "host") == ["never"])
    assert header(ask(lab, "/a/b"), "host") == ["second"]


def test_rewrites(lab):
    routes = [{"match_prefix": "/old/", "route_prefix_rewrite": "/new/"},
              {"match_path": "/exact", "route_prefix_rewrite": "/other"},
              {"match_prefix": "/host", "route_host_rewrite": "inner.test"}, {"match_prefix": "/"}]
    lab.add("test/svc/x", l7(lab.world.backend(10).address, lab.at(8000), "web.test", routes))
    lab.up()
    wait_taken(lab, "/", "b10")
    assert ask(lab, "/old/x?y=1").json["path"] == "/new/x?y=1"
    assert ask(lab, "/exact").json["path"] == "/other"
    assert header(ask(lab, "/host"), "host") == ["inner.test"]
    assert header(ask(lab, "/x"), "host") == ["web.test"]


@pytest.mark.parametrize("timeout", [0.3, "0.3", "300ms"])
def test_timeouts(lab, timeout):
    routes = [{"match_prefix": "/slow", "route_timeout": timeout}, {"match_prefix": "/"}]
    config = l7(lab.world.backend(10).address, lab.at(8000), "web.test", routes)
    lab.add("test/svc/x", config)
    envoy = lab.up()
    wait_taken(lab, "/", "b10")
    assert ask(lab, "/slow?ms=3000").status == 504
    route = next(iter(envoy.dynamic_routes().values()))["virtual_hosts"][0]["routes"][0]
    assert route["route"]["timeout"] == "0.300s"


@pytest.mark.parametrize("redirect, path, status, location", [
    ({"redirect_https_redirect": "true"}, "/a?b=c", 301, "https://web.test/a?b=c"),
    ({"redirect_host_redirect": "other.test"}, "/a?b=c", 301, "http://other.test/a?b=c"),
    ({"redirect_path_redirect": "/there"}, "/a?b=c", 301, "http://web.test/there?b=c"),
    ({"redirect_prefix_rewrite": "/new"}, "/old/x?b=c", 301, "http://web.test/new/x?b=c"),
    ({"redirect_host_redirect": "o.test", "redirect_strip_query": "true"}, "/a?b=c", 301, "http://o.test/a"),
    ({"redirect_host_redirect": "o.test", "redirect_path_redirect": "/p", "redirect_https_redirect": "true",
      "redirect_response_code": "308"}, "/a", 308, "https://o.test/p"),
    ({"redirect_https_redirect": "true", "redirect_response_code": "302"}, "/", 302, "https://web.test/"),
    ({"redirect_https_redirect": "true", "redirect_response_code": "303"}, "/", 303, "https://web.test/"),
    ({"redirect_https_redirect": "true", "redirect_response_code": 307}, "/", 307, "https://web.test/"),
    ({"redirect_https_redirect": "true", "redirect_response_code": "MOVED_PERMANENTLY"}, "/", 301,
     "https://web.test/"),
    ({"redirect_https_redirect": "true", "redirect_response_code": "found"}, "/", 302, "https://web.test/"),
    ({"redirect_https_redirect": "true", "redirect_response_code": "SEE_OTHER"}, "/", 303, "https://web.test/"),
    ({"redirect_https_redirect": "true", "redirect_response_code": "TEMPORARY_REDIRECT"}, "/", 307,
     "https://web.test/"),
    ({"redirect_https_redirect": "true", "redirect_response_code": "PERMANENT_REDIRECT"}, "/", 308,
     "https://web.test/"),
])
def test_redirects(lab, redirect, path, status, location):
    prefix = "/old" if "redirect_prefix_rewrite" in redirect else "/"
    lab.add("test/svc/x", l7(lab.world.backend(10).address, lab.at(8000), "web.test",
                             [{"match_prefix": prefix, **redirect}]))
    lab.up()
    answer = wait_answer(lab.at(8000), path, host="web.test", status=status)
    assert answer.headers["Location"] == location


def test_strip_query_alone_is_no_redirect(lab):
    lab.add("test/svc/x", l7(lab.world.backend(10).address, lab.at(8000), "web.test",
                             [{"match_prefix": "/", "redirect_strip_query": "true"}]))
    lab.up()
    assert wait_taken(lab, "/a?b", "b10").json["path"] == "/a?b"


@pytest.mark.sanitized
def test_websockets(lab):
    lab.add("test/svc/x", l7(lab.world.backend(10).address, lab.at(8000), "web.test", [{"match_prefix": "/"}]))
    lab.add("test/svc/y", l7(lab.world.backend(11).address, lab.at(8001), "web.test"))
    lab.up()
    for port, backend in ((8000, b"b10"), (8001, b"b11")):
        wait_answer(lab.at(port), host="web.test")
        with WebSocket(lab.at(port), host="web.test") as ws:
            assert ws.status == 101
            for text in (b"one", b"x" * 1000):
                assert ws.echo(text) == backend + b" " + text


def test_older_agents_say_whether_a_route_takes_websockets(lab):
    lab.agent.older = True
    routes = [{"match_prefix": "/yes", "route_use_websocket": "true"},
              {"match_prefix": "/no", "route_use_websocket": "false"}, {"match_prefix": "/"}]
    lab.add("test/svc/x", l7(lab.world.backend(10).address, lab.at(8000), "web.test", routes))
    lab.up()
    wait_taken(lab, "/", "b10")
    for path, status in (("/yes", 101), ("/", 101), ("/no", 403)):
        with WebSocket(lab.at(8000), path, host="web.test") as ws:
            assert ws.status == status, path


def spread(lab, n, policy, lb="ring_hash"):
    """A flex service on n addresses of one node, its route with a hash policy."""
    backends = [lab.world.backend(10 + i) for i in range(n)]
    config = l7(backends[0].address, lab.at(8000), "web.test",
                [{"match_prefix": "/", "hash_policies": "hashpolicy#0"}], policies=[policy], lb_policy=lb)
    for i, backend in enumerate(backends[1:], 2):
        config["ip#%d" % i] = {"ipname": backend.address, "expose": "expose#0"}
    lab.add("test/svc/x", config)
    envoy = lab.up()
    envoy.wait_endpoints("test/svc/x.expose#0", [b.endpoint for b in backends])
    wait_answer(lab.at(8000), host="web.test")


@pytest.mark.parametrize("lb", ["ring_hash", "maglev"])
def test_affinity_by_header(lab, lb):
    spread(lab, 4, {"header_header_name": "x-user"}, lb)
    owners = collections.defaultdict(set)
    for user in range(16):
        for _ in range(4):
            owners[user].add(ask(lab, headers={"x-user": "u%d" % user}).backend)
    assert all(len(found) == 1 for found in owners.values()), owners
    assert len(set.union(*owners.values())) > 1, "all users went to one endpoint"


def test_affinity_by_cookie(lab):
    spread(lab, 4, {"cookie_name": "sid", "cookie_ttl": "1h", "cookie_path": "/"})
    seen = set()
    for _ in range(12):
        first = ask(lab)
        cookie = first.headers["Set-Cookie"]
        assert cookie.startswith("sid=") and "Max-Age=3600" in cookie and "Path=/" in cookie, cookie
        value = cookie.partition(";")[0]
        for _ in range(4):
            again = ask(lab, headers={"Cookie": value})
            assert again.backend == first.backend
            assert again.headers["Set-Cookie"] is None
        seen.add(first.backend)
    assert len(seen) > 1


def test_a_cookie_without_a_lifetime_is_a_session_cookie(lab):
    spread(lab, 2, {"cookie_name": "sid", "cookie_ttl": "0"})
    cookie = ask(lab).headers["Set-Cookie"]
    assert cookie.startswith("sid=") and "Max-Age" not in cookie


def test_affinity_by_source_address(lab):
    spread(lab, 4, {"connection_source_ip": "true"})
    owners = collections.defaultdict(set)
    for i in range(16):
        for _ in range(4):
            owners[i].add(ask(lab, source=lab.world.ip(100 + i)).backend)
    assert all(len(found) == 1 for found in owners.values()), owners
    assert len(set.union(*owners.values())) > 1


def test_hash_policies_of_older_agents(lab):
    config = l7(lab.world.backend(10).address, lab.at(8000), "web.test",
                [{"match_prefix": "/", "hash_policies": "hash_policy#0"}], lb_policy="ring_hash")
    config["hash_policy#0"] = {"type": "envoy", "cookie_name": "sid", "cookie_ttl": "1h"}
    lab.add("test/svc/x", config)
    lab.up()
    answer = wait_taken(lab, "/", "b10")
    assert answer.headers["Set-Cookie"].startswith("sid=")


def test_several_hash_policies_and_a_terminal_one(lab):
    routes = [{"match_prefix": "/", "hash_policies": "hashpolicy#0 hashpolicy#1"}]
    lab.add("test/svc/x", l7(lab.world.backend(10).address, lab.at(8000), "web.test", routes, policies=[
        {"header_header_name": "x-user", "terminal": "true"}, {"cookie_name": "sid", "cookie_ttl": "1h"}],
        lb_policy="ring_hash"))
    envoy = lab.up()
    wait_taken(lab, "/", "b10")
    route = next(iter(envoy.dynamic_routes().values()))["virtual_hosts"][0]["routes"][0]["route"]
    assert route["hash_policy"] == [{"header": {"header_name": "x-user"}, "terminal": True},
                                    {"cookie": {"name": "sid", "ttl": "3600s"}}]


def test_a_domain_of_several_services_of_one_namespace_is_merged_by_paths(lab):
    for n, (name, routes) in enumerate({
            "web": None, "api": [{"match_prefix": "/api"}], "v2": [{"match_prefix": "/api/v2"}],
            "login": [{"match_path": "/api/login"}]}.items()):
        lab.add("test/svc/" + name, l7(lab.world.backend(10 + n, name=name).address, lab.at(8000), "web.test",
                                       routes))
    envoy = lab.up()
    for path, backend in (("/", "web"), ("/x", "web"), ("/api", "api"), ("/api/x", "api"), ("/api/v2/x", "v2"),
                          ("/api/login", "login"), ("/api/login/x", "api")):
        wait_taken(lab, path, backend)
    assert [v["name"] for v in next(iter(envoy.dynamic_routes().values()))["virtual_hosts"]] == ["web.test"]


def test_a_change_of_routes_touches_routes_alone(lab):
    two_services(lab, [{"match_prefix": "/start"}])
    envoy = lab.up()
    wait_taken(lab, "/start", "marked")
    before = envoy.updates()
    with Load(lab.at(8000), "keepalive", host="web.test", workers=2) as load:
        for i in range(10):
            lab.agent.set_keywords("test/svc/marked", {"route#0.match_prefix": "/a%d" % i})
            wait_taken(lab, "/a%d" % i, "marked")
            wait_taken(lab, "/a%d" % (i - 1), "rest")
    load.assert_clean()
    assert envoy.updates() == before


def test_cluster_header_is_refused_unless_allowed(lab):
    lab.add("test/svc/bad", l7(lab.world.backend(10).address, lab.at(8000), "web.test",
                               [{"match_prefix": "/", "route_cluster_header": "x-cluster"}]))
    lab.add("test/svc/good", l7(lab.world.backend(11).address, lab.at(8000), "good.test"))
    lab.up()
    wait_taken(lab, "/", "b11", "good.test")
    lab.igwd.wait_logged("test/svc/bad.expose#0", "route_cluster_header")
    assert ask(lab, headers={"x-cluster": "test/svc/good.expose#0"}).status == 404


@pytest.mark.parametrize("keyword, value", [
    ("match_regex", "("), ("match_regex", "(?=x)"), ("match_regex", "(a{1,1000}){1,1000}"), ("match_path", "noslash"),
    ("route_timeout", "soon"), ("route_timeout", -1), ("redirect_response_code", "418"),
    ("redirect_response_code", 200), ("match_case_sensitive", "perhaps"), ("hash_policies", ["hashpolicy#7"]),
    ("route_prefix_rewrite", 5), ("redirect_host_redirect", {"a": 1}),
])
def test_a_bad_route_is_named_and_everything_else_goes_on(lab, keyword, value):
    route = {keyword: value}
    if keyword == "redirect_response_code":
        route["redirect_https_redirect"] = "true"
    lab.add("test/svc/bad", l7(lab.world.backend(10).address, lab.at(8000), "bad.test", [route]))
    lab.add("test/svc/good", l7(lab.world.backend(11).address, lab.at(8000), "web.test"))
    envoy = lab.up()
    wait_taken(lab, "/", "b11")
    lab.igwd.wait_logged("test/svc/bad.expose#0", keyword)
    assert ask(lab, host="bad.test").status == 404
    assert envoy.rejected() == {}, "it was found out by Envoy only"
    lab.agent.set_keywords("test/svc/bad", {"route#0.match_prefix": "/"}, unset=["route#0." + keyword])
    wait_until(lambda: ask(lab, host="bad.test").status in (200, 301))


@pytest.mark.parametrize("domains", [["*bad*"], ["a b"], [""], [5], "x" * 300 + ".test", ["a.test/path"],
                                     ["caf\udce9.test"]])  # as Python reads a byte that is no UTF-8
def test_bad_domains_are_named_and_everything_else_goes_on(lab, domains):
    bad = l7(lab.world.backend(10).address, lab.at(8000), None)
    bad["vhost#0"]["domains"] = domains
    lab.add("test/svc/bad", bad)
    lab.add("test/svc/good", l7(lab.world.backend(11).address, lab.at(8000), "web.test"))
    envoy = lab.up()
    wait_taken(lab, "/", "b11")
    lab.igwd.wait_logged("test/svc/bad.expose#0", "domains")
    assert envoy.rejected() == {}


def test_an_edge_knows_its_clients_and_distrusts_them(lab):
    lab.add("test/svc/x", l7(lab.world.backend(10).address, lab.at(8000), "web.test"))
    lab.up()
    wait_taken(lab, "/", "b10")
    answer = ask(lab, headers={"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "h.test",
                               "X-Forwarded-Client-Cert": "Hash=0", "X-Envoy-Internal": "true",
                               "X-Envoy-Upstream-Rq-Timeout-Ms": "1"},
                 source=lab.world.ip(200))
    assert header(answer, "x-forwarded-for")[0].split(",")[-1].strip() == lab.world.ip(200)
    assert header(answer, "x-forwarded-proto") == ["http"]
    for name in ("x-forwarded-client-cert", "x-envoy-internal", "x-envoy-upstream-rq-timeout-ms"):
        assert header(answer, name) == []
    assert header(answer, "x-forwarded-host") == ["h.test"]  # as docs/security.md says
    assert ask(lab, "//a///b").json["path"] == "/a/b"
    assert ask(lab, "/a/../b/./c").json["path"] == "/b/c"
    assert ask(lab, headers={"with_underscore": "1"}).status == 400


def test_http_1_0_is_taken(lab):
    lab.add("test/svc/x", l7(lab.world.backend(10).address, lab.at(8000), "web.test"))
    lab.up()
    wait_taken(lab, "/", "b10")
    with connect(lab.at(8000)) as s:
        s.sendall(b"GET /ten HTTP/1.0\r\nHost: web.test\r\n\r\n")
        answer = http.client.HTTPResponse(s)
        answer.begin()
        assert answer.status == 200 and b"/ten" in answer.read()


def test_bodies_and_methods_pass(lab):
    lab.add("test/svc/x", l7(lab.world.backend(10).address, lab.at(8000), "web.test"))
    lab.up()
    wait_taken(lab, "/", "b10")
    body = b"x" * 300000
    answer = ask(lab, method="PUT", body=body)
    assert answer.json["method"] == "PUT" and len(answer.json["body"]) == len(body)
    with connect(lab.at(8000)) as s:
        for i in range(20):
            assert exchange(s, "/%d" % i, host="web.test", close=False).json["path"] == "/%d" % i


def test_l7_without_endpoints_answers_503(lab):
    lab.add("test/svc/x", l7(lab.world.backend(10).address, lab.at(8000), "web.test"), started=False)
    lab.up()
    assert wait_answer(lab.at(8000), host="web.test", status=503)
    lab.agent.start_instance("test/svc/x", "n1")
    wait_taken(lab, "/", "b10")


def test_an_exposure_may_become_l7_and_l4_again(lab):
    lab.add("test/svc/x", l4(lab.world.backend(10).address, lab.at(8000)))
    lab.up()
    wait_taken(lab, "/", "b10", "any")
    config = l7(lab.world.ip(10), lab.at(8000), "web.test")
    lab.agent.set_config("test/svc/x", config)
    wait_until(lambda: ask(lab, host="any").status == 404)
    wait_taken(lab, "/", "b10")
    lab.agent.set_config("test/svc/x", l4(lab.world.ip(10), lab.at(8000)))
    wait_taken(lab, "/", "b10", "any")


def test_the_order_of_keys_does_not_matter(world):
    from declare import Lab
    lab = Lab(world, shuffle=True, seed=7)
    two_services(lab, [{"match_prefix": "/a"}, {"match_path": "/b"}])
    envoy = lab.up()
    wait_taken(lab, "/a", "marked")
    before = envoy.updates(), envoy.stats(r"rds\..*update_success")
    for i in range(5):
        # Everything is said again, in another order.
        lab.agent.node_null("n3")
        lab.agent.restart()
        lab.agent.node_back("n1")
        lab.agent.node_back("n3")
    lab.add("test/svc/marker", l7(lab.world.ip(10), lab.at(8001), "m.test"))
    wait_answer(lab.at(8001), host="m.test")
    after = envoy.updates(), envoy.stats(r"rds\..*update_success")
    assert after[0]["listener_manager.listener_modified"] == before[0]["listener_manager.listener_modified"]
    route = "http.%s" % lab.at(8000)
    for name, value in before[1].items():
        assert after[1][name] == value, (name, route)
