"""A machine with a systemd of its own: this one's files under an overlay that vanishes, in a container without a network.

What is installed, made and removed in there stays in there. Processes outside can reach its unix sockets by path, and
its network with `inside_network()`. Needs root, or sudo without a password.
"""

import os
import pathlib
import re
import subprocess

from harness import LIMIT, Process, wait_until

SUDO = [] if os.geteuid() == 0 else ["sudo", "-n"]
SETUP = """
set -e
mount -t tmpfs -o mode=0755 machine {place}
mkdir {place}/upper {place}/work {place}/root
mount -t overlay -o lowerdir=/,upperdir={place}/upper,workdir={place}/work machine {place}/root
# Whoever made this machine may have forbidden packages to start services.
rm -f {place}/root/usr/sbin/policy-rc.d
exec systemd-nspawn --quiet --directory={place}/root --register=no --keep-unit --private-network --console=pipe \\
    --link-journal=no --machine=igwd-test {binds} --boot systemd.unit=basic.target systemd.log_color=0
"""


class Machine(Process):
    def __init__(self, world, binds):
        """binds: paths outside -> inside."""
        super().__init__(world, "machine")
        self.place = world.directory / "machine"
        self.place.mkdir()
        self.binds = binds
        self.leader = None
        self.expected_exits |= {1, 133, 137, -9}  # it ends when its init is told to

    def start(self):
        binds = " ".join("--bind=%s:%s" % pair for pair in self.binds.items())
        self.spawn([*SUDO, "unshare", "--mount", "--propagation", "private", "sh", "-c",
                    SETUP.format(place=self.place, binds=binds)])
        self.leader = wait_until(self._find_leader, what="the machine's init")
        self.world.stack.callback(self.stop)
        # 1 and "running" or "degraded": whatever this machine has installed may fail, that is not our business.
        wait_until(lambda: self.run("systemctl is-system-running", check=False).stdout.strip() in (
            "running", "degraded"), what="the machine to be up")
        return self

    def _find_leader(self):
        if not self.running():
            raise RuntimeError("the machine did not start:\n" + self.log_text()[-3000:])
        todo = [self.pid]
        while todo:
            pid = todo.pop()
            with open("/proc/%d/comm" % pid, encoding="ascii") as file:
                if file.read().strip() == "systemd":
                    return pid
            todo += [int(child) for child in pathlib.Path(
                "/proc/%d/task/%d/children" % (pid, pid)).read_text().split()]
        return None

    def stop(self):
        if self.running():
            subprocess.run([*SUDO, "kill", "-s", "RTMIN+14", str(self.leader)], check=False)  # power off, at once
            self.child.wait(LIMIT)

    def inside(self, *command):
        """The command, in the machine."""
        return [*SUDO, "nsenter", "--target", str(self.leader), "--all", "--root", "--wd", "--", *command]

    def inside_network(self, *command):
        """The command, with this machine's files and that one's network."""
        return [*SUDO, "nsenter", "--target", str(self.leader), "--net", "--", *command]

    def run(self, script, check=True, timeout=None):
        done = subprocess.run(self.inside("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
                                          "DEBIAN_FRONTEND=noninteractive", "sh", "-c", script),
                              capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                              timeout=3 * LIMIT if timeout is None else timeout)
        if check:
            assert done.returncode == 0, (script, done.stdout[-3000:], done.stderr[-3000:])
        return done

    def said(self, script):
        return self.run(script).stdout.strip()

    def property(self, unit, name):
        return self.said("systemctl show --value -p %s %s" % (name, unit))

    def wait_property(self, unit, name, value):
        wait_until(lambda: self.property(unit, name) == value, what="%s of %s to be %s" % (name, unit, value))

    def left(self, part):
        """What differs from this machine's own files and has that in its name: the overlay's upper layer."""
        done = subprocess.run([*SUDO, "nsenter", "--target", str(self._nspawn()), "--mount", "find",
                               str(self.place / "upper"), "-not", "-type", "c", "-name", "*%s*" % part],
                              capture_output=True, text=True, check=True)
        return sorted(re.sub("^" + re.escape(str(self.place / "upper")), "", line)
                      for line in done.stdout.splitlines())

    def _nspawn(self):
        with open("/proc/%d/stat" % self.leader, encoding="ascii") as file:
            return int(file.read().rpartition(")")[2].split()[1])
