// What all pages are made of: states of things, times, dialogs, messages, and what stands there while there is nothing.
import { curlOf, query as queryText } from "./api.js";
import { useLive } from "./store.js";
import { html, Fragment, useState, useEffect, useRef, useId, createContext, useContext } from "./html.js";

// ---- where things are -----------------------------------------------------------------------------------------------

// A page's address: href("exposures", ["a/b#0"], {q: "x"}) is "#/exposures/a%2Fb%230?q=x".
export function href(page, args = [], parameters = {}) {
    return "#/" + [page, ...args].map(encodeURIComponent).join("/") + queryText(parameters);
}

// {page, args, query: URLSearchParams} of the address that is shown.
export function readRoute() {
    const [path, text = ""] = location.hash.replace(/^#\/?/, "").split("?");
    let segments;
    try {
        segments = path.split("/").map(decodeURIComponent);
    } catch {
        segments = ["nowhere"]; // a broken address is no page's
    }
    return { page: segments[0] || "overview", args: segments.slice(1), query: new URLSearchParams(text) };
}

export const go = (address) => {
    location.hash = address;
};

// The address stays, its query becomes another: filters, tabs. null takes a parameter away.
export function setQuery(changes) {
    const { page, args, query } = readRoute();
    const others = {};
    for (const name of query.keys()) if (!(name in changes)) others[name] = query.getAll(name);
    history.replaceState(null, "", href(page, args, { ...others, ...changes }));
    dispatchEvent(new HashChangeEvent("hashchange"));
}

// ---- who looks ------------------------------------------------------------------------------------------------------

// The Principal of /auth/whoami.
export const Me = createContext(null);
export const useMe = () => useContext(Me);

const DAEMON_READS = "This igwd takes no edits (--read-only): another one of the cluster does.";

// Why somebody may not edit what is on this gateway; null: they may.
export const whyReadOnly = (me, gateway) => (me.read_only ? DAEMON_READS : whyNotOperator(me, gateway));

// The same of what is no edit.
export function whyNotOperator(me, gateway) {
    if (me.role === "admin") return null;
    if (me.role === "operator")
        return gateway === undefined || me.gateways.includes(gateway) ? null
            : `You are operator of ${me.gateways.join(", ") || "no gateway"}, and this is on ${gateway}.`;
    return "You are a viewer: you can see everything and change nothing.";
}

// What only administrators may do; null: this is one.
export function whyNotAdmin(me) {
    if (me.role !== "admin") return `This needs the role admin; you are ${me.role}.`;
    return me.read_only ? DAEMON_READS : null;
}

// ---- states ---------------------------------------------------------------------------------------------------------

const SHAPES = {
    ok: html`<circle cx="8" cy="8" r="7" fill="currentColor" /><path d="M4.6 8.3l2.3 2.3 4.4-4.9" class="cut" />`,
    warning: html`<path d="M8 .8 15.6 14.6H.4Z" fill="currentColor" /><path d="M8 5.6v4M8 11.6v1" class="cut" />`,
    failed: html`<rect x="1" y="1" width="14" height="14" rx="3" fill="currentColor" /><path d="M5 5l6 6M11 5l-6 6" class="cut" />`,
    unknown: html`<circle cx="8" cy="8" r="6.2" fill="none" stroke="currentColor" stroke-width="1.6" stroke-dasharray="2.6 2" />`,
};
SHAPES.none = html`<path d="M4.5 8h7" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" />`;
const WORDS = { ok: "ok", warning: "warning", failed: "failed", unknown: "unknown", none: "not concerned" };

// A state as a shape: colour never says anything alone. With label, it is read out by that; else what stands beside it
// says the same.
export function Icon({ state, label }) {
    return html`<svg class=${"icon state-" + state} viewBox="0 0 16 16" width="14" height="14"
        role=${label ? "img" : undefined} aria-label=${label} aria-hidden=${label ? undefined : "true"}>${SHAPES[state] || SHAPES.unknown}</svg>`;
}

// A fact: its shape and its words.
export function Fact({ state, text, title }) {
    return html`<span class=${"fact state-" + state} title=${title || undefined}>
        <${Icon} state=${state} /><span class="sr">${WORDS[state]}: </span><span class="fact-text">${text}</span></span>`;
}

const RANK = { failed: 0, warning: 1, unknown: 2, ok: 3 };
export const worst = (...states) => states.reduce((a, b) => (RANK[b] < RANK[a] ? b : a), "ok");

const ACCEPTED = {
    accepted: "accepted", partial: "in part", kept: "last good kept", conflict: "conflict", unready: "not ready",
    invalid: "invalid", not_allowed: "not allowed", unplanned: "off", disabled: "disabled", left_out: "left out",
    port_untold: "port not told",
};
const PROGRAMMED = {
    pending: "rolling out", nacked: "refused", no_proxies: "no proxy", not_accepted: "not accepted", unknown: "unknown",
};
const TLS = { missing: "missing", not_covered: "name not covered", not_needed: "none", expired: "expired",
    unknown: "unknown" };

// The three facts of an exposure's status, each {state, text, message}: never one light for all.
export function factsOf(status) {
    const { accepted: a, programmed: p, endpoints: e, certificate: c } = status;
    const configuration = a.state !== "ok"
        ? { state: a.state, text: ACCEPTED[a.reason] || a.reason, message: a.message }
        : { state: p.state, text: p.reason === "programmed" ? `${p.acked}/${p.proxies}`
            : PROGRAMMED[p.reason] + (p.reason === "pending" || p.reason === "nacked" ? ` ${p.acked}/${p.proxies}` : ""),
            message: p.message };
    return {
        configuration,
        endpoints: { state: e.state, text: e.total ? `${e.up}/${e.total} up` : "none", message: e.message },
        tls: { state: c.reason === "not_needed" ? "none" : c.state, text: TLS[c.reason] || (c.days_left === null ? c.reason : days(c.days_left)),
            message: c.message },
    };
}

// What an Envoy says of what it was given, in xDS's own names: the state, and what it means.
export const XDS_STATES = {
    NACKED: ["failed", "refused"], DOES_NOT_EXIST: ["warning", "does not exist"], REQUESTED: ["unknown", "awaits its answer"],
    ACKED: ["ok", "acked"],
};

// How an Envoy stands: what it has, while it is connected.
export const proxyFact = ({ presence, state }) =>
    presence === "gone" ? { state: "failed", text: "gone", title: "it left, and did not come back" }
        : presence === "away" ? { state: "warning", text: "away", title: "it left a moment ago" }
            : { state: XDS_STATES[state][0], text: state, title: XDS_STATES[state][1] };

// What an exposure is asked by: host names, or SNI.
export const namesOf = (item) => (item.vhosts.length ? item.vhosts.flatMap((vhost) => vhost.domains) : item.sni);

// A name or an address, which is broken where its parts begin if there is no room for all of it.
export const Parted = ({ name }) => name.split(/(?<=[/:])|(?<=\.)(?=expose#)/).map((part, i) => html`${i ? html`<wbr />` : ""}${part}`);

// The first of them, where there is no room for all.
export const someOf = (names, total = names.length) => (total > 2 ? `${names.slice(0, 2).join(", ")} +${total - 2}` : names.join(", "));

export function days(n) {
    if (n < 0) return "expired";
    return n === 1 ? "1 day" : `${n} days`;
}

// A sentence of igwd's, in which the exposures that it names are links.
export const Linked = ({ text }) => html`${String(text ?? "").split(/([^\s",;()]+\.expose#\d+)/).map((part, i) => (i % 2
    ? html`<a href=${href("exposures", [part])}>${part}</a>` : part))}`;

export const many = (n, one) => (n === 1 ? one : one + "s");

// What caused a revision, to be read: names in the path of a request as they are.
export function causeOf({ cause }) {
    try {
        return decodeURIComponent(cause.replace(" /api/v1/", " /"));
    } catch {
        return cause;
    }
}

// A short word in a frame: an origin, a role, a protocol.
export const Tag = ({ kind = "", children }) => html`<span class=${"tag " + kind}>${children}</span>`;

export const Origin = ({ of }) => html`<${Tag} kind=${of === "api" ? "accent" : ""}>${of === "api" ? "made here" : "agent"}<//>`;

// ---- times ----------------------------------------------------------------------------------------------------------

const tickers = new Set();
setInterval(() => {
    if (!document.hidden) for (const tick of tickers) tick();
}, 1000);

// Now, in milliseconds, in steps of so many; whoever uses it is drawn again at each, and once a second at most.
export function useNow(step = 1) {
    const look = () => Math.floor(Date.now() / step) * step;
    const [now, setNow] = useState(look());
    useEffect(() => {
        const tick = () => setNow(look());
        tickers.add(tick);
        return () => tickers.delete(tick);
    }, []);
    return now;
}

function duration(milliseconds) {
    const s = Math.max(0, Math.round(milliseconds / 1000));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    if (s < 86400) return `${Math.floor(s / 3600)} h`;
    return `${Math.floor(s / 86400)} d`;
}

const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

// How long ago; the time itself when it is pointed at.
export function Ago({ time }) {
    const now = useNow();
    if (!time) return html`<span class="muted">never</span>`;
    const date = new Date(time);
    const past = now - date.getTime();
    return html`<time datetime=${date.toISOString()} title=${FULL.format(date)}>
        ${past < 1500 ? "just now" : duration(past) + " ago"}</time>`;
}

// ---- what stands there while there is nothing -----------------------------------------------------------------------

export const Loading = ({ what = "Loading" }) => html`<div class="loading" role="status">
    <span class="sr">${what}…</span><i></i><i></i><i></i></div>`;

// Nothing is there: what it would be, and the first step to take.
export const Empty = ({ title, children }) => html`<div class="empty"><h2>${title}</h2>${children}</div>`;

// What did not work, with what is needed to find it in the log, and a way to go on.
export function ErrorBox({ error, retry }) {
    if (!error) return null;
    return html`<div class="problem" role="alert">
        <${Icon} state="failed" />
        <div>
            <strong>${error.title || "That did not work"}${error.status ? ` (${error.status})` : ""}</strong>
            <p>${error.message}</p>
            ${error.errors?.length > 0 && html`<ul>${error.errors.map((one) => html`<li>
                <code>${one.pointer || one.parameter || one.header}</code> ${one.detail}</li>`)}</ul>`}
            ${error.requestId && html`<p class="muted">Request <code>${error.requestId}</code>: igwd's log and the audit
                have it by this id.</p>`}
        </div>
        ${retry && html`<${Button} onClick=${retry}>Try again<//>`}
    </div>`;
}

const isThere = (of) => (of.items ? of.pages.length > 0 : of.data !== undefined);

// What is to be said of what could not be read. That igwd does not answer is said once for the whole page (Disconnected),
// as long as there is what was read before.
export const faultOf = (live, of) => (of.error?.unreachable && live.state !== "live" && isThere(of) ? null : of.error);

// Of a list, while it is not known: nothing.
export const countOf = (list, words = " shown") => (isThere(list) ? `${list.count}${list.complete ? "" : "+"}${words}` : "");

// Around what was read: loading, an error, nothing there; else children. Old data stay, with the error above them.
export function Read({ of, empty, children }) {
    const error = faultOf(useLive(), of);
    if (of.loading) return html`<${Loading} />`;
    const retry = of.reload || (() => of.refresh());
    const there = isThere(of);
    return html`<${Fragment}>
        ${error && html`<${ErrorBox} error=${error} retry=${retry} />`}
        ${there && (of.items && of.items.length === 0 && empty ? empty : children)}
    <//>`;
}

// Says that this is for reading only, and why.
export const ReadOnly = ({ why }) => why && html`<p class="note" role="note"><${Icon} state="unknown" /> Read-only. ${why}</p>`;

// Where igwd does not answer: since when, and that it is tried again.
export function Disconnected() {
    const live = useLive();
    const now = useNow();
    const [late, setLate] = useState(false);
    const down = live.state === "down" || live.state === "connecting";
    useEffect(() => {
        if (!down) return setLate(false);
        const timer = setTimeout(() => setLate(true), 1500); // a short interruption is nobody's business
        return () => clearTimeout(timer);
    }, [down]);
    return html`<div class="live-line" role="status">${down && late && html`<p class="banner">
        <${Icon} state="warning" /> Disconnected: what is shown is ${duration(now - live.at)} old. igwd is asked again
        and again; nothing here is lost.</p>`}</div>`;
}

// ---- actions --------------------------------------------------------------------------------------------------------

// disabled may be a text: why.
export function Button({ kind = "", disabled, children, ...rest }) {
    const why = typeof disabled === "string" ? disabled : undefined;
    return html`<button type="button" class=${"button " + kind} disabled=${Boolean(disabled)} title=${why} ...${rest}>
        ${children}</button>`;
}

let showToast = () => {};

// Says that something was done, for some seconds. kind: "ok", "failed".
export const toast = (text, kind = "ok") => showToast({ text, kind });

export function Toasts() {
    const [all, setAll] = useState([]);
    showToast = (one) => {
        const id = Math.random();
        setAll((before) => [...before.slice(-3), { ...one, id }]);
        setTimeout(() => setAll((before) => before.filter((other) => other.id !== id)), 6000);
    };
    return html`<div class="toasts" role="status" aria-live="polite">${all.map((one) => html`
        <p key=${one.id} class="toast"><${Icon} state=${one.kind} /> ${one.text}</p>`)}</div>`;
}

export async function copy(text, what) {
    try {
        await navigator.clipboard.writeText(text);
        toast(`${what} copied`);
    } catch {
        toast("The browser does not let this page copy", "failed");
    }
}

// "Copy as curl" of a request as for ask().
export const CopyCurl = ({ request }) => html`<${Button} kind="quiet" title=${curlOf(request)}
    onClick=${() => copy(curlOf(request), "curl command")}>Copy as curl<//>`;

// A window above the page, until it is closed (Esc does). The browser keeps the focus within.
export function Dialog({ title, onClose, children, wide }) {
    const element = useRef(null);
    const id = useId();
    useEffect(() => {
        element.current.showModal();
    }, []);
    return html`<dialog ref=${element} class=${wide ? "wide" : ""} aria-labelledby=${id} onClose=${onClose}
        onClick=${(event) => event.target === element.current && element.current.close()}>
        <div class="dialog">
            <header><h2 id=${id}>${title}</h2>
                <${Button} kind="quiet" aria-label="Close" onClick=${() => element.current.close()}>✕<//></header>
            ${children}
        </div></dialog>`;
}

// A question with two answers: action() runs, and its Problem is shown here.
export function Confirm({ title, children, verb, action, onClose, danger }) {
    const [busy, setBusy] = useState(false);
    const [error, setError] = useState(null);
    const run = async () => {
        setBusy(true);
        setError(null);
        try {
            await action();
            onClose();
        } catch (failure) {
            setError(failure);
            setBusy(false);
        }
    };
    return html`<${Dialog} title=${title} onClose=${onClose}>
        <div class="body">${children}<${ErrorBox} error=${error} /></div>
        <footer><${Button} onClick=${onClose}>Cancel<//>
            <${Button} kind=${danger ? "danger" : "primary"} disabled=${busy} onClick=${run}>${busy ? "…" : verb}<//></footer>
    <//>`;
}

// ---- the frame of a page --------------------------------------------------------------------------------------------

// Its title, which gets the focus when the page is gone to (app.js), and what can be done with all of it.
export function PageHead({ title, sub, children }) {
    useEffect(() => {
        document.title = `${typeof title === "string" ? title : "igwd"} – igwd`;
    }, [title]);
    return html`<header class="page-head"><div><h1 tabindex="-1">${title}</h1>
        ${sub && html`<p class="muted">${sub}</p>`}</div><div class="actions">${children}</div></header>`;
}

// Names and values.
export const Pairs = ({ of }) => html`<dl class="pairs">${of.filter(([, value]) => value !== undefined && value !== null)
    .map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

export const Card = ({ title, action, children, kind = "" }) => html`<section class=${"card " + kind}>
    <header><h2>${title}</h2>${action}</header>${children}</section>`;
