"""rtnetlink: pyroute2 is the oracle of the bytes; what is encoded comes back; garbage is one kind of error."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from dataplane import rtnl
from dataplane.inet import IP, Mac, Prefix
from dataplane.record import replace
from dataplane.rtnl import RtnlError
from dataplane.rtnl_device import (
    decode_address,
    decode_fdb_entry,
    decode_neighbor,
    encode_address,
    encode_fdb_entry,
    encode_neighbor,
)
from dataplane.rtnl_link import decode_link, encode_new_link, encode_port, encode_settings
from dataplane.rtnl_route import decode_route, encode_route
from dataplane.state import UNICAST, Address, Bridge, FdbEntry, Ipip, Link, Neighbor, Route, Veth, Vxlan, agrees

if TYPE_CHECKING:
    from collections.abc import Callable

INDICES = {"lo": 1, "eth0": 7, "br0": 300, "a.b-c_d": 70000}
NAMES = {index: name for name, index in INDICES.items()}
FDS = {"/run/netns/x": 5}

ips4 = st.binary(min_size=4, max_size=4).filter(any).map(IP)
ips6 = st.binary(min_size=16, max_size=16).filter(any).map(IP)
ips = ips4 | ips6
macs = st.binary(min_size=6, max_size=6).map(Mac)
devices = st.sampled_from(sorted(INDICES))
mtus = st.none() | st.integers(68, 65535)
maybe = st.none() | st.booleans()


@st.composite
def prefixes(draw: st.DrawFn, addresses: st.SearchStrategy[IP] = ips) -> Prefix:
    address = draw(addresses)
    return Prefix(address, draw(st.integers(0, address.bits)))


@st.composite
def routes(draw: st.DrawFn) -> Route:
    """Routes as they are read: nothing is left open."""
    version6 = draw(st.booleans())
    same = ips6 if version6 else ips4
    kind = draw(st.sampled_from([UNICAST, 6, 7]))
    dst = draw(prefixes(same)).network
    metrics = st.integers(1, 2**32 - 1)
    return Route(
        dst=dst if dst.length else Prefix(IP(bytes(len(dst.address))), 0),
        device=draw(devices) if kind == UNICAST else None,
        via=draw(st.none() | (same if version6 else ips)) if kind == UNICAST else None,
        src=draw(st.none() | same),
        scope=draw(st.integers(0, 254)),
        protocol=draw(st.integers(0, 255)),
        onlink=draw(st.booleans()),
        metric=draw(st.integers(0, 2**32 - 1).filter(lambda metric: not (version6 and metric == 1024))),
        table=draw(st.integers(1, 2**32 - 1).filter(lambda table: table != 255)),
        type=kind,
        mtu=draw(st.none() | metrics),
        advmss=draw(st.none() | metrics),
    )


addresses = st.builds(
    Address,
    devices,
    prefixes(),
    broadcast=st.none() | ips4,
    scope=st.integers(0, 255),
    nodad=st.booleans(),
)
neighbors = st.builds(Neighbor, devices, ips, macs)
fdb_entries = st.builds(FdbEntry, devices, macs, ips)
settings = {"up": maybe, "mtu": mtus, "mac": st.none() | macs, "master": st.none() | st.just("") | devices, "promisc": maybe}
names = st.from_regex(r"[a-z][a-z0-9_.-]{0,14}", fullmatch=True)
links = st.one_of(
    st.builds(Bridge, names, **settings),
    st.builds(
        Veth,
        names,
        **settings,
        peer=st.none() | names,
        peer_netns=st.none() | st.sampled_from(sorted(FDS)),
        peer_mac=st.none() | macs,
        peer_mtu=mtus,
    ),
    st.builds(
        Vxlan,
        names,
        **settings,
        vni=st.integers(0, 2**24 - 1),
        port=st.none() | st.integers(1, 65535),
        local=st.none() | ips,
        underlay=st.none() | devices,
        learning=maybe,
        gbp=maybe,
    ),
    st.builds(Ipip, names, **settings, local=st.none() | ips4, remote=st.none() | ips4, ttl=st.none() | st.integers(0, 255)),
)


# --- the oracle ---

Attrs = list[tuple[str, Any]]
# which attributes hold attributes, and how many bytes stand before those
ROUTE_TREE: dict[int, Any] = {8: (0, {})}
LINK_TREE: dict[int, Any] = {12: (0, {}), 18: (0, {2: (0, {})})}
VETH_TREE: dict[int, Any] = {18: (0, {2: (0, {1: (16, {})})})}


def tree(data: bytes, offset: int, nested: dict[int, Any]) -> dict[int, Any]:
    """Attributes as nested mappings, so that their order does not matter."""
    found = rtnl.attributes(data, offset)
    return {
        kind: (value[: nested[kind][0]], tree(value, *nested[kind])) if kind in nested else value for kind, value in found.items()
    }


def compare(ours: bytes, theirs: Any, size: int, nested: dict[int, Any]) -> None:
    theirs.encode()
    (message,) = rtnl.messages(bytes(theirs.data))
    assert ours[:size] == message.body[:size]
    assert tree(ours, size, nested) == tree(message.body, size, nested)


def given_only(*attrs: tuple[str, Any]) -> Attrs:
    return [(name, value) for name, value in attrs if value is not None]


def text(ip: IP | None) -> str | None:
    return None if ip is None else str(ip)


@given(routes())
def test_a_route_has_pyroute2s_bytes(route: Route) -> None:
    message = rtmsg()
    small = route.table < 256
    message.update(
        family=route.dst.family,
        dst_len=route.dst.length,
        table=route.table if small else 0,
        proto=route.protocol,
        scope=route.scope,
        type=route.type,
        flags=4 if route.onlink else 0,
    )
    same = route.via is not None and len(route.via) == len(route.dst.address)
    metrics = given_only(("RTAX_MTU", route.mtu), ("RTAX_ADVMSS", route.advmss))
    message["attrs"] = given_only(
        ("RTA_DST", str(route.dst.address) if route.dst.length else None),
        ("RTA_OIF", None if route.device is None else INDICES[route.device]),
        ("RTA_GATEWAY", text(route.via) if same else None),
        ("RTA_VIA", {"family": route.via.family, "addr": str(route.via)} if route.via is not None and not same else None),
        ("RTA_PREFSRC", text(route.src)),
        ("RTA_PRIORITY", (route.metric or (1024 if route.dst.version == 6 else 0)) or None),
        ("RTA_TABLE", None if small else route.table),
        ("RTA_METRICS", {"attrs": metrics} if metrics else None),
    )
    compare(encode_route(route, INDICES), message, 12, ROUTE_TREE)


@given(addresses)
def test_an_address_has_pyroute2s_bytes(wish: Address) -> None:
    message = ifaddrmsg()
    message.update(family=wish.prefix.family, prefixlen=wish.prefix.length, scope=wish.scope, index=INDICES[wish.device])
    ip = str(wish.prefix.address)
    message["attrs"] = given_only(
        ("IFA_LOCAL", ip),
        ("IFA_ADDRESS", ip),
        ("IFA_BROADCAST", text(wish.broadcast)),
        ("IFA_FLAGS", 2 if wish.nodad else None),
    )
    compare(encode_address(wish, INDICES), message, 8, {})


@given(neighbors)
def test_a_neighbour_has_pyroute2s_bytes(wish: Neighbor) -> None:
    message = ndmsg()
    message.update(family=wish.ip.family, ifindex=INDICES[wish.device], state=0x80)
    message["attrs"] = [("NDA_DST", str(wish.ip)), ("NDA_LLADDR", str(wish.mac))]
    compare(encode_neighbor(wish, INDICES), message, 12, {})


@given(fdb_entries)
def test_a_forwarding_entry_has_pyroute2s_bytes(wish: FdbEntry) -> None:
    message = ndmsg()
    message.update(family=7, ifindex=INDICES[wish.device], state=0x80, flags=2)
    message["attrs"] = [("NDA_DST", str(wish.dst)), ("NDA_LLADDR", str(wish.mac))]
    compare(encode_fdb_entry(wish, INDICES), message, 12, {})


def oracle_settings(link: Link) -> Attrs:
    master = None if link.master is None else INDICES[link.master] if link.master else 0
    return given_only(
        ("IFLA_IFNAME", link.name),
        ("IFLA_MTU", link.mtu),
        ("IFLA_ADDRESS", None if link.mac is None else str(link.mac)),
        ("IFLA_MASTER", master),
    )


def oracle_data(link: Link) -> tuple[str, Attrs]:
    if isinstance(link, Veth):
        peer = given_only(
            ("IFLA_IFNAME", link.peer),
            ("IFLA_ADDRESS", None if link.peer_mac is None else str(link.peer_mac)),
            ("IFLA_MTU", link.peer_mtu),
            ("IFLA_NET_NS_FD", None if link.peer_netns is None else FDS[link.peer_netns]),
        )
        return "veth", [("VETH_INFO_PEER", {"attrs": peer})]
    if isinstance(link, Vxlan):
        six = link.local is not None and link.local.version == 6
        return "vxlan", given_only(
            ("IFLA_VXLAN_ID", link.vni),
            ("IFLA_VXLAN_LINK", None if link.underlay is None else INDICES[link.underlay]),
            ("IFLA_VXLAN_LOCAL6" if six else "IFLA_VXLAN_LOCAL", text(link.local)),
            ("IFLA_VXLAN_LEARNING", None if link.learning is None else int(link.learning)),
            ("IFLA_VXLAN_PORT", link.port),
            ("IFLA_VXLAN_GBP", True if link.gbp else None),
        )
    if isinstance(link, Ipip):
        return "ipip", given_only(
            ("IFLA_IPIP_LOCAL", text(link.local)), ("IFLA_IPIP_REMOTE", text(link.remote)), ("IFLA_IPIP_TTL", link.ttl)
        )
    return "bridge", []


@given(links)
def test_a_new_link_has_pyroute2s_bytes(link: Link) -> None:
    message = ifinfmsg()
    promisc = 0x100 if link.promisc is not None else 0
    message.update(flags=0x100 if link.promisc else 0, change=promisc)
    kind, data = oracle_data(link)
    linkinfo = given_only(("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", {"attrs": data} if data else None))
    message["attrs"] = [*oracle_settings(link), ("IFLA_LINKINFO", {"attrs": linkinfo})]
    compare(encode_new_link(link, INDICES, FDS), message, 16, VETH_TREE if isinstance(link, Veth) else LINK_TREE)


@given(links)
def test_the_settings_of_a_link_have_pyroute2s_bytes(link: Link) -> None:
    message = ifinfmsg()
    message.update(
        flags=(1 if link.up else 0) | (0x100 if link.promisc else 0),
        change=(0 if link.up is None else 1) | (0 if link.promisc is None else 0x100),
    )
    message["attrs"] = oracle_settings(link)
    compare(encode_settings(link, ["up", "mtu", "mac", "master", "promisc"], INDICES), message, 16, LINK_TREE)


@given(devices, st.booleans(), st.booleans())
def test_the_flags_of_a_bridge_port_have_pyroute2s_bytes(name: str, hairpin: bool, isolated: bool) -> None:
    message = ifinfmsg()
    message.update(family=7, index=INDICES[name])
    flags = [("IFLA_BRPORT_MODE", int(hairpin)), ("IFLA_BRPORT_ISOLATED", int(isolated))]
    message["attrs"] = [("IFLA_PROTINFO", {"attrs": flags})]
    link = Link(name, hairpin=hairpin, isolated=isolated)
    compare(encode_port(link, ["hairpin", "isolated"], INDICES), message, 16, LINK_TREE)


# --- there and back ---


@given(routes())
def test_a_route_comes_back(route: Route) -> None:
    assert decode_route(encode_route(route, INDICES), NAMES) == route


@given(addresses)
def test_an_address_comes_back(wish: Address) -> None:
    found = decode_address(encode_address(wish, INDICES), NAMES)
    made_by_kernel = wish.prefix.address[:1] == b"\xfe" and wish.prefix.address.is_link_local
    assert found == wish or (found is None and made_by_kernel)


@given(neighbors)
def test_a_neighbour_comes_back(wish: Neighbor) -> None:
    assert decode_neighbor(encode_neighbor(wish, INDICES), NAMES) == wish


@given(fdb_entries)
def test_a_forwarding_entry_comes_back(wish: FdbEntry) -> None:
    assert decode_fdb_entry(encode_fdb_entry(wish, INDICES), NAMES) == wish


@given(links)
def test_a_link_comes_back_down(link: Link) -> None:
    found = decode_link(encode_new_link(link, INDICES, FDS), NAMES)
    assert agrees(replace(link, up=False), found)


# --- garbage ---


class AnyName(dict[int, str]):
    def __missing__(self, index: int) -> str:
        return f"if{index}"


DECODERS: list[Callable[..., object]] = [decode_route, decode_address, decode_neighbor, decode_fdb_entry, decode_link]
GOOD = st.one_of(
    routes().map(lambda route: encode_route(route, INDICES)),
    addresses.map(lambda wish: encode_address(wish, INDICES)),
    neighbors.map(lambda wish: encode_neighbor(wish, INDICES)),
    links.map(lambda link: encode_new_link(link, INDICES, FDS)),
)


def read(decode: Callable[..., object], body: bytes) -> None:
    with suppress(RtnlError):
        decode(body, AnyName())


@given(GOOD, st.data())
def test_every_truncation_of_a_message_is_an_rtnl_error(body: bytes, data: st.DataObject) -> None:
    whole = rtnl.message(rtnl.RTM_NEWROUTE, 0, 1, body)
    size = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(RtnlError):
        list(rtnl.messages(whole[:size]))


@pytest.mark.parametrize("decode", DECODERS)
@given(body=GOOD | st.binary(max_size=80), data=st.data())
def test_a_garbled_body_is_read_or_an_rtnl_error(decode: Callable[..., object], body: bytes, data: st.DataObject) -> None:
    read(decode, body[: data.draw(st.integers(0, len(body)))])
    if body:
        at = data.draw(st.integers(0, len(body) - 1))
        read(decode, body[:at] + bytes([data.draw(st.integers(0, 255))]) + body[at + 1 :])


@given(st.binary(max_size=120))
def test_a_garbled_datagram_is_read_or_an_rtnl_error(data: bytes) -> None:
    with suppress(RtnlError):
        for message in rtnl.messages(data):
            rtnl.decode_error(message)
            rtnl.decode_done(message)
