// The Envoys: who they are, what each of them has of every resource, and in its own words what it refused; and those that
// left and did not come back, with what to do about that.
import { ask, query as queryText, segment } from "./api.js";
import { EXPOSURE_EVENTS, useGatewayNames, useGet, useList, useLive } from "./store.js";
import { Choice, Search, Table } from "./table.js";
import {
    Ago, Button, Card, Confirm, CopyCurl, Empty, Fact, Icon, Linked, PageHead, Pairs, Read, Tag, XDS_STATES, countOf, faultOf, go, href, proxyFact,
    setQuery, toast, useMe, whyNotOperator,
} from "./ui.js";
import { html, useRef, useState } from "./html.js";

const ON = ["Proxy"];
const SHOWN = 20; // refusals in full; the rest is in the table

const NAMES = Object.keys(XDS_STATES);
const STATE_OPTIONS = [["", "any"], ...NAMES.map((name) => [name, name])];
const TYPES = { LISTENER: "listeners", ROUTE: "routes", CLUSTER: "clusters", ENDPOINT: "endpoints", SECRET: "secrets" };
const TYPE_OPTIONS = [["", "all"], ...Object.keys(TYPES).map((type) => [type, type])];

const PRESENCE_OPTIONS = [["", "any"], ["connected", "connected"], ["away", "away"], ["gone", "gone"]];

const State = ({ of }) => html`<${Fact} state=${XDS_STATES[of][0]} text=${of} title=${XDS_STATES[of][1]} />`;
const Standing = ({ of }) => html`<${Fact} ...${proxyFact(of.status)} />`;
const addressOf = (proxy) => proxy.peer.replace(/^ipv[46]:/, "");

// What a resource is about, as a link. ADDRESS:PORT/PROTOCOL is a listener, with |CHAIN its routes; clusters and their
// endpoints have the exposure's name, secrets their kind before that of the certificate.
function subjectOf(gateway, type, name) {
    if (type === "CLUSTER" || type === "ENDPOINT") return href("exposures", [name]);
    if (type === "LISTENER" || type === "ROUTE")
        return href("topology", [], { gateway, listener: `${gateway}|${name.split("|")[0]}` });
    const secret = /^(?:tls_certificate|validation_context)\/(.+\/sec\/.+)$/.exec(name);
    return type === "SECRET" && secret ? href("certificates", [secret[1]]) : null;
}

const Subject = ({ gateway, type, name }) => {
    const to = subjectOf(gateway, type, name);
    return to ? html`<a href=${to}><code>${name}</code></a>` : html`<code>${name}</code>`;
};

// The exposures on a listener that some Envoy refuses.
function Culprits({ gateway, name }) {
    const list = useList("/exposures", { listener: `${gateway}|${name.split("|")[0]}`, programmed: "failed", accepted: ["ok", "warning"],
        fields: "name" }, EXPOSURE_EVENTS, 20);
    if (!list.items.length) return null;
    return html`<p>It carries ${list.items.map((one, i) => html`${i ? ", " : ""}<a key=${one.name} href=${href("exposures", [one.name])}>
        ${one.name}</a>`)}${list.complete ? "" : " and more"}.</p>`;
}

// A refusal: of what, in Envoy's words, and where it can be mended.
function Refusal({ gateway, item, by }) {
    const { type, name } = item;
    const isShared = type === "LISTENER" || type === "ROUTE";
    const to = isShared ? null : subjectOf(gateway, type, name);
    return html`<li><${Icon} state="failed" label="refused" /><div>
        <strong>${type} <${Subject} gateway=${gateway} type=${type} name=${name} /></strong>
        ${by && html` <span class="muted">by ${by}</span>`}
        <p><${Linked} text=${item.status.error || "It gave no reason."} /></p>
        ${isShared && html`<${Culprits} gateway=${gateway} name=${name} />`}</div>
        ${to && html`<a class="remedy" href=${to}>${type === "SECRET" ? "The certificate" : "The exposure"}</a>`}</li>`;
}

