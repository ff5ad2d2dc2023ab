"""The Debian package: what is in it, and its life in a machine with a real systemd beside an agent and an Envoy."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

from harness import BUILD, ENVOY, ENVOY_BINARY, LIMIT, ROOT, Igwd, Process, wait_until
from machine import Machine

NAME = "igwd_%s_amd64.deb"
API = "curl -sS --max-time 10 --unix-socket /run/igwd/api.sock http://igwd"
WEB = "10.9.9.1"  # of the services; an address that nothing needs to allow
RESTARTS = "NRestarts"


def told(beginning):
    """The commands that docs/operations.md has below the paragraph that begins so."""
    text = (ROOT / "docs" / "operations.md").read_text()
    block = text.partition(beginning)[2].partition("\n\n    ")[2].partition("\n\n")[0]
    return " && ".join(line.strip() for line in block.splitlines())


def version():
    return re.search(r'IGWD_VERSION "([^"]+)"', (ROOT / "server" / "version.h").read_text()).group(1)


@pytest.fixture(scope="module")
def package():
    path = BUILD / "deb" / (NAME % version())
    assert path.exists(), "there is no package: make deb"
    return path


def test_the_package_is_that_of_this_version_and_lintian_finds_nothing(package):
    changes = package.with_suffix(".changes")
    assert re.search(r"^Version: %s$" % re.escape(version()), changes.read_text(), re.MULTILINE)
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", str(changes)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "", done.stdout + done.stderr
    assert not (ROOT / "debian" / "igwd.lintian-overrides").exists()


def test_the_program_in_the_package_is_hardened(package, world):
    subprocess.run(["dpkg-deb", "-x", str(package), world.path("x")], check=True)
    program = world.path("x/usr/sbin/igwd")
    text = subprocess.run(["readelf", "-dlW", program], capture_output=True, text=True, check=True).stdout
    assert "BIND_NOW" in text and "GNU_RELRO" in text and re.search(r"GNU_STACK.* RW ", text)
    assert "__stack_chk_fail" in subprocess.run(["readelf", "-sW", "--dyn-syms", program], capture_output=True,
                                                text=True, check=True).stdout
    assert Igwd(world, binary=program).run("--version").stdout == "igwd %s\n" % version()
    # The settings are good as they are.
    Igwd(world, binary=program).run("--check-config", "--config", world.path("x/etc/igwd/igwd.conf"))


def next_version(package, world):
    """The same package under a higher version, as an upgrade."""
    directory = world.path("next")
    subprocess.run(["dpkg-deb", "-R", str(package), directory], check=True)
    control = os.path.join(directory, "DEBIAN", "control")
    with open(control, encoding="utf-8") as file:
        text = file.read()
    with open(control, "w", encoding="utf-8") as file:
        file.write(re.sub(r"^Version: (.*)$", r"Version: \1+next", text, flags=re.MULTILINE))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", directory, world.path("packages/next.deb")], check=True,
                   stdout=subprocess.DEVNULL)


# In the machine's network: connects all the time, and says at its end how often, and how often it was refused.
CALLER = textwrap.dedent("""
    import signal, socket, sys, time
    counts = {"answered": 0, "refused": 0}
    def end(*_):
        print(counts["answered"], counts["refused"], flush=True)
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    print("ready", flush=True)
    while True:
        try:
            socket.create_connection(("127.0.0.1", 50051), timeout=20).close()
            counts["answered"] += 1
        except ConnectionRefusedError:
            counts["refused"] += 1
        time.sleep(0.005)  # or it would fill the kernel's queue by itself while nobody accepts
