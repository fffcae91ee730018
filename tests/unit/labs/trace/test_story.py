"""What a trace tells about each hop."""

from __future__ import annotations

import pytest
from scapy.layers.l2 import Ether

from dataplane.inet import parse_ip, parse_mac, parse_prefix
from dataplane.state import Address, Bridge, FdbEntry, Link, Neighbor, Object, Route, Veth, Vxlan
from labs.trace.decode import decode
from labs.trace.hop import IN, OUT, Frame
from labs.trace.lookups import best_route, explain
from labs.trace.story import NODE, OUTSIDE, POD, SWITCH, in_order, tell
from tests.unit.labs.trace import frames

VTEP2, NODE2 = parse_ip("10.244.2.0"), parse_ip("192.168.50.12")
VXLAN_ROUTE = Route(parse_prefix("10.244.2.0/24"), "flannel.1", via=VTEP2, onlink=True)
TABLE: frozenset[Object] = frozenset(
    {
        Bridge("cni0"),
        Veth("veth1", master="cni0"),
        Veth("eth0"),
        Vxlan("flannel.1"),
        VXLAN_ROUTE,
        Route(parse_prefix("0.0.0.0/0"), "eth0", via=parse_ip("192.168.50.1")),
        Route(parse_prefix("10.244.1.0/24"), "cni0"),
        Neighbor("flannel.1", VTEP2, parse_mac(frames.VTEP2_MAC)),
        FdbEntry("flannel.1", parse_mac(frames.VTEP2_MAC), NODE2),
    }
)
KINDS = {"node1-pod1": POD, "node1": NODE, "node2": NODE, "underlay": SWITCH, "outside": OUTSIDE}
TABLES = dict.fromkeys(KINDS, TABLE)


def frame(place: str, device: str, direction: str, octets: bytes, at_ns: int = 0) -> Frame:
    return Frame(place, device, direction, at_ns, octets[0] >> 4 != 4, octets)


def told(*way: Frame) -> list[str]:
    return [hop.what for hop in tell([(each, decode(each.octets, each.ethernet)) for each in way], KINDS, TABLES)]


def test_vxlan_is_told_from_the_pod_into_the_tunnel_and_out_of_it() -> None:
    assert told(
        frame("node1-pod1", "eth0", OUT, frames.in_pod()),
        frame("node1", "veth1", IN, frames.in_pod()),
        frame("node1", "cni0", IN, frames.in_pod()),
        frame("node1", "flannel.1", OUT, bytes(frames.vtep())),
        frame("node1", "eth0", OUT, frames.in_vxlan()),
        frame("underlay", "node1", IN, frames.in_vxlan()),
        frame("node2", "eth0", IN, frames.in_vxlan()),
        frame("node2", "flannel.1", IN, bytes(frames.vtep())),
    ) == [
        "leaves the pod",
        "comes out of the pod's veth pair, into the bridge",
        "addressed to the bridge itself: the node takes it up to route it",
        "routed into the VXLAN device, which looks up where the far one is",
        "the kernel has encapsulated it: VXLAN, VNI 1, to node 192.168.50.12",
        "enters the underlay's switch",
        "arrives at the node's uplink, encapsulated",
        "unpacked: out of the VXLAN device comes the inner frame",
    ]


def test_the_udp_backend_is_told_through_the_tun_device() -> None:
    assert told(frame("node1", "flannel0", OUT, frames.bare()), frame("node1", "eth0", OUT, frames.in_udp())) == [
        "routed into the TUN device, from which flanneld reads it",
        "flanneld has put it into a UDP datagram to port 8285 of node 192.168.50.12",
    ]


def test_host_gw_is_told_as_plain_routing() -> None:
    assert told(frame("node1", "eth0", OUT, frames.host_gw())) == ["routed out of the uplink"]


def test_masquerading_is_told_where_the_source_changes() -> None:
    seen = bytes(Ether(src=frames.NODE1_MAC) / frames.ping(ttl=63, src="192.168.50.11"))
    last = told(frame("node1", "cni0", IN, frames.in_pod()), frame("node1", "eth0", OUT, seen))[-1]
    assert last == "routed out of the uplink; NAT has changed the source from 10.244.1.2 to 192.168.50.11"


