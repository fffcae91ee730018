"""Addresses, neighbours and forwarding entries to bytes and back."""

from __future__ import annotations

import pytest

from dataplane.inet import parse_ip, parse_mac, parse_prefix
from dataplane.rtnl import RtnlError, attribute, attributes, u8, u32
from dataplane.rtnl_device import (
    IFA_ADDRESS,
    IFA_BROADCAST,
    IFA_F_STABLE_PRIVACY,
    IFA_FLAGS,
    IFA_LOCAL,
    IFA_PROTO,
    IFADDRMSG,
    NDA_DST,
    NDA_IFINDEX,
    NDA_LLADDR,
    NDMSG,
    decode_address,
    decode_fdb_entry,
    decode_neighbor,
    encode_address,
    encode_address_dump,
    encode_fdb_dump,
    encode_fdb_entry,
    encode_neighbor,
    encode_neighbor_dump,
)
from dataplane.state import SCOPE_HOST, SCOPE_LINK, Address, FdbEntry, Neighbor, agrees

INDICES = {"eth0": 7}
NAMES = {7: "eth0"}
V4, V6, MAC = parse_prefix("10.0.0.1/24"), parse_prefix("fd00::1/64"), parse_mac("02:00:00:00:00:01")
HEX6 = V6.address.hex()


@pytest.mark.parametrize(
    ("wish", "header", "want"),
    [
        (Address("eth0", V4), (2, 24, 0, 0, 7), {IFA_LOCAL: "0a000001", IFA_ADDRESS: "0a000001"}),
        (
            Address("eth0", V4, broadcast=parse_ip("10.0.0.255"), scope=SCOPE_HOST),
            (2, 24, 0, 254, 7),
            {IFA_LOCAL: "0a000001", IFA_ADDRESS: "0a000001", IFA_BROADCAST: "0a0000ff"},
        ),
        (Address("eth0", V6, nodad=True), (10, 64, 0, 0, 7), {IFA_LOCAL: HEX6, IFA_ADDRESS: HEX6, IFA_FLAGS: "02000000"}),
        (Address("eth0", V6, scope=SCOPE_LINK), (10, 64, 0, 253, 7), {IFA_LOCAL: HEX6, IFA_ADDRESS: HEX6}),
    ],
)
def test_an_address_is_encoded_and_what_is_read_back_agrees(wish: Address, header: tuple[int, ...], want: dict[int, str]) -> None:
    body = encode_address(wish, INDICES)
    assert IFADDRMSG.unpack_from(body) == header
    assert attributes(body, IFADDRMSG.size) == {kind: bytes.fromhex(value) for kind, value in want.items()}
    found = decode_address(body, NAMES)
    assert found is not None
    assert agrees(wish, found)


def test_the_scope_of_an_ipv6_address_is_the_kernels() -> None:
    assert agrees(Address("eth0", V6, scope=SCOPE_LINK), Address("eth0", V6, scope=0))
    assert not agrees(Address("eth0", V4, scope=SCOPE_LINK), Address("eth0", V4, scope=0))


def test_with_a_peer_the_local_address_is_ours() -> None:
    body = IFADDRMSG.pack(2, 24, 0, 0, 7) + attribute(IFA_ADDRESS, b"\x0a\0\0\2") + attribute(IFA_LOCAL, V4.address)
    found = decode_address(body, NAMES)
    assert found is not None
    assert found.prefix == V4


EUI64, RANDOM = parse_ip("fe80::2:ff:fe00:1"), parse_ip("fe80::1234:5678:9abc:def0")


@pytest.mark.parametrize(
    ("address", "extra", "read"),
    [
        (EUI64, u8(IFA_PROTO, 3), False),  # since Linux 5.18
        (RANDOM, u8(IFA_PROTO, 3), False),
        (V6.address, u8(IFA_PROTO, 2), False),  # router advertisement
        (EUI64, b"", False),  # before
        (RANDOM, u32(IFA_FLAGS, IFA_F_STABLE_PRIVACY), False),
        (RANDOM, b"", True),
        (parse_ip("fe80::1"), b"", True),
        (parse_ip("::1"), u8(IFA_PROTO, 1), True),
        (V6.address, b"", True),
    ],
)
def test_addresses_that_the_kernel_made_are_not_read(address: bytes, extra: bytes, read: bool) -> None:
    body = IFADDRMSG.pack(10, 64, 0, 253, 7) + attribute(IFA_ADDRESS, address) + extra
    assert (decode_address(body, NAMES) is not None) == read


