// Who may do what: tokens, whose secret is shown once; grants between namespaces; who is signed in.
import { ask, segment } from "./api.js";
import { useGatewayNames, useList } from "./store.js";
import { Table } from "./table.js";
import {
    Ago, Button, Card, Confirm, CopyCurl, Dialog, Empty, ErrorBox, Icon, PageHead, Pairs, Read, ReadOnly, Tag, copy, toast, useMe,
    whyNotAdmin,
} from "./ui.js";
import { html, useState, useId } from "./html.js";

// An edit makes a revision; tokens expire without one.
const EVENTS = ["Revision", "Token"];
const DAY = 86400e3;
const LIVES = [[30, "in 30 days"], [90, "in 90 days"], [365, "in a year"], [0, "never"]];
const TOKEN_STATES = { valid: ["", ""], expires_soon: ["warning", "soon, "], expired: ["failed", "expired "] };
const ROLES = [["viewer", "viewer: reads everything"], ["operator", "operator: edits exposures of its gateways"],
    ["admin", "admin: does everything"]];

// ---- tokens -----------------------------------------------------------------------------------------------------------

function Secret({ token, onClose }) {
    return html`<${Dialog} title="The new token" onClose=${onClose}><div class="body">
        <p>This is its secret. It is shown <strong>once</strong>: igwd keeps only a digest.</p>
        <pre class="secret" tabindex="0" aria-label="The token's secret">${token}</pre></div>
        <footer><${Button} kind="primary" onClick=${() => copy(token, "Token")}>Copy<//></footer><//>`;
}

function NewToken({ gateways, onClose, onMade }) {
    const [draft, setDraft] = useState({ name: "", role: "viewer", gateways: [], days: 90 });
    const [state, setState] = useState({ busy: false, error: null });
    const [now] = useState(Date.now);
    const id = useId();
    const body = { name: draft.name, role: draft.role, ...(draft.role === "operator" ? { gateways: draft.gateways } : {}),
        ...(draft.days ? { expires_at: new Date(now + draft.days * DAY).toISOString() } : {}) };
    const submit = async (event) => {
        event.preventDefault();
        setState({ busy: true, error: null });
        try {
            const { data } = await ask("POST", "/tokens", { body });
            onMade(data.token);
        } catch (error) {
            setState({ busy: false, error });
        }
    };
    const toggle = (name) => setDraft({ ...draft, gateways: draft.gateways.includes(name)
        ? draft.gateways.filter((one) => one !== name) : [...draft.gateways, name] });
    return html`<${Dialog} title="Make a token" onClose=${onClose}><form onSubmit=${submit}><div class="body">
        <div class="field"><label for=${id + "name"}>Name</label><input type="text" id=${id + "name"} value=${draft.name} required
            autocomplete="off" aria-describedby=${id + "help"} onInput=${(event) => setDraft({ ...draft, name: event.target.value })} />
            <p class="help" id=${id + "help"}>Of who uses it: it stands beside every edit.</p></div>
        <div class="field"><label for=${id + "role"}>Role</label><select id=${id + "role"} value=${draft.role}
            onChange=${(event) => setDraft({ ...draft, role: event.target.value })}>${ROLES.map(([one, text]) => html`
            <option value=${one} selected=${one === draft.role}>${text}</option>`)}</select></div>
        ${draft.role === "operator" && html`<fieldset class="choices"><legend>Gateways</legend>${gateways.map((name) => html`
            <label><input type="checkbox" checked=${draft.gateways.includes(name)} onChange=${() => toggle(name)} /> ${name}</label>`)}</fieldset>`}
        <div class="field"><label for=${id + "expires"}>Expires</label><select id=${id + "expires"}
            onChange=${(event) => setDraft({ ...draft, days: Number(event.target.value) })}>${LIVES.map(([days, text]) => html`
            <option value=${days} selected=${days === draft.days}>${text}</option>`)}</select></div>
        <${ErrorBox} error=${state.error} /></div>
        <footer><${CopyCurl} request=${{ method: "POST", path: "/tokens", body }} /><${Button} onClick=${onClose}>Cancel<//>
            <${Button} kind="primary" type="submit" disabled=${state.busy || !draft.name}>Make it<//></footer></form><//>`;
}

