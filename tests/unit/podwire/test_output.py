"""Plain tables, and that results are all that stdout gets."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest

from dataplane.inet import parse_ip
from labs.trace.hop import Trace
from podwire.lab_text import print_trace
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


class GoneReader:
    """A pipe's end whose reader has gone."""

    def isatty(self) -> bool:
        return False

    def write(self, _: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def flush(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_progress_that_nobody_can_see_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", GoneReader())
    with progress() as tell:
        tell("working")


def on_a_terminal(columns: int, **environment: str) -> str:
    """What `podwire lab list` shows on a terminal of that width."""
    command = f"stty cols {columns}; exec {sys.executable} -m podwire lab list"
    settings = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        env={**settings, "TERM": "xterm", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_narrow_terminal_cuts_no_word_off() -> None:
    wide, narrow = on_a_terminal(120), on_a_terminal(40)
    assert "┃" in wide
    assert narrow.startswith("topology  what it is")
    assert "…" not in narrow
    assert "three nodes, two pods each, joined by flanneld-py" in narrow


@pytest.mark.parametrize(
    ("name", "value", "coloured"), [("NO_COLOR", "1", False), ("TERM", "dumb", False), ("TERM", "xterm", True)]
)
def test_colours_are_for_terminals_that_have_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)
    print_trace(Trace("mine", "vxlan", "a", "b", parse_ip("10.0.0.2"), None, (), ()))
    assert ("\x1b[" in capsys.readouterr().out) == coloured
