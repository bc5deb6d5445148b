"""Cursors, bad input, bulk loads, copies, cyclic allocation: what the recorded results do not reach."""

from collections.abc import Callable
from typing import Any

import pytest
from interval_model import IntervalModel
from tree_replay import CountingNodes

from sugarbush.lockdep.model.gfp import GFP_NOWAIT
from sugarbush.tree import (
    MAX,
    ZERO_ENTRY,
    BadKey,
    BadRange,
    Busy,
    Exists,
    InternalEntry,
    MapleStatus,
    MapleTree,
    MaState,
    NoGaps,
    NoMemory,
    ReservedEntry,
    StaleState,
    TreeError,
)
from sugarbush.tree.core.layout import LEAF_64
from sugarbush.tree.core.node import MapleNode


def filled(count: int = 60, **flags: Any) -> MapleTree[Any]:
    tree: MapleTree[Any] = MapleTree(**flags)
    for key in range(count):
        tree.store_range(10 * key, 10 * key + 5, key)
    return tree


BAD: list[tuple[type[TreeError], Callable[[MapleTree[Any]], object]]] = [
    (BadRange, lambda tree: tree.store_range(5, 4, "x")),
    (BadRange, lambda tree: tree.insert_range(5, 4, "x")),
    (BadRange, lambda tree: MaState(tree, 5, 4)),
    (BadRange, lambda tree: MaState(tree).set_range(5, 4)),
    (BadRange, lambda tree: tree.alloc_range("x", 0)),
    (BadRange, lambda tree: tree.alloc_range("x", 5, 10, 13)),
    (BadRange, lambda tree: tree.alloc_rrange("x", 5, 13, 10)),
    (BadKey, lambda tree: tree.load(-1)),
    (BadKey, lambda tree: tree.load(MAX + 1)),
    (BadKey, lambda tree: tree.load("1")),  # type: ignore[arg-type]
    (BadKey, lambda tree: tree.store(2**64, "x")),
    (BadKey, lambda tree: tree.store(1.0, "x")),  # type: ignore[arg-type]
    (BadKey, lambda tree: tree.erase(-3)),
    (BadKey, lambda tree: tree.find(-3)),
    (BadKey, lambda tree: tree.alloc_range("x", 1, 0, 2**64)),
    (ReservedEntry, lambda tree: tree.store(5, InternalEntry(3))),
    (ReservedEntry, lambda tree: tree.insert(7, InternalEntry(256))),
    (ReservedEntry, lambda tree: tree.store(5, MapleNode())),
    (ReservedEntry, lambda tree: MaState(tree, 5).store_gfp(MapleNode())),
    (ReservedEntry, lambda tree: tree.alloc_range(ZERO_ENTRY, 1)),
    (Exists, lambda tree: tree.insert_range(6, 10, "x")),
    (Exists, lambda tree: tree.insert_range(0, MAX, "x")),
    (Busy, lambda tree: tree.alloc_range("x", 5, 0, 500)),
]


@pytest.mark.parametrize(("error", "call"), BAD)
def test_bad_input_is_refused_and_nothing_changes(
    error: type[TreeError], call: Callable[[MapleTree[Any]], object]
) -> None:
    tree = filled(track_gaps=True)
    before = tree.dump()
    with pytest.raises(error) as caught:
        call(tree)
    assert len(str(caught.value)) > 10
    assert tree.dump() == before


def test_a_gap_search_needs_gaps() -> None:
    tree = filled()
    with pytest.raises(NoGaps, match="track_gaps=True"):
        tree.alloc_range("x", 1)
    with pytest.raises(NoGaps):
        MaState(tree).empty_area_rev(0, 10, 1)


def test_a_cursor_does_not_outlive_a_change_by_somebody_else() -> None:
    tree = filled()
    mas: MaState[Any] = MaState(tree, 100)
    mas.find()
    tree.store(3, "x")
    with pytest.raises(StaleState):
        mas.next()
    mas.reset()
    assert mas.find() == 10
    mas.pause()
    tree.store(4, "x")
    assert mas.find() == 11


def test_writing_through_a_stale_cursor_is_refused_in_rcu_mode_too() -> None:
    tree = filled(rcu=True)
    mas: MaState[Any] = MaState(tree, 100)
    mas.find()
    tree.erase(100)
    assert mas.next() == 11
    tree.erase(200)
    with pytest.raises(StaleState):
        mas.store_gfp("x")


