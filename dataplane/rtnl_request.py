"""From an operation (plan.py) to the rtnetlink requests that carry it out. Pure.

    add       CREATE | EXCL: the kernel answers EEXIST if the place is taken
    set       CREATE | REPLACE; a link's settings, in one request, then its flags as a bridge port
    remove    what is absent already is as good as removed

The kernel keeps broadcast and scope of an IPv4 address for its life, so `set` on an address deletes it and adds it anew.
"""

from __future__ import annotations

from errno import EADDRNOTAVAIL, ENODEV, ENOENT, ESRCH

from dataplane.plan import ADD, REMOVE, SET
from dataplane.rtnl import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    RTM_SETLINK,
)
from dataplane.rtnl_device import encode_address, encode_fdb_entry, encode_neighbor
from dataplane.rtnl_link import PORT_FIELDS, encode_link_removal, encode_new_link, encode_port, encode_settings
from dataplane.rtnl_route import encode_route, encode_route_removal
from dataplane.state import Address, FdbEntry, Link, Neighbor, Object, Route, differing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dataplane.plan import Op

    Request = tuple[int, int, bytes]  # nlmsg_type, nlmsg_flags, body
    Encoder = Callable[[Object, Mapping[str, int]], bytes]

ABSENT = frozenset({ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL})
SETTINGS = ("up", "mtu", "mac", "master", "promisc")

_REMOVALS = frozenset({RTM_DELLINK, RTM_DELADDR, RTM_DELNEIGH, RTM_DELROUTE})
_NEW_FLAGS = {ADD: NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, SET: NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE}

# new, delete, and what encodes each
_ENCODERS: dict[type[Object], tuple[int, int, Encoder, Encoder]] = {
    Route: (RTM_NEWROUTE, RTM_DELROUTE, encode_route, encode_route_removal),  # type: ignore[dict-item]
    Address: (RTM_NEWADDR, RTM_DELADDR, encode_address, encode_address),  # type: ignore[dict-item]
    Neighbor: (RTM_NEWNEIGH, RTM_DELNEIGH, encode_neighbor, encode_neighbor),  # type: ignore[dict-item]
    FdbEntry: (RTM_NEWNEIGH, RTM_DELNEIGH, encode_fdb_entry, encode_fdb_entry),  # type: ignore[dict-item]
}


def requests(op: Op, indices: Mapping[str, int], netns_fds: Mapping[str, int]) -> tuple[Request, ...]:
    """What to send for one operation, in order.

    Args:
        op: on a link, address, route, neighbour or forwarding entry.
        indices: device indices by name.
        netns_fds: open namespaces by path, for the peers of new veths.

    Raises:
        KeyError: a device or namespace is not in the tables.
    """
    item = op.item
    if isinstance(item, Link):
        return _link_requests(op, item, indices, netns_fds)
    new, delete, encode, encode_removal = _ENCODERS[type(item)]
    if op.verb == REMOVE:
        return ((delete, NLM_F_REQUEST, encode_removal(item, indices)),)
    addition = (new, _NEW_FLAGS[op.verb], encode(item, indices))
    if isinstance(op.found, Address):
        return ((delete, NLM_F_REQUEST, encode_removal(op.found, indices)), (new, _NEW_FLAGS[ADD], addition[2]))
    return (addition,)


def _link_requests(op: Op, link: Link, indices: Mapping[str, int], netns_fds: Mapping[str, int]) -> tuple[Request, ...]:
    if op.verb == REMOVE:
        return ((RTM_DELLINK, NLM_F_REQUEST, encode_link_removal(link)),)
    if op.verb == SET:
        return _setting_requests(link, _wished(link) if op.found is None else differing(link, op.found), indices)
    if type(link) is Link:  # somebody else's to make: if it is absent the kernel says so
        return _setting_requests(link, [name for name in _wished(link) if name != "up"], indices)
    return ((RTM_NEWLINK, _NEW_FLAGS[ADD], encode_new_link(link, indices, netns_fds)),)


def _wished(link: Link) -> list[str]:
    return [name for name in (*SETTINGS, *PORT_FIELDS) if link.__dict__[name] is not None]


def _setting_requests(link: Link, fields: list[str] | tuple[str, ...], indices: Mapping[str, int]) -> tuple[Request, ...]:
    port = [name for name in fields if name in PORT_FIELDS]
    found: tuple[Request, ...] = ()
    if len(port) < len(fields) or not fields:
        found = ((RTM_SETLINK, NLM_F_REQUEST, encode_settings(link, fields, indices)),)
    return (*found, (RTM_SETLINK, NLM_F_REQUEST, encode_port(link, port, indices))) if port else found


def is_done(kind: int, errno: int) -> bool:
    """Whether a request of this type that was answered with `errno` has reached its goal all the same."""
    return kind in _REMOVALS and errno in ABSENT
