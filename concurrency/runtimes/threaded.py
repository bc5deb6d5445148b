"""The threaded runtime: tasks are OS threads and the operating system chooses, with optional noise.

One guard makes the effects of blocking operations atomic; plain steps run freely. Executions cannot be replayed, and
data races are not looked for: an access and its announcement are two moments here, so happens-before could be wrong.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sugarbush.concurrency.checks import describe
from sugarbush.concurrency.core import (
    CPU_RELAX,
    SPAWN_HINT,
    ConcurrencyError,
    Execution,
    Failure,
    Kind,
    Operation,
    OutOfTime,
    Task,
    TaskKilled,
    Watcher,
    active,
    at_once,
    born,
    check_runs,
    circle,
    describe_circle,
    from_outside,
    raised_by,
    settle_orderings,
    stack_of,
    uncaught,
)
from sugarbush.concurrency.memory import STRONG, use_accessors
from sugarbush.concurrency.runtimes.threads import Threads
from sugarbush.concurrency.time import Clock

T = TypeVar("T")

_POLL = 0.05
"""Seconds between looks for an interrupt; nothing is timed by it."""
_FAREWELL = 1.0
"""Seconds that a thread gets to end after a stall; one that stands in foreign code is left behind."""


class Threaded(Threads):
    """Runs programs on OS threads.

    With `noise` between 0 and 1, that share of the operations gives up the processor first; `seed` makes the noise,
    not the execution, the same each time. Observers hear about locks, tasks and allocations, not about plain steps.
    """

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
            try:
                with self._lock:
                    self._stopping = True
                    self._notify()
                for thread in self._threads.values():
                    # One that was refused may stand before a lock of the operating system.
                    hangs = self._stalled or isinstance(self._broken, ConcurrencyError)
                    thread.join(_FAREWELL if hangs else None)
            finally:
                # Also if a second interrupt, or a time limit of pytest, ends the waiting.
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
        """Wait until all tasks but waiting daemons have ended, something failed, or nothing happens any more.

        An interrupt comes to this thread, at any moment. So it waits for a bell, which nobody needs but itself, and
        holds the lock between two looks only.
        """
        steps, since = self.steps, time.monotonic()
        while True:
            with self._lock:
                if self._stopping or self._broken:
                    return
                if all(task.ended or (task.daemon and self._is_stuck(task)) for task in self.tasks):
                    return
                if self.out_of_time is not None and self.out_of_time():
                    self._stalled = True
                    self._broken = OutOfTime("the budget of seconds has ended")
                    return
                self._ring()
                if any(not self._is_stuck(task) for task in self._waiting):
                    # It was made ready by an operation that does not say so, and so was not woken.
                    self._guard.notify_all()
                if self.steps != steps:
                    steps, since = self.steps, time.monotonic()
                elif self._patience is not None and time.monotonic() - since > self._patience:
                    self._stalled = True
                    self.stop(
                        Failure(Kind.STALL, f"stall: no operation for {self._patience:g} s", self._said())
                    )
            self._bell.acquire(timeout=_POLL)

    def _ring(self) -> None:
        """Ring the alarms that are due; they are looked at once a poll."""
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

    # -- what primitives ask --------------------------------------------------------------------------------------

    def perform(self, op: Operation, obj: object, arg: Any = None) -> Any:
        """Wait under the guard until the operation is ready, make its effect, and wake the tasks that wait."""
        if self._local.hushed:
            return at_once(op, obj, arg)
        self.step(op, obj)
        task = self.current
        with self._lock:
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
        # Before the look for a circle: what a grace period waits for depends on which tasks wait.
        self._waiting.append(task)
        if self._circles and (found := circle(task, self._is_stuck)):
            raise describe_circle(found)
        for blocked in self._on_blocked:
            blocked(task, op, obj)
        if self._watchers:
            self._look(task, op)
        # What made it ready may not have said so, or another task may have been faster: so it is asked again each
        # time.
        while not op.ready(obj, task):
            self._look_for_deadlock()
            if self._stopping:
                raise TaskKilled
            self._guard.wait(obj.seconds_left() if isinstance(obj, Clock) else None)
        self._waiting.remove(task)
        if self._stopping:
            raise TaskKilled

    def load(self, op: Operation, obj: Any) -> Any:
        """A step, then the value of the word, as the machine's memory has it."""
        self.step(op, obj)
        return getattr(obj, op.word or "")

    def store(self, op: Operation, obj: Any, value: Any) -> None:
        """A step, then the new value of the word."""
        self.step(op, obj)
        setattr(obj, op.word or "", value)

    def made(self, obj: object) -> None:
        """Nothing is to be done: no search hears of objects here."""

    def relax(self) -> None:
        """The running task spins: give up the processor."""
        self.step(CPU_RELAX, self.current)
        time.sleep(0)

    def choose(self, n: int, label: str) -> int:  # noqa: ARG002
        """A choice that is no task: one at random, from the stream that makes the noise."""
        with self._lock:
            return self._random.randrange(n)

    def domain(self, factory: Callable[[], T]) -> T:
        """The object that `factory` makes once in each execution; two tasks that ask at once get the same."""
        with self._lock:
            found = self.domains.get(factory)
            if found is None:
                found = self.domains[factory] = factory()
            return found

    def spawn(self, fn: Callable[..., Any], args: tuple[Any, ...], name: str | None, daemon: bool) -> Task:
        """Start a task, which is a thread; a function that cannot be a task is refused in words."""
        check_runs(fn, "the function given to spawn()", SPAWN_HINT)
        try:
            return self._start(
                self.current, fn, args, name or str(getattr(fn, "__name__", "task")), daemon, born(fn)
            )
        except Failure as failure:
            self.stop(failure)
            raise

    def waits(self, task: Task) -> bool:
        """Whether `task` stands before an operation that is not ready."""
        return not task.ended and self._is_stuck(task)

    def asleep(self, task: Task) -> bool:
        """Whether `task` waits and has left its CPU by that: a task that waits for a spinlock keeps it."""
        op = task.op
        return op is not None and not op.spins and task in self._waiting and self._is_stuck(task)

    def watch(self, watcher: Watcher) -> None:
        """From now on tell `watcher` of each operation with an effect, and of each task that has to wait."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Tell `watcher` no more."""
        self._watchers.remove(watcher)

    def alarm(self, operations: int, ring: Callable[[], None]) -> None:
        """Have `ring` called once so many operations were done: not before, but perhaps a little later."""
        self._alarms.append((self.steps + operations, ring))

    def trace(self, event: str, fields: dict[str, object]) -> None:
        """Nothing is to be done: no observer of tracepoints is heard here."""

    def finds_held(self, lock: Any, *, tries: bool) -> bool | None:  # noqa: ARG002
        """None: a lock has one state, which all tasks see."""
        return None

    def might_alloc(self, gfp: int) -> None:
        """Tell the observers, one task at a time, that the running task may allocate."""
        with self._lock:
            try:
                for allocating in self._on_allocating:
                    allocating(self.current, gfp)
            except Failure as failure:
                self.stop(failure)
                raise

    # -- tasks ----------------------------------------------------------------------------------------------------
