"""The state on disk: restarts that nobody notices, kills at any moment, damaged and full disks."""

import contextlib
import json
import os
import pathlib
import random
import re
import resource
import signal
import sqlite3
import stat
import subprocess
import threading
import time

import pytest

from declare import Lab, flex, l4, l7
from harness import IGWD, SLOW, Igwd, Load, client_context, fingerprint, request, wait_answer, wait_until
from xds_client import CDS, LDS, Mirror


@pytest.fixture
def rich(lab, ca):
    """L4, L7, TLS by secret, UDP, an allocated port: something of everything."""
    lab.one, lab.two = lab.world.backend(10), lab.world.backend(11)
    lab.certificate = ca.issue("web.test")
    lab.agent.set_secret("test/sec/web", lab.certificate.secret())
    both = {"n1": lab.one.address, "n2": lab.two.address}
    lab.add("test/svc/l4", l4(both, lab.at(8000)), started=["n1"])
    lab.add("test/svc/l7", l7(both, lab.at(8001), "web.test", [{"match_prefix": "/a"}, {"match_regex": "/b.*"}]))
    lab.add("test/svc/tls", l7(both, lab.at(8443), "web.test", certificates={"front": "web"}))
    lab.add("test/svc/auto", l4(lab.one.address, lab.world.ip(1) + ":0"))
    lab.agent.answers["object_action"] = {"status": 1, "error": "not now"}
    lab.add("test/svc/bad", l4(lab.one.address, lab.at(8005), lb_policy="nonsense"))
    lab.range = {"args": ["--port-range", "21000-21010"]}
    return lab


def whole(envoy):
    """All that an Envoy holds, without times."""
    return (envoy.dynamic_clusters(), envoy.dynamic_listeners(), envoy.dynamic_routes(),
            {c: envoy.endpoints(c) for c in envoy.dynamic_clusters()})


def settled(lab, envoy):
    envoy.wait_listeners(*(lab.at(p) + "/tcp" for p in (8000, 8001, 8443, 21000)))
    wait_answer(lab.at(8000), backend="b10")
    wait_until(lambda: fingerprint(lab.at(8443), "web.test") == lab.certificate.fingerprint)


@pytest.mark.sanitized
@pytest.mark.parametrize("kill", [False, True])
def test_a_restart_with_unchanged_state_makes_no_envoy_change_anything(rich, sotw, kill):
    lab = rich
    envoy = lab.up(sotw, igwd=lab.range)
    settled(lab, envoy)
    before, counted = whole(envoy), envoy.updates()
    endpoints = envoy.stats(r"cluster\..*membership_change")
    with Load(lab.at(8001), "keepalive", "/a", host="web.test") as load:
        for _ in range(3):
            connected = envoy.stat("control_plane.connected_state")
            lab.igwd.restart(kill=kill)
            lab.following()
            wait_until(lambda: envoy.stat("control_plane.connected_state") == 1, what="Envoy to connect again")
            asked = lab.agent.count("daemon_status")
            assert asked and connected in (0, 1)
            load.wait_answered(20)
        # A change shows that it is served again; it comes after all that the restart brought.
        lab.agent.move("test/svc/l4", "n1", "n2")
        wait_answer(lab.at(8000), backend="b11", timeout=60)
        lab.agent.move("test/svc/l4", "n2", "n1")
        wait_answer(lab.at(8000), backend="b10")
    load.assert_clean(60)
    assert load.connections == 4, "connections were dropped"
    assert envoy.updates() == counted
    after = envoy.stats(r"cluster\..*membership_change")
    changed = {name for name in after if after[name] != endpoints.get(name)}
    assert changed == {"cluster.test/svc/l4.expose#0.membership_change"}
    assert whole(envoy) == before


def test_the_last_state_is_served_before_the_agent_answers(rich, sotw):
    lab = rich
    envoy = lab.up(sotw, igwd=lab.range)
    settled(lab, envoy)
    before = whole(envoy)
    code, _ = lab.igwd.terminate()
    assert code == 0
    lab.agent.die()
    lab.igwd.start()
    # A new Envoy, which knows nothing, gets all of it, secrets included.
    second = lab.world.envoy(lab.igwd, sotw=sotw).wait_live()
    wait_until(lambda: whole(second) == before, what="the second Envoy to have the same")
    lab.igwd.wait_logged("stale")
    envoy.kill()
    second_answer = wait_answer(lab.at(8443), tls=client_context(), sni="web.test")
    assert second_answer.status == 200
    lab.agent.live()
    lab.agent.move("test/svc/l4", "n1", "n2")
    wait_answer(lab.at(8000), backend="b11", timeout=60)


