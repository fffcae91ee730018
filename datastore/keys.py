"""Keys as etcd orders and ranges them: bytes, compared byte by byte.

A prefix is the half-open range from itself to the next string that does not begin with it (etcd's api.md, "Range").
Both stores use the same two functions, so that a prefix has the same boundaries in both.
"""

from __future__ import annotations

from datastore.errors import StoreError

# A key of another program that is no UTF-8 is still listed, and written back unharmed.
UNDECODABLE = "surrogateescape"


def encode_key(key: str) -> bytes:
    """A key's bytes.

    Raises:
        StoreError: the key is empty (etcd has no such key).
    """
    if not key:
        raise StoreError("a key needs at least one character")
    return key.encode("utf-8", UNDECODABLE)


def decode_key(raw: bytes) -> str:
    """A key's text; the reverse of `encode_key`."""
    return raw.decode("utf-8", UNDECODABLE)


def prefix_range(prefix: str) -> tuple[bytes, bytes | None]:
    """The first possible key below a prefix, and the first one behind it; None when no key is behind it."""
    start = prefix.encode("utf-8", UNDECODABLE)
    stem = start.rstrip(b"\xff")
    return start, stem[:-1] + bytes([stem[-1] + 1]) if stem else None
