"""Walks: down to a key, along the leaves, to gaps."""

from sugarbush.tree.read.climb import check_alive
from sugarbush.tree.read.lookup import range_walk, reset, start

__all__ = [
    "check_alive",
    "range_walk",
    "reset",
    "start",
]
