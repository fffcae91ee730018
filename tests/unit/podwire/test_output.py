"""Plain tables, and that results are all that stdout gets."""

from __future__ import annotations

import json

import pytest

from podwire.output import plain_table, print_json, print_table, progress


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert plain_table(("a", "long head"), [("cell", "x"), ("y", "")], "Title") == "Title\na     long head\ncell  x\ny"


def test_a_pipe_gets_plain_lines_and_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as tell:
        tell("working")
    print_table(("a",), [("b",)])
    out, err = capsys.readouterr()
    assert (out, err) == ("a\nb\n", "... working\n")


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"ok": True})
    assert json.loads(capsys.readouterr().out) == {"ok": True}
