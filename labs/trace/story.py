"""Frames to hops: in the order of time, each with one line of what happened. Pure.

What happened follows from the role of the device, the direction, and what changed since the hop before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from dataplane.inet import parse_ip
from dataplane.state import Address, Bridge, Link, Object, Veth, Vxlan
from labs.trace.decode import FLANNEL_UDP_PORT, VXLAN_PORT
from labs.trace.hop import IN, OUT, Frame, Hop, Layer
from labs.trace.lookups import explain

POD, SWITCH, OUTSIDE, NODE = "pod", "switch", "outside", "node"  # kinds of place
Step = tuple[Frame, tuple[Layer, ...]]

_WHAT: dict[tuple[str, str], str] = {
    ("pod", OUT): "leaves the pod",
    ("pod", IN): "arrives in the pod",
    ("port", IN): "enters the underlay's switch",
    ("port", OUT): "leaves the switch towards its machine",
    ("outside", IN): "arrives at the outside host",
    ("outside", OUT): "leaves the outside host",
    ("loopback", OUT): "addressed to the sender itself: it leaves by the loopback device",
    ("loopback", IN): "and comes in again by it",
    ("veth", IN): "comes out of the pod's veth pair, into the bridge",
    ("veth", OUT): "leaves the bridge by the pod's port",
    ("bridge", IN): "addressed to the bridge itself: the node takes it up to route it",
    ("own bridge", IN): "addressed to the node itself: it arrives",
    ("bridge", OUT): "routed to the bridge of the node's own pods",
    ("vxlan", OUT): "routed into the VXLAN device, which looks up where the far one is",
    ("vxlan", IN): "unpacked: out of the VXLAN device comes the inner frame",
    ("tun", OUT): "routed into the TUN device, from which flanneld reads it",
    ("tun", IN): "flanneld has unpacked the datagram and writes the packet into the TUN device",
    ("uplink", OUT): "routed out of the uplink",
    ("uplink", IN): "arrives at the node's uplink",
}
_CARRIED = {
    VXLAN_PORT: "the kernel has encapsulated it: VXLAN, VNI {vni}, to node {dst}",
    FLANNEL_UDP_PORT: "flanneld has put it into a UDP datagram to port 8285 of node {dst}",
}
_ROUTED = frozenset({"bridge", "vxlan", "tun", "uplink"})  # roles that a routing decision leads to


def in_order(frames: Iterable[Sequence[Frame]]) -> list[Frame]:
    """All frames in the order of time.

    Args:
        frames: those of one place each, in the order in which they were captured there. A frame that is only handed on from
            device to device keeps its time stamp, so equal stamps stay in the order of capture.
    """
    stamped = []
    for at_one_place in frames:
        latest = 0
        for frame in at_one_place:
            latest = max(latest, frame.at_ns)
            stamped.append((latest, frame))
    return [frame for _, frame in sorted(stamped, key=lambda pair: pair[0])]


def tell(steps: Sequence[Step], kinds: Mapping[str, str], tables: Mapping[str, frozenset[Object]]) -> tuple[Hop, ...]:
    """The hops of one direction of a ping.

    Args:
        steps: frames with their layers, in order.
        kinds: the kind of each place.
        tables: the kernel objects (links, routes, neighbours, forwarding entries) of each place.
    """
    start = steps[0][0].at_ns if steps else 0
    hops = []
    for number, (frame, layers) in enumerate(steps):
        role = role_of(frame, kinds[frame.place], tables[frame.place])
        before = steps[number - 1][1] if number else layers
        lookups = explain_hop(frame, layers, role, tables[frame.place])
        at_us = (frame.at_ns - start) / 1000
        what = _what(_addressed(role, layers, tables[frame.place]), frame.direction, layers, before)
        hops.append(Hop(number + 1, frame.place, frame.device, frame.direction, at_us, what, lookups, layers))
    return tuple(hops)


def role_of(frame: Frame, kind: str, table: Iterable[Object]) -> str:
    """What the device is there for."""
    if frame.device == "lo":
        return "loopback"
    fixed = {POD: "pod", SWITCH: "port", OUTSIDE: "outside"}.get(kind)
    if fixed:
        return fixed
    if not frame.ethernet:
        return "tun"
    link = next((item for item in table if isinstance(item, Link) and item.name == frame.device), None)
    for role, belongs in _NODE_ROLES:
        if belongs(link):
            return role
    return "uplink"


_NODE_ROLES: tuple[tuple[str, Callable[[Link | None], bool]], ...] = (
    ("bridge", lambda link: isinstance(link, Bridge)),
    ("vxlan", lambda link: isinstance(link, Vxlan)),
    ("veth", lambda link: isinstance(link, Veth) and bool(link.master)),  # the uplink is a veth too, but no bridge's port
)


def _addressed(role: str, layers: Sequence[Layer], table: Iterable[Object]) -> str:
    """The role, told apart where it matters whether the packet is for the node itself."""
    own = {str(item.prefix.address) for item in table if isinstance(item, Address)}
    return "own bridge" if (role, _inner(layers).get("dst") in own) == ("bridge", True) else role


def explain_hop(frame: Frame, layers: Sequence[Layer], role: str, table: Iterable[Object]) -> tuple[str, ...]:
    """The table entries that led to this device, where a routing decision did."""
    if frame.direction != OUT or role not in _ROUTED:
        return ()
    outermost = next((layer.get("dst") for layer in layers if layer.name == "IPv4"), None)
    return explain(table, parse_ip(outermost), frame.device) if outermost else ()


def _what(role: str, direction: str, layers: Sequence[Layer], before: Sequence[Layer]) -> str:
    carried = _carried(layers)
    if (role, direction) == ("uplink", OUT) and carried and not _carried(before):
        return carried
    text = _WHAT[role, direction]
    if (role, direction) == ("uplink", IN) and carried:
        text += ", encapsulated"
    old, new = _inner(before), _inner(layers)
    for field, words in (("src", "source"), ("dst", "destination")):
        if old.get(field) != new.get(field):
            text += f"; NAT has changed the {words} from {old.get(field)} to {new.get(field)}"
    return text


def _carried(layers: Sequence[Layer]) -> str:
    """How the packet is encapsulated, in words; empty if it is not."""
    ports = [layer.get("dport") for layer in layers if layer.name == "UDP"]
    dst = next((layer.get("dst") for layer in layers if layer.name == "IPv4"), None)
    vni = next((layer.get("vni") for layer in layers if layer.name == "VXLAN"), None)
    for port, words in _CARRIED.items():
        if str(port) in ports:
            return words.format(dst=dst, vni=vni)
    return ""


def _inner(layers: Sequence[Layer]) -> Layer:
    """The innermost IPv4 header: the pods' own."""
    return [layer for layer in layers if layer.name == "IPv4"][-1]
