// The form of an exposure: what it can be, in words, beside the same as JSON.
import { same, segment } from "./api.js";
import { Value } from "./diff.js";
import { Editor, Field, useDraft, valueAt, withValue } from "./edit.js";
import { Button, Card, Dialog, go, href, toast } from "./ui.js";
import { html, useState } from "./html.js";

// What a PUT takes, in the order of the form. The rest of an exposure is igwd's to work out.
const MEMBERS = ["enabled", "gateway", "protocol", "listener_addr", "listener_port", "port", "endpoints", "lb_policy", "sni",
    "vhosts", "listener_certificates", "cluster_certificates", "cluster_private_key_filename", "cluster_data", "filter_config_data"];

// A virtual host's name is igwd's; its rid, and those of routes, are kept where they can be.
const withoutName = ({ name, ...rest }) => rest;

// The members of an exposure that can be edited. Those that an agent's exposure can't have are left out.
function editable(item) {
    const result = {};
    for (const key of MEMBERS) {
        if (item[key] === undefined || (key === "endpoints" && item.origin === "agent")) continue;
        result[key] = key === "vhosts" ? item[key].map(withoutName) : item[key];
    }
    return result;
}

const POLICIES = ["round robin", "least_request", "ring_hash", "random", "maglev", "original_dst_lb"].map((one) => [one, one]);
const CODES = [["", "none"], ...[301, 302, 303, 307, 308].map((one) => [one, String(one)])];
const MATCHES = [["match_prefix", "paths that begin with"], ["match_path", "exactly the path"], ["match_regex", "paths that match (RE2)"]];

// Items of a list: add, remove, move. Order counts: the first route that matches takes a request.
function Items({ of, at, title, make, why, children, noun }) {
    const items = valueAt(of.draft, at) || [];
    const set = (next) => of.set(withValue(of.draft, at, next));
    const move = (i, by) => {
        const next = items.slice();
        next.splice(i + by, 0, ...next.splice(i, 1));
        set(next);
    };
    return html`<fieldset class="group all"><legend>${title}</legend>
        ${items.map((item, i) => html`<fieldset class="group" key=${i}><legend>${noun} ${i + 1}</legend>
            ${children(item, `${at}/${i}`)}
            <div class="actions">
                ${items.length > 1 && html`<${Button} kind="quiet" disabled=${why || i === 0} aria-label=${`Move ${noun} ${i + 1} up`} onClick=${() => move(i, -1)}>↑<//>
                <${Button} kind="quiet" disabled=${why || i === items.length - 1} aria-label=${`Move ${noun} ${i + 1} down`} onClick=${() => move(i, 1)}>↓<//>`}
                <${Button} kind="quiet" disabled=${why} onClick=${() => set(items.filter((_, k) => k !== i))}>Remove ${noun.toLowerCase()} ${i + 1}<//></div>
        </fieldset>`)}
        <div><${Button} disabled=${why} onClick=${() => set([...items, make()])}>Add ${noun.toLowerCase()}<//></div>
    </fieldset>`;
}

// How a route matches is one member of three.
function Match({ of, at, route, why }) {
    const current = MATCHES.find(([key]) => route[key] !== undefined)?.[0] || "match_prefix";
    const id = "match" + at.replace(/\W/g, "-");
    const change = (event) => {
        const { match_prefix, match_path, match_regex, ...rest } = route;
        of.set(withValue(of.draft, at, { ...rest, [event.target.value]: match_prefix ?? match_path ?? match_regex ?? "/" }));
    };
    return html`<div class="field"><label for=${id}>Takes</label>
            <select id=${id} value=${current} disabled=${Boolean(why)} onChange=${change}>${MATCHES.map(([key, text]) => html`
                <option value=${key} selected=${key === current}>${text}</option>`)}</select></div>
        <${Field} of=${of} at=${`${at}/${current}`} label="Path" why=${why} />`;
}

