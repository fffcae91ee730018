"""Nodes for the tests of flanneld_py: namespaces on one bridge, a real daemon process in each, the embedded store between them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datastore.errors import StoreError
from datastore.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from datastore.store import Listing

DEADLINE_S = 30.0
PREFIX = "/coreos.com/network"
SWITCH_ADDRESS = "192.168.50.254"  # where an etcd can listen for all nodes
ROOT = Path(__file__).parents[2]


def sh(netns: str, *argv: str, check: bool = True, timeout_s: float = DEADLINE_S) -> str:
    """Run a command in a namespace; what it printed."""
    done = subprocess.run(["nsenter", f"--net={netns}", *argv], capture_output=True, text=True, timeout=timeout_s, check=False)
    assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
    return done.stdout


def ip_json(netns: str, *argv: str) -> list[dict[str, Any]]:
    """What `ip -d -j` prints, parsed."""
    return list(json.loads(sh(netns, "ip", "-d", "-j", *argv) or "[]"))


def eventually(what: str, check: Callable[[], object], deadline_s: float = DEADLINE_S) -> float:
    """Poll until `check` holds; how long it took. Fails after the deadline."""
    start = time.monotonic()
    while not check():
        assert time.monotonic() - start < deadline_s, f"not within {deadline_s} s: {what}"
        time.sleep(0.01)
    return time.monotonic() - start


class Node:
    """One namespace with `eth0` at 192.168.50.NUMBER and a daemon."""

    def __init__(self, cluster: Cluster, number: int, netns: str) -> None:
        self.cluster, self.number, self.netns = cluster, number, netns
        self.address = f"192.168.50.{number}"
        self.folder = cluster.folder / f"node{number}"
        self.folder.mkdir(exist_ok=True)
        self.subnet_file = self.folder / "subnet.env"
        self.log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *flags: str) -> None:
        """Start the daemon, with a log of its own."""
        argv = ["nsenter", f"--net={self.netns}", sys.executable, "-m", "flanneld_py", *self.cluster.store_flags]
        argv += ["-iface=eth0", "-subnet-file", str(self.subnet_file), "-v", "1", *flags]
        env = {name: value for name, value in os.environ.items() if not name.startswith("FLANNELD_")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=env)

    def ready(self) -> Node:
        """Wait until it says so, and give the bridge `cni0` the subnet's first address."""
        self.says("ready subnet=")
        if not ip_json(self.netns, "link", "show", "type", "bridge"):
            sh(self.netns, "ip", "link", "add", "cni0", "type", "bridge")
            sh(self.netns, "ip", "link", "set", "cni0", "up")
            sh(self.netns, "ip", "address", "add", self.env["FLANNEL_SUBNET"], "dev", "cni0")
        return self

    def says(self, text: str) -> None:
        """Wait for a line in the log of the daemon as last started."""
        eventually(f"node {self.number} says {text!r}; it said:\n{self.said}", lambda: text in self.said or self.ended())
        assert text in self.said, self.said

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    @property
    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    @property
    def env(self) -> dict[str, str]:
        return dict(line.split("=") for line in self.subnet_file.read_text().splitlines())

    @property
    def gateway(self) -> str:
        """The address on `cni0`."""
        return self.env["FLANNEL_SUBNET"].partition("/")[0]

    @property
    def subnet(self) -> str:
        return self.gateway.rpartition(".")[0] + ".0/24"

    @property
    def vtep(self) -> str:
        """The address on flannel.1 or flannel0."""
        return self.gateway.rpartition(".")[0] + ".0"

    @property
    def key(self) -> str:
        return f"{PREFIX}/subnets/{self.subnet.replace('/', '-')}"

    def end(self, number: int = signal.SIGTERM) -> int:
        """End the daemon; its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def restart(self, *flags: str) -> None:
        """kill -9 and start again."""
        self.end(signal.SIGKILL)
        self.start(*flags)
        self.says("ready subnet=")

    def ping(self, other: str, *options: str, check: bool = True) -> str:
        """Ping from the gateway address of this node's subnet."""
        return sh(self.netns, "ping", "-n", "-I", self.gateway, "-W", "5", *options, other, check=check)

    def reaches(self, other: Node) -> bool:
        return " 0% packet loss" in self.ping(other.gateway, "-c", "1", "-W", "1", check=False)

    def routes(self) -> dict[str, dict[str, Any]]:
        return {route["dst"]: route for route in ip_json(self.netns, "route")}


class Cluster:
    """A bridge in a namespace of its own and nodes around it.

    Args:
        make: makes a namespace, which is deleted after the test.
        folder: for the store and each node's files.
        store_flags: where the store is; by default the embedded one in `folder`.
    """

    def __init__(self, make: Callable[[], str], folder: Path, *, nodes: int, store_flags: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.store_path = folder / "store" / "store.db"
        self.store_flags = store_flags or ("-local-subnet-mgr", str(self.store_path))
        self.switch = make()
        sh(self.switch, "ip", "link", "add", "br0", "type", "bridge")
        sh(self.switch, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0")
        sh(self.switch, "ip", "link", "set", "br0", "up")
        sh(self.switch, "ip", "link", "set", "lo", "up")
        sh(self.switch, "ip", "address", "add", f"{SWITCH_ADDRESS}/24", "dev", "br0")
        self.nodes = [self._node(number, make()) for number in range(1, nodes + 1)]

    def _node(self, number: int, netns: str) -> Node:
        port = f"n{number}"
        sh(netns, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", self.switch)
        sh(self.switch, "ip", "link", "set", port, "master", "br0", "up")
        sh(netns, "ip", "address", "add", f"192.168.50.{number}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            sh(netns, "ip", "link", "set", device, "up")
        return Node(self, number, netns)

    def configure(self, config: dict[str, Any] | str) -> None:
        """Write the network configuration."""
        text = config if isinstance(config, str) else json.dumps(config)
        self.ask(lambda store: _put(store, f"{PREFIX}/config", text.encode()))

    def ask(self, work: Callable[[LocalStore], Awaitable[Any]]) -> Any:
        """Do something with the embedded store."""

        async def ask() -> Any:
            store = await LocalStore.open(str(self.store_path))
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(ask())

    def leases(self) -> dict[str, bytes]:
        """Keys and values below subnets/."""

        async def read(store: LocalStore) -> Listing:
            return await store.list(f"{PREFIX}/subnets/")

        return {item.key: item.value for item in self.ask(read).items}

    def put(self, key: str, value: bytes, lease: int = 0) -> None:
        """Write a key, whatever is there."""
        self.ask(lambda store: _put(store, key, value, lease))

    def delete(self, key: str) -> None:
        self.ask(lambda store: store.delete(key))

    def up(self, *flags: str) -> list[Node]:
        """Start all daemons, and wait until every node reaches every other."""
        for node in self.nodes:
            node.start(*flags)
        for node in self.nodes:
            node.ready()
        for node in self.nodes:
            for other in self.nodes:
                if other is not node:
                    eventually(f"node {node.number} reaches {other.number}", lambda a=node, b=other: a.reaches(b))  # type: ignore[misc]
        return self.nodes

    def close(self) -> None:
        """End what is still running."""
        for node in self.nodes:
            if node.process and node.process.poll() is None:
                node.process.kill()
                node.process.wait()


async def _put(store: LocalStore, key: str, value: bytes, lease: int = 0) -> None:
    while True:
        item = await store.get(key)
        try:
            if item is None:
                await store.create(key, value, lease)
            else:
                await store.replace(key, value, item.revision, lease)
        except StoreError:
            continue  # somebody was faster
        else:
            return
