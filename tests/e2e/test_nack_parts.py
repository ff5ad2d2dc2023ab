"""What only Envoy refuses in a listener or route configuration that many exposures share: the exposure at fault is
found and named, its last accepted form or nothing is put in its place, and all others go live."""

import contextlib
import time

import pytest

from api_client import Api
from declare import l7
from harness import SLOW, Load, client_context, request, wait_answer, wait_until

BAD_FILTER = {"local_reply_config": {"body_format": {"text_format_source": {"inline_string": "%NOSUCH(x)%"}}}}
BAD_REGEX = "/[a-z0-9-]{1,63}/x"  # refused unless the bootstrap raises the limit on programs
COUNT = 24
BAD = 9


class Shared:
    """COUNT exposures on one listener, in one listener's filter chains (`chains`), one route configuration
    (`routes`), or one virtual host (`domain`)."""

    def __init__(self, lab, ca, kind):
        self.lab, self.ca, self.kind = lab, ca, kind
        self.one = lab.world.backend(10)
        self.api = Api(lab.world, lab.agent)
        lab.igwd = self.api.igwd
        certificate = ca.issue("*.parts.test")
        self.certificates = {"front": {"certificate_chain_filename": lab.world.write("chain.pem", certificate.chain),
                                       "private_key_filename": lab.world.write("key.pem", certificate.key)}}
        self.words = "NOSUCH" if kind == "chains" else "size"

    def host(self, n):
        return "all.parts.test" if self.kind == "domain" else "s%d.parts.test" % n

    def path(self, n):
        return "/at-%d" % n if self.kind == "domain" else "/"

    def add(self, n, path=None):
        certificates = dict(self.certificates) if self.kind == "chains" else None
        # Filter settings of their own keep chains apart.
        more = {"filter_config_data": {"stream_idle_timeout": "%ds" % (100 + n)}} if self.kind == "chains" else {}
        routes = [{"match_prefix": self.path(n)}]
        self.lab.add(path or "test/svc/s%d" % n, l7(self.one.address, self.lab.at(8443), self.host(n), routes,
                                                    certificates, **more))

    def spoil(self, n):
        self.lab.agent.set_keywords("test/svc/s%d" % n, {
            "expose#0.filter_config_data": BAD_FILTER} if self.kind == "chains" else {
            "route#0.match_prefix": None, "route#0.match_regex": BAD_REGEX})

    def mend(self, n, path=None):
        self.lab.agent.set_keywords("test/svc/s%d" % n, {
            "expose#0.filter_config_data": {"stream_idle_timeout": "%ds" % (200 + n)}} if self.kind == "chains" else {
            "route#0.match_prefix": path or self.path(n), "route#0.match_regex": None})

    def options(self, n):
        if self.kind == "chains":
            return {"tls": client_context(self.ca), "sni": self.host(n), "host": self.host(n)}
        return {"host": self.host(n)}

    def answers(self, n):
        return request(self.lab.at(8443), self.path(n), **self.options(n)).backend == "b10"

    def wait(self, n):
        wait_answer(self.lab.at(8443), self.path(n), backend="b10", **self.options(n))

    def envoy(self, sotw):
        """The hand-made bootstrap does not raise the limit on regexes, so that one can be refused."""
        self.lab.envoy = self.lab.world.envoy(self.lab.igwd, handmade=True, sotw=sotw)
        return self.lab.envoy

    def live(self, sotw):
        """All are good, and answer."""
        for n in range(COUNT):
            self.add(n)
        self.lab.following()
        envoy = self.envoy(sotw)
        for n in range(COUNT):
            self.wait(n)
        return envoy

    def name(self, n):
        return "test/svc/s%d.expose#0" % n

    def condition(self, n):
        return self.api.programmed(self.name(n))


@pytest.fixture(params=["chains", "routes", "domain"])
def shared(lab, ca, request):
    return Shared(lab, ca, request.param)


def test_a_bad_part_is_refused_alone_and_all_others_go_live(shared, sotw):
    for n in range(COUNT):
        shared.add(n)
    shared.spoil(BAD)
    shared.lab.following()
    envoy = shared.envoy(sotw)
    began = time.monotonic()
    for n in range(COUNT):
        if n != BAD:
            shared.wait(n)
    assert time.monotonic() - began < (2 + 5) * SLOW  # 5 s for Envoy to start and all to be new
    shared.lab.igwd.wait_logged(shared.name(BAD), shared.words, "isolated")
    found = wait_until(lambda: shared.condition(BAD)["state"] == "failed" and shared.condition(BAD))
    assert found["reason"] == "nacked" and shared.words in found["message"], found
    for n in (0, BAD - 1, BAD + 1, COUNT - 1):
        wait_until(lambda: shared.condition(n)["state"] == "ok", what="exposure %d" % n)
    # Refused bytes are not sent again, not even beside others that changed.
    rejected = envoy.rejected()
    shared.add(COUNT)
    shared.wait(COUNT)
    wait_until(lambda: shared.condition(COUNT)["state"] == "ok")
    assert envoy.rejected() == rejected, "refused bytes were sent again"
    shared.mend(BAD)
    shared.wait(BAD)
    wait_until(lambda: shared.condition(BAD)["state"] == "ok")
    assert envoy.rejected() == rejected


