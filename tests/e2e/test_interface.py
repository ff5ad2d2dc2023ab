"""The command line, settings, the bootstrap, and the log: what scripts and administrators rely on."""

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys

import pytest

from declare import l4
from harness import ENVOY, IGWD, ROOT, SLOW, Igwd, free_port, validate, wait_answer, wait_until

FLAGS = ["--agent", "--xds", "--api", "--state", "--gateway", "--port-range", "--endpoint-networks", "--config",
         "--log-level", "--log-format"]


@pytest.fixture
def igwd(world):
    return Igwd(world)


def test_help_and_version(igwd):
    text = igwd.run("--help").stdout
    for flag in FLAGS + ["--version", "--check-config", "--print-config", "bootstrap"]:
        assert flag in text, flag
    assert re.search(r"igwd \d+\.\d+", igwd.run("--version").stdout)


@pytest.mark.parametrize("args", [["--no-such"], ["nonsense"], ["--xds", "nowhere"], ["--xds", "1.2.3.4"],
                                  ["--xds", "127.0.0.1:70000"], ["--port-range", "9-1"], ["--port-range", "a"],
                                  ["--log-level", "loud"], ["--log-format", "xml"], ["--agent", "relative"],
                                  ["--endpoint-networks", "300.0.0.0/8"], ["--endpoint-networks", "10.0.0.0/33"],
                                  ["--gateway", "a b"], ["--state"], ["--gateway", "a", "--gateway", "b"]])
def test_a_wrong_flag_is_named(igwd, args):
    done = igwd.run("--check-config", *args, check=False)
    assert done.returncode != 0
    assert any(word.lstrip("-") in done.stderr for word in args), done.stderr
    assert done.stdout == "" and len(done.stderr.splitlines()) <= 3


def test_flags_go_over_the_environment_over_the_file(world, igwd):
    path = world.write("igwd.conf", "# a comment\n\ngateway = from-file\nlog-level = debug\nport-range = 2000-2001\n")
    args = ["--config", path, "--print-config"]
    assert re.search(r"gateway.*from-file", igwd.run(*args).stdout)
    env = {"IGWD_GATEWAY": "from-environment"}
    assert re.search(r"gateway.*from-environment", igwd.run(*args, env=env).stdout)
    text = igwd.run(*args, "--gateway", "from-flag", env=env).stdout
    assert re.search(r"gateway.*from-flag", text) and re.search(r"log-level.*debug", text)
    assert path in text


@pytest.mark.parametrize("line, number", [("no-such = 1", 3), ("gateway", 3), ("log-level = loud", 3),
                                          ("port-range = x", 3)])
def test_an_unknown_or_wrong_setting_names_file_and_line(world, igwd, line, number):
    path = world.write("igwd.conf", "gateway = a\n# comment\n%s\n" % line)
    done = igwd.run("--config", path, "--check-config", check=False)
    assert done.returncode != 0 and "%s:%d" % (path, number) in done.stderr, done.stderr


def test_an_unknown_variable_or_a_missing_file_is_an_error(world, igwd):
    done = igwd.run("--check-config", check=False, env={"IGWD_NO_SUCH": "1"})
    assert done.returncode != 0 and "IGWD_NO_SUCH" in done.stderr
    done = igwd.run("--check-config", "--config", world.path("none"), check=False)
    assert done.returncode != 0 and world.path("none") in done.stderr


def test_a_good_configuration_passes_the_check(world, igwd):
    igwd.run("--check-config", "--agent", world.path("x"), "--state", world.path("s"), "--xds", "127.0.0.1:1234",
             "--xds", "unix:" + world.path("xds.sock") + "=*", "--api", "unix:" + world.path("api.sock"),
             "--gateway", "g", "--port-range", "1025-2000", "--endpoint-networks", "127.0.0.0/8,::1/128",
             "--log-level", "debug", "--log-format", "logfmt")
    assert not os.path.exists(world.path("s")), "a check changes nothing"


def test_the_predecessors_options_are_aliases(world, igwd):
    text = igwd.run("--name", "edge", "--port", "50099", "--envoy-port", "9911", "--port-range", "3000-3001",
                    "--sock", world.path("lsnr.sock"), "--print-config").stdout
    for wanted in ("edge", "50099", "9911", "3000-3001", world.path("lsnr.sock")):
        assert wanted in text, wanted
    text = igwd.run("--print-config", env={"OPENSVC_LSNR_SOCK": world.path("other.sock")}).stdout
    assert world.path("other.sock") in text


def test_a_service_definition_of_the_predecessor_works(world):
    """Its options alone, its variable, and an Envoy as it was started there."""
    agent = world.agent(nodes=["n1"])
    one = world.backend(10)
    port = free_port()
    agent.add_service("web", l4(one.address, world.ip(1) + ":8000"))
    igwd = Igwd(world, xds="127.0.0.1:%d" % port)
    igwd.command = lambda: [*igwd.binary, "--name", "envoy", "--port", port, "--envoy-port", 9901, "--state",
                            igwd.state, "--endpoint-networks", "127.0.0.0/8"]
    igwd.env = {"OPENSVC_LSNR_SOCK": agent.path}
    igwd.start()
    world.envoy(igwd, handmade=True, cluster="11111111-2222", node_id="n1").wait_live()
    wait_answer(world.ip(1) + ":8000", backend="b10")


