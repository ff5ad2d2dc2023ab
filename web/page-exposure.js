// One exposure: its three facts and why they are so, its endpoints, what was overridden, and its form.
import { ask, segment } from "./api.js";
import { EXPOSURE_EVENTS, useGet, useList } from "./store.js";
import { ExposureEditor } from "./page-exposure-edit.js";
import { Table } from "./table.js";
import { endpointState, routeMore, routeText } from "./topology.js";
import { Value } from "./diff.js";
import {
    Ago, Button, Card, Confirm, CopyCurl, Empty, Fact, Icon, Linked, PageHead, Pairs, Read, ReadOnly, Tag, factsOf, href, go, namesOf, setQuery,
    toast, useMe, whyReadOnly, worst,
} from "./ui.js";
import { html, useState } from "./html.js";

const pathOf = (name) => "/exposures/" + segment(name);
const concerns = (name) => (event) => (event.kind === "Exposure" ? event.name === name : EXPOSURE_EVENTS.includes(event.kind));

// ---- the facts ------------------------------------------------------------------------------------------------------

// Where something can be done about a reason.
function remedyOf(item, which) {
    const { accepted, programmed, certificate } = item.status;
    if (which === "configuration" && programmed.reason === "no_proxies")
        return html`<a href=${href("gateways", [item.status.gateway])}>How to connect an Envoy</a>`;
    if (which === "configuration" && programmed.state === "failed" && accepted.state === "ok")
        return html`<a href=${href("proxies", [], { gateway: item.status.gateway, state: "NACKED" })}>Who refused it</a>`;
    if (which === "tls" && certificate.state !== "ok")
        return html`<a href=${href("certificates", [], { exposure: item.name })}>Its certificates</a>`;
    return null;
}

const Condition = ({ title, fact, detail, remedy }) => html`<div class=${"condition state-" + fact.state}>
    <h2>${title}</h2><${Fact} state=${fact.state} text=${fact.text} />
    ${detail && html`<p>${typeof detail === "string" ? html`<${Linked} text=${detail} />` : detail}</p>`}${remedy}</div>`;

function Conditions({ item }) {
    const { accepted: a, programmed: p, endpoints: e, certificate: c } = item.status;
    const facts = factsOf(item.status);
    const both = { ...facts.configuration, state: worst(a.state, p.state) };
    return html`<div class="conditions">
        <${Condition} title="Configuration" fact=${both} remedy=${remedyOf(item, "configuration")}
            detail=${[a.message, p.reason === "not_accepted" ? "" : p.message].filter(Boolean).join(". ") ||
                `Accepted, and in the form it has now with ${p.acked} of ${p.proxies} Envoys.`} />
        <${Condition} title="Endpoints" fact=${facts.endpoints} detail=${e.message || `${e.up} of ${e.total} get traffic.`} />
        <${Condition} title="TLS" fact=${facts.tls} remedy=${remedyOf(item, "tls")}
            detail=${c.reason === "not_needed" ? "The listener has no certificate of this exposure's." : html`${c.message}
                ${c.not_after && html` Until ${new Date(c.not_after).toLocaleDateString()}.`}`} />
    </div>`;
}

function Problems({ problems, onEdit }) {
    if (!problems.length) return null;
    return html`<${Card} title="What is wrong with it"><ul class="rows">${problems.map((one) => html`<li>
        <${Icon} state=${one.code === "warning" ? "warning" : "failed"} label=${one.code} />
        <div><strong><${Linked} text=${one.detail} /></strong><p class="muted"><${Tag}>${one.code}<//> <code>${one.field || one.pointer}</code></p></div>
        ${one.pointer && html`<${Button} onClick=${onEdit}>Edit<//>`}</li>`)}</ul><//>`;
}

// ---- endpoints ------------------------------------------------------------------------------------------------------

