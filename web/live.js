// What becomes another, for this page: events of igwd, and whether they still come. All tabs share one stream where the
// browser has SharedWorkers; else each has its own.
import { Feed } from "./feed.js";

const eventListeners = new Set();
const stateListeners = new Set();
let status = { state: "connecting", at: Date.now() };
let tell = null;

function take(message) {
    if (message.type === "state") {
        status = { state: message.state, at: message.at };
        for (const listener of stateListeners) listener(status);
    } else {
        for (const listener of eventListeners) listener(message.type === "resync" ? null : message.event);
    }
}

function connect() {
    if ("SharedWorker" in window) {
        const worker = new SharedWorker(new URL("./live-worker.js", import.meta.url), { type: "module", name: "igwd" });
        worker.port.onmessage = ({ data }) => take(data);
        addEventListener("pagehide", () => worker.port.postMessage("bye"));
        // A page that was put aside and comes back missed what was said meanwhile.
        addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
        return (word) => worker.port.postMessage(word);
    }
    const feed = new Feed(take);
    return (word) => feed[word]();
}

export function startLive() {
    tell = tell || connect();
    tell("start");
}

export function stopLive() {
    tell?.("stop");
}

addEventListener("online", () => tell?.("hurry"));

// listener(event), with null when anything may have become another. Returns how to stop it.
export function onEvent(listener) {
    eventListeners.add(listener);
    return () => eventListeners.delete(listener);
}

// listener({state, at}), at: when igwd was heard last. Returns how to stop it.
export function onLiveState(listener) {
    stateListeners.add(listener);
    return () => stateListeners.delete(listener);
}

export const liveState = () => status;
