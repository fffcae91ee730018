"""Kernel settings below /proc/sys. Those under net/ belong to the namespace of the thread that opens the file.

A name is a path (`net/ipv4/conf/eth0.100/rp_filter`): with dots instead of slashes a device name that has dots could not be told.
"""

from __future__ import annotations

import os
from errno import EINVAL, ENOENT, EPERM, EROFS

from dataplane.drivers.netns import entered
from dataplane.errors import KernelError
from dataplane.kernel import Failure
from dataplane.plan import REMOVE
from dataplane.state import Sysctl
from dataplane.words import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataplane.ownership import Scope
    from dataplane.plan import Op
    from dataplane.state import Object

_ROOT = "/proc/sys/"
_HINTS = {
    ENOENT: "this kernel has no such setting, or the device is not there",
    EROFS: "/proc/sys is mounted read-only",
    EINVAL: "the kernel does not take this value",
}


class SysctlDriver:
    """The settings of the namespace at `netns` (None: this thread's)."""

    def __init__(self, netns: str | None = None) -> None:
        self._netns = netns

    def read(self, scope: Scope) -> frozenset[Object]:
        """The settings that `scope` names, where they exist. Words of a value are separated by one space.

        Raises:
            KernelError: the namespace cannot be entered, a name is not a path below /proc/sys, or a file cannot be read.
        """
        if not scope.sysctls:
            return frozenset()
        with entered(self._netns):
            values = {name: _read(name) for name in scope.sysctls}
        return frozenset(Sysctl(name, value) for name, value in values.items() if value is not None)

    def apply(self, ops: Sequence[Op]) -> tuple[Failure, ...]:
        """Write settings, in order, all of them; return those that failed."""
        failures = []
        try:
            with entered(self._netns):
                for op in ops:
                    error = _write(op)
                    if error is not None:
                        failures.append(Failure(op, error))
        except KernelError as error:
            return tuple(Failure(op, error) for op in ops)
        return tuple(failures)

    def close(self) -> None:
        """Nothing is held between calls."""


def _read(name: str) -> str | None:
    try:
        handle = os.open(_path(name), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return " ".join(os.read(handle, 4096).decode("utf-8", "replace").split())
        finally:
            os.close(handle)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KernelError(f"read sysctl {name}", _reason(error), error.errno or 0) from error


def _write(op: Op) -> KernelError | None:
    assert isinstance(op.item, Sysctl)  # noqa: S101  host.py sends nothing else here
    what = f"{op.verb} {words(op.item)}"
    if op.verb == REMOVE:
        return KernelError(what, "a setting can be changed, not removed", EPERM)
    try:
        handle = os.open(_path(op.item.name), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(handle, op.item.value.encode())
        finally:
            os.close(handle)
    except OSError as error:
        return KernelError(what, _reason(error), error.errno or 0)
    except KernelError as error:
        return error
    return None


def _path(name: str) -> str:
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in name:
        raise KernelError(f"sysctl {name!r}", "a name is a path below /proc/sys, such as net/ipv4/ip_forward", EINVAL)
    return _ROOT + name


def _reason(error: OSError) -> str:
    hint = _HINTS.get(error.errno or 0)
    return f"{error.strerror}: {hint}" if hint else error.strerror or str(error)
