"""The simulated agent is held against the recording of a real one: the operators' commands of the recording are
replayed, and what it sends has the same kinds of changes in the same order, the same keys and the same types."""

import json
import socket
import subprocess
import sys
import time

import pytest

from agent_sim import SimAgent, apply_change
from harness import ROOT, wait_until

DATA = ROOT / "tests" / "data"


def recording():
    return [json.loads(line) for line in (DATA / "session.jsonl").read_text().splitlines()]


def recorded_after(operator):
    """The patches between an operator's command and the next line that is none."""
    lines = recording()
    start = next(i for i, line in enumerate(lines) if line.get("operator") == operator)
    patches = []
    for line in lines[start + 1:]:
        if "event" not in line:
            break
        patches.append(line["event"])
    return patches


def recorded_answer(action, **options):
    for line in recording():
        request = line.get("request", {})
        if request.get("action") == action and all(request.get("options", {}).get(k) == v
                                                   for k, v in options.items()) and "response" in line:
            return request, line["response"]
    raise LookupError(action)


def is_noise(change):
    return change[0][0] == "listener"


# What differs from machine to machine: service names, counters in keys.
def kind_of(change):
    path = ["*" if isinstance(key, int) else key for key in change[0]]
    return (".".join(map(str, path)), len(change))


def kinds(patches):
    """Runs of changes' kinds over all patches, without the counters of the agent's own sessions."""
    return [kind_of(c) for p in patches for c in p["data"] if not is_noise(c)]


def shape(value):
    """Keys and types, without the values."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return type(value).__name__


class Client:
    """Speaks to the agent as igwd does."""

    def __init__(self, path):
        self.path = path

    def raw(self, data):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(self.path)
            s.sendall(data)
            answer = b""
            while True:
                piece = s.recv(1 << 20)
                if not piece:
                    return answer
                answer += piece

    def ask(self, request):
        answer = self.raw(json.dumps(request).encode() + b"\0")
        assert answer.endswith(b"\0") and answer.count(b"\0") == 1
        return json.loads(answer[:-1])


class Stream:
    """A subscriber."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.socket.sendall(b'{"action": "events", "options": {}}\0')
        self.rest = b""
        self.messages = []

    def read(self):
        """One message, or None at the end; what is left of a cut one is in rest."""
        while b"\0" not in self.rest:
            try:
                piece = self.socket.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not piece:
                return None
            self.rest += piece
        message, _, self.rest = self.rest.partition(b"\0")
        self.messages.append(json.loads(message))
        return self.messages[-1]

    def read_to(self, patch_id):
        """Patches up to that id."""
        found = []
        while True:
            message = self.read()
            assert message is not None, "the stream ended before patch %d" % patch_id
            if message["kind"] == "patch":
                found.append(message)
                if message["id"] >= patch_id:
                    return found

    def close(self):
        self.socket.close()


@pytest.fixture
def lab(world):
    """The cluster of the recording as it was at its start, with one subscriber."""
    agent = world.agent(nodes=["vm"], cluster="lab")
    agent.add_service("test/svc/web1", (DATA / "web1.conf").read_text())
    agent.set_secret("test/sec/web1-front-cert", {"private_key": "KEY\n", "certificate_chain": "CHAIN\n"})
    client = Client(agent.path)
    stream = Stream(agent.path)
    wait_until(lambda: agent.subscribers, what="the subscription")
    yield agent, client, stream
    stream.close()


def patches_of(agent, stream, act):
    """What a command sends, read by a subscriber."""
    first = agent.last_id + 1
    act()
    last = agent.last_id
    return [p for p in stream.read_to(last) if first <= p["id"] <= last]


def test_daemon_status_has_the_recorded_keys_and_types(lab):
    _, client, _ = lab
    ours = client.ask({"action": "daemon_status"})
    theirs = recorded_answer("daemon_status")[1]
    for tree in (ours, theirs):
        tree["listener"]["stats"]["sessions"]["alive"] = {}
        tree["scheduler"]["delayed"] = tree["scheduler"]["delayed"][:2]
        # A service that was started by an operator remembers it.
        monitor = tree["monitor"]["nodes"]["vm"]["services"]["status"]["test/svc/web1"]["monitor"]
        for key in ("status_updated", "local_expect", "local_expect_updated"):
            monitor.pop(key, None)
    assert shape(ours) == shape(theirs)


