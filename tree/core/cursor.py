"""Where a cursor can stand, and what it keeps; `tree.api.state.MaState` adds what it can do."""

from __future__ import annotations

from enum import Enum
from typing import Any

from sugarbush.tree.core.body import TreeBody
from sugarbush.tree.core.entries import check_range
from sugarbush.tree.core.layout import MAX
from sugarbush.tree.core.node import MapleNode
from sugarbush.tree.core.store_type import StoreType


class MapleStatus(Enum):
    """Where a cursor stands, or why it stands nowhere: `enum maple_status` of v6.12, in the words of `ma_*`.

    In v6.6 these are special values of the cursor's node word (MAS_START, MAS_ROOT, ...), with the same meaning.
    """

    START = "START"
    """Not walked yet."""
    ACTIVE = "ACTIVE"
    """In a node."""
    ROOT = "ROOT"
    """At the entry that lies in the root word."""
    NONE = "NONE"
    """There is nothing here."""
    PAUSE = "PAUSE"
    """The loop is paused, and the lock may be dropped."""
    OVERFLOW = "OVERFLOW"
    """Searched past the upper limit."""
    UNDERFLOW = "UNDERFLOW"
    """Searched past the lower limit."""


Plan = tuple[StoreType, int, int, bool, bool, int]
"""The kind of a store for which nodes were taken, and all that it depends on: first and last key, whether it unsets,
the mode of the tree, and how often that was changed."""


class Cursor:
    """The fields of a cursor (kernel: `struct ma_state`): its range `index`..`last`, its `state`, and where it
    stands.

    Walks and writes take this class, and need not know the calls of `MaState`, which are made of them.
    """

    __slots__ = (
        "bulk",
        "high",
        "in_work",
        "index",
        "last",
        "low",
        "node",
        "offset",
        "planned",
        "requested",
        "seen",
        "stash",
        "state",
        "tree",
        "uneven",
    )

    node: Any
    """The node that it is in, while `state` is ACTIVE."""
    planned: Plan | None
    """What kind the next store was found to be when nodes were taken for it (`mas->store_type`, v6.12)."""
    in_work: list[MapleNode]
    """In a bulk load, what the store under way has taken out of the stash."""
    uneven: bool
    """A bulk load has split a leaf, so its last leaf may hold too little (MA_STATE_REBALANCE)."""

    def __init__(self, tree: TreeBody, first: int = 0, last: int | None = None) -> None:
        if last is None:
            last = first
        check_range(first, last)
        self.tree = tree
        self.index = first
        self.last = last
        self.state = MapleStatus.START
        self.node = None
        self.low = 0
        self.high = MAX
        self.offset = 0
        self.seen = 0
        self.planned = None
        self.stash: list[MapleNode] = []
        self.requested = 0
        self.bulk = False
        self.in_work: list[MapleNode] = []
        self.uneven = False
