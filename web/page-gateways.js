// The gateways: what they may do, what they really open and who shares it, their Envoys, and how to connect another.
import { ask, query as queryText, segment } from "./api.js";
import { useGet, useList, useWhole } from "./store.js";
import { Changes, Effects } from "./diff.js";
import { Editor, Field, useDraft } from "./edit.js";
import { Search, Table } from "./table.js";
import {
    Ago, Button, Card, Confirm, CopyCurl, Dialog, Empty, ErrorBox, Fact, Icon, Loading, PageHead, Pairs, Read, ReadOnly,
    Tag, copy, go, href, many, proxyFact, setQuery, toast, useMe, whyNotAdmin,
} from "./ui.js";
import { html, useRef, useState } from "./html.js";

const pathOf = (name) => "/gateways/" + segment(name);
// What its exposures start from, as JSON of Envoy's own messages.
const BASES = [
    ["cluster_data", "Clusters (JSON of a Cluster)"],
    ["tcp_proxy_data", "TCP (JSON of a TcpProxy)"],
    ["udp_proxy_data", "UDP (JSON of a UdpProxyConfig)"],
    ["http_connection_manager_data", "HTTP (JSON of a HttpConnectionManager)"],
    ["retry_policy_data", "Retries of HTTP (JSON of a RetryPolicy)"],
];
const MEMBERS = ["port_min", "port_max", "allow_files", "allow_cluster_header", ...BASES.map(([key]) => key)];
const settingsOf = (item) => Object.fromEntries(MEMBERS.filter((key) => item[key] !== undefined).map((key) => [key, item[key]]));
const basesOf = (item) => BASES.filter(([key]) => item[key] !== undefined);
// Its counts are of all these.
const ON = ["Gateway", "Listener", "Exposure", "Proxy"];
const ALL_AT_ONCE = 2000; // exposures that are looked through unasked

const acceptedFact = ({ exposures, exposures_accepted: accepted }) => ({
    state: exposures === 0 ? "none" : accepted === exposures ? "ok" : "failed",
    text: exposures === 0 ? "none" : `${accepted}/${exposures} accepted`,
});
const envoysFact = ({ proxies, proxies_gone: gone, exposures }) => ({
    state: gone ? "failed" : proxies ? "ok" : exposures ? "warning" : "none",
    text: (proxies ? `${proxies} connected` : "none connected") + (gone ? `, ${gone} gone` : ""),
});
const Allowed = ({ item }) => html`${item.allow_files && html`<${Tag} kind="warning">files<//> `}
    ${item.allow_cluster_header && html`<${Tag} kind="warning">cluster by header<//>`}
    ${!item.allow_files && !item.allow_cluster_header && html`<span class="muted">nothing special</span>`}`;

// ---- settings -------------------------------------------------------------------------------------------------------

function Form({ of, why }) {
    const f = (member, label, rest) => html`<${Field} of=${of} at=${"/" + member} label=${label} why=${why} ...${rest} />`;
    const hasBases = useRef(false); // or had: it does not close on who empties one
    hasBases.current ||= basesOf(of.draft).length > 0;
    return html`<div class="fields">
        ${f("port_min", "First port to allocate", { kind: "number", help: "For exposures that ask for any port (0)." })}
        ${f("port_max", "Last port to allocate", { kind: "number" })}
        ${f("allow_files", "Services may name files", { kind: "check",
            help: "Parts of Envoy's configuration that services pass through may then name files of the Envoy's machine." })}
        ${f("allow_cluster_header", "Clients may choose a cluster", { kind: "check",
            help: "Routes may then take the cluster's name from a header of the request." })}</div>
        <details class="more-members" open=${hasBases.current}><summary>For experts: what exposures start from</summary>
            <p class="help">Parts of Envoy's configuration in place of igwd's defaults: timeouts, health checks, limits, retries. What an
                exposure passes through itself goes over them.</p>
            <div class="fields">${BASES.map(([key, label]) => f(key, label, { kind: "json" }))}</div></details>`;
}

function Settings({ item, etag, why, isEditing }) {
    const close = () => setQuery({ edit: null });
    if (!isEditing)
        return html`<${Card} title="Settings" action=${html`<${Button} disabled=${why} onClick=${() => setQuery({ edit: "1" })}>Edit<//>`}>
            <${Pairs} of=${[
                ["Allocated ports", `${item.port_min} – ${item.port_max}`],
                ["Files in passed-through JSON", item.allow_files ? html`<${Fact} state="warning" text="allowed" />` : "not allowed"],
                ["Cluster by header", item.allow_cluster_header ? html`<${Fact} state="warning" text="allowed" />` : "not allowed"],
                ["Exposures start from", basesOf(item).length ? basesOf(item).map(([key]) => html`<${Tag} key=${key}>${key}<//> `) : "igwd's defaults"],
                ["Default gateway", item.is_default ? "yes: exposures that name none are here" : "no"],
            ]} /><//>`;
    return html`<${Edit} item=${item} etag=${etag} why=${why} onClose=${close} />`;
}

