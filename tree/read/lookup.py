"""How a cursor moves: from the root to a key, and from slot to slot.

Every function takes the runtime if the reader may run beside a writer (RCU mode, no lock), and None if not.
Then each word read is a step, and after the words of a node are read the node is tested: a dead one sends the
reader back to the root, to the key that it came from. Models mas_state_walk(), mas_next_slot(),
mas_prev_slot(), v6.6.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final, NoReturn

from sugarbush.concurrency.core import Failure, Kind, Runtime, fail
from sugarbush.tree.core import (
    DEAD,
    LEAF_64,
    LOAD_PARENT,
    LOAD_PIVOTS,
    LOAD_ROOT,
    LOAD_SLOT,
    MAX,
    RESTART,
    MapleNode,
    MapleStatus,
)
from sugarbush.tree.read.climb import DeadNode, check_alive, next_leaf, previous_leaf

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor

START = MapleStatus.START
ACTIVE = MapleStatus.ACTIVE
ROOT = MapleStatus.ROOT
NONE = MapleStatus.NONE

RESTARTS: Final = 50
"""How often a walk may start again. Each time a writer must have changed the tree since, so it is few times.

The kernel has no such limit: its reader spins. Here an endless walk would end by the step limit of the execution, as
a stall that says nothing of the cause; so this must be less than the steps of an execution, and more than the stores
of any program that is explored.
"""
LIMIT: Final = object()
"""The search has come to its limit."""


def start(mas: Cursor, rt: Runtime | None) -> Any:
    """Leave START for the root node, ROOT or NONE; gives the entry in the root word if it is at the cursor's key."""
    if mas.state is not START:
        return None
    tree = mas.tree
    mas.low = 0
    mas.high = MAX
    mas.offset = 0
    mas.seen = tree.changes
    for _ in range(RESTARTS):
        if rt is not None:
            rt.step(LOAD_ROOT, tree)
        root = tree.root
        if not isinstance(root, MapleNode):
            mas.node = None
            if root is None:
                mas.state = NONE
                return None
            mas.state = ROOT
            return None if mas.index else root
        if (root.up if rt is None else rt.load(LOAD_PARENT, root)) is not DEAD:
            mas.node = root
            mas.state = ACTIVE
            return None
    return _livelock(mas)


def state_walk(mas: Cursor, rt: Runtime | None) -> Any:
    """Walk from the root to the cursor's key, again and again if need be; gives the entry there.

    A walk that starts again is one that a writer overtook, so a walk that does so without end is a livelock.
    """
    for _ in range(RESTARTS):
        entry = start(mas, rt)
        if mas.state is not ACTIVE:
            return entry
        try:
            return range_walk(mas, rt)
        except DeadNode:
            _restart(mas, mas.index, rt)
    return _livelock(mas)


def _livelock(mas: Cursor) -> NoReturn:
    fail(
        Failure(
            Kind.LIVELOCK,
            f"livelock: a walk to key {mas.index:#x} has started again {RESTARTS} times",
            "each time it met a dead node; a dead node must not be found from the root",
        )
    )


def _restart(mas: Cursor, key: int, rt: Runtime | None) -> None:
    """After meeting a dead node: go back to the root, to look for `key` (`mas_rewalk`)."""
    # Both: a cursor whose `last` stayed where it was would go on behind a range that it has not seen yet.
    mas.index = mas.last = key
    reset(mas)
    if rt is not None:
        rt.perform(RESTART, mas.tree)


def range_walk(mas: Cursor, rt: Runtime | None) -> Any:
    """Walk from the cursor's node down to its key; index and last become the range found there."""
    index = mas.index
    node = mas.node
    low = mas.low
    high = mas.high
    while True:
        if rt is not None:
            rt.step(LOAD_PIVOTS, node)
        pivots = node.pivots
        offset = bisect_left(pivots, index)
        below = pivots[offset - 1] + 1 if offset else low
        above = pivots[offset]
        if rt is not None:
            rt.step(LOAD_SLOT, node)
        entry = node.slots[offset]
        leaf = node.kind == LEAF_64
        # One test for pivots and slot: both were read before it. The kernel tests once more between the two, which
        # spares it a needless read and changes no result.
        check_alive(node, rt)
        if leaf:
            break
        node = entry
        low = below
        high = above
    mas.node = node
    mas.low = low
    mas.high = high
    mas.offset = offset
    mas.index = below
    mas.last = above
    return entry


def reset(mas: Cursor) -> None:
    """Forget the place but not the range (`mas_reset`)."""
    mas.state = START
    mas.node = None


