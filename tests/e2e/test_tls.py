"""TLS: passed through by name, ended at the gateway, towards endpoints, with client certificates, and its faults."""

import hashlib
import pathlib
import socket
import ssl
import subprocess

import pytest

from certificates import CA
from declare import l4, l7, with_certificates
from harness import (Load, WebSocket, client_context, connect, exchange, fingerprint, holds_for, request,
                     server_context, tcp_echo, wait_answer, wait_until)


def wait_fingerprint(address, certificate, sni, **options):
    return wait_until(lambda: fingerprint(address, sni, **options) == certificate.fingerprint,
                      what="the certificate of %s to be served" % sni)


def no_handshake(address, sni, client=None):
    """Whether TLS with that name comes to nothing."""
    try:
        with connect(address, tls=client_context(client=client), sni=sni) as s:
            exchange(s, "/", host=sni)
        return False
    except OSError:
        return True


@pytest.mark.sanitized
def test_passthrough_by_name(lab, ca, sotw):
    own = {}
    for n, name in ((10, "a.test"), (11, "b.test")):
        own[name] = ca.issue(name)
        backend = lab.world.backend(n, tls=server_context(own[name]))
        lab.add("test/svc/" + name[0], l4(backend.address, lab.at(8443), sni=name))
    lab.up(sotw)
    trusting = client_context(ca)
    for name, backend in (("a.test", "b10"), ("b.test", "b11")):
        answer = wait_answer(lab.at(8443), tls=trusting, sni=name, backend=backend)
        assert answer.json["sni"] == name
        assert fingerprint(lab.at(8443), name) == own[name].fingerprint
    assert no_handshake(lab.at(8443), "c.test")
    # Names are compared without case.
    assert request(lab.at(8443), tls=client_context(), sni="A.TEST").backend == "b10"


def test_wildcard_names_and_plain_connections_beside_named_ones(lab, ca):
    wild = lab.world.backend(10, tls=server_context(ca.issue("*.wild.test")))
    plain = lab.world.backend(11, name="plain")
    lab.add("test/svc/wild", l4(wild.address, lab.at(8443), sni="*.wild.test"))
    lab.add("test/svc/plain", l4(plain.address, lab.at(8443)))
    lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca), sni="x.wild.test", backend="b10")
    wait_answer(lab.at(8443), backend="plain")


@pytest.mark.sanitized
@pytest.mark.parametrize("source", ["secret", "file", "inline"])
def test_tls_ends_at_the_gateway(lab, ca, source):
    certificate = ca.issue("web.test")
    backend = lab.world.backend(10)
    if source == "secret":
        lab.agent.set_secret("test/sec/web", certificate.secret())
        section = "web"
    elif source == "file":
        section = {"certificate_chain_filename": lab.world.write("chain.pem", certificate.chain),
                   "private_key_filename": lab.world.write("key.pem", certificate.key)}
    else:
        section = {"certificate_chain_inline_string": certificate.chain,
                   "private_key_inline_string": certificate.key}
    lab.add("test/svc/web", l7(backend.address, lab.at(8443), "web.test", certificates={"front": section}))
    envoy = lab.up()
    answer = wait_answer(lab.at(8443), tls=client_context(ca), sni="web.test", backend="b10")
    assert ["x-forwarded-proto", "https"] in answer.json["headers"]
    assert fingerprint(lab.at(8443), "web.test") == certificate.fingerprint
    name = "tls_certificate/test/sec/web" if source == "secret" else "tls_certificate/test/svc/web.certificate#front"
    assert list(envoy.dynamic_secrets()) == [name]
    # Nothing that can be read of Envoy or igwd has the key.
    secret_part = certificate.key.splitlines()[2]
    if source != "inline":
        assert secret_part not in envoy.get("/config_dump")
    assert secret_part not in lab.igwd.log_text() and secret_part not in envoy.log_text()


