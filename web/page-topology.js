// What a gateway opens and where it leads: listener, virtual host and route, exposure, endpoint by node. Listeners with
// trouble come first; each unfolds to a drawing. The same as a table, a row for each way.
import { query as queryText, segment } from "./api.js";
import { useGet, useGets, useWhole } from "./store.js";
import { useKeys } from "./keys.js";
import { Choice, Search, Table } from "./table.js";
import { BOX, endpointState, heightOf, isOnWay, layout, neighbour, routeMore, routeText, rowsBefore, takenBy } from "./topology.js";
import {
    Button, CopyCurl, Empty, Fact, Icon, Loading, PageHead, Read, Tag, factsOf, href, rank, setQuery, someOf, worst,
} from "./ui.js";
import { html, useState, useEffect, useLayoutEffect, useMemo, useRef } from "./html.js";

const ON = ["Listener", "Exposure", "Proxy", "Certificate", "Gateway"];
const WAY_ON = ["Exposure", "Proxy", "Certificate"];
const LISTENER_FIELDS = "name,envoy_name,listener_port,protocol,chains,exposures";
const WAY_FIELDS = "name,protocol,sni,vhosts,listener_certificates,status";
const SHOWN = 20; // exposures of a listener, until more are wanted
const MORE = 50;
const GROUP_HEIGHT = 40;
const ROW_HEIGHT = 44;
const BEYOND = 400; // pixels beyond those that are seen
const WAIT_MS = 250; // before a row that stays asks for its endpoints

const DRAW_AFTER_MS = 80;

// Whether a component has shown the same for so long.
function useStays(what, milliseconds) {
    const [stays, setStays] = useState(false);
    useEffect(() => {
        const timer = setTimeout(() => setStays(true), milliseconds);
        return () => clearTimeout(timer);
    }, [what]);
    return stays;
}

const endpointsPath = (name) => `/exposures/${segment(name)}/endpoints?limit=1000&fields=name,node,status`;
const concerns = (names) => (event) => event.kind === "Exposure" && names.includes(event.name);
const isTrouble = (state) => state === "failed" || state === "warning";

// ---- a listener in a line -------------------------------------------------------------------------------------------

const exposureState = (one) => worst(one.accepted, one.programmed, one.endpoints, one.certificate);

// What its line says, from its exposures' conditions: three facts, as of an exposure.
function summaryOf(listener) {
    const { exposures } = listener;
    const live = exposures.filter((one) => worst(one.accepted, one.programmed) === "ok").length;
    const configuration = worst(...exposures.map((one) => worst(one.accepted, one.programmed)));
    const sum = (key) => exposures.reduce((n, one) => n + one[key], 0);
    const tls = worst(...exposures.map((one) => one.certificate));
    const hasTls = listener.chains.some((chain) => chain.tls) || tls !== "ok";
    return {
        state: worst(...exposures.map(exposureState)),
        configuration: { state: configuration, text: `${live}/${exposures.length} live` },
        endpoints: { state: worst(...exposures.map((one) => one.endpoints)), text: `${sum("endpoints_up")}/${sum("endpoints_total")} up` },
        tls: { state: hasTls ? tls : "none", text: hasTls ? `TLS ${tls}` : "no TLS" },
        speaks: [...new Set(listener.chains.map((chain) => ({ udp: "UDP", l4: "TCP", l7: "HTTP" })[chain.kind]))].join(", "),
    };
}

const nameOf = (listener) => {
    const names = [...new Set(listener.chains.flatMap((chain) => chain.server_names))];
    return someOf(names.length ? names : listener.exposures.map((one) => one.name));
};

function Line({ listener, isOpen, onToggle, isCurrent, onCurrent }) {
    const s = summaryOf(listener);
    return html`<div class=${"line" + (isCurrent ? " current" : "")} data-listener=${listener.name} onFocusIn=${onCurrent}>
        <div><button type="button" class="fold" aria-expanded=${isOpen} onClick=${onToggle}><span aria-hidden="true" class="mark"></span>
            <${Icon} state=${s.state} label=${s.state} /> <code>${listener.envoy_name}</code></button></div>
        <span class="wide-only"><${Tag}>${s.speaks || "nothing"}<//></span>
        <span class="names wide-only muted">${nameOf(listener)}</span>
        <span class="facts"><${Fact} ...${s.configuration} title="Configuration" /><${Fact} ...${s.endpoints} title="Endpoints" />
            <span class="wide-only"><${Fact} ...${s.tls} title="TLS" /></span></span></div>`;
}

