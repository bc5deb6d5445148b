"""The tree against the interval model, over both interfaces, with failing allocations."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from interval_model import IntervalModel
from tree_replay import CountingNodes

from sugarbush.tree import MAX, Busy, Exists, MapleStatus, MapleTree, MaState, NoMemory

near = st.integers(0, 400)
keys = st.one_of(near, near.map(lambda k: MAX - k), near.map(lambda k: 2**40 + k))
sizes = st.one_of(st.integers(1, 60), st.sampled_from([2**20, 2**40, 2**63]))


@st.composite
def ranges(draw: Any) -> tuple[int, int]:
    first = draw(keys)
    wide = st.one_of(st.integers(0, 12), st.integers(0, 200), st.just(MAX))
    return first, min(first + draw(wide), MAX)


class Comparison(RuleBasedStateMachine):
    @initialize(gaps=st.booleans(), rcu=st.booleans(), plain=st.booleans(), seed=st.integers(0, 40))
    def begin(self, gaps: bool, rcu: bool, plain: bool, seed: int) -> None:
        self.source = CountingNodes()
        self.plain = plain
        self.tree: MapleTree[int] = MapleTree(gaps, rcu, source=None if plain else self.source)
        self.model = IntervalModel()
        self.value = 0
        for step in range(seed):
            self.value += 1
            self.tree.store_range(7 * step, 7 * step + 3, self.value)
            self.model.store(7 * step, 7 * step + 3, self.value)

    def new_entry(self) -> int:
        self.value += 1
        return self.value

    @rule(at=ranges(), unset=st.booleans())
    def store_range(self, at: tuple[int, int], unset: bool) -> None:
        entry = None if unset else self.new_entry()
        self.tree.store_range(*at, entry)
        self.model.store(*at, entry)

    @rule(at=ranges())
    def store_a_run(self, at: tuple[int, int]) -> None:
        for first in range(at[0], min(at[1], at[0] + 60) + 1, 3):
            entry = self.new_entry()
            self.tree.store(first, entry)
            self.model.store(first, first, entry)

    @rule(at=ranges())
    def insert_range(self, at: tuple[int, int]) -> None:
        entry = self.new_entry()
        if self.model.is_free(*at):
            self.tree.insert_range(*at, entry)
            self.model.store(*at, entry)
        else:
            with pytest.raises(Exists):
                self.tree.insert_range(*at, entry)

    @rule(index=keys)
    def erase(self, index: int) -> None:
        assert self.tree.erase(index) == self.model.erase(index)

    @rule(at=ranges(), unset=st.booleans(), failing=st.integers(1, 3))
    def store_without_memory(self, at: tuple[int, int], unset: bool, failing: int) -> None:
        before = self.tree.dump(), self.source.live
        self.source.fail_mode, self.source.fail_count = "all", float("inf")
        try:
            self.tree.store_range(*at, None if unset else self.new_entry())
        except NoMemory:
            assert (self.tree.dump(), self.source.live) == before
        else:
            self.model.store(*at, None if unset else self.value)
        finally:
            self.source.fail_mode = "off"

    @rule(at=ranges(), unset=st.booleans())
    def store_with_preallocation(self, at: tuple[int, int], unset: bool) -> None:
        entry = None if unset else self.new_entry()
        mas: MaState[int] = MaState(self.tree, *at)
        mas.preallocate(entry)
        taken = self.source.taken
        mas.store_prealloc(entry)
        assert self.source.taken == taken
        self.model.store(*at, entry)

    @rule(at=ranges(), size=sizes, highest=st.booleans())
    def alloc_range(self, at: tuple[int, int], size: int, highest: bool) -> None:
        low, high = at
        if not self.tree.track_gaps or high - low < size - 1:
            return
        expected = (self.model.highest_fit if highest else self.model.lowest_fit)(low, high, size)
        entry = self.new_entry()
        allocate = self.tree.alloc_rrange if highest else self.tree.alloc_range
        if expected is None:
            with pytest.raises(Busy):
                allocate(entry, size, low, high)
        else:
            assert allocate(entry, size, low, high) == expected
            self.model.store(expected, expected + size - 1, entry)

    @rule(index=keys, limit=keys)
    def look_up(self, index: int, limit: int) -> None:
        assert self.tree.load(index) == self.model.load(index)
        found = self.model.find(index, limit) if index <= limit else None
        after = (found[1] + 1) % 2**64 if found else index
        assert self.tree.find(index, limit) == (found[2] if found else None, after)
        mas: MaState[int] = MaState(self.tree, index)
        entry = mas.walk()
        assert (mas.index, mas.last, entry) == self.model.slot(index)

    @rule(index=keys, limit=keys)
    def neighbours(self, index: int, limit: int) -> None:
        after = self.model.after(index, limit) if index < limit else None
        assert self.tree.next(index, limit) == (after[2] if after else None)
        if self.tree.height:  # an entry in the root word is found whatever the limit, as in the kernel
            before = self.model.before(index, limit) if index > limit else None
            assert self.tree.prev(index, limit) == (before[2] if before else None)

    @rule(index=keys, down=st.booleans())
    def iterate(self, index: int, down: bool) -> None:
        mas: MaState[int] = MaState(self.tree, index)
        seen = []
        while (entry := mas.find_rev(0) if down else mas.find(MAX)) is not None:
            seen.append((mas.index, mas.last, entry))
        if down:
            assert seen == [r for r in reversed(self.model.ranges) if r[0] <= index]
        else:
            assert seen == [r for r in self.model.ranges if r[1] >= index]

    @rule(at=ranges())
    def replace_while_iterating(self, at: tuple[int, int]) -> None:
        mas: MaState[int] = MaState(self.tree, at[0])
        while (mas.find(at[1])) is not None:
            entry = self.new_entry()
            self.model.store(mas.index, mas.last, entry)
            mas.store_gfp(entry)
            if mas.state is not MapleStatus.ACTIVE:
                break

    @rule(index=keys, down=st.booleans(), count=st.integers(1, 12))
    def walk_over_slots(self, index: int, down: bool, count: int) -> None:
        """Set and unset ranges alike, from the one that holds a key; then back with the same cursor."""
        if not self.tree.height:
            return
        mas: MaState[int] = MaState(self.tree, index)
        entry = mas.walk()
        visited = [(mas.index, mas.last, entry)]
        for _ in range(count):
            entry = mas.prev_range() if down else mas.next_range()
            if not mas.is_active:
                break
            visited.append((mas.index, mas.last, entry))
            assert visited[-1] == self.model.slot(mas.index)
        for (first, last, _), (after, until, _) in pairwise(reversed(visited) if down else visited):
            assert last + 1 == after
            assert first <= last < until + 1
        if mas.is_active:
            for first, last, _ in reversed(visited[:-1]):
                mas.next_range() if down else mas.prev_range()
                assert (mas.index, mas.last) == (first, last)

    @rule(index=keys, limit=keys, down=st.booleans())
    def pause_and_go_on(self, index: int, limit: int, down: bool) -> None:
        if not self.tree.height or (index < limit if down else index > limit):
            return
        mas: MaState[int] = MaState(self.tree, index)
        seen = []
        while (entry := mas.find_rev(limit) if down else mas.find(limit)) is not None:
            seen.append(entry)
            mas.pause()
        ranges = [r for r in self.model.ranges if r[1] >= min(index, limit) and r[0] <= max(index, limit)]
        assert seen == [entry for _, _, entry in (reversed(ranges) if down else ranges)]

    @rule(at=ranges(), unset=st.booleans())
    def store_through_a_cursor(self, at: tuple[int, int], unset: bool) -> None:
        entry = None if unset else self.new_entry()
        mas: MaState[int] = MaState(self.tree, *at)
        assert mas.store(entry) == self.model.load(at[0])
        mas.destroy()
        self.model.store(*at, entry)

    @rule(index=keys)
    def erase_through_a_cursor(self, index: int) -> None:
        mas: MaState[int] = MaState(self.tree, index)
        found = self.model.at(index)
        assert mas.erase() == self.model.erase(index)
        if found:
            assert mas.index <= found[0] <= found[1] <= mas.last
            assert self.model.is_free(mas.index, mas.last)

    @rule(at=ranges())
    def insert_through_a_cursor(self, at: tuple[int, int]) -> None:
        entry = self.new_entry()
        mas: MaState[int] = MaState(self.tree, *at)
        if self.model.is_free(*at):
            mas.insert_gfp(entry)
            self.model.store(*at, entry)
        else:
            with pytest.raises(Exists):
                mas.insert_gfp(entry)
            assert mas.walk() == self.model.load(at[0])

    @rule(index=keys, limit=keys, down=st.booleans())
    def find_ranges(self, index: int, limit: int, down: bool) -> None:
        """Set and unset ranges, until the limit; the first call passes over the unset range that it begins in."""
        if not self.tree.height or (index <= limit if down else index >= limit):
            return
        mas: MaState[int] = MaState(self.tree, index)
        expected = self.model.slot(index)
        if expected[2] is None:
            if expected[0] <= limit if down else expected[1] >= limit:
                return
            expected = self.model.slot(expected[0] - 1 if down else expected[1] + 1)
        while True:
            entry = mas.find_range_rev(limit) if down else mas.find_range(limit)
            assert (mas.index, mas.last, entry) == expected
            if expected[0] <= limit if down else expected[1] >= limit:
                break
            expected = self.model.slot(expected[0] - 1 if down else expected[1] + 1)

    @rule(at=ranges(), key=keys)
    def use_it_as_a_mapping(self, at: tuple[int, int], key: int) -> None:
        first, last = at
        entry = self.tree[first:last] = self.new_entry()
        self.model.store(first, last, entry)
        assert (key in self.tree) == (self.model.load(key) is not None)
        if key in self.tree:
            assert self.tree[key] == self.model.load(key)
            del self.tree[key]
            self.model.store(key, key, None)
        assert len(self.tree) == len(self.model.ranges)
        assert list(self.tree[first:last]) == [r for r in self.model.ranges if r[1] >= first and r[0] <= last]
        after = self.tree.find_after(key)
        assert after == ((None, 0) if key == 0 else self.tree.find(key))

    @rule()
    def dup(self) -> None:
        source = CountingNodes()
        copy: MapleTree[int] = MapleTree(self.tree.track_gaps, self.tree.rcu, source=source)
        self.tree.dup(copy)
        copy.validate()
        assert copy.dump() == self.tree.dump()
        copy.destroy()
        source.grace_period()
        assert source.live == 0

    @rule(at=ranges(), after=keys)
    def alloc_cyclic(self, at: tuple[int, int], after: int) -> None:
        if not self.tree.track_gaps:
            return
        low, high = at
        begin = after if low <= after <= high else low
        expected = self.model.lowest_fit(begin, high, 1)
        if expected is None and begin > low:
            expected = self.model.lowest_fit(low, begin - 1, 1)
        entry = self.new_entry()
        if expected is None:
            with pytest.raises(Busy):
                self.tree.alloc_cyclic(entry, after, low, high)
        else:
            assert self.tree.alloc_cyclic(entry, after, low, high) == (expected, (expected + 1) % 2**64)
            self.model.store(expected, expected, entry)

    @rule(on=st.booleans())
    def switch_rcu_mode(self, on: bool) -> None:
        (self.tree.set_in_rcu if on else self.tree.clear_in_rcu)()
        assert self.tree.rcu is on

    @rule(count=st.integers(1, 80), step=st.integers(1, 9))
    def bulk_load_an_empty_tree(self, count: int, step: int) -> None:
        if not self.tree.empty:
            return
        mas: MaState[int] = MaState(self.tree)
        mas.expected_entries(count)
        for n in range(count):
            entry = self.new_entry()
            mas.set_range(n * step, n * step + step // 2)
            mas.store(entry)
            self.model.store(n * step, n * step + step // 2, entry)
        mas.destroy()

    @rule()
    def destroy(self) -> None:
        self.tree.destroy()
        self.source.grace_period()
        assert self.source.live == 0
        self.model = IntervalModel()

    @invariant()
    def agree(self) -> None:
        self.source.grace_period()
        self.tree.validate()
        assert list(self.tree) == self.model.ranges
        assert self.plain or self.source.live == self.tree.dump().count(": node 0x")


TestComparison = Comparison.TestCase
TestComparison.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