def test_several_kinds_of_certificates_on_one_chain(lab, ca):
    lab.agent.set_secret("test/sec/ec", ca.issue("web.test").secret())
    rsa = ca.issue("web.test", kind="rsa2048")
    files = {"certificate_chain_filename": lab.world.write("chain.pem", rsa.chain),
             "private_key_filename": lab.world.write("key.pem", rsa.key)}
    backend = lab.world.backend(10)
    lab.add("test/svc/web", l7(backend.address, lab.at(8443), "web.test", certificates={"a": "ec", "b": files}))
    lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca), sni="web.test")
    only_rsa = client_context(ca)
    only_rsa.maximum_version = ssl.TLSVersion.TLSv1_2
    only_rsa.set_ciphers("aRSA")
    with connect(lab.at(8443), tls=only_rsa, sni="web.test") as s:
        assert hashlib.sha256(s.getpeercert(binary_form=True)).hexdigest() == rsa.fingerprint


def test_tls_is_at_least_1_2_and_offers_http2(lab, ca):
    lab.agent.set_secret("test/sec/web", ca.issue("web.test").secret())
    backend, echo = lab.world.backend(10), lab.world.backend(11, kind="echo")
    lab.add("test/svc/web", l7(backend.address, lab.at(8443), "web.test", certificates={"front": "web"}))
    lab.add("test/svc/tcp", with_certificates(l4(echo.address, lab.at(8444), sni="web.test"), {"front": "web"}))
    lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca), sni="web.test")
    with connect(lab.at(8443), tls=client_context(ca, alpn=("h2", "http/1.1")), sni="web.test") as s:
        assert s.selected_alpn_protocol() == "h2"
        assert s.version() == "TLSv1.3"
    wait_until(lambda: tcp_echo(lab.at(8444), tls=client_context(ca, alpn=()), sni="web.test") == b"b11 hello")
    with connect(lab.at(8444), tls=client_context(ca, alpn=("h2",)), sni="web.test") as s:
        assert s.selected_alpn_protocol() is None
    for address in (lab.at(8443), lab.at(8444)):
        old = subprocess.run(["openssl", "s_client", "-connect", address, "-servername", "web.test", "-tls1_1",
                              "-cipher", "ALL:@SECLEVEL=0"], stdin=subprocess.DEVNULL, capture_output=True,
                             timeout=60, check=False)
        assert old.returncode != 0, old.stdout


def test_http2_reaches_the_service(lab, ca):
    lab.agent.set_secret("test/sec/web", ca.issue("web.test").secret())
    backend = lab.world.backend(10)
    lab.add("test/svc/web", l7(backend.address, lab.at(8443), "web.test", certificates={"front": "web"}))
    lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca), sni="web.test")
    host, port = lab.at(8443).split(":")
    done = subprocess.run(["curl", "-s", "--http2", "--cacert", lab.world.write("ca.pem", ca.pem), "--resolve",
                           "web.test:%s:%s" % (port, host), "-w", "\n%{http_version}",
                           "https://web.test:%s/two" % port], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.endswith("\n2"), (done.stdout, done.stderr)
    assert '"path": "/two"' in done.stdout


def test_an_encrypted_key_with_its_password(lab, ca):
    certificate = ca.issue("web.test", password="open sesame")
    lab.agent.set_secret("test/sec/web", certificate.secret())
    backend = lab.world.backend(10)
    lab.add("test/svc/web", l7(backend.address, lab.at(8443), "web.test", certificates={"front": "web"}))
    lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca), sni="web.test", backend="b10")
    assert "open sesame" not in lab.igwd.log_text()


def test_server_key_is_another_name_of_the_key(lab, ca):
    certificate = ca.issue("web.test")
    lab.agent.set_secret("test/sec/web", {"certificate_chain": certificate.chain, "server_key": certificate.key})
    backend = lab.world.backend(10)
    lab.add("test/svc/web", l7(backend.address, lab.at(8443), "web.test", certificates={"front": "web"}))
    lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca), sni="web.test", backend="b10")


