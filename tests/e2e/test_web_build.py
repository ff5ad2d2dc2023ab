"""web/build.py: what a browser gets is what stands in web/ and in the lock, and every import leads somewhere."""

import gzip
import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from desk import NODE
from harness import ROOT

MODULES = pathlib.Path(NODE) / "web" / "node_modules"
PROGRAM = pathlib.Path(sys.executable).parent / "node"


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def build(web, out):
    return run(sys.executable, web / "build.py", "--modules", MODULES, "--node", PROGRAM, "--out", out)


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
    ('export * from "./all.js";', "all.js"),
    ('const one = (name) => import(name);', "known only when it runs"),
    ('const two = (name) => import(`./page-${name}.js`);', "known only when it runs"),
])
def test_an_import_that_leads_nowhere_fails_the_build(web, tmp_path, line, named):
    with open(web / "app.js", "a", encoding="utf-8") as file:
        file.write("\n" + line + "\n")
    done = build(web, tmp_path / "out")
    assert done.returncode == 1 and named in done.stderr


def test_what_only_looks_like_an_import_is_none(web, tmp_path):
    with open(web / "app.js", "a", encoding="utf-8") as file:
        file.write("""
// import { x } from "./comment.js";
/* export * from "./other.js"; */
const text = 'import "./text.js"', pattern = /import "pattern.js"/, template = `from "./template.js" ${"from './more.js'"}`;
""")
    done = build(web, tmp_path / "out")
    assert done.returncode == 0, done.stderr


# Puts all modules together as an engine does, though without running them: what is imported by name has to be exported.
LINK = """
import { readdirSync, readFileSync } from "node:fs";
import { SourceTextModule } from "node:vm";
const folder = process.argv[1];
const modules = new Map(readdirSync(folder).filter((name) => name.endsWith(".js")).map((name) =>
    [name, new SourceTextModule(readFileSync(`${folder}/${name}`, "utf-8"), { identifier: name })]));
for (const module of modules.values())
    if (module.status === "unlinked") await module.link((name) => modules.get(name.slice(2)));
console.log(modules.size);
"""


def link(folder):
    return run(PROGRAM, "--experimental-vm-modules", "--no-warnings", "--input-type=module", "-e", LINK, folder)


def test_every_module_can_be_read_and_finds_in_others_what_it_imports(web, tmp_path):
    """By node's engine, which is Chromium's: also of pages that no test goes to."""
    assert build(web, tmp_path / "a").returncode == 0
    done = link(tmp_path / "a" / "files")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(list((tmp_path / "a" / "files").glob("*.js"))) > 20
    for fault, named in (('import { nothing } from "./ui.js";', "nothing"), ("const = 1;", "SyntaxError")):
        app = (web / "page-access.js").read_text()
        (web / "page-access.js").write_text(app + fault)
        assert build(web, tmp_path / "b").returncode == 0
        done = link(tmp_path / "b" / "files")
        assert done.returncode == 1 and named in done.stderr
        (web / "page-access.js").write_text(app)


def test_the_linter_would_find_faults(tmp_path):
    """tests/lint.py runs it over what is there."""
    (tmp_path / "sloppy.js").write_text("""
import { one } from "./other.js";
const unused = 1;
export const same = (a, b) => a == b || unknown(status); // eslint-disable-line
export const raw = (text) => { document.body.innerHTML = text; };
""")
    done = run(PROGRAM, pathlib.Path(NODE) / "tests" / "node_modules" / "eslint" / "bin" / "eslint.js", "--format", "json",
               "--config", ROOT / "web" / "eslint.config.mjs", "sloppy.js", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    rules = {found["ruleId"] for found in json.loads(done.stdout)[0]["messages"] if found["ruleId"]}
    assert rules == {"no-unused-vars", "eqeqeq", "no-undef", "no-restricted-globals", "no-restricted-properties"}


def test_nothing_is_inline_in_the_entry():
    page = (ROOT / "web" / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)


def test_no_word_is_glued_to_what_stands_in_the_next_line():
    """A break of the line beside an element is no space in a template: one that is wanted is written, ${" "}."""
    inline = "(?:a|b|code|em|i|span|strong)"
    glued = re.compile(r"[\w.,;:)]\n\s*<%s[ >].*|</%s>\n\s*[\w(].*" % (inline, inline))
    assert glued.search("<p>See\n    <a href=x>there</a>") and not glued.search('<p>See${" "}\n    <a href=x>there</a>')
    assert not {path.name: found for path in ROOT.glob("web/*.js") if (found := glued.findall(path.read_text("utf-8")))}