function Edit({ item, etag, why, onClose }) {
    const of = useDraft({ path: pathOf(item.name), base: settingsOf(item), etag, pick: settingsOf, kind: "Gateway", name: item.name });
    return html`<${Card} title="Settings" action=${html`<${Button} kind="quiet" onClick=${onClose}>Close<//>`}><div class="body">
        <${Editor} of=${of} why=${why} onCancel=${onClose} form=${html`<${Form} of=${of} why=${why} />`} /></div><//>`;
}

// Back to what is so by default; what that would do is asked before. The record can't go while exposures name the gateway.
function Reset({ item, why }) {
    const [trial, setTrial] = useState(null);
    const write = (options) => (item.status.exposures ? ask("PUT", pathOf(item.name), { body: {}, ...options })
        : ask("DELETE", pathOf(item.name), options));
    const look = async () => {
        setTrial({});
        try {
            setTrial({ answer: (await write({ dryRun: true })).data });
        } catch (error) {
            setTrial({ error });
        }
    };
    const run = async () => {
        const { data } = await write();
        toast(`Revision ${data.number}: ${item.name} is as by default`);
    };
    return html`<${Button} kind="danger" disabled=${why} onClick=${look}>Reset<//>
        ${trial && html`<${Confirm} title="Set it back to its defaults?" verb="Reset" danger action=${run} onClose=${() => setTrial(null)}>
            <p>The settings of <code>${item.name}</code> become what they are by default. Its exposures and Envoys stay.</p>
            <${ErrorBox} error=${trial.error} />
            ${!trial.answer && !trial.error && html`<${Loading} />`}
            ${trial.answer && (trial.answer.changes.length ? html`<${Changes} of=${trial.answer.changes} />`
                : html`<p class="muted">Nothing is set: it is as by default already.</p>`)}
            ${trial.answer && html`<${Effects} effects=${trial.answer.effects} warnings=${trial.answer.warnings} />`}<//>`}`;
}

const DEFAULTS = { port_min: 1025, port_max: 65535, allow_files: false, allow_cluster_header: false };

function NewForm({ name, onDone, onCancel }) {
    const of = useDraft({ path: pathOf(name), method: "PUT", base: DEFAULTS });
    return html`<${Editor} of=${of} verb="Make it" onCancel=${onCancel} onApplied=${onDone} form=${html`<${Form} of=${of} />`} />`;
}

// Its name first, since all that is tried out needs it.
function NewGateway({ onClose }) {
    const [name, setName] = useState("");
    const [chosen, setChosen] = useState(null);
    const done = (written) => {
        toast(`Revision ${written.number}: ${chosen} is made`);
        go(href("gateways", [chosen]));
    };
    if (chosen) return html`<${Dialog} wide key="form" title=${`Make ${chosen}`} onClose=${onClose}><div class="body">
        <${NewForm} name=${chosen} onDone=${done} onCancel=${onClose} /></div><//>`;
    return html`<${Dialog} key="name" title="Make a gateway" onClose=${onClose}><form class="body" onSubmit=${(event) => {
            event.preventDefault();
            setChosen(name);
        }}>
        <p>A gateway is a group of Envoys that serve the same. It is there as soon as an exposure or an Envoy names it; make it
        here to have its settings right before.</p>
        <div class="field"><label for="new-name">Name</label>
            <input id="new-name" type="text" required value=${name} onInput=${(event) => setName(event.target.value.trim())}
                autocomplete="off" spellcheck="false" aria-describedby="new-name-help" autofocus />
            <p class="help" id="new-name-help">What exposures say in <code>gateway</code>, and Envoys in their bootstrap.</p></div>
        <div class="actions"><button class="button primary" disabled=${!name}>Go on</button></div></form><//>`;
}

// ---- connecting an Envoy --------------------------------------------------------------------------------------------

