"""The one interface of all stores: keys with revisions, leases with a time to live, and a watch that loses nothing.

The words are etcd's. A revision counts all changes of the whole store; each item carries the revision of its last change.
Keys are text and values are bytes, as flannel and Calico write them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Item:
    """A key's value, the revision of its last change, and the lease it lives by (0: none)."""

    key: str
    value: bytes
    revision: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """All items below a prefix in key order, and the store's revision at that moment: watch from it, and nothing is missed."""

    items: tuple[Item, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one key. `value` is None when the key was deleted, also by the end of its lease."""

    key: str
    value: bytes | None
    revision: int
    lease: int = 0


class Store(Protocol):
    """A key-value store. Every method raises StoreError when the store cannot be reached or refuses."""

    async def get(self, key: str) -> Item | None:
        """The item, or None."""
        ...

    async def list(self, prefix: str) -> Listing:
        """All items whose key begins with `prefix`."""
        ...

    async def create(self, key: str, value: bytes, lease: int = 0) -> int:
        """Write a key that must not exist; the new revision. Raises KeyExists, LeaseGone."""
        ...

    async def replace(self, key: str, value: bytes, revision: int, lease: int = 0) -> int:
        """Write a key that must still be at `revision`; the new revision. Raises RevisionMismatch, LeaseGone."""
        ...

    async def delete(self, key: str, revision: int | None = None) -> bool:
        """Delete a key; False if there was none. With `revision`, only at that revision, else RevisionMismatch."""
        ...

    async def grant(self, ttl: int) -> int:
        """A new lease that ends `ttl` seconds after its last keepalive; its id (never 0)."""
        ...

    async def keepalive(self, lease: int) -> int:
        """Renew a lease; the seconds it has now. Raises LeaseGone."""
        ...

    async def time_to_live(self, lease: int) -> int:
        """Seconds that a lease has left. Raises LeaseGone."""
        ...

    async def revoke(self, lease: int) -> None:
        """End a lease and delete its keys. One that is gone already is fine."""
        ...

    def watch(self, prefix: str, revision: int) -> AsyncIterator[tuple[Event, ...]]:
        """Batches of all changes below `prefix` after `revision`, each once and in order, for ever.

        A lost connection is taken up again behind the last event seen, without an error. Raises Compacted when that cannot be
        done because the store no longer keeps those events; then list again.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and files. Leases stay."""
        ...