function Tokens({ why }) {
    const list = useList("/tokens", { sort: "-updated_at" }, EVENTS);
    const gateways = useGatewayNames();
    const [open, setOpen] = useState(null); // "new", {secret}, {remove}
    const remove = async () => {
        await ask("DELETE", "/tokens/" + segment(open.remove.id));
        toast(`The token of ${open.remove.name} is deleted`);
        list.refresh();
    };
    const columns = [
        { key: "name", title: "Name", cell: (item) => item.name },
        { key: "role", title: "Role", cell: (item) => html`<${Tag} kind=${item.role === "admin" ? "warning" : ""}>${item.role}<//> ${item.gateways.join(", ")}` },
        { key: "expires", title: "Expires", cell: ({ expires_at: at, status }) => at ? html`<${Tag} kind=${TOKEN_STATES[status.state][0]}>
            ${TOKEN_STATES[status.state][1] + new Date(at).toLocaleString()}<//>` : "never" },
        { key: "made", title: "Made", narrow: false, cell: (item) => html`<${Ago} time=${item.created_at} /> by ${item.author}` },
        { key: "act", title: html`<span class="sr">Actions</span>`, kind: "num", cell: (item) => html`
            <${Button} kind="danger" disabled=${why} aria-label=${`Delete the token of ${item.name}`} onClick=${() => setOpen({ remove: item })}>Delete<//>` },
    ];
    return html`<${Card} title="Tokens" action=${html`<${Button} kind="primary" disabled=${why} onClick=${() => setOpen("new")}>Make a token<//>`}>
        <${Read} of=${list} empty=${html`<${Empty} title="No token was made here"><p>Scripts, dashboards and browsers come with one over TCP.
            Those of a file (<code>--api-token-file</code>) are not listed.</p><//>`}>
            <${Table} label="Tokens" columns=${columns} items=${list.items} complete=${list.complete} rowKey=${(item) => item.id}
                onShow=${(first, last) => list.show(first, last)} /><//>
        ${open === "new" && html`<${NewToken} gateways=${gateways} onClose=${() => setOpen(null)} onMade=${(secret) => {
            setOpen({ secret });
            list.refresh();
        }} />`}
        ${open?.secret && html`<${Secret} token=${open.secret} onClose=${() => setOpen(null)} />`}
        ${open?.remove && html`<${Confirm} title="Delete this token?" verb="Delete" danger action=${remove} onClose=${() => setOpen(null)}>
            <p>Whoever uses <strong>${open.remove.name}</strong> is refused from then on, and its sessions end.</p><//>`}<//>`;
}

// ---- grants -----------------------------------------------------------------------------------------------------------

function NewGrant({ onClose, onMade }) {
    const [draft, setDraft] = useState({ namespace: "", type: "domain", target: "", reason: "" });
    const [state, setState] = useState({ busy: false, error: null });
    const id = useId();
    const path = "/grants/" + segment(`${draft.namespace}|${draft.type}|${draft.target}`);
    const body = draft.reason ? { reason: draft.reason } : {};
    const submit = async (event) => {
        event.preventDefault();
        setState({ busy: true, error: null });
        try {
            await ask("PUT", path, { body });
            onMade();
        } catch (error) {
            setState({ busy: false, error });
        }
    };
    const text = (name, label, more) => html`<div class="field"><label for=${id + name}>${label}</label><input type="text" id=${id + name}
        value=${draft[name]} autocomplete="off" spellcheck="false" onInput=${(event) => setDraft({ ...draft, [name]: event.target.value })} ...${more} /></div>`;
    return html`<${Dialog} title="Grant to a namespace" onClose=${onClose}><form onSubmit=${submit}><div class="body">
        ${text("namespace", "Namespace that may", { required: true })}
        <div class="field"><label for=${id + "type"}>Use</label><select id=${id + "type"} value=${draft.type} onChange=${(event) => setDraft({ ...draft, type: event.target.value })}>
            <option value="domain" selected=${draft.type === "domain"}>a domain that another namespace holds</option>
            <option value="secret" selected=${draft.type === "secret"}>a secret of another namespace</option></select></div>
        ${text("target", draft.type === "domain" ? "Domain" : "Path of the secret", { required: true, placeholder: draft.type === "domain" ? "www.example.org" : "shop/sec/front" })}
        ${text("reason", "Reason, for people")}
        <${ErrorBox} error=${state.error} /></div>
        <footer><${CopyCurl} request=${{ method: "PUT", path, body }} /><${Button} onClick=${onClose}>Cancel<//>
            <${Button} kind="primary" type="submit" disabled=${state.busy || !draft.namespace || !draft.target}>Grant<//></footer></form><//>`;
}

