"""Callbacks of RCU in the bounded reduced search: what is told apart loses no outcome that plain enumeration has."""

from __future__ import annotations

import contextlib
from copy import deepcopy
from random import Random
from types import SimpleNamespace
from typing import cast

import pytest

from sugarbush.concurrency import (
    Once,
    Plain,
    Shared,
    Spinlock,
    call_rcu,
    join,
    rcu_barrier,
    rcu_read_lock,
    rcu_read_unlock,
    spawn,
    synchronize_rcu,
)
from sugarbush.concurrency.checks import dependence
from sugarbush.concurrency.checks.dependence import Dependence
from sugarbush.concurrency.core import Footprint, Operation, Task
from sugarbush.concurrency.lowlevel import DepthFirst, Simulated
from sugarbush.concurrency.rcu import callbacks
from sugarbush.concurrency.rcu.domain import RcuDomain, begin_wait, end_wait, wait_is_over
from sugarbush.concurrency.rcu.queue import Queued
from sugarbush.concurrency.strategies import let_go
from sugarbush.concurrency.strategies.base import Pruned
from sugarbush.concurrency.strategies.bounded import BoundedDPOR

Body = list[tuple[str, ...]]
MOST = 700
"""Executions of plain enumeration; a program with more under a bound is left out."""


class Cell(Shared):
    x: Once[int] = 0
    y: Once[int] = 0
    data: Plain[int] = 0


def random_body(random: Random) -> Body:
    body: Body = []
    for _ in range(random.randint(1, 3)):
        inner: list[tuple[str, ...]] = [
            random.choice([("read", "x"), ("read", "y"), ("write", "x"), ("write", "y"), ("read", "data")])
            for _ in range(random.randint(1, 2))
        ]
        what = random.randrange(9)
        if what < 3:
            body.append(("call", random.choice(["x", "y", "data"])))
        elif what < 5:
            body += [("rcu_read_lock",), *inner, ("rcu_read_unlock",)]
        elif what < 7:
            body += [("spin_lock",), *inner, ("spin_unlock",)]
        else:
            body.append(random.choice([("barrier",), ("synchronize",), *inner]))
    return body


class Program:
    """Tasks, each a list of statements; `outcome` is what they read, and what was left."""

    def __init__(self, tasks: list[Body]) -> None:
        self.tasks = tasks

    def __call__(self) -> None:
        self.cell, self.lock = Cell(), Spinlock("lock")
        self.logs: list[list[int]] = [[] for _ in self.tasks]
        join(*[spawn(self.run, body, log) for body, log in zip(self.tasks, self.logs, strict=True)])

    def run(self, body: Body, log: list[int]) -> None:
        cell = self.cell
        for number, (verb, *rest) in enumerate(body):
            if verb == "read":
                log.append(getattr(cell, rest[0]))
            elif verb == "write":
                setattr(cell, rest[0], 10 + number)
            elif verb == "call":
                call_rcu(self.called, rest[0])
            elif verb == "rcu_read_lock":
                rcu_read_lock()
            elif verb == "rcu_read_unlock":
                rcu_read_unlock()
            elif verb == "spin_lock":
                self.lock.lock()
            elif verb == "spin_unlock":
                self.lock.unlock()
            elif verb == "barrier":
                rcu_barrier()
            else:
                synchronize_rcu()

    def called(self, field: str) -> None:
        setattr(self.cell, field, getattr(self.cell, field) + 1)

    def outcome(self, failure: object) -> object:
        if failure is not None:
            return str(getattr(failure, "headline", "")).split(" at ")[0]
        return tuple(map(tuple, self.logs)), self.cell.x, self.cell.y, self.cell.data


def outcomes(tasks: list[Body], search: DepthFirst | BoundedDPOR) -> set[object] | None:
    """How the executions of a search end; None if there are too many."""
    program, found, runtime = Program(tasks), set(), Simulated(search)
    for _ in range(MOST):
        with contextlib.suppress(Pruned):
            found.add(program.outcome(runtime.run(program).failure))
        if not search.left:
            return found
    return None


def lost(tasks: list[Body], bound: int) -> set[object]:
    """What plain enumeration finds within the bound and the reduced search does not, or the reverse."""
    plain = outcomes(tasks, DepthFirst(bound))
    if plain is None:
        return set()
    reduced = outcomes(tasks, BoundedDPOR(bound))
    assert reduced is not None, "no more executions than plain enumeration makes"
    return plain ^ reduced


