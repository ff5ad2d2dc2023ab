"""A daemon that serves the REST interface, and short ways to ask it: whatever it answers is held against the contract."""

import hashlib
import json
import socket
import urllib.parse

from contract import answer_faults
from harness import SLOW, answers, exchange, wait_until

TOKEN = "igwd_" + "V" * 43
VIEWER = "igwd_" + "w" * 43


def digest(token):
    return hashlib.sha256(token.encode()).hexdigest()


def quote(name):
    """A name as one segment of a path."""
    return urllib.parse.quote(name, safe="")


def exposure(name):
    return "/exposures/" + quote(name)


def certificate(name):
    return "/certificates/" + quote(name)


def drain(name, endpoint):
    return exposure(name) + "/endpoints/" + quote(endpoint) + "/drain"


def bearer(token):
    """Options of a request: over TCP, as whoever has the token."""
    return {"headers": {"Authorization": "Bearer " + token}, "tcp": True}


def done(response, status=200):
    """What is answered to a write that was taken."""
    assert response.status == status, (response, response.body)
    assert response.json["kind"] == "Revision" and response.json["number"] is not None
    return response.json


def pointers(response, status=422):
    """Where the faults are that a problem tells of."""
    assert response.status == status, (response, response.body)
    return {e.get("pointer") for e in response.json["errors"]}


class Api:
    """igwd with a unix socket and a TCP address for the REST interface."""

    def __init__(self, world, agent, args=(), **options):
        self.agent = agent
        self.socket = world.path("api.sock")
        self.tcp = world.ip(4) + ":8001"
        self.tokens = world.write("tokens", "# of the tests\nboss admin %s\nguest viewer %s\n" % (
            digest(TOKEN), digest(VIEWER)), 0o600)
        self.igwd = world.igwd(agent=agent, args=["--api", "unix:" + self.socket, "--api", self.tcp,
                                                  "--api-token-file", self.tokens, *args], **options)

    def connect(self, tcp=False):
        s = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX)
        s.settimeout(10 * SLOW)
        host, _, port = self.tcp.rpartition(":")
        s.connect((host, int(port)) if tcp else self.socket)
        return s

    def get(self, path, method="GET", headers=None, body=None, tcp=False):
        with self.connect(tcp) as s:
            return self.exchange(s, path, method, headers=headers, body=body)

    @staticmethod
    def exchange(s, path, method="GET", **options):
        """As harness.exchange()."""
        response = exchange(s, path, method, **options)
        faults = list(answer_faults(method, path, response))
        assert not faults, "the contract does not tell of this answer to %s %s: %s\n%r" % (method, path, faults, response)
        return response

    def json(self, path, **options):
        response = self.get(path, **options)
        assert response.status == 200, (path, response)
        return response.json

    def v1(self, path, **options):
        return self.json("/api/v1" + path, **options)

    def write(self, method, path, body=None, kind="application/json", headers=None, **options):
        """A request below /api/v1 with JSON as content."""
        headers = dict(headers or {})
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = kind
        return self.get("/api/v1" + path, method, headers=headers, body=data, **options)

    def put(self, path, body=None, **options):
        return self.write("PUT", path, body, **options)

    def patch(self, path, body, kind="application/merge-patch+json", **options):
        return self.write("PATCH", path, body, kind, **options)

    def delete(self, path, **options):
        return self.write("DELETE", path, **options)

    def post(self, path, body, **options):
        return self.write("POST", path, body, **options)

    def raw(self, data, tcp=False, limit=1 << 20):
        """All that comes back for these bytes, until the other side closes."""
        with self.connect(tcp) as s:
            s.sendall(data)
            found = b""
            while len(found) < limit:
                part = s.recv(65536)
                if not part:
                    break
                found += part
            return found

    def pages(self, path, limit):
        """The pages of a list, each the list of its items."""
        mark = "&" if "?" in path else "?"
        after = ""
        while True:
            page = self.v1("%s%slimit=%d%s" % (path, mark, limit, after))
            yield page["items"]
            if page["next"] is None:
                return
            after = "&after=" + page["next"]

    def programmed(self, name):
        """Whether the proxies have an exposure."""
        return self.v1(exposure(name))["status"]["programmed"]

    def wait_live(self):
        """On both of its addresses: one is served a moment before the other."""
        wait_until(lambda: answers(self.tcp) and self.get("/livez").status == 200, what="the REST interface")
        return self

    def wait_exposures(self, n):
        self.wait_live()
        wait_until(lambda: len(self.v1("/exposures?limit=1000")["items"]) == n, what="%d exposures" % n)
        return self


class Stream:
    """An answer of text/event-stream, read event by event."""

    def __init__(self, api, query="", last=None, headers="", tcp=False):
        self.socket = api.connect(tcp)
        last = "Last-Event-ID: %s\r\n" % last if last else ""
        host = api.tcp.rpartition(":")[0] if tcp else "x"
        self.socket.sendall(("GET /api/v1/events%s HTTP/1.1\r\nHost: %s\r\n%s%s\r\n" % (query, host, last, headers)).encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = {}
        for line in iter(self.file.readline, b"\r\n"):
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()
        self.rest = b""

    def chunk(self):
        """The next chunk of the coding, b"" at the end."""
        size = int(self.file.readline(), 16)
        data = self.file.read(size)
        self.file.readline()
        return data

    def blocks(self):
        while True:
            while b"\n\n" not in self.rest:
                part = self.chunk()
                if not part:
                    return
                self.rest += part
            block, _, self.rest = self.rest.partition(b"\n\n")
            yield block.decode()

    def events(self):
        """(id, event, data) of each; comments are passed."""
        for block in self.blocks():
            fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            if fields:
                yield fields["id"], fields["event"], json.loads(fields["data"])

    def until(self, look):
        """Events up to the first for which look(data) holds."""
        found = []
        for one in self.events():
            found.append(one)
            if look(one[2]):
                return found
        raise AssertionError("the stream ended: %r" % found)

    def close(self):
        self.file.close()
        self.socket.close()
