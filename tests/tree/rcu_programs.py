"""Programs in which lock-free readers meet one writer; the groups of the kernel's rcu_simulated and rcu_threaded tests.

A program is built from a list of stores. Before it runs, the interval model says which values each key has, in order.
A reader may see any of them, but never an earlier one after a later one; a walking reader sees ranges in order, and
never misses a key that is set all the time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from interval_model import IntervalModel

from sugarbush.concurrency import check, join, rcu_barrier, rcu_reader, spawn
from sugarbush.tree import MAX, MapleStatus, MapleTree, MaState

Store = tuple[int, int, Any]
SPAN = 6
STEP = 10


@dataclass(frozen=True)
class Case:
    """`count` ranges of SPAN keys every STEP keys, and what the writer does to them; None unsets."""

    name: str
    count: int
    stores: tuple[Store, ...]
    gaps: bool = True

    @property
    def low(self) -> int:
        return max(min(store[0] for store in self.stores) - 2 * STEP, 0)

    @property
    def high(self) -> int:
        return min(max(store[1] for store in self.stores) + 2 * STEP, STEP * self.count)


CASES = [
    Case("value in place", 12, ((30, 35, "new"),)),
    Case("boundary in place", 12, ((30, 37, "one"), (30, 39, "two"), (40, 43, None))),
    Case("half of an entry", 12, ((30, 32, "head"), (53, 55, "tail"), (72, 73, "middle"))),
    Case("more than an entry", 12, ((28, 47, "more"), (28, 47, None))),
    Case("split", 16, ((2, 3, "a"), (22, 23, "b"), (42, 43, "c"))),
    Case("split, plain tree", 16, ((2, 3, "a"), (22, 23, "b"), (42, 43, "c")), gaps=False),
    Case("spanning", 40, ((52, 233, "wide"),)),
    Case("spanning, plain tree", 40, ((52, 233, "wide"),), gaps=False),
    Case("spanning with nothing", 40, ((52, 233, None),)),
    Case("erase until leaves merge", 24, tuple((STEP * n, STEP * n + 5, None) for n in range(4, 12))),
    Case("grow and shrink", 14, ((0, 3, "x"), (52, 99, "y"), (52, 99, None), (54, 55, "z"))),
    Case("the whole tree", 20, ((0, MAX, "all"),)),
    Case("down to the root word", 3, ((0, 0, "zero"), (1, MAX, None))),
    Case("down to nothing", 3, ((0, MAX, None),)),
]


class Histories:
    """Which values each key has in turn."""

    def __init__(self, case: Case) -> None:
        self.model = IntervalModel()
        for n in range(case.count):
            self.model.store(STEP * n, STEP * n + SPAN - 1, n)
        keys = range(case.low, case.high + 1)
        self.of = {key: [self.model.load(key)] for key in keys}
        for store in case.stores:
            self.model.store(*store)
            for key in keys:
                if self.model.load(key) != self.of[key][-1]:
                    self.of[key].append(self.model.load(key))

    def position(self, key: int, value: Any, since: int = 0) -> int:
        """Where in its history `value` is, not before `since`; fails if it is nowhere."""
        history = self.of[key]
        check(value in history[since:], f"key {key} is one of {history[since:]}, not {value!r}")
        return history.index(value, since)

    @property
    def always(self) -> list[int]:
        """The keys that hold one entry all the time."""
        return [key for key, history in self.of.items() if history[0] is not None and len(history) == 1]


def build(case: Case) -> MapleTree[Any]:
    tree: MapleTree[Any] = MapleTree(case.gaps, rcu=True)
    for n in range(case.count):
        tree.store_range(STEP * n, STEP * n + SPAN - 1, n)
    return tree


Reader = Callable[[MapleTree[Any], Case, Histories], None]


def load_reader(tree: MapleTree[Any], case: Case, histories: Histories) -> None:
    """Loads single keys, twice each: the second value is not older than the first."""
    first, last, _ = case.stores[-1]
    for key in (first, min(last, case.high), max(first - 1, 0)):
        since = histories.position(key, tree.load(key))
        histories.position(key, tree.load(key), since)


def forward_reader(tree: MapleTree[Any], case: Case, histories: Histories) -> None:
    """Walks up with one cursor."""
    missing = set(histories.always)
    before = -1
    with rcu_reader():
        mas: MaState[Any] = MaState(tree, case.low)
        while (entry := mas.find(case.high)) is not None:
            first = max(mas.index, case.low)
            check(first > before, f"{first} comes after {before}")
            check(first <= mas.last, f"{first}..{mas.last} is a range")
            histories.position(first, entry)
            before = mas.last
            missing.difference_update(range(first, mas.last + 1 if mas.last < MAX else case.high + 1))
    check(not missing, f"an upward walk passes over {missing}")


def backward_reader(tree: MapleTree[Any], case: Case, histories: Histories) -> None:
    """Walks down with one cursor."""
    missing = set(histories.always)
    after = MAX + 1
    with rcu_reader():
        mas: MaState[Any] = MaState(tree, case.high)
        while (entry := mas.find_rev(case.low)) is not None:
            last = min(mas.last, case.high)
            check(last < after, f"{last} comes before {after}")
            check(mas.index <= last, f"{mas.index}..{last} is a range")
            histories.position(last, entry)
            after = mas.index
            missing.difference_update(range(mas.index, last + 1))
    check(not missing, f"a downward walk passes over {missing}")


def slot_reader(tree: MapleTree[Any], case: Case, histories: Histories) -> None:
    """Goes to the middle, then over all slots to both sides; also next and prev out of a parked cursor."""
    with rcu_reader():
        mas: MaState[Any] = MaState(tree, case.stores[0][0])
        mas.walk()
        while mas.state is MapleStatus.ACTIVE and mas.last < case.high:
            entry = mas.next_range(case.high)
            if mas.state is MapleStatus.ACTIVE and case.low <= mas.index <= case.high:
                histories.position(mas.index, entry)
        mas.set(case.stores[0][0])
        mas.walk()
        while mas.state is MapleStatus.ACTIVE and mas.index > case.low:
            entry = mas.prev_range(case.low)
            if mas.state is MapleStatus.ACTIVE and case.low <= mas.last <= case.high:
                histories.position(mas.last, entry)


READERS: tuple[Reader, ...] = (load_reader, forward_reader, backward_reader, slot_reader)


def program(case: Case, readers: tuple[Reader, ...] = READERS) -> Callable[[], None]:
    """One writer makes the stores, each reader reads once; then everything is freed."""
    histories = Histories(case)

    def run() -> None:
        tree = build(case)

        def writer() -> None:
            for store in case.stores:
                tree.store_range(*store)

        tasks = [spawn(writer, name="writer")]
        tasks += [spawn(reader, tree, case, histories, name=reader.__name__) for reader in readers]
        join(*tasks)
        check([*tree.shown()] == histories.model.ranges, "the writer's stores are all there in the end")
        tree.validate()
        tree.destroy()
        rcu_barrier()

    return run


def equal_growth(readers: int = 2, stores: int = 3) -> None:
    """One range grows at both ends by turns of one store; a reader that finds it wider on one side finds it so on both.

    Only one store that moves both ends makes it grow, so it must be put in the tree as one.
    """
    tree: MapleTree[str] = MapleTree(rcu=True)
    tree.store_range(0, 39, "low")
    tree.store_range(40, 49, "middle")
    tree.store_range(50, 99, "high")

    def writer() -> None:
        for wider in range(1, stores + 1):
            tree.store_range(40 - wider, 49 + wider, "middle")

    def reader() -> None:
        with rcu_reader():
            mas: MaState[str] = MaState(tree, 45)
            check(mas.walk() == "middle", "the middle is always there")
            check(40 - mas.index == mas.last - 49, f"{mas.index}..{mas.last} has grown as far at both ends")

    join(spawn(writer), *[spawn(reader) for _ in range(readers)])
    tree.destroy()
    rcu_barrier()


def slow_reader() -> None:
    """A reader parked on an entry goes on after each store, to the new neighbour."""
    tree: MapleTree[Any] = MapleTree(True, rcu=True)
    for n in range(30):
        tree.store_range(STEP * n, STEP * n + SPAN - 1, n)
    seen = []

    def writer() -> None:
        for key in range(70, 76):
            tree.store(key, f"new {key}")

    def reader() -> None:
        with rcu_reader():
            mas: MaState[Any] = MaState(tree, 60)
            mas.find()
            while (entry := mas.next(90)) is not None:
                seen.append((mas.index, entry))

    tasks = spawn(writer), spawn(reader)
    join(*tasks)
    keys = [key for key, _ in seen]
    check(keys == sorted(set(keys)), f"{seen} is in order")
    check(seen[-1] == (90, 9), "the walk ends where it should")
    check(all(entry in (7, f"new {key}") for key, entry in seen if 70 <= key < 76), f"{seen} is old or new")
    tree.destroy()
    rcu_barrier()
