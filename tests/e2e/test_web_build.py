"""web/build.py: what a browser gets is what stands in web/ and in the lock, and every import leads somewhere."""

import gzip
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from desk import NODE
from harness import ROOT

MODULES = pathlib.Path(NODE) / "web" / "node_modules"


def build(web, out):
    return subprocess.run([sys.executable, web / "build.py", "--modules", MODULES, "--out", out],
                          capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def web(tmp_path):
    return pathlib.Path(shutil.copytree(ROOT / "web", tmp_path / "web"))


def paths(out):
    return re.findall(r'^    \{"(/[^"]*)"', (out / "pages.c").read_text(), re.M)


def test_the_same_files_give_the_same_pages_and_others_stand_elsewhere(web, tmp_path):
    assert build(web, tmp_path / "a").returncode == build(web, tmp_path / "b").returncode == 0
    a, b = tmp_path / "a", tmp_path / "b"
    assert paths(a) == paths(b) and "/" in paths(a)
    for file in (a / "files").iterdir():
        assert file.read_bytes() == (b / "files" / file.name).read_bytes()
        if file.suffix == ".gz":
            assert gzip.decompress(file.read_bytes()) == (a / "files" / file.stem).read_bytes()
    with open(web / "style.css", "a", encoding="utf-8") as style:
        style.write("/* more */\n")
    assert build(web, b).returncode == 0
    assert not {p for p in paths(a) if p != "/"} & {p for p in paths(b) if p != "/"}


@pytest.mark.parametrize("line, named", [
    ('import { x } from "./nowhere.js";', "nowhere.js"),
    ('import { signal } from "@preact/signals";', "@preact/signals"),
    ('const later = () => import("./gone.js");', "gone.js"),
    ('import "https://example.org/x.js";', "example.org"),
])
def test_an_import_that_leads_nowhere_fails_the_build(web, tmp_path, line, named):
    with open(web / "app.js", "a", encoding="utf-8") as file:
        file.write("\n" + line + "\n")
    done = build(web, tmp_path / "out")
    assert done.returncode == 1 and named in done.stderr


def test_every_module_can_be_read_as_one(tmp_path):
    """node's parser, which is Chromium's: also of pages that no test goes to."""
    assert build(ROOT / "web", tmp_path).returncode == 0
    for file in sorted((tmp_path / "files").glob("*.js")):
        module = tmp_path / (file.stem + ".mjs")
        module.write_bytes(file.read_bytes())
        done = subprocess.run([pathlib.Path(sys.executable).parent / "node", "--check", module], capture_output=True,
                              text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr


def test_nothing_is_inline_in_the_entry():
    page = (ROOT / "web" / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)