def test_tls_towards_the_endpoints(lab, ca):
    theirs = CA("theirs")
    strict = lab.world.backend(10, tls=server_context(theirs.issue("b.test"), client_ca=ca))
    me = ca.issue("gateway", client=True)
    lab.agent.set_secret("test/sec/client", me.secret())
    lab.agent.set_secret("test/sec/trust", {"trusted_ca": theirs.pem})
    lab.agent.set_secret("test/sec/distrust", {"trusted_ca": ca.pem})
    for n, (name, section) in enumerate({
            "plain": {"certificate_secret": "client"},
            "checked": {"certificate_secret": "client", "validation_secret": "trust"},
            "wrong": {"certificate_secret": "client", "validation_secret": "distrust"}}.items()):
        config = l7(strict.address, lab.at(8000 + n), "*", cluster_certificates="certificate#c")
        config["certificate#c"] = {"type": "tls", **section}
        lab.add("test/svc/" + name, config)
    envoy = lab.up()
    for n in (0, 1):
        answer = wait_answer(lab.at(8000 + n), backend="b10")
        assert answer.json["client"] == [[["commonName", "gateway"]]]
    wait_until(lambda: "test/svc/wrong.expose#0" in envoy.dynamic_clusters())
    wait_answer(lab.at(8002), status=503)
    assert wait_until(lambda: envoy.stat("cluster.test/svc/wrong.expose#0.ssl.fail_verify_error")) > 0
    assert envoy.rejected() == {}


def test_tls_towards_the_endpoints_with_files(lab, ca):
    strict = lab.world.backend(10, tls=server_context(ca.issue("b.test"), client_ca=ca))
    me = ca.issue("gateway", client=True)
    config = l4(strict.address, lab.at(8000), cluster_certificates="certificate#c",
                cluster_private_key_filename=lab.world.write("key.pem", me.key))
    config["certificate#c"] = {"type": "tls",
                               "certificate_chain_filename": lab.world.write("chain.pem", me.chain)}
    lab.add("test/svc/x", config)
    lab.up()
    assert wait_answer(lab.at(8000), backend="b10").json["client"] == [[["commonName", "gateway"]]]


def validated(lab, backend, validation="clients"):
    section = {"certificate_secret": "web", "validation_secret": validation}
    return l7(backend.address, lab.at(8443), "web.test", certificates={"front": section})


@pytest.mark.sanitized
def test_a_validation_secret_requires_a_client_certificate(lab, ca):
    clients = CA("clients")
    lab.agent.set_secret("test/sec/web", ca.issue("web.test").secret())
    lab.agent.set_secret("test/sec/clients", {"trusted_ca": clients.pem})
    lab.add("test/svc/web", validated(lab, lab.world.backend(10)))
    envoy = lab.up()
    known = client_context(ca, client=clients.issue("alice", client=True))
    wait_answer(lab.at(8443), tls=known, sni="web.test", backend="b10")
    assert no_handshake(lab.at(8443), "web.test")
    assert no_handshake(lab.at(8443), "web.test", client=CA("others").issue("mallory", client=True))
    assert set(envoy.dynamic_secrets()) == {"tls_certificate/test/sec/web", "validation_context/test/sec/clients"}
    # The anchors are rotated live.
    newer = CA("newer")
    lab.agent.set_secret("test/sec/clients", {"trusted_ca": newer.pem})
    wait_answer(lab.at(8443), tls=client_context(ca, client=newer.issue("bob", client=True)), sni="web.test")
    wait_until(lambda: no_handshake(lab.at(8443), "web.test", client=clients.issue("alice", client=True)))


def test_a_client_certificate_by_its_hash(lab, ca):
    clients = CA("clients")
    alice = clients.issue("alice", client=True)
    lab.agent.set_secret("test/sec/web", ca.issue("web.test").secret())
    lab.agent.set_secret("test/sec/clients", {"trusted_ca": clients.pem,
                                              "verify_certificate_hash": alice.fingerprint})
    lab.add("test/svc/web", validated(lab, lab.world.backend(10)))
    lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca, client=alice), sni="web.test", backend="b10")
    assert no_handshake(lab.at(8443), "web.test", client=clients.issue("bob", client=True))


@pytest.mark.parametrize("trust", [None, {"trusted_ca": "nonsense"}, {"other": "x"}])
def test_a_missing_or_bad_validation_fails_closed_and_alone(lab, ca, trust):
    lab.agent.set_secret("test/sec/web", ca.issue("web.test").secret())
    if trust:
        lab.agent.set_secret("test/sec/clients", trust)
    lab.add("test/svc/web", validated(lab, lab.world.backend(10)))
    lab.add("test/svc/other", l7(lab.world.backend(11).address, lab.at(8443), "other.test",
                                 certificates={"front": "web"}))
    lab.up()
    wait_answer(lab.at(8443), tls=client_context(), sni="other.test", backend="b11")
    lab.igwd.wait_logged("test/svc/web.expose#0", "test/sec/clients")
    assert no_handshake(lab.at(8443), "web.test")
    clients = CA("clients")
    lab.agent.set_secret("test/sec/clients", {"trusted_ca": clients.pem})
    known = client_context(ca, client=clients.issue("alice", client=True))
    wait_answer(lab.at(8443), tls=known, sni="web.test", backend="b10")
    assert no_handshake(lab.at(8443), "web.test")


