"""docs/tour.md: its pictures can be taken of the running dashboard, in a whole Chromium, and what it tells of is there.

Each part of the tour (a heading of the second level) has one picture. What it says in bold is on the page when the
picture is taken: as a text, or as the name of a control. Pictures go into the build's directory; `make tour` puts them
into docs/tour/ (TEST_TOUR: where).
"""

import base64
import os
import pathlib
import re

import pytest

from desk import NARROW, WHOLE_CHROMIUM, Desk, browser
from harness import BUILD, ROOT, Network, World, wait_until

DOCS = ROOT / "docs"
TOUR = (DOCS / "tour.md").read_text()
SIZE = {"width": 1280, "height": 780}
QUALITY = 82  # of WebP: letters stay sharp
BYTES_MAX = 100_000
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


def overview(desk, page):
    desk.go(page, "#/overview")
    page.get_by_text("Acked by").first.wait_for()
    page.locator(".curve canvas").wait_for()


def exposures(desk, page):
    desk.go(page, "#/exposures")
    page.get_by_role("link", name="team/svc/secretless.expose#0").wait_for()


def edit(desk, page):
    desk.go(page, "#/exposures/infra%2Fsvc%2Fmail.expose%230?edit=1")
    page.get_by_label("Listener's port").fill("2626")
    page.get_by_text("igwd would take this").first.wait_for()
    page.get_by_label("The same as JSON").wait_for()


def topology(desk, page):
    desk.go(page, "#/topology")
    page.get_by_role("button", name=re.compile(re.escape(desk.at(8080)))).click()
    page.locator(".drawing").get_by_role("button", name=re.compile(r"route \/api")).click()
    page.get_by_role("region", name="The chosen way").wait_for()
    page.mouse.move(1, 1)


def proxies(desk, page):
    desk.go(page, "#/proxies")
    page.get_by_text("malformed IP address").first.wait_for()
    page.get_by_role("link", name="node-1").first.wait_for()


def explain(desk, page):
    desk.go(page, "#/explain?address=%s&port=8080&host=www.example.org&path=/api/list" % desk.world.ip(1))
    page.get_by_text("endpoints are up").first.wait_for()
    page.locator(".way").evaluate("way => way.closest('.card').scrollIntoView()")


def changes(desk, page):
    desk.go(page, "#/changes/2")
    page.get_by_text("Acked by").first.wait_for()
    page.get_by_text("lb_policy").first.wait_for()


def certificates(desk, page):
    desk.go(page, "#/certificates")
    page.get_by_text("8 days").first.wait_for()


def narrow(desk, page):
    desk.go(page, "#/exposures/team%2Fsvc%2Frival.expose%230")
    page.get_by_text("is held by").first.wait_for()
    page.get_by_text("Cluster in Envoy").first.wait_for()


# The steps to each picture, in the order of the tour.
STEPS = [overview, exposures, edit, topology, proxies, explain, changes, certificates, narrow]


def parts():
    """Of each part of the tour: its text, and the file of its picture."""
    for text in re.split(r"^## ", TOUR, flags=re.M)[1:]:
        files = [file for _, file in PICTURE.findall(text)]
        assert len(files) == 1 and bold(text), "each part has one picture, and says what is there: " + text.splitlines()[0]
        yield text, DOCS / files[0]


def bold(text):
    return [" ".join(name.split()) for name in re.findall(r"\*\*(.+?)\*\*", text, re.S)]


def said(page):
    """What the page says: its texts, and the names of what is on it."""
    names = page.evaluate("""[...document.querySelectorAll("[aria-label], [placeholder], [title]")].flatMap((one) =>
        ["aria-label", "placeholder", "title"].map((name) => one.getAttribute(name) || ""))""")
    return " ".join(" ".join([page.locator("body").inner_text(), *names]).split())


def take(page, file):
    """As WebP, which only Chromium's own protocol makes. How long ago something was is not of the picture."""
    page.evaluate("""() => {
        document.activeElement?.blur();
        for (const time of document.querySelectorAll("time")) time.textContent = "a moment ago";
    }""")
    session = page.context.new_cdp_session(page)
    taken = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    session.detach()
    file.write_bytes(base64.b64decode(taken["data"]))


def size(file):
    """Width and height of a lossy WebP (RFC 9649, 2.5; RFC 6386, 9.1)."""
    data = file.read_bytes()
    assert data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    if data[12:16] == b"VP8X":
        return [int.from_bytes(data[at:at + 3], "little") + 1 for at in (24, 27)]
    assert data[12:16] == b"VP8 " and data[23:26] == b"\x9d\x01\x2a"
    return [int.from_bytes(data[at:at + 2], "little") & 0x3fff for at in (26, 28)]


@pytest.fixture
def folder():
    """Where pictures are put."""
    where = pathlib.Path(os.environ.get("TEST_TOUR", BUILD / "tour"))
    where.mkdir(parents=True, exist_ok=True)
    return where


def test_every_picture_of_the_tour_can_be_taken_and_what_is_told_of_is_there(request, playwright, folder):
    is_kept = "TEST_TOUR" in os.environ
    # What is kept has the same addresses every time; other tests' networks are above these.
    world = World(request.node.name, Network("127.10.0." if is_kept else None))
    request.node.world = world
    missing = []
    try:
        with browser(playwright, WHOLE_CHROMIUM) as chromium:
            desk = world.add(Desk(world, chromium)).furnish().start(envoy=True).edit().settled()
            wide = desk.page(size=SIZE)
            others = {topology: {"theme": "dark", "size": SIZE}, narrow: {"size": NARROW}}
            for step, (text, file) in zip(STEPS, parts(), strict=True):
                assert file.stem == step.__name__
                page = desk.page(**others[step]) if step in others else wide
                step(desk, page)
                # A page is whole as soon as it says all of it.
                try:
                    wait_until(lambda p=page, t=text: all(name in said(p) for name in bold(t)))
                except AssertionError:
                    there = said(page)
                    missing += ["%s: %s" % (step.__name__, name) for name in bold(text) if name not in there]
                take(page, folder / file.name)
                assert (folder / file.name).stat().st_size < BYTES_MAX, file.name
                if not is_kept:
                    assert size(file) == size(folder / file.name), "%s is of another size: make tour" % file.name
            desk.stop()
            desk.begin()
    finally:
        world.close()
    assert not missing, "the tour tells of what is not there: " + "; ".join(missing)


def test_each_picture_of_the_documents_is_there_told_in_words_and_of_use():
    used = set()
    for document in [*DOCS.rglob("*.md"), *ROOT.glob("*.md")]:
        for words, file in PICTURE.findall(document.read_text()):
            assert len(words) > 30, "%s: %s is not told in words" % (document.name, file)
            assert (document.parent / file).is_file(), "%s: %s" % (document.name, file)
            used.add((document.parent / file).resolve())
    there = {file for file in DOCS.rglob("*") if file.suffix in (".webp", ".png", ".jpg", ".gif", ".svg")}
    assert there == used and len(there) == len(STEPS)
    assert all(file.stat().st_size < BYTES_MAX for file in there)
