"""Invariants of flanneld_py's pure parts."""

from __future__ import annotations

import contextlib
import random

from hypothesis import given
from hypothesis import strategies as st

from dataplane.errors import ConfigError
from dataplane.inet import IP, Prefix, parse_prefix
from flanneld_py.backend.vxlan import vtep_mac
from flanneld_py.conf import SubnetPlan, parse_config
from flanneld_py.lease import BadLease, Lease, decode_lease, encode_value, key_of, parse_key
from flanneld_py.subnet import choose, compatible
from flanneld_py.udp_packet import Lookup, Paths, checksum, decremented, icmp_error, inbound, outbound, well_formed

NETWORK = parse_prefix("10.0.0.0/8")

addresses = st.binary(min_size=4, max_size=4).map(IP)
addresses6 = st.binary(min_size=16, max_size=16).map(IP).filter(lambda ip: ip[:12] != bytes(10) + b"\xff\xff")
subnets = st.builds(lambda ip, length: Prefix(ip, length).network, addresses, st.integers(0, 31))
subnets6 = st.builds(lambda ip, length: Prefix(ip, length).network, addresses6, st.integers(0, 127)).filter(
    lambda prefix: "." not in str(prefix)  # flannel's own expression takes no address that is written half in IPv4
)
datas = st.sampled_from(["", '{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}', '{"PublicKey":"x=","Port":51820}', '"text"', "7"])
leases = st.builds(
    Lease,
    subnet=subnets,
    public_ip=addresses,
    backend_type=st.sampled_from(["", "vxlan", "host-gw", "a<b"]),
    backend_data=datas,
    subnet6=st.none() | subnets6,
    public_ipv6=st.none() | addresses6,
    backend_v6_data=datas,
)
json_texts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["PublicIP", "publicipv6", "BackendData", "x"]), inner)
    ),
    max_leaves=8,
).map(lambda value: repr(value).encode())


@given(leases)
def test_a_lease_comes_back_from_its_key_and_value(lease: Lease) -> None:
    assert decode_lease("/p/subnets/" + key_of(lease.subnet, lease.subnet6), encode_value(lease)) == lease


@given(st.text() | st.from_regex(r"[0-9.]+-[0-9]+(&[a-f0-9:]+-[0-9]+)?"), st.binary() | json_texts)
def test_no_key_and_value_raise_anything_but_bad_lease(key: str, value: bytes) -> None:
    with contextlib.suppress(BadLease):
        parse_key(key)
    with contextlib.suppress(BadLease):
        decode_lease("/p/subnets/10.5.1.0-24", value)


@given(st.binary() | json_texts)
def test_no_configuration_raises_anything_but_config_error(text: bytes) -> None:
    with contextlib.suppress(ConfigError):
        parse_config(text, "config")


@given(st.text())
def test_no_backend_data_raises_anything(text: str) -> None:
    vtep_mac(text)


@st.composite
def plans(draw: st.DrawFn) -> SubnetPlan:
    network = Prefix(draw(addresses), draw(st.integers(8, 28))).network
    length = draw(st.integers(network.length + 2, min(network.length + 6, 30)))
    step, slots = 1 << (32 - length), 1 << (length - network.length)
    low = draw(st.integers(0, slots - 1))
    high = draw(st.integers(low, slots - 1))
    return SubnetPlan(network, length, network.address + low * step, network.address + high * step)


@given(plans(), st.data(), st.integers())
def test_allocation_fills_the_plan_and_never_overlaps(plan: SubnetPlan, data: st.DataObject, seed: int) -> None:
    inside = st.builds(
        lambda offset, length: Prefix(IP((int(plan.network.first) + offset).to_bytes(4, "big")), length).network,
        st.integers(0, (1 << (32 - plan.network.length)) - 1),
        st.integers(plan.network.length, 32),
    )
    held: list[Prefix] = data.draw(st.lists(inside | subnets, max_size=6))
    below = random.Random(seed).randrange
    free = {
        Prefix(IP(number.to_bytes(4, "big")), plan.subnet_len)
        for number in range(int(plan.subnet_min), int(plan.subnet_max) + 1, 1 << (32 - plan.subnet_len))
    }
    free = {subnet for subnet in free if not any(subnet.overlaps(other) for other in held)}
    while (chosen := choose(plan, held, None, below)) is not None:
        assert compatible(plan, chosen)
        assert not any(chosen.overlaps(other) for other in held)
        assert chosen in free
        free.remove(chosen)
        held.append(chosen)
    assert not free


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """A well-formed packet with any TTL, options and payload."""
    options, payload = draw(st.binary(max_size=40).map(lambda b: b[: len(b) // 4 * 4])), draw(st.binary(max_size=60))
    first = bytes([0x40 | 5 + len(options) // 4, draw(st.integers(0, 255))])
    total = (20 + len(options) + len(payload)).to_bytes(2, "big")
    middle = draw(st.binary(min_size=4, max_size=4)) + bytes([draw(st.integers(0, 255)), draw(st.integers(0, 255)), 0, 0])
    header = first + total + middle + draw(addresses) + draw(addresses) + options
    header = header[:10] + checksum(header).to_bytes(2, "big") + header[12:]
    return header + payload


@given(packets())
def test_a_checksum_is_right_after_the_ttl_has_fallen(packet: bytes) -> None:
    assert well_formed(packet)
    if packet[8] == 0:
        return
    less = decremented(packet)
    assert well_formed(less)
    assert less[8] == packet[8] - 1
    assert (less[:8], less[9], less[12:]) == (packet[:8], packet[9], packet[12:])


@given(st.lists(st.tuples(subnets, addresses), max_size=12), addresses)
def test_lookup_equals_a_search_through_all(ways: list[tuple[Prefix, IP]], address: IP) -> None:
    matching = [(subnet.length, number, node) for number, (subnet, node) in enumerate(ways) if address in subnet]
    wanted = max(matching)[2] if matching else None
    assert Lookup.of(ways).find(int(address)) == wanted


ways = st.lists(st.tuples(subnets, addresses), max_size=4)


@given(st.binary(max_size=90) | packets(), addresses, ways, subnets)
def test_nothing_malformed_is_forwarded_or_answered(packet: bytes, sender: IP, ways: list[tuple[Prefix, IP]], own: Prefix) -> None:
    paths = Paths.of(NETWORK, own, [*ways, (parse_prefix("10.0.0.0/9"), sender)])
    for verdict in (outbound(packet, paths), inbound(packet, sender, paths)):
        if not well_formed(packet):
            assert verdict.forward is None
            assert verdict.answer is None
        for sent in (verdict.forward, verdict.answer):
            assert sent is None or well_formed(sent)


@given(packets(), addresses)
def test_an_answer_is_never_answered(packet: bytes, source: IP) -> None:
    answer = icmp_error(packet, source, (3, 0))
    assert answer is None or icmp_error(answer, source, (3, 0)) is None
