"""What the lab's daemons must survive, and what users do to a lab."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataplane.drivers.netns import entered
from dataplane.drivers.run import run
from flanneld_py.daemon import AUDIT_S
from labs.catalog import find_topology
from labs.check import check
from labs.errors import LabError
from labs.harness import down, running_lab, up
from labs.layout import Layout
from labs.processes import pid_of, start_daemon
from labs.programs import Daemon, node_daemons
from labs.state import lab_names
from labs.topology_file import with_options
from tests.netns.lab_fixture import lab_name, leftovers, namespaces_of, podwire, podwire_json

PATIENCE_S = 30.0


def until(done: Callable[[], bool]) -> float:
    """Wait for something to become so; the seconds that it took."""
    start = time.monotonic()
    while not done():
        assert time.monotonic() - start < PATIENCE_S, f"still not so after {PATIENCE_S} s"
        time.sleep(0.01)
    return time.monotonic() - start


def address_of(layout: Layout, pod: str) -> str:
    words = run(["ip", "-o", "-4", "addr", "show", "eth0"], netns=layout.netns(pod)).stdout.decode().split()
    return words[words.index("inet") + 1].partition("/")[0]


def ping_series(layout: Layout, source: str, target: str, count: int) -> subprocess.Popen[str]:
    with entered(layout.netns(source)):
        command = ["ping", "-i", "0.01", "-c", str(count), "-W", "2", address_of(layout, target)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("backend", ["vxlan", "host-gw"])
def test_no_ping_is_lost_while_a_flanneld_is_killed_and_started_again(backend: str) -> None:
    with running_lab("flannel", name=lab_name("restart"), backend=backend, nodes=2, pods=1) as layout:
        daemon = node_daemons(layout, sys.executable)[0]
        series = ping_series(layout, "node1-pod1", "node2-pod1", 300)
        restart(layout, daemon)
        output, _ = series.communicate(timeout=PATIENCE_S)
        assert "300 packets transmitted, 300 received" in output
        assert check(layout).ok


def restart(layout: Layout, daemon: Daemon) -> None:
    pid = pid_of(layout, daemon)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid_of(layout, daemon) is None)
    size = Path(daemon.log).stat().st_size
    start_daemon(layout, daemon)
    until(lambda: "ready" in Path(daemon.log).read_text()[size:])


def test_a_node_whose_lease_is_deleted_disappears_from_the_others_by_the_event_alone() -> None:
    with running_lab("flannel", name=lab_name("leave"), nodes=2, pods=0) as layout:
        leaving = node_daemons(layout, sys.executable)[1]
        pid = pid_of(layout, leaving)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: far_routes(layout) == 1)
        delete_lease(layout, "node2")
        assert until(lambda: far_routes(layout) == 0) < AUDIT_S / 2
        tables = run(
            ["sh", "-c", "ip neigh show dev flannel.1 nud permanent; bridge fdb show dev flannel.1"], netns=layout.netns("node1")
        )
        assert tables.stdout == b""


def far_routes(layout: Layout) -> int:
    return run(["ip", "route", "show", "dev", "flannel.1"], netns=layout.netns("node1")).stdout.count(b"onlink")


def delete_lease(layout: Layout, node: str) -> None:
    code = (
        "import asyncio, sys\n"
        "from datastore.open import open_store\n"
        "async def main():\n"
        "    store = await open_store(sys.argv[1])\n"
        "    for item in (await store.list('/coreos.com/network/subnets/')).items:\n"
        "        if sys.argv[2].encode() in item.value:\n"
        "            assert await store.delete(item.key)\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
    )
    address = str(layout.address_of(node).address)
    subprocess.run([sys.executable, "-c", code, f"sqlite:{layout.store_file}", address], check=True)


def test_a_daemon_is_stopped_also_when_its_namespace_has_lost_its_name() -> None:
    name = lab_name("nameless")
    with running_lab("flannel", name=name, nodes=1, pods=1):
        namespaces = namespaces_of(name)
        run(["ip", "netns", "delete", f"pw-{name}-node1"])
    assert leftovers(name, namespaces) == []


def test_a_users_process_in_a_lab_is_left_alone_and_named() -> None:
    name = lab_name("guest")
    with running_lab("bridge", name=name, pods=1) as layout:
        with entered(layout.netns("node1")):
            guest = subprocess.Popen(["sleep", "300"])
        try:
            done = podwire("lab", "down", name)
            assert f"Warning: process {guest.pid} (sleep 300) still runs in a namespace of {name}" in done.stderr
            assert guest.poll() is None
        finally:
            guest.kill()
            guest.wait()
        assert leftovers(name) == []


def test_two_labs_stand_side_by_side_and_down_wants_to_know_which() -> None:
    first, second = lab_name("a"), lab_name("b")
    with running_lab("bridge", name=first, pods=2), running_lab("bridge", name=second, pods=2) as other:
        assert {first, second} <= set(lab_names())
        assert f"{first}, {second}" in podwire("lab", "down", expect=2).stderr
        assert down(first)
        assert check(other).ok


def test_a_daemon_that_cannot_start_makes_up_fail_with_its_log_and_undo_itself() -> None:
    name = lab_name("broken")
    layout = Layout(with_options(find_topology("flannel"), name=name, nodes=1))

    def spoil(words: str) -> None:
        if words == "starting daemons":
            os.makedirs(f"{layout.subnet_file('node1')}/a-folder-in-its-place")

    with pytest.raises(LabError, match=r"(?s)flanneld on node1 has ended.*flanneld\.log:\n    .*subnet\.env"):
        up(layout, spoil)
    assert leftovers(name) == []


def test_keep_leaves_a_failed_lab_for_a_look_at_it() -> None:
    name = lab_name("kept")
    layout = Layout(with_options(find_topology("bridge"), name=name, pods=1))

    def spoil(words: str) -> None:
        if words == "attaching pods":
            os.unlink(layout.conflist("node1"))

    try:
        with pytest.raises(LabError, match="pod node1-pod1 on node1"):
            up(layout, spoil, keep=True)
        status = podwire_json("lab", "status", name, expect=1)
        assert (status["phase"], status["ok"]) == ("starting", False)
    finally:
        assert down(name)
    assert leftovers(name) == []


def test_a_full_disk_is_named_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    name = lab_name("full")
    run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)])
    layout = Layout(with_options(find_topology("bridge"), name=name, pods=1), root=f"{tmp_path}/lab")
    try:
        with pytest.raises(OSError, match="No space left on device"):
            up(layout)
        assert leftovers(name) == []
        assert list(tmp_path.iterdir()) == []
    finally:
        run(["umount", str(tmp_path)])


AS_NOBODY = "import os; from podwire.__main__ import main; os.setuid(65534); main()"  # who may not read the checkout again


@pytest.mark.parametrize(
    "command",
    [
        "up bridge --name {}",
        "status {}",
        "check {}",
        "trace --lab {} node1 outside",
        "exec --lab {} node1 -- true",
        "down {}",
        "demo --name {}",
    ],
)
def test_who_is_not_root_is_told_so_and_changes_nothing(command: str, bridge: Layout) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, "lab", *command.format(bridge.name).split()], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "Error: podwire lab: needs root: it works in network namespaces\n")
    assert check(bridge).ok


@pytest.fixture(scope="module")
def bridge() -> Iterator[Layout]:
    with running_lab("bridge", name=lab_name("user"), pods=1) as layout:
        yield layout


def test_programs_are_found_also_without_the_folders_of_root_in_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")  # as `su` without a dash leaves it
    with running_lab("bridge", name=lab_name("path"), pods=1) as layout:
        assert check(layout).ok
