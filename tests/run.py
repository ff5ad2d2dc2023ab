#!/usr/bin/env python3
"""Runs all tests of a build, or those whose name holds a text; ends with a line `N passed, N failed`.

What there is: the lint; the unit tests, plain, with ASan and UBSan, and with TSan; the end-to-end tests with the
plain daemon; and those of them that are marked `sanitized` with the sanitized daemons. A skipped test counts as
failed: what was not tried is not known to hold. A program that crashes, hangs or leaks counts as one failed test.

Tests wait about as long as they compute, so more of them run at a time than there are processors: programs of unit
tests, and end-to-end tests in workers (each test has its own network and directory). What measures time (marked `alone`)
runs after all others of its kind, on its own. A few tests that failed beside others are tried once more with nothing
beside them: what fails again has failed, what passes is counted and said to be unstable, with what it failed of.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parents[1]
NODE = pathlib.Path(os.environ.get("TEST_NODE", ROOT / "build" / "node"))
UNIT_LIMIT = 1200   # seconds for one program
E2E_LIMIT = 2400    # seconds for one run of pytest
LINT_LIMIT = 600
BESIDE = min(2 * os.cpu_count(), 8)  # at a time
RETRIES_MAX = 8     # more failures than that are no accident
REASON_MAX = 900    # characters of what a failure says, in the list of failures
KINDS = ["lint", "unit", "asan", "tsan", "e2e", "e2e-asan", "e2e-tsan"]
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "second_deadlock_stack=1:halt_on_error=1",
}


class Result:
    """Of one program or run: how many passed, and a text for each that failed."""

    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failures = []
        self.nodes = []     # pytest's names of those that failed
        self.unstable = []  # failed, then passed alone
        self.seconds = 0.0
        self.cases = 0      # that were generated and tried within the tests
        self.output = ""


def environment(**more):
    env = dict(os.environ, **SANITIZERS)
    suppressions = ROOT / "tests" / "tsan.supp"
    if suppressions.exists():
        env["TSAN_OPTIONS"] += ":suppressions=%s" % suppressions
    # Settings of the daemon come from the tests alone, a make that called this one is not theirs, and what one pytest
    # made of their assertions is for the next: it takes seconds.
    for name in list(env):
        if name.startswith("IGWD_") or name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTEST_ADDOPTS",
                                                "PYTHONDONTWRITEBYTECODE"):
            del env[name]
    return {**env, **more}


def run(command, limit, env):
    """The exit code (None: it hung and was ended) and all output."""
    child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, env=env, cwd=ROOT, start_new_session=True)
    try:
        output, _ = child.communicate(timeout=limit)
        return child.returncode, output.decode(errors="replace")
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)
        output, _ = child.communicate()
        return None, output.decode(errors="replace")


def tail(text, lines=60):
    return "\n".join(text.splitlines()[-lines:])


def run_unit(program, kind, part):
    result = Result("%s/%s" % (kind, program.name))
    began = time.monotonic()
    code, output = run([program] + ([part] if part else []), UNIT_LIMIT, environment())
    result.seconds = time.monotonic() - began
    result.passed = len(re.findall(r"^ok ", output, re.MULTILINE))
    result.failures = re.findall(r"^not ok (.*)", output, re.MULTILINE)
    ended = re.search(r"^\d+ passed, \d+ failed$", output, re.MULTILINE)
    if code is None:
        result.failures.append("the program hung: ended after %d s" % UNIT_LIMIT)
    elif (code != 0 and not result.failures) or not ended:
        result.failures.append("the program ended with %s" % code)
    if result.failures:
        result.output = tail(re.sub(r"^ok .*\n", "", output, flags=re.MULTILINE), 200)
    return result


def run_lint():
    result = Result("lint")
    began = time.monotonic()
    code, output = run([sys.executable, ROOT / "tests" / "lint.py", "--node", pathlib.Path(sys.executable).parent / "node",
                        "--modules", NODE / "tests" / "node_modules"], LINT_LIMIT, environment())
    result.seconds = time.monotonic() - began
    if code == 0:
        result.passed = 1
    else:
        result.failures = ["lint ended with %s" % code]
        result.output = tail(output, 200)
    return result


def in_one_line(message):
    """What a failure says. Its end says what was wrong (the innermost exception), so what is too long loses its middle."""
    text = " / ".join(line.strip() for line in message.splitlines() if line.strip())
    return text if len(text) <= REASON_MAX else text[:REASON_MAX // 3] + " [...] " + text[-REASON_MAX * 2 // 3:]


def read_report(path, result):
    """Counts what a report of pytest holds."""
    for case in xml.parse(path).getroot().iter("testcase"):
        result.cases += sum(int(p.get("value")) for p in case.iter("property") if p.get("name") == "cases")
        bad = [child for child in case if child.tag in ("failure", "error", "skipped")]
        if bad:
            what = "skipped: " if bad[0].tag == "skipped" else ""
            result.failures.append("%s::%s: %s%s" % (case.get("classname"), case.get("name"), what,
                                                     in_one_line(bad[0].get("message") or "")))
            result.nodes.append("%s.py::%s" % (case.get("classname").replace(".", "/"), case.get("name")))
        else:
            result.passed += 1


def run_pytest(name, build, choice, workers, env):
    """choice: pytest's arguments that say which tests."""
    result = Result(name)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        report = pathlib.Path(directory) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "--junitxml", report] + choice
        command += ["-n", str(workers), "--dist", "worksteal"] if workers > 1 else []
        code, output = run(command, E2E_LIMIT, environment(TEST_BUILD=str(build), **env))
        if report.exists():
            read_report(report, result)
        # 5: nothing was selected, which is for the caller to judge.
        if code is None:
            result.failures.append("pytest hung: ended after %d s" % E2E_LIMIT)
        elif code not in (0, 5) and not result.failures:
            result.failures.append("pytest ended with %d" % code)
        if result.failures:
            result.output = output[output.find("= FAILURES ="):] if "= FAILURES =" in output else tail(output, 200)
    result.seconds = time.monotonic() - began
    return result


