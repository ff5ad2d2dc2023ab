#!/usr/bin/env python3
"""A simulated OpenSVC 2.1 agent: its socket, its data, its events, and its ways to fail.

It speaks the agent's protocol on a unix socket: a request and its answer are JSON texts that end in a NUL byte, one
request per connection; `events` never ends. It holds the cluster's data set (what `daemon_status` answers) and
changes it as the operators' commands do: each change is applied to the data and sent to all subscribers as one patch,
with the same kinds of changes in the same order as a real agent (held against a recording by
tests/e2e/test_agent_sim.py).

Invariants
- The data and the patches agree: applying all patches to an earlier daemon_status gives the later one.
- A patch's id is one more than the id before, unless gap() is asked for.
- An answer to daemon_status holds every patch that was queued to the subscribers before it.

Threads: a SimAgent has a thread of its own for its connections (asyncio). The methods may be called from any thread;
the data is changed under one lock. A method that has a `late` waits in the caller's thread.

As a library:

    with SimAgent("/tmp/lsnr.sock", nodes=["n1", "n2"]) as agent:
        agent.add_service("test/svc/web1", open("web1.conf").read())
        agent.stop_instance("test/svc/web1", "n1")

As a program: agent_sim.py --socket PATH [--load NS/svc/NAME=FILE]... [--generate SERVICES:ENDPOINTS], then commands
on standard input, one a line; `help` lists them.
"""

import argparse
import asyncio
import configparser
import hashlib
import json
import os
import random
import re
import shlex
import sys
import threading
import time
import traceback
import uuid

GROUPS = ["ip", "vhost", "route", "disk", "DEFAULT", "hashpolicy", "share", "sync", "app", "container", "fs",
          "volume", "certificate", "subset", "task", "expose"]
LISTS = {"expose", "sni", "vhosts", "listener_certificates", "cluster_certificates", "domains", "routes",
         "hash_policies"}
INTEGERS = {"port", "listener_port"}
DURATIONS = {"cookie_ttl", "route_timeout"}
JSONS = {"cluster_data", "filter_config_data"}
BOOLEANS = {"redirect_https_redirect", "redirect_strip_query", "terminal", "connection_source_ip"}
BOOLEAN_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
# What the drivers do not put into a resource's info.
DROPPED = {"type", "route_use_websocket"}
DEFAULTS = {
    "expose": {"lb_policy": "round robin", "protocol": "tcp"},
    "route": {"redirect_https_redirect": False, "redirect_strip_query": False},
    "hashpolicy": {"terminal": False},
}
DRIVERS = {"expose": "envoy", "vhost": "envoy", "route": "envoy", "hashpolicy": "envoy", "hash_policy": "envoy",
           "certificate": "tls"}
REQUEST_MAX = 16 << 20
SUBSCRIBER_BUFFER = 8 << 20  # bytes that a slow subscriber may be behind before it is cut off
ANSWER_PIECE = 1 << 20
STATS_FLUSH = 0.5            # seconds until changed counters are sent although nothing else happened


def now():
    return time.time()


def checksum(text):
    return hashlib.md5(text.encode()).hexdigest()


def compact(value):
    return json.dumps(value).encode()


def split_path(path):
    """NS/KIND/NAME, KIND/NAME or NAME into its three parts."""
    parts = path.split("/")
    if len(parts) == 1:
        return None, "svc", parts[0]
    if len(parts) == 2:
        return None, parts[0], parts[1]
    return parts[0], parts[1], parts[2]


def slave_path(path, index):
    head, _, name = path.rpartition("/")
    return f"{head}/{index}.{name}" if head else f"{index}.{name}"


def slave_names(scaler):
    """The slaves, relative to the scaler's own namespace."""
    return [split_path(slave)[2] for slave in scaler.slaves]


def seconds(text):
    """A duration as the drivers evaluate it: '1h' is 3600; what is none stays as it is."""
    match = re.fullmatch(r"(\d+)\s*(s|m|h|d|)", text.strip())
    return int(match.group(1)) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}[match.group(2)] if match else text


def diff(before, after, path):
    """The changes that make `after` of `before`: sets in the order of keys, then removals; arrays by index."""
    if before == after and type(before) is type(after):
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        changes = []
        removed = [[path + [key]] for key in before if key not in after]
        for key, value in after.items():
            if key not in before:
                changes.append([path + [key], value])
            else:
                changes += diff(before[key], value, path + [key])
        deep = [c for c in changes if len(c) == 1]
        return [c for c in changes if len(c) > 1] + deep + removed
    if isinstance(before, list) and isinstance(after, list) and before:
        changes = []
        common = min(len(before), len(after))
        for i in range(common):
            changes += diff(before[i], after[i], path + [i])
        changes += [[path + [i], after[i]] for i in range(common, len(after))]
        changes += [[path + [i]] for i in range(len(before) - 1, common - 1, -1)]
        return changes
    return [[path, after]]


def apply_change(tree, change):
    """Applies one change as every reader of patches does; raises LookupError or TypeError if it does not fit."""
    path = change[0]
    at = tree
    for key in path[:-1]:
        at = at[key]
    last = path[-1]
    if len(change) == 1:
        del at[last]
        return
    value = change[1]
    if isinstance(value, (dict, list)):
        value = json.loads(json.dumps(value))  # the tree's own: a later change must not reach what was said before
    if isinstance(at, list) and last == len(at):
        at.append(value)
    else:
        at[last] = value


class Lazy:
    """An instance of a generated service: bytes for daemon_status, and a dictionary only once it is changed."""

    __slots__ = ("template", "values")

    def __init__(self, template, values):
        self.template = template
        self.values = values

    def text(self):
        return self.template % self.values

    def make(self):
        return json.loads(self.text())


class Fragments(dict):
    """The children of a large object: each one's JSON is kept until it changes."""

    def __init__(self, *args):
        super().__init__(*args)
        self.cache = {}

    def __getitem__(self, key):
        value = super().__getitem__(key)
        if isinstance(value, Lazy):
            value = value.make()
            super().__setitem__(key, value)
        self.cache.pop(key, None)  # whoever looks may change it
        return value

    def __setitem__(self, key, value):
        self.cache.pop(key, None)
        super().__setitem__(key, value)

    def __delitem__(self, key):
        self.cache.pop(key, None)
        super().__delitem__(key)

    def json_parts(self):
        first = True
        cache = self.cache
        for key, value in self.items():
            text = cache.get(key)
            if text is None:
                body = value.text().encode() if isinstance(value, Lazy) else compact(value)
                text = cache[key] = json.dumps(key).encode() + b": " + body
            yield text if first else b", " + text
            first = False


