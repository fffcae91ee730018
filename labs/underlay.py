"""Make a lab's namespaces and cables, and remove them. Nothing but the namespaces' names is made in the namespace we run in."""

from __future__ import annotations

import os

from dataplane.drivers.host import HostKernel
from dataplane.drivers.netns import create, delete
from dataplane.errors import ConfigError, KernelError
from dataplane.reconcile import reconcile
from dataplane.state import Object
from labs.layout import Layout
from labs.wiring import desired_wiring, wiring_owner


def refuse_taken(layout: Layout) -> None:
    """Raises ConfigError if something of the lab's names exists already."""
    taken = [path for path in layout.namespaces if os.path.lexists(path)]
    if taken:
        raise ConfigError(
            "namespace", taken[0], "exists already, but not as a part of this lab; choose another --name or remove it"
        )


def create_namespaces(layout: Layout) -> None:
    """Raises KernelError."""
    for path in layout.namespaces:
        create(path)


def wire(layout: Layout) -> None:
    """Cables, addresses and routes of all machines, and the pods' loopback. Raises KernelError."""
    for name, items in desired_wiring(layout).items():
        _apply(layout.netns(name), items)


def delete_namespaces(layout: Layout) -> None:
    """All namespaces of the lab that are there; the devices inside go with them. Raises KernelError."""
    for path in layout.namespaces:
        delete(path)


def _apply(netns: str, items: frozenset[Object]) -> None:
    with HostKernel(netns) as kernel:
        turn = reconcile(kernel, items, wiring_owner(items))
    for failure in turn.failures:
        raise failure.error
    for wanted, found in turn.conflicts:
        raise KernelError(f"wire {netns}", f"{found!r} stands where {wanted!r} should")
