// One stream of events for all tabs of a browser: a SharedWorker, which lives as long as any of them.
import { Feed } from "./feed.js";

const ports = new Set();

const feed = new Feed((message) => {
    for (const port of ports) port.postMessage(message);
});

self.onconnect = ({ ports: [port] }) => {
    ports.add(port);
    port.onmessage = ({ data }) => {
        if (data === "start") feed.start();
        else if (data === "stop") feed.stop();
        else if (data === "hurry") feed.hurry();
        else if (data === "bye") ports.delete(port);
    };
    port.start();
    port.postMessage({ type: "state", state: feed.state, at: feed.heardAt });
    // What the page read before it came here may have become another meanwhile.
    if (feed.state === "live") port.postMessage({ type: "resync" });
};
