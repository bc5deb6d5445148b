"""RCU under partial order reduction: outcomes are those of plain enumeration, on random small programs."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from concurrency_programs import EverySchedule

from sugarbush.concurrency import (
    Once,
    Shared,
    Spinlock,
    SrcuStruct,
    call_rcu,
    call_srcu,
    join,
    poll_state_synchronize_rcu,
    preempt_disable,
    preempt_enable,
    rcu_barrier,
    rcu_reader,
    spawn,
    srcu_barrier,
    srcu_reader,
    start_poll_synchronize_rcu,
    synchronize_rcu,
    synchronize_srcu,
)
from sugarbush.concurrency.lowlevel import Execution, Simulated
from sugarbush.concurrency.strategies import DPOR
from sugarbush.concurrency.strategies.base import Pruned

LIMIT = 1500
BLOCKS = ("rcu", "nested", "srcu", "spin", "preempt")
WAITS = ("sync", "poll", "call", "barrier", "sync_srcu", "call_srcu")
Body = list[tuple[Any, ...]]


class Pair(Shared):
    """Two fields."""

    a: Once[int] = 0
    b: Once[int] = 0


class Machine:
    """Runs a program that is data; each task logs what it reads."""

    def __init__(self, bodies: list[Body]) -> None:
        self.bodies = bodies
        self.outcome: Any = None

    def program(self) -> None:
        self.pair, self.ssp, self.lock = Pair(), SrcuStruct("s"), Spinlock("l")
        logs: list[list[Any]] = [[] for _ in self.bodies]
        self.outcome = None
        join(*[spawn(self.run, body, logs[n], n, name=f"t{n}") for n, body in enumerate(self.bodies)])
        rcu_barrier()
        srcu_barrier(self.ssp)
        self.outcome = (self.pair._a, self.pair._b, tuple(map(tuple, logs)))

    def run(self, body: Body, log: list[Any], me: int) -> None:
        for what, *rest in body:
            getattr(self, what)(log, me, *rest)

    def get(self, log: list[Any], _me: int, field: str) -> None:
        log.append(getattr(self.pair, field))

    def set(self, _log: list[Any], me: int, field: str) -> None:
        setattr(self.pair, field, me + 1)

    def rcu(self, log: list[Any], me: int, body: Body) -> None:
        with rcu_reader():
            self.run(body, log, me)

    def nested(self, log: list[Any], me: int, body: Body) -> None:
        with rcu_reader():
            with rcu_reader():
                pass
            self.run(body, log, me)

    def srcu(self, log: list[Any], me: int, body: Body) -> None:
        with srcu_reader(self.ssp):
            self.run(body, log, me)

    def spin(self, log: list[Any], me: int, body: Body) -> None:
        with self.lock:
            self.run(body, log, me)

    def preempt(self, log: list[Any], me: int, body: Body) -> None:
        preempt_disable()
        self.run(body, log, me)
        preempt_enable()

    def sync(self, _log: list[Any], _me: int) -> None:
        synchronize_rcu()

    def sync_srcu(self, _log: list[Any], _me: int) -> None:
        synchronize_srcu(self.ssp)

    def poll(self, log: list[Any], _me: int) -> None:
        log.append(poll_state_synchronize_rcu(start_poll_synchronize_rcu()))

    def call(self, _log: list[Any], me: int) -> None:
        call_rcu(lambda _: setattr(self.pair, "a", 10 + me), None)

    def call_srcu(self, _log: list[Any], me: int) -> None:
        call_srcu(self.ssp, lambda _: setattr(self.pair, "a", 20 + me), None)

    def barrier(self, _log: list[Any], _me: int) -> None:
        rcu_barrier()


def random_program(random: Random) -> list[Body]:
    """A reader or two and somebody who waits for them."""

    def leaf() -> tuple[Any, ...]:
        return (random.choice(("get", "set")), random.choice("aab"))

    def reader() -> Body:
        return [(random.choice(BLOCKS), [leaf() for _ in range(random.randint(1, 2))])]

    updater: Body = [leaf(), (random.choice(WAITS),), leaf()]
    bodies = [reader(), updater]
    if random.random() < 0.4:
        bodies.append([leaf()] if random.random() < 0.5 else [(random.choice(WAITS),)])
    return bodies


def outcomes(bodies: list[Body], strategy: Any) -> set[Any] | None:
    machine, found, seen = Machine(bodies), set(), 0
    runtime = Simulated(strategy)
    while strategy.left:
        seen += 1
        if seen > LIMIT:
            return None
        try:
            done: Execution = runtime.run(machine.program)
        except Pruned:
            continue
        found.add(machine.outcome if done.failure is None else done.failure.headline)
    return found


@pytest.mark.parametrize(
    "block", [0, *(pytest.param(block, marks=pytest.mark.exhaustive) for block in range(1, 8))]
)
def test_outcomes_are_those_of_plain_enumeration(block: int) -> None:
    compared = several = 0
    for seed in range(20):
        bodies = random_program(Random(1000 * block + seed))
        every = outcomes(bodies, EverySchedule())
        if every is None:
            continue
        compared += 1
        several += len(every) > 1
        assert outcomes(bodies, DPOR()) == every, (block, seed, bodies)
    assert compared >= 5
    assert several >= 3


def test_readers_that_nobody_waits_for_are_one_trace() -> None:
    machine = Machine([[("nested", []), ("srcu", []), ("preempt", [])]] * 3)
    strategy, traces = DPOR(), 0
    while strategy.left:
        try:
            assert Simulated(strategy).run(machine.program).failure is None
            traces += 1
        except Pruned:
            pass
    assert traces == 1
