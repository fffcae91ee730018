"""A private host for CNI plugins: a namespace of its own, a data folder, pods, and the plugins executed as a runtime does.

The environment of a plugin is empty but for CNI_*. Nothing here touches the namespace that the tests run in.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any

from cni.install import install
from dataplane.drivers import netns
from dataplane.drivers.run import Ran, run

if TYPE_CHECKING:
    from types import TracebackType

GO_PLUGINS = "/usr/lib/cni"
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
WITH_PREV_RESULT = VERSIONS[4:]
V4 = [{"subnet": "10.77.0.0/24"}]
V6 = [{"subnet": "fd77::/64"}]
FAMILIES = {"v4": [V4], "v6": [V6], "dual": [V4, V6]}
DEFAULTS = {"v4": [{"dst": "0.0.0.0/0"}], "v6": [{"dst": "::/0"}], "dual": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}

_numbers = itertools.count()


@functools.cache
def plugins() -> str:
    """The folder with our installed plugins: made once for the whole run, removed at its end."""
    folder = tempfile.mkdtemp(prefix="pwt-plugins-")
    atexit.register(shutil.rmtree, folder)
    install(folder)
    return folder


class Refused(Exception):
    """The plugin's error document."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(json.dumps(document))
        self.code, self.msg, self.details = document["code"], document["msg"], document.get("details", "")


class Node:
    """A host. Leave it as a `with` block and nothing remains."""

    def __init__(self, cni_path: str | None = None) -> None:
        self.cni_path = cni_path or plugins()
        self._made: list[str] = []
        self.folder = tempfile.mkdtemp(prefix="pwt-node-")
        self.data = os.path.join(self.folder, "networks")
        self.host = self.namespace()

    def __enter__(self) -> Node:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for path in reversed(self._made):
            netns.delete(path)
        shutil.rmtree(self.folder)

    def namespace(self) -> str:
        path = f"/run/netns/pwtcni{os.getpid()}-{next(_numbers)}"
        netns.create(path)
        self._made.append(path)
        return path

    def conf(self, kind: str, family: str = "v4", version: str = "1.1.0", name: str = "net1", **more: Any) -> dict[str, Any]:
        """A network of one plugin with host-local, a bridge of a name that only tests use, and default routes."""
        ipam = {"type": "host-local", "dataDir": self.data, "ranges": FAMILIES[family], "routes": DEFAULTS[family]}
        bridge = {"bridge": "pwtbr0", "isGateway": True} if kind == "bridge" else {}
        return {"cniVersion": version, "name": name, "type": kind, **bridge, "ipam": ipam, **more}

    def start(self, command: str, conf: dict[str, Any] | bytes, pod: str = "", container_id: str = "c1", **env: str) -> Ran:
        """Execute the plugin that the configuration names (or `plugin=`), whatever it answers."""
        kind = env.pop("plugin", "") or json.loads(conf if isinstance(conf, bytes) else json.dumps(conf))["type"]
        stdin = conf if isinstance(conf, bytes) else json.dumps(conf).encode()
        given = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container_id,
            "CNI_NETNS": pod,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": self.cni_path,
        }
        folder = env.pop("folder", "") or self.cni_path.split(":")[0]
        if folder == GO_PLUGINS:  # those cannot find iptables without
            env.setdefault("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        return run([os.path.join(folder, kind)], stdin, netns=self.host, env={**given, **env})

    def call(
        self, command: str, conf: dict[str, Any] | bytes, pod: str = "", container_id: str = "c1", **env: str
    ) -> dict[str, Any]:
        """Execute it, and return its result; {} where it gives none. Raises Refused."""
        ran = self.start(command, conf, pod, container_id, **env)
        assert ran.stderr == b"", ran.stderr
        if ran.status != 0:
            raise Refused(json.loads(ran.stdout))
        if command != "ADD":
            assert ran.stdout == b""
            return {}
        result: dict[str, Any] = json.loads(ran.stdout)
        return result

    def add(self, conf: dict[str, Any], pod: str, container_id: str = "c1", **env: str) -> dict[str, Any]:
        return self.call("ADD", conf, pod, container_id, **env)

    def delete(self, conf: dict[str, Any], pod: str, container_id: str = "c1", **env: str) -> None:
        self.call("DEL", conf, pod, container_id, **env)

    def check(self, conf: dict[str, Any], result: dict[str, Any], pod: str, container_id: str = "c1", **env: str) -> None:
        self.call("CHECK", {**conf, "prevResult": result}, pod, container_id, **env)

    def sh(self, command: str, where: str | None = None) -> str:
        """A shell command in a namespace (the host's by default): what it printed."""
        ran = run(["sh", "-c", command], netns=where or self.host)
        assert ran.status == 0, (command, ran)
        return ran.stdout.decode()

    def settle(self) -> None:
        """Wait until the host's IPv6 addresses have passed duplicate address detection: Go's are tentative for a second."""
        deadline_s = time.monotonic() + 30
        while "tentative" in self.sh("ip -6 addr"):
            assert time.monotonic() < deadline_s
            time.sleep(0.05)

    def reservations(self, network: str = "net1") -> set[str]:
        folder = os.path.join(self.data, network)
        names = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        return {name for name in names if name != "lock" and not name.startswith("last_reserved_ip.")}

    def rules(self) -> list[str]:
        """Chains and rules of both families' nat tables."""
        text = self.sh("iptables-save -t nat; ip6tables-save -t nat")
        return [line.partition(" [")[0] for line in text.splitlines() if line.startswith((":CNI", "-A"))]

    def snapshot(self) -> dict[str, Any]:
        """All of the host that an attachment may touch: links, addresses, routes, rules, files. What DEL must bring back."""
        links = json.loads(self.sh("ip -j addr"))
        return {
            "links": sorted(
                (
                    link["ifname"],
                    link["address"],
                    link.get("master"),
                    sorted((a["local"], a["prefixlen"]) for a in link["addr_info"]),
                )
                for link in links
            ),
            "routes": sorted(
                self.sh("ip -4 route; ip -6 route show table all | grep -v fe80 | grep -v multicast || true").splitlines()
            ),
            "rules": self.rules(),
            "files": {
                os.path.join(folder, name): _text(os.path.join(folder, name))
                for folder, _, names in os.walk(self.folder)
                for name in names
                if not name.startswith("last_reserved_ip.")
            },
        }


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def links_of(node: Node, where: str) -> dict[str, dict[str, Any]]:
    """Devices of a namespace by name, as `ip -d -j link` tells them."""
    return {link["ifname"]: link for link in json.loads(node.sh("ip -d -j link", where))}


def addresses_of(node: Node, where: str, device: str) -> set[str]:
    """Global addresses of a device, with their lengths."""
    found = json.loads(node.sh(f"ip -j addr show dev {device}", where))
    return {f"{a['local']}/{a['prefixlen']}" for link in found for a in link["addr_info"] if a["scope"] == "global"}


def ping(node: Node, where: str, address: str) -> bool:
    """Whether an address answers, within the time that a busy machine needs."""
    argv = ["ip", "netns", "exec", os.path.basename(where), "ping", "-c1", "-w20", address]
    ran = subprocess.run(argv, capture_output=True, check=False)
    if ran.returncode != 0:
        print(ran, node.sh("ip neigh; ip -d addr; bridge -d link"), node.sh("ip neigh; ip addr", where), sep="\n")
    return ran.returncode == 0
