"""What of a lab is there right now, read from the kernel and not from memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dataplane.drivers.netns import is_netns
from dataplane.inet import IP
from labs.check import read_addresses
from labs.layout import Layout
from labs.processes import pid_of
from labs.programs import Daemon, all_daemons
from labs.state import RUNNING, LabState


@dataclass(frozen=True, slots=True)
class MachineStatus:
    """A node or the outside host. `daemon` is the name of what should run there, `pid` is None if it does not."""

    name: str
    netns: str
    there: bool
    address: IP
    subnet: str | None
    daemon: str | None
    pid: int | None

    @property
    def ok(self) -> bool:
        return self.there and (self.daemon is None or self.pid is not None)

    @property
    def daemon_text(self) -> str:
        if self.daemon is None:
            return "-"
        return f"{self.daemon} (pid {self.pid})" if self.pid is not None else f"{self.daemon} ended"

    @property
    def netns_text(self) -> str:
        return _netns_text(self.netns, self.there)


@dataclass(frozen=True, slots=True)
class PodStatus:
    """A pod and the addresses that it has."""

    name: str
    node: str
    netns: str
    there: bool
    addresses: tuple[IP, ...]

    @property
    def ok(self) -> bool:
        return self.there and bool(self.addresses)

    @property
    def netns_text(self) -> str:
        return _netns_text(self.netns, self.there)


@dataclass(frozen=True, slots=True)
class LabStatus:
    """All of a lab. `ok` if it was put up to the end and every part is there."""

    name: str
    backend: str
    datastore: str
    phase: str
    nodes: tuple[MachineStatus, ...]
    pods: tuple[PodStatus, ...]

    @property
    def ok(self) -> bool:
        return self.phase == RUNNING and all(node.ok for node in self.nodes) and all(pod.ok for pod in self.pods)

    def document(self) -> dict[str, object]:
        return {
            "lab": self.name,
            "backend": self.backend,
            "datastore": self.datastore,
            "phase": self.phase,
            "ok": self.ok,
            "nodes": [_machine_document(node) for node in self.nodes],
            "pods": [_pod_document(pod) for pod in self.pods],
        }


def lab_status(state: LabState) -> LabStatus:
    """Raises KernelError if a namespace that is there cannot be read."""
    layout, network = state.layout, state.layout.topology.network
    daemons = {daemon.machine: daemon for daemon in all_daemons(layout)}
    addresses = read_addresses(layout)
    return LabStatus(
        name=layout.name,
        backend=network.backend or network.plugin,
        datastore=network.datastore,
        phase=state.phase,
        nodes=tuple(_machine(layout, name, daemons.get(name)) for name in layout.machines[1:]),  # the switch has nothing to tell
        pods=tuple(PodStatus(pod.name, pod.node, pod.netns, is_netns(pod.netns), addresses[pod.name]) for pod in layout.pods),
    )


def _machine(layout: Layout, name: str, daemon: Daemon | None) -> MachineStatus:
    netns = layout.netns(name)
    pid = pid_of(layout, daemon) if daemon is not None else None
    address = layout.address_of(name).address
    return MachineStatus(name, netns, is_netns(netns), address, _subnet(layout, name), daemon.name if daemon else None, pid)


def _subnet(layout: Layout, node: str) -> str | None:
    path = layout.subnet_file(node)
    if not os.path.exists(path):
        return None
    lines = Path(path).read_text(encoding="ascii").splitlines()
    return next((line.partition("=")[2] for line in lines if line.startswith("FLANNEL_SUBNET=")), None)


def _netns_text(path: str, there: bool) -> str:
    return os.path.basename(path) if there else "missing"


def _machine_document(node: MachineStatus) -> dict[str, object]:
    daemon = {"name": node.daemon, "pid": node.pid} if node.daemon else None
    return {
        "name": node.name,
        "netns": node.netns,
        "ok": node.ok,
        "address": str(node.address),
        "subnet": node.subnet,
        "daemon": daemon,
    }


def _pod_document(pod: PodStatus) -> dict[str, object]:
    return {"name": pod.name, "node": pod.node, "netns": pod.netns, "ok": pod.ok, "addresses": [str(ip) for ip in pod.addresses]}