def test_resources_are_evaluated_as_recorded(lab):
    _, client, _ = lab
    ours = client.ask({"action": "daemon_status"})
    theirs = recorded_answer("daemon_status")[1]
    for tree in (ours, theirs):
        tree["resources"] = tree["monitor"]["nodes"]["vm"]["services"]["status"]["test/svc/web1"]["resources"]
        tree["resources"]["ip#1"]["provisioned"] = None
    assert ours["resources"] == theirs["resources"]


def test_a_scaler_looks_as_recorded(world):
    agent = world.agent(nodes=["vm"])
    agent.add_service("rscal", (DATA / "scaler.conf").read_text())
    ours = Client(agent.path).ask({"action": "daemon_status"})["monitor"]
    theirs = json.loads((DATA / "daemon_status-scaler.json").read_text())["monitor"]
    for path in ("rscal", "0.rscal", "1.rscal"):
        mine = ours["nodes"]["vm"]["services"]["status"][path]
        real = theirs["nodes"]["vm"]["services"]["status"][path]
        assert shape(ours["services"][path]) == shape(theirs["services"][path]), path
        assert mine.get("scaler_slaves") == real.get("scaler_slaves")
        assert mine.get("scaler_slave") == real.get("scaler_slave")
        mine.pop("monitor")
        real.pop("monitor")
        assert shape(mine) == shape(real), path


def test_create_sends_what_was_recorded(lab):
    agent, _, stream = lab
    theirs = recorded_after("om test/svc/web2 create --config web2.conf")
    ours = patches_of(agent, stream, lambda: agent.add_service("test/svc/web2", (DATA / "web2.conf").read_text(),
                                                               started=False))
    assert kinds(ours) == kinds(theirs)
    status = [c for p in ours for c in p["data"] if c[0][-2:] == ["status", "test/svc/web2"]][0][1]
    real = [c for p in theirs for c in p["data"] if c[0][-2:] == ["status", "test/svc/web2"]][0][1]
    assert shape(status) == shape(real)
    assert status["resources"]["expose#0"] == real["resources"]["expose#0"]
    assert status["resources"]["ip#1"]["status"] == real["resources"]["ip#1"]["status"] == "down"


def test_start_sends_what_was_recorded(lab):
    agent, _, stream = lab
    agent.add_service("test/svc/web2", (DATA / "web2.conf").read_text(), started=False)
    stream.read_to(agent.last_id)
    theirs = recorded_after("om test/svc/web2 start --local")
    ours = patches_of(agent, stream, lambda: agent.start_instance("test/svc/web2", "vm", outcome="start failed"))
    assert kinds(ours) == kinds(theirs)
    assert [c[1] for c in ours[-1]["data"] if c[0][-2:] == ["monitor", "status"]] == ["starting", "start failed",
                                                                                     "idle"]


def test_stop_is_told_at_once_and_in_the_recorded_order(lab):
    agent, _, stream = lab
    agent.resource_down("test/svc/web1", "vm")  # as it was in the recording when the stop came
    agent.services["test/svc/web1"].instances["vm"].started = False
    stream.read_to(agent.last_id)
    theirs = recorded_after("om test/svc/web1 stop --local")
    ours = patches_of(agent, stream, lambda: agent.stop_instance("test/svc/web1", "vm"))
    # Ours re-evaluates the checksum at every refresh.
    assert [k for k in kinds(ours) if not k[0].endswith(".csum")] == kinds(theirs)
    # Stopping and idle came in one patch: nobody saw the stop before it was over.
    statuses = [[c[1] for c in p["data"] if c[0][-2:] == ["monitor", "status"]] for p in ours]
    assert ["stopping", "idle"] in statuses


def test_stop_of_an_up_address_tells_it_down_between_stopping_and_idle(lab):
    agent, _, stream = lab
    ours = patches_of(agent, stream, lambda: agent.stop_instance("test/svc/web1", "vm"))
    tail = [(c[0][-1], c[1]) for c in ours[0]["data"] if c[0][-1] == "status" and len(c) > 1]
    assert tail == [("status", "stopping"), ("status", "down"), ("status", "idle")]


@pytest.mark.parametrize("command, keywords, unset", [
    ("om test/svc/web1 set --kw expose#0.lb_policy=ring_hash --kw route#1.redirect_https_redirect=true",
     {"expose#0.lb_policy": "ring_hash", "route#1.redirect_https_redirect": "true"}, ()),
    ("om test/svc/web1 set --kw ip#1.ipname=127.0.7.9", {"ip#1.ipname": "127.0.7.9"}, ()),
    ("om test/svc/web1 unset --kw ip#1.expose", {}, ("ip#1.expose",)),
])
def test_set_and_unset_send_what_was_recorded(lab, command, keywords, unset):
    agent, _, stream = lab
    theirs = recorded_after(command)
    ours = patches_of(agent, stream, lambda: agent.set_keywords("test/svc/web1", keywords, unset))
    assert kinds(ours) == kinds(theirs)
    values = {tuple(c[0]): c[1] for p in theirs for c in p["data"] if len(c) > 1 and "info" in c[0]}
    assert values == {tuple(c[0]): c[1] for p in ours for c in p["data"] if len(c) > 1 and "info" in c[0]}


