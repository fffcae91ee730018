"""A lab's folder: who works on it now, and what it holds.

The state file is written before the first namespace is made and says all that `down` needs: the topology, from which every name
follows (layout.py). So an `up` that was killed at any moment can be undone.

The lock is the folder itself (flock): it ends with the process that holds it, and there is no lock file to leave behind.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from dataplane.errors import ConfigError
from labs.layout import NETNS_FOLDER, ROOT, Layout
from labs.strict import Fields
from labs.topology_file import LAB_NAME, LAB_NAME_LIKE, document_of, read_topology

STARTING, RUNNING = "starting", "running"
_LOCK_PATIENCE_S = 2.0  # a child that was just being started by a killed `up` holds the lock until it executes its program
_LOCK_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class LabState:
    """A lab that is there. `phase` is STARTING until all of it worked once."""

    layout: Layout
    phase: str


def read_state(name: str, root: str = ROOT) -> LabState | None:
    """What is known of a lab; None if there is none.

    Raises:
        ConfigError: not the name of a lab, or the state file is damaged.
        OSError: it cannot be read.
    """
    check_lab_name(name)
    path = _state_file(f"{root}/{name}")
    try:
        with open(path, encoding="utf-8") as file:
            fields = Fields(json.load(file), "state.json", ("phase", "topology"))
        topology, phase = read_topology(fields.get("topology"), "state.json"), fields.text("phase", choices=(STARTING, RUNNING))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            "state file", path, f"is damaged ({error}); remove {root}/{name} and the namespaces {NETNS_FOLDER}/pw-{name}-*"
        ) from error
    return LabState(Layout(topology, root), phase)


def need_root() -> None:
    """Raises ConfigError for a user who could neither make nor enter a lab's namespaces."""
    if os.geteuid() != 0:
        raise ConfigError("podwire lab", None, "needs root: it works in network namespaces")


def check_lab_name(name: str) -> None:
    """Raises ConfigError for what cannot be a lab's name; such as a path that leads elsewhere."""
    if not re.fullmatch(LAB_NAME, name):
        raise ConfigError("lab", name, f"must be {LAB_NAME_LIKE}")


def write_state(state: LabState) -> None:
    """Write the state whole: a reader finds the old file or the new one."""
    path = _state_file(state.layout.folder)
    document = {"phase": state.phase, "topology": document_of(state.layout.topology)}
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
    os.replace(f"{path}.new", path)


def lab_names(root: str = ROOT) -> tuple[str, ...]:
    """The labs that have a folder, running or left over. A folder that cannot be a lab's is somebody else's."""
    with suppress(FileNotFoundError):
        folders = [entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)]
        return tuple(sorted(name for name in folders if re.fullmatch(LAB_NAME, name)))
    return ()


def only_lab(name: str | None, root: str = ROOT) -> LabState:
    """The lab of that name; without a name, the only one there is.

    Raises:
        ConfigError: there is none, or there are several and no name.
    """
    names = lab_names(root)
    if name is None and len(names) > 1:
        raise ConfigError("lab", None, f"several are up, name one: {', '.join(names)}")
    chosen = name if name is not None else next(iter(names), None)
    state = read_state(chosen, root) if chosen is not None else None
    if state is None:
        there = f"up are: {', '.join(names)}" if names else "none is; `podwire lab up flannel` starts one"
        raise ConfigError("lab", name, there if name is None else f"is not up; {there}")
    return state


@contextmanager
def locked(name: str, root: str = ROOT) -> Iterator[None]:
    """Hold a lab's folder, made at need, so that no other `up` or `down` of it runs. One that stays empty is removed again.

    Raises:
        ConfigError: somebody else holds it.
    """
    folder = f"{root}/{name}"
    handle = _open_locked(folder)
    try:
        yield
    finally:
        _remove_empty(folder, root, os.path.dirname(root))
        os.close(handle)


def remove_files(layout: Layout) -> None:
    """Remove all that a lab's folder holds, the state file last: whoever is interrupted here can begin again."""
    for entry in os.scandir(layout.folder):
        if entry.path == _state_file(layout.folder):
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
    with suppress(FileNotFoundError):
        os.unlink(_state_file(layout.folder))


def _state_file(folder: str) -> str:
    return f"{folder}/state.json"


def _open_locked(folder: str) -> int:
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:  # a `down` elsewhere removed it between the two calls
            continue
        if _try_lock(handle):
            if _is_still(handle, folder):
                return handle
            os.close(handle)
            continue
        os.close(handle)
        if time.monotonic() > deadline:
            name = os.path.basename(folder)
            raise ConfigError("lab", name, "another `podwire lab up`, `down` or `demo` is at work on it; wait for it")
        time.sleep(_LOCK_POLL_S)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(handle: int, folder: str) -> bool:
    """Whether the locked folder is the one that has the name now, and not one that was removed before we got the lock."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(folder))
    except FileNotFoundError:
        return False


def _remove_empty(*folders: str) -> None:
    for folder in folders:
        try:
            os.rmdir(folder)
        except OSError:  # not empty: a lab is there, or another one beside it
            return
