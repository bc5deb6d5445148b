"""A red-black tree of ranges that knows, for every sub-tree, the largest gap below one of its ranges.

Models lib/rbtree.c with the augmentation of mm/mmap.c (`rb_subtree_gap`), v6.0: the node lies in the VMA, so it
costs no memory of its own, and is also an element of a linked list.
"""

from __future__ import annotations

from typing import Any

from sugarbush.tree.core import Corrupt


class RbNode:
    """A range with its entry, in the tree and in the list.

    `subtree_gap` is the largest number of free keys just below a range of the sub-tree.
    """

    __slots__ = (
        "entry",
        "first",
        "last",
        "left",
        "next",
        "parent",
        "prev",
        "red",
        "right",
        "subtree_gap",
    )

    def __init__(self, first: int, last: int, entry: Any) -> None:
        self.first = first
        self.last = last
        self.entry = entry
        self.left: RbNode | None = None
        self.right: RbNode | None = None
        self.parent: RbNode | None = None
        self.red = True
        self.subtree_gap = 0
        self.prev: RbNode | None = None
        self.next: RbNode | None = None

    @property
    def gap(self) -> int:
        """The free keys between the range before and this one (`vma_compute_gap`)."""
        return self.first if self.prev is None else self.first - self.prev.last - 1

    def __repr__(self) -> str:
        return f"<RbNode {self.first}..{self.last}>"


class RbTree:
    """The tree proper: links, colours and gaps. The caller keeps the list, and says when a gap has changed."""

    __slots__ = ("root",)

    def __init__(self) -> None:
        self.root: RbNode | None = None

    def insert(self, node: RbNode, parent: RbNode | None, *, left: bool) -> None:
        """Hang a new node, which is in the list already, below `parent`, and balance."""
        node.parent = parent
        node.left = node.right = None
        node.red = True
        node.subtree_gap = 0
        if parent is None:
            self.root = node
        elif left:
            parent.left = node
        else:
            parent.right = node
        self.gap_changed(node)
        self._balance_after_insert(node)

    def gap_changed(self, node: RbNode | None) -> None:
        """The gap below a node has changed: tell the nodes above, as far as it matters."""
        while node is not None:
            gap = largest_gap(node)
            if gap == node.subtree_gap:
                return
            node.subtree_gap = gap
            node = node.parent

    # The textbook rules, with left and right folded into one by `on_left`; mm/ uses lib/rbtree.c, which writes them
    # out twice. Only a rotation moves gaps, so only `_rotate` keeps them: recolouring leaves every sub-tree what it
    # was.
    def _balance_after_insert(self, node: RbNode) -> None:
        while (parent := node.parent) is not None and parent.red:
            above = parent.parent
            assert above is not None  # the root is black
            on_left = parent is above.left
            uncle = above.right if on_left else above.left
            if uncle is not None and uncle.red:
                parent.red = uncle.red = False
                above.red = True
                node = above
                continue
            if node is (parent.right if on_left else parent.left):
                self._rotate(parent, to_left=on_left)
                node, parent = parent, node
            parent.red = False
            above.red = True
            self._rotate(above, to_left=not on_left)
            break
        assert self.root is not None
        self.root.red = False

    def _rotate(self, node: RbNode, *, to_left: bool) -> None:
        """Exchange a node and one of its children; the gap of the pair stays with the upper one."""
        child = node.right if to_left else node.left
        assert child is not None
        moved = child.left if to_left else child.right
        if to_left:
            node.right = moved
            child.left = node
        else:
            node.left = moved
            child.right = node
        if moved is not None:
            moved.parent = node
        self._replace(node, child)
        node.parent = child
        # The pair has the same nodes below it as before, so the upper one's record moves and only the lower one is
        # counted.
        child.subtree_gap = node.subtree_gap
        node.subtree_gap = largest_gap(node)

    def _replace(self, node: RbNode, other: RbNode | None) -> None:
        """Put `other` where `node` hangs."""
        parent = node.parent
        if parent is None:
            self.root = other
        elif node is parent.left:
            parent.left = other
        else:
            parent.right = other
        if other is not None:
            other.parent = parent

    def erase(self, node: RbNode) -> None:
        """Take a node out, and balance. It leaves the list after this, and then the node behind it has another gap."""
        heir: RbNode | None = None
        if node.left is not None and node.right is not None:
            heir = node.right
            while heir.left is not None:
                heir = heir.left
            child, was_red = heir.right, heir.red
            parent = heir.parent
            if parent is node:
                parent = heir
            else:
                self._replace(heir, child)
                heir.right = node.right
                node.right.parent = heir
            self._replace(node, heir)
            heir.left = node.left
            node.left.parent = heir
            heir.red = node.red
            heir.subtree_gap = node.subtree_gap
        else:
            child = node.left if node.left is not None else node.right
            parent, was_red = node.parent, node.red
            self._replace(node, child)
        # From below upwards, and before balancing: rotations take the records of their children for right. The heir
        # is told by itself, since it has other children now even where nothing changed below it.
        self.gap_changed(parent)
        self.gap_changed(heir)
        if not was_red:
            self._balance_after_erase(child, parent)

    def _balance_after_erase(self, node: RbNode | None, parent: RbNode | None) -> None:
        while parent is not None and (node is None or not node.red):
            on_left = node is parent.left
            sibling = parent.right if on_left else parent.left
            assert sibling is not None  # its side has one more black node
            if sibling.red:
                sibling.red = False
                parent.red = True
                self._rotate(parent, to_left=on_left)
                sibling = parent.right if on_left else parent.left
                assert sibling is not None
            near, far = (sibling.left, sibling.right) if on_left else (sibling.right, sibling.left)
            if not (near is not None and near.red) and not (far is not None and far.red):
                sibling.red = True
                node, parent = parent, parent.parent
                continue
            if not (far is not None and far.red):
                assert near is not None
                near.red = False
                sibling.red = True
                self._rotate(sibling, to_left=not on_left)
                sibling, far = near, sibling
            sibling.red = parent.red
            parent.red = False
            assert far is not None
            far.red = False
            self._rotate(parent, to_left=on_left)
            return
        if node is not None:
            node.red = False


def in_order(node: RbNode | None, parent: RbNode | None = None) -> tuple[int, list[RbNode]]:
    """How many black nodes lie on each way down, and all nodes in order.

    Raises `Corrupt` if a colour, a link or a gap of the sub-tree is wrong.
    """
    if node is None:
        return 0, []
    if node.parent is not parent:
        raise Corrupt(f"{node!r} has another parent than the node it hangs below")
    if node.red and (parent is None or parent.red):
        raise Corrupt(f"{node!r} is red, and so is what is above it, or nothing is")
    if node.subtree_gap != largest_gap(node):
        raise Corrupt(f"{node!r} records a gap of {node.subtree_gap}, but has one of {largest_gap(node)}")
    blacks, before = in_order(node.left, node)
    others, after = in_order(node.right, node)
    if blacks != others:
        raise Corrupt(f"{node!r} has {blacks} black nodes on one side and {others} on the other")
    return blacks + (not node.red), [*before, node, *after]


def largest_gap(node: RbNode) -> int:
    """The largest gap below a range of the sub-tree."""
    gap = node.gap
    if node.left is not None and node.left.subtree_gap > gap:
        gap = node.left.subtree_gap
    if node.right is not None and node.right.subtree_gap > gap:
        gap = node.right.subtree_gap
    return gap