def test_set_of_a_list_back_sends_the_whole_list(lab):
    agent, _, stream = lab
    agent.unset_keywords("test/svc/web1", "ip#1.expose")
    stream.read_to(agent.last_id)
    theirs = recorded_after("om test/svc/web1 set --kw ip#1.expose=expose#1")
    ours = patches_of(agent, stream, lambda: agent.set_keywords("test/svc/web1", {"ip#1.expose": "expose#1"}))
    assert kinds(ours) == kinds(theirs)


def test_a_failing_resource_and_a_new_port_look_as_recorded(lab):
    agent, _, stream = lab
    theirs = recorded_after("om test/svc/web1 set --kw expose#0.listener_port=8081")

    def act():
        # The real agent saw both in one look, and forgot what was expected of the service then.
        with agent.lock:
            agent.services["test/svc/web1"].instances["vm"].down.add("ip#1")
            agent.set_keywords("test/svc/web1", {"expose#0.listener_port": "8081"})
    ours = patches_of(agent, stream, act)
    forgotten = [k for k in kinds(theirs) if "local_expect" in k[0]]
    assert kinds(ours) == [k for k in kinds(theirs) if k not in forgotten]


def test_a_secrets_change_sends_what_was_recorded(lab):
    agent, _, stream = lab
    theirs = recorded_after("om test/sec/web1-front-cert change --key private_key --from web1.key")
    ours = patches_of(agent, stream,
                      lambda: agent.change_secret_key("test/sec/web1-front-cert", "private_key", "new"))
    assert kinds(ours) == kinds(theirs)


def test_delete_sends_what_was_recorded(lab):
    agent, _, stream = lab
    agent.add_service("test/svc/web2", (DATA / "web2.conf").read_text())
    stream.read_to(agent.last_id)
    theirs = recorded_after("om test/svc/web2 delete --local")
    ours = patches_of(agent, stream, lambda: agent.remove_service("test/svc/web2"))
    assert kinds(ours) == kinds(theirs)
    assert "test/svc/web2" not in agent.daemon_status()["monitor"]["services"]


def test_patches_have_the_recorded_form_and_grow_by_one(lab):
    agent, client, stream = lab
    for _ in range(3):
        client.ask({"action": "daemon_status"})
    agent.make_noise(5)
    agent.emit_event("node_thaw", path="x")
    agent.set_keywords("test/svc/web1", {"expose#0.port": "81"})
    stream.read_to(agent.last_id)
    patches = [m for m in stream.messages if m["kind"] == "patch"]
    real = [line["event"] for line in recording() if "event" in line]
    assert {frozenset(p) for p in patches} == {frozenset(p) for p in real} == {frozenset(real[0])}
    assert list(patches[0]) == list(real[0])
    ids = [p["id"] for p in patches]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    real_ids = [p["id"] for p in real]
    assert real_ids == list(range(real_ids[0], real_ids[0] + len(real_ids)))
    event = [m for m in stream.messages if m["kind"] == "event"][0]
    assert isinstance(event["id"], str) and isinstance(event["data"], dict)


def test_counters_of_sessions_are_sent_as_noise_of_the_recorded_kinds(lab):
    agent, client, stream = lab
    for _ in range(5):
        client.ask({"action": "daemon_status"})
    agent.make_noise(3)
    stream.read_to(agent.last_id)

    def noise(patches):
        found = set()
        for p in patches:
            for c in filter(is_noise, p["data"]):
                path = [k if c[0][3] != "alive" or i != 4 else "SESSION" for i, k in enumerate(c[0])]
                found.add((".".join(path), len(c)))
        return found
    ours = noise(m for m in stream.messages if m["kind"] == "patch")
    theirs = noise(line["event"] for line in recording() if "event" in line)
    assert ours and ours <= theirs


