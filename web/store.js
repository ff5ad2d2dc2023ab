// What was read, kept by its path, and read again when an event says that it became another; nothing polls. What is
// shown while it is read again is what was there before.
import { get, query } from "./api.js";
import { onEvent, onLiveState, liveState } from "./live.js";
import { useEffect, useState, useMemo, useRef } from "./html.js";

// What the status of an exposure may follow from, others on its listener among it.
export const EXPOSURE_EVENTS = ["Exposure", "Listener", "Proxy", "Rollout", "Certificate"];

const GAP_MS = 1000; // between two readings of the same
const RETRY_MS = 5000;
const KEPT_MAX = 200;

// Runs work() soon after each call, never twice at once, and at most once in GAP_MS.
function throttle(work) {
    let timer = null;
    let running = false;
    let again = false;
    let last = 0;
    const run = async () => {
        clearTimeout(timer);
        timer = null;
        running = true;
        last = Date.now();
        await work();
        running = false;
        if (again) soon();
    };
    const soon = () => {
        again = running;
        if (!running && timer === null) timer = setTimeout(run, Math.max(30, last + GAP_MS - Date.now()));
    };
    const cancel = () => {
        clearTimeout(timer);
        timer = null;
        again = false;
    };
    return { soon, now: run, busy: () => running, cancel };
}

class Source {
    constructor() {
        this.listeners = new Set();
        this.error = null;
        this.work = throttle(() => this.load());
    }

    changed() {
        for (const listener of this.listeners) listener();
    }

    // Reads it now, unless it is being read.
    refresh() {
        if (!this.work.busy()) return this.work.now();
        this.work.soon();
        return Promise.resolve();
    }

    use(listener, concerns) {
        if (this.listeners.size === 0) this.age(); // nobody looked, so nobody heard what became another
        this.listeners.add(listener);
        const stopEvents = onEvent((event) => {
            if (event === null || concerns(event)) this.stale();
        });
        // What could not be read is tried again, at once when events come again.
        const retry = () => {
            if (this.error && (this.error.unreachable || this.error.status === 503)) this.work.soon();
        };
        const stopState = onLiveState(({ state }) => state === "live" && retry());
        const timer = setInterval(retry, RETRY_MS);
        return () => {
            this.listeners.delete(listener);
            stopEvents();
            stopState();
            clearInterval(timer);
            if (this.listeners.size === 0) this.work.cancel();
        };
    }

    stale() {
        this.age();
        this.work.soon();
    }

    // What was read before may be another now.
    age() {}
}

// One document.
class Document extends Source {
    constructor(path) {
        super();
        this.path = path;
        this.data = undefined;
        this.etag = null;
    }

    async load() {
        try {
            const answer = await get(this.path, { ifNoneMatch: this.etag });
            if (answer.status !== 304) {
                this.data = answer.data;
                this.etag = answer.etag;
            }
            this.error = null;
        } catch (error) {
            this.error = error;
            // What is gone is not shown any more; what could not be read is.
            if (error.status === 404 || error.status === 403) this.data = undefined;
        }
        this.changed();
    }
}

// A list in pages, as many as were looked at.
class List extends Source {
    constructor(path, parameters, limit) {
        super();
        this.path = path;
        this.parameters = parameters;
        this.limit = limit;
        this.pages = []; // {cursor, items, next, etag, aged}, aged: as it was when the page was asked for
        this.aged = 0; // how often it was told that something may be another; pages from before are stale
        this.shown = [0, 0]; // rows
    }

    get count() {
        return this.pages.reduce((n, page) => n + page.items.length, 0);
    }

    get complete() {
        return this.pages.length > 0 && this.pages.at(-1).next === null;
    }

    get items() {
        if (this.flat?.pages !== this.pages) this.flat = { pages: this.pages, items: this.pages.flatMap((p) => p.items) };
        return this.flat.items;
    }

    // These rows are looked at: their pages are read if they are not there, or are stale.
    show(first, last) {
        this.shown = [first, last];
        if (this.work.busy()) return; // it looks for what is missing until nothing is
        if ((last + this.limit / 2 >= this.count && !this.complete) || this.pages.some((p, i) => p.aged < this.aged && this.isShown(i)))
            this.refresh();
    }

    isShown(index) {
        const begin = this.pages.slice(0, index).reduce((n, page) => n + page.items.length, 0);
        return begin <= this.shown[1] && begin + this.pages[index].items.length >= this.shown[0];
    }

