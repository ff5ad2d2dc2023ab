// The first screen: is everything reachable that should be; if not, what is wrong, and where it is mended.
import { EXPOSURE_EVENTS, useGet, useList, useLive, useWhole } from "./store.js";
import { RolloutBody, useRollout } from "./edit.js";
import { Bars } from "./curve.js";
import { Ago, Card, CopyCurl, Empty, Icon, Linked, Loading, PageHead, Parted, Read, Tag, causeOf, faultOf, href, days, many, useNow } from "./ui.js";
import { html } from "./html.js";

const SHOWN = 8; // of each kind of trouble; the rest is counted and linked to
const FIELDS = "name,status.gateway,status.accepted,status.programmed,status.endpoints,status.certificate";

const exposure = (item) => href("exposures", [item.name]);

// A kind of trouble with exposures: which to ask for, what to say of one, what helps.
const TROUBLES = [
    { state: "failed", filter: { programmed: "failed" }, title: "refused by an Envoy",
        only: (item) => item.status.programmed.reason === "nacked",
        says: (item) => item.status.programmed.message },
    { state: "failed", filter: { accepted: "failed" }, title: "not accepted",
        says: (item) => item.status.accepted.message || item.status.accepted.problems[0]?.detail },
    { state: "failed", filter: { endpoints: "failed" }, title: "without a healthy endpoint",
        says: (item) => item.status.endpoints.message },
    { state: "warning", filter: { accepted: "warning" }, title: "accepted, with a warning",
        says: (item) => item.status.accepted.message || item.status.accepted.problems[0]?.detail },
    { state: "warning", filter: { programmed: "warning" }, title: "not live yet",
        only: (item) => item.status.programmed.reason === "pending",
        says: (item) => item.status.programmed.message },
];

const Row = ({ state, what, says, to, remedy }) => html`<li><${Icon} state=${state} label=${state} />
    <div><strong>${what}</strong>${says && html`<p>${typeof says === "string" ? html`<${Linked} text=${says} />` : says}</p>`}</div>
    <a class="remedy" href=${to}>${remedy}</a></li>`;

function Trouble({ of: { state, title, says, filter }, list, items }) {
    return html`${items.slice(0, SHOWN).map((item) => html`<${Row} key=${item.name} state=${state} says=${says(item)} to=${exposure(item)}
            remedy="Look at it" what=${html`<code><${Parted} name=${item.name} /></code> ${title}`} />`)}
        ${(items.length > SHOWN || !list.complete) && html`<li><${Icon} state=${state} label=${state} /><div>
            and ${Math.max(items.length - SHOWN, 0)}${list.complete ? "" : " or more"} other exposures ${title}</div>
            <a class="remedy" href=${href("exposures", [], filter)}>All of them</a></li>`}`;
}

function Gone({ list }) {
    const shown = list.items.slice(0, SHOWN);
    return html`${shown.map((one) => html`<${Row} key=${one.id} state="failed" to=${href("proxies", [one.id])} remedy="What to do"
            what=${html`Envoy <code>${one.node_id}</code> of the gateway <code>${one.gateway}</code> is gone`}
            says=${html`It left <${Ago} time=${one.left_at} /> and did not come back: ${one.status.ended}.`} />`)}
        ${list.count > shown.length && html`<${Row} state="failed" what=${`${list.count - shown.length}${list.complete ? "" : " or more"} other Envoys are gone`}
            to=${href("proxies", [], { presence: "gone" })} remedy="All of them" />`}`;
}

