"""From one version to the next and back: the state on disk, and what an Envoy sees of it."""

import pathlib
import resource
import sqlite3

import pytest

from api_client import Api, done, exposure
from declare import l4
from harness import IGWD, wait_answer, wait_until

# What each migration after the first one added to a layout: undone, it is the layout of the first release.
ADDED = {"config.db": ["documents", "history", "authors", "members"], "observed.db": ["events", "notes"]}


@pytest.fixture
def scene(world):
    """A service with an allocated port that the agent was never told of, served to an Envoy."""
    agent = world.agent(nodes=["n1"])
    agent.answers["object_action"] = {"status": 1, "error": "not now"}
    one = world.backend(10)
    agent.add_service("web", l4(one.address, world.ip(1) + ":0"))
    agent.add_service("db", l4(one.address, world.ip(1) + ":8000"))
    api = Api(world, agent, args=["--port-range", "21000-21010"]).wait_exposures(2)
    envoy = world.envoy(api.igwd).wait_live()
    wait_answer(world.ip(1) + ":21000", backend="b10")
    return api, envoy, world


def make_first_layout(state):
    for name, tables in ADDED.items():
        db = sqlite3.connect(state / name)
        for table in tables:
            db.execute("DROP TABLE %s" % table)
        db.execute("PRAGMA user_version = 1")
        left = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        db.commit()
        db.close()
        assert left == {"config.db": {"gateways", "ports", "revisions"},
                        "observed.db": {"meta", "forms", "services", "endpoints", "secrets"}}[name]


def make_newer(state):
    for name in ADDED:
        db = sqlite3.connect(state / name)
        db.execute("PRAGMA user_version = 1000")
        db.commit()
        db.close()


@pytest.mark.sanitized
@pytest.mark.parametrize("disk", ["with space", "full"])
def test_a_state_of_the_first_layout_is_taken_over_and_no_envoy_changes_anything(scene, disk):
    """Also where no file can grow: it is served as it would be, and migrated as soon as there is space."""
    api, envoy, world = scene
    assert api.igwd.terminate()[0] == 0
    before = envoy.updates()
    make_first_layout(pathlib.Path(api.igwd.state))
    api.agent.stop()  # what is served comes from the old state alone
    if disk == "full":
        api.igwd.binary = ["/usr/bin/env", "--ignore-signal=XFSZ", "prlimit", "--fsize=1:", IGWD]
    api.igwd.start()
    wait_until(lambda: envoy.stat("control_plane.connected_state") == 1, what="Envoy to connect again")
    api.agent.start()
    wait_until(lambda: api.v1("/summary")["agent"] == "following")
    assert api.v1(exposure("web.expose#0"))["status"]["listener_port"] == 21000
    assert envoy.updates() == before
    if disk == "full":
        assert api.patch(exposure("db.expose#0"), {"listener_port": 8001}).status == 503
        limit = resource.prlimit(api.igwd.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(api.igwd.pid, resource.RLIMIT_FSIZE, (limit, limit))
        wait_until(lambda: not [a for a in api.v1("/alarms")["items"] if a["name"].endswith(".db")],
                   what="the databases to be written")
    # And what the new layout is for works.
    done(api.patch(exposure("db.expose#0"), {"listener_port": 8001}))
    wait_answer(world.ip(1) + ":8001", backend="b10")


def test_the_way_back_from_an_upgrade_is_the_backup_that_was_made_before_it(scene):
    api, envoy, world = scene
    igwd = api.igwd
    done(api.patch(exposure("db.expose#0"), {"listener_port": 8001}))
    wait_answer(world.ip(1) + ":8001", backend="b10")
    backup = world.path("before-the-upgrade")
    igwd.run("backup", backup, "--state", igwd.state)
    igwd.terminate()
    # The new version migrates, and is found wanting.
    make_newer(pathlib.Path(igwd.state))
    before = envoy.updates()
    refused = igwd.run(*igwd.command()[1:], check=False)
    assert refused.returncode == 1 and "newer" in refused.stderr, refused.stderr
    igwd.run("restore", backup, "--state", igwd.state)
    api.igwd.start()
    wait_until(lambda: api.v1("/summary")["agent"] == "following")
    assert api.v1(exposure("db.expose#0"))["overridden"] == ["listener_port"]
    assert api.v1(exposure("web.expose#0"))["status"]["listener_port"] == 21000, "allocated ports are in the backup"
    wait_until(lambda: envoy.stat("control_plane.connected_state") == 1, what="Envoy to connect again")
    wait_answer(world.ip(1) + ":8001", backend="b10")
    wait_answer(world.ip(1) + ":21000", backend="b10")
    assert envoy.updates() == before
