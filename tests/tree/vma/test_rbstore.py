"""What the maple tree replaced, against the interval model and beside the maple tree, behind one face."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from interval_model import IntervalModel

from sugarbush.concurrency import Kind, RwSemaphore, Spinlock, explore, join, spawn
from sugarbush.tree import MAX, BadRange, Busy, Corrupt, Exists, MapleTree, RbStore, StaleState, VmaStore

keys = st.one_of(st.integers(0, 300), st.integers(0, 20).map(lambda k: MAX - k))


@st.composite
def ranges(draw: Any) -> tuple[int, int]:
    first = draw(keys)
    return first, min(first + draw(st.one_of(st.integers(0, 9), st.integers(0, 100))), MAX)


class Comparison(RuleBasedStateMachine):
    """The same calls on both structures and on the model."""

    @initialize(count=st.integers(0, 60))
    def begin(self, count: int) -> None:
        self.stores: list[VmaStore[int]] = [RbStore(), MapleTree(track_gaps=True)]
        self.model = IntervalModel()
        self.value = 0
        for step in range(count):
            self.store((5 * step, 5 * step + 2), unset=False)

    @rule(at=ranges(), unset=st.booleans())
    def store(self, at: tuple[int, int], unset: bool) -> None:
        self.value += 1
        entry = None if unset else self.value
        for store in self.stores:
            mas = store.cursor(*at)
            mas.preallocate(entry)
            mas.store_prealloc(entry)
        self.model.store(*at, entry)

    @rule(index=keys, before=st.integers(0, 9), after=st.integers(0, 9))
    def grow(self, index: int, before: int, after: int) -> None:
        found = self.model.at(index)
        if found:
            at = max(found[0] - before, 0), min(found[1] + after, MAX)
            for store in self.stores:
                store.store_range(*at, found[2])
            self.model.store(*at, found[2])

    @rule(index=keys)
    def look(self, index: int) -> None:
        for store in self.stores:
            assert store.load(index) == self.model.load(index)
            mas = store.cursor(index)
            entry = mas.walk()
            assert (mas.index, mas.last, entry) == self.model.slot(index)

    @rule(index=keys, limit=keys)
    def neighbours(self, index: int, limit: int) -> None:
        after = self.model.after(index, max(limit, index))
        before = self.model.before(index, min(limit, index))
        found = self.model.find(index, max(limit, index))
        for store in self.stores:
            assert store.cursor(index).next(max(limit, index)) == (after[2] if after else None)
            if not isinstance(store, MapleTree) or store.height:  # see docs/tree.md, S2
                assert store.cursor(index).prev(min(limit, index)) == (before[2] if before else None)
            assert store.cursor(index).find(max(limit, index)) == (found[2] if found else None)

    @rule(at=ranges(), size=st.integers(1, 40))
    def gaps(self, at: tuple[int, int], size: int) -> None:
        low, high = at
        if high - low < size - 1:
            return
        lowest = self.model.lowest_fit(low, high, size)
        highest = self.model.highest_fit(low, high, size)
        for store in self.stores:
            mas = store.cursor()
            if lowest is None or highest is None:
                with pytest.raises(Busy):
                    mas.empty_area(low, high, size)
                with pytest.raises(Busy):
                    mas.empty_area_rev(low, high, size)
            else:
                mas.empty_area(low, high, size)
                assert (mas.index, mas.last) == (lowest, lowest + size - 1)
                mas.empty_area_rev(low, high, size)
                assert (mas.index, mas.last) == (highest, highest + size - 1)

    @rule(at=ranges())
    def walk_from(self, at: tuple[int, int]) -> None:
        for store in self.stores:
            mas = store.cursor(at[0])
            seen = []
            while (entry := mas.find(at[1])) is not None:
                seen.append(entry)
            assert seen == [entry for _, _, entry in store.ranges(*at)]

    @invariant()
    def agree(self) -> None:
        for store in self.stores:
            store.validate()
            assert list(store.ranges()) == self.model.ranges


TestComparison = Comparison.TestCase
TestComparison.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def ranges_in_a_row(count: int) -> RbStore[int]:
    store: RbStore[int] = RbStore()
    for number in range(count):
        store.store_range(5 * number, 5 * number + 2, number)
    return store


@pytest.mark.parametrize("count", range(1, 32))
def test_gaps_are_right_after_any_one_change(count: int) -> None:
    """In a tree of this size every range is erased and put back, cut at both ends, and grown, and each gap filled."""
    for number in range(count):
        first = 5 * number
        store = ranges_in_a_row(count)
        store.erase(first)
        store.validate()
        store.insert_range(first, first + 2, number)
        store.validate()
        for low, high, entry in (
            (first - 1, first, None),
            (first + 2, first + 4, None),
            (first, first + 4, number),
            (first + 3, first + 4, -1),
            (first, first + 7, None),
            (0, first, None),
        ):
            store = ranges_in_a_row(count)
            store.store_range(max(low, 0), high, entry)
            store.validate()


def filled() -> RbStore[int]:
    store: RbStore[int] = RbStore()
    for key in range(100):
        store[10 * key : 10 * key + 5] = key
    return store


def test_bad_input_is_refused() -> None:
    store = filled()
    with pytest.raises(BadRange):
        store.store_range(5, 4, 1)
    with pytest.raises(BadRange):
        store.lowest_fit(0, 3, 5)
    with pytest.raises(Exists):
        store.insert_range(8, 12, 1)
    mas = store.cursor(50)
    mas.find()
    store.erase(70)
    with pytest.raises(StaleState):
        mas.next()


def test_corruption_is_found() -> None:
    for corrupt in ("subtree_gap", "red", "first"):
        store = filled()
        node = store.find_node(500)
        assert node is not None
        setattr(node, corrupt, {"subtree_gap": 77, "red": not node.red, "first": 3}[corrupt])
        with pytest.raises(Corrupt):
            store.validate()


def test_the_cache_forgets_with_every_change() -> None:
    store = filled()
    assert store.load(55) == 5
    store.erase(55)
    assert store.load(55) is None


def test_a_look_up_without_the_lock_is_a_report() -> None:
    def program() -> None:
        lock = RwSemaphore("mmap_lock")
        store: RbStore[int] = RbStore(lock)
        lock.down_write()
        store[0:9] = 1
        lock.up_write()

        def reader() -> None:
            store.load(3)

        join(spawn(reader))

    failures = explore(program, executions=1).failures
    assert failures[0].failure.kind is Kind.LOCKDEP


def test_a_missing_lock_is_a_data_race() -> None:
    def program() -> None:
        lock = Spinlock("rb_lock")
        store: RbStore[int] = RbStore()
        store.lock = lock

        def reader() -> None:
            store.load(3)

        def writer() -> None:
            with lock:
                store[0:9] = 1

        join(spawn(reader), spawn(writer))

    failures = explore(program, executions=5).failures
    assert failures[0].failure.kind is Kind.DATA_RACE
