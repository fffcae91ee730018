"""What each backend wants in the kernel, from plain values."""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.errors import ConfigError
from dataplane.inet import parse_ip, parse_mac, parse_prefix
from dataplane.state import Address, FdbEntry, Link, Neighbor, Route, Sysctl, Vxlan
from flanneld_py.backend import backend_of, device_of
from flanneld_py.backend.common import Uplink, refusal
from flanneld_py.backend.host_gw import HostGw
from flanneld_py.backend.udp import Udp
from flanneld_py.backend.vxlan import VxlanBackend, vtep_mac
from flanneld_py.conf import NetworkConfig, Options
from flanneld_py.lease import Lease

NETWORK = parse_prefix("10.5.0.0/16")
UPLINK = Uplink("eth0", 1500, parse_ip("192.168.50.1"), parse_ip("192.168.50.1"), (parse_prefix("192.168.50.0/24"),))
NATTED = Uplink("eth0", 1500, parse_ip("192.168.50.1"), parse_ip("203.0.113.7"), (parse_prefix("192.168.50.0/24"),))
FRESH, FOUND = parse_mac("02:00:00:00:00:01"), parse_mac("02:00:00:00:00:02")


def data(mac: str) -> str:
    return f'{{"VNI":1,"VtepMAC":"{mac}"}}'


def lease(number: int, kind: str = "vxlan", **changes: Any) -> Lease:
    backend_data = data(f"02:00:00:00:0{number}:00") if kind == "vxlan" else ""
    fields = {"subnet": parse_prefix(f"10.5.{number}.0/24"), "public_ip": parse_ip(f"192.168.50.{number}")}
    return Lease(**{**fields, "backend_type": kind, "backend_data": backend_data, **changes})


def test_vxlan_wants_device_address_and_three_entries_a_peer() -> None:
    mac = parse_mac("02:00:00:00:02:00")
    assert VxlanBackend().desired([lease(2)], lease(1), UPLINK, NETWORK) == {
        Vxlan(
            "flannel.1",
            mtu=1450,
            mac=parse_mac("02:00:00:00:01:00"),
            vni=1,
            port=8472,
            local=parse_ip("192.168.50.1"),
            underlay="eth0",
            learning=False,
        ),
        Address("flannel.1", parse_prefix("10.5.1.0/32")),
        Sysctl("net/ipv6/conf/flannel.1/accept_ra", "0"),
        Neighbor("flannel.1", parse_ip("10.5.2.0"), mac),
        FdbEntry("flannel.1", mac, parse_ip("192.168.50.2")),
        Route(parse_prefix("10.5.2.0/24"), "flannel.1", via=parse_ip("10.5.2.0"), scope=0, protocol=84, onlink=True),
    }


def test_vxlan_behind_nat_sends_from_its_public_address_as_flannel_does() -> None:
    assert any(isinstance(o, Vxlan) and o.local == NATTED.public_ip for o in VxlanBackend().desired([], lease(1), NATTED, NETWORK))


def test_direct_routing_is_for_neighbours_only() -> None:
    far = lease(3, public_ip=parse_ip("172.16.0.3"))
    wanted = VxlanBackend(direct_routing=True).desired([lease(2), far], lease(1), UPLINK, NETWORK)
    routes = {o.dst: (o.device, o.via) for o in wanted if isinstance(o, Route)}
    assert routes == {
        parse_prefix("10.5.2.0/24"): ("eth0", parse_ip("192.168.50.2")),
        parse_prefix("10.5.3.0/24"): ("flannel.1", parse_ip("10.5.3.0")),
    }
    assert [o.dst for o in wanted if isinstance(o, FdbEntry)] == [far.public_ip]


def test_of_two_peers_with_one_mac_the_later_has_it() -> None:
    twin = lease(3, backend_data=data("02:00:00:00:02:00"))
    wanted = VxlanBackend().desired([lease(2), twin], lease(1), UPLINK, NETWORK)
    assert [o.dst for o in wanted if isinstance(o, FdbEntry)] == [twin.public_ip]


def test_host_gw_wants_one_route_a_peer() -> None:
    wanted = HostGw().desired([lease(2, "host-gw")], lease(1, "host-gw"), UPLINK, NETWORK)
    assert wanted == {Route(parse_prefix("10.5.2.0/24"), "eth0", via=parse_ip("192.168.50.2"), scope=0, protocol=84)}


def test_host_gw_refuses_nat() -> None:
    with pytest.raises(ConfigError, match="does not work behind NAT"):
        HostGw().check(NATTED)
    HostGw().check(UPLINK)


def test_udp_wants_the_network_on_its_device_whoever_the_peers_are() -> None:
    wanted = Udp().desired([lease(2, "")], lease(1, ""), UPLINK, NETWORK)
    assert wanted == {
        Link("flannel0", mtu=1472),
        Address("flannel0", parse_prefix("10.5.1.0/32")),
        Sysctl("net/ipv4/conf/flannel0/accept_local", "1"),
        Route(NETWORK, "flannel0", scope=0, protocol=84),
    }


@pytest.mark.parametrize(
    ("backend", "wanted"),
    [(VxlanBackend(), 1450), (VxlanBackend(mtu=9000), 8950), (HostGw(), 1500), (Udp(), 1472)],
)
def test_mtu_leaves_room_for_the_headers(backend: VxlanBackend | HostGw | Udp, wanted: int) -> None:
    assert backend.network_mtu(UPLINK) == wanted


