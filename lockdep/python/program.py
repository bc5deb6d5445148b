"""The watcher of a whole Python program: makes its locks, hears of its interrupts and waits, tells what was found."""

from __future__ import annotations

import io
import os
import signal
import sys
from _thread import get_ident
from collections.abc import Callable
from contextlib import suppress
from sys import _getframe
from types import CodeType, FrameType
from typing import Any

from sugarbush.lockdep.model import (
    HARDIRQS_ON,
    NOT_THREADED,
    SOFTIRQS_ON,
    LockMap,
    RawFrame,
    Stack,
    Tracer,
    resolve,
)
from sugarbush.lockdep.python.context import PythonMap, ThreadContext
from sugarbush.lockdep.python.locks import BaseLock, LockType, RealLock, RealRLock
from sugarbush.lockdep.python.relocks import BaseRLock
from sugarbush.lockdep.python.sites import SiteKey, Sites
from sugarbush.lockdep.python.validator import INTERNAL, PythonLockdep
from sugarbush.lockdep.python.waits import Under, make, report_work
from sugarbush.lockdep.python.watcher import HOOK, LockWatcher
from sugarbush.lockdep.python.wording import tell
from sugarbush.lockdep.reports import Report, ReportKind


class Program(LockWatcher):
    """Watches all locks of the process from `install()` on.

    `on_report` gets each new failure, in the thread that caused it; without it reports are written to standard error
    at once. `kernel` writes them in the kernel's shape. With `everything`, guarded cycles are written as well.
    """

    lockdep: PythonLockdep

    def __init__(
        self, on_report: Callable[[Report], None] | None = None, *, kernel: bool = False, show: bool = True
    ) -> None:
        super().__init__()
        self.on_report = on_report
        self.kernel = kernel
        self.show = show
        self.lockdep = PythonLockdep(self.current, on_report=self._reported)
        self.lockdep.irqs.private = self._is_private
        self.lockdep.forgets = self.forget_places
        self.sites = Sites(Tracer(INTERNAL))
        self.main = get_ident()
        self.waited: dict[tuple[int, str], Under] = {}
        self.collecting = True
        self.signals = False
        self.lost: set[int] = set()
        self.safe: set[int] = set()
        self.plain_signal: Callable[..., Any] = signal.signal

    # Locks.

    def new_lock(self, cls: type[BaseLock], frame: FrameType) -> BaseLock:
        """A lock that is made at a place."""
        lock = object.__new__(cls)
        lock_map = PythonMap(self.sites.key(frame, "Lock"))
        # Now, so that its first acquire finds it known and need not take the way with all checks.
        self.lockdep.enrol(lock_map)
        lock._set_up(self, RealLock(), lock_map)
        return lock

    def new_rlock(self, cls: type[BaseRLock], frame: FrameType) -> BaseRLock:
        """A reentrant lock that is made at a place."""
        lock = object.__new__(cls)
        lock_map = PythonMap(self.sites.key(frame, "RLock"), reentrant=True)
        self.lockdep.enrol(lock_map)
        lock._set_up(self, RealRLock(), lock_map)
        return lock

    def adopt(self, real: Any, key: SiteKey) -> BaseLock | BaseRLock:
        """A watched lock around a real one that exists already: code that has kept the real one shares it."""
        lock: BaseLock | BaseRLock
        if isinstance(real, LockType):
            lock = object.__new__(BaseLock)
            lock._set_up(self, real, PythonMap(key))
        else:
            lock = object.__new__(BaseRLock)
            lock._set_up(self, real, PythonMap(key, reentrant=True))
        return lock

    # Threads.

    def begins(self, ctx: ThreadContext) -> None:
        if not self.collecting:
            ctx.state &= ~HARDIRQS_ON
        if ctx.ident != self.main or not self.signals:
            # Handlers of signals run in the main thread only.
            ctx.state &= ~SOFTIRQS_ON

    def ends(self, ctx: ThreadContext) -> None:
        """A thread ends; locks that it still holds are told."""
        if self.live and not ctx.slow:
            self.lockdep.task_exit(ctx)
        ctx.ended = True
        self.contexts.pop(ctx.ident, None)

    def main_ends(self) -> None:
        """The main thread is at its end, before the interpreter waits for the others, who may want what it holds."""
        ctx = self.current()
        if ctx.ident == self.main and (not ctx.slow or self._catch_up(ctx)) and ctx.held:
            self.lockdep.task_exit(ctx)

    def wanted(self, ctx: ThreadContext, lock_map: PythonMap) -> None:
        if ctx.slow and not self._catch_up(ctx):
            return
        if ctx.busy:
            return
        if self.lost and lock_map.takers:
            self._after_fork(ctx, lock_map)
        kind = self._interrupted(ctx, _getframe(2))
        if not kind:
            if self.lockdep.irqs.candidates:
                self.lockdep.irqs.settle(ctx)
                self.lockdep.deliver(ctx)
            self._tell(ctx, lock_map, False)
            self._looked_for(ctx, lock_map)
            return
        if kind == COLLECTOR and not ctx.hardirq_depth:
            self.lockdep.hardirq_enter()
        state = ctx.state
        # A state of its own: no look-up may answer for what is taken in an interrupt.
        ctx.state = state & ~HARDIRQS_ON | NOT_THREADED
        ctx.finalising = kind
        try:
            self._tell(ctx, lock_map, False)
        finally:
            ctx.finalising = ""
            ctx.state = state
        if self.lockdep.irqs.candidates:
            # The next lock that the thread takes outside shows whether this one is still there.
            ctx.slow = True

    def holds(self, ctx: ThreadContext) -> bool:
        """Whether the running thread holds anything; what others gave back for it is taken off first."""
        if ctx.gone:
            self._catch_up(ctx)
        return ctx.holds

    def _interrupted(self, ctx: ThreadContext, frame: FrameType) -> str:
        if ctx.interrupts:
            return ctx.interrupts[-1]
        return self.finaliser(frame)

    def _looked_for(self, ctx: ThreadContext, lock_map: PythonMap) -> None:
        unit = ctx.unit
        if unit.label and self.waited:
            under = self.waited.get((lock_map.number, unit.label))
            if under is not None and under.lock() is lock_map and ctx.held:
                site = ctx.held[-1][2:4]
                report_work(self, ctx, under, unit.label, unit, site, under.trace, under.name, under.held)

    def site(self, frame: FrameType, how: int | None, ctx: ThreadContext) -> RawFrame | None:
        found = super().site(frame, how, ctx)
        # What a label says of the work is looked at once for each place that takes locks in it.
        return None if self.waited and ctx.unit.label else found

    def _is_private(self, lock_map: LockMap) -> bool:
        """Whether a lock may be a part of the object that is being finalised: made while that was being made."""
        if self.current().finalising == HOOK:
            return False
        key = lock_map.key
        codes = key.codes if isinstance(key, SiteKey) else ()
        frame: FrameType | None = _getframe(1)
        while frame is not None:
            if frame.f_code.co_name == "__del__":
                return _made_by(frame.f_code, codes)
            frame = frame.f_back
        return True

    def collection(self, phase: str) -> None:
        """The collector starts or stops in the running thread."""
        try:
            ctx = self.tls.ctx
        except AttributeError:
            ctx = self.new_context()
        if phase == "start":
            ctx.interrupts.append(COLLECTOR)
            ctx.slow = True
        elif ctx.interrupts and ctx.interrupts[-1] == COLLECTOR:
            ctx.interrupts.pop()
            ctx.slow = (
                bool(ctx.interrupts) or bool(ctx.gone) or ctx.stale or self.always_slow or not self.live
            )
            if ctx.hardirq_depth:
                self.lockdep.hardirq_exit()
            if self.lockdep.irqs.candidates and not ctx.busy:
                self.lockdep.irqs.settle(ctx)
                self.lockdep.deliver(ctx)

    def handed_over(self, lock_map: PythonMap, owner: ThreadContext) -> None:
        super().handed_over(lock_map, owner)
        # It is a signal, not a lock that is held: nothing can be said of its order.
        self.signals_only(lock_map)

    def signals_only(self, lock_map: PythonMap) -> None:
        """A lock that is none: one takes it, another gives it back."""
        lock_class = self.lockdep.known(lock_map.key)
        if lock_class is not None and lock_class.checked:
            self.lockdep.no_order(lock_class)

    def task_context(self, name: str) -> ThreadContext:
        """The context of something that holds locks as a thread does, and is none."""
        ctx = ThreadContext(name, next(self._numbers))
        ctx.ident = -ctx.pid
        self.begins(ctx)
        ctx.state &= ~SOFTIRQS_ON
        return ctx

    def forked(self) -> None:
        others = {ctx.pid for ctx in self.contexts.values()} if self.live else set()
        super().forked()
        self.contexts_at_fork(others)

    def contexts_at_fork(self, others: set[int]) -> None:
        """In the child of a fork: what other threads used to take may have been theirs at that moment."""
        ctx = self.current()
        others.discard(ctx.pid)
        self.lost = others
        self.safe = {entry[0].number for entry in ctx.held}
        if others:
            self.always_slow = ctx.slow = True

    def reborn(self, lock_map: PythonMap) -> None:
        super().reborn(lock_map)
        lock_map.takers.clear()
        lock_map.last = None

    def _after_fork(self, ctx: ThreadContext, lock_map: PythonMap) -> None:
        if lock_map.number in self.safe:
            return
        for number, (unit, site) in list(lock_map.takers.items()):
            if number not in self.lost:
                continue
            lock_class = self.lockdep.known(lock_map.key)
            title = lock_class.title if lock_class is not None else lock_map.name
            trace = self.lockdep.capture()
            self.report(
                ctx,
                ReportKind.FORK,
                f"{title}|fork",
                "possible deadlock: a child process takes a lock that a thread of its parent may have at the fork",
                (title,),
                (
                    (f"thread {unit.ctx.comm!r} of the parent takes {title} here:", (resolve(site),)),
                    ("the child, in which that thread does not exist, takes it here:", trace.resolve()),
                ),
                (
                    "Take it in os.register_at_fork(before=...), make it anew in the child, or start that by 'spawn'.",
                ),
            )
            return

    def contended(self, ctx: ThreadContext, lock_map: PythonMap) -> None:  # noqa: ARG002
        self.look_for_deadlock(ctx)

    def look_for_deadlock(self, ctx: ThreadContext) -> None:
        """The running thread is about to wait: is there a circle of threads that wait for each other now?"""
        ring: list[ThreadContext] = []
        at: ThreadContext | None = ctx
        while at is not None and at not in ring:
            ring.append(at)
            at = at.waits_for
            if at is not None and at.ended:
                return
        # Only a ring that the running thread closes: another one has been told by the thread that closed it.
        if at is not ctx or len(ring) == 1:
            # One that waits for itself was told when it asked.
            return
        frames = sys._current_frames()
        parts = []
        for one in ring:
            frame = frames.get(one.ident)
            stack: Stack = whole_stack(frame, self) if frame is not None else ()
            parts.append((f"thread {one.comm!r} {self.says(one)}:", stack))
        names = tuple(dict.fromkeys(one.wants.name for one in ring if one.wants is not None))
        self.report(
            ctx,
            ReportKind.DEADLOCK,
            "|".join(sorted(names)) + "|" + "|".join(sorted(one.comm for one in ring)),
            "deadlock: these threads wait for each other now, and will do so for ever",
            names,
            tuple(parts),
            (),
        )

    def says(self, ctx: ThreadContext) -> str:
        """What a thread holds and waits for, in words."""
        held, _ = ctx.parted()
        words = [f"holds {', '.join(entry[1].lock_class.title for entry in held)}"] if held else []
        wants = ctx.wants
        if wants is not None:
            owner = getattr(wants, "owner", None)
            words.append(
                f"waits for {wants.name}"
                + (f", which thread {owner.comm!r} holds" if owner is not None else "")
            )
        elif ctx.waits is not None:
            words.append(f"waits {ctx.waits.what}")
        return " and ".join(words) or "holds no lock"

    # Reports.

    def report(
        self,
        ctx: ThreadContext,
        kind: ReportKind,
        cause: str,
        heading: str,
        locks: tuple[str, ...],
        parts: tuple[tuple[str, Stack], ...],
        advice: tuple[str, ...],
    ) -> None:
        """Something was found that is not the validator's."""
        busy, ctx.busy = ctx.busy, True
        try:
            self.lockdep.add(ctx, make(self, ctx, kind, cause, heading, locks, parts, advice))
        finally:
            ctx.busy = busy

    def made(self, name: str) -> str:
        """Where the locks of a class are made."""
        for known in self.lockdep.state().classes:
            if known.title == name and isinstance(known.key, SiteKey):
                return known.key.place
        return ""

    def tell(self, report: Report) -> str:
        """The text of a report."""
        return report.render() if self.kernel else tell(report, self.made)

    def _reported(self, report: Report) -> None:
        if self.on_report is not None:
            self.on_report(report)
        if self.show:
            write(self.tell(report))

    @property
    def failures(self) -> list[Report]:
        """The reports that describe a possible failure: all but guarded cycles."""
        return [report for report in self.lockdep.reports if report.is_failure]

    def settle(self) -> None:
        """Decides what was put off; to be called when nothing runs any more."""
        ctx = self.current()
        self.lockdep.irqs.settle(None)
        self.lockdep.deliver(ctx)


COLLECTOR = "a finaliser that the collector ran"


def write(text: str) -> None:
    """To standard error, at once: a program that hangs takes with it what it has not written."""
    stream = sys.stderr
    # A program that puts an object of its own there may take locks in it: it would wait for the one that it holds
    # here.
    if not isinstance(stream, io.TextIOBase):
        stream = sys.__stderr__
    with suppress(Exception):
        if stream is not None:
            stream.write(text)
            stream.flush()
            return
        os.write(2, text.encode(errors="backslashreplace"))


def _made_by(finaliser: CodeType, codes: tuple[CodeType, ...]) -> bool:
    owner = finaliser.co_qualname.rpartition(".")[0]
    return any(
        code.co_filename == finaliser.co_filename and code.co_qualname.rpartition(".")[0] == owner
        for code in codes
    )


def whole_stack(frame: FrameType | None, program: Program) -> Stack:
    """The user's frames of any thread."""
    stack = []
    while frame is not None:
        if program.lockdep.is_user(frame):
            stack.append(resolve((frame.f_code, frame.f_lasti)))
        frame = frame.f_back
    return tuple(stack)
