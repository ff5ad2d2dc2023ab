"""The dashboard's pages of gateways: what they open, their settings, and an Envoy that is connected from there."""

import json

import pytest

from api_client import exposure
from desk import NARROW, WIDE, violations
from harness import wait_until

PICK = {"port": 80, "listener_port": 0, "endpoints": [{"address": "127.0.0.9", "port": 80}]}


def card(page, title):
    return page.locator("section.card").filter(has=page.get_by_role("heading", name=title, exact=True))


def settings(desk, name="envoy"):
    return {key: value for key, value in desk.api.v1("/gateways/" + name).items()
            if key in ("port_min", "port_max", "allow_files", "allow_cluster_header", "cluster_data")}


@pytest.mark.parametrize("theme, size", [("light", WIDE), ("dark", NARROW)], ids=["light and wide", "dark and narrow"])
def test_a_gateway_shows_what_it_opens_for_whom_and_which_ports_were_allocated(desk, theme, size):
    desk.furnish().start(envoy=True)
    assert desk.api.put(exposure("any.expose#0"), {**PICK, "listener_addr": desk.world.ip(1)}).status == 201
    page = desk.page(address="#/gateways", theme=theme, size=size)
    line = page.get_by_role("row").filter(has_text="envoy")
    line.get_by_text("1 connected").wait_for()
    assert not violations(page)
    line.get_by_role("link", name="envoy", exact=True).click()
    page.get_by_role("heading", name="envoy", level=1).wait_for()
    port = desk.api.v1(exposure("any.expose#0"))["status"]["listener_port"]
    assert card(page, "Allocated ports").get_by_role("listitem").inner_text().split() == [str(port), "any.expose#0"]
    opens = card(page, "What it opens")
    assert "1/2 accepted" in opens.get_by_role("row").filter(has_text=desk.at(8080)).inner_text()
    assert "2/3 accepted" in opens.get_by_role("row").filter(has_text=desk.at(8443)).inner_text()
    card(page, "Its Envoys").get_by_role("link", name="node-1").wait_for()
    assert not violations(page)
    opens.get_by_role("row").filter(has_text=desk.at(8080)).get_by_role("link", name="2 exposures").click()
    page.get_by_role("link", name="team/svc/rival.expose#0").wait_for()


def test_settings_are_tried_out_while_written_applied_and_set_back(desk):
    desk.furnish().start(envoy=True)
    desk.expect("status of 422")
    before = settings(desk)
    page = desk.page(address="#/gateways/envoy")
    card(page, "Settings").get_by_role("button", name="Edit").click()
    last = page.get_by_label("Last port to allocate")
    last.fill("1000")
    page.get_by_text("is below port_min (1025)").first.wait_for()
    assert last.get_attribute("aria-invalid") == "true"
    assert page.get_by_role("button", name="Apply").is_disabled() and settings(desk) == before
    assert not violations(page)
    last.fill("4000")
    page.get_by_label("Services may name files").check()
    page.get_by_text("For experts: what exposures start from").click()
    cluster = page.get_by_label("Clusters (JSON of a Cluster)")
    cluster.fill('{"connect_timeout": "soon"}')
    page.get_by_text("connect_timeout: must be").first.wait_for()
    assert cluster.get_attribute("aria-invalid") == "true" and not violations(page)
    cluster.fill("")  # what is emptied stays to be written
    cluster.fill('{"connect_timeout": "2s"}')
    page.get_by_text("igwd would take this.").wait_for()
    assert settings(desk) == before
    page.get_by_role("button", name="Apply").click()
    page.get_by_text("is made and kept").wait_for()
    assert settings(desk) == {**before, "port_max": 4000, "allow_files": True, "cluster_data": {"connect_timeout": "2s"}}
    page.get_by_role("button", name="Close").click()
    card(page, "Settings").get_by_text("1025 – 4000").wait_for()
    card(page, "Settings").get_by_text("cluster_data").wait_for()
    page.get_by_role("button", name="Reset").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("is removed").or_(dialog.get_by_text("becomes another")).wait_for()
    assert not violations(page)
    dialog.get_by_role("button", name="Reset").click()
    card(page, "Settings").get_by_text("1025 – 65535").wait_for()
    assert settings(desk) == before


def test_somebody_elses_edit_is_not_written_over(desk):
    desk.expect("status of 412 .*/gateways/envoy")  # where the dry run is quicker than the news
    desk.furnish().start()
    page = desk.page(address="#/gateways/envoy?edit=1")
    page.get_by_label("Last port to allocate").fill("4000")
    assert desk.api.patch("/gateways/envoy", {"port_max": 5000, "allow_files": True}).status == 200
    page.get_by_text("Somebody else changed this meanwhile").wait_for()
    assert not violations(page)
    page.get_by_label("port_max: yours").check()
    page.get_by_role("button", name="Go on with these").click()
    page.get_by_role("button", name="Apply").click()
    page.get_by_text("is made and kept").wait_for()
    assert settings(desk)["port_max"] == 4000 and settings(desk)["allow_files"] is True


def test_a_gateway_is_made_and_an_envoy_comes_with_the_bootstrap_that_was_copied(desk):
    desk.furnish().start(xds=[desk.world.ip(2) + ":50051=envoy,edge"])
    page = desk.page(address="#/gateways")
    page.get_by_role("button", name="Make a gateway").click()
    page.get_by_label("Name", exact=True).fill("edge")
    page.keyboard.press("Enter")
    page.get_by_label("First port to allocate").fill("2000")
    page.get_by_text("igwd would take this.").wait_for()
    assert not violations(page)
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("heading", name="edge", level=1).wait_for()
    assert settings(desk, "edge")["port_min"] == 2000
    page.get_by_text("It opens nothing yet").wait_for()
    page.get_by_label("Node id").fill("copied")
    page.get_by_label("Admin address").fill(desk.world.ip(3) + ":9999")
    page.keyboard.press("Tab")
    bootstrap = page.get_by_role("region", name="Bootstrap")
    bootstrap.filter(has_text='"copied"').filter(has_text="9999").wait_for()
    page.get_by_role("button", name="Copy the bootstrap").click()
    page.get_by_text("Bootstrap copied").wait_for()
    bootstrap = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert bootstrap["admin"]["address"]["socket_address"]["port_value"] == 9999
    desk.world.envoy(bootstrap=bootstrap, admin=desk.world.ip(3) + ":9999")
    card(page, "Its Envoys").get_by_role("link", name="copied").wait_for()


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_is_no_administrator_sees_all_and_changes_nothing(shown, role):
    shown.expect("status of 404 .*/gateways/none")
    page = shown.page(role=role, address="#/gateways/envoy")
    page.get_by_text("Read-only. This needs the role admin; you are %s." % role).wait_for()
    for name in ("Edit", "Reset"):
        button = page.get_by_role("button", name=name, exact=True)
        assert button.is_disabled() and "admin" in button.get_attribute("title")
    page.get_by_role("region", name="Bootstrap").wait_for()
    assert not violations(page)
    shown.go(page, "#/gateways")
    wait_until(lambda: page.get_by_role("button", name="Make a gateway").is_disabled())
    shown.go(page, "#/gateways/none")
    page.get_by_text("There is no such gateway").wait_for()
