"""What all commands print on: loaded before the model is, so it imports nothing of it."""

from sugarbush.stress.screen.screen import laid_out, line, note, out, table

__all__ = [
    "laid_out",
    "line",
    "note",
    "out",
    "table",
]
