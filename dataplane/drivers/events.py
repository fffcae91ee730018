"""What changed in a namespace, as the kernel tells it: only the kind, since whoever hears it reads everything again.

So a lost event costs nothing as long as the loss is heard of: when the queue overflowed, every kind may have changed. Our own
changes are told like all others. "neighbor" also covers forwarding entries.
"""

from __future__ import annotations

from _socket import AF_NETLINK, SOCK_RAW, socket
from errno import EAGAIN, ENOBUFS

from dataplane.drivers.netlink_socket import DATAGRAM_BYTES, NETLINK_ROUTE, SOCK_CLOEXEC, SOL_NETLINK
from dataplane.drivers.netns import entered
from dataplane.errors import KernelError
from dataplane.rtnl import (
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    RtnlError,
    messages,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NETLINK_ADD_MEMBERSHIP = 1
SOCK_NONBLOCK = 0o4000

KINDS = frozenset({"link", "address", "route", "neighbor"})

# rtnetlink_groups, from <linux/rtnetlink.h>
_GROUPS = {"link": (1,), "neighbor": (3,), "address": (5, 9), "route": (7, 11)}
_KIND_OF = {
    RTM_NEWLINK: "link",
    RTM_DELLINK: "link",
    RTM_NEWADDR: "address",
    RTM_DELADDR: "address",
    RTM_NEWROUTE: "route",
    RTM_DELROUTE: "route",
    RTM_NEWNEIGH: "neighbor",
    RTM_DELNEIGH: "neighbor",
}


class NetlinkEvents:
    """A subscription in the namespace at `netns` (None: this thread's) to the kinds named in `groups`.

    Raises:
        KernelError: the namespace cannot be entered, or the kernel refuses.
    """

    def __init__(self, netns: str | None = None, groups: Iterable[str] = KINDS) -> None:
        self._kinds = frozenset(groups)
        unknown = self._kinds - KINDS
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: events are told for {', '.join(sorted(KINDS))}")
        try:
            with entered(netns):
                self._socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE)
            self._socket.bind((0, 0))  # a socket without a port is told nothing
            for kind in sorted(self._kinds):
                for group in _GROUPS[kind]:
                    self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        except OSError as error:
            raise KernelError("subscribe to network events", error.strerror or str(error), error.errno or 0) from error

    def fileno(self) -> int:
        """Readable when something changed."""
        return self._socket.fileno()

    def drain(self) -> frozenset[str]:
        """The kinds that changed since the last call; all that were asked for if events were lost. Never blocks.

        Raises:
            KernelError: the subscription is broken; make a new one.
        """
        changed: set[str] = set()
        while True:
            try:
                changed |= {_KIND_OF.get(event.kind, "") for event in messages(self._socket.recv(DATAGRAM_BYTES))}
            except RtnlError:
                changed |= self._kinds
            except OSError as error:
                if error.errno == EAGAIN:
                    return self._kinds & changed
                if error.errno != ENOBUFS:
                    raise KernelError("read network events", error.strerror or str(error), error.errno or 0) from error
                changed |= self._kinds

    def close(self) -> None:
        self._socket.close()
