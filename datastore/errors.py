"""What a store can answer instead of doing what it was asked."""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot be reached, or refused. Keep the last good state, back off, try again."""


class KeyExists(StoreError):
    """`create` found the key taken.

    Args:
        key: the key.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"{key}: exists already")


class RevisionMismatch(StoreError):
    """`replace` or `delete` expected another revision: somebody else has written, or the key is gone."""

    def __init__(self, key: str, expected: int) -> None:
        self.key, self.expected = key, expected
        super().__init__(f"{key}: is no longer at revision {expected}")


class LeaseGone(StoreError):
    """The lease has expired or was revoked, and its keys with it."""

    def __init__(self, lease: int) -> None:
        self.lease = lease
        super().__init__(f"lease {lease:x}: expired or revoked")


class Compacted(StoreError):
    """The events after the revision that a watch asked for are no longer kept. List again, and watch from there."""

    def __init__(self, revision: int) -> None:
        self.revision = revision  # the oldest revision that can still be watched from
        super().__init__(f"history before revision {revision} is compacted; list again")


class BadStoreAddress(ValueError):
    """The address of a store cannot be understood (operator; exit 2)."""
