"""A tree drawn, dumped, checked."""

from sugarbush.tree.show.drawing import draw
from sugarbush.tree.show.dumping import dump
from sugarbush.tree.show.validator import validate

__all__ = [
    "draw",
    "dump",
    "validate",
]
