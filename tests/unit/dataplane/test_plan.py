"""The order of writing."""

from __future__ import annotations

import pytest

from dataplane.delta import delta
from dataplane.inet import Mac, parse_ip, parse_prefix
from dataplane.netfilter import Chain, Jump
from dataplane.plan import plan
from dataplane.state import Address, Bridge, FdbEntry, Ipip, Link, Neighbor, Object, Route, Sysctl, Veth, Vxlan

MAC = Mac(b"\x0a\x58\0\0\0\1")
NET, GATEWAY = parse_prefix("10.2.0.0/16"), parse_ip("10.1.0.9")
BRIDGE, PORT = Bridge("br"), Veth("v0", master="br")
TUNNEL = Vxlan("vx", vni=1, underlay="br")
ADDRESS = Address("br", parse_prefix("10.1.0.1/16"))
SECOND = Address("br", parse_prefix("10.1.0.2/16"))
CONNECTED, REMOTE = Route(parse_prefix("10.1.0.0/16"), "br"), Route(NET, "br", GATEWAY)
CALLEE, CALLER = Chain(4, "nat", "Z"), Chain(4, "nat", "A", ("-j Z",))
JUMP = Jump(4, "nat", "POSTROUTING", "-j A")
ON_TUNNEL = (Neighbor("vx", GATEWAY, MAC), FdbEntry("vx", MAC, parse_ip("192.0.2.2")))


def steps(wish: list[Object], actual: list[Object]) -> str:
    """The plan in short."""
    ops = plan(delta(wish, actual, lambda item: True), wish)
    return ", ".join(f"{op.verb} {_short(op.item)}" for op in ops)


def _short(item: Object) -> str:
    if isinstance(item, Address):
        return str(item.prefix)
    if isinstance(item, Route):
        return f"route {item.dst}"
    if isinstance(item, Jump):
        return item.rule
    return str(getattr(item, "name", type(item).__name__))


