"""The recording of a real agent, replayed byte for byte: what a gateway would be given at each moment."""

import json
import re

import pytest

from agent_sim import apply_change
from harness import ROOT, SimAgent, wait_until
from xds_client import CDS, LDS, RDS, SDS, Mirror

LINES = (ROOT / "tests" / "data" / "session.jsonl").read_text().splitlines()
WEB1 = ["test/svc/web1.expose#0", "test/svc/web1.expose#1"]


def raw(line, key):
    """The bytes of a line's value, as they came."""
    start = line.index('"%s": ' % key) + len(key) + 4
    return line[start:-1].encode()


class Recorded:
    """An agent that answers what was recorded, and sends the recorded events when told to."""

    def __init__(self, world):
        self.agent = world.add(SimAgent(world.path("lsnr.sock"), nodes=["vm"], noise=False).start())
        self.parsed = [json.loads(line) for line in LINES]
        self.secrets = {}
        for line, parsed in zip(LINES, self.parsed):
            request = parsed.get("request", {})
            if request.get("action") == "get_secret_key":
                options = request["options"]
                self.secrets[options["path"], options["key"]] = raw(line, "response") + b"\0"
        first = next(i for i, p in enumerate(self.parsed) if p.get("request", {}).get("action") == "daemon_status")
        self.next = first + 1
        self.status = raw(LINES[first], "response") + b"\0"
        self.tree = json.loads(self.status[:-1])
        self.agent.answers = {
            "daemon_status": lambda _request: self.status, "get_secret_key": self._secret,
            "object_keys": {"status": 0, "data": ["private_key", "certificate_chain"]},
            "object_action": raw(next(line for line in LINES if '"object_action"' in line), "response") + b"\0"}

    def _secret(self, request):
        options = request["options"]
        absent = self.secrets["test/sec/absent", "private_key"]
        return self.secrets.get((options["path"], options["key"]), absent)

    def after(self, operator):
        """Sends the events up to the end of what followed an operator's command."""
        seen = False
        while self.next < len(LINES):
            parsed = self.parsed[self.next]
            if "operator" in parsed:
                if seen:
                    return
                seen = parsed["operator"].startswith(operator)
            elif "event" in parsed:
                # Who asks again is answered what the real agent would have. (Its counters do not even fit itself.)
                for change in parsed["event"]["data"]:
                    if change[0][0] != "listener":
                        apply_change(self.tree, change)
                self.status = json.dumps(self.tree).encode() + b"\0"
                self.agent.send_raw(raw(LINES[self.next], "event") + b"\0")
            self.next += 1
        assert seen, operator


