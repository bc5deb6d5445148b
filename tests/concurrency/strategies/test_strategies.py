"""Strategies: how they are distributed, and what PCT promises."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from concurrency_programs import BARE, Cell, every_execution
from strategy_programs import one_window, two_by_two

from sugarbush.concurrency import Mutex, Settings, check, explore, join, spawn
from sugarbush.concurrency.lowlevel import PCT, RandomWalk, Simulated


def test_random_walk_is_uniform_at_each_switch_point() -> None:
    """Chi-square over all schedules against the product of 1/runnable; p < 1e-6 would fail, once in a million."""
    expected: dict[str, float] = {}

    class Watch:
        def __init__(self, inner: object) -> None:
            self.inner, self.name, self.lease = inner, "watch", 1
            self.numbers = None
            self.chance = 1.0

        def begin(self, execution: int) -> None:
            self.inner.begin(execution)
            self.chance = 1.0

        def choose(self, runnable, current, step, forced):
            self.chance /= len(runnable)
            return self.inner.choose(runnable, current, step, forced)

        def data(self, n: int, label: str) -> int:
            return self.inner.data(n, label)

        def end(self, steps: int, forced: int) -> None:
            self.inner.end(steps, forced)

    watch = Watch(RandomWalk(11))
    runtime = Simulated(watch)
    n = 6000
    seen: Counter[str] = Counter()
    for _ in range(n):
        text = str(runtime.run(two_by_two).schedule)
        seen[text] += 1
        expected[text] = watch.chance
    every = {str(execution.schedule) for execution in every_execution(two_by_two)}
    assert set(seen) == every
    assert sum(expected.values()) == pytest.approx(1)
    chi = sum((seen[key] - n * p) ** 2 / (n * p) for key, p in expected.items())
    freedom = len(expected) - 1
    assert chi < freedom + 5.2 * (2 * freedom) ** 0.5 + 20


def test_pct_of_depth_one_never_preempts() -> None:
    def program() -> None:
        cell = Cell()

        def work(name: str) -> None:
            for _ in range(5):
                cell.once = 1
                order.append(name)

        order: list[str] = []
        join(*[spawn(work, name) for name in "abc"])
        check(len([1 for x, y in itertools.pairwise(order) if x != y]) == 2, "each in one go")

    result = explore(program, strategy="pct", depth=1, executions=200, settings=BARE)
    assert not result.failures


def test_pct_of_depth_one_takes_every_order() -> None:
    orders: set[str] = set()

    def program() -> None:
        cell = Cell()
        order: list[str] = []

        def work(name: str) -> None:
            cell.once = 1
            order.append(name)

        join(*[spawn(work, name) for name in "abc"])
        orders.add("".join(order))

    explore(program, strategy="pct", depth=1, executions=200, settings=BARE)
    assert len(orders) == 6


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_pct_preempts_at_most_d_minus_one_times(depth: int) -> None:
    """Spawning gives a task a priority, so switches at the spawns of main do not count: main does nothing else."""
    runtime = Simulated(PCT(3, depth))

    def program() -> None:
        cell = Cell()

        def work() -> None:
            for _ in range(6):
                cell.once = 1

        spawn(work)
        spawn(work)

    for _ in range(200):
        assert runtime.run(program).schedule.switches <= 2 + (depth - 1)


def test_pct_uses_all_change_points_after_the_first_execution() -> None:
    """The guess of the length is replaced by what was seen, so a long program is cut late, too."""
    late: list[int] = []

    def program() -> None:
        cell = Cell()

        def counts() -> None:
            for n in range(1000):
                cell.once = n

        def looks() -> None:
            late.append(cell.once)

        spawn(counts)
        spawn(looks)

    explore(program, strategy="pct", depth=2, executions=300, settings=BARE)
    assert any(n > 700 for n in late[1:])
    assert any(0 < n < 300 for n in late[1:])


@pytest.mark.parametrize("settings", [BARE, Settings()], ids=["bare", "all checks"])
@pytest.mark.parametrize("make", [lambda: PCT(5, 3), lambda: RandomWalk(5)], ids=["pct", "random"])
def test_leases_change_nothing_but_the_cost(make, settings: Settings) -> None:
    """A strategy that is asked at every switch point gives the schedules of one that grants leases."""

    class AskedAlways:
        name, lease, numbers = "asked", 1, None

        def __init__(self) -> None:
            self.inner = make()

        def begin(self, execution: int) -> None:
            self.inner.begin(execution)

        def choose(self, runnable, current, step, forced):
            return self.inner.choose(runnable, current, step, forced)

        def data(self, n: int, label: str) -> int:
            return self.inner.data(n, label)

        def end(self, steps: int, forced: int) -> None:
            self.inner.end(steps, forced)

        @property
        def knows(self) -> object:
            return self.inner.knows

        @property
        def teaches(self) -> object:
            return self.inner.teaches

        def lessons(self) -> list[object]:
            return getattr(self.inner, "lessons", list)()

        def learn(self, lessons: list[object]) -> None:
            if lessons:
                self.inner.learn(lessons)

    def program() -> None:
        cell, mutex = Cell(), Mutex("m")

        def work() -> None:
            for _ in range(4):
                with mutex:
                    cell.plain += 1
                cell.once += 1

        join(*[spawn(work) for _ in range(3)])

    usual, asked = settings.runtime(make()), settings.runtime(AskedAlways())
    for _ in range(50):
        assert usual.run(program).schedule == asked.run(program).schedule


def test_seeds_differ_and_executions_differ() -> None:
    def texts(seed: int, strategy: str) -> list[str]:
        runtime = Simulated(RandomWalk(seed) if strategy == "random" else PCT(seed))
        return [str(runtime.run(one_window).schedule) for _ in range(30)]

    for strategy in ("random", "pct"):
        assert texts(1, strategy) == texts(1, strategy)
        assert texts(1, strategy) != texts(2, strategy)
        assert len(set(texts(1, strategy))) > 3
