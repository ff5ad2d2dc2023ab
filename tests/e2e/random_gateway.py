"""Random gateways whose names, wildcards, routes and listeners overlap on purpose, and random requests to them.

All that is drawn comes from one seed, so a failure can be had again. Addresses are the test's own: they differ from
run to run, and are no part of what is drawn.
"""

import hashlib
import http.client
import json
import socket
import ssl

from harness import SLOW, Backend, connect, exchange, free_port

EXACT = ["a.test", "b.a.test", "c.b.a.test", "x.test", "www.x.test", "y.x.test", "z.y.x.test", "solo"]
SUFFIXES = ["*.a.test", "*.b.a.test", "*.test", "*.x.test", "*.y.x.test"]
ODD = ["*-web.x.test", "*-b.x.test", "api.*", "api.b.*", "www.*", "api-*", "*"]
HOSTS = EXACT + ["q.a.test", "q.b.a.test", "q.q.a.test", "q.test", "my-web.x.test", "my-b.x.test", "q.y.x.test",
                 "client.test", "client.test", "api.q", "api.b.q", "api.x.test", "www.q", "api-1.q", "nobody",
                 "a.test.q", ".a.test", "test",
                 "-web.x.test", "A.TEST", "WWW.x.Test", "Q.Q.Y.X.TEST"]
SEGMENTS = ["a", "b", "c", "api", "API", "img", "exact", "Exact", "12", "7", "x.png", "ab", "AB", "a", "b", "..", ".",
            "", "%2e", "%2E%2e", "%41", "a%20b", "a|b", "a^b\\c", "%zz", "%", "%%34%31", "a;v=1", "%7e~", "a%2fb",
            "%5C", "%2F..", "x.PNG"]
PREFIXES = ["/", "/a", "/a/", "/a/b", "/a/b/c", "/api", "/API", "/img", "/ab", "/exact/"]
PATHS = ["/", "/a", "/a/b", "/exact", "/Exact", "/api/12", "/a//b"]
REGEXES = ["/a/[0-9]+", "/[a-z]{2,8}", "/.*\\.png", "/(a|b)/.*", "/api/(12|7)(/.*)?", ".*", "/[A-Z]+/?", "/a",
           "/\\w+/\\w+"]
REDIRECTS = ["host", "https", "path", "path with a query", "prefix", "everything"]
CODES = [None, "301", "302", "303", "307", "308"]


class Chameleon(Backend):
    """A backend that speaks TLS to who begins with a handshake, and plain HTTP to the others."""

    def _serve(self, connection, peer):
        try:
            first = connection.recv(1, socket.MSG_PEEK)
            if first == b"\x16":
                connection = self.context.wrap_socket(connection, server_side=True)
            super()._serve(connection, peer)
        except OSError:
            connection.close()


