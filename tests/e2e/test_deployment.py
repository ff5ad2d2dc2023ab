"""What deploys igwd in containers: the image's recipe, and the OpenSVC service definitions."""

import configparser
import json
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from declare import l4
from harness import ROOT, Igwd, wait_answer, wait_until

DIST = ROOT / "dist"
DEFINITIONS = ["failover", "flex"]
# What the agent puts in place of its references.
REFERENCES = {"clusternodes": "node1 node2", "nodename": "node1", "svcname": "envoy", "namespace": "system",
              "var": "/var/lib/opensvc", "volume#state.name": "envoy-state"}


def test_the_recipe_of_the_image_follows_the_rules():
    hadolint = pathlib.Path(sys.prefix) / "bin" / "hadolint"
    done = subprocess.run([str(hadolint), str(DIST / "container" / "Containerfile")], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0 and done.stdout == "", done.stdout + done.stderr


def test_the_recipe_takes_a_release_of_the_distribution_and_the_package():
    text = (DIST / "container" / "Containerfile").read_text()
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["${BASE}"] * 2
    assert re.search(r"^ARG BASE=debian:12\.\d+-slim$", text, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["/usr/sbin/igwd"\]$', text, re.MULTILINE)
    assert " make deb " in text and "build/deb/igwd_*.deb" in text
    base = re.search(r"^ARG BASE=(\S+)$", text, re.MULTILINE).group(1)
    for told in (text, (DIST / "opensvc" / "README.md").read_text()):
        assert "--build-arg BASE=%s@sha256:..." % base in told and "'{{.Digest}}' %s" % base in told
        assert "--format docker" in re.search(r"podman build -t.*", told).group(), "else its health check is lost"


def test_the_health_check_of_the_image_asks_the_daemon_where_the_definitions_open_it(world):
    text = (DIST / "container" / "Containerfile").read_text()
    program, *words = json.loads(re.search(r"^HEALTHCHECK .*CMD (\[.*\])$", text, re.MULTILINE).group(1))
    assert program == "/usr/sbin/igwd" and words == ["ready"]
    asked = Igwd(world).run(*words, "--config", "/dev/null", check=False)
    assert asked.returncode == 1 and "unix:/run/igwd/api.sock" in asked.stderr
    for name in DEFINITIONS:
        assert "--api unix:/run/igwd/api.sock" in Definition(name).get("container#igwd", "run_command")
    here = {"IGWD_API": "unix:" + world.path("api.sock")}
    igwd = world.igwd(agent=world.agent(nodes=["n1"]), args=["--api", here["IGWD_API"]])
    wait_until(lambda: igwd.run(*words, env=here, check=False).returncode == 0)


def test_the_image_is_built_from_nothing_that_was_made_outside():
    left_out = (ROOT / ".dockerignore").read_text().splitlines()
    kept_from_git = (ROOT / ".gitignore").read_text().split()
    assert {line.removeprefix("**/").strip("/") for line in left_out if not line.startswith("#")} == {
        line.strip("/") for line in kept_from_git}


class Definition:
    """A service definition, its references resolved for one node."""

    def __init__(self, name):
        parser = configparser.RawConfigParser(default_section="none", interpolation=None)
        parser.optionxform = str
        parser.read(DIST / "opensvc" / (name + ".conf"))
        self.parser = parser
        self.known = {**REFERENCES, **{"env." + key: value for key, value in parser["env"].items()}}

    def get(self, section, keyword, node="node1"):
        section = self.parser[section]
        value = section.get("%s@%s" % (keyword, node), section.get(keyword))
        return re.sub(r"\{([^}]*)\}", lambda match: self.known[match.group(1)], value)

    def mounts(self, section):
        """Path inside -> (what is mounted, how)."""
        found = {}
        for mount in self.get(section, "volume_mounts").split():
            source, inside, mode = mount.split(":")
            found[inside] = (source, mode)
        return found


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_reference_of_a_definition_leads_somewhere(name):
    definition = Definition(name)
    assert {"container#igwd", "container#envoy", "volume#state", "env"} <= set(definition.parser.sections())
    for section in definition.parser.sections():
        for keyword in definition.parser[section]:
            definition.get(section, keyword.partition("@")[0])


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_definition_starts_igwd_with_good_settings(name, world):
    definition = Definition(name)
    args = shlex.split(definition.get("container#igwd", "run_command"))
    for node in ("node1", "node2"):
        environment = dict(pair.split("=") for pair in definition.get(
            "container#igwd", "environment", node).split()) if name == "flex" else {}
        text = Igwd(world).run(*args, "--print-config", env=environment).stdout
        assert "gateway = envoy" in text
        assert ("read-only = true" in text) == (name == "flex" and node == "node2")


@pytest.mark.parametrize("name", DEFINITIONS)
def test_in_a_definition_both_find_the_socket_the_state_and_the_agent(name):
    definition = Definition(name)
    igwd, envoy = definition.mounts("container#igwd"), definition.mounts("container#envoy")
    args = definition.get("container#igwd", "run_command")
    assert igwd["/run/igwd"] == envoy["/run/igwd"] == ("envoy-state/run", "rw")
    assert "--xds unix:/run/igwd/xds.sock" in args
    assert igwd["/var/lib/igwd"] == ("envoy-state/igwd", "rw")
    assert igwd["/var/run/lsnr"] == ("/var/lib/opensvc/lsnr", "rw")
    assert envoy["/etc/envoy"] == ("envoy-state/envoy", "ro")


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_definition_names_the_image_as_podman_does(name):
    """The agent looks for the name among those that podman lists, which has `localhost/` before one without a registry."""
    built = re.search(r"podman build -t (\S+)", (DIST / "opensvc" / "README.md").read_text()).group(1)
    assert Definition(name).get("container#igwd", "image") == "localhost/" + built


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_definition_finds_the_bootstrap_where_the_page_puts_it_and_envoy_where_it_lies(name):
    """As the agent reads it: an object of the service's namespace, a key of it, and a place in the volume."""
    definition = Definition(name)
    page = (DIST / "opensvc" / "README.md").read_text()
    held, key = re.search(r"^ *om system/cfg/(\S+) add --key (\S+) --from \S+$", page, re.MULTILINE).groups()
    source, place = definition.get("volume#state", "configs").split(":", 1)
    assert source.split("/", 1) == [held, key]
    directory = definition.mounts("container#envoy")["/etc/envoy"][0].removeprefix("envoy-state")
    assert place == directory + "/", "a place without a slash at its end is a file"
    assert definition.get("container#envoy", "run_command").startswith("-c /etc/envoy/" + key + " ")


def test_the_bootstrap_of_the_definitions_serves_and_each_node_has_its_name(world):
    """Step by step as the page says, with paths of the test's in place of the containers'."""
    agent = world.agent(nodes=["n1"])
    one = world.backend(10)
    agent.add_service("web", l4(one.address, world.ip(1) + ":8000"))
    definition = Definition("failover")
    page = (DIST / "opensvc" / "README.md").read_text()
    command = re.search(r"igwd:\S+ (bootstrap .*?) >", page).group(1)
    assert re.search(r"--xds (\S+)", command).group(1) in definition.get("container#igwd", "run_command")
    here = "unix:" + world.path("run/xds.sock")
    igwd = world.igwd(agent=agent, xds=here)
    bootstrap = json.loads(igwd.run(*command.replace("unix:/run/igwd/xds.sock", here).split()).stdout)
    arguments = definition.get("container#envoy", "run_command").split()
    assert arguments[:2] == ["-c", "/etc/envoy/envoy.json"]
    envoy = world.envoy(bootstrap=bootstrap, args=arguments[2:]).wait_live()
    wait_answer(world.ip(1) + ":8000", backend="b10")
    assert envoy.get_json("/server_info")["node"]["id"] == "node1"