def test_what_changed_while_igwd_was_away_is_caught_up_with(rich):
    lab = rich
    envoy = lab.up(igwd=lab.range)
    settled(lab, envoy)
    lab.igwd.kill()
    lab.agent.move("test/svc/l4", "n1", "n2")
    lab.agent.remove_service("test/svc/auto")
    lab.add("test/svc/new", l4(lab.one.address, lab.at(8010)))
    lab.igwd.start()
    wait_answer(lab.at(8010))
    wait_answer(lab.at(8000), backend="b11")
    envoy.wait_listeners(*(lab.at(p) + "/tcp" for p in (8000, 8001, 8443, 8010)))


def test_the_same_state_gives_the_same_bytes_in_another_daemon(rich):
    lab = rich
    lab.up(igwd=lab.range)
    settled(lab, lab.envoy)
    other = Igwd(lab.world, agent=lab.agent, xds=lab.world.ip(4) + ":50051", state="other", args=lab.range["args"])
    other.start()
    with Mirror(lab.igwd.xds[0]) as first, Mirror(other.xds[0]) as second:
        wait_until(lambda: len(first.get(LDS)) == 4 and first.versions == second.versions and all(
            first.get(kind) == second.get(kind) for kind in first.held), what="both to serve the same versions")


@pytest.mark.alone
def test_kill_9_at_50_random_moments_loses_nothing_and_fails_no_request(world):
    """Under load and changes; at the end all that was said is in effect, and Envoy changed only what was changed."""
    rng = random.Random(5)
    lab = Lab(world)
    backends = {n: world.backend(10 + i) for i, n in enumerate(("n1", "n2", "n3"))}
    addresses = {n: b.address for n, b in backends.items()}
    services = ["test/svc/s%d" % i for i in range(6)]
    for i, path in enumerate(services):
        lab.add(path, l7(addresses, lab.at(8000 + i), "web.test"))
    envoy = lab.up()
    for i in range(6):
        wait_answer(lab.at(8000 + i), host="web.test")
    counted = envoy.updates()
    stop = threading.Event()

    def edit():
        # One instance of a service is down at a time.
        while not stop.is_set():
            path, node = rng.choice(services), rng.choice(list(backends))
            lab.agent.resource_down(path, node)
            stop.wait(rng.random() * 0.03)
            lab.agent.resource_down(path, node, up=True)
            stop.wait(rng.random() * 0.03)
    editor = threading.Thread(target=edit)
    loads = [Load(lab.at(8000 + i), mode, host="web.test", workers=1) for i, mode in enumerate(("new", "keepalive"))]
    for load in loads:
        load.start()
    editor.start()
    try:
        for _ in range(50):
            time.sleep(rng.random() * 0.12)
            lab.igwd.kill()
            lab.igwd.start(wait=False)
    finally:
        stop.set()
        editor.join()
    lab.igwd.wait_ready()
    # Last words: n1 is down for the even ones.
    for path in services[::2]:
        lab.agent.resource_down(path, "n1")
    for i, path in enumerate(services):
        wanted = [b.endpoint for n, b in backends.items() if n != "n1" or i % 2]
        envoy.wait_endpoints(path + ".expose#0", wanted, timeout=60)
    for load in loads:
        load.wait_answered(20)
        load.assert_clean(100)
    assert envoy.updates() == counted, "a listener or cluster changed"
    assert envoy.rejected() == {}


def test_allocated_ports_survive_kill_9_at_any_moment(world):
    rng = random.Random(6)
    lab = Lab(world)
    lab.agent.answers["object_action"] = {"status": 1, "error": "no"}
    world.backend(10)
    lab.igwd = world.igwd(agent=lab.agent, args=["--port-range", "21000-21300"])
    seen = {}

    def ports():
        found = {}
        for name, listener in mirror.get(LDS).items():
            target = listener["filter_chains"][0]["filters"][0]["typed_config"]["cluster"]
            found[target] = name
        return found
    for i in range(15):
        with Mirror(lab.igwd.xds[0]) as mirror:
            lab.add("test/svc/a%d" % i, l4(world.ip(10), world.ip(1) + ":0"))
            end = time.monotonic() + rng.random() * 0.1
            while time.monotonic() < end:
                for target, name in ports().items():
                    assert seen.setdefault(target, name) == name
                time.sleep(0.002)
            for target, name in ports().items():
                assert seen.setdefault(target, name) == name
        lab.igwd.restart(kill=True)
    with Mirror(lab.igwd.xds[0]) as mirror:
        wait_until(lambda: len(ports()) == 15)
        for target, name in seen.items():
            assert ports()[target] == name, "a port that was sent changed"
        assert len(set(ports().values())) == 15


