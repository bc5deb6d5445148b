"""The advanced interface: a cursor. The caller locks.

Models MA_STATE() and the mas_*() calls of v6.6. The kernel's in-between results become exceptions
(`tree.core.errors`); NULL becomes None.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from sugarbush.concurrency.core import Runtime, active
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.tree.core import (
    MAX,
    Cursor,
    Exists,
    MapleNode,
    MapleStatus,
    NoMemory,
    StaleState,
    check_range,
    check_storable,
    guard,
)
from sugarbush.tree.read import gaps, lookup, search
from sugarbush.tree.write import bulk, preallocate, stash, write

E = TypeVar("E")

START = MapleStatus.START
ACTIVE = MapleStatus.ACTIVE
ROOT = MapleStatus.ROOT


class MaState(Cursor, Generic[E]):
    """A cursor over a tree: its range `index`..`last` and its `state`.

    A call that gives an entry leaves `index` and `last` at the entry's range. Searches stop at an inclusive
    limit. After a write that was not made through it, a cursor must be reset or paused before it is used
    again, else `StaleState` is raised; only in RCU mode may reads go on.
    """

    __slots__ = ()

    def _reading(self) -> Runtime | None:
        """Before every read: the lock check, and that the place is still good. Gives the runtime to step with."""
        # In RCU mode a reader may go on in a node that has left the tree, and notices by the dead mark; otherwise
        # nodes are changed and used again in place, and nothing would tell it.
        tree = self.tree
        if self.seen != tree.changes and not tree.rcu and (self.state is ACTIVE or self.state is ROOT):
            raise StaleState("the tree was changed since this state walked it; reset or pause it first")
        return None if active.runtime is None and not tree.external else guard.reader(tree)

    def walk(self) -> E | None:
        """Go to `index` from the root; `index`..`last` become the range found, set or unset."""
        return lookup.walk(self, self._reading())  # type: ignore[no-any-return]

    def find(self, limit: int = MAX) -> E | None:
        """The entry at or after `index` that begins at or before `limit`; called again, the next one."""
        return search.find(self, limit, self._reading(), empty=False)  # type: ignore[no-any-return]

    def find_range(self, limit: int = MAX) -> E | None:
        """As `find`, but stops at unset ranges too, except at the one that the first call begins in."""
        return search.find(self, limit, self._reading(), empty=True)  # type: ignore[no-any-return]

    def find_rev(self, limit: int = 0) -> E | None:
        """The entry at or before `index` that ends at or after `limit`; called again, the previous one."""
        return search.find_rev(self, limit, self._reading(), empty=False)  # type: ignore[no-any-return]

    def find_range_rev(self, limit: int = 0) -> E | None:
        """As `find_rev`, but stops at unset ranges too, except at the one that the first call begins in."""
        return search.find_rev(self, limit, self._reading(), empty=True)  # type: ignore[no-any-return]

    def next(self, limit: int = MAX) -> E | None:
        """The next entry after the one at `index`; None, and state OVERFLOW, if none begins by `limit`."""
        return search.next_entry(self, limit, self._reading(), empty=False)  # type: ignore[no-any-return]

    def next_range(self, limit: int = MAX) -> E | None:
        """The next range, set or unset."""
        return search.next_entry(self, limit, self._reading(), empty=True)  # type: ignore[no-any-return]

    def prev(self, limit: int = 0) -> E | None:
        """The entry before the one at `index`; None, and state UNDERFLOW, if none ends at or after `limit`."""
        return search.prev_entry(self, limit, self._reading(), empty=False)  # type: ignore[no-any-return]

    def prev_range(self, limit: int = 0) -> E | None:
        """The previous range, set or unset."""
        return search.prev_entry(self, limit, self._reading(), empty=True)  # type: ignore[no-any-return]

    def _writing(self, entry: Any) -> None:
        """Before every write: the lock check, the range, and that the place is still good."""
        tree = self.tree
        if active.runtime is not None or tree.external:
            guard.writer(tree)
        if not 0 <= self.index <= self.last <= MAX:
            check_range(self.index, self.last)
        if isinstance(entry, MapleNode):
            check_storable(entry)
        if self.seen != tree.changes and (self.state is ACTIVE or self.state is ROOT):
            # At ROOT as well: a store there takes the root word for its own, and would drop all nodes behind it.
            raise StaleState("the tree was changed since this state walked it; reset or pause it first")
        if self.state is not START:
            write.store_setup(self, entry)

    def store(self, entry: E | None) -> E | None:
        """Store over `index`..`last`; gives what was at `index`. Takes nodes without blocking, or raises `NoMemory`.

        `destroy` the state in the end, since it keeps nodes for its next store.
        """
        self._writing(entry)
        return self._store(entry)  # type: ignore[no-any-return]

    def _store(self, entry: Any) -> Any:
        tree = self.tree
        try:
            content = write.store(self, entry)
        except NoMemory:
            lookup.reset(self)
            raise
        tree.changes += 1
        self.seen = tree.changes
        return content

    def store_gfp(self, entry: E | None, gfp: int = GFP_KERNEL) -> None:
        """Store over `index`..`last`; allocates by `gfp` if need be. Raises `NoMemory`."""
        self._writing(entry)
        # Kept, since a store of None widens them before it finds that memory lacks, and after the lock was dropped
        # the keys that were unset then need not be.
        first, last = self.index, self.last
        try:
            while True:
                try:
                    self._store(entry)
                    break
                except NoMemory:
                    self.index, self.last = first, last
                    if not stash.retry(self, gfp):
                        raise
        finally:
            if self.stash or self.requested:
                stash.give_back(self)

    def insert_gfp(self, entry: E | None, gfp: int = GFP_KERNEL) -> None:
        """Store over `index`..`last` if all of it is unset, else raise `Exists`. May raise `NoMemory`."""
        self._writing(entry)
        tree = self.tree
        try:
            while True:
                try:
                    write.insert(self, entry)
                    break
                except Exists:
                    lookup.reset(self)
                    raise
                except NoMemory:
                    lookup.reset(self)
                    if not stash.retry(self, gfp):
                        raise
        finally:
            stash.give_back(self)
        tree.changes += 1
        self.seen = tree.changes

    def erase(self, gfp: int = GFP_KERNEL) -> E | None:
        """Unset the whole range of the entry at `index`, and give that entry; `index`..`last` become its range.

        The range grows over the unset keys on both sides. None if nothing is there. May raise `NoMemory`.
        """
        guard.writer(self.tree)
        index = self.index
        lookup.reset(self)
        while True:
            entry = lookup.state_walk(self, None)
            if entry is None:
                return None
            lookup.reset(self)
            try:
                self._store(None)
            except NoMemory:
                self.index = self.last = index
                if not stash.retry(self, gfp):
                    stash.give_back(self)
                    raise
            else:
                stash.give_back(self)
                return entry  # type: ignore[no-any-return]

    def preallocate(self, entry: E | None, gfp: int = GFP_KERNEL) -> int:
        """Take the nodes that storing `entry` over `index`..`last` can need; gives how many. Raises `NoMemory`.

        Then `store_prealloc` cannot fail, as long as the tree is not changed in between.
        """
        self._writing(entry)
        count = preallocate.worst_case(self, entry)
        try:
            stash.need(self, count, gfp)
        except NoMemory:
            lookup.reset(self)
            stash.give_back(self)
            raise
        return count

    def store_prealloc(self, entry: E | None) -> None:
        """Store over `index`..`last` with the nodes taken by `preallocate`, and give the rest back."""
        self._writing(entry)
        try:
            self._store(entry)
        finally:
            stash.give_back(self)

    def expected_entries(self, count: int) -> None:
        """Get ready to store `count` entries in ascending order: take the nodes, and fill them better than usual.

        Then `store` each, and `destroy` the state in the end. Raises `NoMemory`.
        """
        guard.writer(self.tree)
        try:
            stash.need(self, bulk.nodes_for(count, gaps=self.tree.track_gaps), GFP_KERNEL)
        except NoMemory:
            stash.give_back(self)
            raise
        self.bulk = True

    def empty_area(self, low: int, high: int, size: int) -> None:
        """Set `index`..`last` to the lowest `size` unset keys in a row within `low`..`high`.

        Raises `Busy` if there are none, `BadRange` if the window is too small, `NoGaps` if the tree tracks no
        gaps.
        """
        guard.locked_reader(self.tree)
        gaps.empty_area(self, low, high, size)

    def empty_area_rev(self, low: int, high: int, size: int) -> None:
        """Set `index`..`last` to the highest `size` unset keys in a row within `low`..`high`; raises as
        `empty_area`.
        """
        guard.locked_reader(self.tree)
        gaps.empty_area_rev(self, low, high, size)

    def set(self, index: int) -> None:
        """Go to one key; the next call walks from the root."""
        self.set_range(index, index)

    def set_range(self, first: int, last: int) -> None:
        """Go to a range; the next call walks from the root."""
        check_range(first, last)
        self.index = first
        self.last = last
        lookup.reset(self)

    def reset(self) -> None:
        """Keep the range; the next call walks from the root."""
        lookup.reset(self)

    def pause(self) -> None:
        """Stop in a loop so that the lock may be dropped: the next find goes on behind (or before) this range."""
        self.state = MapleStatus.PAUSE
        self.node = None

    def destroy(self) -> None:
        """End a bulk load, and give back the nodes that the state still holds."""
        if self.bulk:
            guard.writer(self.tree)
            self.bulk = False
            bulk.finish(self)
            self.tree.changes += 1
        stash.give_back(self)

    @property
    def is_active(self) -> bool:
        """It is in a node."""
        return self.state is MapleStatus.ACTIVE

    def __repr__(self) -> str:
        return f"<MaState {self.index}..{self.last} {self.state.name}>"
