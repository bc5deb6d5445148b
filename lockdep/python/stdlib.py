"""The standard library's waits: what threads wait for that is no lock, and who wakes them.

Each hook calls what it stands for, with the same arguments, and adds nothing to what that raises or returns.
"""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.thread as pools
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sugarbush.lockdep.python.context import ThreadContext, ThreadWait, Unit
from sugarbush.lockdep.python.patches import Patches
from sugarbush.lockdep.python.waits import Channel, judge_join, judge_work
from sugarbush.lockdep.reports import ReportKind

if TYPE_CHECKING:
    from sugarbush.lockdep.python.program import Program

_NOTE = "_sugarbush_lockdep"
"""The attribute in which the objects of the standard library carry what is known of them."""


def install(program: Program, patches: Patches) -> None:
    """Puts the hooks."""
    _threads(program, patches)
    _channels(program, patches)
    _futures(program, patches)


def _channel(thing: Any, what: str, name: str = _NOTE) -> Channel:
    channel: Channel | None = thing.__dict__.get(name)
    if channel is None:
        channel = thing.__dict__[name] = Channel(what)
    return channel


class _Started:
    """What a thread carries: its context once it runs, what its starter has told."""

    __slots__ = ("ctx", "told")

    def __init__(self, told: dict[int, int]) -> None:
        self.ctx: ThreadContext | None = None
        self.told = told


def _threads(program: Program, patches: Patches) -> None:
    def start(real: Callable[..., Any]) -> Callable[..., Any]:
        def start(self: threading.Thread) -> None:
            self.__dict__[_NOTE] = _Started(program.current().tell())
            real(self)

        return start

    def bootstrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def _bootstrap_inner(self: threading.Thread) -> None:
            started = self.__dict__.get(_NOTE)
            program.tls.name = self.name
            ctx = program.current()
            if started is not None:
                started.ctx = ctx
                ctx.next_unit(started.told)
            try:
                real(self)
            finally:
                program.ends(ctx)

        return _bootstrap_inner

    def join(real: Callable[..., Any]) -> Callable[..., Any]:
        def join(self: threading.Thread, timeout: float | None = None) -> None:
            started = self.__dict__.get(_NOTE)
            if started is None or started.ctx is None or not program.live:
                real(self, timeout)
                return
            ctx = program.current()
            if timeout is None:
                if program.holds(ctx):
                    judge_join(program, ctx, self.name, started.ctx)
                ctx.waits = ThreadWait(f"for thread {self.name!r} to end", started.ctx)
                try:
                    if self.is_alive():
                        program.look_for_deadlock(ctx)
                    real(self, timeout)
                finally:
                    ctx.waits = None
                if program.holds(ctx):
                    # It may have taken its first lock only now.
                    judge_join(program, ctx, self.name, started.ctx)
            else:
                real(self, timeout)
            if not self.is_alive():
                unit = started.ctx.unit
                ctx.next_unit({**unit.heard, started.ctx.pid: unit.number})

        return join

    patches.wrap(threading.Thread, "start", start)
    patches.wrap(threading.Thread, "_bootstrap_inner", bootstrap)
    patches.wrap(threading.Thread, "join", join)


def _channels(program: Program, patches: Patches) -> None:
    _conditions(program, patches)
    _events(program, patches)
    _queues(program, patches)


def _conditions(program: Program, patches: Patches) -> None:
    def wait(real: Callable[..., Any]) -> Callable[..., Any]:
        def wait(self: threading.Condition, timeout: float | None = None) -> bool:
            if timeout is not None or not program.live:
                woken: bool = real(self, timeout)
                if woken and program.live:
                    _channel(self, "for a notification").woken(program.current())
                return woken
            ctx = program.current()
            channel = _channel(self, "for a notification")
            if program.holds(ctx):
                channel.wait(program, ctx, getattr(self._lock, "_map", None))  # type: ignore[attr-defined]
            before = ctx.waits
            ctx.waits = before or ThreadWait("for a notification", None)
            try:
                woken = real(self, timeout)
            finally:
                ctx.waits = before
            channel.woken(ctx)
            return woken

        return wait

    def notify(real: Callable[..., Any]) -> Callable[..., Any]:
        def notify(self: threading.Condition, n: int = 1) -> None:
            if program.live:
                own = getattr(self._lock, "_map", None)  # type: ignore[attr-defined]
                _channel(self, "for a notification").wake(program, program.current(), own)
            real(self, n)

        return notify

    patches.wrap(threading.Condition, "wait", wait)
    patches.wrap(threading.Condition, "notify", notify)


