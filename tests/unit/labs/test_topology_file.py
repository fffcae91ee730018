"""Topology files: what is read is what was written, and what cannot be is refused with its place."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from dataplane.errors import ConfigError
from labs.catalog import catalog, find_topology
from labs.topology import Topology
from labs.topology_file import document_of, parse_topology, read_topology, with_options


@pytest.mark.parametrize("name", ["bridge", "flannel"])
def test_a_topology_survives_being_written_and_read_again(name: str) -> None:
    topology = catalog()[name]
    assert parse_topology(yaml.safe_dump(document_of(topology), sort_keys=False), "again.yaml") == topology


def test_the_flannel_topology_has_three_nodes_with_two_pods_each() -> None:
    topology = find_topology("flannel")
    assert [(node.name, node.pods) for node in topology.nodes] == [("node1", 2), ("node2", 2), ("node3", 2)]
    assert (topology.network.backend, topology.network.datastore) == ("vxlan", "local")


def flannel() -> dict[str, Any]:
    return document_of(find_topology("flannel"))


def changed(path: str, value: object) -> dict[str, Any]:
    """The flannel topology's document with one value set; None takes the key away."""
    document = flannel()
    *folders, last = path.split("/")
    place: Any = document
    for key in folders:
        place = place[int(key)] if isinstance(place, list) else place[key]
    if value is None:
        del place[last]
    elif isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return document


NODES, LINK = "topology/nodes", "topology/links/1/endpoints"


@pytest.mark.parametrize(
    ("path", "value", "place", "shown", "allowed"),
    [
        ("nam", "x", "x.yaml: nam", "x", "name, summary, network, topology"),
        ("network/mtu", 9000, "x.yaml: network.mtu", 9000, "plugin, range, backend, datastore"),
        (f"{NODES}/node1/image", "debian", "x.yaml: topology.nodes.node1.image", "debian", "kind, pods"),
        (f"{NODES}/underlay/pods", 2, "x.yaml: topology.nodes.underlay.pods", 2, "kind, subnet"),
        ("topology/kinds", {}, "x.yaml: topology.kinds", {}, "nodes, links"),
        ("topology/links/0/mtu", 1, "x.yaml: topology.links[0].mtu", 1, "endpoints"),
        ("name", None, "x.yaml: name", None, "missing"),
        ("name", "../etc", "x.yaml: name", "../etc", "lower-case letters"),
        ("name", 7, "x.yaml: name", 7, "must be text"),
        ("topology", [], "x.yaml: topology", [], "mapping"),
        ("topology/links", {}, "x.yaml: topology.links", {}, "list"),
        ("network/plugin", "calico", "x.yaml: network.plugin", "calico", "bridge, flannel"),
        ("network/backend", "ipsec", "x.yaml: network.backend", "ipsec", "udp, vxlan, host-gw"),
        ("network/datastore", "redis", "x.yaml: network.datastore", "redis", "local, etcd"),
        ("network/range", "10.244.0.0", "x.yaml: network.range", "10.244.0.0", "IPv4 network"),
        ("network/range", "10.244.0.0/24", "x.yaml: network.range", "10.244.0.0/24", "from 8 to 20"),
        ("network/range", "10.244.3.0/16", "x.yaml: network.range", "10.244.3.0/16", "did you mean 10.244.0.0/16"),
        ("network/range", "fd00::/16", "x.yaml: network.range", "fd00::/16", "IPv4 network"),
        ("network/range", "192.168.0.0/16", "x.yaml: network.range", "192.168.0.0/16", "must not overlap the underlay"),
        (
            f"{NODES}/outside/address",
            "10.244.1.1",
            "x.yaml: topology.nodes.outside.address",
            "10.244.1.1",
            "outside the pods' range",
        ),
        (f"{NODES}/outside/address", "::1", "x.yaml: topology.nodes.outside.address", "::1", "IPv4 address"),
        (f"{NODES}/node1/kind", "router", "x.yaml: topology.nodes.node1.kind", "router", "bridge, internet, node"),
        (f"{NODES}/node1/pods", "2", "x.yaml: topology.nodes.node1.pods", "2", "whole number from 0 to 100"),
        (f"{NODES}/node1/pods", True, "x.yaml: topology.nodes.node1.pods", True, "whole number"),
        (f"{NODES}/node1/pods", 101, "x.yaml: topology.nodes.node1.pods", 101, "whole number from 0 to 100"),
        (f"{NODES}/Node_4", {"kind": "node"}, "x.yaml: topology.nodes", "Node_4", "lower-case"),
        (f"{NODES}/node4", {"kind": "node"}, "x.yaml: topology.links", "node4", "exactly one link, but stands in 0"),
        (
            f"{NODES}/other",
            {"kind": "bridge", "subnet": "10.0.0.0/24"},
            "x.yaml: topology.nodes",
            ["underlay", "other"],
            "exactly one",
        ),
        (LINK, ["node1:eth0"], "x.yaml: topology.links[1].endpoints", ["node1:eth0"], "must be two"),
        (LINK, ["node1", "underlay:a"], "x.yaml: topology.links[1].endpoints[0]", "node1", "NODE:DEVICE"),
        (LINK, ["node9:eth0", "underlay:a"], "x.yaml: topology.links[1].endpoints[0]", "node9:eth0", "no node has that name"),
        (LINK, ["node1:eth0", "node2:eth1"], "x.yaml: topology.links[1].endpoints", None, "must join a machine and"),
        (LINK, ["node1:cni0", "underlay:a"], "x.yaml: topology.links[1].endpoints", "cni0", "others have"),
        (LINK, ["node1:eth0", "underlay:node2"], "x.yaml: topology.links", ["node2"], "each port of underlay carries one link"),
        (LINK, ["node2:eth1", "underlay:a"], "x.yaml: topology.links", "node1", "stands in 0"),
    ],
)
def test_what_cannot_be_is_refused_with_place_value_and_what_is_allowed(
    path: str, value: object, place: str, shown: object, allowed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_topology(changed(path, value), "x.yaml")
    assert caught.value.where == place
    assert allowed in str(caught.value)
    assert shown is None or caught.value.value == shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [", "line"),
        ("name: a\nname: b\n", "'name' stands twice"),
        ("- a\n- b\n", "mapping"),
        ("", "mapping"),
        ("1: x\n", "keys must be text"),
    ],
)
def test_text_that_is_no_topology_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parse_topology(text, "x.yaml")
    assert str(caught.value).startswith("x.yaml")


