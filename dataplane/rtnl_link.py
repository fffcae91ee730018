"""Network devices as rtnetlink messages: bridge, veth, vxlan, ipip, and the settings of any. Pure.

Devices are addressed by name, so that a request cannot hit another device that took the index of one that has gone. Only what
refers to a second device (master, underlay) and the flags of a bridge port need an index.

`promisc` is what users asked for (IFF_PROMISC in the flags), not the count that also has bridges and tcpdump in it: the Go plugin
reads the count, and reports a mistake whenever somebody listens.
"""

from __future__ import annotations

from struct import Struct

from dataplane.inet import Mac
from dataplane.rtnl import AF_BRIDGE, RtnlError, address, attribute, attributes, fixed, nested, number, string, text, u8, u32
from dataplane.state import Bridge, Ipip, Link, Veth, Vxlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

IFINFOMSG = Struct("=BxHiII")  # family, type, index, flags, change

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_PROTINFO, IFLA_OPERSTATE, IFLA_LINKINFO = 1, 3, 4, 10, 12, 16, 18
IFLA_NET_NS_FD, IFLA_EXT_MASK = 28, 29
IF_OPER_UP = 6  # <linux/if.h>
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 4, 33
VETH_INFO_PEER = 1
IFLA_VXLAN_ID, IFLA_VXLAN_LINK, IFLA_VXLAN_LOCAL, IFLA_VXLAN_LEARNING = 1, 3, 4, 7
IFLA_VXLAN_PORT, IFLA_VXLAN_LOCAL6, IFLA_VXLAN_GBP = 15, 17, 23
IFLA_IPTUN_LOCAL, IFLA_IPTUN_REMOTE, IFLA_IPTUN_TTL = 2, 3, 4
IFF_UP, IFF_PROMISC = 0x1, 0x100
RTEXT_FILTER_SKIP_STATS = 8  # IPv6 has half a kilobyte of counters for each device

PORT_FIELDS = {"hairpin": IFLA_BRPORT_MODE, "isolated": IFLA_BRPORT_ISOLATED}


def encode_new_link(link: Link, indices: Mapping[str, int], netns_fds: Mapping[str, int]) -> bytes:
    """The body of an RTM_NEWLINK that makes the device, down, with all settings that can be given at once.

    Args:
        link: what to make; not a plain Link.
        indices: the devices that `master` and `underlay` name.
        netns_fds: open namespaces by path, for a veth's `peer_netns`.

    Raises:
        KeyError: a device or namespace is not in the tables.
    """
    kind, encode_data = _KINDS[type(link)]
    settings = encode_settings(link, ("mtu", "mac", "master", "promisc"), indices)
    data = encode_data(link, indices, netns_fds)  # last: the driver opens a namespace for the next send, and a look-up sends
    return settings + nested(IFLA_LINKINFO, string(IFLA_INFO_KIND, kind), *([nested(IFLA_INFO_DATA, *data)] if data else []))


def encode_settings(link: Link, fields: Collection[str], indices: Mapping[str, int]) -> bytes:
    """The body of an RTM_SETLINK that brings `fields` (up, mtu, mac, master, promisc) of a device to what `link` says.

    Raises:
        KeyError: the master is not in `indices`.
    """
    flags = change = 0
    for field, flag in (("up", IFF_UP), ("promisc", IFF_PROMISC)):
        wanted = link.__dict__[field]
        if field in fields and wanted is not None:
            change |= flag
            flags |= flag if wanted else 0
    body = IFINFOMSG.pack(0, 0, 0, flags, change) + string(IFLA_IFNAME, link.name)
    if "mtu" in fields and link.mtu is not None:
        body += u32(IFLA_MTU, link.mtu)
    if "mac" in fields and link.mac is not None:
        body += attribute(IFLA_ADDRESS, link.mac)
    if "master" in fields and link.master is not None:
        body += u32(IFLA_MASTER, indices[link.master] if link.master else 0)
    return body


