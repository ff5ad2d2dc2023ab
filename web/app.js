// The frame: who looks, where to go, what is shown. A page's module comes when it is gone to.
import { get, ask, isToken, onSignedOut } from "./api.js";
import { onLiveState, startLive, stopLive } from "./live.js";
import { forgetAll, useLive } from "./store.js";
import { areSingleKeysOn, focusSearch, setSingleKeys, useKeys } from "./keys.js";
import { pages } from "./pages.js";
import {
    Me, Button, Dialog, Disconnected, Empty, ErrorBox, Icon, Loading, PageHead, Tag, Toasts, href, go, readRoute,
} from "./ui.js";
import { html, render, useState, useEffect, useRef, useErrorBoundary } from "./html.js";

// ---- who looks ------------------------------------------------------------------------------------------------------

function Login({ onDone }) {
    const [error, setError] = useState(null);
    const [busy, setBusy] = useState(false);
    const field = useRef(null);
    useEffect(() => {
        document.title = "Sign in – igwd";
        field.current.focus();
    }, []);
    const submit = async (event) => {
        event.preventDefault();
        const token = field.current.value.trim();
        if (!isToken(token)) {
            setError({ title: "That is no token", message: "A token is igwd_ and 43 letters, digits, - or _." });
            return;
        }
        setBusy(true);
        setError(null);
        try {
            await ask("POST", "/sessions", { token });
            field.current.value = "";
            onDone();
        } catch (failure) {
            setError(failure);
            setBusy(false);
            field.current.select();
        }
    };
    return html`<main class="login"><form onSubmit=${submit}>
        <h1><${Logo} /> igwd</h1>
        <p>The ingress gateways of this cluster: what is reachable, what is wrong, and how to mend it.</p>
        <input type="text" autocomplete="username" value="token" readonly hidden />
        <label for="token">Token</label>
        <input id="token" ref=${field} type="password" autocomplete="current-password" spellcheck="false" required
            placeholder="igwd_…" aria-describedby="token-help" />
        <button class="button primary" disabled=${busy}>${busy ? "…" : "Sign in"}</button>
        <${ErrorBox} error=${error} />
        <details id="token-help"><summary>Where do I get a token?</summary>
            <p>From an administrator, who makes it on a machine where igwd runs:</p>
            <pre>igwd token create NAME viewer --api unix:/run/igwd/api.sock</pre>
            <p>The roles are viewer (sees), operator (edits exposures of some gateways) and admin. The token itself is
            not kept in this browser.</p></details>
    </form></main>`;
}

const Logo = () => html`<svg class="logo" viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
    <path d="M4 9h6l8 14h10M4 23h6l2.6-4.6M28 9H18l-2.6 4.6" /></svg>`;

// ---- the menu -------------------------------------------------------------------------------------------------------

const LIVE = {
    live: ["ok", "Live"], connecting: ["unknown", "Connecting"], down: ["warning", "Disconnected"],
    "signed-out": ["unknown", "Signed out"],
};

const LiveState = () => {
    const [state, text] = LIVE[useLive().state];
    return html`<span class="live" title="Whether changes are shown as they happen"><${Icon} state=${state} />
        <span>${text}</span></span>`;
};

const THEMES = { "": "Colours of the system", light: "Light colours", dark: "Dark colours" };

function ThemeSwitch() {
    const [theme, setTheme] = useState(document.documentElement.dataset.theme || "");
    const next = { "": "light", light: "dark", dark: "" }[theme];
    const change = () => {
        if (next) document.documentElement.dataset.theme = next;
        else delete document.documentElement.dataset.theme;
        try {
            localStorage.setItem("igwd.theme", next);
        } catch {
            // It lasts as long as the page.
        }
        setTheme(next);
    };
    return html`<${Button} kind="quiet" onClick=${change} title=${THEMES[theme]} aria-label=${"Theme: " + THEMES[theme]}>
        ${{ "": "◐", light: "☀", dark: "☾" }[theme]}<//>`;
}

function Menu({ route, onLeave }) {
    return html`<nav aria-label="Pages"><ul>${pages.map((page) => html`<li key=${page.name}>
        <a href=${href(page.name)} aria-current=${page.name === route.page ? "page" : undefined} onClick=${onLeave}>
            ${page.title}</a></li>`)}</ul></nav>`;
}

const KEYS = [
    ["/", "search in this page"], ["j  k", "next, previous row"], ["Enter", "open the row"], ["Esc", "close, go back"],
    ["?", "this help"], ...pages.map((page) => [`g ${page.key}`, page.title]),
];

const Help = ({ onClose }) => html`<${Dialog} title="Keys" onClose=${onClose}>
    <div class="body"><dl class="keys">${KEYS.map(([key, text]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${text}</dd></div>`)}</dl>
    <label class="check"><input type="checkbox" checked=${areSingleKeysOn()}
        onChange=${(event) => setSingleKeys(event.target.checked)} /> Single keys work: letters and signs, for this browser</label>
    <p class="muted">The REST interface behind this page: <a href="/api/v1/openapi.yaml">openapi.yaml</a>.${" "}
    <a href=${new URL("./licenses.txt", import.meta.url).href}>Licenses</a> of what this page is made with.</p></div><//>`;

