// The way of one request: what takes it at each step, and why the rivals lost. The question stands in the address.
import { ask } from "./api.js";
import { onEvent } from "./live.js";
import { useGatewayNames, useGet } from "./store.js";
import { Button, Card, CopyCurl, Empty, ErrorBox, Icon, Loading, PageHead, href, setQuery } from "./ui.js";
import { html, useState, useEffect, useId, useMemo } from "./html.js";

const AGAIN_MS = 500; // after an event
const NAMES = ["gateway", "address", "port", "protocol", "tls", "sni", "client", "host", "path", "header"];

// ---- the question -----------------------------------------------------------------------------------------------------

// What a URL says of a request; null: it is none.
function partsOf(text) {
    const match = /^(https?):\/\/(\[[^\]]*\]|[^/:?#]*)(?::(\d+))?([^#]*)/i.exec(text.trim());
    if (!match || !match[2]) return null;
    const isTls = match[1].toLowerCase() === "https";
    const isAddress = /^(\d+\.){3}\d+$|^\[/.test(match[2]);
    const port = match[3] || (isTls ? "443" : "80");
    const path = match[4].startsWith("/") ? match[4] : "/" + match[4];
    return { port, tls: isTls ? "yes" : null, sni: isTls && !isAddress ? match[2] : null,
        host: match[2] + (match[3] ? ":" + port : ""), path, protocol: null };
}

function urlOf(question) {
    if (!question.port || !(question.host || question.sni)) return "";
    const isTls = question.tls === "yes" || Boolean(question.sni);
    const host = (question.host || question.sni).replace(/:\d+$/, "");
    const port = question.port === (isTls ? "443" : "80") ? "" : ":" + question.port;
    return `${isTls ? "https" : "http"}://${host}${port}${question.path || "/"}`;
}

function questionOf(query) {
    return Object.fromEntries(NAMES.map((name) => [name, name === "header" ? query.getAll(name) : query.get(name) || ""]));
}

// "Name: value" of each line.
function headersOf(lines) {
    const headers = {};
    for (const line of lines) {
        const at = line.indexOf(":");
        if (at > 0) headers[line.slice(0, at).trim()] = line.slice(at + 1).trim();
    }
    return headers;
}

const UNSPECIFIED = ["0.0.0.0", "::"];
// Of the networks for documentation (RFC 5737, RFC 3849): an address that no listener has for itself.
const ANYWHERE = { "0.0.0.0": "192.0.2.1", "::": "2001:db8::1" };

// Where a client would connect to that only knows the port: the address that a listener there has.
function addressOf(question, listeners) {
    if (question.address) return question.address;
    const there = listeners.filter((one) => String(one.listener_port) === question.port &&
        one.protocol === (question.protocol || "tcp") && (!question.gateway || one.gateway === question.gateway));
    const one = there.find((l) => !UNSPECIFIED.includes(l.listener_addr)) || there[0];
    return one ? ANYWHERE[one.listener_addr] || one.listener_addr : ANYWHERE["0.0.0.0"];
}

function bodyOf(question, listeners) {
    const address = addressOf(question, listeners);
    const listener = listeners.find((one) => String(one.listener_port) === question.port &&
        (one.listener_addr === address || UNSPECIFIED.includes(one.listener_addr)));
    const body = { address, port: /^\d+$/.test(question.port) ? Number(question.port) : question.port };
    if (question.gateway || listener) body.gateway = question.gateway || listener.gateway;
    if (question.protocol) body.protocol = question.protocol;
    if (question.tls === "yes") body.tls = true;
    for (const name of ["sni", "host", "path"]) if (question[name]) body[name] = question[name];
    if (question.client) body.client_certificate = true;
    if (question.header.length) body.headers = headersOf(question.header);
    return body;
}

function Question({ question, listeners }) {
    const gateways = useGatewayNames();
    const [draft, setDraft] = useState(question);
    const [url, setUrl] = useState(urlOf(question));
    const set = (changes) => setDraft((before) => ({ ...before, ...changes }));
    useEffect(() => {
        setDraft(question);
        setUrl((before) => (partsOf(before) && urlOf({ ...question, ...partsOf(before) }) === urlOf(question) ? before
            : urlOf(question)));
    }, [JSON.stringify(question)]);
    const typed = (event) => {
        setUrl(event.target.value);
        const parts = partsOf(event.target.value);
        if (parts) set({ ...parts, tls: parts.tls || "", sni: parts.sni || "", protocol: "" });
    };
    const submit = (event) => {
        event.preventDefault();
        setQuery({ ...draft, header: draft.header.filter(Boolean) });
    };
    const id = useId();
    const text = (name, label, help, more) => html`<div class="field"><label for=${id + name}>${label}</label>
        <input type="text" id=${id + name} value=${draft[name]} spellcheck="false" autocomplete="off" aria-describedby=${id + name + "-help"}
            onInput=${(event) => set({ [name]: event.target.value })} ...${more} />
        <p class="help" id=${id + name + "-help"}>${help}</p></div>`;
    const check = (name, label) => html`<div class="field check"><label for=${id + name}>${label}</label>
        <input type="checkbox" id=${id + name} checked=${Boolean(draft[name])} onChange=${(event) => set({ [name]: event.target.checked ? "yes" : "" })} /></div>`;
    const request = { method: "POST", path: "/explain", body: bodyOf(draft, listeners) };
    const isSpecial = Boolean(question.gateway || question.protocol || question.client || question.header.length);
    return html`<form class="card question" role="search" onSubmit=${submit}><div class="body">
        <div class="field"><label for=${id + "url"}>URL</label>
            <input type="search" id=${id + "url"} value=${url} onInput=${typed} spellcheck="false" autocomplete="off"
                placeholder="https://www.example.org/path" aria-describedby=${id + "url-help"} />
            <p class="help" id=${id + "url-help"}>As a client has it; it fills in what is below.</p></div>
        <div class="fields">
            ${text("port", "Port", "Of the listener.", { inputmode: "numeric", required: true })}
            ${text("address", "Address", "Where the client connects to; none: a listener's on that port.")}
            ${text("host", "Host", "The Host header; none: the server name, else the address.")}
            ${text("sni", "Server name (SNI)", "What a TLS client asks for.")}
            ${text("path", "Path", "With its query; none: /.")}
        </div>
        <details class="more-members" open=${isSpecial}><summary>Who the client is, and what else it says</summary><div class="fields">
            ${gateways.length > 1 && html`<div class="field"><label for=${id + "gateway"}>Gateway</label>
                <select id=${id + "gateway"} value=${draft.gateway} onChange=${(event) => set({ gateway: event.target.value })}>
                <option value="">of that listener</option>${gateways.map((name) => html`<option value=${name} selected=${name === draft.gateway}>${name}</option>`)}</select></div>`}
            <div class="field"><label for=${id + "protocol"}>Protocol</label>
                <select id=${id + "protocol"} value=${draft.protocol} onChange=${(event) => set({ protocol: event.target.value })}>
                <option value="">tcp</option><option value="udp" selected=${draft.protocol === "udp"}>udp</option></select></div>
            <div class="field"><label for=${id + "header"}>Further headers</label>
                <textarea id=${id + "header"} rows="2" spellcheck="false" placeholder="X-Version: 2" value=${draft.header.join("\n")}
                    onInput=${(event) => set({ header: event.target.value.split("\n") })}></textarea></div>
            <div class="stack">${check("tls", "It speaks TLS")}${check("client", "It has a client certificate that is trusted")}</div>
        </div></details>
        <div class="actions"><${CopyCurl} request=${request} /><${Button} kind="primary" type="submit">Explain<//></div></div></form>`;
}

// ---- the answer -------------------------------------------------------------------------------------------------------

const GOOD = ["forwarded", "redirected"];
const exposureOfVhost = (name) => name.replace(/\.vhost#.*$/, "");
const link = (page, name, text = name) => html`<a href=${href(page, [name])}><code>${text}</code></a>`;

function wayOf(answer) {
    const { listener, chain, certificate, vhost, route, cluster, forwarded } = answer;
    return [
        { title: "Listener", step: listener, name: listener?.envoy_name &&
            html`<a href=${href("topology", [], { gateway: answer.gateway, listener: `${answer.gateway}|${listener.envoy_name}` })}><code>${listener.envoy_name}</code></a>` },
        { title: "Filter chain", step: chain, more: chain?.name && [chain.kind, chain.tls && "TLS ends here",
            chain.server_name && `server name ${chain.server_name}`].filter(Boolean).join(", ") },
        { title: "Certificate", step: certificate, name: certificate?.secret && link("certificates", certificate.secret) },
        { title: "Virtual host", step: vhost, name: vhost?.name && link("exposures", exposureOfVhost(vhost.name), vhost.name) },
        { title: "Route", step: route, name: route?.exposure && link("exposures", route.exposure, `${route.exposure} ${route.name || ""}`),
            more: forwarded && html`goes on as <code>${forwarded.host}${forwarded.path}</code>` },
        { title: "Cluster", step: cluster, name: cluster?.exposure && link("exposures", cluster.exposure, cluster.name), endpoints: cluster },
    ].filter(({ step }) => step);
}

const Rivals = ({ step }) => step.rivals.length > 0 && html`<details open=${step.rivals.length <= 3}>
    <summary>${step.rivals.length + step.rivals_omitted === 1 ? "One other" : `${step.rivals.length + step.rivals_omitted} others`}, and why not</summary>
    <ul class="rivals">${step.rivals.map((one) => html`<li><code>${one.name}</code> <span class="muted">${one.reason}</span></li>`)}
    ${step.rivals_omitted > 0 && html`<li class="muted">and ${step.rivals_omitted} more</li>`}</ul></details>`;

const Endpoints = ({ of }) => of.endpoints.length > 0 && html`<ul class="rivals">${of.endpoints.map((one) => html`<li>
    <${Icon} state="ok" label="up" /> <code>${one.name}</code> ${one.node && html`<span class="muted">on ${one.node}${one.instance ? `, ${one.instance} ${one.rid || ""}` : ""}</span>`}</li>`)}
    ${of.endpoints_omitted > 0 && html`<li class="muted">and ${of.endpoints_omitted} more</li>`}</ul>`;

function Step({ title, step, name, more, endpoints, failed }) {
    return html`<li class=${"step " + (failed ? "state-failed" : "state-ok")}><${Icon} state=${failed ? "failed" : "ok"} label=${failed ? "here it ends" : "found"} />
        <div><h3>${title}</h3> ${name || (step.name ? html`<code>${step.name}</code>` : html`<span class="muted">none</span>`)}
            <p>${step.reason}</p>${more && html`<p class="muted">${more}</p>`}
            ${endpoints && html`<${Endpoints} of=${endpoints} />`}<${Rivals} step=${step} /></div></li>`;
}

function Answer({ answer }) {
    const way = wayOf(answer);
    const good = GOOD.includes(answer.outcome);
    return html`<${Card} title="The way it takes" action=${html`<span class="muted">by revision${" "}
            <a href=${href("changes", [String(answer.revision)])}>${answer.revision}</a>, gateway ${answer.gateway}</span>`}>
        <div class="body"><p class="verdict"><${Icon} state=${good ? "ok" : "failed"} label=${good ? "good" : "failed"} /> <strong>${answer.summary}</strong>
            ${answer.status !== null && html` <span class="muted">The gateway itself answers ${answer.status}${answer.location
                ? html`, Location <code>${answer.location}</code>` : ""}.</span>`}</p>
        <ol class="way">${way.map((one, i) => html`<${Step} key=${one.title} ...${one} failed=${!good && i === way.length - 1} />`)}</ol>
        ${answer.notes.map((note) => html`<p class="note" role="note"><${Icon} state="unknown" /> ${note}</p>`)}</div><//>`;
}

// Asks, and asks again when something becomes another: an explanation that is shown is true now.
function useExplanation(body) {
    const [state, setState] = useState({ answer: null, error: null, loading: false });
    const text = JSON.stringify(body);
    useEffect(() => {
        if (!body) return setState({ answer: null, error: null, loading: false });
        const abort = new AbortController();
        let timer = null;
        const run = async () => {
            timer = null;
            try {
                const { data } = await ask("POST", "/explain", { body, signal: abort.signal });
                setState({ answer: data, error: null, loading: false });
            } catch (error) {
                if (!abort.signal.aborted) setState({ answer: null, error, loading: false });
            }
        };
        setState((before) => ({ ...before, loading: true }));
        run();
        const stop = onEvent((event) => {
            if (timer === null && (event === null || ["Exposure", "Certificate", "Listener"].includes(event.kind)))
                timer = setTimeout(run, AGAIN_MS);
        });
        return () => {
            abort.abort();
            clearTimeout(timer);
            stop();
        };
    }, [text]);
    return state;
}

export default function Explain({ query }) {
    const question = questionOf(query);
    const isPort = /^\d{1,5}$/.test(question.port);
    const listeners = useGet(isPort ? `/listeners?fields=gateway,listener_addr,listener_port,protocol&limit=1000&listener_port=${question.port}`
        : null, ["Listener"]);
    const known = listeners.data?.items || [];
    const asked = question.port !== "" && !listeners.loading;
    const body = useMemo(() => (asked ? bodyOf(question, known) : null), [query.toString(), known, asked]);
    const { answer, error, loading } = useExplanation(body);
    return html`<${PageHead} title="Explain" sub="Which way a request takes, as the configuration is now, and why no other." />
        <${Question} question=${question} listeners=${known} />
        <${ErrorBox} error=${error} />
        ${loading && !answer && html`<${Loading} />`}
        ${answer && html`<div aria-live="polite"><${Answer} answer=${answer} /></div>`}
        ${!asked && !listeners.loading && html`<${Empty} title="Ask for a URL"><p>Type what a client would open, as${" "}
            <code>https://www.example.org/path</code>. Nothing is sent to any service: the way is worked out from the configuration
            that the Envoys get.</p><//>`}`;
}
