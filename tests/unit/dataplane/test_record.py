"""Records behave as frozen dataclasses do."""

from __future__ import annotations

import pytest

from dataplane.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


@record
class Point:
    x: int
    y: int = 0


@record
class Named(Point):
    name: str = ""
    LIMIT: ClassVar[int] = 3


@record
class Twin:
    x: int
    y: int = 0


def test_fields_come_by_position_by_name_and_by_default() -> None:
    assert (Point(1).x, Point(1).y) == (1, 0)
    assert Point(1, 2) == Point(y=2, x=1)


def test_equality_and_hash_go_by_class_and_all_fields() -> None:
    assert Point(1) == Point(1, 0)
    assert hash(Point(1)) == hash(Point(1, 0))
    assert Point(1) != Point(1, 1)
    assert Point(1) != Twin(1)  # type: ignore[comparison-overlap]
    assert len({Point(1), Point(1, 0), Point(2)}) == 2


def test_a_record_is_frozen() -> None:
    with pytest.raises(AttributeError, match="Point is frozen: cannot assign 'x'"):
        Point(1).x = 2  # type: ignore[misc]


def test_fields_of_base_classes_come_first_and_class_variables_are_none() -> None:
    assert Named(1, 2, "a") == Named(x=1, y=2, name="a")
    assert Named.LIMIT == 3
    assert Named.__dict__["FIELDS"] == ("x", "y", "name")


@pytest.mark.parametrize(
    ("args", "kwargs", "complaint"),
    [
        ((), {}, "Point needs x"),
        ((1, 2, 3), {}, "Point takes 2 fields, 3 given"),
        ((1,), {"z": 3}, "Point has no field z"),
        ((), {"z": 3}, "Point has no field z"),
    ],
)
def test_wrong_fields_are_named(args: tuple[int, ...], kwargs: dict[str, int], complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        Point(*args, **kwargs)


def test_the_text_shows_what_differs_from_the_defaults_in_the_order_of_the_fields() -> None:
    assert repr(Named(name="a", x=1)) == "Named(x=1, name='a')"


def test_replace_changes_a_copy() -> None:
    point = Point(1, 2)
    assert replace(point, y=5) == Point(1, 5)
    assert point == Point(1, 2)
    with pytest.raises(TypeError, match="no field z"):
        replace(point, z=1)
