"""Turns of the loop on the kernel in memory."""

from __future__ import annotations

import errno

from dataplane.fake import FakeKernel
from dataplane.inet import parse_ip, parse_prefix
from dataplane.netfilter import Chain, Jump, comment
from dataplane.ownership import Owner
from dataplane.plan import ADD, REMOVE, SET, Op
from dataplane.reconcile import Turn, compare, reconcile
from dataplane.state import PROTO_FLANNELD, PROTO_STATIC, Address, Bridge, Link, Object, Route, Sysctl

OWNER = Owner(
    name="test",
    links=frozenset({"pwbr"}),
    settings=frozenset({"eth0"}),
    route_protocol=PROTO_FLANNELD,
    chains=frozenset({"POD"}),
    comments=frozenset({"pod"}),
    tables=frozenset({(4, "nat")}),
)
UPLINK = Link("eth0", up=True, mtu=1500)
NEAR = Address("eth0", parse_prefix("192.0.2.1/24"))
PEERS = [Route(parse_prefix(f"10.{n}.0.0/16"), "eth0", parse_ip(f"192.0.2.{n}"), protocol=PROTO_FLANNELD) for n in (2, 3, 4)]


def test_a_turn_tells_what_it_did() -> None:
    kernel = FakeKernel([UPLINK, NEAR])
    turn = reconcile(kernel, PEERS, OWNER)
    assert turn == Turn(done=tuple(Op(ADD, route) for route in PEERS))
    assert turn.converged
    assert reconcile(kernel, PEERS, OWNER) == Turn()


def test_one_unreachable_peer_does_not_cost_the_others_their_routes() -> None:
    stray = Route(parse_prefix("10.9.0.0/16"), "eth0", parse_ip("203.0.113.9"), protocol=PROTO_FLANNELD)
    turn = reconcile(FakeKernel([UPLINK, NEAR]), [*PEERS, stray], OWNER)
    assert [failure.op.item for failure in turn.failures] == [stray]
    assert turn.failures[0].error.errno == errno.ENETUNREACH
    assert [op.item for op in turn.done] == PEERS
    assert not turn.converged


def test_a_wish_without_its_last_route_removes_it() -> None:
    kernel = FakeKernel([UPLINK, NEAR, *PEERS])
    assert set(reconcile(kernel, [], OWNER).done) == {Op(REMOVE, route) for route in PEERS}
    assert set(kernel.objects.values()) == {UPLINK, NEAR}


def test_a_route_of_somebody_else_in_the_way_is_a_conflict_and_stays() -> None:
    theirs = Route(PEERS[0].dst, "eth0", parse_ip("192.0.2.99"), protocol=PROTO_STATIC)
    kernel = FakeKernel([UPLINK, NEAR, theirs])
    turn = reconcile(kernel, PEERS, OWNER)
    assert turn.conflicts == ((PEERS[0], theirs),)
    assert not turn.converged
    assert kernel.objects[theirs.key] == theirs
    assert [op.item for op in turn.done] == PEERS[1:]


def test_settings_of_others_are_changed_and_never_removed() -> None:
    forward, mtu = Sysctl("net/ipv4/ip_forward", "1"), Link("eth0", mtu=1400)
    kernel = FakeKernel([UPLINK, Sysctl("net/ipv4/ip_forward", "0")])
    assert {op.verb for op in reconcile(kernel, [forward, mtu], OWNER).done} == {SET}
    assert reconcile(kernel, [], OWNER).done == ()
    assert kernel.objects[forward.key] == forward
    assert kernel.objects[mtu.key] == Link("eth0", up=True, mtu=1400)


def test_a_device_of_others_is_not_deleted_to_become_of_the_wished_kind() -> None:
    kernel = FakeKernel([UPLINK, NEAR])
    wish: list[Object] = [Bridge("eth0", mtu=1400)]
    turn = reconcile(kernel, wish, OWNER)
    assert turn.conflicts == ((wish[0], UPLINK),)
    assert set(kernel.objects.values()) == {UPLINK, NEAR}


def test_a_comparison_changes_nothing() -> None:
    kernel = FakeKernel([UPLINK, NEAR])
    assert compare(kernel, PEERS, OWNER).add == tuple(PEERS)
    assert kernel.applied == []


def test_a_failed_turn_is_made_good_by_the_next() -> None:
    jump = Jump(4, "nat", "POSTROUTING", f"{comment('pod')} -j POD")
    wish: list[Object] = [Bridge("pwbr"), Address("pwbr", parse_prefix("10.1.0.1/16")), Chain(4, "nat", "POD"), jump]
    kernel = FakeKernel([UPLINK], fail_at=0)
    turn = reconcile(kernel, wish, OWNER)
    assert [failure.error.errno for failure in turn.failures] == [errno.EIO, errno.ENODEV, errno.ENODEV]
    assert reconcile(kernel, wish, OWNER).converged
    assert {*wish, UPLINK} == set(kernel.objects.values())
