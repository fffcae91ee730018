"""CNI errors: the code table of the specification (section "Error") and how our own errors become one of its codes.

The reference answers 999 for nearly everything. Here each code says who must act, as the specification means it.
"""

from __future__ import annotations

import errno
import sys

from dataplane.errors import ConfigError, KernelError

INCOMPATIBLE_VERSION = 1
UNSUPPORTED_FIELD = 2
UNKNOWN_CONTAINER = 3  # the container is gone: nothing was made, no DEL is needed
INVALID_ENVIRONMENT = 4
IO_FAILURE = 5
DECODING_FAILURE = 6
INVALID_CONFIG = 7
INVALID_NETNS = 8  # CNI_NETNS is the plugin's own namespace; in the reference's table, not in the specification's
TRY_AGAIN_LATER = 11
NOT_AVAILABLE = 50  # STATUS: no ADD can work
LIMITED_CONNECTIVITY = 51  # STATUS: no ADD can work, and running containers may be cut off
INTERNAL = 999

_TRANSIENT = frozenset({errno.EBUSY, errno.EAGAIN, errno.EINTR, errno.ENOBUFS, errno.ENOMEM})


class CniError(Exception):
    """What goes to the runtime as the one JSON document.

    Args:
        code: from the table above.
        msg: what is wrong, with the name and the value.
        details: what is allowed and what to do next, or more of the same; may be empty.
    """

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        self.code, self.msg, self.details = code, msg, details
        super().__init__(f"{msg}; {details}" if details else msg)

    def document(self, version: str) -> dict[str, object]:
        """The error as JSON values. `cniVersion` is in the specification; the reference leaves it out."""
        shown: dict[str, object] = {"cniVersion": version, "code": self.code, "msg": self.msg}
        if self.details:
            shown["details"] = self.details
        return shown


def as_cni_error(error: BaseException) -> CniError:
    """Any exception as a CNI error, so that a runtime never sees a traceback."""
    if isinstance(error, CniError):
        return error
    if isinstance(error, ConfigError):
        return CniError(INVALID_CONFIG, str(error))
    if isinstance(error, KernelError):
        return CniError(TRY_AGAIN_LATER if error.errno in _TRANSIENT else INTERNAL, str(error))
    if isinstance(error, OSError):
        return CniError(TRY_AGAIN_LATER if error.errno in _TRANSIENT else IO_FAILURE, _of_os_error(error))
    return CniError(INTERNAL, f"{type(error).__name__}: {error}", _place(error))


def _of_os_error(error: OSError) -> str:
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{' -> '.join(names)}: {error.strerror}" if names else str(error)


def _place(error: BaseException) -> str:
    """Where an error that nobody foresaw was raised: for the report that its finder will write."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return (
        f"raised at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno} under Python {sys.version.split()[0]}; please report it"
    )
