"""Whether a tree is well formed, node by node.

Models mt_validate(), v6.6, and adds what it leaves out: that the recorded height is the real one, that all
leaves lie at one depth, that the root's parent word names the tree, and that no node is reached twice. The
rules on what lies beyond a node's end have no counterpart, since here a node has no slots beyond its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sugarbush.tree.core import (
    ARANGE_64,
    KIND_NAMES,
    LEAF_64,
    MAX,
    MIN_SLOTS,
    RANGE_64,
    SLOTS,
    Corrupt,
    MapleNode,
    max_gap,
)

if TYPE_CHECKING:
    from sugarbush.tree.core import TreeBody


def validate(tree: TreeBody) -> None:
    """Raise `Corrupt`, saying what and where, unless the tree is well formed. Needs the lock."""
    if not isinstance(tree.root, MapleNode):
        _require(tree.height == 0, f"a tree without nodes has height {tree.height}")
        return
    _require(tree.root.up == (tree, 0), "the root does not name the tree as its parent")
    _Check(tree).node(tree.root, 0, MAX, 1)


def _require(condition: object, message: str) -> None:
    if not condition:
        raise Corrupt(message)


class _Check:
    """One walk over all nodes, left to right."""

    def __init__(self, tree: TreeBody) -> None:
        self.tree = tree
        self.inner_kind = ARANGE_64 if tree.track_gaps else RANGE_64
        # By id(): a node that is reached twice would otherwise be checked twice, or, in a circle, without end.
        self.seen: set[int] = set()
        self.ended_unset = False

    def node(self, node: Any, low: int, high: int, depth: int) -> None:
        """Check a node that should hold the keys `low`..`high`, and all below it."""
        where = f"node {low}..{high} at depth {depth - 1}"
        _require(isinstance(node, MapleNode), f"{where}: {node!r} stands where a node should")
        _require(id(node) not in self.seen, f"{where}: reached twice")
        self.seen.add(id(node))
        _require(not node.is_dead, f"{where}: dead, but still in the tree")
        leaf = depth == self.tree.height
        kind = LEAF_64 if leaf else self.inner_kind
        _require(
            node.kind == kind,
            f"{where}: is a {KIND_NAMES[node.kind]} where height {self.tree.height} wants a {KIND_NAMES[kind]}",
        )
        count = len(node.slots)
        _require(0 < count <= SLOTS[kind], f"{where}: holds {count} slots")
        _require(len(node.pivots) == count, f"{where}: {len(node.pivots)} pivots for {count} slots")
        _require(
            count > MIN_SLOTS[kind] or high == MAX,
            f"{where}: holds only {count} slots and is not the right-most",
        )
        _require(node.pivots[-1] == high, f"{where}: its last pivot is {node.pivots[-1]}")
        begin = low
        for slot, pivot in enumerate(node.pivots):
            _require(low <= pivot <= high, f"{where}: pivot {slot} is {pivot}, after {low - 1}")
            # From left to right through all leaves, so that `_entry` sees two unset ranges side by side where they
            # lie in two leaves, as well.
            if leaf:
                self._entry(node.slots[slot], low, pivot)
            else:
                child = node.slots[slot]
                _require(isinstance(child, MapleNode), f"{where}: slot {slot} has {child!r}, not a node")
                _require(
                    child.is_dead or (child.up[0] is node and child.up[1] == slot),
                    f"{where}: the child in slot {slot} names another place as its parent",
                )
                self.node(child, low, pivot, depth + 1)
            low = pivot + 1
        self._gaps(node, begin, where)

    def _entry(self, entry: Any, first: int, last: int) -> None:
        _require(not isinstance(entry, MapleNode), f"{first}..{last}: a node stands where an entry should")
        _require(entry is not None or not self.ended_unset, f"{first}..{last}: unset, after an unset range")
        self.ended_unset = entry is None

    def _gaps(self, node: MapleNode, low: int, where: str) -> None:
        if node.kind != ARANGE_64:
            _require(node.gaps is None, f"{where}: has gaps that a {KIND_NAMES[node.kind]} does not")
            return
        gaps = node.gaps
        _require(gaps is not None and len(gaps) == len(node.slots), f"{where}: has not one gap for each slot")
        assert gaps is not None
        for slot, gap in enumerate(gaps):
            pivot = node.pivots[slot]
            _require(gap <= pivot - low + 1, f"{where}: gap {slot} is {gap}, wider than its slot")
            child = node.slots[slot]
            if isinstance(child, MapleNode):
                real = max_gap(child, low)
                _require(gap == real, f"{where}: gap {slot} is {gap}, but its node has one of {real}")
            low = pivot + 1
        _require(
            0 <= node.gap_offset < len(gaps) and gaps[node.gap_offset] == max(gaps),
            f"{where}: the largest gap is not in slot {node.gap_offset}",
        )
