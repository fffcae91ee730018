"""The backends by their name in the network configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataplane.errors import ConfigError
from dataplane.state import Link, Vxlan
from dataplane.words import words
from flanneld_py.backend import host_gw, udp, vxlan

if TYPE_CHECKING:
    from collections.abc import Callable

    from flanneld_py.backend.common import Backend
    from flanneld_py.conf import NetworkConfig, Options
    from flanneld_py.lease import Lease

BACKENDS: dict[str, Callable[[Options], Backend]] = {
    "host-gw": host_gw.parse,
    "udp": udp.parse,
    "vxlan": vxlan.parse,
}


def backend_of(config: NetworkConfig) -> Backend:
    """The backend that the configuration names.

    Raises:
        ConfigError: there is no such backend, or one of its settings is wrong.
    """
    parse = BACKENDS.get(config.backend_type)
    if parse is None:
        raise ConfigError(f"{config.backend.where}: Type", config.backend_type, f"must be one of {', '.join(sorted(BACKENDS))}")
    return parse(config.backend)


def check_device(backend: Backend, found: Link | None) -> None:
    """Look at what has the name of the backend's device already: one of its kind is taken over, and changed at need.

    Raises:
        ConfigError: it is something else.
    """
    kind = Link if backend.tun_port else Vxlan  # the kernel's dump says no more about a TUN device
    if found is not None and type(found) is not kind:
        rule = f"has the name that backend {backend.lease_type or 'udp'} needs for its own device; remove or rename it"
        raise ConfigError(f"device {found.name}", words(found), rule)


def device_of(lease: Lease) -> str | None:
    """The device that a node has made for a lease of ours, whatever the configuration says by now."""
    if lease.backend_type == vxlan.VxlanBackend().lease_type:
        return vxlan.VxlanBackend(vni=vxlan.vni_of(lease.backend_data)).device
    return udp.DEVICE if lease.backend_type == udp.Udp().lease_type else None