// ---- a listener as a drawing ----------------------------------------------------------------------------------------

const COLUMNS = ["Listener", "Virtual host and route", "Exposure", "Endpoint by node"];

const inOrder = (exposures) => exposures.slice().sort((a, b) => rank(exposureState(a)) - rank(exposureState(b)) || a.name.localeCompare(b.name));

const estimate = (listener) => 28 + heightOf(inOrder(listener.exposures).slice(0, SHOWN).reduce((n, one) => n + rowsBefore(one), 0))
    + (listener.exposures.length > SHOWN ? 44 : 0);

const stateOf = (box) => (box.kind === "exposure" ? exposureState(box.exposure) : box.kind === "endpoint" ? box.state : null);

function Drawing({ listener, width, chosen, onChoose, onHeight }) {
    const [shown, setShown] = useState(SHOWN);
    const [pointed, setPointed] = useState(null);
    const element = useRef(null);
    const ordered = useMemo(() => inOrder(listener.exposures), [listener]);
    const exposures = ordered.slice(0, shown);
    const names = exposures.map((one) => one.name);
    const list = useWhole("/exposures", { listener: listener.name, fields: WAY_FIELDS }, WAY_ON);
    const lists = useGets(names.map(endpointsPath), (i) => concerns([names[i]]));
    const details = useMemo(() => new Map(list.items.map((one) => [one.name, one])), [list.items]);
    const endpoints = new Map(names.flatMap((name, i) => (lists[i].data ? [[name, lists[i].data.items]] : [])));
    const drawn = layout(listener, exposures, details, endpoints, width);
    const rest = ordered.length - exposures.length;
    const height = drawn.height + 28 + (rest > 0 ? 44 : 0);
    useLayoutEffect(() => onHeight(listener.name, height), [height]);
    const selected = chosen && drawn.boxes.find((box) => box.id === chosen.id);
    const through = drawn.boxes.find((box) => box.id === pointed) || selected;
    // What is chosen stays so while its states change, and as long as it is there.
    const signature = chosen && JSON.stringify(drawn.boxes.map((box) => [box.id, box.state]));
    useEffect(() => {
        if (chosen) onChoose(selected ? { ...chosen, boxes: drawn.boxes, box: selected } : null);
    }, [signature, list.items]);
    const choose = (box) => onChoose(selected === box ? null : { listener: listener.name, id: box.id, boxes: drawn.boxes, box });
    const onKey = (event) => {
        const from = drawn.boxes.find((box) => box.id === event.target.dataset?.id);
        if (!from || !event.key.startsWith("Arrow") || event.ctrlKey || event.altKey || event.metaKey) return;
        const next = neighbour(drawn.boxes, from, event.key);
        event.preventDefault();
        if (next) element.current.querySelector(`[data-id="${CSS.escape(next.id)}"]`).focus();
    };
    const kindOf = (box) => ["box", box.kind, through ? (isOnWay(box, through) ? "lit" : "dim") : "", box.exposure?.accepted === "failed" ? "off" : ""]
        .filter(Boolean).join(" ");
    const error = list.error || lists.find((one) => one.error && one.error.status !== 404)?.error;
    return html`<div class="drawing" ref=${element} tabindex="0" role="group" aria-label=${`Ways through ${listener.envoy_name}`} onKeyDown=${onKey}>
        <div class="heads muted" style=${{ width: drawn.width + "px" }} aria-hidden="true">${COLUMNS.map((title, i) => html`<span style=${{
            left: drawn.boxes.find((box) => box.column === i)?.left + "px" }}>${title}</span>`)}</div>
        <div class="ground" style=${{ width: drawn.width + "px", height: drawn.height + "px" }} onMouseLeave=${() => setPointed(null)}>
            <svg aria-hidden="true" width=${drawn.width} height=${drawn.height}>${drawn.lines.map((one) => html`<path key=${one.from.id + one.to.id} d=${one.d}
                class=${(one.isOff ? "off " : "") + (through ? (isOnWay(one.from, through) && isOnWay(one.to, through) ? "lit" : "dim") : "")} />`)}</svg>
            ${drawn.boxes.map((box) => html`<button type="button" key=${box.id} data-id=${box.id} class=${kindOf(box)} aria-pressed=${selected === box}
                style=${{ left: box.left + "px", top: box.top + "px", width: box.width + "px", height: BOX + "px" }}
                title=${[box.text, box.more].filter(Boolean).join(": ")} onClick=${() => choose(box)} onMouseEnter=${() => setPointed(box.id)}
                onFocus=${() => setPointed(box.id)} onBlur=${() => setPointed(null)}>
                <span class="sr">${box.kind === "vhost" ? "virtual host" : box.kind} </span>
                ${stateOf(box) && html`<${Icon} state=${stateOf(box)} label=${stateOf(box)} />`}
                ${box.node && html`<b>${box.node}</b>`}<span class="text">${box.text}</span>
                ${box.kind === "route" && box.more && html`<span class="muted text">${box.more}</span>`}</button>`)}</div>
        ${rest > 0 && html`<p class="more"><${Button} onClick=${() => setShown(shown + MORE)}>Show ${Math.min(MORE, rest)} of ${rest} more exposures<//></p>`}
        ${error && html`<p class="error">${error.message}</p>`}</div>`;
}

// Who scrolls past a drawing asks for nothing.
function DrawingSoon(props) {
    const stays = useStays(props.listener.name, DRAW_AFTER_MS);
    return stays && html`<${Drawing} ...${props} />`;
}

// The way that is chosen, in words.
function Way({ chosen, onClose }) {
    const { boxes, box } = chosen;
    const on = boxes.filter((one) => isOnWay(one, box));
    const of = (kind) => on.filter((one) => one.kind === kind);
    const exposure = of("exposure").length === 1 ? of("exposure")[0] : null;
    const words = (kind, many) => {
        const all = of(kind).map((one) => [one.node, one.text].filter(Boolean).join(" "));
        return all.length === 0 ? null : all.length > 3 ? `${all.length} ${many}` : all.join(", ");
    };
    const steps = [words("listener", "listeners"), words("vhost", "virtual hosts"), words("route", "routes"), words("exposure", "exposures"),
        words("endpoint", "endpoints")].filter(Boolean);
    const item = exposure?.item;
    const facts = item && factsOf(item.status);
    const says = item && [item.status.accepted.message || item.status.accepted.problems[0]?.detail, item.status.programmed.message,
        item.status.endpoints.message, item.status.certificate.message].filter(Boolean)[0];
    return html`<section class="chosen-way card" aria-label="The chosen way"><div class="body">
        <p class="steps" role="status">${steps.map((one, i) => html`${i ? html`<span aria-label="to"> → </span>` : ""}<code>${one}</code>`)}</p>
        ${facts && html`<p class="facts"><${Fact} ...${facts.configuration} /><${Fact} ...${facts.endpoints} /><${Fact} ...${facts.tls} />
            ${says && html`<span class="muted">${says}</span>`}</p>`}</div>
        <div class="actions">${exposure && html`<a class="button" href=${href("exposures", [exposure.text])}>Open the exposure</a>`}
            <${Button} kind="quiet" aria-label="Choose no way" onClick=${onClose}>✕<//></div></section>`;
}

