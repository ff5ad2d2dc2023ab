"""What the end-to-end tests stand on: igwd, a real Envoy, real little backends and clients, and the simulated agent.

Everything of one test lives in a World: a directory, a network of its own (127.A.B.0/24, so that tests may run beside
each other with the same ports), and the processes and servers that it started. World.close() ends all of it, whatever
happened, and finds what should not have: a crash, a sanitizer's report.

Nothing here waits by sleeping for a guessed time: wait_until() looks again every few milliseconds and has a limit
that only a real failure reaches.
"""

import base64
import collections
import contextlib
import ctypes
import hashlib
import http.client
import importlib.util
import json
import os
import pathlib
import random
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "tools"))

from agent_sim import SimAgent  # noqa: E402  (its directory has to be known first)

BUILD = pathlib.Path(os.environ.get("TEST_BUILD", ROOT / "build"))
IGWD = pathlib.Path(os.environ.get("TEST_IGWD", BUILD / "igwd"))
ENVOY = pathlib.Path(os.environ.get("TEST_ENVOY", pathlib.Path(sys.prefix) / "bin" / "envoy"))
# The program itself; the other one is a script that starts it.
ENVOY_BINARY = pathlib.Path(importlib.util.find_spec("envoy").submodule_search_locations[0]) / "_bin" / "envoy"
SLOW = float(os.environ.get("TEST_SLOW", "1"))  # a sanitizer's factor on limits
LIMIT = 20.0 * SLOW
LOOK = 0.015
SANITIZER_REPORT = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion .* failed")
TYPES = "type.googleapis.com/"
SO_ATTACH_FILTER = 26  # of asm-generic/socket.h; Python does not name it


def wait_until(look, timeout=None, what=None):
    """Returns the first truthy value of look(). A failed assertion, lookup or connection within it means: not yet."""
    limit = time.monotonic() + (LIMIT if timeout is None else timeout)
    last = None
    while True:
        try:
            value = look()
            if value:
                return value
            last = "it was %r" % (value,)
        except (AssertionError, OSError, LookupError, ValueError, http.client.HTTPException) as error:
            last = "%s: %s" % (type(error).__name__, error)
        if time.monotonic() > limit:
            name = what or getattr(look, "__name__", look)
            raise AssertionError("waited for %s in vain; at last %s" % (name, last))
        time.sleep(LOOK)


def holds_for(look, seconds, what="it"):
    """Asserts that look() is true all the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert look(), "%s did not stay so" % what
        time.sleep(LOOK)


# ---- addresses ---------------------------------------------------------------------------------

class Network:
    """A /24 of 127.0.0.0/8 that nobody else uses: a socket bound in it holds it against other tests and workers."""

    ANCHOR_PORT = 47111

    def __init__(self, prefix=None):
        for _ in range(1 if prefix else 10000):
            self.prefix = prefix or "127.%d.%d." % (random.randint(20, 250), random.randint(0, 255))
            self.anchor = socket.socket()
            try:
                self.anchor.bind((self.prefix + "254", self.ANCHOR_PORT))
                self.anchor.listen(1)
                return
            except OSError:
                self.anchor.close()
        raise RuntimeError("no free 127.x.y.0/24")

    def ip(self, n):
        assert 0 < n < 254
        return self.prefix + str(n)

    def close(self):
        self.anchor.close()


def free_port(address="127.0.0.1", kind=socket.SOCK_STREAM):
    """A port below the ephemeral range, for addresses that are shared with others (127.0.0.1, ::1, 0.0.0.0)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(1000):
        port = random.randint(15000, 32000)
        with socket.socket(family, kind) as probe:
            try:
                probe.bind((address, port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port on " + address)


# ---- the world of one test ---------------------------------------------------------------------

class World:
    def __init__(self, name="test", network=None):
        self.name = name
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="igwd-"))
        self.network = network or Network()
        self.stack = contextlib.ExitStack()
        self.processes = []
        self.failures = []

    def ip(self, n):
        return self.network.ip(n)

    def path(self, name):
        return str(self.directory / name)

    def write(self, name, text, mode=0o644):
        path = self.directory / name
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def add(self, thing):
        """Something with a stop(): it is stopped at the end, the last first."""
        self.stack.callback(thing.stop)
        return thing

    def agent(self, path="lsnr.sock", **options):
        return self.add(SimAgent(self.path(path), **options).start())

    def backend(self, n, **options):
        options.setdefault("name", "b%d" % n)
        return self.add(Backend(self.ip(n), **options).start())

    def igwd(self, **options):
        return Igwd(self, **options).start()

    def envoy(self, igwd=None, **options):
        return Envoy(self, igwd, **options).start()

    def logs(self):
        return [(p.name, p.log_text()) for p in self.processes]

    def close(self):
        try:
            self.stack.close()
        finally:
            for process in reversed(self.processes):
                process.end()
            self.network.close()
        for process in self.processes:
            self.failures += process.complaints()
        kept = os.environ.get("TEST_KEEP")
        if not kept:
            shutil.rmtree(self.directory, ignore_errors=True)
        assert not self.failures, "\n".join(self.failures)


