// The REST interface as functions. Every answer that is not good becomes a Problem, whoever made it: igwd (RFC 9457),
// something between, or nobody at all.

const BASE = "/api/v1";
// A little more than igwd takes for any request (30 s), before the connection is given up.
const LIMIT_MS = 35000;

export class Problem extends Error {
    constructor({ status = 0, title = "", detail = "", request_id = null, errors = [] }, etag = null) {
        super(detail || title);
        this.name = "Problem";
        this.status = status; // 0: there was no answer
        this.title = title;
        this.requestId = request_id;
        this.errors = errors; // [{pointer | parameter | header, code, detail}]
        this.etag = etag; // of the current object, where a condition failed
    }

    get unreachable() {
        return this.status === 0;
    }
}

const signedOutListeners = new Set();

// Called whenever an answer says that nobody is known any more. Returns how to stop it.
export function onSignedOut(listener) {
    signedOutListeners.add(listener);
    return () => signedOutListeners.delete(listener);
}

// One segment of a path: names have slashes and hashes.
export const segment = (name) => encodeURIComponent(name);

// A query from an object; lists repeat their key, what is empty is left out.
export function query(parameters) {
    const q = new URLSearchParams();
    for (const [name, value] of Object.entries(parameters || {}))
        for (const one of Array.isArray(value) ? value : [value])
            if (one !== undefined && one !== null && one !== "") q.append(name, one);
    const text = q.toString();
    return text ? "?" + text : "";
}

async function problemOf(response) {
    const etag = response.headers.get("ETag");
    const about = { status: response.status, title: response.statusText,
        request_id: response.headers.get("X-Request-Id") };
    try {
        if ((response.headers.get("Content-Type") || "").startsWith("application/problem+json"))
            return new Problem({ ...about, ...(await response.json()) }, etag);
    } catch {
        // Cut off, or not what it says it is: then what the head says has to do.
    }
    return new Problem({ ...about, detail: `The answer was ${response.status}, without an explanation.` }, etag);
}

const typeOf = (method) => (method === "PATCH" ? "application/merge-patch+json" : "application/json");

function signalOf(signal) {
    const timeout = AbortSignal.timeout(LIMIT_MS);
    return signal ? AbortSignal.any([signal, timeout]) : timeout;
}

// Asks. Answers {status, data, etag}; status 304: data is null. Throws a Problem, or AbortError when signal did it.
//   body: any value, as JSON: a merge patch for PATCH
//   dryRun: nothing is changed; ifMatch, ifNoneMatch: tags
//   token: instead of the session's cookie, to sign in with
export async function ask(method, path, { body, dryRun, ifMatch, ifNoneMatch, token, signal } = {}) {
    const headers = { Accept: "application/json" };
    if (token) headers.Authorization = "Bearer " + token;
    if (body !== undefined) headers["Content-Type"] = typeOf(method);
    if (ifMatch) headers["If-Match"] = ifMatch;
    if (ifNoneMatch) headers["If-None-Match"] = ifNoneMatch;
    const url = BASE + path + (dryRun ? (path.includes("?") ? "&" : "?") + "dry_run=true" : "");
    let response;
    try {
        response = await fetch(url, {
            method, headers, body: body === undefined ? undefined : JSON.stringify(body),
            credentials: "same-origin", cache: "no-store", redirect: "error",
            signal: signalOf(signal),
        });
        if (response.ok || response.status === 304) {
            const data = response.status === 304 || response.status === 204 ? null : await response.json();
            return { status: response.status, data, etag: response.headers.get("ETag") };
        }
    } catch (error) {
        if (signal && signal.aborted) throw error;
        throw new Problem({ title: "No answer", detail: "igwd can't be reached." });
    }
    const problem = await problemOf(response);
    if (problem.status === 401) for (const listener of signedOutListeners) listener(problem);
    throw problem;
}

export const get = (path, options) => ask("GET", path, options);

// The same request for a shell. The token is the reader's to put in.
export function curlOf({ method = "GET", path, body, ifMatch }) {
    const quote = (text) => "'" + String(text).replace(/'/g, "'\\''") + "'";
    const parts = ["curl -sS"];
    if (method !== "GET") parts.push("-X " + method);
    parts.push(quote(location.origin + BASE + path), '-H "Authorization: Bearer $IGWD_TOKEN"');
    if (ifMatch) parts.push("-H " + quote("If-Match: " + ifMatch));
    if (body !== undefined) {
        parts.push("-H " + quote("Content-Type: " + typeOf(method)));
        parts.push("-d " + quote(JSON.stringify(body)));
    }
    return parts.join(" \\\n  ");
}

// Whether a text can be a token at all: what is none is not sent anywhere.
export const isToken = (text) => /^igwd_[A-Za-z0-9_-]{43}$/.test(text);

// ---- merge patches (RFC 7396) ----------------------------------------------------------------------------------------

export const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

// Whether two JSON values are the same; the order of an object's members does not matter.
export function same(a, b) {
    if (a === b) return true;
    if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((one, i) => same(one, b[i]));
    if (!isObject(a) || !isObject(b)) return false;
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length && keys.every((key) => key in b && same(a[key], b[key]));
}

// What makes `after` of `before`. Lists go as a whole.
export function mergePatch(before, after) {
    const patch = {};
    for (const key of Object.keys(before)) if (!(key in after)) patch[key] = null;
    for (const [key, value] of Object.entries(after)) {
        if (key in before && same(before[key], value)) continue;
        patch[key] = isObject(before[key]) && isObject(value) ? mergePatch(before[key], value) : value;
    }
    return patch;
}
