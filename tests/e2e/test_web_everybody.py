"""The dashboard for everybody: what WCAG 2.2 AA asks for and axe-core can't see, and a test can.

On every page: nothing moves where motion is reduced, 320 CSS pixels are enough without scrolling to the side (1280 at
400 %), other spacing of text cuts nothing off, what is pressed is 24 pixels high and wide or stands apart, and the focus is
seen and not covered. States can be told without the page's colours. Single keys can be switched off.
"""

from desk import Held, violations
from test_web_shell import NOT_FOUND, PAGES, row

ALL = {
    **PAGES,
    "topology": ("#/topology", "Nothing to complain about"),
    "topology's table": ("#/topology?view=table", "shop/svc/www.expose#0"),
    "gateways": ("#/gateways", "1 connected"),
    "a gateway": ("#/gateways/envoy", "Allocated ports"),
    "a gateway's form": ("#/gateways/envoy?edit=1", "Last port to allocate"),
    "proxies": ("#/proxies", "malformed IP address"),
}
SMALL = {"width": 320, "height": 640}

# Every animation that begins, from the first moment of a page on.
WATCH_MOTION = """
window.moved = [];
for (const kind of ["animationstart", "transitionrun"])
    addEventListener(kind, (event) => moved.push(`${kind} of ${event.target.className || event.target.tagName}`), true);
"""
MOVING = """() => [...moved, ...document.getAnimations().map((one) => "runs: " + one.effect.target.className)]"""

# What is wider than its place. Tables and drawings need two dimensions, and code its lines: they scroll by themselves.
SIDEWAYS = """() => [...document.querySelectorAll("*")].filter((one) => {
    if (one.closest(".table-box, .topology, pre, textarea, .sr, svg, table")) return false;
    if (one === document.documentElement) return one.scrollWidth > innerWidth;
    const over = getComputedStyle(one).overflowX;
    return (over === "auto" || over === "scroll") && one.scrollWidth > one.clientWidth + 1;
}).map((one) => `${one.tagName} ${one.className}: ${one.scrollWidth} in ${one.clientWidth}`)"""

# Spacing as in WCAG 2.2, 1.4.12; the page's policy takes styles from scripts alone.
SPACE_OUT = """() => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync("* { line-height: 1.5 !important; letter-spacing: .12em !important; word-spacing: .16em !important }" +
        "p { margin-bottom: 2em !important }");
    document.adoptedStyleSheets = [sheet];
}"""
UNSPACE = "() => { document.adoptedStyleSheets = []; }"
# What has a text of its own and does not show all of it; an ellipsis says that there is more.
CUT_OFF = """() => [...document.querySelectorAll("button, a, h1, h2, h3, p, li, dt, dd, label, summary, legend, .tag, .fact")]
    .filter((one) => {
        const style = getComputedStyle(one);
        return style.overflowY !== "visible" && style.textOverflow !== "ellipsis" && !style.webkitLineClamp.match(/[0-9]/)
            && !one.closest(".sr") && (one.scrollHeight > one.clientHeight + 1 || one.scrollWidth > one.clientWidth + 1);
    }).map((one) => `${one.tagName} ${one.className}: ${one.textContent.trim().slice(0, 40)}`)"""

# WCAG 2.2, 2.5.8: targets below 24 by 24 pixels whose circle of 24 pixels meets another target, or its circle. Links
# within a text, and what a browser itself draws, are excepted.
SMALL_TARGETS = """() => {
    const front = document.querySelector("dialog[open]") || document; // what lies behind a dialog can't be pressed
    const shown = (one) => one.checkVisibility({ visibilityProperty: true }) && one.getClientRects().length;
    const targets = [...front.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")]
        .filter((one) => shown(one) && !one.disabled && !one.closest(".sr, .skip"))
        .map((one) => ({ one, box: (one.type === "checkbox" || one.type === "radio" ? one.closest("label") ?? one : one)
            .getBoundingClientRect() }));
    const inText = (one) => getComputedStyle(one).display === "inline"
        && one.parentElement.textContent.trim().length > one.textContent.trim().length;
    const isSmall = ({ box }) => box.width < 23.9 || box.height < 23.9;
    const middle = ({ box }) => [box.x + box.width / 2, box.y + box.height / 2];
    const meets = (a, b) => {
        const [x, y] = middle(a);
        if (isSmall(b)) {
            const [u, v] = middle(b);
            if (Math.hypot(x - u, y - v) < 23.9) return true;
        }
        const dx = Math.max(b.box.left - x, 0, x - b.box.right), dy = Math.max(b.box.top - y, 0, y - b.box.bottom);
        return Math.hypot(dx, dy) < 11.9;
    };
    return targets.filter((a) => isSmall(a) && !inText(a.one)
            && targets.some((b) => b !== a && !a.one.contains(b.one) && !b.one.contains(a.one) && meets(a, b)))
        .map(({ one, box }) => `${one.tagName} ${one.className} ${Math.round(box.width)}x${Math.round(box.height)}: `
            + (one.getAttribute("aria-label") || one.textContent).trim().slice(0, 40));
}"""

