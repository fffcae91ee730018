"""The kernel in memory keeps the habits of the real one."""

from __future__ import annotations

import errno

import pytest

from dataplane.fake import FakeKernel
from dataplane.inet import Mac, parse_ip, parse_prefix
from dataplane.netfilter import Chain, Jump
from dataplane.ownership import Scope
from dataplane.plan import ADD, REMOVE, SET, Op
from dataplane.state import Address, Bridge, FdbEntry, Link, Neighbor, Object, Route, Sysctl, Veth, Vxlan

MAC, GATEWAY = Mac(b"\x0a\x58\0\0\0\1"), parse_ip("10.1.0.9")
BRIDGE, DOWN = Bridge("br", up=True, mtu=1500), Bridge("br", up=False, mtu=1500)
FIRST, SECOND = Address("br", parse_prefix("10.1.0.1/16")), Address("br", parse_prefix("10.1.0.2/16"))
NEAR, FAR = Route(parse_prefix("10.1.0.0/16"), "br"), Route(parse_prefix("10.2.0.0/16"), "br", GATEWAY)
CHAIN, JUMP = Chain(4, "nat", "pod-x"), Jump(4, "nat", "POSTROUTING", "-j pod-x")
CALLER = Chain(4, "nat", "pod-y", ("-j pod-x",))

REFUSED: dict[str, tuple[list[Object], Op, int]] = {
    "an address on a device that is not there": ([], Op(ADD, FIRST), errno.ENODEV),
    "a port of a bridge that is not there": ([], Op(ADD, Veth("v", master="br")), errno.ENODEV),
    "a tunnel over a device that is not there": ([], Op(ADD, Vxlan("x", underlay="br")), errno.ENODEV),
    "a device of no kind": ([], Op(ADD, Link("eth0")), errno.ENODEV),
    "a setting of a device that is not there": ([], Op(SET, BRIDGE), errno.ENODEV),
    "another kind under a taken name": ([BRIDGE], Op(ADD, Vxlan("br")), errno.EEXIST),
    "an address that is there otherwise": ([BRIDGE, FIRST], Op(ADD, Address("br", FIRST.prefix, scope=253)), errno.EEXIST),
    "a route over a device that is down": ([DOWN], Op(ADD, NEAR), errno.ENETDOWN),
    "a gateway that nothing reaches": ([BRIDGE], Op(ADD, FAR), errno.ENETUNREACH),
    "a jump to a chain that is not there": ([], Op(ADD, JUMP), errno.ENOENT),
    "a jump to a chain of another table": ([Chain(4, "filter", "pod-x")], Op(ADD, JUMP), errno.ENOENT),
    "a chain that jumps to one that is not there": ([], Op(ADD, CALLER), errno.ENOENT),
    "the removal of a chain that a rule jumps to": ([CHAIN, JUMP], Op(REMOVE, CHAIN), errno.EBUSY),
    "the removal of a chain that a chain jumps to": ([CHAIN, CALLER], Op(REMOVE, CHAIN), errno.EBUSY),
}


@pytest.mark.parametrize(("there", "op", "number"), REFUSED.values(), ids=REFUSED.keys())
def test_it_refuses(there: list[Object], op: Op, number: int) -> None:
    kernel = FakeKernel(there)
    (failure,) = kernel.apply([op])
    assert (failure.op, failure.error.errno) == (op, number)
    assert set(kernel.objects.values()) == set(there)
    assert kernel.applied == []


