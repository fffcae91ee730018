"""The difference between a wish and what is there."""

from __future__ import annotations

import itertools

import pytest

from dataplane.delta import Delta, delta
from dataplane.state import Bridge, Link, Object, Sysctl, Veth

OURS, CHANGED, THEIRS = Bridge("pwbr", mtu=1500), Bridge("pwbr", mtu=1400), Bridge("docker0", mtu=1500)

DELTAS: dict[str, tuple[list[Object], list[Object], Delta]] = {
    "nothing wished, nothing there": ([], [], Delta()),
    "a new object": ([OURS], [], Delta(add=(OURS,))),
    "an object that is there as wished": ([OURS], [OURS], Delta()),
    "an object of ours that differs": ([OURS], [CHANGED], Delta(change=((OURS, CHANGED),))),
    "an object of ours that nobody wishes for": ([], [OURS], Delta(remove=(OURS,))),
    "an object of others that nobody wishes for": ([], [THEIRS], Delta()),
    "an object of others that is as wished": ([THEIRS], [THEIRS], Delta()),
    "an object of others that differs": (
        [Bridge("docker0", mtu=9000)],
        [THEIRS],
        Delta(conflicts=((Bridge("docker0", mtu=9000), THEIRS),)),
    ),
    "several, sorted by what they are": (
        [Bridge("pw2"), Bridge("pw1"), Sysctl("b", "1")],
        [Veth("pw4"), Veth("pw3")],
        Delta(add=(Bridge("pw1"), Bridge("pw2"), Sysctl("b", "1")), remove=(Veth("pw3"), Veth("pw4"))),
    ),
}


def owned(item: Object) -> bool:
    return isinstance(item, Link) and item.name.startswith("pw")


@pytest.mark.parametrize(("wish", "actual", "wanted"), DELTAS.values(), ids=DELTAS.keys())
def test_the_difference_says_what_must_happen(wish: list[Object], actual: list[Object], wanted: Delta) -> None:
    assert delta(wish, actual, owned) == wanted
    assert bool(wanted) is (wanted != Delta())


def test_of_two_wishes_for_one_object_the_same_one_counts_whatever_their_order() -> None:
    wishes = [Bridge("pwbr", mtu=mtu) for mtu in (1500, 1400, 9000)]
    assert {delta(order, [], owned) for order in itertools.permutations(wishes)} == {Delta(add=(Bridge("pwbr", mtu=1400),))}
