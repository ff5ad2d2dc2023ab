#!/usr/bin/env python3
"""Makes the dashboard: what a browser gets, compressed too, and a C file that holds all of it for the daemon.

    web/build.py --modules NODE_MODULES [--node PROGRAM] --out DIRECTORY

No bundler: modules stay files. What comes from npm gets a flat name, and what it imports by bare names is rewritten to
these; then every import of every module must lead to a file. All stand below /ui/HASH/, where HASH is of their content
together: a browser may keep them for ever, and a new build is at another place. The entry alone stands at /.
"""

import argparse
import gzip
import hashlib
import html
import json
import pathlib
import re
import subprocess
import sys

WEB = pathlib.Path(__file__).resolve().parent
# Where a module of npm stands, how it is called here, and what is put behind it.
VENDOR = {
    "preact.js": ("preact/dist/preact.mjs", ""),
    "hooks.js": ("preact/hooks/dist/hooks.mjs", ""),
    "htm.js": ("htm/dist/htm.mjs", ""),
    "uplot.js": ("uplot/dist/uPlot.iife.min.js", "\nexport default uPlot;\n"),
    "uplot.css": ("uplot/dist/uPlot.min.css", ""),
}
BARE = {"preact": "./preact.js", "preact/hooks": "./hooks.js"}
LICENSES = ("preact/LICENSE", "htm/LICENSE", "uplot/LICENSE")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
ENTRY = "app.js"


class Bad(Exception):
    """The dashboard can't be made of this."""


def read_vendor(modules):
    files = {}
    for name, (path, more) in VENDOR.items():
        text = (modules / path).read_text("utf-8") + more
        files[name] = re.sub(r"\n?//# sourceMappingURL=.*", "", text)
    files["licenses.txt"] = "\n\n".join("%s\n\n%s" % (path, (modules / path).read_text("utf-8").strip())
                                        for path in LICENSES) + "\n"
    return files


def read_own():
    return {path.name: path.read_text("utf-8") for path in sorted(WEB.iterdir()) if path.suffix in TYPES}


def take_apart(files, node, modules):
    """What each module is made of, as imports.mjs says: {name: {parts, later}}."""
    texts = {name: text for name, text in files.items() if name.endswith(".js")}
    done = subprocess.run([node, WEB / "imports.mjs", modules], input=json.dumps(texts), capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise Bad("imports.mjs: " + done.stderr.strip())
    return json.loads(done.stdout)


def link(files, apart):
    """Calls what comes from npm by its name here, and looks whether every import leads to a file. What each module imports
    before it runs: {name: names}."""
    imported = {}
    for name, module in apart.items():
        parts = module["parts"]
        if name in VENDOR:
            parts[1::2] = [BARE.get(target, target) for target in parts[1::2]]
            files[name] = "".join(parts)
        for target in parts[1::2] + module["later"]:
            if target is None:
                raise Bad("%s imports what is known only when it runs" % name)
            if not target.startswith("./") or target[2:] not in files:
                raise Bad("%s imports %r, which is no file of the dashboard" % (name, target))
        imported[name] = [target[2:] for target in parts[1::2]]
    return imported


def first_load(imported):
    """What the entry imports, and what that imports: a browser may ask for all of it at once."""
    found, waiting = [], [ENTRY]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.append(name)
            waiting += imported[name]
    return sorted(found)


def finish(files, first):
    """What stands where: {path: text}. The entry knows the place of the others."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(b"%s\0%s\0" % (name.encode(), files[name].encode()))
    base = "/ui/" + digest.hexdigest()[:16]
    preload = "\n".join('<link rel="modulepreload" href="%s/%s">' % (base, html.escape(name))
                        for name in first if name != ENTRY)
    page = files.pop("index.html").replace("{{base}}", base).replace("{{preload}}", preload)
    if "{{" in page:
        raise Bad("index.html has a place that nothing is known for")
    return {"/": page, **{"%s/%s" % (base, name): text for name, text in files.items()}}


C_HEAD = """\
/* Made by web/build.py: the dashboard's files as they are served. */
#include "api/pages.h"

#define HELD(name, file)                                                        \\
    __asm__(".pushsection .rodata\\n.hidden " #name "\\n.global " #name "\\n"      \\
            ".hidden " #name "_end\\n.global " #name "_end\\n"                    \\
            #name ":\\n.incbin \\"" file "\\"\\n" #name "_end:\\n.byte 0\\n.popsection\\n"); \\
    extern const uint8_t name[] __attribute__((visibility("hidden")));          \\
    extern const uint8_t name##_end[] __attribute__((visibility("hidden")))
"""


def write(pages, out):
    directory = out / "files"
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    held, rows = [], []
    for number, (path, text) in enumerate(sorted(pages.items())):
        data = text.encode()
        name = path.rpartition("/")[2] or "index.html"
        packed = gzip.compress(data, 9, mtime=0)
        smaller = len(packed) < len(data)
        symbols = ["web_page_%d" % number, "web_page_%d_gzip" % number if smaller else None]
        for symbol, content, suffix in ((symbols[0], data, ""), (symbols[1], packed, ".gz")):
            if symbol:
                file = directory / (name + suffix)
                file.write_bytes(content)
                held.append('HELD(%s, "%s");' % (symbol, file.resolve()))
        rows.append('    {"%s", "%s", "\\"%s\\"", %s, %s, %s_end, %s, %s},' % (
            path, TYPES[pathlib.Path(name).suffix], hashlib.sha256(data).hexdigest()[:32],
            "false" if path == "/" else "true", symbols[0], symbols[0], symbols[1] or "NULL",
            symbols[1] + "_end" if smaller else "NULL"))
    text = "\n".join([C_HEAD, *held, "", "const struct page web_pages[] = {", *rows, "};",
                      "const size_t web_n_pages = ARRAY_LEN(web_pages);", ""])
    (out / "pages.c").write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modules", required=True, type=pathlib.Path, help="npm's node_modules")
    parser.add_argument("--node", default="node", help="the program that reads modules")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="where pages.c and files/ are written")
    options = parser.parse_args()
    try:
        files = {**read_own(), **read_vendor(options.modules)}
        imported = link(files, take_apart(files, options.node, options.modules))
        write(finish(files, first_load(imported)), options.out)
    except (Bad, OSError) as error:
        print("web/build.py: %s" % error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
