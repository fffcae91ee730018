"""Which entries of a node's tables send a packet on its way: route, then neighbour, then forwarding entry. Pure.

That is the chain flannel's VXLAN backend programs: the route names the far VTEP as gateway, the neighbour entry turns that into the
VTEP's MAC, and the forwarding entry of the VXLAN device turns the MAC into the far node's address.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.inet import IP, Mac
from dataplane.state import FdbEntry, Neighbor, Object, Route


def explain(objects: Iterable[Object], dst: IP, device: str) -> tuple[str, ...]:
    """The entries that a packet to `dst` follows out of `device`, in the words of iproute2."""
    known = tuple(objects)
    route = best_route(known, dst, device)
    if route is None:
        return ()
    lines = [_route_text(route)]
    neighbor = next((o for o in known if isinstance(o, Neighbor) and (o.device, o.ip) == (device, route.via)), None)
    if neighbor is not None:
        lines.append(f"neighbour {neighbor.ip} lladdr {neighbor.mac} dev {device}")
        lines += _forwarding(known, device, neighbor.mac)
    return tuple(lines)


def best_route(objects: Iterable[Object], dst: IP, device: str) -> Route | None:
    """The longest match for `dst` among the routes out of `device`."""
    routes = [item for item in objects if isinstance(item, Route) and item.device == device and dst in item.dst]
    return max(routes, key=lambda route: (route.dst.length, -route.metric), default=None)


def _route_text(route: Route) -> str:
    dst = "default" if route.dst.is_default else str(route.dst)
    via = f" via {route.via}" if route.via is not None else ""
    return f"route {dst}{via} dev {route.device}{' onlink' if route.onlink else ''}"


def _forwarding(objects: Iterable[Object], device: str, mac: Mac) -> list[str]:
    return [
        f"fdb {o.mac} dst {o.dst} dev {device}" for o in objects if isinstance(o, FdbEntry) and (o.device, o.mac) == (device, mac)
    ]
