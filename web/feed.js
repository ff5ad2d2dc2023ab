// The stream of events (/api/v1/events): reads it, and reads on where it was after every interruption. Works in a page
// as well as in a worker. EventSource would not do: it tells neither why it ended (401?) nor that nothing comes any
// more, since it hides igwd's heartbeats.

const URL = "/api/v1/events";
const SILENCE_MS = 25000; // igwd says something every 15 s
const FIRST_DELAY_MS = 500;
const MOST_DELAY_MS = 10000;

// Takes text/event-stream (WHATWG HTML, 9.2) in pieces; calls onMessage({id, event, data}) for each that is whole.
export function eventStreamParser(onMessage) {
    let rest = "";
    let id = null;
    let event = "message";
    let data = [];
    const line = (text) => {
        if (text === "") {
            if (data.length) onMessage({ id, event, data: data.join("\n") });
            event = "message";
            data = [];
            return;
        }
        const at = text.indexOf(":");
        if (at === 0) return;
        const name = at < 0 ? text : text.slice(0, at);
        const value = at < 0 ? "" : text.slice(at + (text[at + 1] === " " ? 2 : 1));
        if (name === "id") id = value;
        else if (name === "event") event = value;
        else if (name === "data") data.push(value);
    };
    return (piece) => {
        const lines = (rest + piece).split("\n");
        rest = lines.pop();
        lines.forEach((one) => line(one.endsWith("\r") ? one.slice(0, -1) : one));
    };
}

// emit({type: "state", state: "connecting" | "live" | "down" | "signed-out", at}), at: when igwd was heard last;
// emit({type: "event", event: {id, kind, name, change, ...}}); emit({type: "resync"}): anything may have become another.
export class Feed {
    constructor(emit) {
        this.emit = emit;
        this.place = null;
        this.state = "connecting";
        this.heardAt = Date.now();
        this.running = false;
    }

    start() {
        if (this.running) return;
        this.running = true;
        this.run();
    }

    // Forgets its place, too: who signs in next may be somebody else.
    stop() {
        this.running = false;
        this.place = null;
        this.abort?.abort();
        this.wake?.();
        this.become("signed-out"); // other tabs share the session
    }

    // Without waiting for the delay: the network may be back.
    hurry() {
        this.wake?.();
    }

    become(state) {
        this.state = state;
        this.emit({ type: "state", state, at: this.heardAt });
    }

    async run() {
        let delay = FIRST_DELAY_MS;
        while (this.running) {
            const heard = await this.connect();
            if (!this.running) break;
            if (heard) delay = FIRST_DELAY_MS;
            await this.pause(delay * (0.75 + Math.random() / 2));
            delay = Math.min(delay * 2, MOST_DELAY_MS);
        }
    }

    pause(milliseconds) {
        return new Promise((done) => {
            const timer = setTimeout(done, milliseconds);
            this.wake = () => {
                clearTimeout(timer);
                done();
            };
        });
    }

    // Reads until it ends; whether anything was heard.
    async connect() {
        this.abort = new AbortController();
        let heard = false;
        let timer = null;
        const listen = () => {
            clearTimeout(timer);
            timer = setTimeout(() => this.abort.abort(), SILENCE_MS);
        };
        try {
            listen();
            const headers = { Accept: "text/event-stream" };
            if (this.place) headers["Last-Event-ID"] = this.place;
            const response = await fetch(URL, { headers, credentials: "same-origin", cache: "no-store",
                signal: this.abort.signal });
            if (response.status === 401 || response.status === 403) {
                this.running = false;
                this.become("signed-out");
                return false;
            }
            if (response.status === 400) this.place = null; // a place that is none any more
            if (!response.ok) throw new Error(String(response.status));
            heard = true;
            await this.read(response.body.pipeThrough(new TextDecoderStream()).getReader(), listen);
        } catch {
            // Whatever it was: it is tried again.
        }
        clearTimeout(timer);
        if (this.running) this.become("down");
        return heard;
    }

    async read(reader, listen) {
        const parse = eventStreamParser((message) => this.take(message));
        const anew = this.place === null;
        this.heardAt = Date.now();
        this.become("live");
        // What was read before the stream stood may have become another meanwhile.
        if (anew) this.emit({ type: "resync" });
        for (;;) {
            const { done, value } = await reader.read();
            if (done) return;
            this.heardAt = Date.now();
            listen();
            parse(value);
        }
    }

    take({ id, event, data }) {
        if (id !== null) this.place = id;
        if (event === "resync") this.emit({ type: "resync" });
        else this.emit({ type: "event", event: { id, ...JSON.parse(data) } });
    }
}
