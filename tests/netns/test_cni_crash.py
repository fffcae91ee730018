"""An ADD killed at any of its writes: DEL brings the host back to what it was, and the next ADD succeeds."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from dataplane.drivers.run import run
from tests.cni_node import Node, links_of

if TYPE_CHECKING:
    from collections.abc import Iterator

# Before the last line of the executable: carry out so many operations on the kernel, then die as by SIGKILL.
DYING = """
import os
from dataplane.drivers.host import HostKernel
whole, left = HostKernel.apply, [{count}]
def apply(kernel, ops):
    if len(ops) > left[0]:
        whole(kernel, ops[:left[0]])
        os.kill(os.getpid(), 9)
    left[0] -= len(ops)
    return whole(kernel, ops)
HostKernel.apply = apply
"""
_MANY = 60


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as made:
        yield made


def _add_and_die(node: Node, kind: str, pod: str, count: int) -> bool:
    """Whether it died before it was done."""
    path = os.path.join(node.cni_path, kind)
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    program = "\n".join([f"__file__ = {path!r}", *lines[1:-1], DYING.format(count=count), lines[-1]])
    env = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": pod, "CNI_IFNAME": "eth0", "CNI_PATH": node.cni_path}
    conf = node.conf(kind, "dual", ipMasq=True)
    ran = run(["/usr/bin/python3", "-ISBc", program], json.dumps(conf).encode(), netns=node.host, env=env)
    assert ran.status in (0, -9), ran
    return ran.status == -9


@pytest.mark.parametrize("with_namespace", [True, False])
@pytest.mark.parametrize("kind", ["bridge", "ptp"])
def test_an_add_killed_at_any_write_is_cleaned_up_by_del(node: Node, kind: str, with_namespace: bool) -> None:
    conf = node.conf(kind, "dual", ipMasq=True)
    node.add(conf, node.namespace(), "first")
    before = node.snapshot()
    deaths = 0
    for count in range(_MANY):
        pod = node.namespace()
        if not _add_and_die(node, kind, pod, count):
            break
        deaths += 1
        node.delete(conf, pod if with_namespace else "")
        assert node.snapshot() == before, count
        assert "eth0" not in links_of(node, pod)
    assert 10 < deaths < _MANY
    node.delete(conf, pod)
    assert node.snapshot() == before
    node.check(conf, node.add(conf, pod), pod)
