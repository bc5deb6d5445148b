"""Of each headline the simplest witness is kept, whoever made the executions; and what executions say of themselves."""

from __future__ import annotations

from typing import Any

import pytest
from concurrency_programs import BARE, Cell
from divided_searches import DIVIDED, DRAWN, Inline, told
from known_bugs import KNOWN_BUGS
from parallel_programs import three_writers

from sugarbush.concurrency import (
    KmemCache,
    Settings,
    Witness,
    check,
    cond_resched,
    explore,
    join,
    replay,
    spawn,
)
from sugarbush.concurrency.lowlevel import Replay, Sampler
from sugarbush.concurrency.search.sample import Runtimes
from sugarbush.concurrency.strategies.guided import Noted
from sugarbush.concurrency.strategies.table import make_strategy
from sugarbush.lockdep.model.gfp import GFP_KERNEL


def all_witnesses(program: Any, settings: Settings, executions: int) -> dict[str, list[Witness]]:
    """Every failing execution, replayed: what an exploration does not do."""
    found: dict[str, list[Witness]] = {}
    runtime = settings.runtime(make_strategy("random", 1, None, faults=settings.faults > 0))
    for _ in range(executions):
        execution = runtime.run(program)
        if execution.failure is not None:
            noted = Noted(Replay(execution.schedule))
            settings.runtime(noted).run(program)
            assert execution.fair or noted.preemptions == execution.preemptions
            witness = replay(program, execution.schedule, settings=settings)
            assert witness.size == (execution.preemptions, execution.steps)
            found.setdefault(execution.failure.headline, []).append(witness)
    return found


def test_the_simplest_of_each_headline_is_kept() -> None:
    found = all_witnesses(three_writers, BARE, 400)
    result = explore(
        three_writers, strategy="random", executions=400, keep_going=True, settings=BARE
    )  # fmt: skip
    kept = {one.failure.headline: one for one in result.failures}
    assert len(kept) == len(result.failures) > 2
    assert set(kept) == set(found)
    assert any(found[headline][0].size > one.size for headline, one in kept.items())
    for headline, one in kept.items():
        assert one.size == min(other.size for other in found[headline])
        assert result.times[headline] == len(found[headline])


@pytest.mark.parametrize("name", KNOWN_BUGS)
def test_an_execution_knows_its_preemptions(name: str) -> None:
    """The runtime counts them as a strategy that watches every choice does."""
    bug = KNOWN_BUGS[name]
    assert all_witnesses(bug.program, bug.settings, 300)


def offers() -> None:
    """Two tasks that offer their CPU and do something in between; it always fails."""
    cell = Cell()

    def work() -> None:
        for _ in range(3):
            cond_resched()
            cell.once = 1

    join(spawn(work), spawn(work))
    check(False, "always")


def test_to_leave_a_task_that_offers_its_cpu_is_no_preemption() -> None:
    assert len({one.preemptions for one in all_witnesses(offers, BARE, 60)["check failed: always"]}) > 3


@pytest.mark.parametrize("strategy", [*DRAWN, *DIVIDED])
def test_the_simplest_is_that_of_one_process(strategy: str) -> None:
    bounded = {*DIVIDED} - {"sleep"}
    heard: list[list[tuple[int, tuple[int, int]]]] = []
    results = []
    for executor in (None, Inline()):
        said: list[tuple[int, tuple[int, int]]] = []
        result = explore(
            three_writers, strategy=strategy, depth=2 if strategy in bounded else None, executions=300,
            keep_going=True, settings=BARE, executor=executor,
            found=lambda witness, said=said: said.append((witness.execution, witness.size)),
        )  # fmt: skip
        heard.append(said)
        results.append(result)
    assert told(results[0]) == told(results[1])
    assert results[0].times == results[1].times
    assert heard[0] == heard[1]
    assert len(heard[0]) >= len(results[0].failures)


def may_fail() -> None:
    """Three allocations, of which some may fail."""
    cache = KmemCache("thing", Cell)
    for _ in range(3):
        thing = cache.alloc(GFP_KERNEL)
        if thing is not None:
            cache.free(thing)


@pytest.mark.parametrize("runtime", ["simulated", "threaded"])
def test_allocations_that_fail_are_counted(runtime: str) -> None:
    settings = Settings(faults=2, without=frozenset({"lockdep"}))
    result = explore(may_fail, strategy="random", executions=50, runtime=runtime, settings=settings)
    assert not result.failures
    assert 50 < result.faults <= 100
    if runtime == "simulated":
        shared = explore(may_fail, strategy="random", executions=50, settings=settings, executor=Inline())
        assert shared.faults == result.faults


class Numbers(Sampler):
    """Counts the executions that it hears, and their spawns."""

    every = 5

    def __init__(self) -> None:
        self.executions = self.spawns = 0

    def begin(self, runtime: object) -> None:
        """See `Observer.begin`."""
        self.executions += 1

    def accessed(self, task: object, op: object, obj: object) -> None:
        """See `Observer.accessed`."""

    def spawned(self, parent: object, task: object) -> None:
        """See `Observer.spawned`."""
        self.spawns += 1

    def taken(self) -> tuple[int, int]:
        """See `Sampler.taken`."""
        return self.executions, self.spawns

    def add(self, taken: tuple[int, int]) -> None:
        """See `Sampler.add`."""
        self.executions += taken[0]
        self.spawns += taken[1]


@pytest.mark.parametrize("strategy", [*DRAWN, *DIVIDED, "dpor"])
@pytest.mark.parametrize("executor", [None, Inline()])
def test_a_sampler_hears_every_so_many_th_execution_and_changes_none(
    strategy: str, executor: Inline | None
) -> None:
    options: dict[str, Any] = {
        "strategy": strategy, "executions": 120, "keep_going": True, "settings": BARE, "executor": executor
    }  # fmt: skip
    sampler = Numbers()
    heard = explore(three_writers, **options, sampler=sampler)
    assert told(heard) == told(explore(three_writers, **options))
    if strategy in DRAWN:
        assert sampler.executions == 24
    assert sampler.executions > 0
    assert sampler.spawns == 4 * sampler.executions


def test_threads_are_sampled_too() -> None:
    sampler = Numbers()
    explore(three_writers, runtime="threaded", executions=11, keep_going=True, sampler=sampler)
    assert sampler.executions == 3


def test_without_a_sampler_there_is_one_runtime_once_tasks_have_met() -> None:
    made: list[Settings] = []

    def make(settings: Settings) -> int:
        made.append(settings)
        return len(made)

    runtimes = Runtimes(make, BARE, None)
    assert [runtimes.of(number) for number in range(3)] == [1] * 3
    runtimes.meeting.met = True
    assert [runtimes.of(number) for number in range(3)] == [2] * 3
    assert made[1] == BARE
