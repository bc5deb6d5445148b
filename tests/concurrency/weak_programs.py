"""Random programs on weak memory, and the values that their loads see when they are explored."""

from __future__ import annotations

from random import Random
from typing import Any

from weak_axioms import Instruction

from sugarbush.concurrency import (
    READ_ONCE,
    WRITE_ONCE,
    Once,
    Settings,
    Shared,
    explore,
    join,
    smp_load_acquire,
    smp_mb,
    smp_rmb,
    smp_store_release,
    smp_wmb,
    spawn,
    xchg,
)
from sugarbush.concurrency.lowlevel import Order, peek

BARE = frozenset({"lockdep", "data-race", "leak"})


BARRIERS = {"mb": smp_mb, "wmb": smp_wmb, "rmb": smp_rmb}


class Cell(Shared):
    x: Once[int] = 0
    y: Once[int] = 0


def random_program(random: Random) -> list[list[Instruction]]:
    tasks: list[list[Instruction]] = []
    value = 0
    for _ in range(random.choice([2, 2, 3])):
        body: list[Instruction] = []
        for step in range(random.choice([2, 2, 3])):
            if step and random.random() < 0.6:
                body.append((random.choice(["mb", "mb", "wmb", "rmb"]),))
            what = random.choice(["R", "R", "RA", "W", "W", "WR", "X"])
            place = random.choice("xy")
            value += what[0] != "R"
            body.append((what, place) if what[0] == "R" else (what, place, value))
        tasks.append(body)
    return tasks


def seen(tasks: list[list[Instruction]], strategy: str) -> set[tuple[Any, ...]]:
    """What the reads return and what is there in the end, in all executions."""
    found = set()

    def run(cell: Cell, body: list[Instruction]) -> list[int]:
        read = []
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
            else:
                read.append(xchg(cell, rest[0], rest[1], Order.RELAXED))
        return read

    def program() -> None:
        cell = Cell()
        results = join(*[spawn(run, cell, body) for body in tasks])
        found.add((*(value for read in results for value in read), peek(cell, "x"), peek(cell, "y")))

    result = explore(program, strategy=strategy, settings=Settings(memory="weak", without=BARE))
    assert result.exhaustive
    return found
