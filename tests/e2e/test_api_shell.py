"""The REST interface as HTTP: what is refused, what is negotiated, who may ask."""

import gzip
import os
import re
import signal
import socket
import stat
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api_client import TOKEN, VIEWER, Api, bearer, digest
from declare import l4
from harness import IGWD, Igwd, wait_until


@pytest.fixture
def api(world):
    agent = world.agent(nodes=["n1"])
    agent.add_service("test/svc/web1", l4("10.0.0.1", "127.9.9.9:8080"))
    return Api(world, agent).wait_exposures(1)


def assert_problem(response, status):
    assert response.status == status, response
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json
    assert problem["status"] == status and problem["detail"]
    assert problem["request_id"] == response.headers["X-Request-Id"]
    return problem


@pytest.mark.sanitized
def test_a_name_with_slashes_and_a_hash_is_one_segment(api):
    found = api.v1("/exposures/test%2Fsvc%2Fweb1.expose%230")
    assert found["name"] == "test/svc/web1.expose#0" and found["status"]["endpoints"]["up"] == 1
    assert_problem(api.get("/api/v1/exposures/test/svc/web1.expose%230"), 404)
    assert_problem(api.get("/api/v1/exposures/test%2Fsvc%2Fweb1.expose%231"), 404)


@pytest.mark.parametrize("target", ["/api/v1/exposures/%zz", "/api/v1/exposures/%", "/api/v1/exposures/a%00b",
                                    "/api/v1/exposures/%ff"])
def test_a_badly_encoded_target_is_refused(api, target):
    assert_problem(api.get(target), 400)


def test_all_faults_of_a_query_are_told_at_once(api):
    problem = assert_problem(api.get("/api/v1/exposures?limit=0&x=1&sort=nope&fields=name,nope&protocol=sctp"
                                     "&q=a&q=b"), 400)
    found = {(e["parameter"], e["code"]) for e in problem["errors"]}
    assert found == {("limit", "invalid"), ("x", "unknown"), ("sort", "invalid"), ("fields", "unknown"),
                     ("protocol", "invalid"), ("q", "duplicate")}


def test_head_options_and_wrong_methods(api):
    whole, head = api.get("/api/v1/summary"), api.get("/api/v1/summary", "HEAD")
    assert head.status == 200 and head.body == b""
    assert head.headers["Content-Length"] == str(len(whole.body)) and head.headers["ETag"] == whole.headers["ETag"]
    options = api.get("/api/v1/summary", "OPTIONS")
    assert options.status == 204 and options.headers["Allow"] == "GET, HEAD, OPTIONS"
    for method, body in (("POST", None), ("POST", b"{}"), ("DELETE", None), ("TRACE", None), ("PROPFIND", b"<a/>")):
        response = api.get("/api/v1/summary", method, body=body)
        assert_problem(response, 405)
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert_problem(api.get("/api/v1/nothing", "POST"), 404)
    assert_problem(api.get("/api/v1/explain", "GET", body=b"{}"), 405)


def test_negotiation(api):
    assert_problem(api.get("/api/v1/summary", headers={"Accept": "text/html"}), 406)
    assert_problem(api.get("/api/v1/summary", headers={"Accept": "*/*, application/json;q=0"}), 406)
    assert api.get("/api/v1/summary", headers={"Accept": "application/*;q=0.1"}).status == 200
    plain, packed = (api.get("/api/v1/openapi.yaml", headers=h) for h in ({}, {"Accept-Encoding": "br, gzip"}))
    assert packed.headers["Content-Encoding"] == "gzip" and gzip.decompress(packed.body) == plain.body
    assert packed.headers["ETag"] != plain.headers["ETag"] and "Accept-Encoding" in packed.headers["Vary"]
    assert "Content-Encoding" not in api.get("/livez", headers={"Accept-Encoding": "gzip"}).headers
    assert "Content-Encoding" not in api.get("/api/v1/openapi.yaml",
                                             headers={"Accept-Encoding": "gzip;q=0"}).headers


