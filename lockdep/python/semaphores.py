"""Semaphores of one permit, which are locks in all but name, and the locks of `multiprocessing` within a process.

A semaphore that somebody else gives back, or that its owner takes twice, is a signal: of its order nothing is said.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from sys import _getframe
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sugarbush.lockdep.python.context import PythonMap, ThreadContext
from sugarbush.lockdep.python.late import LateHooks
from sugarbush.lockdep.python.patches import Patches

if TYPE_CHECKING:
    from sugarbush.lockdep.python.program import Program

_NOTE = "_sugarbush_lockdep_map"


def install(program: Program, patches: Patches, late: LateHooks) -> None:
    """Puts the hooks."""

    def init(real: Callable[..., Any]) -> Callable[..., Any]:
        def __init__(self: threading.Semaphore, value: int = 1) -> None:  # noqa: N807
            real(self, value)
            if value == 1 and program.live and _NOTE not in self.__dict__:
                frame = _getframe(1)
                while frame.f_code.co_name == "__init__" and frame.f_back is not None and _of(frame, self):
                    frame = frame.f_back
                self.__dict__[_NOTE] = PythonMap(program.sites.key(frame, "Semaphore"))

        return __init__

    def acquire(real: Callable[..., Any]) -> Callable[..., Any]:
        def acquire(self: Any, blocking: bool = True, timeout: float | None = None) -> bool:
            lock_map = self.__dict__.get(_NOTE)
            if lock_map is None or not program.live:
                return bool(real(self, blocking, timeout))
            return _taken(
                program, lock_map, blocking and timeout is None, lambda: real(self, blocking, timeout)
            )

        return acquire

    def release(real: Callable[..., Any]) -> Callable[..., Any]:
        def release(self: Any, n: int = 1) -> None:
            lock_map = self.__dict__.get(_NOTE)
            if lock_map is not None and program.live:
                _given(program, lock_map)
            real(self, n)

        return release

    patches.wrap(threading.Semaphore, "__init__", init)
    patches.wrap(threading.Semaphore, "acquire", acquire)
    patches.put(threading.Semaphore, "__enter__", threading.Semaphore.acquire)
    patches.wrap(threading.Semaphore, "release", release)
    patches.wrap(threading.BoundedSemaphore, "release", release)
    late.add("multiprocessing.synchronize", lambda module: _multiprocessing(program, patches, module))


def _of(frame: Any, one: object) -> bool:
    # A subclass: its constructor is not the place that made the semaphore.
    return any(
        frame.f_code is getattr(vars(kind).get("__init__"), "__code__", None) for kind in type(one).__mro__
    )


def _taken(program: Program, lock_map: PythonMap, endless: bool, take: Callable[[], Any]) -> bool:
    ctx = program.current()
    if lock_map.owner is ctx:
        program.signals_only(lock_map)
        return bool(take())
    if not endless:
        got = bool(take())
        if got:
            program.taken(ctx, lock_map)
            lock_map.owner = ctx
        return got
    program.wanted(ctx, lock_map)
    before: Any = ctx.wanted
    ctx.wanted = lock_map
    try:
        got = bool(take())
        lock_map.owner = ctx
    except BaseException:
        program.untell(ctx, lock_map)
        raise
    finally:
        ctx.wanted = before
    return got


def _given(program: Program, lock_map: PythonMap) -> None:
    ctx: ThreadContext = program.current()
    owner = lock_map.owner
    if not program.untell(ctx, lock_map):
        if owner is not None and owner is not ctx:
            program.handed_over(lock_map, owner)
        program.signals_only(lock_map)
    lock_map.owner = None


def _multiprocessing(program: Program, patches: Patches, module: ModuleType) -> None:
    semlock: Any = module.SemLock

    def make_methods(real: Callable[..., Any]) -> Callable[..., Any]:
        def _make_methods(self: Any) -> None:
            real(self)
            kind = type(self).__name__
            if kind not in {"Lock", "RLock"} or not program.live:
                return
            frame: Any = _getframe(1)
            while frame.f_back is not None and "multiprocessing" in frame.f_code.co_filename:
                frame = frame.f_back
            lock_map = PythonMap(program.sites.key(frame, kind), reentrant=kind == "RLock")
            acquire, release = self.acquire, self.release
            inner = self._semlock

            def acquire_watched(block: bool = True, timeout: float | None = None) -> bool:
                if not program.live or inner._is_mine():
                    return bool(acquire(block, timeout))
                return _taken(program, lock_map, block and timeout is None, lambda: acquire(block, timeout))

            def release_watched() -> None:
                if program.live and (not lock_map.reentrant or inner._count() == 1):
                    _given(program, lock_map)
                release()

            self.acquire, self.release = acquire_watched, release_watched

        return _make_methods

    def enter(real: Callable[..., Any]) -> Callable[..., Any]:  # noqa: ARG001
        def __enter__(self: Any) -> Any:  # noqa: N807
            return self.acquire()

        return __enter__

    def leave(real: Callable[..., Any]) -> Callable[..., Any]:  # noqa: ARG001
        def __exit__(self: Any, *_: object) -> Any:  # noqa: N807
            return self.release()

        return __exit__

    patches.wrap(semlock, "_make_methods", make_methods)
    patches.wrap(semlock, "__enter__", enter)
    patches.wrap(semlock, "__exit__", leave)
