"""The keeper's loop, on the kernel in memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import pytest

from dataplane.errors import KernelError
from dataplane.fake import FakeKernel
from dataplane.inet import parse_prefix
from dataplane.ownership import Owner
from dataplane.state import Address, Link, Object, Route
from flanneld_py.keeper import QUIET_GAP_S, Keeper

if TYPE_CHECKING:
    from collections.abc import Callable

OWNER = Owner("test", links=frozenset({"x"}), settings=frozenset({"x"}), route_protocol=84)
ADDRESS = Address("x", parse_prefix("10.0.0.1/32"))
DEADLINE_S = 10.0


async def until(check: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not check():
            await asyncio.sleep(0.01)


def keep(
    kernel: FakeKernel, wish: Callable[[], frozenset[Object]], check: Callable[[Keeper], object], after: Callable[[Keeper], object]
) -> None:
    """Run a keeper until `check` holds, then `after` once, then until `check` holds again."""

    async def scenario() -> None:
        keeper = Keeper("test", kernel, OWNER, wish)
        task = asyncio.create_task(keeper.run())
        await until(lambda: check(keeper))
        after(keeper)
        await until(lambda: check(keeper))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_what_is_damaged_is_healed_when_touched() -> None:
    kernel = FakeKernel([Link("x")])

    def damage(keeper: Keeper) -> None:
        del kernel.objects[ADDRESS.key]
        keeper.touch()

    keep(
        kernel,
        lambda: frozenset({ADDRESS, Link("x")}),
        lambda keeper: keeper.ready.is_set() and ADDRESS.key in kernel.objects,
        damage,
    )


@pytest.mark.parametrize("steps", range(5))
def test_a_keeper_that_is_touched_just_before_it_is_cancelled_ends(steps: int) -> None:
    """A daemon that swallows its own end does not stop on SIGTERM."""

    async def scenario() -> None:
        keeper = Keeper("test", FakeKernel([Link("x")]), OWNER, lambda: frozenset({ADDRESS, Link("x")}), 1000.0)
        task = asyncio.create_task(keeper.run())
        await until(keeper.ready.is_set)
        await asyncio.sleep(3 * QUIET_GAP_S)
        keeper.touch()
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_a_failure_is_tried_again_without_being_touched() -> None:
    kernel = FakeKernel([Link("x")], fail_at=0)
    keep(kernel, lambda: frozenset({ADDRESS, Link("x")}), lambda keeper: keeper.ready.is_set(), lambda _: None)
    assert ADDRESS.key in kernel.objects


def test_a_peer_that_cannot_be_programmed_does_not_keep_the_node_from_being_ready(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    kernel = FakeKernel([Link("x")])
    stuck = Route(parse_prefix("10.1.0.0/24"), "missing", protocol=84)
    keep(
        kernel, lambda: frozenset({ADDRESS, Link("x"), stuck}), lambda keeper: keeper.ready.is_set(), lambda keeper: keeper.touch()
    )
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1  # once, however often it was tried


def test_a_wish_that_cannot_be_made_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    asked = []

    def wish() -> frozenset[Object]:
        asked.append(1)
        if len(asked) < 3:
            raise KernelError("open TUN device", "busy")
        return frozenset({Link("x"), ADDRESS})

    keep(FakeKernel([Link("x")]), wish, lambda keeper: keeper.ready.is_set(), lambda _: None)
    said = [record.getMessage() for record in caplog.records]
    assert [text for text in said if "busy" in text] == [
        "test not as wished, will retry reason=open TUN device: busy",
        "test settled: open TUN device: busy",
    ]
