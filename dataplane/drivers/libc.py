"""System calls that Python 3.11 does not offer: setns, unshare, mount, umount2.

The `ctypes` package takes 3 ms to import, so its C core is used directly: the same function pointers, without the Python around
them. The GIL is released during a call, and errno is the calling thread's.
"""

from __future__ import annotations

import _ctypes
import os


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Int


RTLD_NOW = 2


def call(name: str, *args: bytes | int | None) -> int:
    """Call the C library's function `name`, which returns an int that is negative on failure. Strings go in as bytes.

    Raises:
        OSError: with errno, as the system call said.
    """
    function = _Function(_ctypes.dlsym(_ctypes.dlopen(None, RTLD_NOW), name))  # type: ignore[arg-type]  # None: the program itself
    result: int = function(*args)
    if result < 0:
        number = _ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return result
