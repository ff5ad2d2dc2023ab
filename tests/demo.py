#!/usr/bin/env python3
"""A small cluster on this machine: a simulated OpenSVC agent, real little servers, igwd, and a real Envoy.

Shows with curl that what the services declare is reachable, checks each answer, moves a service to another node while
it is asked, and then stays for you to play with. With --once it ends after the checks: 0 if all were right, else 1.
"""

import argparse
import json
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
sys.path.insert(0, str(ROOT / "tests" / "tools"))


class Failed(Exception):
    """A check of the demo did not hold."""


def say(text=""):
    print(text, flush=True)


def step(text):
    say("\n== " + text)


def choose_port(wanted, taken):
    """The wanted port of 127.0.0.1, or the next one that nobody has."""
    for port in range(wanted, wanted + 500):
        with socket.socket() as probe:
            try:
                # As a server would: nobody else may listen on it, on any address.
                probe.bind(("0.0.0.0", port))
                probe.listen(1)
            except OSError:
                continue
        if port not in taken:
            taken.add(port)
            return port
    raise Failed("no free port from %d on" % wanted)


ECHO = """\
[DEFAULT]
nodes = n1 n2
[ip#1]
type = host
ipname@n1 = {n1}
ipname@n2 = {n2}
expose = expose#0
[expose#0]
type = envoy
port = 8000
listener_addr = 127.0.0.1
listener_port = {l4}
"""

PASS = """\
[DEFAULT]
nodes = n1
[ip#1]
type = host
ipname = {address}
expose = expose#0
[expose#0]
type = envoy
port = 8443
listener_addr = 127.0.0.1
listener_port = {tls}
sni = pass.demo.example
"""

SHOP = """\
[DEFAULT]
nodes = n1
[ip#1]
type = host
ipname = {address}
expose = expose#0
[expose#0]
type = envoy
port = 8000
listener_addr = 127.0.0.1
listener_port = {tls}
vhosts = vhost#0
listener_certificates = certificate#front
[vhost#0]
type = envoy
domains = shop.demo.example
[certificate#front]
type = tls
certificate_secret = shop-cert
"""

WEB = """\
[DEFAULT]
nodes = n1 n2 n3
topology = flex
[ip#1]
type = host
ipname@n1 = {n1}
ipname@n2 = {n2}
ipname@n3 = {n3}
expose = expose#0
[expose#0]
type = envoy
port = 8000
listener_addr = 127.0.0.1
listener_port = {http}
vhosts = vhost#0
[vhost#0]
type = envoy
domains = www.demo.example
"""

API = """\
[DEFAULT]
nodes = n1
[ip#1]
type = host
ipname = {address}
expose = expose#0
[expose#0]
type = envoy
port = 8000
listener_addr = 127.0.0.1
listener_port = {http}
vhosts = vhost#0
[vhost#0]
type = envoy
domains = www.demo.example
routes = route#0
[route#0]
type = envoy
match_prefix = /api
"""

BLOG = API.replace("www.demo.example\nroutes = route#0", "blog.demo.example").partition("[route#0]")[0]