function Attention({ summary }) {
    const lists = TROUBLES.map((one) => useList("/exposures", { ...one.filter, fields: FIELDS }, EXPOSURE_EVENTS, 50));
    const alarms = useWhole("/alarms", {}, ["Alarm", "Certificate", "Token", "Proxy"]);
    const gone = useList("/proxies", { presence: "gone", sort: "node_id", fields: "id,node_id,gateway,left_at,status.ended" }, ["Proxy"], 50);
    const certificates = useList("/certificates", { pair: ["expired", "missing", "kept", "expires_soon"],
        sort: "not_after", fields: "name,status.pair,status.pair_problem,status.leaf" }, ["Certificate"], 50);
    const all = [...lists, alarms, gone, certificates];
    const live = useLive();
    const failed = all.find((one) => faultOf(live, one));
    if (failed) return html`<${Card} title="Needs attention"><div class="body"><${Read} of=${failed} /></div><//>`;
    if (all.some((one) => one.loading)) return html`<${Card} title="Needs attention"><${Loading} /><//>`;
    const troubles = TROUBLES.map((one, i) => lists[i].items.filter(one.only || (() => true)));
    // What certificates lack, which ports could not be told, which Envoys are gone, and that the agent is, stands in rows of
    // their own.
    const others = alarms.items.filter((one) => !/^(certificate|proxy) |^(agent|ports)$/.test(one.name));
    const agent = alarms.items.find((one) => one.name === "agent");
    const isQuiet = ![others, gone.items, certificates.items, lists.at(-1).items, ...troubles].some((one) => one.length) && !summary.stale
        && !agent && summary.complete;
    // Where no Envoy is connected, that is one trouble, not one of each exposure.
    const lonely = new Map();
    for (const { status } of lists.at(-1).items)
        if (status.programmed.reason === "no_proxies") lonely.set(status.gateway, (lonely.get(status.gateway) || 0) + 1);
    const certificateRows = certificates.items.map((item) => ({ key: item.name, ...certificateTrouble(item),
        to: href("certificates", [item.name]), remedy: "Look at it" }));
    const rowsOf = (state) => html`${TROUBLES.map((one, i) => one.state === state && html`
            <${Trouble} of=${one} list=${lists[i]} items=${troubles[i]} />`)}
        ${certificateRows.filter((one) => one.state === state).map((one) => html`<${Row} ...${one} />`)}`;
    return html`<${Card} title="Needs attention">
        ${isQuiet && summary.exposures.total === 0 ? html`<${Empty} title="Nothing is exposed yet">
            <p>A service is as soon as its OpenSVC configuration has a section <code>[expose#0]</code> with${" "}
            <code>type = envoy</code>. Envoys may be connected before or after.</p>
            <p><a href=${href("exposures")}>Exposures</a> · <a href=${href("gateways")}>How to connect an Envoy</a></p><//>`
        : isQuiet ? html`<p class="quiet"><${Icon} state="ok" /> Nothing. Everything that is declared is accepted, live in every
            connected Envoy, and served by a healthy endpoint; no certificate ends within 30 days.</p>`
        : html`<ul class="rows">
            ${!summary.complete && html`<${Row} state="failed" what="There is no state to serve yet" says=${
                "Nothing was persisted, and the agent did not answer yet: proxies are held, not answered."} to=${href("events")}
                remedy="Watch events" />`}
            ${summary.complete && (summary.stale || agent) && html`<${Row} state="failed" what="The OpenSVC agent does not answer" says=${html`The last
                known state is served; changes in the cluster are not seen. Does it run on this node (<code>om daemon
                status</code>)? It is asked again without end. ${agent && html`<${Since} time=${agent.since} />`}`}
                to=${href("events")} remedy="Watch events" />`}
            ${others.map((item) => html`<${Row} key=${item.name} state="failed" what=${html`Alarm: <code>${item.name}</code>`}
                says=${html`${item.text}${HELP[item.name] && `. ${HELP[item.name]}`} <${Since} time=${item.since} />`} ...${remedyOf(item)} />`)}
            ${[...lonely].map(([gateway, n]) => html`<${Row} key=${gateway} state="failed" to=${href("gateways", [gateway])}
                remedy="How to connect one" what=${html`No Envoy of the gateway <code>${gateway}</code> is connected`}
                says=${`${n}${lists.at(-1).complete ? "" : " or more"} ${many(n, "exposure")} can't be reached.`} />`)}
            <${Gone} list=${gone} />
            ${rowsOf("failed")}
            ${rowsOf("warning")}
            ${!certificates.complete && html`<${Row} state="warning" what="More certificates are in trouble" to=${href("certificates")} remedy="All of them" />`}
        </ul>`}<//>`;
}

const Since = ({ time }) => time && html`<span class="muted">(<${Ago} time=${time} />)</span>`;

// What helps where no page of this can.
const FILES = "Look at the disk's space, and the rights of igwd's state directory, on its node.";
const RELOAD = "Mend the file on igwd's node, then reload igwd.";
const HELP = { "config.db": FILES, "observed.db": FILES, "api.tokens": RELOAD, "api.tls": RELOAD,
    key: "Put the right key back on igwd's node, then restart igwd." };

// Where an alarm can be mended, as far as its name tells.
function remedyOf(alarm) {
    const [kind, name] = [alarm.name.split(/[ :/]/)[0], alarm.name];
    if (kind === "token") return { to: href("access"), remedy: "Its token" };
    if (kind === "gateway") return { to: href("gateways", [name.slice("gateway ".length)]), remedy: "Its settings" };
    if (kind === "secrets") return { to: href("certificates"), remedy: "Certificates" };
    return { to: href("events", [], { q: name }), remedy: "Events" };
}

function certificateTrouble({ name, status: { pair, pair_problem: problem, leaf } }) {
    const what = (text) => html`Certificate <code>${name}</code> ${text}`;
    if (pair === "expires_soon") return { state: "warning", what: what(`expires in ${days(leaf.days_left)}`) };
    if (pair === "kept") return { state: "warning", what: what("is not good any more; the last good one is served"),
        says: problem };
    return { state: "failed", what: what(pair === "expired" ? "has expired" : "is missing"), says: problem };
}