class Instance:
    """What a node has of a service."""

    def __init__(self):
        self.started = False
        self.down = set()      # resource ids that are down although the instance is started
        self.addresses = {}    # allocated ones, by resource id
        self.provisioned_at = now()


class Service:
    """A service's configuration, and its evaluation."""

    def __init__(self, path, config, nodes):
        self.path = path
        self.config = parse_config(config)
        declared = str(self.config["DEFAULT"].get("nodes", "")).split()
        self.nodes = list(nodes) if nodes else declared
        self.instances = {node: Instance() for node in self.nodes}
        self.created = now()
        self.config_updated = self.created
        self.slave_of = None
        self.slaves = []

    def topology(self):
        return self.config["DEFAULT"].get("topology", "failover")

    def config_checksum(self):
        text = json.dumps(self.config, default=str, sort_keys=True)
        return checksum(text)

    def section(self, rid, node):
        """The section's keywords, a scoped `keyword@NODE` before the plain one."""
        scoped = {}
        for key, value in self.config[rid].items():
            name, _, scope = key.partition("@")
            if not scope:
                scoped.setdefault(name, value)
            elif scope == node or scope == "nodes":
                scoped[name] = value
        return scoped

    def substitute(self, value, node):
        if callable(value):
            return value(self.path, node)
        if isinstance(value, str):
            name = split_path(self.path)[2]
            for word, text in (("{nodename}", node), ("{name}", name), ("{svcname}", name), ("{path}", self.path)):
                value = value.replace(word, text)
        return value


def parse_config(config):
    """A .conf text, or a dictionary of dictionaries whose values may have any JSON type (taken as they are)."""
    if isinstance(config, dict):
        parsed = {section: dict(values) for section, values in config.items()}
    else:
        parser = configparser.RawConfigParser(default_section="\0", delimiters=("=",), comment_prefixes=("#",),
                                              strict=True)
        parser.optionxform = str
        parser.read_string(config)
        parsed = {section: dict(parser.items(section)) for section in parser.sections()}
    return {"DEFAULT": parsed.pop("DEFAULT", {}), **parsed}


def evaluate(key, value):
    """A keyword's text as its driver evaluates it; what is not a text is taken as it is."""
    if not isinstance(value, str):
        return value
    if key in LISTS:
        return value.split()
    if key in INTEGERS:
        return int(value) if re.fullmatch(r"-?\d+", value) else value
    if key in DURATIONS:
        return seconds(value)
    if key in JSONS:
        try:
            return json.loads(value)
        except ValueError:
            return value
    if key in BOOLEANS:
        return BOOLEAN_WORDS.get(value.lower(), value)
    return value


def label(group, info):
    if group == "expose":
        return "envoy expose %s/%s via %s:%s" % (info.get("port"), info.get("protocol"),
                                                 info.get("listener_addr", "0.0.0.0"),
                                                 info.get("listener_port", info.get("port")))
    if group == "vhost":
        domains = info.get("domains")
        return "envoy vhost %s" % (", ".join(map(str, domains)) if isinstance(domains, list) else domains)
    return {"route": "envoy route", "hashpolicy": "envoy hash policy", "hash_policy": "envoy hash policy",
            "certificate": "tls certificate"}.get(group, group)


