// Takes modules apart where they name others, for build.py: on standard input {name: text}, on standard output
// {name: {parts, later}}. What looks like an import in a text, a comment or a regular expression is none.
//   parts: text, module, text, module, ..., text: the whole, cut at what is imported before it runs
//   later: what it imports while it runs; null where that is not known before
// Its argument is npm's node_modules.
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";

const { init, parse } = await import(resolve(process.argv[2], "es-module-lexer/dist/lexer.js"));
await init;

function apart(name, text) {
    const parts = [];
    const later = [];
    let done = 0;
    for (const one of parse(text, name)[0]) {
        if (one.type === "dynamic") later.push(one.glob ? null : one.specifier ?? null);
        if (one.type !== "static" && one.type !== "reexport-star") continue;
        parts.push(text.slice(done, one.start), one.specifier);
        done = one.end;
    }
    return { parts: [...parts, text.slice(done)], later };
}

const modules = JSON.parse(readFileSync(0, "utf-8"));
writeFileSync(1, JSON.stringify(Object.fromEntries(Object.entries(modules).map(([name, text]) => [name, apart(name, text)]))));
