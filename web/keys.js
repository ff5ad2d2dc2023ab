// The keyboard: single keys, as long as nobody writes. A page or a table says what a key means while it is there; who
// came last goes first.
import { useEffect, useRef } from "./html.js";

const maps = [];

// keys: {"j": function, ...}; a function that returns false leaves the key to others.
export function useKeys(keys) {
    const current = useRef(keys);
    current.current = keys;
    useEffect(() => {
        maps.push(current);
        return () => maps.splice(maps.indexOf(current), 1);
    }, []);
}

const STORED = "igwd.keys";
let areSingle = true;
try {
    areSingle = localStorage.getItem(STORED) !== "off";
} catch {
    // No storage: they work.
}

// Whether letters and signs mean something by themselves. Who dictates needs them not to (WCAG 2.1.4).
export const areSingleKeysOn = () => areSingle;

export function setSingleKeys(on) {
    areSingle = on;
    try {
        localStorage.setItem(STORED, on ? "on" : "off");
    } catch {
        // It lasts as long as the page.
    }
}

const writes = (element) => element.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName);

addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    if (writes(event.target)) {
        if (event.key === "Escape") event.target.blur();
        return;
    }
    if (document.querySelector("dialog[open]")) return; // it has its own
    if (event.key.length === 1 && !areSingle) return;
    for (const { current } of maps.toReversed()) {
        if (current[event.key] && current[event.key](event) !== false) {
            event.preventDefault();
            return;
        }
    }
});

// For `/`: the first field that searches.
export function focusSearch() {
    const field = document.querySelector("input[type=search]");
    field?.focus();
    field?.select();
    return Boolean(field);
}