""")


class Caller:
    def __init__(self, machine):
        self.child = subprocess.Popen(machine.inside_network(sys.executable, "-c", CALLER), stdout=subprocess.PIPE,
                                      text=True)
        assert self.child.stdout.readline() == "ready\n"

    def end(self):
        """(answered, refused)"""
        self.child.send_signal(signal.SIGTERM)
        counts = self.child.communicate(timeout=LIMIT)[0].split()
        return int(counts[0]), int(counts[1])


class Scene:
    """A machine with an agent's socket that is root's alone."""

    def __init__(self, world, package):
        self.world = world
        for name in ("lsnr", "packages"):
            os.mkdir(world.path(name))
        os.chmod(world.path("lsnr"), 0o700)
        shutil.copy(package, world.path("packages/first.deb"))
        next_version(package, world)
        self.agent = world.agent("lsnr/lsnr.sock", nodes=["n1"])
        os.chmod(self.agent.path, 0o600)
        self.machine = Machine(world, {world.path("lsnr"): "/var/lib/opensvc/lsnr",
                                       world.path("packages"): "/packages",
                                       str(ENVOY_BINARY): "/usr/bin/envoy"}).start()
        self.machine.run("ip link set lo up; ip addr add %s/32 dev lo" % WEB)

    def install(self, name="first"):
        self.machine.run("dpkg -i /packages/%s.deb" % name)
        self.machine.wait_property("igwd.service", "ActiveState", "active")

    def api(self, path, *more):
        return json.loads(self.machine.said(" ".join([API + path, *more])))

    def main_pid(self):
        return int(self.machine.property("igwd.service", "MainPID"))

    def envoy(self):
        """Envoy in the machine's network, with the bootstrap that the package's program prints."""
        bootstrap = json.loads(self.machine.said("igwd bootstrap --node-id n1"))
        path = self.world.write("envoy.json", json.dumps(bootstrap))
        envoy = Process(self.world, "envoy")
        envoy.spawn(self.machine.inside_network(ENVOY, "-c", path, "--disable-hot-restart", "--concurrency", "1",
                                                "-l", "warning"))
        wait_until(lambda: self.admin("/ready").startswith("LIVE"), what="Envoy to be live")
        return envoy

    def get(self, url):
        return subprocess.run(self.machine.inside_network("curl", "-sS", "--max-time", "10", url),
                              capture_output=True, text=True, check=False).stdout

    def admin(self, path):
        return self.get("http://127.0.0.1:9901" + path)

    def updates(self):
        return sorted(line for line in self.admin("/stats").splitlines() if re.match(
            r"(listener_manager\.listener_(added|modified|removed)|cluster_manager\.cluster_(added|modified|removed)|"
            r"cluster\.igwd-xds\.upstream_cx_connect_fail):", line))


@pytest.fixture
def scene(world, package):
    return Scene(world, package)


def backend(scene):
    """A little server in the machine's network."""
    server = Process(scene.world, "backend")
    os.mkdir(scene.world.path("www"))
    scene.world.write("www/index.html", "it works")
    server.spawn(scene.machine.inside_network(sys.executable, "-m", "http.server", "--bind", WEB, "--directory",
                                              scene.world.path("www"), "8000"))


def check_installed(scene):
    machine, agent = scene.machine, scene.agent
    wait_until(lambda: agent.subscribers, what="igwd to follow the agent")
    assert scene.api("/api/v1/auth/whoami")["role"] == "admin"
    status = machine.said("cat /proc/%d/status" % scene.main_pid())
    uid = machine.said("id -u igwd")
    assert re.search(r"^Uid:\s+%s\s+%s" % (uid, uid), status, re.MULTILINE) and uid != "0"
    # CAP_DAC_OVERRIDE alone.
    for which in ("CapEff", "CapBnd", "CapPrm"):
        assert re.search(r"^%s:\s+0*2$" % which, status, re.MULTILINE), status
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    assert machine.said("stat -c '%a %U %G' /var/lib/igwd /var/lib/igwd/key /run/igwd/api.sock").splitlines() == [
        "700 igwd igwd", "600 igwd igwd", "660 igwd igwd"]
    assert machine.said("systemctl is-enabled igwd.service igwd-xds.socket igwd-api.socket").split() == ["enabled"] * 3
    wait_until(lambda: machine.run("igwd ready", check=False).stdout == "ready\n", what="the packaged settings to do")


