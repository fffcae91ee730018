"""flanneld_py with a real etcd: etcdctl reads what a Go flanneld would have written, and what one would write is followed."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from flanneld_py.daemon import AUDIT_S
from tests.etcd_server import EtcdServer, etcd_server
from tests.netns.conftest import namespace
from tests.netns.flannel_nodes import PREFIX, SWITCH_ADDRESS, Cluster, Node, eventually, ip_json, sh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["namespace"]  # a fixture

NETWORK = "10.5.0.0/16"
GO_LEASE = (
    '{"PublicIP":"192.168.50.9","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}'
)
FOREIGN_KEY = f"{PREFIX}/subnets/10.5.209.0-24"


class Lab:
    """Two nodes and an etcd on their switch."""

    def __init__(self, make: Callable[[], str], folder: Path) -> None:
        self.cluster = Cluster(make, folder, nodes=2, store_flags=("-etcd-endpoints", ""))
        self.server: EtcdServer

    def etcdctl(self, *argv: str) -> str:
        """What etcdctl prints, without the line end."""
        quoted = ["env", "ETCDCTL_API=3", "etcdctl", f"--endpoints={self.server.url}", *argv]
        return sh(self.cluster.switch, *quoted).removesuffix("\n")

    def up(self) -> list[Node]:
        self.cluster.store_flags = ("-etcd-endpoints", self.server.url)
        return self.cluster.up("-ip-masq")


@pytest.fixture
def lab(namespace: Callable[[], str], tmp_path: Path) -> Iterator[Lab]:
    found = Lab(namespace, tmp_path)
    with etcd_server(host=SWITCH_ADDRESS, netns=found.cluster.switch) as server:
        found.server = server
        found.etcdctl("put", f"{PREFIX}/config", json.dumps({"Network": NETWORK, "Backend": {"Type": "vxlan"}}))
        yield found
        found.cluster.close()


def test_etcdctl_reads_flannels_keys_values_and_leases(lab: Lab) -> None:
    one, two = lab.up()
    assert set(lab.etcdctl("get", "--prefix", "--keys-only", f"{PREFIX}/subnets/").split()) == {one.key, two.key}
    mac = ip_json(one.netns, "link", "show", "flannel.1")[0]["address"]
    data = f'"BackendData":{{"VNI":1,"VtepMAC":"{mac}"}}'
    wanted = f'{{"PublicIP":"192.168.50.1","PublicIPv6":null,"BackendType":"vxlan",{data}}}'
    assert lab.etcdctl("get", "--print-value-only", one.key) == wanted
    leases = lab.etcdctl("lease", "list").split()[-2:]
    told = [lab.etcdctl("lease", "timetolive", "--keys", lease) for lease in leases]
    assert sum(f"attached keys([{one.key}])" in text for text in told) == 1
    assert all("granted with TTL(86400s)" in text for text in told)


def test_a_lease_as_go_writes_it_is_programmed_and_its_end_too(lab: Lab) -> None:
    one, two = lab.up()
    lab.etcdctl("put", FOREIGN_KEY, GO_LEASE)
    eventually("the route is there", lambda: one.routes().get("10.5.209.0/24", {}).get("gateway") == "10.5.209.0")
    assert "c6:d2:32:6f:8f:44 dst 192.168.50.9" in sh(one.netns, "bridge", "fdb", "show", "dev", "flannel.1")
    assert "10.5.209.0 lladdr c6:d2:32:6f:8f:44 PERMANENT" in sh(one.netns, "ip", "neigh", "show", "dev", "flannel.1")
    lab.etcdctl("del", FOREIGN_KEY)
    eventually("the route is gone", lambda: "10.5.209.0/24" not in one.routes(), deadline_s=AUDIT_S / 2)
    assert "c6:d2:32:6f:8f:44" not in sh(one.netns, "bridge", "fdb", "show", "dev", "flannel.1")
    assert one.reaches(two)


def test_a_renewal_as_go_does_it_changes_nothing(lab: Lab) -> None:
    one, _ = lab.up()
    lab.etcdctl("put", FOREIGN_KEY, GO_LEASE)
    eventually("the route is there", lambda: "10.5.209.0/24" in one.routes())
    turns = one.said.count("network changed")
    lab.etcdctl("put", FOREIGN_KEY, GO_LEASE)  # Go writes the same value under a new lease
    lab.etcdctl("put", f"{PREFIX}/subnets/10.5.210.0-24", GO_LEASE.replace("50.9", "50.8").replace("8f:44", "8f:45"))
    eventually("what came after it is programmed", lambda: "10.5.210.0/24" in one.routes())
    assert one.said.count("network changed") == turns + 1


def test_nodes_outlive_an_outage_of_etcd_and_follow_what_happened_meanwhile(lab: Lab) -> None:
    one, two = lab.up()
    lab.etcdctl("put", FOREIGN_KEY, GO_LEASE)
    eventually("the route is there", lambda: "10.5.209.0/24" in one.routes())
    lab.server.stop(signal.SIGKILL)
    assert one.reaches(two)
    assert "10.5.209.0/24" in one.routes()
    lab.server.start()
    lab.etcdctl("del", FOREIGN_KEY)
    eventually("the route is gone", lambda: "10.5.209.0/24" not in one.routes())
    assert one.reaches(two)
    assert not one.ended()


def test_compacted_history_is_answered_by_a_new_listing(lab: Lab) -> None:
    one, _ = lab.up()
    assert one.process is not None
    one.process.send_signal(signal.SIGSTOP)
    lab.server.stop(signal.SIGKILL)
    lab.server.start()
    for _ in range(3):
        lab.etcdctl("put", FOREIGN_KEY, GO_LEASE)
    revision = json.loads(lab.etcdctl("get", "-w", "json", FOREIGN_KEY))["header"]["revision"]
    lab.etcdctl("compact", str(revision))
    one.process.send_signal(signal.SIGCONT)
    eventually("the lease is followed", lambda: "10.5.209.0/24" in one.routes(), deadline_s=60.0)
    assert "watch fell behind, listing again" in one.said
