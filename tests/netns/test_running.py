"""Whether a device can carry packets, on the real kernel."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from dataplane.drivers.netns import entered
from dataplane.drivers.running import wait_until_running

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_veth_runs_once_both_ends_are_up(namespace: Callable[[], str]) -> None:
    with entered(namespace()):
        subprocess.run(["ip", "link", "add", "a0", "type", "veth", "peer", "name", "a1"], check=True)
        assert not wait_until_running(("a0",), 0.02)
        subprocess.run(["ip", "link", "set", "a0", "up"], check=True)
        assert not wait_until_running(("a0",), 0.02)
        subprocess.run(["ip", "link", "set", "a1", "up"], check=True)
        assert wait_until_running(("a0",), 30)
        assert not wait_until_running(("a0", "none"), 0)


def test_a_bridge_runs_with_its_first_port(namespace: Callable[[], str]) -> None:
    with entered(namespace()):
        subprocess.run(["ip", "link", "add", "b0", "type", "bridge"], check=True)
        subprocess.run(["ip", "link", "set", "b0", "up"], check=True)
        assert not wait_until_running(("b0",), 0.02)
        subprocess.run(["ip", "link", "add", "a0", "master", "b0", "type", "veth", "peer", "name", "a1"], check=True)
        for name in ("a0", "a1"):
            subprocess.run(["ip", "link", "set", name, "up"], check=True)
        assert wait_until_running(("b0", "a0"), 30)
