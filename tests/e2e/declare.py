"""Short ways to write what services declare, and the scene that most tests play on."""

from harness import LIMIT, wait_until

# Passes Envoy's published rules, and is refused by Envoy itself.
BAD_CLUSTER = {"upstream_bind_config": {"source_address": {"address": "nowhere", "port_value": 0}}}
BAD_FILTER = {"tunneling_config": {"hostname": "%NOSUCH(x)%"}}


def l4(address, listener, port=8000, default=None, ip=None, **expose):
    """A service with one L4 exposure. `address`: of its endpoints, a text or a dictionary by node; `listener`:
    ADDR:PORT, or None for the keywords' defaults. More keywords of the exposure follow by name."""
    config = {"DEFAULT": dict(default or {}), "ip#1": {"expose": "expose#0", **(ip or {})},
              "expose#0": {"type": "envoy", "port": str(port)}}
    if isinstance(address, dict):
        config["ip#1"].update({"ipname@" + node: where for node, where in address.items()})
        config["DEFAULT"].setdefault("nodes", " ".join(address))
    else:
        config["ip#1"]["ipname"] = address
        config["DEFAULT"].setdefault("nodes", "n1")
    if listener:
        where, _, number = listener.rpartition(":")
        config["expose#0"].update(listener_addr=where.strip("[]"), listener_port=number)
    config["expose#0"].update(expose)
    return config


def flex(addresses, listener, **more):
    """As l4(), up on all nodes that have an address."""
    return l4(addresses, listener, default={"topology": "flex"}, **more)


def l7(address, listener, domains, routes=None, certificates=None, port=8000, policies=None, **expose):
    """A service with one L7 exposure and one vhost. `routes`: a list of route sections; `certificates`: by id
    (`front` is certificate#front), sections; `policies`: a list of hashpolicy sections."""
    config = l4(address, listener, port, vhosts="vhost#0", **expose)
    if isinstance(address, dict):
        config["DEFAULT"]["topology"] = "flex"
    vhost = {"type": "envoy"}
    if domains is not None:
        vhost["domains"] = domains if isinstance(domains, str) else " ".join(domains)
    if routes:
        vhost["routes"] = " ".join("route#%d" % i for i in range(len(routes)))
    config["vhost#0"] = vhost
    for i, route in enumerate(routes or []):
        config["route#%d" % i] = {"type": "envoy", **route}
    for i, policy in enumerate(policies or []):
        config["hashpolicy#%d" % i] = {"type": "envoy", **policy}
    return with_certificates(config, certificates)


def with_certificates(config, certificates):
    """Certificates by id, on the listener of expose#0; a text is the name of a secret."""
    for name, section in (certificates or {}).items():
        if isinstance(section, str):
            section = {"certificate_secret": section}
        config["certificate#" + name] = {"type": "tls", **section}
    if certificates:
        config["expose#0"]["listener_certificates"] = " ".join("certificate#" + name for name in certificates)
    return config


class Lab:
    """A cluster of three nodes, its agent, igwd, and an Envoy, in one World. Listeners are at self.at(PORT)."""

    def __init__(self, world, nodes=("n1", "n2", "n3"), **options):
        self.world = world
        self.agent = world.agent(nodes=list(nodes), **options)
        self.igwd = self.envoy = None

    def at(self, port):
        return "%s:%d" % (self.world.ip(1), port)

    def add(self, path, config, **options):
        return self.agent.add_service(path, config, **options)

    def up(self, sotw=False, igwd=None, envoy=None):
        """Starts igwd, and an Envoy that is live."""
        self.igwd = self.world.igwd(agent=self.agent, **(igwd or {}))
        self.envoy = self.world.envoy(self.igwd, sotw=sotw, **(envoy or {})).wait_live()
        return self.envoy

    def following(self):
        """Waits until igwd subscribed and fetched."""
        wait_until(lambda: self.agent.subscribers and self.agent.count("daemon_status"), LIMIT,
                   "igwd to follow the agent")
