"""Fixtures of the end-to-end tests; see harness.py."""

import os
import pathlib
import signal
import sys

import pytest
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from certificates import CA  # noqa: E402
from declare import Lab  # noqa: E402
import desk as the_desk  # noqa: E402
from harness import World  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "sanitized: runs with the sanitized daemons too")
    config.addinivalue_line("markers", "alone: measures time, so it does not run beside others")


def pytest_ignore_collect(collection_path, config):
    """Where tests with one mark are wanted, files without it are not read: some take seconds."""
    mark = config.getoption("-m")
    if mark.isidentifier() and collection_path.name.startswith("test_"):
        return "mark." + mark not in collection_path.read_text(encoding="utf-8") or None
    return None


@pytest.fixture(autouse=True)
def limit():
    """A test that hangs fails, with a traceback of where it hung."""
    seconds = int(240 * float(os.environ.get("TEST_SLOW", "1")))

    def give_up(_number, _frame):
        raise TimeoutError("the test hung: ended after %d s" % seconds)
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def world(request):
    """Everything of the test; ends with it."""
    w = World(request.node.name)
    request.node.world = w
    yield w
    w.close()


@pytest.fixture(scope="session")
def ca():
    return CA()


@pytest.fixture(scope="session")
def playwright():
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def chromium(playwright):
    with the_desk.browser(playwright) as browser:
        yield browser


@pytest.fixture
def desk(world, chromium):
    """A cluster for the dashboard to show; its daemon once the test says desk.start(). See desk.py."""
    return world.add(the_desk.Desk(world, chromium))


@pytest.fixture(scope="session")
def shared_desk(chromium):
    world = World("shared desk")
    try:
        yield the_desk.SharedDesk(world, chromium).furnish().start(envoy=True).edit().settled()
    finally:
        world.close()


@pytest.fixture
def shown(shared_desk, request):
    """As a desk that is furnished, started with an Envoy, edited and settled: for who only looks, shared with others."""
    request.node.world = shared_desk.world
    shared_desk.begin()
    yield shared_desk
    shared_desk.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the logs of the processes that took part."""
    outcome = yield
    report = outcome.get_result()
    world = getattr(item, "world", None)
    if report.failed and world:
        for name, text in world.logs():
            lines = text.splitlines()
            shown = lines if len(lines) <= 120 else lines[:40] + ["..."] + lines[-80:]
            report.sections.append(("log of " + name, "\n".join(shown)))


@pytest.fixture
def lab(world):
    """Three nodes, their agent; igwd and an Envoy once the test says lab.up()."""
    return Lab(world)


@pytest.fixture(params=["incremental", "state of the world"])
def sotw(request):
    return request.param == "state of the world"
