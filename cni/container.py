"""The container's namespace as both bridge and ptp use it: ask whether it is one, open it, wait until its addresses can be used."""

from __future__ import annotations

import os
from time import monotonic, sleep

from cni.errors import INVALID_ENVIRONMENT, TRY_AGAIN_LATER, UNKNOWN_CONTAINER, CniError
from cni.result import Interface
from dataplane.drivers.netns import entered, is_netns
from dataplane.ownership import Scope
from dataplane.state import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataplane.kernel import Kernel

_DAD_WAIT_S, _DAD_PAUSE_S = 5.0, 0.02
_IF_INET6 = "/proc/thread-self/net/if_inet6"
_TENTATIVE, _DAD_FAILED = 0x40, 0x08  # ifa_flags, column 5 of if_inet6


def has_ipv6() -> bool:
    """Whether this kernel has IPv6; without it there are no settings of it either."""
    return os.path.exists("/proc/sys/net/ipv6")


def require_netns(path: str) -> None:
    """Raises CniError code 3 where the container's namespace does not exist: nothing was made, no DEL is needed."""
    if not is_netns(path):
        raise CniError(
            UNKNOWN_CONTAINER,
            f'failed to open netns "{path}": no such network namespace',
            "CNI_NETNS names none; the container is gone",
        )


def require_free(container: Kernel, ifname: str, netns: str) -> None:
    """Raises CniError where the container has such an interface: ADD never takes over what is there."""
    if find_link(container, ifname) is not None:
        raise CniError(
            INVALID_ENVIRONMENT,
            f'container veth name ("{ifname}") already exists',
            f"CNI_IFNAME={ifname} in {netns}; call DEL, or choose another name",
        )


def interface(kernel: Kernel, name: str, sandbox: str = "") -> Interface:
    """A device for the result, with the MAC address that the kernel gave it."""
    link = find_link(kernel, name)
    return Interface(name, link.mac if link else None, sandbox, mtu=(link.mtu or 0) if link else 0)


def find_link(kernel: Kernel, name: str) -> Link | None:
    return next((item for item in kernel.read(Scope(links=frozenset({name}))) if isinstance(item, Link)), None)


def wait_for_dad(netns: str, ifname: str) -> None:
    """Wait until no address of the interface is tentative any more (RFC 4862, 5.4).

    Raises:
        CniError: another host has one of the addresses; or the kernel did not finish in time, code 11.
    """
    deadline_s = monotonic() + _DAD_WAIT_S
    while True:
        flags = _ipv6_flags(netns, ifname)
        failed = [address for address, value in flags.items() if value & _DAD_FAILED]
        if failed:
            raise CniError(
                INVALID_ENVIRONMENT,
                f"{ifname}: address {failed[0]} is in use by another host",
                "duplicate address detection failed",
            )
        if not any(value & _TENTATIVE for value in flags.values()):
            return
        if monotonic() > deadline_s:
            raise CniError(
                TRY_AGAIN_LATER, f"{ifname}: IPv6 addresses are still tentative after {_DAD_WAIT_S:g} s", "is the link up?"
            )
        sleep(_DAD_PAUSE_S)


def _ipv6_flags(netns: str, ifname: str) -> dict[str, int]:
    """ifa_flags by address (32 hex digits)."""
    with entered(netns), open(_IF_INET6, encoding="ascii") as file:
        rows = [line.split() for line in file]
    return {row[0]: int(row[4], 16) for row in rows if row[5] == ifname}
