"""Fresh network namespaces for tests on the real kernel."""

from __future__ import annotations

import itertools
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from dataplane.drivers import netns
from tests.cni_node import remove_plugins

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
