"""The search for a run of unset keys: down the recorded gaps, lowest or highest fit.

Models mas_empty_area() and mas_empty_area_rev(), v6.6. Every search begins at the root: the kernel goes on from a
cursor that was used before, two slots back, so that what it finds depends on what the cursor did before.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from sugarbush.tree.core import BadRange, Busy, MapleNode, MapleStatus, NoGaps, check_key
from sugarbush.tree.read.lookup import reset, start

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor


def empty_area(mas: Cursor, low: int, high: int, size: int) -> None:
    """Set the cursor to the lowest fit."""
    _check(mas, low, high, size)
    if mas.state is not MapleStatus.ACTIVE:
        low = _beside_root_entry(mas, low, high, size)
        mas.index = low
        mas.last = low + size - 1
        return
    first = _lowest(mas, mas.node, 0, low, high, size)
    if first is None:
        reset(mas)
        raise Busy(f"no {size} unset keys in a row in {low}..{high}")
    mas.index = first
    mas.last = first + size - 1


def empty_area_rev(mas: Cursor, low: int, high: int, size: int) -> None:
    """Set the cursor to the highest fit."""
    _check(mas, low, high, size)
    if mas.state is not MapleStatus.ACTIVE:
        _beside_root_entry(mas, low, high, size)
        mas.last = high
        mas.index = high - size + 1
        return
    last = _highest(mas, mas.node, 0, low, high, size)
    if last is None:
        reset(mas)
        raise Busy(f"no {size} unset keys in a row in {low}..{high}")
    mas.last = last
    mas.index = last - size + 1


def _check(mas: Cursor, low: int, high: int, size: int) -> None:
    if not mas.tree.track_gaps:
        raise NoGaps("the tree does not track gaps: make it with track_gaps=True")
    check_key(low)
    check_key(high)
    if low > high or size <= 0 or high - low < size - 1:
        raise BadRange(f"no window of {size} keys fits in {low}..{high}")
    reset(mas)
    mas.index = low
    mas.last = high
    start(mas, None)


def _beside_root_entry(mas: Cursor, low: int, high: int, size: int) -> int:
    """In a tree without nodes all is unset, but for key 0 if there is an entry."""
    if mas.state is MapleStatus.ROOT and low == 0:
        low = 1
        if high - low < size - 1:
            raise Busy(f"no {size} unset keys in a row in 1..{high}")
    return low


# A gap is recorded by its length only, so a sub-tree with one that is long enough can lie half outside the window and
# disappoint: then the search goes on behind it. Recursion, at most as deep as the tree, keeps the way back.
def _lowest(mas: Cursor, node: MapleNode, start: int, low: int, high: int, size: int) -> int | None:
    pivots = node.pivots
    slots = node.slots
    gaps = node.gaps
    for offset in range(bisect_left(pivots, low), len(pivots)):
        begin = pivots[offset - 1] + 1 if offset else start
        if begin > high:
            return None
        if gaps is not None:
            if gaps[offset] >= size:
                found = _lowest(mas, slots[offset], begin, low, high, size)
                if found is not None:
                    return found
        elif slots[offset] is None:
            first = max(begin, low)
            if min(pivots[offset], high) - first >= size - 1:
                _stand(mas, node, start, offset)
                return first
    return None


def _highest(mas: Cursor, node: MapleNode, start: int, low: int, high: int, size: int) -> int | None:
    pivots = node.pivots
    slots = node.slots
    gaps = node.gaps
    # The room in a slot is compared as last - first >= size - 1, here and above, never as last - first + 1 >= size:
    # in 64 bits that is 0 for the whole key space, which is bug S1 of docs/tree.md.
    for offset in range(min(bisect_left(pivots, high), len(pivots) - 1), -1, -1):
        if pivots[offset] < low:
            return None
        begin = pivots[offset - 1] + 1 if offset else start
        if gaps is not None:
            if gaps[offset] >= size:
                found = _highest(mas, slots[offset], begin, low, high, size)
                if found is not None:
                    return found
        elif slots[offset] is None:
            last = min(pivots[offset], high)
            if last - max(begin, low) >= size - 1:
                _stand(mas, node, start, offset)
                return last
    return None


def _stand(mas: Cursor, node: MapleNode, low: int, offset: int) -> None:
    mas.node = node
    mas.low = low
    mas.high = node.pivots[-1]
    mas.offset = offset