class Demo:
    def __init__(self, build):
        self.build = build
        self.world = None
        self.agent = self.igwd = self.envoy = None
        self.backends = {}
        taken = set()
        self.ports = {name: choose_port(port, taken) for name, port in (
            ("l4", 8080), ("http", 8000), ("tls", 8443), ("xds", 50051), ("admin", 9901),
            ("dashboard", 8001))}

    def start(self):
        import certificates
        import harness
        self.harness = harness
        self.world = world = harness.World("demo")
        authority = certificates.CA("igwd demo")
        self.ca_file = world.write("ca.pem", authority.pem)
        step("real little servers, each with an address of a service's instance")
        own = harness.server_context(authority.issue("pass.demo.example"))
        for n, (name, port, tls) in enumerate([
                ("echo on n1", 8000, None), ("echo on n2", 8000, None), ("pass on n1", 8443, own),
                ("shop on n1", 8000, None), ("www on n1", 8000, None), ("www on n2", 8000, None),
                ("www on n3", 8000, None), ("api on n1", 8000, None), ("blog on n1", 8000, None)], 10):
            self.backends[name] = world.backend(n, port=port, name=name, tls=tls)
            say("   %-12s %s:%d%s" % (name, world.ip(n), port, " (TLS)" if tls else ""))
        step("a simulated OpenSVC agent with their declarations")
        self.agent = world.agent(nodes=["n1", "n2", "n3"], cluster="demo")
        self.agent.set_secret("demo/sec/shop-cert", authority.issue("shop.demo.example").secret())
        address = {name.replace(" on ", "_"): b.address for name, b in self.backends.items()}
        ports = {name: str(port) for name, port in self.ports.items()}
        for name, text, started in (
                ("echo", ECHO.format(n1=address["echo_n1"], n2=address["echo_n2"], **ports), ["n1"]),
                ("pass", PASS.format(address=address["pass_n1"], **ports), ["n1"]),
                ("shop", SHOP.format(address=address["shop_n1"], **ports), ["n1"]),
                ("www", WEB.format(n1=address["www_n1"], n2=address["www_n2"], n3=address["www_n3"], **ports),
                 ["n1", "n2"]),
                ("api", API.format(address=address["api_n1"], **ports), ["n1"]),
                ("blog", BLOG.format(address=address["blog_n1"], **ports), ["n1"])):
            self.agent.add_service("demo/svc/" + name, text, started=started)
            say("   demo/svc/" + name)
        self.backends["echo on n2"].stop()  # a failover service runs on one node
        self.backends["www on n3"].stop()
        self.start_gateway()

    def start_gateway(self):
        harness, world, ports = self.harness, self.world, self.ports
        step("igwd")
        self.socket = world.path("api.sock")
        self.igwd = harness.Igwd(world, agent=self.agent, xds="127.0.0.1:%d" % ports["xds"],
                                 networks="127.0.0.0/8", binary=self.build / "igwd",
                                 args=["--api", "unix:" + self.socket, "--api",
                                       "127.0.0.1:%d" % ports["dashboard"], "--api-token-file",
                                       world.write("tokens", "# none but those that are made later\n", 0o600)])
        say("   " + shlex.join(map(str, self.igwd.command())))
        self.igwd.start()
        step("Envoy, with the configuration that `igwd bootstrap` prints")
        began = time.monotonic()
        self.envoy = harness.Envoy(world, self.igwd, admin="127.0.0.1:%d" % ports["admin"])
        say("   envoy -c %s" % self.envoy.config)
        self.envoy.start().wait_live()
        say("   live after %.1f s" % (time.monotonic() - began))

    # ---- checks --------------------------------------------------------------------------------

    def commands(self):
        """What is shown and checked: a title, a curl command, and who has to answer."""
        l4, http, tls = (self.ports[name] for name in ("l4", "http", "tls"))

        def resolve(host, port):
            return ["--resolve", "%s:%d:127.0.0.1" % (host, port)]
        https = ["curl", "-s", "--cacert", self.ca_file]
        return [
            ("L4: a port of the gateway goes to demo/svc/echo",
             ["curl", "-s", "http://127.0.0.1:%d/" % l4], "echo on n1"),
            ("HTTPS by SNI, passed through: the service's own certificate",
             [*https, *resolve("pass.demo.example", tls), "https://pass.demo.example:%d/" % tls], "pass on n1"),
            ("HTTPS by SNI, ended at the gateway: the certificate of the secret demo/sec/shop-cert",
             [*https, *resolve("shop.demo.example", tls), "https://shop.demo.example:%d/" % tls], "shop on n1"),
            ("L7 by host: www.demo.example",
             ["curl", "-s", *resolve("www.demo.example", http), "http://www.demo.example:%d/" % http], "www on "),
            ("L7 by host: blog.demo.example",
             ["curl", "-s", *resolve("blog.demo.example", http), "http://blog.demo.example:%d/" % http],
             "blog on n1"),
            ("L7 by path: www.demo.example/api, declared by another service",
             ["curl", "-s", *resolve("www.demo.example", http), "http://www.demo.example:%d/api/x" % http],
             "api on n1"),
        ]

    def check(self, title, command, expected, text='"backend": "%s'):
        """Runs the command until the expected one answers."""
        limit = time.monotonic() + 20
        while True:
            done = subprocess.run(command + ["--max-time", "10"], capture_output=True, text=True, check=False)
            if text % expected in done.stdout:
                break
            if time.monotonic() > limit:
                raise Failed("%s: expected an answer of \"%s\", got curl's exit code %d and %r" % (
                    title, expected, done.returncode, done.stdout))
            time.sleep(0.02)
        say("\n-- " + title)
        say("   $ " + shlex.join(command))
        say("   " + (done.stdout if len(done.stdout) < 160 else done.stdout[:157] + "..."))

    def check_failover(self):
        step("demo/svc/echo moves from n1 to n2")
        title, command, _ = self.commands()[0]
        began = time.monotonic()
        self.agent.move("demo/svc/echo", "n1", "n2", on_down=self.backends["echo on n1"].stop,
                        on_up=self.backends["echo on n2"].start)
        self.check("the same address and port, another node", command, "echo on n2")
        say("   (%.0f ms after the move began)" % ((time.monotonic() - began) * 1000))

    def check_move_under_load(self):
        step("demo/svc/www runs on n1 and n2; n1's instance moves to n3 while it is asked all the time")
        load = self.harness.Load("127.0.0.1:%d" % self.ports["http"], "new", host="www.demo.example")
        with load:
            load.wait_answered(100)
            self.agent.move("demo/svc/www", "n1", "n3", on_down=self.backends["www on n1"].stop,
                            on_up=self.backends["www on n3"].start)
            self.harness.wait_until(lambda: load.by["www on n3"] > 20, what="answers of www on n3")
        say("   %d requests, %d answered, %d failed; by %s" % (
            load.sent, load.answered, load.failed, ", ".join("%s: %d" % pair for pair in sorted(load.by.items()))))
        if load.failed:
            raise Failed("requests failed while the service moved: %s" % load.failures[:3])

    def rest(self, method, path, content=None):
        """A command that asks the REST interface."""
        command = ["curl", "-s", "--unix-socket", self.socket]
        if method != "GET":
            command += ["-X", method]
        if content is not None:
            command += ["-H", "Content-Type: application/json", "-d", json.dumps(content)]
        return [*command, "http://igwd/api/v1" + path]

    def check_edit(self):
        step("an exposure made over the REST interface: no service declares it")
        http = self.ports["http"]
        blog = self.backends["blog on n1"]
        name = "made.expose%230"
        self.check("Made", self.rest("PUT", "/exposures/" + name, {
            "port": blog.port, "listener_addr": "127.0.0.1", "listener_port": http, "vhosts": [{"domains": ["made.demo.example"]}],
            "endpoints": [{"address": blog.address, "port": blog.port}]}), "Revision", '"kind":"%s"')
        self.check("and reached", ["curl", "-s", "--resolve", "made.demo.example:%d:127.0.0.1" % http, "--retry", "5",
                                   "--retry-all-errors", "-f", "http://made.demo.example:%d/" % http], "blog on n1")
        self.check("and removed", self.rest("DELETE", "/exposures/" + name), "Revision", '"kind":"%s"')

    def open_dashboard(self):
        """An administrator's token, made as people make theirs, and the page that asks for it."""
        step("the dashboard")
        self.token = self.igwd.run("token", "create", "demo", "admin", "--api", "unix:" + self.socket).stdout.strip()
        self.url = "http://127.0.0.1:%d/" % self.ports["dashboard"]
        self.check("a page of igwd's own", ["curl", "-s", "--compressed", self.url], "igwd", "<title>%s</title>")
        self.check("it signs in with a token that `igwd token create` made", [
            "curl", "-s", "-H", "Authorization: Bearer " + self.token, self.url + "api/v1/auth/whoami"], "demo",
                   '"name":"%s"')

    def checks(self):
        step("what the services declared is reachable")
        for title, command, expected in self.commands():
            self.check(title, command, expected)
        self.check_failover()
        self.check_move_under_load()
        self.check_edit()
        self.open_dashboard()

    # ---- staying -------------------------------------------------------------------------------

    def stay(self):
        step("try it yourself; Ctrl-C ends everything")
        say("   dashboard: %s" % self.url)
        say("   its token: %s" % self.token)
        say()
        for _, command, _ in self.commands():
            say("   " + shlex.join(command))
        say("   %s     # docs/api.md has more" % shlex.join(self.rest("GET", "/exposures")))
        say("   curl http://127.0.0.1:%d/config_dump       # Envoy's admin interface" % self.ports["admin"])
        say("   tail -f %s" % self.igwd.log)
        say("\nType commands for the simulated agent here (help lists them), such as")
        say("   stop demo/svc/blog n1")
        say("   set demo/svc/blog vhost#0.domains=other.demo.example")
        from agent_sim import command
        for line in sys.stdin:
            try:
                words = shlex.split(line)
                if words == ["quit"]:
                    return
                if words:
                    command(self.agent, words)
                    say("ok")
            except (ValueError, LookupError, TypeError, OSError) as error:
                say("error: %s" % error)
        while self.igwd.running() and self.envoy.running():  # standard input is closed: stay anyway
            time.sleep(0.2)
        raise Failed("%s ended" % ("Envoy" if self.igwd.running() else "igwd"))

    def stop(self):
        if self.world:
            self.world.close()

    def logs(self):
        if self.world:
            for name, text in self.world.logs():
                say("\n---- the end of the log of %s" % name)
                say("\n".join(text.splitlines()[-40:]))


def stop_on_signal(_number, _frame):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build", type=pathlib.Path, help="directory of the build")
    parser.add_argument("--once", action="store_true", help="end after the checks")
    options = parser.parse_args()
    os.environ["TEST_BUILD"] = str(options.build.resolve())
    signal.signal(signal.SIGTERM, stop_on_signal)
    demo = None
    code = 1
    try:
        demo = Demo(options.build.resolve())
        demo.start()
        demo.checks()
        say("\nAll answers were right.")
        code = 0
        if not options.once:
            demo.stay()
    except KeyboardInterrupt:
        say("\nending")
    except (Failed, AssertionError, RuntimeError, OSError) as error:
        say("\nFAILED: %s" % error)
        code = 1
        if demo:
            demo.logs()
    finally:
        if demo:
            try:
                demo.stop()
            except AssertionError as error:
                say("FAILED at the end: %s" % error)
                code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
