"""Manual pages and completion say what the program takes, all of it and nothing else."""

import os
import re
import subprocess

import pytest

from harness import IGWD, ROOT, Igwd

MAN = ROOT / "dist" / "man"
COMPLETION = ROOT / "dist" / "completion" / "igwd"
LIBRARY = "/usr/share/bash-completion/bash_completion"


@pytest.fixture
def usage(world):
    return Igwd(world).run("--help").stdout


def options(usage):
    """Name -> (default or None, alias or None)."""
    found = {}
    for entry in re.split(r"\n(?=  --)", usage)[1:]:
        text = re.sub(r"\s+", " ", entry.strip())
        text = text.replace(" [repeatable]", "")
        alias = re.search(r" \[also --([a-z-]+)\]$", text)
        text = text[:alias.start()] if alias else text
        default = re.search(r" \(([^\s()]+)\)$", text)
        found[re.match(r"--([a-z-]+)", text).group(1)] = (default and default.group(1), alias and alias.group(1))
    return found


def items(page, macro):
    """The items of a page's lists that begin with that macro: name -> text."""
    text = (MAN / page).read_text()
    return {part.group(1): part.group(2) for part in re.finditer(
        r"^\.It %s([a-z-]+)(.*?)(?=^\.It |^\.El)" % macro, text, re.MULTILINE | re.DOTALL)}


@pytest.mark.parametrize("page", ["igwd.8", "igwd.conf.5"])
def test_the_pages_are_well_formed(page):
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(MAN / page)], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0 and done.stdout == "", done.stdout


def test_each_option_is_in_a_page_and_each_of_the_pages_is_an_option(usage):
    known = options(usage)
    assert len(known) > 25
    settings, flags = items("igwd.conf.5", "Cm "), items("igwd.8", "Fl -")
    others = {"check-config", "print-config", "version"}
    assert set(settings) | (set(flags) - others) == set(known)
    assert not set(settings) & set(flags)
    for name, (default, alias) in known.items():
        if name in settings and default and name != "port":
            assert re.search(r"(Default: |\.Pa )%s( |\.|$)" % re.escape(default), settings[name], re.MULTILINE), (
                name, default)
        if alias:
            assert ".Fl -%s" % alias in settings[name], name


def test_only_settings_are_taken_from_the_file_and_all_of_them(world):
    for name in items("igwd.conf.5", "Cm "):
        path = world.write("one.conf", "%s =\n" % name)
        done = Igwd(world).run("--check-config", "--config", path, check=False)
        assert "unknown setting" not in done.stderr, name
    for name in items("igwd.8", "Fl -"):
        path = world.write("one.conf", "%s = x\n" % name)
        assert "unknown setting" in Igwd(world).run("--check-config", "--config", path, check=False).stderr, name


def commands(usage):
    return set(re.findall(r"^ +(?:usage: )?igwd \[?([a-z]+)", usage.replace("usage:", "      "), re.MULTILINE))


def test_each_command_is_in_the_page(usage):
    known = commands(usage)
    assert {"run", "bootstrap", "token", "backup", "restore"} <= known
    assert set(items("igwd.8", "Cm ")) == known


def complete(world, *words):
    """What the shell offers for the last of the words."""
    script = """
        source %s && source %s || exit 9
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE=$LINE; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
        compopt() { :; }
        _igwd "$1" "${@: -1}" "${@: -2:1}"
        printf '%%s\\n' "${COMPREPLY[@]}"
    """ % (LIBRARY, COMPLETION)
    line = " ".join([str(IGWD), *words]).replace(" = ", "=")  # "=" parts words, without blanks
    done = subprocess.run(["bash", "-O", "extglob", "-c", script, "bash", str(IGWD), *words], capture_output=True,
                          text=True, check=True, cwd=world.directory, env={**os.environ, "LINE": line})
    assert done.stderr == ""
    return set(done.stdout.split())


def test_the_shell_offers_what_can_come_next(world, usage):
    world.write("backup-a", "")
    (world.directory / "backups").mkdir()
    every = {"--" + name for name in options(usage)} | {"--" + alias for _, alias in options(usage).values() if alias}
    assert complete(world, "") == commands(usage)
    assert complete(world, "bo") == {"bootstrap"}
    assert complete(world, "--") == every | {"--help", "--version", "--check-config", "--print-config"}
    assert complete(world, "bootstrap", "--node") == {"--node-id", "--node-cluster"}
    assert complete(world, "--log-level", "w") == {"warning"}
    assert complete(world, "--log-level", "=", "n") == {"notice"}
    assert complete(world, "token", "") == {"create"}
    assert complete(world, "token", "create", "me", "") == {"viewer", "operator=", "admin"}
    assert complete(world, "backup", "ba") == {"backups"}
    assert complete(world, "--config", "ba") == {"backup-a", "backups"}
    assert complete(world, "--max-streams", "") == set()
    assert complete(world, "--gateway", "edge", "bac") == {"backup"}