function Grants({ why }) {
    const list = useList("/grants", {}, EVENTS);
    const [open, setOpen] = useState(null); // "new", {remove}
    const remove = async () => {
        await ask("DELETE", "/grants/" + segment(open.remove.id));
        toast("The grant is taken back");
        list.refresh();
    };
    const columns = [
        { key: "namespace", title: "Namespace", cell: (item) => item.namespace },
        { key: "target", title: "May use", cell: (item) => html`${item.type} <code>${item.target}</code>` },
        { key: "reason", title: "Reason", narrow: false, kind: "clip", cell: (item) => item.reason || "–" },
        { key: "made", title: "By", narrow: false, cell: (item) => html`${item.author}, <${Ago} time=${item.updated_at} />` },
        { key: "act", title: html`<span class="sr">Actions</span>`, kind: "num", cell: (item) => html`
            <${Button} kind="danger" disabled=${why} aria-label=${`Take ${item.id} back`} onClick=${() => setOpen({ remove: item })}>Take back<//>` },
    ];
    return html`<${Card} title="Grants" action=${html`<${Button} disabled=${why} onClick=${() => setOpen("new")}>Grant<//>`}>
        <${Read} of=${list} empty=${html`<${Empty} title="No namespace may use what is another's"><p>A namespace's secrets and domains are
            its own, unless a grant says otherwise.</p><//>`}>
            <${Table} label="Grants" columns=${columns} items=${list.items} complete=${list.complete} rowKey=${(item) => item.id}
                onShow=${(first, last) => list.show(first, last)} /><//>
        ${open === "new" && html`<${NewGrant} onClose=${() => setOpen(null)} onMade=${() => {
            setOpen(null);
            toast("It is granted");
            list.refresh();
        }} />`}
        ${open?.remove && html`<${Confirm} title="Take this grant back?" verb="Take back" danger action=${remove} onClose=${() => setOpen(null)}>
            <p>Exposures of <strong>${open.remove.namespace}</strong> that use ${open.remove.type} <code>${open.remove.target}</code> lose it.</p><//>`}<//>`;
}

// ---- sessions ---------------------------------------------------------------------------------------------------------

function Sessions() {
    const list = useList("/sessions", {}, EVENTS);
    const end = async (item) => {
        try {
            await ask("DELETE", "/sessions/" + segment(item.id));
            toast(`A session of ${item.name} is over`);
        } catch (error) {
            toast(error.message, "failed");
        }
        list.refresh();
    };
    return html`<${Card} title="Signed in with a browser"><${Read} of=${list} empty=${html`<p class="muted">Nobody.</p>`}>
        <ul class="rows">${list.items.map((item) => html`<li key=${item.id}><div><strong>${item.name}</strong> <${Tag}>${item.role}<//>
            ${item.status.current && html` <${Tag} kind="accent">this one<//>`}
            <p class="muted">from ${item.peer}, since <${Ago} time=${item.created_at} />, used <${Ago} time=${item.status.used_at} /></p></div>
            ${!item.status.current && html`<${Button} aria-label=${`End the session of ${item.name} from ${item.peer}`} onClick=${() => end(item)}>End<//>`}</li>`)}</ul><//><//>`;
}

const METHODS = { unix: "the unix socket", token: "a token", certificate: "a client certificate", session: "a session of this browser" };

export default function Access() {
    const me = useMe();
    const why = whyNotAdmin(me);
    return html`<${PageHead} title="Access" sub="Who may look, who may edit, and what namespaces may use of each other." />
        ${why && html`<${ReadOnly} why=${why} />`}
        <div class="columns"><div class="stack">${me.role === "admin" ? html`<${Tokens} why=${why} />`
            : html`<p class="note"><${Icon} state="none" /> Tokens are the administrators' to see.</p>`}<${Grants} why=${why} /></div>
        <div class="stack"><${Card} title="You"><${Pairs} of=${[["Name", me.name], ["Role", html`<${Tag}>${me.role}<//>`],
            ["Gateways", me.role === "operator" ? me.gateways.join(", ") || "none" : null], ["Known by", METHODS[me.method]],
            ["Until", me.expires_at && new Date(me.expires_at).toLocaleString()]]} /><//>
        <${Sessions} /></div></div>`;
}
