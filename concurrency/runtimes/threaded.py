"""The threaded runtime: tasks are OS threads and the operating system chooses, with optional noise.

One guard makes the effects of blocking operations atomic; plain steps run freely. Executions cannot be replayed, and
data races are not looked for: an access and its announcement are two moments here, so happens-before could be wrong.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

from sugarbush.concurrency.checks import Meeting, describe
from sugarbush.concurrency.core import (
    CPU_RELAX,
    END,
    OUTSIDE,
    SPAWN_HINT,
    ConcurrencyError,
    Execution,
    Failure,
    Kind,
    Observer,
    Operation,
    OutOfTime,
    Task,
    TaskKilled,
    Watcher,
    active,
    at_once,
    born,
    check_ran,
    check_runs,
    circle,
    describe_circle,
    describe_deadlock,
    from_outside,
    hearers,
    is_ready,
    own_name,
    raised_by,
    role_of,
    settle_orderings,
    stack_of,
    uncaught,
)
from sugarbush.concurrency.memory import STRONG, use_accessors
from sugarbush.concurrency.time import Clock
from sugarbush.lockdep.model import RawFrame

T = TypeVar("T")

_POLL = 0.05
"""Seconds between looks for an interrupt; nothing is timed by it."""
_FAREWELL = 1.0
"""Seconds that a thread gets to end after a stall; one that stands in foreign code is left behind."""


class _Local(threading.local):
    """What each thread knows about itself."""

    task: Task = OUTSIDE
    hushed = False


class Threaded:
    """Runs programs on OS threads.

    With `noise` between 0 and 1, that share of the operations gives up the processor first; `seed` makes the noise,
    not the execution, the same each time. Observers hear about locks, tasks and allocations, not about plain steps.
    """

    def __init__(
        self,
        observers: tuple[Observer, ...] = (),
        *,
        without: frozenset[str] = frozenset(),
        faults: int = 0,
        spurious: int = 0,
        noise: float = 0.02,
        seed: int = 1,
        patience: float | None = None,
    ) -> None:
        self.without = without
        self.parallel = True
        self.faults = 0
        self.tracing = False
        self._faults = faults
        self.spurious = spurious
        self._circles = "circle" not in without
        self._noise = noise
        self._patience = patience
        self._random = Random(seed)
        self.out_of_time: Callable[[], bool] | None = None
        """Whether a budget of seconds has ended; None if there is none."""
        self._observers = observers
        self._on_asked = hearers(observers, "asked")
        self._on_performed = hearers(observers, "performed")
        self._on_blocked = hearers(observers, "blocked")
        self._on_spawned = hearers(observers, "spawned")
        self._on_allocating = hearers(observers, "allocating")
        self._on_ended = hearers(observers, "ended")
        self._meeting = next((one for one in observers if isinstance(one, Meeting)), None)
        if self._meeting is not None:
            self.step = self._step_heard  # type: ignore[method-assign]
        self._reset()

    def _reset(self) -> None:
        self.steps = 0
        self.faults = self._faults
        self.tasks: list[Task] = []
        self._names: dict[str, int] = {}
        self._threads: dict[Task, threading.Thread] = {}
        self._guard = threading.Condition(threading.RLock())
        self._waiting: list[Task] = []
        self.domains: dict[Callable[[], Any], Any] = {}
        self._watchers: list[Watcher] = []
        self._alarms: list[tuple[int, Callable[[], None]]] = []
        self._failure: Failure | None = None
        self._broken: BaseException | None = None
        self._stopping = False
        self._stalled = False
        self._local = _Local()

    @property
    def current(self) -> Task:
        """See `Runtime.current`."""
        local = self._local
        return OUTSIDE if local.hushed else local.task

    @property
    def hushed(self) -> bool:
        """See `Runtime.hushed`."""
        return self._local.hushed

    @hushed.setter
    def hushed(self, value: bool) -> None:
        self._local.hushed = value

    # -- one execution ------------------------------------------------------------------------------------------

    def run(self, program: Callable[[], Any]) -> Execution:
        """Run `program` once; the execution's schedule is empty.

        Raises `ConcurrencyError` if a program runs already.
        """
        if active.runtime is not None:
            raise ConcurrencyError("a program is running in this process: explorations do not nest")
        settle_orderings()
        use_accessors(STRONG)
        self._reset()
        active.runtime = self
        try:
            for observer in self._observers:
                observer.begin(self)
            self._start(None, program, (), "main", False)
            self._wait_for_the_end()
        finally:
            with self._guard:
                self._stopping = True
                self._guard.notify_all()
            for thread in self._threads.values():
                # One that was refused may stand before a lock of the operating system.
                hangs = self._stalled or isinstance(self._broken, ConcurrencyError)
                thread.join(_FAREWELL if hangs else None)
            active.runtime = None
        if self._broken is not None:
            raise self._broken
        if self._failure is None:
            self._finish()
        return Execution(self._failure, self.steps, [], [], [], faults=self._faults - self.faults)

    def _finish(self) -> None:
        try:
            for observer in self._observers:
                observer.finished()
        except Failure as failure:
            self._failure = failure
        except BaseException as error:
            if from_outside(error):
                raise
            self._failure = uncaught(error, raised_by(error, self._observers))

    def _wait_for_the_end(self) -> None:
        """Until all tasks but the daemons have ended and those wait, or until something failed, or nothing happens."""
        steps, since = self.steps, time.monotonic()
        with self._guard:
            while not (self._stopping or self._broken):
                if all(task.ended or (task.daemon and self._is_stuck(task)) for task in self.tasks):
                    return
                if self.out_of_time is not None and self.out_of_time():
                    self._stalled = True
                    self._broken = OutOfTime("the budget of seconds has ended")
                    return
                self._ring()
                self._guard.wait(_POLL)
                if any(not self._is_stuck(task) for task in self._waiting):
                    # Made ready by an operation that does not say so: nobody has woken it.
                    self._guard.notify_all()
                if self.steps != steps:
                    steps, since = self.steps, time.monotonic()
                elif self._patience is not None and time.monotonic() - since > self._patience:
                    self._stalled = True
                    self.stop(
                        Failure(Kind.STALL, f"stall: no operation for {self._patience:g} s", self._said())
                    )

    def _ring(self) -> None:
        """The alarms that are due; nobody looks more often than that."""
        due = [ring for at, ring in self._alarms if at <= self.steps]
        self._alarms = [alarm for alarm in self._alarms if alarm[0] > self.steps]
        try:
            for ring in due:
                ring()
        except Failure as failure:
            self.stop(failure)

    def _said(self) -> str:
        """What every task that has not ended is doing, and where its thread stands."""
        frames = sys._current_frames()
        said = []
        for task in self.tasks:
            thread = self._threads.get(task)
            if not task.ended and thread is not None:
                said.append(describe(task))
                frame = frames.get(thread.ident or 0)
                said += [f"  {place}" for place in stack_of(frame)]
        return "\n".join(said)

    def _is_stuck(self, task: Task) -> bool:
        op = task.op
        if isinstance(task.obj, Clock) and task.obj.pending:
            return False
        return task in self._waiting and op is not None and op.ready is not None and not is_ready(task)

    def stop(self, failure: Failure) -> None:
        """See `Runtime.stop`."""
        with self._guard:
            if self._failure is None and not self._stopping:
                failure.step = self.steps
                failure.task = self._local.task.name
                self._failure = failure
                self._stopping = True
                self._guard.notify_all()

    def give_up(self, error: BaseException) -> None:
        """See `Runtime.give_up`."""
        if self._broken is None:
            self._broken = error

    # -- what primitives ask --------------------------------------------------------------------------------------

    def step(self, op: Operation, obj: object) -> None:  # noqa: ARG002
        """See `Runtime.step`."""
        if self._local.hushed:
            return
        self.steps += 1
        if self._stopping:
            raise TaskKilled
        if self._noise and self._random.random() < self._noise:
            time.sleep(0)

    def _step_heard(self, op: Operation, obj: object) -> None:
        """`step` as long as somebody wants to know whether tasks meet."""
        local = self._local
        if not local.hushed and self._meeting is not None:
            with self._guard:
                self._meeting.accessed(local.task, op, obj)
        type(self).step(self, op, obj)

    def perform(self, op: Operation, obj: object, arg: Any = None) -> Any:
        """See `Runtime.perform`."""
        if self._local.hushed:
            return at_once(op, obj, arg)
        self.step(op, obj)
        task = self.current
        with self._guard:
            if self._stopping:
                raise TaskKilled
            try:
                if op.dep is not None:
                    for asked in self._on_asked:
                        asked(task, op, obj, arg)
                if op.ready is not None and not op.ready(obj, task):
                    self._block(task, op, obj)
                result = None if op.effect is None else op.effect(obj, task, arg)
                if op.wakes and self._waiting:
                    self._guard.notify_all()
                if self._watchers:
                    self._look(task, op)
                for performed in self._on_performed:
                    performed(task, op, obj, arg, result)
            except Failure as failure:
                self.stop(failure)
                raise
        return result

    def _block(self, task: Task, op: Operation, obj: object) -> None:
        assert op.ready is not None
        task.op = op
        task.obj = obj
        # Before the look for a circle: what a grace period waits for depends on who waits.
        self._waiting.append(task)
        if self._circles and (found := circle(task, self._is_stuck)):
            raise describe_circle(found)
        for blocked in self._on_blocked:
            blocked(task, op, obj)
        if self._watchers:
            self._look(task, op)
        while not op.ready(obj, task):
            self._look_for_deadlock()
            if self._stopping:
                raise TaskKilled
            self._guard.wait(obj.seconds_left() if isinstance(obj, Clock) else None)
        self._waiting.remove(task)
        if self._stopping:
            raise TaskKilled

    def _look(self, task: Task, op: Operation) -> None:
        """Tell those who watch what `task` does."""
        for watcher in tuple(self._watchers):
            if watcher.looked(task, op):
                self._guard.notify_all()

    def _look_for_deadlock(self) -> None:
        alive = [task for task in self.tasks if not task.ended]
        if any(not task.daemon for task in alive):
            if all(self._is_stuck(task) for task in alive):
                self.stop(describe_deadlock(alive))
        else:
            self._guard.notify_all()

    def load(self, op: Operation, obj: Any) -> Any:
        """See `Runtime.load`."""
        self.step(op, obj)
        return getattr(obj, op.word or "")

    def store(self, op: Operation, obj: Any, value: Any) -> None:
        """See `Runtime.store`."""
        self.step(op, obj)
        setattr(obj, op.word or "", value)

    def made(self, obj: object) -> None:
        """See `Runtime.made`."""

    def relax(self) -> None:
        """See `Runtime.relax`; here it gives up the processor."""
        self.step(CPU_RELAX, self.current)
        time.sleep(0)

    def choose(self, n: int, label: str) -> int:  # noqa: ARG002
        """See `Runtime.choose`."""
        with self._guard:
            return self._random.randrange(n)

    def domain(self, factory: Callable[[], T]) -> T:
        """See `Runtime.domain`."""
        with self._guard:
            found = self.domains.get(factory)
            if found is None:
                found = self.domains[factory] = factory()
            return found

    def spawn(self, fn: Callable[..., Any], args: tuple[Any, ...], name: str | None, daemon: bool) -> Task:
        """See `Runtime.spawn`."""
        check_runs(fn, "the function given to spawn()", SPAWN_HINT)
        return self._start(
            self.current, fn, args, name or str(getattr(fn, "__name__", "task")), daemon, born(fn)
        )

    def waits(self, task: Task) -> bool:
        """See `Runtime.waits`."""
        return not task.ended and self._is_stuck(task)

    def asleep(self, task: Task) -> bool:
        """See `Runtime.asleep`."""
        op = task.op
        return op is not None and not op.spins and task in self._waiting and self._is_stuck(task)

    def watch(self, watcher: Watcher) -> None:
        """See `Runtime.watch`."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """See `Runtime.unwatch`."""
        self._watchers.remove(watcher)

    def alarm(self, operations: int, ring: Callable[[], None]) -> None:
        """See `Runtime.alarm`; nobody rings before so many operations, but somebody may later."""
        self._alarms.append((self.steps + operations, ring))

    def trace(self, event: str, fields: dict[str, object]) -> None:
        """Nobody listens."""

    def finds_held(self, lock: Any, *, tries: bool) -> bool | None:  # noqa: ARG002
        """See `Runtime.finds_held`."""
        return None

    def might_alloc(self, gfp: int) -> None:
        """See `Runtime.might_alloc`."""
        with self._guard:
            try:
                for allocating in self._on_allocating:
                    allocating(self.current, gfp)
            except Failure as failure:
                self.stop(failure)
                raise

    # -- tasks ----------------------------------------------------------------------------------------------------

    def _start(
        self,
        parent: Task | None,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        name: str,
        daemon: bool,
        where: RawFrame | None = None,
    ) -> Task:
        with self._guard:
            if self._stopping:
                raise TaskKilled
            name = own_name(name, self._names)
            task = Task(len(self.tasks), name, fn, args, daemon)
            task.born = where
            self.tasks.append(task)
            for spawned in self._on_spawned:
                spawned(parent, task)
            thread = threading.Thread(target=self._main, args=(task,), name=f"{task.id} {name}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                task.ended = True
                raise ConcurrencyError(f"no thread could be started for task {task.id}: {error}") from error
            self._threads[task] = thread
        return task

    def _main(self, task: Task) -> None:
        self._local.task = task
        task.thread = threading.get_ident()
        try:
            result = task.returned = task.fn(*task.args)
            if result is not None:
                check_ran(result, role_of(task), task.fn)
            for farewell in task.farewells:
                farewell()
        except TaskKilled:
            pass
        except Failure as failure:
            self.stop(failure)
        except ConcurrencyError as error:
            if not self._stopping:
                self.give_up(error)
        except BaseException as error:
            if from_outside(error):
                self.give_up(error)
            else:
                self.stop(uncaught(error, raised_by(error, self._observers)))
        with self._guard:
            task.ended = True
            try:
                if not self._stopping:
                    for performed in self._on_performed:
                        performed(task, END, task, None, None)
                    for ended in self._on_ended:
                        ended(task)
                    if self._watchers:
                        self._look(task, END)
                    self._look_for_deadlock()
            except Failure as failure:
                self.stop(failure)
            self._guard.notify_all()