WRITTEN: dict[str, list[Body]] = {
    "callback and reader": [
        [("call", "x")],
        [("rcu_read_lock",), ("read", "x"), ("read", "x"), ("rcu_read_unlock",)],
    ],
    "callback and stretch": [
        [("call", "x")],
        [("spin_lock",), ("read", "x"), ("read", "x"), ("spin_unlock",)],
    ],
    "barrier": [[("call", "x"), ("barrier",), ("read", "x")], [("call", "x"), ("write", "x")]],
    "callbacks of two": [[("call", "x")], [("call", "y"), ("synchronize",), ("read", "y"), ("read", "x")]],
    "begin of a stretch": [
        [("write", "y"), ("call", "x")],
        [("spin_lock",), ("read", "y"), ("read", "x"), ("spin_unlock",), ("read", "x")],
    ],
}


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("bound", [0, 1, 2])
def test_programs_written_for_a_pair_lose_nothing(name: str, bound: int) -> None:
    assert not lost(WRITTEN[name], bound)


def compare(seeds: range) -> None:
    for seed in seeds:
        random = Random(f"callbacks {seed}")
        tasks = [random_body(random) for _ in range(2)]
        for bound in range(3):
            assert not lost(tasks, bound), f"seed {seed}, bound {bound}: {lost(tasks, bound)}\n{tasks}"


def test_random_programs_with_callbacks_have_the_outcomes_of_plain_enumeration() -> None:
    compare(range(4))


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(5))
def test_many_random_programs_with_callbacks_have_the_outcomes_of_plain_enumeration(part: int) -> None:
    compare(range(1000 + 100 * part, 1100 + 100 * part))


def test_the_reduction_is_worth_something() -> None:
    tasks: list[Body] = [[("call", "x"), ("barrier",)], [("call", "y"), ("barrier",)]]
    wide, exact = BoundedDPOR(1, Dependence()), BoundedDPOR(1)
    assert outcomes(tasks, wide) == outcomes(tasks, exact)
    assert exact.traces < wide.traces


# -- the pairs by themselves ------------------------------------------------------------------------------------------


class World(RcuDomain):
    """A domain with two tasks, and the two that run their callbacks; what a runtime would tell it is kept here."""

    __slots__ = ("servers", "tasks")

    def __init__(self) -> None:
        super().__init__()
        self.tasks = [Task(number, f"t{number}", print) for number in range(4)]
        self.servers = self.tasks[2:]
        self.served = dict(zip(self.servers, self.tasks[:2], strict=True))

    def open_readers(self) -> list[Task]:
        return [task for task in self.tasks if task in self.readers or task.preempt_count]

    def enabled(self) -> dict[tuple[int, str], Footprint | Operation]:
        """What each task can do now, and what it is to the relation."""
        found: dict[tuple[int, str], Footprint | Operation] = {}
        for number, task in enumerate(self.tasks[:2]):
            found[number, "call"] = Footprint.CALLS
            inside = task in self.readers
            found[number, "leave" if inside else "enter"] = (
                Footprint.READER_ENDS if inside else Footprint.READER_BEGINS
            )
            held = task.preempt_count
            found[number, "unlock" if held else "lock"] = Spinlock._unlock if held else Spinlock._lock
            if task not in self.targets:
                found[number, "barrier"] = Footprint.BARRIER_BEGINS
            elif callbacks._barrier_over(self, task):
                found[number, "barrier over"] = Footprint.BARRIER_ENDS
            if task not in self.waiting:
                found[number, "wait"] = Footprint.GRACE_BEGINS
            elif wait_is_over(self, task):
                found[number, "waited"] = Footprint.GRACE_ENDS
        for number, task in enumerate(self.servers, 2):
            if task.preempt_count:
                found[number, "done"] = Footprint.CALLBACK_ENDS
            elif callbacks._may_run(self, task):
                found[number, "run"] = Footprint.CALLBACK_BEGINS
        return found

    def do(self, what: tuple[int, str]) -> None:
        task = self.tasks[what[0]]
        if what[1] == "call":
            callbacks._queue(self, task, Queued(print, None))
        elif what[1] in ("lock", "unlock"):
            task.preempt_count += 1 if what[1] == "lock" else -1
        elif what[1] in ("enter", "leave"):
            getattr(self, what[1])(task)
        else:
            effects = {
                "barrier": callbacks._begin_barrier,
                "barrier over": callbacks._end_barrier,
                "wait": begin_wait,
                "waited": end_wait,
                "run": callbacks._run,
                "done": callbacks._done,
            }
            effects[what[1]](self, task, None)
        self.looked(task, Spinlock._lock)

    def seen(self) -> object:
        """All that operations can tell of it: of the numbers of grace periods only whom each waits for."""
        due = {
            task.id: sorted(reader.id for reader, first in self.holdouts.items() if first <= number)
            for task, number in self.due.items()
        }
        targets = {
            task.id: sorted((whose.id, number) for whose, number in counts.items())
            for task, counts in self.targets.items()
        }
        queued = {task.id: len(queue) for task, queue in self.callbacks.queues.items() if queue}
        return self.as_seen(), due, targets, queued, sorted(self.enabled())


