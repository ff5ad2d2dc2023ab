// Certificates: the agent's secrets and those made here; how long they last, who uses them, what they do not cover.
// Private keys go in and never come out.
import { ask, segment } from "./api.js";
import { useGet, useList } from "./store.js";
import { Field, Outcome, useDraft } from "./edit.js";
import { Choice, Search, Table } from "./table.js";
import {
    Button, Card, Confirm, CopyCurl, Dialog, Empty, Fact, Icon, Origin, PageHead, Pairs, Read, ReadOnly, countOf, days, go, href, setQuery,
    toast, useMe, whyNotAdmin,
} from "./ui.js";
import { html, useState, useId } from "./html.js";

const EVENTS = ["Certificate"];
const FIELDS = "name,namespace,origin,status.pair,status.pair_problem,status.trust,status.leaf,status.used_by";
const pathOf = (name) => "/certificates/" + segment(name);

const PAIRS = {
    none: ["none", "trust anchors alone"], missing: ["failed", "missing"], expired: ["failed", "expired"],
    kept: ["warning", "last good kept"], expires_soon: ["warning", ""], valid: ["ok", ""],
};

function pairOf({ pair, pair_problem: problem, leaf }) {
    const [state, text] = PAIRS[pair];
    return { state, text: text || (leaf ? days(leaf.days_left) : pair), message: problem };
}

const notCovered = (item) => item.status.used_by.flatMap((use) => use.names_not_covered);

// The words of a distinguished name that people look for.
const commonName = (name) => /(?:^|,)CN=((?:\\.|[^,])*)/.exec(name || "")?.[1] || name;

const COLUMNS = [
    { key: "name", title: "Certificate", sort: "name", cell: (item) => item.name },
    { key: "pair", title: "Lasts", sort: "not_after", cell: (item) => {
        const fact = pairOf(item.status);
        return html`<${Fact} ...${fact} title=${fact.message} />`;
    } },
    { key: "names", title: "Names", kind: "clip", narrow: false, cell: (item) => item.status.leaf?.names.join(", ") || "–" },
    { key: "issuer", title: "Issuer", kind: "clip", narrow: false, cell: (item) => commonName(item.status.leaf?.issuer) || "–" },
    { key: "used", title: "Used by", cell: (item) => {
        const missing = notCovered(item).length;
        return html`${item.status.used_by.length} ${missing > 0 && html`<${Fact} state="warning" text=${missing + " not covered"} />`}`;
    } },
    { key: "origin", title: "From", narrow: false, cell: (item) => html`<${Origin} of=${item.origin} />` },
];

