"""How the simulated runtime sees to it that an execution ends, or says why it does not.

- A task that spins (`cpu_relax`) and whose last look has changed nothing, its own state included (`frames.own_state`),
  waits until another one has done something. If no task is left that could, it is a livelock.
- A task whose looks may differ, since its loop counts them or because that cannot be seen, goes on looking, at most
  `looks` times in a row while no other task does anything. Then it waits, too, and the execution says so
  (`looks_cut`).
- After half of the step limit, or when a task spins too often, tasks are scheduled fairly, round robin, whatever the
  strategy. What does not end then either is a livelock, starvation or a stall, and not the strategy's doing.

Both depend on the program and the schedule alone, so they replay. None of it costs anything before it is needed.
"""

from __future__ import annotations

import sys
from bisect import insort
from collections.abc import Callable
from types import CodeType
from typing import Any, ClassVar

from sugarbush.concurrency.checks import balance, only_looks, same_value, tries
from sugarbush.concurrency.core import (
    CPU_RELAX,
    CPU_RELAX_ON,
    SURE,
    Access,
    ConcurrencyError,
    Failure,
    Hidden,
    Kind,
    Look,
    Operation,
    Task,
    TaskKilled,
    doings,
    names,
    own_state,
    task_number,
)
from sugarbush.concurrency.memory import KEEP, Shared
from sugarbush.concurrency.runtimes.fairness import Fairness

_STORES = (Access.WRITE, Access.WRITE_ONCE, Access.RELEASE)


