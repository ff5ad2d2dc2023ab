"""What only Envoy refuses: the culprit is found and named, its last accepted form or nothing is put in its place, and
all else goes on."""

import signal
import socket
import threading
import time

import pytest

from declare import BAD_CLUSTER, BAD_FILTER, l4, l7
from harness import SLOW, Load, client_context, request, wait_answer, wait_until
from xds_client import CDS, EDS, LDS, RDS, SDS, Ended, XdsClient, find_all

COUNT = 500
BAD_REGEX = "/[a-z0-9-]{1,63}/x"  # refused unless the bootstrap raises the limit on programs
WORDS = {CDS: "malformed IP address", LDS: "NOSUCH", RDS: "size", SDS: "nonexistent"}


def fault(kind, lab):
    """A good service's configuration, and what makes it one that Envoy refuses."""
    def good(n, port):
        if kind == RDS:
            return l7(lab.one.address, lab.at(port), "s%d.nack.test" % n, [{"match_prefix": "/"}])
        if kind == SDS:
            return l7(lab.one.address, lab.at(8443), "s%d.nack.test" % n, certificates={"front": {
                "certificate_chain_filename": lab.chain, "private_key_filename": lab.key}})
        return l4(lab.one.address, lab.at(port))
    spoil = {CDS: {"expose#0.cluster_data": BAD_CLUSTER}, LDS: {"expose#0.filter_config_data": BAD_FILTER},
             RDS: {"route#0.match_prefix": None, "route#0.match_regex": BAD_REGEX},
             SDS: {"certificate#front.certificate_chain_filename": "/nonexistent/chain.pem"}}[kind]
    mend = {CDS: {"expose#0.cluster_data": {"connect_timeout": "1s"}},
            LDS: {"expose#0.filter_config_data": {"idle_timeout": "60s"}},
            RDS: {"route#0.match_prefix": "/", "route#0.match_regex": None},
            SDS: {"certificate#front.certificate_chain_filename": lab.chain}}[kind]
    return good, spoil, mend


@pytest.fixture
def nacked(lab, ca):
    lab.one = lab.world.backend(10)
    certificate = ca.issue("*.nack.test")
    lab.chain = lab.world.write("chain.pem", certificate.chain)
    lab.key = lab.world.write("key.pem", certificate.key)
    return lab


def wait_listening(envoy, *names):
    """All of these are there; a listener whose cluster was refused may be too."""
    def look():
        missing = set(names) - set(envoy.dynamic_listeners())
        assert not missing, sorted(missing)
        return True
    wait_until(look, what="%d listeners" % len(names))


def answers_of(lab, kind, n, port, ca):
    if kind == SDS:
        return request(lab.at(8443), tls=client_context(ca), sni="s%d.nack.test" % n)
    return request(lab.at(port), host="s%d.nack.test" % n)


def first_load(lab, sotw, wanted, answered):
    """A new Envoy; the seconds of CPU that it and igwd used until it had all these listeners and answered() was true, and
    the seconds that this took. The hand-made bootstrap does not raise the limit on regexes, so that one can be refused."""
    used = lab.igwd.cpu()
    envoy = lab.world.envoy(lab.igwd, handmade=True, sotw=sotw)
    began = time.monotonic()

    def live():
        found = set(envoy.dynamic_listeners())
        assert found >= wanted, "%d of %d listeners" % (len(found & wanted), len(wanted))
        return envoy.get("/ready").startswith("LIVE") and answered()
    wait_until(live, timeout=60 * SLOW, what="all that is good to be live")
    return envoy, envoy.cpu() + lab.igwd.cpu() - used, time.monotonic() - began


