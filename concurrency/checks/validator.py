"""Feeds the lock validator with what tasks do to locks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from sys import _getframe
from types import FrameType
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
from sugarbush.lockdep import Lockdep, LockMap, Report, TaskContext
from sugarbush.lockdep.engine import LockEvent, SharedLockdep
from sugarbush.lockdep.model import GFP_KERNEL, NO_CHAIN, TRYLOCK, Chain
from sugarbush.lockdep.show import Snapshot, take

_ACQUIRE_RECURSIVE, _RELEASE, _DOWNGRADE, _IRQS_OFF = (
    Dep.ACQUIRE_RECURSIVE,
    Dep.RELEASE,
    Dep.DOWNGRADE,
    Dep.IRQS_OFF,
)
# The numbers of the acquires are their read modes, those of the trylocks from TRY on as well.
assert (Dep.ACQUIRE, Dep.ACQUIRE_READ, Dep.ACQUIRE_RECURSIVE) == (0, 1, 2)
assert Dep.TRY_READ - Dep.TRY == 1
_TRY = int(Dep.TRY)
_WAITS = (Dep.WAIT_FOR, Dep.WAIT_FOR_WRITER, Dep.SYNC)
_OF_TASK: dict[int, Callable[[Lockdep], None]] = {
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
# In a list, since a member of an enumeration is hashed by a function in Python. What only waits (WAIT_FOR and SYNC)
# is validated when it is asked for, and holds nothing afterwards: None.
_EVENTS = [_OF_TASK.get(dep) for dep in range(max(Dep) + 1)]

_WORTH = 4
"""If more than one execution in so many brings a doubt, sharing costs more than it saves."""
_PATIENCE = 32
"""So many executions more, since it is early in an exploration that most is learned."""
_GROWTH, _TIMES = 4096, 16
"""How many proofs the shared validator keeps at most, and as many times those of one execution."""
_LONGEST = 1 << 16
"""So many events of an execution are kept to be told later. A longer one is told to a fresh validator."""


class LockValidator(Observer):
    """The word of one fresh `Lockdep` an execution; its first report ends the execution.

    The graph starts empty each time, so that a schedule alone decides what is reported. Without `stacks` a report has
    the innermost frames only: an execution that failed is run again with them.
    """

    # Without stacks many executions are heard, and the fresh validator would prove the same in each. So they share one
    # (`lockdep.engine.shared`), and what happens is kept in `_log`; where that one doubts, the log is told to a fresh
    # one, which goes on from there. `_log` is None while a fresh one is told at once.

    def __init__(self, *, stacks: bool = True) -> None:
        self._stacks = stacks
        self._runtime: Runtime | None = None
        self._fresh = Lockdep(self._current)
        self._files = self._fresh.files
        self._shared: SharedLockdep | None = None
        self._first_learned = 0
        self._log: list[LockEvent] | None = None
        self._allocated: set[tuple[Chain, int, int]] = set()
        self._executions = self._doubts = 0

    @property
    def lockdep(self) -> Lockdep:
        """The fresh validator of this execution."""
        if self._log is not None:
            self._settle()
        return self._fresh

    def begin(self, runtime: Runtime) -> None:
        """Start with an empty graph; a report ends the execution, unless that check is off."""
        self._runtime = runtime
        self._executions += 1
        if (
            self._stacks
            or "lockdep" in runtime.without
            or self._doubts * _WORTH > self._executions + _PATIENCE
        ):
            self._log = None
            self._fresh = self._new()
            return
        shared = self._shared
        if shared is not None and not self._first_learned:
            self._first_learned = shared.learned
        # A program that makes lock classes in each execution would have it grow without end. It may become some
        # times as large as one execution makes it.
        if shared is None or shared.learned > _GROWTH + _TIMES * self._first_learned:
            shared = self._shared = SharedLockdep(self._current)
            self._first_learned = 0
        shared.begin()
        self._log = []
        self._allocated = set()

    def _new(self) -> Lockdep:
        assert self._runtime is not None
        on_report = None if "lockdep" in self._runtime.without else _raise
        return Lockdep(self._current, on_report=on_report, stacks=self._stacks)

    def _current(self) -> TaskContext:
        assert self._runtime is not None
        return self._runtime.current.context

    def snapshot(self, lock_stat: tuple[dict[str, Any], ...] = ()) -> Snapshot:
        """The present state, in which a lock that a task only waits for does not count as held."""
        assert self._runtime is not None
        # First: it makes the contexts anew.
        lockdep = self.lockdep
        for task in self._runtime.tasks:
            waits = len(held_now(task)) < len(task.context.held)
            task.context.wanted = dep_map_of(task.obj) if waits else None
        return take(lockdep, lock_stat)

    # -- the shared validator ---------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Have a fresh validator hear what has happened so far; it is told from here on."""
        assert self._runtime is not None
        log, self._log = self._log, None
        assert log is not None
        self._fresh = self._new()
        for task in self._runtime.tasks:
            task.context.reset()
        self._fresh.tell_later(log)

    def _tell(self, ctx: TaskContext, call: Callable[[Lockdep], None]) -> None:
        """Make a call that no short way answers: of the shared validator, and of a fresh one if that doubts."""
        log, shared = self._log, self._shared
        if log is not None and shared is not None and len(log) < _LONGEST:
            # What is broken off in the middle of it leaves it as it should not be.
            self._shared = None
            site = shared.hear(call, _getframe(1))
            if not shared.doubts:
                self._shared = shared
                log.append((ctx, call, site))
                return
        if log is not None:
            self._doubts += 1
            self._settle()
        call(self._fresh)

    def _short(self, ctx: TaskContext, lock_map: LockMap, chain: Chain) -> bool:
        """Take a lock whose stack was proved before; False if it takes the long way to say where."""
        log = self._log
        if log is None or len(log) >= _LONGEST:
            return False
        # `Tracer.site`, as in `Core.acquire`. Where it does not find the program's frame at once, the long way does.
        frame: FrameType | None = _getframe(2)
        files = self._files
        while frame is not None:
            code = frame.f_code
            user = files.get(code.co_filename)
            if user is not False:
                if not user:
                    return False
                entry = (lock_map, chain, code, frame.f_lasti, None)
                ctx.held.append(entry)
                ctx.chain = chain
                log.append((ctx, entry))
                return True
            frame = frame.f_back
        return False

    def _acquire(
        self,
        ctx: TaskContext,
        lock_map: LockMap,
        read: int,
        *,
        trylock: bool = False,
        subclass: int = 0,
        nest_lock: LockMap | None = None,
    ) -> None:
        """An acquire whose stack was not found at once: the lock may be new in this execution."""
        shared = self._shared
        if self._log is not None and shared is not None and nest_lock is None:
            chain = shared.known(ctx, lock_map, read | TRYLOCK if trylock else read, subclass)
            if chain is not None and self._short(ctx, lock_map, chain):
                return
        self._tell(
            ctx,
            lambda lockdep: lockdep.acquire(
                lock_map, read=read, trylock=trylock, subclass=subclass, nest_lock=nest_lock
            ),
        )

    def hears_of(self, event: str, op: Operation) -> bool:
        """Acquires and waits are heard when they are asked for, all else when it is done."""
        dep = op.dep
        return dep is not None and (dep <= _ACQUIRE_RECURSIVE or dep in _WAITS) is (event == "asked")

    # -- what tasks do ----------------------------------------------------------------------------------------------

    def asked(self, task: Task, op: Operation, obj: Lock, arg: Nested | None) -> None:
        """Validate a blocking acquire when it is asked for: it may never be granted, which is what is to be found."""
        dep = op.dep
        assert dep is not None
        if dep <= _ACQUIRE_RECURSIVE:
            ctx, lock_map = task.context, obj.dep_map
            if arg is None:
                chain = ctx.chain.next.get(lock_map.token | ctx.state | dep)
                if chain is None or not self._short(ctx, lock_map, chain):
                    self._acquire(ctx, lock_map, int(dep))
            else:
                nest = None if arg.nest_lock is None else arg.nest_lock.dep_map
                self._acquire(ctx, lock_map, int(dep), subclass=arg.subclass, nest_lock=nest)
        elif dep in _WAITS:
            self._waits(task, dep, obj.dep_map)

    def _waits(self, task: Task, dep: Dep, lock_map: LockMap) -> None:
        if dep is not Dep.SYNC:
            read, irqs_off = 2 if dep is Dep.WAIT_FOR_WRITER else 0, task.irqs_off
            self._tell(task.context, lambda lockdep: _might_wait(lockdep, lock_map, read, irqs_off=irqs_off))
        else:
            self._tell(task.context, lambda lockdep: lockdep.synchronize_srcu(lock_map))

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """Tell of trylocks that succeeded, of releases and downgrades, and of what switches interrupts off or on."""
        dep = op.dep
        if dep is None or dep <= _ACQUIRE_RECURSIVE:
            return
        ctx = task.context
        if dep is _RELEASE:
            lock_map, held, log = obj.dep_map, ctx.held, self._log
            # As `Core.release`.
            if log is not None and held:
                top = held[-1]
                if top[0] is lock_map and top[4] is None and top[1] is ctx.chain:
                    held.pop()
                    ctx.chain = top[1].parent
                    log.append((ctx, lock_map))
                    return
            self._tell(ctx, partial(Lockdep.release, lock_map=lock_map))
        elif dep is _DOWNGRADE:
            self._tell(ctx, partial(Lockdep.downgrade, lock_map=obj.dep_map))
        elif dep >= _IRQS_OFF:
            event = _EVENTS[dep]
            if event is not None:
                self._tell(ctx, event)
        elif result:
            self._acquire(ctx, obj.dep_map, dep - _TRY, trylock=True)

    def allocating(self, task: Task, gfp: int) -> None:
        """An allocation that may enter reclaim is an acquire of the fs_reclaim pseudo-lock."""
        ctx = task.context
        # The stack and the irq bits decide what there is to prove, and whether the task may sleep. So in one
        # execution the same again shows nothing new, to a fresh validator either. A task that none has met yet stands
        # nowhere, and is met by this.
        here = (ctx.chain, ctx.state, gfp)
        if self._log is None or here not in self._allocated or ctx.chain is NO_CHAIN:
            self._tell(ctx, partial(Lockdep.might_alloc, gfp=gfp))
            self._allocated.add(here)

    def ended(self, task: Task) -> None:
        """A task must not end with locks held, or with interrupts or bottom halves off.

        Kernel: make_task_dead() in kernel/exit.c.
        """
        ctx = task.context
        if ctx.held:
            self._tell(ctx, partial(Lockdep.task_exit, ctx=ctx))
        if task.irqs_off:
            raise _ended(task, "irqs disabled")
        if task.bh_off:
            raise _ended(task, f"preempt_count {task.preempt_count}")


def _might_wait(lockdep: Lockdep, lock_map: LockMap, read: int, *, irqs_off: bool) -> None:
    """Validate that the task may wait for the holders of a lock here, with interrupts off, as the kernel does.

    As __timer_delete_sync() and seqcount_lockdep_reader_access(), v6.6.
    """
    lockdep.hardirqs_off()
    lockdep.might_lock(lock_map, read=read)
    if not irqs_off:
        lockdep.hardirqs_on()


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
