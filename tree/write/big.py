"""The scratch node in which a store gathers what it is about to divide among new nodes, and how it divides it.

Models struct maple_big_node, mab_calc_split() and mab_no_null_split(), v6.6. There it has 34 slots, on the stack: two
full leaves and what a store adds. Here it has three lists, of the length in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sugarbush.tree.core import LEAF_64, MIN_SLOTS, SLOTS, MapleNode, max_gap

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor


class BigNode:
    """Slots, pivots, and for inner nodes of a gap tree gaps, of more than one node.

    The new nodes of the level below stand side by side in it, `new_count` of them from slot `new_at` on; at the level
    of the leaves there are none.

    A leaf that should hold 17 entries is split after the ninth, since both parts should be as large as possible:

    >>> from types import SimpleNamespace
    >>> mas = SimpleNamespace(bulk=False)
    >>> entries, ends = [f"e{n}" for n in range(17)], list(range(9, 179, 10))
    >>> BigNode(LEAF_64, entries, ends, None).split_offset(mas)
    (8, 0)

    If the ninth slot is unset, one slot more goes to the left: only the last leaf of a tree ends unset.

    >>> entries[8] = None
    >>> BigNode(LEAF_64, entries, ends, None).split_offset(mas)
    (9, 0)

    What two full leaves and one entry more hold, 33 slots, does not fit in two leaves: three of 11, 10 and 12.

    >>> entries, ends = [f"e{n}" for n in range(33)], list(range(9, 339, 10))
    >>> BigNode(LEAF_64, entries, ends, None).split_offset(mas)
    (10, 20)
    """

    __slots__ = ("gaps", "kind", "new_at", "new_count", "pivots", "slots")

    def __init__(self, kind: int, slots: list[Any], pivots: list[int], gaps: list[int] | None) -> None:
        self.kind = kind
        self.slots = slots
        self.pivots = pivots
        self.gaps = gaps
        # Set now, while only what stands before the new nodes is here; `prepend` moves it on. New nodes learn their
        # parent in `fill`, where nobody can reach them yet. The others hang in the tree, and are told after it is
        # published.
        self.new_at = len(slots)
        self.new_count = 0

    def append(self, node: MapleNode, first: int = 0) -> None:
        """Add the slots of `node` from slot `first` on."""
        self.slots += node.slots[first:]
        self.pivots += node.pivots[first:]
        if self.gaps is not None and node.gaps is not None:
            self.gaps += node.gaps[first:]

    def prepend(self, node: MapleNode) -> None:
        """Put the slots of `node` in front."""
        self.slots[:0] = node.slots
        self.pivots[:0] = node.pivots
        if self.gaps is not None and node.gaps is not None:
            self.gaps[:0] = node.gaps
        self.new_at += len(node.slots)

    def add_child(self, node: MapleNode, low: int) -> int:
        """Add a new node of the level below, which begins at key `low`, as one slot; gives the key after its last."""
        last = node.pivots[-1]
        self.slots.append(node)
        self.pivots.append(last)
        if self.gaps is not None:
            self.gaps.append(max_gap(node, low))
        self.new_count += 1
        return last + 1

    def fill(self, node: MapleNode, begin: int, end: int) -> None:
        """Give a new node the slots from `begin` to before `end`; the new nodes among them learn their parent."""
        gaps = None if self.gaps is None else self.gaps[begin:end]
        node.fill(self.kind, self.slots[begin:end], self.pivots[begin:end], gaps)
        for at in range(max(begin, self.new_at), min(end, self.new_at + self.new_count)):
            self.slots[at].up = (node, at - begin)

    def split_offset(self, mas: Cursor) -> tuple[int, int]:
        """The last slot of the left node, and that of the middle node if three are needed (else 0).

        The parts are as equal as possible, and none ends unset. In a bulk load the right part is as small as can be:
        what is stored next goes there.
        """
        end = len(self.slots) - 1
        if mas.bulk:
            split = end - MIN_SLOTS[self.kind]
            if self.kind == LEAF_64:
                mas.uneven = True
            return split - (self.slots[split] is None), 0
        limit = SLOTS[self.kind]
        split = end // 2
        middle = 0
        # Three, if two cannot hold it; or if they just could, but the split falls on an unset slot, since to move it
        # makes one of the two parts too large (mab_calc_split()).
        if end >= 2 * limit or (self.slots[split] is None and end >= 2 * limit - 1):
            split = end // 3
            middle = self.not_at_null(2 * split, end)
        return self.not_at_null(split, end), middle

    def not_at_null(self, split: int, end: int) -> int:
        """Move a split so that the left part does not end unset; `end` is how far the scratch node counts."""
        if self.slots[split] is not None:
            return split
        # To the right while the left part has room and the right one keeps enough; else to the left. Never further
        # than one slot, since no two unset slots stand side by side.
        if split < SLOTS[self.kind] - 1 and end - split > MIN_SLOTS[self.kind]:
            return split + 1
        return split - 1


def before(node: MapleNode, slot: int) -> BigNode:
    """A scratch node with what stands in `node` before a slot."""
    gaps = None if node.gaps is None else node.gaps[:slot]
    return BigNode(node.kind, node.slots[:slot], node.pivots[:slot], gaps)
