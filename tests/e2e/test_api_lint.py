"""The contract against the strict rules of two linters: OpenAPI's (Redocly), and OWASP's for APIs (Spectral)."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from harness import ROOT, SLOW

NODE = pathlib.Path(sys.prefix) / "bin" / "node"
MODULES = pathlib.Path(os.environ.get("TEST_NODE", ROOT / "build" / "node")) / "tests" / "node_modules"
REDOCLY = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}


@pytest.fixture
def folder(tmp_path):
    """The contract and the rules where rules find their packages."""
    (tmp_path / "node_modules").symlink_to(MODULES)
    for name in ("openapi.yaml", ".spectral.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


def lint(folder, program, *args):
    """The exit code, and what was printed."""
    done = subprocess.run([NODE, MODULES / ".bin" / program, "lint", *args, "openapi.yaml"], cwd=folder, check=False,
                          env={**os.environ, **REDOCLY}, capture_output=True, text=True, timeout=100 * SLOW)
    return done.returncode, done.stdout, done.stdout + done.stderr


def redocly(folder):
    code, found, text = lint(folder, "redocly", "--extends", "recommended-strict", "--format", "json")
    return code, [problem["ruleId"] for problem in json.loads(found)["problems"]], text


def spectral(folder):
    code, found, text = lint(folder, "spectral", "--ruleset", ".spectral.yaml", "--fail-severity", "hint",
                             "--format", "json", "--quiet")
    return code, [problem["code"] for problem in json.loads(found)], text


SLOPPY = """
openapi: 3.1.0
info: {title: sloppy, version: "1"}
paths:
  /things:
    get:
      responses:
        "200":
          description: Things.
          content: {application/json: {schema: {type: string}}}
"""


def test_redocly_finds_nothing_by_its_strict_rules(folder):
    code, found, text = redocly(folder)
    assert (code, found) == (0, []), text


def test_spectral_finds_nothing_by_the_rules_of_owasp(folder):
    code, found, text = spectral(folder)
    assert (code, found) == (0, []), text


def test_the_linters_would_find_faults(folder):
    (folder / "openapi.yaml").write_text(SLOPPY)
    code, found, text = redocly(folder)
    assert code != 0 and {"operation-summary", "security-defined"} <= set(found), text
    code, found, text = spectral(folder)
    assert code != 0 and {"owasp:api4:2023-string-limit", "owasp:api2:2023-read-restricted"} <= set(found), text
