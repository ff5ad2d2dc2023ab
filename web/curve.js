// Numbers over time, as bars; uPlot comes when the first is drawn. It paints on a canvas, so what it shows is told in words
// as well, and its colours are read from the page's own.
import { html, useEffect, useRef, useState } from "./html.js";

let library = null;

// uPlot, with its style sheet.
function load() {
    library = library || import("./uplot.js").then(({ default: UPlot }) => {
        const link = document.createElement("link");
        link.rel = "stylesheet";
        link.href = new URL("./uplot.css", import.meta.url).href;
        document.head.append(link);
        return UPlot;
    });
    return library;
}

// Calls back whenever the page's colours are others.
function onColours(listener) {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const observer = new MutationObserver(listener);
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    dark.addEventListener("change", listener);
    return () => {
        observer.disconnect();
        dark.removeEventListener("change", listener);
    };
}

// A colour as the canvas knows it: light-dark() is worked out by the browser.
function colour(box, name) {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    box.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

// times: seconds since 1970, the beginnings of intervals of the same length
// series: [{label, values, colour: "--accent"}], one upon the other from the last to the first
// text: what is to be seen, in words
export function Bars({ times, series, text, height = 120 }) {
    const box = useRef(null);
    const [colours, setColours] = useState(0);
    useEffect(() => onColours(() => setColours((n) => n + 1)), []);
    useEffect(() => {
        let plot = null;
        let observer = null;
        let gone = false;
        load().then((UPlot) => {
            if (gone || !box.current) return; // not there any more, though not yet put away
            const axis = { stroke: colour(box.current, "--muted"), font: "11px system-ui", ticks: { show: false },
                grid: { stroke: colour(box.current, "--line"), width: 1 } };
            plot = new UPlot({
                width: box.current.clientWidth, height, legend: { show: false }, cursor: { show: false },
                scales: { y: { range: (_, low, high) => [0, Math.max(high, 4)] } },
                axes: [{ ...axis, grid: { show: false }, space: 70, size: 26, values: (_, all) => all.map((t) => clock.format(t * 1000)) },
                    { ...axis, size: 34, space: 24, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500] }],
                series: [{}, ...series.map((one) => ({ label: one.label, width: 0, points: { show: false },
                    fill: colour(box.current, one.colour), paths: UPlot.paths.bars({ size: [0.8], align: 1 }) }))],
            // One more interval, so that the last bar has its room.
            }, [[...times, 2 * times.at(-1) - times.at(-2)], ...series.map((one) => [...one.values, 0])], box.current);
            observer = new ResizeObserver(([{ contentRect }]) => plot.setSize({ width: contentRect.width, height }));
            observer.observe(box.current);
        }, () => {}); // without it, the words are there
        return () => {
            gone = true;
            observer?.disconnect();
            plot?.destroy();
        };
    }, [JSON.stringify([times, series]), colours]);
    return html`<figure class="curve"><div ref=${box} role="img" aria-label=${text} style=${{ minHeight: height + "px" }}></div>
        <figcaption>${series.map((one) => html`<span class="legend"><i style=${{ background: `var(${one.colour})` }}></i>${one.label}</span>`)}
            <span class="muted">${text}</span></figcaption></figure>`;
}
