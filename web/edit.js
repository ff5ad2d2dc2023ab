// Editing an object: a draft that is tried out while it is written, what is wrong with it at the fields, what differs,
// what the Envoys would go through, somebody else's edit as a third version, and the rollout after.
import { ask, get, isObject, mergePatch, same } from "./api.js";
import { onEvent } from "./live.js";
import { useGet } from "./store.js";
import { Changes, Consequences, Value } from "./diff.js";
import { Button, Card, CopyCurl, ErrorBox, Icon, href } from "./ui.js";
import { html, useState, useEffect, useMemo, useRef, useId } from "./html.js";

const TRY_AFTER_MS = 300; // without another key

// ---- the draft ------------------------------------------------------------------------------------------------------

// A draft of what stands at a path.
//   method: "PATCH" sends what differs from base, "PUT" sends all of it; without an etag, it makes it new
//   base: the members that can be edited, as they were read; etag: of what they were read from
//   pick(object): those members of an answer's object; kind, name: of the events that tell of somebody else's edit
export function useDraft({ path, method = "PATCH", base, etag, pick = (object) => object, kind, name }) {
    const [from, setFrom] = useState({ base, etag }); // what the draft began with
    const [draft, setDraft] = useState(base);
    const [broken, setBroken] = useState(null); // why the JSON is none
    const [trial, setTrial] = useState({ state: "idle", answer: null, problem: null });
    const [theirs, setTheirs] = useState(null); // {base, etag}: somebody else's
    const [applying, setApplying] = useState(false);
    const [applied, setApplied] = useState(null);
    const [again, setAgain] = useState(0);
    const now = useRef({}); // for what was begun before this was drawn
    now.current = { from, applying };
    const isNew = method === "PUT" && !etag;
    const isChanged = isNew || !same(from.base, draft);
    const body = useMemo(() => (method === "PUT" ? draft : mergePatch(from.base, draft)), [draft, from]);
    const request = { method, path, body, ...(isNew ? {} : { ifMatch: from.etag }) };
    const options = () => ({ body, ...(isNew ? { ifNoneMatch: "*" } : { ifMatch: now.current.from.etag }) });

    // What stands there now, if it is not what the draft began with. The draft's own way there is nobody else's edit: its
    // event may come before its answer.
    const look = async (signal) => {
        if (isNew || now.current.applying) return;
        const found = await get(path, { signal });
        const next = { base: pick(found.data), etag: found.etag };
        if (now.current.applying) return;
        if (same(next.base, now.current.from.base)) now.current.from.etag = next.etag;
        else setTheirs(next);
    };

    useEffect(() => {
        if (!isChanged || broken || theirs) {
            setTrial({ state: "idle", answer: null, problem: null });
            return undefined;
        }
        const abort = new AbortController();
        setTrial((before) => ({ ...before, state: "trying" })); // what was said is of another draft
        const timer = setTimeout(async () => {
            const { etag: tried } = now.current.from;
            try {
                const { data } = await ask(method, path, { ...options(), dryRun: true, signal: abort.signal });
                setTrial({ state: "good", answer: data, problem: null });
            } catch (problem) {
                if (problem.status === 412) await look(abort.signal).catch(() => {});
                if (abort.signal.aborted) return;
                // Only the tag is another, whoever found out.
                if (problem.status === 412 && now.current.from.etag !== tried) setAgain((n) => n + 1);
                else setTrial({ state: "bad", answer: null, problem });
            }
        }, TRY_AFTER_MS);
        return () => {
            clearTimeout(timer);
            abort.abort();
        };
    }, [body, broken, theirs, path, again]);

    // Somebody else's edit is told before it is in the way.
    useEffect(() => {
        if (isNew || !kind) return undefined;
        const abort = new AbortController();
        const stop = onEvent((event) => {
            if (event === null || (event.kind === kind && event.name === name)) look(abort.signal).catch(() => {});
        });
        return () => {
            stop();
            abort.abort();
        };
    }, [from]);

    return {
        name, draft, base: from.base, isNew, isChanged, broken, trial, theirs, applying, applied, request,
        set: setDraft,
        setBroken,
        reset: () => {
            setDraft(from.base);
            setBroken(null);
            setApplied(null);
        },
        // Goes on from what somebody else made.
        resolve: (next) => {
            setFrom(theirs);
            setDraft(next);
            setTheirs(null);
        },
        errors: trial.problem?.errors || (trial.answer?.envoy?.pointer ? [trial.answer.envoy] : []),
        apply: async () => {
            setApplying(true);
            now.current.applying = true;
            let failure = null;
            try {
                const { data } = await ask(method, path, options());
                const next = data.object ? pick(data.object) : draft;
                setFrom({ base: next, etag: data.etag });
                setDraft(next);
                setApplied(data);
                setTrial({ state: "idle", answer: null, problem: null });
                return data;
            } catch (problem) {
                failure = problem;
                setTrial({ state: "bad", answer: null, problem });
                return null;
            } finally {
                setApplying(false);
                now.current.applying = false;
                if (failure?.status === 412) await look().catch(() => {});
            }
        },
    };
}

