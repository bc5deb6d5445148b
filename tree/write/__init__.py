"""Stores, and how nodes are split, joined and published."""

from sugarbush.tree.write.alone import store_alone
from sugarbush.tree.write.big import BigNode
from sugarbush.tree.write.duplicating import duplicate
from sugarbush.tree.write.publish import destroy_subtree, mark_dead, set_root
from sugarbush.tree.write.stash import link_dead

__all__ = [
    "BigNode",
    "destroy_subtree",
    "duplicate",
    "link_dead",
    "mark_dead",
    "set_root",
    "store_alone",
]
