"""The simulated runtime with weak memory: what is done by an operation reaches other tasks as barriers allow."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from sugarbush.concurrency.checks import Clock, RaceDetector
from sugarbush.concurrency.core import (
    END,
    SMP_MB,
    Access,
    Dep,
    Execution,
    Fence,
    Operation,
    Propagation,
    Task,
)
from sugarbush.concurrency.locks import Lock, Spinlock
from sugarbush.concurrency.rcu import Flavour, Grace, GraceOrder, GracePeriods, RcuDomain, Reader
from sugarbush.concurrency.runtimes.simulated import Simulated
from sugarbush.concurrency.runtimes.weak.accessors import WEAK
from sugarbush.concurrency.runtimes.weak.history import Sync, View, joined
from sugarbush.concurrency.runtimes.weak.lock_words import LOOKS_HELD
from sugarbush.concurrency.runtimes.weak.memory import WeakMemory
from sugarbush.concurrency.time import run_clock

Told = tuple[Sync, Clock | None]
"""What one task hands on to others: by the memory, and for the race detector."""
_UNLOCKS = (Dep.RELEASE, Dep.DOWNGRADE)


class WeakSimulated(Simulated):
    """Runs programs under weak memory.

    Fields of `Shared` objects and words (`Operation.word`) have a history. The effect of any other operation is
    atomic and every task sees it at once, as under sequential consistency; what it hands on stands in its `access`,
    `acquires` and `releases`. A full barrier that belongs to an operation is a step of its own before or after it.
    """

    announce: Callable[[Operation, object], None]
    """`step` for accesses that ask the memory themselves."""

    accessors = WEAK

    def _reset(self) -> None:
        super()._reset()
        self._races = next((one for one in self._observers if isinstance(one, RaceDetector)), None)
        # Fields ask the memory themselves, so for them only the switch point is wanted; all else tells the memory by
        # `step`.
        self.announce = self.step
        self.step = self._touch
        self.memory = WeakMemory(self, self._races)
        self._rcu: GraceOrder[Told] = GraceOrder(self)
        self.memory.handed_on = self._handed_on

    def _step_by(self, step: Callable[[Operation, object], None]) -> None:
        """Have `announce` be the switch point: `step` goes on to tell the memory."""
        self.announce = step

    def _chooses(self, label: str) -> None:
        """A choice of the value that a read returns is no other way to go on, since the newest can be read as well."""
        if not label.startswith("value of "):
            super()._chooses(label)

    def _written(self, op: Operation, obj: object) -> object:  # noqa: ARG002
        """None: what a write has changed is said by `wrote`, which knows where in the history it stands."""
        return None

    def wrote(self, *, kept: bool) -> None:
        """The calling task has written to a field what was its newest value already (`kept`), or something else."""
        if kept and self._watching:
            self._last[self.current] = True

    def _settle_memory(self, task: Task, *, settled: bool) -> None:
        """Have `task` read the newest of everything, or not any more: a write reaches every task in the end."""
        self.memory.known[task.id].settled = settled

    def _stop(self) -> None:
        super()._stop()
        self.announce = self.step

    def run(self, program: Callable[[], Any]) -> Execution:
        """Run the program, with the memory saying to the race detector what each read reads from."""
        if self._races is not None:
            self._races.follows_reads = True
        return super().run(program)

    def _barrier(self) -> None:
        self._touch(SMP_MB, self.domain(Propagation))

    def _touch(self, op: Operation, obj: object) -> None:
        """`step` for all that is no field of a `Shared` object."""
        self.announce(op, obj)
        if op.access is not Access.NONE or op.before is not None or op.after is not None:
            self.memory.touch(self.current, op, obj)

    def load(self, op: Operation, obj: Any) -> Any:
        """A switch point, then the value of the word that the calling task reads."""
        self.announce(op, obj)
        return self.memory.load(self.current, op, obj)

    def store(self, op: Operation, obj: Any, value: Any) -> None:
        """A switch point, then a write to the word."""
        self.announce(op, obj)
        self.memory.store(self.current, op, obj, value)

    def made(self, obj: object) -> None:
        """The calling task has made `obj`: the others may find it as it was before."""
        self.memory.born(obj)

    def perform(self, op: Operation, obj: object, arg: Any = None) -> Any:
        """Wait for the operation and make its effect, which is atomic; then hand on what its declaration says."""
        if op.before is Fence.MB:
            self._barrier()
        result = super().perform(op, obj, arg)
        memory, task = self.memory, self.current
        if op.rcu is not None or op.region or self._rcu.tasks is not None:
            self._rcu.performed(task, op, obj, arg, result)
        # What the operation acquires is known before its own access is made, and what it releases has that access in
        # it.
        whose = obj if op.surely else op.ordered(obj, arg, result)
        if whose is not None:
            for name in op.acquires:
                memory.take(task, memory.sync(whose, name), locks=isinstance(whose, Lock))
            if op.acquires and isinstance(whose, Spinlock):
                memory.holds(task, whose)
        elif op.dep is Dep.TRY and isinstance(obj, Spinlock):
            memory.failed(task, op, obj)
        if op.access is not Access.NONE:
            memory.touch(task, op, obj)
        if whose is not None:
            unlocks = op.dep in _UNLOCKS and isinstance(whose, Lock)
            for name in op.releases:
                memory.give(task, memory.sync(whose, name), unlocks=unlocks)
            if unlocks and isinstance(whose, Spinlock):
                memory.let_go(task, whose)
        if op.after is Fence.MB:
            self._barrier()
        return result

    def finds_held(self, lock: Any, *, tries: bool) -> bool | None:
        """A look at the word of a spinlock, which may be older than the lock is."""
        self.announce(LOOKS_HELD, lock)
        return self.memory.finds_held(self.current, LOOKS_HELD, lock, tries=tries)

    # -- for `GraceOrder` -----------------------------------------------------------------------------------------

    def told(self, task: Task) -> Told:
        """All that `task` has seen and done, as a lock would hand it on; and its clock."""
        sync = Sync()
        self.memory.give(task, sync, unlocks=False)
        return sync, None if self._races is None else self._races.told(task)

    def joined(self, one: Told, other: Told) -> Told:
        """What either has handed on."""
        both = Sync()
        both.view = joined(one[0].view, other[0].view)
        both.own = joined(one[0].own, other[0].own)
        both.strong = joined(one[0].strong, other[0].strong)
        if self._races is None:
            return both, None
        assert one[1] is not None
        assert other[1] is not None
        return both, self._races.joined(one[1], other[1])

    def collected(self, before: Told | None, task: Task) -> Told:
        """`before` with all that `task` has seen and done added to it."""
        if before is None:
            return self.told(task)
        sync, clock = before
        self.memory.give(task, sync, unlocks=False)
        return sync, None if self._races is None else self._races.collected(clock, task)

    def copied(self, told: Told) -> Told:
        """The same views and the same clock, to be kept while `told` is changed."""
        sync, clock = told
        same = Sync()
        same.view, same.own, same.strong = sync.view, sync.own, sync.strong
        return same, None if clock is None else clock.copy()

    def learns(self, task: Task, told: Told) -> None:
        """`task` comes to know what was handed on, as it does by taking a lock."""
        sync, clock = told
        self.memory.take(task, sync, locks=False)
        if clock is not None and self._races is not None:
            self._races.learns(task, clock)

    def _handed_on(self) -> list[View]:
        return [view for sync, _ in self._rcu.kept for view in (sync.view, sync.own, sync.strong)]

    def epoch(self, task: Task) -> int:  # noqa: ARG002
        """0: what a reader has done by then is not asked for, since nothing is added to its past (`outlasted`)."""
        return 0

    def outlasted(self, reader: Reader, told: Told) -> None:
        """Nothing is to be done: the reader knew it when it began, or the grace period would have waited for it."""

    def since(self, flavour: Flavour[Told], key: Hashable, task: Task) -> int:
        """Which grace periods are over for a reader that begins, by number: a choice, as `rcu_read_lock` is no barrier.

        What the law leaves open, that a reader inside a grace period may know or may be waited for, is settled here,
        as if the reader had begun earlier than it did. So no value that it reads is ever taken back. Where a grace
        period has no inside that could be seen, there is nothing to choose: another schedule has the reader
        before it.
        """
        graces = list(flavour.graces.values())
        doubtful = [grace for grace in reversed(graces) if grace.split and self._is_news(task, grace)]
        chosen = self.choose(len(doubtful) + 1, f"grace periods of {task.name}'s future") if doubtful else 0
        since = doubtful[chosen - 1].number - 1 if chosen else flavour.begun
        for grace in graces:
            if grace.number <= since:
                self.learns(task, grace.updates)
        later = [grace.rcu_number for grace in graces if grace.number > since]
        if later:
            rcu: GracePeriods[Any] = self.domain(RcuDomain) if flavour.obj is None else flavour.obj
            rcu.wait_for(key, min(later))
            if self._waiting:
                self._recheck(rcu)
        return since

    def _is_news(self, task: Task, grace: Grace[Told]) -> bool:
        """Whether `task` lacks something of what came before `grace`."""
        sync, clock = grace.updates
        floor = self.memory.known[task.id].floor.get
        for location, write in sync.view.items():
            have = floor(location)
            if have is None or have.at < write.at:
                return True
        return clock is not None and self._races is not None and self._races.is_news(task, clock)

    def _start(
        self, parent: Task | None, fn: Callable[..., Any], args: tuple[Any, ...], name: str, daemon: bool
    ) -> Task:
        task = super()._start(parent, fn, args, name, daemon)
        # The task of the clock knows nothing of the task that set the first timer: two timers order nothing
        # (docs/memory.md).
        self.memory.spawned(parent if fn is not run_clock else None)
        self._rcu.spawned(task)
        return task

    def _end(self, task: Task) -> Task | None:
        # Handed on before the end lets a join go on, which takes it over.
        for name in END.releases:
            self.memory.give(task, self.memory.sync(task, name), unlocks=False)
        onward = super()._end(task)
        self._rcu.performed(task, END, task, None, None)
        return onward
