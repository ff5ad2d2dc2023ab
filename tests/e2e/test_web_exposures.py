"""Exposures in the dashboard: from the form to a real Envoy, with everything that can be in the way."""

import itertools
import json
import re
import subprocess

from api_client import exposure
from declare import BAD_CLUSTER
from desk import TOKENS, violations
from harness import ENVOY_BINARY, LIMIT, wait_answer, wait_until

MAIL, WWW = "infra/svc/mail.expose#0", "shop/svc/www.expose#0"


def address(name, **query):
    quoted = name.replace("/", "%2F").replace("#", "%23")
    return "#/exposures/%s%s" % (quoted, "?edit=1" if query.get("edit") else "")


def form(desk, name, **options):
    """A page with an exposure's form."""
    page = desk.page(address=address(name, edit=True), **options)
    page.get_by_text("Nothing is changed yet").wait_for()
    return page


def the_json(page):
    return page.get_by_label("The same as JSON")


def test_an_edit_goes_from_the_form_to_an_ack_of_a_real_envoy(desk):
    desk.furnish().start(envoy=True)
    wait_answer(desk.at(2525), backend="b10")
    page = form(desk, MAIL)
    page.get_by_label("Listener's port").fill("2626")
    page.get_by_text("igwd would take this").wait_for()
    would = page.locator(".would")
    assert re.search(r"listener_port\s*was 2525\s*is 2626", " ".join(would.inner_text().split()))
    assert "2525/tcp" in would.inner_text() and "The listener is closed" in would.inner_text()
    assert desk.api.v1(exposure(MAIL))["listener_port"] == 2525, "trying out changes nothing"
    assert not violations(page)
    page.get_by_role("button", name="Apply").click()
    page.get_by_text(re.compile("Acked by 1 of 1 Envoy")).first.wait_for()
    wait_answer(desk.at(2626), backend="b10")
    item = desk.api.v1(exposure(MAIL))
    assert item["overridden"] == ["listener_port"] and item["listener_port"] == 2626
    # What was set over the agent's word is told apart from it, and taken back.
    page.get_by_text("Set here. The agent says: 2525").wait_for()
    page.get_by_role("button", name="Close").first.click()
    card = page.locator(".card").filter(has_text="Set here, over the agent's word")
    assert "boss" in card.inner_text()
    card.get_by_role("button", name="Revert").click()
    page.get_by_role("dialog").get_by_role("button", name="Revert").click()
    card.get_by_text("Nothing: this is what").wait_for()
    wait_answer(desk.at(2525), backend="b10")


def test_what_envoy_refuses_is_told_in_its_words_where_it_was_edited(desk):
    desk.furnish().start(envoy=True)
    wait_answer(desk.at(2525), backend="b10")
    page = form(desk, MAIL)
    page.get_by_text("For experts").click()
    page.get_by_label("Envoy's cluster (JSON)").fill(json.dumps(BAD_CLUSTER))
    page.get_by_text("igwd would take this").wait_for()
    page.get_by_role("button", name="Apply").click()
    page.locator(".applied").get_by_text("malformed IP address").wait_for()
    page.get_by_text("refused by 1").wait_for()
    desk.go(page, "#/overview")
    attention = page.locator(".card").filter(has_text="Needs attention")
    attention.get_by_role("listitem").filter(has_text=MAIL + " refused by an Envoy").wait_for()
    wait_answer(desk.at(2525), backend="b10")  # the last good form goes on


def test_an_envoy_is_asked_before_anything_is_applied(desk):
    desk.furnish()
    desk.agent.remove_service("team/svc/broken")
    desk.start(args=["--envoy-binary", str(ENVOY_BINARY)])
    page = form(desk, MAIL)
    page.get_by_text("For experts").click()
    cluster = page.get_by_label("Envoy's cluster (JSON)")
    tries = itertools.count(1)

    def told(text, **cluster_data):
        """A machine that is too busy to answer in time is asked again."""
        cluster.fill(json.dumps({**cluster_data, "connect_timeout": "%ds" % next(tries)}))
        page.get_by_text("Trying it out").wait_for()
        page.get_by_text("Trying it out").wait_for(state="detached")
        return page.get_by_text(text).count() == 1
    wait_until(lambda: told("was asked, and would take it"))
    wait_until(lambda: told("was asked, and would refuse it", **BAD_CLUSTER))
    assert "malformed IP address" in page.get_by_role("alert").inner_text()
    assert not violations(page)
    assert desk.api.v1(exposure(MAIL))["overridden"] == []


