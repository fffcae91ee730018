"""Routes to bytes and back."""

from __future__ import annotations

from collections import defaultdict

import pytest

from dataplane.inet import IP, parse_ip, parse_prefix
from dataplane.record import replace
from dataplane.rtnl import RtnlError, attribute, attributes, u32
from dataplane.rtnl_route import (
    RTA_DST,
    RTA_GATEWAY,
    RTA_METRICS,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTA_TABLE,
    RTA_VIA,
    RTMSG,
    decode_route,
    decode_route_answer,
    encode_route,
    encode_route_dump,
    encode_route_query,
    encode_route_removal,
)
from dataplane.state import BLACKHOLE, LOCAL, SCOPE_HOST, Route, agrees

INDICES = {"eth0": 7}
NAMES = {7: "eth0"}
NET, NET6, VIA, VIA6 = parse_prefix("10.1.0.0/16"), parse_prefix("fd01::/64"), parse_ip("10.0.0.2"), parse_ip("fd00::2")


# route; header: family, length, src_len, tos, table, protocol, scope, type, flags; attributes
TABLE = [
    (Route(NET, "eth0"), (2, 16, 0, 0, 254, 3, 253, 1, 0), {RTA_DST: "0a010000", RTA_OIF: "07000000"}),
    (
        Route(NET, "eth0", via=VIA, protocol=84, onlink=True),
        (2, 16, 0, 0, 254, 84, 0, 1, 4),
        {RTA_DST: "0a010000", RTA_OIF: "07000000", RTA_GATEWAY: "0a000002"},
    ),
    (Route(NET, "eth0", scope=SCOPE_HOST), (2, 16, 0, 0, 254, 3, 254, 1, 0), {RTA_DST: "0a010000", RTA_OIF: "07000000"}),
    (Route(parse_prefix("0.0.0.0/0"), via=VIA), (2, 0, 0, 0, 254, 3, 0, 1, 0), {RTA_GATEWAY: "0a000002"}),
    (Route(NET, type=BLACKHOLE), (2, 16, 0, 0, 254, 3, 0, 6, 0), {RTA_DST: "0a010000"}),
    (
        Route(NET, "eth0", src=VIA, metric=5, table=1000),
        (2, 16, 0, 0, 0, 3, 253, 1, 0),
        {RTA_DST: "0a010000", RTA_OIF: "07000000", RTA_PREFSRC: "0a000002", RTA_PRIORITY: "05000000", RTA_TABLE: "e8030000"},
    ),
    (
        Route(NET, "eth0", mtu=1400, advmss=1300),
        (2, 16, 0, 0, 254, 3, 253, 1, 0),
        {RTA_DST: "0a010000", RTA_OIF: "07000000", RTA_METRICS: "08000200 78050000 08000800 14050000"},
    ),
    (
        Route(NET, "eth0", via=VIA6),
        (2, 16, 0, 0, 254, 3, 0, 1, 0),
        {RTA_DST: "0a010000", RTA_OIF: "07000000", RTA_VIA: "0a00" + VIA6.hex()},
    ),
    (
        Route(NET6, "eth0"),
        (10, 64, 0, 0, 254, 3, 0, 1, 0),
        {RTA_DST: NET6.address.hex(), RTA_OIF: "07000000", RTA_PRIORITY: "00040000"},
    ),
]


@pytest.mark.parametrize(("route", "header", "want"), TABLE)
def test_a_route_is_encoded_and_what_is_read_back_agrees(route: Route, header: tuple[int, ...], want: dict[int, str]) -> None:
    body = encode_route(route, INDICES)
    assert RTMSG.unpack_from(body) == header
    assert attributes(body, RTMSG.size) == {kind: bytes.fromhex(value) for kind, value in want.items()}
    found = decode_route(body, NAMES)
    assert found is not None
    assert agrees(route, found)
    assert found.key == route.key


