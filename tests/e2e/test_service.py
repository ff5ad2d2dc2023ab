"""igwd under a supervisor: sockets that are passed in, the watchdog, and the units themselves."""

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from api_client import Api, exposure
from declare import l4
from harness import LIMIT, ROOT, SLOW, Igwd, request_unix, wait_answer, wait_until

UNITS = ROOT / "dist" / "systemd"
EXPOSURE_MAX = 2.0


def notifications(s, seconds):
    """What the supervisor hears within that time."""
    heard = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        s.settimeout(max(0.001, end - time.monotonic()))
        try:
            heard.append(s.recv(4096).decode())
        except socket.timeout:
            break
    return heard


class Supervised(Igwd):
    """igwd with sockets that outlive it, as systemd passes them in (tests below hold this against systemd's tool)."""

    def __init__(self, world, addresses, **options):
        super().__init__(world, **options)
        self.sockets = [self.open(address) for address in addresses]

    def open(self, address):
        is_unix = address.startswith("unix:")
        s = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET)
        if is_unix:
            s.bind(address[5:])
        else:
            host, _, port = address.rpartition(":")
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((host, int(port)))
        s.listen(512)
        # Out of the way of those numbers that the sockets get in the child.
        high = socket.socket(fileno=fcntl.fcntl(s.fileno(), fcntl.F_DUPFD_CLOEXEC, 100))
        s.close()
        return self.world.stack.enter_context(high)

    def spawn(self, command, env=None):
        numbers = [s.fileno() for s in self.sockets]
        moves = " ".join("%d<&%d %d<&-" % (3 + i, number, number) for i, number in enumerate(numbers))
        script = "exec %s; export LISTEN_PID=$$ LISTEN_FDS=%d; exec \"$@\"" % (moves, len(numbers))
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(["bash", "-c", script, "bash", *[str(part) for part in command]],
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
                                          cwd=self.world.directory, start_new_session=True, pass_fds=numbers)


class Callers:
    """Threads that connect all the time, and note who was refused."""

    def __init__(self, *calls):
        self.refused = []
        self.answered = dict.fromkeys(calls, 0)
        self.cut = 0
        self.halt = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(call,), daemon=True) for call in calls]

    def run(self, call):
        while not self.halt.wait(0.005):
            try:
                call()
                self.answered[call] += 1
            except (ConnectionRefusedError, FileNotFoundError) as error:
                self.refused.append(repr(error))
            except (OSError, ValueError, IndexError):
                self.cut += 1  # it was connected, and met the end of the daemon

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.halt.set()
        for thread in self.threads:
            thread.join(LIMIT)


@pytest.mark.sanitized
@pytest.mark.parametrize("kill", [False, True])
def test_nobody_is_refused_while_it_restarts(world, kill):
    agent = world.agent(nodes=["n1"])
    one = world.backend(10)
    agent.add_service("web", l4(one.address, world.ip(1) + ":8000"))
    xds, api = world.ip(2) + ":50051", "unix:" + world.path("api.sock")
    igwd = Supervised(world, [xds, api], agent=agent, args=["--api", api]).start()
    envoy = world.envoy(igwd).wait_live()
    wait_answer(world.ip(1) + ":8000", backend="b10")
    proxies = request_unix(api[5:], "/api/v1/proxies").json["items"]
    assert re.fullmatch(r"(ipv4:)?127\.\d+\.\d+\.\d+:\d+", proxies[0]["peer"]), proxies
    before = envoy.updates()

    def ask():
        assert request_unix(api[5:], "/livez").status == 200

    def come():
        host, _, port = xds.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=LIMIT):
            pass
    with Callers(ask, come) as callers:
        for _ in range(3):
            seen = callers.answered[ask]
            igwd.restart(kill=kill)
            wait_until(lambda: envoy.stat("control_plane.connected_state") == 1, what="Envoy to connect again")
            wait_until(lambda: callers.answered[ask] > seen + 20, what="the REST interface to answer again")
    assert callers.refused == [] and callers.answered[come] > 20
    name = "cluster.igwd-xds.upstream_cx_connect_fail"
    assert envoy.stats("upstream_cx_connect_fail")[name] == 0
    assert envoy.updates() == before
    # It goes on as before: a change arrives.
    two = world.backend(11)
    agent.add_service("more", l4(two.address, world.ip(1) + ":8001"))
    wait_answer(world.ip(1) + ":8001", backend="b11")
    assert os.path.exists(api[5:])
    code, seconds = igwd.terminate()
    assert code == 0 and seconds < 2.5 * SLOW and os.path.exists(api[5:]), "the socket is the supervisor's"


def test_systemd_passes_sockets_in_just_so(world):
    """systemd's own tool opens the sockets and starts the daemon with the first connection."""
    agent = world.agent(nodes=["n1"])
    xds, api = world.ip(2) + ":50051", world.path("api.sock")
    igwd = Igwd(world, agent=agent, args=["--api", "unix:" + api],
                binary=["systemd-socket-activate", "-l", xds, "-l", api, "--fdname=xds:api", str(Igwd(world).binary[0])])
    igwd.start(wait=False)
    wait_until(lambda: os.path.exists(api))
    assert igwd.log_lines() == [], "nobody asked yet"
    assert request_unix(api, "/livez").status == 200
    igwd.wait_logged("ready")
    world.envoy(igwd, handmade=True).wait_live()
    # The tool has become the daemon.
    assert igwd.terminate()[0] == 0