// Taken when it is left, not with each letter.
function Option({ label, onChange, help, placeholder }) {
    const [text, setText] = useState("");
    const id = "bootstrap-" + label.replace(/\W/g, "-");
    return html`<div class="field"><label for=${id}>${label}</label><input id=${id} type="text" value=${text} placeholder=${placeholder}
        autocomplete="off" spellcheck="false" aria-describedby=${id + "-help"} onInput=${(event) => setText(event.target.value)}
        onChange=${(event) => onChange(event.target.value.trim())} />
        <p class="help" id=${id + "-help"}>${help}</p></div>`;
}

function Bootstrap({ item }) {
    const [options, setOptions] = useState({ node_id: "", admin: "", state_of_the_world: "" });
    const path = pathOf(item.name) + "/bootstrap" + queryText(options);
    const one = useGet(path);
    const text = one.data && JSON.stringify(one.data, null, 2);
    const set = (name) => (value) => setOptions((before) => ({ ...before, [name]: value }));
    return html`<${Card} title="Connect an Envoy" action=${html`<div class="actions"><${CopyCurl} request=${{ path }} />
            <${Button} kind="primary" disabled=${!text} onClick=${() => copy(text, "Bootstrap")}>Copy the bootstrap<//></div>`}>
        <div class="body stack">
            <p>Save it as <code>envoy.json</code> on the machine of the Envoy, and start <code>envoy -c envoy.json</code>. It has no
            secret in it; the same comes from <code>igwd bootstrap --gateway ${item.name}</code>.</p>
            <div class="fields">
                <${Option} label="Node id" onChange=${set("node_id")} placeholder=${item.name} help="Of its own, to tell Envoys apart." />
                <${Option} label="Admin address" onChange=${set("admin")} placeholder="127.0.0.1:9901" help="Where Envoy's own admin page listens." />
                <div class="field check"><label for="sotw">State of the world</label><input id="sotw" type="checkbox" aria-describedby="sotw-help"
                    checked=${options.state_of_the_world === "true"} onChange=${(event) => set("state_of_the_world")(event.target.checked ? "true" : "")} />
                    <p class="help" id="sotw-help">The older variant of xDS, in place of the incremental one.</p></div>
            </div>
            <${Read} of=${one}>${text && html`<pre class="bootstrap" tabindex="0" role="region" aria-label="Bootstrap">${text}</pre>`}<//>
        </div><//>`;
}

// ---- what it opens --------------------------------------------------------------------------------------------------

function listenerFact({ open, server_first_warning: isLate, exposures }) {
    const wrong = exposures.filter((one) => one.verdict !== "accepted" && one.verdict !== "partial");
    if (wrong.length)
        return { state: "failed", text: open ? `${exposures.length - wrong.length}/${exposures.length} accepted` : "not open",
            title: wrong.slice(0, 5).map((one) => `${one.name}: ${one.verdict}. ${one.problems[0]?.detail || ""}`).join("\n") };
    if (isLate) return { state: "warning", text: "open, delayed",
        title: "Protocols in which the server speaks first wait for the TLS inspector." };
    return open ? { state: "ok", text: "open" } : { state: "failed", text: "not open" };
}

const LISTENER_COLUMNS = [
    { key: "name", title: "Listener", sort: "listener_port", cell: (item) => html`<code>${item.envoy_name}</code>` },
    { key: "state", title: "State", cell: ({ status }) => html`<${Fact} ...${listenerFact(status)} />` },
    { key: "kinds", title: "Speaks", narrow: false, cell: (item) => [...new Set(item.chains.map((chain) =>
        ({ udp: "UDP", l4: "TCP", l7: "HTTP" })[chain.kind] + (chain.tls ? " over TLS" : chain.server_names.length ? ", TLS passed through" : "")))].join("; ") || "–" },
    { key: "who", title: "Shared by", cell: ({ name, status: { exposures } }) => html`<a
        href=${href("exposures", [], { listener: name })}>${exposures.length === 1 ? exposures[0].name : `${exposures.length} exposures`}</a>` },
];

function Listeners({ item, query }) {
    const sort = query.get("sort") || "listener_port";
    const q = query.get("q") || "";
    const list = useList("/listeners", { gateway: item.name, sort, q, fields: "name,envoy_name,chains,status" }, ["Listener", "Exposure"]);
    const empty = q ? html`<${Empty} title="No listener is like that" />` : html`<${Empty} title="It opens nothing yet">
        <p>A gateway opens what the exposures on it ask for.</p><a class="button" href=${href("exposures", [], { gateway: item.name })}>Its exposures</a><//>`;
    return html`<${Card} title="What it opens" action=${html`<a href=${href("topology", [], { gateway: item.name })}>As a topology</a>`}>
        ${(q || item.status.listeners > 10) && html`<div class="body filters"><${Search} label="Search listeners" value=${q}
            onChange=${(value) => setQuery({ q: value })} /></div>`}
        <${Read} of=${list} empty=${empty}><${Table} label="Listeners" columns=${LISTENER_COLUMNS} items=${list.items}
            complete=${list.complete} rowKey=${(one) => one.name} rowHref=${(one) => href("topology", [], { gateway: item.name, listener: one.name })}
            sort=${sort} onSort=${(name) => setQuery({ sort: name })} onShow=${(first, last) => list.show(first, last)} /><//><//>`;
}

