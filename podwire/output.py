"""What commands print: tables with rich on a terminal, plain aligned lines elsewhere, and JSON for programs.

Results go to stdout. Progress goes to stderr, so that a pipe gets the results alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click

Row = Sequence[str]


def print_json(document: object) -> None:
    """One JSON document."""
    click.echo(json.dumps(document, indent=2))


def print_table(columns: Row, rows: Sequence[Row], title: str = "") -> None:
    """A table: drawn by rich on a terminal; elsewhere a head and a line a row, columns two spaces apart."""
    if not sys.stdout.isatty():
        click.echo(plain_table(columns, rows, title))
        return
    from rich.console import Console  # noqa: PLC0415  60 ms that a pipe need not pay
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*columns, title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*(Text(cell, style=_CELL_STYLES.get(cell, "")) for cell in row))
    Console().print(table)


_CELL_STYLES = {"ok": "green", "running": "green", "NOT OK": "bold red", "ended": "bold red"}


def plain_table(columns: Row, rows: Sequence[Row], title: str = "") -> str:
    """The table as plain text."""
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (columns, *rows)]
    return "\n".join((*([title] if title else []), *lines))


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A function that shows what is done next: a spinner on a terminal, a line each elsewhere."""
    if not sys.stderr.isatty():
        yield lambda words: click.echo(f"... {words}", err=True)
        return
    from rich.console import Console  # noqa: PLC0415  as above

    with Console(stderr=True).status("") as status:
        yield status.update
