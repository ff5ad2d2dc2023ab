"""The dashboard's topology: what a gateway opens and where it leads, as a drawing and as a table that says the same."""

import re

import pytest

from declare import l4, l7
from desk import NARROW, WIDE, violations
from harness import wait_until

CROWD = 1500
TROUBLED = 230
SHARERS = 30


def box(page, name):
    return page.locator(".drawing").get_by_role("button", name=re.compile(name.replace("/", r"\/")))


def line(page, port):
    return page.locator(".line").filter(has_text=re.compile(r":%d/" % port))


def lit(page):
    return sorted(page.locator(".box.lit .text:not(.muted)").all_inner_texts())


def unfold(page, port):
    button = line(page, port).get_by_role("button")
    button.wait_for()
    if button.get_attribute("aria-expanded") == "false":
        button.click()


@pytest.mark.parametrize("theme, size", [("light", WIDE), ("dark", NARROW)], ids=["light and wide", "dark and narrow"])
def test_trouble_comes_first_and_a_way_lights_up(shown, theme, size):
    page = shown.page(address="#/topology", theme=theme, size=size)
    unfold(page, 8080)
    box(page, "route .*/api").wait_for()
    box(page, "n1").first.wait_for()
    assert [page.locator(".fold .muted").nth(i).inner_text() for i in (0, 1)] == ["4", "4"]
    first = page.locator(".line").first.get_by_role("img").first.get_attribute("aria-label")
    assert first == "failed"
    assert not violations(page)
    box(page, "route .*/api").hover()
    way = [shown.at(8080) + "/tcp", "/api…", "example.org, www.example.org", "shop/svc/www.expose#0", shown.one.address + ":8000"]
    wait_until(lambda: lit(page) == sorted(way))
    box(page, "exposure failed team/svc/rival").click()
    page.mouse.move(1, 1)
    chosen = page.get_by_role("region", name="The chosen way")
    wait_until(lambda: lit(page) == sorted([shown.at(8080) + "/tcp", "www.example.org", "team/svc/rival.expose#0",
                                            shown.two.address + ":8000"]))
    assert "is held by shop/svc/www.expose#0" in chosen.inner_text()
    assert not violations(page)
    chosen.get_by_role("link", name="Open the exposure").click()
    page.get_by_role("heading", name="team/svc/rival.expose#0", level=1).wait_for()


def test_all_of_it_goes_by_the_keyboard(shown):
    page = shown.page(address="#/topology")
    line(page, 6379).wait_for()
    page.get_by_role("heading", name="Topology", level=1).focus()
    page.keyboard.press("j")
    wait_until(lambda: page.evaluate("document.activeElement.className") == "fold")
    before = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("j")
    wait_until(lambda: page.evaluate("document.activeElement.textContent") != before)
    page.keyboard.press("k")
    wait_until(lambda: page.evaluate("document.activeElement.textContent") == before)
    for state in ("false", "true"):
        page.keyboard.press("Enter")
        wait_until(lambda state=state: page.evaluate("document.activeElement.getAttribute('aria-expanded')") == state)
    unfold(page, 6379)
    box(page, "exposure .*shop/svc/cache").focus()
    reached = []
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
        reached.append(page.evaluate("document.activeElement.dataset.id"))
    name = "shop/svc/cache.expose#0"
    assert reached[:2] == ["%s %s:8000" % (name, one.address) for one in (shown.two, shown.three)]
    assert reached[2:] == [name, name + " l0", "listener"]
    page.keyboard.press("Enter")
    page.get_by_role("region", name="The chosen way").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("region", name="The chosen way").wait_for(state="detached")


def test_the_table_says_the_same_as_the_drawing(shown):
    page = shown.page(address="#/topology")
    page.get_by_role("button", name="Unfold all").click()
    for port in (7001, 8080, 8443):
        line(page, port).scroll_into_view_if_needed()
    page.get_by_role("button", name="Table").click()
    region = page.get_by_role("region", name=re.compile("Topology as a table"))
    rows = region.get_by_role("row")
    wait_until(lambda: rows.count() > 5)
    expected = {("/api… becomes /v1", "shop/svc/www.expose#0"), ("/…", "shop/svc/www.expose#0"),
                ("–", "infra/svc/mail.expose#0"), ("–", "team/svc/rival.expose#0")}

    def ways():
        return {(cells[2].strip(), cells[3].strip()) for cells in
                (row.get_by_role("cell").all_inner_texts() for row in rows.all()[1:])}
    wait_until(lambda: not expected - ways())
    nodes = ["%s %s" % (node, one.address) for node, one in (("n1", shown.one), ("n2", shown.two), ("n3", shown.three))]

    def by_node():
        text = " ".join(rows.filter(has_text="svc/cache").text_content().split())
        return all(one in text for one in nodes)
    wait_until(by_node)
    assert all("team/svc/" in row.inner_text() for row in rows.all()[1:5]), "those with trouble come first"
    assert not violations(page)
    rows.filter(has_text="team/svc/down").get_by_role("link").click()
    page.get_by_role("heading", name="team/svc/down.expose#0", level=1).wait_for()


def test_what_happens_is_drawn_while_it_is_looked_at(desk):
    desk.furnish().start()
    page = desk.page(address="#/topology")
    unfold(page, 5432)
    box(page, "endpoint ok n1").wait_for()
    box(page, "endpoint .*n2").click()
    desk.agent.move("infra/svc/db", "n1", "n2")
    box(page, "endpoint ok n2").wait_for()
    assert box(page, "endpoint ok n2").get_attribute("aria-pressed") == "true"
    desk.agent.add_service("new/svc/one", l7(desk.one.address, desk.at(9999), "new.example.org"))
    line(page, 9999).wait_for()
    line(page, 5432).get_by_role("button").click()
    page.get_by_role("region", name="The chosen way").wait_for(state="detached")
    unfold(page, 8080)
    desk.agent.set_keywords("shop/svc/www", {"route#0.route_timeout": "never"})
    box(page, "route warning /api").wait_for()  # its last good form is served
    assert page.locator(".box.route.off").count() == 0