// Ports that igwd chose, since the exposure asked for any.
function Allocated({ item }) {
    const [wanted, setWanted] = useState(false);
    const isShown = wanted || item.status.exposures <= ALL_AT_ONCE;
    return html`<${Card} title="Allocated ports">${isShown ? html`<${AllocatedPorts} item=${item} />`
        : html`<div class="body"><${Button} onClick=${() => setWanted(true)}>Look through ${item.status.exposures} exposures<//></div>`}<//>`;
}

function AllocatedPorts({ item }) {
    const list = useWhole("/exposures", { gateway: item.name, sort: "listener_port", fields: "name,listener_port,status.listener_port" }, ["Exposure"]);
    const items = list.items.filter((one) => one.listener_port === 0);
    return html`<${Read} of=${list}>${items.length
        ? html`<div class="scrolled" tabindex="0" role="region" aria-label="Allocated ports"><ul class="rows">${items.map((one) => html`<li key=${one.name}><b class="num">${one.status.listener_port || "none left"}</b>
            <div><a href=${href("exposures", [one.name])}>${one.name}</a></div></li>`)}</ul></div>`
        : html`<p class="muted">None: ${list.complete ? "no exposure on it asks for any port." : "as far as was looked."}</p>`}<//>`;
}

function Envoys({ item }) {
    const list = useList("/proxies", { gateway: item.name, sort: "-presence,node_id",
        fields: "id,node_id,connected_at,left_at,envoy_version,status.presence,status.state" }, ["Proxy"], 20);
    return html`<${Card} title="Its Envoys" action=${list.items.length > 0 && html`<a href=${href("proxies", [], { gateway: item.name })}>All of them</a>`}>
        <${Read} of=${list} empty=${html`<p class="quiet"><${Icon} state=${item.status.exposures ? "warning" : "none"} /> <span>None is connected${
            item.status.exposures ? ": nothing that is exposed on it can be reached." : "."}</span></p>`}>
        <ul class="rows">${list.items.slice(0, 20).map((one) => {
            const fact = proxyFact(one.status);
            return html`<li key=${one.id}><${Icon} state=${fact.state} label=${fact.text} />
                <div><a href=${href("proxies", [one.id])}>${one.node_id}</a> <span class="muted">${one.left_at ? fact.title : one.envoy_version}</span></div>
                <span class="muted"><${Ago} time=${one.left_at || one.connected_at} /></span></li>`;
        })}</ul><//><//>`;
}

// Who may edit what is on it. Tokens are the administrators' to see.
function Editors({ item, me }) {
    const tokens = useGet(me.role === "admin" ? "/tokens?limit=1000&fields=id,name,role,gateways" : null);
    const operators = (tokens.data?.items || []).filter((one) => one.role === "operator" && one.gateways.includes(item.name));
    return html`<${Card} title="Who may edit its exposures"><div class="body stack"><p>Administrators, and operators of${" "}
        <code>${item.name}</code>. Its settings: administrators.</p>
        ${operators.length > 0 && html`<p>Operators with a token that was made here: ${operators.map((one) => html`<${Tag} key=${one.id}>${one.name}<//> `)}</p>`}
        ${me.role === "admin" && html`<p><a href=${href("access")}>Access</a></p>`}</div><//>`;
}

// ---- the pages ------------------------------------------------------------------------------------------------------