function Frame({ me, route, onSignOut, children }) {
    const [isOpen, setOpen] = useState(false);
    const [help, setHelp] = useState(false);
    const going = useRef(0);
    const letters = Object.fromEntries(pages.map((page) => [page.key, () => {
        if (Date.now() - going.current > 1500) return false;
        going.current = 0;
        return go(href(page.name));
    }]));
    useKeys({ ...letters, g: () => { going.current = Date.now(); }, "/": focusSearch, "?": () => setHelp(true),
        Escape: () => (route.args.length ? go(href(route.page)) : false) });
    const gateways = me.role === "operator" ? ` of ${me.gateways.join(", ")}` : "";
    return html`<a class="skip" href="#main" onClick=${(event) => {
            event.preventDefault();
            document.getElementById("main").focus();
        }}>To the content</a>
        <header class="top">
            <${Button} kind="quiet menu-button" aria-expanded=${isOpen} aria-controls="menu" aria-label="Menu"
                onClick=${() => setOpen(!isOpen)}>☰<//>
            <a class="brand" href=${href("overview")}><${Logo} /><b>igwd</b></a>
            <${LiveState} />
            <span class="who"><span class="who-name">${me.name}</span> <${Tag}>${me.role}${gateways}<//></span>
            <${ThemeSwitch} />
            <${Button} kind="quiet" aria-label="Help: keys" title="Keys ( ? )" onClick=${() => setHelp(true)}>?<//>
            <${Button} kind="quiet" onClick=${onSignOut}>Sign out<//>
        </header>
        <div class=${"side" + (isOpen ? " open" : "")} id="menu"><${Menu} route=${route} onLeave=${() => setOpen(false)} /></div>
        <main id="main" tabindex="-1"><${Disconnected} />${children}</main>
        ${help && html`<${Help} onClose=${() => setHelp(false)} />`}`;
}

// ---- the page -------------------------------------------------------------------------------------------------------

function Page({ route }) {
    const page = pages.find((one) => one.name === route.page);
    const [module, setModule] = useState(null);
    const [error, setError] = useState(null);
    useEffect(() => {
        let current = true;
        setError(null);
        page?.load().then((found) => current && setModule({ name: page.name, Component: found.default }),
            (failure) => current && setError(failure));
        return () => { current = false; };
    }, [page]);
    // Who goes somewhere by the keyboard goes on from the title there.
    const address = route.page + "/" + route.args.join("/");
    const before = useRef(address);
    useEffect(() => {
        if (before.current === address || module?.name !== route.page) return;
        before.current = address;
        document.querySelector("h1")?.focus();
    }, [address, module]);
    if (!page)
        return html`<${PageHead} title="Nothing is here" /><${Empty} title="There is no such page">
            <p><a href=${href("overview")}>To the overview</a></p><//>`;
    if (error)
        return html`<${PageHead} title=${page.title} /><${ErrorBox} retry=${() => location.reload()} error=${{
            title: "This page could not be loaded", message: "igwd may have been upgraded, or can't be reached." }} />`;
    if (module?.name !== page.name) return html`<${PageHead} title=${page.title} /><${Loading} />`;
    return html`<${Guard} key=${address}><${module.Component} args=${route.args} query=${route.query} /><//>`;
}

// A fault of a page's own: said, not hidden; the rest goes on.
function Guard({ children }) {
    const [error, reset] = useErrorBoundary((fault) => console.error(fault));
    if (!error) return children;
    return html`<${PageHead} title="A fault of this page" /><${ErrorBox} retry=${reset}
        error=${{ title: "This page has a fault", message: String(error.message || error) }} />`;
}

function App() {
    const [me, setMe] = useState(undefined); // null: nobody
    const [error, setError] = useState(null);
    const [route, setRoute] = useState(readRoute());
    const find = async () => {
        setError(null);
        try {
            const { data } = await get("/auth/whoami");
            setMe(data);
            startLive();
        } catch (failure) {
            if (failure.status === 401) setMe(null);
            else setError(failure);
        }
    };
    const leave = () => {
        forgetAll();
        setMe(null);
    };
    useEffect(() => {
        find();
        const follow = () => setRoute(readRoute());
        addEventListener("hashchange", follow);
        follow(); // who was quick went on before there was anybody to hear of it
        const stop = onSignedOut(leave);
        // The stream of events found out: who is it, then?
        const stopState = onLiveState(({ state }) => state === "signed-out" && find());
        return () => {
            removeEventListener("hashchange", follow);
            stop();
            stopState();
        };
    }, []);
    const signOut = async () => {
        try {
            await ask("DELETE", "/sessions");
        } catch (failure) {
            if (failure.status !== 401) {
                setError(failure);
                return;
            }
        }
        stopLive();
        leave();
    };
    if (error) return html`<main class="login"><form><h1><${Logo} /> igwd</h1><${ErrorBox} error=${error} retry=${find} /></form></main>`;
    if (me === undefined) return html`<main class="login"><${Loading} /></main>`;
    if (me === null) return html`<${Login} onDone=${find} />`;
    return html`<${Me.Provider} value=${me}>
        <${Frame} me=${me} route=${route} onSignOut=${signOut}><${Page} route=${route} /><//>
        <${Toasts} /><//>`;
}

render(html`<${App} />`, document.getElementById("app"));
