"""One exploration over several processes: the result is that of one."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from concurrency_programs import BARE, abba, lost_update
from divided_searches import DIVIDED, DRAWN, Inline, told
from known_bugs import KNOWN_BUGS, locked_order, skewed_windows
from parallel_programs import (
    DiesOnce,
    always_dies,
    never_fails,
    three_writers,
    worse_in_a_worker,
)

from sugarbush.concurrency import (
    BadSchedule,
    ConcurrencyError,
    Kind,
    Settings,
    Verdict,
    Witness,
    explore,
)
from sugarbush.concurrency.strategies.table import TABLE


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    """Two processes for several explorations."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver")) as pool:
        yield pool


@pytest.mark.parametrize("name", KNOWN_BUGS)
@pytest.mark.parametrize("strategy", [*DRAWN, *DIVIDED])
def test_the_first_failure_is_that_of_one_process(strategy: str, name: str) -> None:
    bug = KNOWN_BUGS[name]
    alone = explore(bug.program, strategy=strategy, executions=3000, settings=bug.settings)
    shared = explore(
        bug.program, strategy=strategy, executions=3000, settings=bug.settings, executor=Inline()
    )
    assert told(shared) == told(alone)
    assert alone.failures


@pytest.mark.parametrize("executions", [1, 7, 100, 777])
@pytest.mark.parametrize("strategy", DRAWN)
def test_all_failures_within_a_budget_are_those_of_one_process(strategy: str, executions: int) -> None:
    options: dict[str, Any] = {
        "strategy": strategy, "executions": executions, "keep_going": True, "settings": BARE
    }  # fmt: skip
    assert told(explore(three_writers, **options, executor=Inline())) == told(
        explore(three_writers, **options)
    )


@pytest.mark.parametrize("depth", [0, 1, 2, None])
@pytest.mark.parametrize("strategy", DIVIDED)
def test_a_whole_search_is_that_of_one_process(strategy: str, depth: int | None) -> None:
    if depth is not None and TABLE[strategy].depth is None:
        return
    for program in (lost_update, abba, locked_order, never_fails):
        if depth is None and program in (locked_order, never_fails):
            continue
        options: dict[str, Any] = {
            "strategy": strategy, "depth": depth, "keep_going": True, "settings": BARE
        }  # fmt: skip
        alone = explore(program, **options)
        shared = explore(program, **options, executor=Inline())
        assert told(shared) == told(alone)
        assert (shared.bound, shared.scope) == (alone.bound, alone.scope)
        assert alone.exhaustive


@pytest.mark.parametrize("executions", [1, 2, 3, 10, 50, 333])
@pytest.mark.parametrize("strategy", DIVIDED)
def test_a_search_that_a_budget_ends_saw_the_same_failures(strategy: str, executions: int) -> None:
    options: dict[str, Any] = {
        "strategy": strategy, "executions": executions, "keep_going": True, "settings": BARE
    }  # fmt: skip
    alone = explore(three_writers, **options)
    shared = explore(three_writers, **options, executor=Inline())
    assert (shared.executions, shared.steps) == (alone.executions, alone.steps)
    assert told(shared)[-1] == told(alone)[-1]
    assert shared.verdict is alone.verdict


@pytest.mark.parametrize("strategy", ["random", "pct", "surw", "dfs", "idelay"])
def test_two_processes_find_what_one_finds(strategy: str, processes: Executor) -> None:
    """Reports come in any order here."""
    depth = 2 if strategy in DIVIDED else None
    for keep_going in (False, True):
        options: dict[str, Any] = {
            "strategy": strategy, "depth": depth, "executions": 600, "keep_going": keep_going, "settings": BARE
        }  # fmt: skip
        for program in (three_writers, skewed_windows):
            assert told(explore(program, **options, executor=processes)) == told(explore(program, **options))


def test_jobs_start_processes_of_their_own() -> None:
    alone = explore(three_writers, strategy="random", executions=200, keep_going=True)
    assert told(explore(three_writers, strategy="random", executions=200, keep_going=True, jobs=2)) == told(
        alone
    )


def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path) -> None:
    program = DiesOnce(tmp_path / "died")
    options: dict[str, Any] = {
        "strategy": "random", "executions": 100, "keep_going": True, "settings": BARE
    }  # fmt: skip
    shared = explore(program, **options, jobs=2)
    assert (tmp_path / "died").exists()
    assert told(shared) == told(explore(program, **options))


@pytest.mark.parametrize("strategy", ["random", "dfs"])
def test_work_that_kills_its_worker_twice_is_reported(strategy: str) -> None:
    with pytest.raises(ConcurrencyError, match="a worker died 2 times over the same work, "):
        explore(always_dies, strategy=strategy, executions=50, settings=BARE, jobs=2)


def test_a_program_without_a_name_is_refused() -> None:
    with pytest.raises(ConcurrencyError, match="cannot be sent to another process"):
        explore(lambda: None, executions=10, jobs=2)
    with pytest.raises(ConcurrencyError, match="cannot be sent to another process"):
        explore(lost_update, executions=10, jobs=2, settings=Settings(observers=lambda: ()))


