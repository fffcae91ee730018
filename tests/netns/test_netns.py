"""Entering, making and deleting network namespaces on the real kernel."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from errno import EPERM
from typing import TYPE_CHECKING

import pytest

from dataplane.drivers import netns
from dataplane.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OWN = "/proc/thread-self/ns/net"


def test_a_created_namespace_is_known_to_ip(namespace: Callable[[], str]) -> None:
    path = namespace()
    listed = subprocess.run(["ip", "-j", "netns", "list"], capture_output=True, check=True).stdout
    assert os.path.basename(path) in {entry["name"] for entry in json.loads(listed)}
    assert netns.is_netns(path)


def test_creating_leaves_the_thread_where_it_was(namespace: Callable[[], str]) -> None:
    before = netns.identity(OWN)
    path = namespace()
    assert netns.identity(OWN) == before != netns.identity(path)


def test_entered_moves_this_thread_only_and_comes_back(namespace: Callable[[], str]) -> None:
    path, home = namespace(), netns.identity(OWN)
    inside, seen = threading.Event(), []

    def look() -> None:
        inside.wait()
        seen.append(netns.identity(OWN))

    witness = threading.Thread(target=look)
    witness.start()  # before: a thread is born in its maker's namespace
    with netns.entered(path):
        assert netns.identity(OWN) == netns.identity(path)
        inside.set()
        witness.join()
    assert netns.identity(OWN) == home
    assert seen == [home]


def test_entered_comes_back_after_an_error(namespace: Callable[[], str]) -> None:
    home = netns.identity(OWN)
    with pytest.raises(ZeroDivisionError), netns.entered(namespace()):
        raise ZeroDivisionError
    assert netns.identity(OWN) == home


def test_entered_none_stays() -> None:
    home = netns.identity(OWN)
    with netns.entered(None):
        assert netns.identity(OWN) == home


def test_entered_nests(namespace: Callable[[], str]) -> None:
    outer, inner = namespace(), namespace()
    with netns.entered(outer):
        with netns.entered(inner):
            assert netns.identity(OWN) == netns.identity(inner)
        assert netns.identity(OWN) == netns.identity(outer)


def test_entering_leaks_no_file(namespace: Callable[[], str]) -> None:
    path = namespace()
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with netns.entered(path):
            pass
        with pytest.raises(KernelError), netns.entered(path + "-absent"):
            pass
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("kind", ["absent", "file", "directory", "fifo", "mount namespace"])
def test_what_is_no_network_namespace_is_told_and_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if kind == "file":
        path.write_text("")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "mount namespace":
        path.symlink_to("/proc/self/ns/mnt")
    assert not netns.is_netns(str(path))
    with pytest.raises(KernelError, match=f"enter network namespace {path}"), netns.entered(str(path)):
        pytest.fail("entered")


def test_the_own_namespace_by_its_proc_path_is_one() -> None:
    assert netns.is_netns("/proc/self/ns/net")


def test_a_taken_path_is_refused_and_left_alone(namespace: Callable[[], str]) -> None:
    path = namespace()
    before = netns.identity(path)
    with pytest.raises(KernelError, match=r"create network namespace .*File exists"):
        netns.create(path)
    assert netns.identity(path) == before
    assert netns.is_netns(path)


def test_deleting_what_is_absent_or_a_stale_file_is_success(namespace: Callable[[], str], tmp_path: Path) -> None:
    path = namespace()
    netns.delete(path)
    netns.delete(path)
    assert not os.path.exists(path)
    stale = tmp_path / "stale"
    stale.write_text("")
    netns.delete(str(stale))
    assert not stale.exists()


def test_identity_of_nothing_is_none(tmp_path: Path) -> None:
    assert netns.identity(str(tmp_path / "x")) is None


def test_a_namespace_that_cannot_be_made_leaves_nothing_behind() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        path = f"{directory}/x"
        child = os.fork()
        if child == 0:
            os._exit(_create_as_nobody(path))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert os.listdir(directory) == []


def _create_as_nobody(path: str) -> int:
    try:
        os.setuid(65534)
        netns.create(path)
    except KernelError as error:
        return 0 if error.errno == EPERM else 1
    except BaseException:  # noqa: BLE001  the child must not go on as a second pytest
        return 2
    return 3
