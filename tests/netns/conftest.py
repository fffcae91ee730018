"""Fresh network namespaces for tests on the real kernel."""

from __future__ import annotations

import itertools
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from dataplane.drivers import netns
from dataplane.inet import parse_ip, parse_prefix
from dataplane.plan import SET
from dataplane.state import Address, Link, Veth, Vxlan
from tests.cni_node import remove_plugins
from tests.netns.deadline import until
from tests.netns.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_numbers = itertools.count()


@pytest.fixture
def namespace() -> Iterator[Callable[[], str]]:
    """A function that makes a namespace and returns its path, below /run/netns so that `ip -n NAME` finds it.

    All are deleted after the test, whatever became of it.
    """
    with ExitStack() as stack:

        def make() -> str:
            path = f"/run/netns/pwt{os.getpid()}-{next(_numbers)}"
            netns.create(path)
            stack.callback(netns.delete, path)
            return path

        yield make


@pytest.fixture(scope="session", autouse=True)
def _installed_plugins() -> Iterator[None]:
    """The plugins that the CNI tests install go when the run is over."""
    yield
    remove_plugins()


@pytest.fixture
def nodes(namespace: Callable[[], str]) -> Iterator[Callable[[], Node]]:
    made: list[Node] = []

    def make() -> Node:
        made.append(Node(namespace()))
        return made[-1]

    yield make
    for node in made:
        node.driver.close()


@pytest.fixture
def node(nodes: Callable[[], Node]) -> Node:
    """A namespace with `eth0` (10.0.0.1/24, fd00::1/64), a veth that is up with its peer."""
    made = nodes()
    made.bring_up(Veth("eth0", peer="far0"))
    made.do(SET, Link("far0"))
    until(lambda: made.link("eth0")["operstate"] == "UP")  # the kernel tells carrier from a work queue
    made.add(Address("eth0", parse_prefix("10.0.0.1/24")), Address("eth0", parse_prefix("fd00::1/64"), nodad=True))
    return made


@pytest.fixture
def vtep(node: Node) -> Node:
    """The same with `flannel.1` over `eth0`, which is up."""
    node.bring_up(Vxlan("flannel.1", vni=1, local=parse_ip("10.0.0.1"), underlay="eth0"))
    return node