def walk(mas: Cursor, rt: Runtime | None) -> Any:
    """Go to the cursor's key from the root; index and last become the range there, set or unset (`mas_walk`)."""
    reset(mas)
    entry = state_walk(mas, rt)
    if mas.state is NONE:
        mas.index = 0
        mas.last = MAX
    elif mas.state is ROOT:
        if mas.index == 0:
            mas.last = 0
        else:
            mas.index = 1
            mas.last = MAX
            mas.state = NONE
            entry = None
    return entry


def next_slot(mas: Cursor, limit: int, rt: Runtime | None, *, empty: bool, overflow: bool) -> Any:
    """Go to the next slot, or the next that is set, unless it begins after `limit`.

    With `empty`, unset ranges count; with `overflow`, reaching the limit is remembered in the state.
    """
    # A reader that is sent back finds its old place by the last key that it has given out, not by its slot: the new
    # leaf may hold that key elsewhere. From there `_forward` goes on, so nothing comes twice and nothing is left out.
    saved = mas.last
    entry = LIMIT
    while mas.node is not None:
        try:
            entry = _forward(mas, limit, rt, empty=empty)
            break
        except DeadNode:
            _restart(mas, saved, rt)
            state_walk(mas, rt)
    if entry is not LIMIT:
        return entry
    if overflow:
        mas.state = MapleStatus.OVERFLOW
        mas.node = None
    return None


def prev_slot(mas: Cursor, limit: int, rt: Runtime | None, *, empty: bool, underflow: bool) -> Any:
    """Go to the previous slot, or the previous that is set, unless it ends before `limit`."""
    saved = mas.index
    entry = LIMIT
    while mas.node is not None:
        try:
            entry = _backward(mas, limit, rt, empty=empty)
            break
        except DeadNode:
            _restart(mas, saved, rt)
            state_walk(mas, rt)
    # By then the walk may have ended without a node, in a tree that has become empty or small.
    if mas.state is ROOT and mas.index:
        # The tree has shrunk to its root word meanwhile: what is left of it is key 0.
        mas.index = mas.last = 0
        return mas.tree.root
    if entry is not LIMIT:
        return entry
    if underflow:
        mas.state = MapleStatus.UNDERFLOW
        mas.node = None
    return None


def _forward(mas: Cursor, limit: int, rt: Runtime | None, *, empty: bool) -> Any:
    """One try: the next entry (or None, with `empty`), or LIMIT. Raises `DeadNode`."""
    node = mas.node
    if rt is not None:
        rt.step(LOAD_PIVOTS, node)
    pivots = node.pivots
    end = len(pivots) - 1
    offset = mas.offset
    check_alive(node, rt)
    if mas.high >= limit and (offset >= end or pivots[offset] >= limit):
        return LIMIT
    if offset < end:
        mas.index = pivots[offset] + 1
        offset += 1
    else:
        next_leaf(mas, node, rt)
        node = mas.node
        if rt is not None:
            rt.step(LOAD_PIVOTS, node)
        pivots = node.pivots
        mas.index = mas.low
        offset = 0
    while True:
        mas.offset = offset
        mas.last = pivots[offset]
        if rt is not None:
            rt.step(LOAD_SLOT, node)
        entry = node.slots[offset]
        check_alive(node, rt)
        if entry is not None or empty:
            return entry
        if mas.last >= limit:
            return LIMIT
        mas.index = mas.last + 1
        offset += 1  # a leaf that has a next one does not end unset


def _backward(mas: Cursor, limit: int, rt: Runtime | None, *, empty: bool) -> Any:
    """One try: the previous entry (or None, with `empty`), or LIMIT. Raises `DeadNode`."""
    node = mas.node
    if rt is not None:
        rt.step(LOAD_PIVOTS, node)
    pivots = node.pivots
    offset = mas.offset
    check_alive(node, rt)
    if mas.low <= limit and (pivots[offset - 1] + 1 if offset else mas.low) <= limit:
        return LIMIT
    while True:
        if offset:
            offset -= 1
            mas.last = mas.index - 1
        elif mas.index <= limit:
            return LIMIT
        else:
            previous_leaf(mas, node, rt)
            node = mas.node
            if rt is not None:
                rt.step(LOAD_PIVOTS, node)
            pivots = node.pivots
            offset = len(pivots) - 1
            mas.last = mas.high
        mas.index = pivots[offset - 1] + 1 if offset else mas.low
        mas.offset = offset
        if rt is not None:
            rt.step(LOAD_SLOT, node)
        entry = node.slots[offset]
        check_alive(node, rt)
        if entry is not None or empty:
            return entry
        if mas.index <= limit:
            return LIMIT
