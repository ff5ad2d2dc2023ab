// What a gateway opens and where it leads: listener, virtual host and route, exposure, endpoint by node. Listeners with
// trouble come first; each unfolds to a drawing. The same as a table, a row for each way. All of it comes from /topology,
// sorted and searched by igwd, page by page.
import { query as queryText } from "./api.js";
import { EXPOSURE_EVENTS, useGet, useList, useLive } from "./store.js";
import { useKeys } from "./keys.js";
import { Choice, Search, Table } from "./table.js";
import { BOX, endpointState, heightOf, isOnWay, layout, namesOf, neighbour, routeMore, routeText, rowsOf, takenBy } from "./topology.js";
import {
    Button, CopyCurl, Empty, Fact, Icon, PageHead, Parted, Read, Tag, factsOf, faultOf, href, setQuery, someOf,
} from "./ui.js";
import { html, useState, useEffect, useLayoutEffect, useMemo, useRef } from "./html.js";

const ON = [...EXPOSURE_EVENTS, "Gateway"];
const ORDER = "-severity,listener_port";
const PAGE = 100; // listeners, exposures
const MORE = 50;
const GROUP_HEIGHT = 40;
const ROW_HEIGHT = 44;
const BEYOND = 400; // pixels beyond those that are seen

// Each with its place in the list. What moved from one page to another while they were read stands there twice.
const once = (items) => [...new Map(items.map((item, index) => [item.name, [item, index]])).values()];

const isTrouble = (state) => state === "failed" || state === "warning";

// ---- a listener in a line -------------------------------------------------------------------------------------------

// What its line says of its exposures: three facts, as of an exposure.
function factsOfListener(listener) {
    const hasTls = listener.tls || listener.certificate !== "ok";
    return {
        configuration: { state: listener.configuration, text: `${listener.exposures_live}/${listener.exposures_total} live` },
        endpoints: { state: listener.endpoints, text: `${listener.endpoints_up}/${listener.endpoints_total} up` },
        tls: { state: hasTls ? listener.certificate : "none", text: hasTls ? `TLS ${listener.certificate}` : "no TLS" },
    };
}

const SPEAKS = { udp: "UDP", l4: "TCP", l7: "HTTP" };

const nameOf = ({ server_names: names, server_names_total: total, exposures, exposures_total: others }) =>
    (total ? someOf(names, total) : someOf(exposures.map((one) => one.name), others));

function Line({ listener, isOpen, onToggle, isCurrent, onCurrent }) {
    const facts = factsOfListener(listener);
    return html`<div class=${"line" + (isCurrent ? " current" : "")} data-listener=${listener.name} onFocusIn=${onCurrent}>
        <div><button type="button" class="fold" aria-expanded=${isOpen} onClick=${onToggle}><span aria-hidden="true" class="mark"></span>
            <${Icon} state=${listener.state} label=${listener.state} /> <code><${Parted} name=${listener.envoy_name} /></code></button></div>
        <span class="wide-only"><${Tag}>${listener.chain_kinds.map((one) => SPEAKS[one]).join(", ") || "closed"}<//></span>
        <span class="names wide-only muted">${nameOf(listener)}</span>
        <span class="facts"><${Fact} ...${facts.configuration} title="Configuration" /><${Fact} ...${facts.endpoints} title="Endpoints" />
            <span class="wide-only"><${Fact} ...${facts.tls} title="TLS" /></span></span></div>`;
}

// ---- a listener as a drawing ----------------------------------------------------------------------------------------

const COLUMNS = ["Listener", "Virtual host and route", "Exposure", "Endpoint by node"];

const CLOSING = 28; // what stands above a drawing
const BUTTON_HEIGHT = 44;

const heightOfDrawing = (exposures, total) => CLOSING + heightOf(exposures.reduce((n, one) => n + rowsOf(one), 0))
    + (total > exposures.length ? BUTTON_HEIGHT : 0);