function Counts({ summary: s }) {
    const wrong = ({ failed }) => (failed ? html`<${Icon} state="failed" label=${failed + " failed"} /> ` : null);
    const refused = s.exposures.accepted.failed;
    return html`<nav class="counts" aria-label="Counts">
        <a href=${href("exposures", [], { sort: "-severity" })}><b>${wrong(s.exposures.accepted)}${s.exposures.total}</b>
            <span>${many(s.exposures.total, "exposure")}${refused ? `, ${refused} not accepted` : ""}</span></a>
        <a href=${href("exposures", [], { sort: "endpoints_up" })}><b>${wrong(s.exposures.endpoints)}${s.endpoints.up}/${s.endpoints.total}</b>
            <span>endpoints up</span></a>
        <a href=${href("proxies")}><b>${wrong({ failed: s.proxies_gone })}${s.proxies}</b>
            <span>${many(s.proxies, "Envoy")} connected${s.proxies_gone ? `, ${s.proxies_gone} gone` : ""}</span></a>
        <a href=${href("topology")}><b>${s.listeners}</b><span>open ${many(s.listeners, "listener")}</span></a>
        <a href=${href("gateways")}><b>${s.gateways}</b><span>${many(s.gateways, "gateway")}</span></a>
        <a href=${href("certificates")}><b>${s.certificates}</b><span>${many(s.certificates, "certificate")}</span></a>
    </nav>`;
}

function Rollout({ revision }) {
    const rollout = useRollout(revision);
    if (!revision) return html`<${Card} title="Rollout of the latest revision"><${Empty} title="There is no revision yet" /><//>`;
    return html`<${Card} title="Rollout of the latest revision" action=${html`<a href=${href("changes", [String(revision)])}>Revision ${revision}</a>`}>
        <div class="body"><${Read} of=${rollout}>${rollout.data && html`<${RolloutBody} of=${rollout.data} />`}<//></div><//>`;
}

function LastChanges() {
    const list = useList("/revisions", { sort: "-number", fields: "number,time,cause,author,names,n_changed" },
        ["Revision"], 10);
    return html`<${Card} title="Last changes" action=${html`<a href=${href("changes")}>All changes</a>`}>
        <${Read} of=${list} empty=${html`<${Empty} title="Nothing was changed yet" />`}>
        <ul class="rows">${list.items.slice(0, 10).map((item) => html`<li key=${item.number}>
            <a class="num" href=${href("changes", [String(item.number)])}>${item.number}</a>
            <div><span class="mono">${item.names.slice(0, 3).join(", ") || causeOf(item)}</span>
                ${item.n_changed > 3 && html` and ${item.n_changed - 3} more`}
                <p class="muted">${item.author && html`<${Tag} kind="accent">${item.author}<//> `}${causeOf(item)}</p></div>
            <span class="muted"><${Ago} time=${item.time} /></span></li>`)}</ul><//><//>`;
}

const SLOT_S = 1800;
const SLOTS = 48;
const REVISIONS = 500;

// When it was changed, and by whom: a service that flaps stands out, and so does the hour it began.
function Pace() {
    const list = useList("/revisions", { sort: "-number", fields: "number,time,author" }, ["Revision"], REVISIONS);
    const last = useNow(SLOT_S * 1000) / 1000 / SLOT_S;
    const times = Array.from({ length: SLOTS }, (_, i) => (last - SLOTS + 1 + i) * SLOT_S);
    const agent = Array(SLOTS).fill(0);
    const people = Array(SLOTS).fill(0);
    for (const { time, author } of list.items.slice(0, REVISIONS)) {
        // This browser's clock may be behind.
        const slot = Math.min(SLOTS - 1, Math.floor(Date.parse(time) / 1000 / SLOT_S) - last + SLOTS - 1);
        if (slot >= 0) (author ? people : agent)[slot]++;
    }
    const count = (all) => all.reduce((a, b) => a + b, 0);
    const isCut = list.items.length >= REVISIONS && !list.complete;
    const text = `${count(agent)} by the agent, ${count(people)} by people${isCut ? `, of the last ${REVISIONS}` : ""}.`;
    return html`<${Card} title="Changes in the last 24 hours"><div class="body"><${Read} of=${list}>
        <${Bars} times=${times} text=${text} series=${[
            { label: "agent", values: agent.map((n, i) => n + people[i]), colour: "--muted" },
            { label: "people", values: people, colour: "--accent" }]} /><//></div><//>`;
}

export default function Overview() {
    const summary = useGet("/summary", () => true);
    const s = summary.data;
    return html`<${PageHead} title="Overview" sub=${s && html`Agent: ${s.agent || "not connected"}${s.stale ? " (its last known state is served)" : ""}`}>
            <${CopyCurl} request=${{ path: "/summary" }} /><//>
        <${Read} of=${summary}>${s && html`<${Counts} summary=${s} />
            <div class="columns"><div class="stack"><${Attention} summary=${s} /><${Pace} /></div>
            <div class="stack"><${Rollout} revision=${s.revision} /><${LastChanges} /></div></div>`}<//>`;
}
