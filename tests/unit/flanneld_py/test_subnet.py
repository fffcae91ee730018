"""Allocation of subnets."""

from __future__ import annotations

import pytest

from dataplane.inet import Prefix, parse_ip, parse_prefix
from flanneld_py.conf import SubnetPlan
from flanneld_py.subnet import choose, compatible, count

PLAN = SubnetPlan(parse_prefix("10.5.0.0/16"), 24, parse_ip("10.5.1.0"), parse_ip("10.5.4.0"))  # four subnets


def first(_: int) -> int:
    return 0


def last(free: int) -> int:
    return free - 1


def prefixes(*texts: str) -> list[Prefix]:
    return [parse_prefix(text) for text in texts]


@pytest.mark.parametrize(
    ("taken", "lowest", "highest"),
    [
        ([], "10.5.1.0/24", "10.5.4.0/24"),
        (["10.5.1.0/24"], "10.5.2.0/24", "10.5.4.0/24"),
        (["10.5.4.0/24", "10.5.4.128/25"], "10.5.1.0/24", "10.5.3.0/24"),
        (["10.5.2.0/23"], "10.5.1.0/24", "10.5.4.0/24"),
        (["10.5.1.17/32", "10.5.3.0/24"], "10.5.2.0/24", "10.5.4.0/24"),
        (["10.5.0.0/24", "10.6.0.0/16", "fd00::/64"], "10.5.1.0/24", "10.5.4.0/24"),
        (["10.5.0.0/23", "10.5.3.0/24", "10.5.4.0/24"], "10.5.2.0/24", "10.5.2.0/24"),
    ],
)
def test_any_free_subnet_can_be_chosen_and_no_other(taken: list[str], lowest: str, highest: str) -> None:
    assert choose(PLAN, prefixes(*taken), None, first) == parse_prefix(lowest)
    assert choose(PLAN, prefixes(*taken), None, last) == parse_prefix(highest)


@pytest.mark.parametrize("taken", [["0.0.0.0/0"], ["10.5.0.0/16"], ["10.5.0.0/22", "10.5.4.0/24"]])
def test_when_all_are_taken_there_is_none(taken: list[str]) -> None:
    assert choose(PLAN, prefixes(*taken), parse_prefix("10.5.2.0/24"), first) is None


@pytest.mark.parametrize(
    ("previous", "taken", "wanted"),
    [
        ("10.5.3.0/24", [], "10.5.3.0/24"),
        ("10.5.3.0/24", ["10.5.3.0/24"], "10.5.1.0/24"),
        ("10.5.3.0/24", ["10.5.3.128/25"], "10.5.1.0/24"),
        ("10.5.9.0/24", [], "10.5.1.0/24"),
        ("10.5.3.0/25", [], "10.5.1.0/24"),
    ],
)
def test_the_previous_subnet_is_taken_again_if_it_may_be(previous: str, taken: list[str], wanted: str) -> None:
    assert choose(PLAN, prefixes(*taken), parse_prefix(previous), first) == parse_prefix(wanted)


def test_compatible_means_right_length_place_and_alignment() -> None:
    assert compatible(PLAN, parse_prefix("10.5.1.0/24"))
    assert compatible(PLAN, parse_prefix("10.5.4.0/24"))
    for text in ("10.5.0.0/24", "10.5.5.0/24", "10.5.1.0/25", "10.5.1.5/24", "fd00::/24"):
        assert not compatible(PLAN, parse_prefix(text)), text


def test_a_vast_range_is_counted_and_chosen_from_without_a_list_of_it() -> None:
    plan = SubnetPlan(parse_prefix("fd00::/16"), 64, parse_ip("fd00:0:0:1::"), parse_ip("fd00:ffff:ffff:ffff::"))
    assert count(plan) == 2**48 - 1
    assert choose(plan, prefixes("fd00:0:0:1::/64"), None, first) == parse_prefix("fd00:0:0:2::/64")
