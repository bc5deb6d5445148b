"""Loops that look: what gives up is followed, what cannot end is said at once, and budgets hold."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from concurrency_programs import BARE, Cell, first_failure
from spinning_programs import outcomes, random_program, searched

from sugarbush.concurrency import (
    Completion,
    Kind,
    Mutex,
    Once,
    RwLock,
    RwSemaphore,
    Semaphore,
    Settings,
    Shared,
    Spinlock,
    Verdict,
    atomic_add_unless,
    check,
    cmpxchg,
    cpu_relax,
    explore,
    join,
    minimise,
    rcu_reader,
    replay,
    smp_store_release,
    spawn,
    xchg,
)
from sugarbush.concurrency.core import frames
from sugarbush.concurrency.runtimes import choosing, liveness

Program = Callable[[], Any]
STRATEGIES = ["dfs", "dpor", "pct", "random", "pos", "surw"]


def gives_up(looks: int) -> Program:
    def program() -> None:
        cell = Cell()

        def wait() -> None:
            for _ in range(looks):
                if cell.once:
                    return
                cpu_relax()
            check(False, "it came in time")

        spawn(wait)
        cell.once = 1

    return program


def gives_up_a_lock() -> None:
    lock = Spinlock("lock")

    def take() -> None:
        tries = 0
        while not lock.trylock():
            tries += 1
            check(tries < 3, "it was free in time")
            cpu_relax()
        lock.unlock()

    with lock:
        spawn(take)


@pytest.mark.parametrize("strategy", ["dfs", "dpor", "pct", "random"])
@pytest.mark.parametrize("program", [gives_up(1), gives_up(2), gives_up(3), gives_up_a_lock])
def test_a_loop_that_gives_up_is_followed_to_its_end(program: Program, strategy: str) -> None:
    failure = first_failure(program, strategy=strategy)
    assert failure.kind is Kind.CHECK


def test_what_was_not_followed_is_said() -> None:
    """The loop gives up after more looks than are made, so nobody knows what it does then."""
    settings = Settings(looks=3)
    for strategy in ("dfs", "dpor"):
        assert explore(gives_up(3), strategy=strategy, settings=settings).verdict == "failed"
        result = explore(gives_up(5), strategy=strategy, settings=settings)
        assert result.exhaustive
        assert result.verdict == "inconclusive"
        assert result.looks_cut > 0
        assert "a loop was not followed" in result.scope


def test_the_witness_of_a_loop_that_gives_up_replays_and_gets_smaller() -> None:
    program = gives_up(3)
    witness = explore(program, strategy="random").failures[0]
    smallest = minimise(program, witness)
    assert smallest.preemptions == 1
    assert replay(program, smallest.schedule).failure.signature == smallest.failure.signature


class Word(Shared):
    value: Once[int] = 1


def livelocks() -> dict[str, Program]:
    """Loops that nobody can end, by two tasks each."""

    def tas(word: Word) -> bool:
        return xchg(word, "value", 1) == 0

    def cas(word: Word) -> bool:
        return cmpxchg(word, "value", 0, 1) == 0

    def unless(word: Word) -> bool:
        return atomic_add_unless(word, "value", 1, 1)

    def store(word: Word) -> bool:
        word.value = 1
        return word.value == 0

    def by_look(look: Callable[[Word], bool]) -> Program:
        def program() -> None:
            word = Word()

            def spin() -> None:
                while not look(word):
                    cpu_relax()

            spawn(spin, name="ann")
            spawn(spin, name="bob")

        return program

    def by_try(make: Callable[[], Any], hold: str, attempt: str) -> Program:
        def program() -> None:
            lock = make()
            getattr(lock, hold)()

            def spin() -> None:
                attempts = getattr(lock, attempt)
                while not attempts():
                    cpu_relax()

            spawn(spin, name="ann")
            spawn(spin, name="bob")

        return program

    def guarded(make: Callable[[], Any]) -> Program:
        def program() -> None:
            word, helper = Word(), make()

            def spin() -> None:
                while True:
                    with helper:
                        if not word.value:
                            break
                    cpu_relax()

            spawn(spin, name="ann")
            spawn(spin, name="bob")

        return program

    class Reader:
        def __enter__(self) -> None:
            self.inner = rcu_reader()
            self.inner.__enter__()

        def __exit__(self, *what: Any) -> None:
            self.inner.__exit__(None, None, None)

    found = {look.__name__: by_look(look) for look in (tas, cas, unless, store)}
    for name, make, hold, attempt in (
        ("mutex", lambda: Mutex("l"), "lock", "trylock"),
        ("spinlock", lambda: Spinlock("l"), "lock", "trylock"),
        ("rwlock", lambda: RwLock("l"), "write_lock", "read_trylock"),
        ("rwlock for writing", lambda: RwLock("l"), "read_lock", "write_trylock"),
        ("rwsem", lambda: RwSemaphore("l"), "down_write", "down_read_trylock"),
        ("rwsem for writing", lambda: RwSemaphore("l"), "down_read", "down_write_trylock"),
        ("semaphore", lambda: Semaphore(1), "down", "down_trylock"),
        ("completion", lambda: Completion("l"), "is_done", "try_wait"),
    ):
        found[name] = by_try(make, hold, attempt)
    found["a look under a mutex"] = guarded(lambda: Mutex("helper"))
    found["a look under a spinlock"] = guarded(lambda: Spinlock("helper"))
    found["a look in a semaphore"] = guarded(lambda: Semaphore(1))
    return found


@pytest.mark.parametrize("memory", ["sc", "weak"])
@pytest.mark.parametrize("name", livelocks())
def test_a_livelock_is_seen_at_once(name: str, memory: str) -> None:
    settings = Settings(memory=memory, without=frozenset({"lockdep", "data-race"}))
    for strategy in ("dfs", "pct"):
        failure = first_failure(livelocks()[name], settings, strategy=strategy)
        assert failure.kind is Kind.LIVELOCK
        assert failure.headline.endswith("can spin for ever, and no other task can go on")
        # Under weak memory the order of two writes is a choice, so looks with one are not known to be all the same.
        assert failure.step < (600 if name == "store" else 200)


def test_who_may_give_up_is_given_time_and_not_said_to_spin_for_ever() -> None:
    def patient() -> None:
        for _ in range(60):
            cpu_relax()

    assert not explore(patient, executions=3).failures

    def endless() -> None:
        n = 0
        while True:
            n += 1
            cpu_relax()

    failure = first_failure(endless, Settings(spins=50))
    assert failure.kind is Kind.LIVELOCK
    assert failure.headline == "livelock: main spin, 50 times in vain so far, and no other task can go on"


def set_locks(tasks: int, rounds: int = 1) -> Program:
    def program() -> None:
        word, cell = Word(value=0), Cell()

        def work() -> None:
            for _ in range(rounds):
                while xchg(word, "value", 1):
                    cpu_relax()
                cell.once += 1
                smp_store_release(word, "value", 0)

        join(*[spawn(work) for _ in range(tasks)])
        check(cell.once == tasks * rounds, "nothing is lost")

    return program


def test_a_correct_spinlock_is_short_and_passes() -> None:
    for strategy in ("pct", "surw", "random", "pos"):
        result = explore(set_locks(3), strategy=strategy, executions=40)
        assert not result.failures
        assert result.steps < 40 * 200
    assert explore(set_locks(2), strategy="dpor").verdict == "passed"


def test_under_weak_memory_a_spinner_sees_what_was_written_in_the_end() -> None:
    """It may read the old value once more, but not for ever; and barriers go on to be heard of."""

    def program() -> None:
        one = Cell()

        def wait() -> None:
            while not one.once:
                cpu_relax()

        spawn(wait)
        one.once = 1

    for strategy in ("dfs", "dpor"):
        result = explore(program, strategy=strategy, settings=Settings(memory="weak"))
        assert result.verdict == "passed"


# -- budgets ----------------------------------------------------------------------------------------------------------


def endless() -> None:
    cell = Cell()

    def write() -> None:
        while True:
            cell.once = 1

    spawn(write)
    spawn(write)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_step_limit_is_a_verdict_wherever_it_falls(strategy: str) -> None:
    for program in (livelocks()["tas"], livelocks()["a look under a mutex"], endless):
        for most in (*range(1, 20), *range(20, 151, 26)):
            settings = Settings(max_steps=most, without=BARE.without)
            (witness,) = explore(program, strategy=strategy, executions=1, settings=settings).failures
            assert witness.failure.kind in (Kind.STALL, Kind.LIVELOCK)
            assert witness.steps <= most
            assert witness.failure.kind is Kind.STALL or program is not endless
            again = replay(program, witness.schedule, settings=settings)
            assert again.failure.signature == witness.failure.signature


@pytest.mark.parametrize("how", [{"strategy": "dpor"}, {"strategy": "pct"}, {"runtime": "threaded"}])
def test_a_budget_of_seconds_ends_within_an_execution(how: dict[str, str]) -> None:
    settings = Settings(max_steps=1_000_000_000)
    result = explore(endless, seconds=0.2, settings=settings, **how)  # type: ignore[arg-type]
    assert (result.executions, result.failures, result.exhaustive) == (0, [], False)
    assert result.verdict == "inconclusive"


def test_looking_at_the_clock_changes_no_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(strategy: str, seconds: float | None) -> list[Any]:
        witnesses: list[Any] = []
        explore(
            gives_up(2),
            strategy=strategy,
            executions=40,
            seconds=seconds,
            keep_going=True,
            found=lambda one: witnesses.append((one.execution, one.schedule)),
        )
        return witnesses

    monkeypatch.setattr(choosing, "_CLOCK", 2)
    for strategy in STRATEGIES:
        assert made(strategy, 1e6) == made(strategy, None) != []


# -- against a search of its own --------------------------------------------------------------------------------------


def compare(seeds: range, most: int) -> tuple[int, int]:
    """How many random programs were compared, and of how many it came out different."""
    compared = wrong = 0
    for seed in seeds:
        tasks = random_program(Random(seed))
        every = searched(tasks)
        if every is None:
            continue
        for strategy in ("dpor", "dfs"):
            found = outcomes(tasks, strategy, most)
            if found is not None:
                compared += 1
                wrong += found != every
    return compared, wrong


@pytest.mark.parametrize("block", range(4))
def test_outcomes_are_those_of_a_search_through_all_states(block: int) -> None:
    compared, wrong = compare(range(1000 * block, 1000 * block + 12), 25)
    assert compared >= 6
    assert not wrong


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(8))
def test_outcomes_of_many_programs(block: int) -> None:
    compared, wrong = compare(range(10_000 * block, 10_000 * block + 100), 1500)
    assert compared >= 60
    assert not wrong


def blind(taker: Any, frame: Any, callee: Any) -> None:
    """A state that leaves out the variables of frames: a loop that counts looks like one that does not."""
    taker.seen.append(frame.f_code.co_name)


def test_the_search_notices_what_could_go_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(frames._Taker, "frame", blind)
        assert not explore(gives_up(3), strategy="dfs").failures
    with monkeypatch.context() as patched:
        # A read-modify-write that leaves its value counts as a change.
        patched.setattr(liveness, "_noting", lambda _task, change: change)
        failure = first_failure(livelocks()["tas"], Settings(max_steps=500), strategy="dfs")
        assert failure.kind is Kind.STALL
    with monkeypatch.context() as patched:
        # What others have done while a task looked is forgotten, and it waits.
        patched.setattr(liveness.Look, "is_stale", lambda _self: False)
        patched.setattr(liveness.Liveness, "_wake", lambda _self, _tasks: None)
        assert first_failure(handed_over, strategy="dfs").kind is Kind.LIVELOCK


def handed_over() -> None:
    """Each of two tasks waits for the other one, more often than those look that nobody wakes."""
    cell = Cell()

    def follow(me: int) -> None:
        turn = 0
        while turn < 5:
            if cell.once == 2 * turn + me:
                cell.once += 1
                turn += 1
            else:
                cpu_relax()

    spawn(follow, 0)
    spawn(follow, 1)


def test_tasks_that_take_turns_end() -> None:
    for strategy in ("pct", "random"):
        assert not explore(handed_over, strategy=strategy, settings=BARE, executions=20).failures


def test_a_look_more_or_less_is_no_other_program() -> None:
    """Whether a loop waits after a look goes by a list too that it can reach and others append to, in no operation."""

    def program(*, ends: bool) -> None:
        cell = Cell()
        log: list[int] = []

        def changes() -> None:
            cell.plain = 1
            cell.plain = 2
            cell.once = int(ends)

        def spins() -> None:
            while not cell.once:
                cpu_relax()
            log.append(2)

        spawn(changes)
        spawn(log.append, 1)
        spawn(spins)

    for strategy in ("dfs", "dpor"):
        assert explore(lambda: program(ends=True), strategy=strategy, settings=BARE).verdict is Verdict.PASSED
        failures = explore(lambda: program(ends=False), strategy=strategy, settings=BARE).failures
        assert [one.failure.kind for one in failures] == [Kind.LIVELOCK]
