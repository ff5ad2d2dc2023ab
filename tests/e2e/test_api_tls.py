"""The REST interface over TLS: who gets in, which names it goes by, and what a reload changes."""

import datetime
import hashlib
import os
import re
import signal
import socket
import ssl

import pytest

from api_client import TOKEN, VIEWER, Api, digest
from certificates import CA
from declare import l4
from harness import IGWD, SLOW, Igwd, exchange, wait_until

BEARER = {"Authorization": "Bearer " + TOKEN}


class SecureApi(Api):
    """An Api whose TCP address speaks TLS."""

    def __init__(self, world, agent, args=()):
        self.server_ca, self.client_ca = CA("server ca"), CA("client ca")
        self.pair(world, self.server_ca.issue("igwd.test", world.ip(4)))
        self.authorities = world.write("client-ca.pem", self.client_ca.pem, 0o644)
        super().__init__(world, agent, args=["--api-tls-certificate", self.certificate, "--api-tls-key", self.key,
                                             "--api-client-ca", self.authorities, *args])
        with open(self.tokens, "a", encoding="ascii") as file:
            file.write("robot operator=envoy certificate\n")
        self.igwd.signal(signal.SIGHUP)

    def pair(self, world, issued):
        self.certificate = world.write("api.pem", issued.chain, 0o644)
        self.key = world.write("api.key", issued.key, 0o600)
        self.shown = issued.fingerprint

    def context(self, client=None, ca=None):
        context = ssl.create_default_context(cadata=(ca or self.server_ca).pem)
        if client:
            context.load_cert_chain(*client)
        return context

    def secure(self, context=None, name="igwd.test"):
        raw = socket.create_connection(tuple(self.tcp.rsplit(":", 1)), timeout=10 * SLOW)
        try:
            return (context or self.context()).wrap_socket(raw, server_hostname=name)
        except BaseException:
            raw.close()
            raise

    def ask(self, path, headers=None, host="localhost", context=None, method="GET"):
        with self.secure(context) as s:
            return Api.exchange(s, path, method, host=host, headers=headers)


@pytest.fixture
def api(world):
    agent = world.agent(nodes=["n1"])
    agent.add_service("test/svc/web1", l4("10.0.0.1", "127.9.9.9:8080"))
    return SecureApi(world, agent).wait_exposures(1)


def client_files(world, issued, name):
    return world.write(name + ".pem", issued.chain, 0o644), world.write(name + ".key", issued.key, 0o600)