    age() {
        this.aged++;
    }

    async read(cursor, etag) {
        return get(this.path + query({ ...this.parameters, limit: this.limit, after: cursor }), { ifNoneMatch: etag });
    }

    async load() {
        try {
            if (this.error) this.age();
            this.error = null;
            const aged = this.aged; // what is told from here on is for the next time
            while ((await this.loadOne(aged)) && this.listeners.size > 0);
        } catch (error) {
            this.error = error;
        }
        this.changed();
    }

    // Whether there was anything to read.
    async loadOne(aged) {
        const index = this.pages.findIndex((page, i) => page.aged < aged && this.isShown(i));
        if (index >= 0) {
            const page = this.pages[index];
            const answer = await this.read(page.cursor, page.etag);
            page.aged = aged;
            if (answer.status !== 304) this.put(index, page.cursor, answer, aged);
            return true;
        }
        if (this.pages.length && (this.complete || this.shown[1] + this.limit / 2 < this.count)) return false;
        const cursor = this.pages.length ? this.pages.at(-1).next : null;
        const answer = await this.read(cursor);
        this.put(this.pages.length, cursor, answer, aged);
        return true;
    }

    // Where pages do not fit together any more, those behind are read anew as they are looked at.
    put(index, cursor, { data, etag }, aged) {
        const pages = this.pages.slice();
        pages[index] = { cursor, items: data.items, next: data.next, etag, aged };
        if (pages[index + 1] && pages[index + 1].cursor !== data.next) pages.length = index + 1;
        this.pages = pages;
        this.changed();
    }
}

const kept = new Map();

// The source of that key; the least recently used are dropped when there are too many.
function keep(key, make) {
    let source = kept.get(key);
    if (!source) {
        source = make();
        for (const [old, other] of kept) {
            if (kept.size < KEPT_MAX) break;
            if (other.listeners.size === 0) kept.delete(old);
        }
    }
    kept.delete(key);
    kept.set(key, source);
    return source;
}

// Somebody else may sign in: nothing is kept of what was seen before.
export function forgetAll() {
    kept.clear();
}

const concernsNothing = () => false;

function concernsOf(on) {
    if (!on) return concernsNothing;
    if (typeof on === "function") return on;
    return (event) => on.includes(event.kind);
}

function useSource(source, on) {
    const [, draw] = useState(0);
    const concerns = useRef(null);
    concerns.current = concernsOf(on);
    useEffect(() => {
        if (!source) return undefined;
        const stop = source.use(() => draw((n) => n + 1), (event) => concerns.current(event));
        source.refresh();
        return stop;
    }, [source]);
}

// A document of the REST interface, read again when an event concerns it.
//   path: below /api/v1; null: nothing is read
//   on: kinds of events that concern it, or a function of an event; nothing: it is read once
// Returns {data, etag, error, loading, reload}; data is undefined until it is there.
export function useGet(path, on) {
    const source = useMemo(() => (path === null ? null : keep("1 " + path, () => new Document(path))), [path]);
    useSource(source, on);
    if (!source) return { data: undefined, etag: null, error: null, loading: false, reload: () => {} };
    return {
        data: source.data, etag: source.etag, error: source.error,
        loading: source.data === undefined && source.error === null, reload: () => source.refresh(),
    };
}

// A list of the REST interface, for a Table (table.js) or to be walked over.
//   parameters: of its query: filters, q, sort, fields
// Returns the list itself: items, count, complete, error, show(first, last), refresh(); loading: nothing is there.
export function useList(path, parameters, on, limit = 200) {
    const key = path + query({ ...parameters, limit });
    const list = useMemo(() => keep("n " + key, () => new List(path, parameters, limit)), [key]);
    useSource(list, on);
    list.loading = list.pages.length === 0 && list.error === null;
    return list;
}

// A list that is read to its end.
export function useWhole(path, parameters, on) {
    const list = useList(path, parameters, on, 1000);
    useEffect(() => list.show(0, Infinity), [list]);
    return list;
}

// The names of all gateways, as far as they are known.
export const useGatewayNames = () =>
    useGet("/gateways?fields=name&limit=1000", ["Gateway"]).data?.items.map((one) => one.name) || [];

// Whether events come, and when igwd was heard last.
export function useLive() {
    const [state, setState] = useState(liveState());
    useEffect(() => {
        setState(liveState());
        return onLiveState(setState);
    }, []);
    return state;
}
