// What became another: by the agent's events and by people. One revision: what differs, who did it, how the Envoys took
// it; and the way back.
import { ask } from "./api.js";
import { useGet, useList } from "./store.js";
import { Choice, Search, Table } from "./table.js";
import { Changes as Documents, Consequences } from "./diff.js";
import { RolloutBody, useRollout } from "./edit.js";
import {
    Ago, Button, Card, Confirm, CopyCurl, Empty, ErrorBox, Loading, PageHead, Pairs, Read, Tag, causeOf, href, setQuery, toast, useMe,
    whyNotAdmin,
} from "./ui.js";
import { html, useState, useEffect } from "./html.js";

const EVENTS = ["Revision"];
const FIELDS = "number,time,cause,author,names,n_changed,documents";

// "service web" and "listener envoy|..." as the revision names them, with a way there.
function Named({ text }) {
    const at = text.indexOf(" ");
    const [kind, name] = [text.slice(0, at), text.slice(at + 1)];
    const to = { service: () => href("exposures", [], { service: name }), secret: () => href("certificates", [name]),
        listener: () => href("topology", [], { gateway: name.split("|")[0], listener: name }), gateway: () => href("gateways", [name]) }[kind];
    return html`${kind} ${to ? html`<a href=${to()}><code>${name}</code></a>` : html`<code>${name}</code>`}`;
}

const whatOf = ({ names, n_changed: n }) => (names.length ? names[0] + (n > 1 ? ` and ${n - 1} more` : "") : "nothing");

const Who = ({ author }) => (author === null ? html`<span class="muted">agent</span>` : html`<${Tag} kind="accent">${author}<//>`);

const COLUMNS = [
    { key: "number", title: "Revision", sort: "number", cell: (item) => String(item.number) },
    { key: "time", title: "When", cell: (item) => html`<${Ago} time=${item.time} />` },
    { key: "author", title: "Who", cell: (item) => html`<${Who} author=${item.author} />` },
    { key: "what", title: "What", cell: whatOf },
    { key: "cause", title: "Cause", kind: "clip", narrow: false, cell: causeOf },
];

function All({ query }) {
    const [q, by, sort] = [query.get("q") || "", query.get("by") || "", query.get("sort") || "-number"];
    const changed = query.getAll("changed"), author = query.getAll("author");
    const path = by === "people" ? "/audit" : "/revisions";
    const list = useList(path, { q, changed, author, sort, fields: FIELDS }, EVENTS);
    const isFiltered = q || by || changed.length || author.length;
    const empty = html`<${Empty} title=${isFiltered ? "No change is like that" : "Nothing was changed yet"}>
        <p>${isFiltered ? html`<a href=${href("changes")}>All changes</a>` : "Each event of the agent that changes something, and each edit, makes a revision."}</p><//>`;
    return html`<${PageHead} title="Changes" sub="Each has its cause; any can be compared, and what people made can be restored.">
            <${CopyCurl} request=${{ path: `${path}?sort=${sort}&limit=100` }} /><//>
        <div class="filters" role="search">
            <${Search} label="Search changes" value=${q} onChange=${(text) => setQuery({ q: text })} />
            <${Choice} label="By" value=${by} options=${[["", "anybody"], ["people", "people"]]} onChange=${(one) => setQuery({ by: one })} />
            ${[...changed.map((one) => ["changed", one]), ...author.map((one) => ["author", one])].map(([name, value]) => html`
                <${Button} kind="quiet" aria-label=${`No filter by ${name} any more`} onClick=${() => setQuery({ [name]: null })}>${name}: ${value} ✕<//>`)}
        </div>
        <${Read} of=${list} empty=${empty}><${Table} label="Changes" columns=${COLUMNS} items=${list.items} complete=${list.complete}
            rowKey=${(item) => item.number} rowHref=${(item) => href("changes", [String(item.number)])}
            sort=${sort} onSort=${(name) => setQuery({ sort: name })} onShow=${(first, last) => list.show(first, last)} /><//>`;
}

// ---- the way back -----------------------------------------------------------------------------------------------------

// What people made becomes again what it was; tried out first.
function Restore({ number, onClose }) {
    const [trial, setTrial] = useState({ answer: null, error: null });
    useEffect(() => {
        const abort = new AbortController();
        ask("POST", "/revisions", { body: { restore: number }, dryRun: true, signal: abort.signal })
            .then(({ data }) => setTrial({ answer: data, error: null }),
                (error) => !abort.signal.aborted && setTrial({ answer: null, error }));
        return () => abort.abort();
    }, []);
    const run = async () => {
        const { data } = await ask("POST", "/revisions", { body: { restore: number } });
        toast(`Revision ${data.number} has what people made as it was in ${number}`);
        location.hash = href("changes", [String(data.number)]);
    };
    const { answer, error } = trial;
    if (answer && !answer.changes.length)
        return html`<${Confirm} title=${`Restore revision ${number}?`} verb="Close" action=${async () => {}} onClose=${onClose}>
            <p>What people made is the same now as it was then: there is nothing to restore.</p><//>`;
    return html`<${Confirm} title=${`Restore revision ${number}?`} verb="Restore" action=${answer ? run : async () => {
        throw error || new Error("It is still being tried out.");
    }} onClose=${onClose}>
        <p>What people made becomes again what it was then, as a new revision. What the agent says stays as it is.</p>
        <${ErrorBox} error=${error} />
        ${!answer && !error && html`<${Loading} what="Trying it out" />`}
        ${answer && html`<${Documents} of=${answer.changes} /><${Consequences} of=${answer} />`}<//>`;
}

