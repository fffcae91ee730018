"""The veth pair of an attachment: what its host end is called, and how DEL knows it without the container. Pure.

The reference draws the name at random. Here it is a hash of (network, container, interface), so that a process with no memory,
no prevResult and no namespace to look into still finds its own. A name may be taken for a moment by a dead container's leftover
that the kernel has not cleared yet, so there are a few of them.
"""

from __future__ import annotations

from cni.digest import hashed_name
from cni.errors import TRY_AGAIN_LATER, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from cni.result import Result

_PREFIX = "veth"
_LENGTH = 12  # veth and 8 hex digits, the reference's form
_NAMES = 4


def host_names(network: str, container_id: str, ifname: str) -> tuple[str, ...]:
    """Names that the host end may have. Slashes cannot stand in any of the three, so no two attachments share a text."""
    return tuple(hashed_name(_PREFIX, f"{network}/{container_id}/{ifname}/{i}", _LENGTH) for i in range(_NAMES))


def free_name(names: tuple[str, ...], taken: Collection[str]) -> str:
    """The first name that is not taken.

    Raises:
        CniError: code 11: all are.
    """
    for name in names:
        if name not in taken:
            return name
    raise CniError(
        TRY_AGAIN_LATER, f"all names for the host's end are taken: {', '.join(names)}", "call DEL for this attachment first"
    )


def host_ends(result: Result, bridge: str = "") -> tuple[str, ...]:
    """Devices of the host that a result tells of, without the bridge: the host's end of a pair that another program made."""
    return tuple(item.name for item in result.interfaces if not item.sandbox and item.name != bridge)
