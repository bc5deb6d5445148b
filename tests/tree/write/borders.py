"""Operations whose ends lie where nodes end: a generator, and what it says of each operation that it made.

A store is told by where its ends lie: inside a range, at the border of a range, of a leaf, of an inner node, or of the
tree; by what stands beside it, set or unset; and by what it stores. `Walk` makes operations of a wanted kind on one
tree, in all ways in which one can store, and compares the tree with the plain model and with its own rules after each.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from interval_model import IntervalModel
from tree_replay import CountingNodes

from sugarbush.tree import MAX, Busy, Exists, MapleTree, MaState, NoMemory
from sugarbush.tree.core.layout import LEAF_64
from sugarbush.tree.core.node import MapleNode

INSIDE, RANGE, LEAF, INNER, TREE = "inside", "range", "leaf", "inner", "tree"
BORDERS = (INSIDE, RANGE, LEAF, INNER, TREE)


class Kind(NamedTuple):
    """Of a store: where it begins and ends, whether it unsets, and whether what stands before and behind is unset."""

    start: str
    end: str
    unsets: bool
    unset_before: bool
    unset_behind: bool


class Step(NamedTuple):
    """One node of a path: the node, its first key, and the slot taken."""

    node: MapleNode
    low: int
    slot: int


def path_to(tree: MapleTree[Any], key: int) -> list[Step]:
    """The nodes from the root to the leaf that holds a key; none if the tree has no nodes."""
    path: list[Step] = []
    node, low = tree.root, 0
    while isinstance(node, MapleNode):
        slot = next(at for at, pivot in enumerate(node.pivots) if pivot >= key)
        path.append(Step(node, low, slot))
        if node.kind == LEAF_64:
            break
        low = node.pivots[slot - 1] + 1 if slot else low
        node = node.slots[slot]
    return path


def border(path: list[Step], key: int, *, first: bool) -> str:
    """The largest thing that begins (or else ends) at a key; what has the whole tree is the tree."""
    if key == (0 if first else MAX):
        return TREE
    for level, step in enumerate(path):
        if key == (step.low if first else step.node.pivots[-1]):
            return LEAF if level == len(path) - 1 else INNER
    if not path:
        return RANGE if key == (1 if first else 0) else INSIDE
    node, low, slot = path[-1]
    begin = node.pivots[slot - 1] + 1 if slot else low
    return RANGE if key == (begin if first else node.pivots[slot]) else INSIDE


def kind_of(tree: MapleTree[Any], first: int, last: int, entry: object) -> Kind:
    """What a store is, before it is done."""
    return Kind(
        border(path_to(tree, first), first, first=True),
        border(path_to(tree, last), last, first=False),
        entry is None,
        first > 0 and tree.load(first - 1) is None,
        last < MAX and tree.load(last + 1) is None,
    )


def nodes_below(tree: MapleTree[Any]) -> int:
    """How many nodes the tree has."""
    nodes = [tree.root] if isinstance(tree.root, MapleNode) else []
    for node in nodes:
        if node.kind != LEAF_64:
            nodes += node.slots
    return len(nodes)


class Walk:
    """One tree with its model, and what was done to it so far."""

    def __init__(self, seed: int, *, gaps: bool, rcu: bool, plain: bool = False, height: int = 3) -> None:
        self.rng = random.Random(seed)
        self.gaps = gaps
        self.rcu = rcu
        self.plain = plain
        self.height = height
        self.size = ((240, 1600) if gaps else (420, 4500))[height - 3] if height else 3
        self.value = 0
        self.kinds: Counter[Kind] = Counter()
        self.build()

    def build(self) -> None:
        """A new tree of three levels: full leaves or half full ones, with holes or without."""
        self.source = CountingNodes()
        self.tree: MapleTree[int] = MapleTree(
            self.gaps, self.rcu and self.rng.random() < 0.7, source=None if self.plain else self.source
        )
        self.model = IntervalModel()
        step = self.rng.choice([2, 4, 10])
        hole = self.rng.choice([0, 0, 1, 2]) if step > 2 else 0
        places = [(step * number, step * number + step - 1 - hole) for number in range(self.size)]
        way = self.rng.choice(["up", "down", "shuffled", "bulk", "stuffed"])
        if way == "down":
            places.reverse()
        elif way == "shuffled":
            self.rng.shuffle(places)
        if way == "bulk" and not self.tree.rcu:
            self.load_in_bulk(places)
        else:
            for first, last in places:
                self.store_range(first, last, self.new())
        if way == "stuffed":
            for first, last in places[::2]:
                self.store_range(first, (first + last) // 2, self.new())
        if self.rcu and not self.tree.rcu:
            self.tree.set_in_rcu()
        self.check()

    def load_in_bulk(self, places: list[tuple[int, int]]) -> None:
        """All at once; the nodes taken ahead suffice."""
        mas: MaState[int] = MaState(self.tree)
        mas.expected_entries(len(places))
        self.source.fail_mode, self.source.fail_count = "all", float("inf")
        for first, last in places:
            value = self.new()
            mas.set_range(first, last)
            mas.store(value)
            self.model.store(first, last, value)
        mas.destroy()
        self.source.fail_mode = "off"

    def new(self) -> int:
        """An entry that was not stored before."""
        self.value += 1
        return self.value

    def check(self) -> None:
        """The tree holds what the model holds, is well formed, and has the nodes that were taken for it."""
        self.source.grace_period()
        self.tree.validate()
        assert list(self.tree) == self.model.ranges
        assert self.plain or self.source.live == nodes_below(self.tree)

    def key(self, at: str, *, first: bool) -> int:
        """A key at such a border, in a part of the tree that is drawn; another if there is none."""
        if at == TREE:
            return 0 if first else MAX
        path = path_to(self.tree, self.rng.choice(self.model.ranges)[0] if self.model.ranges else 0)
        if not path:
            return self.rng.randrange(3)
        leaf, low, slot = path[-1]
        drawn = self.rng.random()
        if drawn < 0.25:
            slot = self.rng.choice([0, len(leaf.slots) - 1])
        elif drawn < 0.6:
            slot = min(slot + 1, len(leaf.slots) - 1)  # which may be unset
        begin = leaf.pivots[slot - 1] + 1 if slot else low
        if at == INSIDE:
            return min((begin + leaf.pivots[slot]) // 2 + first, leaf.pivots[slot])
        if at == RANGE:
            return begin if first else leaf.pivots[slot]
        if at == LEAF or len(path) < 3:
            return low if first else leaf.pivots[-1]
        inner = self.rng.choice(path[1:-1])
        return inner.low if first else inner.node.pivots[-1]

    def ends(self, start: str, end: str) -> tuple[int, int]:
        """A range that begins and ends at such borders; the shortest of a few, so that the tree lives on."""
        drawn = [(self.key(start, first=True), self.key(end, first=False)) for _ in range(16)]
        drawn = [(first, last) for first, last in drawn if first <= last] or [(0, MAX)]
        right = [
            (first, last)
            for first, last in drawn
            if border(path_to(self.tree, first), first, first=True) == start
            and border(path_to(self.tree, last), last, first=False) == end
        ]
        return min(right or drawn, key=lambda at: at[1] - at[0])

    def step(self, start: str, end: str, way: str) -> None:
        """Store, unset or insert between two such borders in one of `WAYS`, and compare."""
        self.do(*self.ends(start, end), None if self.rng.random() < 0.45 else self.new(), way)

    def step_across(self, way: str) -> None:
        """Store from inside the last range of a leaf to inside the first of the next: the most that can be left."""
        below = [first for first, last, _ in self.model.ranges if last > first]
        for _ in range(20):
            path = path_to(self.tree, self.rng.choice(below)) if below else []
            if path and path[-1].node.pivots[-1] < MAX:
                end = path[-1].node.pivots[-1]
                self.do(end, end + 1, self.new(), way)
                return

    def step_over_all(self, way: str) -> None:
        """Unset from the first key that is set to the last: in a tree of leaves without a hole, all keys."""
        if self.model.ranges:
            self.do(self.model.ranges[0][0], self.model.ranges[-1][1], None, way)

    def do(self, first: int, last: int, entry: int | None, way: str) -> None:
        """Do one operation, and compare."""
        self.kinds[kind_of(self.tree, first, last, entry)] += 1
        WAYS[way](self, first, last, entry)
        self.check()
        if self.height and (self.tree.height < self.height or len(self.tree.root.slots) < 3):
            self.build()  # from one inner node to another one there must be one that is neither first nor last

    # The ways.

    def store_range(self, first: int, last: int, entry: int | None) -> None:
        """By the normal interface."""
        self.tree.store_range(first, last, entry)
        self.model.store(first, last, entry)

    def preallocate(self, first: int, last: int, entry: int | None) -> None:
        """With all nodes taken ahead: then none can be had, and none is asked for."""
        mas: MaState[int] = MaState(self.tree, first, last)
        mas.preallocate(entry)
        self.source.fail_mode, self.source.fail_count = "all", float("inf")
        mas.store_prealloc(entry)
        self.source.fail_mode = "off"
        self.model.store(first, last, entry)

    def by_cursor(self, first: int, last: int, entry: int | None) -> None:
        """By a cursor that stands somewhere, which then goes on from what it stored."""
        mas: MaState[int] = MaState(self.tree, first)
        mas.walk()
        if self.rng.random() < 0.3:
            mas.prev()
        mas.index, mas.last = first, last
        there = self.tree.load(first)
        assert mas.store(entry) == there
        self.model.store(first, last, entry)
        assert mas.index <= first <= last <= mas.last
        if entry is not None:
            assert (mas.index, mas.last) == (first, last)
        behind = self.model.find(mas.last + 1, MAX) if self.tree.height else None
        if mas.is_active or mas.last < MAX:
            assert mas.next() == (behind[2] if behind else None)
        mas.destroy()

    def failing(self, first: int, last: int, entry: int | None) -> None:
        """With the first allocation failing, then the second, and so on: nothing changes until all are had."""
        for number in range(1, 9):
            self.source.fail_mode, self.source.fail_count, self.source.pass_count = "all", 1, number - 1
            mas: MaState[int] = MaState(self.tree, first, last)
            try:
                mas.store(entry)
            except NoMemory:
                mas.destroy()
                self.check()
                continue
            finally:
                self.source.fail_mode = "off"
            mas.destroy()
            self.model.store(first, last, entry)
            return
        raise AssertionError("a store asks for no more than two batches of nodes")

    def retrying(self, first: int, last: int, entry: int | None) -> None:
        """Memory cannot be had without blocking, so the store begins again."""
        self.source.fail_mode, self.source.fail_count = "nowait", self.rng.randrange(1, 4)
        self.store_range(first, last, entry)
        self.source.fail_mode = "off"

    def insert(self, first: int, last: int, entry: int | None) -> None:
        """Only over what is unset."""
        free = self.model.is_free(first, last)
        try:
            self.tree.insert_range(first, last, entry)
        except Exists:
            assert not free
        else:
            assert free
            if entry is not None:
                self.model.store(first, last, entry)

    def erase(self, first: int, last: int, entry: int | None) -> None:
        """The ranges at both ends."""
        del entry
        for key in (first, last):
            there = next((old for old in self.model.ranges if old[0] <= key <= old[1]), None)
            assert self.tree.erase(key) == (there[2] if there else None)
            if there:
                self.model.store(there[0], there[1], None)

    def allocate(self, first: int, last: int, entry: int | None) -> None:
        """Where a gap search finds room between the two ends, if the tree tracks gaps; else stored over."""
        if not self.gaps or entry is None:
            self.store_range(first, last, entry)
            return
        size = self.rng.choice([1, 1, 2, 5])
        highest = self.rng.random() < 0.5
        if last - first + 1 < size:
            size = 1
        fit = self.model.highest_fit if highest else self.model.lowest_fit
        wanted = fit(first, last, size)
        mas: MaState[int] = MaState(self.tree)
        search = mas.empty_area_rev if highest else mas.empty_area
        try:
            search(first, last, size)
        except Busy:
            assert wanted is None
            return
        assert mas.index == wanted
        mas.store_gfp(entry)
        self.model.store(mas.index, mas.last, entry)


WAYS: dict[str, Callable[[Walk, int, int, int | None], None]] = {
    "store_range": Walk.store_range,
    "preallocate": Walk.preallocate,
    "by_cursor": Walk.by_cursor,
    "failing": Walk.failing,
    "retrying": Walk.retrying,
    "insert": Walk.insert,
    "erase": Walk.erase,
    "allocate": Walk.allocate,
}
PLAIN_WAYS = ("store_range", "by_cursor", "insert", "erase", "allocate")
"""With nodes that are never out of memory, which the common store has to itself (`tree.write.alone`)."""