def test_one_gateway_at_a_time_and_each_says_when_it_has_nothing(desk):
    desk.furnish().start()
    assert desk.api.put("/gateways/edge", {"port_min": 2000}).status == 201
    page = desk.page(role="viewer", address="#/topology")
    line(page, 8080).wait_for()
    page.get_by_label("Gateway", exact=True).select_option("edge")
    page.get_by_text("edge opens nothing yet").wait_for()
    assert not violations(page)
    desk.go(page, "#/topology?gateway=none")
    page.get_by_text("There is no such gateway").wait_for()
    desk.go(page, "#/topology?q=nobody")
    page.get_by_text("No listener is like that").wait_for()
    page.get_by_role("button", name="Show all listeners").click()
    line(page, 8080).wait_for()


def test_many_listeners_are_found_and_unfolded_without_being_read_or_drawn_all(desk):
    desk.furnish().crowd(CROWD).start()
    wait_until(lambda: desk.api.v1("/summary")["listeners"] >= CROWD)
    page = desk.page()
    page.get_by_role("banner").get_by_text("Live").wait_for()  # which has everything read once more
    asked = []
    page.on("request", lambda request: "/v1/topology" in request.url and asked.append(request.url))
    desk.go(page, "#/topology")
    page.get_by_text("100 listeners; more are read as you scroll").wait_for()
    assert len(asked) == 1
    page.get_by_role("button", name="Unfold all").click()
    page.locator(".topology").evaluate("box => { box.scrollTop = box.scrollHeight; }")
    page.get_by_text("200 listeners; more are read as you scroll").wait_for()
    box(page, "crowd/svc/s0").first.wait_for()
    assert page.locator("*").count() < 3000
    page.get_by_role("searchbox").fill("s1234")
    page.get_by_text(re.compile("^1 listener")).wait_for()
    line(page, 11234).wait_for()
    page.get_by_role("button", name="Table").click()
    page.get_by_role("row").filter(has_text="crowd/svc/s1234.expose#0").wait_for()
    assert page.get_by_role("row").count() == 2
    assert all("limit=100" in url for url in asked) and len(asked) < 8


def test_what_is_fine_is_found_behind_much_trouble_that_is_folded(desk):
    for i in range(TROUBLED):
        desk.agent.add_service("crowd/svc/s%04d" % i, l4(desk.world.ip(100), desk.at(10000 + i)), started=[])
    desk.agent.add_service("team/svc/good", l4(desk.world.backend(10).address, desk.at(7001)))
    desk.start(envoy=True).settled()
    page = desk.page(address="#/topology")
    page.get_by_text("100 listeners; more are read as you scroll").wait_for()
    page.get_by_role("button", name="Needs attention 100+").click()
    line(page, 7001).wait_for()
    page.get_by_role("button", name="Needs attention %d" % TROUBLED, exact=True).wait_for()


def test_a_listener_that_many_share_shows_the_worst_of_them_and_more_when_asked(desk):
    desk.furnish()
    for i in range(SHARERS):
        desk.agent.add_service("many/svc/s%02d" % i, l7(desk.one.address, desk.at(9000), "s%02d.example.org" % i),
                               started=i < SHARERS - 1)
    desk.start()
    wait_until(lambda: desk.api.v1("/summary")["exposures"]["total"] > SHARERS)
    page = desk.page(address="#/topology?listener=envoy%%7C%s%%2Ftcp" % desk.at(9000))
    first = box(page, "exposure .*many/svc/").first
    assert "s%02d" % (SHARERS - 1) in first.inner_text(), "the one that is down"
    assert box(page, "exposure .*many/svc/").count() == 20
    page.get_by_role("button", name="Show 10 of 10 more exposures").click()
    wait_until(lambda: box(page, "exposure .*many/svc/").count() == SHARERS)
    assert "s%02d" % (SHARERS - 1) in first.inner_text()
    page.get_by_role("searchbox").fill("s05.example.org")
    first.filter(has_text="s05").wait_for()
    page.get_by_role("button", name="Show 10 of 10 more exposures").click()
    wait_until(lambda: box(page, "exposure .*many/svc/").count() == SHARERS)
    assert "s05" in first.inner_text(), "what is searched for stays the first"
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="listener:").click()
    line(page, 8080).wait_for()


def test_what_another_holds_is_marked_where_it_stands(shown):
    page = shown.page(address="#/topology")
    unfold(page, 8080)
    lost = box(page, "virtual host failed www.example.org")
    lost.wait_for()
    assert "is held by shop/svc/www.expose#0" in lost.get_attribute("title")
    assert box(page, "virtual host example.org, www.example.org").count() == 1


def test_on_a_narrow_screen_no_port_is_broken_in_two(shown):
    page = shown.page(address="#/topology", size={"width": 360, "height": 740})
    page.get_by_text("8443/tcp").first.wait_for()
    assert page.evaluate("""() => [...document.querySelectorAll(".line code")].flatMap((code) => [...code.childNodes])
        .filter((node) => node.nodeType === Node.TEXT_NODE).every((node) => {
            const range = document.createRange();
            range.selectNode(node);
            return new Set([...range.getClientRects()].map((one) => one.top)).size <= 1;
        })""")
