"""The one place that commands print through: results on standard output, remarks on standard error."""

from __future__ import annotations

import os
from collections.abc import Sequence
from textwrap import wrap

from rich.console import Console
from rich.text import Text

from sugarbush.lockdep.outside import complain

_PIPE_WIDTH = 120
_GAP = "  "
out = Console(highlight=False)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out.width = _PIPE_WIDTH


def line(text: str) -> None:
    """Print text as it is, without wrapping: schedules and paths are copied from here."""
    out.print(Text(text), soft_wrap=True)


def note(text: str) -> None:
    """Say something beside the results, on standard error."""
    complain("sugarbush", text)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns, of which the last one is wrapped.

    A terminal gets what rich makes of it. Into a pipe goes the same text, laid out here: rich measures each cell again
    and again, which takes as long for two hundred rows as everything else that `sugarbush list` does.
    """
    lines = None if out.is_terminal else laid_out(header, rows, out.width)
    if lines is not None:
        out.file.write("\n".join([*lines, ""]))
        return
    from rich.table import Table

    made = Table(*header, box=None, pad_edge=False)
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    out.print(made)


def laid_out(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str] | None:
    """The lines of a table as rich lays them out; None where that takes more than to wrap the last column at spaces."""
    cells = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rest = width - sum(widths[:-1]) - len(_GAP) * len(widths[:-1])
    last = min(widths[-1], rest)
    words = (word for row in cells for word in row[-1].split(" "))
    # Where the last column is not the widest, rich narrows others as well.
    narrow = last < max(widths[:-1]) or last < max(map(len, words))
    if narrow or not all(cell.isascii() and cell.isprintable() for row in cells for cell in row):
        return None
    lines = []
    for row in cells:
        start = _GAP.join(cell.ljust(size) for cell, size in zip(row[:-1], widths, strict=False))
        for part in wrap(row[-1], last, break_long_words=False, break_on_hyphens=False) or [""]:
            lines.append(f"{start}{_GAP}{part.ljust(last)}")
            start = " " * len(start)
    return lines
