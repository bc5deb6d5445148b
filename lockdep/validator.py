"""The validator as its users see it: all parts together, and what changes or ends locks and tasks."""

from __future__ import annotations

from collections.abc import Iterable

from lockdep.asserts import Asserts
from lockdep.chains import AGAIN, NO_CHAIN, READ_MASK
from lockdep.irqs import IrqEvents
from lockdep.keys import NO_TRACK, NO_VALIDATE, LockClassKey, LockMap
from lockdep.rcu import Rcu
from lockdep.reclaim import Reclaim
from lockdep.reporter import MAP_SIZE, address_of, common, held_line, held_lines
from lockdep.reports import HeldFreedReport, LockLine, ReportKind, ReturnToUserReport, TaskExitReport
from lockdep.task import TaskContext
from lockdep.ww import WwMutexes


class Lockdep(Asserts, IrqEvents, Reclaim, Rcu, WwMutexes):
    """One lock validator: classes, dependencies and reports of one run.

    `current` gives the task that is running. Frames of the top-level packages named in `internal` are left
    out of sites and stacks, so that these point to the user's lines. `on_report` gets each report that is a
    failure (a guarded cycle is none: it only stands in `reports`), once the validator's state is consistent
    again; what it raises goes through to the task that called.
    """

    def downgrade(self, lock_map: LockMap) -> None:
        """An exclusive hold becomes a shared one, without letting go (kernel: `lock_downgrade`)."""
        ctx = self._current()
        with self._lock:
            index = self._find(ctx, lock_map) if self._tracks(ctx, lock_map) else None
            if index is None:
                self._not_held(ctx, lock_map)
            else:
                chain = ctx.held[index][1]
                if chain.read:
                    self._warn_here(ctx, f"WARNING: downgrading a read lock ({lock_map.name})", lock_map.name)
                entry = ctx.held[index]
                above = self._pop_to(ctx, index)
                self._put_back(ctx, entry, chain.key & ~READ_MASK | 1 | AGAIN)
                for other in above:
                    self._put_back(ctx, other, other[1].key | AGAIN)
        self._reporter.deliver(ctx)

    def set_class(
        self, lock_map: LockMap, key: LockClassKey, name: str | None = None, subclass: int = 0
    ) -> None:
        """Gives a lock another class; when the task holds it, what it holds is validated anew.

        `name` defaults to the key's. Kernel: `lock_set_class`, `lockdep_set_class`.
        """
        ctx = self._current()
        with self._lock:
            known = self._registry.knows(lock_map)
            index = self._find(ctx, lock_map) if self._tracks(ctx, lock_map) else None
            lock_map.key = key
            lock_map.name = key.name if name is None else name
            lock_map.subclass = subclass
            if known:
                self._registry.retoken(lock_map)
            if index is not None:
                self._move_class(ctx, index)
        self._reporter.deliver(ctx)

    def set_subclass(self, lock_map: LockMap, subclass: int) -> None:
        """Moves a lock to another subclass of its key; the name stays (kernel: `lockdep_set_subclass`)."""
        self.set_class(lock_map, lock_map.key, lock_map.name, subclass)

    def set_novalidate(self, lock_map: LockMap) -> None:
        """From now on the lock makes no dependencies (kernel: `lockdep_set_novalidate_class`)."""
        self.set_class(lock_map, NO_VALIDATE, lock_map.name)

    def set_notrack(self, lock_map: LockMap) -> None:
        """From now on the validator ignores the lock (kernel: `lockdep_set_notrack_class`)."""
        self.set_class(lock_map, NO_TRACK, lock_map.name)

    def free_check(self, maps: Iterable[LockMap]) -> None:
        """The memory of these locks goes, or they are initialised again: the current task must hold none of
        them.

        Kernel: `debug_check_no_locks_freed`.
        """
        ctx = self._current()
        gone = list(maps)
        for entry in ctx.held:
            if any(entry[0] is lock_map for lock_map in gone):
                address = address_of(entry[0])
                cause = entry[1].lock_class.title
                fields = common(ctx, ReportKind.HELD_FREED, FREED_HEADLINE, cause, self._tracer.capture())
                report = HeldFreedReport(
                    **fields, freed=held_line(entry), first=address, last=address + MAP_SIZE - 1
                )
                self._reporter.add(ctx, report)
        self._reporter.deliver(ctx)

    def task_exit(self, ctx: TaskContext) -> None:
        """The task ends: it must hold nothing (kernel: `debug_check_no_locks_held`)."""
        if ctx.held:
            cause = ",".join(entry[1].lock_class.title for entry in ctx.held)
            headline = f"WARNING: {ctx.comm}/{ctx.pid} still has locks held!"
            fields = common(ctx, ReportKind.TASK_EXIT, headline, cause, self._tracer.capture())
            self._reporter.add(ctx, TaskExitReport(**fields))
            self._reporter.deliver(ctx)

    def return_to_user(self) -> None:
        """The current task goes back to user mode: it must hold nothing (kernel: `lockdep_sys_exit`)."""
        ctx = self._current()
        if ctx.held:
            cause = ",".join(entry[1].lock_class.title for entry in ctx.held)
            fields = common(ctx, ReportKind.RETURN_TO_USER, USER_HEADLINE, cause, self._tracer.capture())
            self._reporter.add(ctx, ReturnToUserReport(**fields))
            self._reporter.deliver(ctx)

    def held_locks(self, ctx: TaskContext) -> tuple[LockLine, ...]:
        """What a task holds, oldest first, as report lines."""
        return held_lines(ctx)

    def lockdep_off(self) -> None:
        """Stops watching the current task; nests. What it holds is remembered."""
        ctx = self._current()
        self._adopt(ctx)
        if not ctx.off:
            ctx.frames.append((ctx.chain, ctx.state))
            ctx.chain = NO_CHAIN
        ctx.off += 1

    def lockdep_on(self) -> None:
        """Undoes one lockdep_off()."""
        ctx = self._current()
        ctx.off -= 1
        if not ctx.off:
            ctx.chain = ctx.frames.pop()[0]

    def _move_class(self, ctx: TaskContext, index: int) -> None:
        entry = ctx.held[index]
        above = self._pop_to(ctx, index)
        lock_class = self._class_of(ctx, entry[0], 0, self._tracer.capture())
        if lock_class is not None:
            self._put_back(ctx, entry, entry[1].key, lock_class)
        for other in above:
            self._put_back(ctx, other, other[1].key)


FREED_HEADLINE = "WARNING: held lock freed!"
USER_HEADLINE = "WARNING: lock held when returning to user space!"