@pytest.mark.parametrize("wish", [Neighbor("eth0", V4.address, MAC), Neighbor("eth0", V6.address, MAC)])
def test_a_neighbour_is_permanent_and_comes_back(wish: Neighbor) -> None:
    body = encode_neighbor(wish, INDICES)
    assert NDMSG.unpack_from(body) == (wish.ip.family, 7, 0x80, 0, 0)
    assert attributes(body, NDMSG.size) == {NDA_DST: bytes(wish.ip), NDA_LLADDR: bytes(MAC)}
    assert decode_neighbor(body, NAMES) == wish


@pytest.mark.parametrize("wish", [FdbEntry("eth0", MAC, V4.address), FdbEntry("eth0", MAC, V6.address)])
def test_a_forwarding_entry_is_the_devices_own_and_comes_back(wish: FdbEntry) -> None:
    body = encode_fdb_entry(wish, INDICES)
    assert NDMSG.unpack_from(body) == (7, 7, 0x80, 0x02, 0)
    assert attributes(body, NDMSG.size) == {NDA_DST: bytes(wish.dst), NDA_LLADDR: bytes(MAC)}
    assert decode_fdb_entry(body, NAMES) == wish


def neighbor(family: int, state: int, flags: int, *attrs: bytes) -> bytes:
    return NDMSG.pack(family, 7, state, flags, 0) + b"".join(attrs)


DST, LLADDR = attribute(NDA_DST, V4.address), attribute(NDA_LLADDR, MAC)


def test_only_permanent_neighbours_with_a_mac_are_read() -> None:
    assert decode_neighbor(neighbor(2, 0x80, 0, DST, LLADDR), NAMES) is not None
    for body in (
        neighbor(2, 0x04, 0, DST, LLADDR),  # stale
        neighbor(2, 0x80, 0x08, DST, LLADDR),  # proxy
        neighbor(2, 0x80, 0, DST),
        neighbor(7, 0x80, 0x02, DST, LLADDR),
    ):
        assert decode_neighbor(body, NAMES) is None


def test_only_a_devices_own_permanent_entries_with_a_destination_are_read() -> None:
    assert decode_fdb_entry(neighbor(7, 0x80, 0x02, DST, LLADDR), NAMES) is not None
    for body in (
        neighbor(7, 0x02, 0x02, DST, LLADDR),  # learned
        neighbor(7, 0x80, 0x04, DST, LLADDR),  # a bridge's
        neighbor(7, 0x80, 0x02, LLADDR),
        neighbor(2, 0x80, 0x02, DST, LLADDR),
    ):
        assert decode_fdb_entry(body, NAMES) is None


def test_dumps_are_filtered_as_strict_checking_wants_it() -> None:
    assert encode_address_dump(7) == IFADDRMSG.pack(0, 0, 0, 0, 7)
    assert encode_neighbor_dump(7) == NDMSG.pack(0, 0, 0, 0, 0) + u32(NDA_IFINDEX, 7)
    assert encode_neighbor_dump() == NDMSG.pack(0, 0, 0, 0, 0)
    assert encode_fdb_dump(7) == NDMSG.pack(7, 7, 0, 0, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes(7),
        IFADDRMSG.pack(2, 24, 0, 0, 7),
        IFADDRMSG.pack(2, 33, 0, 0, 7) + attribute(IFA_LOCAL, V4.address),
        IFADDRMSG.pack(10, 24, 0, 0, 7) + attribute(IFA_LOCAL, V4.address),
        IFADDRMSG.pack(2, 24, 0, 0, 7) + attribute(IFA_LOCAL, V4.address) + u8(IFA_FLAGS, 1),
    ],
)
def test_a_garbled_address_is_an_rtnl_error(body: bytes) -> None:
    with pytest.raises(RtnlError):
        decode_address(body, NAMES)


@pytest.mark.parametrize("body", [b"", bytes(11), neighbor(2, 0x80, 0), neighbor(10, 0x80, 0, DST), neighbor(2, 0x80, 0, DST[:7])])
def test_a_garbled_neighbour_is_an_rtnl_error(body: bytes) -> None:
    with pytest.raises(RtnlError):
        decode_neighbor(body, NAMES)


def test_a_garbled_forwarding_entry_is_an_rtnl_error() -> None:
    for body in (b"", neighbor(7, 0x80, 0x02, DST[:6])):
        with pytest.raises(RtnlError):
            decode_fdb_entry(body, NAMES)


def test_an_unknown_family_is_not_read() -> None:
    assert decode_address(IFADDRMSG.pack(7, 24, 0, 0, 7), NAMES) is None
