"""Random programs of readers and grace periods see under weak memory what the axioms of the kernel's model allow."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from rcu_weak_axioms import RcuExecution
from weak_axioms import Instruction
from weak_programs import BARRIERS

from sugarbush.concurrency import (
    READ_ONCE,
    WRITE_ONCE,
    Once,
    Settings,
    Shared,
    call_rcu,
    explore,
    join,
    poll_state_synchronize_rcu,
    rcu_barrier,
    rcu_read_lock,
    rcu_read_unlock,
    smp_load_acquire,
    smp_store_release,
    spawn,
    start_poll_synchronize_rcu,
    synchronize_rcu,
)
from sugarbush.concurrency.lowlevel import peek

BARE = frozenset({"lockdep", "data-race", "leak"})


class Cell(Shared):
    x: Once[int] = 0
    y: Once[int] = 0


def random_program(random: Random) -> list[list[Instruction]]:
    """Two tasks or three; at least one has a reader, and one a grace period."""
    value = 0

    def access(most: str = "RRWWaw") -> Instruction:
        nonlocal value
        what = {"a": "RA", "w": "WR"}.get(kind := random.choice(most), kind)
        place = random.choice("xy")
        if what[0] == "R":
            return (what, place)
        value += 1
        return (what, place, value)

    def reader() -> list[Instruction]:
        around = random.choice(["", "", "", "before", "after"])
        before = [access()] if around == "before" else []
        after = [access()] if around == "after" else []
        inside = [access() for _ in range(1 if around and random.random() < 0.5 else 2)]
        return [*before, ("lock",), *inside, ("unlock",), *after]

    def updater() -> list[Instruction]:
        kind = random.choice(["sync", "start", "start", "call", "call"])
        before, after = [access()], [access()]
        if kind == "sync":
            return [*before, ("sync",), *after]
        between = [access()] if random.random() < 0.6 else []
        if kind == "start":
            return [*before, ("start",), *between, ("poll",), *after]
        return [*before, ("call", after), *between]

    tasks = [updater(), reader()]
    if random.random() < 0.15:
        tasks.append([access()])
    return tasks


def seen(
    tasks: list[list[Instruction]], strategy: str, limit: int = 500
) -> tuple[set[tuple[Any, ...]], int] | None:
    """What the reads return and what is there in the end, in all executions; None if there are too many of them."""
    found = set()

    def run(cell: Cell, body: list[Instruction], read: list[int], later: list[list[int]]) -> bool:
        taken = [0]
        for what, *rest in body:
            if what in BARRIERS:
                BARRIERS[what]()
            elif what == "R":
                read.append(READ_ONCE(cell, rest[0]))
            elif what == "RA":
                read.append(smp_load_acquire(cell, rest[0]))
            elif what == "W":
                WRITE_ONCE(cell, rest[0], rest[1])
            elif what == "WR":
                smp_store_release(cell, rest[0], rest[1])
            elif what == "lock":
                rcu_read_lock()
            elif what == "unlock":
                rcu_read_unlock()
            elif what == "sync":
                synchronize_rcu()
            elif what == "start":
                taken = [start_poll_synchronize_rcu()]
            elif what == "poll":
                if not poll_state_synchronize_rcu(taken[0]):
                    return False
            else:
                assert what == "call"
                mine: list[int] = []
                later.append(mine)
                call_rcu(lambda body, mine=mine: run(cell, body, mine, []), rest[0])
        return True

    def program() -> None:
        cell = Cell()
        reads: list[list[int]] = [[] for _ in tasks]
        later: list[list[list[int]]] = [[] for _ in tasks]
        done = join(*[spawn(run, cell, *parts) for parts in zip(tasks, reads, later, strict=True)])
        if any(later):
            rcu_barrier()
        called = [read for calls in later for call in calls for read in call]
        if all(done):
            found.add(
                (*(value for read in reads for value in read), *called, peek(cell, "x"), peek(cell, "y"))
            )

    result = explore(
        program, strategy=strategy, executions=limit, settings=Settings(memory="weak", without=BARE)
    )
    return (found, result.executions) if result.exhaustive else None


def agree(seeds: range, strategy: str = "dpor", limit: int = 500) -> int:
    """How many programs could be compared; all of them agree."""
    compared = 0
    for seed in seeds:
        tasks = random_program(Random(seed))
        found = seen(tasks, strategy, limit)
        if found is not None:
            assert found[0] == RcuExecution(tasks, "xy").outcomes(), tasks
            compared += 1
    return compared


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_what_is_seen_is_what_the_axioms_allow(first: int) -> None:
    assert agree(range(first, first + 10)) >= 5


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", range(60, 1_060, 50))
def test_what_is_seen_is_what_the_axioms_allow_of_many_more(first: int) -> None:
    assert agree(range(first, first + 50), limit=5_000) >= 40


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", range(0, 100, 20))
def test_the_full_search_sees_the_same(first: int) -> None:
    assert agree(range(first, first + 20), "dfs", 20_000) >= 5