function All({ query }) {
    const me = useMe();
    const [q, pair, sort] = [query.get("q") || "", query.get("pair") || "", query.get("sort") || "not_after"];
    const exposure = query.get("exposure");
    const list = useList("/certificates", { q, pair, exposure, sort, fields: FIELDS }, EVENTS);
    const make = html`<${Button} kind="primary" disabled=${whyNotAdmin(me)} onClick=${() => setQuery({ make: "1" })}>Upload a certificate<//>`;
    const empty = q || pair || exposure
        ? html`<${Empty} title="No certificate is like that"><${Button} onClick=${() => go(href("certificates"))}>Show all certificates<//><//>`
        : html`<${Empty} title="No certificate is used"><p>Exposures name the agent's secrets (<code>sec/NAME</code>) in their${" "}
            <code>certificate</code> sections; one can also be uploaded here and be named the same way.</p>${make}<//>`;
    return html`<${PageHead} title="Certificates" sub=${countOf(list, ", those that end first come first")}>
            <${CopyCurl} request=${{ path: "/certificates?sort=not_after&limit=100" }} />${make}<//>
        <div class="filters" role="search">
            <${Search} label="Search certificates" value=${q} onChange=${(text) => setQuery({ q: text })} />
            <${Choice} label="State" value=${pair} onChange=${(one) => setQuery({ pair: one })} options=${[["", "any"], ["expired", "expired"],
                ["missing", "missing"], ["expires_soon", "below 30 days"], ["kept", "last good kept"], ["valid", "valid"]]} />
            ${exposure && html`<${Button} kind="quiet" aria-label="No filter by exposure any more" onClick=${() => setQuery({ exposure: null })}>
                exposure: ${exposure} ✕<//>`}
        </div>
        <${Read} of=${list} empty=${empty}><${Table} label="Certificates" columns=${COLUMNS} items=${list.items} complete=${list.complete}
            rowKey=${(item) => item.name} rowHref=${(item) => href("certificates", [item.name])} sort=${sort}
            onSort=${(name) => setQuery({ sort: name })} onShow=${(first, last) => list.show(first, last)} /><//>
        ${query.get("make") && html`<${Upload} onClose=${() => setQuery({ make: null })} />`}`;
}

// ---- what is uploaded -------------------------------------------------------------------------------------------------

// A key must not get into a shell's history, nor into the page's markup.
const hidden = (body) => ({ ...body, ...(body.private_key ? { private_key: "…" } : {}), ...(body.password ? { password: "…" } : {}) });

function Pem({ of, at, label, help }) {
    const id = useId();
    const read = async (event) => {
        const [file] = event.target.files;
        if (file) of.set({ ...of.draft, [at.slice(1)]: await file.text() });
        event.target.value = "";
    };
    return html`<div><${Field} of=${of} at=${at} label=${label} help=${help} kind="long" />
        <p class="from-file"><label for=${id}>or from a file</label> <input type="file" id=${id} accept=".pem,.crt,.cer,.key,text/plain" onChange=${read} /></p></div>`;
}

function Form({ draft, verb, onCancel, onApplied }) {
    const of = { ...draft, request: { ...draft.request, body: hidden(draft.request.body) } };
    return html`<form class="editor" onSubmit=${(event) => event.preventDefault()} aria-label="Certificate">
        <${Pem} of=${of} at="/certificate_chain" label="Certificate chain (PEM)" help="The certificate itself first, then those that issued it." />
        <${Pem} of=${of} at="/private_key" label="Private key (PEM)" help="It goes in and never comes out. Nothing here: the one that is there stays." />
        <div class="fields"><${Field} of=${of} at="/password" label="Password of the key" type="password" autocomplete="new-password" /></div>
        <${Pem} of=${of} at="/trusted_ca" label="Trust anchors (PEM)" help="For client certificates, or those of endpoints." />
        <${Outcome} of=${of} verb=${verb} onCancel=${onCancel} onApplied=${onApplied} /></form>`;
}

function UploadForm({ name, onClose }) {
    const draft = useDraft({ path: pathOf(name), method: "PUT", base: {}, pick: () => ({}) });
    return html`<${Form} draft=${draft} verb="Upload" onCancel=${onClose} onApplied=${(written) => {
        toast(`Revision ${written.number}: ${name} is there`);
        go(href("certificates", [name]));
    }} />`;
}

function Upload({ onClose }) {
    const [name, setName] = useState("");
    const id = useId();
    return html`<${Dialog} title="Upload a certificate" wide onClose=${onClose}><div class="body">
        <div class="field"><label for=${id}>Name</label><input type="text" id=${id} value=${name} spellcheck="false" autocomplete="off" required
            placeholder="NAMESPACE/sec/NAME" aria-describedby=${id + "-help"} onInput=${(event) => setName(event.target.value.trim())} />
            <p class="help" id=${id + "-help"}>As exposures name it: <code>shop/sec/front</code>, or <code>sec/front</code> of the root namespace.</p></div>
        ${name && html`<${UploadForm} name=${name} onClose=${onClose} />`}</div><//>`;
}

function Replace({ item, etag, onClose }) {
    const base = { certificate_chain: item.certificate_chain ?? undefined, trusted_ca: item.trusted_ca ?? undefined,
        verify_certificate_hash: item.verify_certificate_hash ?? undefined };
    const draft = useDraft({ path: pathOf(item.name), method: "PUT", base, etag,
        pick: (object) => ({ certificate_chain: object.certificate_chain ?? undefined, trusted_ca: object.trusted_ca ?? undefined,
            verify_certificate_hash: object.verify_certificate_hash ?? undefined }), kind: "Certificate", name: item.name });
    return html`<${Card} title="Replace it"><div class="body"><${Form} draft=${draft} verb="Replace" onCancel=${onClose} /></div><//>`;
}

// ---- one certificate --------------------------------------------------------------------------------------------------

