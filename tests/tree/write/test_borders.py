"""Stores that begin and end at every border of nodes, in every mode and every way, against the plain model."""

from __future__ import annotations

from itertools import product

import pytest
from borders import BORDERS, INNER, LEAF, PLAIN_WAYS, TREE, WAYS, Kind, Walk
from interval_model import IntervalModel

from sugarbush.tree import MapleTree
from sugarbush.tree.core.layout import SLOTS

ENDS = [pair for pair in product(BORDERS, BORDERS) if pair != (TREE, TREE)]
SIDES = (False, True)


def walk(
    seed: int, rounds: int, each: int, *, gaps: bool, rcu: bool, plain: bool, height: int = 3
) -> set[Kind]:
    """Store between each two borders in `each` drawn ways, so often; gives what kinds of store there were."""
    one = Walk(seed, gaps=gaps, rcu=rcu, plain=plain, height=height)
    ways = PLAIN_WAYS if plain else tuple(WAYS)
    for _ in range(rounds):
        steps = [
            (start, end, way) for start, end in ENDS for way in one.rng.sample(ways, min(each, len(ways)))
        ]
        one.rng.shuffle(steps)
        for start, end, way in steps:
            one.step(start, end, way)
    for way in ways:
        one.step_across(way)
        one.step_across("store_range")
        one.step_over_all(way)
        one.step(TREE, TREE, way)
    return set(one.kinds)


@pytest.mark.parametrize("plain", [False, True], ids=["counted", "plain"])
@pytest.mark.parametrize("gaps", [False, True], ids=["range", "gaps"])
def test_trees_of_one_leaf_or_none(gaps: bool, plain: bool) -> None:
    for seed in range(4):
        one = Walk(seed, gaps=gaps, rcu=bool(seed % 2), plain=plain, height=0)
        ways = PLAIN_WAYS if plain else tuple(WAYS)
        for start, end in [*ENDS, (TREE, TREE)]:
            for way in ways:
                one.step(start, end, way)


@pytest.mark.parametrize("plain", [False, True], ids=["counted", "plain"])
@pytest.mark.parametrize("rcu", [False, True], ids=["alone", "rcu"])
@pytest.mark.parametrize("gaps", [False, True], ids=["range", "gaps"])
def test_stores_between_any_two_borders(gaps: bool, rcu: bool, plain: bool) -> None:
    kinds = walk(1, 1, 3, gaps=gaps, rcu=rcu, plain=plain)
    assert {(kind.start, kind.end) for kind in kinds} >= set(ENDS)
    assert {kind.unsets for kind in kinds if kind.end == INNER} == {False, True}


@pytest.mark.parametrize("rcu", [False, True], ids=["alone", "rcu"])
@pytest.mark.parametrize("gaps", [False, True], ids=["range", "gaps"])
def test_three_leaves_out_of_two_below_a_full_root(gaps: bool, rcu: bool) -> None:
    """The store leaves 33 slots of two leaves, which takes three, and the root has no slot for the third."""
    tree: MapleTree[int] = MapleTree(gaps, rcu)
    model = IntervalModel()

    def store(first: int, last: int) -> None:
        tree.store_range(first, last, first)
        model.store(first, last, first)

    number = 0
    while tree.height < 2 or len(tree.root.slots) < SLOTS[tree.root.kind]:
        store(10 * number, 10 * number + 9)
        number += 1
    for leaf in tree.root.slots[3:5]:
        if len(leaf.slots) < 16:  # give the head of a range an entry of its own
            store(leaf.pivots[4] + 1, leaf.pivots[4] + 1)
    assert [len(leaf.slots) for leaf in tree.root.slots[3:5]] == [16, 16]
    end = tree.root.pivots[3]
    store(end, end + 1)
    tree.validate()
    assert tree.height == 3
    assert list(tree) == model.ranges


@pytest.mark.exhaustive
@pytest.mark.parametrize("rcu", [False, True], ids=["alone", "rcu"])
@pytest.mark.parametrize("gaps", [False, True], ids=["range", "gaps"])
def test_every_kind_of_store(gaps: bool, rcu: bool) -> None:
    """Each two borders, storing and unsetting, with what stands beside set or unset, where a tree can have that."""
    kinds: set[Kind] = set()
    for seed in range(6):
        kinds |= walk(seed, 4, 8, gaps=gaps, rcu=rcu, plain=False)
    possible = {
        Kind(start, end, unsets, before, behind)
        for (start, end), unsets, before, behind in product(ENDS, SIDES, SIDES, SIDES)
        if not (start == TREE and before)
        and not (end == TREE and behind)
        # Only the last leaf of the tree may end unset, so nothing unset stands before another one.
        and not (start in (LEAF, INNER) and before)
    }
    assert possible - kinds == set()


@pytest.mark.exhaustive
@pytest.mark.parametrize("rcu", [False, True], ids=["alone", "rcu"])
@pytest.mark.parametrize("gaps", [False, True], ids=["range", "gaps"])
def test_stores_in_trees_of_four_levels(gaps: bool, rcu: bool) -> None:
    kinds = walk(1, 1, 2, gaps=gaps, rcu=rcu, plain=False, height=4)
    assert {(kind.start, kind.end) for kind in kinds} >= set(ENDS)