def test_applying_the_patches_gives_the_status(lab):
    agent, client, stream = lab
    tree = client.ask({"action": "daemon_status"})
    before = agent.last_id
    agent.noise = False
    agent.add_service("ns2/svc/scal", {"DEFAULT": {"topology": "flex", "scale": "3", "nodes": "vm"},
                                       "ip#1": {"ipname": "127.0.0.1", "expose": "expose#0"},
                                       "expose#0": {"port": "80"}})
    agent.set_keywords("test/svc/web1", {"vhost#0.domains": "a.org b.org c.org"})
    agent.set_keywords("test/svc/web1", {"vhost#0.domains": "a.org c.org", "route#0.match_prefix": "/x"})
    agent.scale("ns2/svc/scal", 1)
    agent.stop_instance("test/svc/web1", "vm")
    agent.set_secret("test/sec/other", {"a": "b"})
    agent.remove_secret("test/sec/web1-front-cert")
    agent.node_null("vm")
    agent.node_back("vm")
    agent.remove_section("test/svc/web1", "route#0")
    agent.start_instance("test/svc/web1", "vm")
    for patch in stream.read_to(agent.last_id):
        if patch["id"] > before:
            for change in patch["data"]:
                apply_change(tree, change)
    now = agent.daemon_status()
    tree.pop("listener"), now.pop("listener")
    assert tree == now


@pytest.mark.parametrize("key", ["private_key", "password"])
def test_secret_keys_are_answered_as_recorded(lab, key):
    agent, client, _ = lab
    request, theirs = recorded_answer("get_secret_key", key=key, path="test/sec/web1-front-cert")
    ours = client.ask(request)
    assert shape(ours) == shape(theirs) and ours["status"] == theirs["status"]
    if "error" in theirs:
        assert ours["error"] == theirs["error"]


def test_an_absent_secret_is_answered_as_recorded(lab):
    _, client, _ = lab
    request, theirs = recorded_answer("get_secret_key", path="test/sec/absent")
    ours = client.ask(request)
    assert shape(ours) == shape(theirs)
    assert (ours["status"], ours["error"]) == (theirs["status"], theirs["error"])


def test_a_wrong_write_back_fails_as_recorded(lab):
    _, client, _ = lab
    request, theirs = recorded_answer("object_action")
    ours = client.ask(request)
    assert shape(ours) == shape(theirs)
    assert ours["status"] == theirs["status"] == 1
    assert ours["nodes"]["vm"]["status"] == theirs["nodes"]["vm"]["status"] == 500
    assert ours["nodes"]["vm"]["error"] == theirs["nodes"]["vm"]["error"]


def test_a_good_write_back_changes_the_service_and_is_sent(lab):
    agent, client, stream = lab
    first = agent.last_id
    answer = client.ask({"action": "object_action", "method": "POST", "node": "vm", "options": {
        "path": "test/svc/web1", "action": "set", "options": {"kw": ["expose#0.listener_port=1029"]}, "sync": True}})
    assert answer["status"] == answer["nodes"]["vm"]["status"] == answer["nodes"]["vm"]["data"]["ret"] == 0
    assert set(answer["nodes"]["vm"]["data"]) == {"out", "err", "ret"}
    patches = [p for p in stream.read_to(agent.last_id) if p["id"] > first]
    sent = [c for p in patches for c in p["data"] if c[0][-1] == "listener_port"]
    assert sent == [[["monitor", "nodes", "vm", "services", "status", "test/svc/web1", "resources", "expose#0",
                      "info", "listener_port"], 1029]]


def test_object_keys_unknown_actions_and_full_events_are_answered(lab):
    _, client, _ = lab
    keys = client.ask({"action": "object_keys", "method": "GET", "options": {"path": "test/sec/web1-front-cert"}})
    assert keys == {"status": 0, "data": ["private_key", "certificate_chain"]}
    absent = client.ask({"action": "object_keys", "method": "GET", "options": {"path": "test/sec/none"}})
    assert absent["status"] == "1" and absent["error"]
    assert client.ask({"action": "nonsense"})["status"] == 501
    assert client.ask({"action": "events", "options": {"full": True}})["status"] == 500
    assert json.loads(client.raw(b"nonsense\0")[:-1])["status"] == 400


def test_faults_look_as_they_would(lab):
    agent, client, stream = lab
    agent.gap(2)
    lost = agent.last_id
    agent.make_noise()
    assert [p["id"] for p in stream.read_to(lost + 1)][-1] == lost + 1
    agent.cut()
    while stream.read() is not None:
        pass
    assert stream.rest.startswith(b'{"kind": "patch"') and b"\0" not in stream.rest
    other = Stream(agent.path)
    wait_until(lambda: agent.subscribers)
    agent.close_subscribers()
    while other.read() is not None:
        pass
    assert other.rest == b""
    other.close()
    agent.stop_listening(remove=False)
    with pytest.raises(ConnectionRefusedError):
        client.ask({"action": "daemon_status"})
    agent.listen()
    agent.answers["daemon_status"] = b'{"monitor": '
    assert client.raw(b'{"action": "daemon_status"}\0') == b'{"monitor": '
    agent.answers.clear()
    agent.restart(lambda a: a.add_service("fresh", {"ip#1": {"ipname": "127.0.0.1"}}))
    services = client.ask({"action": "daemon_status"})["monitor"]["services"]
    assert set(services) == {"cluster", "fresh"}


