"""Our rtnetlink codec and driver against pyroute2: import, writing routes, reading them, and a turn that has nothing to do.

Everything happens in a network namespace of its own, which is gone afterwards.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
from pyroute2 import IPRoute

from bench.report import Case, options, run, seconds
from dataplane.drivers.host import HostKernel
from dataplane.drivers.netlink import NetlinkDriver
from dataplane.drivers.netns import create, delete, entered
from dataplane.inet import IP, Prefix, parse_ip, parse_prefix
from dataplane.ownership import Owner, Scope
from dataplane.plan import ADD, REMOVE, Op
from dataplane.reconcile import reconcile
from dataplane.state import PROTO_FLANNELD, Address, Bridge, Link, Object, Route

ROUTES = 2000
DEVICE = "bench0"
VIA = parse_ip("10.0.0.2")


def _routes() -> list[Route]:
    first = parse_ip("10.64.0.0")
    return [
        Route(Prefix(IP(first + (number << 8)), 24), DEVICE, via=VIA, protocol=PROTO_FLANNELD, onlink=True)
        for number in range(ROUTES)
    ]


def _base() -> list[Object]:
    return [Link("lo"), Bridge(DEVICE), Address(DEVICE, parse_prefix("10.0.0.1/24"))]


class Bench:
    """The namespace with one device, and both libraries with a socket in it."""

    def __init__(self, netns: str) -> None:
        self.netns, self.routes = netns, _routes()
        self.driver = NetlinkDriver(netns)
        with entered(netns):
            self.pyroute2 = IPRoute()
        with HostKernel(netns) as kernel:
            reconcile(kernel, _base(), Owner("bench", links=frozenset({DEVICE}), settings=frozenset({"lo"})))
        self.index = self.driver.link_index(DEVICE)

    def close(self) -> None:
        self.driver.close()
        self.pyroute2.close()

    def _empty(self) -> None:
        self.driver.apply([Op(REMOVE, route) for route in self.routes])

    def ours_add(self) -> float:
        self._empty()
        ops = [Op(ADD, route) for route in self.routes]
        return seconds(lambda: _none_failed(self.driver.apply(ops))) / ROUTES * 1e6

    def peer_add(self) -> float:
        self._empty()

        def add() -> None:
            for route in self.routes:
                self.pyroute2.route("add", dst=str(route.dst), gateway=str(VIA), oif=self.index, proto=PROTO_FLANNELD, flags=4)

        return seconds(add) / ROUTES * 1e6

    def ours_dump(self) -> float:
        return seconds(lambda: self.driver.read(Scope(routes=frozenset({4})))) / ROUTES * 1e6

    def peer_dump(self) -> float:
        return seconds(lambda: list(self.pyroute2.get_routes(family=2))) / ROUTES * 1e6

    def idle_turn(self) -> float:
        """A whole turn over all routes that finds nothing to do."""
        wish: list[Object] = [Bridge(DEVICE), Address(DEVICE, parse_prefix("10.0.0.1/24")), *self.routes]
        owner = Owner("bench", links=frozenset({DEVICE}), route_protocol=PROTO_FLANNELD)
        with HostKernel(self.netns) as kernel:
            reconcile(kernel, wish, owner)
            return seconds(lambda: reconcile(kernel, wish, owner)) * 1e3


def _none_failed(failures: tuple[object, ...]) -> None:
    if failures:
        raise RuntimeError(f"{len(failures)} of {ROUTES} routes were refused: {failures[0]}")


def _cold_import(module: str) -> Callable[[], float]:
    """Milliseconds of a fresh interpreter that imports one module and ends."""
    code = f"import sys; sys.path[:0] = {[str(Path(__file__).parent.parent), *sys.path]!r}; import {module}"
    return lambda: seconds(lambda: subprocess.run([sys.executable, "-ISB", "-c", code], check=True)) * 1e3


@click.command()
@options
def main(as_json: bool, quick: bool, only: str | None) -> None:
    """Compare podwire's netlink path with pyroute2's."""
    netns = f"/run/netns/podwire-bench-{os.getpid()}"
    create(netns)
    try:
        bench = Bench(netns)
        cases = [
            Case("cold import", _cold_import("dataplane.drivers.netlink"), _cold_import("pyroute2"), "pyroute2", "ms", 0.5, 0.2),
            Case("add a route, batch of 2000", bench.ours_add, bench.peer_add, "pyroute2", "us", 0.2, 0.05),
            Case("read a route, table of 2000", bench.ours_dump, bench.peer_dump, "pyroute2", "us", 0.5, 0.2),
            Case("idle turn over 2000 routes", bench.idle_turn, None, None, "ms"),
        ]
        status = run("dataplane", cases, as_json=as_json, quick=quick, only=only)
        bench.close()
    finally:
        delete(netns)
    sys.exit(status)


if __name__ == "__main__":
    main()
