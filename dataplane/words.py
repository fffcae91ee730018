"""Kernel objects in the words that people know from `ip`, `bridge` and `sysctl`: for errors and logs. Pure."""

from __future__ import annotations

from dataplane.state import BLACKHOLE, TABLE_MAIN, Address, Bridge, FdbEntry, Ipip, Link, Neighbor, Route, Sysctl, Veth, Vxlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataplane.state import Object

_LINK_KINDS: dict[type[Link], str] = {Bridge: "bridge", Veth: "veth", Vxlan: "vxlan device", Ipip: "ipip device", Link: "link"}
_ROUTE_KINDS = {BLACKHOLE: "blackhole route", 7: "unreachable route"}


def words(item: Object) -> str:
    """For example `route 10.244.1.0/24 via 10.0.0.2 dev eth0`."""
    if isinstance(item, Route):
        return _route(item)
    if isinstance(item, Link):
        return _link(item)
    if isinstance(item, Address):
        return f"address {item.prefix} dev {item.device}"
    if isinstance(item, Neighbor):
        return f"neighbour {item.ip} lladdr {item.mac} dev {item.device}"
    if isinstance(item, FdbEntry):
        return f"fdb entry {item.mac} dst {item.dst} dev {item.device}"
    if isinstance(item, Sysctl):
        return f"sysctl {item.name} = {item.value}"
    return repr(item)


def _route(route: Route) -> str:
    parts = [_ROUTE_KINDS.get(route.type, "route"), "default" if route.dst.is_default else str(route.dst)]
    for word, value in (("via", route.via), ("dev", route.device), ("src", route.src)):
        if value is not None:
            parts += [word, str(value)]
    if route.metric:
        parts += ["metric", str(route.metric)]
    if route.table != TABLE_MAIN:
        parts += ["table", str(route.table)]
    return " ".join(parts + (["onlink"] if route.onlink else []))


def _link(link: Link) -> str:
    named = f"{_LINK_KINDS.get(type(link), 'link')} {link.name}"
    if isinstance(link, Vxlan):
        named += f" id {link.vni}"
    if isinstance(link, Veth) and link.peer is not None:
        named += f" peer {link.peer}"
    if isinstance(link, Veth) and link.peer_netns is not None:
        named += f" in {link.peer_netns}"
    return f"{named} master {link.master}" if link.master else named
