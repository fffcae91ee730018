"""Network namespaces: enter one for a while, make and delete named ones as `ip netns` does, tell one from a stale file.

A namespace belongs to a thread, not to the process (namespaces(7)): what is opened inside, such as a socket, stays inside when the
thread has left. So drivers enter, open their socket, and leave.
"""

from __future__ import annotations

import os
from errno import EINVAL, ENOENT
from fcntl import ioctl
from stat import S_ISREG

from dataplane.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

CLONE_NEWNET = 0x40000000
NS_GET_NSTYPE = 0xB703  # ioctl_ns(2), since Linux 4.11
MS_BIND, MNT_DETACH = 0x1000, 2
OWN = "/proc/thread-self/ns/net"


class entered:
    """Run a block with this thread in the namespace at `path`; None stays where it is.

    Raises:
        KernelError: the namespace cannot be entered; or, at the end of the block, cannot be left.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._home = -1

    def __enter__(self) -> None:
        if self._path is None:
            return
        what = f"enter network namespace {self._path}"
        try:
            self._home = _open(OWN)
            there = _open(self._path)
            try:
                _setns(there)
            finally:
                os.close(there)
        except OSError as error:
            self._close()
            raise KernelError(what, _reason(error), error.errno or 0) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._home < 0:
            return
        try:
            _setns(self._home)
        except OSError as failure:
            raise KernelError(f"return from network namespace {self._path}", _reason(failure), failure.errno or 0) from failure
        finally:
            self._close()

    def _close(self) -> None:
        if self._home >= 0:
            os.close(self._home)
            self._home = -1


def create(path: str) -> None:
    """Make a namespace and pin it at `path`, as `ip netns add` does below /run/netns. Its loopback device is down.

    Raises:
        KernelError: the path is taken, or the kernel refuses. Nothing is left behind.
    """
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    except OSError as error:
        raise KernelError(f"create network namespace {path}", _reason(error), error.errno or 0) from error
    try:
        _pin_new(path)
    except OSError as error:
        os.unlink(path)
        raise KernelError(f"create network namespace {path}", _reason(error), error.errno or 0) from error


def delete(path: str) -> None:
    """Unpin a namespace. It ends when its last process, socket and mount have gone. A path that is absent is success.

    Raises:
        KernelError: the path cannot be unmounted or removed.
    """
    from dataplane.drivers.libc import call  # noqa: PLC0415  not on the CNI path

    try:
        call("umount2", os.fsencode(path), MNT_DETACH)
    except OSError as error:
        if error.errno not in (EINVAL, ENOENT):  # EINVAL: a file that nothing is mounted on
            raise KernelError(f"delete network namespace {path}", _reason(error), error.errno or 0) from error
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise KernelError(f"delete network namespace {path}", _reason(error), error.errno or 0) from error


def is_netns(path: str) -> bool:
    """Whether `path` leads to a network namespace.

    A file left in /run/netns by a reboot is none, though it exists. The kernel is asked for the kind of namespace: the magic
    number of the file system, which the Go plugins look at, is the same for a mount or user namespace.
    """
    try:
        if not S_ISREG(os.stat(path).st_mode):
            return False  # opening a FIFO or a device could block or do something
        handle = _open(path)
    except OSError:
        return False
    try:
        return ioctl(handle, NS_GET_NSTYPE) == CLONE_NEWNET
    except OSError:
        return False
    finally:
        os.close(handle)


def identity(path: str) -> tuple[int, int] | None:
    """Device and inode of the namespace at `path`: equal for two paths to one namespace. None if there is nothing."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def _pin_new(path: str) -> None:
    from dataplane.drivers.libc import call  # noqa: PLC0415  not on the CNI path

    home = _open(OWN)
    try:
        call("unshare", CLONE_NEWNET)
        try:
            call("mount", OWN.encode(), os.fsencode(path), b"none", MS_BIND, None)
        finally:
            _setns(home)
    finally:
        os.close(home)


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def _setns(handle: int) -> None:
    if hasattr(os, "setns"):  # Python 3.12
        os.setns(handle, CLONE_NEWNET)
        return
    from dataplane.drivers.libc import call  # noqa: PLC0415  costs an import that 3.12 does not need

    call("setns", handle, CLONE_NEWNET)


def _reason(error: OSError) -> str:
    if error.errno == EINVAL:
        return "it is not a network namespace"
    return error.strerror or str(error)
