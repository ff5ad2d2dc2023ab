"""No fault stays in the log alone: what is wrong with an exposure stands in its state, until it is mended."""

import json

import pytest

from api_client import Api, exposure
from declare import flex, l4
from harness import answers, holds_for, wait_answer, wait_until

NAME = "test/svc/bad.expose#0"


def deep(levels=32):
    """Good as a filter, and too deeply nested once it stands in its listener."""
    data = 1
    for _ in range(levels):
        data = {"a": data}
    return {"metadata_match": {"filter_metadata": {"envoy.lb": data}}}


class Scene:
    """test/svc/good is served at port 8000; what is wrong is test/svc/bad."""

    def __init__(self, lab):
        self.lab, self.agent = lab, lab.agent
        self.backend = lab.world.backend(10)
        lab.add("test/svc/good", l4(self.backend.address, lab.at(8000)))

    def up(self, args=()):
        self.api = Api(self.lab.world, self.agent, args=args)
        self.lab.igwd = self.api.igwd
        self.api.wait_live()
        self.lab.envoy = self.lab.world.envoy(self.lab.igwd).wait_live()
        wait_answer(self.lab.at(8000), backend="b10")
        return self

    def status(self):
        return self.api.v1(exposure(NAME))["status"]

    def accepted(self):
        one = self.status()["accepted"]
        return one["state"], one["reason"]

    def wait_accepted(self, *wanted):
        wait_until(lambda: self.accepted() == wanted, what="%s to be %s" % (NAME, wanted))
        return self.status()["accepted"]

    def last_event(self):
        return self.api.v1("/exposures?limit=1")["event"]

    def events(self, after):
        """What became of the exposure, for who watched from there."""
        lines = self.api.get("/api/v1/events?seconds=0&after=" + after).body.decode().splitlines()
        events = [json.loads(one[len("data:"):]) for one in lines if one.startswith("data:")]
        return [one["change"] for one in events if one.get("kind") == "Exposure" and one["name"] == NAME]

    def metric(self, state):
        text = self.api.get("/metrics").body.decode()
        line = 'igwd_exposure_conditions{condition="accepted",state="%s"} ' % state
        return int(next(one for one in text.splitlines() if one.startswith(line)).rpartition(" ")[2])


@pytest.fixture
def scene(lab):
    return Scene(lab)


@pytest.mark.sanitized
def test_what_translation_leaves_out_stands_on_its_exposure_until_it_is_mended(scene):
    lab = scene.lab
    lab.add("test/svc/bad", l4(scene.backend.address, lab.at(8001)))
    scene.up()
    wait_answer(lab.at(8001))
    kept = scene.api.get("/api/v1" + exposure(NAME))
    before = scene.last_event()
    lab.agent.set_keywords("test/svc/bad", {"expose#0.filter_config_data": deep()})
    accepted = scene.wait_accepted("failed", "left_out")
    [problem] = accepted["problems"]
    assert problem["code"] == "invalid" and "nested too deep" in problem["detail"], problem
    assert lab.at(8001) + "/tcp" in problem["detail"]
    assert problem["field"].startswith("expose#0.filter_config_data.metadata_match.")
    assert problem["pointer"].startswith("#/filter_config_data/metadata_match/filter_metadata/envoy.lb"), problem
    assert problem["field"] in accepted["message"] and problem["detail"] in accepted["message"]
    assert scene.status()["programmed"]["reason"] == "not_accepted"
    assert "modified" in scene.events(before)
    again = scene.api.get("/api/v1" + exposure(NAME), headers={"If-None-Match": kept.headers["etag"]})
    assert again.status == 200, "the document is another"
    assert [one["name"] for one in scene.api.v1("/exposures?accepted=failed")["items"]] == [NAME]
    assert scene.metric("failed") == 1 and scene.api.v1("/summary")["exposures"]["accepted"]["failed"] == 1
    said = scene.api.post("/explain", {"address": lab.world.ip(1), "port": 8001}).json
    assert any(NAME in note and "nested too deep" in note for note in said["notes"]), said["notes"]
    assert len(lab.igwd.logged("nested too deep")) == 1, "said once"
    # The others go on, and so does the fault over restarts, without the agent's word.
    wait_until(lambda: not answers(lab.at(8001)))
    lab.agent.stop_listening()
    lab.igwd.restart(kill=True)
    scene.api.wait_live()
    scene.wait_accepted("failed", "left_out")
    wait_answer(lab.at(8000), backend="b10")
    lab.agent.listen()
    before = scene.last_event()
    lab.agent.set_keywords("test/svc/bad", {"expose#0.filter_config_data": deep(20)})
    assert scene.wait_accepted("ok", "accepted")["problems"] == []
    assert "modified" in scene.events(before)
    wait_answer(lab.at(8001))
    assert scene.metric("failed") == 0


def test_a_chain_that_is_left_out_is_a_fault_of_its_exposure_alone(scene):
    lab = scene.lab
    config = l4(scene.backend.address, lab.at(8000), sni="bad.test", filter_config_data=deep())
    lab.add("test/svc/bad", config)
    scene.up()
    [problem] = scene.wait_accepted("failed", "left_out")["problems"]
    assert problem["pointer"].startswith("#/filter_config_data"), problem
    assert scene.api.v1(exposure("test/svc/good.expose#0"))["status"]["accepted"]["state"] == "ok"
    lab.agent.remove_service("test/svc/bad")
    wait_until(lambda: scene.api.get("/api/v1" + exposure(NAME)).status == 404)
    assert scene.metric("failed") == 0


def test_a_port_that_the_agent_can_not_be_told_stands_on_its_exposure_which_serves(scene):
    lab = scene.lab
    lab.agent.answers["object_action"] = {"status": 1, "error": "the node says no"}
    lab.add("test/svc/bad", l4(scene.backend.address, lab.world.ip(1) + ":0"))
    scene.up(args=["--port-range", "21000-21004"])
    [problem] = scene.wait_accepted("warning", "port_untold")["problems"]
    assert problem["code"] == "warning" and problem["pointer"] == "#/listener_port"
    assert "21000" in problem["detail"] and "the node says no" in problem["detail"]
    wait_answer(lab.at(21000), backend="b10")
    wait_until(lambda: scene.status()["programmed"]["reason"] == "programmed")
    assert scene.metric("warning") == 1
    lab.igwd.restart(kill=True)  # it is tried at once, and fails
    scene.api.wait_live()
    scene.wait_accepted("warning", "port_untold")
    del lab.agent.answers["object_action"]
    lab.agent.set_keywords("test/svc/bad", {"expose#0.listener_port": "21000"})
    assert scene.wait_accepted("ok", "accepted")["problems"] == []
    holds_for(lambda: answers(lab.at(21000)), 0.2)


def test_addresses_that_get_no_traffic_are_told_by_the_exposures_endpoints(scene):
    lab = scene.lab
    two = lab.world.backend(11)
    lab.add("test/svc/bad", flex({"n1": scene.backend.address, "n2": "169.254.1.1"}, lab.at(8001)))
    scene.up()

    def endpoints():
        return scene.status()["endpoints"]
    wait_until(lambda: endpoints()["reason"] == "left_out")
    assert endpoints()["state"] == "warning" and "169.254.1.1" in endpoints()["message"]
    wait_answer(lab.at(8001), backend="b10")
    lab.agent.set_keywords("test/svc/bad", {"ip#1.ipname@n2": two.address})
    wait_until(lambda: (endpoints()["state"], endpoints()["up"]) == ("ok", 2))