// ---- all listeners, of which only those are drawn that are looked at ------------------------------------------------

function matches(listener, words) {
    const text = [listener.name, ...listener.exposures.map((one) => one.name), ...listener.chains.flatMap((chain) => chain.server_names)]
        .join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
}

const wordsOf = (q) => q.toLowerCase().split(/\s+/).filter(Boolean);

function Listeners({ list, q, start }) {
    const box = useRef(null);
    const [view, setView] = useState({ top: 0, height: 800, width: 1000 });
    const [folded, setFolded] = useState({});
    const [heights, setHeights] = useState({});
    const [chosen, setChosen] = useState(null);
    const [current, setCurrent] = useState(null);
    const wanted = useRef(start);
    const focus = useRef(null);
    const look = () => {
        if (!box.current) return; // the observer's last word
        const { scrollTop, clientHeight, clientWidth } = box.current;
        setView((v) => (v.top === scrollTop && v.height === clientHeight && v.width === clientWidth ? v
            : { top: scrollTop, height: clientHeight, width: clientWidth }));
    };
    useEffect(() => {
        const observer = new ResizeObserver(look);
        observer.observe(box.current);
        return () => observer.disconnect();
    }, []);
    const words = wordsOf(q);
    const groups = useMemo(() => {
        const found = list.items.filter((one) => matches(one, words)).map((listener) => ({ listener, state: summaryOf(listener).state }));
        const trouble = found.filter((one) => isTrouble(one.state)).sort((a, b) => rank(a.state) - rank(b.state));
        return [["trouble", "Needs attention", trouble], ["fine", "Nothing to complain about", found.filter((one) => !isTrouble(one.state))]]
            .filter(([, , all]) => all.length).map(([id, title, all]) => ({ id, title, listeners: all.map((one) => one.listener) }));
    }, [list.items, q]);
    const [opened, setOpened] = useState(() => new Set([start || groups[0]?.listeners[0].name]));
    const toggle = (name) => {
        const next = new Set(opened);
        if (!next.delete(name)) next.add(name);
        setOpened(next);
    };
    const blocks = [];
    let height = 0;
    const put = (block, h) => {
        blocks.push({ ...block, top: height, h });
        height += h;
    };
    for (const group of groups) {
        put({ key: "group " + group.id, group }, GROUP_HEIGHT);
        if (folded[group.id]) continue;
        for (const listener of group.listeners) {
            put({ key: "line " + listener.name, listener }, ROW_HEIGHT);
            if (opened.has(listener.name)) put({ key: "drawing " + listener.name, listener, isDrawing: true }, heights[listener.name] ?? estimate(listener));
        }
    }
    const seen = blocks.filter((one) => one.top + one.h > view.top - BEYOND && one.top < view.top + view.height + BEYOND);
    useLayoutEffect(() => {
        const at = wanted.current && blocks.find((one) => one.listener?.name === wanted.current);
        if (at) {
            wanted.current = null;
            box.current.scrollTop = at.top;
        }
        const button = focus.current && box.current.querySelector(`[data-listener="${CSS.escape(focus.current)}"] button`);
        if (button) {
            focus.current = null;
            button.focus({ preventScroll: true });
        }
    });
    const lines = blocks.filter((one) => one.listener && !one.isDrawing);
    const move = (by) => {
        if (!lines.length) return false;
        const at = lines.findIndex((one) => one.listener.name === current);
        const next = lines[Math.max(0, Math.min(lines.length - 1, at < 0 ? 0 : at + by))];
        if (next.top < box.current.scrollTop) box.current.scrollTop = next.top;
        if (next.top + next.h > box.current.scrollTop + box.current.clientHeight) box.current.scrollTop = next.top + next.h - box.current.clientHeight;
        focus.current = next.listener.name;
        setCurrent(next.listener.name);
        look();
        return true;
    };
    useKeys({ j: () => move(1), k: () => move(-1), Escape: () => (chosen ? (setChosen(null), true) : false) });
    const onHeight = (name, h) => setHeights((before) => (before[name] === h ? before : { ...before, [name]: h }));
    const names = groups.flatMap((group) => group.listeners.map((one) => one.name));
    return html`<div class="topology" ref=${box} onScroll=${look} tabindex="0" role="region" aria-label="Topology">
            ${!names.length && html`<${Empty} title="No listener is like that"><${Button} onClick=${() => setQuery({ q: null })}>Show all listeners<//><//>`}
            <div style=${{ height: (seen[0]?.top ?? 0) + "px" }}></div>
            ${seen.map((one) => html`<div key=${one.key} style=${{ height: one.h + "px" }} class=${one.group ? "group-line" : ""}>${one.group
                ? html`<h2><button type="button" class="fold" aria-expanded=${!folded[one.group.id]} onClick=${() => setFolded({ ...folded, [one.group.id]: !folded[one.group.id] })}>
                    <span aria-hidden="true" class="mark"></span> ${one.group.title} <span class="muted">${one.group.listeners.length}</span></button></h2>`
                : one.isDrawing
                    ? html`<${DrawingSoon} listener=${one.listener} width=${view.width} onHeight=${onHeight} onChoose=${setChosen}
                        chosen=${chosen?.listener === one.listener.name ? chosen : null} />`
                    : html`<${Line} listener=${one.listener} isOpen=${opened.has(one.listener.name)} onToggle=${() => toggle(one.listener.name)}
                        isCurrent=${current === one.listener.name} onCurrent=${() => setCurrent(one.listener.name)} />`}</div>`)}
            <div style=${{ height: Math.max(0, height - (seen.length ? seen.at(-1).top + seen.at(-1).h : 0)) + "px" }}></div></div>
        <div class="actions below"><span class="muted">${names.length === 1 ? "1 listener" : `${names.length} listeners`}</span>
            <${Button} kind="quiet" onClick=${() => setOpened(new Set(names))}>Unfold all<//>
            <${Button} kind="quiet" onClick=${() => setOpened(new Set())}>Fold all<//></div>
        ${chosen && html`<${Way} chosen=${chosen} onClose=${() => setChosen(null)} />`}`;
}

// ---- the same as a table: a row for each way ------------------------------------------------------------------------

function EndpointsByNode({ name, fact }) {
    const stays = useStays(name, WAIT_MS);
    const one = useGet(stays ? endpointsPath(name) : null, concerns([name]));
    const items = one.data?.items || [];
    return html`<span class="by-node"><${Fact} ...${fact} title=${fact.message} />
        ${items.slice(0, 4).map((e) => html` <span key=${e.name}><${Icon} state=${endpointState(e)[0]} label=${endpointState(e)[1]} />
            ${e.node && html`<b>${e.node} </b>`}<code>${e.name}</code></span>`)}${items.length > 4 && ` and ${items.length - 4} more`}</span>`;
}

const WAYS = [
    { key: "listener", title: "Listener", kind: "whole", cell: (way) => html`<code>${way.listener}</code>` },
    { key: "host", title: "Virtual host", kind: "clip", cell: (way) => way.host },
    { key: "route", title: "Route", kind: "clip", cell: (way) => (way.route ? html`<code>${routeText(way.route)}</code> <span class="muted">${routeMore(way.route)}</span>` : "–") },
    { key: "exposure", title: "Exposure", cell: (way) => html`<a href=${href("exposures", [way.item.name])}>${way.item.name}</a>` },
    { key: "configuration", title: "Configuration", cell: (way) => html`<${Fact} ...${way.facts.configuration} title=${way.facts.configuration.message} />` },
    { key: "tls", title: "TLS", cell: (way) => html`<${Fact} ...${way.facts.tls} title=${way.facts.tls.message} />` },
    { key: "endpoints", title: "Endpoints by node", kind: "loose", cell: (way) => html`<${EndpointsByNode} name=${way.item.name} fact=${way.facts.endpoints} />` },
];

// The ways through one exposure.
function waysOf(item) {
    const { status } = item;
    const way = { item, facts: factsOf(status), listener: (status.listener || "no listener").split("|").pop() };
    const state = worst(status.accepted.state, status.programmed.state, status.endpoints.state, status.certificate.state);
    const one = (host, route, i) => ({ ...way, host, route, state, key: `${item.name} ${i}` });
    if (!item.vhosts.length) return [one(takenBy(item), null, 0)];
    return item.vhosts.flatMap((vhost, v) => (vhost.routes.length ? vhost.routes.map((route, r) => one(vhost.domains.join(", "), route, `${v} ${r}`))
        : [one(vhost.domains.join(", "), null, v)]));
}

function Ways({ gateway, q, listener }) {
    const list = useWhole("/exposures", { gateway, listener, q, sort: "listener_port,name", fields: WAY_FIELDS }, WAY_ON);
    const ways = useMemo(() => {
        const all = list.items.flatMap(waysOf);
        return all.map((way, i) => [rank(way.state), i, way]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, , way]) => way);
    }, [list.items]);
    return html`<${Read} of=${list} empty=${html`<${Empty} title="No way is like that"><${Button} onClick=${() => setQuery({ q: null, listener: null })}>Show all ways<//><//>`}>
        <${Table} label="Topology as a table: each row is a way, those with trouble first" columns=${WAYS} items=${ways} complete=${list.complete}
            rowKey=${(way) => way.key} /><//>`;
}