class SimAgent:
    """See the module's text. `path`: of the socket. `tree`: a whole daemon_status to start from, instead of nodes."""

    def __init__(self, path, nodes=("n1",), cluster="lab", tree=None, seed=1, noise=True, shuffle=False,
                 older=False):
        self.path = path
        self.lock = threading.RLock()
        self.random = random.Random(seed)
        self.noise = noise      # the counters of the agent's own sessions change, and are sent
        self.shuffle = shuffle  # keys of an instance's resources in any order
        self.older = older      # an agent that still gives route_use_websocket
        self.services = {}
        self.secrets = {}       # path: {key: value}
        self.address_pool = None
        self.loop = None
        self.thread = None
        self.server = None
        self.subscribers = []
        self.connections = set()
        self.requests = []      # (time, request)
        self.answers = {}       # action: bytes, an iterable of bytes, a value, or a function of the request
        self.delays = {}        # action: seconds before the answer, or a function of the request
        self.slow_limit = SUBSCRIBER_BUFFER
        self.stats_pending = []
        self.stats_timer = None
        self.background = None
        self._reset(list(nodes), cluster, tree)

    # ---- the data -------------------------------------------------------------------------------

    def _reset(self, nodes, cluster, tree):
        self.last_id = self.random.randrange(10, 1000)
        if tree is not None:
            self.tree = json.loads(json.dumps(tree))
        else:
            self.tree = self._empty_tree(nodes, cluster)
        self.nodes = list(self.tree["monitor"]["nodes"])
        for node in self.nodes:
            self._fragment(node)
        self.tree["monitor"]["services"] = Fragments(self.tree["monitor"]["services"])
        self.local = self.nodes[0] if self.nodes else "n1"

    def _fragment(self, node):
        services = self.tree["monitor"]["nodes"][node]
        if services and "services" in services:
            for part in ("status", "config"):
                services["services"][part] = Fragments(services["services"][part])

    def _empty_tree(self, nodes, cluster):
        started = now()
        thread = {"state": "running", "created": started, "configured": started, "tid": 4480,
                  "ident": 140145965917888}
        return {
            "monitor": {
                "nodes": {node: self._empty_node(node) for node in nodes},
                "services": {"cluster": {}},
                **thread, "tid": 4481, "compat": True, "transitions": 0, "frozen": "thawed",
            },
            "daemon": {"ident": 140146009545600, "state": "running"},
            "cluster": {"name": cluster, "id": self._uuid(), "nodes": list(nodes)},
            "scheduler": {**thread, "tid": 4482, "running": 0, "delayed": [
                {"action": "collect_stats", "path": None, "rid": None, "queued": started, "expire": started + 600,
                 "csum": checksum("") + "," + checksum(cluster)}]},
            "listener": {**thread, "stats": {"sessions": {
                "accepted": 0, "auth_validated": 0, "tx": 0, "rx": 0, "alive": {},
                "clients": {"local": {"accepted": 0, "auth_validated": 0, "tx": 0, "rx": 0}}}},
                "config": {"port": 1214, "addr": ""}},
        }

    @staticmethod
    def _empty_node(node):
        started = now()
        return {
            "compat": 10, "api": 7, "agent": "dev", "monitor": {"status": "idle", "status_updated": started},
            "labels": {}, "targets": [],
            "services": {
                "status": {"cluster": {"updated": started, "kind": "ccfg", "csum": checksum("cluster"),
                                       "monitor": {"status": "idle", "placement": ""}}},
                "config": {"cluster": {"updated": started, "csum": checksum("config"), "scope": [node]}},
            },
            "gen": {node: 2}, "config": {"csum": checksum("")},
            "stats": {"load_15m": 0.1, "mem_total": 24105, "mem_avail": 99, "swap_total": 0, "swap_avail": 0,
                      "score": 71},
            "frozen": 0, "env": "TST", "locks": {}, "speaker": False, "min_avail_mem": 2, "min_avail_swap": 0,
            "updated": started,
        }

    def _uuid(self):
        return str(uuid.UUID(int=self.random.getrandbits(128)))

    def daemon_status(self):
        """The data set as a value of its own."""
        return json.loads(self.status_bytes())

    def status_bytes(self):
        """The data set as the agent writes it, without the NUL. Only what changed is encoded again."""
        with self.lock:
            return b"".join(self._encode(self.tree))

    def _encode(self, value, depth=0):
        """JSON in pieces; the large objects lie at most five keys deep."""
        if isinstance(value, Fragments):
            yield b"{"
            yield from value.json_parts()
            yield b"}"
        elif isinstance(value, dict) and depth < 5:
            yield b"{"
            for i, (key, child) in enumerate(value.items()):
                yield (b", " if i else b"") + json.dumps(key).encode() + b": "
                yield from self._encode(child, depth + 1)
            yield b"}"
        else:
            yield compact(value)

    # ---- patches --------------------------------------------------------------------------------

    def emit(self, changes, apply=True, mix=True):
        """Applies the changes to the data and sends them as one patch, with the counters that changed meanwhile."""
        with self.lock:
            if apply:
                for change in changes:
                    apply_change(self.tree, change)
            if mix and self.stats_pending:
                changes = changes + self.stats_pending
                self.stats_pending = []
            self.last_id += 1
            patch = {"kind": "patch", "id": self.last_id, "ts": now(), "data": changes}
            self._broadcast(compact(patch) + b"\0")
            return self.last_id

    def emit_event(self, event_id="node_thaw", **data):
        """An event that is not a patch."""
        with self.lock:
            message = {"nodename": self.local, "kind": "event", "id": event_id, "ts": now(), "data": data}
            self._broadcast(compact(message) + b"\0")

    def send_raw(self, data):
        """Bytes to all subscribers, as they are."""
        with self.lock:
            self._broadcast(data)

    def gap(self, n=1):
        """The next n patches were lost: their ids are skipped."""
        with self.lock:
            self.last_id += n

    def lose(self, changes):
        """A patch that is applied but reaches no subscriber."""
        with self.lock:
            for change in changes:
                apply_change(self.tree, change)
            self.last_id += 1

    def make_noise(self, n=1):
        """n patches that are none of anybody's business, as a busy agent sends several a second."""
        for _ in range(n):
            with self.lock:
                sessions = self.tree["listener"]["stats"]["sessions"]
                at = ["listener", "stats", "sessions"]
                ident = self._uuid()
                alive = {"created": now(), "addr": "local", "encrypted": False, "progress": "init",
                         "ident": 140145588172480}
                self.emit([
                    [at + ["accepted"], sessions["accepted"] + 1], [at + ["tx"], sessions["tx"] + 139],
                    [at + ["alive", ident], alive],
                    [at + ["clients", "local", "accepted"], sessions["clients"]["local"]["accepted"] + 1],
                    [at + ["alive", ident]], [["scheduler", "running"], self.tree["scheduler"]["running"]],
                ])

    def start_noise(self, per_second):
        """Noise until stop_noise() or the end."""
        stop = threading.Event()

        def run():
            due = time.monotonic()
            while not stop.is_set():
                self.make_noise()
                due += 1 / per_second
                stop.wait(max(0, due - time.monotonic()))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.background = (stop, thread)

    def stop_noise(self):
        if self.background:
            self.background[0].set()
            self.background[1].join(10)
            self.background = None

    # ---- services -------------------------------------------------------------------------------

    def _at(self, node, part, path, *more):
        return ["monitor", "nodes", node, "services", part, path, *more]

    def _here(self, node):
        """Whether the node's data is there to be changed."""
        value = self.tree["monitor"]["nodes"].get(node)
        return bool(value) and "services" in value

    def _status(self, path, node):
        return self.tree["monitor"]["nodes"][node]["services"]["status"][path]

    def _allocate(self, path, node, rid):
        instance = self.services[path].instances[node]
        if rid not in instance.addresses:
            if self.address_pool is None:
                raise ValueError("address_pool is not set: who has a type = cni address needs one")
            instance.addresses[rid] = next(self.address_pool)
        return instance.addresses[rid]

    def _ip(self, service, rid, section, node):
        instance = service.instances[node]
        up = instance.started and rid not in instance.down
        driver = section.get("type", "host")
        info = {}
        address = service.substitute(section.get("ipname"), node)
        if driver == "cni" or (address is None and self.address_pool is not None):
            if up:
                info["ipaddr"] = self._allocate(service.path, node, rid)
        elif address is not None:
            info["ipaddr"] = address
        info["ipdev"] = section.get("ipdev", "lo")
        info["netmask"] = str(section.get("netmask", "32"))
        expose = evaluate("expose", section.get("expose"))
        if expose:
            info["expose"] = expose
        kind = "ip" if driver == "host" else "ip." + driver
        return {"status": "up" if up else "down", "type": kind,
                "label": "%s/%s %s" % (info.get("ipaddr", ""), info["netmask"], info["ipdev"]),
                "provisioned": {"state": True, "mtime": instance.provisioned_at}, "info": info}

    def _resource(self, service, rid, node):
        group = rid.partition("#")[0]
        section = {k: service.substitute(v, node) for k, v in service.section(rid, node).items()}
        if group == "ip":
            return self._ip(service, rid, service.section(rid, node), node)
        info = dict(DEFAULTS.get(group, {}))
        if group == "vhost":
            info["domains"] = [split_path(service.path)[2]]
        for key, value in section.items():
            value = evaluate(key, value)
            if value is None or (key in DROPPED and not (key == "route_use_websocket" and self.older)):
                continue
            info[key] = value
        info = {key: info[key] for key in sorted(info)}
        return {"status": "n/a", "type": "%s.%s" % (group, DRIVERS.get(group, "unknown")),
                "label": label(group, info), "info": info}

    def _resources(self, service, node):
        if service.slaves or "scale" in service.config["DEFAULT"]:
            return {}
        rids = [s for s in service.config if "#" in s]
        if self.shuffle:
            self.random.shuffle(rids)
        return {rid: self._resource(service, rid, node) for rid in rids}

    def _fill(self, service, node, status):
        """The parts of an instance's status that follow from the configuration and the state, into `status`."""
        instance = service.instances[node]
        status["resources"] = resources = self._resources(service, node)
        ips = [r["status"] for r in resources.values() if r["type"].startswith("ip")]
        avail = "n/a" if not ips else "up" if set(ips) == {"up"} else "down" if set(ips) == {"down"} else "warn"
        groups = {group: "n/a" for group in GROUPS}
        groups["ip"] = avail
        status["status_group"] = groups
        status["overall"] = status["avail"] = avail
        status["csum"] = checksum(json.dumps([resources, avail, instance.started]))
        return status

    def _new_status(self, service, node):
        default = service.config["DEFAULT"]
        status = {"updated": now(), "kind": split_path(service.path)[1], "app": "default", "env": "TST",
                  "placement": "nodes order", "topology": service.topology(), "frozen": 0, "subsets": {},
                  "resources": {}}
        if service.topology() == "flex":
            status.update(flex_target=int(default.get("flex_target", 1)), flex_min=1,
                          flex_max=int(default.get("flex_max", 1)))
        if "scale" in default:
            status.update(scale=int(default["scale"]), scaler_slaves=slave_names(service))
        if service.slave_of:
            status["scaler_slave"] = True
        self._fill(service, node, status)
        status["optional"] = "n/a"
        if "scale" not in default:
            status["provisioned"] = True
        csum = status.pop("csum")
        status["csum"] = csum
        status["monitor"] = {"status": "idle", "placement": ""}
        return status

    def _aggregate(self, path):
        """The state of a service over all nodes, as monitor.services has it."""
        service = self.services[path]
        avails = []
        for node in service.nodes:
            if self._here(node):
                status = self.tree["monitor"]["nodes"][node]["services"]["status"]
                if path in status:
                    avails.append(status[path]["avail"])
        avail = "unknown" if not avails else "up" if "up" in avails else avails[0]
        return {"avail": avail, "overall": avail}

    def _aggregate_changes(self, path):
        before = self.tree["monitor"]["services"].get(path, {})
        return [[["monitor", "services", path, key], value] for key, value in self._aggregate(path).items()
                if before.get(key) != value]

    def add_service(self, path, config, nodes=None, started=True):
        """`om PATH create`, then start on `started`: True (all of a flex or scaler, the first node of a failover),
        False, or a list of nodes. One patch for each node."""
        with self.lock:
            default = parse_config(config)["DEFAULT"]
            service = Service(path, config, nodes)
            if not service.nodes:
                service.nodes = list(self.nodes)
                service.instances = {node: Instance() for node in service.nodes}
            self.services[path] = service
            if started is True:
                started = service.nodes if service.topology() == "flex" else service.nodes[:1]
            for node in started or []:
                service.instances[node].started = True
            if "scale" in default:
                self._create(service)
                self.scale(path, int(default["scale"]), started=bool(started))
            else:
                self._create(service)
        return service

    def _create(self, service):
        path = service.path
        for node in service.nodes:
            if not self._here(node):
                continue
            status = self._new_status(service, node)
            changes = [[self._at(node, "config", path), {
                "updated": service.config_updated, "csum": service.config_checksum(), "scope": list(service.nodes)}]]
            new = path not in self.tree["monitor"]["services"]
            total = {"avail": "unknown", "frozen": "n/a", "overall": "unknown", "placement": "optimal",
                     "provisioned": False}
            if "scale" in service.config["DEFAULT"]:
                total = {"scale": int(service.config["DEFAULT"]["scale"]), **total}
            if service.slave_of:
                total = {"scaler_slave": True, **total}
            if new:
                changes.append([["monitor", "services", path], total])
            changes.append([["scheduler", "running"], self.tree["scheduler"]["running"] + 1])
            changes.append([self._at(node, "status", path), status])
            if new:
                changes += [[["monitor", "services", path, "avail"], status["avail"]],
                            [["monitor", "services", path, "frozen"], "thawed"],
                            [["monitor", "services", path, "overall"], status["overall"]],
                            [["monitor", "services", path, "provisioned"], status.get("provisioned", "n/a")]]
                self.emit(changes)
            else:
                self._emit_aggregated(path, changes)
            delayed = self.tree["scheduler"]["delayed"]
            queued = now()
            self.emit([[self._at(node, "status", path, "updated"), queued],
                       [["scheduler", "running"], max(0, self.tree["scheduler"]["running"] - 1)],
                       [["scheduler", "delayed", len(delayed)], {
                           "action": "status", "path": path, "rid": None, "queued": queued, "expire": queued + 600,
                           "csum": service.config_checksum()}]])

    def _emit_aggregated(self, path, changes):
        """One patch: the changes, and what follows from them for the service as a whole."""
        for change in changes:
            apply_change(self.tree, change)
        more = self._aggregate_changes(path)
        for change in more:
            apply_change(self.tree, change)
        self.emit(changes + more, apply=False)

    def remove_service(self, path):
        """`om PATH delete`: two patches, as recorded; the whole of a scaler with its slaves."""
        with self.lock:
            service = self.services.pop(path)
            for slave in service.slaves:
                self.remove_service(slave)
            nodes = [node for node in service.nodes if self._here(node)]
            for node in nodes:
                stamp = now()
                self.emit([[self._at(node, "status", path, "monitor", "status"), "deleting"],
                           [self._at(node, "status", path, "monitor", "status_updated"), stamp],
                           [self._at(node, "status", path, "monitor", "local_expect"), None],
                           [self._at(node, "status", path, "monitor", "local_expect_updated"), stamp],
                           [self._at(node, "status", path, "monitor", "local_expect")]])
            for i, node in enumerate(nodes):
                changes = [[self._at(node, "status", path, "monitor", "status"), "idle"],
                           [self._at(node, "status", path, "monitor", "status_updated"), now()],
                           [self._at(node, "status", path)], [self._at(node, "config", path)]]
                if i == len(nodes) - 1:
                    changes.append([["monitor", "services", path]])
                self.emit(changes)

    def _refresh(self, path, node):
        """Re-evaluates an instance: `updated`, and what differs; None if the node's data is not there."""
        service = self.services[path]
        if not self._here(node):
            return None
        before = json.loads(json.dumps(self._status(path, node)))
        after = self._fill(service, node, dict(before))
        if "scale" in service.config["DEFAULT"]:
            after["scale"] = int(service.config["DEFAULT"]["scale"])
            after["scaler_slaves"] = slave_names(service)
        return [[self._at(node, "status", path, "updated"), now()]] + diff(before, after,
                                                                            self._at(node, "status", path))

    def set_keywords(self, path, keywords, unset=()):
        """`om PATH set --kw ...`: every instance is evaluated again; one patch for each node."""
        with self.lock:
            service = self.services[path]
            for name, value in keywords.items():
                rid, _, key = name.rpartition(".")
                service.config.setdefault(rid or "DEFAULT", {})[key] = value
            for name in unset:
                rid, _, key = name.rpartition(".")
                if key:
                    service.config[rid or "DEFAULT"].pop(key, None)
            self._config_changed(path)

    def unset_keywords(self, path, *keywords):
        self.set_keywords(path, {}, keywords)

    def remove_section(self, path, rid):
        with self.lock:
            del self.services[path].config[rid]
            self._config_changed(path)

    def _config_changed(self, path):
        service = self.services[path]
        service.config_updated = now()
        for node in service.nodes:
            changes = self._refresh(path, node)
            if changes is None:
                continue
            changes += [[self._at(node, "config", path, "updated"), service.config_updated],
                        [self._at(node, "config", path, "csum"), service.config_checksum()]]
            self._emit_aggregated(path, changes)

    def set_config(self, path, config):
        """`om PATH edit`: another configuration, evaluated at once."""
        with self.lock:
            self.services[path].config = parse_config(config)
            self._config_changed(path)

    def start_instance(self, path, node, late=0.0, on_up=None, outcome=None):
        """`om PATH start --local`. The address is there first (on_up), and told `late` seconds later."""
        with self.lock:
            service = self.services[path]
            service.instances[node].started = True
            service.instances[node].down.clear()
        if on_up:
            on_up()
        if late:
            time.sleep(late)
        with self.lock:
            if not self._here(node):
                return
            changes = self._refresh(path, node)
            monitor = self._at(node, "status", path, "monitor")
            changes += [[monitor + ["status"], "starting"], [monitor + ["status_updated"], now()]]
            for change in changes:
                apply_change(self.tree, change)
            more = self._aggregate_changes(path)
            transitions = self.tree["monitor"]["transitions"]
            more.append([["monitor", "transitions"], transitions + 1])
            if outcome:
                more += [[monitor + ["status"], outcome], [monitor + ["status_updated"], now()]]
            more += [[["monitor", "transitions"], transitions],
                     [monitor + ["status"], "idle"], [monitor + ["status_updated"], now()],
                     [monitor + ["local_expect"], "started"], [monitor + ["local_expect_updated"], now()]]
            for change in more:
                apply_change(self.tree, change)
            self.emit(changes + more, apply=False)

    def stop_instance(self, path, node, late=0.0, on_down=None, announced=None):
        """`om PATH stop --local`. The address is gone first (on_down), and told `late` seconds later, in one patch
        that says stopping, down and idle at once, as recorded (there: 0.51 s). With `announced` (seconds), the
        stopping is told that long before the address goes, as when the orchestrator stops it."""
        monitor = self._at(node, "status", path, "monitor")
        with self.lock:
            service = self.services[path]
            transitions = self.tree["monitor"]["transitions"]
            stopping = [[monitor + ["status"], "stopping"], [monitor + ["status_updated"], now()],
                        [["monitor", "transitions"], transitions + 1]]
            if announced is not None:
                self.emit(stopping)
                stopping = []
        if announced:
            time.sleep(announced)
        if on_down:
            on_down()
        if late:
            time.sleep(late)
        with self.lock:
            service.instances[node].started = False
            if not self._here(node):
                return
            changes = stopping + (self._refresh(path, node) or [])
            for change in changes:
                apply_change(self.tree, change)
            more = self._aggregate_changes(path)
            for change in more:
                apply_change(self.tree, change)
            idle = [[monitor + ["status"], "idle"], [monitor + ["status_updated"], now()]]
            for change in idle:
                apply_change(self.tree, change)
            self.emit(changes + more + idle, apply=False)
            self.emit([[["monitor", "transitions"], transitions]])

    def move(self, path, source, target, late=0.0, on_down=None, on_up=None, orchestrated=True):
        """`om PATH switch --to TARGET` (or by hand: stop here, start there). What another node serves, keeps up."""
        if orchestrated:
            with self.lock:
                stamp = now()
                for node in (source, target):
                    monitor = self._at(node, "status", path, "monitor")
                    self.emit([[monitor + ["global_expect"], "placed@" + target],
                               [monitor + ["global_expect_updated"], stamp]])
        self.stop_instance(path, source, late, on_down)
        self.start_instance(path, target, late, on_up)
        if orchestrated:
            with self.lock:
                for node in (source, target):
                    monitor = self._at(node, "status", path, "monitor")
                    self.emit([[monitor + ["global_expect"], None],
                               [monitor + ["global_expect_updated"], now()]])

    def set_monitor(self, path, node, **values):
        """Any keys of an instance's monitor state, as one patch: the orchestrator's intents."""
        monitor = self._at(node, "status", path, "monitor")
        with self.lock:
            changes = []
            for key, value in values.items():
                changes += [[monitor + [key], value], [monitor + [key + "_updated"], now()]]
            self.emit(changes)

    def resource_down(self, path, node, rid="ip#1", up=False):
        """A resource that failed, or came back, without anybody's command."""
        with self.lock:
            instance = self.services[path].instances[node]
            if up:
                instance.down.discard(rid)
            else:
                instance.down.add(rid)
            changes = self._refresh(path, node)
            if changes is not None:
                self._emit_aggregated(path, changes)

    # ---- scalers --------------------------------------------------------------------------------

    def scale(self, path, n, started=True):
        """`om PATH scale --to N`: slaves come or go, then the scaler's own status tells it."""
        with self.lock:
            service = self.services[path]
            service.config["DEFAULT"]["scale"] = n
            width = max(1, len(service.nodes)) if service.topology() == "flex" else 1
            count = -(-n // width)
            wanted = [slave_path(path, i) for i in range(count)]
            for slave in [s for s in service.slaves if s not in wanted]:
                service.slaves.remove(slave)
                self.remove_service(slave)
            for i, slave in enumerate(wanted):
                target = width if i < count - 1 or n % width == 0 else n % width
                if slave not in service.slaves:
                    service.slaves.append(slave)
                    self._add_slave(service, slave, target, started)
                else:
                    self._resize_slave(slave, target, started)
            self._config_changed(path)
            self.emit([[["monitor", "services", path, "scale"], n]])

    def _add_slave(self, scaler, path, target, started):
        config = {section: dict(values) for section, values in scaler.config.items()}
        config["DEFAULT"].pop("scale")
        config["DEFAULT"]["flex_target"] = config["DEFAULT"]["flex_max"] = target
        slave = Service(path, config, scaler.nodes)
        slave.slave_of = scaler.path
        self.services[path] = slave
        self._create(slave)
        if started:
            for node in slave.nodes[:target]:
                self.start_instance(path, node)

    def _resize_slave(self, path, target, started):
        slave = self.services[path]
        slave.config["DEFAULT"]["flex_target"] = slave.config["DEFAULT"]["flex_max"] = target
        for i, node in enumerate(slave.nodes):
            running = slave.instances[node].started
            if i < target and not running and started:
                self.start_instance(path, node)
            elif i >= target and running:
                self.stop_instance(path, node)

    # ---- secrets --------------------------------------------------------------------------------

    def set_secret(self, path, values, nodes=None):
        """Creates a sec object, or replaces all of its keys at once (one change of its configuration)."""
        with self.lock:
            new = path not in self.secrets
            self.secrets[path] = {key: value for key, value in values.items() if value is not None}
            if new:
                self._create_secret(path, nodes or self.nodes)
            else:
                self._secret_changed(path)

    def change_secret_key(self, path, key, value):
        """`om PATH change --key KEY`: one key, as a rotation goes; None removes the key."""
        with self.lock:
            if value is None:
                self.secrets[path].pop(key, None)
            else:
                self.secrets[path][key] = value
            self._secret_changed(path)

    def _secret_checksum(self, path):
        return checksum(json.dumps(self.secrets[path], sort_keys=True))

    def _create_secret(self, path, nodes):
        stamp = now()
        for node in nodes:
            if not self._here(node):
                continue
            changes = [[self._at(node, "config", path), {"updated": stamp, "csum": self._secret_checksum(path),
                                                          "scope": list(nodes)}]]
            if path not in self.tree["monitor"]["services"]:
                changes.append([["monitor", "services", path], {}])
            changes.append([self._at(node, "status", path), {
                "updated": stamp, "kind": split_path(path)[1], "csum": checksum(path),
                "monitor": {"status": "idle", "placement": ""}}])
            self.emit(changes)

    def _secret_changed(self, path):
        for node in self.nodes:
            if not self._here(node) or path not in self.tree["monitor"]["nodes"][node]["services"]["config"]:
                continue
            stamp = now()
            self.emit([[self._at(node, "status", path, "updated"), stamp],
                       [self._at(node, "config", path, "updated"), stamp],
                       [self._at(node, "config", path, "csum"), self._secret_checksum(path)]])

    def remove_secret(self, path):
        with self.lock:
            del self.secrets[path]
            for node in self.nodes:
                if self._here(node) and path in self.tree["monitor"]["nodes"][node]["services"]["config"]:
                    self.emit([[self._at(node, "status", path)], [self._at(node, "config", path)]])
            self.emit([[["monitor", "services", path]]])

    # ---- nodes ----------------------------------------------------------------------------------

    def node_null(self, node):
        """The node died: the others have null for it."""
        with self.lock:
            self.emit([[["monitor", "nodes", node], None]])

    def node_away(self, node):
        """The node left the cluster: it is listed no longer."""
        with self.lock:
            self.emit([[["monitor", "nodes", node]]])

    def node_partial(self, node):
        """The node is joining: its value lacks most keys."""
        with self.lock:
            self.emit([[["monitor", "nodes", node], {"compat": 10, "monitor": {"status": "init"}}]])

    def node_back(self, node):
        """The node is there again, with its services as they are."""
        with self.lock:
            value = self._empty_node(node)
            for path, service in self.services.items():
                if node in service.nodes:
                    value["services"]["status"][path] = self._new_status(service, node)
                    value["services"]["config"][path] = {"updated": service.config_updated,
                                                         "csum": service.config_checksum(),
                                                         "scope": list(service.nodes)}
            for path in self.secrets:
                value["services"]["status"][path] = {"updated": now(), "kind": "sec", "csum": checksum(path),
                                                     "monitor": {"status": "idle", "placement": ""}}
                value["services"]["config"][path] = {"updated": now(), "csum": self._secret_checksum(path),
                                                     "scope": list(self.nodes)}
            self.emit([[["monitor", "nodes", node], value]])
            self._fragment(node)
            if node not in self.nodes:
                self.nodes.append(node)

    # ---- many -----------------------------------------------------------------------------------

    def generate(self, services, endpoints, config=None, first=0, listener_addr="127.0.0.1", first_port=None,
                 namespace="bench", port=80, address=None):
        """Fills the data with many flex services, one instance on each of `endpoints` nodes (made if need be).

        Nothing is sent: meant for before the start. `config(i)` may give a configuration; `address(i, node_index)` an
        endpoint's address. A generated service can be changed like any other, at the cost of one instance.
        """
        with self.lock:
            while len(self.nodes) < endpoints:
                node = "n%d" % (len(self.nodes) + 1)
                self.tree["monitor"]["nodes"][node] = self._empty_node(node)
                self.nodes.append(node)
                self._fragment(node)
            self.tree["cluster"]["nodes"] = list(self.nodes)
            nodes = self.nodes[:endpoints]
            for i in range(first, first + services):
                path = "%s/svc/s%05d" % (namespace, i)
                if config:
                    text = config(i)
                else:
                    text = {"DEFAULT": {"topology": "flex"},
                            "ip#1": {"type": "host", "ipname": "", "expose": "expose#0"},
                            "expose#0": {"port": str(port), "listener_addr": listener_addr,
                                         "listener_port": str((first_port or 10000) + i)}}
                self._generate_one(path, text, nodes, i, address)

    def _generate_one(self, path, config, nodes, index, address):
        default_address = "10.%d.%d.%d"
        service = Service(path, config, nodes)
        self.services[path] = service
        updated = service.config_updated
        for k, node in enumerate(nodes):
            where = address(index, k) if address else default_address % (k, index >> 8, index & 255)
            service.config["ip#1"]["ipname@" + node] = where
            service.instances[node].started = True
        template = json.dumps(self._new_status(service, nodes[0])).replace("%", "%%")
        first = service.config["ip#1"]["ipname@" + nodes[0]]
        template = template.replace('"%s/' % first, '"%s/').replace('"%s"' % first, '"%s"')
        csum = service.config_checksum()
        config_value = {"updated": updated, "csum": csum, "scope": list(nodes)}
        for node in nodes:
            where = service.config["ip#1"]["ipname@" + node]
            parts = self.tree["monitor"]["nodes"][node]["services"]
            dict.__setitem__(parts["status"], path, Lazy(template, (where, where)))
            dict.__setitem__(parts["config"], path, config_value)
        self.tree["monitor"]["services"][path] = {"avail": "up", "frozen": "thawed", "overall": "up",
                                                  "placement": "optimal", "provisioned": True}

    # ---- the socket -----------------------------------------------------------------------------

    def start(self):
        ready = threading.Event()
        failure = []

        def run():
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
            try:
                self.loop.run_until_complete(self._listen())
            except OSError as error:
                failure.append(error)
                ready.set()
                return
            ready.set()
            self.loop.run_forever()
            self.loop.run_until_complete(self._end())
            self.loop.close()

        self.thread = threading.Thread(target=run, name="agent", daemon=True)
        self.thread.start()
        ready.wait()
        if failure:
            raise failure[0]
        return self

    def stop(self):
        self.stop_noise()
        if self.thread and self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(10)
        self.thread = None
        self._unlink()

    def __enter__(self):
        return self.start() if not self.thread else self

    def __exit__(self, *_):
        self.stop()

    def _unlink(self):
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    async def _listen(self):
        self._unlink()
        self.server = await asyncio.start_unix_server(self._serve, self.path, limit=REQUEST_MAX, backlog=128)

    async def _end(self):
        if self.stats_timer:
            self.stats_timer.cancel()
        if self.server:
            self.server.close()
        for writer in list(self.connections):
            writer.transport.abort()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self.connections.add(writer)
        try:
            await self._converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client's business
        except asyncio.CancelledError:
            pass
        finally:
            self.connections.discard(writer)
            if writer in self.subscribers:
                self.subscribers.remove(writer)
            writer.close()

    async def _converse(self, reader, writer):
        session = self._session_begins()
        try:
            data = await reader.readuntil(b"\0")
        except asyncio.IncompleteReadError as end:
            data = end.partial + b"\0"
        if data == b"\0":
            self._session_ends(session, 0, 0)
            return
        try:
            request = json.loads(data[:-1])
            action = request.get("action")
        except (ValueError, AttributeError):
            writer.write(compact({"status": 400, "error": "invalid message"}) + b"\0")
            await writer.drain()
            return
        self.requests.append((time.monotonic(), request))
        delay = self.delays.get(action, 0)
        delay = delay(request) if callable(delay) else delay
        if delay:
            await asyncio.sleep(delay)
        options = request.get("options") or {}
        if action == "events" and action not in self.answers and not options.get("full"):
            with self.lock:
                self.subscribers.append(writer)
            self._session_ends(session, 0, len(data))
            while await reader.read(65536):
                pass
            return
        sent = await self._answer(writer, action, request)
        self._session_ends(session, sent, len(data))

    async def _answer(self, writer, action, request):
        answer = self.answers.get(action)
        if callable(answer):
            answer = answer(request)
        if answer is None:
            if action == "daemon_status":
                answer = self.status_bytes() + b"\0"
            else:
                answer = self._dispatch(action, request)
        if isinstance(answer, (dict, str, int)) or answer is None:
            answer = compact(answer) + b"\0"
        if isinstance(answer, bytes):
            answer = [answer[i:i + ANSWER_PIECE] for i in range(0, len(answer), ANSWER_PIECE)]
        sent = 0
        for piece in answer:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
        return sent

    def _session_begins(self):
        ident = self._uuid()
        if not self.noise:
            return ident
        with self.lock:
            sessions = self.tree["listener"]["stats"]["sessions"]
            at = ["listener", "stats", "sessions"]
            self._count([[at + ["accepted"], sessions["accepted"] + 1],
                         [at + ["alive", ident], {"created": now(), "addr": "local", "encrypted": False,
                                                  "progress": "init", "ident": 140145588172480}],
                         [at + ["clients", "local", "accepted"], sessions["clients"]["local"]["accepted"] + 1]])
        return ident

    def _session_ends(self, ident, tx, rx):
        if not self.noise:
            return
        with self.lock:
            sessions = self.tree["listener"]["stats"]["sessions"]
            if ident not in sessions["alive"]:
                return
            at = ["listener", "stats", "sessions"]
            local = sessions["clients"]["local"]
            self._count([[at + ["auth_validated"], sessions["auth_validated"] + 1],
                         [at + ["tx"], sessions["tx"] + tx], [at + ["rx"], sessions["rx"] + rx],
                         [at + ["clients", "local", "auth_validated"], local["auth_validated"] + 1],
                         [at + ["clients", "local", "tx"], local["tx"] + tx],
                         [at + ["clients", "local", "rx"], local["rx"] + rx], [at + ["alive", ident]]])

    def _count(self, changes):
        """Counters change; they are sent with the next patch, or soon."""
        for change in changes:
            apply_change(self.tree, change)
        self.stats_pending += changes
        if self.stats_timer is None:
            self.stats_timer = self.loop.call_later(STATS_FLUSH, self._flush_counts)

    def _flush_counts(self):
        self.stats_timer = None
        with self.lock:
            if self.stats_pending:
                self.emit([])

    def _broadcast(self, data):
        if self.loop and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._write, data)

    def _write(self, data):
        for writer in list(self.subscribers):
            writer.write(data)
            if writer.transport.get_write_buffer_size() > self.slow_limit:
                # Too slow: cut off, wherever in a message that may be.
                self.subscribers.remove(writer)
                writer.transport.abort()

    # ---- requests -------------------------------------------------------------------------------

    def _dispatch(self, action, request):
        options = request.get("options") or {}
        handler = {"get_secret_key": self._get_secret_key, "object_keys": self._object_keys,
                   "object_action": self._object_action}.get(action)
        try:
            if action == "events":
                return {"status": 500, "error": "full is not supported on this socket"}
            if handler is None:
                return {"status": 501, "error": "handler '%s' not supported" % action}
            with self.lock:
                return handler(request, options)
        except Exception as error:  # as the agent's listener does: any exception is an answer
            return {"status": 1, "error": str(error), "traceback": traceback.format_exc()}

    def _get_secret_key(self, _request, options):
        values = self.secrets[options["path"]]  # an absent one answers with the KeyError, as recorded
        if options["key"] not in values:
            return {"status": 1, "error": "secret %s key %s does not exist or has no value" % (
                options["path"], options["key"])}
        return {"status": 0, "data": values[options["key"]]}

    def _object_keys(self, _request, options):
        if options.get("path") not in self.secrets:
            return {"status": "1", "error": "object %s does not exist" % options.get("path")}
        return {"status": 0, "data": list(self.secrets[options["path"]])}

    def _object_action(self, request, options):
        node = request.get("node")
        if not isinstance(options.get("action"), str):
            error = "sequence item 0: expected str instance, list found"
            trace = "Traceback (most recent call last):\nTypeError: %s\n" % error
            return {"nodes": {node: {"status": 500, "error": error, "traceback": trace}}, "status": 1}
        path = options["path"]
        if node not in self.nodes or path not in self.services or options["action"] != "set":
            return {"nodes": {node: {"status": 1, "error": "no such object, node or action"}}, "status": 1}
        keywords = dict(kw.split("=", 1) for kw in options["options"]["kw"])
        self.set_keywords(path, keywords)
        return {"nodes": {node: {"status": 0, "data": {"out": "", "err": "@ %s\n" % path, "ret": 0}}}, "status": 0}

    # ---- faults ---------------------------------------------------------------------------------

    def close_subscribers(self):
        """The streams end, between two messages."""
        async def close():
            for writer in list(self.subscribers):
                writer.close()
            self.subscribers.clear()
        self._call(close())

    def cut(self, changes=None, part=0.5):
        """The streams end in the middle of a patch that is applied."""
        with self.lock:
            changes = changes or [[["scheduler", "running"], self.tree["scheduler"]["running"]]]
            for change in changes:
                apply_change(self.tree, change)
            self.last_id += 1
            data = compact({"kind": "patch", "id": self.last_id, "ts": now(), "data": changes})
        data = data[:max(1, int(len(data) * part))]

        async def write():
            for writer in list(self.subscribers):
                writer.write(data)
                writer.close()
            self.subscribers.clear()
        self._call(write())

    def hang(self):
        """Says and answers nothing any more, and closes nothing; until wake()."""
        self.awake = threading.Event()
        self.loop.call_soon_threadsafe(self.awake.wait)

    def wake(self):
        self.awake.set()

    def stop_listening(self, remove=True):
        """No new connections; those that are there stay. Without remove the socket's file stays: refused."""
        async def close():
            if self.server:
                self.server.close()
                self.server = None
        self._call(close())
        if remove:
            self._unlink()

    def listen(self):
        """Accepts connections again."""
        self._call(self._listen())

    def die(self):
        """The agent's process is gone: every connection ends, nobody listens; its socket's file stays."""
        async def close():
            if self.server:
                self.server.close()
                self.server = None
            for writer in list(self.connections):
                writer.transport.abort()
            self.subscribers.clear()
            self.connections.clear()
        self._call(close())

    def live(self):
        """After die(): a new process with the data as it is; ids begin anew."""
        with self.lock:
            self.last_id = self.random.randrange(1, 10)
        self.listen()

    def restart(self, content=None, nodes=None):
        """die(), then live() with other content: a function that fills an agent whose data is empty."""
        self.die()
        with self.lock:
            if content:
                self.services.clear()
                self.secrets.clear()
                self._reset(list(nodes or self.nodes), self.tree["cluster"]["name"], None)
                content(self)
        self.live()

    # ---- looking --------------------------------------------------------------------------------

    def count(self, action, since=0.0):
        return sum(1 for at, request in list(self.requests) if request.get("action") == action and at >= since)

    def requests_of(self, action):
        return [request for _, request in list(self.requests) if request.get("action") == action]


