"""Events of the REST interface: what becomes another is told to whoever watches, once, also after a restart."""

import time

import pytest

from api_client import TOKEN, Api, Stream, bearer, exposure
from declare import l4
from harness import SLOW, wait_until


PASSING = ("Proxy", "Rollout")  # have no place of their own, and are not kept


@pytest.fixture
def api(world):
    agent = world.agent(nodes=["n1", "n2"])
    agent.add_service("web", l4("10.0.0.1", "127.9.9.9:8000"))
    return Api(world, agent).wait_exposures(1)


def add(api, i):
    api.agent.add_service("svc%02d" % i, l4("10.0.1.%d" % i, "127.9.9.9:%d" % (8100 + i)))


def is_exposure(name, change):
    return lambda data: (data["kind"], data["name"], data["change"]) == ("Exposure", name, change)


@pytest.mark.sanitized
def test_changes_are_told_as_they_happen(api):
    stream = Stream(api)
    assert stream.status == 200 and stream.headers["content-type"] == "text/event-stream"
    assert next(stream.blocks()) == ":", "that the stream stands is seen at once"
    add(api, 1)
    found = stream.until(lambda data: data["kind"] == "Revision")
    kinds = [(data["kind"], data["change"]) for _, _, data in found]
    assert ("Exposure", "added") in kinds and ("Service", "added") in kinds and ("Listener", "added") in kinds
    ids = [int(place.split(".")[1]) for place, _, data in found if data["kind"] not in PASSING]
    assert ids == list(range(ids[0], ids[0] + len(ids))), "no number is missing"
    assert api.v1(exposure("svc01.expose#0")), "what was told of can be read"
    api.agent.remove_service("svc01")
    stream.until(is_exposure("svc01.expose#0", "removed"))
    stream.close()


@pytest.mark.sanitized
def test_a_list_names_the_place_to_watch_from_without_a_gap(api):
    place = api.v1("/exposures")["event"]
    add(api, 1)
    wait_until(lambda: len(api.v1("/exposures")["items"]) == 2)
    stream = Stream(api, "?after=" + place)
    stream.until(is_exposure("svc01.expose#0", "added"))
    stream.close()


def test_a_page_that_says_the_same_has_the_same_tag_whatever_happened_elsewhere(api):
    first = api.get("/api/v1/gateways")
    add(api, 1)
    wait_until(lambda: len(api.v1("/exposures")["items"]) == 2)
    place = api.v1("/exposures")["event"]
    assert place != first.json["event"]
    tag = api.get("/api/v1/exposures?q=web").headers["etag"]
    again = api.get("/api/v1/exposures?q=web", headers={"If-None-Match": tag})
    assert again.status == 304


@pytest.mark.sanitized
def test_events_are_replayed_after_a_restart(api):
    place = api.v1("/exposures")["event"]
    add(api, 1)
    wait_until(lambda: len(api.v1("/exposures")["items"]) == 2)
    before = [one for one in Stream(api, "?seconds=0&after=" + place).events() if one[2]["kind"] not in PASSING]
    assert any(is_exposure("svc01.expose#0", "added")(data) for _, _, data in before)
    api.igwd.restart(kill=True)
    api.wait_live()
    after = [one for one in Stream(api, "?seconds=0", last=place).events()]
    assert after[:len(before)] == before
    add(api, 2)
    stream = Stream(api, last=before[-1][0])
    found = stream.until(is_exposure("svc02.expose#0", "added"))
    assert [event for _, event, _ in found] == ["change"] * len(found)
    stream.close()


def test_only_kinds_that_were_asked_for(api):
    stream = Stream(api, "?kind=Revision&kind=Gateway")
    add(api, 1)
    found = stream.until(lambda data: data["kind"] == "Revision")
    assert {data["kind"] for _, _, data in found} <= {"Revision", "Gateway"}
    stream.close()
    assert Stream(api, "?kind=Nothing").status == 400


def test_a_place_that_is_not_known_any_more_says_to_read_everything_again(api):
    epoch, _, seq = api.v1("/exposures")["event"].partition(".")
    for place in ("7.1", "%s.%d" % (epoch, int(seq) + 1000)):
        found = list(Stream(api, "?seconds=0&after=" + place).events())
        assert [event for _, event, _ in found] == ["resync"] and found[0][0].startswith(epoch + ".")
    for place in ("7", "x.y", "7.", "-1.2"):
        assert Stream(api, "?after=" + place).status == 400
        assert Stream(api, last=place).status == 400
        assert Stream(api, "?after=" + place, last="%s.%s" % (epoch, seq)).status == 400, "also where the header wins"


def test_alarms_are_told(world, api):
    stream = Stream(api, "?kind=Alarm")
    api.agent.stop()
    stream.until(lambda data: data["kind"] == "Alarm")
    stream.close()


def test_many_slow_readers_hold_nobody_up(api):
    streams = [Stream(api) for _ in range(40)]
    began = time.monotonic()
    for i in range(20):
        add(api, i)
    quick = Stream(api, "?after=" + api.v1("/exposures")["event"].partition(".")[0] + ".0")
    quick.until(is_exposure("svc19.expose#0", "added"))
    assert time.monotonic() - began < 10 * SLOW
    for stream in streams:
        stream.close()
    quick.close()
    api.wait_live()


def test_nobody_watches_without_rights(api):
    response = api.get("/api/v1/events", tcp=True)
    assert response.status == 401
    assert api.get("/api/v1/events?seconds=0", **bearer(TOKEN)).status == 200
