"""What hangs on a device, as rtnetlink messages: addresses, permanent neighbours, forwarding entries of VXLAN devices. Pure.

Addresses that the kernel makes by itself (IPv6 link-local, router advertisement) are not read: they are nobody's wish, and to
remove one from a device of ours would break it. Since Linux 5.18 the kernel says so (IFA_PROTO). Before, a link-local address is
taken for the kernel's if it was derived from the MAC (EUI-64, RFC 4291) or from a secret (RFC 7217).

The kernel works out the scope of an IPv6 address from the address; state.py does not compare it there.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6
from struct import Struct

from dataplane.inet import IP, Mac, Prefix
from dataplane.rtnl import AF_BRIDGE, RtnlError, address, attribute, attributes, fixed, number, u32
from dataplane.state import SCOPE_UNIVERSE, Address, FdbEntry, Neighbor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

IFADDRMSG = Struct("=BBBBI")  # family, prefixlen, flags, scope, index
NDMSG = Struct("=BxxxiHBB")  # family, ifindex, state, flags, type

IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS, IFA_PROTO = 1, 2, 4, 8, 11
IFA_F_NODAD, IFA_F_STABLE_PRIVACY = 0x02, 0x800
IFAPROT_KERNEL_RA, IFAPROT_KERNEL_LL = 2, 3
NDA_DST, NDA_LLADDR, NDA_IFINDEX = 1, 2, 8
NUD_PERMANENT = 0x80
NTF_SELF, NTF_PROXY = 0x02, 0x08

_FAMILIES = {AF_INET: 4, AF_INET6: 16}


def encode_address(wish: Address, indices: Mapping[str, int]) -> bytes:
    """The body of an RTM_NEWADDR or RTM_DELADDR.

    Raises:
        KeyError: the device is not in `indices`.
    """
    ip = wish.prefix.address
    scope = SCOPE_UNIVERSE if wish.scope is None else wish.scope
    body = IFADDRMSG.pack(ip.family, wish.prefix.length, 0, scope, indices[wish.device])
    body += attribute(IFA_LOCAL, ip) + attribute(IFA_ADDRESS, ip)
    if wish.broadcast is not None:
        body += attribute(IFA_BROADCAST, wish.broadcast)
    return body + u32(IFA_FLAGS, IFA_F_NODAD) if wish.nodad else body


def encode_address_dump(index: int = 0) -> bytes:
    """The body of an RTM_GETADDR that asks for the addresses of one device, or of all (index 0), in both families."""
    return IFADDRMSG.pack(0, 0, 0, 0, index)


def decode_address(body: bytes, names: Mapping[int, str]) -> Address | None:
    """The address in an RTM_NEWADDR, or None if it is one that is not read (see the module).

    Raises:
        RtnlError: the message is garbled.
        KeyError: the device is not in `names`.
    """
    family, length, _flags, scope, index = fixed(IFADDRMSG, body)
    found = attributes(body, IFADDRMSG.size)
    size = _FAMILIES.get(family)
    if size is None:
        return None
    ip = address(found, IFA_LOCAL) or address(found, IFA_ADDRESS)  # with a peer, IFA_ADDRESS is the peer's
    if ip is None or len(ip) != size or length > ip.bits:
        raise RtnlError(f"address {ip}/{length} is none of family {family}")
    flags = number(found, IFA_FLAGS, 4) or 0
    if _is_made_by_kernel(ip, flags, number(found, IFA_PROTO, 1)):
        return None
    return Address(names[index], Prefix(ip, length), address(found, IFA_BROADCAST), scope, bool(flags & IFA_F_NODAD))


def _is_made_by_kernel(ip: IP, flags: int, protocol: int | None) -> bool:
    if protocol in (IFAPROT_KERNEL_RA, IFAPROT_KERNEL_LL):
        return True
    if len(ip) == 4 or not ip.is_link_local:
        return False
    return bool(flags & IFA_F_STABLE_PRIVACY) or ip[11:13] == b"\xff\xfe"


def encode_neighbor(wish: Neighbor, indices: Mapping[str, int]) -> bytes:
    """The body of an RTM_NEWNEIGH or RTM_DELNEIGH.

    Raises:
        KeyError: the device is not in `indices`.
    """
    body = NDMSG.pack(wish.ip.family, indices[wish.device], NUD_PERMANENT, 0, 0)
    return body + attribute(NDA_DST, wish.ip) + attribute(NDA_LLADDR, wish.mac)


def encode_neighbor_dump(index: int = 0) -> bytes:
    """The body of an RTM_GETNEIGH that asks for the neighbours on one device, or on all (index 0), in both families."""
    body = NDMSG.pack(0, 0, 0, 0, 0)
    return body + u32(NDA_IFINDEX, index) if index else body


def decode_neighbor(body: bytes, names: Mapping[int, str]) -> Neighbor | None:
    """The permanent neighbour in an RTM_NEWNEIGH; None if it is a learned one, a proxy entry or one without a MAC.

    Raises:
        RtnlError: the message is garbled.
        KeyError: the device is not in `names`.
    """
    family, index, state, flags, _kind = fixed(NDMSG, body)
    if family not in _FAMILIES or not state & NUD_PERMANENT or flags & (NTF_SELF | NTF_PROXY):
        return None
    found = attributes(body, NDMSG.size)
    ip, mac = address(found, NDA_DST), found.get(NDA_LLADDR, b"")
    if ip is None or len(ip) != _FAMILIES[family]:
        raise RtnlError(f"neighbour {ip} is none of family {family}")
    return Neighbor(names[index], ip, Mac(mac)) if len(mac) == 6 else None


def encode_fdb_entry(wish: FdbEntry, indices: Mapping[str, int]) -> bytes:
    """The body of an RTM_NEWNEIGH or RTM_DELNEIGH in family AF_BRIDGE, for the device itself and not a bridge above it.

    Raises:
        KeyError: the device is not in `indices`.
    """
    body = NDMSG.pack(AF_BRIDGE, indices[wish.device], NUD_PERMANENT, NTF_SELF, 0)
    return body + attribute(NDA_LLADDR, wish.mac) + attribute(NDA_DST, wish.dst)


def encode_fdb_dump(index: int = 0) -> bytes:
    """The body of an RTM_GETNEIGH that asks for the forwarding entries of one device, or of all (index 0)."""
    return NDMSG.pack(AF_BRIDGE, index, 0, 0, 0)


def decode_fdb_entry(body: bytes, names: Mapping[int, str]) -> FdbEntry | None:
    """The permanent forwarding entry in an RTM_NEWNEIGH; None if it is learned, a bridge's, or has no destination address.

    Raises:
        RtnlError: the message is garbled.
        KeyError: the device is not in `names`.
    """
    family, index, state, flags, _kind = fixed(NDMSG, body)
    if family != AF_BRIDGE or not state & NUD_PERMANENT or not flags & NTF_SELF:
        return None
    found = attributes(body, NDMSG.size)
    dst, mac = address(found, NDA_DST), found.get(NDA_LLADDR, b"")
    return None if dst is None or len(mac) != 6 else FdbEntry(names[index], Mac(mac), dst)