# ---- as a program ------------------------------------------------------------------------------

COMMANDS = """\
start PATH NODE            start an instance
stop PATH NODE             stop an instance
move PATH FROM TO          stop here, start there
set PATH KEYWORD=VALUE...  change a service's configuration
add PATH FILE              create a service and start it
remove PATH                delete a service
scale PATH N               scale a scaler
secret PATH KEY=FILE...    create a secret or change its keys
null NODE | away NODE | back NODE
noise PER_SECOND           patches that mean nothing; 0 ends them
gap | cut | close          faults: a lost patch, an end in the middle of a message, an end
status                     the data set
help | quit
"""


def command(agent, words):
    name, args = words[0], words[1:]
    if name in ("start", "stop", "move"):
        {"start": agent.start_instance, "stop": agent.stop_instance, "move": agent.move}[name](*args)
    elif name == "set":
        agent.set_keywords(args[0], dict(kw.split("=", 1) for kw in args[1:]))
    elif name == "add":
        with open(args[1], encoding="utf-8") as file:
            agent.add_service(args[0], file.read())
    elif name == "remove":
        (agent.remove_secret if args[0] in agent.secrets else agent.remove_service)(args[0])
    elif name == "scale":
        agent.scale(args[0], int(args[1]))
    elif name == "secret":
        values = dict(agent.secrets.get(args[0], {}))
        for pair in args[1:]:
            key, file_name = pair.split("=", 1)
            with open(file_name, encoding="utf-8") as file:
                values[key] = file.read()
        agent.set_secret(args[0], values)
    elif name in ("null", "away", "back"):
        {"null": agent.node_null, "away": agent.node_away, "back": agent.node_back}[name](args[0])
    elif name == "noise":
        agent.stop_noise()
        if float(args[0]) > 0:
            agent.start_noise(float(args[0]))
    elif name in ("gap", "cut", "close"):
        {"gap": agent.gap, "cut": agent.cut, "close": agent.close_subscribers}[name]()
    elif name == "status":
        print(json.dumps(agent.daemon_status(), indent=1))
    elif name == "help":
        print(COMMANDS, end="")
    else:
        raise ValueError("unknown command %s; help lists them" % name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--socket", required=True, help="path of the unix socket")
    parser.add_argument("--nodes", default="n1", help="names of the nodes, separated by commas")
    parser.add_argument("--load", action="append", default=[], metavar="PATH=FILE", help="a service and its .conf")
    parser.add_argument("--generate", metavar="SERVICES:ENDPOINTS", help="many services")
    parser.add_argument("--noise", type=float, default=0, metavar="N", help="irrelevant patches per second")
    options = parser.parse_args()
    agent = SimAgent(options.socket, nodes=options.nodes.split(","))
    if options.generate:
        services, endpoints = options.generate.split(":")
        agent.generate(int(services), int(endpoints))
    with agent:
        for pair in options.load:
            path, file_name = pair.split("=", 1)
            with open(file_name, encoding="utf-8") as file:
                agent.add_service(path, file.read())
        if options.noise:
            agent.start_noise(options.noise)
        print("listening on", options.socket, flush=True)
        for line in sys.stdin:
            words = shlex.split(line)
            if words == ["quit"]:
                return
            if not words:
                continue
            try:
                command(agent, words)
                print("ok", flush=True)
            except (ValueError, LookupError, TypeError, OSError) as error:
                print("error: %r" % error, flush=True)
        threading.Event().wait()  # standard input is closed: serve until killed


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
