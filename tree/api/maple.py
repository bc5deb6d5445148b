"""The maple tree and its normal interface, which locks by itself.

Models struct maple_tree and the mtree_*() and mt_*() calls of v6.6 (include/linux/maple_tree.h,
lib/maple_tree.c). With an external lock the caller holds it, and it is checked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from sugarbush.concurrency.core import active
from sugarbush.concurrency.rcu import rcu_reader
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.tree.api.state import MaState
from sugarbush.tree.core import (
    MAX,
    Busy,
    Exists,
    InternalEntry,
    LockKind,
    MapleNode,
    NodeSource,
    RangeMapping,
    TreeBody,
    TreeLock,
    TwoLocks,
    check_allocatable,
    check_key,
    check_range,
    check_storable,
    entries_below,
    guard,
)
from sugarbush.tree.show import dump, validate
from sugarbush.tree.write import destroy_subtree, duplicate, set_root, store_alone

E = TypeVar("E")

NOTHING = nullcontext()
# The class of a second tree's lock is that of the first: without a subclass lockdep would call the pair a recursion.
SINGLE_DEPTH_NESTING = 1


class MapleTree(TreeBody, RangeMapping[E]):
    """A map from ranges of keys (0..2**64-1, both ends included) to entries; unset keys are None.

    `track_gaps` records the largest run of unset keys of every sub-tree, for the gap searches. `rcu` lets
    readers go on without the lock beside a writer. `lock` is the lock that the callers hold, by default one
    of the tree's own, taken as `lock_kind` says. `source` is where nodes come from, by default the slab cache
    of the execution, or plain objects outside one.
    """

    def __init__(
        self,
        track_gaps: bool = False,
        rcu: bool = False,
        lock: TreeLock | None = None,
        *,
        source: NodeSource | None = None,
        lock_kind: LockKind = LockKind.PLAIN,
    ) -> None:
        if lock is not None and lock_kind is not LockKind.PLAIN:
            raise TwoLocks("lock_kind is for the tree's own lock, and this tree is given one")
        super().__init__(track_gaps, rcu, lock, source, lock_kind)

    def cursor(self, first: int = 0, last: int | None = None) -> MaState[E]:
        """A cursor at a range (`MA_STATE`)."""
        return MaState(self, first, last)

    def set_in_rcu(self) -> None:
        """Enter RCU mode (`mt_set_in_rcu`)."""
        with self._write_locked():
            guard.writer(self)
            self.rcu = True

    def clear_in_rcu(self) -> None:
        """Leave RCU mode; no lock-free reader may be under way (`mt_clear_in_rcu`)."""
        with self._write_locked():
            guard.writer(self)
            self.rcu = False

    def load(self, index: int) -> E | None:
        """The entry at a key; None for the zero entry as well (`mtree_load`)."""
        # Outside an execution, with a lock of its own, there is nobody to check and nobody to step for. A cursor
        # would take as long as the walk.
        if self.external or active.runtime is not None:
            return self._load_checked(index)
        if type(index) is not int or not 0 <= index <= MAX:
            check_key(index)
        here = self.root
        height = self.height
        if not height:
            here = None if index else here
        while height:
            here = here.slots[bisect_left(here.pivots, index)]
            height -= 1
        return None if isinstance(here, InternalEntry) else here

    def _load_checked(self, index: int) -> E | None:
        mas: MaState[E] = MaState(self, index)
        with self._reading():
            entry = mas.walk()
        return None if isinstance(entry, InternalEntry) else entry

    def store(self, index: int, entry: E | None, gfp: int = GFP_KERNEL) -> None:
        """Store at one key, over whatever is there; None unsets it (`mtree_store`). Raises `NoMemory`."""
        self.store_range(index, index, entry, gfp)

    def store_range(self, first: int, last: int, entry: E | None, gfp: int = GFP_KERNEL) -> None:
        """Store at all keys `first`..`last`, over whatever is there (`mtree_store_range`).

        Raises `BadRange`, `BadKey`, `ReservedEntry`, `NoMemory`.
        """
        if isinstance(entry, (MapleNode, InternalEntry)):
            check_storable(entry)
        if self.plain and self.height and not self.external and entry is not None and active.runtime is None:
            if type(first) is not int or type(last) is not int or not 0 <= first <= last <= MAX:
                check_range(first, last)
            if store_alone(self, first, last, entry):
                self.changes += 1
                return
        mas: MaState[E] = MaState(self, first, last)
        with self._write_locked():
            mas.store_gfp(entry, gfp)

    def insert(self, index: int, entry: E | None, gfp: int = GFP_KERNEL) -> None:
        """Store at one key that is unset (`mtree_insert`); raises as `insert_range`."""
        self.insert_range(index, index, entry, gfp)

    def insert_range(self, first: int, last: int, entry: E | None, gfp: int = GFP_KERNEL) -> None:
        """Store at the keys `first`..`last`, all of them unset (`mtree_insert_range`).

        Raises `Exists` if one is set, and what `store_range` raises.
        """
        check_storable(entry)
        mas: MaState[E] = MaState(self, first, last)
        with self._write_locked():
            mas.insert_gfp(entry, gfp)

    def alloc_range(self, entry: E, size: int, low: int = 0, high: int = MAX, gfp: int = GFP_KERNEL) -> int:
        """Store at the lowest `size` unset keys in a row within `low`..`high`; gives the first (`mtree_alloc_range`).

        Raises `Busy` if there is no such gap, `BadRange` if the window is too small for it, `NoGaps` if the
        tree does not track gaps, `ReservedEntry`, `NoMemory`.
        """
        return self._alloc(entry, size, low, high, gfp, highest=False)

    def alloc_rrange(self, entry: E, size: int, low: int = 0, high: int = MAX, gfp: int = GFP_KERNEL) -> int:
        """As `alloc_range`, for the highest gap (`mtree_alloc_rrange`)."""
        return self._alloc(entry, size, low, high, gfp, highest=True)

    def alloc_cyclic(
        self, entry: E, after: int, low: int = 0, high: int = MAX, gfp: int = GFP_KERNEL
    ) -> tuple[int, int]:
        """Store at the lowest unset key from `after` to `high`, or else from `low` on (`mtree_alloc_cyclic`, v6.12).

        Gives the key, and what to pass as `after` next time: ids are used again as late as possible. Raises `Busy` if
        all of `low`..`high` is set, `BadRange`, `NoGaps`, `ReservedEntry`, `NoMemory`.
        """
        check_range(low, high)
        after = max(after, low)
        if after > high:
            after = low
        try:
            first = self.alloc_range(entry, 1, after, high, gfp)
        except Busy:
            if after == low:
                raise
            first = self.alloc_range(entry, 1, low, after - 1, gfp)
        return first, 0 if first == MAX else first + 1

    def _alloc(self, entry: E, size: int, low: int, high: int, gfp: int, *, highest: bool) -> int:
        check_allocatable(entry)
        mas: MaState[E] = MaState(self)
        with self._write_locked():
            while True:
                if highest:
                    mas.empty_area_rev(low, high, size)
                else:
                    mas.empty_area(low, high, size)
                first = mas.index
                try:
                    mas.insert_gfp(entry, gfp)
                except Exists:
                    continue  # somebody took it while the lock was dropped for an allocation
                return first

    def erase(self, index: int) -> E | None:
        """Unset the whole range of the entry at `index`, and give the entry; None if there is none (`mtree_erase`).

        Raises `NoMemory`.
        """
        mas: MaState[E] = MaState(self, index)
        with self._write_locked():
            return mas.erase()

    def find(self, index: int, limit: int = MAX) -> tuple[E | None, int]:
        """The first entry at or after `index` that begins at or before `limit`, and the key where to go on
        (`mt_find`).

        The key is the one after the entry's last, 0 when that was the largest; it is `index` if nothing is
        found.
        """
        if index > limit:
            check_key(index)
            return None, index
        mas: MaState[E] = MaState(self, index)
        with self._reading():
            entry = mas.walk()
            while (entry is None or isinstance(entry, InternalEntry)) and mas.is_active and mas.last < limit:
                entry = mas.next(limit)
        if entry is None or isinstance(entry, InternalEntry):
            return None, index
        return entry, 0 if mas.last == MAX else mas.last + 1

    def find_after(self, index: int, limit: int = MAX) -> tuple[E | None, int]:
        """As `find`, but nothing at `index` 0, where a loop over all keys has come round (`mt_find_after`)."""
        return self.find(index, limit) if index else (None, index)

    def next(self, index: int, limit: int = MAX) -> E | None:
        """The first entry that begins after the range at `index` and by `limit` (`mt_next`)."""
        mas: MaState[E] = MaState(self, index)
        with self._reading():
            return mas.next(limit)

    def prev(self, index: int, limit: int = 0) -> E | None:
        """The last entry that ends before the range at `index` and not before `limit` (`mt_prev`)."""
        mas: MaState[E] = MaState(self, index)
        with self._reading():
            return mas.prev(limit)

    @property
    def empty(self) -> bool:
        """Nothing is stored (`mtree_empty`)."""
        return self.root is None

    def destroy(self) -> None:
        """Free all nodes (`mtree_destroy`)."""
        with self._write_locked():
            guard.writer(self)
            root = self.root
            set_root(self, None, 0)
            self.changes += 1
            if isinstance(root, MapleNode):
                destroy_subtree(self, root)

    def ranges(self, first: int = 0, last: int = MAX) -> Iterator[tuple[int, int, E]]:
        """The entries that overlap `first`..`last`, in order, each as (first, last, entry)."""
        mas: MaState[E] = MaState(self, first)
        entry = mas.find(last)
        while entry is not None:
            if not isinstance(entry, InternalEntry):
                yield mas.index, mas.last, entry
            entry = mas.find(last)

    def shown(self) -> Iterator[tuple[int, int, E]]:
        """As `ranges`, for a person who looks from outside: no lock, no steps, and the zero entry too."""
        if isinstance(self.root, MapleNode):
            yield from entries_below(self.root, 0)
        elif self.root is not None:
            yield 0, 0, self.root

    def dup(self, into: MapleTree[E], gfp: int = GFP_KERNEL) -> None:
        """Copy this tree, node for node, into an empty one (`mtree_dup`, v6.12). Raises `BadRange`, `NoMemory`."""
        with self._write_locked(), into._write_locked_inside(self):
            guard.locked_reader(self)
            guard.writer(into)
            duplicate(self, into, gfp)

    def validate(self) -> None:
        """Raise `Corrupt`, saying what and where, unless the tree is well formed (`mt_validate`)."""
        validate(self)

    def dump(self, *, hexadecimal: bool = False) -> str:
        """All nodes and entries as text, in the kernel's format (`mt_dump`)."""
        return dump(self, hexadecimal=hexadecimal)

    def _reading(self) -> AbstractContextManager[None]:
        """What a look-up of the normal interface runs in: an RCU reader, unless the caller holds the lock."""
        alone = active.runtime is None and not self.external
        return NOTHING if alone or self.lock.held_by_me() else rcu_reader()

    def _write_locked(self) -> AbstractContextManager[object]:
        """What a write of the normal interface runs in: the tree's own lock, or the caller's, which is checked."""
        if active.runtime is None or self.external:
            return NOTHING
        return self._own_lock if self.lock_kind is LockKind.PLAIN else self.lock_kind.held(self._own_lock)

    def _write_locked_inside(self, outer: MapleTree[E]) -> AbstractContextManager[object]:
        """As `_write_locked`, with the lock of another tree held (`mas_lock_nested`)."""
        if active.runtime is None or self.external:
            return NOTHING
        # Interrupts are off already, and to turn them on again when the inner lock is given back would be too early.
        irqs_off = outer.lock_kind is LockKind.IRQ
        kind = LockKind.PLAIN if irqs_off else self.lock_kind
        return kind.held(self._own_lock, SINGLE_DEPTH_NESTING)
