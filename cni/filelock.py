"""flock(2) with a deadline: on host-local's lock file, as the reference takes it, or on a network namespace itself.

For what several ADDs share in one namespace (a bridge, its address) the lock is the namespace's own file below /proc. It has
exactly the right extent, needs no writable folder, leaves no file behind, and ends with the process.
"""

from __future__ import annotations

import os
from fcntl import LOCK_EX, LOCK_NB, flock
from time import monotonic, sleep

from cni.errors import TRY_AGAIN_LATER, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

WAIT_S = 60.0
_PAUSE_S = 0.002
HOST_NETNS = "/proc/thread-self/ns/net"


class Locked:
    """Hold the lock on `path` for a block. With `create` the file is made if it is not there, as the reference makes it.

    Raises:
        CniError: code 11: somebody else held it the whole time.
    """

    def __init__(self, path: str, create: bool = False, wait_s: float = WAIT_S) -> None:
        self._path, self._wait_s = path, wait_s
        self._flags = os.O_RDONLY | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        self._file = -1

    def __enter__(self) -> None:
        self._file = os.open(self._path, self._flags, 0o750)
        deadline_s = monotonic() + self._wait_s
        while not self._taken():
            if monotonic() > deadline_s:
                self._close()
                raise CniError(
                    TRY_AGAIN_LATER, f"{self._path} is locked for over {self._wait_s:g} s", "another plugin works here; try again"
                )
            sleep(_PAUSE_S)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def _taken(self) -> bool:
        try:
            flock(self._file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _close(self) -> None:
        os.close(self._file)
        self._file = -1