class Process:
    """A child with its log in the world's directory."""

    def __init__(self, world, name):
        self.world = world
        self.name = "%s-%d" % (name, sum(1 for p in world.processes if p.name.startswith(name + "-")) + 1)
        self.log = world.directory / (self.name + ".log")
        self.child = None
        self.expected_exits = set()
        world.processes.append(self)

    def spawn(self, command, env=None):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=log, env=env, cwd=self.world.directory, start_new_session=True)

    @property
    def pid(self):
        return self.child.pid

    def running(self):
        return self.child is not None and self.child.poll() is None

    def log_text(self):
        try:
            return self.log.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def signal(self, number):
        self.child.send_signal(number)

    def kill(self):
        """kill -9, as a power cut for the process."""
        self.expected_exits.add(-signal.SIGKILL)
        if self.running():
            self.child.kill()
        return self.child.wait(30)

    def terminate(self, timeout=None):
        """SIGTERM; returns the exit code and the seconds that it took."""
        began = time.monotonic()
        self.child.terminate()
        code = self.child.wait(LIMIT if timeout is None else timeout)
        return code, time.monotonic() - began

    def end(self):
        if self.running():
            self.child.terminate()
            try:
                self.child.wait(20 * SLOW)
            except subprocess.TimeoutExpired:
                self.world.failures.append("%s did not end on SIGTERM" % self.name)
                self.kill()

    def complaints(self):
        if self.child is None:
            return []
        found = []
        code = self.child.returncode
        if code not in (0, -signal.SIGTERM) and code not in self.expected_exits:
            found.append("%s ended with %s" % (self.name, code))
        text = self.log_text()
        report = SANITIZER_REPORT.search(text)
        if report:
            found.append("%s: %s" % (self.name, text[report.start():report.start() + 8000]))
        return found

    def memory(self, pid=None):
        """Resident bytes."""
        with open("/proc/%d/status" % (pid or self.pid), encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) * 1024

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))

    def cpu(self):
        """Seconds of CPU that it used."""
        with open("/proc/%d/stat" % self.pid, encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- igwd --------------------------------------------------------------------------------------

class Igwd(Process):
    """The daemon under test. `xds`: the values of --xds; the first is the one that Envoys get by default."""

    def __init__(self, world, agent=None, xds=None, gateway=None, networks="127.0.0.0/8,::1/128", state="state",
                 args=(), env=None, agent_path=None, binary=None):
        super().__init__(world, "igwd")
        self.binary = binary if isinstance(binary, list) else [binary or IGWD]
        self.agent_path = agent_path or (agent.path if agent else world.path("lsnr.sock"))
        self.xds = [xds] if isinstance(xds, str) else list(xds or [world.ip(2) + ":50051"])
        self.gateway = gateway
        self.networks = networks
        self.state = world.path(state)
        self.args = list(args)
        self.env = env or {}

    def command(self):
        command = [*self.binary, "--agent", self.agent_path, "--state", self.state, "--log-format", "json"]
        for address in self.xds:
            command += ["--xds", address]
        if self.gateway:
            command += ["--gateway", self.gateway]
        if self.networks:
            command += ["--endpoint-networks", self.networks]
        return command + self.args

    def environment(self):
        # No IGWD_* of whoever runs the tests: settings come from here alone.
        env = {key: value for key, value in os.environ.items()
               if not key.startswith("IGWD_") and key not in ("JOURNAL_STREAM", "NOTIFY_SOCKET",
                                                              "CREDENTIALS_DIRECTORY", "OPENSVC_LSNR_SOCK")}
        env.setdefault("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1")
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        env.setdefault("TSAN_OPTIONS", "second_deadlock_stack=1:suppressions=%s" % (ROOT / "tests" / "tsan.supp"))
        return {**env, **self.env}

    def start(self, wait=True):
        self.spawn(self.command(), self.environment())
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            if not self.running():
                raise RuntimeError("igwd ended with %s at once:\n%s" % (self.child.returncode,
                                                                        self.log_text()[-4000:]))
            return all(answers(split_gateways(address)[0]) for address in self.xds)
        wait_until(ready, what="igwd to listen")

    def restart(self, kill=False):
        if kill:
            self.kill()
        else:
            code, _ = self.terminate()
            assert code == 0, "igwd ended with %s on SIGTERM" % code
        return self.start()

    def wait_noted(self):
        """What was refused, and what stands in for it, is on its disk: that takes 100 ms (XDS_NOTES_GAP_MS), and it wrote
        nothing for longer."""
        began, log = time.time(), pathlib.Path(self.state, "observed.db-wal")
        wait_until(lambda: time.time() - max(began, log.stat().st_mtime) > 0.5 * SLOW, what="igwd to write no more")

    def run(self, *args, check=True, timeout=None, env=None):
        """Runs the binary with other arguments; returns the completed process."""
        command = [str(part) for part in [*self.binary, *args]]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                              timeout=LIMIT if timeout is None else timeout, cwd=self.world.directory,
                              env={**self.environment(), **(env or {})})
        if check:
            assert done.returncode == 0, "igwd %s: %s %s" % (" ".join(map(str, args)), done.stdout, done.stderr)
        return done

    def log_lines(self):
        """The log as dictionaries; a line that is not JSON is a failure of its own."""
        lines = []
        for line in self.log_text().splitlines():
            if line.startswith("{"):
                lines.append(json.loads(line))
        return lines

    def logged(self, *parts):
        """The log lines that hold all of the parts (in their text)."""
        return [line for line in self.log_text().splitlines() if all(part in line for part in parts)]

    def wait_logged(self, *parts, timeout=None, times=1):
        return wait_until(lambda: len(self.logged(*parts)) >= times and self.logged(*parts), timeout,
                          "igwd's log to have %r" % (parts,))

    def bootstrap(self, admin, address=None, gateway=None, node_id=None, cluster=None, sotw=False, args=()):
        address = address or split_gateways(self.xds[0])[0]
        gateway = gateway or self.gateway or "envoy"
        command = ["bootstrap", "--gateway", gateway, "--xds", address, "--admin", admin]
        command += ["--node-id", node_id] if node_id else []
        command += ["--node-cluster", cluster] if cluster else []
        command += ["--state-of-the-world"] if sotw else []
        return json.loads(self.run(*command, *args).stdout)