def test_faults_stand_at_their_fields_all_at_once(shown):
    shown.expect("status of 422")
    page = form(shown, WWW)
    page.get_by_label("Endpoints' port").fill("0")
    page.get_by_label("Listener's address").fill("nowhere")
    page.get_by_label("Timeout in seconds").first.fill("soon")
    page.get_by_role("alert").get_by_role("link", name="route_timeout").wait_for()
    for label in ("Endpoints' port", "Listener's address", "Timeout in seconds"):
        field = page.get_by_label(label, exact=True).first
        assert field.get_attribute("aria-invalid") == "true", label
        described = field.get_attribute("aria-describedby").split()[0]
        assert page.locator("#" + described).inner_text()
    assert page.get_by_role("button", name="Apply").is_disabled()
    page.get_by_role("alert").get_by_role("link", name="#/port").click()
    assert page.get_by_label("Endpoints' port").evaluate("(e) => e === document.activeElement")
    assert not violations(page)
    page.get_by_role("button", name="Undo all").click()
    page.get_by_text("Nothing is changed yet").wait_for()
    assert page.get_by_label("Endpoints' port").input_value() == "8000"


def test_form_and_json_say_the_same(shown):
    page = form(shown, WWW)
    page.get_by_label("Domains").fill("one.example.org two.example.org")
    wait_until(lambda: json.loads(the_json(page).input_value())["vhosts"][0]["domains"] == [
        "one.example.org", "two.example.org"])
    value = json.loads(the_json(page).input_value())
    value["vhosts"][0]["routes"].insert(0, {"match_path": "/exact"})
    the_json(page).fill(json.dumps(value))
    wait_until(lambda: page.get_by_label("Path", exact=True).first.input_value() == "/exact")
    page.get_by_text("igwd would take this").wait_for()
    page.get_by_role("button", name="Remove route 1").click()
    wait_until(lambda: "match_path" not in the_json(page).input_value())
    the_json(page).fill('{"port": ')
    page.get_by_text("This is no JSON yet").wait_for()
    assert page.get_by_label("Listener's port").is_disabled()
    assert not violations(page)


def test_two_who_edit_at_once_see_three_versions_and_lose_nothing(desk):
    desk.furnish().start()
    page = form(desk, WWW)
    page.get_by_label("Endpoints' port").fill("8001")
    page.get_by_label("Balancing").select_option("random")
    page.get_by_text("igwd would take this").wait_for()
    assert desk.api.patch(exposure(WWW), {"lb_policy": "maglev", "listener_port": 8090}).status == 200
    conflict = page.locator(".conflict")
    conflict.wait_for()
    line = " ".join(conflict.get_by_role("row").filter(has_text="lb_policy").inner_text().split())
    assert line == "lb_policy round robin maglev random"
    go_on = conflict.get_by_role("button", name="Go on with these")
    assert go_on.is_disabled(), "both changed the same: somebody has to choose"
    assert not violations(page)
    conflict.get_by_label("lb_policy: yours").check()
    go_on.click()
    page.get_by_text("igwd would take this").wait_for()
    page.get_by_role("button", name="Apply").click()
    page.locator(".applied").wait_for()
    item = desk.api.v1(exposure(WWW))
    assert [item["port"], item["lb_policy"], item["listener_port"]] == [8001, "random", 8090]


def test_an_endpoint_that_moves_is_nobodys_edit(desk):
    desk.furnish().start()
    page = form(desk, "infra/svc/db.expose#0")
    page.get_by_label("Balancing").select_option("random")
    page.get_by_text("igwd would take this").wait_for()
    desk.agent.move("infra/svc/db", "n1", "n2")
    page.get_by_role("row").filter(has_text="n2").get_by_text("up", exact=True).wait_for()
    assert page.locator(".conflict").count() == 0
    page.get_by_role("button", name="Apply").click()
    page.locator(".applied").wait_for()


