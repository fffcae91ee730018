"""What a lab looks like: machines, links and the pod network between them, as checked values. Pure.

`labs/topology_file.py` reads them from YAML.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataplane.errors import ConfigError
from dataplane.inet import IP, Prefix

MAX_NODES, MAX_PODS = 50, 100  # MAX_PODS is per node; what one machine carries at ease
FIRST_NODE_OFFSET = 11  # the first node is .11 of the underlay; below are the gateway and room for machines to come


@dataclass(frozen=True, slots=True)
class Network:
    """How pods are joined. `backend` and `datastore` mean something for flannel only, and are empty otherwise."""

    plugin: str
    range: Prefix
    backend: str = ""
    datastore: str = ""


@dataclass(frozen=True, slots=True)
class Switch:
    """The underlay: one bridge, one subnet."""

    name: str
    subnet: Prefix


@dataclass(frozen=True, slots=True)
class Outside:
    """The rest of the world, in one host."""

    name: str
    address: IP


@dataclass(frozen=True, slots=True)
class Node:
    """A machine that runs pods."""

    name: str
    pods: int

    @property
    def pod_names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}-pod{number}" for number in range(1, self.pods + 1))


@dataclass(frozen=True, slots=True)
class Link:
    """A cable from a machine's device to a port of the switch."""

    machine: str
    device: str
    port: str


@dataclass(frozen=True, slots=True)
class Topology:
    """All of a lab, checked: every machine has one link, every name is there, addresses suffice."""

    name: str
    summary: str
    network: Network
    switch: Switch
    outside: Outside
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]

    def link_of(self, machine: str) -> Link:
        return next(link for link in self.links if link.machine == machine)


def check_topology(topology: Topology, where: str) -> None:
    """What no single key can tell: every machine has one link, ports differ, addresses suffice and do not overlap.

    Raises:
        ConfigError: as parse_topology.
    """
    _check_links(topology, where)
    _check_addresses(topology, where)
    _check_names(topology, where)
    network, nodes = topology.network, topology.nodes
    place = f"{where}: topology.nodes"
    if not 1 <= len(nodes) <= MAX_NODES:
        raise ConfigError(place, len(nodes), f"there must be 1 to {MAX_NODES} nodes of kind node")
    if network.plugin == "bridge" and len(nodes) > 1:
        raise ConfigError(place, len(nodes), "the plugin bridge joins the pods of one node only; for more nodes use flannel")


def _check_names(topology: Topology, where: str) -> None:
    pods = {pod for node in topology.nodes for pod in node.pod_names}
    for name in (topology.switch.name, topology.outside.name, *(node.name for node in topology.nodes)):
        if name in pods:
            raise ConfigError(
                f"{where}: topology.nodes", name, "is the name of a pod; pods are called NODE-pod1, NODE-pod2 and so on"
            )


def _check_links(topology: Topology, where: str) -> None:
    place = f"{where}: topology.links"
    for machine in (topology.outside.name, *(node.name for node in topology.nodes)):
        count = sum(link.machine == machine for link in topology.links)
        if count != 1:
            raise ConfigError(place, machine, f"must stand in exactly one link, but stands in {count}")
    ports = [link.port for link in topology.links]
    twice = sorted({port for port in ports if ports.count(port) > 1})
    if twice:
        raise ConfigError(place, twice, f"each port of {topology.switch.name} carries one link")


def _check_addresses(topology: Topology, where: str) -> None:
    network, subnet = topology.network, topology.switch.subnet
    if network.range.overlaps(subnet):
        raise ConfigError(f"{where}: network.range", str(network.range), f"must not overlap the underlay, {subnet}")
    if topology.outside.address in network.range or topology.outside.address in subnet:
        raise ConfigError(
            f"{where}: topology.nodes.{topology.outside.name}.address",
            str(topology.outside.address),
            f"must lie outside the pods' range {network.range} and the underlay {subnet}",
        )
    last_offset = int(subnet.last) - int(subnet.first)  # the broadcast address
    if FIRST_NODE_OFFSET + len(topology.nodes) > last_offset:
        raise ConfigError(
            f"{where}: topology.nodes.{topology.switch.name}.subnet", str(subnet), f"is too small for {len(topology.nodes)} nodes"
        )
    free = int(network.range.last) - int(network.range.first) - 2  # network, gateway and broadcast addresses are not for pods
    for node in topology.nodes:
        if network.plugin == "bridge" and node.pods > free:
            raise ConfigError(
                f"{where}: topology.nodes.{node.name}.pods", node.pods, f"{network.range} has {free} addresses for pods"
            )
