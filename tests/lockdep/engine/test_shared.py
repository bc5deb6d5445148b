"""A validator that outlives executions doubts at the latest where a fresh one reports."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from sugarbush.lockdep import LockClassKey, Lockdep, LockMap, TaskContext, WaitType
from sugarbush.lockdep.engine import SharedLockdep

Event = tuple[Any, ...]
Locks = list[list[LockMap]]
WAITS = (WaitType.SLEEP, WaitType.SLEEP, WaitType.SLEEP, WaitType.CONFIG, WaitType.INV)


def snippet(random: Random) -> list[Event]:
    """What a task does: some locks one inside the other, given back in some order, perhaps in an interrupt."""
    locks = random.sample(range(4), random.choice((2, 2, 3)))
    gated = random.random() < 0.45
    held = [(4, 0, 0)] if gated else []
    held += [(lock, random.choice((0, 0, 0, 0, 1, 2)), int(random.random() < 0.15)) for lock in locks]
    events: list[Event] = [("acquire", *lock) for lock in held]
    order = held[::-1]
    if random.random() < 0.35:
        random.shuffle(order)
    events += [("release", lock) for lock, _, _ in order]
    around = random.random()
    if around < 0.08:
        return [("hardirq_enter",), *events, ("hardirq_exit",)]
    if around < 0.16:
        return [("hardirqs_off",), *events, ("hardirqs_on",)]
    return events


class World:
    """Five keys, what the locks of each are, and some things that tasks do with them."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.keys = [LockClassKey(name) for name in ("a", "b", "c", "d", "gate")]
        self.snippets = [snippet(random) for _ in range(random.randrange(2, 6))]
        self.outliving = [LockMap(key, wait_inner=WaitType.SLEEP) for key in self.keys]
        self.mixed = random.random() < 0.15
        self.lives = random.random() < 0.3

    def executions(self, count: int) -> list[list[tuple[int, Event]]]:
        """For each execution which task does what, in order."""
        made = []
        for _ in range(count):
            some = [one for one in self.snippets if self.random.random() < 0.6]
            self.random.shuffle(some)
            made.append([(task, event) for task, one in enumerate(some) for event in one])
        return made

    def locks(self) -> tuple[Locks, Locks]:
        """The locks of an execution, two of each key, for the one validator and for the other."""
        kinds = [
            [self.random.choice(WAITS) if self.mixed else WaitType.SLEEP for _ in range(2)] for _ in self.keys
        ]
        ours, theirs = (
            [
                [LockMap(key, wait_inner=kind) for kind in pair]
                for key, pair in zip(self.keys, kinds, strict=True)
            ]
            for _ in range(2)
        )
        if self.lives and not self.mixed:
            # To a fresh validator a lock that was there before is as new as all others.
            for pair, lock in zip(ours, self.outliving, strict=True):
                pair[int(self.random.random() < 0.5)] = lock
        return ours, theirs


def tell(validator: Lockdep, locks: Locks, task: int, event: Event) -> None:
    what, *args = event
    if what not in ("acquire", "release"):
        getattr(validator, what)()
        return
    # Every third task has locks of its own; the gate is one for all.
    lock = locks[args[0]][int(task % 3 == 1 and args[0] < 4)]
    if what == "acquire":
        validator.acquire(lock, read=args[1], trylock=bool(args[2]))
    else:
        validator.release(lock)


class Two:
    """The validator that executions share, and a fresh one for each execution, told the same."""

    def __init__(self) -> None:
        self.running = TaskContext("", 0)
        self.shared = SharedLockdep(self.current)

    def current(self) -> TaskContext:
        return self.running

    def begin(self, ours: Locks, theirs: Locks) -> None:
        if self.shared.doubts:
            self.shared = SharedLockdep(self.current)
        self.fresh = Lockdep(self.current, stacks=False)
        self.shared.begin()
        self.sides = [(self.shared, ours, {}), (self.fresh, theirs, {})]

    def tell(self, task: int, event: Event) -> None:
        for validator, locks, contexts in self.sides:
            self.running = contexts.setdefault(task, TaskContext(f"t{task}", task))
            tell(validator, locks, task, event)

    @property
    def fails(self) -> bool:
        return any(report.is_failure for report in self.fresh.reports)


def compare(seed: int, executions: int) -> tuple[int, int]:
    """How many executions of a world a fresh validator reports, and how many doubts of others there were."""
    world, two = World(seed), Two()
    real = wrong = 0
    for execution in world.executions(executions):
        two.begin(*world.locks())
        for task, event in execution:
            two.tell(task, event)
            assert two.shared.doubts or not two.fails, f"world {seed}: {two.fresh.reports[-1].headline}"
            if two.shared.doubts:
                real += two.fails
                wrong += not two.fails
                break
    return real, wrong


def test_it_doubts_where_a_fresh_one_reports() -> None:
    counts = [compare(seed, 12) for seed in range(250)]
    assert sum(real for real, _ in counts) > 200
    assert sum(wrong for _, wrong in counts) > 50


def nested(*locks: int) -> list[Event]:
    """Locks one inside the other."""
    return [*(("acquire", lock, 0, 0) for lock in locks), *(("release", lock) for lock in reversed(locks))]


def test_a_guard_is_of_one_execution() -> None:
    keys = [LockClassKey(name) for name in ("a", "b", "c", "d", "gate")]
    two = Two()
    # Under one gate no two tasks can hang; under two gates of one class they can, in all the same stacks.
    for gates in (1, 2):
        ours, theirs = ([[LockMap(key), LockMap(key)] for key in keys] for _ in range(2))
        two.begin(ours, theirs)
        for task, order in ((0, (0, 1)), (1, (1, 0))):
            for locks in (ours, theirs):
                locks[4][0] = locks[4][task * (gates - 1)]
                locks[:4] = [[pair[0], pair[0]] for pair in locks[:4]]
            for event in nested(4, *order):
                two.tell(task, event)
        assert two.fails == (gates == 2)
        assert two.shared.doubts or not two.fails


def test_a_lock_that_outlives_executions_may_become_another_one() -> None:
    a, b, c = (LockClassKey(name) for name in "abc")
    outlives, two = LockMap(a), Two()
    for key in (a, c):
        outlives.key = key
        theirs = [[LockMap(one)] * 2 for one in (key, b, c)]
        two.begin([[outlives] * 2, [LockMap(b)] * 2, [LockMap(c)] * 2], theirs)
        # As an `a` it is no part of a circle, as a `c` it is.
        for event in (*nested(0, 1), *nested(1, 2)):
            two.tell(0, event)
        assert two.shared.doubts == two.fails == (key is c)


@pytest.mark.exhaustive
def test_it_doubts_where_a_fresh_one_reports_in_many_worlds() -> None:
    for seed in range(1000, 20_000):
        compare(seed, 20)
