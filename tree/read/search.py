"""Where a search begins: what each state of a cursor means to find, next and prev.

Models mas_find_setup(), mas_find_rev_setup(), mas_next_setup() and mas_prev_setup(), v6.6. Each gives (True,
entry) if the search ends at once, or (False, None) if it goes on from the cursor's slot.

The four are not mirror images, and cannot be made so: what each state means to each call was measured
(tests/data/maple, files 33 and 34), and programs rely on it. `find` goes on behind `last` after a pause and at `last`
at the end of a search; next and prev first give the entry under the cursor when they come from beyond the other
limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sugarbush.concurrency.core import Runtime
from sugarbush.tree.core import MAX, MapleStatus
from sugarbush.tree.read.lookup import next_slot, prev_slot, reset, walk

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor

START = MapleStatus.START
ACTIVE = MapleStatus.ACTIVE
ROOT = MapleStatus.ROOT
NONE = MapleStatus.NONE
PAUSE = MapleStatus.PAUSE
OVERFLOW = MapleStatus.OVERFLOW
UNDERFLOW = MapleStatus.UNDERFLOW


def find(mas: Cursor, limit: int, rt: Runtime | None, *, empty: bool) -> Any:
    """The entry at the cursor's key or the first after it; when called again, the next one."""
    done, entry = _find_setup(mas, limit, rt)
    return entry if done else next_slot(mas, limit, rt, empty=empty, overflow=False)


def find_rev(mas: Cursor, limit: int, rt: Runtime | None, *, empty: bool) -> Any:
    """The entry at the cursor's key or the first before it; when called again, the previous one."""
    done, entry = _find_rev_setup(mas, limit, rt)
    return entry if done else prev_slot(mas, limit, rt, empty=empty, underflow=False)


def next_entry(mas: Cursor, limit: int, rt: Runtime | None, *, empty: bool) -> Any:
    """The next entry (or slot, with `empty`) after the range that holds the cursor's key."""
    done, entry = _next_setup(mas, limit, rt)
    return entry if done else next_slot(mas, limit, rt, empty=empty, overflow=True)


def prev_entry(mas: Cursor, limit: int, rt: Runtime | None, *, empty: bool) -> Any:
    """The previous entry (or slot, with `empty`) before the range that holds the cursor's key."""
    done, entry = _prev_setup(mas, limit, rt)
    return entry if done else prev_slot(mas, limit, rt, empty=empty, underflow=True)


def _find_setup(mas: Cursor, limit: int, rt: Runtime | None) -> tuple[bool, Any]:
    state = mas.state
    if state is ACTIVE:
        return mas.last >= limit, None
    if state is PAUSE:
        if mas.last >= limit:
            return True, None
        # Behind the range that was given out last: it may have been cut or replaced while the lock was dropped, and a
        # loop that looked at its first key again would give out the same keys twice.
        mas.last += 1
        mas.index = mas.last
        reset(mas)
    elif state is NONE:
        if mas.last >= limit:
            return True, None
        mas.index = mas.last
        reset(mas)
    elif state is OVERFLOW or state is UNDERFLOW:
        if mas.index > limit:
            mas.state = OVERFLOW
            return True, None
        reset(mas)
    if mas.state is START:
        if mas.index > limit:
            return True, None
        entry = walk(mas, rt)
        if entry is not None:
            return True, entry
    if mas.state is ROOT:
        mas.state = NONE
        mas.index = 1
        mas.last = MAX
        return True, None
    if mas.state is NONE:
        return True, None
    return mas.index == limit, None


def _find_rev_setup(mas: Cursor, limit: int, rt: Runtime | None) -> tuple[bool, Any]:
    state = mas.state
    if state is ACTIVE:
        # At the limit there is nothing to go on to, so the node is not looked at: it may be dead, and to walk again
        # from the root would find another entry, or another range, at the same key, for a loop that has ended.
        return mas.index <= limit, None
    if state is PAUSE:
        if mas.index <= limit:
            mas.state = NONE
            return True, None
        mas.index -= 1
        mas.last = mas.index
        reset(mas)
    elif state is NONE:
        if mas.index <= limit:
            return True, None
        mas.last = mas.index
        reset(mas)
    elif state is OVERFLOW or state is UNDERFLOW:
        if mas.last <= limit:
            mas.state = UNDERFLOW
            return True, None
        reset(mas)
    if mas.state is START:
        if mas.index < limit:
            return True, None
        entry = walk(mas, rt)
        if entry is not None:
            return True, entry
    if mas.state is ROOT:
        mas.state = NONE
        return True, None
    if mas.state is NONE:
        return True, _root_entry(mas)
    return mas.index < limit, None


def _next_setup(mas: Cursor, limit: int, rt: Runtime | None) -> tuple[bool, Any]:
    state = mas.state
    if mas.last >= limit:
        mas.state = OVERFLOW
        mas.node = None
        return True, None
    if state is ACTIVE:
        return False, None
    if state is NONE or state is PAUSE or state is OVERFLOW:
        reset(mas)
    elif state is UNDERFLOW:
        entry = walk(mas, rt)
        if entry is not None:
            return True, entry
    if mas.state is START:
        walk(mas, rt)
    if mas.state is ROOT:
        if state is NONE and mas.index == 0:
            mas.last = 0
            return True, None
        mas.index = 1
        mas.last = MAX
        mas.state = NONE
        return True, None
    return mas.state is NONE, None


def _prev_setup(mas: Cursor, limit: int, rt: Runtime | None) -> tuple[bool, Any]:
    state = mas.state
    if mas.index <= limit:
        mas.state = UNDERFLOW
        mas.node = None
        return True, None
    if state is ACTIVE:
        return False, None
    if state is OVERFLOW:
        entry = walk(mas, rt)
        if entry is not None:
            return True, entry
    elif state is not START:
        # A ROOT from before is not believed, either: in RCU mode the root word may hold a node by now, which the
        # kernel would give as an entry.
        reset(mas)
    if mas.state is START:
        walk(mas, rt)
    if mas.state is NONE:
        return True, _root_entry(mas) if mas.index else None
    return False, None


def _root_entry(mas: Cursor) -> Any:
    """Beyond the only entry there can be: step down to it."""
    mas.index = mas.last = 0
    mas.state = ROOT
    mas.node = None
    return mas.tree.root