def test_what_the_client_has_already_is_not_sent_again(api):
    path = "/api/v1/exposures/test%2Fsvc%2Fweb1.expose%230"
    tag = api.get(path).headers["ETag"]
    assert re.fullmatch(r'"[0-9a-f]{16}\.[0-9a-f]{16}"', tag)
    for listed in (tag, "W/" + tag, '"x", ' + tag, "*", tag[:-1] + '-gzip"'):
        response = api.get(path, headers={"If-None-Match": listed})
        assert response.status == 304 and response.body == b"" and response.headers["ETag"] == tag
        assert response.headers["Cache-Control"] == "no-store" and "Accept-Encoding" in response.headers["Vary"]
    assert api.get(path, headers={"If-None-Match": '"x"'}).status == 200


def test_an_endpoint_that_flips_changes_the_tags_second_half_alone(api):
    path = "/api/v1/exposures/test%2Fsvc%2Fweb1.expose%230"
    spec, status = api.get(path).headers["ETag"].strip('"').split(".")
    api.agent.resource_down("test/svc/web1", "n1")
    wait_until(lambda: api.v1(path[7:])["status"]["endpoints"]["up"] == 0)
    now = api.get(path).headers["ETag"].strip('"').split(".")
    assert now[0] == spec and now[1] != status


def test_security_fields_stand_on_every_answer(api):
    for path in ("/livez", "/api/v1/nothing", "/api/v1/summary", "/api/v1/summary?x=1"):
        headers = api.get(path).headers
        assert headers["Cache-Control"] == "no-store" and headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"] and headers["X-Frame-Options"] == "DENY"


@pytest.mark.sanitized
@pytest.mark.parametrize("lines", [
    ["Host: a", "Host: b"], [], ["Host: a", "Content-Length: 3", "Transfer-Encoding: chunked"],
    ["Host: a", "Content-Length: 3", "Content-Length: 4"], ["Host: a", "Transfer-Encoding: gzip"],
    ["Host: a", "Content-Length: 3"],
    ["Host: a", "Transfer-Encoding: chunked"]])
def test_ambiguous_framing_and_content_nobody_takes_are_refused(api, lines):
    answer = api.raw(("\r\n".join(["GET /livez HTTP/1.1"] + lines) + "\r\n\r\n").encode())
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"\r\nDate: ") == 1, "the connection ends"