@pytest.mark.sanitized
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_tcp_speaks_tls_alone_and_from_1_2_on(api):
    assert api.ask("/api/v1/exposures", BEARER).json["items"][0]["name"] == "test/svc/web1.expose#0"
    assert api.ask("/api/v1/exposures").status == 401
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = api.context()
        context.minimum_version = context.maximum_version = version
        assert api.ask("/livez", context=context).status == 200
    old = api.context()
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="EOF|PROTOCOL_VERSION"):  # the server, not the client, says no
        api.secure(old)
    assert b"HTTP/1.1 200" not in api.raw(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", tcp=True)
    with pytest.raises(ssl.SSLCertVerificationError):
        api.secure(api.context(ca=api.client_ca))
    assert api.get("/livez").status == 200, "the unix socket stays as it is"


@pytest.mark.sanitized
def test_a_client_certificate_has_the_role_of_its_name(api, world):
    wait_until(lambda: api.ask("/api/v1/auth/whoami", context=api.context(
        client_files(world, api.client_ca.issue("robot", client=True), "robot"))).status == 200)
    robot = api.context(client_files(world, api.client_ca.issue("robot", client=True), "robot"))
    who = api.ask("/api/v1/auth/whoami", context=robot).json
    assert (who["name"], who["role"], who["method"], who["gateways"]) == ("robot", "operator", "certificate",
                                                                          ["envoy"])
    assert api.ask("/api/v1/auth/whoami", BEARER, context=robot).json["name"] == "boss"
    nobody = api.context(client_files(world, api.client_ca.issue("nobody", client=True), "nobody"))
    assert api.ask("/api/v1/auth/whoami", context=nobody).status == 401
    boss = api.context(client_files(world, api.client_ca.issue("boss", client=True), "boss"))
    assert api.ask("/api/v1/auth/whoami", context=boss).status == 401, "a token's name is no certificate's"


@pytest.mark.sanitized
def test_a_session_over_tls_has_a_cookie_that_no_other_host_can_set(api, world):
    answer = api.ask("/api/v1/sessions", BEARER, method="POST")
    assert re.fullmatch(r"__Host-igwd=[A-Za-z0-9_-]{43}; Path=/; Secure; HttpOnly; SameSite=Strict",
                        answer.headers["Set-Cookie"])
    cookie = {"Cookie": answer.headers["Set-Cookie"].split(";")[0]}
    assert api.ask("/api/v1/auth/whoami", cookie).json["method"] == "session"
    assert api.ask("/api/v1/sessions", cookie, method="DELETE").status == 403, "it does not say where it comes from"
    good = {**cookie, "Origin": "https://localhost"}
    assert api.ask("/api/v1/sessions", {**cookie, "Origin": "https://localhost:8443"}, method="DELETE").status == 403
    assert api.ask("/api/v1/sessions", good, method="DELETE").status == 204
    assert api.ask("/api/v1/auth/whoami", cookie).status == 401


def test_a_session_that_a_certificate_began_ends_with_it_and_needs_it_no_more(api, world):
    wait_until(lambda: api.ask("/api/v1/auth/whoami", context=api.context(
        client_files(world, api.client_ca.issue("robot", client=True), "robot"))).status == 200)
    robot = api.context(client_files(world, api.client_ca.issue("robot", client=True, days=0.25), "brief"))
    who = api.ask("/api/v1/auth/whoami", context=robot).json
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert api.ask("/api/v1/sessions", foreign, method="POST", context=robot).status == 403
    session = api.ask("/api/v1/sessions", method="POST", context=robot)
    assert session.status == 201 and session.json["method"] == "certificate"
    ends = [datetime.datetime.fromisoformat(one["expires_at"]) for one in (who, session.json)]
    assert abs(ends[0] - ends[1]) < datetime.timedelta(seconds=2), "before the twelve hours"
    cookie = {"Cookie": session.headers["Set-Cookie"].split(";")[0]}
    who = api.ask("/api/v1/auth/whoami", cookie).json
    assert (who["name"], who["role"], who["gateways"]) == ("robot", "operator", ["envoy"])


@pytest.mark.parametrize("issue", [
    lambda api: CA("another").issue("robot", client=True), lambda api: api.client_ca.issue("robot"),
    lambda api: api.client_ca.issue("robot", client=True, days=-1, since=-3)])
def test_a_client_certificate_that_is_not_believed_ends_the_handshake(api, world, issue):
    context = api.context(client_files(world, issue(api), "bad"))
    with pytest.raises((ssl.SSLError, ConnectionError)):  # the client of TLS 1.3 sees it when it reads
        api.ask("/livez", context=context)


def fingerprint(api):
    with api.secure(api.context()) as s:
        return hashlib.sha256(s.getpeercert(True)).hexdigest()


def test_a_reload_takes_the_next_pair_and_a_bad_one_changes_nothing(api, world):
    held = api.secure()
    first = api.shown
    assert fingerprint(api) == first
    api.pair(world, api.server_ca.issue("igwd.test"))
    api.igwd.signal(signal.SIGHUP)
    wait_until(lambda: fingerprint(api) == api.shown)
    assert first != api.shown
    assert exchange(held, "/livez").status == 200, "a connection from before goes on"
    held.close()
    world.write("api.key", api.server_ca.issue("igwd.test").key, 0o600)  # of another certificate
    api.igwd.signal(signal.SIGHUP)
    wait_until(lambda: [a for a in api.v1("/alarms")["items"] if a["name"] == "api.tls"])
    assert fingerprint(api) == api.shown
    api.pair(world, api.server_ca.issue("igwd.test"))
    api.igwd.signal(signal.SIGHUP)
    wait_until(lambda: not [a for a in api.v1("/alarms")["items"] if a["name"] == "api.tls"])
    assert fingerprint(api) == api.shown


def test_a_slow_handshake_holds_up_nobody(api):
    with socket.create_connection(tuple(api.tcp.rsplit(":", 1)), timeout=10 * SLOW) as s:
        s.sendall(b"\x16\x03\x01")
        for _ in range(8):
            assert api.ask("/livez").status == 200


def test_other_host_names_are_misdirected(world):
    agent = world.agent(nodes=["n1"])
    agent.add_service("test/svc/web1", l4("10.0.0.1", "127.9.9.9:8080"))
    api = SecureApi(world, agent, args=["--api-host", "igwd.test"]).wait_exposures(1)
    for good in ("igwd.test", "IGWD.test:8001", "localhost", "127.0.0.1:1", "[::1]", api.tcp, socket.gethostname()):
        assert api.ask("/livez", host=good).status == 200, good
    for bad in ("evil.test", "igwd.test.evil.test", "10.1.2.3"):
        response = api.ask("/livez", host=bad)
        assert response.status == 421 and response.headers["Content-Type"] == "application/problem+json"
    assert api.get("/livez", headers=None).status == 200
    with api.secure() as s:
        s.sendall(b"GET http://evil.test/livez HTTP/1.1\r\nHost: igwd.test\r\n\r\n")
        assert s.recv(4096).startswith(b"HTTP/1.1 421 ")
    assert api.raw(b"GET /livez HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n").startswith(
        b"HTTP/1.1 200 "), "no browser comes over a unix socket"


def test_beyond_loopback_needs_tls(world):
    issued = CA().issue("igwd.test")
    pair = ["--api-tls-certificate", world.write("c.pem", issued.chain, 0o644),
            "--api-tls-key", world.write("c.key", issued.key, 0o600)]
    common = ["--check-config", "--api", "0.0.0.0:8001", "--api-token-file", "/x"]
    done = Igwd(world, binary=IGWD).run(*common, check=False)
    assert done.returncode != 0 and "needs api-tls-certificate" in done.stderr
    assert Igwd(world, binary=IGWD).run(*common, *pair, check=False).returncode == 0
    for part in (pair[:2], pair[2:], ["--api-client-ca", "/x"]):
        assert Igwd(world, binary=IGWD).run(*common, *part, check=False).returncode != 0


@pytest.mark.parametrize("spoil, words", [
    (lambda files: os.chmod(files["key"], 0o644), "everybody may read"),
    (lambda files: os.unlink(files["key"]), "can't be read"),
    (lambda files: open(files["certificate"], "w", encoding="ascii").close(), "is no certificate"),
    (lambda files: open(files["ca"], "w", encoding="ascii").close(), "no certificate of an authority")])
def test_a_bad_pair_is_told_at_the_start(world, spoil, words):
    agent = world.agent(nodes=["n1"])
    issued = CA().issue("igwd.test")
    files = {"certificate": world.write("c.pem", issued.chain, 0o644), "key": world.write("c.key", issued.key, 0o600),
             "ca": world.write("ca.pem", CA().pem, 0o644)}
    spoil(files)
    tokens = world.write("tokens", "guest viewer %s\n" % digest(VIEWER), 0o600)
    igwd = Igwd(world, agent=agent, args=[
        "--api", world.ip(4) + ":8001", "--api-token-file", tokens, "--api-tls-certificate", files["certificate"],
        "--api-tls-key", files["key"], "--api-client-ca", files["ca"]])
    igwd.expected_exits.add(1)
    igwd.spawn(igwd.command(), igwd.environment())
    igwd.child.wait(20)
    assert igwd.child.returncode == 1 and words in igwd.log_text(), igwd.log_text()


@pytest.mark.sanitized
def test_a_stream_goes_on_over_tls(api):
    """Its connection sleeps between events, with the library's TLS beneath it."""
    with api.secure() as s:
        s.sendall(("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\n\r\n" % (
            BEARER["Authorization"])).encode())
        file = s.makefile("rb")
        assert b" 200 " in file.readline()
        for n in range(5):
            api.agent.resource_down("test/svc/web1", "n1", up=n % 2 == 1)
            while not (line := file.readline()).startswith(b"data:") or b"web1" not in line:
                assert line, "the stream ended"
        file.close()
    assert api.ask("/livez").status == 200
