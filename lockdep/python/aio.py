"""asyncio: its locks have an order, too, among tasks; and a loop may wait for itself.

A task is a thread of its own here: what it holds it holds across its awaits.
"""

from __future__ import annotations

import concurrent.futures
import weakref
from collections.abc import Callable
from sys import _getframe
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sugarbush.lockdep.python.context import PythonMap, ThreadContext
from sugarbush.lockdep.python.late import LateHooks
from sugarbush.lockdep.python.patches import Patches
from sugarbush.lockdep.reports import ReportKind

if TYPE_CHECKING:
    from sugarbush.lockdep.python.program import Program

_NOTE = "_sugarbush_lockdep_map"
_LOOP = "_sugarbush_lockdep_loop"


class Tasks:
    """The contexts of asyncio's tasks."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._contexts: weakref.WeakKeyDictionary[Any, ThreadContext] = weakref.WeakKeyDictionary()

    def current(self) -> ThreadContext | None:
        """The running task's context; None outside of one."""
        import asyncio

        try:
            task = asyncio.current_task()
        except RuntimeError:
            return None
        if task is None:
            return None
        ctx = self._contexts.get(task)
        if ctx is None:
            ctx = self._contexts[task] = self._program.task_context(task.get_name())
        return ctx

    def as_task(self, ctx: ThreadContext, call: Callable[[], Any]) -> Any:
        """Calls something with the task in the place of the thread."""
        tls = self._program.tls
        mine = self._program.current()
        tls.ctx = ctx
        try:
            return call()
        finally:
            tls.ctx = mine


def install(program: Program, patches: Patches, late: LateHooks) -> None:
    """Puts the hooks when asyncio is loaded."""
    late.add("asyncio.locks", lambda module: _locks(program, patches, module))
    late.add("asyncio.tasks", lambda module: _loops(program, patches, module))


def _locks(program: Program, patches: Patches, module: ModuleType) -> None:
    tasks = Tasks(program)
    lock_class: Any = module.Lock

    def init(real: Callable[..., Any]) -> Callable[..., Any]:
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            real(self, *args, **kwargs)
            if program.live:
                self.__dict__[_NOTE] = PythonMap(program.sites.key(_getframe(1), "asyncio.Lock"))

        return __init__

    def acquire(real: Callable[..., Any]) -> Callable[..., Any]:
        async def acquire(self: Any) -> Any:
            lock_map = self.__dict__.get(_NOTE)
            ctx = tasks.current() if lock_map is not None and program.live else None
            if ctx is None:
                return await real(self)
            tasks.as_task(ctx, lambda: program.wanted(ctx, lock_map))
            ctx.wanted = lock_map
            try:
                if self.locked():
                    program.look_for_deadlock(ctx)
                got = await real(self)
                lock_map.owner = ctx
            except BaseException:
                # Cancelled while it waited.
                tasks.as_task(ctx, lambda: program.untell(ctx, lock_map))
                raise
            finally:
                ctx.wanted = None
            return got

        return acquire

    def release(real: Callable[..., Any]) -> Callable[..., Any]:
        def release(self: Any) -> None:
            lock_map = self.__dict__.get(_NOTE)
            if lock_map is not None and lock_map.owner is not None and program.live:
                ctx, owner = tasks.current(), lock_map.owner
                if ctx is owner:
                    tasks.as_task(ctx, lambda: program.untell(ctx, lock_map))
                else:
                    program.handed_over(lock_map, owner)
                lock_map.owner = None
            real(self)

        return release

    patches.wrap(lock_class, "__init__", init)
    patches.wrap(lock_class, "acquire", acquire)
    patches.wrap(lock_class, "release", release)


def _loops(program: Program, patches: Patches, module: ModuleType) -> None:
    def threadsafe(real: Callable[..., Any]) -> Callable[..., Any]:
        def run_coroutine_threadsafe(coro: Any, loop: Any) -> Any:
            future = real(coro, loop)
            future.__dict__[_LOOP] = loop
            return future

        return run_coroutine_threadsafe

    def result(real: Callable[..., Any]) -> Callable[..., Any]:
        def result(self: Any, timeout: float | None = None) -> Any:
            loop = self.__dict__.get(_LOOP)
            if loop is not None and timeout is None and program.live and not self.done():
                _own_loop(program, loop)
            return real(self, timeout)

        return result

    patches.wrap(module, "run_coroutine_threadsafe", threadsafe)
    import asyncio

    if asyncio is not module and "run_coroutine_threadsafe" in vars(asyncio):
        patches.put(asyncio, "run_coroutine_threadsafe", vars(module)["run_coroutine_threadsafe"])
    patches.wrap(concurrent.futures.Future, "result", result)


def _own_loop(program: Program, loop: Any) -> None:
    import asyncio

    if asyncio._get_running_loop() is not loop:
        return
    ctx = program.current()
    trace = program.lockdep.capture()
    program.report(
        ctx,
        ReportKind.LOOP,
        str(trace.resolve()[:1]),
        "deadlock: an event loop waits for a coroutine that only it can run",
        (),
        ((f"thread {ctx.comm!r} runs the loop, and waits in it for the result here:", trace.resolve()),),
        ("Await the coroutine, or wait for it in another thread (asyncio.to_thread).",),
    )