@pytest.mark.parametrize("kind", [CDS, LDS, RDS, SDS], ids=["cluster", "listener", "routes", "secret"])
def test_one_bad_resource_of_500_is_isolated_and_taken_once_mended(nacked, ca, kind, sotw):
    lab = nacked
    good, spoil, mend = fault(kind, lab)
    bad = COUNT // 3
    for n in range(COUNT):
        lab.add("test/svc/s%d" % n, good(n, 10000 + n))
    lab.igwd = lab.world.igwd(agent=lab.agent)
    lab.following()
    listeners = {n: lab.at(8443 if kind == SDS else 10000 + n) + "/tcp" for n in range(COUNT)}
    sample = (0, bad - 1, bad + 1, COUNT - 1)

    def answered():
        return all(answers_of(lab, kind, n, 10000 + n, ca).backend == "b10" for n in sample)
    envoy, usual, usually_took = first_load(lab, sotw, set(listeners.values()), answered)
    envoy.kill()
    lab.agent.set_keywords("test/svc/s%d" % bad, spoil)
    if kind != SDS:
        del listeners[bad]
    envoy, used, took = first_load(lab, sotw, set(listeners.values()), answered)
    lab.igwd.wait_logged("test/svc/s%d." % bad, WORDS[kind])
    # What it costs is told by CPU, which others on the machine do not use up; Envoy gives up on what is held back from it
    # after 15 s, which is none.
    assert used < usual * 1.5 + 2.0 * SLOW, "%.1f s of CPU, without a fault %.1f s" % (used, usual)
    assert took < usually_took + 12 * SLOW, "%.1f s, without a fault %.1f s" % (took, usually_took)
    # Nothing is sent again and again.
    rejected = envoy.rejected()
    lab.add("test/svc/next", good(COUNT, 9999))
    wait_until(lambda: answers_of(lab, kind, COUNT, 9999, ca).backend == "b10")
    assert envoy.rejected() == rejected, "refused bytes were sent again"
    lab.agent.set_keywords("test/svc/s%d" % bad, mend)
    wait_until(lambda: answers_of(lab, kind, bad, 10000 + bad, ca).backend == "b10", what="the mended one")
    wait_until(lambda: envoy.warming() == [], what="nothing to warm")


@pytest.mark.parametrize("kind", [CDS, LDS, RDS], ids=["cluster", "listener", "routes"])
def test_the_last_accepted_form_stays_in_the_place_of_a_refused_one(nacked, ca, kind, sotw):
    lab = nacked
    good, spoil, mend = fault(kind, lab)
    other = lab.world.backend(11)
    for n in range(5):
        lab.add("test/svc/s%d" % n, good(n, 10000 + n))
    lab.igwd = lab.world.igwd(agent=lab.agent)
    envoy = lab.envoy = lab.world.envoy(lab.igwd, handmade=True, sotw=sotw).wait_live()
    for n in range(5):
        wait_until(lambda: answers_of(lab, kind, n, 10000 + n, ca).backend == "b10")
    with Load(lab.at(10002), host="s2.nack.test", workers=2) as load:
        lab.agent.set_keywords("test/svc/s2", spoil)
        lab.igwd.wait_logged("test/svc/s2.expose#0", WORDS[kind])
        load.wait_answered(20)
        # Its endpoints go on to follow.
        lab.agent.set_keywords("test/svc/s2", {"ip#1.ipname": other.address})
        wait_answer(lab.at(10002), host="s2.nack.test", backend="b11")
        # And all others change as before.
        lab.agent.set_keywords("test/svc/s3", {"expose#0.lb_policy": "random"})
        wait_until(lambda: envoy.dynamic_clusters()["test/svc/s3.expose#0"].get("lb_policy") == "RANDOM")
        lab.agent.set_keywords("test/svc/s2", mend)
        load.wait_answered(20)
        lab.agent.set_keywords("test/svc/s2", {"expose#0.lb_policy": "maglev"})
        wait_until(lambda: envoy.dynamic_clusters()["test/svc/s2.expose#0"].get("lb_policy") == "MAGLEV")
    load.assert_clean()
    assert envoy.warming() == []


def test_several_culprits_of_several_types_at_once(nacked, sotw):
    lab = nacked
    for n in range(60):
        config = l4(lab.one.address, lab.at(10000 + n))
        if n in (7, 8, 41):
            config["expose#0"]["cluster_data"] = BAD_CLUSTER
        if n in (20, 59):
            config["expose#0"]["filter_config_data"] = BAD_FILTER
        lab.add("test/svc/s%d" % n, config)
    lab.igwd = lab.world.igwd(agent=lab.agent)
    envoy = lab.envoy = lab.world.envoy(lab.igwd, sotw=sotw)
    wait_listening(envoy, *(lab.at(10000 + n) + "/tcp" for n in range(60) if n not in (7, 8, 41, 20, 59)))
    for n in (0, 9, 58):
        wait_answer(lab.at(10000 + n), backend="b10")
    for n in (7, 8, 41, 20, 59):
        lab.igwd.wait_logged("test/svc/s%d.expose#0" % n)
    assert not set(envoy.dynamic_clusters()) & {"test/svc/s%d.expose#0" % n for n in (7, 8, 41)}


