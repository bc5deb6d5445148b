"""What kind a store is, is decided once: the plan, the deed and the nodes taken agree."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tree_replay import CountingNodes

from sugarbush.tree import MAX, MapleTree
from sugarbush.tree.core import StoreType
from sugarbush.tree.write import preallocate
from sugarbush.tree.write.decide import store_type

IN_PLACE = (StoreType.EXACT_FIT, StoreType.SLOT_STORE, StoreType.APPEND)


def kind_of(tree: MapleTree[int], first: int, last: int, entry: int | None) -> StoreType:
    """Deciding changes nothing but the cursor, which is thrown away."""
    return store_type(tree.cursor(first, last), entry)[0]


def built(source: CountingNodes, *, rcu: bool) -> MapleTree[int]:
    """Three levels: full leaves on the left, and the last one with room."""
    tree: MapleTree[int] = MapleTree(True, rcu, source=source)
    for number in range(300):
        tree.store_range(10 * number, 10 * number + 9, number + 1)
    return tree


@pytest.mark.parametrize("rcu", [False, True], ids=["alone", "rcu"])
def test_each_kind_does_what_its_name_says(rcu: bool) -> None:
    source = CountingNodes()
    tree = built(source, rcu=rcu)
    rng = random.Random(5)
    seen = set()
    for number in range(700):
        first = rng.randrange(3000)
        last = first + rng.choice([0, 1, 4, 9, 10, 19, 30, 400 if number % 20 == 0 else 2])
        if number % 3:  # from the border of a range on, so that some fit
            first, last = first - first % 10, last - last % 10 + rng.choice([4, 9])
        if number % 50 == 0:
            first, last = 2995, MAX  # the last slot, which nothing follows
        if last < first:
            continue
        entry = None if rng.random() < 0.3 else number
        kind = kind_of(tree, first, last, entry)
        height, nodes, taken = tree.height, source.live, source.taken
        leaf = tree.cursor(first)
        leaf.walk()
        tree.store_range(first, last, entry)
        source.grace_period()
        seen.add(kind)
        changed = tree.cursor(first)
        changed.walk()
        if kind in IN_PLACE or (kind is StoreType.NODE_STORE and not rcu):
            assert changed.node is leaf.node, kind
            assert source.taken == taken, kind
        elif kind is StoreType.NODE_STORE:
            assert changed.node is not leaf.node
            assert (source.taken - taken, source.live) == (1, nodes)
        else:
            assert source.taken - taken <= kind.nodes(height), kind
            assert (source.live > nodes) <= (kind is not StoreType.REBALANCE), kind
    wanted = {*StoreType} - {StoreType.STORE_ROOT, StoreType.NEW_ROOT}
    assert seen == (wanted - {StoreType.APPEND} if rcu else wanted)


def test_the_two_kinds_without_a_leaf() -> None:
    tree: MapleTree[int] = MapleTree()
    assert kind_of(tree, 0, MAX, 1) is StoreType.STORE_ROOT
    assert kind_of(tree, 5, 6, 1) is StoreType.STORE_ROOT
    tree.store_range(5, 6, 1)
    assert kind_of(tree, 0, MAX, None) is StoreType.NEW_ROOT
    # A None that swallows what is unset on both sides takes all keys, too.
    assert kind_of(tree, 5, 6, None) is StoreType.NEW_ROOT
    assert kind_of(tree, 5, 6, 2) is StoreType.EXACT_FIT


@pytest.mark.parametrize("wrong", [StoreType.EXACT_FIT, StoreType.SPANNING_STORE])
def test_a_plan_for_another_kind_is_noticed(wrong: StoreType, monkeypatch: pytest.MonkeyPatch) -> None:
    def misjudged(mas: Any, entry: Any) -> tuple[StoreType, Any, int, int]:
        return wrong, *store_type(mas, entry)[1:]

    tree = built(CountingNodes(), rcu=True)
    mas = tree.cursor(2000, 2004)
    monkeypatch.setattr(preallocate, "store_type", misjudged)
    mas.preallocate(7)
    with pytest.raises(AssertionError, match=f"nodes were taken for a {wrong.value}, and it is a wr_"):
        mas.store_prealloc(7)


def test_a_plan_for_another_range_is_no_plan() -> None:
    """The store asks for what it lacks, as one without a plan."""
    tree = built(CountingNodes(), rcu=True)
    mas = tree.cursor(2000, 2009)
    assert mas.preallocate(7) == 0
    mas.set_range(500, 1500)
    mas.store_prealloc(8)
    tree.validate()
    assert tree.load(1500) == 8