def commute(one: Footprint | Operation, two: Footprint | Operation) -> bool:
    if isinstance(one, Footprint) and isinstance(two, Footprint):
        return (one, two) in dependence._WITH_CALLBACKS
    if isinstance(one, Footprint):
        one, two = two, one
    if isinstance(two, Footprint):
        assert isinstance(one, Operation)
        # The other operation is asked for its footprint only.
        return not dependence._takes_part(one, cast("Operation", SimpleNamespace(footprint=two)))
    return False


def false_pair(steps: int = 160) -> str:
    """A pair that is said to commute and does not, in some state that random operations lead to; empty if none is."""
    random, world = Random("callbacks"), World()
    for step in range(steps):
        if step % 40 == 0:
            world = World()
        enabled = world.enabled()
        chosen = random.choice(sorted(enabled))
        for other in sorted(ways := {**enabled, **dict.fromkeys(set(NAMED) - set(enabled))}):
            if other[0] == chosen[0]:
                continue
            footprint = ways[other] or NAMED[other]
            if not commute(enabled[chosen], footprint):
                continue
            first = deepcopy(world)
            first.do(chosen)
            if (other in first.enabled()) is not (other in enabled):
                return f"step {step}: {chosen} changes whether {other} can go on"
            if other in enabled:
                second = deepcopy(world)
                first.do(other)
                second.do(other)
                second.do(chosen)
                if first.seen() != second.seen():
                    return f"step {step}: {chosen} and {other}"
        world.do(chosen)
    return ""


NAMED: dict[tuple[int, str], Footprint] = {
    **{(number, "barrier over"): Footprint.BARRIER_ENDS for number in (0, 1)},
    **{(number, "waited"): Footprint.GRACE_ENDS for number in (0, 1)},
    **{(number, "run"): Footprint.CALLBACK_BEGINS for number in (2, 3)},
}
"""What may have to wait."""


def test_what_is_said_to_commute_does_in_every_state_that_was_met() -> None:
    assert not false_pair()


@pytest.mark.parametrize(
    "pair",
    [
        (Footprint.CALLBACK_BEGINS, Footprint.READER_ENDS),
        (Footprint.CALLBACK_BEGINS, Footprint.CALLS),
        (Footprint.CALLBACK_BEGINS, Footprint.GRACE_BEGINS),
        (Footprint.CALLBACK_ENDS, Footprint.BARRIER_ENDS),
        (Footprint.CALLBACK_ENDS, Footprint.GRACE_ENDS),
        (Footprint.CALLS, Footprint.BARRIER_BEGINS),
        (Footprint.CALLS, Footprint.READER_BEGINS),
    ],
)
def test_a_pair_that_does_not_commute_is_caught(
    pair: tuple[Footprint, Footprint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependence, "_WITH_CALLBACKS", dependence._WITH_CALLBACKS | {pair, pair[::-1]})
    assert false_pair()


@pytest.mark.exhaustive
def test_it_does_in_many_more_states() -> None:
    assert not false_pair(2000)


# -- what only lets go ------------------------------------------------------------------------------------------------


def as_operation(what: Footprint | Operation) -> Operation:
    if isinstance(what, Operation):
        return what
    return cast("Operation", SimpleNamespace(footprint=what, region=False, dep=None))


def matters(steps: int = 400) -> str:
    """An end, as `let_go._ends` calls it, whose order with what somebody could do already matters; empty if none."""
    random, world = Random("let go"), World()
    met = 0
    for step in range(steps):
        if step % 40 == 0:
            world = World()
        enabled = world.enabled()
        chosen = random.choice(sorted(enabled))
        for other in sorted(set(NAMED) & set(enabled)):
            if other[0] == chosen[0] or not let_go._ends(as_operation(enabled[chosen])):
                continue
            met += 1
            first, second = deepcopy(world), deepcopy(world)
            first.do(chosen)
            if other not in first.enabled():
                return f"step {step}: {chosen} makes {other} wait again"
            first.do(other)
            second.do(other)
            second.do(chosen)
            if first.seen() != second.seen():
                return f"step {step}: {chosen} and {other}"
        world.do(chosen)
    assert met > steps / 40, "most states have neither"
    return ""


def test_an_end_does_nothing_but_let_go_who_waits_for_it() -> None:
    assert not matters()


@pytest.mark.exhaustive
def test_it_does_nothing_else_in_many_more_states() -> None:
    assert not matters(4000)


@pytest.mark.parametrize("footprint", [Footprint.CALLS, Footprint.GRACE_BEGINS])
def test_what_is_more_than_an_end_is_caught(footprint: Footprint, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = let_go._ends
    monkeypatch.setattr(let_go, "_ends", lambda op: op.footprint is footprint or ends(op))
    assert matters()


def test_a_stretch_that_is_forgotten_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependence, "_takes_part", lambda stretch, grace: False)
    assert false_pair()
