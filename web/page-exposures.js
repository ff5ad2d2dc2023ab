// All exposures: found by the server's filters, in rows with three facts each. One of them: page-exposure.js.
import { EXPOSURE_EVENTS, useGatewayNames, useList } from "./store.js";
import { Search, Choice, Table } from "./table.js";
import { Button, CopyCurl, Empty, Fact, Origin, PageHead, Parted, Read, Tag, countOf, factsOf, go, href, namesOf, setQuery, someOf, useMe, whyReadOnly } from "./ui.js";
import { query as queryText } from "./api.js";
import { html } from "./html.js";
import Exposure from "./page-exposure.js";
import { NewExposure } from "./page-exposure-edit.js";

const FIELDS = "name,service,origin,overridden,enabled,protocol,vhosts,sni,status";
const STATES = [["", "any"], ["failed", "failed"], ["warning", "warning"], ["ok", "ok"], ["unknown", "unknown"]];
const FILTERS = ["gateway", "accepted", "programmed", "endpoints", "certificate_state", "origin", "namespace",
    "is_overridden", "listener", "service", "certificate", "domain"];

// One of its three facts.
const cellOf = (which) => (item) => {
    const fact = factsOf(item.status)[which];
    return html`<${Fact} ...${fact} title=${fact.message} />`;
};

const COLUMNS = [
    { key: "name", title: "Exposure", sort: "name", cell: (item) => html`<${Parted} name=${item.name} />` },
    { key: "configuration", title: "Configuration", cell: cellOf("configuration") },
    { key: "endpoints", title: "Endpoints", sort: "endpoints_up", cell: cellOf("endpoints") },
    { key: "tls", title: "TLS", cell: cellOf("tls"), narrow: false },
    { key: "names", title: "Names", cell: (item) => someOf(namesOf(item)), kind: "clip", narrow: false },
    { key: "gateway", title: "Gateway", sort: "gateway", cell: (item) => item.status.gateway, narrow: false },
    { key: "port", title: "Port", sort: "listener_port", kind: "num", narrow: false,
        cell: (item) => item.status.listener_port || "–" },
    { key: "origin", title: "From", narrow: false, cell: (item) => html`
        <${Origin} of=${item.origin} />
        ${item.overridden.length > 0 && html` <${Tag} kind="accent">${item.overridden.length} overridden<//>`}
        ${!item.enabled && html` <${Tag} kind="warning">disabled<//>`}` },
];

function Filters({ filters }) {
    const gateways = useGatewayNames();
    const set = (name) => (value) => setQuery({ [name]: value });
    const others = ["namespace", "listener", "service", "certificate", "domain"].filter((name) => filters[name]);
    return html`<div class="filters" role="search">
        <${Search} label="Search exposures" value=${filters.q || ""} onChange=${set("q")} />
        ${gateways.length > 1 && html`<${Choice} label="Gateway" value=${filters.gateway} onChange=${set("gateway")}
            options=${[["", "all"], ...gateways.map((one) => [one, one])]} />`}
        <${Choice} label="Accepted" value=${filters.accepted} onChange=${set("accepted")} options=${STATES} />
        <${Choice} label="Live" value=${filters.programmed} onChange=${set("programmed")} options=${STATES} />
        <${Choice} label="Endpoints" value=${filters.endpoints} onChange=${set("endpoints")} options=${STATES} />
        <${Choice} label="TLS" value=${filters.certificate_state} onChange=${set("certificate_state")} options=${STATES} />
        <${Choice} label="From" value=${filters.origin} onChange=${set("origin")}
            options=${[["", "anybody"], ["agent", "agent"], ["api", "made here"]]} />
        ${others.map((name) => html`<${Button} kind="quiet" aria-label=${`No filter by ${name} any more`} onClick=${() => set(name)(null)}>
            ${name}: ${filters[name]} ✕<//>`)}
    </div>`;
}

function All({ query }) {
    const me = useMe();
    const filters = Object.fromEntries(["q", ...FILTERS].filter((name) => query.get(name))
        .map((name) => [name, query.getAll(name).length > 1 ? query.getAll(name) : query.get(name)]));
    const sort = query.get("sort") || "name";
    const parameters = { ...filters, sort, fields: FIELDS };
    const list = useList("/exposures", parameters, EXPOSURE_EVENTS);
    const isFiltered = Object.keys(filters).length > 0;
    const empty = isFiltered
        ? html`<${Empty} title="No exposure is like that"><${Button}
            onClick=${() => go(href("exposures"))}>Show all exposures<//><//>`
        : html`<${Empty} title="There is no exposure yet">
            <p>An exposure makes a service reachable through a gateway. Services of the cluster declare theirs in their
            OpenSVC configuration, in a section <code>[expose#0]</code> with <code>type = envoy</code>; one can also be made
            here, of fixed endpoints.</p>
            <${Button} kind="primary" disabled=${whyReadOnly(me)} onClick=${() => setQuery({ make: "1" })}>Make an exposure<//><//>`;
    return html`<${PageHead} title="Exposures" sub=${countOf(list)}>
            <${Button} aria-pressed=${sort === "-severity"} onClick=${() => setQuery({ sort: sort === "-severity" ? null : "-severity" })}>Trouble first<//>
            <${CopyCurl} request=${{ path: "/exposures" + queryText({ ...filters, sort, limit: 100 }) }} />
            <${Button} kind="primary" disabled=${whyReadOnly(me)} onClick=${() => setQuery({ make: "1" })}>Make an exposure<//><//>
        <${Filters} filters=${filters} />
        <${Read} of=${list} empty=${empty}><${Table} label="Exposures" columns=${COLUMNS} items=${list.items}
            complete=${list.complete} rowKey=${(item) => item.name} rowHref=${(item) => href("exposures", [item.name])}
            sort=${sort} onSort=${(name) => setQuery({ sort: name })} onShow=${(first, last) => list.show(first, last)} /><//>
        ${query.get("make") && html`<${NewExposure} onClose=${() => setQuery({ make: null })} />`}`;
}

export default function Exposures({ args, query }) {
    return args.length ? html`<${Exposure} name=${args[0]} query=${query} />` : html`<${All} query=${query} />`;
}