def test_a_topology_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="bridge, flannel"):
        find_topology("kubernetes")
    with pytest.raises(ConfigError, match="No such file"):
        find_topology("./no-such.yaml")


def links_of(topology: Topology) -> list[tuple[str, str]]:
    return [(link.machine, link.port) for link in topology.links]


def test_more_nodes_than_the_file_has_are_like_its_last_one() -> None:
    topology = with_options(find_topology("flannel"), nodes=5, pods=1)
    assert [(node.name, node.pods) for node in topology.nodes] == [(f"node{n}", 1) for n in range(1, 6)]
    assert links_of(topology)[-2:] == [("node4", "node4"), ("node5", "node5")]


def test_fewer_nodes_than_the_file_has_lose_their_links_too() -> None:
    topology = with_options(find_topology("flannel"), nodes=2)
    assert links_of(topology) == [("outside", "outside"), ("node1", "node1"), ("node2", "node2")]


def test_a_new_node_takes_no_name_that_is_taken() -> None:
    document = flannel()
    text = yaml.safe_dump(document, sort_keys=False).replace("node3", "aside").replace("outside", "node4")
    topology = with_options(parse_topology(text, "x.yaml"), nodes=4)
    assert [node.name for node in topology.nodes] == ["node1", "node2", "aside", "node5"]


def test_the_command_line_chooses_name_backend_and_datastore() -> None:
    topology = with_options(find_topology("flannel"), name="mine", backend="udp", datastore="etcd")
    assert (topology.name, topology.network.backend, topology.network.datastore) == ("mine", "udp", "etcd")


