"""Spinning, fairness and the step limit: what does not end is said to be so, and why."""

from __future__ import annotations

from typing import Any

import pytest
from concurrency_programs import BARE, Cell, every_schedule, first_failure

from sugarbush.concurrency import (
    Kind,
    Mutex,
    RwLock,
    Settings,
    Spinlock,
    WouldBlock,
    atomic_add_return,
    check,
    cpu_relax,
    explore,
    join,
    minimise,
    msleep,
    replay,
    spawn,
)

EVERY = ["random", "pct", "pos", "surw", "dfs", "dpor"]


def handover() -> None:
    """One task spins until another has set a flag, and the other way round."""
    one, two = Cell(), Cell()

    def answer() -> None:
        while not one.once:
            cpu_relax()
        two.once = 1

    answering = spawn(answer, name="answering")
    one.once = 1
    while not two.once:
        cpu_relax()
    join(answering)


def test_a_spinning_task_sees_what_another_one_does(run) -> None:
    assert run(handover) is None
    every_schedule(handover)


def test_looking_in_vain_costs_no_schedules() -> None:
    """A task looks before the flag is set, or it looks after: there is no third way."""

    def program() -> None:
        cell = Cell()

        def spin() -> None:
            while not cell.once:
                cpu_relax()

        spawn(spin)
        cell.once = 1

    result = explore(program, strategy="dfs")
    assert result.verdict == "passed"
    assert result.executions < 10


@pytest.mark.parametrize("strategy", EVERY)
def test_a_loop_that_nobody_can_end_is_a_livelock_at_once(strategy: str) -> None:
    def program() -> None:
        one, two = Cell(), Cell()

        def spin(mine: Cell, other: Cell) -> None:
            while not other.once:
                cpu_relax()
            mine.once = 1

        spawn(spin, one, two, name="ann")
        spawn(spin, two, one, name="bob")

    failure = first_failure(program, strategy=strategy)
    assert failure.kind is Kind.LIVELOCK
    assert failure.headline == "livelock: ann, bob can spin for ever, and no other task can go on"
    assert failure.detail.count("spins\n  at runtimes/test_liveness.py:") == 2
    assert failure.step < 200


def test_a_livelock_says_what_the_others_wait_for() -> None:
    def program() -> None:
        mutex, cell = Mutex("mutex"), Cell()

        def work() -> None:
            with mutex:
                cell.once = 1

        mutex.lock()
        spawn(work, name="worker")
        while not cell.once:
            cpu_relax()
        mutex.unlock()

    failure = first_failure(program)
    assert failure.headline == "livelock: main can spin for ever, and no other task can go on"
    assert "worker waits in mutex_lock(mutex), held by main" in failure.detail
    assert "holds mutex, taken at runtimes/test_liveness.py:" in failure.detail


def test_a_livelock_replays_and_minimises() -> None:
    def program() -> None:
        cell = Cell()

        def spin() -> None:
            while not cell.once:
                cpu_relax()

        spawn(spin, name="spinner")
        if cell.count:
            cell.once = 1

    result = explore(program, strategy="random")
    witness = minimise(program, result.failures[0])
    assert witness.preemptions == 0
    again = replay(program, str(witness.schedule))
    assert again.failure.signature == witness.failure.signature
    assert again.failure.kind is Kind.LIVELOCK


def test_a_loop_that_gives_up_by_itself_is_no_livelock() -> None:
    def program() -> None:
        cell = Cell()
        for _ in range(10):
            if cell.once:
                break
            cpu_relax()

    every_schedule(program)


def test_a_spinner_waits_for_a_timer() -> None:
    def program() -> None:
        cell = Cell()

        def set_later() -> None:
            msleep(10)
            cell.once = 1

        spawn(set_later)
        while not cell.once:
            cpu_relax()

    # What the clock does wakes the task that spins, so there are many schedules.
    assert explore(program, strategy="dpor").verdict == "passed"
    assert not explore(program, strategy="dfs", depth=1).failures


def test_the_end_of_a_task_is_something_that_has_happened() -> None:
    def program() -> None:
        task = spawn(lambda: None)
        while not task.done:
            cpu_relax()

    every_schedule(program)


def trylock_loop() -> None:
    """Each holds one lock and tries the other for ever, without giving anything back."""
    a, b = Spinlock("a"), Spinlock("b")

    def take(first: Spinlock, second: Spinlock) -> None:
        first.lock()
        while not second.trylock():
            cpu_relax()
        second.unlock()
        first.unlock()

    spawn(take, a, b, name="ab")
    spawn(take, b, a, name="ba")


def test_failing_trylocks_change_nothing() -> None:
    failure = first_failure(trylock_loop, BARE, strategy="dfs")
    assert failure.headline == "livelock: ab, ba can spin for ever, and no other task can go on"


def polite() -> Any:
    """Each gives its lock back before it tries again: it can go on like that for ever, but need not."""
    a, b = Spinlock("a"), Spinlock("b")

    def take(first: Spinlock, second: Spinlock) -> None:
        while True:
            first.lock()
            if second.trylock():
                break
            first.unlock()
            cpu_relax()
        second.unlock()
        first.unlock()

    spawn(take, a, b, name="ab")
    spawn(take, b, a, name="ba")


