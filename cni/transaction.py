"""All or nothing: what an ADD has done is undone in reverse order when a later step fails.

Forwarding switches (sysctls of the whole namespace) stay as they were set: other attachments may rely on them by now. Those of a
device go with the device.
"""

from __future__ import annotations

from cni.errors import CniError, as_cni_error
from dataplane.plan import ADD, REMOVE, SET, Op
from dataplane.state import Sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from dataplane.kernel import Kernel


class Transaction:
    """A block of steps. On an exception their undoing runs, last step first, and the exception goes on."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def on_undo(self, action: Callable[[], None]) -> None:
        self._undo.append(action)

    def apply(self, kernel: Kernel, ops: Iterable[Op]) -> None:
        """Carry out the operations. Raises the KernelError of the first that failed; what succeeded is undone with the block."""
        wanted = tuple(ops)
        failures = kernel.apply(wanted) if wanted else ()
        failed = {failure.op for failure in failures}
        done = [op for op in wanted if op not in failed]
        self.on_undo(lambda: _reverse(kernel, done))
        if failures:
            raise failures[0].error

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            return
        problems = [str(problem) for problem in map(_attempt, reversed(self._undo)) if problem is not None]
        if problems:
            first = as_cni_error(error)
            details = "; ".join([first.details, *(f"could not undo: {problem}" for problem in problems)])
            raise CniError(first.code, first.msg, details.lstrip("; ")) from error


def _attempt(action: Callable[[], None]) -> Exception | None:
    try:
        action()
    except Exception as problem:  # noqa: BLE001  every step is undone that can be; what could not is told
        return problem
    return None


def _reverse(kernel: Kernel, done: list[Op]) -> None:
    ops = [op for op in map(_opposite, reversed(done)) if op is not None]
    failures = kernel.apply(ops) if ops else ()
    if failures:
        raise failures[0].error


def _opposite(op: Op) -> Op | None:
    if isinstance(op.item, Sysctl):
        return None
    if op.verb == ADD:
        return Op(REMOVE, op.item)
    if op.verb == REMOVE:
        return Op(ADD, op.item)
    return None if op.found is None else Op(SET, op.found, op.item)