def try_again(result, build, env):
    """Those that failed, once more and alone."""
    if not result.nodes or len(result.nodes) != len(result.failures) or len(result.nodes) > RETRIES_MAX:
        return
    again = run_pytest(result.name, build, result.nodes, 1, env)
    if again.passed + len(again.nodes) != len(result.nodes):
        return
    result.unstable = [f for f, node in zip(result.failures, result.nodes) if node not in again.nodes]
    result.passed += again.passed
    result.failures, result.nodes, result.output = again.failures, again.nodes, result.output + again.output
    result.seconds += again.seconds


def show(result):
    if not result.passed and not result.failures:
        return
    print("%-32s %4d passed%s  %6.1f s" % (
        result.name, result.passed, ", %d FAILED" % len(result.failures) if result.failures else "",
        result.seconds), flush=True)
    if result.cases:
        print("    %d generated requests tried" % result.cases, flush=True)
    for failure in result.failures:
        print("    FAILED %s" % failure, flush=True)
    for failure in result.unstable:
        print("    unstable, passed alone: %s" % failure, flush=True)
    if result.output:
        print("    " + result.output.replace("\n", "\n    "), flush=True)


def unit_programs(build, kinds):
    programs = []
    expected = sorted((ROOT / "tests" / "unit").glob("*_test.c"))
    for kind, directory in (("unit", build), ("asan", build / "asan"), ("tsan", build / "tsan")):
        if kind in kinds:
            programs += [(directory / "unit" / source.stem, kind) for source in expected]
    return programs


def run_units(build, kinds, part):
    programs = unit_programs(build, kinds)
    results = []
    with concurrent.futures.ThreadPoolExecutor(BESIDE) as pool:
        waiting = [pool.submit(run_unit, *program, part) if program[0].exists() else None for program in programs]
        for (program, kind), done in zip(programs, waiting):
            result = done.result() if done else Result("%s/%s" % (kind, program.name))
            if not done:
                result.failures = ["it was not built"]
            results.append(result)
            show(result)
    return units_again(results, programs, part)


def units_again(results, programs, part):
    """As try_again(), for whole programs."""
    bad = [(i, p) for i, p in enumerate(programs) if results[i].failures and p[0].exists()]
    for i, (program, kind) in bad if len(bad) <= RETRIES_MAX else []:
        again = run_unit(program, kind, part)
        again.unstable = [] if again.failures else results[i].failures
        again.name += ", again"
        results[i] = again
        show(again)
    return results


def end_to_end_runs(build, kinds):
    """Name, selection of marks, workers, environment."""
    runs = []
    if "e2e" in kinds:
        runs.append(("e2e", "not alone", BESIDE, {"TEST_IGWD": str(build / "igwd")}))
        runs.append(("e2e, alone", "alone", 1, {"TEST_IGWD": str(build / "igwd")}))
    for kind, slow in (("asan", "4"), ("tsan", "6")):
        if "e2e-" + kind in kinds:
            runs.append(("e2e with " + kind, "sanitized", BESIDE,
                         {"TEST_IGWD": str(build / kind / "igwd"), "TEST_SLOW": slow}))
    return runs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build", type=pathlib.Path, help="directory of the build")
    parser.add_argument("--name", help="only tests whose name holds this (a pytest -k expression end to end)")
    parser.add_argument("--only", action="append", choices=KINDS, help="only this kind (repeatable)")
    options = parser.parse_args()
    build = options.build.resolve()
    kinds = options.only or KINDS
    began = time.monotonic()
    results = []
    if "lint" in kinds and not options.name:
        results.append(run_lint())
        show(results[-1])
    results += run_units(build, kinds, options.name)
    for name, selection, workers, env in end_to_end_runs(build, kinds):
        choice = ["-m", selection] + (["-k", options.name] if options.name else [])
        results.append(run_pytest(name, build, choice, workers, env))
        try_again(results[-1], build, env)
        show(results[-1])
    passed = sum(r.passed for r in results)
    failed = sum(len(r.failures) for r in results)
    if passed + failed == 0:
        print("no test has a name with %r in it" % options.name)
        failed = 1
    elif failed:
        print("\nfailed:")
        for result in results:
            for failure in result.failures:
                print("    %s: %s" % (result.name, failure))
    print("%.0f s" % (time.monotonic() - began))
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
