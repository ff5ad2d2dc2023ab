// The pages, in the order of the menu. A page's module is loaded when it is gone to; its default export is a component
// with {args, query} of the address. key: `g` and this letter go there.
export const pages = [
    { name: "overview", title: "Overview", key: "o", load: () => import("./page-overview.js") },
    { name: "topology", title: "Topology", key: "t", load: () => import("./page-topology.js") },
    { name: "exposures", title: "Exposures", key: "e", load: () => import("./page-exposures.js") },
    { name: "gateways", title: "Gateways", key: "w", load: () => import("./page-gateways.js") },
    { name: "proxies", title: "Proxies", key: "p", load: () => import("./page-proxies.js") },
    { name: "certificates", title: "Certificates", key: "c", load: () => import("./page-certificates.js") },
    { name: "changes", title: "Changes", key: "h", load: () => import("./page-changes.js") },
    { name: "events", title: "Events", key: "v", load: () => import("./page-events.js") },
    { name: "explain", title: "Explain", key: "x", load: () => import("./page-explain.js") },
    { name: "access", title: "Access", key: "a", load: () => import("./page-access.js") },
];