class Setting:
    """One gateway: its services, secrets and backends, drawn from rng."""

    def __init__(self, world, agent, rng, certificates):
        self.world, self.agent, self.rng = world, agent, rng
        self.fingerprints = {}  # of certificates by their secret, and of backends by their endpoint
        self.services = {}
        self.n_backends = 0
        self.wild_port = free_port(world.ip(1))
        self.own = certificates["backend"]
        self.backend_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.backend_context.load_cert_chain(world.write("b.pem", self.own.chain), world.write("b.key", self.own.key))
        self.client = certificates["client"]
        for name, certificate in certificates["front"].items():
            for ns in ("test", "other"):
                agent.set_secret("%s/sec/%s" % (ns, name), certificate.secret())
                self.fingerprints["%s/sec/%s" % (ns, name)] = certificate.fingerprint
        agent.set_secret("test/sec/trust", {"trusted_ca": certificates["ca"].pem})
        self.listeners = [self.plain, self.plain, self.mixed, self.mixed, self.mixed, self.tls, self.l4]
        self.targets = []
        for n, make in enumerate(self.listeners):
            make("%s:%d" % (world.ip(1), 8100 + n))
            # Twice where the most can go wrong.
            self.targets += [(world.ip(1), 8100 + n)] * (2 if make == self.tls else 1)
        self.mixed("%s:%d" % (world.ip(1), self.wild_port))
        self.plain("0.0.0.0:%d" % self.wild_port)
        port = free_port("::1")
        self.plain("[::1]:%d" % port)
        self.targets.append(("::1", port))
        self.targets += [(world.ip(n), self.wild_port) for n in (1, 5, 6)]
        for path, (config, started) in self.services.items():
            agent.add_service(path, config, started=started)

    # ---- services ----

    def backend(self):
        self.n_backends += 1
        address = self.world.ip(9 + self.n_backends)
        backend = Chameleon(address, name="%s:8000" % address)
        backend.context = self.backend_context
        self.world.add(backend.start())
        return address

    def some(self, items, least, most):
        return self.rng.sample(items, self.rng.randint(least, most))

    def service(self, listener, ns="test", alive=None, **expose):
        """Its configuration without names; on one to three nodes, some of which may be down."""
        rng = self.rng
        nodes = self.some(["n1", "n2", "n3"], 1, 2)
        up = {"dead": [], "alive": nodes}.get(alive, [n for n in nodes if rng.random() < 0.75])
        host, _, port = listener.rpartition(":")
        config = {"DEFAULT": {"nodes": "n1 n2 n3", "topology": "flex"}, "ip#1": {"expose": "expose#0"},
                  "expose#0": {"type": "envoy", "port": "8000", "listener_addr": host.strip("[]"),
                               "listener_port": port, **expose}}
        for node in nodes:
            config["ip#1"]["ipname@" + node] = self.backend()
        path = "%s/svc/s%02d" % (ns, len(self.services))
        config["DEFAULT"]["nodes"] = " ".join(nodes)
        self.services[path] = (config, up)
        return config, path

    def add_vhosts(self, config, path, domains, routed=True):
        """Spreads the domains over one or two virtual hosts with random routes."""
        rng = self.rng
        count = 1 if len(domains) < 2 else rng.randint(1, 2)
        n_routes = 0
        for v in range(count):
            names = []
            count_of = rng.choice((0, 1, 3, 4, 5)) if routed else 0
            for i in range(count_of):
                # The last one takes what is left, or not.
                rest = i == count_of - 1 and rng.random() < 0.4
                config["route#%d" % n_routes] = self.route(path, n_routes, rest)
                names.append("route#%d" % n_routes)
                n_routes += 1
            config["vhost#%d" % v] = {"type": "envoy", "domains": " ".join(domains[v::count])}
            if names:
                config["vhost#%d" % v]["routes"] = " ".join(names)
        config["expose#0"]["vhosts"] = " ".join("vhost#%d" % v for v in range(count))

    def route(self, path, n, rest):
        rng = self.rng
        kind = rng.choice(("prefix", "prefix", "path", "regex"))
        values = {"prefix": PREFIXES, "path": PATHS, "regex": REGEXES}[kind]
        route = {"type": "envoy", **({"match_prefix": "/"} if rest else {"match_" + kind: rng.choice(values)})}
        if rng.random() < 0.3:
            route["match_case_sensitive"] = "false"
        mark = "r%d.%s.test" % (n, path.rpartition("/")[2])
        if rng.random() < 0.3:
            self.redirect(route, rng.choice(REDIRECTS), mark)
            return route
        if rng.random() < 0.7:
            route["route_host_rewrite"] = mark
        if rng.random() < 0.4:
            route["route_prefix_rewrite"] = rng.choice(("/", "/new", "/new/", "/n?x=1"))
        return route

    def redirect(self, route, kind, mark):
        rng = self.rng
        if kind in ("host", "everything"):
            route["redirect_host_redirect"] = mark
        if kind in ("https", "everything"):
            route["redirect_https_redirect"] = "true"
        if kind == "path":
            route["redirect_path_redirect"] = "/there"
        if kind == "path with a query":
            route["redirect_path_redirect"] = "/there?own=1"
        if kind in ("prefix", "everything"):
            route["redirect_prefix_rewrite"] = rng.choice(("/", "/moved", "/moved/"))
        if rng.random() < 0.3:
            route["redirect_strip_query"] = "true"
        code = rng.choice(CODES)
        if code:
            route["redirect_response_code"] = code

    def certify(self, config, *names):
        for i, name in enumerate(names):
            section = name if isinstance(name, dict) else {"certificate_secret": name}
            config["certificate#%d" % i] = {"type": "tls", **section}
        config["expose#0"]["listener_certificates"] = " ".join("certificate#%d" % i for i in range(len(names)))

    # ---- listeners ----

    def plain(self, listener):
        """Plaintext HTTP that several share."""
        rng = self.rng
        settings = rng.choice((None, None, {"normalize_path": False, "merge_slashes": False},
                               {"path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD"},
                               {"merge_slashes": False, "path_with_escaped_slashes_action": "KEEP_UNCHANGED"},
                               {"pathWithEscapedSlashesAction": "REJECT_REQUEST"}))
        more = {"filter_config_data": json.dumps(settings)} if settings else {}
        for i in range(rng.randint(4, 5)):
            config, path = self.service(listener, "other" if rng.random() < 0.2 else "test",
                                        "dead" if i == 0 else "alive" if i == 1 else None, **more)
            self.add_vhosts(config, path, self.some(EXACT + SUFFIXES + ODD, 2, 4))
            if i == 2:
                # "none" is a secret that does not exist.
                config["certificate#c"] = {"type": "tls", "certificate_secret": rng.choice(("one", "none"))}
                config["expose#0"]["cluster_certificates"] = "certificate#c"

    def mixed(self, listener):
        """Chains of all kinds that are told apart by server names, and maybe a default one."""
        rng = self.rng
        for _ in range(2):
            config, _ = self.service(listener, sni=" ".join(self.some(EXACT + SUFFIXES, 1, 2)))
        config, _ = self.service(listener, sni=" ".join(self.some(EXACT + SUFFIXES, 1, 2)))
        self.certify(config, "two")
        self.secure_http(listener, 2)
        rest = rng.choice(("nobody", "nobody", "l4", "plain", "terminated"))
        if rest == "l4":
            self.service(listener)
        elif rest == "plain":
            config, path = self.service(listener)
            self.add_vhosts(config, path, self.some(EXACT + ODD, 1, 3))
        elif rest == "terminated":
            config, _ = self.service(listener)
            self.certify(config, "one")

    def secure_http(self, listener, count, any_host=False):
        rng = self.rng
        for _ in range(count):
            config, path = self.service(listener, "other" if rng.random() < 0.2 else "test")
            domains = self.some(EXACT + SUFFIXES, 2, 4)
            if any_host and rng.random() < 0.4:
                domains += self.some(ODD, 1, 2)
            self.add_vhosts(config, path, domains)
            self.certify(config, *rng.choice((["one"], ["two"], ["one"], ["rsa", "one"], ["one", "two", "rsa"])))
            if rng.random() < 0.3:
                config["expose#0"]["sni"] = " ".join(self.some(EXACT + SUFFIXES, 1, 2))

    def tls(self, listener):
        """HTTP over TLS, some of it with client certificates, and some that can't be served."""
        self.secure_http(listener, 3, True)
        config, path = self.service(listener, alive="alive")
        self.add_vhosts(config, path, ["client.test", *self.some(EXACT + SUFFIXES, 2, 3)], routed=False)
        self.certify(config, "two", {"validation_secret": "trust"})
        config, path = self.service(listener)
        self.add_vhosts(config, path, self.some(EXACT + SUFFIXES, 2, 4))
        self.certify(config, "none")

    def l4(self, listener):
        """One service that takes every connection; another that wants the same place."""
        self.service(listener)
        self.service(listener)

    # ---- requests ----

    def question(self):
        """A request as POST /explain takes it."""
        rng = self.rng
        address, port = rng.choice(self.targets)
        if rng.random() < 0.03:
            address = self.world.ip(rng.randint(1, 9))
            port = rng.choice((port, 8199))
        secure = rng.random() < (0.1 if port in (8100, 8101, 8106) or address == "::1" else 0.85)
        name = rng.choice(HOSTS)
        question = {"address": address, "port": port, "path": self.path(), "tls": secure}
        if secure and rng.random() < 0.95:
            question["sni"] = name.strip(".-")
        if secure and rng.random() < 0.6:
            question["client_certificate"] = True
        host = name if rng.random() < 0.85 else rng.choice(HOSTS)
        question["host"] = host + rng.choice(("", "", "", "", ":80", ":443", ":", ":8123"))
        if rng.random() < 0.04:
            question["headers"] = rng.choice(({"x_under": "1"}, {"X-Fine": "1"}, {"Upgrade": "tea",
                                                                                 "Connection": "upgrade"}))
        return question

    def path(self):
        rng = self.rng
        if rng.random() < 0.25:
            path = rng.choice(PATHS + PREFIXES)
        else:
            path = "/" + "/".join(rng.choice(SEGMENTS) for _ in range(rng.choice((1, 1, 2, 2, 3, 4))))
        if rng.random() < 0.02:
            path += rng.choice(("%00", "#part", "%0"))
        return path + rng.choice(("", "", "", "?", "?q=1", "?q=/../a//b%2f", "?a?b"))


