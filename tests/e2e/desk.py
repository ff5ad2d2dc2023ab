"""The dashboard in a real browser: a cluster with all that it has to show, and pages of Chromium that are watched.

A page that writes an error to its console, throws, or asks anybody but the daemon, fails its test: Desk.close() looks.
"""

import contextlib
import json
import os
import re
import urllib.parse

from api_client import TOKEN, Api, bearer, digest, exposure
from certificates import CA
from declare import BAD_CLUSTER, flex, l4, l7
from harness import ROOT, SLOW, wait_until

# The same engine without the windows of a whole browser, which take as much time again for each page.
CHROMIUM = os.environ.get("TEST_CHROMIUM", "/usr/bin/chromium-headless-shell")
WHOLE_CHROMIUM = "/usr/bin/chromium"
NODE = os.environ.get("TEST_NODE", str(ROOT / "build" / "node"))
# As root it has no sandbox of its own; what it would ask of its maker's servers is switched off.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--disable-features=OptimizationHints,MediaRouter"]
VIEWER, OPERATOR = "igwd_" + "w" * 43, "igwd_" + "o" * 43
TOKENS = {"admin": TOKEN, "viewer": VIEWER, "operator": OPERATOR}
WIDE, NARROW = {"width": 1360, "height": 850}, {"width": 390, "height": 780}
WAIT_MS = int(15000 * SLOW)


@contextlib.contextmanager
def browser(playwright, program=CHROMIUM):
    """Chromium, until the block ends."""
    chromium = playwright.chromium.launch(executable_path=program, headless=True, args=ARGUMENTS)
    yield chromium
    chromium.close()


