"""Put a lab up, and take it down whatever state it is in. Tests and benchmarks use `running_lab`.

with running_lab("flannel", name="mytest", backend="host-gw") as layout:
    assert check(layout).ok
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dataplane.drivers.run import SYSTEM_PATH, run
from dataplane.errors import ConfigError
from labs.capacity import TABLE_SIZE_FILE, refuse_crowded
from labs.catalog import find_topology
from labs.errors import LabError
from labs.interrupt import undisturbed
from labs.layout import ROOT, Layout
from labs.pods import attach_pods, detach_pods, install_plugins
from labs.processes import start_daemon, stop_all
from labs.programs import conflist, network_config, node_daemons, store_address, store_daemon
from labs.put_config import PATIENCE_S
from labs.readiness import await_pairs, await_subnets, log_tail
from labs.state import RUNNING, STARTING, LabState, check_lab_name, locked, need_root, read_state, remove_files, write_state
from labs.topology_file import with_options
from labs.underlay import create_namespaces, delete_namespaces, refuse_taken, wire

Progress = Callable[[str], None]
_PROGRAMS = {"iptables-restore": "iptables"}  # what a lab runs, and its Debian package
_STORE_PROGRAMS = {"etcd": "etcd-server"}


def silent(_: str) -> None:
    """Progress that nobody watches."""


def up(layout: Layout, progress: Progress = silent, *, keep: bool = False) -> None:
    """Make a lab, and return when all of it works. What fails or is interrupted is undone.

    Args:
        layout: the lab.
        progress: told in a few words what is done next.
        keep: leave what is there when something fails, for a look at it.

    Raises:
        ConfigError: it is up already, or this machine lacks something; nothing was changed.
        LabError: a part of it does not work.
        KernelError: the kernel refused something.
    """
    _refuse_unfit(layout)
    with locked(layout.name, layout.root):
        _refuse_running(layout)
        refuse_taken(layout)
        try:
            _build(layout, progress)
        except BaseException:
            if not keep:
                with undisturbed():
                    progress("undoing what was made")
                    _dismantle(layout, silent)
            raise


def down(name: str, progress: Progress = silent, root: str = ROOT) -> bool:
    """Remove a lab, also one that is half made or half removed. False if there is none.

    Raises:
        ConfigError: not a lab's name, or somebody is just putting it up or down.
        KernelError: the kernel refused to give something back.
    """
    check_lab_name(name)
    if not os.path.isdir(f"{root}/{name}"):
        return False
    need_root()
    with locked(name, root):
        _remove(name, progress, root)
    return True


def _remove(name: str, progress: Progress, root: str) -> None:
    state = read_state(name, root)
    if state is not None:
        _dismantle(state.layout, progress)
        return
    folder = f"{root}/{name}"  # killed before the state was written: nothing had been made yet
    for leftover in os.listdir(folder):
        os.unlink(f"{folder}/{leftover}")


@contextmanager
def held_lab(layout: Layout, progress: Progress = silent) -> Iterator[None]:
    """A lab for as long as the block runs, in which nobody else can put up or take down one of its name.

    One that an earlier command left is removed first. Errors as `up`.
    """
    _refuse_unfit(layout)
    with locked(layout.name, layout.root):
        _remove(layout.name, progress, layout.root)
        refuse_taken(layout)
        try:
            _build(layout, progress)
            yield
        finally:
            _dismantle(layout, progress)


@contextmanager
def running_lab(
    topology: str,
    *,
    name: str | None = None,
    backend: str | None = None,
    nodes: int | None = None,
    pods: int | None = None,
    datastore: str | None = None,
    progress: Progress = silent,
) -> Iterator[Layout]:
    """A lab for as long as the block runs. Arguments and errors as `podwire lab up` and `up`."""
    wanted = with_options(find_topology(topology), name=name, backend=backend, nodes=nodes, pods=pods, datastore=datastore)
    layout = Layout(wanted)
    up(layout, progress)
    try:
        yield layout
    finally:
        down(layout.name)


def _build(layout: Layout, progress: Progress) -> None:
    write_state(LabState(layout, STARTING))
    for words, step in _STEPS:
        progress(words)
        step(layout)
    write_state(LabState(layout, RUNNING))


def _refuse_unfit(layout: Layout) -> None:
    need_root()
    with suppress(FileNotFoundError):  # in a container: only the machine's own namespace shows it
        refuse_crowded(layout.topology, int(Path(TABLE_SIZE_FILE).read_text(encoding="ascii")))
    programs = {**_PROGRAMS, **(_STORE_PROGRAMS if layout.topology.network.datastore == "etcd" else {})}
    for program, package in programs.items():
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}") is None:  # as drivers.run looks for it
            raise ConfigError("program", program, f"is not installed; apt-get install {package}")


def _refuse_running(layout: Layout) -> None:
    state = read_state(layout.name, layout.root)
    if state is not None:
        how = "is up already" if state.phase == RUNNING else "was left half made"
        raise ConfigError("lab", layout.name, f"{how}; `podwire lab down {layout.name}` removes it")


def _prepare_nodes(layout: Layout) -> None:
    for node in layout.topology.nodes:
        path = Path(layout.conflist(node.name))
        path.parent.mkdir(parents=True)
        path.write_text(conflist(layout, node.name), encoding="utf-8")
    install_plugins(layout)


def _start_store(layout: Layout) -> None:
    if layout.topology.network.plugin != "flannel":
        return
    daemon = store_daemon(layout)
    if daemon is not None:
        start_daemon(layout, daemon)
    path = Path(layout.folder, "network-config.json")
    path.write_text(network_config(layout), encoding="utf-8")
    argv = [sys.executable, "-m", "labs.put_config", store_address(layout), str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    netns = layout.netns(layout.topology.outside.name)
    done = run(argv, netns=netns, env=environment, timeout_s=2 * PATIENCE_S)
    if done.status != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise LabError(
            "\n".join((f"the network configuration could not be stored: {said}", *([log_tail(daemon)] if daemon else [])))
        )


def _start_daemons(layout: Layout) -> None:
    daemons = node_daemons(layout, sys.executable)
    for daemon in daemons:
        start_daemon(layout, daemon)
    await_subnets(layout, daemons)


def _await_pairs(layout: Layout) -> None:
    await_pairs(layout, node_daemons(layout, sys.executable))


_STEPS: tuple[tuple[str, Callable[[Layout], None]], ...] = (
    ("making namespaces", create_namespaces),
    ("joining machines by the underlay", wire),
    ("installing plugins", _prepare_nodes),
    ("starting the store", _start_store),
    ("starting daemons", _start_daemons),
    ("attaching pods", attach_pods),
    ("waiting until everybody reaches everybody", _await_pairs),
)


def _dismantle(layout: Layout, progress: Progress) -> None:
    with undisturbed():
        progress("stopping daemons")
        stop_all(layout)
        progress("detaching pods")
        with suppress(LabError):  # all that a DEL undoes goes with the namespaces and the folder too
            detach_pods(layout)
        progress("removing namespaces and files")
        delete_namespaces(layout)
        remove_files(layout)