function RefusedBy({ proxy }) {
    const list = useList(`/proxies/${segment(proxy.id)}/resources`, { state: "NACKED" }, ON, SHOWN);
    const error = faultOf(useLive(), list);
    return html`${error && html`<li><${Icon} state="failed" /><div>${error.message}</div></li>`}
        ${list.items.map((item) => html`<${Refusal} key=${item.type + item.name} gateway=${proxy.gateway} item=${item}
            by=${html`<a href=${href("proxies", [proxy.id])}>${proxy.node_id}</a>`} />`)}`;
}

function Refused({ filters }) {
    const list = useList("/proxies", { gateway: filters.gateway, q: filters.q, state: "NACKED", fields: "id,node_id,gateway" }, ON, 5);
    if (!list.items.length) return null;
    const shown = list.items.slice(0, 5);
    return html`<${Card} title="Refused, in Envoy's words"><ul class="rows">
        ${shown.map((proxy) => html`<${RefusedBy} key=${proxy.id} proxy=${proxy} />`)}
        ${(list.count > shown.length || !list.complete) && html`<li><${Icon} state="failed" label="refused" /><div>Other Envoys refuse
            something, too.</div><a class="remedy" href=${href("proxies", [], { ...filters, state: "NACKED" })}>All of them</a></li>`}</ul><//>`;
}

// ---- all of them ----------------------------------------------------------------------------------------------------

// How many it has, and how many of these are not acked, type by type.
function Has({ of }) {
    const rows = of.filter((one) => NAMES.some((state) => one[state]));
    if (!rows.length) return html`<span class="muted">nothing</span>`;
    return html`<span class="facts">${rows.map((one) => {
        const all = NAMES.reduce((n, state) => n + one[state], 0);
        const state = NAMES.find((name) => one[name]);
        return html`<${Fact} key=${one.type} state=${XDS_STATES[state][0]} title=${NAMES.filter((name) => one[name])
            .map((name) => `${one[name]} ${name}`).join(", ")} text=${`${one.ACKED === all ? all : `${one.ACKED}/${all}`} ${TYPES[one.type] || one.type}`} />`;
    })}</span>`;
}

const COLUMNS = [
    { key: "node_id", title: "Envoy", sort: "node_id", cell: (item) => item.node_id },
    { key: "state", title: "State", sort: "state", cell: (item) => html`<${Standing} of=${item} />` },
    { key: "gateway", title: "Gateway", sort: "gateway", cell: (item) => html`<a href=${href("gateways", [item.gateway])}>${item.gateway}</a>`,
        narrow: false },
    { key: "since", title: "Since", cell: (item) => html`<${Ago} time=${item.left_at || item.connected_at} />` },
    { key: "has", title: "Acked", kind: "loose", cell: (item) => (item.left_at ? "–" : html`<${Has} of=${item.status.resources} />`), narrow: false },
    { key: "version", title: "Version", cell: (item) => item.envoy_version || "–", narrow: false },
    { key: "peer", title: "From", cell: (item) => html`<code>${addressOf(item)}</code>`, narrow: false },
];

const NONE = html`<${Empty} title="No Envoy is connected">
    <p>An Envoy connects to igwd with a bootstrap, which each gateway has ready to be copied; then it asks for its listeners
    by itself and stays connected.</p>
    <a class="button primary" href=${href("gateways")}>How to connect one<//><//>`;

function All({ query }) {
    const filters = Object.fromEntries(["q", "gateway", "presence", "state", "node_id"].filter((name) => query.get(name))
        .map((name) => [name, query.get(name)]));
    const sort = query.get("sort") || "node_id";
    const list = useList("/proxies", { ...filters, sort }, ON);
    const gateways = useGatewayNames();
    const set = (name) => (value) => setQuery({ [name]: value });
    const empty = Object.keys(filters).length ? html`<${Empty} title="No Envoy is like that">
        <${Button} onClick=${() => go(href("proxies"))}>Show all of them<//><//>` : NONE;
    return html`<${PageHead} title="Proxies" sub=${countOf(list)}>
            <${CopyCurl} request=${{ path: "/proxies" + queryText({ ...filters, sort }) }} /><//>
        <div class="filters" role="search">
            <${Search} label="Search proxies" value=${filters.q || ""} onChange=${set("q")} />
            ${gateways.length > 1 && html`<${Choice} label="Gateway" value=${filters.gateway} onChange=${set("gateway")}
                options=${[["", "all"], ...gateways.map((one) => [one, one])]} />`}
            <${Choice} label="Presence" value=${filters.presence} onChange=${set("presence")} options=${PRESENCE_OPTIONS} />
            <${Choice} label="State" value=${filters.state} onChange=${set("state")} options=${STATE_OPTIONS} />
            ${filters.node_id && html`<${Button} kind="quiet" onClick=${() => set("node_id")(null)}>
                node: ${filters.node_id} ✕<//>`}
        </div>
        <${Refused} filters=${filters} />
        <${Read} of=${list} empty=${empty}><${Table} label="Proxies" columns=${COLUMNS} items=${list.items} complete=${list.complete}
            rowKey=${(item) => item.id} rowHref=${(item) => href("proxies", [item.id])} sort=${sort}
            onSort=${(name) => setQuery({ sort: name })} onShow=${(first, last) => list.show(first, last)} /><//>`;
}