// ---- members by their pointers --------------------------------------------------------------------------------------

const steps = (at) => at.split("/").slice(1).map((step) => step.replace(/~1/g, "/").replace(/~0/g, "~"));

export const valueAt = (object, at) => steps(at).reduce((value, step) => value?.[step], object);

// The same object with another value at that place; undefined takes the member or item away.
export function withValue(object, at, value) {
    const put = (here, [step, ...rest]) => {
        if (Array.isArray(here)) {
            const index = step === "-" ? here.length : Number(step);
            const next = rest.length ? put(here[index], rest) : value;
            return next === undefined ? here.filter((_, i) => i !== index)
                : [...here.slice(0, index), next, ...here.slice(index + 1)];
        }
        const { [step]: before, ...others } = here ?? {};
        const next = rest.length ? put(before ?? (/^(-|\d+)$/.test(rest[0]) ? [] : {}), rest) : value;
        if (next === undefined) return others;
        return before === undefined ? { ...others, [step]: next }
            : Object.fromEntries(Object.entries(here).map(([key, one]) => [key, key === step ? next : one]));
    };
    return put(object, steps(at));
}

// ---- fields ---------------------------------------------------------------------------------------------------------

const idOf = (at) => "field" + at.replace(/[^A-Za-z0-9]/g, "-");
const words = (text) => text.split(/[\s,]+/).filter(Boolean);

// How a kind of field shows its value as text, and reads it. `none`: what an empty field means.
const KINDS = {
    text: { show: (value) => value ?? "", read: (text, none) => (text === "" ? none : text) },
    long: { show: (value) => value ?? "", read: (text, none) => (text === "" ? none : text) },
    number: { show: (value) => (value ?? "") + "", read: (text, none) => (text === "" ? none : /^-?\d+(\.\d+)?$/.test(text)
        ? Number(text) : text) }, // what is no number is for igwd to refuse, at its place
    words: { show: (value) => (value ?? []).join(" "), read: (text) => words(text) },
    json: {
        show: (value) => (value === undefined ? "" : JSON.stringify(value, null, 2)),
        read: (text, none) => (text.trim() === "" ? none : JSON.parse(text)),
    },
};

