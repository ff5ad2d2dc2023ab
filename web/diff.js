// What differs between two versions of an object, as a list of places.
import { Icon } from "./ui.js";
import { html } from "./html.js";
import { isObject, same } from "./api.js";

// [{place: "/vhosts/0/domains", before, after}]: undefined where there is nothing. Lists of objects are compared item by
// item, lists of anything else as a whole.
function differences(before, after, place = "") {
    if (same(before, after)) return [];
    const lists = Array.isArray(before) && Array.isArray(after) && [...before, ...after].every(isObject);
    if (!lists && !(isObject(before) && isObject(after))) return [{ place, before, after }];
    const names = lists ? [...Array(Math.max(before.length, after.length)).keys()]
        : [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
    return names.flatMap((name) => differences(before[name], after[name], `${place}/${name}`));
}

const text = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 1));

// A value as it was and as it is.
export const Value = ({ of, as = "span" }) => (of === undefined || of === null ? html`<${as} class="muted">nothing<//>`
    : html`<${as}>${text(of)}<//>`);

function Differences({ before, after }) {
    const all = differences(before ?? undefined, after ?? undefined);
    if (!all.length) return html`<p class="muted">No difference.</p>`;
    return html`<ul class="diff">${all.map(({ place, before: was, after: is }) => html`<li>
        <code class="place">${place.slice(1) || "all of it"}</code>
        ${was !== undefined && html`<del><span class="sr">was </span><${Value} of=${was} /></del>`}
        ${is !== undefined && html`<ins><span class="sr">is </span><${Value} of=${is} /></ins>`}</li>`)}</ul>`;
}

const CHANGED = { created: "is made", changed: "becomes another", removed: "is removed" };

// The changes of a write's answer, or of a revision: [{kind, name, change, before, after}].
export const Changes = ({ of }) => of.map((one) => html`<section class="change" key=${one.kind + one.name}>
    <h3>${one.kind} <code>${one.name}</code> ${CHANGED[one.change]}</h3>
    <${Differences} before=${one.before} after=${one.after} /></section>`);

const EFFECTS = {
    none: "No listener is touched; connections stay.",
    adds_listener: "A listener is opened.",
    drains_chain: "Connections of these filter chains drain:",
    drains_listener: "All connections of the listener drain.",
    removes_listener: "The listener is closed; its connections drain.",
};
const EFFECT_STATES = { none: "ok", adds_listener: "ok", drains_chain: "warning", drains_listener: "warning",
    removes_listener: "warning" };

// A write's effects and warnings.
export const Effects = ({ effects, warnings }) => html`<ul class="effects">
    ${effects.map((one) => html`<li><${Icon} state=${EFFECT_STATES[one.effect]} label=${EFFECT_STATES[one.effect]} /><span><code>${one.gateway}</code> ${one.listener && html`<code>${one.listener}</code>`} ${EFFECTS[one.effect]}
        ${one.chains.map((chain) => html` <code>${chain}</code>`)}</span></li>`)}
    ${(warnings || []).map((one) => html`<li><${Icon} state="warning" label="warning" /><span>
        ${one.pointer && html`<code>${one.pointer}</code> `}${one.detail}</span></li>`)}</ul>`;

// What the Envoys go through, of a write's answer.
export const Consequences = ({ of }) => html`<h3>What the Envoys go through</h3>
    ${of.effects.length || of.warnings.length ? html`<${Effects} effects=${of.effects} warnings=${of.warnings} />`
        : html`<p class="muted">Nothing: no listener changes.</p>`}`;
