"""Envoy's own verdict in dry runs: from the real one, and from one that misbehaves as no sandbox may let it."""

import concurrent.futures
import http.client
import os
import pathlib
import re
import shutil
import time

import pytest

from api_client import TOKEN, VIEWER, Api, bearer, certificate, exposure, pointers
from declare import BAD_CLUSTER, l4, l7
from harness import BUILD, ENVOY_BINARY, LIMIT, wait_until

PROBE = BUILD / "tools" / "envoy_probe"

WEB = "test/svc/web.expose#0"
L4 = "test/svc/l4.expose#0"
OWN = "own/svc/a.expose#0"
BAD_FILTER = {"tunneling_config": {"hostname": "%NOSUCH(x)%"}}
FILE_LOG = {"name": "file", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": "/nonexistent/log"}}
NOT_ASKED = {"version": None, "gateway": None, "type": None, "resource": None, "exposure": None, "pointer": None}


def start(world, ca, binary, seconds=20):
    agent = world.agent(nodes=["n1"])
    agent.set_secret("test/sec/cert", ca.issue("a.example.org").secret())
    agent.add_service("test/svc/web", l7("10.0.0.2", "127.9.9.9:8443", ["a.example.org"], [
        {"match_prefix": "/x", "redirect_https_redirect": "true"}, {"match_prefix": "/"}],
        certificates={"front": "test/sec/cert"}))
    agent.add_service("test/svc/l4", l4("10.0.0.1", "127.9.9.9:8080"))
    api = Api(world, agent, args=["--envoy-binary", str(binary), "--envoy-seconds", str(seconds)]).wait_live()
    return api.wait_exposures(2)


@pytest.fixture
def api(world, ca):
    return start(world, ca, ENVOY_BINARY)


@pytest.fixture
def probed(world, ca):
    return start(world, ca, PROBE, seconds=2)


def verdict(answer):
    assert answer.status in (200, 201), (answer, answer.body)
    assert answer.json["dry_run"] is True and answer.json["number"] is None
    return answer.json["envoy"]


def in_time(ask):
    """The verdict in what ask() answers. On a machine that is too busy for an answer in time, ask again."""
    def look():
        found = verdict(ask())
        return (found is None or found["state"] != "timeout") and [found]
    return wait_until(look, what="Envoy to answer in time")[0]


def patched(api, name, body, **options):
    return in_time(lambda: api.patch(exposure(name) + "?dry_run=true", body, **options))


def put(api, body):
    return in_time(lambda: api.put(exposure(OWN) + "?dry_run=true", body))


def own(word, port=7000, **more):
    return {"port": 80, "listener_addr": "127.9.9.9", "listener_port": port, "sni": [word + ".example"], **more}


# ---- the real one ----

@pytest.mark.sanitized
def test_a_good_draft_is_accepted_with_its_secrets_routes_and_neighbours(api):
    for name, body in ((WEB, {"lb_policy": "random"}), (WEB, {"vhosts": [{"domains": ["b.example.org"]}]}),
                       (L4, {"listener_port": 8081}), (L4, {"cluster_data": {"connect_timeout": "2s"}})):
        found = patched(api, name, body)
        assert (found["state"], found["detail"], found["version"]) == ("accepted", None, "1.40.0"), found
    assert api.v1(exposure(WEB))["overridden"] == []


@pytest.mark.sanitized
@pytest.mark.parametrize("name, field, value, kind, words", [
    (WEB, "cluster_data", BAD_CLUSTER, None, "malformed IP address"),
    (L4, "filter_config_data", BAD_FILTER, None, "NOSUCH"),
    (WEB, "cluster_data", {"lb_policy": "CLUSTER_PROVIDED"}, "CLUSTER", "cluster provided LB"),
])
def test_what_passes_our_checks_and_is_refused_by_envoy_is_said_with_its_words(api, name, field, value, kind, words):
    dry = patched(api, name, {field: value})
    assert dry["state"] == "refused" and words in dry["detail"], dry
    assert dry["gateway"] == "envoy" and dry["exposure"] == name and dry["type"] == kind, dry
    assert dry["pointer"] == ("#/" + field if kind else "#"), dry
    assert "config.json" not in dry["detail"], "a file that nobody but the sandbox knows"


def test_in_a_change_set_the_exposure_that_is_refused_is_named(api):
    operations = [{"method": "PATCH", "kind": "Exposure", "name": L4, "body": {"lb_policy": "random"}},
                  {"method": "PATCH", "kind": "Exposure", "name": WEB,
                   "body": {"cluster_data": {"lb_policy": "CLUSTER_PROVIDED"}}}]
    found = in_time(lambda: api.post("/changesets?dry_run=true", {"operations": operations}))
    assert (found["state"], found["exposure"], found["resource"]) == ("refused", WEB, WEB), found
    assert found["pointer"] == "#/operations/1/body/cluster_data"


def test_other_gateways_and_certificates_are_tried_too(api, ca):
    one = ca.issue("b.example.org")
    dry = api.put(certificate("own/sec/new") + "?dry_run=true", {
        "certificate_chain": one.chain, "private_key": one.key})
    assert verdict(dry) is None, "nothing that an Envoy gets would be another"
    operations = [{"method": "PUT", "kind": "Gateway", "name": "edge", "body": {"allow_files": True}},
                  {"method": "PUT", "kind": "Exposure", "name": OWN, "body": {
                      "port": 80, "gateway": "edge", "listener_addr": "127.9.9.9", "listener_port": 7000,
                      "filter_config_data": {"access_log": [FILE_LOG]}, "listener_certificates": [{
                          "certificate_chain_filename": "/nonexistent/chain.pem",
                          "private_key_filename": "/nonexistent/key.pem"}], "sni": ["b.example.org"]}}]

    def ask():
        return api.post("/changesets?dry_run=true", {"operations": operations})
    assert in_time(ask)["state"] == "accepted", "no file that it names is looked for"
    operations[1]["body"]["filter_config_data"] = BAD_FILTER
    refused = in_time(ask)
    assert (refused["state"], refused["gateway"], refused["exposure"]) == ("refused", "edge", OWN), refused


def test_only_dry_runs_of_administrators_are_shown_to_envoy(api):
    operator = api.post("/tokens", {"name": "op", "role": "operator", "gateways": ["envoy"]}).json["token"]
    change = {"cluster_data": BAD_CLUSTER}
    assert patched(api, WEB, change, **bearer(operator)) is None
    assert patched(api, WEB, change, **bearer(TOKEN))["state"] == "refused"
    assert api.patch(exposure(WEB) + "?dry_run=true", change, **bearer(VIEWER)).status == 403
    made = api.patch(exposure(WEB), {"lb_policy": "maglev"})
    assert made.status == 200 and made.json["envoy"] is None
    assert patched(api, WEB, {"lb_policy": "maglev"}) is None, "nothing would change"
    bad = api.patch(exposure(WEB) + "?dry_run=true", {"port": 0})
    assert pointers(bad) == {"#/port"}, "what we refuse ourselves is not asked about"


# ---- one that misbehaves ----

@pytest.mark.sanitized
def test_the_binary_can_neither_read_write_connect_nor_spread(world, probed):
    witness = world.backend(10)
    before = set(os.listdir("/"))
    body = own("probe-escape", endpoints=[{"address": witness.address, "port": witness.port}])
    found = put(probed, body)
    assert found["state"] == "refused" and found["version"] == "0.0.7", found
    said = dict(re.findall(r"(\w+)=(\S+)", found["detail"]))
    assert {name: said[name] for name in ("read", "proc", "write", "overwrite", "device", "connect", "null")} == {
        "read": "ENOENT", "proc": "ENOENT", "write": "EROFS", "overwrite": "EROFS", "device": "EROFS",
        "connect": "ENETUNREACH", "null": "done"}, said
    assert {said[name] for name in ("setuid", "unshare", "mount", "ptrace")} <= {"EPERM", "EINVAL"}, said
    assert said["memory"] == "ENOMEM" and said["fork"] == "EAGAIN" and int(said["children"]) < 64, said
    assert said["files"] == "0" and said["variables"] == "1", said
    assert said["user"] == ("65534" if os.geteuid() == 0 else str(os.geteuid())), said
    assert set(os.listdir("/")) == before
    wait_until(lambda: not probes(), what="all that it started to be gone")
    assert probed.igwd.running() and probed.v1(exposure(WEB))


def probes():
    """Processes that are the probe, or were on the way to become it."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if len(words) > 2 and (words[1:3] == [b"--mode", b"validate"] or words[1:2] == [b"validate"]):
            found.append(words)
    return [w for w in found if str(PROBE).encode() in w or w[0] == b"envoy" and b"/config.json" in w]


@pytest.mark.parametrize("word", ["probe-sleep", "probe-spin", "probe-flood"])
def test_a_binary_that_does_not_answer_is_ended_and_others_are_served(probed, word):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        asked = pool.submit(probed.put, exposure(OWN) + "?dry_run=true", own(word))
        assert probed.patch(exposure(WEB), {"lb_policy": "random"}).status == 200, "writes do not wait for it"
        found = verdict(asked.result(LIMIT))
        assert (found["state"], found["gateway"], found["exposure"]) == ("timeout", "envoy", None), found
        assert "nothing is known" in found["detail"] and "within 2 s" in found["detail"]
        assert time.monotonic() - began < LIMIT / 2
    wait_until(lambda: not probes(), what="it to be gone")


def test_a_binary_that_crashes_gives_no_verdict(probed):
    found = put(probed, own("probe-crash"))
    assert found["state"] == "unavailable" and "Aborted" in found["detail"], found
    assert put(probed, own("calm"))["state"] == "accepted"


@pytest.mark.sanitized
def test_many_who_ask_are_told_so_and_the_daemon_stops_while_the_binary_sleeps(probed):
    def ask(n):
        answer = probed.put(exposure("own/svc/s%d.expose#0" % n) + "?dry_run=true", own("probe-sleep"))
        return verdict(answer)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, n) for n in range(8)]
        wait_until(probes, what="it to be asked")
        wait_until(lambda: sum(a.done() for a in asked) >= 3, what="those for whom there is no room")
        code, seconds = probed.igwd.terminate()
        assert code == 0 and seconds < LIMIT / 4, (code, seconds)
    # Who waited is answered, or finds the connection gone.
    answers = [a.result() for a in asked if not a.exception()]
    assert all(isinstance(a.exception(), (type(None), OSError, ValueError, http.client.HTTPException)) for a in asked)
    busy = [a for a in answers if a["state"] == "busy"]
    assert 3 <= len(busy) <= 5, answers
    assert busy[0] == {"state": "busy", "detail": "too many dry runs wait for Envoy already", **NOT_ASKED}
    assert {a["state"] for a in answers} <= {"busy", "timeout", "unavailable"}, answers
    wait_until(lambda: not probes(), what="it to be gone")


# ---- none at all ----

def test_a_binary_that_cannot_run_is_said_and_one_that_comes_is_taken(world, ca):
    place = pathlib.Path(world.path("envoy"))
    api = start(world, ca, place)
    change = {"lb_policy": "random"}
    found = patched(api, WEB, change)
    assert found["state"] == "unavailable" and "No such file" in found["detail"] and found["version"] is None, found
    api.igwd.wait_logged("Envoy can't be asked about dry runs", "No such file")
    place.write_text("#!/bin/sh\nexit 0\n")
    place.chmod(0o755)
    assert "no ELF program" in patched(api, WEB, change)["detail"], "nothing is run outside of the sandbox"
    place.unlink()
    shutil.copy(PROBE, place)
    place.chmod(0o700)
    if os.geteuid() == 0:
        assert "everybody may read and execute" in patched(api, WEB, change)["detail"]
    place.chmod(0o755)
    found = patched(api, WEB, change)
    assert (found["state"], found["version"]) == ("accepted", "0.0.7"), found


def test_check_config_asks_the_binary(world):
    igwd = world.igwd()
    assert "the settings are good" in igwd.run("--check-config", "--envoy-binary", PROBE).stdout
    for binary, words in (("/nonexistent/envoy", "No such file"), ("/bin/true", "does not tell its version"),
                          (__file__, "")):
        done = igwd.run("--check-config", "--envoy-binary", binary, check=False)
        assert done.returncode == 1 and str(binary) in done.stderr and words in done.stderr, done.stderr


def test_without_a_binary_nothing_is_asked(world):
    api = Api(world, world.agent(nodes=["n1"])).wait_live()
    answer = api.put(exposure(OWN) + "?dry_run=true", own("calm"))
    assert verdict(answer) is None and answer.status == 201
    assert api.igwd.run("--check-config").returncode == 0
