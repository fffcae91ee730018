"""One turn of the loop: read what is there, take the difference to the wish, carry it out, say what became of it.

A CNI ADD is one turn. A daemon is the same turn again and again, so a restart is only its first one.
"""

from __future__ import annotations

from dataplane.delta import Delta, delta
from dataplane.ownership import scope_of
from dataplane.plan import Op, needs_rebuild, plan
from dataplane.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataplane.kernel import Failure, Kernel
    from dataplane.ownership import Owner
    from dataplane.state import Object


@record
class Turn:
    """What one turn did. `done` and `failures` together are the plan; `conflicts` are (wanted, found) of somebody else's."""

    done: tuple[Op, ...] = ()
    failures: tuple[Failure, ...] = ()
    conflicts: tuple[tuple[Object, Object], ...] = ()

    @property
    def converged(self) -> bool:
        """The wish holds now."""
        return not self.failures and not self.conflicts


def compare(kernel: Kernel, desired: Iterable[Object], owner: Owner) -> Delta:
    """What a turn would have to do. Changes nothing.

    A device of somebody else's whose settings may be changed is still not deleted to be made anew: that is a conflict.

    Raises:
        KernelError: the kernel could not be read.
    """
    items = frozenset(desired)
    actual = kernel.read(scope_of(owner, items))
    found = delta(items, actual, owner.may_change)
    taken = tuple(pair for pair in found.change if needs_rebuild(*pair) and not owner.owns(pair[1]))
    return Delta(
        found.add,
        tuple(pair for pair in found.change if pair not in taken),
        tuple(item for item in found.remove if owner.owns(item)),
        found.conflicts + taken,
    )


def reconcile(kernel: Kernel, desired: Iterable[Object], owner: Owner) -> Turn:
    """Bring the owner's part of the kernel to the wish.

    Every operation is tried even if one before it failed: a peer that cannot be reached must not cost the others their routes.

    Raises:
        KernelError: the kernel could not be read; nothing was changed.
    """
    items = frozenset(desired)
    found = compare(kernel, items, owner)
    ops = plan(found, items)
    failures = kernel.apply(ops) if ops else ()
    failed = {failure.op for failure in failures}
    return Turn(tuple(op for op in ops if op not in failed), failures, found.conflicts)