function Route({ of, at, route, why }) {
    const [more, setMore] = useState(false);
    const f = (member, label, rest = {}) => html`<${Field} of=${of} at=${`${at}/${member}`} label=${label} why=${why} ...${rest} />`;
    return html`<div class="fields"><${Match} of=${of} at=${at} route=${route} why=${why} />
        ${f("route_prefix_rewrite", "Prefix becomes", { help: "What the service sees instead." })}
        ${f("route_timeout", "Timeout in seconds", { kind: "number", help: "Empty: Envoy's 15 s." })}
        ${more && html`${f("route_host_rewrite", "Host becomes")}
            ${f("route_cluster_header", "Cluster from header")}
            ${f("redirect_response_code", "Redirect", { kind: "select", options: CODES })}
            ${f("redirect_host_redirect", "Redirect to host")}${f("redirect_path_redirect", "Redirect to path")}
            ${f("redirect_prefix_rewrite", "Redirect with prefix")}
            ${f("route_use_websocket", "Websockets", { kind: "check" })}
            ${f("match_case_sensitive", "Case matters", { kind: "check", otherwise: true })}
            ${f("redirect_https_redirect", "Redirect to HTTPS", { kind: "check" })}
            ${f("redirect_strip_query", "Redirect without query", { kind: "check" })}
            ${f("hash_policies", "Hash policies", { kind: "json", none: [] })}`}</div>
        <div><${Button} kind="quiet" aria-expanded=${more} onClick=${() => setMore(!more)}>${more ? "Less" : "Rewrites, redirects, websockets…"}<//></div>`;
}

// What the agent says where something else was set over it, and the way back to that.
function AgentsWord({ of, override, why }) {
    if (!override) return null;
    const back = () => of.set(withValue(of.draft, "/" + override.field, override.agent_value ?? undefined));
    return html`<p class="help agent"><span>Set here. The agent says: <${Value} of=${override.agent_value} /></span>
        ${!same(of.draft[override.field], override.agent_value) && html`<${Button} kind="quiet" disabled=${why} onClick=${back}>Revert<//>`}</p>`;
}

