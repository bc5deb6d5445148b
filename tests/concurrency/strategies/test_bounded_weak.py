"""Under weak memory, too, the bounded search and that of every schedule lose nothing that plain enumeration has."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from bounded_programs import Body, Enumeration, TooMany, World, all_of, random_body

from sugarbush.concurrency import (
    Once,
    Settings,
    Shared,
    Verdict,
    atomic_add_return,
    call_rcu,
    explore,
    join,
    rcu_read_lock,
    rcu_read_unlock,
    smp_load_acquire,
    smp_mb,
    smp_rmb,
    smp_store_release,
    smp_wmb,
    spawn,
    synchronize_rcu,
)
from sugarbush.concurrency.checks import Dependence
from sugarbush.concurrency.runtimes.weak import WeakSimulated
from sugarbush.concurrency.strategies.bounded import BoundedDPOR
from sugarbush.concurrency.strategies.sleep import SleepSets


class WeakWorld(World):
    """As `World`, with what orders accesses, and RCU."""

    def _barrier(self, _log: list[Any], barrier: Any) -> None:
        barrier()

    def _release(self, _log: list[Any], place: str, value: int) -> None:
        smp_store_release(self.places, place, value)

    def _acquire(self, log: list[Any], place: str) -> None:
        log.append(smp_load_acquire(self.places, place))

    def _add(self, log: list[Any], place: str) -> None:
        log.append(atomic_add_return(self.places, place, 1))

    def _call_rcu(self, _log: list[Any], place: str) -> None:
        call_rcu(lambda _: setattr(self.places, place, 7), None)


_IN_READERS = ("read", "write", "barrier", "release", "acquire", "add")


def weak_body(random: Random, length: int) -> Body:
    """The statements of one task: barriers and atomics among those of `random_body`, a reader or a grace period."""
    body = random_body(random, length)
    for _ in range(random.randint(0, 2)):
        place = random.choice("xyz")
        new = random.choice(
            [
                ("barrier", random.choice([smp_mb, smp_rmb, smp_wmb])),
                ("release", place, random.randint(1, 2)),
                ("acquire", place),
                ("add", place),
            ]
        )
        body.insert(random.randint(0, len(body)), new)
    at = random.randint(0, len(body))
    what = random.randrange(6)
    if what == 0 and all(verb != "lock" for verb, *_ in body):
        body.insert(at, ("barrier", synchronize_rcu))
    elif what == 1:
        body.insert(at, ("call_rcu", random.choice("xyz")))
    elif what < 4:
        end = at
        while end < len(body) and body[end][0] in _IN_READERS:
            end += 1
        body.insert(end, ("barrier", rcu_read_unlock))
        body.insert(at, ("barrier", rcu_read_lock))
    return body


def weak_program(random: Random, many: int, length: int) -> list[Body]:
    """So many tasks, with up to `length` statements and some that order accesses."""
    tasks = [weak_body(random, random.randint(1, length)) for _ in range(many)]
    if any(("use",) in body or ("touch",) in body for body in tasks):
        tasks[random.randrange(many)].insert(0, ("free",))
    return tasks


def outcomes(tasks: list[Body], search: Any, most: int) -> set[Any]:
    return all_of(tasks, search, most, runs=WeakSimulated, within=WeakWorld)


def differs(tasks: list[Body], bound: int | None, most: int) -> str:
    """How the reduced search and plain enumeration differ; empty if they do not."""
    every = Enumeration(10 if bound is None else bound, Dependence(weak=True))
    wanted = outcomes(tasks, every, most)
    relation = Dependence(weak=True)
    reduced = SleepSets(relation) if bound is None else BoundedDPOR(bound, relation)
    got = outcomes(tasks, reduced, 2 * most)
    if got != wanted:
        return f"lost {sorted(map(repr, wanted - got))[:3]}, invented {sorted(map(repr, got - wanted))[:3]}"
    if reduced._seen != every.seen and not any(isinstance(outcome, str) for outcome in wanted):
        return f"{len(every.seen)} traces within the bound, {reduced.traces} seen, all outcomes"
    return ""


def compare(seeds: range, most: int, bounds: tuple[int | None, ...]) -> int:
    compared = 0
    for seed in seeds:
        random = Random(f"weak {seed}")
        # Without a bound plain enumeration comes to its end with little only.
        many = 2 if None in bounds else random.choice([2, 2, 3])
        tasks = weak_program(random, many, 1 if None in bounds else 5 - many)
        for bound in bounds:
            try:
                difference = differs(tasks, bound, most)
            except TooMany:
                break
            assert not difference, f"seed {seed}, bound {bound}: {difference}\n{tasks}"
            compared += 1
    return compared


def test_random_programs_have_the_outcomes_and_traces_of_plain_enumeration() -> None:
    assert compare(range(60), 150, (0, 1, 2)) > 60


def test_so_they_have_without_a_bound() -> None:
    assert compare(range(60), 300, (None,)) > 15


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(8))
def test_so_have_many(part: int) -> None:
    assert compare(range(1000 + 100 * part, 1100 + 100 * part), 3000, (0, 1, 2)) > 150
    assert compare(range(1000 + 100 * part, 1100 + 100 * part), 3000, (None,)) > 30


def test_a_search_that_marks_no_race_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedDPOR, "_mark", lambda self, racing: None)
    with pytest.raises(AssertionError, match=r"lost|traces within the bound"):
        compare(range(60), 150, (0, 1, 2))


class Message(Shared):
    data: Once[int] = 0
    ready: Once[int] = 0


def sent(write: Any) -> set[tuple[int, int]]:
    """What a reader of `ready` and then, behind a barrier, of `data` sees within one preemption."""
    found = set()

    def program() -> None:
        message = Message()

        def writer() -> None:
            message.data = 1
            write(message)

        def reader() -> None:
            ready = message.ready
            smp_rmb()
            found.add((ready, message.data))

        join(spawn(writer), spawn(reader))

    result = explore(program, strategy="dpor", depth=1, settings=Settings(memory="weak"))
    assert result.verdict is Verdict.PASSED
    return found


def test_a_barrier_that_is_missing_shows_within_a_bound() -> None:
    def without(message: Message) -> None:
        message.ready = 1

    def with_one(message: Message) -> None:
        smp_wmb()
        message.ready = 1

    assert (1, 0) in sent(without)
    assert (1, 0) not in sent(with_one)
