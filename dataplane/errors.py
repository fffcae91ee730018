"""Errors sorted by who must act: the operator (ConfigError), or nobody yet, for the kernel may accept it later (KernelError)."""

from __future__ import annotations


class ConfigError(ValueError):
    """What the operator wrote cannot be. Nothing was changed. Exit status 2; CNI error 7.

    Args:
        where: the flag, file or key path, e.g. `"net-conf.json: SubnetLen"`.
        value: what stood there, or None where the point is that nothing did.
        allowed: what may stand there, and what to do.
    """

    def __init__(self, where: str, value: object, allowed: str) -> None:
        self.where, self.value, self.allowed = where, value, allowed
        super().__init__(f"{where}: {allowed}" if value is None else f"{where}: {value!r}: {allowed}")


class KernelError(Exception):
    """The kernel refused an operation. The state stays dirty; a daemon tries again.

    Args:
        what: the operation in words, e.g. `"add route 10.244.1.0/24 via 10.0.0.2 dev eth0"`.
        reason: the kernel's own words (strerror, extended acknowledgement, or the tool's message).
        errno: the error number, or 0 where a tool gave none.
    """

    def __init__(self, what: str, reason: str, errno: int = 0) -> None:
        self.what, self.reason, self.errno = what, reason, errno
        super().__init__(f"{what}: {reason}")
