"""CHECK: the wish of the ADD, compared with the kernel. All deviations are told, not only the first.

What is there beyond the wish is none of CHECK's business: later plugins of the chain and the operator may add to it.
"""

from __future__ import annotations

from cni.errors import INTERNAL, CniError
from dataplane.delta import delta
from dataplane.state import differing
from dataplane.words import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataplane.state import Object


def deviations(place: str, desired: Iterable[Object], actual: Iterable[Object]) -> list[str]:
    """One line for each wish that does not hold. `place` says where, for the reader."""
    found = delta(desired, actual, lambda _: False)
    missing = [f"{place}: missing {words(item)}" for item in found.add]
    return missing + [f"{place}: {_difference(wanted, other)}" for wanted, other in found.conflicts]


def _difference(wanted: Object, found: Object) -> str:
    names = differing(wanted, found)
    if names == ("kind",):
        return f"{words(found)} is not a {type(wanted).__name__.lower()}"
    parts = [f"{name} is {found.__dict__[name]}, should be {wanted.__dict__[name]}" for name in names]
    return f"{words(found)}: {', '.join(parts)}"


def refuse_deviations(container_id: str, found: list[str]) -> None:
    """Raises CniError with all of them, if there are any."""
    if found:
        raise CniError(
            INTERNAL,
            f"CHECK of {container_id} found {len(found)} deviation{'s' if len(found) > 1 else ''}: {found[0]}",
            "; ".join(found),
        )
