"""Who goes on: the strategy is asked where a choice is due, and alarms ring.

Invariants:

- `_runnable` holds, by number, exactly the tasks that can go on: those that have not ended and whose announced
  operation, if it can block, is ready.
- `_decide_at` is the operation number up to which the strategy has leased the run to the current task, and no alarm
  rings. `_quiet_until` is the same if no observer listens, and 0 if one does: an announcement below that number only
  counts.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Any

from sugarbush.concurrency.core import (
    MANY,
    ConcurrencyError,
    Failure,
    Kind,
    Operation,
    OutOfTime,
    Task,
    Watcher,
    circle,
    describe_circle,
    doings,
    is_among,
    task_number,
)
from sugarbush.concurrency.runtimes.greenlets import Greenlets
from sugarbush.concurrency.runtimes.liveness import Liveness
from sugarbush.concurrency.strategies import Strategy
from sugarbush.lockdep.model import is_part

_CLOCK = 4096
"""After so many operations each the clock is looked at, if there is a budget of seconds."""


class Choosing(Liveness):
    """The part of `Simulated` that chooses who goes on."""

    out_of_time: Callable[[], bool] | None
    give_up: Callable[[BaseException], None]
    _strategy: Strategy
    _ask: Callable[[list[Task], Task | None, int, int], Task]
    _thorough: bool
    _circles: bool
    _max_steps: int
    _alone_since: int
    _doubt: str
    _alarms: list[tuple[int, Callable[[], None]]]
    _waiting: dict[int, dict[Task, Operation]]
    _watchers: list[Watcher]
    _greenlets: Greenlets
    _on_blocked: list[Any]

    def alarm(self, operations: int, ring: Callable[[], None]) -> None:
        """Have `ring` called after so many operations, whatever lease is granted until then."""
        at = self.steps + operations
        self._alarms.append((at, ring))
        self._limit = min(self._limit, at)
        self._decide_at = min(self._decide_at, self._limit)
        self._quiet_until = min(self._quiet_until, self._limit)

    def _choose(self, current: Task | None, n: int) -> Task:
        if n >= self._limit:
            self._reach_limit(n)
            if self._fair_since >= 0:
                return self._choose_fairly(current, n)
        runnable = self._runnable
        # A thorough strategy is asked all the same: it has to see every operation.
        if len(runnable) == 1 and not self._thorough:
            return self._only(runnable[0], n)
        try:
            chosen = self._ask(runnable, current, n, self._forced)
        # The program may swallow it, as it is raised within a task; `run` raises it again.
        except ConcurrencyError as error:
            self.give_up(error)
            raise
        self._decide_at = until = min(n + self._strategy.lease, self._limit)
        if not self._heard:
            self._quiet_until = until
        return chosen

    def _only(self, task: Task, n: int) -> Task:
        """`task` is the only one that can run: the strategy is not asked until that changes."""
        if self._alone_since < 0:
            self._alone_since = n - 1
        self._decide_at = self._limit
        if not self._heard:
            self._quiet_until = self._limit
        return task

    def _reach_limit(self, n: int) -> None:
        """Ring the alarms that are due, or fail: this is the last operation that there may be."""
        try:
            if n >= self._max_steps:
                raise Failure(
                    Kind.STALL,
                    f"step limit: the execution did not end within {self._max_steps} operations",
                    doings(self.tasks, self._counts()),
                )
            due = [ring for at, ring in self._alarms if at <= n]
            self._alarms = [alarm for alarm in self._alarms if alarm[0] > n]
            self._limit = min((at for at, _ in self._alarms), default=self._max_steps)
            for ring in due:
                ring()
        except Failure as failure:
            self.stop(failure)
            raise

    def _look_at_clock(self) -> None:
        """Give the execution up if the time is up.

        Nothing else depends on the clock: a strategy that is asked once more gives the answer that stands.
        """
        assert self.out_of_time is not None
        if self.out_of_time():
            error = OutOfTime("the budget of seconds has ended")
            self.give_up(error)
            raise error
        self._watch_clock()

    def _watch_clock(self) -> None:
        if self.out_of_time is not None:
            self.alarm(_CLOCK, self._look_at_clock)

    def _revoke(self) -> None:
        """Another task can run: the strategy is asked at the next announcement."""
        self._decide_at = 0
        self._quiet_until = 0
        if self._alone_since >= 0:
            self._forced += self.steps - self._alone_since
            self._alone_since = -1

    def _go(self, to: Task, n: int) -> None:
        self._who.append(to)
        self._when.append(n)
        self.current = to
        to.resume()

    def _block(self, task: Task, op: Operation, obj: object, n: int) -> None:
        task.op = op
        task.obj = obj
        runnable = self._runnable
        self._leave(task)
        if self._circles and (found := circle(task, self._is_blocked)):
            raise describe_circle(found)
        # By its id, as it does not matter how the object compares; `task.obj` keeps it alive.
        self._waiting.setdefault(id(obj), {})[task] = op
        for blocked in self._on_blocked:
            blocked(task, op, obj)
        if self._watchers:
            self._look(task, op)
        if runnable:
            chosen = self._choose(None, n)
            self._relieved += 1
            self._go(chosen, n)
        else:
            # No task can go on. The hub asks all of them once more (`_ask_again`); if none can, that is a deadlock.
            self._greenlets.hub.switch()
        self._unwait(task, obj)

    def _is_blocked(self, task: Task) -> bool:
        return not task.ended and not self._can_go_on(task)

    def _can_go_on(self, task: Task) -> bool:
        return is_among(task, self._runnable)

    def _leave(self, task: Task) -> None:
        """`task` cannot go on."""
        runnable = self._runnable
        if len(runnable) < MANY:
            runnable.remove(task)
        else:
            del runnable[bisect_left(runnable, task.id, key=task_number)]

    def _unwait(self, task: Task, obj: object) -> None:
        waiters = self._waiting[id(obj)]
        del waiters[task]
        if not waiters:
            del self._waiting[id(obj)]

    def _look(self, task: Task, op: Operation) -> None:
        """Tell those who watch what `task` does."""
        for watcher in tuple(self._watchers):
            if watcher.looked(task, op) and self._waiting:
                self._recheck(watcher)

    def _recheck(self, obj: object) -> None:
        """The state of `obj` has changed: which of the operations announced on it are ready now?"""
        waiting = self._waiting.get(id(obj))
        if waiting is None:
            return
        runnable = self._runnable
        if len(waiting) < MANY or not self._recheck_alike(waiting, obj):
            for task, op in waiting.items():
                ready: Any = op.ready
                # `is_among`, written out for few: this is done after most operations on a lock that tasks wait for.
                among = task in runnable if len(runnable) < MANY else is_among(task, runnable)
                if ready(obj, task):
                    if not among:
                        insort(runnable, task, key=task_number)
                        self._revoke()
                elif among:
                    self._leave(task)
        # The others have become unready: from here on there is no choice.
        if len(runnable) == 1 and self._alone_since < 0 and not self._thorough:
            self._only(runnable[0], self.steps + 1)

    def _recheck_alike(self, waiting: dict[Task, Operation], obj: object) -> bool:
        """`_recheck` for many tasks that are ready all or none (`Operation.alike`): the first is asked for all.

        False if they may differ. One by one, to wake n tasks would take n insertions into a list of n.
        """
        if len(kinds := set(waiting.values())) > 1 or not (op := kinds.pop()).alike:
            return False
        assert op.ready is not None
        first = next(iter(waiting))
        ready = op.ready(obj, first)
        if ready is self._can_go_on(first):
            return True
        runnable = self._runnable
        if ready:
            ranked = sorted(waiting, key=task_number)
            if ranked != list(waiting):
                self._waiting[id(obj)] = dict.fromkeys(ranked, op)
            runnable += ranked
            runnable.sort(key=task_number)
            self._revoke()
        else:
            runnable[:] = sorted(set(runnable).difference(waiting), key=task_number)
        return True

    def _ask_again(self) -> Task | None:
        """No task can go on: before that is a deadlock, ask all once more; gives one that can go on after all.

        Then an operation has made another one ready without saying so (``wakes=False``, or a step that has no effect
        here), or one on another object has. No deadlock is reported wrongly, but where the task could have gone on
        earlier it was not tried: the execution says so (`Execution.doubt`).
        """
        if self._stopping:
            return None
        for waiting in list(self._waiting.values()):
            for task, op in waiting.items():
                assert op.ready is not None
                # The engine's own are audited in the suite: if one of our primitives wakes no task, the deadlock is
                # real.
                if is_part(str(op.ready.__module__), ("sugarbush.concurrency",)) or self._can_go_on(task):
                    continue
                if op.ready(task.obj, task):
                    insort(self._runnable, task, key=task_number)
                    self._doubt = (
                        f"{op.name} was made ready by an operation that does not say so (wakes=True), so where it "
                        "could have gone on earlier was not tried"
                    )
        if not self._runnable:
            return None
        self._revoke()
        self._relieved += 1
        task = self._choose(None, self.steps)
        self._who.append(task)
        self._when.append(self.steps)
        self.current = task
        return task
