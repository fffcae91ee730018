"""flanneld-py with many leases: how soon they are programmed, how soon one is gone, and what the daemon costs at rest.

A real daemon process with backend vxlan and the embedded store, in a network namespace of its own, which is gone afterwards.
There is no peer: `must` and `goal` hold for the value itself.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from bench.report import Case, options, run, seconds
from dataplane.drivers.host import HostKernel
from dataplane.drivers.netlink import NetlinkDriver
from dataplane.drivers.netns import create, delete
from dataplane.inet import IP, Prefix, parse_ip, parse_prefix
from dataplane.ownership import Owner, Scope
from dataplane.reconcile import reconcile
from dataplane.state import PROTO_FLANNELD, Address, Bridge, Link, Object, Route
from datastore.local import LocalStore
from flanneld_py.lease import Lease, encode_value, key_of

FEW, MANY = 500, 5000
PREFIX = "/coreos.com/network"
CONFIG = b'{"Network": "10.0.0.0/8", "SubnetMin": "10.200.0.0", "Backend": {"Type": "vxlan"}}'  # leaves room for the peers below
DEVICE = "flannel.1"
CALM_S, REST_S = 3.0, 10.0  # the start's last events pass; then the daemon is watched
DEADLINE_S = 120.0
ROOT = Path(__file__).parent.parent


def peer(number: int) -> Lease:
    """The lease of one of many nodes."""
    mac = ":".join(f"{byte:02x}" for byte in (2, 0, *number.to_bytes(4, "big")))
    subnet = Prefix(IP(parse_ip("10.0.0.0") + (number << 8)), 24)
    return Lease(subnet, IP(parse_ip("172.16.0.0") + number), "vxlan", f'{{"VNI":1,"VtepMAC":"{mac}"}}')


def key(lease: Lease) -> str:
    return f"{PREFIX}/subnets/{key_of(lease.subnet)}"


class Daemon:
    """A running flanneld-py beside `count` nodes that are leases only. Their subnets are 10.0.0.0/24 and up."""

    def __init__(self, netns: str, store: Path, count: int) -> None:
        self.count, self._store = count, store
        self._driver = NetlinkDriver(netns)
        argv = ["nsenter", f"--net={netns}", sys.executable, "-m", "flanneld_py", "-local-subnet-mgr", str(store), "-iface=eth0"]
        argv += ["-subnet-file", str(store.with_name("subnet.env"))]
        env = {name: value for name, value in os.environ.items() if not name.startswith("FLANNELD_")}
        with store.with_name("log").open("wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=env)

    def wait_programmed(self) -> None:
        """Until every peer has its route, which comes after its neighbour and FDB entries."""
        self._wait(lambda: len([item for item in self._driver.read(Scope(routes=frozenset({4}))) if _is_ours(item)]) == self.count)

    def removal_ms(self) -> float:
        """From a lease's deletion in the store until the kernel has no route to its subnet."""
        last = peer(self.count - 1)
        asyncio.run(_change(self._store, lambda store: store.delete(key(last))))
        took_s = seconds(lambda: self._wait(lambda: self._driver.route_to(last.subnet.first + 1) is None))
        asyncio.run(_change(self._store, lambda store: store.create(key(last), encode_value(last))))
        self._wait(lambda: self._driver.route_to(last.subnet.first + 1) is not None)
        return took_s * 1e3

    def rest_percent(self) -> float:
        """CPU time in percent of one core, that of iptables-save included."""
        time.sleep(CALM_S)
        before = self._cpu_s()
        time.sleep(REST_S)
        return (self._cpu_s() - before) / REST_S * 100

    def resident_mb(self) -> float:
        """Memory that the process occupies."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._driver.close()

    def _cpu_s(self) -> float:
        """Seconds of this process and of the children that it has waited for."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")

    def _wait(self, holds: Callable[[], bool]) -> None:
        give_up = time.monotonic() + DEADLINE_S
        while not holds():
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"the daemon did not do it:\n{self._store.with_name('log').read_text()[-2000:]}")
            time.sleep(0.002)


def _is_ours(item: Object) -> bool:
    return isinstance(item, Route) and item.protocol == PROTO_FLANNELD


async def _change(path: Path, change: Callable[[LocalStore], Awaitable[object]]) -> None:
    store = await LocalStore.open(str(path))
    try:
        await change(store)
    finally:
        await store.close()


async def _fill(path: Path, count: int) -> None:
    store = await LocalStore.open(str(path))
    await store.create(f"{PREFIX}/config", CONFIG)
    for number in range(count):
        lease = peer(number)
        await store.create(key(lease), encode_value(lease))
    await store.close()


@contextmanager
def _daemon(stores: Path, count: int) -> Iterator[Daemon]:
    """A daemon that has just been started, on a store and a namespace of its own."""
    store = stores / str(count) / "store.db"
    if not store.exists():
        asyncio.run(_fill(store, count))
    netns = f"/run/netns/podwire-bench-{os.getpid()}"
    create(netns)
    try:
        with HostKernel(netns) as kernel:
            base = [Link("lo"), Bridge("eth0"), Address("eth0", parse_prefix("192.168.50.1/24"))]
            reconcile(kernel, base, Owner("bench", links=frozenset({"eth0"}), settings=frozenset({"lo"})))
        daemon = Daemon(netns, store, count)
        try:
            yield daemon
        finally:
            daemon.close()
    finally:
        delete(netns)


def _start_s(stores: Path, count: int) -> float:
    """Seconds from the start of the process until all is programmed."""
    with _daemon(stores, count) as daemon:
        return seconds(daemon.wait_programmed)


def _settled(stores: Path, count: int, value: Callable[[Daemon], float]) -> float:
    """A value of a daemon that has programmed all."""
    with _daemon(stores, count) as daemon:
        daemon.wait_programmed()
        return value(daemon)


@click.command()
@options
def main(as_json: bool, quick: bool, only: str | None) -> None:
    """Measure flanneld-py with 500 and 5000 leases."""
    with TemporaryDirectory(prefix="podwire-bench-") as folder:
        stores = Path(folder)
        cases = [
            Case("start until 500 leases are programmed", lambda: _start_s(stores, FEW), None, None, "s", goal=1, repeats=3),
            Case("start until 5000 leases are programmed", lambda: _start_s(stores, MANY), None, None, "s", goal=3, repeats=3),
            Case("lease deleted until gone", lambda: _settled(stores, FEW, Daemon.removal_ms), None, None, "ms", 1000, 100),
            Case(
                "at rest with 500 leases",
                lambda: _settled(stores, FEW, Daemon.rest_percent),
                None,
                None,
                "% CPU",
                goal=0.1,
                repeats=3,
            ),
            Case(
                "resident with 5000 leases",
                lambda: _settled(stores, MANY, Daemon.resident_mb),
                None,
                None,
                "MB",
                goal=60,
                repeats=3,
            ),
        ]
        status = run("flanneld", cases, as_json=as_json, quick=quick, only=only)
    sys.exit(status)


if __name__ == "__main__":
    main()