def test_a_socket_that_no_setting_names_is_an_error_that_names_it(world):
    agent = world.agent(nodes=["n1"])
    igwd = Supervised(world, [world.ip(2) + ":50051", world.ip(3) + ":50052"], agent=agent)
    igwd.expected_exits.add(1)
    igwd.start(wait=False)
    assert igwd.child.wait(LIMIT) == 1
    assert igwd.logged("can't run", world.ip(3) + ":50052")


def test_the_supervisor_hears_of_all_that_happens(world):
    agent = world.agent(nodes=["n1"])
    path = world.path("notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(path)
        igwd = world.igwd(agent=agent, env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"})
        heard = notifications(supervisor, 1.0 * SLOW)
        assert heard.count("READY=1") == 1 and heard.count("WATCHDOG=1") >= 5, heard
        told = [h for h in heard if h.startswith("STATUS=")]
        assert told == ["STATUS=nothing to serve yet: waiting for the agent", "STATUS=following the agent"]
        igwd.signal(signal.SIGHUP)
        igwd.wait_logged("read again")
        heard = [h for h in notifications(supervisor, 0.5 * SLOW) if h != "WATCHDOG=1"]
        assert len(heard) == 2 and re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", heard[0]), heard
        assert heard[1] == "READY=1"
        agent.stop()
        wait_until(lambda: "STATUS=the agent does not answer: serving the last known state" in notifications(
            supervisor, 0.1), what="the supervisor to hear of the agent")
        igwd.terminate()
        assert "STOPPING=1" in notifications(supervisor, 0.2)


def test_a_daemon_that_hangs_feeds_no_watchdog(world):
    agent = world.agent(nodes=["n1"])
    path = world.path("notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(path)
        igwd = world.igwd(agent=agent, env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"})
        assert "WATCHDOG=1" in notifications(supervisor, 0.5 * SLOW)
        igwd.signal(signal.SIGSTOP)
        notifications(supervisor, 0.1)
        assert notifications(supervisor, 0.4) == []
        igwd.signal(signal.SIGCONT)
        assert "WATCHDOG=1" in notifications(supervisor, 0.5 * SLOW)


# ---- one of several ----

@pytest.mark.sanitized
def test_a_read_only_daemon_serves_and_takes_no_edits(world):
    """Two daemons of one cluster, as in a flex service: the one that takes edits allocates ports, for both."""
    agent = world.agent(nodes=["n1"])
    one = world.backend(10)
    agent.add_service("web", l4(one.address, world.ip(1) + ":0"))
    second = Api(world, agent, args=["--read-only", "--port-range", "21000-21009"], state="second",
                 xds=world.ip(3) + ":50052")
    status = wait_until(lambda: second.v1(exposure("web.expose#0"))["status"])
    assert not status["listener_port"]
    assert second.v1("/auth/whoami")["read_only"]
    assert status["accepted"]["state"] != "ok" and "read-only" in json.dumps(status["accepted"]), status
    for response in (second.patch(exposure("web.expose#0"), {"listener_port": 21005}),
                     second.put(exposure("own.expose#0"), {"port": 1}), second.post("/tokens", {
                         "name": "t", "role": "viewer"})):
        assert response.status == 403 and "read-only" in response.json["detail"], response
    assert agent.count("object_action") == 0
    world.igwd(agent=agent, args=["--port-range", "21000-21009"])
    wait_until(lambda: second.v1(exposure("web.expose#0"))["status"]["listener_port"] == 21000)
    found = second.v1("/exposures?listener_port=21000")["items"]
    assert [item["name"] for item in found] == ["web.expose#0"], "it is found by the port that it was given"
    world.envoy(second.igwd, xds=world.ip(3) + ":50052").wait_live()
    wait_answer(world.ip(1) + ":21000", backend="b10")


# ---- the units ----

@pytest.fixture
def units(world):
    """The units as they are installed, with a program that is there."""
    directory = world.directory / "units"
    directory.mkdir()
    for source in UNITS.iterdir():
        if source.suffix == ".in":
            text = source.read_text().replace("@SBINDIR@/igwd", sys.executable)
            (directory / source.stem).write_text(text)
        elif source.suffix == ".socket":
            (directory / source.name).write_text(source.read_text())
    return directory


def test_the_units_are_good_and_the_service_is_hardened(units):
    names = [str(path) for path in sorted(units.iterdir())]
    assert len(names) == 3
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0 and not [line for line in done.stderr.splitlines() if "igwd" in line], done.stderr
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                           "--threshold=%d" % (EXPOSURE_MAX * 10), str(units / "igwd.service")],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    level = re.search(r"Overall exposure level for igwd.service: ([\d.]+)", done.stdout)
    assert float(level.group(1)) < EXPOSURE_MAX


def test_the_packaged_settings_and_sockets_name_the_same_addresses(world):
    conf = str(ROOT / "dist" / "igwd.conf")
    text = Igwd(world).run("--config", conf, "--print-config").stdout
    for unit, setting in (("igwd-xds.socket", "xds"), ("igwd-api.socket", "api")):
        stream = re.search(r"^ListenStream=(.*)$", (UNITS / unit).read_text(), re.MULTILINE).group(1)
        address = "unix:" + stream if stream.startswith("/") else stream
        assert "# from %s" % conf in text and "\n%s = %s\n" % (setting, address) in text, unit
