"""Topology files: YAML to values and back, and what the command line may say instead. Pure.

A file reads like one of containerlab's: a name, and a `topology` of `nodes` (each of a `kind`) and `links` (pairs of
`node:device` endpoints). What is particular to pods stands under `network`.

    kind        is
    bridge      the switch that joins the machines: the underlay; exactly one
    internet    everybody's default gateway, which also has an address that stands for the rest of the world; exactly one
    node        a machine with a container runtime's plugins, and a daemon if the network needs one
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from dataplane.errors import ConfigError
from labs.layout import SWITCH_DEVICE
from labs.strict import Fields, at, load_yaml, text_at
from labs.topology import MAX_NODES, MAX_PODS, Link, Network, Node, Outside, Switch, Topology, check_topology

PLUGINS = ("bridge", "flannel")
BACKENDS = ("udp", "vxlan", "host-gw")
DATASTORES = ("local", "etcd")
KINDS = ("bridge", "internet", "node")

LAB_NAME, LAB_NAME_LIKE = r"[a-z][a-z0-9-]{0,31}", "1 to 32 lower-case letters, digits or dashes, a letter first (example: flannel)"
_NAME, _NAME_LIKE = r"[a-z][a-z0-9-]{0,11}", "1 to 12 lower-case letters, digits or dashes, a letter first (example: node1)"
_DEVICE = r"[a-z][a-z0-9-]{0,14}"  # IFNAMSIZ is 16 with the final zero
_NO_DEVICES = ("all", "default")  # the kernel refuses them: in its settings they mean every device, and those to come
_TAKEN_DEVICES = ("lo", "cni0", "flannel0", *_NO_DEVICES)  # made by others inside a node
_TAKEN_PORTS = ("lo", SWITCH_DEVICE, *_NO_DEVICES)
_KEYS_OF_KIND = {"bridge": ("kind", "subnet"), "internet": ("kind", "address"), "node": ("kind", "pods")}


def parse_topology(text: str, where: str) -> Topology:
    """A topology from YAML.

    Raises:
        ConfigError: names `where`, the key path, the value and what is allowed.
    """
    return read_topology(load_yaml(text, where), where)


def read_topology(document: object, where: str) -> Topology:
    """A topology from plain values (see `document_of`, its inverse).

    Raises:
        ConfigError: as parse_topology.
    """
    root = Fields(document, where, ("name", "summary", "network", "topology"))
    body = Fields(root.get("topology"), root.place("topology"), ("nodes", "links"))
    machines = Fields(body.get("nodes"), body.place("nodes"), None)
    kinds = {name: _kind(machines, name) for name in machines.names()}
    topology = Topology(
        name=root.text("name", pattern=LAB_NAME, like=LAB_NAME_LIKE),
        summary=root.text("summary", default=""),
        network=_network(Fields(root.get("network"), root.place("network"), ("plugin", "range", "backend", "datastore"))),
        switch=_switch(machines, _only(machines, kinds, "bridge")),
        outside=_outside(machines, _only(machines, kinds, "internet")),
        nodes=tuple(_node(machines, name) for name, kind in kinds.items() if kind == "node"),
        links=_links(body, kinds),
    )
    check_topology(topology, where)
    return topology


def _kind(machines: Fields, name: str) -> str:
    text_at(name, machines.where, pattern=_NAME, like=_NAME_LIKE)
    fields = Fields(machines.get(name), machines.place(name), None)
    kind = fields.text("kind", choices=KINDS)
    Fields(machines.get(name), machines.place(name), _KEYS_OF_KIND[kind])
    return kind


def _only(machines: Fields, kinds: dict[str, str], kind: str) -> str:
    names = [name for name, its_kind in kinds.items() if its_kind == kind]
    if len(names) != 1:
        raise ConfigError(machines.where, names, f"there must be exactly one node of kind {kind}")
    return names[0]


def _switch(machines: Fields, name: str) -> Switch:
    fields = Fields(machines.get(name), machines.place(name), None)
    return Switch(name, fields.ipv4_network("subnet", 16, 28))


def _outside(machines: Fields, name: str) -> Outside:
    return Outside(name, Fields(machines.get(name), machines.place(name), None).ipv4("address"))


def _node(machines: Fields, name: str) -> Node:
    return Node(name, Fields(machines.get(name), machines.place(name), None).integer("pods", 0, MAX_PODS, default=1))


def _network(fields: Fields) -> Network:
    plugin = fields.text("plugin", choices=PLUGINS)
    if plugin == "flannel":
        return Network(
            plugin,
            fields.ipv4_network("range", 8, 20),
            fields.text("backend", default="vxlan", choices=BACKENDS),
            fields.text("datastore", default="local", choices=DATASTORES),
        )
    for key in ("backend", "datastore"):
        if fields.has(key):
            raise ConfigError(fields.place(key), fields.get(key), f"means nothing to the plugin {plugin}; leave it out")
    return Network(plugin, fields.ipv4_network("range", 8, 29))


def _links(body: Fields, kinds: dict[str, str]) -> tuple[Link, ...]:
    where = body.place("links")
    return tuple(_link(item, at(where, number), kinds) for number, item in enumerate(body.items("links")))


def _link(item: object, where: str, kinds: dict[str, str]) -> Link:
    fields = Fields(item, where, ("endpoints",))
    ends = fields.items("endpoints")
    if len(ends) != 2:
        raise ConfigError(fields.place("endpoints"), ends, 'must be two, like ["node1:eth0", "underlay:node1"]')
    pairs = [_endpoint(end, at(fields.place("endpoints"), number), kinds) for number, end in enumerate(ends)]
    pairs.sort(key=lambda pair: kinds[pair[0]] == "bridge")
    (machine, device), (switch, port) = pairs
    if kinds[switch] != "bridge" or kinds[machine] == "bridge":
        raise ConfigError(fields.place("endpoints"), ends, "must join a machine and the node of kind bridge")
    for name, taken in ((device, _TAKEN_DEVICES), (port, _TAKEN_PORTS)):
        if name in taken:
            raise ConfigError(fields.place("endpoints"), name, f"is a name that others have; not allowed here: {', '.join(taken)}")
    return Link(machine, device, port)


def _endpoint(value: object, where: str, kinds: dict[str, str]) -> tuple[str, str]:
    like = "NODE:DEVICE, like node1:eth0, the device of at most 15 characters"
    text = text_at(value, where, pattern=rf"[^:]+:{_DEVICE}", like=like)
    machine, _, device = text.partition(":")
    if machine not in kinds:
        raise ConfigError(where, text, f"no node has that name; there are: {', '.join(kinds)}")
    return machine, device


def with_options(
    topology: Topology,
    *,
    name: str | None = None,
    backend: str | None = None,
    nodes: int | None = None,
    pods: int | None = None,
    datastore: str | None = None,
) -> Topology:
    """The topology with what the command line says instead.

    Raises:
        ConfigError: an option that means nothing here, or a value that is not possible.
    """
    document = document_of(topology)
    network = document["network"]
    assert isinstance(network, dict)  # noqa: S101  for the type checker
    for option, choice in (("backend", backend), ("datastore", datastore)):
        if choice is not None and topology.network.plugin != "flannel":
            raise ConfigError(f"--{option}", choice, f"means nothing to the topology {topology.name}; leave it out")
        if choice is not None:
            network[option] = choice
    for option, value, low, high in (("nodes", nodes, 1, MAX_NODES), ("pods", pods, 0, MAX_PODS)):
        if value is not None and not low <= value <= high:
            raise ConfigError(f"--{option}", value, f"must be a whole number from {low} to {high}")
    changed = read_topology({**document, "name": topology.name if name is None else name}, "command line")
    if nodes is not None:
        changed = _resized(changed, nodes)
    if pods is not None:
        changed = replace(changed, nodes=tuple(replace(node, pods=pods) for node in changed.nodes))
    check_topology(changed, "command line")
    return changed


def _resized(topology: Topology, wanted: int) -> Topology:
    """The first `wanted` nodes; where the file has fewer, more that are like its last one."""
    kept, last = topology.nodes[:wanted], topology.nodes[-1]
    gone = {node.name for node in topology.nodes[wanted:]}
    links = tuple(link for link in topology.links if link.machine not in gone)
    taken = {topology.switch.name, topology.outside.name, *(node.name for node in kept), *(link.port for link in links)}
    free = (name for name in (f"node{number}" for number in count(len(kept) + 1)) if name not in taken)
    new = [next(free) for _ in range(wanted - len(kept))]
    device = topology.link_of(last.name).device
    return replace(
        topology,
        nodes=kept + tuple(Node(name, last.pods) for name in new),
        links=links + tuple(Link(name, device, name) for name in new),
    )


def document_of(topology: Topology) -> dict[str, object]:
    """The topology as the plain values of its file."""
    network = topology.network
    options = {key: value for key, value in (("backend", network.backend), ("datastore", network.datastore)) if value}
    machines: dict[str, object] = {
        topology.switch.name: {"kind": "bridge", "subnet": str(topology.switch.subnet)},
        topology.outside.name: {"kind": "internet", "address": str(topology.outside.address)},
    }
    machines.update({node.name: {"kind": "node", "pods": node.pods} for node in topology.nodes})
    links = [{"endpoints": [f"{link.machine}:{link.device}", f"{topology.switch.name}:{link.port}"]} for link in topology.links]
    return {
        "name": topology.name,
        "summary": topology.summary,
        "network": {"plugin": network.plugin, "range": str(network.range), **options},
        "topology": {"nodes": machines, "links": links},
    }
