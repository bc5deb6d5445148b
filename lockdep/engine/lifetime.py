"""The ends of things: locks that are freed, keys that go, tasks that end or leave, with locks still held."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sugarbush.lockdep.engine.core import Core
from sugarbush.lockdep.model import Held, LockClassKey, LockdepError, LockMap, TaskContext, matches
from sugarbush.lockdep.reports import (
    MAP_SIZE,
    HeldFreedReport,
    LockLine,
    ReportKind,
    ReturnToUserReport,
    TaskExitReport,
    address_of,
    common,
    held_lines,
    lock_line,
)

FREED_HEADLINE = "WARNING: held lock freed!"
USER_HEADLINE = "WARNING: lock held when returning to user space!"


class Lifetime(Core):
    """The checks at ends: of a lock's memory, of a key, of a task; and watching that is switched off for a while."""

    def free_check(self, maps: Iterable[LockMap]) -> None:
        """The memory of these locks goes, or they are initialised again: the task must hold none of them.

        Only the current task is looked at, as in the kernel's `debug_check_no_locks_freed`.
        """
        ctx = self._current()
        gone = list(maps)
        for entry in ctx.held:
            for lock_map in gone:
                if matches(entry, lock_map):
                    self._report_freed(ctx, lock_map, entry)
        self._reporter.deliver(ctx)

    def _report_freed(self, ctx: TaskContext, lock_map: LockMap, entry: Held) -> None:
        address, lock_class = address_of(lock_map), entry[1].lock_class
        trace = self._tracer.capture()
        fields = common(ctx, ReportKind.HELD_FREED, FREED_HEADLINE, lock_class.title, trace)
        freed = lock_line(lock_map, lock_class, (entry[2], entry[3]))
        report = HeldFreedReport(**fields, freed=freed, first=address, last=address + MAP_SIZE - 1)
        self._reporter.add(ctx, report)

    def task_exit(self, ctx: TaskContext) -> None:
        """The task ends: it must hold nothing (kernel: `debug_check_no_locks_held`)."""
        if ctx.held:
            headline = f"WARNING: {ctx.comm}/{ctx.pid} still has locks held!"
            trace = self._tracer.capture()
            fields = common(ctx, ReportKind.TASK_EXIT, headline, _titles(ctx), trace)
            self._reporter.add(ctx, TaskExitReport(**fields))
            self._reporter.deliver(ctx)

    def return_to_user(self) -> None:
        """The current task goes back to user mode: it must hold nothing (kernel: `lockdep_sys_exit`)."""
        ctx = self._current()
        if ctx.held:
            trace = self._tracer.capture()
            fields = common(ctx, ReportKind.RETURN_TO_USER, USER_HEADLINE, _titles(ctx), trace)
            self._reporter.add(ctx, ReturnToUserReport(**fields))
            self._reporter.deliver(ctx)

    def unregister_key(self, key: LockClassKey) -> None:
        """Forgets a key: its classes, their dependencies, and every stack that they were on.

        A lock of the key that is still held stays on its task's stack until it is released. A key that was
        never used, or is gone already, raises `LockdepError`. Kernel: `lockdep_unregister_key`.
        """
        with self._lock:
            if not self._registry.has(key):
                raise LockdepError(f"key {key!r} has not been registered")
            # Classes, then what refers to them: edges, guarded cycles, stacks. A stack that mentions one of them was
            # proved with it, so it is dropped whole and proved anew when it comes again.
            gone = self._registry.zap(key)
            self._prover.forget(gone)
            numbers = {known.number for known in gone}
            for root in self.roots:
                root.prune(numbers)

    def held_locks(self, ctx: TaskContext) -> Sequence[LockLine]:
        """What a task holds, oldest first, as report lines."""
        return held_lines(ctx)

    def lockdep_off(self) -> None:
        """Stops watching the current task; nests. What it holds is remembered (kernel: `lockdep_off`)."""
        ctx = self._current()
        self._adopt(ctx)
        ctx.off += 1
        self._stand(ctx)

    def lockdep_on(self) -> None:
        """Undoes one lockdep_off(); raises `LockdepError` when there is none."""
        ctx = self._current()
        if not ctx.off:
            raise LockdepError("lockdep_on() without lockdep_off()")
        ctx.off -= 1
        self._stand(ctx)


def _titles(ctx: TaskContext) -> str:
    return ",".join(entry[1].lock_class.title for entry in ctx.held)