def test_a_program_that_differs_in_a_worker_is_not_deterministic(processes: Executor) -> None:
    with pytest.raises(BadSchedule, match="not deterministic"):
        explore(worse_in_a_worker, strategy="random", executions=10, executor=processes)


class Liar(Executor):
    """Gives back what it likes."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(self._answer)
        return future


@pytest.mark.parametrize(
    "answer",
    [None, [], b"", "", "[]", "NaN", '[[],"",""]', '[[[[],[],[],[],[],null,true]],"",""]', "[" * 100_000, '[5,"",""]',
     '[[[[],[[1,0,0,false,0,false,null,"",null,[]]],[],[["x"]],[],null,true]],"",""]',
     '[[[[],[[-1,0,0,false,0,false,null,"",null,[]]],[],[],[],null,true]],"",""]',
     '[[[[1],[[1,0,0,false,0,false,null,"",null,[]]],[],[],[],null,true]],"",""]',
     '[[[[],[[1,0,0,false,0,false,null,"",null,[[0,1]]]],[],[],[],null,true]],"",""]'],
)  # fmt: skip
def test_a_worker_that_gives_back_nonsense_is_refused_in_a_sentence(answer: object) -> None:
    # Of a strategy that draws an empty report is one: of executions that were interrupted. A search would not end.
    well_formed = answer == '[[[[],[],[],[],[],null,true]],"",""]'
    for strategy in ("dfs",) if well_formed else ("pct", "dfs"):
        with pytest.raises(
            ConcurrencyError, match=r"is no report of this Sugarbush \(.*\): install the same version"
        ):
            explore(three_writers, strategy=strategy, executions=20, executor=Liar(answer))


def test_what_a_worker_raises_is_said_and_not_unpickled() -> None:
    complaint = json.dumps([[], "the program cannot be run by a worker: KeyError: 1", ""])
    with pytest.raises(ConcurrencyError, match="KeyError: 1"):
        explore(three_writers, executions=20, executor=Liar(complaint))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs": 0}, "jobs must be a whole number above 0, not 0"),
        ({"jobs": 2, "runtime": "threaded"}, "the threaded runtime runs in one process"),
        ({"executor": Inline(), "runtime": "threaded"}, "the threaded runtime runs in one process"),
    ],
)
def test_what_cannot_be_shared_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConcurrencyError, match=message):
        explore(lost_update, **options)


def test_an_interrupt_keeps_what_was_found() -> None:
    def interrupt(_witness: Witness) -> None:
        raise KeyboardInterrupt

    result = explore(
        three_writers, strategy="random", executions=500, keep_going=True, executor=Inline(), found=interrupt
    )
    assert result.interrupted
    assert result.failures
    assert result.verdict is Verdict.FAILED


def test_time_that_is_up_leaves_it_open() -> None:
    result = explore(never_fails, strategy="random", seconds=2, executor=Inline())
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.executions > 0
    dfs = explore(never_fails, strategy="dfs", seconds=2, executor=Inline())
    assert dfs.verdict is (Verdict.PASSED if dfs.exhaustive else Verdict.INCONCLUSIVE)


def test_progress_is_told_after_each_batch() -> None:
    seen: list[int] = []
    explore(
        never_fails, strategy="random", executions=60, executor=Inline(),
        progress=lambda result: seen.append(result.executions),
    )  # fmt: skip
    assert seen == sorted(seen)
    assert seen[-1] == 60
    assert len(seen) > 1


@pytest.mark.parametrize(
    "name",
    [
        # Half a minute by itself; the others go the same ways.
        pytest.param(name, marks=pytest.mark.exhaustive) if name == "bounded buffer" else name
        for name, bug in KNOWN_BUGS.items()
        if bug.kind is not Kind.LOCKDEP
    ],
)
def test_a_divided_dpor_sees_the_same_failures(name: str) -> None:
    """A failure hides what comes after it, and the parts are not what one search goes through: counts may differ."""
    bug = KNOWN_BUGS[name]
    options: dict[str, Any] = {"strategy": "dpor", "keep_going": True, "settings": bug.settings}
    alone = explore(bug.program, **options)
    shared = explore(bug.program, **options, executor=Inline())
    assert (shared.exhaustive, shared.verdict) == (True, alone.verdict)
    assert {one.failure.headline for one in shared.failures} == {
        one.failure.headline for one in alone.failures
    }


def test_two_processes_share_a_dpor_search(processes: Executor) -> None:
    alone = explore(locked_order, strategy="dpor", keep_going=True, settings=BARE)
    shared = explore(locked_order, strategy="dpor", keep_going=True, settings=BARE, executor=processes)
    assert (shared.executions, shared.exhaustive) == (alone.executions, True)
    assert len(shared.failures) == len(alone.failures) == 1
    first = explore(locked_order, strategy="dpor", settings=BARE, executor=processes)
    assert first.failures[0].failure.headline == alone.failures[0].failure.headline