def test_files_are_private(rich):
    lab = rich
    settled(lab, lab.up(igwd=lab.range))
    directory = pathlib.Path(lab.igwd.state)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    files = {p.name for p in directory.iterdir()}
    assert {"config.db", "observed.db", "key"} <= files
    for path in directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE((directory / "key").stat().st_mode) == 0o600


def test_one_daemon_per_state_directory(rich):
    lab = rich
    lab.up(igwd=lab.range)
    second = lab.igwd.run("--agent", lab.agent.path, "--state", lab.igwd.state, "--xds", lab.world.ip(5) + ":50051",
                          check=False)
    assert second.returncode != 0 and lab.igwd.state in second.stderr
    assert lab.igwd.running()


def test_one_daemon_per_address(rich):
    lab = rich
    lab.up(igwd=lab.range)
    second = lab.igwd.run("--agent", lab.agent.path, "--state", lab.world.path("second"), "--xds", lab.igwd.xds[0],
                          check=False)
    assert second.returncode != 0 and lab.igwd.xds[0] in second.stderr


@pytest.mark.sanitized
@pytest.mark.parametrize("damage", ["garbage", "cut", "page", "empty"])
def test_a_damaged_observed_db_is_set_aside_said_and_rebuilt(rich, damage):
    lab = rich
    envoy = lab.up(igwd=lab.range)
    settled(lab, envoy)
    counted = envoy.updates()
    lab.igwd.terminate()
    harm(pathlib.Path(lab.igwd.state) / "observed.db", damage)
    with Load(lab.at(8000)) as load:
        lab.igwd.start()
        lab.following()
        lab.agent.move("test/svc/l4", "n1", "n2")
        wait_answer(lab.at(8000), backend="b11", timeout=60)
    load.assert_clean()
    if damage != "empty":
        lab.igwd.wait_logged("observed.db")
    assert envoy.updates() == counted
    lab.igwd.restart()
    assert envoy.updates() == counted


@pytest.mark.parametrize("damage", ["garbage", "cut", "page"])
def test_a_damaged_config_db_does_not_stop_serving(rich, damage):
    lab = rich
    envoy = lab.up(igwd=lab.range)
    settled(lab, envoy)
    lab.igwd.terminate()
    harm(pathlib.Path(lab.igwd.state) / "config.db", damage)
    with Load(lab.at(8001), path="/a", host="web.test") as load:
        lab.igwd.start()
        lab.igwd.wait_logged("config.db")
        lab.agent.move("test/svc/l4", "n1", "n2")
        wait_answer(lab.at(8000), backend="b11", timeout=60)
        lab.add("test/svc/new", l4(lab.one.address, lab.at(8010)))
        wait_answer(lab.at(8010))
    load.assert_clean()


