"""What bridge and ptp want of the kernel, and how it is carried out or undone: pure, against the fake kernel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cni.attachment import Attachment
from cni.bridge.conf import BridgeConf, parse_bridge_conf
from cni.bridge.desired import (
    addresses_in_the_way,
    desired_bridge,
    desired_host,
    gateway_addresses,
    local_mac,
    pin_mac,
    with_gateways,
)
from cni.change import towards
from cni.conf import parse_conf
from cni.errors import CniError
from cni.interface import addresses_of, desired_addresses, desired_routes, first_wins, forwarding, settings
from cni.pair import free_name, host_ends, host_names
from cni.ptp.conf import parse_ptp_conf
from cni.ptp.desired import automatic_routes, desired_container_routes, with_interface
from cni.result import Interface, IpConfig, Result, RouteConfig
from cni.transaction import Transaction
from cni.verify import deviations
from dataplane.errors import ConfigError, KernelError
from dataplane.fake import FakeKernel
from dataplane.inet import Mac, parse_ip, parse_mac, parse_prefix
from dataplane.netfilter import Chain, Jump
from dataplane.plan import ADD, REMOVE, SET, Op
from dataplane.state import PROTO_KERNEL, Address, Bridge, Link, Object, Route, Sysctl, Veth

PLACE = Attachment("net", "c1", "eth0", "/run/netns/c1", "veth0")
V4 = IpConfig(parse_prefix("10.1.0.5/16"), None, None)
V6 = IpConfig(parse_prefix("fd01::5/64"), None, None)
MAC = parse_mac("02:00:00:00:00:01")


def _conf(**keys: Any) -> BridgeConf:
    document = {"name": "net", "cniVersion": "1.0.0", "ipam": {"type": "host-local"}, **keys}
    return parse_bridge_conf(parse_conf(json.dumps(document).encode()), "")


def test_defaults_are_the_reference_s() -> None:
    conf = _conf()
    assert (conf.bridge, conf.is_gateway, conf.ip_masq, conf.mtu, conf.hairpin, conf.promisc) == (
        "cni0",
        False,
        False,
        0,
        False,
        False,
    )
    assert (conf.force_address, conf.port_isolation, conf.enable_dad, conf.container_interface, conf.mac) == (
        False,
        False,
        False,
        True,
        None,
    )


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"hairpinMode": True, "promiscMode": True}, "cannot set hairpin mode and promiscuous mode at the same time"),
        ({"disableContainerInterface": True}, "cannot use IPAM when DisableContainerInterface flag is set"),
        ({"mtu": -1}, "mtu: -1"),
        ({"mtu": 70000}, "mtu: 70000"),
        ({"mtu": "1500"}, "an integer is wanted"),
        ({"vlan": 100}, "vlan: 100: not supported yet"),
        ({"vlanTrunk": [{"id": 1}]}, "vlanTrunk"),
        ({"macspoofchk": True}, "macspoofchk: True: not supported yet"),
        ({"ipMasqBackend": "nftables"}, "ipMasqBackend: 'nftables': not supported yet"),
        ({"bridge": "a/b"}, "bridge: 'a/b'"),
        ({"bridge": "x" * 16}, "1 to 15 characters"),
        ({"bridge": "br%d"}, "bridge: 'br%d'"),  # the kernel would make br0 of it
        ({"bridge": "default"}, "bridge: 'default'"),
        ({"mtu": 67}, "mtu: 67: an integer from 68 to 65535 is wanted, or 0"),
        ({"runtimeConfig": {"mac": "x"}}, "runtimeConfig.mac: 'x' is not a MAC address"),
        ({"runtimeConfig": {"mac": "01:00:5e:00:00:01"}}, "an interface has a unicast address"),
        ({"runtimeConfig": {"mac": "00:00:00:00:00:00"}}, "an interface has a unicast address"),
    ],
)
def test_what_cannot_be_is_refused_by_key_and_value(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        _conf(**keys)
    assert words in str(error.value)


@pytest.mark.parametrize("keys", [{"vlan": 0}, {"vlanTrunk": []}, {"macspoofchk": False}, {"ipMasqBackend": "iptables"}])
def test_what_is_switched_off_is_no_reason_to_refuse(keys: dict[str, Any]) -> None:
    _conf(**keys)


def test_the_later_source_of_the_mac_wins() -> None:
    sources: list[tuple[str, dict[str, Any], str]] = [
        ("MAC=02:00:00:00:00:01", {}, "02:00:00:00:00:01"),
        ("MAC=02:00:00:00:00:01", {"args": {"cni": {"mac": "02:00:00:00:00:02"}}}, "02:00:00:00:00:02"),
        (
            "MAC=02:00:00:00:00:01",
            {"args": {"cni": {"mac": "02:00:00:00:00:02"}}, "RuntimeConfig": {"mac": "02-00-00-00-00-03"}},
            "02:00:00:00:00:03",
        ),
    ]
    for cni_args, keys, expected in sources:
        document = {"name": "net", "cniVersion": "1.0.0", **keys}
        assert str(parse_bridge_conf(parse_conf(json.dumps(document).encode()), cni_args).mac) == expected


def test_gateways_are_the_first_address_where_the_ipam_gives_none() -> None:
    given = IpConfig(parse_prefix("10.2.0.5/16"), None, parse_ip("10.2.0.9"))
    result = with_gateways(_conf(isGateway=True), Result((), (V4, V6, given)))
    assert [str(ip.gateway) for ip in result.ips] == ["10.1.0.1", "fd01::1", "10.2.0.9"]
    assert {ip.interface for ip in result.ips} == {2}
    assert with_gateways(_conf(), Result((), (V4,))).ips[0].gateway is None


@pytest.mark.parametrize(
    ("address", "gateway"),
    [("10.9.0.4/31", "10.9.0.5"), ("10.9.0.5/31", "10.9.0.4"), ("fd01::4/127", "fd01::5"), ("fd01::5/127", "fd01::4")],
)
def test_of_a_subnet_of_two_the_gateway_is_the_other_one(address: str, gateway: str) -> None:
    (ip,) = with_gateways(_conf(isGateway=True), Result((), (IpConfig(parse_prefix(address)),))).ips
    assert str(ip.gateway) == gateway


@pytest.mark.parametrize("address", ["10.9.0.1/24", "10.9.0.5/32", "255.255.255.255/32", "fd01::1/64", "fd01::5/128"])
def test_the_bridge_does_not_take_the_container_s_address_for_its_own(address: str) -> None:
    lone = Result((), (IpConfig(parse_prefix(address)),))
    with pytest.raises(ConfigError, match="leaves no address to the bridge"):
        with_gateways(_conf(isGateway=True), lone)
    assert with_gateways(_conf(), lone).ips[0].gateway is None


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ((), ["0.0.0.0/0 10.1.0.1", "::/0 fd01::1"]),
        ((RouteConfig(parse_prefix("0.0.0.0/0")),), ["0.0.0.0/0 None", "::/0 fd01::1"]),
        ((RouteConfig(parse_prefix("::/0"), parse_ip("fd01::9")),), ["::/0 fd01::9", "0.0.0.0/0 10.1.0.1"]),
        ((RouteConfig(parse_prefix("10.9.0.0/16")),), ["10.9.0.0/16 None", "0.0.0.0/0 10.1.0.1", "::/0 fd01::1"]),
    ],
)
def test_one_default_route_a_family(routes: tuple[RouteConfig, ...], expected: list[str]) -> None:
    result = with_gateways(_conf(isDefaultGateway=True), Result((), (V4, V6), routes))
    assert [f"{route.dst} {route.gw}" for route in result.routes] == expected
    assert len({route.key for route in desired_routes("eth0", result.ips, result.routes)}) == len(expected)


def test_routes_go_through_the_first_gateway_of_their_family() -> None:
    ips = (IpConfig(V4.address, 2, parse_ip("10.1.0.1")), IpConfig(V6.address, 2, parse_ip("fd01::1")))
    configs = (RouteConfig(parse_prefix("0.0.0.0/0")), RouteConfig(parse_prefix("fd02::/16"), None, 1300, 1200, 1024, 9))
    first, second = desired_routes("eth0", ips, configs)
    assert (str(first.via), first.metric, first.table) == ("10.1.0.1", 0, 254)
    assert (str(second.dst), str(second.via), second.metric, second.table, second.mtu, second.advmss) == (
        "fd02::/16",
        "fd01::1",
        0,
        9,
        1300,
        1200,
    )


def test_two_routes_that_exclude_one_another_are_refused() -> None:
    dst = parse_prefix("10.9.0.0/16")
    same = (RouteConfig(dst, parse_ip("10.1.0.1")), RouteConfig(dst, parse_ip("10.1.0.1")))
    assert len(desired_routes("eth0", (), same)) == 1
    with pytest.raises(ConfigError, match="priority"):
        desired_routes("eth0", (), (same[0], RouteConfig(dst, parse_ip("10.1.0.2"))))


def test_the_earlier_attachment_keeps_its_default_route() -> None:
    default = Route(parse_prefix("0.0.0.0/0"), "eth1", parse_ip("10.2.0.1"))
    held = Route(parse_prefix("0.0.0.0/0"), "eth0", parse_ip("10.1.0.1"))
    blackhole = Route(parse_prefix("0.0.0.0/0"), None, type=6)
    assert first_wins([default], [held]) == ()
    assert first_wins([default], []) == first_wins([default], [blackhole]) == (default,)


def test_addresses_of_the_interface() -> None:
    result = Result(
        (Interface("cni0"), Interface("eth0", None, "/a"), Interface("eth0", None, "/b")),
        (IpConfig(V4.address, 1), IpConfig(V6.address, 2), IpConfig(parse_prefix("10.3.0.1/8"))),
    )
    assert addresses_of(result, "eth0", "/a") == (result.ips[0], result.ips[2])


def test_addresses_are_written_as_the_reference_does() -> None:
    link, four, six = desired_addresses("eth0", [V4, V6], nodad=True, mac=MAC)
    assert link == Veth("eth0", mac=MAC)
    assert four == Address("eth0", V4.address, broadcast=parse_ip("10.1.255.255"))
    assert six == Address("eth0", V6.address, nodad=True)
    assert desired_addresses("e", [IpConfig(parse_prefix("10.0.0.1/31"))], nodad=True)[1] == Address(
        "e", parse_prefix("10.0.0.1/31")
    )


def test_settings_of_the_interface() -> None:
    names = {item.name.rpartition("/")[2]: item.value for item in settings("eth0", True, True, False)}
    assert names == {"arp_notify": "1", "accept_dad": "0", "disable_ipv6": "0", "keep_addr_on_down": "1"}
    assert [item.name for item in settings("eth0", False, False, False)] == ["net/ipv4/conf/eth0/arp_notify"]
    assert settings("eth0", True, False, None) == ()
    assert forwarding([6, 4, 4]) == (Sysctl("net/ipv4/ip_forward", "1"), Sysctl("net/ipv6/conf/all/forwarding", "1"))


def test_a_bridge_gets_its_mac_once() -> None:
    conf, new = _conf(mtu=1400, promiscMode=True), local_mac(bytes.fromhex("ff0102030405"))
    assert str(new) == "fe:01:02:03:04:05"
    assert desired_bridge(conf, None, new) == Bridge("cni0", mtu=1400, promisc=True, mac=new)
    assert desired_bridge(conf, Bridge("cni0", mac=MAC), new) == Bridge("cni0", promisc=True)
    assert desired_bridge(_conf(), Bridge("cni0", mac=Mac(bytes(6))), new).mac == new
    with pytest.raises(ConfigError, match="is not a bridge"):
        desired_bridge(conf, Veth("cni0"), new)


def test_a_foreign_bridge_is_pinned_when_it_becomes_a_gateway() -> None:
    found = Bridge("cni0", mac=MAC)
    wanted = desired_bridge(_conf(), found, parse_mac("02:00:00:00:00:09"))
    gateway = Op(ADD, Address("cni0", parse_prefix("10.1.0.1/16")))
    assert pin_mac(found, wanted, [gateway]) == (Op(SET, Bridge("cni0", mac=MAC)),)
    assert pin_mac(found, wanted, []) == pin_mac(None, wanted, [gateway]) == ()


ON_BRIDGE = tuple(Address("cni0", parse_prefix(text)) for text in ("10.1.0.1/16", "10.9.0.1/16", "fd09::1/64", "fd01::9/64"))


@pytest.mark.parametrize(
    ("ips", "force", "gone"),
    [
        ((V4,), False, []),  # the gateway is there: nothing is in the way any more
        ((IpConfig(parse_prefix("10.2.0.5/16")),), True, ["10.1.0.1/16", "10.9.0.1/16"]),
        ((V6,), True, ["fd01::9/64"]),
        ((IpConfig(parse_prefix("fd02::5/64")),), False, []),
    ],
)
def test_addresses_in_the_way(ips: tuple[IpConfig, ...], force: bool, gone: list[str]) -> None:
    conf = _conf(isGateway=True, forceAddress=force)
    wanted = gateway_addresses(conf, with_gateways(conf, Result((), ips)))
    assert sorted(str(item.prefix) for item in addresses_in_the_way(conf, wanted, ON_BRIDGE)) == gone


@pytest.mark.parametrize("ip", ["10.2.0.5/16", "fd01::5/64"])
def test_an_address_in_the_way_is_refused_unless_forced(ip: str) -> None:
    conf = _conf(isGateway=True)
    wanted = gateway_addresses(conf, with_gateways(conf, Result((), (IpConfig(parse_prefix(ip)),))))
    with pytest.raises(ConfigError, match="already has an IP address different from"):
        addresses_in_the_way(conf, wanted, ON_BRIDGE)


def _wish(conf: BridgeConf, actual: Any = ()) -> tuple[Object, ...]:
    result = with_gateways(conf, Result((), (V4, V6)))
    found = next((item for item in actual if isinstance(item, Bridge)), None)
    return (desired_bridge(conf, found, MAC), *desired_host(conf, PLACE, result, actual))


FULL = _conf(isGateway=True, ipMasq=True, hairpinMode=True)


def test_the_whole_host_s_side() -> None:
    kinds = [type(item).__name__ for item in _wish(FULL)]
    assert kinds == ["Bridge", "Veth", "Address", "Address", "Sysctl", "Sysctl", "Chain", "Chain", "Jump", "Jump"]
    port = _wish(FULL)[1]
    assert port == Veth("veth0", master="cni0", hairpin=True, isolated=False, peer="eth0", peer_netns="/run/netns/c1")


def test_after_an_add_the_difference_is_empty() -> None:
    kernel = FakeKernel()
    with Transaction() as work:
        work.apply(kernel, towards(_wish(FULL), ()))
    actual = frozenset(kernel.objects.values())
    assert towards(_wish(FULL, actual), actual) == ()
    assert deviations("host", _wish(FULL, actual), actual) == []


@pytest.mark.parametrize("fail_at", range(12))
def test_a_failed_add_leaves_the_kernel_as_it_was_but_for_forwarding(fail_at: int) -> None:
    """Whatever operation is refused; the sysctls stay, for others may rely on them by now."""
    before: list[Object] = [Bridge("other"), Address("other", parse_prefix("10.8.0.1/16")), Chain(4, "nat", "KUBE")]
    kernel = FakeKernel(before, fail_at=fail_at)
    ops = towards(_wish(FULL), before)
    assert len(ops) == 12
    with pytest.raises(KernelError, match="Input/output error"), Transaction() as work:
        work.apply(kernel, ops)
    assert {item for item in kernel.objects.values() if not isinstance(item, Sysctl)} == set(before)


def test_undoing_runs_backwards_and_goes_on_after_a_failure() -> None:
    done: list[str] = []

    def broken() -> None:
        done.append("broken")
        raise KernelError("remove x", "busy")

    def failed_add() -> None:
        with Transaction() as work:
            work.on_undo(lambda: done.append("first"))
            work.on_undo(broken)
            work.on_undo(lambda: done.append("last"))
            raise CniError(7, "msg", "why")

    with pytest.raises(CniError) as error:
        failed_add()
    assert done == ["last", "broken", "first"]
    assert (error.value.code, error.value.msg, error.value.details) == (7, "msg", "why; could not undo: remove x: busy")


def test_what_was_changed_or_removed_is_brought_back() -> None:
    old, new = Link("up0", mtu=1400), Link("up0", mtu=1300)
    address = Address("up0", parse_prefix("10.0.0.1/8"))
    kernel = FakeKernel([old, address])

    def failed_add() -> None:
        with Transaction() as work:
            work.apply(kernel, [Op(SET, new, old), Op(REMOVE, address)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failed_add()
    assert set(kernel.objects.values()) == {old, address}


def test_host_names_are_told_apart_and_found_again() -> None:
    names = host_names("net", "c1", "eth0")
    assert names == host_names("net", "c1", "eth0")
    assert all(len(name) == 12 and name.startswith("veth") for name in names)
    assert len({*names, *host_names("net", "c", "1eth0"), *host_names("ne", "tc1", "eth0")}) == 3 * len(names)
    assert free_name(names, {names[0]}) == names[1]
    with pytest.raises(CniError) as error:
        free_name(names, names)
    assert error.value.code == 11
    assert host_ends(Result((Interface("cni0"), Interface("vethx"), Interface("eth0", None, "/s"))), "cni0") == ("vethx",)


def test_deviations_are_all_told() -> None:
    wanted = (Veth("veth0", master="cni0"), Address("cni0", parse_prefix("10.1.0.1/16")), Jump(4, "nat", "POSTROUTING", "-j X"))
    found = deviations("host", wanted, (Veth("veth0", master="", up=False), Link("extra")))
    assert len(found) == 3
    assert any("master is , should be cni0" in line and "up is False, should be True" in line for line in found)
    assert deviations("host", [Veth("x")], [Bridge("x")]) == ["host: bridge x is not a veth"]


def test_ptp_routes_replace_the_kernel_s_own() -> None:
    ip = IpConfig(V4.address, 1, parse_ip("10.1.0.1"))
    own = Route(parse_prefix("10.1.0.0/16"), "eth0", protocol=PROTO_KERNEL)
    others = (
        Route(parse_prefix("10.1.0.0/16"), "eth1", protocol=PROTO_KERNEL),
        Route(parse_prefix("10.3.0.0/16"), "eth0", protocol=PROTO_KERNEL),
    )
    assert automatic_routes("eth0", [ip], (own, *others)) == (own,)
    assert [f"{route.dst} {route.via} {route.src}" for route in desired_container_routes("eth0", [ip])] == [
        "10.1.0.1/32 None 10.1.0.5",
        "10.1.0.0/16 10.1.0.1 10.1.0.5",
    ]
    alone = IpConfig(parse_prefix("10.1.0.5/32"), 1, parse_ip("10.1.0.1"))
    assert len(desired_container_routes("eth0", [alone])) == 1


def test_ptp_wants_an_ipam_and_a_gateway() -> None:
    document = {"name": "net", "cniVersion": "1.0.0", "ipam": {"type": "static"}}
    conf = parse_ptp_conf(parse_conf(json.dumps(document).encode()))
    with pytest.raises(ConfigError, match="gateway"):
        with_interface(conf, Result((), (V4,)))
    with pytest.raises(ConfigError, match=r"ipam\.type"):
        parse_ptp_conf(parse_conf(b'{"name": "net"}'))