// ---- one of them ----------------------------------------------------------------------------------------------------

function Counts({ proxy, query }) {
    const to = (type, state) => href("proxies", [proxy.id], { type, state });
    const isAt = (type, state) => query.get("type") === type && query.get("state") === state;
    return html`<${Card} title="What it has"><div class="table-box tight" tabindex="0" role="region" aria-label="Resources by type and state"><table>
        <thead><tr><th scope="col">Type</th>${NAMES.map((state) => html`<th scope="col" class="num">
            <${Icon} state=${XDS_STATES[state][0]} /> ${state}</th>`)}</tr></thead>
        <tbody>${proxy.status.resources.map((one) => html`<tr key=${one.type}><th scope="row"><a href=${to(one.type)}>${one.type}</a></th>
            ${NAMES.map((state) => html`<td class="num">${one[state] ? html`<a href=${to(one.type, state)} aria-label=${`${one[state]} ${one.type} ${state}`}
                aria-current=${isAt(one.type, state) ? "true" : undefined}>${one[state]}</a>` : html`<span class="muted">0</span>`}</td>`)}</tr>`)}</tbody>
        </table></div><//>`;
}

const resourceColumns = (gateway) => [
    { key: "name", title: "Resource", sort: "name", cell: (item) => html`<${Subject} gateway=${gateway} type=${item.type} name=${item.name} />` },
    { key: "type", title: "Type", cell: (item) => item.type },
    { key: "state", title: "State", sort: "state", cell: (item) => html`<${State} of=${item.status.state} />` },
    { key: "version", title: "Version", cell: (item) => html`<code>${item.status.version || "–"}</code>`, narrow: false },
    { key: "error", title: "Envoy's words", cell: (item) => item.status.error && html`<span title=${item.status.error}>${item.status.error}</span>`,
        narrow: false },
];

// What is to be done about one that is not connected.
function Absent({ proxy, path }) {
    const [asks, setAsks] = useState(false);
    const me = useMe();
    const { status: { presence, ended }, gateway, node_id: node } = proxy;
    const forget = async () => {
        await ask("DELETE", path);
        toast(`${node} is forgotten`);
        go(href("proxies"));
    };
    return html`<${Card} title=${presence === "gone" ? "It left and did not come back" : "It left a moment ago"} action=${html`
        <${Button} disabled=${whyNotOperator(me, gateway)} onClick=${() => setAsks(true)}>Forget<//>`}><div class="body stack">
        <p><${Icon} state=${presence === "gone" ? "failed" : "warning"} /> It left <${Ago} time=${proxy.left_at} />: ${ended}.</p>
        ${presence === "away" ? html`<p>It may be about to start anew. If it stays away, that becomes an alarm.</p>` : html`<ol>
            <li>Does it run, where it came from (<code>${addressOf(proxy)}</code>)? It may have been moved, or its host may be down.</li>
            <li>If it runs, it serves what it has, and changes do not reach it. Then it can't reach igwd: look at the address in its
                bootstrap (<a href=${href("gateways", [gateway])}>as it should be</a>), the firewall between, and its client certificate.</li>
            <li>If it was taken away for good, forget it. If it ever comes back, it is known again from then on.</li></ol>`}</div>
        ${asks && html`<${Confirm} title="Forget this Envoy?" verb="Forget" action=${forget} onClose=${() => setAsks(false)}>
            <p><strong>${node}</strong> is not missed any more, and its alarm is over. Nothing else changes.</p><//>`}<//>`;
}

