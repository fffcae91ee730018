"""What a benchmark's `must` is compared with."""

from __future__ import annotations

import pytest

from bench.report import Case, measure


@pytest.mark.parametrize(
    ("ours", "peer", "must", "ok"),
    [
        (5.0, 10.0, 0.5, True),
        (5.1, 10.0, 0.5, False),
        (900.0, None, 1000, True),
        (1001.0, None, 1000, False),
        (1e9, None, None, True),
    ],
)
def test_a_must_is_for_the_ratio_or_without_a_peer_for_the_value(
    ours: float, peer: float | None, must: float | None, ok: bool
) -> None:
    case = Case("a case", lambda: ours, None if peer is None else lambda: peer, None, "ms", must)
    assert measure(case, 1).ok is ok