def test_the_last_accepted_form_of_a_part_stays_while_the_others_change(shared, sotw):
    envoy = shared.live(sotw)
    with Load(shared.lab.at(8443), path=shared.path(BAD), workers=2, **shared.options(BAD)) as load:
        load.wait_answered(10)
        shared.spoil(BAD)
        began = time.monotonic()
        shared.add(COUNT)
        shared.wait(COUNT)
        assert time.monotonic() - began < 2 * SLOW
        found = wait_until(lambda: shared.condition(BAD)["state"] == "failed" and shared.condition(BAD))
        assert shared.words in found["message"], found
        wait_until(lambda: shared.condition(COUNT)["state"] == "ok")
        load.wait_answered(10)
        rejected = envoy.rejected()
        shared.mend(0, path="/at-0" if shared.kind == "domain" else "/new")
        shared.lab.agent.remove_service("test/svc/s1")
        wait_until(lambda: shared.condition(0)["state"] == "ok")
        load.wait_answered(10)
        shared.mend(BAD)
        wait_until(lambda: shared.condition(BAD)["state"] == "ok")
        load.wait_answered(10)
        assert envoy.rejected() == rejected
    load.assert_clean()


def test_several_bad_parts_are_all_found(shared):
    culprits = (0, 7, 8, COUNT - 1)
    for n in range(COUNT):
        shared.add(n)
    for n in culprits:
        shared.spoil(n)
    shared.lab.following()
    shared.envoy(False)
    for n in range(COUNT):
        if n not in culprits:
            shared.wait(n)
    for n in range(COUNT):
        wanted = "failed" if n in culprits else "ok"
        wait_until(lambda: shared.condition(n)["state"] == wanted, what="exposure %d to be %s" % (n, wanted))


def test_an_envoy_that_comes_back_is_not_sent_the_refused_part_again(shared):
    for n in range(COUNT):
        shared.add(n)
    shared.spoil(BAD)
    shared.lab.following()
    shared.envoy(False)
    wait_until(lambda: shared.condition(BAD)["state"] == "failed")
    wait_until(lambda: shared.condition(0)["state"] == "ok")
    shared.lab.envoy.kill()
    shared.lab.envoy.start()
    for n in (0, BAD - 1, BAD + 1, COUNT - 1):
        shared.wait(n)
    wait_until(lambda: shared.condition(BAD)["state"] == "failed")
    assert shared.lab.envoy.rejected() == {}


def test_a_newer_envoy_takes_what_an_older_one_refuses(lab, ca):
    shared = Shared(lab, ca, "routes")
    for n in range(4):
        shared.add(n)
    shared.spoil(2)
    strict = shared.envoy(False)
    wait_until(lambda: shared.condition(2)["state"] == "failed")
    strict.kill()
    lab.world.envoy(lab.igwd).wait_live()
    wait_answer(lab.at(8443), "/abc/x", host=shared.host(2), backend="b10")


def test_a_restart_of_igwd_harms_nobody_beside_a_part_that_is_refused(shared, sotw):
    """Neither who shares the resource nor the part's last accepted form is lost, and nothing is refused again."""
    envoy = shared.live(sotw)
    shared.spoil(BAD)
    wait_until(lambda: shared.condition(BAD)["state"] == "failed")
    wait_until(lambda: shared.condition(0)["state"] == "ok")
    rejected = envoy.rejected()
    loads = [Load(shared.lab.at(8443), path=shared.path(n), workers=1, **shared.options(n))
             for n in (0, BAD - 1, BAD, COUNT - 1)]
    with contextlib.ExitStack() as running:
        for load in loads:
            running.enter_context(load).wait_answered(10)
        shared.lab.igwd.wait_noted()
        shared.lab.igwd.restart(kill=True)
        shared.add(COUNT)
        shared.wait(COUNT)
        wait_until(lambda: shared.condition(BAD)["state"] == "failed")
        wait_until(lambda: shared.condition(COUNT)["state"] == "ok")
    for load in loads:
        load.assert_clean(at_least=10)
    assert envoy.rejected() == rejected, "refused bytes were sent again"
