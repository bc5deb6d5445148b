"""Feeds the lock validator with what tasks do to locks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from sugarbush.concurrency.core import (
    Dep,
    Failure,
    Kind,
    Observer,
    Operation,
    Runtime,
    Task,
    dep_map_of,
    held_now,
    sections,
    spell,
)
from sugarbush.concurrency.locks import Lock, Nested
from sugarbush.lockdep import Lockdep, Report, TaskContext
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.lockdep.show import Snapshot, take

_ACQUIRE_RECURSIVE, _RELEASE, _DOWNGRADE, _IRQS_OFF = (
    Dep.ACQUIRE_RECURSIVE,
    Dep.RELEASE,
    Dep.DOWNGRADE,
    Dep.IRQS_OFF,
)
_READ = {Dep.ACQUIRE: 0, Dep.ACQUIRE_READ: 1, Dep.ACQUIRE_RECURSIVE: 2, Dep.TRY: 0, Dep.TRY_READ: 1}
_WAITS = {Dep.WAIT_FOR: 0, Dep.WAIT_FOR_WRITER: 2}
_NO_EVENTS = frozenset({*_WAITS, Dep.SYNC})
"""What is validated when it is asked for, and holds nothing afterwards."""
_EVENTS: dict[Dep, Callable[[Lockdep], None]] = {
    Dep.IRQS_OFF: Lockdep.hardirqs_off,
    Dep.IRQS_ON: Lockdep.hardirqs_on,
    Dep.BH_OFF: Lockdep.local_bh_disable,
    Dep.BH_ON: Lockdep.local_bh_enable,
    Dep.HARDIRQ_ENTER: Lockdep.hardirq_enter,
    Dep.HARDIRQ_EXIT: Lockdep.hardirq_exit,
    Dep.SOFTIRQ_ENTER: Lockdep.softirq_enter,
    Dep.SOFTIRQ_EXIT: Lockdep.softirq_exit,
    Dep.RECLAIM_ENTER: partial(Lockdep.fs_reclaim_acquire, gfp=GFP_KERNEL),
    Dep.RECLAIM_EXIT: partial(Lockdep.fs_reclaim_release, gfp=GFP_KERNEL),
}


class LockValidator(Observer):
    """One fresh `Lockdep` an execution; its first report ends the execution.

    The graph starts empty each time, so that a schedule alone decides what is reported. Without `stacks` a report has
    the innermost frames only: an execution that failed is run again with them.
    """

    def __init__(self, *, stacks: bool = True) -> None:
        self._stacks = stacks
        self._runtime: Runtime | None = None
        self.lockdep = Lockdep(self._current)

    def begin(self, runtime: Runtime) -> None:
        """Start with an empty graph; a report ends the execution, unless that check is off."""
        self._runtime = runtime
        on_report = None if "lockdep" in runtime.without else _raise
        self.lockdep = Lockdep(self._current, on_report=on_report, stacks=self._stacks)

    def _current(self) -> TaskContext:
        assert self._runtime is not None
        return self._runtime.current.context

    def snapshot(self, lock_stat: tuple[dict[str, Any], ...] = ()) -> Snapshot:
        """The present state, in which a lock that a task only waits for does not count as held."""
        assert self._runtime is not None
        for task in self._runtime.tasks:
            waits = len(held_now(task)) < len(task.context.held)
            task.context.wanted = dep_map_of(task.obj) if waits else None
        return take(self.lockdep, lock_stat)

    def asked(self, task: Task, op: Operation, obj: Lock, arg: Nested | None) -> None:
        """Validate a blocking acquire when it is asked for: it may never be granted, which is what is to be found."""
        dep = op.dep
        assert dep is not None
        if dep <= _ACQUIRE_RECURSIVE:
            if arg is None:
                self.lockdep.acquire(obj.dep_map, read=_READ[dep])
            else:
                nest = None if arg.nest_lock is None else arg.nest_lock.dep_map
                self.lockdep.acquire(obj.dep_map, read=_READ[dep], subclass=arg.subclass, nest_lock=nest)
        elif dep in _WAITS:
            self._might_wait(task, obj, _WAITS[dep])
        elif dep is Dep.SYNC:
            self.lockdep.synchronize_srcu(obj.dep_map)

    def _might_wait(self, task: Task, obj: Lock, read: int) -> None:
        """Validate that `task` may wait for the holders of `obj` here, with interrupts off, as the kernel does.

        As __timer_delete_sync() and seqcount_lockdep_reader_access(), v6.6.
        """
        self.lockdep.hardirqs_off()
        self.lockdep.might_lock(obj.dep_map, read=read)
        if not task.irqs_off:
            self.lockdep.hardirqs_on()

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """Tell of trylocks that succeeded, of releases and downgrades, and of what switches interrupts off or on."""
        dep = op.dep
        if dep is None or dep <= _ACQUIRE_RECURSIVE:
            return
        if dep is _RELEASE:
            self.lockdep.release(obj.dep_map)
        elif dep is _DOWNGRADE:
            self.lockdep.downgrade(obj.dep_map)
        elif dep >= _IRQS_OFF:
            if dep not in _NO_EVENTS:
                _EVENTS[dep](self.lockdep)
        elif result:
            self.lockdep.acquire(obj.dep_map, read=_READ[dep], trylock=True)

    def allocating(self, task: Task, gfp: int) -> None:  # noqa: ARG002
        """An allocation that may enter reclaim is an acquire of the fs_reclaim pseudo-lock."""
        self.lockdep.might_alloc(gfp)

    def ended(self, task: Task) -> None:
        """A task must not end with locks held, or with interrupts or bottom halves off.

        Kernel: make_task_dead() in kernel/exit.c.
        """
        self.lockdep.task_exit(task.context)
        if task.irqs_off:
            raise _ended(task, "irqs disabled")
        if task.bh_off:
            raise _ended(task, f"preempt_count {task.preempt_count}")


def _ended(task: Task, how: str) -> Failure:
    # The task has ended, so it is at no place any more; that is where what it left behind was begun.
    events = {"hardirqs": task.context.hardirq_off, "softirqs": task.context.softirq_off}
    lines = [f"{name} last disabled at {spell(event.site)}" for name, event in events.items() if event.site]
    lines += [f"{task.name} {section}" for section in sections(task)]
    return Failure(
        Kind.LOCKDEP, f"note: {task.name}[{task.id}] exited with {how}", "\n".join(lines), check="lockdep"
    )


def _raise(report: Report) -> None:
    raise Failure(Kind.LOCKDEP, report.headline, report.render(), check="lockdep")