class Liveness(Fairness):
    """The part of `Simulated` that notices tasks which spin."""

    current: Task
    tasks: list[Task]
    perform: Callable[..., Any]
    stop: Callable[[Failure], None]
    _recheck: Callable[[object], None]
    _stopping: bool
    _forced: int
    _relieved: int
    _spins: int
    _looks: int
    _overridden: ClassVar = ("_choose", "perform")

    def _revive(self) -> None:
        """A new execution: no task spins, and the strategy chooses."""
        for name in self._overridden:
            self.__dict__.pop(name, None)
        self._last: dict[Task, object] = {}
        """Of each task whether its last operation has changed nothing; or the place that it is writing, and what was
        there before, from which that is told when it goes on. None: it has changed something, which is progress."""
        self._in_vain: list[Task] = []
        """Those that have looked (`Task.has_looked`)."""
        self._changes = 0
        """How many operations have changed something since a task spun first."""
        self._taken: dict[int, tuple[object, int]] = {}
        """By id each object that spinning tasks have taken or given back, and how often. It is kept, so that an id
        stands for one object."""
        self._polled = False
        """A task that spins asks for the end of a grace period, which waits for stretches that have no object."""
        self.looks_cut = False
        """A loop that may give up was not followed to its end."""
        self._begin_unfair()

    # -- spinning -------------------------------------------------------------------------------------------------

    def relax(self) -> None:
        """The running task spins: have it wait until something has changed, if its next look would be the same.

        Whether the task waits depends only on what it did and saw itself; when it may go on depends on the others. So a
        search can reason about it as about any operation that waits.
        """
        if self._stopping:
            raise TaskKilled
        task = self.current
        if not self._watching:
            self._watching = True
            self._step_by(self._step_watched)
            self.perform = self._perform_watched
        look = task.look
        if look is None:
            look = task.look = Look(self._taken)
        self._note(task)
        self._settle_memory(task, settled=False)
        task.spins += 1
        if task.spins > self._spins:
            self._spins_too_often(task)
        others = self._changes - look.own
        # It has changed something, holds what it took, or its states are ever new: no look before can be like the
        # next one.
        if look.changed or any(look.held.values()) or len(look.begun) > self._looks:
            look.begun.clear()
            look.sees.clear()
        # Another task has changed something since the last look, so how often it may look is counted anew.
        if others != look.others:
            look.others = others
            look.count = 0
        try:
            state = own_state(sys._getframe(1), _main_of(self), task.fn, _kept_by(task))
        except Hidden:
            state = None
        since = None if state is None else look.begun.get(state)
        look.sure = since is not None
        waits = True
        if since is None:
            waits = look.count >= self._looks
            self.looks_cut = self.looks_cut or waits
            since = others
        # That it leaves its CPU is no preemption, here or at its next operation, which is the same place to all
        # others.
        was_idle, task.yielding = task.yielding, True
        if waits:
            # Only if nothing has changed since it was in this very state, and nothing that it looked at was taken:
            # else it may go on at once.
            if others == since and not look.is_stale():
                task.has_looked = True
                self._in_vain.append(task)
            self.perform(CPU_RELAX, task)
            look.begun.clear()
            look.sees.clear()
            look.count = 0
        else:
            look.count += 1
            if was_idle:
                # A look without an operation: else no other task could come between it and the next one.
                self.perform(CPU_RELAX_ON, task)
        task.yielding = True
        if state is not None:
            look.begun[state] = self._changes - look.own
        look.changed = False
        look.held.clear()

    def _chooses(self, label: str) -> None:  # noqa: ARG002
        """The task makes a data choice: its next look may differ."""
        look = self.current.look
        if look is not None:
            look.changed = True

    def _step_watched(self, op: Operation, obj: object) -> None:
        """`step` once a task has spun."""
        task = self.current
        looks = only_looks(op)
        self._note(task)
        if looks:
            self._sees(task, op, obj)
        if task.yielding:
            self._step_yielding(task, op, obj)
        else:
            self._inner(op, obj)
        if not looks:
            self._last[task] = self._written(op, obj)

    def _step_yielding(self, task: Task, op: Operation, obj: object) -> None:
        """The first `step` after `cpu_relax`: if another task goes on, that is no preemption."""
        before = len(self._who)
        try:
            self._inner(op, obj)
        finally:
            self._relieved += len(self._who) != before
            task.yielding = False

    def _written(self, op: Operation, obj: object) -> object:
        """The place that is about to be written, and what is there; None if that is not known."""
        if op.access in _STORES and op.field is not None and isinstance(obj, Shared):
            try:
                return obj, f"_{op.field}", object.__getattribute__(obj, f"_{op.field}")
            except AttributeError:
                return None
        return None

    def _perform_watched(self, op: Operation, obj: object, arg: Any = None) -> Any:
        """`perform` once a task has spun."""
        task = self.current
        self._note(task)
        task.kept = False
        if op.access is Access.ACQ_REL and callable(arg) and isinstance(obj, Shared):
            arg = _noting(task, arg)
        try:
            result = type(self).perform(self, op, obj, arg)
        finally:
            task.yielding = False
        if task.kept or only_looks(op, result):
            self._sees(task, op, obj)
            return result
        if tries(op):
            self._sees(task, op, obj)
        more = balance(op, result)
        if more is not None and self._is_spinning(task) and not (op.region and self._polled):
            self._takes(task, obj, more)
            return result
        self._last[task] = None if op.dep is None else False
        return result

    def _is_spinning(self, task: Task) -> bool:
        """Whether the task has looked in vain, and has changed nothing since."""
        return task.look is not None and bool(task.look.begun) and not task.look.changed

    def _sees(self, task: Task, op: Operation, obj: object) -> None:
        if task.look is not None and op is not CPU_RELAX and op is not CPU_RELAX_ON:
            task.look.at(obj)
            self._polled = self._polled or op.grace

    def _takes(self, task: Task, obj: object, more: int) -> None:
        """`task`, which spins, has taken `obj` or given it back: only tasks that look at it can see that."""
        look = task.look
        assert look is not None
        number = id(obj)
        look.held[number] = look.held.get(number, 0) + more
        count = 1 + (self._taken[number][1] if number in self._taken else 0)
        self._taken[number] = (obj, count)
        if number in look.sees:
            look.sees[number] = (obj, look.sees[number][1] + 1)
        self._wake([other for other in self._in_vain if other.look and number in other.look.sees])

    def _note(self, task: Task) -> None:
        """`task` is about to do something, so its last operation has taken effect: did that change anything?

        If it did, the task has got somewhere, and its spins are counted anew; but taking and giving back a lock is a
        part of many a loop, and does not count.
        """
        last = self._last.get(task, False)
        if type(last) is tuple:
            obj, slot, before = last
            try:
                last = same_value(before, object.__getattribute__(obj, slot)) or None
            except AttributeError:
                last = None
        if last is None:
            task.spins = task.idle_spins = 0
        if not last:
            self._changes += 1
            look = task.look
            if look is not None:
                look.own += 1
                look.changed = True
            if self._in_vain:
                self._wake([other for other in self._in_vain if other is not task])
        self._last[task] = True

    def _wake(self, tasks: list[Task]) -> None:
        """What these tasks look at may have changed: they can go on."""
        for task in tasks:
            self._in_vain.remove(task)
            task.has_looked = False
            task.idle_spins = 0
            self._recheck(task)

    def _look_again(self) -> Task | None:
        """Only tasks that spin can go on: one of them looks again, although nothing has changed.

        None if no task spins, or all tasks but the daemons have ended; a livelock when all have looked enough.
        """
        spinners = self._in_vain
        if self._stopping or not spinners or all(task.ended or task.daemon for task in self.tasks):
            return None
        left = [task for task in spinners if task.idle_spins < self._enough(task)]
        self._idles(self._changes, over=not left)
        if not left:
            self.current = spinners[0]
            self.stop(self._livelock(sorted(spinners, key=task_number)))
            return None
        task = min(left, key=lambda task: (task.idle_spins, task.id))
        self.current = task
        task.idle_spins += 1
        task.has_looked = False
        spinners.remove(task)
        self._settle_memory(task, settled=True)
        insort(self._runnable, task, key=task_number)
        self._relieved += 1
        try:
            chosen = self._choose(None, self.steps)
        except Failure:
            # The step limit: it has stopped the execution.
            return None
        except ConcurrencyError:
            # The strategy gives this execution up, and `run` says so.
            return None
        self._who.append(chosen)
        self._when.append(self.steps)
        return task

    def _enough(self, task: Task) -> int:
        """How often a task looks again before it counts as spinning for ever; one that may give up has longer."""
        return SURE if task.look is not None and task.look.sure else self._spins

    def _idles(self, changes: int, *, over: bool) -> None:
        """Only tasks that look again can go on, and `changes` things have changed so far; `over`: this was the last
        time.
        """

    def _settle_memory(self, task: Task, *, settled: bool) -> None:
        """With `settled` no task does anything any more, so `task` sees all that was ever written (weak memory)."""

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
            failure = self._livelock([other for other in self.tasks if other.spins and not other.ended])
        self.stop(failure)
        raise failure

    def _livelock(self, spinners: list[Task]) -> Failure:
        """The failure: all tasks that can go on look in vain.

        Of those whose looks are not known to be all the same it says only how often they have looked.
        """
        if all(task.look is not None and task.look.sure for task in spinners):
            what = "can spin for ever"
        else:
            what = f"spin, {self._spins} times in vain so far"
        return Failure(
            Kind.LIVELOCK,
            f"livelock: {names(spinners)} {what}, and no other task can go on",
            doings(self.tasks, {}),
        )


def _main_of(runtime: Any) -> CodeType:
    """The code that calls the function of a task."""
    code: CodeType = type(runtime)._main.__code__
    return code


def _kept_by(task: Task) -> tuple[object, ...]:
    """What the engine keeps about a task, and the task changes by itself."""
    return (
        task.preempt_count,
        task.rcu_nesting,
        task.rcu_bh,
        task.rcu_sched,
        task.user_mode,
        task.irqs_off,
        task.bh_off,
        task.in_softirq,
        len(task.context.held),
    )


def _noting(task: Task, change: Callable[[Any], tuple[Any, Any]]) -> Callable[[Any], tuple[Any, Any]]:
    """The change of a read-modify-write, which says whether it leaves what was there."""

    def noted(old: Any) -> tuple[Any, Any]:
        new, result = change(old)
        task.kept = new is KEEP or same_value(old, new)
        return new, result

    return noted