def split_gateways(address):
    """ADDR[=GATEWAYS] as --xds takes it."""
    where, _, gateways = address.partition("=")
    return where, gateways


def answers(address):
    """Whether somebody accepts connections there: HOST:PORT, [HOST]:PORT or unix:PATH."""
    try:
        if address.startswith("unix:"):
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(address[5:])
        else:
            host, _, port = address.rpartition(":")
            with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
                pass
        return True
    except OSError:
        return False


# ---- Envoy -------------------------------------------------------------------------------------

def address_json(address):
    if address.startswith("unix:"):
        return {"pipe": {"path": address[5:]}}
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}


def handmade_bootstrap(xds, gateway="envoy", node_id="node", sotw=False, metadata=None, cluster=None):
    """The least that makes an Envoy ask over ADS; not the product's (that is `igwd bootstrap`)."""
    node = {"id": node_id, "cluster": cluster or gateway}
    if metadata:
        node["metadata"] = metadata
    source = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": node,
        "dynamic_resources": {
            "ads_config": {"api_type": "GRPC" if sotw else "DELTA_GRPC", "transport_api_version": "V3",
                           "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]},
            "lds_config": source, "cds_config": source,
        },
        "static_resources": {"clusters": [{
            "name": "xds", "type": "STATIC", "connect_timeout": "1s",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": TYPES + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}}},
            "load_assignment": {"cluster_name": "xds", "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address_json(xds)}}]}]}}]},
    }


class Envoy(Process):
    """A real Envoy. Its admin interface has an address of its own in the test's network."""

    def __init__(self, world, igwd=None, bootstrap=None, sotw=False, gateway=None, node_id=None, cluster=None,
                 xds=None, metadata=None, handmade=False, args=(), admin=None, change=None):
        super().__init__(world, "envoy")
        number = int(self.name.rpartition("-")[2])
        self.admin = admin or "%s:%d" % (world.ip(3), 9900 + number)
        node_id = node_id or "node-%d" % number
        if bootstrap is None and igwd is not None and not handmade:
            bootstrap = igwd.bootstrap(self.admin, address=xds, gateway=gateway, node_id=node_id, cluster=cluster,
                                       sotw=sotw)
        elif bootstrap is None:
            bootstrap = handmade_bootstrap(xds or split_gateways(igwd.xds[0])[0], gateway or "envoy", node_id, sotw,
                                           metadata, cluster)
        if metadata:
            bootstrap["node"].setdefault("metadata", {}).update(metadata)
        bootstrap["admin"] = {"address": address_json(self.admin)}
        if change:
            change(bootstrap)
        self.config = world.write(self.name + ".json", json.dumps(bootstrap, indent=1))
        self.args = list(args)

    def start(self, wait=True):
        command = [ENVOY, "-c", self.config, "--disable-hot-restart", "--concurrency", "1", "-l", "warning",
                   "--drain-time-s", "5", "--parent-shutdown-time-s", "10", *self.args]
        self.spawn(command)
        if wait:
            self.wait_up()
        return self

    def wait_up(self):
        def up():
            if not self.running():
                raise RuntimeError("Envoy ended with %s at once:\n%s" % (self.child.returncode,
                                                                         self.log_text()[-4000:]))
            return self.get("/server_info")
        wait_until(up, what="Envoy's admin interface")

    def wait_live(self, timeout=None):
        wait_until(lambda: self.get("/ready").startswith("LIVE"), timeout, "Envoy to be live")
        return self

    def get(self, path, method="GET"):
        if self.admin.startswith("unix:"):
            response = request_unix(self.admin[5:], path, method)
        else:
            response = request(self.admin, path, method=method, timeout=10 * SLOW)
        return response.body.decode()

    def get_json(self, path):
        return json.loads(self.get(path))

    def config_dump(self, kind=None):
        """All of it, or the section of a kind: 'Listeners', 'Clusters', 'Routes', 'Endpoints', 'Secrets'."""
        configs = self.get_json("/config_dump?include_eds")["configs"]
        if kind is None:
            return configs
        return next((c for c in configs if c["@type"].endswith(".%sConfigDump" % kind)), {})

    def dynamic_listeners(self):
        """Active dynamic listeners: name -> the Listener."""
        found = self.config_dump("Listeners").get("dynamic_listeners", [])
        return {e["name"]: e["active_state"]["listener"] for e in found if "active_state" in e}

    def dynamic_clusters(self):
        found = self.config_dump("Clusters").get("dynamic_active_clusters", [])
        return {e["cluster"]["name"]: e["cluster"] for e in found}

    def dynamic_routes(self):
        found = self.config_dump("Routes").get("dynamic_route_configs", [])
        return {e["route_config"]["name"]: e["route_config"] for e in found}

    def dynamic_secrets(self):
        return {e["name"]: e.get("secret") for e in self.config_dump("Secrets").get("dynamic_active_secrets", [])}

    def warming(self):
        """Names of what warms, of any kind."""
        names = [e["name"] for e in self.config_dump("Listeners").get("dynamic_listeners", [])
                 if "warming_state" in e]
        names += [e["cluster"]["name"] for e in self.config_dump("Clusters").get("dynamic_warming_clusters", [])]
        return names + [e["name"] for e in self.config_dump("Secrets").get("dynamic_warming_secrets", [])]

    def endpoints(self, cluster):
        """The addresses of a cluster's endpoints, as text, sorted."""
        for status in self.get_json("/clusters?format=json").get("cluster_statuses", []):
            if status["name"] == cluster:
                found = [h["address"]["socket_address"] for h in status.get("host_statuses", [])]
                return sorted("%s:%d" % (a["address"], a["port_value"]) for a in found)
        return None

    def stats(self, pattern=""):
        text = self.get("/stats?filter=" + urllib.parse.quote(pattern))
        found = {}
        for line in text.splitlines():
            name, _, value = line.rpartition(": ")
            if re.fullmatch(r"\d+", value):
                found[name] = int(value)
        return found

    def stat(self, name):
        return self.stats("^" + re.escape(name) + "$").get(name, 0)

    def wait_endpoints(self, cluster, addresses, timeout=None):
        wanted = sorted(addresses)

        def look():
            found = self.endpoints(cluster)
            assert found == wanted, found
            return True
        wait_until(look, timeout, "endpoints of %s to be %s" % (cluster, wanted))

    def wait_listeners(self, *names, timeout=None):
        def look():
            found = sorted(self.dynamic_listeners())
            assert found == sorted(names), found
            return True
        wait_until(look, timeout, "listeners to be %s" % sorted(names))

    def updates(self):
        """What tells that a listener or cluster was added, changed or removed; equal before and after means that
        Envoy changed nothing."""
        keep = re.compile(r"^(listener_manager\.listener_(added|modified|removed|in_place_updated)|"
                          r"cluster_manager\.cluster_(added|modified|removed))$")
        return {name: value for name, value in self.stats("_manager").items() if keep.match(name)}

    def rejected(self):
        """How many updates this Envoy refused, by kind."""
        return {name: value for name, value in self.stats("update_rejected").items() if value}

    def terminate_gently(self):
        self.get("/quitquitquit", method="POST")
        self.child.wait(LIMIT)


def validate(config, world):
    """Envoy's own opinion of a bootstrap: None, or its words."""
    path = world.write("validate-%d.json" % random.getrandbits(32), json.dumps(config))
    done = subprocess.run([str(ENVOY), "--mode", "validate", "-c", path, "-l", "error"], capture_output=True,
                          text=True, timeout=60 * SLOW, check=False, stdin=subprocess.DEVNULL)
    return None if done.returncode == 0 else done.stderr + done.stdout


# ---- clients -----------------------------------------------------------------------------------

class Response:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers  # http.client's message: case does not matter, get_all() for several
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def backend(self):
        """The name of the backend that answered."""
        return self.json["backend"]

    def __repr__(self):
        return "Response(%s, %r)" % (self.status, self.body[:200])


def client_context(ca=None, client=None, alpn=("http/1.1",)):
    """A TLS context that trusts `ca` (a CA, or None: nobody is asked who they are), with a client certificate."""
    context = ssl.create_default_context(cadata=ca.pem) if ca else ssl._create_unverified_context()
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if client:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(client.key + client.chain)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def split_address(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def connect(address, timeout=None, tls=None, sni=None, source=None):
    """A TCP connection, with TLS if tls is a context."""
    s = socket.create_connection(split_address(address), timeout=10 * SLOW if timeout is None else timeout,
                                 source_address=(source, 0) if source else None)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        try:
            return tls.wrap_socket(s, server_hostname=sni)
        except BaseException:
            s.close()
            raise
    return s


def exchange(s, path, method="GET", host=None, headers=None, body=None, close=True):
    """One HTTP/1.1 exchange on a connection that is there."""
    lines = ["%s %s HTTP/1.1" % (method, path), "Host: %s" % (host or "localhost")]
    lines += ["%s: %s" % pair for pair in (headers.items() if isinstance(headers, dict) else headers or [])]
    if body is not None:
        lines.append("Content-Length: %d" % len(body))
    if close:
        lines.append("Connection: close")
    s.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b""))
    answer = http.client.HTTPResponse(s, method=method)
    answer.begin()
    data = answer.read()
    response = Response(answer.status, answer.headers, data)
    response.closing = answer.will_close
    answer.close()
    return response


def request(address, path="/", method="GET", host=None, headers=None, body=None, tls=None, sni=None, timeout=None,
            source=None):
    """One request over a connection of its own. Redirects are not followed."""
    with connect(address, timeout, tls, sni, source) as s:
        return exchange(s, path, method, host or sni, headers, body)


def request_unix(path, target, method="GET"):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10 * SLOW)
        s.connect(path)
        return exchange(s, target, method)


def wait_answer(address, path="/", timeout=None, status=200, backend=None, **options):
    """Waits until a request is answered so."""
    def look():
        response = request(address, path, **options)
        assert response.status == status, response
        if backend is not None:
            assert response.backend == backend, response
        return response
    return wait_until(look, timeout, "%s%s to answer %s" % (address, path, backend or status))


def tcp_echo(address, text=b"hello", timeout=None, tls=None, sni=None, source=None):
    """What an echo backend answers to one line."""
    with connect(address, timeout, tls, sni, source) as s:
        s.sendall(text + b"\n")
        return read_line(s)


def read_line(s):
    data = b""
    while not data.endswith(b"\n"):
        piece = s.recv(4096)
        if not piece:
            raise ConnectionError("the connection ended after %r" % data)
        data += piece
    return data[:-1]


def udp_echo(address, text=b"hello", timeout=1.0, source=None):
    family = socket.AF_INET6 if ":" in split_address(address)[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        if source:
            s.bind((source, 0))
        s.sendto(text, split_address(address))
        return s.recv(65536)


def fingerprint(address, sni=None, alpn=("http/1.1",), client=None):
    """SHA-256 of the certificate that is served, hexadecimal."""
    with connect(address, tls=client_context(client=client, alpn=alpn), sni=sni) as s:
        return hashlib.sha256(s.getpeercert(binary_form=True)).hexdigest()


class WebSocket:
    """A websocket client that says what it gets."""

    def __init__(self, address, path="/", host=None, tls=None, sni=None):
        self.socket = connect(address, tls=tls, sni=sni)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(("GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % (
                                 path, host or sni or "localhost", key)).encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = http.client.parse_headers(self.file)
        if self.status == 101:
            assert self.headers["Sec-WebSocket-Accept"] == websocket_accept(key)

    def echo(self, text):
        self.socket.sendall(websocket_frame(text, mask=os.urandom(4)))
        return websocket_read(self.file)

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def websocket_accept(key):
    return base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


def websocket_frame(payload, mask=None):
    """A binary frame (RFC 6455, 5.2) below 64 kB."""
    flag = 0x80 if mask else 0
    head = b"\x82" + (bytes([flag | len(payload)]) if len(payload) < 126
                      else bytes([flag | 126]) + struct.pack(">H", len(payload)))
    if mask:
        head += mask
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return head + payload


def websocket_read(file):
    head = file.read(2)
    if len(head) < 2:
        return None
    size = head[1] & 0x7F
    if size == 126:
        size = struct.unpack(">H", file.read(2))[0]
    mask = file.read(4) if head[1] & 0x80 else b"\0\0\0\0"
    data = file.read(size)
    if head[0] & 0x0F == 8:
        return None
    return bytes(b ^ mask[i % 4] for i, b in enumerate(data))


class Load:
    """Constant load from several threads, which counts exactly: sent == answered + failed once it is stopped.

    Modes: 'keepalive' (HTTP/1.1, connections are kept while the server keeps them), 'new' (HTTP/1.1, a connection for
    each request), 'tcp' (a connection and one line to an echo backend). A connection that ends without an answer to
    what was sent is a failure, whatever the reason; nothing is tried again.
    """

    def __init__(self, address, mode="new", path="/", host=None, tls=None, sni=None, workers=4, pause=0.01,
                 timeout=None, expect=200):
        self.address, self.mode, self.path, self.host = address, mode, path, host
        self.tls, self.sni, self.pause, self.expect = tls, sni, pause, expect
        self.timeout = 15 * SLOW if timeout is None else timeout
        self.lock = threading.Lock()
        self.sent = self.answered = 0
        self.failures = []
        self.by = collections.Counter()
        self.connections = 0
        self.halt = threading.Event()
        self.threads = [threading.Thread(target=self._work, name="load-%d" % i, daemon=True) for i in range(workers)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        """Lets what is under way finish; afterwards the counts are final."""
        self.halt.set()
        for thread in self.threads:
            if thread.ident:
                thread.join(self.timeout + 10)
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    @property
    def failed(self):
        return len(self.failures)

    def wait_answered(self, more, timeout=None):
        """Waits until that many more were answered."""
        wanted = self.answered + more
        wait_until(lambda: self.answered >= wanted, timeout, "%d more answers (failures: %s)" % (
            more, self.failures[-3:]))

    def assert_clean(self, at_least=1):
        self.stop()
        assert self.sent == self.answered + self.failed
        assert self.failed == 0, "%d of %d requests failed: %s" % (self.failed, self.sent, self.failures[:5])
        assert self.answered >= at_least, "only %d requests were sent" % self.sent

    def _work(self):
        kept = None
        while not self.halt.is_set():
            with self.lock:
                self.sent += 1
            try:
                kept, who = self._one(kept)
                with self.lock:
                    self.answered += 1
                    self.by[who] += 1
            except Exception as error:  # whatever it was, the request failed
                if kept:
                    kept.close()
                kept = None
                with self.lock:
                    self.failures.append("%.3f %s: %s" % (time.monotonic(), type(error).__name__, error))
            self.halt.wait(self.pause)
        if kept:
            kept.close()

    def _connect(self):
        with self.lock:
            self.connections += 1
        return connect(self.address, self.timeout, self.tls, self.sni)

    def _one(self, kept):
        s = kept or self._connect()
        try:
            if self.mode == "tcp":
                s.sendall(b"load\n")
                who = read_line(s).split()[0].decode()
                s.close()
                return None, who
            response = exchange(s, self.path, host=self.host or self.sni, close=self.mode == "new")
            if response.status != self.expect:
                raise ValueError("status %d: %r" % (response.status, response.body[:100]))
            who = response.backend if self.expect == 200 else str(response.status)
            if self.mode == "keepalive" and not response.closing:
                return s, who
            s.close()
            return None, who
        except BaseException:
            s.close()
            raise


# ---- backends ----------------------------------------------------------------------------------

class Backend:
    """A little server that says who it is.

    Kinds: 'http' (answers with JSON: backend, method, path, headers, peer; websockets are echoed; /slow?ms=N waits,
    /status/N answers with N, /close ends without an answer), 'echo' (TCP: NAME and the line), 'greeter' (TCP: speaks
    first), 'udp'.
    stop() takes no new connection from that moment on (they are refused), answers what comes on those that are there
    with Connection: close, and leaves them to the client: as a server that is ended with care. kill() ends them.
    """

    def __init__(self, address, port=8000, kind="http", name="backend", tls=None, family=None):
        self.address, self.port, self.kind, self.name = address, port, kind, name
        self.tls = tls  # an ssl context, or None
        self.family = family or (socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.socket = None
        self.thread = None
        self.stopping = False
        self.lock = threading.Lock()
        self.connections = set()
        self.requests = []
        self.count = 0

    @property
    def endpoint(self):
        return ("[%s]:%d" if self.family == socket.AF_INET6 else "%s:%d") % (self.address, self.port)

    def start(self):
        kind = socket.SOCK_DGRAM if self.kind == "udp" else socket.SOCK_STREAM
        s = socket.socket(self.family, kind)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((self.address, self.port))
        if kind == socket.SOCK_STREAM:
            s.listen(512)
        self.socket = s
        self.stopping = False
        self.wake_reader, self.wake = socket.socketpair()
        target = self._udp if self.kind == "udp" else self._accept
        self.thread = threading.Thread(target=target, args=(s, self.wake_reader), name=self.name, daemon=True)
        self.thread.start()
        return self

    def stop(self):
        self.stopping = True
        if self.socket is not None:
            self.socket = None
            self.wake.close()
            self.thread.join(10)

    def kill(self):
        """The process is gone: connections end at once."""
        self.stop()
        with self.lock:
            connections = list(self.connections)
        for s in connections:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def _udp(self, s, wake):
        with s, wake:
            while wait_readable(s, wake):
                try:
                    data, peer = s.recvfrom(65536)
                    self.count += 1
                    s.sendto(self.name.encode() + b" " + data, peer)
                except OSError:
                    continue  # an earlier answer that nobody took

    def _accept(self, s, wake):
        s.setblocking(False)
        with s, wake:
            while wait_readable(s, wake):
                self._accept_all(s)
            # Who connected before the end is served; closing the socket alone would reset them.
            refuse_connections(s)
            self._accept_all(s)

    def _accept_all(self, s):
        while True:
            try:
                connection, peer = s.accept()
            except OSError:
                return
            connection.setblocking(True)
            threading.Thread(target=self._serve, args=(connection, peer), daemon=True).start()

    def _serve(self, connection, peer):
        with self.lock:
            self.connections.add(connection)
        raw = connection
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
                with self.lock:
                    self.connections.discard(raw)
                    self.connections.add(connection)
            if self.kind == "http":
                self._http(connection, peer)
            else:
                self._lines(connection)
        except (OSError, ValueError, http.client.HTTPException):
            pass  # a client that goes away is its own business
        finally:
            with self.lock:
                self.connections.discard(connection)
                self.connections.discard(raw)
            connection.close()

    def _lines(self, connection):
        if self.kind == "greeter":
            connection.sendall(b"220 " + self.name.encode() + b"\n")
        with connection.makefile("rb") as file:
            for line in file:
                self.count += 1
                connection.sendall(self.name.encode() + b" " + line)

    def _http(self, connection, peer):
        with connection.makefile("rb") as file:
            while True:
                line = file.readline(65536)
                if not line:
                    return
                method, path, _ = line.decode("latin-1").split(" ", 2)
                headers = http.client.parse_headers(file)
                body = file.read(int(headers.get("Content-Length", 0) or 0))
                if headers.get("Transfer-Encoding", "").lower() == "chunked":
                    body = read_chunks(file)
                with self.lock:
                    self.count += 1
                    self.requests.append((method, path, headers))
                    del self.requests[:-1000]
                if headers.get("Upgrade", "").lower() == "websocket":
                    self._websocket(connection, file, headers)
                    return
                if path == "/close":
                    return
                if not self._answer(connection, peer, method, path, headers, body):
                    return

    def _answer(self, connection, peer, method, path, headers, body):
        parsed = urllib.parse.urlsplit(path)
        status = 200
        if parsed.path.startswith("/slow"):
            time.sleep(int(urllib.parse.parse_qs(parsed.query).get("ms", ["1000"])[0]) / 1000)
        elif parsed.path.startswith("/status/"):
            status = int(parsed.path.rpartition("/")[2])
        answer = {"backend": self.name, "method": method, "path": path, "peer": peer[0],
                  "body": body.decode("latin-1"), "headers": [[k.lower(), v] for k, v in headers.items()]}
        if self.tls:
            answer["sni"] = getattr(connection, "seen_sni", None)
            certificate = connection.getpeercert()
            answer["client"] = certificate.get("subject") if certificate else None
        data = json.dumps(answer).encode()
        keep = not self.stopping and headers.get("Connection", "").lower() != "close"
        connection.sendall(("HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n" % (
            status, len(data), "" if keep else "Connection: close\r\n")).encode()
            + (data if method != "HEAD" else b""))
        return keep

    def _websocket(self, connection, file, headers):
        accept = websocket_accept(headers["Sec-WebSocket-Key"])
        connection.sendall(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            "Sec-WebSocket-Accept: %s\r\n\r\n" % accept).encode())
        while True:
            data = websocket_read(file)
            if data is None:
                return
            connection.sendall(websocket_frame(self.name.encode() + b" " + data))


def wait_readable(s, wake):
    """True when s can be read, False when the other end of wake was closed."""
    ready, _, _ = select.select([s, wake], [], [])
    return wake not in ready


def refuse_connections(s):
    """From now on a listening socket sees no SYN: a socket filter (BPF, `return 0`) drops them."""
    code = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HL", 1, ctypes.addressof(code))
    s.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def read_chunks(file):
    body = b""
    while True:
        size = int(file.readline().split(b";")[0], 16)
        body += file.read(size)
        file.readline()
        if size == 0:
            return body


def server_context(certificate, client_ca=None):
    """A TLS context for a backend; with client_ca it wants a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(certificate.key + certificate.chain)
        file.flush()
        context.load_cert_chain(file.name)
    if client_ca:
        context.load_verify_locations(cadata=client_ca.pem)
        context.verify_mode = ssl.CERT_REQUIRED

    def remember(s, name, _context):
        s.seen_sni = name
    context.sni_callback = remember
    return context