function One({ id, query }) {
    const path = `/proxies/${segment(id)}`;
    const on = (event) => event.kind === "Proxy" && event.name === id;
    const one = useGet(path, on);
    const proxy = one.data;
    const filters = Object.fromEntries(["q", "type", "state"].filter((name) => query.get(name)).map((name) => [name, query.get(name)]));
    const sort = query.get("sort") || "";
    const list = useList(path + "/resources", { ...filters, sort }, on);
    const refused = useList(path + "/resources", { state: "NACKED" }, on, SHOWN);
    const isThere = proxy?.status.presence === "connected";
    const set = (name) => (value) => setQuery({ [name]: value });
    const node = useRef(null);
    if (proxy) node.current = proxy.node_id;
    if (one.error?.status === 404)
        return html`<${PageHead} title=${node.current || id} /><${Empty} title="Nobody has this id any more">
            <p>Each connection has an id of its own: an Envoy that came back has another one.
            ${" "}<a href=${href("proxies", [], { node_id: node.current })}>${node.current ? "What is known of this node" : "All Envoys"}</a></p><//>`;
    const empty = Object.keys(filters).length
        ? html`<${Empty} title="It has nothing like that"><${Button} onClick=${() => setQuery({ q: null, type: null, state: null })}>Show all it has<//><//>`
        : html`<${Empty} title="It has asked for nothing yet"><p>An Envoy asks for its listeners and clusters when it connects.</p><//>`;
    return html`<${PageHead} title=${proxy ? proxy.node_id : id} sub=${html`<a href=${href("proxies")}>Proxies</a> / ${id}`}>
            <${CopyCurl} request=${{ path: path + "/resources" + queryText({ ...filters, sort }) }} /><//>
        <${Read} of=${one}>${proxy && html`
            ${refused.items.length > 0 && html`<${Card} title="Refused, in Envoy's words"><ul class="rows">${refused.items.map((item) => html`
                <${Refusal} key=${item.type + item.name} gateway=${proxy.gateway} item=${item} />`)}</ul><//>`}
            ${!isThere && html`<${Absent} proxy=${proxy} path=${path} />`}
            <div class="cards"><${Card} title=${isThere ? "Who it is" : "Who it was"}><${Pairs} of=${[
                ["State", html`<${Standing} of=${proxy} />`],
                ["Gateway", html`<a href=${href("gateways", [proxy.gateway])}>${proxy.gateway}</a>`],
                ["Node id", html`<code>${proxy.node_id}</code>`],
                ["Node cluster", html`<code>${proxy.node_cluster}</code>`],
                ["First seen", html`<${Ago} time=${proxy.first_seen_at} />`],
                ["Connected", html`<${Ago} time=${proxy.connected_at} />`],
                ["Left", proxy.left_at && html`<${Ago} time=${proxy.left_at} />`],
                ["From", html`<code>${proxy.peer}</code>`],
                ["Envoy", proxy.envoy_version || "of unknown version"],
                ["Speaks", html`<${Tag}>${proxy.variant === "incremental" ? "incremental xDS" : "state of the world xDS"}<//>`],
            ]} /><//>${isThere && html`<${Counts} proxy=${proxy} query=${query} />`}</div>
            ${isThere && html`<div class="filters" role="search">
                <${Search} label="Search resources" value=${filters.q || ""} onChange=${set("q")} />
                <${Choice} label="Type" value=${filters.type} onChange=${set("type")} options=${TYPE_OPTIONS} />
                <${Choice} label="State" value=${filters.state} onChange=${set("state")} options=${STATE_OPTIONS} />
            </div>
            <${Read} of=${list} empty=${empty}><${Table} label="Resources" columns=${resourceColumns(proxy.gateway)} items=${list.items}
                complete=${list.complete} rowKey=${(item) => item.type + " " + item.name} sort=${sort}
                onSort=${(name) => setQuery({ sort: name })} onShow=${(first, last) => list.show(first, last)} /><//>`}`}<//>`;
}

export default function Proxies({ args, query }) {
    return args.length ? html`<${One} id=${args[0]} query=${query} />` : html`<${All} query=${query} />`;
}