def test_an_exposure_is_made_drained_and_deleted(desk):
    desk.furnish().start(envoy=True)
    desk.expect("status of 422|status of 404")
    page = desk.page(address="#/exposures")
    page.get_by_role("button", name="Make an exposure").click()
    page.get_by_label("Name", exact=True).fill("legacy")
    page.get_by_text("It becomes legacy.expose#0").wait_for()
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Listener's address").fill(desk.world.ip(1))
    page.get_by_label("Listener's port").fill("9191")
    page.get_by_role("button", name="Add endpoint").click()
    page.get_by_label("Address", exact=True).fill(desk.three.address)
    page.get_by_label("Port", exact=True).fill(str(desk.three.port))
    page.get_by_text("igwd would take this").wait_for()
    assert not violations(page)
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("heading", name="legacy.expose#0", exact=True).wait_for()
    wait_answer(desk.at(9191), backend="b12")
    page.get_by_role("button", name="Drain").click()
    page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    page.get_by_text("draining", exact=True).wait_for()
    page.get_by_role("button", name="End draining").click()
    page.get_by_text("fixed", exact=True).wait_for()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_role("heading", name="Exposures", exact=True).wait_for()
    assert desk.api.get("/api/v1" + exposure("legacy.expose#0")).status == 404


def test_curl_does_what_was_copied(desk):
    desk.furnish().start()
    page = form(desk, MAIL)
    page.get_by_label("Listener's port").fill("2727")
    page.get_by_text("igwd would take this").wait_for()
    page.locator(".outcome").get_by_role("button", name="Copy as curl").click()
    page.get_by_text("curl command copied").wait_for()
    command = page.evaluate("navigator.clipboard.readText()")
    assert "igwd_" not in command
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=LIMIT, check=True,
                          env={"IGWD_TOKEN": TOKENS["admin"], "PATH": "/usr/bin:/bin"})
    assert json.loads(done.stdout)["kind"] == "Revision", done.stdout
    assert desk.api.v1(exposure(MAIL))["listener_port"] == 2727


def test_filters_are_the_servers_and_stand_in_the_address(shown):
    page = shown.page(address="#/exposures")
    page.get_by_label("Endpoints", exact=True).select_option("failed")
    page.get_by_role("row").filter(has_text="team/svc/down").wait_for()
    page.get_by_role("row").filter(has_text=MAIL).wait_for(state="detached")
    assert page.url.endswith("#/exposures?endpoints=failed")
    page.get_by_label("Endpoints", exact=True).select_option("")
    page.get_by_role("button", name="Port").click()
    first = page.locator("tr[data-row='0']")
    first.filter(has_text=MAIL).wait_for()
    page.get_by_role("button", name="Port").click()
    first.filter(has_text="9090").wait_for()
    assert "sort=-listener_port" in page.url
    page.get_by_label("Search exposures").fill("no such thing")
    page.get_by_text("No exposure is like that").wait_for()


def test_trouble_comes_first_when_that_is_wanted_and_routes_are_shown_where_there_are_some(shown):
    page = shown.page(address="#/exposures")
    rows = page.get_by_role("row")
    rows.nth(1).filter(has_text="infra/svc/db").wait_for()
    page.get_by_role("button", name="Trouble first").click()
    rows.nth(1).filter(has_text="team/svc/broken").wait_for()
    assert page.get_by_role("button", name="Trouble first").get_attribute("aria-pressed") == "true"
    assert not violations(page)
    rows.filter(has_text="shop/svc/www").get_by_role("link").click()
    page.get_by_role("heading", name="Virtual hosts and routes").wait_for()
    page.get_by_text("becomes /v1").wait_for()


def test_what_a_neighbour_on_its_listener_makes_way_for_is_seen_at_an_exposure(desk):
    desk.furnish().start()
    page = desk.page(address=address("team/svc/rival.expose#0"))
    page.get_by_text("is held by shop/svc/www.expose#0").first.wait_for()
    desk.agent.set_keywords("shop/svc/www", {"vhost#0.domains": "example.org"})
    page.get_by_text("no proxy").first.wait_for()
    assert page.get_by_text("is held by").count() == 0