def test_what_was_refused_and_what_stands_in_for_it_outlives_a_restart_of_igwd(nacked, sotw):
    lab = nacked
    for n in range(20):
        lab.add("test/svc/s%d" % n, l4(lab.one.address, lab.at(10000 + n)))
    lab.agent.set_keywords("test/svc/s5", {"expose#0.cluster_data": BAD_CLUSTER})
    wanted = [lab.at(10000 + n) + "/tcp" for n in range(20) if n != 5]
    lab.igwd = lab.world.igwd(agent=lab.agent)
    envoy = lab.world.envoy(lab.igwd, sotw=sotw).wait_live()
    wait_listening(envoy, *wanted)
    lab.agent.set_keywords("test/svc/s6", {"expose#0.cluster_data": BAD_CLUSTER})
    lab.igwd.wait_logged("test/svc/s6.expose#0", "isolated")
    lab.igwd.wait_noted()
    rejected = envoy.rejected()
    with Load(lab.at(10006), workers=1) as load:
        load.wait_answered(10)
        lab.igwd.restart(kill=True)
        lab.add("test/svc/more", l4(lab.one.address, lab.at(9000)))
        wait_listening(envoy, *wanted, lab.at(9000) + "/tcp")
        load.wait_answered(10)
        assert envoy.rejected() == rejected, "refused bytes were sent again"
    load.assert_clean()
    envoy.kill()
    # An Envoy that was never there before gets the last accepted form too.
    second = lab.envoy = lab.world.envoy(lab.igwd, sotw=sotw).wait_live()
    wait_listening(second, *wanted, lab.at(9000) + "/tcp")
    wait_answer(lab.at(10006), backend="b10")


def test_what_was_refused_is_tried_again_when_igwd_is_told_to_reload(nacked, ca):
    """What it needs on Envoy's side may be there by now: the same bytes are good then."""
    lab = nacked
    good, _, _ = fault(SDS, lab)
    lab.add("test/svc/s0", good(0, 0))
    lab.agent.set_keywords("test/svc/s0", {"certificate#front.certificate_chain_filename": lab.world.path("late.pem")})
    lab.igwd = lab.world.igwd(agent=lab.agent)
    lab.envoy = lab.world.envoy(lab.igwd)
    lab.igwd.wait_logged("late.pem", "isolated")
    lab.world.write("late.pem", open(lab.chain, encoding="ascii").read())
    # An Envoy that runs takes the same secret for one that it has, and does not look for the file again.
    lab.envoy.kill()
    lab.igwd.signal(signal.SIGHUP)
    lab.envoy.start()
    wait_until(lambda: answers_of(lab, SDS, 0, 0, ca).backend == "b10")


def test_a_port_that_somebody_else_has_is_taken_once_it_is_free(nacked):
    """By an Envoy that goes on, when igwd is told to reload; by one that comes back, at once."""
    lab = nacked
    for n in range(3):
        lab.add("test/svc/s%d" % n, l4(lab.one.address, lab.at(10000 + n)))
    lab.igwd = lab.world.igwd(agent=lab.agent)

    def taken(n):
        return socket.create_server((lab.world.ip(1), 10000 + n))
    with taken(1), taken(2):
        lab.envoy = lab.world.envoy(lab.igwd)
        for n in (1, 2):
            lab.igwd.wait_logged("cannot bind", "isolated", "test/svc/s%d.expose#0" % n)
        wait_answer(lab.at(10000), backend="b10")
        lab.envoy.kill()
    with taken(2):
        lab.envoy.start()
        wait_answer(lab.at(10001), backend="b10")
        lab.igwd.wait_logged("cannot bind", "isolated", "test/svc/s2.expose#0", times=2)
    lab.igwd.signal(signal.SIGHUP)
    wait_answer(lab.at(10002), backend="b10")


def test_one_envoys_refusal_is_not_anothers(nacked):
    """An Envoy with a lower limit refuses what another takes."""
    lab = nacked
    lab.add("test/svc/regex", l7(lab.one.address, lab.at(8000), "web.test", [{"match_regex": BAD_REGEX}]))
    lab.add("test/svc/plain", l4(lab.one.address, lab.at(8001)))
    lab.igwd = lab.world.igwd(agent=lab.agent)
    strict = lab.world.envoy(lab.igwd, handmade=True)
    strict.wait_endpoints("test/svc/plain.expose#0", [lab.one.endpoint])
    lab.igwd.wait_logged("test/svc/regex.expose#0")
    strict.kill()
    lab.world.envoy(lab.igwd).wait_live()
    wait_answer(lab.at(8000), "/abc/x", host="web.test", backend="b10")


