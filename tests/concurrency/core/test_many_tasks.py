"""Ten thousand tasks that wait on one object; and what treats many together chooses as what goes through them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from concurrency_programs import BARE

from sugarbush.concurrency import Completion, Flag, Mutex, Settings, explore, join, spawn
from sugarbush.concurrency.core import task
from sugarbush.concurrency.runtimes import choosing
from sugarbush.concurrency.runtimes.simulated import Simulated
from sugarbush.concurrency.strategies import pct
from sugarbush.concurrency.strategies.pct import PCT
from sugarbush.concurrency.strategies.random_walk import RandomWalk


def through_mutex(tasks: int) -> None:
    mutex = Mutex("m")

    def work() -> None:
        with mutex:
            inside.append(1)
            assert len(inside) == 1
            inside.pop()

    inside: list[int] = []
    join(*[spawn(work) for _ in range(tasks)])


def one_by_one(tasks: int) -> None:
    completion = Completion()
    waiters = [spawn(completion.wait) for _ in range(tasks)]
    for _ in waiters:
        completion.complete()
    join(*waiters)
    assert not completion._done


def all_at_once(tasks: int) -> None:
    completion = Completion()
    waiters = [spawn(completion.wait) for _ in range(tasks)]
    completion.complete_all()
    join(*waiters)


def on_a_flag(tasks: int) -> None:
    flag = Flag()
    waiters = [spawn(flag.wait) for _ in range(tasks)]
    flag.set()
    assert join(*waiters) == [True] * tasks


@pytest.mark.parametrize(
    ("program", "tasks", "strategy"),
    [
        *(
            (program, 1_500, strategy)
            for program in (through_mutex, one_by_one)
            for strategy in ("pct", "random")
        ),
        pytest.param(all_at_once, 10_000, "pct", marks=pytest.mark.exhaustive),
        (all_at_once, 3_000, "pct"),
        (on_a_flag, 10_000, "random"),
        # Each strategy and each object has its ten thousand above.
        pytest.param(all_at_once, 10_000, "random", marks=pytest.mark.exhaustive),
        pytest.param(on_a_flag, 10_000, "pct", marks=pytest.mark.exhaustive),
        (on_a_flag, 1_500, "pct"),
    ],
)
def test_many_tasks_wait_on_one_object(program: Callable[[int], None], tasks: int, strategy: str) -> None:
    settings = Settings(without=BARE.without, patience=None)
    found = explore(lambda: program(tasks), strategy=strategy, executions=1, settings=settings)
    assert not found.failures


@pytest.mark.parametrize("made", [PCT, RandomWalk])
@pytest.mark.parametrize("program", [through_mutex, one_by_one, all_at_once, on_a_flag])
def test_as_many_the_few_choose_the_same(
    program: Callable[[int], None], made: Callable[[int], PCT | RandomWalk], monkeypatch: pytest.MonkeyPatch
) -> None:
    def schedules() -> list[tuple[list[int], list[int]]]:
        runtime = Simulated(made(5))
        found = [runtime.run(lambda: program(6)) for _ in range(200)]
        assert all(execution.failure is None for execution in found)
        return [([task.id for task in execution.who], execution.when) for execution in found]

    few = schedules()
    for module in (task, choosing, pct):
        monkeypatch.setattr(module, "MANY", 1)
    assert schedules() == few