// A labelled field for the member at a place of a draft.
//   of: the draft; at: "/vhosts/0/domains"; kind: text, long, number, words, json, check, or select with options
//   none: what an empty one becomes (null, or undefined: no member); why: not to be edited, and why
export function Field({ of, at, label, help, kind = "text", options, none, why, agent, ...rest }) {
    const value = valueAt(of.draft, at);
    const id = idOf(at);
    const errors = of.errors.filter((one) => one.pointer === "#" + at || (one.pointer || "").startsWith("#" + at + "/"));
    const [text, setText] = useState(null); // what is being written, while it does not read as the value
    const [bad, setBad] = useState(null);
    const set = (next) => of.set(withValue(of.draft, at, next));
    const codec = KINDS[kind];
    useEffect(() => {
        if (text === null) return;
        try {
            if (!same(codec.read(text, none), value)) setText(null);
        } catch {
            // It is no value yet.
        }
    }, [value]);
    const input = (event) => {
        setText(event.target.value);
        try {
            set(codec.read(event.target.value, none));
            setBad(null);
        } catch (error) {
            setBad(error.message);
        }
    };
    const isBad = errors.length > 0 || bad !== null;
    const changed = !of.isNew && !same(value, valueAt(of.base, at));
    const common = { id, disabled: Boolean(why), title: why || undefined, "aria-invalid": isBad ? "true" : undefined,
        "aria-describedby": [isBad && id + "-error", changed && id + "-changed", help && id + "-help"].filter(Boolean).join(" ") || undefined, ...rest };
    const control = kind === "check"
        ? html`<input type="checkbox" checked=${value ?? rest.otherwise ?? false} onChange=${(event) => set(event.target.checked)} ...${common} />`
        : kind === "select"
            ? html`<select value=${value ?? ""} onChange=${(event) => set(event.target.value === "" ? none : event.target.value)} ...${common}>
                ${options.map(([one, name]) => html`<option value=${one} selected=${one === (value ?? "")}>${name}</option>`)}</select>`
            : kind === "json" || kind === "long"
                ? html`<textarea rows="4" spellcheck="false" value=${text ?? codec.show(value)} onInput=${input} ...${common}></textarea>`
                : html`<input type="text" inputmode=${kind === "number" ? "numeric" : undefined} spellcheck="false" autocomplete="off"
                    value=${text ?? codec.show(value)} onInput=${input} ...${common} />`;
    return html`<div class=${"field " + (kind === "check" ? "check" : "") + (changed ? " changed" : "")}>
        <label for=${id}>${label}</label>${control}
        ${changed && html`<span class="sr" id=${id + "-changed"}>Changed.</span>`}
        ${help && html`<p class="help" id=${id + "-help"}>${help}</p>`}
        ${agent}
        ${isBad && html`<p class="error" id=${id + "-error"}>${bad || errors.map((one) => one.detail).join("; ")}</p>`}
    </div>`;
}

// ---- form and JSON side by side -------------------------------------------------------------------------------------

function Json({ of, why }) {
    const [text, setText] = useState(JSON.stringify(of.draft, null, 2));
    const id = useId();
    useEffect(() => {
        let shown;
        try {
            shown = JSON.parse(text);
        } catch {
            return; // it is being written
        }
        if (!same(shown, of.draft)) setText(JSON.stringify(of.draft, null, 2));
    }, [of.draft]);
    const input = (event) => {
        setText(event.target.value);
        try {
            const value = JSON.parse(event.target.value);
            if (!isObject(value)) throw new Error("An object is expected.");
            of.setBroken(null);
            of.set(value);
        } catch (error) {
            of.setBroken(error.message);
        }
    };
    return html`<div class="json"><label for=${id}>The same as JSON</label>
        <textarea id=${id} spellcheck="false" value=${text} onInput=${input} readonly=${Boolean(why)}
            aria-invalid=${of.broken ? "true" : undefined} aria-describedby=${of.broken ? id + "-error" : undefined}></textarea>
        ${of.broken && html`<p class="error" id=${id + "-error"}>${of.broken}</p>`}</div>`;
}

const STATES = { trying: "Trying it out…", good: "igwd would take this.", bad: "igwd would not take this." };

function Errors({ of }) {
    const { problem } = of.trial;
    if (!problem || of.theirs) return null;
    if (!problem.errors.length) return html`<${ErrorBox} error=${problem} />`;
    const show = (event, place) => {
        event.preventDefault();
        let at = place.slice(1);
        while (at && !document.getElementById(idOf(at))) at = at.slice(0, at.lastIndexOf("/"));
        document.getElementById(at ? idOf(at) : "json")?.focus();
    };
    return html`<div class="problem" role="alert"><${Icon} state="failed" /><div><strong>${problem.message}</strong>
        <ul>${problem.errors.map((one) => html`<li>${one.pointer
            ? html`<a href="#" onClick=${(event) => show(event, one.pointer)}><code>${one.pointer}</code></a>`
            : html`<code>${one.parameter || one.header || ""}</code>`} ${one.detail}</li>`)}</ul></div></div>`;
}