def _events(program: Program, patches: Patches) -> None:
    def event_wait(real: Callable[..., Any]) -> Callable[..., Any]:
        def wait(self: threading.Event, timeout: float | None = None) -> bool:
            if not program.live:
                return bool(real(self, timeout))
            ctx = program.current()
            channel = _channel(self, "for an event")
            if timeout is not None:
                arrived = bool(real(self, timeout))
            else:
                if program.holds(ctx):
                    channel.wait(program, ctx)
                ctx.waits = ThreadWait("for an event", None)
                try:
                    arrived = bool(real(self, timeout))
                finally:
                    ctx.waits = None
            if arrived:
                channel.woken(ctx)
            return arrived

        return wait

    def event_set(real: Callable[..., Any]) -> Callable[..., Any]:
        def set(self: threading.Event) -> None:  # noqa: A001
            if program.live:
                _channel(self, "for an event").wake(program, program.current())
            real(self)

        return set

    patches.wrap(threading.Event, "wait", event_wait)
    patches.wrap(threading.Event, "set", event_set)


def _queues(program: Program, patches: Patches) -> None:
    def get(real: Callable[..., Any]) -> Callable[..., Any]:
        def get(self: queue.Queue[Any], block: bool = True, timeout: float | None = None) -> Any:
            if not program.live:
                return real(self, block, timeout)
            ctx = program.current()
            items = _channel(self, "for an item of a queue")
            endless = block and timeout is None
            if endless:
                if program.holds(ctx):
                    items.wait(program, ctx)
                ctx.waits = ThreadWait("for an item of a queue", None)
            try:
                item = real(self, block, timeout)
            finally:
                ctx.waits = None
            items.woken(ctx)
            if self.maxsize > 0:
                _channel(self, "for room in a queue", _NOTE + "_room").wake(program, ctx)
            return item

        return get

    def put(real: Callable[..., Any]) -> Callable[..., Any]:
        def put(self: queue.Queue[Any], item: Any, block: bool = True, timeout: float | None = None) -> None:
            if not program.live:
                real(self, item, block, timeout)
                return
            ctx = program.current()
            if block and timeout is None and self.maxsize > 0:
                room = _channel(self, "for room in a queue", _NOTE + "_room")
                if program.holds(ctx):
                    room.wait(program, ctx)
                ctx.waits = ThreadWait("for room in a queue", None)
            # Before the item is there, not after: whoever gets it has heard of all that was done until now.
            _channel(self, "for an item of a queue").wake(program, ctx)
            try:
                real(self, item, block, timeout)
            finally:
                ctx.waits = None

        return put

    def queue_join(real: Callable[..., Any]) -> Callable[..., Any]:
        def join(self: queue.Queue[Any]) -> None:
            if program.live:
                ctx = program.current()
                if program.holds(ctx):
                    done = self.all_tasks_done
                    channel = _channel(done, "for a notification")
                    channel.wait(program, ctx, getattr(done._lock, "_map", None))  # type: ignore[attr-defined]
            real(self)

        return join

    patches.wrap(queue.Queue, "join", queue_join)
    patches.wrap(queue.Queue, "get", get)
    patches.wrap(queue.Queue, "put", put)


class _PoolTask:
    """A piece of work in a pool: the pool, its number in order of submission, and the stretch in which it was done."""

    __slots__ = ("label", "number", "pool", "told", "unit")

    def __init__(self, pool: Any, number: int, label: str, told: dict[int, int]) -> None:
        self.pool = pool
        self.number = number
        self.label = label
        self.told = told
        self.unit: Unit | None = None


class _Pool:
    """What is known of a pool: how many tasks it was given, and which of them waited for later ones of it."""

    __slots__ = ("count", "waited")

    def __init__(self) -> None:
        self.count = 0
        self.waited: dict[int, Unit] = {}


def _label(function: Any) -> str:
    while hasattr(function, "func"):
        function = function.func
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    name = getattr(function, "__qualname__", "") or type(function).__qualname__
    return name if code is None else f"{name} ({code.co_filename}:{code.co_firstlineno})"


