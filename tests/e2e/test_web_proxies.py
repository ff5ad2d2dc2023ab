"""The dashboard's page of proxies: what each Envoy has, and what it refused, in its words, with the way to its cause."""

import json
import re

import pytest

from api_client import exposure
from declare import BAD_FILTER, l4
from desk import NARROW, WIDE, violations
from harness import wait_until

BROKEN = "team/svc/broken.expose#0"
WORDS = "malformed IP address: nowhere"


def cell(page, count, kind, state):
    """The link of the table by type and state that shows those."""
    return page.get_by_role("link", name="%d %s %s" % (count, kind, state), exact=True)


def row(page, *texts):
    found = page.get_by_role("region", name=re.compile("^(Resources|Proxies)$")).get_by_role("row")
    for text in texts:
        found = found.filter(has_text=text)
    return found


@pytest.mark.parametrize("theme, size", [("light", WIDE), ("dark", NARROW)], ids=["light and wide", "dark and narrow"])
def test_a_refusal_stands_in_envoys_words_and_leads_to_the_exposure(shown, theme, size):
    page = shown.page(address="#/proxies", theme=theme, size=size)
    page.get_by_text(WORDS).wait_for()
    assert "NACKED" in row(page, "node-1").inner_text()
    assert not violations(page)
    row(page, "node-1").get_by_role("link", name="node-1").click()
    page.get_by_role("heading", name="node-1", level=1).wait_for()
    page.get_by_text(WORDS).first.wait_for()
    shown = shown.api.v1("/proxies")["items"][0]
    for counts in shown["status"]["resources"]:
        for state in ("ACKED", "NACKED"):
            if counts[state]:
                cell(page, counts[state], counts["type"], state).wait_for()
    assert shown["envoy_version"] in page.get_by_role("main").inner_text()
    assert not violations(page)
    cell(page, 1, "CLUSTER", "NACKED").click()
    wait_until(lambda: row(page, "CLUSTER").count() == 1 and row(page, "NACKED").count() == 1)
    page.get_by_role("link", name="The exposure", exact=True).click()
    page.get_by_role("heading", name=BROKEN, level=1).wait_for()


def test_what_is_mended_is_acked_without_being_asked_for(desk):
    desk.furnish().start(envoy=True).settled()
    proxy = desk.api.v1("/proxies")["items"][0]
    page = desk.page(address="#/proxies/%s?type=CLUSTER&q=broken" % proxy["id"])
    row(page, BROKEN, "NACKED").wait_for()
    before = row(page, BROKEN).inner_text()
    assert desk.api.patch(exposure(BROKEN), {"cluster_data": None}).status == 200
    row(page, BROKEN, "ACKED").filter(has_not_text="NACKED").wait_for()
    page.get_by_text(WORDS).first.wait_for(state="detached")
    version = re.compile(r"\b[0-9a-f]{16}\b")
    assert version.search(row(page, BROKEN).inner_text()).group() != version.search(before).group()


def test_a_refused_listener_names_the_exposures_that_it_carries(desk):
    desk.agent.add_service("team/svc/filter", l4(desk.world.ip(100), desk.at(8081),
                                                 filter_config_data=json.dumps(BAD_FILTER)))
    desk.start(envoy=True)
    page = desk.page(address="#/proxies")
    refused = page.get_by_role("listitem").filter(has_text="LISTENER %s/tcp" % desk.at(8081))
    refused.get_by_text("It carries").wait_for()
    refused.get_by_role("link", name="team/svc/filter.expose#0").first.click()
    page.get_by_role("heading", name="team/svc/filter.expose#0", level=1).wait_for()