def encode_port(link: Link, fields: Collection[str], indices: Mapping[str, int]) -> bytes:
    """The body of an RTM_SETLINK in family AF_BRIDGE that sets `fields` (hairpin, isolated) of a bridge port.

    Raises:
        KeyError: the device is not in `indices`.
    """
    flags = [u8(kind, int(link.__dict__[field])) for field, kind in PORT_FIELDS.items() if field in fields]
    return IFINFOMSG.pack(AF_BRIDGE, 0, indices[link.name], 0, 0) + nested(IFLA_PROTINFO, *flags)


def encode_link_removal(link: Link) -> bytes:
    """The body of an RTM_DELLINK."""
    return IFINFOMSG.pack(0, 0, 0, 0, 0) + string(IFLA_IFNAME, link.name)


def encode_link_query(name: str) -> bytes:
    """The body of an RTM_GETLINK for one device."""
    return IFINFOMSG.pack(0, 0, 0, 0, 0) + u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS) + string(IFLA_IFNAME, name)


def encode_link_query_by_index(index: int) -> bytes:
    return IFINFOMSG.pack(0, 0, index, 0, 0) + u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)


def encode_link_dump() -> bytes:
    """The body of an RTM_GETLINK for all devices."""
    return encode_link_query_by_index(0)


def _bridge_data(_link: Link, _indices: Mapping[str, int], _netns_fds: Mapping[str, int]) -> list[bytes]:
    return []


def _veth_data(link: Link, _indices: Mapping[str, int], netns_fds: Mapping[str, int]) -> list[bytes]:
    assert isinstance(link, Veth)  # noqa: S101  the table says so
    peer = IFINFOMSG.pack(0, 0, 0, 0, 0)
    if link.peer is not None:
        peer += string(IFLA_IFNAME, link.peer)
    if link.peer_mac is not None:
        peer += attribute(IFLA_ADDRESS, link.peer_mac)
    if link.peer_mtu is not None:
        peer += u32(IFLA_MTU, link.peer_mtu)
    if link.peer_netns is not None:
        peer += u32(IFLA_NET_NS_FD, netns_fds[link.peer_netns])
    return [attribute(VETH_INFO_PEER, peer)]


def _vxlan_data(link: Link, indices: Mapping[str, int], _netns_fds: Mapping[str, int]) -> list[bytes]:
    assert isinstance(link, Vxlan)  # noqa: S101  the table says so
    data = [u32(IFLA_VXLAN_ID, link.vni)]
    if link.underlay is not None:
        data.append(u32(IFLA_VXLAN_LINK, indices[link.underlay]))
    if link.local is not None:
        data.append(attribute(IFLA_VXLAN_LOCAL if link.local.version == 4 else IFLA_VXLAN_LOCAL6, link.local))
    if link.learning is not None:
        data.append(u8(IFLA_VXLAN_LEARNING, int(link.learning)))
    if link.port is not None:
        data.append(attribute(IFLA_VXLAN_PORT, link.port.to_bytes(2, "big")))
    if link.gbp:
        data.append(attribute(IFLA_VXLAN_GBP, b""))
    return data


def _ipip_data(link: Link, _indices: Mapping[str, int], _netns_fds: Mapping[str, int]) -> list[bytes]:
    assert isinstance(link, Ipip)  # noqa: S101  the table says so
    data = []
    if link.local is not None:
        data.append(attribute(IFLA_IPTUN_LOCAL, link.local))
    if link.remote is not None:
        data.append(attribute(IFLA_IPTUN_REMOTE, link.remote))
    if link.ttl is not None:
        data.append(u8(IFLA_IPTUN_TTL, link.ttl))
    return data


_KINDS: dict[type[Link], tuple[str, Callable[[Link, Mapping[str, int], Mapping[str, int]], list[bytes]]]] = {
    Bridge: ("bridge", _bridge_data),
    Veth: ("veth", _veth_data),
    Vxlan: ("vxlan", _vxlan_data),
    Ipip: ("ipip", _ipip_data),
}


def decode_is_operational(body: bytes) -> bool:
    """Whether the device in an RTM_NEWLINK is in the operational state "up" (RFC 2863, ifOperStatus).

    Raises:
        RtnlError: the message is garbled.
    """
    fixed(IFINFOMSG, body)
    return number(attributes(body, IFINFOMSG.size), IFLA_OPERSTATE, 1) == IF_OPER_UP