class Desk:
    """A daemon with its API, an Envoy if wanted, and the pages that look at it."""

    def __init__(self, world, chromium):
        self.world, self.chromium = world, chromium
        self.agent = world.agent(nodes=["n1", "n2", "n3"], cluster="desk")
        self.api = self.envoy = None
        self.begin()

    def begin(self):
        """Without a page, and with no fault seen."""
        self.contexts = []
        self.faults = []
        # Patterns of faults that are none: a browser asks who it is before it can know, and tests add their own.
        self.expected = [r"status of 401 .*/auth/whoami"]

    def start(self, envoy=False, **options):
        self.api = Api(self.world, self.agent, **options)
        with open(self.api.tokens, "a", encoding="utf-8") as file:
            file.write("desk operator=envoy %s\n" % digest(OPERATOR))
        self.api.wait_live()
        self.api.igwd.child.send_signal(1)  # SIGHUP: the tokens are read again
        if envoy:
            self.envoy = self.world.envoy(self.api.igwd).wait_live()
        return self

    @property
    def url(self):
        return "http://" + self.api.tcp

    def at(self, port):
        return "%s:%d" % (self.world.ip(1), port)

    # ---- what there is to see ------------------------------------------------------------------

    def furnish(self):
        """One of each: good ones of all kinds, and each kind of trouble."""
        add, backend = self.agent.add_service, self.world.backend
        authority = CA("desk")
        self.one, self.two, self.three = backend(10), backend(11), backend(12)
        self.agent.set_secret("shop/sec/front", authority.issue("shop.example.org", days=200).secret())
        self.agent.set_secret("shop/sec/old", authority.issue("old.example.org", days=9).secret())
        add("infra/svc/mail", l4(self.one.address, self.at(2525)))
        add("infra/svc/db", l4({"n1": self.one.address, "n2": self.two.address}, self.at(5432)), started=["n1"])
        add("shop/svc/front", l7({"n1": self.one.address, "n2": self.two.address}, self.at(8443), "shop.example.org",
                                 routes=[{"match_prefix": "/"}], certificates={"front": "shop/sec/front"}))
        add("shop/svc/old", l7(self.one.address, self.at(8443), "old.example.org",
                               certificates={"front": "shop/sec/old"}))
        add("shop/svc/www", l7(self.one.address, self.at(8080), ["www.example.org", "example.org"], routes=[
            {"match_prefix": "/api", "route_prefix_rewrite": "/v1", "route_timeout": "2s"}, {"match_prefix": "/"}]))
        add("shop/svc/cache", flex({"n1": self.one.address, "n2": self.two.address, "n3": self.three.address},
                                   self.at(6379)))
        add("team/svc/rival", l7(self.two.address, self.at(8080), "www.example.org"))
        add("team/svc/down", l4(self.two.address, self.at(7001)), started=[])
        add("team/svc/secretless", l7(self.two.address, self.at(8443), "lost.example.org",
                                      certificates={"front": "team/sec/none"}))
        add("team/svc/broken", l4(self.two.address, self.at(7002), cluster_data=json.dumps(BAD_CLUSTER)))
        return self

    def crowd(self, n):
        """Many, for what must stay quick."""
        for i in range(n):
            self.agent.add_service("crowd/svc/s%04d" % i, l4(self.world.ip(100), self.at(10000 + i)))
        return self

    def edit(self):
        """What people did: an override, and an exposure of their own."""
        listener = {"listener_addr": self.world.ip(1)}
        wait_until(lambda: self.api.get("/api/v1" + exposure("infra/svc/mail.expose#0")).status == 200)
        assert self.api.patch(exposure("infra/svc/mail.expose#0"), {"lb_policy": "least_request"}).status == 200
        assert self.api.put(exposure("legacy.expose#0"), {
            "port": 8000, "listener_port": 9090, **listener,
            "endpoints": [{"address": self.three.address, "port": 8000}]}).status == 201
        return self

    def settled(self):
        """Waits until the Envoy has said what it has to say of everything."""
        def settled():
            reasons = [item["status"]["programmed"]["reason"] for item in self.api.v1("/exposures?limit=1000")["items"]]
            return "pending" not in reasons and "unknown" not in reasons
        wait_until(settled, what="the Envoy to answer")
        return self

    # ---- pages ---------------------------------------------------------------------------------

    def page(self, role="admin", address="", theme="light", size=None, **options):
        """A page that is signed in, at that address ("#/exposures"). Each is a browser's of its own."""
        context = self.chromium.new_context(color_scheme=theme, viewport=size or WIDE, base_url=self.url, **options)
        context.set_default_timeout(WAIT_MS)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=self.url)
        self.contexts.append(context)
        if role:  # by the request that the form makes, which has tests of its own
            assert context.request.post("/api/v1/sessions", headers=bearer(TOKENS[role])["headers"]).status == 201
        page = context.new_page()
        self.watch(page)
        self.go(page, address)
        return page

    def enter_token(self, page, role):
        page.get_by_label("Token", exact=True).fill(TOKENS[role])
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Sign out").wait_for()

    def go(self, page, address):
        page.goto("/" + address)

    def watch(self, page):
        """Remembers what a page should never do."""
        def on_request(request):
            where = urllib.parse.urlsplit(request.url)
            if where.scheme not in ("data", "blob") and where.netloc != self.api.tcp:
                self.faults.append("a request to another origin: " + request.url)
        page.on("request", on_request)
        page.on("pageerror", lambda error: self.faults.append("thrown: %s" % error))
        page.on("console", lambda message: message.type in ("error", "warning") and self.faults.append(
            "console %s: %s (%s)" % (message.type, message.text, message.location.get("url"))))

    def expect(self, pattern):
        """The test itself brings this fault about."""
        self.expected.append(pattern)

    def check(self):
        unexpected = [fault for fault in self.faults if not any(re.search(p, fault) for p in self.expected)]
        assert not unexpected, "\n".join(unexpected)

    def stop(self):
        for context in self.contexts:
            context.close()
        self.check()


class SharedDesk(Desk):
    """A desk for all tests that only look. It holds that they do."""

    def begin(self):
        super().begin()
        self.before = self.revision() if self.api else None

    def revision(self):
        return self.api.v1("/revisions?limit=1")["items"][0]["number"]

    def stop(self):
        super().stop()
        assert self.revision() == self.before, "a test changed what others look at too: it needs a desk of its own"


class Held:
    """Requests of a page that are held back, until all that there are and will be are let go."""

    def __init__(self, page, pattern):
        self.page, self.routes, self.is_over = page, [], False
        page.route(pattern, self.take)

    def take(self, route):
        if self.is_over:
            route.continue_()
        else:
            self.routes.append(route)

    def wait(self):
        wait_until(lambda: self.page.evaluate("1") and self.routes, what="a request")

    def let_go(self):
        self.is_over = True
        for route in self.routes:
            route.continue_()


def violations(page):
    """What axe-core finds wrong with a page as it is now, readable."""
    if not page.evaluate("'axe' in window"):
        # Through the browser's debugger: the page's policy takes no scripts from elsewhere.
        page.evaluate((ROOT / NODE / "tests" / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("""async () => (await axe.run(document, {resultTypes: ["violations"],
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})).violations""")
    return ["%s: %s\n    %s" % (one["id"], one["help"], "\n    ".join(
        "%s  %s" % (node["html"][:200], " ".join(node["failureSummary"].split())[:300]) for node in one["nodes"][:5]))
            for one in found]
