"""The reference's names made of a hash: the first characters of a prefix followed by the sha512 in hex."""

from __future__ import annotations

try:
    from _sha512 import sha512  # type: ignore[import-not-found]  # hashlib costs 2 ms
except ImportError:
    from _sha2 import sha512  # type: ignore[import-not-found]  # its name from Python 3.12 on


def hashed_name(prefix: str, text: str, length: int) -> str:
    """`hashed_name("CNI-", "r1netc1", 28)` is "CNI-608d31a66a361d517121cded"."""
    return (prefix + str(sha512(text.encode()).hexdigest()))[:length]
