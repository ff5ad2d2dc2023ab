"""The dashboard's pages beside exposures: explain, changes, certificates, events, access."""

import datetime
import re

import pytest

from api_client import bearer, certificate, exposure
from harness import wait_until

@pytest.fixture
def office(desk):
    """Everything there is, with an Envoy that has it."""
    desk.furnish().start(envoy=True)
    return desk.edit().settled()


def explain_address(office, port, **more):
    query = "&".join("%s=%s" % (name, value) for name, value in {"address": office.world.ip(1), "port": port, **more}.items())
    return "#/explain?" + query


# ---- explain -----------------------------------------------------------------------------------


def test_a_url_that_is_typed_shows_its_way_and_the_rivals(shown):
    page = shown.page(address="#/explain")
    page.get_by_label("URL").fill("http://www.example.org:8080/api/list")
    page.get_by_role("button", name="Explain").click()
    way = page.locator(".way")
    way.get_by_text("Cluster").wait_for()
    assert way.get_by_role("link", name="shop/svc/www.expose#0", exact=True).get_attribute("href").startswith("#/exposures/")
    assert "match_prefix \"/api\"" in way.inner_text() and "/v1/list" in way.inner_text()
    assert "team/svc/rival.expose#0" in way.inner_text(), "why it lost"
    places = [step.bounding_box() for step in way.locator("> li").all()]
    assert len({place["x"] for place in places}) == 1 and len(places) == 5, "the steps stand below each other"
    assert places == sorted(places, key=lambda place: place["y"])
    assert re.search(r"port=8080", page.url) and "host=www.example.org" in page.url, "it can be linked to"


def test_an_explanation_follows_what_becomes_of_the_request(office):
    page = office.page(address=explain_address(office, 9090))
    page.locator(".verdict .state-ok").wait_for()
    assert office.api.patch(exposure("legacy.expose#0"), {"enabled": False}).status == 200
    page.locator(".verdict .state-failed").wait_for()


def test_a_question_that_is_none_says_so_at_its_place(shown):
    shown.expect("status of 422")
    page = shown.page(address="#/explain?port=1&address=nonsense")
    page.get_by_role("alert").get_by_text("#/address").wait_for()


# ---- changes -----------------------------------------------------------------------------------


def test_a_change_shows_what_differs_and_is_taken_back_after_its_effect_was_shown(office):
    page = office.page(address="#/changes")
    page.get_by_role("link", name="3", exact=True).click()
    page.get_by_role("heading", name="Revision 3").wait_for()
    page.get_by_text("legacy.expose#0").first.wait_for()
    office.go(page, "#/changes/1")
    page.get_by_role("button", name="Restore").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("The listener is closed").wait_for()
    assert office.api.v1(exposure("legacy.expose#0")), "nothing happened yet"
    dialog.get_by_role("button", name="Restore").click()
    page.get_by_role("heading", name="Revision 4").wait_for()
    assert office.api.get("/api/v1" + exposure("legacy.expose#0")).status == 404
    page.get_by_text("Acked by").wait_for()


def test_changes_by_people_are_told_from_the_agents(shown):
    page = shown.page(address="#/changes?by=people")
    page.get_by_role("link", name="3", exact=True).wait_for()
    assert page.get_by_role("link", name="1", exact=True).count() == 0


def test_any_two_revisions_are_compared(shown):
    page = shown.page(address="#/changes/3")
    page.get_by_label("Compared with revision").fill("1")
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("infra/svc/mail.expose#0").first.wait_for()
    assert "against=1" in page.url


# ---- certificates ------------------------------------------------------------------------------


def test_certificates_that_are_missing_come_first_then_those_that_end_soon_with_who_uses_them(shown):
    page = shown.page(address="#/certificates")
    rows = page.locator("tbody tr[data-row]")
    rows.first.wait_for()
    names = [name for row in rows.all() for name in ("team/sec/none", "shop/sec/old", "shop/sec/front") if name in row.inner_text()]
    assert names == ["team/sec/none", "shop/sec/old", "shop/sec/front"]
    assert [item["name"] for page in shown.api.pages("/certificates?sort=not_after", 1) for item in page] == names
    page.get_by_role("link", name="shop/sec/old").click()
    page.get_by_role("link", name="shop/svc/old.expose#0").wait_for()
    page.get_by_text("renew it there").wait_for()


