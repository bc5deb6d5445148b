"""The kinds of store, and how many nodes each can need.

Models enum store_type and mas_prealloc_calc() of v6.12 (include/linux/maple_tree.h, lib/maple_tree.c). In v6.6 the
same kinds are told apart in mas_preallocate() and once more in mas_wr_modify(), which is how S3 of docs/tree.md came
about: the two did not agree. Which kind a store is, is decided in `tree.write.decide` and nowhere else.
"""

from __future__ import annotations

from enum import Enum


class StoreType(Enum):
    """What a store does to the tree; the value is the kernel's name.

    A leaf has 16 slots, and in a tree of height 3 these can be needed:

    >>> StoreType.EXACT_FIT.nodes(3), StoreType.NODE_STORE.nodes(3)
    (0, 1)

    A split replaces the nodes on the way up, three, by two each, and adds a root. A rebalance replaces two
    nodes on each level by two at most, and the root by one:

    >>> StoreType.SPLIT_STORE.nodes(3), StoreType.REBALANCE.nodes(3)
    (7, 5)

    What is left of two edges can take three nodes on each level, and a new root:

    >>> StoreType.SPANNING_STORE.nodes(3)
    10
    """

    levels: int
    besides: int

    def __new__(cls, kernel: str, levels: int, besides: int) -> StoreType:
        """A kind, named as in the kernel, which takes at most `levels` nodes for each level and so many `besides`."""
        self = object.__new__(cls)
        self._value_ = kernel
        self.levels = levels
        self.besides = besides
        return self

    # The numbers are those after `ask_now` in mas_preallocate(), v6.6.
    STORE_ROOT = "wr_store_root", 0, 1
    """The tree has no nodes: the root word changes, or a first leaf is made."""
    NEW_ROOT = "wr_new_root", 0, 1
    """All keys: one leaf takes the place of the whole tree, or nothing does."""
    SPANNING_STORE = "wr_spanning_store", 3, 1
    """The store leaves its leaf. It can still turn out to take all keys once it is widened over unset ones."""
    EXACT_FIT = "wr_exact_fit", 0, 0
    """One slot has exactly the store's range, so only its entry changes."""
    SLOT_STORE = "wr_slot_store", 0, 0
    """As many slots as before, and no reader can see a state in between: the leaf is changed in place."""
    APPEND = "wr_append", 0, 0
    """The store lies in the last slot, and nobody reads without the lock: the leaf grows in place."""
    NODE_STORE = "wr_node_store", 0, 1
    """The leaf is written anew: in RCU mode as a new node in its place, else in place."""
    SPLIT_STORE = "wr_split_store", 2, 1
    """More slots than a leaf has."""
    REBALANCE = "wr_rebalance", 2, -1
    """So few slots that the leaf is joined with a sibling."""

    def nodes(self, height: int) -> int:
        """How many nodes it takes at most in a tree of this height."""
        return self.levels * height + self.besides