function Endpoints({ item, why }) {
    const list = useList(pathOf(item.name) + "/endpoints", {}, (event) => event.kind === "Exposure" && event.name === item.name);
    const [asked, setAsked] = useState(null);
    const drain = async (endpoint, method) => {
        await ask(method, `${pathOf(item.name)}/endpoints/${segment(endpoint.name)}/drain`,
            method === "PUT" ? { body: {} } : {});
        toast(method === "PUT" ? `${endpoint.name} drains` : `${endpoint.name} gets traffic again`);
        list.refresh();
    };
    const columns = [
        { key: "name", title: "Address", cell: (e) => html`<code>${e.name}</code>` },
        { key: "state", title: "State", cell: (e) => {
            const [state, text] = endpointState(e);
            return html`<${Fact} state=${state} text=${text} />`;
        } },
        { key: "node", title: "Node", cell: (e) => e.node || "–" },
        { key: "instance", title: "Instance", cell: (e) => e.instance || "–", narrow: false },
        { key: "act", title: html`<span class="sr">Actions</span>`, kind: "num", cell: (e) => (e.status.drained
            ? html`<${Button} disabled=${why} onClick=${() => drain(e, "DELETE")}>End draining<//>`
            : html`<${Button} disabled=${why} onClick=${() => setAsked(e)}>Drain<//>`) },
    ];
    return html`<${Card} title="Endpoints">
        <${Read} of=${list} empty=${html`<${Empty} title="No endpoint"><p>No instance of ${item.service} has an address for it.
            Is the service started, and does an <code>ip</code> resource name this exposure?</p><//>`}>
            <${Table} label="Endpoints" columns=${columns} items=${list.items} complete=${list.complete} rowKey=${(e) => e.name}
                onShow=${(first, last) => list.show(first, last)} /><//>
        ${asked && html`<${Confirm} title="Drain this endpoint?" verb="Drain" action=${() => drain(asked, "PUT")} onClose=${() => setAsked(null)}>
            <p><code>${asked.name}</code> keeps the connections that it has, and gets no new ones, until draining is ended.</p><//>`}<//>`;
}

// ---- what the agent said, and what was set over it ------------------------------------------------------------------

