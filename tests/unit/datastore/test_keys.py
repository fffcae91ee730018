from __future__ import annotations

import pytest

from datastore.errors import StoreError
from datastore.keys import decode_key, encode_key, prefix_range


@pytest.mark.parametrize(
    ("prefix", "start", "end"),
    [
        ("/a/", b"/a/", b"/a0"),
        ("a", b"a", b"b"),
        ("\x7f", b"\x7f", b"\x80"),
        ("", b"", None),
        ("\udcff", b"\xff", None),
        ("a\udcff\udcff", b"a\xff\xff", b"b"),
    ],
)
def test_a_prefix_is_the_range_up_to_the_first_key_behind_it(prefix: str, start: bytes, end: bytes | None) -> None:
    assert prefix_range(prefix) == (start, end)


@pytest.mark.parametrize("key", ["/coreos.com/network/subnets/10.1.2.0-24", "ä\U0001f600", "\0", "\udc80"])
def test_a_key_is_read_back_as_it_was_written(key: str) -> None:
    assert decode_key(encode_key(key)) == key


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(StoreError, match="at least one character"):
        encode_key("")