@pytest.mark.parametrize(
    ("name", "options", "place"),
    [
        ("bridge", {"backend": "vxlan"}, "--backend"),
        ("bridge", {"datastore": "etcd"}, "--datastore"),
        ("bridge", {"nodes": 2}, "command line: topology.nodes"),
        ("bridge", {"nodes": 0}, "--nodes"),
        ("flannel", {"nodes": 51}, "--nodes"),
        ("flannel", {"pods": -1}, "--pods"),
        ("flannel", {"pods": 101}, "--pods"),
        ("flannel", {"name": "no/name"}, "command line: name"),
    ],
)
def test_an_option_that_cannot_be_is_refused(name: str, options: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_options(find_topology(name), **options)
    assert caught.value.where == place


def test_pods_must_fit_into_the_range_of_a_bridge() -> None:
    document = {**document_of(find_topology("bridge")), "network": {"plugin": "bridge", "range": "10.244.0.0/29"}}
    topology = read_topology(document, "x.yaml")  # 8 addresses less network, gateway and broadcast: 5, and 4 are asked for
    assert with_options(topology, pods=5).nodes[0].pods == 5
    with pytest.raises(ConfigError, match="has 5 addresses for pods"):
        with_options(topology, pods=6)


def test_nodes_must_fit_into_the_underlay() -> None:
    topology = read_topology(changed(f"{NODES}/underlay/subnet", "192.168.50.0/28"), "x.yaml")
    assert with_options(topology, nodes=4).nodes[-1].name == "node4"  # .11 to .14; .15 is the broadcast address
    with pytest.raises(ConfigError, match="too small for 5 nodes"):
        with_options(topology, nodes=5)


def broken(text: str) -> str:
    """What is said of a file with this text."""
    with pytest.raises(ConfigError) as raised:
        parse_topology(text, "x.yaml")
    return str(raised.value)


BOMB = "summary:\n  - &a [x, x]\n" + "".join(
    f"  - &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: 2020-13-45", "x.yaml: holds a value that is none: month must be in 1..12"),
        (f"name: {'9' * 5000}", "x.yaml: holds a value that is none"),
        ("a: &a {x: 1}\n? *a\n: 2", "x.yaml"),
        ("[" * 20000, "x.yaml: is nested too deeply"),
        (f"name: {'x' * 70000}", "x.yaml: is too large for a topology: at most 65536 characters"),
        (BOMB, "x.yaml: is too large for a topology"),
        ("name: &a [*a]", "x.yaml: is too large for a topology"),
    ],
)
def test_what_yaml_can_be_made_to_say_is_refused_in_few_words(text: str, words: str) -> None:
    said = broken(text)
    assert words in said
    assert len(said) < 300


def test_a_file_may_take_in_another_mapping_and_override_it() -> None:
    text = yaml.safe_dump(changed("network/backend", "host-gw"), sort_keys=False).replace(
        "network:\n", "network:\n  <<: {backend: udp, datastore: etcd}\n"
    )
    text = text.replace("  datastore: local\n", "")
    network = parse_topology(text, "x.yaml").network
    assert (network.backend, network.datastore) == ("host-gw", "etcd")


def test_a_file_without_an_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="/dev/zero"):
        find_topology("/dev/zero")


@pytest.mark.parametrize("special", ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/8", "240.0.0.0/8"])
def test_addresses_that_no_host_can_have_are_refused(special: str) -> None:
    with pytest.raises(ConfigError, match=r"network\.range.*whose addresses hosts cannot have"):
        read_topology(changed("network/range", special), "x.yaml")
    with pytest.raises(ConfigError, match=r"outside\.address.*whose addresses hosts cannot have"):
        read_topology(changed(f"{NODES}/outside/address", special.partition("/")[0]), "x.yaml")


@pytest.mark.parametrize("link", [["node1:all", "underlay:node1"], ["node1:eth0", "underlay:br0"], ["node1:eth0", "underlay:lo"]])
def test_a_link_cannot_have_a_name_that_others_have(link: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"topology\.links\[1\].*is a name that others have"):
        read_topology(changed(LINK, link), "x.yaml")


def test_a_node_cannot_be_called_like_a_pod() -> None:
    document = flannel()
    document["topology"]["nodes"]["node1-pod1"] = document["topology"]["nodes"].pop("node2")
    document["topology"]["links"][2]["endpoints"][0] = "node1-pod1:eth0"
    with pytest.raises(ConfigError, match="'node1-pod1': is the name of a pod"):
        read_topology(document, "x.yaml")


def test_an_empty_name_is_no_name() -> None:
    with pytest.raises(ConfigError, match="command line: name"):
        with_options(find_topology("flannel"), name="")