AFTER: dict[str, tuple[list[Object], Op, list[Object]]] = {
    "a device is born down": ([], Op(ADD, BRIDGE), [DOWN]),
    "a change keeps what it leaves open": ([BRIDGE], Op(SET, Bridge("br", mac=MAC)), [Bridge("br", up=True, mtu=1500, mac=MAC)]),
    "adding what is there as wished changes nothing": ([BRIDGE], Op(ADD, Bridge("br")), [BRIDGE]),
    "removing what is absent is success": ([BRIDGE], Op(REMOVE, FAR), [BRIDGE]),
    "a device takes along what hangs on it": ([BRIDGE, FIRST, NEAR, Neighbor("br", GATEWAY, MAC)], Op(REMOVE, BRIDGE), []),
    "and frees its ports": ([BRIDGE, Veth("v", master="br")], Op(REMOVE, BRIDGE), [Veth("v", master="")]),
    "and takes along tunnels over it and what hangs on them": (
        [BRIDGE, Vxlan("x", underlay="br"), FdbEntry("x", MAC, GATEWAY)],
        Op(REMOVE, BRIDGE),
        [],
    ),
    "one end of a pair takes along the other": ([Veth("a", peer="b"), Veth("b", peer="a")], Op(REMOVE, Veth("a")), []),
    "but not a namesake of an end elsewhere": (
        [Veth("a", peer="b", peer_netns="/run/netns/x"), Bridge("b")],
        Op(REMOVE, Bridge("b")),
        [Veth("a", peer="b", peer_netns="/run/netns/x")],
    ),
    "a device set down loses its routes and neighbours": (
        [BRIDGE, FIRST, NEAR, Neighbor("br", GATEWAY, MAC)],
        Op(SET, DOWN),
        [DOWN, FIRST],
    ),
    "a primary address takes along the secondary ones": ([BRIDGE, FIRST, SECOND], Op(REMOVE, FIRST), [BRIDGE]),
    "a secondary address goes alone": ([BRIDGE, FIRST, SECOND], Op(REMOVE, SECOND), [BRIDGE, FIRST]),
    "no address of IPv6 is secondary": (
        [BRIDGE, Address("br", parse_prefix("fd00::1/64")), Address("br", parse_prefix("fd00::2/64"))],
        Op(REMOVE, Address("br", parse_prefix("fd00::1/64"))),
        [BRIDGE, Address("br", parse_prefix("fd00::2/64"))],
    ),
    "a gateway is reached over an address": ([BRIDGE, FIRST], Op(ADD, FAR), [BRIDGE, FIRST, FAR]),
    "or over a route": ([BRIDGE, NEAR], Op(ADD, FAR), [BRIDGE, NEAR, FAR]),
    "or by word of the route itself": (
        [BRIDGE],
        Op(ADD, Route(FAR.dst, "br", GATEWAY, onlink=True)),
        [BRIDGE, Route(FAR.dst, "br", GATEWAY, onlink=True)],
    ),
    "a rule needs no chain for a verdict": (
        [],
        Op(ADD, Jump(4, "nat", "POSTROUTING", "-j MASQUERADE")),
        [Jump(4, "nat", "POSTROUTING", "-j MASQUERADE")],
    ),
    "a chain is written as a whole, whatever was in it": (
        [CHAIN, CALLER],
        Op(ADD, Chain(4, "nat", "pod-y")),
        [CHAIN, Chain(4, "nat", "pod-y")],
    ),
}


@pytest.mark.parametrize(("there", "op", "left"), AFTER.values(), ids=AFTER.keys())
def test_afterwards(there: list[Object], op: Op, left: list[Object]) -> None:
    kernel = FakeKernel(there)
    assert kernel.apply([op]) == ()
    assert set(kernel.objects.values()) == set(left)
    assert kernel.applied == [op]


def test_it_fails_where_it_is_told_to_and_goes_on() -> None:
    kernel = FakeKernel(fail_at=1)
    ops = [Op(ADD, Bridge(name)) for name in ("a", "b", "c")]
    (failure,) = kernel.apply(ops)
    assert (failure.op, failure.error.errno) == (ops[1], errno.EIO)
    assert kernel.applied == [ops[0], ops[2]]
    assert kernel.apply([ops[1]]) == ()


READ: dict[str, tuple[Scope, set[Object]]] = {
    "nothing": (Scope(), set()),
    "a device by name": (Scope(links=frozenset({"br"})), {BRIDGE}),
    "all devices": (Scope(links=frozenset({"*"})), {BRIDGE, Bridge("b2")}),
    "what hangs on a device": (Scope(devices=frozenset({"br"})), {FIRST}),
    "routes by family": (Scope(routes=frozenset({4})), {NEAR}),
    "routes of a family without any": (Scope(routes=frozenset({6})), set()),
    "tables": (Scope(tables=frozenset({(4, "nat")})), {CHAIN, JUMP}),
    "settings": (Scope(sysctls=frozenset({"a"})), {Sysctl("a", "1")}),
}


@pytest.mark.parametrize(("scope", "found"), READ.values(), ids=READ.keys())
def test_it_reads_what_is_in_scope(scope: Scope, found: set[Object]) -> None:
    kernel = FakeKernel(
        [BRIDGE, Bridge("b2"), FIRST, NEAR, CHAIN, JUMP, Chain(6, "nat", "pod-x"), Sysctl("a", "1"), Sysctl("b", "1")]
    )
    assert kernel.read(scope) == found