// ---- the page -------------------------------------------------------------------------------------------------------

function Gateway({ gateway, query }) {
    const isTable = query.get("view") === "table";
    const q = query.get("q") || "";
    const list = useWhole("/topology", { gateway: gateway.name, sort: "listener_port", fields: LISTENER_FIELDS }, ON);
    const wanted = query.get("exposure");
    const start = query.get("listener") || (wanted && list.items.find((one) => one.exposures.some((x) => x.name === wanted))?.name) || null;
    const nothing = html`<${Empty} title=${`${gateway.name} opens nothing yet`}>
        <p>A gateway opens what the exposures on it ask for: as soon as one is there, its listener stands here.</p>
        <a class="button primary" href=${href("exposures", [], { gateway: gateway.name })}>Its exposures</a><//>`;
    return html`<${Read} of=${list} empty=${nothing}>${!list.complete ? html`<${Loading} />`
        : isTable ? html`<${Ways} gateway=${gateway.name} q=${q} listener=${query.get("listener")} />`
            : html`<${Listeners} key=${gateway.name + start} list=${list} q=${q} start=${start} />`}<//>`;
}

export default function Topology({ query }) {
    const gateways = useGet("/gateways?limit=1000&fields=name,is_default,status.proxies,status.exposures", ["Gateway", "Proxy"]);
    const all = gateways.data?.items || [];
    const wanted = query.get("gateway");
    const gateway = wanted ? all.find((one) => one.name === wanted) : all.find((one) => one.is_default) || all[0];
    const isTable = query.get("view") === "table";
    const name = gateway?.name;
    return html`<${PageHead} title="Topology" sub=${gateway && html`<a href=${href("gateways", [name])}>${name}</a>, ${gateway.status.proxies
                ? `${gateway.status.proxies} ${gateway.status.proxies === 1 ? "Envoy" : "Envoys"} connected` : "no Envoy connected"}`}>
            ${gateway && html`<${CopyCurl} request=${{ path: "/topology" + queryText({ gateway: name, sort: "listener_port" }) }} />
            <div class="switch" role="group" aria-label="Shown as">
                <${Button} aria-pressed=${!isTable} onClick=${() => setQuery({ view: null })}>Drawing<//>
                <${Button} aria-pressed=${isTable} onClick=${() => setQuery({ view: "table" })}>Table<//></div>`}<//>
        <div class="filters" role="search">
            <${Search} label="Search the topology" value=${query.get("q") || ""} onChange=${(value) => setQuery({ q: value })} />
            ${all.length > 1 && html`<${Choice} label="Gateway" value=${name} options=${all.map((one) => [one.name, one.name])}
                onChange=${(value) => setQuery({ gateway: value, listener: null, exposure: null })} />`}
            ${query.get("listener") && html`<${Button} kind="quiet" title="This listener is the first to be shown" onClick=${() => setQuery({ listener: null })}>
                listener: ${query.get("listener").split("|").pop()} ✕<//>`}
        </div>
        <${Read} of=${gateways} empty=${html`<${Empty} title="There is no gateway yet" />`}>${gateway
            ? html`<${Gateway} key=${name} gateway=${gateway} query=${query} />`
            : html`<${Empty} title=${wanted ? "There is no such gateway" : "There is no gateway yet"}>
                <p>A gateway is there as soon as an exposure or an Envoy names it.</p><a href=${href("gateways")}>All gateways</a><//>`}<//>`;
}