@pytest.mark.parametrize("strategy", ["random", "pct", "pos", "surw"])
def test_a_retry_that_ends_under_a_fair_scheduler_is_no_failure(strategy: str) -> None:
    assert not explore(polite, strategy=strategy, settings=BARE, executions=200).failures


def starving(stops: bool) -> Any:
    """A writer polls until nobody reads; the readers see to it that somebody always does."""

    def program() -> None:
        readers, stop = Cell(), Cell()
        first = Cell()

        def read(me: int) -> None:
            atomic_add_return(readers, "count", 1)
            first.once = 1
            while not (stop.once if stops else False):
                atomic_add_return(readers, "count", 1)
                atomic_add_return(readers, "count", -1)
            atomic_add_return(readers, "count", -1)

        for n in range(2):
            spawn(read, n, name=f"reader {n}")
        while not first.once:
            cpu_relax()
        spins = 0
        while readers.count:
            spins += 1
            if spins == 50:
                stop.once = 1
            cpu_relax()

    return program


@pytest.mark.parametrize("strategy", ["random", "pct"])
def test_spinning_too_often_under_a_fair_scheduler_is_starvation(strategy: str) -> None:
    failure = first_failure(starving(False), Settings(spins=60), strategy=strategy)
    assert failure.kind is Kind.STARVATION
    assert failure.headline == "starvation: main has spun 60 times in vain while others went on"
    assert "main spins" in failure.detail
    assert "reader 0 runs: " in failure.detail
    assert " operations\n  at runtimes/test_liveness.py:" in failure.detail


def test_spinning_often_is_no_failure_if_it_ends() -> None:
    for strategy in ("random", "pct"):
        settings = Settings(max_steps=50_000)
        assert not explore(starving(True), strategy=strategy, executions=50, settings=settings).failures


def unfair() -> None:
    """A loop without cpu_relax(): under PCT it may be the only one that runs."""
    cell = Cell()
    spawn(lambda: setattr(cell, "once", 1), name="setter")
    while not cell.once:
        pass


@pytest.mark.parametrize("strategy", EVERY)
def test_what_ends_under_a_fair_scheduler_is_no_failure(strategy: str) -> None:
    result = explore(unfair, strategy=strategy, settings=Settings(max_steps=2000), executions=300)
    assert not result.failures
    if strategy in ("dfs", "dpor"):
        assert result.fair > 0
        assert result.verdict == "inconclusive"


@pytest.mark.parametrize("strategy", EVERY)
def test_what_does_not_end_then_either_names_those_that_kept_running(strategy: str) -> None:
    def program() -> None:
        cell, lock = Cell(), RwLock("lock")

        def write() -> None:
            lock.write_lock()
            lock.write_unlock()

        lock.read_lock()
        spawn(write, name="writer")
        spawn(lambda: None, name="finisher")
        while True:
            cell.once = 1

    settings = Settings(max_steps=1000, without=frozenset({"lockdep"}))
    result = explore(program, strategy=strategy, settings=settings, executions=3)
    failure = result.failures[0].failure
    assert failure.kind is Kind.STALL
    assert failure.headline == "step limit: the execution did not end within 1000 operations"
    assert "main runs: " in failure.detail
    assert "writer waits in write_lock(lock), held by main" in failure.detail
    assert "finisher" not in failure.detail
    again = replay(program, str(result.failures[0].schedule), settings=settings)
    assert again.failure.signature == failure.signature


def test_cpu_relax_outside_a_program() -> None:
    with pytest.raises(WouldBlock, match=r"cpu_relax\(\) would spin for ever: no other task runs"):
        cpu_relax()


def test_spinning_under_threads() -> None:
    assert not explore(handover, runtime="threaded", executions=3).failures


def test_a_schedule_with_spins_replays_under_every_strategy() -> None:
    def program() -> None:
        handover()
        check(False, "the end")

    for strategy in EVERY:
        witness = explore(program, strategy=strategy).failures[0]
        assert replay(program, witness.schedule).events == witness.events


def test_a_circle_says_what_each_task_waits_for_and_holds_and_where() -> None:
    """One waits for the end of another that waits for its lock; a third one goes on meanwhile."""

    def program() -> None:
        mutex, cell = Mutex("mutex"), Cell()

        def work() -> None:
            with mutex:
                pass

        def go_on() -> None:
            for n in range(500):
                cell.once = n

        spawn(go_on, name="busy")
        with mutex:
            join(spawn(work, name="worker"))

    failure = first_failure(program, strategy="random")
    assert failure.headline == "deadlock: a circle of waits (main -> worker -> main)"
    assert failure.step < 500
    lines = failure.detail.splitlines()
    place = "runtimes/test_liveness.py:"
    assert lines[0] == "main waits in join(worker)"
    assert lines[1].startswith(f"  at {place}")
    assert lines[2].startswith(f"  holds mutex, taken at {place}")
    assert lines[3] == "worker waits in mutex_lock(mutex), held by main"
    assert lines[4].startswith(f"  at {place}")


def test_a_circle_may_be_looked_past() -> None:
    def program() -> None:
        mutex = Mutex("mutex")
        with mutex:
            join(spawn(mutex.lock, name="worker"))

    settings = Settings(without=frozenset({"circle"}))
    assert first_failure(program, settings).headline == "deadlock: no task can go on (main, worker)"