def test_a_cursor_may_go_on_after_its_own_store() -> None:
    tree = filled()
    mas: MaState[Any] = MaState(tree)
    while (entry := mas.find()) is not None:
        mas.store_gfp(entry + 1000)
    assert [entry for _, _, entry in tree] == list(range(1000, 1060))


def test_store_gives_what_was_at_the_first_key() -> None:
    tree = filled()
    for first, last, old in ((3, 4, 0), (100, 300, 10), (305, 305, 30), (0, MAX, 0)):
        mas: MaState[Any] = MaState(tree, first, last)
        assert mas.store("x") == old
        mas.destroy()


def test_the_zero_entry_reserves_a_range() -> None:
    tree: MapleTree[Any] = MapleTree(track_gaps=True)
    tree.store_range(5, 9, ZERO_ENTRY)
    tree.store(20, "x")
    assert tree.load(7) is None
    assert tree.find(0) == ("x", 21)
    assert tree.next(0) is ZERO_ENTRY
    assert MaState(tree, 6).walk() is ZERO_ENTRY
    with pytest.raises(Exists):
        tree.insert(7, "y")
    assert tree.alloc_range("z", 3, 4) == 10


def test_the_zero_entry_does_not_fit_in_the_root_word() -> None:
    tree: MapleTree[Any] = MapleTree()
    tree.store(0, ZERO_ENTRY)
    assert tree.height == 1
    tree.store(0, "x")
    tree.store_range(1, MAX, None)
    assert tree.height == 1
    tree.store_range(0, MAX, None)
    tree.store(0, "x")
    assert (tree.height, tree.load(0), tree.load(1)) == (0, "x", None)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("rcu", [False, True])
@pytest.mark.parametrize("count", [1, 5, 14, 15, 16, 17, 22, 30, 100, 1000, 3003])
def test_a_bulk_load_takes_its_nodes_ahead_and_leaves_a_valid_tree(count: int, rcu: bool, gaps: bool) -> None:
    source = CountingNodes()
    tree: MapleTree[int] = MapleTree(gaps, rcu, source=source)
    mas: MaState[int] = MaState(tree)
    mas.expected_entries(count)
    if not rcu:  # in RCU mode each store exchanges a leaf
        source.fail_mode, source.fail_count = "all", float("inf")
    for key in range(count):
        mas.set_range(10 * key, 10 * key + 5)
        mas.store(key)
    mas.destroy()
    source.grace_period()
    tree.validate()
    assert list(tree) == [(10 * key, 10 * key + 5, key) for key in range(count)]
    assert source.live == tree.dump().count(": node 0x")


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("rcu", [False, True])
def test_the_end_of_a_bulk_load_evens_out_a_last_leaf_that_holds_too_little(rcu: bool, gaps: bool) -> None:
    evened = set()
    for count in range(17, 120, 2):
        source = CountingNodes()
        tree: MapleTree[int] = MapleTree(gaps, rcu, source=source)
        mas: MaState[int] = MaState(tree)
        mas.expected_entries(400)
        for key in range(count):
            mas.set(key)
            mas.store(key)
        mas.set_range(count - 4, count + 9)
        mas.store(count)  # which leaves little of the last leaf
        fill = last_leaf(tree)
        mas.destroy()
        source.grace_period()
        tree.validate()
        assert list(tree) == [*((key, key, key) for key in range(count - 4)), (count - 4, count + 9, count)]
        assert source.live == tree.dump().count(": node 0x")
        evened.add((fill < 5, fill < last_leaf(tree)))
    assert evened >= {(False, False), (True, True)}


def last_leaf(tree: MapleTree[Any]) -> int:
    """How many slots the right-most leaf uses."""
    node = tree.root
    while node.kind != LEAF_64:
        node = node.slots[-1]
    return len(node.slots)


