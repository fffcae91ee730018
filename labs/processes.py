"""A lab's processes: started in a namespace, found again by what they are, stopped.

A process is the lab's if it lives in one of the lab's namespaces and its command line names a file in the lab's folder. That
needs no memory: it holds for daemons and for plugins alike, also after the `up` that started them was killed, and never for a
process that a recycled pid points to. A daemon with exactly the options of ours is the lab's also where somebody has taken the
namespace's name away (`ip netns delete`).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dataplane.drivers.netns import entered, identity
from labs.layout import Layout
from labs.programs import Daemon, all_daemons

_CHECKOUT = str(Path(__file__).parent.parent)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Process:
    """A running process of a lab."""

    pid: int
    netns: tuple[int, int]  # identity of its network namespace
    argv: tuple[str, ...]


def start_daemon(layout: Layout, daemon: Daemon) -> int:
    """Start a daemon in its machine's namespace, in a session of its own; its pid.

    Of our environment it gets nothing: a FLANNELD_* variable in a user's shell must not change the lab.
    """
    environment = {"PATH": _PATH, "PYTHONPATH": _CHECKOUT, "LANG": "C.UTF-8"}
    os.makedirs(daemon.folder, exist_ok=True)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, daemon.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    with entered(layout.netns(daemon.machine)):
        pid = os.posix_spawnp(daemon.argv[0], list(daemon.argv), environment, file_actions=actions, setsid=True)
    Path(daemon.pid_file).write_text(f"{pid}\n", encoding="ascii")
    return pid


def pid_of(layout: Layout, daemon: Daemon) -> int | None:
    """The pid of a daemon that runs, whoever started it; None if it does not run."""
    count = len(daemon.options)
    return next((process.pid for process in lab_processes(layout) if process.argv[-count:] == daemon.options), None)


def lab_processes(layout: Layout) -> tuple[Process, ...]:
    """All processes of a lab, whoever started them."""
    namespaces, home, mark = _namespaces(layout), identity("/proc/self/ns/net"), f"{layout.folder}/"
    options = {daemon.options for daemon in all_daemons(layout)}

    def belongs(process: Process) -> bool:
        if not any(mark in word for word in process.argv) or process.netns == home:
            return False
        return process.netns in namespaces or any(process.argv[-len(each) :] == each for each in options)

    return tuple(filter(belongs, _processes()))


def guests(layout: Layout) -> tuple[Process, ...]:
    """Processes in the lab's namespaces that are not the lab's, such as a user's shell. They keep a namespace alive."""
    namespaces, own = _namespaces(layout), {process.pid for process in lab_processes(layout)}
    return tuple(process for process in _processes() if process.netns in namespaces and process.pid not in own)


def stop_all(layout: Layout, patience_s: float = 5.0) -> None:
    """Ask all of the lab's processes to end, wait, and kill those that did not."""
    for signal_number, deadline_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, patience_s)):
        processes = lab_processes(layout)
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal_number)
        if _gone(layout, processes, time.monotonic() + deadline_s):
            return


def has_ended(pid: int) -> bool:
    """Whether a process lives no more; a child of ours is laid to rest.

    Somebody else's child may stay in the process table for seconds until that one looks, but it is in no namespace any more.
    """
    with suppress(ChildProcessError):  # started by an earlier command
        os.waitpid(pid, os.WNOHANG)
    return identity(f"/proc/{pid}/ns/net") is None


def _gone(layout: Layout, processes: Sequence[Process], deadline: float) -> bool:
    left = {process.pid for process in processes}
    while True:
        left = {pid for pid in left if not has_ended(pid)}
        if not left and not lab_processes(layout):  # a plugin may have started another meanwhile
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)


def _namespaces(layout: Layout) -> frozenset[tuple[int, int]]:
    return frozenset(found for path in layout.namespaces if (found := identity(path)) is not None)


def _processes() -> Iterable[Process]:
    """All processes of this machine but this one."""
    for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()):
        netns = identity(f"/proc/{pid}/ns/net")
        if netns is not None:  # it has ended meanwhile
            yield Process(pid, netns, _argv(pid))


def _argv(pid: int) -> tuple[str, ...]:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ()
    return tuple(word.decode("utf-8", "replace") for word in line.split(b"\0")[:-1])
