"""Waiting for a store that is away, and telling systemd when all stands."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

from datastore.errors import StoreError
from flanneld_py import patience, sdnotify
from flanneld_py.patience import patiently

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_an_attempt_is_made_until_the_store_answers_and_trouble_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answers = iter([StoreError("away"), StoreError("away"), None])

    async def attempt() -> str:
        if error := next(answers):
            raise error
        return "there"

    assert asyncio.run(patiently("ask", attempt)) == "there"
    assert [record.getMessage() for record in caplog.records] == [
        "store trouble, will retry doing='ask' reason=away",
        "store is back doing='ask'",
    ]


def test_an_attempt_without_an_end_is_said_while_it_lasts(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SLOW_S", 0.01)
    caplog.set_level(logging.INFO)
    said: list[str] = []

    async def attempt() -> None:
        while not caplog.records:
            await asyncio.sleep(0.001)
        said.extend(record.getMessage() for record in caplog.records)

    async def scenario() -> None:
        async with asyncio.timeout(20):
            await patiently("ask", attempt)

    asyncio.run(scenario())
    assert said == ["store does not answer yet doing='ask' after_s=0.01"]
    assert caplog.records[-1].getMessage() == "store is back doing='ask'"


def test_systemd_is_told_by_path_or_abstract_name(tmp_path: Path) -> None:
    for address, bound in (
        (str(tmp_path / "notify"), str(tmp_path / "notify")),
        (f"@pwt-{tmp_path.name}", f"\0pwt-{tmp_path.name}"),
    ):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(bound)
            sdnotify.ready(address)
            assert listener.recv(100) == b"READY=1"


def test_a_systemd_that_is_not_there_is_no_trouble(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sdnotify.ready("")
    assert not caplog.records
    sdnotify.ready(str(tmp_path / "none"))
    assert "systemd not told" in caplog.text