def test_what_the_library_refuses_itself_ends_the_connection(api):
    answer = api.raw(b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"
                     b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ") and b"HTTP/1.1 200" not in answer, answer


def test_limits_have_answers(api):
    assert_problem(api.get("/livez?" + "a" * 9000), 414)
    assert_problem(api.get("/livez", headers={"X-A": "a" * 17000}), 431)
    answer = api.raw(b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 "), answer


def test_http_1_0_needs_no_host_and_the_absolute_form_is_taken(api):
    assert api.raw(b"GET /livez HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200 ") or \
        api.raw(b"GET /livez HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    answer = api.raw(b"GET http://x/livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 "), answer


@pytest.mark.sanitized
def test_tcp_wants_a_token_and_tells_nothing_without_one(api):
    for header in ({}, {"Authorization": "Bearer " + TOKEN[:-1] + "x"}, {"Authorization": "Bearer "},
                   {"Authorization": "Basic " + TOKEN}):
        for path in ("/api/v1/summary", "/api/v1/exposures/test%2Fsvc%2Fweb1.expose%230", "/api/v1/no", "/metrics"):
            response = api.get(path, headers=header, tcp=True)
            assert_problem(response, 401)
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert api.get("/livez", tcp=True).status == 200
    who = api.v1("/auth/whoami", **bearer(VIEWER))
    assert (who["name"], who["role"], who["method"]) == ("guest", "viewer", "token")
    assert TOKEN not in api.igwd.log_text() and VIEWER not in api.igwd.log_text()


def test_a_token_is_taken_away_by_a_reload_and_a_bad_file_changes_nothing(api):
    with open(api.tokens, "w", encoding="ascii") as file:
        file.write("nonsense\n")
    api.igwd.signal(signal.SIGHUP)
    api.igwd.wait_logged("tokens can't be read again")
    assert api.get("/api/v1/version", **bearer(VIEWER)).status == 200
    with open(api.tokens, "w", encoding="ascii") as file:
        file.write("boss admin %s\n" % digest(TOKEN))
    api.igwd.signal(signal.SIGHUP)
    wait_until(lambda: api.get("/api/v1/version", **bearer(VIEWER)).status == 401)


def test_the_unix_socket_is_for_its_group_alone(api):
    assert stat.S_IMODE(os.stat(api.socket).st_mode) == 0o660
    assert api.v1("/auth/whoami")["role"] == "admin"
    if os.geteuid() != 0:
        return
    os.chmod(api.socket, 0o666)  # what only the peer's credentials keep out now
    os.chmod(os.path.dirname(api.socket), 0o755)
    script = ("import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); "
              "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
              "s.sendall(b'GET /api/v1/version HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n'); "
              "print(s.recv(4096).decode())")
    done = subprocess.run(["python3", "-c", script, api.socket], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("HTTP/1.1 403 "), done.stdout


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(world, api):
    other = Igwd(world, agent_path=api.agent.path, state="other", xds=world.ip(5) + ":50051",
                 args=["--api", "unix:" + api.socket])
    other.expected_exits.add(1)
    other.spawn(other.command(), other.environment())
    other.child.wait(20)
    assert other.child.returncode == 1 and "somebody listens there already" in other.log_text()
    assert api.get("/livez").status == 200
    api.igwd.restart(kill=True)
    api.wait_live()
    api.igwd.terminate()
    assert not os.path.exists(api.socket)


@pytest.mark.parametrize("args", [["--api", "127.0.0.1:8080"], ["--api", "0.0.0.0:8080", "--api-token-file", "/x"]])
def test_plaintext_stays_on_the_machine_and_tcp_needs_tokens(world, args):
    done = Igwd(world, binary=IGWD).run("--check-config", *args, check=False)
    assert done.returncode != 0 and "api" in done.stderr


def test_a_token_file_that_others_can_read_is_refused(world):
    agent = world.agent(nodes=["n1"])
    tokens = world.write("open-tokens", "a admin %s\n" % digest(TOKEN), 0o644)
    igwd = Igwd(world, agent=agent, args=["--api", world.ip(4) + ":8001", "--api-token-file", tokens])
    igwd.expected_exits.add(1)
    igwd.spawn(igwd.command(), igwd.environment())
    igwd.child.wait(20)
    assert "0600" in igwd.log_text()


def test_metrics_are_what_prometheus_reads(api):
    text = api.get("/metrics").body.decode()
    families = {f.name: f for f in text_string_to_metric_families(text)}
    assert families["igwd_exposures"].samples[0].value == 1
    assert families["igwd_http_requests"].type == "counter"
    assert families["igwd_http_request_duration_seconds"].type == "histogram"
    for family in families.values():
        assert family.documentation and family.name.startswith(("igwd_", "process_"))


def test_connections_above_the_limit_get_an_answer(api):
    held = []
    try:
        for _ in range(512):
            held.append(api.connect())
        response = None
        for _ in range(4):
            response = api.get("/api/v1/version")
            if response.status == 503:
                break
        assert_problem(response, 503)
        assert int(response.headers["Retry-After"]) > 0
        probe = api.get("/livez")
        assert probe.status == 200 and probe.closing, "probes are answered all the same"
        assert api.get("/readyz").status == 200
    finally:
        for s in held:
            s.close()
    api.wait_live()


def test_requests_in_a_row_on_one_connection(api):
    with api.connect() as s:
        s.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
        s.shutdown(socket.SHUT_WR)
        found = b""
        while part := s.recv(65536):
            found += part
    assert found.count(b"HTTP/1.1 200 ") == 20
