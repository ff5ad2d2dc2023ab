"""The REST interface's part of the benchmark: reads beside the bare HTTP library, writes beside the disk.

10,000 exposures, 16 connections that ask again as soon as they have an answer, and 100 changes a second from the agent.
For each kind of request: the daemon, and then the library with the same answer from memory (tests/tools/http_floor.c),
under the same changes; twice in turn, of which the better rates count, as whoever else uses the machine slows both.

A write is answered once it is on the disk. Each client overrides an exposure of its own, with another value each time.
Beside them: how often the disk itself takes a few kilobytes for good, one after the other, which is all that a single
client can have, and which many share.
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
WRITERS = (1, 16, 64)
FLUSHED = 8192      # bytes: what SQLite writes for a small transaction, at least
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


def measure(world, path, connections, status, request, program):
    """The figures of a request that is asked all the time; its file, and the program that answers."""
    before = program.cpu()
    done = subprocess.run([world.build / "tools" / "http_load", path, str(connections), str(SECONDS), str(status),
                           request], capture_output=True, text=True, check=False)
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
            one = measure(world, path, CONNECTIONS, status, request, program)
            if key not in best or one["rate"] > best[key]["rate"]:
                best[key] = one
    floor.stop()
    return best


def flushes(world):
    """Per second, of a file that grows."""
    times = []
    with open(world.path("flushed"), "wb", buffering=0) as file:
        begin = last = time.monotonic()
        while last < begin + SECONDS / 2:
            file.write(b"x" * FLUSHED)
            os.fdatasync(file.fileno())
            times.append(time.monotonic() - last)
            last += times[-1]
    return len(times) / (last - begin), sorted(times)[-1 - len(times) // 100]


def measure_writes(world, igwd, api, writers, number):
    """Of so many clients at once; number: another one each time, so that nothing is written twice."""
    content = json.dumps({"sni": ["n~~~~~~~~.w%d.example" % number]})
    request = world.path("request")
    with open(request, "w", encoding="ascii") as file:
        file.write("PATCH /api/v1/exposures/bench%%2Fsvc%%2Fs0^^^^.expose%%230 HTTP/1.1\r\nHost: localhost\r\n"
                   "Content-Type: application/merge-patch+json\r\nContent-Length: %d\r\n\r\n%s" % (
                       len(content), content))
    return measure(world, api, writers, 200, request, igwd)


def run_writes(world, igwd, api, say):
    rate, p99 = flushes(world)
    say("  the disk         %8.0f flushes/s, p99 %6.2f ms" % (rate, p99 * 1e3))
    for writers in WRITERS:
        best = max((measure_writes(world, igwd, api, writers, n) for n in range(ROUNDS)),
                   key=lambda result: result["rate"])
        say("  write, %2d clients %7.0f /s, p50 %6.2f ms, p99 %6.2f ms, %5.1f us CPU, %.1f for each flush of the disk" % (
            writers, best["rate"], best["p50"] * 1e3, best["p99"] * 1e3, best["cpu"] * 1e6, best["rate"] / rate))


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
        run_writes(world, igwd, api, say)
        say("  %.0f changes/s were made" % (changes.made / (time.monotonic() - begin)))
    return rows