function Drawing({ listener, exposures, error, width, chosen, onChoose, onHeight, onMore }) {
    const [pointed, setPointed] = useState(null);
    const element = useRef(null);
    const drawn = useMemo(() => layout(listener, exposures, width), [listener, exposures, width]);
    const rest = listener.exposures_total - exposures.length;
    useLayoutEffect(() => onHeight(listener.name, heightOfDrawing(exposures, listener.exposures_total)), [exposures, rest]);
    const selected = chosen && drawn.boxes.find((box) => box.id === chosen.id);
    const through = drawn.boxes.find((box) => box.id === pointed) || selected;
    // What is chosen stays so while its states change, and as long as it is there.
    const signature = chosen && JSON.stringify(drawn.boxes.map((box) => [box.id, box.state]));
    useEffect(() => {
        if (chosen) onChoose(selected ? { ...chosen, boxes: drawn.boxes, box: selected } : null);
    }, [signature, exposures]);
    const choose = (box) => onChoose(selected === box ? null : { listener: listener.name, id: box.id, boxes: drawn.boxes, box });
    const onKey = (event) => {
        const from = drawn.boxes.find((box) => box.id === event.target.dataset?.id);
        if (!from || !event.key.startsWith("Arrow") || event.ctrlKey || event.altKey || event.metaKey) return;
        const next = neighbour(drawn.boxes, from, event.key);
        event.preventDefault();
        if (next) element.current.querySelector(`[data-id="${CSS.escape(next.id)}"]`).focus();
    };
    const kindOf = (box) => ["box", box.kind, through ? (isOnWay(box, through) ? "lit" : "dim") : "", box.isOff ? "off" : ""]
        .filter(Boolean).join(" ");
    return html`<div class="drawing" ref=${element} tabindex="0" role="group" aria-label=${`Ways through ${listener.envoy_name}`} onKeyDown=${onKey}>
        <div class="heads muted" style=${{ width: drawn.width + "px" }} aria-hidden="true">${COLUMNS.map((title, i) => html`<span style=${{
            left: drawn.boxes.find((box) => box.column === i)?.left + "px" }}>${title}</span>`)}</div>
        <div class="ground" style=${{ width: drawn.width + "px", height: drawn.height + "px" }} onMouseLeave=${() => setPointed(null)}>
            <svg aria-hidden="true" width=${drawn.width} height=${drawn.height}>${drawn.lines.map((one) => html`<path key=${one.from.id + one.to.id} d=${one.d}
                class=${(one.isOff ? "off " : "") + (through ? (isOnWay(one.from, through) && isOnWay(one.to, through) ? "lit" : "dim") : "")} />`)}</svg>
            ${drawn.boxes.map((box) => html`<button type="button" key=${box.id} data-id=${box.id} class=${kindOf(box)} aria-pressed=${selected === box}
                style=${{ left: box.left + "px", top: box.top + "px", width: box.width + "px", height: BOX + "px" }}
                title=${[box.text, box.more, box.why].filter(Boolean).join(": ")} onClick=${() => choose(box)} onMouseEnter=${() => setPointed(box.id)}
                onFocus=${() => setPointed(box.id)} onBlur=${() => setPointed(null)}>
                <span class="sr">${box.kind === "vhost" ? "virtual host" : box.kind} </span>
                ${box.state && html`<${Icon} state=${box.state} label=${box.state} />`}
                ${box.node && html`<b>${box.node}</b>`}<span class="text">${box.text}</span>
                ${box.kind === "route" && box.more && html`<span class="muted text">${box.more}</span>`}</button>`)}</div>
        ${rest > 0 && html`<p class="more"><${Button} onClick=${onMore}>Show ${Math.min(MORE, rest)} of ${rest} more exposures<//></p>`}
        ${error && html`<p class="error">${error.message}</p>`}</div>`;
}

// Those of its exposures that the listener itself does not tell of.
function DrawingOfMore({ shown, ...props }) {
    const { listener } = props;
    const list = useList("/topology/exposures", { listener: listener.name, sort: "-severity,name" }, ON, PAGE);
    const live = useLive();
    useEffect(() => list.show(0, shown), [list, shown, list.items]);
    // The first stay where they are, what was searched for among them.
    const exposures = useMemo(() => once([...listener.exposures, ...list.items]).slice(0, shown).map(([one]) => one), [list.items, shown, listener]);
    return html`<${Drawing} ...${props} exposures=${exposures} error=${faultOf(live, list)} />`;
}

function DrawingOf(props) {
    const { exposures } = props.listener;
    const [shown, setShown] = useState(0);
    const onMore = () => setShown(Math.max(shown, exposures.length) + MORE);
    return shown > exposures.length ? html`<${DrawingOfMore} ...${props} shown=${shown} onMore=${onMore} />`
        : html`<${Drawing} ...${props} exposures=${exposures} onMore=${onMore} />`;
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

function Listeners({ list }) {
    const box = useRef(null);
    const [view, setView] = useState({ top: 0, height: 800, width: 1000 });
    const [folded, setFolded] = useState({});
    // others: that are not like all.
    const [unfolded, setUnfolded] = useState(() => ({ all: false, others: new Set([list.items[0].name]) }));
    const [heights, setHeights] = useState({});
    const [chosen, setChosen] = useState(null);
    const [current, setCurrent] = useState(null);
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
    const groups = useMemo(() => {
        const all = once(list.items).map(([listener, index]) => ({ listener, index }));
        return [["trouble", "Needs attention", all.filter((one) => isTrouble(one.listener.state)), !list.complete && isTrouble(list.items.at(-1)?.state)],
            ["fine", "Nothing to complain about", all.filter((one) => !isTrouble(one.listener.state)), !list.complete]]
            .filter(([, , some]) => some.length).map(([id, title, some, goesOn]) => ({ id, title, some, goesOn }));
    }, [list.items, list.complete]);
    const isOpen = (name) => unfolded.others.has(name) !== unfolded.all;
    const toggle = (name) => {
        const next = new Set(unfolded.others);
        if (!next.delete(name)) next.add(name);
        setUnfolded({ ...unfolded, others: next });
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
        for (const { listener, index } of group.some) {
            put({ key: "line " + listener.name, listener, index }, ROW_HEIGHT);
            if (isOpen(listener.name)) put({ key: "drawing " + listener.name, listener, index, isDrawing: true },
                heights[listener.name] ?? heightOfDrawing(listener.exposures, listener.exposures_total));
        }
    }
    const seen = blocks.filter((one) => one.top + one.h > view.top - BEYOND && one.top < view.top + view.height + BEYOND);
    // Behind trouble that is folded stands what was not read yet.
    const [first, last] = folded.trouble && groups.at(-1).id === "trouble" ? [list.items.length, Infinity]
        : [seen.find((one) => one.listener)?.index ?? 0, seen.findLast((one) => one.listener)?.index ?? 0];
    useEffect(() => list.show(first, last), [first, last, list.items]);
    // The way that is chosen, while its drawing is out of sight and does not say what becomes of it.
    const place = chosen && blocks.find((one) => one.isDrawing && one.listener.name === chosen.listener);
    const isSeen = seen.includes(place);
    useEffect(() => {
        if (!chosen || isSeen) return;
        const { boxes } = place ? layout(place.listener, place.listener.exposures, view.width) : { boxes: [] };
        const found = boxes.find((one) => one.id === chosen.id);
        setChosen(found ? { ...chosen, boxes, box: found } : null);
    }, [place?.listener, isSeen]);
    useLayoutEffect(() => {
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
    const count = groups.reduce((n, group) => n + group.some.length, 0);
    return html`<div class="topology" ref=${box} onScroll=${look} tabindex="0" role="region" aria-label="Topology">
            <div style=${{ height: (seen[0]?.top ?? 0) + "px" }}></div>
            ${seen.map((one) => html`<div key=${one.key} style=${{ height: one.h + "px" }} class=${one.group ? "group-line" : ""}>${one.group
                ? html`<h2><button type="button" class="fold" aria-expanded=${!folded[one.group.id]} onClick=${() => setFolded({ ...folded, [one.group.id]: !folded[one.group.id] })}>
                    <span aria-hidden="true" class="mark"></span> ${one.group.title} <span class="muted">${one.group.some.length}${one.group.goesOn && "+"}</span></button></h2>`
                : one.isDrawing
                    ? html`<${DrawingOf} listener=${one.listener} width=${view.width} onHeight=${onHeight} onChoose=${setChosen}
                        chosen=${chosen?.listener === one.listener.name ? chosen : null} />`
                    : html`<${Line} listener=${one.listener} isOpen=${isOpen(one.listener.name)} onToggle=${() => toggle(one.listener.name)}
                        isCurrent=${current === one.listener.name} onCurrent=${() => setCurrent(one.listener.name)} />`}</div>`)}
            <div style=${{ height: Math.max(0, height - (seen.length ? seen.at(-1).top + seen.at(-1).h : 0)) + "px" }}></div></div>
        <div class="actions below"><span class="muted">${count === 1 ? "1 listener" : list.complete ? `${count} listeners`
            : `${count} listeners; more are read as you scroll`}</span>
            <${Button} kind="quiet" onClick=${() => setUnfolded({ all: true, others: new Set() })}>Unfold all<//>
            <${Button} kind="quiet" onClick=${() => setUnfolded({ all: false, others: new Set() })}>Fold all<//></div>
        ${chosen && html`<${Way} chosen=${chosen} onClose=${() => setChosen(null)} />`}`;
}

// ---- the same as a table: a row for each way ------------------------------------------------------------------------

function EndpointsByNode({ item, fact }) {
    const items = item.endpoints;
    const rest = item.status.endpoints.total - Math.min(items.length, 4);
    return html`<span class="by-node"><${Fact} ...${fact} title=${fact.message} />
        ${items.slice(0, 4).map((e) => html` <span key=${e.name} title=${`${e.name}: ${endpointState(e)[1]}`}><${Icon} state=${endpointState(e)[0]} label=${endpointState(e)[1]} />
            ${e.node ? html`<b>${e.node} </b><code>${e.name}</code>` : html`<span>${e.name}</span>`}</span>`)}${rest > 0 && ` and ${rest} more`}</span>`;
}

const WAYS = [
    { key: "listener", title: "Listener", kind: "whole", cell: (way) => html`<code>${way.listener.replace("/tcp", "")}</code>` },
    { key: "host", title: "Virtual host", kind: "clip short", cell: (way) => way.host },
    { key: "route", title: "Route", kind: "clip short", cell: (way) => (way.route ? html`<code>${routeText(way.route)}</code> <span class="muted">${routeMore(way.route)}</span>` : way.rest || "–") },
    { key: "exposure", title: "Exposure", cell: (way) => html`<a href=${href("exposures", [way.item.name])}>${way.item.name}</a>` },
    { key: "configuration", title: "Configuration", cell: (way) => html`<${Fact} ...${way.facts.configuration} title=${way.facts.configuration.message} />` },
    { key: "tls", title: "TLS", cell: (way) => html`<${Fact} ...${way.facts.tls} title=${way.facts.tls.message} />` },
    { key: "endpoints", title: "Endpoints by node", kind: "loose", cell: (way) => html`<${EndpointsByNode} item=${way.item} fact=${way.facts.endpoints} />` },
];

// The ways through one exposure; index: of it in the list.
function waysOf([item, index]) {
    const way = { item, index, facts: factsOf(item.status), listener: (item.listener || "no listener").split("|").pop() };
    const one = (host, route, i) => ({ ...way, host, route, key: `${item.name} ${i}` });
    if (!item.vhosts.length) return [one(takenBy(item), null, 0)];
    const ways = item.vhosts.flatMap((vhost, v) => {
        const routes = vhost.routes.map((route, r) => one(namesOf(vhost), route, `${v} ${r}`));
        const rest = vhost.routes_total - routes.length;
        return rest || !routes.length ? [...routes, { ...one(namesOf(vhost), null, v), rest: rest ? `and ${rest} more routes` : "" }] : routes;
    });
    const rest = item.vhosts_total - item.vhosts.length;
    return rest > 0 ? [...ways, one(`and ${rest} more virtual hosts`, null, "rest")] : ways;
}

function Ways({ filters }) {
    const list = useList("/topology/exposures", { ...filters, sort: ORDER }, ON, PAGE);
    const ways = useMemo(() => once(list.items).flatMap(waysOf), [list.items]);
    return html`<${Read} of=${list} empty=${html`<${Empty} title="No way is like that"><${Button} onClick=${showAll}>Show all ways<//><//>`}>
        <${Table} label="Topology as a table: each row is a way, those with trouble first" columns=${WAYS} items=${ways} complete=${list.complete}
            rowKey=${(way) => way.key} onShow=${(first, last) => list.show(ways[first]?.index ?? 0, ways[last - 1]?.index ?? 0)} /><//>`;
}