PLANS: dict[str, tuple[list[Object], list[Object], str]] = {
    "all kinds are made in the order in which each can be": (
        [
            JUMP,
            CALLER,
            CALLEE,
            REMOTE,
            CONNECTED,
            *ON_TUNNEL,
            ADDRESS,
            Sysctl("net/ipv4/conf/br/forwarding", "1"),
            TUNNEL,
            PORT,
            BRIDGE,
        ],
        [],
        "add br, add v0, add vx, add net/ipv4/conf/br/forwarding, add 10.1.0.1/16, set br, set v0, "
        "set vx, add FdbEntry, add Neighbor, add route 10.1.0.0/16, add route 10.2.0.0/16, add Z, add A, "
        "add -j A",
    ),
    "and go in reverse": (
        [],
        [JUMP, CALLER, CALLEE, REMOTE, CONNECTED, ADDRESS, TUNNEL, PORT, BRIDGE],
        "remove -j A, remove A, remove Z, remove route 10.2.0.0/16, remove route 10.1.0.0/16, "
        "remove 10.1.0.1/16, remove vx, remove v0, remove br",
    ),
    "what is new comes before what is old goes": (
        [Route(NET, "eth0"), Chain(4, "nat", "NEW")],
        [Chain(4, "nat", "OLD"), Route(parse_prefix("10.3.0.0/16"), "eth0")],
        "add route 10.2.0.0/16, add NEW, remove OLD, remove route 10.3.0.0/16",
    ),
    "a device that stays down is not set up": ([Bridge("br", up=False)], [], "add br"),
    "a setting of a living device is changed in place": ([Bridge("br", mtu=1400)], [Bridge("br", mtu=1500)], "set br"),
    "a tunnel is rebuilt with all that is wished for on it": (
        [TUNNEL, *ON_TUNNEL, BRIDGE],
        [Vxlan("vx", vni=2, underlay="br"), *ON_TUNNEL, BRIDGE],
        "remove vx, add vx, set vx, add FdbEntry, add Neighbor",
    ),
    "what was left over on a rebuilt tunnel is gone with it": (
        [TUNNEL],
        [Vxlan("vx", vni=2, underlay="br"), *ON_TUNNEL],
        "remove vx, add vx, set vx",
    ),
    "a rebuilt bridge gets back its ports, addresses, routes and tunnels": (
        [BRIDGE, PORT, TUNNEL, ADDRESS, REMOTE, *ON_TUNNEL],
        [Vxlan("br"), PORT, TUNNEL, ADDRESS, REMOTE, *ON_TUNNEL],
        "remove br, add br, add vx, add 10.1.0.1/16, set v0, set br, set vx, add FdbEntry, add Neighbor, add route 10.2.0.0/16",
    ),
    "the other end of a rebuilt pair is made again": (
        [Veth("a", peer="b"), Veth("b", peer="a")],
        [Bridge("a"), Veth("b")],
        "remove a, add a, add b, set a, set b",
    ),
    "a pair into another namespace has its other end there": (
        [Veth("a", peer="b", peer_netns="/run/netns/x"), Bridge("b")],
        [Bridge("a"), Bridge("b")],
        "remove a, add a, set a",
    ),
    "a route whose device the kernel chose is added again when one is rebuilt": (
        [BRIDGE, Route(NET, via=GATEWAY)],
        [Vxlan("br"), Route(NET, via=GATEWAY)],
        "remove br, add br, set br, add route 10.2.0.0/16",
    ),
    "a route that moves off a rebuilt device is added, for the old one is gone": (
        [BRIDGE, Route(NET, "eth0")],
        [Vxlan("br"), Route(NET, "br")],
        "remove br, add br, set br, add route 10.2.0.0/16",
    ),
    "a route that moves onto a rebuilt device is changed": (
        [BRIDGE, Route(NET, "br")],
        [Vxlan("br"), Route(NET, "eth0")],
        "remove br, add br, set br, set route 10.2.0.0/16",
    ),
    "an address goes before a new one of its subnet comes, for it would take that along": (
        [BRIDGE, SECOND, REMOTE],
        [BRIDGE, ADDRESS, REMOTE],
        "remove 10.1.0.1/16, add 10.1.0.2/16, add route 10.2.0.0/16",
    ),
    "an address of another subnet goes last": (
        [BRIDGE, Address("br", parse_prefix("10.5.0.1/16"))],
        [BRIDGE, ADDRESS],
        "add 10.5.0.1/16, remove 10.1.0.1/16",
    ),
    "IPv6 knows no secondary addresses": (
        [BRIDGE, Address("br", parse_prefix("fd00::2/64"))],
        [BRIDGE, Address("br", parse_prefix("fd00::1/64"))],
        "add fd00::2/64, remove fd00::1/64",
    ),
    "a chain that others need is written before them, and old ones go after": (
        [Chain(4, "nat", "A", ("-j C",)), Chain(4, "nat", "C", ("-j D",)), Chain(4, "nat", "D"), JUMP],
        [Chain(4, "nat", "A", ("-j B",)), Chain(4, "nat", "B"), JUMP],
        "add D, add C, set A, remove B",
    ),
    "a chain goes after those that jump to it": (
        [],
        [Chain(4, "nat", "B"), Chain(4, "nat", "Y", ("-j B",))],
        "remove Y, remove B",
    ),
    "chains in a circle, which the kernel refuses, are planned all the same": (
        [Chain(4, "nat", "A", ("-j B",)), Chain(4, "nat", "B", ("-j A",))],
        [],
        "add A, add B",
    ),
    "an IPIP tunnel with another remote is rebuilt": (
        [Ipip("t", remote=GATEWAY)],
        [Ipip("t", remote=GATEWAY + 1)],
        "remove t, add t, set t",
    ),
    "a device of others keeps its kind when any will do": ([Link("br", mtu=1400)], [Bridge("br", mtu=1500)], "set br"),
    "nothing to do": ([BRIDGE, PORT, ADDRESS], [BRIDGE, PORT, ADDRESS], ""),
}


@pytest.mark.parametrize(("wish", "actual", "wanted"), PLANS.values(), ids=PLANS.keys())
def test_the_plan_goes(wish: list[Object], actual: list[Object], wanted: str) -> None:
    assert steps(wish, actual) == wanted


def test_a_change_tells_what_it_replaces_and_a_device_coming_up_does_not() -> None:
    wish, found = Bridge("br", mtu=1400), Bridge("br", mtu=1500)
    (change,) = plan(delta([wish], [found], lambda item: True), [wish])
    assert change.found == found
    _, up = plan(delta([wish], [], lambda item: True), [wish])
    assert (up.item, up.found) == (wish, None)


def test_what_somebody_else_holds_is_not_added_on_a_rebuilt_device() -> None:
    wish: list[Object] = [BRIDGE, Route(NET, "br")]
    change = delta(wish, [Vxlan("br"), Route(NET, "eth0")], lambda item: isinstance(item, Link))
    assert [str(op.item.key[0]) for op in plan(change, wish)] == ["link", "link", "link"]  # type: ignore[index]


def test_an_unknown_kind_has_no_place() -> None:
    class Odd(Object):
        @property
        def key(self) -> tuple[str]:
            return ("odd",)

    with pytest.raises(TypeError, match="Odd has no place in the order of writing"):
        plan(delta([Odd()], [], lambda item: True), [Odd()])
