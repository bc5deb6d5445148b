"""How the simulated runtime sees to it that an execution ends, or says why it does not.

- A task that spins (`cpu_relax`) waits until another one has done something. If nobody is left who could, those that
  spin look again a few times, one after the other, and then it is a livelock.
- After half of the step limit, or when a task spins too often, tasks are scheduled fairly, round robin, whatever the
  strategy. What does not end then either is a livelock, starvation or a stall, and not the strategy's doing.

Both depend on the program and the schedule alone, so they replay. None of it costs anything before it is needed.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar

from concurrency.failure import Failure, Kind, TaskKilled
from concurrency.operation import Operation
from concurrency.spin import CPU_RELAX, IDLE_SPINS, only_looks
from concurrency.task import Task, task_number
from concurrency.waiting import doings, names

QUANTUM = 100
"""A turn, in operations, when tasks are scheduled fairly."""


class Liveness:
    """The part of `Simulated` that this module is about."""

    steps: int
    current: Task
    tasks: list[Task]
    step: Callable[[Operation, object], None]
    perform: Callable[..., Any]
    stop: Callable[[Failure], None]
    _choose: Callable[[Task | None, int], Task]
    _recheck: Callable[[object], None]
    _reach_limit: Callable[[int], None]
    _step: Callable[[Operation, object], None]
    _step_leased: Callable[[Operation, object], None]
    _step_uniform: Callable[[Operation, object], None]
    _runnable: list[Task]
    _who: list[Task]
    _when: list[int]
    _stopping: bool
    _heard: bool
    _decide_at: int
    _quiet_until: int
    _forced: int
    _relieved: int
    _limit: int
    _spins: int
    _overridden: ClassVar = ("_choose", "perform")

    def _revive(self) -> None:
        """A new execution: nobody spins, and the strategy chooses."""
        for name in self._overridden:
            self.__dict__.pop(name, None)
        self._watching = False
        self._looked: set[Task] = set()
        """The tasks whose last operation has changed nothing."""
        self._in_vain: list[Task] = []
        """Those that have looked (`Task.has_looked`)."""
        self._inner = self._step
        self._fair_since = -1
        self._fair_from = 0
        self._turn = -1
        self._turn_ends = 0

    # -- spinning -------------------------------------------------------------------------------------------------

    def relax(self) -> None:
        """See `Runtime.relax`."""
        if self._stopping:
            raise TaskKilled
        task = self.current
        if not self._watching:
            self._watching = True
            self.step = self._step_watched
            self.perform = self._perform_watched
        task.spins += 1
        if task.spins > self._spins:
            self._spins_too_often(task)
        task.has_looked = True
        self._in_vain.append(task)
        self.perform(CPU_RELAX, task)

    def _step_watched(self, op: Operation, obj: object) -> None:
        """`step` once somebody has spun."""
        self._note(self.current, only_looks(op), True)
        self._inner(op, obj)

    def _perform_watched(self, op: Operation, obj: object, arg: Any = None) -> Any:
        """`perform` once somebody has spun."""
        task = self.current
        self._note(task, True, False)
        result = type(self).perform(self, op, obj, arg)
        if not only_looks(op, result):
            self._looked.discard(task)
            if op.dep is None:
                task.spins = task.idle_spins = 0
        return result

    def _note(self, task: Task, looks: bool, counts: bool) -> None:
        """`task` is about to do something, so its last operation has taken effect: did that change anything?

        `looks` says that what it will do changes nothing. Else it has got somewhere, and with `counts` its spins are
        counted anew; taking and giving back a lock is a part of many a loop, and does not count.
        """
        if task not in self._looked:
            woken = [other for other in self._in_vain if other is not task]
            for other in woken:
                self._in_vain.remove(other)
                other.has_looked = False
                other.idle_spins = 0
                self._recheck(other)
        if looks:
            self._looked.add(task)
        else:
            self._looked.discard(task)
            if counts:
                task.spins = task.idle_spins = 0

    def _look_again(self) -> Task | None:
        """Nobody can go on but those that spin: one of them looks again, although nothing has changed.

        None if nobody spins, or all tasks but the daemons have ended; a livelock when all have looked enough.
        """
        spinners = self._in_vain
        if self._stopping or not spinners or all(task.done or task.daemon for task in self.tasks):
            return None
        task = min(spinners, key=lambda task: (task.idle_spins, task.id))
        self.current = task
        if task.idle_spins >= IDLE_SPINS:
            self.stop(self._livelock(sorted(spinners, key=task_number)))
            return None
        task.idle_spins += 1
        task.has_looked = False
        spinners.remove(task)
        insort(self._runnable, task, key=task_number)
        self._relieved += 1
        self._who.append(self._choose(None, self.steps))
        self._when.append(self.steps)
        return task

    def _spins_too_often(self, task: Task) -> None:
        if self._fair_since < 0:
            for other in self.tasks:
                other.spins = 0
            self._be_fair()
            return
        if any(not other.spins for other in self._runnable if other is not task):
            failure = Failure(
                Kind.STARVATION,
                f"starvation: {task.name} has spun {self._spins} times in vain while others went on",
                doings(self.tasks, self._counts()),
            )
        else:
            failure = self._livelock([other for other in self.tasks if other.spins and not other.done])
        self.stop(failure)
        raise failure

    def _livelock(self, spinners: list[Task]) -> Failure:
        return Failure(
            Kind.LIVELOCK,
            f"livelock: {names(spinners)} can spin for ever, and no other task can go on",
            doings(self.tasks, {}),
        )

    # -- fairness -------------------------------------------------------------------------------------------------

    def _be_fair(self) -> None:
        """From now on all tasks get their turns."""
        self._fair_since = self.steps
        self._fair_from = len(self._when)
        self._choose = self._choose_fairly
        self._decide_at = self._quiet_until = 0
        if self._inner == self._step_uniform:
            self._inner = self._step_leased
            if not self._watching:
                self.step = self._step_leased

    def _choose_fairly(self, current: Task | None, n: int) -> Task:
        """The next task by number, for `QUANTUM` operations."""
        if n >= self._limit:
            self._reach_limit(n)
        chosen = current
        if chosen is None or n >= self._turn_ends:
            runnable = self._runnable
            at = bisect_right(runnable, self._turn, key=task_number)
            chosen = runnable[at] if at < len(runnable) else runnable[0]
            self._turn = chosen.id
            self._turn_ends = n + QUANTUM
        self._decide_at = until = min(self._turn_ends, self._limit)
        if not self._heard:
            self._quiet_until = until
        return chosen

    def _counts(self) -> dict[Task, int]:
        """How many operations each task has made since the turns are fair."""
        counts: dict[Task, int] = {}
        start = max(self._fair_from - 1, 0)
        whens = [*self._when[start:], self.steps]
        for task, (since, until) in zip(self._who[start:], pairwise(whens), strict=True):
            counts[task] = counts.get(task, 0) + until - max(since, self._fair_since)
        return counts
