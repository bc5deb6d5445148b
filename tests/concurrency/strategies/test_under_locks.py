"""Who waits for a lock is not tried inside of the section that keeps it waiting, and nothing is lost by that."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from bounded_programs import Body, Judge, Sees, TooMany, World, differs

from sugarbush.concurrency import ConcurrencyError, Mutex, RwLock, RwSemaphore, Settings, explore, join, spawn
from sugarbush.concurrency.core.kinds import Dep
from sugarbush.concurrency.core.operation import Operation
from sugarbush.concurrency.core.runtime import perform
from sugarbush.concurrency.core.task import Task
from sugarbush.concurrency.lowlevel import Simulated
from sugarbush.concurrency.strategies.base import Pruned
from sugarbush.concurrency.strategies.bounded import BoundedDPOR
from sugarbush.concurrency.strategies.under_locks import Asks, UnderLocks

SECTIONS = [
    (("lock", "l"), ("unlock", "l")),
    (("lock", "m"), ("unlock", "m")),
    (("rwsem", "down_read"), ("rwsem", "up_read")),
    (("rwsem", "down_write"), ("rwsem", "up_write")),
    (("rwlock", "read_lock"), ("rwlock", "read_unlock")),
    (("rwlock", "write_lock"), ("rwlock", "write_unlock")),
]


class SeesLocks(Sees):
    """As `Sees`, and all that is done to a lock looks, too: so who waits depends on what was written under the lock."""

    def kinds(self, task: Task, op: Operation, obj: object, arg: object) -> int:
        return 1 if isinstance(obj, (Mutex, RwLock, RwSemaphore)) else super().kinds(task, op, obj, arg)


def statement(random: Random) -> Body:
    place = random.choice("xyz")
    return [random.choice([("read", place), ("write", place, random.randint(1, 2)), ("write_if", place, 3)])]


def body(random: Random) -> Body:
    made: Body = []
    for _ in range(random.randint(1, 3)):
        if random.random() < 0.7:
            begin, end = random.choice(SECTIONS)
            inside = [one for _ in range(random.randint(0, 2)) for one in statement(random)]
            made += [begin, *inside, end]
        else:
            made += statement(random)
    return made


def program(seed: int) -> list[Body]:
    random = Random(f"sections {seed}")
    return [body(random) for _ in range(random.choice([2, 2, 3]))]


def lost(seeds: range, most: int) -> str:
    """What the search loses of these programs within bounds 0 to 2, against plain enumeration."""
    for seed in seeds:
        for bound in range(3):
            try:
                found = differs(program(seed), bound, most, sight=SeesLocks())
            except TooMany:
                break
            if found:
                return f"seed {seed}, bound {bound}: {found}"
    return ""


def test_random_sections_lose_nothing() -> None:
    assert lost(range(40), 60) == ""


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(10))
def test_many_random_sections_lose_nothing(part: int) -> None:
    assert lost(range(1000 + 100 * part, 1100 + 100 * part), 800) == ""


def executions(tasks: list[Body], bound: int) -> tuple[int, int]:
    """How many executions and traces the search makes."""
    search, world, made = BoundedDPOR(bound), World(tasks), 0
    runtime = Simulated(search, (Judge(SeesLocks(), world),))
    while search.left:
        made += 1
        try:
            runtime.run(world.program)
        except Pruned:
            continue
    return made, search.traces


WRITES: list[Body] = [
    [("lock", "l"), ("write", "x", 2), ("write", "y", 1), ("write", "x", 1), ("unlock", "l")],
    [("read", "z"), ("lock", "l"), ("unlock", "l")],
]


def test_fewer_executions_make_the_same_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    fewer, traces = executions(WRITES, 1)
    monkeypatch.setattr(UnderLocks, "kept_out", lambda *_: 0)
    assert executions(WRITES, 1)[1] == traces
    assert executions(WRITES, 1)[0] > fewer


# -- each limit of the rule is needed ---------------------------------------------------------------------------------


def _also_what_is_done_to_the_lock(self: UnderLocks, number: int, task: Task, key: int, asks: Asks) -> None:
    before = self._now.get(task.id, {})
    _settle(self, number, task, key, asks)
    for lock, alone in before.items():
        self._under[lock, alone] = self._under.get((lock, alone), 0) | 1 << number


def _readers_keep_readers_out(self: UnderLocks, op: Operation, key: int, before: Operation | None) -> int:
    taken = op.dep if op.dep is not None else before and before.dep
    if taken not in (Dep.ACQUIRE, Dep.ACQUIRE_READ, Dep.ACQUIRE_RECURSIVE):
        return 0
    return self._under.get((key, True), 0) | self._under.get((key, False), 0)


def _locks_are_never_given_back(self: UnderLocks, number: int, task: Task, key: int, asks: Asks) -> None:
    before = self._now.get(task.id, {})
    _settle(self, number, task, key, asks)
    self._now[task.id] = {**before, **self._now.get(task.id, {})}


_settle = UnderLocks.settle
MUTANTS: list[tuple[str, Callable[..., Any]]] = [
    ("settle", _also_what_is_done_to_the_lock),
    ("kept_out", _readers_keep_readers_out),
    ("settle", _locks_are_never_given_back),
]


@pytest.mark.parametrize(("name", "mutant"), MUTANTS, ids=lambda what: getattr(what, "__name__", str(what)))
def test_without_one_of_its_limits_something_is_lost(
    name: str, mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UnderLocks, "_compare", lambda *_, **__: None)
    monkeypatch.setattr(UnderLocks, name, mutant)
    assert lost(range(200), 60)


# -- what it rests on -------------------------------------------------------------------------------------------------


class Room:
    """Several may be inside, and it says of each that it is alone."""

    def __init__(self) -> None:
        self.name = "room"
        self.inside: list[Task] = []

    def held_alone(self, task: Task) -> bool | None:
        return True if task in self.inside else None


ENTER = Operation(
    "enter",
    effect=lambda room, task, _: room.inside.append(task),
    ready=lambda room, _: len(room.inside) < 2,
    dep=Dep.TRY,
    wakes=True,
)


def test_a_lock_that_two_hold_alone_is_refused() -> None:
    def enter_twice() -> None:
        room = Room()
        join(spawn(perform, ENTER, room), spawn(perform, ENTER, room))

    with pytest.raises(ConcurrencyError, match="leave `held_alone` out of a lock that is not so"):
        explore(enter_twice, strategy="dpor", depth=1, settings=Settings(without=frozenset({"lockdep"})))
