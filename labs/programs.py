"""What runs in a lab and with which settings: daemons' command lines, the network configuration, the conflist. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from labs.layout import Layout

NETWORK_NAME = "podwire"
CONFIG_KEY = "/coreos.com/network/config"  # flannel's default prefix
_ETCD_PORT = 2379


@dataclass(frozen=True, slots=True)
class Daemon:
    """A long-running program in the namespace of `machine`. Its pid is kept in `folder`, its output in `log`."""

    name: str
    machine: str
    program: tuple[str, ...]
    options: tuple[str, ...]  # no two daemons of a machine share them: by them a running one is recognised
    folder: str

    @property
    def argv(self) -> tuple[str, ...]:
        return self.program + self.options

    @property
    def log(self) -> str:
        return f"{self.folder}/{self.name}.log"

    @property
    def pid_file(self) -> str:
        return f"{self.folder}/{self.name}.pid"

    def __str__(self) -> str:
        return f"{self.name} on {self.machine}"


def store_daemon(layout: Layout) -> Daemon | None:
    """etcd on the outside host, where the lab has one."""
    if layout.topology.network.datastore != "etcd":
        return None
    machine = layout.topology.outside.name
    folder, url = layout.node_folder(machine), f"http://{layout.gateway}:{_ETCD_PORT}"
    options = ("--data-dir", f"{folder}/etcd", "--listen-client-urls", url, "--advertise-client-urls", url)
    return Daemon("etcd", machine, ("etcd",), ("--name", layout.name, *options), folder)


def store_address(layout: Layout) -> str:
    """As datastore.open.open_store wants it."""
    if layout.topology.network.datastore == "etcd":
        return f"http://{layout.gateway}:{_ETCD_PORT}"
    return f"sqlite:{layout.store_file}"


def node_daemons(layout: Layout, python: str) -> tuple[Daemon, ...]:
    """flanneld-py on every node, where the network needs one.

    Args:
        python: the interpreter that has podwire.
    """
    if layout.topology.network.plugin != "flannel":
        return ()
    return tuple(_flanneld(layout, node.name, python) for node in layout.topology.nodes)


def all_daemons(layout: Layout, python: str = "python3") -> tuple[Daemon, ...]:
    """The store's daemon, if there is one, and the nodes'."""
    store = store_daemon(layout)
    return (*([store] if store else []), *node_daemons(layout, python))


def _flanneld(layout: Layout, node: str, python: str) -> Daemon:
    local = layout.topology.network.datastore == "local"
    store = ("-local-subnet-mgr", layout.store_file) if local else ("-etcd-endpoints", store_address(layout))
    device = layout.topology.link_of(node).device
    options = (*store, "-iface", device, "-subnet-file", layout.subnet_file(node), "-ip-masq")
    return Daemon("flanneld", node, (python, "-m", "flanneld_py"), options, layout.node_folder(node))


def network_config(layout: Layout) -> str:
    """What flannel finds in the store under CONFIG_KEY."""
    network = layout.topology.network
    return json.dumps({"Network": str(network.range), "Backend": {"Type": network.backend}})


def conflist(layout: Layout, node: str) -> str:
    """The network configuration list of a node's runtime.

    The plugins' default folders are shared by the whole machine, so every one that keeps files is told the node's.
    """
    plugin = _flannel_plugin if layout.topology.network.plugin == "flannel" else _bridge_plugin
    document = {"cniVersion": "1.0.0", "name": NETWORK_NAME, "plugins": [plugin(layout, node)]}
    return json.dumps(document, indent=2) + "\n"


def _flannel_plugin(layout: Layout, node: str) -> dict[str, object]:
    folder = layout.node_folder(node)
    return {
        "type": "flannel",
        "subnetFile": layout.subnet_file(node),
        "dataDir": f"{folder}/cni-flannel",
        "ipam": {"dataDir": f"{folder}/cni-networks"},
        "delegate": {"hairpinMode": True, "isDefaultGateway": True},
    }


def _bridge_plugin(layout: Layout, node: str) -> dict[str, object]:
    return {
        "type": "bridge",
        "bridge": "cni0",
        "isDefaultGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": f"{layout.node_folder(node)}/cni-networks",
            "ranges": [[{"subnet": str(layout.topology.network.range)}]],
        },
    }
