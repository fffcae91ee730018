"""Run one program to its end: input in, output out, no shell, no `subprocess` (which costs a CNI plugin 10 ms to import).

The program is spawned inside the wished network namespace: the calling thread enters it for the spawn alone. Input and outputs are
moved together with poll(2), so a program that prints a lot before it has read everything cannot block. A runtime may start a plugin
with an empty environment: the search for the program therefore ends in the system's own folders, whatever PATH says.
"""

from __future__ import annotations

import errno
import os
import select
from fcntl import ioctl
from sys import byteorder
from time import monotonic

from dataplane.drivers.netns import entered
from dataplane.errors import KernelError
from dataplane.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_PACKAGES = {  # Debian packages by the start of a tool's name
    "iptables": "iptables",
    "ip6tables": "iptables",
    "ipset": "ipset",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "tc": "iproute2",
    "bridge": "iproute2",
}
_CHUNK_BYTES = 65536  # the size of a pipe's buffer
FIONREAD = 0x541B  # ioctl_tty(2); the termios module that has it is one more to load
_SHEBANG_BYTES = 256  # what the kernel looks at
_SIGKILL, _SIGPIPE = 9, 13  # the signal module imports enum


@record
class Ran:
    """How a program ended: exit status (negative: the signal that ended it) and all that it printed."""

    status: int
    stdout: bytes = b""
    stderr: bytes = b""


def run(
    argv: list[str],
    stdin: bytes = b"",
    netns: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
) -> Ran:
    """Run `argv` and wait for its end. Any exit status is an answer, not an error.

    Args:
        argv: the program, found along PATH unless it has a slash, and its arguments.
        stdin: what the program reads.
        netns: path of the network namespace to run in; None is this one.
        env: its whole environment; None passes on this process's.
        timeout_s: when it has not ended by then it is killed.

    Raises:
        KernelError: the program is missing or cannot be started, the namespace cannot be entered, or the time was over.
    """
    deadline_s = monotonic() + timeout_s
    environment = os.environ if env is None else env
    program = _found(argv[0], environment.get("PATH", ""))
    pid, pipes = _spawned(program, argv, environment, netns)
    printed = None
    try:
        printed = _exchange(pid, pipes, stdin, deadline_s)
    finally:
        if printed is None:
            os.kill(pid, _SIGKILL)
        for end in pipes:
            os.close(end)
        _, wait_status = os.waitpid(pid, 0)
    if printed is None:
        raise KernelError(" ".join(argv), f"still running after {timeout_s:g} s, killed", errno.ETIMEDOUT)
    return Ran(os.waitstatus_to_exitcode(wait_status), *printed)


def _found(name: str, path: str) -> str:
    """The file to execute. Raises KernelError, with the package to install, if there is none."""
    if "/" in name:
        return name
    for folder in f"{path}:{SYSTEM_PATH}".split(":"):
        if folder and os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    raise _missing(name)


def _missing(name: str) -> KernelError:
    tool = name.rpartition("/")[2]
    package = _PACKAGES.get(tool) or _PACKAGES.get(tool.partition("-")[0])
    advice = f"; on Debian: apt-get install {package}" if package else ""
    return KernelError(f"run {name}", f"no such program{advice}", errno.ENOENT)


def _not_found(program: str) -> KernelError:
    """The kernel says the same of a script whose interpreter is missing."""
    if not os.path.exists(program):
        return _missing(program)
    with open(program, "rb") as file:
        first = file.readline(_SHEBANG_BYTES).decode(errors="replace").strip()
    return KernelError(f"run {program}", f"its interpreter is missing: {first}", errno.ENOENT)


def _spawned(program: str, argv: list[str], environment: Mapping[str, str], netns: str | None) -> tuple[int, list[int]]:
    """Start the program: its process id, and our ends of its stdin, stdout and stderr."""
    ends = _pipes(program)
    theirs = [ends[0][0], ends[1][1], ends[2][1]]
    ours = [ends[0][1], ends[1][0], ends[2][0]]
    actions = [(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(theirs)]
    try:
        with entered(netns):
            pid = os.posix_spawn(program, argv, environment, file_actions=actions, setsigdef=[_SIGPIPE])
    except BaseException as error:
        for end in ours:
            os.close(end)
        if isinstance(error, FileNotFoundError):
            raise _not_found(program) from error
        if isinstance(error, OSError):
            raise KernelError(f"run {program}", error.strerror or str(error), error.errno or 0) from error
        raise
    finally:
        for end in theirs:
            os.close(end)
    return pid, ours


def _pipes(program: str) -> list[tuple[int, int]]:
    """Three pipes. Raises KernelError, with nothing left open, if the process may not open so many files."""
    made: list[tuple[int, int]] = []
    try:
        for _ in range(3):
            made.append(os.pipe2(os.O_CLOEXEC))
    except OSError as error:
        for end in (end for pair in made for end in pair):
            os.close(end)
        raise KernelError(f"run {program}", error.strerror or str(error), error.errno or 0) from error
    return made


def _exchange(pid: int, pipes: list[int], stdin: bytes, deadline_s: float) -> tuple[bytes, bytes] | None:
    """Feed the program and collect what it prints until it has ended; None if the deadline came first.

    Descriptors that are through are closed and taken out of `pipes`. What the program itself printed is in the pipes when it ends:
    a child that it left behind, which may hold them open and print for ever, is not waited for.
    """
    feed, out, err = pipes
    ended = os.pidfd_open(pid)
    pipes.append(ended)
    os.set_blocking(feed, False)
    waiting = select.poll()
    for end in pipes:
        waiting.register(end, select.POLLOUT if end == feed else select.POLLIN)
    left = {feed: memoryview(stdin)}
    printed = {out: bytearray(), err: bytearray()}
    while (wait_ms := (deadline_s - monotonic()) * 1000) > 0:
        for end, _ in waiting.poll(wait_ms):
            if end == ended:
                rest = {end: _what_is_there(end) for end in (out, err) if end in pipes}
                return bytes(printed[out]) + rest.get(out, b""), bytes(printed[err]) + rest.get(err, b"")
            if not (_fed(end, left) if end == feed else _collected(end, printed[end])):
                waiting.unregister(end)
                pipes.remove(end)
                os.close(end)
    return None


def _fed(feed: int, left: dict[int, memoryview]) -> bool:
    """Write a piece of what is left; whether there is more to write. A program that has closed its end wants no more."""
    try:
        written = os.write(feed, left[feed][:_CHUNK_BYTES])
    except BrokenPipeError:
        return False
    left[feed] = left[feed][written:]
    return bool(left[feed])


def _collected(end: int, printed: bytearray) -> bool:
    """Read a piece of what is printed; whether there may be more."""
    piece = os.read(end, _CHUNK_BYTES)
    printed += piece
    return bool(piece)


def _what_is_there(end: int) -> bytes:
    """What a pipe holds at this moment."""
    size = int.from_bytes(ioctl(end, FIONREAD, bytes(4)), byteorder)
    return os.read(end, size) if size else b""
