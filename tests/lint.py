#!/usr/bin/env python3
"""The project's own rules, checked on every file that git knows or would take.

    tests/lint.py [--tidy CLANG-TIDY] [--node NODE --modules NODE_MODULES] [--jobs N] [--cache DIR] [-- COMPILER-FLAGS]

Form (clang-format), who may include whom, functions that are refused, the length and complexity of functions, how
files begin, and words that have no place here. With --tidy clang-tidy runs too; what it found clean before, with the
same headers and settings, is not looked at again. With --modules ESLint, which is there, reads the
dashboard's modules. Prints FILE:LINE: fault; exit status 1 if there is any.

An exception is asked for in the line before, or in the line itself: /* lint: RULE because REASON */, where RULE is
`long` or `complex` (before a function), or `call` (a refused function).
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys

LAYERS = ("base", "store", "proto", "server", "api")
# Who may include whom. Only the daemon wires the API in.
MAY_INCLUDE = {
    "base": {"base"},
    "store": {"base", "store"},
    "proto": {"base", "store", "proto"},
    "server": {"base", "store", "proto", "server"},
    "api": {"base", "store", "api"},
}
API_WIRING = "server/daemon.c"
# Libraries that only one file of the product knows.
SHELLS = {"SQLite": r"sqlite3\.h", "microhttpd": r"microhttpd\.h", "gRPC": r"grpc/.*", "GnuTLS": r"gnutls/.*"}

MAX_LINES = 79
MAX_COMPLEXITY = 15
MAX_COLUMNS = 118

UNBOUNDED = "writes without a bound"
ALLOCATES = "base/mem.h has it, without an error path"
REFUSED = {
    **dict.fromkeys("sprintf vsprintf strcpy strcat strncat gets stpcpy".split(), UNBOUNDED),
    **dict.fromkeys("strncpy scanf sscanf fscanf".split(), "says nothing when it cuts or overflows"),
    **dict.fromkeys("atoi atol atoll atof".split(), "cannot tell a fault"),
    **dict.fromkeys("malloc calloc realloc reallocarray free strdup strndup asprintf vasprintf".split(), ALLOCATES),
    **dict.fromkeys("alloca strdupa strndupa".split(), "takes the stack without a bound"),
    **dict.fromkeys("strtok strerror localtime gmtime ctime asctime rand srand random".split(),
                    "is not for several threads"),
    **dict.fromkeys("sleep usleep nanosleep".split(), "waits instead of being woken"),
    **dict.fromkeys("system popen tmpnam tempnam mktemp".split(), "is unsafe"),
    **dict.fromkeys("setjmp longjmp signal".split(), "has a better successor"),
}
# Where what is refused elsewhere is at home.
AT_HOME = {
    "base/mem.c": "malloc calloc realloc free asprintf vasprintf".split(),
    "tests/unit/test.c": "setjmp longjmp signal".split(),
}

# Put together here, so that this file is clean too.
HOSTS = [("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("deb", "debian", "org"),
         ("crates", "io"), ("proxy", "golang", "org")]
OUT_OF_PLACE = re.compile("|".join([r"(?<![\w.*-])/" + "work/", "/tmp/" + "build-"] +
                                   [re.escape(".".join(host)) for host in HOSTS]))

EXCEPTION = re.compile(r"/\*\s*lint:\s*(long|complex|call)\s+because\s+\S.*")
C_FILE = re.compile(r"\.(c|cc|h)$")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
DECISION = re.compile(r"\b(?:if|for|while|case|catch)\b|&&|\|\||\?")


class Faults:
    """What was found, in order."""

    def __init__(self):
        self.lines = []

    def add(self, path, line, text):
        self.lines.append(f"{path}:{line}: {text}")


def without_comments_and_texts(source):
    """The source with comments, strings and characters blanked; lines stay where they were."""
    token = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)

    def blank(match):
        text = match.group()
        if text[0] in "\"'":
            return text[0] * 2
        return "\n" * text.count("\n")

    lines = source.split("\n")
    # Names in includes are looked at elsewhere.
    return token.sub(blank, "\n".join("" if INCLUDE.match(line) else line for line in lines))


def excepted(lines, index, rule):
    """Whether the line of that index, or the one before, asks for an exception."""
    for at in (index, index - 1):
        match = EXCEPTION.search(lines[at]) if at >= 0 else None
        if match and match.group(1) == rule:
            return True
    return False


def check_includes(path, lines, faults):
    layer = path.split("/")[0]
    first = None
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        kind, name = match.groups()
        first = first or name
        if kind != '"':
            continue
        target = name.split("/")[0]
        if "/" not in name:
            faults.add(path, number, f'"{name}" is not written from the root')
        elif target == "api" and layer == "server" and path != API_WIRING:
            faults.add(path, number, f"only {API_WIRING} may include api/")
        elif layer in LAYERS and target in LAYERS + ("tests",):
            if target not in MAY_INCLUDE[layer] and not (target == "api" and path == API_WIRING):
                faults.add(path, number, f"{layer}/ may not include {target}/")
        if target in LAYERS and not os.path.exists(name):
            faults.add(path, number, f"{name} does not exist")
    own = re.sub(r"\.c$", ".h", path)
    if layer in LAYERS and own != path and os.path.exists(own) and first != own:
        faults.add(path, 1, f"must include its own {own} before anything else, which shows that it stands alone")


def check_shells(files, faults):
    for library, header in SHELLS.items():
        users = [(path, number) for path, lines in files.items() if path.split("/")[0] in LAYERS
                 for number, line in enumerate(lines, 1) if re.match(r"\s*#\s*include\s*[<\"]" + header + r"[>\"]", line)]
        for path, number in users:
            if path.endswith(".h"):
                faults.add(path, number, f"{library}'s types may not leave their one file")
        names = sorted({path for path, _ in users})
        for name in names[1:]:
            faults.add(name, 1, f"{library} is known to {names[0]} already; only one file may know it")


def check_calls(path, code, lines, faults):
    at_home = AT_HOME.get(path, ())
    for number, line in enumerate(code, 1):
        for name in re.findall(r"(?<![\w.>])(\w+)\s*\(", line):
            if name in REFUSED and name not in at_home and not excepted(lines, number - 1, "call"):
                faults.add(path, number, f"{name}() {REFUSED[name]}")
        if "NDEBUG" in line:
            faults.add(path, number, "asserts stay on")


def check_functions(path, code, lines, faults):
    """Functions are found by the house style: their braces, and nothing else, stand alone in the first column."""
    start = None
    for index, line in enumerate(code):
        if line == "{":
            start = index
        elif line == "}" and start is not None:
            head = start
            while head > 0 and code[head - 1].strip() and not re.search(r"[;}]\s*$|^#|^}", code[head - 1]):
                head -= 1
            signature = " ".join(code[head:start])
            if "(" in signature:
                length = index - head + 1
                complexity = 1 + len(DECISION.findall("\n".join(code[start:index])))
                name = re.search(r"(?:^TEST\()?(\w+)\s*[()]", signature).group(1)
                if length > MAX_LINES and not excepted(lines, head, "long"):
                    faults.add(path, head + 1, f"{name} has {length} lines; {MAX_LINES} are allowed")
                if complexity > MAX_COMPLEXITY and not excepted(lines, head, "complex"):
                    faults.add(path, head + 1, f"{name} has a complexity of {complexity}; {MAX_COMPLEXITY} is allowed")
            start = None


def check_c_form(path, lines, faults):
    if not lines[0].startswith("/*"):
        faults.add(path, 1, "a file begins with a comment: its purpose, its invariants")
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS:
            faults.add(path, number, f"{len(line)} columns; {MAX_COLUMNS} are allowed")
        if "\t" in line:
            faults.add(path, number, "a tab")
    if path.endswith(".h"):
        guard = re.sub(r"\W", "_", path).upper()
        if f"#ifndef {guard}" not in lines or f"#define {guard}" not in lines:
            faults.add(path, 1, f"must be guarded by {guard}")


def check_text(path, lines, faults):
    for number, line in enumerate(lines, 1):
        match = OUT_OF_PLACE.search(line)
        if match:
            faults.add(path, number, f"{match.group()} has no place in the project")
        if line != line.rstrip():
            faults.add(path, number, "blanks at the end of the line")
    if path.endswith(".py") and lines != [""]:
        body = lines[1:] if lines[0].startswith("#!") else lines
        if not body or not body[0].startswith(('"""', "#")):
            faults.add(path, 1, "a file begins with a comment: what it is for")
    elif (path.endswith(".sh") or path in ("Makefile", ".ci/run")) and "#" not in (lines + [""])[1][:1] + lines[0][:1]:
        faults.add(path, 1, "a file begins with a comment: what it is for")


