"""Writes the plugins into a folder as executables that need nothing else: no site-packages, no environment.

    DIR/.podwire-<hash>/cni, dataplane   a copy of the packages, compiled; the hash is that of their text and of the interpreter
    DIR/bridge, DIR/ptp, ...             a few lines that put that folder first on sys.path and start the plugin

`-I -S -B`: no user or site packages, no environment variables, nothing written back. A process of some milliseconds needs no
garbage collection and no orderly end: the kernel takes all back at once, 3 ms sooner. Every file appears under its name at once
(temporary name, then rename), for a runtime may exec a plugin at any moment, so an upgrade goes from whole to whole. An executable
looks for its folder beside itself: what an installing container writes to /host/opt/cni/bin, the node runs as /opt/cni/bin.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile

from cni.delegate import ROOT
from cni.filelock import Locked
from cni.plugins import NAMES
from dataplane.drivers.run import run
from dataplane.errors import ConfigError, KernelError
from dataplane.record import record

PACKAGES = ("cni", "dataplane")
HIDDEN = ".podwire-"
_UNFINISHED = f"{HIDDEN}new-"
_LEFT_OUT = frozenset({"__pycache__", "fake.py", "events.py", "tun.py"})  # not on the path of any verb
_FLOOR = (3, 11)
_SYSTEM_PYTHON = "/usr/bin/python3"
_ASK = "import sys; print(sys.executable, *sys.version_info[:2], getattr(sys, '_base_executable', ''), sep='\\n')"
_COMPILE = ("-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash")  # the .pyc counts, its source is not looked at
_SCRIPT = """#!{python} -ISB
import gc, os, sys
gc.disable()
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)) + {folder!r})
from cni.plugins import main
os._exit(main({name!r}))
"""


@record
class Interpreter:
    """The Python that runs the plugins."""

    path: str
    major: int
    minor: int


def install(directory: str, python: str | None = None) -> list[str]:
    """Write all plugins into `directory`, over older ones.

    Args:
        directory: made if it is not there.
        python: the interpreter; None is the system's if it is new enough, else the running one.

    Returns:
        Paths of the executables.

    Raises:
        ConfigError: no folder is named, or the interpreter cannot be used, or its path cannot stand in a shebang line.
        OSError: the folder cannot be written to.
    """
    if not directory:
        raise ConfigError("DIRECTORY", directory, "must be the path of a folder, for example /opt/cni/bin")
    directory = os.path.realpath(directory)
    interpreter = _interpreter(python)
    os.makedirs(directory, exist_ok=True)
    sources = _sources()
    with Locked(directory):
        _remove_unfinished(directory)
        root = os.path.join(directory, HIDDEN + _digest(sources, interpreter))
        if not os.path.isdir(root):
            _copy(sources, root, interpreter)
        written = [_write_executable(directory, name, _script(interpreter, root, name)) for name in sorted(NAMES)]
        _remove_unused(directory, root)
    return written


def _script(interpreter: Interpreter, root: str, name: str) -> str:
    """The text of an executable. The folder's name in it is also how delegate.py knows it for its own."""
    return _SCRIPT.format(python=interpreter.path, folder=f"/{os.path.basename(root)}", name=name)


def _interpreter(python: str | None) -> Interpreter:
    """The real interpreter: a version manager's shim would cost 60 ms a start and needs an environment."""
    if python is not None:
        return _real(python)
    try:
        return _real(_SYSTEM_PYTHON)
    except ConfigError:
        return _real(sys.executable)


def _real(python: str) -> Interpreter:
    try:
        ran = run([python, "-I", "-c", _ASK])
    except KernelError as error:
        raise ConfigError("python", python, f"it cannot be run: {error}; name an interpreter of Python 3.11 or later") from error
    if ran.status:
        raise ConfigError("python", python, f"it cannot be run: {ran.stderr.decode()}; name an interpreter of Python 3.11 or later")
    path, major, minor, base, *_ = (*ran.stdout.decode(errors="replace").split("\n"), "", "", "", "")
    if not (major.isdigit() and minor.isdigit()):
        raise ConfigError("python", python, "it is not Python; name an interpreter of Python 3.11 or later")
    if (int(major), int(minor)) < _FLOOR:
        raise ConfigError("python", python, f"it is Python {major}.{minor}; 3.11 or later is needed")
    real = python if python == _SYSTEM_PYTHON else os.path.realpath(base or path)
    if " " in real or len(real) > 100:
        raise ConfigError("python", real, "its path has a space or is too long for a shebang line; name another interpreter")
    return Interpreter(real, int(major), int(minor))


def _sources() -> dict[str, str]:
    """Modules to copy: path below the root of the packages, and where it lies now."""
    found = {}
    for package in PACKAGES:
        for folder, folders, files in os.walk(os.path.join(ROOT, package)):
            folders[:] = sorted(set(folders) - _LEFT_OUT)
            for name in sorted(set(files) - _LEFT_OUT):
                path = os.path.join(folder, name)
                if name.endswith(".py"):
                    found[os.path.relpath(path, ROOT)] = path
    return found


def _digest(sources: dict[str, str], interpreter: Interpreter) -> str:
    total = hashlib.sha256(repr((interpreter.major, interpreter.minor)).encode())
    for relative, path in sources.items():
        with open(path, "rb") as file:
            total.update(relative.encode() + b"\0" + file.read() + b"\0")
    return total.hexdigest()[:12]


def _copy(sources: dict[str, str], root: str, interpreter: Interpreter) -> None:
    """The packages with their compiled form, made by the interpreter that will run it."""
    temporary = tempfile.mkdtemp(prefix=_UNFINISHED, dir=os.path.dirname(root))
    try:
        for relative, path in sources.items():
            target = os.path.join(temporary, relative)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(path, target)
        ran = run([interpreter.path, *_COMPILE, "-s", temporary, "-p", root, temporary], timeout_s=120)
        if ran.status:
            raise ConfigError("python", interpreter.path, f"it cannot compile the plugins: {(ran.stdout + ran.stderr).decode()}")
        _open_to_all(temporary)
        os.rename(temporary, root)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _open_to_all(root: str) -> None:
    """Others than the owner may run plugins too, whatever the umask was."""
    for folder, _, files in os.walk(root):
        os.chmod(folder, 0o755)  # noqa: S103
        for name in files:
            os.chmod(os.path.join(folder, name), 0o644)


def _write_executable(directory: str, name: str, text: str) -> str:
    path = os.path.join(directory, name)
    handle, temporary = tempfile.mkstemp(prefix=f"{_UNFINISHED}{name}-", dir=directory)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o755)  # noqa: S103  it is a program
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def _remove_unfinished(directory: str) -> None:
    """What an installation that was killed has left. The lock is ours, so none is at work."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if name.startswith(_UNFINISHED):
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


def _remove_unused(directory: str, root: str) -> None:
    """Older copies that no executable names any more."""
    heads = [_head(os.path.join(directory, name)) for name in os.listdir(directory) if not name.startswith(".")]
    for name in os.listdir(directory):
        is_old = name.startswith(HIDDEN) and name != os.path.basename(root)
        if is_old and not any(name.encode() in head for head in heads):
            shutil.rmtree(os.path.join(directory, name))


def _head(path: str) -> bytes:
    if not os.path.isfile(path):
        return b""
    with open(path, "rb") as file:
        return file.read(1024)
