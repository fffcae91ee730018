"""What commands print: tables with rich on a terminal, plain aligned lines elsewhere, and JSON for programs.

Results go to stdout. Progress goes to stderr, so that a pipe gets the results alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.status import Status

Row = Sequence[str]


def print_json(document: object) -> None:
    """One JSON document."""
    click.echo(json.dumps(document, indent=2))


def print_table(columns: Row, rows: Sequence[Row], title: str = "") -> None:
    """A table: drawn by rich on a terminal wide enough; elsewhere a head and a line a row, columns two spaces apart."""
    if not sys.stdout.isatty():
        click.echo(plain_table(columns, rows, title))
        return
    from rich.console import Console  # noqa: PLC0415  60 ms that a pipe need not pay
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*columns, title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*(Text(cell, style=_CELL_STYLES.get(cell, "")) for cell in row))
    console = Console()
    if console.measure(table, options=console.options.update(width=_ANY_WIDTH)).maximum > console.width:
        click.echo(plain_table(columns, rows, title))  # a terminal breaks lines; rich would cut words off
    else:
        console.print(table)


_ANY_WIDTH = 10_000
_CELL_STYLES = {"ok": "green", "running": "green", "NOT OK": "bold red", "ended": "bold red"}


def plain_table(columns: Row, rows: Sequence[Row], title: str = "") -> str:
    """The table as plain text."""
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (columns, *rows)]
    return "\n".join((*([title] if title else []), *lines))


class Progress:
    """Says what is done next: a spinner on a terminal, a line each elsewhere.

    What cannot be shown, because the terminal or the reader of a pipe has gone, is not shown: the work, or its undoing, goes on.
    """

    def __init__(self) -> None:
        self._spinner: Status | None = None
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415  as above

            self._spinner = Console(stderr=True).status("")

    def __call__(self, words: str) -> None:
        with suppress(OSError):
            if self._spinner is None:
                click.echo(f"... {words}", err=True)
            else:
                self._spinner.update(words)
                self._spinner.start()

    def pause(self) -> None:
        """Take the spinner away, until there is something to say again."""
        with suppress(OSError):
            if self._spinner is not None:
                self._spinner.stop()


@contextmanager
def progress() -> Iterator[Progress]:
    """Progress that leaves a clean terminal."""
    shown = Progress()
    try:
        yield shown
    finally:
        shown.pause()
