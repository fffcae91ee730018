"""When a lease is renewed."""

from __future__ import annotations

import pytest

from flanneld_py.renewal import Renewal

DAY = 86400


@pytest.mark.parametrize(
    ("ttl_s", "margin_s", "luck", "due"),
    [
        (DAY, 3600, 0.0, DAY - 3600),
        (DAY, 3600, 1.0, (DAY - 3600) * 0.9),
        (DAY, DAY - 60, 0.0, 60),
        (60, 3600, 0.0, 30),  # shorter than the margin: half its time
    ],
)
def test_it_is_renewed_before_the_margin_and_spread(ttl_s: int, margin_s: int, luck: float, due: float) -> None:
    assert Renewal(1000.0, ttl_s).due(margin_s, luck) == pytest.approx(1000.0 + due)


def test_it_has_ended_only_after_its_time() -> None:
    renewal = Renewal(1000.0, DAY)
    assert not renewal.ended(1000.0 + DAY - 1)
    assert renewal.ended(1000.0 + DAY)