@pytest.mark.exhaustive
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("step", [1, 2])
def test_a_bulk_load_of_any_size_needs_no_more_memory(step: int, gaps: bool) -> None:
    for count in range(1, 1200):
        source = CountingNodes()
        tree: MapleTree[int] = MapleTree(gaps, source=source)
        mas: MaState[int] = MaState(tree)
        mas.expected_entries(count)
        source.fail_mode, source.fail_count = "all", float("inf")
        for key in range(count):
            mas.set(key * step)
            mas.store(key)
        mas.destroy()
        tree.validate()


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("first", [0, 60])
def test_a_bulk_load_of_more_than_was_announced_fails_with_nothing_changed(first: int, gaps: bool) -> None:
    """The kernel writes through a null pointer, in the middle of a split. Here the load may even go on later."""
    source = CountingNodes()
    tree: MapleTree[int] = MapleTree(gaps, source=source)
    for key in range(0, first, 2):
        tree.store(key, key)
    mas: MaState[int] = MaState(tree)
    mas.expected_entries(40)
    source.fail_mode, source.fail_count = "all", float("inf")
    failed = 0
    for key in range(first, first + 1000, 2):
        mas.set(key)
        while True:
            held = len(mas.stash)
            before = tree.dump(), source.live
            try:
                mas.store(key)
                break
            except NoMemory:
                assert (tree.dump(), source.live, len(mas.stash)) == (*before, held)
                failed += 1
                source.fail_mode = "off"
        source.fail_mode = "all"
    mas.destroy()
    assert failed
    tree.validate()
    assert list(tree) == [(key, key, key) for key in range(0, first + 1000, 2)]
    assert source.live == tree.dump().count(": node 0x")


@pytest.mark.parametrize("call", [MaState.find_rev, MaState.find_range_rev, MaState.find, MaState.find_range])
def test_a_cursor_at_its_limit_looks_at_nothing(call: Any) -> None:
    """Its leaf has left the tree meanwhile: to walk there again would find what is now at the key."""
    for limit in (50, 52):
        tree = filled(rcu=True)
        mas: MaState[Any] = MaState(tree, 50)
        assert mas.walk() == 5
        tree.store_range(51, 52, "x")
        assert mas.node.is_dead
        back = call in (MaState.find_rev, MaState.find_range_rev)
        assert call(mas, limit if back else 55) is None
        assert (mas.index, mas.last, mas.state) == (50, 55, MapleStatus.ACTIVE)


@pytest.mark.parametrize("left", [None, "x"])
@pytest.mark.parametrize(
    ("call", "back"),
    [
        (MaState.next, False),
        (MaState.next_range, False),
        (MaState.find, False),
        (MaState.find_range, False),
        (MaState.prev, True),
        (MaState.prev_range, True),
        (MaState.find_rev, True),
        (MaState.find_range_rev, True),
    ],
)
def test_a_cursor_goes_on_in_a_tree_that_has_lost_its_nodes(call: Any, back: bool, left: str | None) -> None:
    """It is sent back to the root, where there is nothing, or an entry at key 0. The kernel faults there."""
    tree = filled(300, rcu=True)
    mas: MaState[Any] = MaState(tree, 500)
    assert mas.walk() == 50
    tree.store_range(0, MAX, None)
    tree.store(0, left)
    assert call(mas) == (left if back else None)
    assert not mas.is_active
    mas.reset()
    assert mas.find_rev() == left


def test_inserting_nothing_where_nothing_is_changes_nothing() -> None:
    tree = filled()
    before = tree.dump()
    tree.insert_range(6, 8, None)
    assert tree.dump() == before


def test_a_store_that_may_not_block_gives_up_at_once() -> None:
    source = CountingNodes()
    tree: MapleTree[Any] = MapleTree(rcu=True, source=source)
    tree.store(3, "x")
    source.fail_mode, source.fail_count = "nowait", 2
    mas: MaState[Any] = MaState(tree, 5, 9)
    with pytest.raises(NoMemory):
        mas.store_gfp("y", GFP_NOWAIT)
    assert list(tree) == [(3, 3, "x")]
    source.fail_count = 1
    mas.store_gfp("y", GFP_NOWAIT)
    assert list(tree) == [(3, 3, "x"), (5, 9, "y")]


def test_a_cursor_at_the_root_entry_does_not_outlive_a_change() -> None:
    for rcu in (False, True):
        tree: MapleTree[Any] = MapleTree(rcu=rcu)
        tree.store(0, "x")
        mas: MaState[Any] = MaState(tree, 0)
        assert mas.find() == "x"
        assert mas.state is MapleStatus.ROOT
        tree.store_range(5, 9, "y")
        mas.index, mas.last = 5, 9
        with pytest.raises(StaleState):
            mas.store_gfp("z")
        if rcu:
            assert mas.prev() == "x"
        else:
            with pytest.raises(StaleState):
                mas.prev()