# WCAG 2.2, 2.4.7 and 2.4.11: whoever has the focus is outlined, and not wholly covered.
UNSEEN_FOCUS = """() => {
    const found = [];
    const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")];
    for (const one of all.filter((each) => each.checkVisibility({ visibilityProperty: true }) && !each.disabled)) {
        one.focus();
        if (document.activeElement !== one) continue;
        const style = getComputedStyle(one), box = one.getBoundingClientRect();
        const name = `${one.tagName} ${one.className}: ${(one.getAttribute("aria-label") || one.textContent).trim().slice(0, 40)}`;
        if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) found.push("without an outline: " + name);
        const points = [[.5, .5], [.1, .2], [.9, .2], [.1, .8], [.9, .8]].map(([x, y]) =>
            document.elementFromPoint(box.x + box.width * x, box.y + box.height * y));
        if (!points.some((at) => at && (one.contains(at) || at.contains(one) && at.matches("label, svg, .box")))) found.push("covered: " + name);
    }
    return found;
}"""


def visit(desk, page, look):
    """What look(page) finds on each page."""
    desk.expect(NOT_FOUND)
    found = []
    for name, (address, text) in ALL.items():
        desk.go(page, address)
        page.get_by_text(text).first.wait_for()
        found += ["%s: %s" % (name, one) for one in look(page)]
    assert not found, "\n".join(found)


def test_every_page_fits_in_320_pixels_with_any_spacing_and_targets_that_can_be_hit(shown):
    page = shown.page(size=SMALL)

    def look(page):
        found = page.evaluate(SIDEWAYS) + page.evaluate(SMALL_TARGETS)
        page.evaluate(SPACE_OUT)
        found += ["spaced out, " + one for one in page.evaluate(SIDEWAYS) + page.evaluate(CUT_OFF)]
        page.evaluate(UNSPACE)
        return found
    visit(shown, page, look)


def test_the_focus_is_seen_wherever_it_is_and_nothing_moves_where_motion_is_reduced(shown):
    page = shown.page(reduced_motion="reduce", address="#/overview")
    page.context.add_init_script(WATCH_MOTION)
    page.reload()
    page.get_by_role("heading", name="Overview").wait_for()
    page.keyboard.press("Tab")  # who uses the keyboard sees outlines
    visit(shown, page, lambda p: p.evaluate(UNSEEN_FOCUS) + p.evaluate(MOVING))


def test_what_waits_moves_only_where_motion_is_not_reduced(shown):
    for motion, moves in (("no-preference", True), ("reduce", False)):
        page = shown.page(reduced_motion=motion)
        held = Held(page, "**/api/v1/exposures?*")
        shown.go(page, "#/exposures")
        page.get_by_role("heading", name="Exposures", level=1).wait_for()
        page.locator(".loading").wait_for()
        assert bool(page.evaluate("document.getAnimations().length")) is moves
        held.wait()
        held.let_go()
        row(page, "infra/svc/db").wait_for()


# By what two looks differ when the page may not choose colours: grounds are all the same then.
LOOK = """(one) => { const s = getComputedStyle(one);
    return [s.fontWeight, s.color, s.forcedColorAdjust === "none" && s.backgroundColor, s.borderTopColor, s.borderTopWidth, s.borderTopStyle, s.textDecorationLine, s.outlineStyle].join(" "); }"""


def test_states_can_be_told_without_the_colours_of_the_page(shown):
    page = shown.page(forced_colors="active", address="#/exposures")
    row(page, "team/svc/rival").wait_for()
    assert page.evaluate("matchMedia('(forced-colors: active)').matches")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    shapes = page.evaluate("""() => Object.fromEntries(["ok", "warning", "failed"].map((state) => {
        const icon = document.querySelector(`.fact.state-${state} .icon`);
        return [state, [icon.innerHTML, getComputedStyle(icon.firstElementChild).fill, getComputedStyle(icon.querySelector(".cut")).stroke]];
    }))""")
    assert len({shape for shape, _, _ in shapes.values()}) == 3, "a state is a shape, not a colour"
    for state, (_, fill, cut) in shapes.items():
        assert fill != ground and cut != fill, (state, fill, cut, ground)
    here, other = page.locator(".side a[aria-current]"), page.locator(".side a:not([aria-current])").first
    assert here.evaluate(LOOK) != other.evaluate(LOOK), "where one is"
    assert not violations(page)
    shown.go(page, "#/topology")
    pressed = page.get_by_role("button", name="Drawing")
    pressed.wait_for()
    assert pressed.evaluate(LOOK) != page.get_by_role("button", name="Table").evaluate(LOOK), "what is pressed"
    shown.go(page, "#/overview")
    page.get_by_text("Acked by").wait_for()
    filled = page.locator(".meter i").first.evaluate("(one) => getComputedStyle(one).backgroundColor")
    assert filled != page.locator(".meter").first.evaluate("(one) => getComputedStyle(one).backgroundColor"), "how far it is"


def test_single_keys_can_be_switched_off_for_who_speaks_to_the_computer(shown):
    page = shown.page(address="#/overview")
    page.get_by_text("Needs attention").wait_for()
    page.get_by_role("button", name="Help: keys").click()
    page.get_by_role("dialog").get_by_label("Single keys work").uncheck()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    page.reload()
    page.get_by_text("Needs attention").wait_for()
    page.keyboard.type("ge?")
    assert page.get_by_role("dialog").count() == 0 and page.url.endswith("#/overview")
    page.get_by_role("button", name="Help: keys").click()
    page.get_by_label("Single keys work").check()
    page.keyboard.press("Escape")  # which is no letter, and always works
    page.get_by_role("dialog").wait_for(state="detached")
    page.keyboard.type("ge")
    row(page, "infra/svc/db").wait_for()
