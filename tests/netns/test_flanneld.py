"""flanneld_py on the real kernel: two or three nodes, real processes, the embedded store, and what is on the wire between them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.utils import rdpcap

from flanneld_py.daemon import AUDIT_S
from tests.netns.flannel_nodes import Cluster, eventually, ip_json, sh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.netns.flannel_nodes import Node

NETWORK = "10.5.0.0/16"
BACKENDS = ("vxlan", "host-gw", "udp")
DEVICES = {"vxlan": "flannel.1", "host-gw": None, "udp": "flannel0"}


@pytest.fixture
def cluster(namespace: Callable[[], str], tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """A function that makes nodes around a switch, with a network configuration."""
    made: list[Cluster] = []

    def make(backend: str | dict[str, Any] = "vxlan", nodes: int = 2, **config: Any) -> Cluster:
        described = {"Type": backend} if isinstance(backend, str) else backend
        made.append(Cluster(namespace, tmp_path, nodes=nodes))
        made[-1].configure({"Network": NETWORK, "Backend": described, **config})
        return made[-1]

    yield make
    for each in made:
        each.close()


@contextmanager
def captured(node: Node, file: Path, device: str = "eth0") -> Iterator[list[Any]]:
    """The packets that cross a device during the block, after it."""
    packets: list[Any] = []
    argv = ["nsenter", f"--net={node.netns}", "tcpdump", "-i", device, "-U", "--immediate-mode", "-w", str(file)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            while "listening on" not in (line := process.stderr.readline()):
                assert line, "tcpdump did not start"
            yield packets
        finally:
            time.sleep(0.2)  # what has crossed the device is on its way to the file
            process.send_signal(signal.SIGINT)
            process.wait()
    packets += rdpcap(str(file))


@contextmanager
def pinging(one: Node, two: Node, file: Path) -> Iterator[Callable[[], list[int]]]:
    """Ping every 10 ms during the block; a function that tells the sequence numbers answered so far."""
    argv = ["nsenter", f"--net={one.netns}", "stdbuf", "-oL", "ping", "-n", "-i", "0.01", "-I", one.gateway, two.gateway]
    with file.open("wb") as out, subprocess.Popen(argv, stdout=out) as ping:
        try:
            yield lambda: [int(number) for number in re.findall(r"icmp_seq=(\d+)", file.read_text())]
        finally:
            ping.send_signal(signal.SIGINT)


def fdb(node: Node, device: str = "flannel.1") -> dict[str, str]:
    """MAC to outer destination."""
    entries = json.loads(sh(node.netns, "bridge", "-j", "fdb", "show", "dev", device))
    return {entry["mac"]: entry["dst"] for entry in entries if "dst" in entry}


def neighbors(node: Node, device: str = "flannel.1") -> dict[str, str]:
    """Address to MAC, permanent entries only."""
    return {entry["dst"]: entry["lladdr"] for entry in ip_json(node.netns, "neigh", "show", "dev", device, "nud", "permanent")}


def mac_of(node: Node, device: str = "flannel.1") -> str:
    return str(ip_json(node.netns, "link", "show", device)[0]["address"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_packets_between_nodes_are_flannels(cluster: Callable[..., Cluster], tmp_path: Path, backend: str) -> None:
    one, two = cluster(backend).up()
    with captured(one, tmp_path / "wire.pcap") as packets:
        one.ping(two.gateway, "-c", "2", "-p", "abad1dea")
    asked = [packet for packet in packets if b"\xab\xad\x1d\xea" in bytes(packet) and packet[IP].src in (one.address, one.gateway)]
    assert len(asked) == 2, packets
    for packet in asked:
        CHECKS[backend](packet, one, two)


def check_vxlan(packet: Any, one: Node, two: Node) -> None:
    assert (packet[IP].src, packet[IP].dst, packet[UDP].dport) == (one.address, two.address, 8472)
    assert packet[UDP].chksum != 0
    vxlan = VXLAN(bytes(packet[UDP].payload))
    assert vxlan.vni == 1
    assert bytes(packet[UDP].payload)[0] == 0x08  # the only flag: the VNI is valid
    inner = vxlan[Ether]
    assert (inner.src, inner.dst, inner.type) == (mac_of(one), mac_of(two), 0x0800)
    assert (inner[IP].src, inner[IP].dst) == (one.gateway, two.gateway)


def check_host_gw(packet: Any, one: Node, two: Node) -> None:
    assert (packet[IP].src, packet[IP].dst) == (one.gateway, two.gateway)
    assert UDP not in packet
    assert packet[Ether].dst == mac_of(two, "eth0")


def check_udp(packet: Any, one: Node, two: Node) -> None:
    assert (packet[IP].src, packet[IP].dst) == (one.address, two.address)
    assert (packet[UDP].sport, packet[UDP].dport) == (8285, 8285)
    payload = bytes(packet[UDP].payload)
    inner = IP(payload)
    assert (inner.src, inner.dst, inner.len) == (one.gateway, two.gateway, len(payload))
    assert inner.ttl == 63  # one less for the proxy; the host that sends itself takes none
    assert payload[0] == 0x45
    assert IP(bytes(inner)).chksum == inner.chksum


CHECKS: dict[str, Callable[[Any, Any, Any], None]] = {"vxlan": check_vxlan, "host-gw": check_host_gw, "udp": check_udp}


def test_the_vxlan_device_has_flannels_attributes(cluster: Callable[..., Cluster]) -> None:
    one, two = cluster("vxlan").up()
    link = ip_json(one.netns, "link", "show", "flannel.1")[0]
    data = link["linkinfo"]["info_data"]
    assert link["linkinfo"]["info_kind"] == "vxlan"
    assert link["mtu"] == 1450
    assert {name: data[name] for name in ("id", "local", "link", "port", "learning", "udp_csum")} == {
        "id": 1,
        "local": one.address,
        "link": "eth0",
        "port": 8472,
        "learning": False,
        "udp_csum": True,
    }
    assert int(link["address"][:2], 16) & 3 == 2  # locally administered, not a group's
    addresses = ip_json(one.netns, "-4", "address", "show", "dev", "flannel.1")[0]["addr_info"]
    assert [(each["local"], each["prefixlen"]) for each in addresses] == [(one.vtep, 32)]
    assert sh(one.netns, "cat", "/proc/sys/net/ipv6/conf/flannel.1/accept_ra") == "0\n"
    route = one.routes()[two.subnet]
    assert (route["gateway"], route["dev"], route["flags"], route["protocol"]) == (two.vtep, "flannel.1", ["onlink"], "84")
    assert neighbors(one) == {two.vtep: mac_of(two)}
    assert fdb(one) == {mac_of(two): two.address}


def test_the_udp_device_has_flannels_attributes(cluster: Callable[..., Cluster]) -> None:
    one, _ = cluster("udp").up()
    link = ip_json(one.netns, "link", "show", "flannel0")[0]
    assert (link["mtu"], link["linkinfo"]["info_kind"], link["linkinfo"]["info_data"]["type"]) == (1472, "tun", "tun")
    addresses = ip_json(one.netns, "-4", "address", "show", "dev", "flannel0")[0]["addr_info"]
    assert [(each["local"], each["prefixlen"]) for each in addresses] == [(one.vtep, 32)]
    route = one.routes()[NETWORK]
    assert (route["dev"], route.get("scope", "global")) == ("flannel0", "global")
    assert f"{one.address}:8285" in sh(one.netns, "ss", "-Hlun")


@pytest.mark.parametrize("backend", BACKENDS)
def test_subnet_env_and_lease_are_flannels_bytes(cluster: Callable[..., Cluster], backend: str) -> None:
    nodes = cluster(backend)
    one, _ = nodes.up("-ip-masq")
    mtu = {"vxlan": 1450, "host-gw": 1500, "udp": 1472}[backend]
    wanted = f"FLANNEL_NETWORK={NETWORK}\nFLANNEL_SUBNET={one.gateway}/24\nFLANNEL_MTU={mtu}\nFLANNEL_IPMASQ=true\n"
    assert one.subnet_file.read_text() == wanted
    assert one.subnet_file.stat().st_mode & 0o777 == 0o644
    tail = {
        "vxlan": ',"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"%s"}}',
        "host-gw": ',"BackendType":"host-gw"}',
        "udp": "}",
    }[backend]
    mac = mac_of(one) if backend == "vxlan" else ""
    value = f'{{"PublicIP":"{one.address}","PublicIPv6":null' + (tail % mac if mac else tail)
    assert nodes.leases()[one.key].decode() == value


def test_rules_are_flannels_and_come_back_after_a_flush(cluster: Callable[..., Cluster]) -> None:
    one, _ = cluster("vxlan").up("-ip-masq", "-iptables-resync=1")

    def rules() -> list[str]:
        saved = sh(one.netns, "iptables-save", "-t", "nat") + sh(one.netns, "iptables-save", "-t", "filter")
        return [line for line in saved.splitlines() if line.startswith("-A")]

    masq, accept = '-m comment --comment "flanneld masq"', '-m comment --comment "flanneld forward"'
    wanted = [
        f"-A POSTROUTING {masq} -j FLANNEL-POSTRTG",
        f"-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 {masq} -j RETURN",
        f"-A FLANNEL-POSTRTG -s {one.subnet} -d {NETWORK} {masq} -j RETURN",
        f"-A FLANNEL-POSTRTG -s {NETWORK} -d {one.subnet} {masq} -j RETURN",
        f"-A FLANNEL-POSTRTG ! -s {NETWORK} -d {one.subnet} {masq} -j RETURN",
        f"-A FLANNEL-POSTRTG -s {NETWORK} ! -d 224.0.0.0/4 {masq} -j MASQUERADE --random-fully",
        f"-A FLANNEL-POSTRTG ! -s {NETWORK} -d {NETWORK} {masq} -j MASQUERADE --random-fully",
        f"-A FORWARD {accept} -j FLANNEL-FWD",
        f"-A FLANNEL-FWD -s {NETWORK} {accept} -j ACCEPT",
        f"-A FLANNEL-FWD -d {NETWORK} {accept} -j ACCEPT",
    ]
    assert rules() == wanted
    for table in ("nat", "filter"):
        sh(one.netns, "iptables", "-t", table, "-F")
    eventually("the rules are back", lambda: rules() == wanted)


def test_without_ip_masq_the_rules_of_an_earlier_start_go(cluster: Callable[..., Cluster]) -> None:
    one, _ = cluster("host-gw").up("-ip-masq")
    sh(one.netns, "iptables", "-A", "FORWARD", "-s", "10.9.9.9", "-j", "ACCEPT")
    one.restart("-iptables-forward-rules=false")
    assert "FLANNEL" not in sh(one.netns, "iptables-save")
    assert "10.9.9.9" in sh(one.netns, "iptables-save")


@pytest.mark.parametrize("backend", ["vxlan", "host-gw"])
def test_kill_9_and_start_again_loses_no_ping(cluster: Callable[..., Cluster], tmp_path: Path, backend: str) -> None:
    nodes = cluster(backend)
    one, two = nodes.up()
    before = nodes.leases()
    with pinging(one, two, tmp_path / "ping") as answered:
        eventually("the first answers", answered)
        one.restart()
        two.restart()
        count = len(answered())
        eventually("more answers", lambda: len(answered()) > count)
    assert answered() == list(range(1, len(answered()) + 1))
    assert nodes.leases() == before
    assert "network changed" not in one.said  # it found everything as it wished it


def test_sigterm_exits_0_and_leaves_the_data_path(cluster: Callable[..., Cluster]) -> None:
    nodes = cluster("vxlan")
    one, two = nodes.up("-ip-masq")
    leases = nodes.leases()
    assert [node.end(signal.SIGTERM) for node in (one, two)] == [0, 0]
    assert one.reaches(two)
    assert nodes.leases() == leases
    assert one.subnet_file.exists()
    assert "FLANNEL-POSTRTG" in sh(one.netns, "iptables-save")


def test_a_deleted_lease_leaves_the_other_nodes_by_the_event_alone(cluster: Callable[..., Cluster]) -> None:
    nodes = cluster("vxlan", nodes=3)
    one, two, three = nodes.up()
    three.end()
    left = {three.subnet, three.vtep, mac_of(three)}
    assert left <= {*one.routes(), *neighbors(one), *fdb(one)}
    nodes.delete(three.key)
    gone = eventually("all of it is gone", lambda: left.isdisjoint({*one.routes(), *neighbors(one), *fdb(one)}))
    assert gone < AUDIT_S / 2
    assert one.reaches(two)


def test_what_left_while_a_node_was_down_is_gone_after_its_first_turn(cluster: Callable[..., Cluster]) -> None:
    nodes = cluster("vxlan", nodes=3)
    one, two, three = nodes.up()
    sh(one.netns, "ip", "route", "add", "10.5.255.0/24", "via", "192.168.50.9", "proto", "static")
    gone_mac = mac_of(three)
    three.end()
    one.end()
    nodes.delete(three.key)
    one.start()
    eventually("the route is gone", lambda: three.subnet not in one.routes())
    assert gone_mac not in fdb(one)
    assert neighbors(one) == {two.vtep: mac_of(two)}
    assert "10.5.255.0/24" in one.routes()  # not ours
    assert one.reaches(two)


def test_a_peer_with_a_new_mac_replaces_the_old_entries(cluster: Callable[..., Cluster]) -> None:
    nodes = cluster("vxlan")
    one, two = nodes.up()
    old = mac_of(two)
    two.end()
    two.subnet_file.unlink()  # a reinstalled machine: it knows nothing of its past
    sh(two.netns, "ip", "link", "del", "flannel.1")
    two.start()
    two.ready()
    eventually("nodes reach one another again", lambda: one.reaches(two))
    assert mac_of(two) != old
    assert fdb(one) == {mac_of(two): two.address}


@pytest.mark.parametrize(
    "damage",
    [
        "ip link del flannel.1",
        "ip link set flannel.1 down",
        "ip neigh flush dev flannel.1 nud permanent",
        "ip route flush dev flannel.1",
        "ip link set flannel.1 address 02:00:00:00:00:99",
        "ip address add 10.5.77.77/32 dev flannel.1",
        "bridge fdb add 02:00:00:00:00:77 dev flannel.1 dst 192.168.50.77 self permanent",
    ],
)
def test_damage_from_outside_is_healed(cluster: Callable[..., Cluster], damage: str) -> None:
    one, two = cluster("vxlan").up()

    def state() -> tuple[Any, ...]:
        shown = ip_json(one.netns, "address", "show", "dev", "flannel.1") if "flannel.1" in sh(one.netns, "ip", "link") else [{}]
        link = (shown[0].get("address"), "UP" in shown[0].get("flags", ()), shown[0].get("mtu"))
        addresses = [each["local"] for each in shown[0].get("addr_info", ()) if each["family"] == "inet"]
        return (link, addresses, one.routes().get(two.subnet), *(both(one) if shown[0] else ()))

    def both(node: Node) -> tuple[dict[str, str], dict[str, str]]:
        return neighbors(node), fdb(node)

    before = state()
    sh(one.netns, *damage.split())
    eventually("all is as before", lambda: state() == before, deadline_s=10.0)  # sooner than the audit
    eventually("nodes reach one another again", lambda: one.reaches(two))


def test_a_host_gw_route_comes_back_after_the_uplink_was_down(cluster: Callable[..., Cluster]) -> None:
    one, two = cluster("host-gw").up()
    sh(one.netns, "ip", "link", "set", "eth0", "down")
    assert two.subnet not in one.routes()
    sh(one.netns, "ip", "link", "set", "eth0", "up")
    eventually("nodes reach one another again", lambda: one.reaches(two))


def test_the_tun_device_is_made_again_when_it_was_deleted(cluster: Callable[..., Cluster]) -> None:
    one, two = cluster("udp").up()
    sh(one.netns, "ip", "link", "del", "flannel0")
    eventually("nodes reach one another again", lambda: one.reaches(two))


def test_udp_restart_keeps_device_and_route(cluster: Callable[..., Cluster]) -> None:
    one, two = cluster("udp").up()
    one.end(signal.SIGKILL)
    assert NETWORK in one.routes()
    one.start()
    one.says("ready subnet=")
    eventually("nodes reach one another again", lambda: one.reaches(two))


def test_udp_answers_for_addresses_that_no_node_has(cluster: Callable[..., Cluster]) -> None:
    one, _ = cluster("udp").up()
    assert "Destination Net Unreachable" in one.ping("10.5.255.7", "-c", "1", check=False)


def test_udp_answers_when_the_ttl_runs_out(cluster: Callable[..., Cluster]) -> None:
    one, two = cluster("udp").up()
    for ttl, who in (("1", one.vtep), ("2", two.vtep)):
        assert f"From {who} icmp_seq=1 Time to live exceeded" in one.ping(two.gateway, "-c", "1", "-t", ttl, check=False)


def test_udp_takes_no_packet_from_strangers(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    nodes = cluster("udp", nodes=3)
    one, two, three = nodes.nodes
    for node in (one, two):
        node.start()
        node.ready()
    eventually("nodes reach one another", lambda: one.reaches(two))
    packet = bytes(IP(src="10.5.250.1", dst=one.gateway) / ICMP() / b"from a stranger")
    with captured(one, tmp_path / "tun.pcap", "flannel0") as packets:
        code = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto({packet!r}, ({one.address!r}, 8285))"
        sh(three.netns, "python3", "-c", code)
        assert one.reaches(two)
    assert packets
    assert not [each for each in packets if b"from a stranger" in bytes(each)]


def test_changing_the_backend_removes_the_old_device(cluster: Callable[..., Cluster]) -> None:
    nodes = cluster("udp")
    one, two = nodes.up()
    old = one.subnet
    for node in (one, two):
        node.end()
    nodes.configure({"Network": NETWORK, "Backend": {"Type": "vxlan"}})
    nodes.up()
    assert "flannel0" not in sh(one.netns, "ip", "link")
    assert NETWORK not in one.routes()
    assert one.subnet == old


def test_direct_routing_takes_the_straight_way_to_neighbours(cluster: Callable[..., Cluster]) -> None:
    one, two = cluster({"Type": "vxlan", "DirectRouting": True}).up()
    route = one.routes()[two.subnet]
    assert (route["gateway"], route["dev"]) == (two.address, "eth0")
    assert fdb(one) == {}


def test_addresses_of_our_subnet_that_nobody_has_are_dropped_if_asked(cluster: Callable[..., Cluster]) -> None:
    one, _ = cluster("udp").up("-ip-blackhole-route")
    assert [route["dst"] for route in ip_json(one.netns, "route", "show", "type", "blackhole")] == [one.subnet]
    somebody = one.gateway + "7"
    assert "dev cni0" in sh(one.netns, "ip", "route", "get", somebody)
    sh(one.netns, "ip", "link", "del", "cni0")
    assert sh(one.netns, "ip", "route", "get", somebody, check=False) == ""  # and not: dev flannel0


def test_two_daemons_share_a_machine(cluster: Callable[..., Cluster]) -> None:
    nodes = cluster("vxlan")
    one, two = nodes.up("-iptables-forward-rules=false")
    nodes.put("/other/network/config", b'{"Network": "10.6.0.0/16", "Backend": {"Type": "host-gw"}}')
    vxlan = [(node, node.process, node.subnet_file, node.subnet) for node in (one, two)]
    for node, _, _, _ in vxlan:
        node.subnet_file = node.folder / "other.env"
        node.log = node.folder / "other.log"
        node.start("-etcd-prefix=/other/network", "-iptables-forward-rules=false")
        node.says("ready subnet=")
    eventually("host-gw route", lambda: two.subnet in one.routes())
    assert vxlan[1][3] in one.routes()
    for node, process, file, _ in vxlan:
        assert node.process is not None
        node.end()
        node.process, node.subnet_file, node.log = process, file, node.folder / "log"
    one.restart("-iptables-forward-rules=false")  # the vxlan daemon's first turn leaves the other's route alone
    assert any(route.get("gateway") == two.address for route in one.routes().values())


def test_a_node_whose_lease_was_deleted_stops_with_status_3(cluster: Callable[..., Cluster]) -> None:
    nodes = cluster("vxlan")
    one, _ = nodes.up()
    nodes.delete(one.key)
    eventually("the daemon stopped", one.ended)
    assert one.process is not None
    assert one.process.returncode == 3
    assert "deleted by somebody" in one.said
    assert one.key not in nodes.leases()


def test_a_node_whose_public_ip_another_one_uses_stops_with_status_3(cluster: Callable[..., Cluster]) -> None:
    nodes = cluster("vxlan")
    one, two = nodes.up()
    twin = nodes.leases()[one.key].replace(mac_of(one).encode(), b"02:00:00:00:00:42")
    nodes.put(one.key, twin)
    eventually("the daemon stopped", one.ended)
    assert one.process is not None
    assert one.process.returncode == 3
    assert "give every node a public IP of its own" in one.said
    assert two.process is not None
    assert not two.ended()


def test_a_reservation_is_kept_as_one(cluster: Callable[..., Cluster]) -> None:
    nodes = cluster("host-gw")
    one = nodes.nodes[0]
    nodes.put("/coreos.com/network/subnets/10.5.200.0-24", b'{"PublicIP":"192.168.50.1","PublicIPv6":null}')
    one.start()
    one.ready()
    assert one.subnet == "10.5.200.0/24"
    item = nodes.ask(lambda store: store.get(one.key))
    assert item.lease == 0
    assert item.value == b'{"PublicIP":"192.168.50.1","PublicIPv6":null,"BackendType":"host-gw"}'


def test_leases_that_cannot_be_are_said_and_not_followed(cluster: Callable[..., Cluster]) -> None:
    nodes = cluster("host-gw")
    one, two = nodes.up()
    prefix = "/coreos.com/network/subnets/"
    nodes.put(prefix + "10.99.0.0-24", b'{"PublicIP":"192.168.50.9","BackendType":"host-gw"}')
    nodes.put(prefix + "10.5.201.0-24", b'{"PublicIP":"192.168.50.9","BackendType":"vxlan"}')
    nodes.put(prefix + "10.5.202.0-24", b"not JSON")
    nodes.put(
        prefix + "10.5.203.0-24&fd00:5:203::-64", b'{"PublicIP":"192.168.50.2","PublicIPv6":"fd50::2","BackendType":"host-gw"}'
    )
    one.says("backend vxlan is not ours")
    one.says("outside the network 10.5.0.0/16")
    one.says("the value is not JSON")
    eventually("the dual-stack peer's IPv4 subnet is routed", lambda: "10.5.203.0/24" in one.routes())
    assert not {"10.99.0.0/24", "10.5.201.0/24", "10.5.202.0/24"} & set(one.routes())
    assert one.reaches(two)


def test_a_peer_that_is_no_neighbour_costs_the_others_nothing(cluster: Callable[..., Cluster]) -> None:
    nodes = cluster("host-gw")
    nodes.put("/coreos.com/network/subnets/10.5.201.0-24", b'{"PublicIP":"172.31.0.9","BackendType":"host-gw"}')
    one, two = nodes.up()
    one.says("172.31.0.9")
    assert one.reaches(two)


@pytest.mark.parametrize(("backend", "device"), [("vxlan", "flannel.1"), ("udp", "flannel0")])
def test_a_device_of_another_kind_with_our_name_is_told_and_left_alone(
    cluster: Callable[..., Cluster], backend: str, device: str
) -> None:
    nodes = cluster(backend, nodes=1)
    one = nodes.nodes[0]
    sh(one.netns, "ip", "link", "add", device, "type", "bridge")
    sh(one.netns, "ip", "address", "add", "10.77.0.1/24", "dev", device)
    before = ip_json(one.netns, "address", "show", "dev", device)
    one.start()
    eventually("the daemon stopped", one.ended)
    assert one.process is not None
    assert one.process.returncode == 2
    assert f"device {device}: 'bridge {device}'" in one.said
    assert ip_json(one.netns, "address", "show", "dev", device) == before
    assert nodes.leases() == {}


HEALTHZ = ("-healthz-port=18471", "-healthz-ip=127.0.0.1")


def test_an_unreachable_store_is_waited_for_and_health_is_told(namespace: Callable[[], str], tmp_path: Path) -> None:
    nodes = Cluster(namespace, tmp_path, nodes=1, store_flags=("-etcd-endpoints=http://127.0.0.1:9",))
    node = nodes.nodes[0]
    try:
        node.start(*HEALTHZ)
        node.says("store trouble, will retry")
        assert node.said.index("store does not answer yet") < node.said.index("store trouble")  # seconds earlier
        assert http(node, "/healthz") == (200, "flanneld is running")
        assert http(node, "/readyz") == (503, "flanneld is not ready yet")
        assert not node.ended()
        assert node.end() == 0
    finally:
        nodes.close()


def test_the_configuration_is_waited_for(namespace: Callable[[], str], tmp_path: Path) -> None:
    nodes = Cluster(namespace, tmp_path, nodes=1)
    node = nodes.nodes[0]
    try:
        node.start(*HEALTHZ)
        node.says("network configuration missing")
        nodes.configure({"Network": NETWORK, "Backend": {"Type": "host-gw"}})
        node.ready()
        assert http(node, "/readyz") == (200, "flanneld is ready")
    finally:
        nodes.close()


def http(node: Node, path: str) -> tuple[int, str]:
    """GET from the daemon's health endpoint, in its namespace."""
    code = (
        "import urllib.request, urllib.error\n"
        f"try: r = urllib.request.urlopen('http://127.0.0.1:18471{path}', timeout=5)\n"
        "except urllib.error.HTTPError as error: r = error\n"
        "print(r.status, r.read().decode())"
    )
    status, _, text = sh(node.netns, "python3", "-c", code).strip().partition(" ")
    return int(status), text


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "is not JSON"),
        ({"Network": "10.5.0.0/29"}, "is too small"),
        ({"Network": NETWORK, "SubnetLen": 31}, "SubnetLen: 31"),
        ({"Network": NETWORK, "Backend": {"Type": "wireguard"}}, "must be one of host-gw, udp, vxlan"),
        ({"Network": NETWORK, "Backend": {"Type": "vxlan", "VNI": "one"}}, "Backend: VNI"),
        ({"Network": NETWORK, "EnableIPv6": True, "IPv6Network": "fd00::/48"}, "IPv6 is not supported yet"),
        ({"Network": NETWORK, "EnableNFTables": True}, "EnableNFTables"),
        ({"Network": "10.5.0.0/28", "SubnetLen": 30, "SubnetMin": "10.5.0.4", "SubnetMax": "10.5.0.4"}, "are taken"),
    ],
)
def test_a_bad_configuration_is_status_2_and_changes_nothing(
    namespace: Callable[[], str], tmp_path: Path, config: dict[str, Any] | str, said: str
) -> None:
    nodes = Cluster(namespace, tmp_path, nodes=1)
    nodes.configure(config)
    nodes.put("/coreos.com/network/subnets/10.5.0.4-30", b'{"PublicIP":"192.168.50.9","PublicIPv6":null}')
    node = nodes.nodes[0]
    before = sh(node.netns, "ip", "address")
    try:
        node.start("-ip-masq")
        eventually("the daemon stopped", node.ended)
        assert node.process is not None
        assert node.process.returncode == 2, node.said
        assert said in node.said
        assert sh(node.netns, "ip", "address").replace("tentative ", "") == before.replace("tentative ", "")
        assert "FLANNEL" not in sh(node.netns, "iptables-save")
        assert list(nodes.leases()) == ["/coreos.com/network/subnets/10.5.0.4-30"]
        assert not node.subnet_file.exists()
    finally:
        nodes.close()