// What an Envoy that was asked says of a dry run, where igwd has one to ask.
function Verdict({ of, name }) {
    if (!of) return null;
    const version = of.version ? `Envoy ${of.version}` : "Envoy";
    if (of.state === "accepted")
        return html`<p class="verdict"><${Icon} state="ok" /><span>${version} was asked, and would take it.</span></p>`;
    if (of.state === "refused" && of.exposure && name && of.exposure !== name)
        return html`<p class="verdict"><${Icon} state="warning" /><span>${version} was asked, and refuses something else on this gateway:${" "}
            <code>${of.exposure}</code>. ${of.detail}</span></p>`;
    if (of.state === "refused")
        return html`<div class="problem" role="alert"><${Icon} state="failed" /><div>
            <strong>${version} was asked, and would refuse it${of.exposure && html` for <code>${of.exposure}</code>`}</strong>
            <p>${of.detail}</p></div></div>`;
    return html`<p class="verdict muted"><${Icon} state="unknown" /><span>No Envoy could be asked (${of.state})${of.detail && `: ${of.detail}`}</span></p>`;
}

// What would happen, and the buttons.
export function Outcome({ of, verb, onCancel, onApplied, why }) {
    const { trial } = of;
    const run = async () => {
        const written = await of.apply();
        if (written) onApplied?.(written);
    };
    const ready = of.isChanged && !of.broken && !of.theirs && trial.state === "good" && !of.applying;
    return html`<div class="outcome">
        ${of.applied && !of.isChanged && html`<${Applied} written=${of.applied} />`}
        <p role="status" class="muted">${of.broken ? "This is no JSON yet." : STATES[trial.state] || (of.isChanged ? "" : why || "Nothing is changed yet.")}</p>
        <${Errors} of=${of} />
        <${Verdict} of=${trial.answer?.envoy} name=${of.name} />
        ${trial.answer && html`<div class="would" tabindex="0" role="region" aria-label="What would happen"><h3>What differs</h3>${trial.answer.changes.length
            ? html`<${Changes} of=${trial.answer.changes} />` : html`<p class="muted">Nothing.</p>`}
            <${Consequences} of=${trial.answer} /></div>`}
        <div class="actions">
            <${CopyCurl} request=${of.request} />
            ${onCancel && html`<${Button} onClick=${onCancel}>Cancel<//>`}
            ${!of.isNew && of.isChanged && html`<${Button} onClick=${of.reset}>Undo all<//>`}
            <${Button} kind="primary" disabled=${why || !ready} onClick=${run}>${of.applying ? "…" : verb}<//>
        </div>
    </div>`;
}

// The whole: form and JSON, or three versions where somebody else was quicker; what would happen; what happened.
export function Editor({ of, form, verb = "Apply", onCancel, onApplied, why }) {
    if (of.theirs) return html`<${Conflict} of=${of} />`;
    return html`<div class="editor">
        <div class="sides"><form onSubmit=${(event) => event.preventDefault()} aria-label="Form">
            <fieldset disabled=${Boolean(of.broken)}>${form}</fieldset></form>
            <div class="beside"><${Json} of=${of} why=${why} />
                <${Outcome} of=${of} verb=${verb} onCancel=${onCancel} onApplied=${onApplied} why=${why} /></div></div>
    </div>`;
}

// ---- somebody else was quicker --------------------------------------------------------------------------------------

// Members that became another on one side or the other, each as it was, as it is, and as the draft has it.
function Conflict({ of }) {
    const { base, draft } = of;
    const theirs = of.theirs.base;
    const members = [...new Set([...Object.keys(base), ...Object.keys(theirs), ...Object.keys(draft)])]
        .filter((key) => !same(base[key], theirs[key]) || !same(base[key], draft[key])).sort();
    const both = members.filter((key) => !same(base[key], theirs[key]) && !same(base[key], draft[key]) && !same(theirs[key], draft[key]));
    const [chosen, setChosen] = useState({});
    const pick = (key) => chosen[key] || (same(base[key], draft[key]) ? "theirs" : both.includes(key) ? null : "mine");
    const ready = members.every((key) => pick(key));
    const goOn = () => {
        const next = { ...theirs };
        for (const key of members) {
            if (pick(key) !== "mine") continue;
            if (draft[key] === undefined) delete next[key];
            else next[key] = draft[key];
        }
        of.resolve(next);
    };
    const Cell = ({ value, name, side }) => html`<td><label class="version">
        ${side && html`<input type="radio" name=${"pick-" + name} checked=${pick(name) === side}
            aria-label=${`${name}: ${side === "mine" ? "yours" : "theirs"}`} onChange=${() => setChosen({ ...chosen, [name]: side })} />`}
        <${Value} of=${value} as="pre" /></label></td>`;
    return html`<${Card} title="Somebody else changed this meanwhile" kind="conflict">
        <p>${both.length ? "Both of you changed the same: choose." : "You changed different things: both can stay."}
            Nothing was lost, and nothing was applied.</p>
        <div class="table-box" tabindex="0" role="region" aria-label="Three versions"><table><thead><tr><th scope="col">Member</th>
            <th scope="col">As you found it</th><th scope="col">As it is now: theirs</th><th scope="col">Yours</th></tr></thead>
            <tbody>${members.map((key) => html`<tr key=${key} class=${both.includes(key) ? "both" : ""}><th scope="row"><code>${key}</code></th>
                <${Cell} value=${base[key]} name=${key} />
                <${Cell} value=${theirs[key]} name=${key} side="theirs" />
                <${Cell} value=${draft[key]} name=${key} side="mine" /></tr>`)}</tbody></table></div>
        <div class="body actions"><${Button} onClick=${() => of.resolve(theirs)}>Take all of theirs<//>
            <${Button} kind="primary" disabled=${ready ? false : "First choose where both changed the same."} onClick=${goOn}>Go on with these<//></div><//>`;
}