@pytest.mark.parametrize("backend", [VxlanBackend(mtu=100), Udp()])
def test_an_mtu_without_room_is_refused(backend: VxlanBackend | Udp) -> None:
    narrow = Uplink("eth0", 80, UPLINK.address, UPLINK.address)
    with pytest.raises(ConfigError, match="must be at least"):
        backend.check(narrow)


def test_the_vtep_keeps_its_mac() -> None:
    backend = VxlanBackend()
    kept = data("02:00:00:00:00:03")
    assert backend.lease_data(FOUND, kept, FRESH) == data(str(FOUND))
    assert backend.lease_data(None, kept, FRESH) == kept
    assert backend.lease_data(None, "", FRESH) == data(str(FRESH))


@pytest.mark.parametrize("mac", ["01:00:00:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"])
def test_a_mac_that_no_device_can_have_is_not_kept(mac: str) -> None:
    assert VxlanBackend().lease_data(None, data(mac), FRESH) == data(str(FRESH))


@pytest.mark.parametrize("text", ["", "null", "7", '"x"', "[]", "{}", '{"VtepMAC":7}', '{"VtepMAC":"x"}', '{"VtepMAC":null}'])
def test_backend_data_without_a_mac_is_refused(text: str) -> None:
    assert vtep_mac(text) is None
    assert VxlanBackend().refuses(lease(2, backend_data=text), lease(1)) == "its BackendData has no VtepMAC"


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (lease(2), None),
        (lease(2, subnet6=parse_prefix("fd00::/64"), public_ipv6=parse_ip("fd00::1")), None),
        (lease(2, "host-gw"), "backend host-gw is not ours"),
        (lease(2, ""), "backend udp is not ours"),
        (lease(2, subnet=parse_prefix("10.6.0.0/24")), "the subnet is outside the network 10.5.0.0/16"),
        (lease(2, subnet=parse_prefix("0.0.0.0/0")), "the subnet is outside the network 10.5.0.0/16"),
        (lease(2, subnet=parse_prefix("10.5.0.0/16")), "the subnet overlaps our own, 10.5.1.0/24"),
        (lease(2, subnet=parse_prefix("10.5.1.128/25")), "the subnet overlaps our own, 10.5.1.0/24"),
        (lease(2, public_ip=parse_ip("0.0.0.0")), "public IP 0.0.0.0 cannot be another node"),
        (lease(2, public_ip=parse_ip("127.0.0.1")), "public IP 127.0.0.1 cannot be another node"),
        (lease(2, public_ip=parse_ip("0.0.0.1")), "public IP 0.0.0.1 cannot be another node"),
        (lease(2, public_ip=parse_ip("239.1.1.1")), "public IP 239.1.1.1 cannot be another node"),
        (lease(2, public_ip=parse_ip("255.255.255.255")), "public IP 255.255.255.255 cannot be another node"),
        (lease(2, public_ip=parse_ip("192.168.50.1")), "public IP 192.168.50.1 is our own"),
        (lease(2, backend_data=data("03:00:00:00:00:01")), "its VtepMAC 03:00:00:00:00:01 is not a device's"),
        (lease(2, backend_data=data("00:00:00:00:00:00")), "its VtepMAC 00:00:00:00:00:00 is not a device's"),
        (lease(2, backend_data=lease(1).backend_data), "its VtepMAC 02:00:00:00:01:00 is our own; give every node its own"),
    ],
)
def test_leases_that_would_do_harm_are_not_followed(other: Lease, reason: str | None) -> None:
    assert refusal(VxlanBackend(), other, lease(1), NETWORK) == reason


def config(**members: Any) -> NetworkConfig:
    return NetworkConfig(None, None, False, str(members.get("Type", "")), Options("config: Backend", members))


def test_backends_are_found_by_name_with_keys_in_any_case() -> None:
    assert backend_of(
        config(Type="vxlan", vni=7, directRouting=True, MTU=1400, port=4789, GBP=True, learning=True)
    ) == VxlanBackend(vni=7, port=4789, gbp=True, learning=True, direct_routing=True, mtu=1400)
    assert backend_of(config(Type="vxlan", Port=0)).tun_port is None
    assert backend_of(config(Type="udp", PORT=9000)).tun_port == 9000
    assert backend_of(config(Type="host-gw")) == HostGw()


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"Type": "wireguard"}, "config: Backend: Type: 'wireguard': must be one of host-gw, udp, vxlan"),
        ({}, "config: Backend: Type: '': must be one of"),
        ({"Type": "vxlan", "VNI": 1 << 24}, "config: Backend: VNI: 16777216: must be from 0 to 16777215"),
        ({"Type": "vxlan", "Port": "8472"}, "config: Backend: Port"),
        ({"Type": "vxlan", "GBP": 1}, "config: Backend: GBP: 1: must be true or false"),
        ({"Type": "udp", "Port": 65536}, "config: Backend: Port: 65536"),
    ],
)
def test_bad_backends_are_told_by_key_and_value(members: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        backend_of(config(**members))
    assert str(caught.value).startswith(said)


def test_the_device_of_an_earlier_configuration_is_known_by_its_lease() -> None:
    assert device_of(lease(1)) == "flannel.1"
    assert device_of(lease(1, backend_data='{"VNI":42,"VtepMAC":"02:00:00:00:00:01"}')) == "flannel.42"
    for vni in ("true", "-1", "16777216", "99999999999999999999", '"7"'):
        assert device_of(lease(1, backend_data=f'{{"VNI":{vni}}}')) == "flannel.1"
    assert device_of(lease(1, "")) == "flannel0"
    assert device_of(lease(1, "host-gw")) is None
