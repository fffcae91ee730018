"""Routes as rtnetlink messages. Pure.

What the kernel makes of a wish, and how it is read back so that the wish agrees:

    IPv6 metric 0   the kernel stores 1024; it is sent as 1024 and read back as 0, the way it was wished for
    scope           left open, it is "link" for a route with no gateway and "universe" for the rest, as `ip route` does it;
                    IPv6 has no scopes, and state.py does not compare them there
    protocol        left open, it is "boot", as `ip route` does it
    IPv6 blackhole  the kernel names `lo` as its device; it is read back as None, as in IPv4

Not read: the local table (the kernel's own), routes of other types, cached ones, and those that match on TOS or on the source: a
`Route` cannot say what they are. A route with several next hops is read with no device and no gateway.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6
from struct import Struct
from sys import byteorder

from dataplane.inet import IP, Prefix
from dataplane.rtnl import RtnlError, address, attribute, attributes, fixed, nested, number, u32
from dataplane.state import BLACKHOLE, IP6_RT_PRIO_USER, LOCAL, PROTO_BOOT, SCOPE_LINK, SCOPE_UNIVERSE, UNICAST, Route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

RTMSG = Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, protocol, scope, type, flags

RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_METRICS = 1, 4, 5, 6, 7, 8
RTA_TABLE, RTA_VIA = 15, 18
RTAX_MTU, RTAX_ADVMSS = 2, 8
RTNH_F_ONLINK = 4
RTM_F_CLONED = 0x200
SCOPE_NOWHERE = 255  # in a removal: any scope
TABLE_LOCAL = 255
UNREACHABLE = 7

_READ = frozenset({UNICAST, BLACKHOLE, UNREACHABLE})
_FAMILIES = {AF_INET: 4, AF_INET6: 16}


def encode_route(route: Route, indices: Mapping[str, int]) -> bytes:
    """The body of an RTM_NEWROUTE.

    Raises:
        KeyError: the device is not in `indices`.
    """
    scope = route.scope
    if scope is None:
        scope = SCOPE_LINK if route.via is None and route.type == UNICAST and len(route.dst.address) == 4 else SCOPE_UNIVERSE
    body = _encode(route, indices, PROTO_BOOT if route.protocol is None else route.protocol, scope)
    if route.mtu is None and route.advmss is None:
        return body
    metrics = ((RTAX_MTU, route.mtu), (RTAX_ADVMSS, route.advmss))
    return body + nested(RTA_METRICS, *(u32(kind, value) for kind, value in metrics if value is not None))


def encode_route_removal(route: Route, indices: Mapping[str, int]) -> bytes:
    """The body of an RTM_DELROUTE. What the route leaves open matches anything.

    Raises:
        KeyError: the device is not in `indices`.
    """
    return _encode(route, indices, route.protocol or 0, SCOPE_NOWHERE if route.scope is None else route.scope)


def _encode(route: Route, indices: Mapping[str, int], protocol: int, scope: int) -> bytes:
    dst, via, table, metric = route.dst.address, route.via, route.table, route.metric
    family = AF_INET
    if len(dst) == 16:
        family, metric = AF_INET6, metric or IP6_RT_PRIO_USER
    in_header = table < 256
    flags = RTNH_F_ONLINK if route.onlink else 0
    body = RTMSG.pack(family, route.dst.length, 0, 0, table if in_header else 0, protocol, scope, route.type, flags)
    if route.dst.length:
        body += attribute(RTA_DST, dst)
    if route.device is not None:
        body += u32(RTA_OIF, indices[route.device])
    if via is not None:
        body += attribute(RTA_GATEWAY, via) if len(via) == len(dst) else _encode_via(via)
    if metric:
        body += u32(RTA_PRIORITY, metric)
    if route.src is not None:
        body += attribute(RTA_PREFSRC, route.src)
    return body if in_header else body + u32(RTA_TABLE, table)


def _encode_via(via: IP) -> bytes:
    """A gateway of the other family: an IPv4 route over an IPv6 next hop (RFC 8950)."""
    return attribute(RTA_VIA, int(via.family).to_bytes(2, byteorder) + via)


def encode_route_query(ip: IP) -> bytes:
    """The body of an RTM_GETROUTE that asks which way packets to `ip` leave."""
    return RTMSG.pack(ip.family, ip.bits, 0, 0, 0, 0, 0, 0, 0) + attribute(RTA_DST, ip)


def encode_route_dump(version: int) -> bytes:
    """The body of an RTM_GETROUTE that asks for all routes of a family (4 or 6)."""
    return RTMSG.pack(AF_INET if version == 4 else AF_INET6, 0, 0, 0, 0, 0, 0, 0, 0)


def decode_route(body: bytes, names: Mapping[int, str]) -> Route | None:
    """The route in an RTM_NEWROUTE, or None if it is one that is not read (see the module).

    Raises:
        RtnlError: the message is garbled.
        KeyError: a device is not in `names`.
    """
    family, _length, source_length, tos, table, _protocol, _scope, kind, flags = fixed(RTMSG, body)
    if kind not in _READ or flags & RTM_F_CLONED or table == TABLE_LOCAL or tos or source_length or family not in _FAMILIES:
        return None
    found = _decode(body, names)
    return None if found.table == TABLE_LOCAL else found


def decode_route_answer(body: bytes, names: Mapping[int, str]) -> Route | None:
    """The route in the answer to `encode_route_query`; its `dst` is the address asked for. None: there is no way.

    Raises:
        RtnlError: the message is garbled.
        KeyError: a device is not in `names`.
    """
    family, _length, _source, _tos, _table, _protocol, _scope, kind, _flags = fixed(RTMSG, body)
    if family not in _FAMILIES or kind not in (UNICAST, LOCAL):
        return None
    return _decode(body, names)


def _decode(body: bytes, names: Mapping[int, str]) -> Route:
    family, length, _source, _tos, table, protocol, scope, kind, flags = RTMSG.unpack_from(body)
    found = attributes(body, 12)
    size = _FAMILIES[family]
    dst = found.get(RTA_DST, bytes(size))
    if len(dst) != size or length > size * 8:
        raise RtnlError(f"route to {dst.hex()}/{length} is none of family {family}")
    metric = number(found, RTA_PRIORITY, 4) or 0
    index = number(found, RTA_OIF, 4) if kind in (UNICAST, LOCAL) else None
    mtu, advmss = _decode_metrics(found)
    return Route(
        dst=Prefix(IP(dst), length),
        device=None if index is None else names[index],
        via=_decode_gateway(found),
        src=address(found, RTA_PREFSRC),
        scope=scope,
        protocol=protocol,
        onlink=bool(flags & RTNH_F_ONLINK),
        metric=0 if size == 16 and metric == IP6_RT_PRIO_USER else metric,
        table=number(found, RTA_TABLE, 4) or table,
        type=kind,
        mtu=mtu,
        advmss=advmss,
    )


def _decode_gateway(found: dict[int, bytes]) -> IP | None:
    via = found.get(RTA_VIA)
    if via is None:
        return address(found, RTA_GATEWAY)
    return address({RTA_VIA: via[2:]}, RTA_VIA)


def _decode_metrics(found: dict[int, bytes]) -> tuple[int | None, int | None]:
    packed = found.get(RTA_METRICS)
    if packed is None:
        return None, None
    metrics = attributes(packed)
    return number(metrics, RTAX_MTU, 4), number(metrics, RTAX_ADVMSS, 4)