def test_a_missing_secret_holds_back_its_own_chain_only(lab, ca):
    backend = lab.world.backend(10)
    lab.agent.set_secret("test/sec/good", ca.issue("good.test").secret())
    lab.add("test/svc/good", l7(backend.address, lab.at(8443), "good.test", certificates={"front": "good"}))
    lab.add("test/svc/late", l7(backend.address, lab.at(8443), "late.test", certificates={"front": "late"}))
    lab.add("test/svc/alone", l7(backend.address, lab.at(8444), "late.test", certificates={"front": "late"}))
    envoy = lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca), sni="good.test")
    lab.igwd.wait_logged("test/svc/late.expose#0", "test/sec/late")
    assert no_handshake(lab.at(8443), "late.test")
    assert list(envoy.dynamic_listeners()) == [lab.at(8443) + "/tcp"] and envoy.warming() == []
    late = ca.issue("late.test")
    lab.agent.set_secret("test/sec/late", late.secret())
    wait_fingerprint(lab.at(8443), late, "late.test")
    wait_fingerprint(lab.at(8444), late, "late.test")


def test_a_missing_file_fails_one_chain(lab, ca):
    backend = lab.world.backend(10)
    lab.agent.set_secret("test/sec/good", ca.issue("good.test").secret())
    lab.add("test/svc/good", l7(backend.address, lab.at(8443), "good.test", certificates={"front": "good"}))
    lab.add("test/svc/file", l7(backend.address, lab.at(8443), "file.test", certificates={"front": {
        "certificate_chain_filename": "/nonexistent/chain.pem", "private_key_filename": "/nonexistent/key.pem"}}))
    lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca), sni="good.test")
    assert no_handshake(lab.at(8443), "file.test")


def broken(ca):
    """Secrets that can't be served."""
    good, other = ca.issue("bad.test"), ca.issue("bad.test")
    middle = CA("middle", parent=ca)
    return {
        "key does not fit": {"certificate_chain": good.chain, "private_key": other.key},
        "no PEM": {"certificate_chain": "nonsense", "private_key": good.key},
        "key is no PEM": {"certificate_chain": good.chain, "private_key": "nonsense"},
        "no key": {"certificate_chain": good.chain},
        "chain out of order": {"certificate_chain": middle.pem + good.chain, "private_key": good.key},
        "wrong password": dict(ca.issue("bad.test", password="right").secret(), password="wrong"),
        "empty": {"certificate_chain": "", "private_key": ""},
    }


@pytest.mark.parametrize("fault", ["key does not fit", "no PEM", "key is no PEM", "no key", "chain out of order",
                                   "wrong password", "empty"])
def test_a_bad_certificate_is_left_out_alone_and_taken_once_mended(lab, ca, fault):
    backend = lab.world.backend(10)
    lab.agent.set_secret("test/sec/good", ca.issue("good.test").secret())
    lab.agent.set_secret("test/sec/bad", broken(ca)[fault])
    lab.add("test/svc/good", l7(backend.address, lab.at(8443), "good.test", certificates={"front": "good"}))
    lab.add("test/svc/bad", l7(backend.address, lab.at(8443), "bad.test", certificates={"front": "bad"}))
    envoy = lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca), sni="good.test")
    lab.igwd.wait_logged("test/sec/bad")
    assert no_handshake(lab.at(8443), "bad.test")
    assert envoy.rejected() == {}, "it was found out by Envoy only"
    mended = ca.issue("bad.test")
    lab.agent.set_secret("test/sec/bad", mended.secret())
    wait_fingerprint(lab.at(8443), mended, "bad.test")
    # What was good once stays when it is broken again.
    lab.agent.set_secret("test/sec/bad", broken(ca)[fault])
    lab.igwd.wait_logged("test/sec/bad", times=2)
    marker = ca.issue("good.test")
    lab.agent.set_secret("test/sec/good", marker.secret())
    wait_fingerprint(lab.at(8443), marker, "good.test")
    assert fingerprint(lab.at(8443), "bad.test") == mended.fingerprint


