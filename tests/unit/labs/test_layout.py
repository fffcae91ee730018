"""Names, paths and addresses follow from the topology alone."""

from __future__ import annotations

from labs.catalog import find_topology
from labs.layout import Layout
from labs.topology_file import with_options

LAYOUT = Layout(with_options(find_topology("flannel"), name="mine", nodes=2, pods=1))


def test_every_machine_and_pod_has_one_namespace_named_after_lab_and_machine() -> None:
    assert LAYOUT.namespaces == tuple(
        f"/run/netns/pw-mine-{name}" for name in ("underlay", "outside", "node1", "node2", "node1-pod1", "node2-pod1")
    )


def test_machines_have_addresses_in_order_and_the_outside_is_their_gateway() -> None:
    assert [str(LAYOUT.address_of(name)) for name in ("outside", "node1", "node2")] == [
        "192.168.50.1/24",
        "192.168.50.11/24",
        "192.168.50.12/24",
    ]
    assert str(LAYOUT.gateway) == "192.168.50.1"


def test_a_machines_mac_spells_its_address() -> None:
    assert str(LAYOUT.mac_of("node2")) == "0a:58:c0:a8:32:0c"  # 192.168.50.12


def test_all_paths_but_namespaces_lie_in_the_labs_folder() -> None:
    paths = (
        LAYOUT.plugin_folder,
        LAYOUT.store_file,
        LAYOUT.subnet_file("node1"),
        LAYOUT.conflist("node1"),
        LAYOUT.cache_folder("node1"),
    )
    assert all(path.startswith("/run/podwire/lab/mine/") for path in paths)


def test_a_pod_is_found_by_its_name() -> None:
    pod = LAYOUT.pod("node2-pod1")
    assert pod is not None
    assert (pod.node, pod.container_id) == ("node2", "pw-mine-node2-pod1")
    assert LAYOUT.pod("node1") is None
