"""Command lines and configurations of what runs in a lab."""

from __future__ import annotations

import json
from typing import Any

from labs.catalog import find_topology
from labs.layout import Layout
from labs.programs import conflist, network_config, node_daemons, store_address, store_daemon
from labs.topology_file import with_options

BRIDGE = Layout(find_topology("bridge"))
LOCAL = Layout(find_topology("flannel"))
ETCD = Layout(with_options(find_topology("flannel"), datastore="etcd", backend="host-gw"))


def test_each_node_runs_a_flanneld_on_its_uplink_with_files_of_its_own() -> None:
    daemons = node_daemons(LOCAL, "/usr/bin/python3")
    assert [daemon.machine for daemon in daemons] == ["node1", "node2", "node3"]
    folder = "/run/podwire/lab/flannel"
    assert daemons[1].argv == (
        *("/usr/bin/python3", "-m", "flanneld_py", "-local-subnet-mgr", f"{folder}/store.db"),
        *("-iface", "eth0", "-subnet-file", f"{folder}/node2/subnet.env", "-ip-masq"),
    )
    assert (daemons[1].log, daemons[1].pid_file) == (f"{folder}/node2/flanneld.log", f"{folder}/node2/flanneld.pid")
    assert str(daemons[1]) == "flanneld on node2"


def test_no_two_daemons_share_their_options() -> None:
    options = [daemon.options for layout in (LOCAL, ETCD) for daemon in node_daemons(layout, "python")]
    assert len(set(options)) == len(options)


def test_with_etcd_the_outside_host_serves_it_and_all_daemons_are_told_where() -> None:
    daemon = store_daemon(ETCD)
    assert daemon is not None
    assert daemon.machine == "outside"
    assert "http://192.168.50.1:2379" in daemon.argv
    assert store_address(ETCD) == "http://192.168.50.1:2379"
    assert all("-etcd-endpoints" in d.argv and "http://192.168.50.1:2379" in d.argv for d in node_daemons(ETCD, "python"))


def test_the_embedded_store_needs_no_daemon() -> None:
    assert store_daemon(LOCAL) is None
    assert store_address(LOCAL) == "sqlite:/run/podwire/lab/flannel/store.db"


def test_a_bridge_needs_neither_store_nor_daemon() -> None:
    assert store_daemon(BRIDGE) is None
    assert node_daemons(BRIDGE, "python") == ()


def test_flannels_network_configuration_names_range_and_backend() -> None:
    assert json.loads(network_config(ETCD)) == {"Network": "10.244.0.0/16", "Backend": {"Type": "host-gw"}}


def folders(value: Any) -> list[str]:
    """All values of the keys that name a folder or file, at any depth."""
    if isinstance(value, dict):
        own = [v for k, v in value.items() if k in ("dataDir", "subnetFile")]
        return own + [found for v in value.values() for found in folders(v)]
    return [found for v in value for found in folders(v)] if isinstance(value, list) else []


def test_plugins_keep_their_files_in_the_nodes_folder() -> None:
    for layout, count in ((BRIDGE, 1), (LOCAL, 3)):
        found = folders(json.loads(conflist(layout, "node1")))
        assert len(found) == count
        assert all(path.startswith(f"/run/podwire/lab/{layout.name}/node1/") for path in found)


def test_a_bridges_plugin_masquerades_and_flannels_leaves_that_to_the_daemon() -> None:
    bridge, flannel = (json.loads(conflist(layout, "node1"))["plugins"][0] for layout in (BRIDGE, LOCAL))
    assert (bridge["type"], bridge["ipMasq"], bridge["isDefaultGateway"]) == ("bridge", True, True)
    assert (flannel["type"], flannel["delegate"]) == ("flannel", {"hairpinMode": True, "isDefaultGateway": True})
