// Where the boxes and lines of one listener stand: listener, virtual hosts and routes, exposures, endpoints by node. All
// boxes are of one height, so that the height of the whole is known without drawing it.

const PITCH = 36; // from one box to the next
export const BOX = 28;
const WIDTH_MIN = 860; // below it is scrolled sideways
const GAP = 56; // between columns, for the lines
const SHARES = [0.18, 0.3, 0.28, 0.24];
export const heightOf = (rows) => Math.max(1, rows) * PITCH + 20;

export const routeText = (route) => (route.match_path !== undefined ? `= ${route.match_path}`
    : route.match_regex !== undefined ? `~ ${route.match_regex}` : `${route.match_prefix ?? "/"}…`);

// What a route does beside leading to the exposure's endpoints.
export function routeMore(route) {
    if (route.redirect_response_code || route.redirect_host_redirect || route.redirect_path_redirect || route.redirect_https_redirect)
        return "redirects";
    if (route.route_cluster_header) return `cluster from ${route.route_cluster_header}`;
    return route.route_prefix_rewrite ? `becomes ${route.route_prefix_rewrite}` : "";
}

const some = (names, total) => names.join(", ") + (total > names.length ? ` and ${total - names.length} more` : "");

export const namesOf = (vhost) => some(vhost.domains, vhost.domains_total);

// By what a connection is taken where there is no virtual host.
export const takenBy = (item) => (item.sni.length ? `SNI ${some(item.sni, item.sni_total)}`
    : item.protocol === "udp" ? "all datagrams" : "all connections");

export const endpointState = ({ status: s }) => (s.refused ? ["failed", "address not allowed"] : s.drained ? ["warning", "draining"]
    : s.up ? ["ok", s.state || "up"] : ["failed", s.state || "down"]);

// What igwd says of a part of an exposure: {isOff, state, why}, or nothing. Of a last good form that is kept nothing is off.
function troubleAt({ status: { accepted } }, pointer) {
    const found = accepted.problems.find((one) => one.pointer === pointer || one.pointer?.startsWith(pointer + "/"));
    if (!found) return {};
    const isOff = found.code !== "warning" && accepted.reason !== "kept";
    return { isOff, state: isOff ? "failed" : "warning", why: found.detail };
}

// What stands left of an exposure: [{kind, v, text, more}]. v: which virtual host.
function leftOf(item) {
    if (!item.vhosts.length) return [{ kind: "vhost", v: 0, text: takenBy(item), ...troubleAt(item, "#/sni") }];
    const boxes = item.vhosts.flatMap((vhost, v) => [
        { kind: "vhost", v, text: namesOf(vhost), ...troubleAt(item, `#/vhosts/${v}/domains`) },
        ...vhost.routes.map((route, r) => ({ kind: "route", v, text: routeText(route), more: routeMore(route), ...troubleAt(item, `#/vhosts/${v}/routes/${r}`) })),
        ...(vhost.routes_total > vhost.routes.length ? [{ kind: "route", v, text: `and ${vhost.routes_total - vhost.routes.length} more routes` }] : []),
    ]);
    const rest = item.vhosts_total - item.vhosts.length;
    return rest > 0 ? [...boxes, { kind: "vhost", v: item.vhosts.length, text: `and ${rest} more virtual hosts` }] : boxes;
}

function rightOf({ endpoints, status }) {
    const { state, total } = status.endpoints;
    if (!total) return [{ kind: "endpoint", state: "failed", text: "no endpoint" }];
    return [...endpoints.map((one) => ({ kind: "endpoint", state: endpointState(one)[0], text: one.name, node: one.node, more: endpointState(one)[1] })),
        ...(total > endpoints.length ? [{ kind: "endpoint", state, text: `and ${total - endpoints.length} more` }] : [])];
}

export const rowsOf = (item) => Math.max(leftOf(item).length, rightOf(item).length);

// listener, exposures: of /topology, in order; width: that there is.
// Returns {width, height, boxes: [{id, kind, x, v, column, left, top, width, ...}], lines: [{from, to, d}]}. x: the exposure's name.
// A box keeps its id when others come, go, or change places.
export function layout(listener, exposures, width) {
    const all = Math.max(width, WIDTH_MIN) - 16;
    const columns = SHARES.map((share) => Math.floor((all - 3 * GAP) * share));
    const lefts = columns.map((_, i) => 8 + columns.slice(0, i).reduce((n, one) => n + one + GAP, 0));
    const boxes = [];
    const lines = [];
    const put = (box, column, row, indent = 0) => {
        const placed = { ...box, column, left: lefts[column] + indent, top: 10 + row * PITCH, width: columns[column] - indent };
        boxes.push(placed);
        return placed;
    };
    const line = (a, b, isOff) => {
        const [x1, y1, x2, y2] = [a.left + a.width, a.top + BOX / 2, b.left, b.top + BOX / 2];
        const bend = (x2 - x1) / 2;
        lines.push({ from: a, to: b, isOff, d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` });
    };
    const root = put({ id: "listener", kind: "listener", text: listener.envoy_name }, 0, 0);
    let row = 0;
    for (const item of exposures) {
        const x = item.name;
        const left = leftOf(item);
        const right = rightOf(item);
        const rows = Math.max(left.length, right.length);
        const isOff = item.status.accepted.state === "failed";
        const middle = put({ id: x, kind: "exposure", x, text: x, item, state: item.state, isOff }, 2, row + (rows - 1) / 2);
        left.forEach((one, i) => {
            const box = put({ ...one, id: `${x} l${i}`, x }, 1, row + (rows - left.length) / 2 + i, one.kind === "route" ? 18 : 0);
            if (one.kind === "vhost") line(root, box, isOff || one.isOff);
            if (one.kind === "route" || left[i + 1]?.kind !== "route") line(box, middle, isOff || one.isOff);
        });
        right.forEach((one, i) => line(middle, put({ ...one, id: `${x} ${one.text}`, x }, 3, row + (rows - right.length) / 2 + i), isOff));
        row += rows;
    }
    return { width: all + 16, height: heightOf(row), boxes, lines };
}

// Whether a box is on a way that goes through another.
export function isOnWay(box, through) {
    if (through.kind === "listener" || box.kind === "listener") return true;
    if (box.x !== through.x) return false;
    if (box.kind === "exposure" || through.kind === "exposure") return true;
    if (through.kind === "endpoint") return box.kind !== "endpoint" || box.id === through.id;
    if (box.kind === "endpoint") return true;
    if (through.kind === "route" && box.kind === "route") return box.id === through.id;
    return box.v === through.v;
}

// The box that an arrow key leads to, or null.
export function neighbour(boxes, from, key) {
    const side = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (side) {
        const next = boxes.filter((box) => box.column === from.column + side && isOnWay(box, from));
        return next.sort((a, b) => Math.abs(a.top - from.top) - Math.abs(b.top - from.top))[0] || null;
    }
    const same = boxes.filter((box) => box.column === from.column).sort((a, b) => a.top - b.top);
    return same[same.indexOf(from) + (key === "ArrowDown" ? 1 : -1)] || null;
}