def tracked_files():
    listed = subprocess.run(["git", "ls-files", "-z", "-c", "-o", "--exclude-standard"], check=True,
                            stdout=subprocess.PIPE).stdout
    names = sorted({name for name in listed.decode().split("\0") if name})
    return [name for name in names if os.path.isfile(name)]


def read_texts(names):
    """Lines by name; what is not text, or is recorded data, is left out."""
    files = {}
    for name in names:
        with open(name, "rb") as file:
            data = file.read()
        if b"\0" in data or name.startswith("tests/data/"):
            continue
        files[name] = data.decode("utf-8").split("\n")
    return files


def run_clang_format(names, jobs, faults):
    def run(some):
        return subprocess.run(["clang-format-14", "--dry-run", "-Werror", *some], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for result in pool.map(run, [names[i::jobs] for i in range(jobs) if names[i::jobs]]):
            for line in result.stdout.splitlines():
                match = re.match(r"([^:]+):(\d+):\d+: error: (.*) \[-Wclang-format", line)
                if match:
                    faults.add(match.group(1), match.group(2), match.group(3))
            if result.returncode and "clang-format" not in result.stdout:
                faults.add("clang-format", 0, result.stdout.strip() or f"ended with {result.returncode}")


def run_clang_tidy(binary, names, jobs, cache, flags, faults):
    headers = hashlib.sha256()
    for name in [n for n in names if n.endswith(".h")] + [".clang-tidy"]:
        with open(name, "rb") as file:
            headers.update(file.read())
    headers.update(repr((binary, flags)).encode())
    os.makedirs(cache, exist_ok=True)

    def run(name):
        with open(name, "rb") as file:
            key = hashlib.sha256(headers.digest() + name.encode() + file.read()).hexdigest()
        clean = os.path.join(cache, key)
        if os.path.exists(clean):
            return name, None
        standard = "-std=c++17" if name.endswith(".cc") else "-std=gnu11"
        result = subprocess.run([binary, "--quiet", name, "--", standard, "-Wall", "-Wextra",
                                 "-Wno-missing-field-initializers", *flags], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)
        if result.returncode == 0:
            open(clean, "w").close()
            return name, None
        return name, result.stdout or result.stderr

    sources = [n for n in names if n.endswith((".c", ".cc")) and not n.startswith("tests/fuzz/")]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for name, output in pool.map(run, sources):
            if output is None:
                continue
            found = [line for line in output.splitlines() if re.search(r": (error|warning): ", line)]
            for line in found or [f"{name}:0: {output.strip()[:500]}"]:
                faults.lines.append(line.replace(os.getcwd() + "/", ""))


def run_eslint(node, modules, faults):
    """By the rules of web/eslint.config.mjs."""
    result = subprocess.run([node, os.path.join(modules, "eslint", "bin", "eslint.js"), "--format", "json", "--max-warnings",
                             "0", "--config", "web/eslint.config.mjs", "web"], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)
    if result.returncode not in (0, 1):
        faults.add("eslint", 0, result.stderr.strip()[:500] or f"ended with {result.returncode}")
        return
    for file in json.loads(result.stdout):
        for found in file["messages"]:
            faults.add(os.path.relpath(file["filePath"]), found.get("line", 0), f"{found['message']} [{found['ruleId']}]")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--tidy", metavar="CLANG-TIDY")
    parser.add_argument("--node", default="node")
    parser.add_argument("--modules", metavar="NODE_MODULES")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--cache", default="build/lint")
    parser.add_argument("flags", nargs="*")
    options = parser.parse_args()

    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    faults = Faults()
    files = read_texts(tracked_files())
    c_names = [name for name in files if C_FILE.search(name)]
    for path, lines in files.items():
        check_text(path, lines, faults)
    for path in c_names:
        lines = files[path]
        code = without_comments_and_texts("\n".join(lines)).split("\n")
        check_c_form(path, lines, faults)
        check_includes(path, lines, faults)
        check_calls(path, code, lines, faults)
        check_functions(path, code, lines, faults)
    check_shells({path: files[path] for path in c_names}, faults)
    run_clang_format(c_names, options.jobs, faults)
    if options.tidy:
        run_clang_tidy(options.tidy, c_names, options.jobs, options.cache, options.flags, faults)
    if options.modules:
        run_eslint(options.node, options.modules, faults)
    for line in faults.lines:
        print(line)
    print(f"lint: {len(faults.lines)} faults in {len(files)} files")
    return 1 if faults.lines else 0


if __name__ == "__main__":
    sys.exit(main())
