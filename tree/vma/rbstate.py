"""A cursor over an `RbStore`: the part of `MaState` that address spaces use."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.tree.core import MAX, StaleState, check_range, guard
from sugarbush.tree.vma.rbtree import RbNode

E = TypeVar("E")


class Ranges(guard.Guarded, Protocol):
    """What a cursor asks of what it goes over, `tree.vma.rbstore.RbStore`."""

    changes: int
    final: RbNode | None

    def find_node(self, index: int) -> RbNode | None:
        """The first range that ends at or after a key."""

    def store_range(self, first: int, last: int, entry: Any, gfp: int = ...) -> None:
        """Put an entry, or None, over a range."""

    def lowest_fit(self, low: int, high: int, size: int) -> int:
        """Where the lowest run of unset keys of this size begins."""

    def highest_fit(self, low: int, high: int, size: int) -> int:
        """Where the highest one begins."""


class RbState(Generic[E]):
    """A cursor: its range is `index`..`last`, and it stands on a range of the list, or nowhere yet."""

    __slots__ = ("_at", "_seen", "index", "last", "store")

    def __init__(self, store: Ranges, first: int = 0, last: int | None = None) -> None:
        self.store = store
        self.set_range(first, first if last is None else last)

    def set_range(self, first: int, last: int) -> None:
        """Go to a range; the next call begins there."""
        check_range(first, last)
        self.index = first
        self.last = last
        self._at: RbNode | None = None
        self._seen = 0

    def _reading(self) -> None:
        # A node of the list that was taken out is still a node with links; only the count tells that they lead nowhere.
        if self._at is not None and self._seen != self.store.changes:
            raise StaleState("the store was changed since this state walked it; set its range first")
        guard.reader(self.store)

    def _stand(self, node: RbNode) -> E:
        self._at = node
        self._seen = self.store.changes
        self.index = node.first
        self.last = node.last
        entry: E = node.entry
        return entry

    def walk(self) -> E | None:
        """The entry at `index`; `index`..`last` become the range there, set or unset."""
        self._at = None
        self._reading()
        after = self.store.find_node(self.index)
        if after is not None and after.first <= self.index:
            return self._stand(after)
        before = self.store.final if after is None else after.prev
        self.index = 0 if before is None else before.last + 1
        self.last = MAX if after is None else after.first - 1
        return None

    def find(self, limit: int = MAX) -> E | None:
        """The entry at or after `index` that begins by `limit`; called again, the next one."""
        self._reading()
        node = self.store.find_node(self.index) if self._at is None else self._at.next
        return self._stand(node) if node is not None and node.first <= limit else None

    def next(self, limit: int = MAX) -> E | None:
        """The entry after the range at `index` that begins by `limit`."""
        self._reading()
        node = self._at if self._at is not None else self.store.find_node(self.index)
        if node is not None and node.first <= self.index:
            node = node.next
        return self._stand(node) if node is not None and node.first <= limit else None

    def prev(self, limit: int = 0) -> E | None:
        """The entry before the range at `index` that ends at or after `limit`."""
        self._reading()
        node = self._at if self._at is not None else self.store.find_node(self.index)
        node = self.store.final if node is None else node.prev
        return self._stand(node) if node is not None and node.last >= limit else None

    def preallocate(self, entry: E | None, gfp: int = GFP_KERNEL) -> int:
        """Nothing to take: the links lie in the VMA."""
        # The call is here so that code above runs on either store.
        del entry, gfp
        return 0

    def store_prealloc(self, entry: E | None) -> None:
        """Store over `index`..`last`."""
        self.store.store_range(self.index, self.last, entry)
        self._at = None

    def store_gfp(self, entry: E | None, gfp: int = GFP_KERNEL) -> None:
        """Store over `index`..`last`."""
        self.store.store_range(self.index, self.last, entry, gfp)
        self._at = None

    def empty_area(self, low: int, high: int, size: int) -> None:
        """Set `index`..`last` to the lowest fit; raises `Busy`, `BadRange`."""
        guard.locked_reader(self.store)
        first = self.store.lowest_fit(low, high, size)
        self.set_range(first, first + size - 1)

    def empty_area_rev(self, low: int, high: int, size: int) -> None:
        """Set `index`..`last` to the highest fit; raises `Busy`, `BadRange`."""
        guard.locked_reader(self.store)
        first = self.store.highest_fit(low, high, size)
        self.set_range(first, first + size - 1)

    def destroy(self) -> None:
        """Nothing to give back."""

    def __repr__(self) -> str:
        return f"<RbState {self.index}..{self.last}>"
