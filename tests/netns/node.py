"""A namespace with the driver under test in it, and iproute2 as an independent witness of what the kernel holds."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from dataplane.drivers.netlink import NetlinkDriver
from dataplane.ownership import Scope
from dataplane.plan import ADD, SET, Op
from dataplane.state import Link, Object, agrees

ALL = Scope(links=frozenset("*"), devices=frozenset("*"), routes=frozenset({4, 6}))


class Node:
    """A namespace with a driver in it, and what iproute2 says about it."""

    def __init__(self, path: str) -> None:
        self.path, self.driver = path, NetlinkDriver(path)

    def ip(self, *args: str) -> Any:
        return self._tool("ip", "-n", os.path.basename(self.path), "-d", "-j", *args)

    def bridge(self, *args: str) -> Any:
        return self._tool("bridge", "-n", os.path.basename(self.path), "-d", "-j", *args)

    @staticmethod
    def _tool(*argv: str) -> Any:
        out = subprocess.run(argv, capture_output=True, check=True, text=True).stdout
        return json.loads(out) if out.strip() else []

    def link(self, name: str) -> Any:
        return self.ip("link", "show", name)[0]

    def do(self, verb: str, *items: Object) -> None:
        """Carry out operations that must all succeed."""
        assert [str(failure.error) for failure in self.driver.apply([Op(verb, item) for item in items])] == []

    def add(self, *items: Object) -> None:
        self.do(ADD, *items)

    def bring_up(self, *links: Link) -> None:
        self.do(ADD, *links)
        self.do(SET, *links)

    def found(self, wish: Object) -> Object | None:
        return next((item for item in self.driver.read(ALL) if item.key == wish.key), None)

    def has(self, wish: Object) -> bool:
        found = self.found(wish)
        return found is not None and agrees(wish, found)