class Refuser:
    """Takes everything except what refuse() says (type, name, message) -> words, and follows all references; the
    words name nobody."""

    def __init__(self, address, refuse, sotw):
        self.client = XdsClient(address, sotw=sotw)
        self.refuse = refuse
        self.sotw = sotw
        self.held = {kind: {} for kind in (CDS, EDS, LDS, RDS, SDS)}
        self.names = {EDS: [], RDS: [], SDS: []}
        self.refused = []
        self.responses = 0
        self.client.subscribe(CDS)
        self.client.subscribe(LDS)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                response = self.client.next(3600)
            except (Ended, AssertionError):
                return
            self.responses += 1
            kind = response.type_url
            found = self.client.resources(response)
            words = next((w for n, m in found.items() if (w := self.refuse(kind, n, m))), None)
            names = self.names.get(kind, ())
            if words:
                self.refused.append((kind, sorted(found)))
                self.client.ack(response, error=words, names=names)
                continue
            if self.sotw and kind in (CDS, LDS):
                self.held[kind] = {}
            self.held[kind].update(found)
            for name in [] if self.sotw else response.removed_resources:
                self.held[kind].pop(name, None)
            self.client.ack(response, names=names)
            if kind == CDS:
                self._ask(EDS, [n for n, c in found.items() if c.type == c.EDS])
            if kind == LDS:
                self._ask(RDS, routes_of(found.values()))

    def _ask(self, kind, names):
        new = [n for n in names if n not in self.names[kind]]
        if new:
            self.names[kind] += new
            # State of the world asks for all names at once, in another request of the type.
            self.client.subscribe(kind, *(self.names[kind] if self.sotw else new))

    def close(self):
        self.client.close()


def routes_of(listeners):
    from xds_client import as_json
    return [name for listener in listeners for name in find_all(as_json(listener), "route_config_name")]


@pytest.mark.sanitized
@pytest.mark.parametrize("kind", [CDS, EDS, LDS], ids=["cluster", "endpoints", "listener"])
def test_words_that_name_nobody_are_followed_up_by_halves(nacked, kind, sotw):
    lab = nacked
    count, bad = 64, "test/svc/s37.expose#0"
    for n in range(count):
        lab.add("test/svc/s%d" % n, l4(lab.one.address, lab.at(10000 + n)))
    lab.igwd = lab.world.igwd(agent=lab.agent)
    lab.following()
    listener = lab.at(10037) + "/tcp"
    wrong = listener if kind == LDS else bad
    refuser = Refuser(lab.igwd.xds[0], lambda k, name, _: "no" if (k, name) == (kind, wrong) else None, sotw)
    try:
        wait_until(lambda: len(refuser.held[kind]) == count - 1, what="all but one to be taken")
        assert wrong not in refuser.held[kind]
        # Of endpoints also the empty form that takes their place: it is refused by name.
        lab.igwd.wait_logged(bad, '"no"', "isolated", times=2 if kind == EDS else 1)
        assert len(refuser.refused) <= 14, "more refusals than halves"
        # Others go on while it is out; the same bytes do not come again by themselves.
        refused = len(refuser.refused)
        lab.agent.set_keywords("test/svc/s3", {"expose#0.lb_policy": "random"})
        lab.agent.resource_down("test/svc/s4", "n1")
        wait_until(lambda: not refuser.held[EDS]["test/svc/s4.expose#0"].endpoints
                   or not list(refuser.held[EDS]["test/svc/s4.expose#0"].endpoints[0].lb_endpoints))
        wait_until(lambda: refuser.held[CDS]["test/svc/s3.expose#0"].lb_policy)
        assert len(refuser.refused) == refused
        # When igwd is told to reload they do.
        lab.igwd.signal(signal.SIGHUP)
        wait_until(lambda: len(refuser.refused) > refused)
        # Once its bytes differ it is tried again.
        refuser.refuse = lambda *_: None
        lab.agent.set_keywords("test/svc/s37", {"expose#0.port": "8001", "expose#0.lb_policy": "random",
                                                "expose#0.listener_port": "10137"})
        if kind == LDS:
            wrong = lab.at(10137) + "/tcp"
        wait_until(lambda: wrong in refuser.held[kind])
    finally:
        refuser.close()


def test_a_client_that_refuses_everything_makes_no_loop(nacked, sotw):
    lab = nacked
    for n in range(30):
        lab.add("test/svc/s%d" % n, l4(lab.one.address, lab.at(10000 + n)))
    lab.igwd = lab.world.igwd(agent=lab.agent)
    lab.following()
    refuser = Refuser(lab.igwd.xds[0], lambda *_: "never", sotw)
    try:
        wait_until(lambda: refuser.responses)
        settled = [0, time.monotonic()]

        def quiet():
            if refuser.responses != settled[0]:
                settled[:] = [refuser.responses, time.monotonic()]
            return time.monotonic() - settled[1] > 1.0
        wait_until(quiet, timeout=60, what="it to give up")
        assert refuser.responses < 400
        began = lab.igwd.cpu()
        time.sleep(0.5)
        assert lab.igwd.cpu() - began < 0.2
        envoy = lab.envoy = lab.world.envoy(lab.igwd).wait_live()
        wait_answer(lab.at(10000), backend="b10")
        assert envoy.rejected() == {}
    finally:
        refuser.close()