def _futures(program: Program, patches: Patches) -> None:
    _work(program, patches)
    _results(program, patches)


def _work(program: Program, patches: Patches) -> None:
    tls = program.tls

    def submit(real: Callable[..., Any]) -> Callable[..., Any]:
        def submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            if not program.live:
                return real(self, fn, *args, **kwargs)
            pool: _Pool = self.__dict__.setdefault(_NOTE, _Pool())
            pool.count += 1
            tls.submitting = _PoolTask(self, pool.count, _label(fn), program.current().tell())
            try:
                return real(self, fn, *args, **kwargs)
            finally:
                tls.submitting = None

        return submit

    def init(real: Callable[..., Any]) -> Callable[..., Any]:
        def __init__(self: Any, future: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            real(self, future, *args, **kwargs)
            task = getattr(tls, "submitting", None)
            if task is not None:
                future.__dict__[_NOTE + "_task"] = task

        return __init__

    def run(real: Callable[..., Any]) -> Callable[..., Any]:
        def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            future = getattr(self, "future", None)
            task = None if future is None else future.__dict__.get(_NOTE + "_task")
            if task is None or not program.live:
                return real(self, *args, **kwargs)
            ctx = program.current()
            ctx.begin_work(task.told, task.label)
            task.unit = ctx.unit
            before = getattr(tls, "task", None)
            tls.task = task
            del future
            try:
                return real(self, *args, **kwargs)
            finally:
                tls.task = before
                ctx.begin_work({}, "")

        return run

    patches.wrap(pools.ThreadPoolExecutor, "submit", submit)
    patches.wrap(pools._WorkItem, "__init__", init)
    patches.wrap(pools._WorkItem, "run", run)


def _results(program: Program, patches: Patches) -> None:
    def result(real: Callable[..., Any]) -> Callable[..., Any]:
        def result(self: Any, timeout: float | None = None) -> Any:
            task = self.__dict__.get(_NOTE + "_task")
            if not program.live:
                return real(self, timeout)
            ctx = program.current()
            if timeout is None:
                if task is not None:
                    _own_pool(program, ctx, task)
                    if program.holds(ctx):
                        judge_work(program, ctx, task.label, task.unit)
                elif program.holds(ctx):
                    # Whoever sets it wakes those who wait at its condition, whether there are any or not.
                    condition = self._condition
                    _channel(condition, "for a notification").wait(
                        program, ctx, getattr(condition._lock, "_map", None)
                    )
                ctx.waits = ThreadWait("for the result of a future", None)
            try:
                return real(self, timeout)
            finally:
                ctx.waits = None
                if task is not None and self.done():
                    if timeout is None and program.holds(ctx):
                        judge_work(program, ctx, task.label, task.unit)
                    unit = task.unit
                    if unit is not None:
                        ctx.next_unit({**unit.heard, unit.ctx.pid: unit.number})

        return result

    patches.wrap(concurrent.futures.Future, "result", result)
    patches.wrap(concurrent.futures.Future, "exception", result)


def _own_pool(program: Program, ctx: ThreadContext, task: _PoolTask) -> None:
    mine: _PoolTask | None = getattr(program.tls, "task", None)
    if mine is None or mine.pool is not task.pool or task.number <= mine.number or mine.unit is None:
        # One that was given to the pool before this one has begun before it, too.
        return
    pool: _Pool = task.pool.__dict__[_NOTE]
    unit = mine.unit
    pool.waited[mine.number] = unit
    together = [one for one in pool.waited.values() if one is unit or not one.before(unit)]
    size = getattr(task.pool, "_max_workers", 0)
    if len(together) < size:
        return
    name = mine.label.partition(" (")[0]
    program.report(
        ctx,
        ReportKind.POOL,
        f"{mine.label}|{task.label}",
        "possible deadlock: a task waits for a later task of its own pool, and such tasks can fill it",
        (),
        (
            (
                f"thread {ctx.comm!r}, at work on {name}, waits for {task.label.partition(' (')[0]} here:",
                program.lockdep.capture().resolve(),
            ),
        ),
        (
            f"The pool has {size} worker{'s' if size != 1 else ''}, and {len(together)} of its tasks wait so:"
            " when they run at the same time, nobody is left for what they wait for.",
            "Give the later task to another pool, or let it be called where it is needed.",
        ),
    )