// ---- the rollout after ----------------------------------------------------------------------------------------------

// How far a revision has come: read again as Envoys take it, and when it is over.
export const useRollout = (number) => useGet(number ? `/revisions/${number}/rollout` : null,
    (event) => event.kind === "Proxy" || (event.kind === "Rollout" && event.name === String(number)));

export function RolloutBody({ of: r }) {
    const { acked, nacked, proxies } = r.counts;
    const state = nacked ? "failed" : r.complete && proxies > 0 ? "ok" : "unknown";
    const refused = r.proxies.filter((one) => one.state === "nacked").slice(0, 4);
    const share = (n) => ({ width: (100 * n) / proxies + "%" });
    return html`<div class="rollout">
        <p class=${"state-" + state}><${Icon} state=${state} /> ${proxies === 0 ? "It concerns no Envoy that is connected."
            : html`Acked by <strong>${acked} of ${proxies}</strong> ${proxies === 1 ? "Envoy" : "Envoys"}${nacked > 0
                && html`, <strong>refused by ${nacked}</strong>`}`}</p>
        ${proxies > 0 && html`<div class="meter" role="img" aria-label=${`${acked} of ${proxies} acked, ${nacked} refused`}>
            <i class="ok" style=${share(acked)}></i><i class="failed" style=${share(nacked)}></i></div>`}
        ${refused.map((one) => html`<div class="refusal" key=${one.id}><a href=${href("proxies", [one.id])}>${one.node_id}</a>
            ${one.errors.map((e) => html`<p><span class="muted">${e.type} ${e.name}</span> ${e.error}</p>`)}</div>`)}
    </div>`;
}

// What was applied, and how the Envoys take it.
function Applied({ written }) {
    const rollout = useRollout(written.number);
    return html`<div class="applied" role="status"><p><${Icon} state="ok" /> Revision${" "}
        <a href=${href("changes", [String(written.number)])}>${written.number}</a> is made and kept.</p>
        ${rollout.data ? html`<${RolloutBody} of=${rollout.data} />` : html`<p class="muted">Waiting for the Envoys…</p>`}</div>`;
}
