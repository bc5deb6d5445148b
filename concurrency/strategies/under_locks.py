"""Under locks: which events a task made while it held a lock, so that who waits for that lock cannot come before them.

A task t that waits for a lock depends on all that its acquire e depends on, those before the release among them
(rule 2 of `concurrency.strategies.bounded`). Let a be an event of another task that holds this lock before a and after
it, in a mode that keeps t out, and let a not be done to the lock. Then in no schedule e comes before a while that task
is switched away right before a, since nobody else can give the lock back. So to switch there for the sake of the pair
(a, e) brings nothing; nor does a wake t, since the lock is held after a as it was before. What can bring something are
the acquire with which the section begins and the release with which it ends: these are done to the lock, and stay.

Example. A check makes e depend on two writes, and the other task did ``lock, write, write, unlock``. Only its lock and
its unlock are points at which e's task is tried.

This rests on what a lock says of itself (`Excluding`). That two hold it against that is an error here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from sugarbush.concurrency.core import (
    ConcurrencyError,
    Dep,
    Excluding,
    Footprint,
    Hold,
    Operation,
    Task,
    asked,
)

Held = Mapping[int, bool]
"""The locks that a task holds, by their keys, and whether alone."""

_NOTHING: Held = {}
_MAY_CHANGE = frozenset(
    (Dep.ACQUIRE, Dep.ACQUIRE_READ, Dep.ACQUIRE_RECURSIVE, Dep.TRY, Dep.TRY_READ, Dep.RELEASE, Dep.DOWNGRADE)
)


class Asks(Enum):
    """Which locks are asked after an operation whether its task holds them."""

    NONE = "it leaves all as they are"
    OBJECT = "the one that it was done to"
    ALL = "it does not say where it goes, so it may have given any of them back"

    @staticmethod
    def of(op: Operation, footprint: Footprint) -> Asks:
        """Which it is after `op`. What that says of where it goes the audit has verified."""
        if footprint is Footprint.ANYTHING and op.touches is None:
            return Asks.ALL
        # The second half of a wait in two steps has no `dep`.
        return Asks.OBJECT if op.dep in _MAY_CHANGE or op.hold is Hold.KEEPS else Asks.NONE


class UnderLocks:
    """Of the events of an execution those that were made under each lock. `thing` gives the object of a key."""

    def __init__(self, thing: Callable[[int], object]) -> None:
        self._thing = thing
        self._now: dict[int, Held] = {}
        """What each task holds."""
        self._after: list[Held] = []
        """What the task of each event held after it; the last event is missing up to `settle`."""
        self._under: dict[tuple[int, bool], int] = {}
        """For each lock, by its key and whether it was held alone, the events made under it."""

    def settle(self, number: int, task: Task, key: int, asks: Asks) -> None:
        """The last event, `number`, which `task` has made on the object of this `key`, has taken effect."""
        before = after = self._now.get(task.id, _NOTHING)
        if asks is not Asks.NONE:
            after = dict(before)
            for lock in {*before, key} if asks is Asks.ALL else (key,):
                alone = self._held(lock, task)
                if alone is None:
                    after.pop(lock, None)
                    continue
                after[lock] = alone
                if lock not in before:
                    self._compare(task, lock, alone=alone)
            self._now[task.id] = after
        for lock, alone in before.items():
            if lock != key and after.get(lock) is alone:
                self._under[lock, alone] = self._under.get((lock, alone), 0) | 1 << number
        self._after.append(after)

    def _held(self, lock: int, task: Task) -> bool | None:
        # What an event has touched without being done to it has no number.
        if lock < 0:
            return None
        thing = self._thing(lock)
        held_alone = asked(thing, Excluding.held_alone)
        return None if held_alone is None else held_alone(thing, task)

    def _compare(self, task: Task, lock: int, *, alone: bool) -> None:
        for other, theirs in self._now.items():
            if other != task.id and (theirs.get(lock, False) or (alone and lock in theirs)):
                raise ConcurrencyError(
                    f"{self._thing(lock)!r} is taken by {task.name} while another task holds it, which its "
                    "`held_alone` says cannot be: only who holds a lock may give it back; leave `held_alone` out of a "
                    "lock that is not so"
                )

    def kept_out(self, op: Operation, key: int, before: Operation | None) -> int:
        """The events during which nobody can have made `op`, which takes the lock of this `key` and may have to wait.

        `before` is what the task did last: of a wait in two steps that says whether it wants the lock alone.
        """
        dep = op.dep
        if dep is None and op.hold is Hold.KEEPS and before is not None:
            dep = before.dep
        if dep not in (Dep.ACQUIRE, Dep.ACQUIRE_READ, Dep.ACQUIRE_RECURSIVE):
            return 0
        alone = self._under.get((key, True), 0)
        return alone | self._under.get((key, False), 0) if dep is Dep.ACQUIRE else alone

    def rewind(self, count: int, last: Mapping[int, Sequence[int]]) -> None:
        """Forget all but the first `count` events; `last` has those of each task. The last one is settled once more."""
        del self._after[count - 1 :]
        known = (1 << count) - 1
        self._under = {at: left for at, events in self._under.items() if (left := events & known)}
        self._now = {}
        for task, events in last.items():
            settled = [number for number in events[-2:] if number < count - 1]
            if settled and self._after[settled[-1]]:
                self._now[task] = self._after[settled[-1]]