class Observation:
    """What came of a request: `kind` is 'refused', 'closed' (nothing was answered) or 'answered'."""

    def __init__(self, kind, fingerprint=None, response=None):
        self.kind, self.fingerprint, self.response = kind, fingerprint, response

    def __repr__(self):
        if self.response is None:
            return "%s (certificate %s)" % (self.kind, self.fingerprint)
        return "%r, %s" % (self.response, {k: self.response.headers[k] for k in ("Location", "Server")})


def observe(question, contexts):
    """Sends it. contexts: of TLS without and with a client certificate."""
    address = ("[%s]:%d" if ":" in question["address"] else "%s:%d") % (question["address"], question["port"])
    limit = 20 * SLOW
    try:
        s = connect(address, limit)
    except ConnectionRefusedError:
        return Observation("refused")
    fingerprint = None
    with s:
        try:
            if question["tls"]:
                context = contexts[bool(question.get("client_certificate"))]
                s = context.wrap_socket(s, server_hostname=question.get("sni"))
                fingerprint = hashlib.sha256(s.getpeercert(binary_form=True)).hexdigest()
            headers = question.get("headers", {})
            response = exchange(s, question["path"], host=question["host"], headers=headers,
                                close="Connection" not in headers)
            return Observation("answered", fingerprint, response)
        except TimeoutError:
            raise AssertionError("no answer within %d s to %r" % (limit, question)) from None
        except (OSError, http.client.HTTPException):
            return Observation("closed", fingerprint)
        finally:
            s.close()