def decode_link_name(body: bytes) -> tuple[int, str]:
    """Index and name of the device in an RTM_NEWLINK.

    Raises:
        RtnlError: the message is garbled, or has no name.
    """
    _family, _type, index, _flags, _change = fixed(IFINFOMSG, body)
    name = text(attributes(body, IFINFOMSG.size), IFLA_IFNAME)
    if not name:
        raise RtnlError(f"device {index} without a name")
    return index, name


def decode_link(body: bytes, names: Mapping[int, str]) -> Link:
    """The device in an RTM_NEWLINK. A kind that we do not make is a plain Link.

    `hairpin` and `isolated` are None where the device is no bridge port; a veth's peer is not told.

    Raises:
        RtnlError: the message is garbled.
        KeyError: the master or underlay is not in `names`.
    """
    _index, name = decode_link_name(body)
    _family, _type, _index, flags, _change = IFINFOMSG.unpack_from(body)
    found = attributes(body, IFINFOMSG.size)
    mac = found.get(IFLA_ADDRESS, b"")
    master = number(found, IFLA_MASTER, 4)
    linkinfo = attributes(found.get(IFLA_LINKINFO, b""))
    port = _decode_port(linkinfo)
    settings = (
        name,
        bool(flags & IFF_UP),
        number(found, IFLA_MTU, 4),
        Mac(mac) if len(mac) == 6 else None,  # a tunnel's "MAC" is its local address
        names[master] if master else "",
        bool(flags & IFF_PROMISC),
        port.get("hairpin"),
        port.get("isolated"),
    )
    decode = _DECODERS.get(text(linkinfo, IFLA_INFO_KIND))
    if decode is None:
        return Link(*settings)
    return decode(settings, attributes(linkinfo.get(IFLA_INFO_DATA, b"")), names)


def _decode_port(linkinfo: dict[int, bytes]) -> dict[str, bool]:
    if text(linkinfo, IFLA_INFO_SLAVE_KIND) != "bridge":
        return {}
    found = attributes(linkinfo.get(IFLA_INFO_SLAVE_DATA, b""))
    return {field: bool(number(found, kind, 1)) for field, kind in PORT_FIELDS.items()}


if TYPE_CHECKING:
    Settings = tuple[str, bool, int | None, Mac | None, str, bool, bool | None, bool | None]


def _decode_bridge(settings: Settings, _data: dict[int, bytes], _names: Mapping[int, str]) -> Link:
    return Bridge(*settings)


def _decode_veth(settings: Settings, _data: dict[int, bytes], _names: Mapping[int, str]) -> Link:
    return Veth(*settings)


def _decode_vxlan(settings: Settings, data: dict[int, bytes], names: Mapping[int, str]) -> Link:
    underlay = number(data, IFLA_VXLAN_LINK, 4)
    port = data.get(IFLA_VXLAN_PORT)
    vni = number(data, IFLA_VXLAN_ID, 4)
    if vni is None:
        raise RtnlError(f"vxlan device {settings[0]} without a VNI")
    return Vxlan(
        *settings,
        vni=vni,
        port=None if port is None else int.from_bytes(port, "big"),
        local=address(data, IFLA_VXLAN_LOCAL) or address(data, IFLA_VXLAN_LOCAL6),
        underlay=names[underlay] if underlay else None,
        learning=bool(number(data, IFLA_VXLAN_LEARNING, 1)),
        gbp=IFLA_VXLAN_GBP in data,
    )


def _decode_ipip(settings: Settings, data: dict[int, bytes], _names: Mapping[int, str]) -> Link:
    return Ipip(
        *settings,
        local=address(data, IFLA_IPTUN_LOCAL),
        remote=address(data, IFLA_IPTUN_REMOTE),
        ttl=number(data, IFLA_IPTUN_TTL, 1),
    )


_DECODERS: dict[str, Callable[[Settings, dict[int, bytes], Mapping[int, str]], Link]] = {
    "bridge": _decode_bridge,
    "veth": _decode_veth,
    "vxlan": _decode_vxlan,
    "ipip": _decode_ipip,
}
