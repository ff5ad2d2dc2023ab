"""The REST interface's part of the benchmark: requests per second beside the bare HTTP library.

10,000 exposures, 16 connections that ask again as soon as they have an answer, and 100 changes a second from the agent.
For each kind of request: the daemon, and then the library with the same answer from memory (tests/tools/http_floor.c),
under the same changes; twice in turn, of which the better rates count, as whoever else uses the machine slows both.
"""

import json
import os
import socket
import subprocess
import threading
import time

CONNECTIONS = 16
CHANGES = 100       # a second
SECONDS = 2.0
ROUNDS = 2
SKIPPED = ("date", "content-length", "connection", "x-request-id")
KINDS = [("one exposure", "/api/v1/exposures/bench%2Fsvc%2Fs05000.expose%230", 200, None),
         ("a page of 100", "/api/v1/exposures?limit=100", 200, 0.5),
         ("not modified", "/api/v1/exposures/bench%2Fsvc%2Fs05000.expose%230", 304, 0.8)]


class Changes:
    """Addresses that fail and come back, one after the other, in a thread."""

    def __init__(self, flip):
        self.flip = flip
        self.ended = threading.Event()
        self.made = 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        begin = time.monotonic()
        while not self.ended.wait(max(0.0, begin + self.made / CHANGES - time.monotonic())):
            self.flip()
            self.made += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def ask(path, target, headers=()):
    """Status, fields in order, content."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(("GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n" % (
            target, "".join(h + "\r\n" for h in headers))).encode())
        data = b""
        while part := s.recv(1 << 16):
            data += part
    head, _, content = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return int(lines[0].split()[1]), [line.split(": ", 1) for line in lines[1:]], content


def measure(build, path, status, request, program):
    before = program.cpu()
    done = subprocess.run([build / "tools" / "http_load", path, str(CONNECTIONS), str(SECONDS), str(status), request],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    result = json.loads(done.stdout)
    result["rate"] = result["requests"] / result["seconds"]
    result["cpu"] = (program.cpu() - before) / result["requests"]
    return result


class Floor:
    """The library, with one answer."""

    def __init__(self, world, status, fields, content):
        self.path = world.path("http-floor.sock")
        for name, data in (("floor.fields", "".join("%s: %s\n" % tuple(f) for f in fields
                                                    if f[0].lower() not in SKIPPED).encode()),
                           ("floor.content", content)):
            with open(world.path(name), "wb") as file:
                file.write(data)
        self.program = world.drive("http_floor", self.path, status, world.path("floor.fields"),
                                   world.path("floor.content"))
        self.program.answer()

    def stop(self):
        self.program.stop()
        os.unlink(self.path)


def compare(world, igwd, api, kind):
    """The figures of one kind of request: the daemon's and the floor's."""
    _, target, status, _ = kind
    tag = next(value for name, value in ask(api, target)[1] if name == "ETag")
    conditions = ["If-None-Match: " + tag] if status == 304 else []
    found, fields, content = ask(api, target, conditions)
    if found != status:
        raise RuntimeError("%s answers %d, not %d" % (target, found, status))
    request = world.path("request")
    with open(request, "w", encoding="ascii") as file:
        file.write("GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (target, "".join(c + "\r\n" for c in conditions)))
    floor = Floor(world, status, fields, content)
    best = {}
    for _ in range(ROUNDS):
        for key, path, program in (("api", api, igwd), ("floor", floor.path, floor.program)):
            one = measure(world.build, path, status, request, program)
            if key not in best or one["rate"] > best[key]["rate"]:
                best[key] = one
    floor.stop()
    return best


def run(world, igwd, api, flip, services, say):
    """Rows for the table of targets: (what, figure, target, whether it is met)."""
    rows = []
    say("\nREST interface: %d exposures, %d connections, %d changes/s" % (services, CONNECTIONS, CHANGES))
    with Changes(flip) as changes:
        begin = time.monotonic()
        for kind in KINDS:
            best = compare(world, igwd, api, kind)
            ours, floor = best["api"], best["floor"]
            say("  %-16s %8.0f /s, p99 %6.2f ms, %5.1f us CPU  floor %8.0f /s, p99 %6.2f ms, %5.1f us, ratio %.2f" % (
                kind[0], ours["rate"], ours["p99"] * 1e3, ours["cpu"] * 1e6, floor["rate"], floor["p99"] * 1e3,
                floor["cpu"] * 1e6, ours["rate"] / floor["rate"]))
            if kind[3]:
                ratio = ours["rate"] / floor["rate"]
                rows.append(("REST, %s over the library's rate" % kind[0], "%.2f" % ratio, ">= %.2f" % kind[3],
                             ratio >= kind[3]))
        say("  %.0f changes/s were made" % (changes.made / (time.monotonic() - begin)))
    return rows
