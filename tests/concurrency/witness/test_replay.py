"""Replay: the same failure, at the same step, after the same events; what no longer fits is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from concurrency_programs import Cell, lost_update
from hypothesis import given, settings
from hypothesis import strategies as st

from sugarbush.concurrency import (
    READ_ONCE,
    BadSchedule,
    KmemCache,
    Mutex,
    RwSemaphore,
    Schedule,
    Settings,
    Spinlock,
    atomic_add_return,
    call_rcu,
    check,
    explore,
    join,
    rcu_barrier,
    rcu_reader,
    replay,
    spawn,
    synchronize_rcu,
)
from sugarbush.concurrency.checks.recorder import Recorder
from sugarbush.concurrency.lowlevel import Simulated
from sugarbush.concurrency.strategies import Replay
from sugarbush.concurrency.strategies.table import make_strategy
from sugarbush.lockdep.model.gfp import GFP_KERNEL

ACTIONS = [
    "mutex0", "mutex1", "spin", "read", "write", "downgrade", "tryread", "trywrite", "rcu", "sync", "call",
    "barrier", "plain", "once", "marked", "pointer", "atomic", "alloc", "check", "spawn",
]  # fmt: skip
scripts = st.lists(st.lists(st.sampled_from(ACTIONS), max_size=6), min_size=1, max_size=3)


def build(script: list[list[str]]) -> Callable[[], Any]:
    """A program whose tasks do these actions, each with the next one inside it if it is a lock."""
    cache = KmemCache("cell", Cell)

    def program() -> None:
        cell = Cell()
        mutexes = [Mutex("mutex0"), Mutex("mutex1")]
        spin, sem = Spinlock("spin"), RwSemaphore("sem")

        def work(actions: list[str]) -> None:
            if not actions:
                return
            action, rest = actions[0], actions[1:]
            if action.startswith("mutex"):
                with mutexes[int(action[-1])]:
                    work(rest)
                return
            if action == "spin":
                with spin:
                    work(rest)
                return
            if action == "read":
                sem.down_read()
                work(rest)
                sem.up_read()
                return
            if action in ("write", "downgrade"):
                sem.down_write()
                if action == "downgrade":
                    sem.downgrade_write()
                work(rest)
                (sem.up_read if action == "downgrade" else sem.up_write)()
                return
            if action == "rcu":
                with rcu_reader():
                    work(rest)
                return
            if action == "tryread" and sem.down_read_trylock():
                sem.up_read()
            elif action == "trywrite" and sem.down_write_trylock():
                sem.up_write()
            elif action == "sync":
                synchronize_rcu()
            elif action == "call":
                call_rcu(lambda _: cell.count, None)
            elif action == "barrier":
                rcu_barrier()
            elif action == "plain":
                cell.plain += 1
            elif action == "once":
                cell.once += 1
            elif action == "marked":
                READ_ONCE(cell, "plain")
            elif action == "pointer":
                cell.pointer = cell
            elif action == "atomic":
                atomic_add_return(cell, "count", 1)
            elif action == "alloc":
                new = cache.alloc(GFP_KERNEL)
                check(new is not None, "memory")
                cache.free(new)
            elif action == "check":
                check(cell.once < 2, "once below two")
            elif action == "spawn":
                spawn(work, rest)
                return
            work(rest)

        join(*[spawn(work, actions, name=f"task{n}") for n, actions in enumerate(script)])

    return program


OPTIONS = [Settings(faults=1), Settings(frozenset({"data-race", "lockdep"}), faults=2)]


@settings(max_examples=150, deadline=None)
@given(scripts, st.integers(0, 1000), st.sampled_from(["random", "pct"]), st.sampled_from(OPTIONS))
def test_any_program_replays_exactly(
    script: list[list[str]], seed: int, strategy: str, options: Settings
) -> None:
    program = build(script)
    runner = options.runtime(make_strategy(strategy, seed))
    for _ in range(3):
        first = runner.run(program)
        runs = []
        for _again in range(2):
            recorder = Recorder()
            runtime = options.runtime(
                Replay(Schedule.parse(str(first.schedule))), stacks=True, recorder=recorder
            )
            runs.append((runtime.run(program), recorder))
        for run, recorder in runs:
            assert run.schedule == first.schedule
            assert run.steps == first.steps
            assert signature(run) == signature(first)
            assert recorder.events == runs[0][1].events
            assert recorder.tasks == runs[0][1].tasks


def signature(execution: Any) -> Any:
    return None if execution.failure is None else execution.failure.signature


@settings(max_examples=50, deadline=None)
@given(scripts, st.integers(0, 1000))
def test_who_listens_changes_nothing(script: list[list[str]], seed: int) -> None:
    """A program that shows nothing to the observers runs the same without them."""
    program = build(script)
    for strategy in ("random", "pct"):
        heard = Settings().runtime(make_strategy(strategy, seed)).run(program)
        if heard.failure is None:
            assert Simulated(make_strategy(strategy, seed)).run(program).schedule == heard.schedule


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=8))
def test_a_foreign_schedule_fits_or_is_refused(segments: list[tuple[int, int]]) -> None:
    text = "s1:" + ",".join(f"{task}*{length}" for task, length in segments)
    try:
        witness = replay(lost_update, text)
    except BadSchedule as error:
        said = str(error)
        assert "\n" not in said
    else:
        assert str(witness.schedule) == str(Schedule.parse(text))


def test_a_witness_replays_to_itself() -> None:
    witness = explore(lost_update).failures[0]
    for _ in range(20):
        again = replay(lost_update, str(witness.schedule))
        assert again.failure.signature == witness.failure.signature
        assert again.events == witness.events
        assert again.steps == witness.steps


def test_a_changed_program_is_refused() -> None:
    witness = explore(lost_update).failures[0]

    def changed() -> None:
        Cell().once = 1
        lost_update()

    with pytest.raises(BadSchedule):
        replay(changed, witness.schedule)


def test_a_schedule_under_which_nothing_fails_is_refused() -> None:
    runtime = Settings().runtime(make_strategy("random", 1))
    good = next(run for run in iter(lambda: runtime.run(lost_update), None) if run.failure is None)
    with pytest.raises(BadSchedule, match=r"nothing fails under this schedule \(\d+ operations\)"):
        replay(lost_update, good.schedule)


@pytest.mark.parametrize("what", ["headline", "length", "task"])
def test_a_program_that_is_not_deterministic_is_detected(what: str) -> None:
    clock = itertools.count()

    def program() -> None:
        cell = Cell()
        now = next(clock)
        if what == "headline":
            check(False, f"at {now}")
        for _ in range(now if what == "length" else 1):
            cell.once = 1
        if what == "task" and now % 2 == 0:
            join(spawn(check, False, "a task that is not always there"))
        check(what == "task" and now % 2, "always")

    with pytest.raises(BadSchedule, match="the program is not deterministic"):
        explore(program, executions=10)


def test_a_program_that_swallows_exceptions_cannot_hide_a_foreign_schedule() -> None:
    def stubborn() -> None:
        cell = Cell()
        while True:
            try:
                cell.once = 1
            except Exception:
                pass

    def program() -> None:
        spawn(stubborn)
        spawn(stubborn)

    with pytest.raises(BadSchedule, match="the schedule ends after 4 operations"):
        replay(program, "s1:0,1*2,2")


def test_a_report_of_the_lock_validator_has_whole_stacks() -> None:
    def program() -> None:
        one, two = Mutex("one"), Mutex("two")

        def both(first: Mutex, second: Mutex) -> None:
            with first, second:
                pass

        def forwards() -> None:
            both(one, two)

        def backwards() -> None:
            both(two, one)

        join(spawn(forwards))
        join(spawn(backwards))

    report = explore(program, executions=1).failures[0].failure.detail
    for name in ("forwards", "backwards"):
        assert f".{name} (witness/test_replay.py:" in report