function One({ name, query }) {
    const me = useMe();
    const why = whyNotAdmin(me);
    const one = useGet(pathOf(name), (event) => (event.kind === "Gateway" ? event.name === name : ON.includes(event.kind)));
    const item = one.data;
    if (one.error?.status === 404)
        return html`<${PageHead} title=${name} /><${Empty} title="There is no such gateway">
            <p>A gateway is there as soon as an exposure or an Envoy names it, or it was made here.</p>
            <a href=${href("gateways")}>All gateways</a><//>`;
    const s = item?.status;
    return html`<${PageHead} title=${name} sub=${html`<a href=${href("gateways")}>Gateways</a>${item?.is_default ? " / the default gateway" : ""}`}>
            ${item && html`<a class="button" href=${href("topology", [], { gateway: name })}>Topology</a>
            <${CopyCurl} request=${{ path: pathOf(name) }} /><${Reset} item=${item} why=${why} />`}<//>
        <${Read} of=${one}>${item && html`
            ${why && html`<${ReadOnly} why=${why} />`}
            <nav class="counts" aria-label="Counts">
                <a href=${href("exposures", [], { gateway: name })}><b>${s.exposures_accepted < s.exposures && html`<${Icon} state="failed" label="some failed" /> `}
                    ${s.exposures_accepted}/${s.exposures}</b><span>exposures accepted</span></a>
                <a href=${href("topology", [], { gateway: name })}><b>${s.listeners}</b><span>open ${many(s.listeners, "listener")}</span></a>
                <a href=${href("proxies", [], { gateway: name })}><b>${s.proxies_gone > 0 ? html`<${Icon} state="failed" label="some gone" /> `
                    : s.proxies === 0 && s.exposures > 0 && html`<${Icon} state="warning" label="none" /> `}${s.proxies}</b>
                    <span>${many(s.proxies, "Envoy")} connected${s.proxies_gone ? `, ${s.proxies_gone} gone` : ""}</span></a></nav>
            ${query.get("edit") === "1" && html`<${Settings} item=${item} etag=${one.etag} why=${why} isEditing />`}
            <div class="columns"><div class="stack"><${Listeners} item=${item} query=${query} /><${Bootstrap} item=${item} /></div>
                <div class="stack">${query.get("edit") !== "1" && html`<${Settings} item=${item} etag=${one.etag} why=${why} />`}
                    <${Envoys} item=${item} /><${Allocated} item=${item} /><${Editors} item=${item} me=${me} /></div></div>`}<//>`;
}

const COLUMNS = [
    { key: "name", title: "Gateway", sort: "name", cell: (item) => item.name },
    { key: "default", title: html`<span class="sr">Default</span>`, narrow: false, cell: (item) => item.is_default && html`<${Tag} kind="accent">default<//>` },
    { key: "exposures", title: "Exposures", cell: (item) => html`<${Fact} ...${acceptedFact(item.status)} />` },
    { key: "proxies", title: "Envoys", cell: (item) => html`<${Fact} ...${envoysFact(item.status)} />` },
    { key: "listeners", title: "Open listeners", kind: "num", narrow: false, cell: (item) => item.status.listeners },
    { key: "ports", title: "Allocated ports", narrow: false, cell: (item) => `${item.port_min} – ${item.port_max}` },
    { key: "allowed", title: "Services may use", narrow: false, cell: (item) => html`<${Allowed} item=${item} />` },
];

function All({ query }) {
    const why = whyNotAdmin(useMe());
    const q = query.get("q") || "";
    const sort = query.get("sort") || "name";
    const list = useList("/gateways", { q, sort }, ON);
    const make = () => setQuery({ make: "1" });
    const empty = q ? html`<${Empty} title="No gateway is like that"><${Button} onClick=${() => setQuery({ q: null })}>Show all gateways<//><//>`
        : html`<${Empty} title="There is no gateway yet"><p>A gateway is there as soon as an exposure or an Envoy names it. You can also make
            one here, and connect an Envoy to it.</p><${Button} kind="primary" disabled=${why} onClick=${make}>Make a gateway<//><//>`;
    return html`<${PageHead} title="Gateways" sub="Groups of Envoys that serve the same">
            <${CopyCurl} request=${{ path: "/gateways" + queryText({ q, sort }) }} />
            <${Button} kind="primary" disabled=${why} onClick=${make}>Make a gateway<//><//>
        <div class="filters" role="search"><${Search} label="Search gateways" value=${q} onChange=${(value) => setQuery({ q: value })} /></div>
        <${Read} of=${list} empty=${empty}><${Table} label="Gateways" columns=${COLUMNS} items=${list.items} complete=${list.complete}
            rowKey=${(item) => item.name} rowHref=${(item) => href("gateways", [item.name])} sort=${sort}
            onSort=${(name) => setQuery({ sort: name })} onShow=${(first, last) => list.show(first, last)} /><//>
        ${query.get("make") && html`<${NewGateway} onClose=${() => setQuery({ make: null })} />`}`;
}

export default function Gateways({ args, query }) {
    return args.length ? html`<${One} name=${args[0]} query=${query} />` : html`<${All} query=${query} />`;
}