def test_an_expired_certificate_is_served_with_an_alarm(lab, ca):
    expired = ca.issue("old.test", since=-30, days=-1)
    lab.agent.set_secret("test/sec/old", expired.secret())
    lab.add("test/svc/old", l7(lab.world.backend(10).address, lab.at(8443), "old.test",
                               certificates={"front": "old"}))
    lab.up()
    wait_fingerprint(lab.at(8443), expired, "old.test")
    lab.igwd.wait_logged("test/sec/old", "expired")


@pytest.mark.sanitized
def test_rotation_is_seen_in_the_fingerprint_without_a_dropped_connection(lab, ca):
    lab.agent.set_secret("test/sec/web", ca.issue("web.test").secret())
    lab.add("test/svc/web", l7(lab.world.backend(10).address, lab.at(8443), "web.test",
                               certificates={"front": "web"}))
    envoy = lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca), sni="web.test")
    before = envoy.updates()
    loads = [Load(lab.at(8443), mode, tls=client_context(ca), sni="web.test", workers=2).start()
             for mode in ("keepalive", "new")]
    with connect(lab.at(8443), tls=client_context(ca), sni="web.test") as old:
        for _ in range(4):
            newer = ca.issue("web.test")
            lab.agent.set_secret("test/sec/web", newer.secret())
            wait_fingerprint(lab.at(8443), newer, "web.test")
            loads[0].wait_answered(20)
            assert exchange(old, "/", host="web.test", close=False).status == 200
    for load in loads:
        load.assert_clean(20)
    assert loads[0].connections == 2, "connections were dropped"
    assert envoy.updates() == before, "a rotation is a matter of SDS alone"


def test_keys_of_a_secret_that_change_one_after_the_other_are_never_mixed(lab, ca):
    first = ca.issue("web.test")
    lab.agent.set_secret("test/sec/web", first.secret())
    lab.add("test/svc/web", l7(lab.world.backend(10).address, lab.at(8443), "web.test",
                               certificates={"front": "web"}))
    envoy = lab.up()
    wait_fingerprint(lab.at(8443), first, "web.test")
    for order in (("private_key", "certificate_chain"), ("certificate_chain", "private_key")):
        newer = ca.issue("web.test")
        values = newer.secret()
        with Load(lab.at(8443), tls=client_context(ca), sni="web.test", workers=2) as load:
            asked = lab.agent.count("get_secret_key")
            lab.agent.change_secret_key("test/sec/web", order[0], values[order[0]])
            wait_until(lambda: lab.agent.count("get_secret_key") >= asked + 2, what="the secret to be read again")
            holds_for(lambda: fingerprint(lab.at(8443), "web.test") == first.fingerprint, 0.3,
                      "the last pair that fitted")
            lab.agent.change_secret_key("test/sec/web", order[1], values[order[1]])
            wait_fingerprint(lab.at(8443), newer, "web.test")
        load.assert_clean()
        first = newer
    assert envoy.rejected() == {}


def test_slow_secrets_delay_nothing_else(lab, ca):
    one, two = lab.world.backend(10), lab.world.backend(11)
    lab.agent.set_secret("test/sec/web", ca.issue("web.test").secret())
    lab.agent.delays["get_secret_key"] = 5
    lab.agent.delays["object_keys"] = 5
    lab.add("test/svc/plain", l4({"n1": one.address, "n2": two.address}, lab.at(8000)), started=["n1"])
    lab.add("test/svc/web", l7(one.address, lab.at(8443), "web.test", certificates={"front": "web"}))
    lab.up()
    wait_answer(lab.at(8000), backend="b10", timeout=4)
    lab.agent.move("test/svc/plain", "n1", "n2")
    wait_answer(lab.at(8000), backend="b11", timeout=4)
    wait_answer(lab.at(8443), tls=client_context(ca), sni="web.test", timeout=40)