// ---- the page -------------------------------------------------------------------------------------------------------

const showAll = () => setQuery({ q: null, listener: null });

function Drawings({ gateway, filters }) {
    const { listener, ...others } = filters;
    const list = useList("/topology", { ...others, name: listener, sort: ORDER }, ON, PAGE);
    const isNarrowed = filters.q || listener;
    const nothing = isNarrowed ? html`<${Empty} title="No listener is like that"><${Button} onClick=${showAll}>Show all listeners<//><//>`
        : html`<${Empty} title=${`${gateway.name} opens nothing yet`}>
            <p>A gateway opens what the exposures on it ask for: as soon as one is there, its listener stands here.</p>
            <a class="button primary" href=${href("exposures", [], { gateway: gateway.name })}>Its exposures</a><//>`;
    return html`<${Read} of=${list} empty=${nothing}><${Listeners} list=${list} /><//>`;
}

function Gateway({ gateway, query }) {
    const filters = { gateway: gateway.name, listener: query.get("listener"), q: query.get("q") };
    if (query.get("view") === "table") return html`<${Ways} filters=${filters} />`;
    return html`<${Drawings} key=${JSON.stringify(filters)} gateway=${gateway} filters=${filters} />`;
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
            ${gateway && html`<${CopyCurl} request=${{ path: "/topology" + queryText({ gateway: name, sort: ORDER }) }} />
            <div class="switch" role="group" aria-label="Shown as">
                <${Button} aria-pressed=${!isTable} onClick=${() => setQuery({ view: null })}>Drawing<//>
                <${Button} aria-pressed=${isTable} onClick=${() => setQuery({ view: "table" })}>Table<//></div>`}<//>
        <div class="filters" role="search">
            <${Search} label="Search the topology" value=${query.get("q") || ""} onChange=${(value) => setQuery({ q: value })} />
            ${all.length > 1 && html`<${Choice} label="Gateway" value=${name} options=${all.map((one) => [one.name, one.name])}
                onChange=${(value) => setQuery({ gateway: value, listener: null })} />`}
            ${query.get("listener") && html`<${Button} kind="quiet" title="Show all listeners" onClick=${() => setQuery({ listener: null })}>
                listener: ${query.get("listener").split("|").pop()} ✕<//>`}
        </div>
        <${Read} of=${gateways} empty=${html`<${Empty} title="There is no gateway yet" />`}>${gateway
            ? html`<${Gateway} key=${name} gateway=${gateway} query=${query} />`
            : html`<${Empty} title=${wanted ? "There is no such gateway" : "There is no gateway yet"}>
                <p>A gateway is there as soon as an exposure or an Envoy names it.</p><a href=${href("gateways")}>All gateways</a><//>`}<//>`;
}