@pytest.mark.parametrize("gaps", [False, True])
def test_a_store_may_end_where_any_inner_node_ends(gaps: bool) -> None:
    """Without its fix (CVE-2024-50200) the last entry that was stored over stayed behind."""
    count = 700
    ends = 0
    while True:
        tree: MapleTree[Any] = MapleTree(track_gaps=gaps)
        for key in range(count):
            tree.store_range(10 * key, 10 * key + 9, key)
        assert tree.height >= 3
        if ends == len(tree.root.slots) - 1:
            break
        last = tree.root.slots[ends].pivots[-1]
        first = last - 700 if ends else 13
        tree.store_range(first, last, "X")
        tree.validate()
        before, behind = (first + 9) // 10, (last + 1) // 10
        found = list(tree)
        assert found[before] == (first, last, "X")
        assert [entry for _, _, entry in found] == [*range(before), "X", *range(behind, count)]
        ends += 1
    assert ends


@pytest.mark.parametrize(("count", "nodes"), [(1, 5), (30, 9), (114, 23)])
def test_a_bulk_load_asks_what_the_kernel_asks(count: int, nodes: int) -> None:
    source = CountingNodes()
    tree: MapleTree[int] = MapleTree(track_gaps=True, source=source)
    mas: MaState[int] = MaState(tree)
    mas.expected_entries(count)
    assert source.live == nodes
    mas.destroy()
    assert source.live == 0


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 500])
@pytest.mark.parametrize("gaps", [False, True])
def test_a_copy_is_equal_node_for_node_and_independent(count: int, gaps: bool) -> None:
    tree = filled(count, track_gaps=gaps)
    source = CountingNodes()
    copy: MapleTree[Any] = MapleTree(gaps, source=source)
    tree.dup(copy)
    copy.validate()
    assert copy.dump() == tree.dump()
    copy.store(3, "x")
    assert tree.load(3) != "x"
    copy.destroy()
    assert source.live == 0


def test_a_copy_that_runs_out_of_memory_leaves_nothing() -> None:
    tree = filled(500)
    for allowed in range(6):
        source = FailingAt(allowed)
        copy: MapleTree[Any] = MapleTree(source=source)
        with pytest.raises(NoMemory):
            tree.dup(copy)
        assert copy.empty
        assert source.live == 0


def test_a_copy_must_begin_empty_and_of_one_kind() -> None:
    tree = filled(3)
    with pytest.raises(BadRange, match="empty"):
        tree.dup(filled(1))
    with pytest.raises(BadRange, match="gaps"):
        tree.dup(MapleTree(track_gaps=True))


def test_cyclic_allocation_comes_round() -> None:
    tree: MapleTree[str] = MapleTree(track_gaps=True)
    after, seen = 0, []
    for _ in range(7):
        key, after = tree.alloc_cyclic("id", after, 10, 13) if len(tree) < 4 else (0, after)
        seen.append(key)
        if key == 12:
            tree.erase(10)
    assert seen == [10, 11, 12, 13, 10, 0, 0]
    with pytest.raises(Busy):
        tree.alloc_cyclic("id", after, 10, 13)


class FailingAt(CountingNodes):
    """Memory that runs out after so many allocations."""

    def __init__(self, allowed: int) -> None:
        super().__init__()
        self.allowed = allowed

    def _fails(self, gfp: int) -> bool:
        self.allowed -= 1
        return self.allowed < 0


STORES: list[tuple[int, int, Any]] = [
    (123, 124, "x"),
    (100, 105, None),
    (0, MAX, "x"),
    (57, 1333, "x"),
    (57, 1333, None),
    (1500, MAX, None),
    (0, 1000, None),
]


@pytest.mark.parametrize("flags", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("store", STORES)
def test_each_allocation_of_a_store_may_fail(flags: tuple[bool, bool], store: tuple[int, int, Any]) -> None:
    first, last, entry = store
    for allowed in range(60):
        source = FailingAt(10**6)
        tree: MapleTree[Any] = MapleTree(*flags, source=source)
        model = IntervalModel()
        for key in range(300):
            tree.store_range(10 * key, 10 * key + 5, key)
            model.store(10 * key, 10 * key + 5, key)
        source.grace_period()
        before = tree.dump(), source.live
        source.allowed = allowed
        try:
            tree.store_range(first, last, entry)
        except NoMemory:
            assert (tree.dump(), source.live) == before
        else:
            model.store(first, last, entry)
            assert list(tree) == model.ranges
            return
    pytest.fail("the store never has enough memory")


def test_states_can_be_told() -> None:
    tree = filled(3)
    mas: MaState[Any] = MaState(tree)
    states = [mas.state]
    while mas.next() is not None:
        states.append(mas.state)
    assert states == [MapleStatus.START, MapleStatus.ACTIVE, MapleStatus.ACTIVE]
    assert mas.state is MapleStatus.OVERFLOW
    assert repr(mas) == "<MaState 26..18446744073709551615 OVERFLOW>"