def check_upgrade(scene):
    """Nobody is refused, nothing changes in Envoy, what was edited is there."""
    machine = scene.machine
    before, pid = scene.updates(), scene.main_pid()
    assert len(before) == 7
    caller = Caller(machine)
    scene.install("next")
    wait_until(lambda: scene.main_pid() not in (0, pid), what="the new daemon")
    wait_until(lambda: "connected_state: 1" in scene.admin("/stats?filter=connected_state"),
               what="Envoy to be connected again")
    assert scene.api("/api/v1/exposures/own.expose%230")["name"] == "own.expose#0"
    answered, refused = caller.end()
    assert answered > 50 and refused == 0, (answered, refused)
    assert scene.updates() == before


def check_way_back(scene):
    """A backup, put back by root, is the daemon's again."""
    machine = scene.machine
    machine.run("igwd backup /root/backup && systemctl stop igwd-xds.socket igwd-api.socket igwd.service && "
                "igwd restore /root/backup && systemctl start igwd.service && rm -r /root/backup")
    assert machine.said("stat -c '%U %G' /var/lib/igwd/config.db /var/lib/igwd/key").split() == ["igwd"] * 4
    assert scene.api("/api/v1/exposures/own.expose%230")["name"] == "own.expose#0"


def check_watchdog(scene):
    """A daemon that hangs is killed and started again; it asks for no core file, which would hold keys."""
    machine = scene.machine
    machine.run("mkdir -p /run/systemd/system/igwd.service.d && printf '[Service]\\nWatchdogSec=2s\\n' > "
                "/run/systemd/system/igwd.service.d/watch.conf && systemctl daemon-reload && "
                "systemctl restart igwd.service")
    machine.wait_property("igwd.service", "ActiveState", "active")
    pid = scene.main_pid()
    assert machine.said("cat /proc/%d/limits | grep 'core file'" % pid).split()[4:6] == ["0", "0"]
    machine.run("kill -STOP %d" % pid)
    wait_until(lambda: scene.main_pid() not in (0, pid), what="systemd to start another")
    machine.wait_property("igwd.service", "ActiveState", "active")
    assert machine.property("igwd.service", RESTARTS) == "1"
    assert "watchdog" in machine.said("journalctl -u igwd.service --no-pager | tail -n 50").lower()


def check_without_sockets(scene):
    """Installed once more, with the key as a credential, and without the socket units: igwd opens its addresses."""
    machine = scene.machine
    machine.run("mkdir -p /etc/credstore && od -An -tx1 -N32 /dev/urandom | tr -d ' \\n' > /etc/credstore/igwd.key && "
                "chmod 600 /etc/credstore/igwd.key && systemctl mask igwd-xds.socket igwd-api.socket")
    scene.install()
    assert scene.api("/api/v1/auth/whoami")["role"] == "admin"
    assert "key" not in machine.said("ls /var/lib/igwd").split()
    assert machine.said("stat -c '%a %U %G' /run/igwd/api.sock") == "660 igwd igwd"
    wait_until(lambda: scene.agent.subscribers, what="igwd to follow the agent")
    wait_until(lambda: "connected_state: 1" in scene.admin("/stats?filter=connected_state"),
               what="Envoy to be connected again")


def check_a_socket_for_a_group(scene):
    """As docs/security.md has it: xDS on a unix socket, for a group of Envoy's; another address, as docs/operations.md has."""
    machine = scene.machine
    text = re.search(r"systemctl edit igwd-xds.socket\n(.*?)\n\n", (ROOT / "docs" / "security.md").read_text(),
                     re.DOTALL).group(1)
    scene.world.write("packages/socket.conf", textwrap.dedent(text).replace("=envoy", "=daemon"))
    machine.run("systemctl unmask igwd-xds.socket igwd-api.socket && mkdir -p /run/systemd/system/igwd-xds.socket.d && "
                "cp /packages/socket.conf /run/systemd/system/igwd-xds.socket.d/group.conf && "
                "sed -i 's,^xds = .*,xds = unix:/run/igwd-xds/xds.sock,' /etc/igwd/igwd.conf && "
                "%s && %s" % (told("Stopping it for good"), told("Another address")))
    machine.wait_property("igwd.service", "ActiveState", "active")
    assert machine.said("stat -c '%a %U %G' /run/igwd-xds/xds.sock") == "660 igwd daemon"
    assert scene.get("http://127.0.0.1:50051/") == ""
    connect = "import socket; socket.socket(socket.AF_UNIX).connect('/run/igwd-xds/xds.sock')"
    assert machine.run('setpriv --reuid 65534 --regid daemon --clear-groups %s -c "%s"' % (
        "/usr/bin/python3", connect), check=False).returncode == 0
    assert machine.run('setpriv --reuid 65534 --regid 65534 --clear-groups %s -c "%s"' % (
        "/usr/bin/python3", connect), check=False).returncode != 0