def test_the_vxlan_device_is_explained_by_route_neighbour_and_forwarding_entry() -> None:
    assert explain(TABLE, parse_ip("10.244.2.2"), "flannel.1") == (
        "route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink",
        f"neighbour 10.244.2.0 lladdr {frames.VTEP2_MAC} dev flannel.1",
        f"fdb {frames.VTEP2_MAC} dst 192.168.50.12 dev flannel.1",
    )


@pytest.mark.parametrize(
    ("dst", "device", "lines"),
    [
        ("203.0.113.1", "eth0", ("route default via 192.168.50.1 dev eth0",)),
        ("10.244.1.9", "cni0", ("route 10.244.1.0/24 dev cni0",)),
        ("10.99.0.1", "cni0", ()),
    ],
)
def test_other_devices_are_explained_by_their_route(dst: str, device: str, lines: tuple[str, ...]) -> None:
    assert explain(TABLE, parse_ip(dst), device) == lines


def test_the_longest_match_wins() -> None:
    host = Route(parse_prefix("10.244.2.2/32"), "flannel.1")
    assert best_route({*TABLE, host}, parse_ip("10.244.2.2"), "flannel.1") == host


def test_only_a_device_that_was_routed_to_is_explained() -> None:
    steps = [frame("node1", "veth1", IN, frames.in_pod()), frame("node1", "flannel.1", OUT, bytes(frames.vtep()))]
    first, second = tell([(each, decode(each.octets, each.ethernet)) for each in steps], KINDS, TABLES)
    assert first.lookups == ()
    assert len(second.lookups) == 3


def test_frames_are_ordered_by_time_and_equal_times_by_capture() -> None:
    veth, bridge = (frame("node1", name, IN, frames.in_pod(), at_ns=20) for name in ("veth1", "cni0"))
    pod, far = frame("node1-pod1", "eth0", OUT, frames.in_pod(), at_ns=10), frame("node2", "eth0", IN, frames.in_pod(), at_ns=30)
    assert in_order([[far], [veth, bridge], [pod]]) == [pod, veth, bridge, far]


def test_a_stamp_that_runs_backwards_within_a_place_keeps_the_order_of_capture() -> None:
    first, second = (frame("node1", name, IN, frames.in_pod(), at_ns=at) for name, at in (("eth0", 20), ("flannel.1", 19)))
    assert in_order([[first, second]]) == [first, second]


def test_hops_are_numbered_from_one_and_timed_from_the_first() -> None:
    steps = [
        frame("node1-pod1", "eth0", OUT, frames.in_pod(), at_ns=5_000),
        frame("node1", "cni0", IN, frames.in_pod(), at_ns=7_500),
    ]
    hops = tell([(each, decode(each.octets, each.ethernet)) for each in steps], KINDS, TABLES)
    assert [(hop.number, hop.at_us) for hop in hops] == [(1, 0.0), (2, 2.5)]


def test_an_uplink_that_is_no_veth_is_still_the_uplink() -> None:
    table = frozenset({Link("eth0")})
    step = frame("node1", "eth0", OUT, frames.host_gw())
    (hop,) = tell([(step, decode(step.octets, True))], KINDS, {"node1": table})
    assert hop.what == "routed out of the uplink"


def test_no_frames_make_no_hops() -> None:
    assert tell([], KINDS, TABLES) == ()


def test_a_packet_for_the_node_itself_is_not_said_to_be_routed_on() -> None:
    step = frame("node1", "cni0", IN, frames.in_pod())
    steps = [(step, decode(step.octets, True))]
    (passing,) = tell(steps, KINDS, TABLES)
    (arriving,) = tell(steps, KINDS, {"node1": TABLE | {Address("cni0", parse_prefix("10.244.2.2/24"))}})
    assert passing.what == "addressed to the bridge itself: the node takes it up to route it"
    assert arriving.what == "addressed to the node itself: it arrives"


@pytest.mark.parametrize("place", ["node1-pod1", "node1", "outside"])
def test_a_packet_to_oneself_goes_by_the_loopback_device_of_any_kind_of_place(place: str) -> None:
    assert told(frame(place, "lo", OUT, frames.in_pod()), frame(place, "lo", IN, frames.in_pod())) == [
        "addressed to the sender itself: it leaves by the loopback device",
        "and comes in again by it",
    ]