def test_a_secret_is_fetched_when_referred_to_and_when_its_checksum_changes(lab, ca):
    lab.agent.set_secret("test/sec/web", ca.issue("web.test").secret())
    lab.agent.set_secret("test/sec/nobodys", ca.issue("x.test").secret())
    lab.add("test/svc/web", l7(lab.world.backend(10).address, lab.at(8443), "web.test",
                               certificates={"front": "web"}))
    lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca), sni="web.test")
    asked = {r["options"]["path"] for r in lab.agent.requests_of("get_secret_key")}
    assert asked == {"test/sec/web"}
    before = lab.agent.count("get_secret_key")
    lab.agent.set_keywords("test/svc/web", {"expose#0.lb_policy": "random"})
    lab.agent.make_noise(20)
    lab.agent.resource_down("test/svc/web", "n1")
    lab.agent.resource_down("test/svc/web", "n1", up=True)
    wait_answer(lab.at(8443), tls=client_context(ca), sni="web.test")
    assert lab.agent.count("get_secret_key") == before


def test_a_secret_of_another_namespace_needs_a_grant(lab, ca):
    lab.agent.set_secret("other/sec/web", ca.issue("web.test").secret())
    lab.add("test/svc/web", l7(lab.world.backend(10).address, lab.at(8443), "web.test",
                               certificates={"front": "other/sec/web"}))
    lab.add("test/svc/plain", l4(lab.world.backend(11).address, lab.at(8000)))
    lab.up()
    wait_answer(lab.at(8000))
    lab.igwd.wait_logged("test/svc/web.expose#0")
    assert no_handshake(lab.at(8443), "web.test")


def test_a_host_of_another_chain_is_misdirected(lab, ca):
    for name in ("a.test", "b.test"):
        lab.agent.set_secret("test/sec/" + name[0], ca.issue(name).secret())
        lab.add("test/svc/" + name[0], l7(lab.world.backend(10 + ord(name[0]) % 2, name=name).address, lab.at(8443),
                                          name, certificates={"front": name[0]}))
    lab.up()
    for name in ("a.test", "b.test"):
        wait_answer(lab.at(8443), tls=client_context(ca), sni=name, backend=name)
    assert request(lab.at(8443), tls=client_context(ca), sni="a.test", host="b.test").status == 421
    assert request(lab.at(8443), tls=client_context(ca), sni="b.test", host="a.test").status == 421


def test_chains_with_one_certificate_merge_and_serve_all_names(lab, ca):
    lab.agent.set_secret("test/sec/wild", ca.issue("*.shared.test").secret())
    for n, name in enumerate(("a", "b", "c")):
        lab.add("test/svc/" + name, l7(lab.world.backend(10 + n, name=name).address, lab.at(8443),
                                       name + ".shared.test", certificates={"front": "wild"}))
    envoy = lab.up()
    for name in ("a", "b", "c"):
        wait_answer(lab.at(8443), tls=client_context(ca), sni=name + ".shared.test", backend=name)
    # A browser reuses the connection for each name that the certificate covers.
    with connect(lab.at(8443), tls=client_context(ca), sni="a.shared.test") as s:
        for name in ("b", "c", "a"):
            assert exchange(s, "/", host=name + ".shared.test", close=False).backend == name
    chains = envoy.dynamic_listeners()[lab.at(8443) + "/tcp"]["filter_chains"]
    assert [chain["filter_chain_match"] for chain in chains] == [
        {"server_names": [name + ".shared.test"]} for name in ("a", "b", "c")]
    assert all(chain["filters"] == chains[0]["filters"] for chain in chains) and len(envoy.dynamic_routes()) == 1


@pytest.mark.sanitized
def test_connections_stay_whatever_becomes_of_other_names_with_their_certificate(lab, ca, sotw):
    """Envoy drains the filter chains that changed: a websocket would be cut at the end of that."""
    lab.agent.set_secret("test/sec/wild", ca.issue("*.shared.test").secret())
    lab.agent.set_secret("test/sec/other", ca.issue("*.shared.test").secret())
    backend = lab.world.backend(10)

    def declare(name, certificate="wild", domains=None):
        lab.add("test/svc/" + name, l7(backend.address, lab.at(8443), domains or name + ".shared.test",
                                       certificates={"front": certificate}))

    def wait_name(name):
        wait_answer(lab.at(8443), tls=client_context(ca), sni=name + ".shared.test", host=name + ".shared.test")
    for name in ("a", "goes", "moves"):
        declare(name)
    envoy = lab.up(sotw)
    for name in ("a", "goes", "moves"):
        wait_name(name)
    with WebSocket(lab.at(8443), host="a.shared.test", tls=client_context(ca), sni="a.shared.test") as ws:
        ws.echo(b"before")
        declare("comes")
        wait_name("comes")
        declare("comes", domains=["comes.shared.test", "more.shared.test"])
        wait_name("more")
        declare("rest", domains="*")
        wait_name("whatever")
        assert envoy.stat("listener_manager.total_filter_chains_draining") == 0
        lab.agent.remove_service("test/svc/goes")
        lab.agent.remove_service("test/svc/rest")
        declare("moves", "other")
        wait_until(lambda: envoy.stat("listener_manager.total_filter_chains_draining") == 3)
        wait_name("moves")
        wait_until(lambda: envoy.stat("listener_manager.total_filter_chains_draining") == 0)
        assert ws.echo(b"after") == b"b10 after"


