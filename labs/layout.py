"""Where everything of a lab is and what it is called: paths, namespaces, addresses, pods. Pure.

All that a lab makes follows from its topology alone, so what an interrupted `up` left behind can be found again without having
been written down piece by piece. A lab named `flannel` has

    /run/podwire/lab/flannel/                  its folder; /run/podwire/lab/flannel/node1/ for what node1 keeps
    /run/netns/pw-flannel-node1                one namespace a machine
    /run/netns/pw-flannel-node1-pod1           one namespace a pod
"""

from __future__ import annotations

from dataclasses import dataclass

from dataplane.inet import IP, Mac, Prefix
from labs.topology import FIRST_NODE_OFFSET, Node, Topology

ROOT = "/run/podwire/lab"
NETNS_FOLDER = "/run/netns"  # where iproute2 looks: `ip netns exec pw-flannel-node1 ip addr` works
SWITCH_DEVICE = "br0"
_MAC_HEAD = b"\x0a\x58"  # locally administered; the address follows, as the bridge plugin does it for pods


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod: one namespace with one device, attached on a node."""

    name: str
    node: str
    netns: str  # path
    container_id: str


@dataclass(frozen=True, slots=True)
class Layout:
    """A topology with its places. `root` is where labs have their folders."""

    topology: Topology
    root: str = ROOT

    @property
    def name(self) -> str:
        return self.topology.name

    @property
    def folder(self) -> str:
        return f"{self.root}/{self.name}"

    @property
    def plugin_folder(self) -> str:
        """Where this lab's copy of the CNI plugins is."""
        return f"{self.folder}/cni/bin"

    @property
    def store_file(self) -> str:
        """The embedded store's file, with the datastore `local`."""
        return f"{self.folder}/store.db"

    def node_folder(self, node: str) -> str:
        return f"{self.folder}/{node}"

    def subnet_file(self, node: str) -> str:
        return f"{self.node_folder(node)}/subnet.env"

    def conflist(self, node: str) -> str:
        return f"{self.node_folder(node)}/net.d/10-podwire.conflist"

    def cache_folder(self, node: str) -> str:
        """Where the runtime keeps the results of its ADDs, for DEL."""
        return f"{self.node_folder(node)}/cni-cache"

    def netns(self, name: str) -> str:
        """The path of the namespace of a machine or pod."""
        return f"{NETNS_FOLDER}/pw-{self.name}-{name}"

    @property
    def machines(self) -> tuple[str, ...]:
        topology = self.topology
        return (topology.switch.name, topology.outside.name, *(node.name for node in topology.nodes))

    @property
    def pods(self) -> tuple[Pod, ...]:
        return tuple(pod for node in self.topology.nodes for pod in self.pods_of(node))

    def pods_of(self, node: Node) -> tuple[Pod, ...]:
        return tuple(Pod(name, node.name, self.netns(name), f"pw-{self.name}-{name}") for name in node.pod_names)

    def pod(self, name: str) -> Pod | None:
        return next((pod for pod in self.pods if pod.name == name), None)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The paths of all namespaces, machines first."""
        return tuple(self.netns(name) for name in (*self.machines, *(pod.name for pod in self.pods)))

    @property
    def gateway(self) -> IP:
        """The outside host's address on the underlay: everybody's default gateway, and where etcd listens."""
        return self.topology.switch.subnet.first + 1

    def address_of(self, machine: str) -> Prefix:
        """A machine's address on the underlay, with the underlay's prefix length."""
        subnet = self.topology.switch.subnet
        if machine == self.topology.outside.name:
            return Prefix(self.gateway, subnet.length)
        number = [node.name for node in self.topology.nodes].index(machine)
        return Prefix(subnet.first + FIRST_NODE_OFFSET + number, subnet.length)

    def mac_of(self, machine: str) -> Mac:
        """A machine's MAC on the underlay. It spells the address, so that a reader of a trace knows whose it is."""
        return Mac(_MAC_HEAD + self.address_of(machine).address)