function Uses({ item }) {
    return html`<${Card} title="Who uses it">${item.status.used_by.length === 0 ? html`<p class="muted">Nobody.</p>`
        : html`<ul class="rows">${item.status.used_by.map((use) => html`<li key=${use.exposure + use.as}>
            <${Icon} state=${use.names_not_covered.length ? "warning" : "ok"} label=${use.names_not_covered.length ? "names are not covered" : "its names are covered"} />
            <div><a href=${href("exposures", [use.exposure])}>${use.exposure}</a>
            <p class="muted">${use.as === "listener_certificate" ? "on its listener" : "in another place"}${use.names_not_covered.length > 0
                && html`; it does not cover ${use.names_not_covered.map((name) => html`<code>${name}</code> `)}`}</p></div></li>`)}</ul>`}<//>`;
}

const date = (text) => new Date(text).toLocaleString();

function Leaf({ leaf }) {
    if (!leaf) return html`<${Card} title="The certificate"><p class="muted">There is none that can be served.</p><//>`;
    return html`<${Card} title="The certificate"><${Pairs} of=${[
        ["Subject", leaf.subject], ["Names", leaf.names.map((name) => html`<code>${name}</code> `)], ["Issuer", leaf.issuer],
        ["Valid", `${date(leaf.not_before)} to ${date(leaf.not_after)}`], ["Left", days(leaf.days_left)],
        ["SHA-256", html`<code>${leaf.fingerprint_sha256}</code>`], ["Serial", html`<code>${leaf.serial}</code>`],
        ["Chain", `${leaf.chain_length} ${leaf.chain_length === 1 ? "certificate" : "certificates"}`],
    ]} /><//>`;
}

function One({ name, query }) {
    const me = useMe();
    const [asked, setAsked] = useState(false);
    const one = useGet(pathOf(name), (event) => event.kind === "Certificate" ? event.name === name : event.kind === "Exposure");
    const item = one.data;
    const mine = item?.origin === "api";
    const why = whyNotAdmin(me);
    const fact = item && pairOf(item.status);
    if (one.error?.status === 404)
        return html`<${PageHead} title=${name} /><${Empty} title="There is no such certificate"><p>No exposure names it any more, or it was
            deleted. <a href=${href("certificates")}>All certificates</a></p><//>`;
    const remove = async () => {
        const { data } = await ask("DELETE", pathOf(name));
        toast(`Revision ${data.number}: ${name} is deleted`);
        go(href("certificates"));
    };
    return html`<${PageHead} title=${name} sub=${html`<a href=${href("certificates")}>Certificates</a>`}>
            <${CopyCurl} request=${{ path: pathOf(name) }} />
            ${mine && html`<${Button} kind="danger" disabled=${why} onClick=${() => setAsked(true)}>Delete<//>
                <${Button} kind="primary" disabled=${why} onClick=${() => setQuery({ edit: "1" })}>Replace<//>`}<//>
        <${Read} of=${one}>${item && html`
            ${!mine && html`<${ReadOnly} why="It is a secret of the agent's: renew it there, and it is served at once." />`}
            <div class="conditions"><div class=${"condition state-" + fact.state}><h2>Certificate and key</h2>
                <${Fact} state=${fact.state} text=${fact.text} />${fact.message && html`<p>${fact.message}</p>`}</div>
            <div class="condition"><h2>Trust anchors</h2><${Fact} state=${{ none: "none", kept: "warning", valid: "ok" }[item.status.trust]}
                text=${{ none: "none", kept: "last good kept", valid: "there" }[item.status.trust]} />
                ${item.status.trust_problem && html`<p>${item.status.trust_problem}</p>`}</div></div>
            ${query.get("edit") && mine && html`<${Replace} item=${item} etag=${one.etag} onClose=${() => setQuery({ edit: null })} />`}
            <div class="columns"><${Leaf} leaf=${item.status.leaf} /><${Uses} item=${item} /></div>`}<//>
        ${asked && html`<${Confirm} title="Delete this certificate?" verb="Delete" danger action=${remove} onClose=${() => setAsked(false)}>
            <p>Listeners that use <code>${name}</code> lose it: what has no other certificate is taken off. It can be brought back from the changes,
            with its key.</p><//>`}`;
}

export default function Certificates({ args, query }) {
    return args.length ? html`<${One} name=${args[0]} query=${query} />` : html`<${All} query=${query} />`;
}