def harm(path, damage):
    """Damages a database that nobody has open."""
    for more in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        more.unlink(missing_ok=True)
    data = path.read_bytes()
    if damage == "garbage":
        path.write_bytes(random.Random(1).randbytes(len(data)))
    elif damage == "cut":
        path.write_bytes(data[:len(data) // 2])
    elif damage == "page":
        path.write_bytes(data[:100] + random.Random(2).randbytes(4096 * 2 - 100) + data[4096 * 2:])
    elif damage == "empty":
        path.write_bytes(b"")


@pytest.mark.parametrize("name", ["observed.db", "config.db"])
def test_a_database_of_a_newer_version_is_refused_clearly(rich, name):
    lab = rich
    settled(lab, lab.up(igwd=lab.range))
    lab.igwd.terminate()
    with sqlite3.connect(pathlib.Path(lab.igwd.state) / name) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        assert version > 0
        db.execute("PRAGMA user_version = %d" % (version + 1000))
    db.close()
    done = lab.igwd.run(*lab.igwd.command()[1:], check=False)
    assert done.returncode != 0 and name in done.stderr and "newer" in done.stderr


def test_a_key_that_does_not_fit_means_fetching_secrets_again(rich):
    lab = rich
    envoy = lab.up(igwd=lab.range)
    settled(lab, envoy)
    counted = envoy.updates()
    lab.igwd.terminate()
    key = pathlib.Path(lab.igwd.state) / "key"
    assert re.fullmatch(r"[0-9a-f]{64}\s*", key.read_text())
    key.write_text(os.urandom(32).hex())
    with Load(lab.at(8443), tls=client_context(), sni="web.test") as load:
        lab.igwd.start()
        lab.following()
        load.wait_answered(30)
        newer = lab.certificate
        lab.agent.set_secret("test/sec/web", newer.secret())
        lab.agent.move("test/svc/l4", "n1", "n2")
        wait_answer(lab.at(8000), backend="b11", timeout=60)
    load.assert_clean()
    assert envoy.updates() == counted


# A write past the limit is then an error (EFBIG), as a full disk's ENOSPC.
IGNORING_SIGXFSZ = ["/usr/bin/env", "--ignore-signal=XFSZ"]


def test_a_full_disk_stops_neither_serving_nor_failover(rich):
    """No file may grow any more: as a full disk, each write fails."""
    lab = rich
    envoy = lab.up(igwd={**lab.range, "binary": [*IGNORING_SIGXFSZ, IGWD]})
    settled(lab, envoy)
    before = resource.prlimit(lab.igwd.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(lab.igwd.pid, resource.RLIMIT_FSIZE, (1, before[1]))
    with Load(lab.at(8001), path="/a", host="web.test") as load:
        for there, here, backend in (("n2", "n1", "b11"), ("n1", "n2", "b10")) * 3:
            lab.agent.move("test/svc/l4", here, there)
            wait_answer(lab.at(8000), backend=backend)
        lab.add("test/svc/new", l4(lab.one.address, lab.at(8010)))
        wait_answer(lab.at(8010))
    load.assert_clean()
    assert lab.igwd.running()
    # Its log can't grow either, which must not matter; afterwards all is written again.
    resource.prlimit(lab.igwd.pid, resource.RLIMIT_FSIZE, before)
    lab.agent.move("test/svc/l4", "n1", "n2")
    wait_answer(lab.at(8000), backend="b11")
    lab.igwd.restart(kill=True)
    wait_answer(lab.at(8000), backend="b11")
    envoy.wait_listeners(*(lab.at(p) + "/tcp" for p in (8000, 8001, 8443, 8010, 21000)))


def test_a_kill_on_a_full_disk_takes_nothing_back_from_an_envoy(rich):
    """What was sent is not on the disk; an agent that takes a second to answer is waited for."""
    lab = rich
    envoy = lab.up(igwd={**lab.range, "binary": [*IGNORING_SIGXFSZ, IGWD]})
    settled(lab, envoy)
    hard = resource.prlimit(lab.igwd.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(lab.igwd.pid, resource.RLIMIT_FSIZE, (1, hard))
    lab.add("test/svc/new", l4(lab.one.address, lab.at(8010)))
    lab.agent.move("test/svc/l4", "n1", "n2")
    wait_answer(lab.at(8010))
    wait_answer(lab.at(8000), backend="b11")
    counted = envoy.updates()
    lab.agent.delays["daemon_status"] = 1.0
    lab.igwd.restart(kill=True)
    wait_until(lambda: envoy.stat("control_plane.connected_state") == 1, what="Envoy to connect again")
    lab.igwd.wait_logged("agent synced")
    assert request(lab.at(8000)).backend == "b11"
    lab.agent.move("test/svc/l4", "n2", "n1")
    wait_answer(lab.at(8000), backend="b10")
    assert envoy.updates() == counted


def on_read_only(path):
    """igwd, to which the directory is on a file system that can only be read."""
    return ["unshare", "-m", *(["-r"] if os.geteuid() else []), "sh", "-c",
            'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"', path, IGWD]


def test_a_file_system_that_turned_read_only_stops_neither_a_start_nor_failover(rich):
    lab = rich
    envoy = lab.up(igwd=lab.range)
    settled(lab, envoy)
    counted = envoy.updates()
    binary, lab.igwd.binary = lab.igwd.binary, on_read_only(lab.igwd.state)
    with Load(lab.at(8001), path="/a", host="web.test") as load:
        for kill in (False, True):
            lab.igwd.restart(kill=kill)
            lab.igwd.wait_logged("config.db", "Read-only file system", times=1 + kill)
            wait_until(lambda: envoy.stat("control_plane.connected_state") == 1, what="Envoy to connect again")
            for here, there, backend in (("n1", "n2", "b11"), ("n2", "n1", "b10")):
                lab.agent.move("test/svc/l4", here, there)
                wait_answer(lab.at(8000), backend=backend, timeout=60)
    load.assert_clean()
    assert envoy.updates() == counted
    subprocess.run([*lab.igwd.binary, "backup", lab.world.path("saved"), "--state", lab.igwd.state], check=True,
                   timeout=60)
    with contextlib.closing(sqlite3.connect(lab.world.path("saved") + "/config.db")) as saved:
        assert saved.execute("SELECT port FROM ports").fetchall() == [(21000,)]
    lab.igwd.binary = binary
    lab.igwd.restart()
    lab.agent.move("test/svc/l4", "n1", "n2")
    wait_answer(lab.at(8000), backend="b11", timeout=60)
    assert envoy.updates() == counted
    assert not list(pathlib.Path("/dev/shm").glob("igwd-*")), "a copy was left behind"


def test_an_unwritable_state_directory_is_said(world):
    path = world.write("file", "not a directory")
    igwd = Igwd(world, agent_path=world.path("x.sock"))
    done = igwd.run("--agent", world.path("x.sock"), "--state", path, "--xds", world.ip(2) + ":50051", check=False)
    assert done.returncode != 0 and path in done.stderr


def test_sighup_and_sigterm_in_a_row_are_harmless(rich):
    lab = rich
    envoy = lab.up(igwd=lab.range)
    settled(lab, envoy)
    for _ in range(5):
        lab.igwd.signal(signal.SIGHUP)
    lab.agent.move("test/svc/l4", "n1", "n2")
    wait_answer(lab.at(8000), backend="b11")
    for _ in range(3):
        lab.igwd.signal(signal.SIGTERM)
    assert lab.igwd.child.wait(20) == 0


def test_ten_thousand_services_are_served_within_a_second_of_a_start_without_an_agent(world):
    lab = Lab(world, nodes=("n1",))
    lab.agent.generate(10000, 10, listener_addr=world.ip(1))
    igwd = lab.igwd = world.igwd(agent=lab.agent, networks="0.0.0.0/0")
    with Mirror(igwd.xds[0]) as mirror:
        wait_until(lambda: len(mirror.get(CDS)) == 10000, timeout=60)
    igwd.terminate()
    lab.agent.stop_listening()
    began = time.monotonic()
    igwd.start()
    from xds_client import XdsClient
    with XdsClient(igwd.xds[0]) as client:
        client.subscribe(CDS)
        response = client.next()
        taken = time.monotonic() - began
        assert len(response.resources) == 10000
    assert taken < 15 * SLOW, "%.2f s" % taken


def test_logs_are_one_event_a_line_of_json(rich):
    lab = rich
    envoy = lab.up(igwd={"args": [*lab.range["args"], "--log-level", "debug"]})
    settled(lab, envoy)
    lab.agent.cut()
    lab.agent.move("test/svc/l4", "n1", "n2")
    wait_answer(lab.at(8000), backend="b11")
    lines = lab.igwd.log_text().splitlines()
    assert lines
    for line in lines:
        assert isinstance(json.loads(line), dict), line


def test_the_first_configuration_is_whole(world, ca):
    """Never half of the services, and with its secrets: an Envoy's first configuration is complete."""
    lab = Lab(world)
    world.backend(10)
    for i in range(30):
        lab.agent.set_secret("test/sec/s%d" % i, ca.issue("s%d.test" % i).secret())
        lab.add("test/svc/s%d" % i, l7(world.ip(10), lab.at(8443), "s%d.test" % i, certificates={
            "front": "s%d" % i}))
    lab.agent.delays["get_secret_key"] = 0.05
    lab.igwd = world.igwd(agent=lab.agent)
    with Mirror(lab.igwd.xds[0]) as mirror:
        wait_until(lambda: mirror.get(LDS))
        first = next(r for r in mirror.responses if r[0] == CDS)
        assert len(first[1]) == 30
        chains = mirror.get(LDS)[lab.at(8443) + "/tcp"]["filter_chains"]
        assert len(chains) == 30
        assert sum(1 for kind, *_ in mirror.responses if kind == LDS) == 1


def test_a_flex_service_of_many_nodes_survives_with_its_order(world):
    lab = Lab(world, nodes=["n%d" % i for i in range(20)])
    addresses = {"n%d" % i: "10.0.%d.1" % (250 - i) for i in range(20)}
    lab.add("test/svc/web", flex(addresses, lab.at(8000)))
    envoy = lab.up(igwd={"networks": ""})
    wanted = ["%s:8000" % a for a in addresses.values()]
    envoy.wait_endpoints("test/svc/web.expose#0", wanted)
    with Mirror(lab.igwd.xds[0]) as mirror:
        wait_until(lambda: mirror.endpoints("test/svc/web.expose#0"))
        versions = dict(mirror.versions)
    lab.igwd.restart(kill=True)
    with Mirror(lab.igwd.xds[0]) as mirror:
        wait_until(lambda: mirror.versions == versions)
