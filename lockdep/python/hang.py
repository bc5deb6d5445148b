"""A hang explains itself: every thread, what it waits for, who holds that, the circle first."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sugarbush.lockdep.python.context import ThreadContext
from sugarbush.lockdep.python.locks import RealLock
from sugarbush.lockdep.python.program import Program, whole_stack, write
from sugarbush.lockdep.python.wording import stack_lines


def dump(program: Program) -> str:
    """All threads of the process, those that wait for each other first. Takes no lock and changes nothing."""
    # No lock, not even the validator's: a thread that hangs may be the one that has it. So what is read here may change
    # meanwhile, and is copied first wherever it is gone through.
    frames = sys._current_frames()
    contexts = {ctx.ident: ctx for ctx in list(program.contexts.values()) if ctx.ident in frames}
    ring = _ring(list(contexts.values()))
    lines = ["lockdep: what every thread is doing"]
    if ring:
        lines.append("DEADLOCK: " + "; ".join(f"{one.comm!r} {program.says(one)}" for one in ring))
    names = {thread.ident: thread.name for thread in list(threading._active.values())}  # type: ignore[attr-defined]
    order = [one.ident for one in ring] + [one for one in frames if contexts.get(one) not in ring]
    for ident in order:
        ctx = contexts.get(ident)
        words = program.says(ctx) if ctx is not None else "has taken no watched lock"
        lines.append("")
        lines.append(f"thread {names.get(ident, ident)!r} {words}")
        if ctx is not None:
            for entry in ctx.parted()[0]:
                frame = program.lockdep.line((entry[2], entry[3]))
                lines.append(f"  it took {entry[1].lock_class.title} at {frame.file}:{frame.line}")
        lines += stack_lines(whole_stack(frames[ident], program))
    return "\n".join(lines) + "\n"


def _ring(contexts: list[ThreadContext]) -> list[ThreadContext]:
    for first in contexts:
        ring: list[ThreadContext] = []
        at: ThreadContext | None = first
        while at is not None and at not in ring:
            ring.append(at)
            at = at.waits_for
        if at is not None:
            return ring[ring.index(at) :]
    return []


class Watchdog:
    """Writes a dump when nobody has called `pet` for so long. Its thread is a daemon, and no `threading.Thread`."""

    def __init__(self, program: Program, seconds: float, tell: Callable[[str], None] = write) -> None:
        self._program = program
        self._seconds = seconds
        self._tell = tell
        # A lock as an alarm clock: to be petted is to have it released, and what wakes without that is the time.
        # `threading.Event` would take locks that are watched, in a thread that would be told of in the dump.
        self._beat = RealLock()
        self._beat.acquire()
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        while self._beat.acquire(timeout=self._seconds):
            pass
        with suppress(Exception):
            self._tell(dump(self._program))

    def pet(self) -> None:
        """The program goes on: the time begins anew."""
        with suppress(RuntimeError):
            self._beat.release()


def install(program: Program, seconds: float | None = None) -> Watchdog | None:
    """Writes a dump before SIGQUIT (Ctrl and backslash) ends the program, and after so many seconds."""
    number = getattr(signal, "SIGQUIT", None)
    if number is not None and signal.getsignal(number) == signal.SIG_DFL:

        def show(_number: int, _frame: Any) -> None:
            write(dump(program))
            # It ends as it would have ended.
            program.plain_signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

        with suppress(ValueError, OSError):
            # Not through the hooks: to tell of a hang is no use of locks.
            program.plain_signal(number, show)
    return Watchdog(program, seconds) if seconds is not None else None