def test_a_removal_names_the_protocol_and_leaves_open_what_the_route_leaves_open() -> None:
    assert RTMSG.unpack_from(encode_route_removal(Route(NET, "eth0"), INDICES))[5:7] == (0, 255)
    told = encode_route_removal(Route(NET, "eth0", protocol=84, scope=253, mtu=1400), INDICES)
    assert RTMSG.unpack_from(told)[5:7] == (84, 253)
    assert RTA_METRICS not in attributes(told, RTMSG.size)


def test_a_device_that_is_not_known_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="eth1"):
        encode_route(Route(NET, "eth1"), INDICES)
    with pytest.raises(KeyError):
        decode_route(encode_route(Route(NET, "eth0"), INDICES), {})


def header(**fields: int) -> bytes:
    names = ("family", "dst_len", "src_len", "tos", "table", "protocol", "scope", "type", "flags")
    values = {"family": 2, "dst_len": 16, "table": 254, "type": 1, **fields}
    return RTMSG.pack(*(values.get(name, 0) for name in names)) + attribute(RTA_DST, NET.address) + u32(RTA_OIF, 7)


@pytest.mark.parametrize(
    "body",
    [
        header(table=255),
        header(table=252) + u32(RTA_TABLE, 255),
        header(type=LOCAL),
        header(type=5),  # multicast
        header(flags=0x200),  # cloned
        header(tos=8),
        header(src_len=24),
        header(family=7),
    ],
)
def test_what_a_route_cannot_say_is_not_read(body: bytes) -> None:
    assert decode_route(body, NAMES) is None


@pytest.mark.parametrize("kind", [1, BLACKHOLE, 7])
def test_unicast_blackhole_and_unreachable_are_read(kind: int) -> None:
    found = decode_route(header(type=kind), NAMES)
    assert found is not None
    assert (found.type, found.device) == (kind, "eth0" if kind == 1 else None)


def test_ipv6_metric_1024_is_the_metric_0_of_the_wish() -> None:
    read = decode_route(encode_route(Route(NET6, "eth0"), INDICES), NAMES)
    assert read is not None
    assert read.metric == 0
    for metric in (0, 1024):
        wish = Route(NET6, "eth0", metric=metric)
        assert wish.key == read.key
        assert agrees(wish, read)
    assert replace(read, metric=512).key != read.key
    assert Route(NET, "eth0", metric=1024).key != Route(NET, "eth0").key


def test_a_route_with_several_next_hops_has_no_device() -> None:
    multipath = RTMSG.pack(2, 16, 0, 0, 254, 3, 0, 1, 0) + attribute(RTA_DST, NET.address) + attribute(9, bytes(16))
    found = decode_route(multipath, NAMES)
    assert found is not None
    assert (found.device, found.via) == (None, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes(11),
        header(dst_len=33),
        header(family=10),
        header() + b"\1",
        header() + attribute(RTA_GATEWAY, b"123"),
        header() + attribute(RTA_VIA, b"1"),
        header() + attribute(RTA_METRICS, b"123"),
        header() + attribute(RTA_OIF, b"12"),
    ],
)
def test_garbage_is_an_rtnl_error(body: bytes) -> None:
    with pytest.raises(RtnlError):
        decode_route(body, NAMES)


def test_a_question_and_its_answer() -> None:
    assert RTMSG.unpack_from(encode_route_query(VIA)) == (2, 32, 0, 0, 0, 0, 0, 0, 0)
    assert RTMSG.unpack_from(encode_route_query(VIA6))[:2] == (10, 128)
    answer = decode_route_answer(header(flags=0x200), NAMES)
    assert answer == decode_route(header(), NAMES)
    local = decode_route_answer(header(type=LOCAL, table=255), NAMES)
    assert local is not None
    assert local.type == LOCAL
    assert decode_route_answer(header(type=7), NAMES) is None


def test_a_dump_asks_for_one_family() -> None:
    assert encode_route_dump(4)[0] == 2
    assert encode_route_dump(6)[0] == 10


def test_a_default_route_has_a_zero_destination() -> None:
    body = RTMSG.pack(10, 0, 0, 0, 254, 3, 0, 1, 0)
    found = decode_route(body, defaultdict(str))
    assert found is not None
    assert found.dst.address == IP(bytes(16))