def test_a_first_name_beside_a_default_chain_drains_nothing(lab, ca, sotw):
    lab.agent.set_secret("test/sec/any", ca.issue("any.test").secret())
    lab.agent.set_secret("test/sec/one", ca.issue("one.test").secret())
    lab.add("test/svc/any", l7(lab.world.backend(10).address, lab.at(8443), "*", certificates={"front": "any"}))
    envoy = lab.up(sotw)
    wait_answer(lab.at(8443), tls=client_context(ca), sni="any.test", backend="b10")
    lab.add("test/svc/one", l7(lab.world.backend(11).address, lab.at(8443), "one.test", certificates={"front": "one"}))
    wait_answer(lab.at(8443), tls=client_context(ca), sni="one.test", backend="b11")
    drained = envoy.stats("listener_manager.total_.*_draining")
    assert drained and set(drained.values()) == {0}


def test_domains_that_sni_cannot_say_make_the_default_chain(lab, ca):
    lab.agent.set_secret("test/sec/any", ca.issue("any.test").secret())
    lab.agent.set_secret("test/sec/one", ca.issue("one.test").secret())
    lab.add("test/svc/any", l7(lab.world.backend(10).address, lab.at(8443), "*", certificates={"front": "any"}))
    lab.add("test/svc/one", l7(lab.world.backend(11).address, lab.at(8443), "one.test",
                               certificates={"front": "one"}))
    lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca), sni="one.test", backend="b11")
    wait_answer(lab.at(8443), tls=client_context(ca), sni="any.test", backend="b10")


def test_private_keys_are_nowhere_in_clear(lab, ca):
    certificate = ca.issue("web.test")
    lab.agent.set_secret("test/sec/web", certificate.secret())
    lab.add("test/svc/web", l7(lab.world.backend(10).address, lab.at(8443), "web.test",
                               certificates={"front": "web"}))
    lab.up(igwd={"args": ["--log-level", "debug"]})
    wait_answer(lab.at(8443), tls=client_context(ca), sni="web.test")
    needles = [line.encode() for line in certificate.key.splitlines() if not line.startswith("-")]
    der = certificate.private.private_numbers().private_value.to_bytes(32, "big")
    for path in [*pathlib.Path(lab.igwd.state).rglob("*"), lab.igwd.log]:
        if path.is_file():
            data = path.read_bytes()
            for needle in [*needles, der]:
                assert needle not in data, path
    assert "BEGIN" not in lab.igwd.log_text()


def test_plain_text_on_a_tls_port_and_the_other_way_round_harm_nobody(lab, ca):
    lab.agent.set_secret("test/sec/web", ca.issue("web.test").secret())
    backend = lab.world.backend(10)
    lab.add("test/svc/web", l7(backend.address, lab.at(8443), "web.test", certificates={"front": "web"}))
    lab.add("test/svc/plain", l7(backend.address, lab.at(8000), "*"))
    lab.up()
    wait_answer(lab.at(8443), tls=client_context(ca), sni="web.test")
    wait_answer(lab.at(8000))
    with connect(lab.at(8443)) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: web.test\r\n\r\n")
        s.settimeout(10)
        try:
            assert s.recv(100) == b""
        except ConnectionResetError:
            pass
    with pytest.raises((ssl.SSLError, ConnectionError, socket.timeout)):
        request(lab.at(8000), tls=client_context(), sni="web.test")
    assert request(lab.at(8443), tls=client_context(ca), sni="web.test").status == 200
