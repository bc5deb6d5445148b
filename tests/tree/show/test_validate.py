"""`validate` finds every corruption, and `dump` shows the kernel's format."""

from collections.abc import Callable
from typing import Any

import pytest

from sugarbush.tree import MAX, ZERO_ENTRY, Corrupt, InternalEntry, MapleTree
from sugarbush.tree.core.node import DEAD, MapleNode

Tree = MapleTree[Any]


def big(**flags: Any) -> Tree:
    tree: Tree = MapleTree(track_gaps=True, **flags)
    for key in range(500):
        tree.store_range(10 * key, 10 * key + 5, key)
    assert tree.height == 4 or tree.height == 3
    return tree


def first_leaf(tree: Tree) -> MapleNode:
    node = tree.root
    while node.kind != 1:
        node = node.slots[0]
    return node  # type: ignore[no-any-return]


def kill_a_node(tree: Tree) -> None:
    first_leaf(tree).up = DEAD


def name_the_wrong_parent(tree: Tree) -> None:
    tree.root.slots[0].up = (first_leaf(tree), 0)


def name_the_wrong_slot(tree: Tree) -> None:
    tree.root.slots[1].up = (tree.root, 0)


def put_a_node_in_two_slots(tree: Tree) -> None:
    tree.root.slots[1] = tree.root.slots[0]


def let_pivots_fall(tree: Tree) -> None:
    pivots = first_leaf(tree).pivots
    pivots[2], pivots[3] = pivots[3], pivots[2]


def let_a_pivot_leave_its_node(tree: Tree) -> None:
    first_leaf(tree).pivots[0] = MAX


def end_before_the_maximum(tree: Tree) -> None:
    first_leaf(tree).pivots[-1] -= 1


def take_slots_away(tree: Tree) -> None:
    leaf = first_leaf(tree)
    del leaf.slots[1:-2], leaf.pivots[1:-2]


def lose_a_pivot(tree: Tree) -> None:
    first_leaf(tree).pivots.pop()


def lose_a_child(tree: Tree) -> None:
    tree.root.slots[1] = None


def put_an_entry_where_a_node_should_be(tree: Tree) -> None:
    tree.root.slots[1] = "an entry"


def put_a_node_where_an_entry_should_be(tree: Tree) -> None:
    first_leaf(tree).slots[2] = MapleNode()


def record_too_large_a_gap(tree: Tree) -> None:
    tree.root.gaps[1] += 1


def record_too_small_a_gap(tree: Tree) -> None:
    first_leaf(tree).up[0].gaps[0] -= 1


def lose_a_gap(tree: Tree) -> None:
    tree.root.gaps.pop()


def point_past_the_largest_gap(tree: Tree) -> None:
    tree.root.gaps[tree.root.gap_offset], tree.root.gap_offset = 0, 0


def leave_two_unset_ranges_in_a_row(tree: Tree) -> None:
    leaf = first_leaf(tree)
    leaf.slots[2] = None


def end_a_leaf_unset(tree: Tree) -> None:
    leaf = first_leaf(tree)
    leaf.slots[-1] = None


# What the kernel's own check does not look at:


def record_a_wrong_height(tree: Tree) -> None:
    tree.height += 1


def hang_a_leaf_too_high(tree: Tree) -> None:
    leaf = first_leaf(tree)
    parent = leaf.up[0]
    tree.root.slots[0] = leaf
    tree.root.pivots[0] = parent.pivots[0]
    leaf.up = (tree.root, 0)


def cut_off_the_root(tree: Tree) -> None:
    tree.root.up = (MapleTree(), 0)


def hang_a_subtree_twice(tree: Tree) -> None:
    parent = first_leaf(tree).up[0]
    parent.slots[1] = parent.slots[0]


@pytest.mark.parametrize(
    "corrupt",
    [
        kill_a_node,
        name_the_wrong_parent,
        name_the_wrong_slot,
        put_a_node_in_two_slots,
        let_pivots_fall,
        let_a_pivot_leave_its_node,
        end_before_the_maximum,
        take_slots_away,
        lose_a_pivot,
        lose_a_child,
        put_an_entry_where_a_node_should_be,
        put_a_node_where_an_entry_should_be,
        record_too_large_a_gap,
        record_too_small_a_gap,
        lose_a_gap,
        point_past_the_largest_gap,
        leave_two_unset_ranges_in_a_row,
        end_a_leaf_unset,
        record_a_wrong_height,
        hang_a_leaf_too_high,
        cut_off_the_root,
        hang_a_subtree_twice,
    ],
)
def test_each_corruption_is_found(corrupt: Callable[[Tree], None]) -> None:
    tree = big()
    tree.validate()
    corrupt(tree)
    with pytest.raises(Corrupt) as caught:
        tree.validate()
    assert len(str(caught.value)) > 20


def test_a_wrong_height_without_nodes_is_found() -> None:
    tree: Tree = MapleTree()
    tree.height = 1
    with pytest.raises(Corrupt, match="height 1"):
        tree.validate()


def test_dump_of_trees_without_nodes() -> None:
    tree: Tree = MapleTree()
    assert tree.dump() == "maple_tree(0x100000000000) flags 0, height 0 root (nil)\n(nil)\n"
    tree.store(0, 7)
    assert tree.dump() == "maple_tree(0x100000000000) flags 0, height 0 root 0xf\n0: value 7 (0x7) [0xf]\n"


def test_dump_of_a_leaf_with_all_sorts_of_entries() -> None:
    tree: Tree = MapleTree(rcu=True)
    tree.store_range(1, 4, 3)
    tree.store(5, ZERO_ENTRY)
    tree.store(6, "an object")
    tree.store(7, "another")
    tree.store(8, InternalEntry(300))
    assert tree.dump(hexadecimal=True).splitlines()[2:] == [
        "  0: (nil)",
        "  1-4: value 3 (0x3) [0x7]",
        "  5: zero (257)",
        "  6: 0x200000000000",
        "  7: 0x200000000040",
        "  8: UNKNOWN ENTRY (0x4b2)",
        "  9-ffffffffffffffff: (nil)",
    ]


def test_dump_shows_gaps_and_the_two_offsets() -> None:
    lines = big().dump(hexadecimal=True).splitlines()
    assert lines[0].startswith("maple_tree(0x100000000000) flags ")
    assert " type 3 parent 0x100000000001 contents: " in lines[1]
    assert lines[1].count("|") == 2