def check_dry_runs_with_envoy(scene):
    """As README.md has it: what the unit has to allow for an Envoy that is asked about dry runs."""
    machine = scene.machine
    text = re.search(r"`systemctl edit igwd` adds:\n\n(.*?)\n\n", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    scene.world.write("packages/envoy.conf", textwrap.dedent(text))
    machine.run("mkdir -p /run/systemd/system/igwd.service.d && "
                "cp /packages/envoy.conf /run/systemd/system/igwd.service.d/envoy.conf && "
                "echo 'envoy-binary = /usr/bin/envoy' >> /etc/igwd/igwd.conf && "
                "systemctl daemon-reload && systemctl restart igwd.service")
    tried = scene.api("/api/v1/exposures/try.expose%230?dry_run=true", "-X PUT -H 'Content-Type: application/json'",
                      "-d '{\"port\": 8000, \"listener_addr\": \"%s\", \"listener_port\": 82, \"endpoints\": "
                      "[{\"address\": \"%s\", \"port\": 8000}]}'" % (WEB, WEB))
    assert tried["envoy"]["state"] == "accepted", tried["envoy"]


def test_it_installs_serves_upgrades_is_watched_and_goes_without_a_trace(scene):
    machine, agent = scene.machine, scene.agent
    backend(scene)
    agent.add_service("web", {"DEFAULT": {"nodes": "n1"}, "ip#1": {"ipname": WEB, "expose": "expose#0"},
                              "expose#0": {"type": "envoy", "port": "8000", "listener_addr": WEB,
                                           "listener_port": "80"}})
    before = machine.left("igwd")
    scene.install()
    check_installed(scene)
    envoy = scene.envoy()
    wait_until(lambda: scene.get("http://%s/" % WEB) == "it works", what="a request to arrive")
    made = scene.api("/api/v1/exposures/own.expose%230", "-X PUT -H 'Content-Type: application/json' -H 'Prefer: wait=20'",
                     "-d '{\"port\": 8000, \"listener_addr\": \"%s\", \"listener_port\": 81, \"endpoints\": "
                     "[{\"address\": \"%s\", \"port\": 8000}]}'" % (WEB, WEB))
    assert made["kind"] == "Revision", made
    check_upgrade(scene)
    check_way_back(scene)
    machine.run("systemctl reload igwd.service")
    wait_until(lambda: "read again" in machine.said("journalctl -u igwd.service --no-pager"))
    machine.wait_property("igwd.service", "ActiveState", "active")
    check_watchdog(scene)
    machine.run("dpkg -r igwd")
    # The Envoy that comes again and again has started nothing meanwhile.
    assert machine.run("pgrep -x igwd", check=False).stdout == "" and scene.get("http://127.0.0.1:50051/") == ""
    assert {"config.db", "key"} <= set(machine.said("ls /var/lib/igwd").split()), "removing keeps the state"
    assert scene.get("http://%s/" % WEB) == "it works", "Envoy goes on"
    machine.run("rm -r /run/systemd/system/igwd.service.d; dpkg -P igwd")
    assert [path for path in machine.left("igwd") if path not in before] == []
    check_without_sockets(scene)
    check_dry_runs_with_envoy(scene)
    check_a_socket_for_a_group(scene)
    envoy.terminate()