@pytest.mark.parametrize("sotw", [False, True])
@pytest.mark.parametrize("where", ["tcp", "unix"])
def test_the_bootstrap_works_as_it_is(world, where, sotw):
    agent = world.agent(nodes=["n1"])
    one = world.backend(10)
    agent.add_service("web", l4(one.address, world.ip(1) + ":8000", gateway="edge"))
    address = world.ip(2) + ":50051" if where == "tcp" else "unix:" + world.path("xds.sock")
    igwd = world.igwd(agent=agent, xds=address + "=edge")
    admin = "127.0.0.1:%d" % free_port()
    text = igwd.run("bootstrap", "--gateway", "edge", "--xds", address, "--admin", admin,
                    *(["--state-of-the-world"] if sotw else [])).stdout
    bootstrap = json.loads(text)
    assert validate(bootstrap, world) is None
    assert bootstrap["node"]["cluster"] == "edge" and bootstrap["node"]["id"]
    assert json.dumps(bootstrap["admin"]).count("127.0.0.1") == 1
    path = world.write("as-it-is.json", text)
    child = subprocess.Popen([str(ENVOY), "-c", path, "--disable-hot-restart", "--concurrency", "1", "-l", "warning"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_answer(world.ip(1) + ":8000", backend="b10")
        wait_answer(admin, "/ready")
    finally:
        child.terminate()
        child.wait(30)


def test_the_bootstrap_leads_to_the_first_address_that_serves_the_gateway(igwd, world):
    settings = world.write("igwd.conf", "gateway = main\nxds = 127.0.0.1:50051\nxds = 127.0.0.1:50052=edge,far\n"
                           "xds = unix:%s\n" % world.path("xds.sock"))

    def way(*args, config=settings):
        done = igwd.run("bootstrap", *args, *(["--config", config] if config else []), check=False)
        if done.returncode:
            return done.stderr
        made = json.loads(done.stdout)
        address = made["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
        where = address["endpoint"]["address"]
        return made["node"]["metadata"]["gateway"], where.get("pipe", where.get("socket_address"))
    tcp = {port: {"address": "127.0.0.1", "port_value": port} for port in (50051, 50052, 50053)}
    assert way() == way("--gateway", "main") == ("main", tcp[50051])
    assert way("--gateway", "far") == way("--name", "far") == ("far", tcp[50052])
    assert way("--gateway", "other") == ("other", {"path": world.path("xds.sock")})
    assert way("--gateway", "far", "--xds", "127.0.0.1:50053") == ("far", tcp[50053]), "what is asked for is taken"
    assert way("--gateway", "far", config=None) == ("far", tcp[50051]), "how the daemon was started is not known"
    narrow = world.write("narrow.conf", "gateway = none\nxds = 127.0.0.1:50051=edge\n")
    assert way("--gateway", "far", config=narrow) == 'igwd: %s:2: no xDS address serves the gateway "far"\n' % narrow
    assert "there is no default" in way(config=narrow)
    assert "1 to 64" in way("--gateway", "a b")


def test_the_bootstrap_needs_no_running_daemon_and_has_sane_defaults(igwd):
    bootstrap = json.loads(igwd.run("bootstrap").stdout)
    text = json.dumps(bootstrap)
    assert bootstrap["node"]["cluster"] == "envoy" and bootstrap["node"]["id"] == socket.gethostname()
    assert "50051" in text and "9901" in text and "DELTA_GRPC" in text
    # Keepalive on the xDS connection, a limit on downstream connections, a raised limit on regexes.
    for part in ("keepalive", "global_downstream_max_connections", "re2.max_program_size.error_level"):
        assert part in text, part


@pytest.mark.sanitized
def test_sighup_reloads_what_can_be_reloaded(world):
    agent = world.agent(nodes=["n1"])
    path = world.write("igwd.conf", "log-level = error\n")
    igwd = world.igwd(agent=agent, args=["--config", path])
    wait_until(lambda: agent.subscribers)
    assert igwd.log_lines() == []
    world.write("igwd.conf", "log-level = info\n")
    igwd.signal(signal.SIGHUP)
    igwd.wait_logged("read again")
    agent.cut()
    wait_until(lambda: any(line["level"] == "info" for line in igwd.log_lines()), what="a line of the new level")
    world.write("igwd.conf", "log-level = info\nnonsense = 1\n")
    igwd.signal(signal.SIGHUP)
    igwd.wait_logged("nonsense")
    assert igwd.running()


def test_it_says_when_it_is_ready_to_who_asked(world):
    agent = world.agent(nodes=["n1"])
    path = world.path("notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        notify.settimeout(20 * SLOW)
        world.igwd(agent=agent, env={"NOTIFY_SOCKET": path})
        wait_until(lambda: b"READY=1" in notify.recv(4096), what="the daemon to say that it is ready")


def test_ready_says_whether_there_is_a_state_to_serve_and_why_not(world):
    where, tcp = "unix:" + world.path("api.sock"), world.ip(4) + ":8001"
    asker = Igwd(world)

    def ready(*args):
        done = asker.run("ready", *args, check=False)
        return done.returncode, done.stdout, done.stderr
    assert ready("--api", where) == (1, "", "igwd: %s: the daemon can't be reached: No such file or directory\n" % where)
    tokens = world.write("tokens", "", 0o600)
    igwd = world.igwd(args=["--api", where, "--api", tcp, "--api-token-file", tokens])
    why = wait_until(lambda: "not ready" in ready("--api", where)[2] and ready("--api", where))
    assert why[:2] == (1, "") and "not ready: no whole state was persisted" in why[2] and "(status 503)" in why[2]
    world.agent(nodes=["n1"])
    wait_until(lambda: ready("--api", where) == (0, "ready\n", ""))
    assert ready("--api", tcp) == (0, "ready\n", ""), "without a token"
    assert ready("--api", tcp, "--api", where)[0] == 0
    assert ready("--api", where, "--xds", "192.0.2.1:50051")[0] == 0, "the certificates of who serves are not asked for"
    igwd.terminate()
    assert ready("--api", tcp)[0] == 1 and "Connection refused" in ready("--api", tcp)[2]
    assert ready("--api", "192.0.2.1:80")[2] == (
        "igwd: --api: a unix socket, or an address on loopback without TLS, is expected\n")
    assert ready("--api", "nowhere")[0] == 2


def test_logfmt_lines(world):
    agent = world.agent(nodes=["n1"])
    igwd = world.igwd(agent=agent, args=[])
    igwd.terminate()
    igwd.command = (lambda command: lambda: [c if c != "json" else "logfmt" for c in command])(igwd.command())
    agent.add_service("bad", l4("10.0.0.1", world.ip(1) + ":8000", lb_policy="no such\npolicy \"quoted\""))
    before = len(igwd.log_text())
    igwd.start()
    igwd.wait_logged("bad.expose#0", "lb_policy")
    lines = igwd.log_text()[before:].splitlines()
    for line in lines:
        assert re.fullmatch(r'(\S+?=("([^"\\]|\\.)*"|[^\s"]*))( \S+?=("([^"\\]|\\.)*"|[^\s"]*))*', line), line


def test_under_systemd_lines_have_the_journals_priorities_and_no_time(igwd, world):
    def lines(stream_of):
        reader, writer = os.pipe()
        with open(reader, encoding="utf-8") as log, open(writer, "wb") as out:
            status = os.fstat(stream_of or writer)
            child = subprocess.Popen(
                [*igwd.binary, "--agent", world.path("nowhere.sock"), "--state", world.path("journal"), "--xds",
                 "unix:" + world.path("journal.sock")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=out,
                env={**igwd.environment(), "JOURNAL_STREAM": "%d:%d" % (status.st_dev, status.st_ino)})
            out.close()
            found = []
            for line in log:
                found.append(line)
                if "ready" in line:
                    child.terminate()
            assert child.wait(30) == 0, found
        return found
    found = lines(None)
    levels = {"error": "<3>", "warning": "<4>", "notice": "<5>", "info": "<6>"}
    for line in found:
        assert line.startswith(levels[re.search(r"level=(\w+)", line).group(1)] if "level=" in line else "<"), line
        assert "time=" not in line, line
    assert {line[:3] for line in found} >= {"<5>", "<6>"}
    with open(world.path("other"), "wb") as other:
        assert all(line.startswith("time=") for line in lines(other.fileno())), "this stream is not the journal's"


def test_in_the_background_it_returns_once_it_is_ready_and_says_when_it_can_not_run(igwd, world):
    path = world.path("background.sock")
    args = ["--background", "--agent", world.path("nowhere.sock"), "--state", world.path("background")]

    def start(where):
        with open(world.path("background.log"), "ab") as log:  # stays the daemon's
            return subprocess.run([*igwd.binary, *args, "--xds", "unix:" + where], stdin=subprocess.DEVNULL, stdout=log,
                                  stderr=log, env=igwd.environment(), timeout=30 * SLOW, check=False).returncode
    assert start(path) == 0
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        pid, _, _ = struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    try:
        assert os.getsid(pid) == pid != os.getsid(0)
        assert start(world.path("second.sock")) == 1, "another daemon has the state directory"
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not os.path.exists(path), what="it to end, and take its socket along")


def test_the_demo_says_what_it_does_and_that_all_is_right():
    build = str(IGWD.parent)
    done = subprocess.run([sys.executable, str(ROOT / "tests" / "demo.py"), "--once", "--build", build],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for part in ("$ curl", "https://shop.demo.example", "echo on n2", "0 failed", "All answers were right."):
        assert part in done.stdout, part


def test_the_demo_fails_when_something_is_wrong(world):
    done = subprocess.run([sys.executable, str(ROOT / "tests" / "demo.py"), "--once", "--build", world.path("none")],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1 and "FAILED" in done.stdout