@pytest.mark.sanitized
def test_the_recorded_session_gives_what_the_operators_meant(world):
    recorded = Recorded(world)
    address = "unix:" + world.path("xds.sock")
    igwd = world.igwd(agent=recorded.agent, xds=address, args=["--port-range", "21000-21010"])
    with Mirror(address, cluster="envoy") as envoy, Mirror(address, metadata={"gateway": "edge-b"}) as edge:
        wait_until(lambda: sorted(envoy.get(CDS)) == WEB1)
        wait_until(lambda: sorted(envoy.get(LDS)) == ["0.0.0.0:443/tcp", "0.0.0.0:8080/tcp"])
        wait_until(lambda: envoy.endpoints(WEB1[0]) == ["127.0.7.1:80"])
        wait_until(lambda: envoy.endpoints(WEB1[1]) == ["127.0.7.1:443"])
        wait_until(lambda: list(envoy.get(SDS)) == ["tls_certificate/test/sec/web1-front-cert"])
        assert envoy.get(CDS, WEB1[1])["connect_timeout"] == "1s"
        routes = wait_until(lambda: next(iter(envoy.get(RDS).values())))["virtual_hosts"][0]
        assert routes["domains"] == ["alt-svcweb.acme.org"]
        assert [r["match"]["prefix"] for r in routes["routes"]] == ["/realtime/generic", "/"]
        # Its hash policy means nothing to a round robin, which is said.
        igwd.wait_logged(WEB1[1], "hash_policies")

        recorded.after("om test/svc/web2 create")
        wait_until(lambda: list(edge.get(CDS)) == ["test/svc/web2.expose#0"])
        wait_until(lambda: edge.endpoints("test/svc/web2.expose#0") == [])
        recorded.after("om test/svc/web2 start")
        wait_until(lambda: edge.endpoints("test/svc/web2.expose#0") == ["127.0.7.2:443"])
        chain = edge.get(LDS, "0.0.0.0:443/tcp")["filter_chains"][0]
        assert chain["filter_chain_match"]["server_names"] == ["sni.acme.org"]

        # The address was seen down in the same patch.
        recorded.after("om test/svc/web1 set --kw expose#0.listener_port=8081")
        wait_until(lambda: sorted(envoy.get(LDS)) == ["0.0.0.0:443/tcp", "0.0.0.0:8081/tcp"])
        wait_until(lambda: envoy.endpoints(WEB1[0]) == [] and envoy.endpoints(WEB1[1]) == [])
        recorded.after("om test/svc/web1 set --kw expose#0.lb_policy=ring_hash")
        wait_until(lambda: envoy.get(CDS, WEB1[0]).get("lb_policy") == "RING_HASH")
        wait_until(lambda: "redirect" in next(iter(envoy.get(RDS).values()))["virtual_hosts"][0]["routes"][1])
        asked = recorded.agent.count("get_secret_key")
        recorded.after("om test/sec/web1-front-cert change")
        wait_until(lambda: recorded.agent.count("get_secret_key") > asked)
        recorded.after("om test/svc/web1 set --kw ip#1.ipname")
        recorded.after("om test/svc/web1 stop")
        recorded.after("om test/svc/web1 start")
        wait_until(lambda: envoy.endpoints(WEB1[0]) == ["127.0.7.9:80"])
        recorded.after("om test/svc/web1 unset --kw ip#1.expose")
        wait_until(lambda: envoy.endpoints(WEB1[0]) == [] and envoy.endpoints(WEB1[1]) == [])
        recorded.after("om test/svc/web1 set --kw ip#1.expose=expose#1")
        wait_until(lambda: envoy.endpoints(WEB1[1]) == ["127.0.7.9:443"])
        assert envoy.endpoints(WEB1[0]) == []
        recorded.after("om test/svc/web2 delete")
        wait_until(lambda: edge.get(CDS) == {} and edge.get(LDS) == {})
    assert recorded.agent.count("events") == 1 and recorded.agent.count("daemon_status") <= 2, "it lost the thread"
    assert not re.search(r"BEGIN|MIGH", igwd.log_text())


def test_the_recorded_scaler_gives_one_cluster_with_its_slaves_addresses(world):
    tree = json.loads((ROOT / "tests" / "data" / "daemon_status-scaler.json").read_text())
    agent = world.add(SimAgent(world.path("lsnr.sock"), tree=tree).start())
    agent.answers["object_action"] = {"nodes": {"vm": {"status": 0, "data": {"out": "", "err": "", "ret": 0}}},
                                      "status": 0}
    world.igwd(agent=agent, args=["--port-range", "21000-21010"])
    with Mirror(world.ip(2) + ":50051") as envoy:
        # web1's other exposure waits for its certificate, which this agent does not have.
        wait_until(lambda: sorted(envoy.get(CDS)) == ["rscal.expose#0", WEB1[0]])
        wait_until(lambda: envoy.endpoints("rscal.expose#0") == ["127.0.8.1:80"])
        wait_until(lambda: sorted(envoy.get(LDS)) == ["0.0.0.0:1029/tcp", "0.0.0.0:21000/tcp"])
        wait_until(lambda: {r["options"]["path"] for r in agent.requests_of("object_action")} == {
            "rscal", "0.rscal", "1.rscal"})