function Form({ of, isAgents, why, overrides = [] }) {
    const f = (member, label, rest = {}) => html`<${Field} of=${of} at=${"/" + member} label=${label} why=${why}
        agent=${html`<${AgentsWord} of=${of} why=${why} override=${overrides.find((one) => one.field === member)} />`} ...${rest} />`;
    const certificate = (item, at) => html`<div class="fields">
        <${Field} of=${of} at=${at + "/certificate_secret"} label="Secret" why=${why} help="NAMESPACE/sec/NAME" />
        <${Field} of=${of} at=${at + "/validation_secret"} label="Clients are checked with" why=${why} help="A secret with authorities; empty: not checked." />
        <${Field} of=${of} at=${at + "/certificate_chain_filename"} label="Or a file with the chain" why=${why} />
        <${Field} of=${of} at=${at + "/private_key_filename"} label="And one with its key" why=${why} /></div>`;
    return html`
        <div class="fields">
            ${f("enabled", "Enabled", { kind: "check", otherwise: true })}
            ${f("gateway", "Gateway", { none: null, help: "Empty: the default gateway." })}
            ${f("listener_addr", "Listener's address", { none: null, help: "An IP address; empty: the gateway's default." })}
            ${f("listener_port", "Listener's port", { kind: "number", help: "0: one is allocated." })}
            ${f("protocol", "Protocol", { kind: "select", options: [["tcp", "TCP"], ["udp", "UDP"]] })}
            ${f("port", "Endpoints' port", { kind: "number" })}
            ${f("lb_policy", "Balancing", { kind: "select", options: POLICIES })}
            ${f("sni", "SNI", { kind: "words", help: "Server names that are passed through without ending TLS, apart by blanks." })}
        </div>
        ${!isAgents && html`<${Items} of=${of} at="/endpoints" title="Endpoints" noun="Endpoint" why=${why} make=${() => ({ address: "", port: of.draft.port ?? 80 })}>
            ${(item, at) => html`<div class="fields"><${Field} of=${of} at=${at + "/address"} label="Address" why=${why} help="IP or DNS name" />
                <${Field} of=${of} at=${at + "/port"} kind="number" label="Port" why=${why} /></div>`}<//>`}
        <${Items} of=${of} at="/vhosts" title="Virtual hosts: HTTP by host and path" noun="Virtual host" why=${why}
            make=${() => ({ domains: [], routes: [] })}>
            ${(item, at) => html`<${Field} of=${of} at=${at + "/domains"} kind="words" label="Domains" why=${why} help="Apart by blanks; * for any." />
                <${Items} of=${of} at=${at + "/routes"} title="Routes, in order" noun="Route" why=${why} make=${() => ({ match_prefix: "/" })}>
                    ${(route, place) => html`<${Route} of=${of} at=${place} route=${route} why=${why} />`}<//>`}<//>
        <${Items} of=${of} at="/listener_certificates" title="Certificates of the listener" noun="Certificate" why=${why}
            make=${() => ({ certificate_secret: "" })}>${certificate}<//>
        <details class="more-members"><summary>For experts: TLS towards the endpoints, parts of Envoy's configuration</summary><div class="fields">
            ${f("cluster_certificates", "Certificates towards the endpoints", { kind: "json", none: [] })}
            ${f("cluster_private_key_filename", "Key file towards the endpoints")}
            ${f("cluster_data", "Envoy's cluster (JSON)", { kind: "json" })}
            ${f("filter_config_data", "Envoy's filter (JSON)", { kind: "json" })}</div></details>`;
}

export function ExposureEditor({ item, etag, why, overrides, onClose }) {
    const of = useDraft({ path: "/exposures/" + segment(item.name), base: editable(item), etag, pick: editable, kind: "Exposure", name: item.name });
    return html`<${Card} title=${why ? "Its members" : item.origin === "agent" ? "Edit: what differs from the agent's word is kept beside it" : "Edit"}
            action=${html`<${Button} kind="quiet" onClick=${onClose}>Close<//>`}>
        <div class="body"><${Editor} of=${of} why=${why} onCancel=${onClose} verb="Apply"
            form=${html`<${Form} of=${of} isAgents=${item.origin === "agent"} why=${why} overrides=${overrides} />`} /></div><//>`;
}

const START = { listener_port: 0, port: 80, endpoints: [], vhosts: [] };

function NewForm({ name, onDone, onCancel }) {
    const of = useDraft({ path: "/exposures/" + segment(name), method: "PUT", base: START, name });
    return html`<${Editor} of=${of} verb="Make it" onCancel=${onCancel} onApplied=${onDone}
        form=${html`<${Form} of=${of} isAgents=${false} />`} />`;
}

// Its name first, since all that is tried out needs it.
export function NewExposure({ onClose }) {
    const [name, setName] = useState("");
    const [chosen, setChosen] = useState(null);
    const full = /\.expose#\d+$/.test(name) ? name : name && name + ".expose#0";
    const done = (written) => {
        toast(`Revision ${written.number}: ${chosen} is made`);
        go(href("exposures", [chosen]));
    };
    const next = (event) => {
        event.preventDefault();
        setChosen(full);
    };
    if (chosen) return html`<${Dialog} wide title=${`Make ${chosen}`} onClose=${onClose}><div class="body">
        <${NewForm} name=${chosen} onDone=${done} onCancel=${onClose} /></div><//>`;
    return html`<${Dialog} title="Make an exposure" onClose=${onClose}><form class="body" onSubmit=${next}>
        <p>An exposure of fixed endpoints, which no service declares. Services of the cluster declare theirs by themselves.</p>
        <div class="field"><label for="new-name">Name</label>
            <input id="new-name" type="text" required value=${name} onInput=${(event) => setName(event.target.value.trim())}
                autocomplete="off" spellcheck="false" aria-describedby="new-name-help" autofocus />
            <p class="help" id="new-name-help">As an object's path: <code>legacy</code> or <code>team/svc/legacy</code>.
                ${full && html` It becomes <code>${full}</code>.`}</p></div>
        <div class="actions"><button class="button primary" disabled=${!full}>Go on</button></div></form><//>`;
}
