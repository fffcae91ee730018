"""The difference between what is wanted and what is there. Pure, and the same for every component."""

from __future__ import annotations

from dataplane.record import record
from dataplane.state import agrees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from dataplane.state import Object


@record
class Delta:
    """What must happen. `conflicts` holds (wanted, found) where the key is taken by something that is not ours."""

    add: tuple[Object, ...] = ()
    change: tuple[tuple[Object, Object], ...] = ()  # (wanted, found)
    remove: tuple[Object, ...] = ()
    conflicts: tuple[tuple[Object, Object], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.add or self.change or self.remove or self.conflicts)


def delta(desired: Iterable[Object], actual: Iterable[Object], owned: Callable[[Object], bool]) -> Delta:
    """What turns `actual` into `desired`, touching nothing but what `owned` says is ours.

    An object that exists exactly as wished is left alone whoever made it. One that differs is changed if it is ours, and
    otherwise reported as a conflict. What is ours and not wished for is removed.

    The result does not depend on the order of either input: of two objects with one key the same one counts (`by_key`).
    """
    wanted, found = by_key(desired), by_key(actual)
    add: list[Object] = []
    change: list[tuple[Object, Object]] = []
    conflicts: list[tuple[Object, Object]] = []
    for key, item in wanted.items():
        other = found.get(key)
        if other is None:
            add.append(item)
        elif not agrees(item, other):
            (change if owned(other) else conflicts).append((item, other))
    remove = [item for key, item in found.items() if key not in wanted and owned(item)]
    return Delta(_sorted(add), _sorted_pairs(change), _sorted(remove), _sorted_pairs(conflicts))


def by_key(items: Iterable[Object]) -> dict[Hashable, Object]:
    """One object a key, whatever the order: the one whose text is first."""
    chosen: dict[Hashable, Object] = {}
    for item in items:
        other = chosen.setdefault(item.key, item)
        if other is not item and repr(item) < repr(other):
            chosen[item.key] = item
    return chosen


def _sorted(items: list[Object]) -> tuple[Object, ...]:
    return tuple(sorted(items, key=lambda item: repr(item.key)))


def _sorted_pairs(pairs: list[tuple[Object, Object]]) -> tuple[tuple[Object, Object], ...]:
    return tuple(sorted(pairs, key=lambda pair: repr(pair[0].key)))