function Overrides({ item, why, list }) {
    const [asked, setAsked] = useState(null);
    if (item.origin !== "agent") return null;
    const revert = async () => {
        const path = pathOf(item.name) + "/overrides" + (asked.field ? "/" + segment(asked.field) : "");
        const { data } = await ask("DELETE", path);
        toast(`Revision ${data.number}: the agent's word counts again`);
        list.refresh();
    };
    return html`<${Card} title="Set here, over the agent's word" action=${list.items.length > 1
            && html`<${Button} kind="danger" disabled=${why} onClick=${() => setAsked({})}>Revert all<//>`}>
        <${Read} of=${list} empty=${html`<p class="muted">Nothing: this is what ${item.service} declares.</p>`}>
            <ul class="rows">${list.items.map((one) => html`<li key=${one.field}><div><strong><code>${one.field}</code></strong>
                ${!one.in_effect && html` <${Tag} kind="warning">not in effect<//>`}
                <div class="diff"><del><span class="sr">the agent says </span><${Value} of=${one.agent_value} /></del>
                    <ins><span class="sr">set here </span><${Value} of=${one.value} /></ins></div>
                <p class="muted">${one.author}, <${Ago} time=${one.updated_at} />, revision
                    ${" "}<a href=${href("changes", [String(one.revision)])}>${one.revision}</a></p></div>
                <${Button} disabled=${why} onClick=${() => setAsked(one)}>Revert<//></li>`)}</ul><//>
        ${asked && html`<${Confirm} title="Take it back?" verb="Revert" action=${revert} onClose=${() => setAsked(null)}>
            <p>${asked.field ? html`<code>${asked.field}</code> becomes again what the agent says: <${Value} of=${asked.agent_value} />.`
                : "All of it becomes again what the agent says."}</p><//>`}<//>`;
}

// ---- the page -------------------------------------------------------------------------------------------------------

// A request that this exposure is meant for, to be explained.
function explainQuery(item) {
    const domain = item.vhosts[0]?.domains[0] || item.sni[0];
    return { address: item.listener_addr && item.listener_addr !== "0.0.0.0" && item.listener_addr !== "::" ? item.listener_addr : undefined,
        port: item.status.listener_port || undefined, gateway: item.status.gateway,
        host: item.vhosts.length && domain && domain !== "*" ? domain.replace(/^\*/, "any") : undefined,
        sni: item.listener_certificates.length || item.sni.length ? domain : undefined,
        path: item.vhosts.length ? item.vhosts[0].routes[0]?.match_path || item.vhosts[0].routes[0]?.match_prefix || "/" : undefined };
}

function Removal({ item, why }) {
    const [asked, setAsked] = useState(false);
    const mine = item.origin === "api";
    const run = async () => {
        const { data } = mine ? await ask("DELETE", pathOf(item.name))
            : await ask("PATCH", pathOf(item.name), { body: { enabled: !item.enabled } });
        toast(`Revision ${data.number} is made`);
        if (mine) go(href("exposures"));
    };
    const verb = mine ? "Delete" : item.enabled ? "Disable" : "Enable";
    return html`<${Button} kind=${verb === "Enable" ? "" : "danger"} disabled=${why} onClick=${() => setAsked(true)}>${verb}<//>
        ${asked && html`<${Confirm} title=${`${verb} this exposure?`} verb=${verb} danger=${verb !== "Enable"} action=${run} onClose=${() => setAsked(false)}>
            <p><code>${item.name}</code> ${verb === "Enable" ? "gets back onto its listener." : mine
                ? "is taken off its listener and removed. It can be brought back from the changes."
                : "is taken off its listener; its service goes on. An exposure of the agent's can't be deleted here, since the service declares it."}</p><//>`}`;
}

// Where requests go, by host and path.
function Routes({ item }) {
    if (!item.vhosts.length) return null;
    return html`<${Card} title="Virtual hosts and routes"><ul class="rows">${item.vhosts.map((vhost) => html`<li key=${vhost.rid}><div>
        <strong>${vhost.domains.join(", ") || "no domain"}</strong>
        ${vhost.routes.map((route) => html`<p key=${route.rid}><code>${routeText(route)}</code> <span class="muted">${routeMore(route)}</span></p>`)}
        ${!vhost.routes.length && html`<p class="muted">Everything goes to the endpoints.</p>`}</div></li>`)}</ul><//>`;
}

function Summary({ item }) {
    const names = namesOf(item);
    const { status: s } = item;
    return html`<${Card} title="What it is"><${Pairs} of=${[
        ["Listener", html`<a href=${href("topology", [], { gateway: s.gateway, listener: s.listener })}>${s.gateway}</a>
            ${" "}<code>${item.listener_addr ?? "default address"}:${s.listener_port || "no port yet"}/${item.protocol}</code>`],
        ["Names", names.length ? html`${names.slice(0, 8).map((one) => html`<code>${one}</code> `)}${names.length > 8 ? `and ${names.length - 8} more` : ""}` : null],
        ["Service", html`<code>${item.service}</code>`],
        ["Port of the endpoints", String(item.port)],
        ["Balancing", item.lb_policy],
        ["Cluster in Envoy", html`<code>${s.cluster}</code>`],
        ["Declared by", item.origin === "api" ? "people, here" : html`the agent${item.overridden.length
            ? html`; set here: ${item.overridden.map((one) => html`<code>${one}</code> `)}` : ""}`],
    ]} /><//>`;
}

export default function Exposure({ name, query }) {
    const me = useMe();
    const overrides = useList(pathOf(name) + "/overrides", {}, concerns(name));
    const one = useGet(pathOf(name), concerns(name));
    const item = one.data;
    const why = item && whyReadOnly(me, item.status.gateway);
    const isEditing = query.get("edit") === "1";
    const edit = () => setQuery({ edit: "1" });
    if (one.error?.status === 404)
        return html`<${PageHead} title=${name} /><${Empty} title="There is no such exposure">
            <p>Its service may have been removed, or declares it no longer. <a href=${href("exposures")}>All exposures</a></p><//>`;
    return html`<${PageHead} title=${name} sub=${item && html`${item.enabled ? "" : html`<${Tag} kind="warning">disabled<//> `}
            <a href=${href("exposures")}>Exposures</a> / ${item.namespace}`}>
            ${item && html`<a class="button" href=${href("explain", [], explainQuery(item))}>Explain a request</a>
            <${CopyCurl} request=${{ path: pathOf(name) }} />
            <${Removal} item=${item} why=${why} />
            ${!isEditing && html`<${Button} kind="primary" onClick=${edit}>${why ? "Look at its members" : "Edit"}<//>`}`}<//>
        <${Read} of=${one}>${item && html`
            ${why && html`<${ReadOnly} why=${why} />`}
            <${Conditions} item=${item} />
            ${isEditing && html`<${ExposureEditor} item=${item} etag=${one.etag} why=${why} overrides=${overrides.items} onClose=${() => setQuery({ edit: null })} />`}
            <${Problems} problems=${item.status.accepted.problems} onEdit=${edit} />
            <div class="columns"><div class="stack"><${Endpoints} item=${item} why=${why} /><${Routes} item=${item} /></div>
                <div class="stack"><${Summary} item=${item} /><${Overrides} item=${item} why=${why} list=${overrides} /></div></div>`}<//>`;
}