def test_who_comes_and_goes_is_seen_as_it_happens(desk):
    desk.furnish().start(args=["--keep-gone", "0"])
    desk.expect(r"status of 404 .*/proxies/")
    page = desk.page(address="#/proxies")
    page.get_by_text("No Envoy is connected").wait_for()
    assert not violations(page)
    envoy = desk.world.envoy(desk.api.igwd)
    link = page.get_by_role("link", name="node-1").first
    link.wait_for()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.type") == "search"
    page.keyboard.type("node")
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile("q=node"))

    def is_current():
        page.keyboard.press("j")  # the rows may be others by now
        return page.evaluate("document.activeElement.textContent") == "node-1"
    wait_until(is_current)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="node-1", level=1).wait_for()
    row(page, "LISTENER", "ACKED").first.wait_for()
    envoy.kill()
    page.get_by_text("Nobody has this id any more").wait_for()
    page.get_by_role("link", name="What is known of this node").click()
    page.get_by_text("No Envoy is like that").wait_for()


@pytest.fixture(params=["light", "dark"])
def theme(request):
    return request.param


def test_one_of_two_that_is_gone_stands_first_and_leads_to_what_to_do(desk, theme):
    desk.start(envoy=True, args=["--gone-after", "1"])
    other = desk.world.envoy(desk.api.igwd).wait_live()
    page = desk.page(theme=theme, size=WIDE if theme == "light" else NARROW)
    page.get_by_role("link", name="2 Envoys connected").wait_for()
    other.kill()
    gone = page.get_by_role("listitem").filter(has_text="Envoy node-2 of the gateway envoy is gone")
    gone.get_by_text("did not come back: its connection ended").wait_for()
    page.get_by_role("link", name="failed 1 Envoy connected, 1 gone").wait_for()
    assert page.get_by_text("node-2").count() == 1, "its alarm is no row of its own"
    assert not violations(page)
    # As it is seen among others.
    desk.go(page, "#/gateways/envoy")
    page.get_by_role("listitem").filter(has_text="node-2").get_by_text("it left, and did not come back").wait_for()
    desk.go(page, "#/proxies")
    wait_until(lambda: "gone" in row(page, "node-2").inner_text() and "ACKED" in row(page, "node-1").inner_text())
    page.get_by_label("Presence").select_option("gone")
    row(page, "node-1").wait_for(state="detached")
    assert not violations(page)
    desk.go(page, "#/overview")
    gone.get_by_role("link", name="What to do").click()
    page.get_by_role("heading", name="It left and did not come back").wait_for()
    page.get_by_text("Does it run, where it came from").wait_for()
    assert not violations(page)
    # It is back: its page says so, and the row is gone.
    desk.expect(r"status of 404 .*/proxies/")
    other.start().wait_live()
    page.get_by_text("Nobody has this id any more").wait_for()
    page.get_by_role("link", name="What is known of this node").click()
    row(page, "node-2").get_by_text("ACKED").wait_for()
    # It is taken away on purpose, and forgotten.
    other.kill()
    row(page, "node-2").get_by_text("gone").wait_for()
    row(page, "node-2").get_by_role("link", name="node-2").click()
    page.get_by_role("button", name="Forget").click()
    page.get_by_role("dialog").get_by_text("is not missed any more").wait_for()
    assert not violations(page)
    page.get_by_role("dialog").get_by_role("button", name="Forget").click()
    page.get_by_text("node-2 is forgotten").wait_for()
    row(page, "node-2").wait_for(state="detached")
    row(page, "node-1").wait_for()
    desk.go(page, "#/overview")
    page.get_by_role("link", name="1 Envoy connected", exact=True).wait_for()
    assert gone.count() == 0


def test_who_may_not_edit_its_gateway_is_told_why_it_can_not_be_forgotten(desk):
    desk.start(args=["--gone-after", "0"])
    desk.world.envoy(desk.api.igwd).wait_live().kill()
    page = desk.page(role="viewer", address="#/proxies")
    row(page, "node-1").get_by_text("gone").wait_for()
    row(page, "node-1").get_by_role("link", name="node-1").click()
    forget = page.get_by_role("button", name="Forget")
    forget.wait_for()
    assert forget.is_disabled() and "viewer" in forget.get_attribute("title")
