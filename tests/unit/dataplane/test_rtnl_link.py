"""Network devices to bytes and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dataplane.inet import parse_ip, parse_mac
from dataplane.record import replace
from dataplane.rtnl import RtnlError, attribute, attributes, nested, string, u8, u32
from dataplane.rtnl_link import (
    IFINFOMSG,
    IFLA_ADDRESS,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA,
    IFLA_INFO_SLAVE_KIND,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_NET_NS_FD,
    IFLA_PROTINFO,
    VETH_INFO_PEER,
    decode_link,
    decode_link_name,
    encode_link_dump,
    encode_link_query,
    encode_link_removal,
    encode_new_link,
    encode_port,
    encode_settings,
)
from dataplane.state import Bridge, Ipip, Link, Veth, Vxlan, agrees

if TYPE_CHECKING:
    from collections.abc import Mapping

INDICES = {"br0": 4, "eth0": 7, "v0": 9}
NAMES = {4: "br0", 7: "eth0", 9: "v0"}
MAC = parse_mac("02:00:00:00:00:01")
V4, V6 = parse_ip("10.0.0.1"), parse_ip("fd00::1")


def linkinfo(body: bytes) -> tuple[bytes, Mapping[int, bytes]]:
    info = attributes(attributes(body, IFINFOMSG.size)[IFLA_LINKINFO])
    return info[IFLA_INFO_KIND], attributes(info.get(IFLA_INFO_DATA, b""))


@pytest.mark.parametrize(
    ("link", "kind", "data"),
    [
        (Bridge("br1", mtu=1400, mac=MAC), b"bridge\0", {}),
        (Vxlan("vx", vni=5, learning=None), b"vxlan\0", {1: "05000000"}),
        (
            Vxlan("vx", vni=1, port=8472, local=V4, underlay="eth0", learning=False, gbp=True),
            b"vxlan\0",
            {1: "01000000", 3: "07000000", 4: "0a000001", 7: "00", 15: "2118", 23: ""},
        ),
        (Vxlan("vx", local=V6, learning=True, gbp=False), b"vxlan\0", {1: "01000000", 17: V6.hex(), 7: "01"}),
        (Ipip("tunl1", local=V4, remote=parse_ip("10.0.0.2"), ttl=64), b"ipip\0", {2: "0a000001", 3: "0a000002", 4: "40"}),
        (Ipip("tunl1"), b"ipip\0", {}),
    ],
)
def test_a_new_link_is_encoded_and_comes_back_down(link: Link, kind: bytes, data: dict[int, str]) -> None:
    body = encode_new_link(link, INDICES, {})
    assert IFINFOMSG.unpack_from(body) == (0, 0, 0, 0, 0)
    assert linkinfo(body) == (kind, {number: bytes.fromhex(value) for number, value in data.items()})
    wish = replace(link, up=False, **({"learning": None} if isinstance(link, Vxlan) and link.learning is None else {}))
    assert agrees(wish, decode_link(body, NAMES))


def test_settings_at_birth() -> None:
    body = encode_new_link(Bridge("br1", mtu=1400, mac=MAC, master="br0", promisc=True), INDICES, {})
    assert IFINFOMSG.unpack_from(body) == (0, 0, 0, 0x100, 0x100)
    found = attributes(body, IFINFOMSG.size)
    assert (found[IFLA_IFNAME], found[IFLA_MTU]) == (b"br1\0", (1400).to_bytes(4, "little"))
    assert (found[IFLA_ADDRESS], found[IFLA_MASTER]) == (bytes(MAC), b"\4\0\0\0")


def test_the_peer_of_a_veth_is_made_with_it() -> None:
    veth = Veth("v1", peer="eth0", peer_netns="/run/netns/x", peer_mac=MAC, peer_mtu=1400)
    kind, data = linkinfo(encode_new_link(veth, INDICES, {"/run/netns/x": 5}))
    assert kind == b"veth\0"
    assert data[VETH_INFO_PEER][: IFINFOMSG.size] == bytes(IFINFOMSG.size)
    assert attributes(data[VETH_INFO_PEER], IFINFOMSG.size) == {
        IFLA_IFNAME: b"eth0\0",
        IFLA_ADDRESS: bytes(MAC),
        IFLA_MTU: b"\x78\x05\0\0",
        IFLA_NET_NS_FD: b"\5\0\0\0",
    }
    _, data = linkinfo(encode_new_link(Veth("v1"), INDICES, {}))
    assert attributes(data[VETH_INFO_PEER], IFINFOMSG.size) == {}


@pytest.mark.parametrize(
    ("link", "fields", "flags_and_change", "want"),
    [
        (Link("eth0", up=True), ["up"], (1, 1), {}),
        (Link("eth0", up=False), ["up"], (0, 1), {}),
        (Link("eth0", promisc=False), ["promisc"], (0, 0x100), {}),
        (Link("eth0", up=True, promisc=True), ["up", "promisc"], (0x101, 0x101), {}),
        (Link("eth0", up=True, mtu=1400, mac=MAC), ["mtu"], (0, 0), {IFLA_MTU: "78050000"}),
        (Link("eth0", up=None, mtu=None), ["up", "mtu"], (0, 0), {}),
        (Link("eth0", master=""), ["master"], (0, 0), {IFLA_MASTER: "00000000"}),
        (Link("eth0", master="br0"), ["master"], (0, 0), {IFLA_MASTER: "04000000"}),
    ],
)
def test_only_the_settings_that_are_asked_for_are_sent(
    link: Link, fields: list[str], flags_and_change: tuple[int, int], want: dict[int, str]
) -> None:
    body = encode_settings(link, fields, INDICES)
    assert IFINFOMSG.unpack_from(body) == (0, 0, 0, *flags_and_change)
    expected = {IFLA_IFNAME: b"eth0\0", **{kind: bytes.fromhex(value) for kind, value in want.items()}}
    assert attributes(body, IFINFOMSG.size) == expected


def test_port_flags_go_to_the_bridge_family() -> None:
    body = encode_port(Link("v0", hairpin=True, isolated=False), ["hairpin", "isolated"], INDICES)
    assert IFINFOMSG.unpack_from(body) == (7, 0, 9, 0, 0)
    assert attributes(attributes(body, IFINFOMSG.size)[IFLA_PROTINFO]) == {4: b"\1", 33: b"\0"}
    assert b"\x0c\x80" in body  # the kernel wants the nested flag here


def test_queries_and_removal_go_by_name() -> None:
    assert attributes(encode_link_query("eth0"), IFINFOMSG.size)[IFLA_IFNAME] == b"eth0\0"
    assert attributes(encode_link_removal(Link("eth0")), IFINFOMSG.size) == {IFLA_IFNAME: b"eth0\0"}
    assert IFLA_IFNAME not in attributes(encode_link_dump(), IFINFOMSG.size)


def reply(*attrs: bytes, flags: int = 1) -> bytes:
    return IFINFOMSG.pack(0, 1, 9, flags, 0) + string(IFLA_IFNAME, "v0") + b"".join(attrs)


def info(kind: str, *rest: bytes) -> bytes:
    return nested(IFLA_LINKINFO, string(IFLA_INFO_KIND, kind), *rest)


def test_what_is_read() -> None:
    port = nested(IFLA_INFO_SLAVE_DATA, u8(4, 1), u8(33, 0))
    body = reply(
        u32(IFLA_MTU, 1500),
        attribute(IFLA_ADDRESS, MAC),
        u32(IFLA_MASTER, 4),
        info("veth", string(IFLA_INFO_SLAVE_KIND, "bridge"), port),
        flags=0x101,
    )
    assert decode_link(body, NAMES) == Veth("v0", True, 1500, MAC, "br0", promisc=True, hairpin=True, isolated=False)
    assert decode_link_name(body) == (9, "v0")


@pytest.mark.parametrize(
    ("body", "want"),
    [
        (reply(), Link("v0", True, None, None, "", promisc=False)),
        (reply(info("macvlan")), Link("v0", True, None, None, "", promisc=False)),
        (reply(info("bridge"), flags=0), Bridge("v0", False, None, None, "", promisc=False)),
        (reply(attribute(IFLA_ADDRESS, b"\0\0\0\0")), Link("v0", True, None, None, "", promisc=False)),
    ],
)
def test_other_kinds_are_plain_links(body: bytes, want: Link) -> None:
    assert decode_link(body, NAMES) == want


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes(15),
        IFINFOMSG.pack(0, 1, 9, 0, 0),  # no name
        reply(u8(IFLA_MTU, 1)),
        reply(attribute(IFLA_LINKINFO, b"123")),
        reply(info("vxlan")),
        reply(info("vxlan", attribute(IFLA_INFO_DATA, b"1"))),
        reply(info("vxlan", nested(IFLA_INFO_DATA, u8(1, 1)))),
        reply(info("veth", string(IFLA_INFO_SLAVE_KIND, "bridge"), nested(IFLA_INFO_SLAVE_DATA, u32(4, 1)))),
    ],
)
def test_a_garbled_link_is_an_rtnl_error(body: bytes) -> None:
    with pytest.raises(RtnlError):
        decode_link(body, NAMES)
