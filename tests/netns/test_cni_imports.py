"""What a real ADD imports: a module more is a decision, for each costs every pod on the node its time."""

from __future__ import annotations

import json
import os

import pytest

from dataplane.drivers.run import run
from tests.cni_node import Node

# Of Python's own, beyond what a bare `python3 -ISB` has: all but __future__ are C built-ins or frozen.
ALLOWED = set(
    [
        "__future__",
        "_collections_abc",
        "_ctypes",
        "_json",
        "_sha512",
        "_sha2",
        "_socket",
        "_stat",
        "_struct",
        "errno",
        "fcntl",
        "gc",
        "genericpath",
        "os",
        "os.path",
        "posixpath",
        "select",
        "stat",
        "struct",
        "time",
    ]
)
OURS_FOR_BRIDGE = set(
    [
        "attachment",
        "attachments",
        "bridge",
        "bridge.conf",
        "bridge.desired",
        "bridge.plugin",
        "change",
        "conf",
        "container",
        "delegate",
        "digest",
        "errors",
        "filelock",
        "host_local_ipam",
        "host_local_ipam.conf",
        "host_local_ipam.desired",
        "host_local_ipam.plugin",
        "host_local_ipam.ranges",
        "host_local_ipam.resolv",
        "host_local_ipam.store",
        "interface",
        "ipam",
        "jsontext",
        "masquerade",
        "pair",
        "plugins",
        "result",
        "skel",
        "teardown",
        "transaction",
        "verify",
        "version",
    ]
)

_SHOW = "print(*sorted(set(sys.modules) - bare), file=sys.stderr)"


@pytest.mark.parametrize("masquerade", [False, True])
def test_a_bridge_add_with_host_local_imports_nothing_heavy(masquerade: bool) -> None:
    with Node() as node:
        pod = node.namespace()
        path = os.path.join(node.cni_path, "bridge")
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        before = [f"__file__ = {path!r}", "import sys", "bare = set(sys.modules)"]
        program = "\n".join([*before, *lines[1:-1], "status = main('bridge')", _SHOW, "sys.exit(status)"])
        env = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": pod, "CNI_IFNAME": "eth0", "CNI_PATH": node.cni_path}
        conf = node.conf("bridge", "dual", ipMasq=masquerade)
        ran = run(["/usr/bin/python3", "-ISBc", program], json.dumps(conf).encode(), netns=node.host, env=env)
        assert ran.status == 0
        assert "ips" in json.loads(ran.stdout)
        modules = set(ran.stderr.decode().split())
    ours = {name.removeprefix("cni.") for name in modules if name.startswith("cni.")}
    foreign = {name for name in modules if name.partition(".")[0] not in ("cni", "dataplane")}
    assert ours == OURS_FOR_BRIDGE
    assert foreign <= ALLOWED
    assert ("dataplane.drivers.iptables" in modules) is masquerade
