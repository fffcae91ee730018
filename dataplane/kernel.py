"""What a kernel must be able to do for us: be read, and carry out operations. The real one and the fake one both do."""

from __future__ import annotations

from dataplane.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from dataplane.errors import KernelError
    from dataplane.ownership import Scope
    from dataplane.plan import Op
    from dataplane.state import Object
else:
    Protocol = object


@record
class Failure:
    """An operation that the kernel refused, and why."""

    op: Op
    error: KernelError


class Kernel(Protocol):
    """One network namespace's kernel state."""

    def read(self, scope: Scope) -> frozenset[Object]:
        """What is there, ours or not, within `scope` (ownership.py). What does not exist is simply not in the answer.

        Raises:
            KernelError: the kernel or a tool refused to be read; then nothing is known.
        """
        ...

    def apply(self, ops: Sequence[Op]) -> tuple[Failure, ...]:
        """Carry out the operations in order, all of them; return those that failed.

        Removing what is absent is success. Adding what exists is success only if it equals the wish.
        """
        ...
