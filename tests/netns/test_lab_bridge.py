"""The topology `bridge`, through the command, as a user runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.lab_fixture import CHECKOUT, lab_name, leftovers, namespaces_of, own_devices, podwire, podwire_json

NAME = lab_name("bridge")


@pytest.fixture(scope="module", autouse=True)
def _lab() -> Iterator[None]:
    devices = own_devices()
    podwire("lab", "up", "bridge", "--name", NAME)
    namespaces = namespaces_of(NAME)
    assert len(namespaces) == 7  # switch, outside, node, four pods
    yield
    podwire("lab", "down", NAME)
    assert leftovers(NAME, namespaces) == []
    assert own_devices() == devices
    assert "nothing to remove" in podwire("lab", "down", NAME).stdout


def test_every_pair_reaches_each_other_unmasked_and_the_outside_sees_the_node() -> None:
    document = podwire_json("lab", "check", NAME)
    assert (document["topology"], document["backend"], document["ok"]) == (NAME, "bridge", True)
    assert len(document["pairs"]) == 4 * 3 + 4
    assert all(pair["ok"] and pair["rtt_ms"] > 0 and pair["want"] == "allow" for pair in document["pairs"])
    own = {pod["name"]: pod["addresses"][0] for pod in podwire_json("lab", "status", NAME)["pods"]}
    assert "20 of 20 pairs are as they should be" in podwire("lab", "check", NAME).stdout
    assert all(pair["source_seen"] == own[pair["from"]] for pair in document["pairs"] if pair["from"] in own)
    assert {(pair["to"], pair["source_seen"]) for pair in document["outside"]} == {("outside", "192.168.50.11")}


def test_a_pair_that_is_cut_makes_check_say_which_and_exit_1() -> None:
    podwire("lab", "exec", "--lab", NAME, "node1-pod4", "--", "ip", "link", "set", "eth0", "down")
    try:
        document = podwire_json("lab", "check", NAME, expect=1)
    finally:
        podwire("lab", "exec", "--lab", NAME, "node1-pod4", "--", "ip", "link", "set", "eth0", "up")
        podwire("lab", "exec", "--lab", NAME, "node1-pod4", "--", "ip", "route", "add", "default", "via", "10.244.0.1")
    wrong = [(pair["from"], pair["to"]) for pair in document["pairs"] if not pair["ok"]]
    assert set(wrong) == {(a, b) for a in ("node1", *PODS) for b in PODS if a != b and "node1-pod4" in (a, b)}
    assert podwire_json("lab", "check", NAME)["ok"]


PODS = tuple(f"node1-pod{number}" for number in range(1, 5))


def test_a_trace_between_two_pods_stays_on_the_bridge() -> None:
    document = podwire_json("lab", "trace", "--lab", NAME, "node1-pod1", "node1-pod2")
    assert document["ok"]
    way = [(hop["node"], hop["direction"]) for hop in document["request"]]
    assert way == [("node1-pod1", "out"), ("node1", "in"), ("node1", "out"), ("node1-pod2", "in")]
    assert [hop["node"] for hop in document["reply"]] == ["node1-pod2", "node1", "node1", "node1-pod1"]
    assert [layer["layer"] for layer in document["request"][0]["layers"]] == ["Ethernet", "IPv4", "ICMP"]


def test_a_trace_to_the_outside_shows_masquerading() -> None:
    document = podwire_json("lab", "trace", "--lab", NAME, "node1-pod1", "outside")
    (nat,) = [hop for hop in document["request"] if "NAT has changed the source" in hop["what"]]
    assert (nat["node"], nat["device"], nat["lookups"]) == ("node1", "eth0", ["route default via 192.168.50.1 dev eth0"])


def test_a_trace_can_be_read_by_people() -> None:
    text = podwire("lab", "trace", "--lab", NAME, "node1-pod1", "node1-pod2").stdout
    assert "  1. node1-pod1  eth0 out" in text
    assert "ICMP type echo-request" in text
    assert "Answered after" in text


def test_an_unanswered_trace_ends_where_the_packet_was_lost() -> None:
    switch = "echo {} > /proc/sys/net/ipv4/icmp_echo_ignore_all"
    podwire("lab", "exec", "--lab", NAME, "node1-pod3", "--", "sh", "-c", switch.format(1))
    try:
        document = podwire_json("lab", "trace", "--lab", NAME, "node1-pod1", "node1-pod3", expect=1)
    finally:
        podwire("lab", "exec", "--lab", NAME, "node1-pod3", "--", "sh", "-c", switch.format(0))
    assert (document["ok"], document["rtt_ms"], document["reply"]) == (False, None, [])
    assert document["request"][-1]["node"] == "node1-pod3"


def test_status_names_every_part() -> None:
    document = podwire_json("lab", "status", NAME)
    assert (document["ok"], document["phase"]) == (True, "running")
    assert [node["name"] for node in document["nodes"]] == ["outside", "node1"]
    assert [pod["name"] for pod in document["pods"]] == list(PODS)
    assert NAME in podwire("lab", "list").stdout
    assert NAME in [lab["lab"] for lab in podwire_json("lab", "list")["labs"]]


def test_exec_gives_the_commands_own_exit_status() -> None:
    done = podwire("lab", "exec", "--lab", NAME, "node1", "--", "sh", "-c", "ip -br addr show eth0; exit 7", expect=7)
    assert "192.168.50.11/24" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("lab", "up", "bridge", "--name", NAME), f"`podwire lab down {NAME}`"),
        (("lab", "up", "kubernetes"), "bridge, flannel"),
        (("lab", "up", "bridge", "--backend", "vxlan", "--name", lab_name("x")), "--backend"),
        (("lab", "up", "flannel", "--backend", "ipsec"), "'udp', 'vxlan', 'host-gw'"),
        (("lab", "up", "flannel", "--nodes", "0", "--name", lab_name("x")), "--nodes"),
        (("lab", "trace", "--lab", NAME, "node1-pod1", "node9"), "must be one of: node1-pod1"),
        (("lab", "exec", "--lab", NAME, "node9", "--", "true"), "must be one of"),
        (("lab", "exec", "--lab", NAME, "node1", "--", "no-such-program"), "cannot be run"),
        (("lab", "check", lab_name("x")), "is not up"),
        (("lab", "down", "../etc"), "lower-case"),
        (("lab", "fly"), "No such command"),
    ],
)
def test_what_cannot_be_done_is_refused_with_exit_2_and_changes_nothing(arguments: tuple[str, ...], words: str) -> None:
    assert words in podwire(*arguments, expect=2).stderr
    assert leftovers(lab_name("x")) == []


def test_a_topology_file_with_an_unknown_key_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    path, name = tmp_path / "mine.yaml", lab_name("file")
    text = (CHECKOUT / "labs/netns/bridge.yaml").read_text().replace("name: bridge", f"name: {name}")
    path.write_text(text.replace("pods: 4", "pods: 4, image: debian"))
    assert (
        f"{path}: topology.nodes.node1.image: 'debian': unknown key; allowed here: kind, pods"
        in podwire("lab", "up", str(path), expect=2).stderr
    )
    assert leftovers(name) == []


def test_a_topology_file_of_ones_own_is_put_up(tmp_path: Path) -> None:
    path, name = tmp_path / "mine.yaml", lab_name("file")
    text = (CHECKOUT / "labs/netns/bridge.yaml").read_text().replace("name: bridge", f"name: {name}").replace("pods: 4", "pods: 1")
    path.write_text(text)
    try:
        podwire("lab", "up", str(path))
        assert len(podwire_json("lab", "check", name)["pairs"]) == 1
    finally:
        podwire("lab", "down", name)
    assert leftovers(name) == []


@pytest.mark.parametrize("place", ["node1-pod1", "node1", "outside"])
def test_a_trace_to_oneself_shows_the_loopback_device(place: str) -> None:
    document = podwire_json("lab", "trace", "--lab", NAME, place, place)
    assert document["ok"]
    for way in ("request", "reply"):
        assert [(hop["node"], hop["device"], hop["direction"]) for hop in document[way]] == [
            (place, "lo", "out"),
            (place, "lo", "in"),
        ]


def test_a_trace_that_the_kernel_refuses_to_send_says_why() -> None:
    assert (
        "did not send it: Network is unreachable"
        in podwire("lab", "trace", "--lab", NAME, "outside", "node1-pod1", expect=1).stdout
    )


def test_a_lab_that_would_overflow_the_kernels_table_of_neighbours_is_refused() -> None:
    name = lab_name("crowd")
    size = int(Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3").read_text())
    refused = podwire("lab", "up", "flannel", "--name", name, "--nodes", "50", "--pods", "100", expect=2)
    assert f"table of neighbours, which holds {size}" in refused.stderr
    assert leftovers(name) == []