// ---- one revision -----------------------------------------------------------------------------------------------------

// Which other revision it is compared with.
function Against({ against }) {
    const [text, setText] = useState(String(against));
    useEffect(() => setText(String(against)), [against]);
    const submit = (event) => {
        event.preventDefault();
        if (/^\d+$/.test(text)) setQuery({ against: text });
    };
    return html`<form class="choice" onSubmit=${submit}><label for="against">Compared with revision</label>
        <input id="against" inputmode="numeric" size="7" value=${text} onInput=${(event) => setText(event.target.value)} />
        <${Button} type="submit">Compare<//></form>`;
}

function Difference({ number, against }) {
    const diff = useGet(`/revisions/${number}/diff?against=${against}`);
    const documents = diff.data?.documents || [], names = diff.data?.names || [];
    return html`<${Card} title="What differs" action=${html`<${Against} against=${against} />`}><div class="body">
        <${Read} of=${diff}>
        ${documents.length > 0 && html`<${Documents} of=${documents} />`}
        ${names.length > 0 && html`<section class="change"><h3>By the agent's word, or in consequence</h3>
            <ul class="rivals">${names.map((one) => html`<li><${Named} text=${one} /></li>`)}</ul></section>`}
        ${!documents.length && !names.length && html`<p class="muted">Nothing.</p>`}<//></div><//>`;
}

function Rollout({ number }) {
    const rollout = useRollout(number);
    const unknown = rollout.error?.status === 404 || rollout.error?.status === 410;
    return html`<${Card} title="How the Envoys took it"><div class="body">${unknown
        ? html`<p class="muted">Not known any more: only the latest rollouts are kept.</p>`
        : html`<${Read} of=${rollout}>${rollout.data && html`<${RolloutBody} of=${rollout.data} />`}<//>`}</div><//>`;
}

function One({ number, query }) {
    const me = useMe();
    const [asked, setAsked] = useState(false);
    const revision = useGet(`/revisions/${number}`);
    const item = revision.data;
    const against = query.get("against") || (item && item.number > 1 ? String(item.number - 1) : null);
    if (revision.error?.status === 404 || revision.error?.status === 410)
        return html`<${PageHead} title=${"Revision " + number} /><${Empty} title=${revision.error.status === 410
            ? "It is not kept any more" : "There is no such revision"}><p><a href=${href("changes")}>All changes</a></p><//>`;
    return html`<${PageHead} title=${"Revision " + number} sub=${html`<a href=${href("changes")}>Changes</a>`}>
            ${item && html`<${CopyCurl} request=${{ method: "POST", path: "/revisions", body: { restore: item.number } }} />
            <a class="button" href=${href("changes", [String(item.number - 1)])}>Before</a>
            <a class="button" href=${href("changes", [String(item.number + 1)])}>After</a>
            <${Button} disabled=${whyNotAdmin(me)} onClick=${() => setAsked(true)}>Restore<//>`}<//>
        <${Read} of=${revision}>${item && html`<div class="columns"><div class="stack">${against !== null
            && html`<${Difference} number=${item.number} against=${against} />`}</div>
            <div class="stack"><${Card} title="Who and why"><${Pairs} of=${[
                ["When", html`<${Ago} time=${item.time} />`],
                ["Who", html`<${Who} author=${item.author} />`],
                ["Cause", item.cause && html`<code>${causeOf(item)}</code>`],
                ["Request", item.request_id && html`<code>${item.request_id}</code>`],
                ["Changed", String(item.n_changed)],
            ]} /><//>
            <${Rollout} number=${item.number} />
            <${Card} title="What changed"><ul class="rows">${item.names.map((one) => html`<li><div><${Named} text=${one} /></div></li>`)}
                ${item.n_changed > item.names.length && html`<li class="muted">and ${item.n_changed - item.names.length} more</li>`}</ul><//></div></div>`}<//>
        ${asked && html`<${Restore} number=${item.number} onClose=${() => setAsked(false)} />`}`;
}

export default function Changes({ args, query }) {
    return args.length ? html`<${One} number=${args[0]} query=${query} />` : html`<${All} query=${query} />`;
}
