"""What the maple tree replaced: an augmented red-black tree, a linked list, and a small cache per task.

Models how mm/mmap.c and mm/vmacache.c kept VMAs up to v6.0: find_vma(), vma_link(), __vma_adjust(), unmapped_area().
One lock, no lock-free readers, no allocation of its own: the links lie in the VMA.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from sugarbush.concurrency.core import Task, current_task
from sugarbush.concurrency.locks import Spinlock
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.tree.core import (
    MAX,
    BadRange,
    Busy,
    Corrupt,
    Exists,
    RangeMapping,
    TreeLock,
    check_key,
    check_range,
    guard,
)
from sugarbush.tree.vma.rbstate import RbState
from sugarbush.tree.vma.rbtree import RbNode, RbTree, in_order

E = TypeVar("E")

CACHE_SIZE = 4
CACHE_SHIFT = 12
"""A key is cached in the slot that its page number says (VMACACHE_HASH)."""


class RbStore(RangeMapping[E]):
    """Ranges in a red-black tree and a list, with the same face as `MapleTree` (see `VmaStore`)."""

    rcu = False

    def __init__(self, lock: TreeLock | None = None) -> None:
        self.external = lock is not None
        self.lock: TreeLock = Spinlock("rb_lock") if lock is None else lock
        self.tree = RbTree()
        self.first: RbNode | None = None
        self.final: RbNode | None = None
        self.changes = 0
        self._cache: dict[Task, tuple[int, list[RbNode | None]]] = {}

    # -- looking ------------------------------------------------------------------------------------------------

    def find_node(self, index: int) -> RbNode | None:
        """The first range that ends at or after a key (`find_vma`): out of the task's cache, or down the tree."""
        # One cache for each task, thrown away when anything has changed (vmacache_valid()): a count is compared,
        # since nobody could empty the caches of tasks that are asleep.
        task = current_task()
        seen, cache = self._cache.get(task, (-1, []))
        if seen != self.changes:
            cache = [None] * CACHE_SIZE
            self._cache[task] = self.changes, cache
        for cached in cache:
            if cached is not None and cached.first <= index <= cached.last:
                return cached
        found = None
        node = self.tree.root
        while node is not None:
            if node.last >= index:
                found = node
                if node.first <= index:
                    break
                node = node.left
            else:
                node = node.right
        if found is not None:
            cache[(index >> CACHE_SHIFT) % CACHE_SIZE] = found
        return found

    def load(self, index: int) -> E | None:
        """The entry at a key, or None."""
        check_key(index)
        guard.reader(self)
        node = self.find_node(index)
        return None if node is None or node.first > index else node.entry

    def ranges(self, first: int = 0, last: int = MAX) -> Iterator[tuple[int, int, E]]:
        """The entries that overlap `first`..`last`, in order, each as (first, last, entry)."""
        check_range(first, last)
        guard.reader(self)
        node = self.find_node(first)
        while node is not None and node.first <= last:
            yield node.first, node.last, node.entry
            node = node.next

    def shown(self) -> Iterator[tuple[int, int, E]]:
        """As `ranges`, without lock and steps."""
        node = self.first
        while node is not None:
            yield node.first, node.last, node.entry
            node = node.next

    @property
    def empty(self) -> bool:
        """Nothing is stored."""
        return self.first is None

    def cursor(self, first: int = 0, last: int | None = None) -> RbState[E]:
        """A cursor at a range."""
        return RbState(self, first, last)

    # -- changing -----------------------------------------------------------------------------------------------

    def store_range(self, first: int, last: int, entry: E | None, gfp: int = GFP_KERNEL) -> None:
        """Store at the keys `first`..`last`, over whatever is there; None unsets them.

        An entry that lies in the range already is not taken out and put back: only its ends move.
        """
        del gfp
        check_range(first, last)
        guard.writer(self)
        node = self.find_node(first)
        kept: RbNode | None = None
        while node is not None and node.first <= last:
            following = node.next
            if (
                kept is None
                and entry is not None
                and node.entry is entry
                and first <= node.first
                and node.last <= last
            ):
                kept = node
            else:
                self._cut(node, first, last)
            node = following
        if kept is not None:
            self._stretch(kept, first, last)
        elif entry is not None:
            self._link(RbNode(first, last, entry))
        self.changes += 1

    def insert_range(self, first: int, last: int, entry: E) -> None:
        """Store at keys that are all unset, or raise `Exists`."""
        check_range(first, last)
        guard.writer(self)
        node = self.find_node(first)
        if node is not None and node.first <= last:
            raise Exists(f"a key of {first}..{last} is already set")
        self._link(RbNode(first, last, entry))
        self.changes += 1

    def erase(self, index: int) -> E | None:
        """Unset the whole range of the entry at a key, and give the entry."""
        check_key(index)
        guard.writer(self)
        node = self.find_node(index)
        if node is None or node.first > index:
            return None
        self._unlink(node)
        self.changes += 1
        entry: E = node.entry
        return entry

    def destroy(self) -> None:
        """Empty it."""
        guard.writer(self)
        self.changes += 1
        self.tree = RbTree()
        self.first = self.final = None

    def _cut(self, node: RbNode, first: int, last: int) -> None:
        """Take the keys `first`..`last` from a range: all of it, an end, or the middle (`__vma_adjust`)."""
        if node.first < first:
            tail = node.last
            node.last = first - 1
            self.tree.gap_changed(node.next)
            if tail > last:
                self._link(RbNode(last + 1, tail, node.entry))
        elif node.last > last:
            node.first = last + 1
            self.tree.gap_changed(node)
        else:
            self._unlink(node)

    def _stretch(self, node: RbNode, first: int, last: int) -> None:
        """Move the ends of a range over keys that nobody else has (`__vma_adjust`)."""
        if node.first != first:
            node.first = first
            self.tree.gap_changed(node)
        if node.last != last:
            node.last = last
            self.tree.gap_changed(node.next)

    def _link(self, node: RbNode) -> None:
        """Put a range where nothing is (`vma_link`): find its place, then the list, the gaps, the tree."""
        parent, left, before = None, False, None
        here = self.tree.root
        while here is not None:
            parent = here
            left = node.first < here.first
            if left:
                here = here.left
            else:
                before = here
                here = here.right
        after = self.first if before is None else before.next
        node.prev, node.next = before, after
        if before is None:
            self.first = node
        else:
            before.next = node
        if after is None:
            self.final = node
        else:
            after.prev = node
        # The range behind has a smaller gap now; it is told before the new node hangs in the tree, so that no
        # sub-tree is balanced by a record that is out of date (`vma_gap_update` in __vma_link_rb()).
        self.tree.gap_changed(after)
        self.tree.insert(node, parent, left=left)

    def _unlink(self, node: RbNode) -> None:
        """Take a range out (`__vma_unlink`)."""
        # Out of the tree first, as there: gaps are counted by the list. Were it changed before, a rotation would count
        # the new gap of the node behind, but tell it to none above; told of it afterwards, that node has it already.
        self.tree.erase(node)
        if node.prev is None:
            self.first = node.next
        else:
            node.prev.next = node.next
        if node.next is None:
            self.final = node.prev
        else:
            node.next.prev = node.prev
        self.tree.gap_changed(node.next)

    # -- gaps ---------------------------------------------------------------------------------------------------

    def lowest_fit(self, low: int, high: int, size: int) -> int:
        """The first of the lowest `size` unset keys in a row within a window (`unmapped_area`)."""
        _check_window(low, high, size)
        found = self._lowest(self.tree.root, low, high, size)
        if found is None:
            above = self.final.last + 1 if self.final is not None else 0
            found = max(above, low)
            if found + size - 1 > high:
                raise Busy(f"no {size} unset keys in a row in {low}..{high}")
        return found

    def _lowest(self, node: RbNode | None, low: int, high: int, size: int) -> int | None:
        while node is not None and node.subtree_gap >= size:
            # Left of a range that begins at or below the window every gap ends before it.
            if node.first > low:
                found = self._lowest(node.left, low, high, size)
                if found is not None:
                    return found
            begin = max(node.first - node.gap, low)
            if begin > high:
                return None
            if min(node.first - 1, high) - begin >= size - 1:
                return begin
            node = node.right
        return None

    def highest_fit(self, low: int, high: int, size: int) -> int:
        """The first of the highest `size` unset keys in a row within a window (`unmapped_area_topdown`)."""
        _check_window(low, high, size)
        above = self.final.last + 1 if self.final is not None else 0
        if high - max(above, low) >= size - 1:
            return high - size + 1
        found = self._highest(self.tree.root, low, high, size)
        if found is None:
            raise Busy(f"no {size} unset keys in a row in {low}..{high}")
        return found

    def _highest(self, node: RbNode | None, low: int, high: int, size: int) -> int | None:
        while node is not None and node.subtree_gap >= size:
            if node.last < high:
                found = self._highest(node.right, low, high, size)
                if found is not None:
                    return found
            end = min(node.first - 1, high)
            if end - max(node.first - node.gap, low) >= size - 1:
                return end - size + 1
            if node.first <= low:
                return None
            node = node.left
        return None

    def validate(self) -> None:
        """Raise `Corrupt` unless order, list, colours and gaps are right (`validate_mm`, `validate_mm_rb`)."""
        listed = []
        node, before = self.first, None
        while node is not None:
            if node.prev is not before or (before is not None and before.last >= node.first):
                raise Corrupt(f"{node!r} does not follow {before!r} in the list")
            listed.append(node)
            node, before = node.next, node
        if self.final is not before:
            raise Corrupt("the end of the list is not its last element")
        if in_order(self.tree.root)[1] != listed:
            raise Corrupt("the tree and the list do not hold the same ranges")


def _check_window(low: int, high: int, size: int) -> None:
    check_key(low)
    check_key(high)
    if low > high or size <= 0 or high - low < size - 1:
        raise BadRange(f"no window of {size} keys fits in {low}..{high}")
