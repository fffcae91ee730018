"""What DEL does at the same time, and that nothing of it is lost."""

from __future__ import annotations

import threading

import pytest

from cni import teardown
from cni.errors import CniError
from cni.teardown import Meanwhile, attempt_all

DEADLINE_S = 60


def test_a_step_meanwhile_runs_beside_the_others_and_is_waited_for() -> None:
    go_on, done = threading.Event(), []
    aside = Meanwhile(lambda: done.append(go_on.wait(DEADLINE_S)))
    attempt_all([aside.start, go_on.set, aside.end])
    assert done == [True]


def test_its_error_is_an_error_of_the_del() -> None:
    def fail() -> None:
        raise CniError(7, "the pair stays")

    aside = Meanwhile(fail)
    with pytest.raises(CniError, match="the pair stays"):
        attempt_all([aside.start, aside.end])


def test_without_a_thread_the_step_is_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(teardown, "start_new_thread", refuse)
    done: list[int] = []
    aside = Meanwhile(lambda: done.append(1))
    attempt_all([aside.start, lambda: done.append(2), aside.end])
    assert done == [1, 2]