def test_a_certificate_is_uploaded_served_replaced_and_deleted_and_its_key_is_nowhere(office, ca):
    office.expect("status of (404|422) .*shop%2Fsec%2Fown")
    page = office.page(address="#/certificates")
    page.get_by_role("button", name="Upload a certificate").click()
    one, other = ca.issue("own.example.org"), ca.issue("own.example.org", "more.example.org")
    page.get_by_label("Name", exact=True).fill("shop/sec/own")
    page.get_by_label("Certificate chain (PEM)").fill(one.chain)
    page.get_by_text("igwd would not take this.").wait_for()
    page.get_by_label("Private key (PEM)").fill(one.key)
    page.get_by_text("igwd would take this.").wait_for()
    assert one.key.splitlines()[1] not in page.content(), "the key is in no markup"
    page.get_by_role("dialog").get_by_role("button", name="Upload").click()
    page.get_by_role("heading", name="shop/sec/own", level=1).wait_for()
    page.get_by_role("button", name="Replace").click()
    page.get_by_label("Certificate chain (PEM)").fill(other.chain)
    page.get_by_label("Private key (PEM)").fill(other.key)
    page.get_by_text("igwd would take this.").wait_for()
    page.get_by_role("button", name="Replace").last.click()
    page.get_by_text("is made and kept").wait_for()
    assert office.api.v1(certificate("shop/sec/own"))["status"]["leaf"]["names"] == ["own.example.org", "more.example.org"]
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_role("heading", name="Certificates", level=1).wait_for()
    assert office.api.get("/api/v1" + certificate("shop/sec/own")).status == 404


# ---- events ------------------------------------------------------------------------------------


def test_events_are_replayed_come_live_once_and_wait_while_paused(office):
    page = office.page(address="#/events?kind=Exposure")
    rows = page.locator("tbody tr[data-row]")
    rows.filter(has_text="legacy.expose#0").first.wait_for()
    before = rows.count()
    office.api.patch(exposure("legacy.expose#0"), {"lb_policy": "random"})
    wait_until(lambda: rows.count() > before, what="a live event")
    # What passes is told at the place of another: each has a time of its own.
    told = rows.evaluate_all("""rows => rows.map((row) => [row.querySelector("time").dateTime,
        ...[...row.cells].slice(1, -1).map((cell) => cell.innerText)].join(" "))""")
    assert len(told) == len(set(told)), "each once"
    page.get_by_role("button", name="Pause").click()
    paused = rows.count()
    office.api.patch(exposure("legacy.expose#0"), {"lb_policy": "round robin"})
    page.get_by_role("button", name=re.compile("waiting")).wait_for()
    assert rows.count() == paused
    page.get_by_role("button", name=re.compile("Go on")).click()
    wait_until(lambda: rows.count() > paused, what="what was waiting")


# ---- access ------------------------------------------------------------------------------------


def test_a_token_is_made_shown_once_used_and_deleted(office):
    page = office.page(address="#/access")
    page.get_by_role("button", name="Make a token").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("grafana")
    dialog.get_by_label("Role").select_option("operator")
    dialog.get_by_label("envoy", exact=True).check()
    dialog.get_by_label("Expires").select_option("in 30 days")
    dialog.get_by_role("button", name="Make it").click()
    secret = page.get_by_label("The token's secret").inner_text()
    assert office.api.v1("/auth/whoami", **bearer(secret))["gateways"] == ["envoy"]
    made = office.api.v1("/tokens")["items"][0]
    begins, ends = (datetime.datetime.fromisoformat(made[name]) for name in ("created_at", "expires_at"))
    assert round((ends - begins).total_seconds() / 3600) == 30 * 24
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Delete the token of grafana").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("No token was made here").wait_for()
    assert office.api.get("/api/v1/auth/whoami", **bearer(secret)).status == 401
    assert secret not in page.content()
    ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
    assert office.api.post("/tokens", {"name": "night", "role": "viewer", "expires_at": ends.isoformat()}).status == 201
    page.get_by_role("row").filter(has_text="night").get_by_text("expired").wait_for()


def test_a_grant_is_given_and_taken_back(office):
    page = office.page(address="#/access")
    page.get_by_role("button", name="Grant", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Namespace that may").fill("team")
    dialog.get_by_label("Domain", exact=True).fill("www.example.org")
    dialog.get_by_role("button", name="Grant").click()
    page.get_by_text("www.example.org").wait_for()
    page.get_by_role("button", name="Take team|domain|www.example.org back").click()
    page.get_by_role("dialog").get_by_role("button", name="Take back").click()
    page.get_by_text("No namespace may use").wait_for()


def test_who_may_only_look_sees_why(shown):
    page = shown.page(role="viewer", address="#/access")
    page.get_by_text("This needs the role admin").first.wait_for()
    shown.go(page, "#/changes/3")
    restore = page.get_by_role("button", name="Restore")
    restore.wait_for()
    assert restore.is_disabled() and "admin" in restore.get_attribute("title")


def test_sessions_are_listed_and_ended(office):
    other, page = office.page(role="viewer"), office.page(address="#/access")
    page.get_by_text("this one").wait_for()
    office.expect("status of 401")
    page.get_by_role("button", name=re.compile("End the session of guest")).click()
    page.get_by_text("is over").wait_for()
    other.reload()
    other.get_by_role("button", name="Sign in").wait_for()
