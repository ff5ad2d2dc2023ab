// A table that draws only the rows that are looked at, so that ten thousand are as quick as ten. Rows are of the same
// height; what lies above and below is held open by two empty rows. j and k go from row to row, Enter opens.
import { html, useState, useRef, useLayoutEffect, useEffect, useCallback } from "./html.js";
import { useKeys } from "./keys.js";

const MORE = 12; // rows beyond those that are seen
const FIRST_HEIGHT = 36; // until one was measured

// columns: [{key, title, cell(item), sort: the name to sort by, kind: class, narrow: false where it is left out}]
// items: all that are there; complete: whether there are no more
// rowKey(item); rowHref(item): where a row leads, from its first cell
// sort, onSort(name): "-name" goes down; onShow(first, last): rows that are seen (List.show)
export function Table({ label, columns, items, complete = true, rowKey, rowHref, sort, onSort, onShow }) {
    const box = useRef(null);
    const [view, setView] = useState({ top: 0, height: 800 });
    const [rowHeight, setRowHeight] = useState(FIRST_HEIGHT);
    const [current, setCurrent] = useState(-1);
    const wanted = useRef(false);
    const look = useCallback(() => {
        if (!box.current) return; // the observer's last word
        const { scrollTop, clientHeight } = box.current;
        setView((before) => (before.top === scrollTop && before.height === clientHeight ? before
            : { top: scrollTop, height: clientHeight }));
    }, []);
    useEffect(() => {
        const observer = new ResizeObserver(look);
        observer.observe(box.current);
        return () => observer.disconnect();
    }, []);
    const first = Math.max(0, Math.min(Math.floor(view.top / rowHeight) - MORE, items.length));
    const last = Math.min(items.length, Math.ceil((view.top + view.height) / rowHeight) + MORE);
    useLayoutEffect(() => {
        const row = box.current.querySelector("tbody tr[data-row]");
        const height = row?.getBoundingClientRect().height;
        if (height && Math.abs(height - rowHeight) > 0.5) setRowHeight(height);
        if (wanted.current) {
            const link = box.current.querySelector(`tr[data-row="${current}"] a, tr[data-row="${current}"] button`);
            if (link) {
                wanted.current = false;
                link.focus({ preventScroll: true });
            }
        }
    });
    useEffect(() => onShow?.(first, last), [first, last, items]);
    const move = (by) => {
        if (!items.length || !box.current) return false; // not there any more, though not yet put away
        const next = Math.max(0, Math.min(items.length - 1, current < 0 ? first + (by > 0 ? MORE * (first > 0) : 0) : current + by));
        const head = box.current.querySelector("thead").offsetHeight;
        const top = next * rowHeight;
        if (top < box.current.scrollTop) box.current.scrollTop = top;
        if (top + rowHeight + head > box.current.scrollTop + box.current.clientHeight)
            box.current.scrollTop = top + rowHeight + head - box.current.clientHeight;
        setCurrent(next);
        wanted.current = true;
        return true;
    };
    useKeys({ j: () => move(1), k: () => move(-1) });
    return html`<div class="table-box" ref=${box} onScroll=${look} tabindex="0" role="region" aria-label=${label}>
        <table aria-rowcount=${complete ? items.length + 1 : -1}>
            <thead><tr aria-rowindex="1">${columns.map((column) => html`
                <${Head} key=${column.key} column=${column} sort=${sort} onSort=${onSort} />`)}</tr></thead>
            <tbody>
                <${Gap} height=${first * rowHeight} />
                ${items.slice(first, last).map((item, i) => html`<${Row} key=${rowKey(item)} item=${item} index=${first + i}
                    columns=${columns} to=${rowHref?.(item)} isCurrent=${first + i === current} onCurrent=${setCurrent} />`)}
                <${Gap} height=${(items.length - last) * rowHeight} />
            </tbody>
        </table>
        ${!complete && html`<p class="more muted" role="status">More is read as you scroll…</p>`}
    </div>`;
}

const Gap = ({ height }) => height > 0 && html`<tr class="gap" aria-hidden="true"><td style=${{ height: height + "px" }}></td></tr>`;

const kindOf = (column) => [column.kind || "", column.narrow === false ? "wide-only" : ""].join(" ").trim() || undefined;

function Head({ column, sort, onSort }) {
    const name = column.sort;
    const direction = name && sort === name ? "ascending" : name && sort === "-" + name ? "descending" : undefined;
    return html`<th scope="col" class=${kindOf(column)} aria-sort=${direction}>${name && onSort
        ? html`<button type="button" class="sort" onClick=${() => onSort(direction === "ascending" ? "-" + name : name)}>
            ${column.title}<span aria-hidden="true">${direction === "ascending" ? " ▲" : direction ? " ▼" : ""}</span></button>`
        : column.title}</th>`;
}

function Row({ item, index, columns, to, isCurrent, onCurrent }) {
    const open = (event) => {
        if (to && !event.target.closest("a, button, input, label") && !getSelection().toString()) location.hash = to;
    };
    return html`<tr data-row=${index} aria-rowindex=${index + 2} onClick=${open} onFocusIn=${() => onCurrent(index)}
        class=${(isCurrent ? "current " : "") + (to ? "leads" : "")}>${columns.map((column, i) => html`
        <td key=${column.key} class=${kindOf(column)}>${i === 0 && to
            ? html`<a href=${to}>${column.cell(item)}</a>` : column.cell(item)}</td>`)}</tr>`;
}

// ---- filters, which stand in the page's address -----------------------------------------------------------------------

// What is searched for; onChange(text) comes when nothing was typed for a moment.
export function Search({ value, onChange, label = "Search" }) {
    const [text, setText] = useState(value);
    const timer = useRef(null);
    useEffect(() => setText(value), [value]);
    useEffect(() => () => clearTimeout(timer.current), []);
    const input = (event) => {
        const next = event.target.value;
        setText(next);
        clearTimeout(timer.current);
        timer.current = setTimeout(() => onChange(next), 200);
    };
    return html`<input type="search" aria-label=${label} placeholder=${label + "  ( / )"} value=${text} onInput=${input}
        spellcheck="false" autocomplete="off" />`;
}

// options: [[value, text], ...]; the first, with "", is no filter.
export const Choice = ({ label, value, options, onChange }) => html`<label class="choice"><span>${label}</span>
    <select aria-label=${label} value=${value || ""} onChange=${(event) => onChange(event.target.value)} class=${value ? "set" : ""}>
        ${options.map(([one, text]) => html`<option value=${one} selected=${one === (value || "")}>${text}</option>`)}
    </select></label>`;
