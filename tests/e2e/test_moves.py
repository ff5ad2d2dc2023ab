"""What a client notices when its domain moves from one filter chain to another of the same listener: nothing."""

import contextlib

from declare import l7
from harness import Load, client_context, wait_answer, wait_until

REQUESTS_MIN = 50  # of each load


def two_certificates(lab, ca, *more):
    """A port whose domains are spread over two filter chains, by two certificates that have all names."""
    names = ("stays.test", "moves.test", "other.test", *more)
    for secret in ("one", "two"):
        lab.agent.set_secret("test/sec/" + secret, ca.issue(*names).secret())
    backend = lab.world.backend(10)
    for path, domain, secret in (("stays", "stays.test", "one"), ("other", "other.test", "two")):
        lab.add("test/svc/" + path, l7(backend.address, lab.at(8443), domain, certificates={"front": secret}))
    return backend


@contextlib.contextmanager
def loads(lab, ca, *domains):
    """Load for each domain, by connections that are kept and by new ones; none of it may fail."""
    tls = client_context(ca)
    all_of_them = [Load(lab.at(8443), mode, tls=tls, sni=domain, workers=2, pause=0.002)
                   for domain in domains for mode in ("keepalive", "new")]
    for domain in domains:
        wait_answer(lab.at(8443), tls=tls, sni=domain)
    with contextlib.ExitStack() as stack:
        for load in all_of_them:
            stack.enter_context(load)
        yield all_of_them
        for load in all_of_them:
            load.wait_answered(max(10, REQUESTS_MIN - load.answered))
    for load in all_of_them:
        load.assert_clean(REQUESTS_MIN)


def chain_of(envoy, domain):
    """The name of the filter chain that has the server name."""
    listeners = [listener for name, listener in envoy.dynamic_listeners().items() if name.endswith(":8443/tcp")]
    found = [chain["name"] for listener in listeners for chain in listener["filter_chains"]
             if domain in chain.get("filter_chain_match", {}).get("server_names", [])]
    return found[0] if len(found) == 1 else None


def move(envoy, running, domain, change):
    """Makes the change, and waits until the domain is on another chain and was asked for there."""
    before = chain_of(envoy, domain)
    change()
    wait_until(lambda: chain_of(envoy, domain) not in (None, before), what="%s to move" % domain)
    for load in running:
        load.wait_answered(5)


def test_an_exposure_that_moves_to_another_chain_or_gets_its_own_fails_no_request(lab, ca, sotw):
    backend = two_certificates(lab, ca)
    lab.agent.set_secret("test/sec/own", ca.issue("moves.test").secret())
    lab.add("test/svc/elsewhere", l7(backend.address, lab.at(8444), "moves.test", certificates={"front": "own"}))
    lab.add("test/svc/moves", l7(backend.address, lab.at(8443), "moves.test", certificates={"front": "one"}))
    envoy = lab.up(sotw)
    with loads(lab, ca, "moves.test", "stays.test") as running:
        for secret in ("two", "one", "own", "two", "own", "one"):
            move(envoy, running, "moves.test", lambda secret=secret: lab.agent.set_keywords(
                "test/svc/moves", {"certificate#front.certificate_secret": secret}))


def test_an_exposure_whose_next_certificate_was_never_read_fails_no_request(lab, ca, sotw):
    two_certificates(lab, ca)
    for secret in ("fresh-1", "fresh-2"):
        lab.agent.set_secret("test/sec/" + secret, ca.issue("other.test").secret())
    envoy = lab.up(sotw)
    with loads(lab, ca, "other.test") as running:
        for secret in ("fresh-1", "fresh-2", "two"):
            move(envoy, running, "other.test", lambda secret=secret: lab.agent.set_keywords(
                "test/svc/other", {"certificate#front.certificate_secret": secret}))


def test_domains_that_two_chains_exchange_fail_no_request(lab, ca, sotw):
    backend = two_certificates(lab, ca, "back.test")
    config = l7(backend.address, lab.at(8443), "moves.test", certificates={"front": "one", "back": "two"})
    config["expose#0"]["listener_certificates"] = "certificate#front"
    config["expose#1"] = {**config["expose#0"], "port": "8000", "listener_certificates": "certificate#back",
                          "vhosts": "vhost#1"}
    config["vhost#1"] = {**config["vhost#0"], "domains": "back.test"}
    config["ip#1"]["expose"] = "expose#0 expose#1"
    lab.add("test/svc/moves", config)
    envoy = lab.up(sotw)
    with loads(lab, ca, "moves.test", "back.test") as running:
        for front, back in 2 * (("back.test", "moves.test"), ("moves.test", "back.test")):
            move(envoy, running, "moves.test", lambda front=front, back=back: lab.agent.set_keywords(
                "test/svc/moves", {"vhost#0.domains": front, "vhost#1.domains": back}))
