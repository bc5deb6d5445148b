"""The interrupts of Python: the collector, signals, hooks.

A finaliser that the collector runs, and a signal handler, run in the middle of whatever their thread does:
what they wait for may be what that has. They are told to the validator as the kernel's interrupts are (the
collector is a hardware interrupt of all threads, a signal a soft one of the main thread), and so a lock taken
inside and outside is reported though the two have never met.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sugarbush.lockdep.model import HARDIRQS_ON, SOFTIRQS_ON
from sugarbush.lockdep.python.patches import Patches

if TYPE_CHECKING:
    from sugarbush.lockdep.python.program import Program


class Interrupts:
    """Tells a program's watcher of interrupts."""

    def __init__(self, program: Program, patches: Patches) -> None:
        self._program = program
        self._handlers: dict[Any, Any] = {}
        """For each handler that we have put, the user's."""
        self._watched: set[int] = set()
        program.collecting = gc.isenabled()
        # First and last of all callbacks: what those of the program do in between is done by the collector, too.
        gc.callbacks.insert(0, self._start)
        gc.callbacks.append(self._stop)
        patches.wrap(gc, "disable", self._collector)
        patches.wrap(gc, "enable", self._collector)
        self._set = signal.signal
        self._get: Callable[..., Any] = signal.getsignal
        self._blocked = getattr(signal, "pthread_sigmask", None)
        patches.wrap(signal, "signal", self._signal)
        patches.wrap(signal, "getsignal", self._getsignal)
        patches.wrap(signal, "pthread_sigmask", self._mask)
        patches.wrap(sys, "addaudithook", self._hook)
        if threading.current_thread() is threading.main_thread():
            for number in signal.valid_signals():
                handler = signal.getsignal(number)
                if _is_program(handler):
                    with contextlib.suppress(OSError, ValueError):
                        signal.signal(number, handler)

    def undo(self) -> None:
        """Takes the collector's hooks out, and gives signals their own handlers back."""
        for one in (self._start, self._stop):
            if one in gc.callbacks:
                gc.callbacks.remove(one)
        if threading.current_thread() is threading.main_thread():
            for number in tuple(self._watched):
                handler = self._get(number)
                if handler in self._handlers:
                    with contextlib.suppress(OSError, ValueError):
                        self._set(number, self._handlers[handler])

    def _start(self, phase: str, info: dict[str, int]) -> None:  # noqa: ARG002
        if phase == "start":
            self._program.collection(phase)

    def _stop(self, phase: str, info: dict[str, int]) -> None:  # noqa: ARG002
        if phase == "stop":
            self._program.collection(phase)

    def _collector(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def switched() -> None:
            real()
            program, on = self._program, gc.isenabled()
            program.collecting = on
            me = program.current()
            for ctx in list(program.contexts.values()):
                if ctx is not me and not ctx.ended:
                    ctx.state = ctx.state | HARDIRQS_ON if on else ctx.state & ~HARDIRQS_ON
            if on:
                program.lockdep.hardirqs_on()
            else:
                program.lockdep.hardirqs_off()

        return switched

    def _signal(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def put(signalnum: Any, handler: Any) -> Any:
            if not _is_program(handler) or not self._program.live:
                old = real(signalnum, handler)
                self._watched.discard(int(signalnum))
            else:
                wrapped = self._around(handler)
                old = real(signalnum, wrapped)
                self._watched.add(int(signalnum))
            self._switch()
            return self._handlers.get(old, old) if callable(old) else old

        return put

    def _getsignal(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def getsignal(signalnum: Any) -> Any:
            handler = real(signalnum)
            return self._handlers.get(handler, handler) if callable(handler) else handler

        return getsignal

    def _mask(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def pthread_sigmask(how: Any, mask: Any) -> Any:
            before = real(how, mask)
            if self._program.live:
                self._switch()
            return before

        return pthread_sigmask

    def _around(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        program = self._program

        def handle(number: int, frame: Any) -> Any:
            ctx = program.current()
            # In the middle of a check the handler runs unwatched: what it takes would be told to half-changed tables.
            if ctx.busy or not program.live:
                return handler(number, frame)
            program.lockdep.softirq_enter()
            try:
                return handler(number, frame)
            finally:
                program.lockdep.softirq_exit()

        self._handlers[handle] = handler
        return handle

    def _switch(self) -> None:
        """Signals come, or not: some handler is there whose signal is not blocked."""
        program = self._program
        ctx = program.current()
        if ctx.ident != program.main or ctx.softirq_depth:
            return
        blocked = {int(number) for number in self._blocked(signal.SIG_BLOCK, ())} if self._blocked else set()
        on = bool(self._watched - blocked)
        program.signals = on
        if on == ctx.softirqs_enabled:
            return
        if on:
            if ctx.bh_disabled:
                program.lockdep.local_bh_enable()
            else:
                ctx.bh_disabled = 1
                program.lockdep.local_bh_enable()
        else:
            ctx.state &= ~SOFTIRQS_ON

    def _hook(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def addaudithook(hook: Any) -> None:
            code = getattr(getattr(hook, "__func__", hook), "__code__", None)
            if code is not None:
                self._program.interrupting.add(id(code))
            real(hook)

        return addaudithook


_TIMEOUTS = frozenset(
    (
        "pytest_timeout",
        "sugarbush.concurrency.plugins.pytest_plugin",
        "sugarbush.lockdep.outside.command",
        "asyncio.runners",
        "asyncio.unix_events",
    )
)


def _is_program(handler: Any) -> bool:
    """Whether a handler is Python code that takes what it likes: the default one of Ctrl-C only raises."""
    if not callable(handler) or handler is signal.default_int_handler or isinstance(handler, signal.Handlers):
        return False
    function = getattr(handler, "func", handler)
    # What ends a test that takes too long is no part of the program.
    return str(getattr(function, "__module__", "")) not in _TIMEOUTS
