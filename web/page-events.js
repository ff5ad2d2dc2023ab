// What becomes another, as it comes: the last of what igwd remembers, and then live.
import { get } from "./api.js";
import { eventStreamParser } from "./feed.js";
import { onEvent } from "./live.js";
import { Choice, Search, Table } from "./table.js";
import { Ago, Button, CopyCurl, Empty, ErrorBox, Loading, PageHead, Tag, href, setQuery } from "./ui.js";
import { html, useState, useEffect, useMemo, useRef } from "./html.js";

const KEPT_MAX = 2000;
const REPLAYED = 500;
const KINDS = ["Exposure", "Service", "Certificate", "Gateway", "Listener", "Revision", "Rollout", "Alarm", "Proxy", "Token"];
const PAGES = { Exposure: "exposures", Certificate: "certificates", Gateway: "gateways", Revision: "changes", Rollout: "changes",
    Proxy: "proxies", Token: "access" };
// Those that have no page of their own.
const PLACES = {
    Listener: (name) => href("topology", [], { gateway: name.split("|")[0], listener: name }),
    Service: (name) => href("exposures", [], { service: name }),
};
const CHANGES = { added: "ok", modified: "", removed: "warning" };

// The number of an event's place: EPOCH.SEQ.
const numberOf = (id) => Number(id.split(".")[1]);

// What igwd remembers of the last events before a place.
async function replay(signal) {
    const { data } = await get("/alarms?limit=1&fields=name", { signal });
    const [epoch, last] = data.event.split(".");
    const after = `${epoch}.${Math.max(0, Number(last) - REPLAYED)}`;
    const response = await fetch(`/api/v1/events?seconds=0&after=${after}`, { credentials: "same-origin", cache: "no-store", signal });
    if (!response.ok) throw new Error(`The answer was ${response.status}.`);
    const found = [];
    const parse = eventStreamParser(({ id, event, data: text }) => event === "change" && found.push({ id, ...JSON.parse(text) }));
    parse(await response.text());
    return found;
}

// What passes has no place of its own, and may be told again at another one.
const keyOf = (item) => `${item.time} ${item.kind} ${item.change} ${item.name}`;

// Newest first; each once, whichever way it came.
function merged(before, more) {
    const known = new Set(before.map(keyOf));
    const fresh = more.filter((one) => !known.has(keyOf(one)) && known.add(keyOf(one)));
    if (!fresh.length) return before;
    return [...fresh, ...before].sort((a, b) => b.time.localeCompare(a.time) || numberOf(b.id) - numberOf(a.id)).slice(0, KEPT_MAX);
}

function useEvents(isPaused) {
    const [state, setState] = useState({ events: [], error: null, loading: true });
    const waiting = useRef([]);
    const paused = useRef(isPaused);
    const [, draw] = useState(0);
    paused.current = isPaused;
    const take = () => {
        const more = waiting.current.splice(0);
        if (more.length) setState((before) => ({ ...before, events: merged(before.events, more) }));
    };
    useEffect(() => {
        const abort = new AbortController();
        let timer = null;
        const load = () => replay(abort.signal).then(
            (found) => setState((before) => ({ events: merged(before.events, found), error: null, loading: false })),
            (error) => !abort.signal.aborted && setState((before) => ({ ...before, error, loading: false })));
        const stop = onEvent((event) => {
            if (event === null) return load();
            waiting.current.push(event);
            if (waiting.current.length > KEPT_MAX) waiting.current.shift();
            // A burst is one drawing.
            timer = timer || setTimeout(() => {
                timer = null;
                if (paused.current) draw((n) => n + 1);
                else take();
            }, 200);
            return undefined;
        });
        load();
        return () => {
            abort.abort();
            clearTimeout(timer);
            stop();
        };
    }, []);
    useEffect(() => {
        if (!isPaused) take();
    }, [isPaused]);
    return { ...state, waiting: waiting.current.length };
}

const COLUMNS = [
    { key: "time", title: "When", cell: (item) => html`<${Ago} time=${item.time} />` },
    { key: "change", title: "Change", cell: (item) => html`<${Tag} kind=${CHANGES[item.change]}>${item.change}<//>` },
    { key: "kind", title: "Kind", cell: (item) => item.kind },
    { key: "name", title: "Name", cell: ({ kind, name, change }) => (change === "removed" || !(PAGES[kind] || PLACES[kind])
        ? html`<code>${name}</code>`
        : html`<a href=${PLACES[kind] ? PLACES[kind](name) : href(PAGES[kind], [name])}><code>${name}</code></a>`) },
    { key: "revision", title: "Revision", kind: "num", narrow: false, cell: (item) => (item.revision
        ? html`<a href=${href("changes", [String(item.revision)])}>${item.revision}</a>` : "–") },
    { key: "id", title: "Place", kind: "num", narrow: false, cell: (item) => html`<code>${item.id}</code>` },
];

export default function Events({ query }) {
    const [isPaused, setPaused] = useState(false);
    const { events, error, loading, waiting } = useEvents(isPaused);
    const [q, kind] = [query.get("q") || "", query.get("kind") || ""];
    const shown = useMemo(() => events.filter((one) => (!kind || one.kind === kind) && (!q || one.name.toLowerCase().includes(q.toLowerCase()))),
        [events, q, kind]);
    return html`<${PageHead} title="Events" sub=${`What became another, the newest first; the last ${KEPT_MAX} are kept here.`}>
            <${CopyCurl} request=${{ path: "/events" + (kind ? "?kind=" + kind : "") }} />
            <${Button} kind=${isPaused ? "primary" : ""} aria-pressed=${String(isPaused)} onClick=${() => setPaused(!isPaused)}>
                ${isPaused ? `Go on${waiting ? ` (${waiting} waiting)` : ""}` : "Pause"}<//><//>
        <div class="filters" role="search">
            <${Search} label="Search names" value=${q} onChange=${(text) => setQuery({ q: text })} />
            <${Choice} label="Kind" value=${kind} options=${[["", "all"], ...KINDS.map((one) => [one, one])]} onChange=${(one) => setQuery({ kind: one })} />
        </div>
        <${ErrorBox} error=${error} />
        ${loading ? html`<${Loading} />` : shown.length === 0
            ? html`<${Empty} title=${q || kind ? "No event is like that" : "Nothing happened yet"}><p>They appear here as they come.</p><//>`
            : html`<${Table} label="Events" columns=${COLUMNS} items=${shown} rowKey=${keyOf} />`}`;
}