def test_a_slow_answer_delays_no_other(lab):
    agent, client, stream = lab
    agent.delays["get_secret_key"] = lambda request: 3600 if request["options"]["key"] == "slow" else 0
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(agent.path)
        request = {"action": "get_secret_key", "options": {"path": "a", "key": "slow"}}
        slow.sendall(json.dumps(request).encode() + b"\0")
        wait_until(lambda: agent.count("get_secret_key"))
        assert client.ask({"action": "get_secret_key", "options": {"path": "a", "key": "b"}})["status"] == 1
        agent.make_noise()
        stream.read_to(agent.last_id)


def test_a_subscriber_that_does_not_read_is_cut_off_and_slows_nobody(lab):
    agent, _, stream = lab
    lazy = Stream(agent.path)
    wait_until(lambda: len(agent.subscribers) == 2)
    agent.slow_limit = 100000
    payload = [[["scheduler", "running"], "x" * 50000]]
    for _ in range(40):
        agent.emit(payload)
        stream.read_to(agent.last_id)
    wait_until(lambda: len(agent.subscribers) == 1)
    while lazy.read() is not None:
        pass
    assert len(lazy.messages) < 40
    lazy.close()


def test_a_thousand_changes_cost_little_and_all_arrive(world):
    agent = world.agent(nodes=["n1"])
    agent.generate(1000, 2)
    stream = Stream(agent.path)
    wait_until(lambda: agent.subscribers)
    began = time.process_time()
    for i in range(1000):
        agent.resource_down("bench/svc/s%05d" % i, "n2")
    used = time.process_time() - began
    patches = stream.read_to(agent.last_id)
    down = [c for p in patches for c in p["data"] if c[0][-3:] == ["resources", "ip#1", "status"] and c[1] == "down"]
    stream.close()
    assert len(down) == 1000
    assert used < 10, "%.1f s of CPU" % used


def test_generated_services_have_the_shape_of_created_ones(world):
    agent = SimAgent(world.path("x.sock"), nodes=["n1"])
    agent.generate(3, 2)
    agent.add_service("bench/svc/real", {"DEFAULT": {"topology": "flex"},
                                         "ip#1": {"ipname": "10.1.2.3", "expose": "expose#0"},
                                         "expose#0": {"port": "80", "listener_addr": "127.0.0.1",
                                                      "listener_port": "1"}}, nodes=["n1", "n2"])
    tree = agent.daemon_status()
    status = tree["monitor"]["nodes"]["n2"]["services"]["status"]
    assert shape(status["bench/svc/s00002"]) == shape(status["bench/svc/real"])
    assert status["bench/svc/s00002"]["resources"]["ip#1"]["info"]["ipaddr"] == "10.1.0.2"
    assert tree["cluster"]["nodes"] == ["n1", "n2"]


def test_as_a_program_it_takes_commands(world):
    path = world.path("cli.sock")
    child = subprocess.Popen([sys.executable, ROOT / "tests" / "tools" / "agent_sim.py", "--socket", path, "--nodes",
                              "vm", "--load", "test/svc/web1=%s" % (DATA / "web1.conf"), "--generate", "5:1"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "listening on %s\n" % path

        def say(line):
            child.stdin.write(line + "\n")
            child.stdin.flush()
            return child.stdout.readline().strip()
        client = Client(path)
        services = client.ask({"action": "daemon_status"})["monitor"]["services"]
        assert {"test/svc/web1", "bench/svc/s00004"} <= set(services)
        assert say("stop test/svc/web1 vm") == "ok"
        assert say("set test/svc/web1 expose#0.port=81") == "ok"
        status = client.ask({"action": "daemon_status"})["monitor"]["nodes"]["vm"]["services"]["status"]
        assert status["test/svc/web1"]["resources"]["ip#1"]["status"] == "down"
        assert status["test/svc/web1"]["resources"]["expose#0"]["info"]["port"] == 81
        assert say("nonsense").startswith("error: ")
        assert say("stop test/svc/none vm").startswith("error: ")
    finally:
        child.stdin.close()
        child.terminate()
        child.wait(20)
        child.stdout.close()
