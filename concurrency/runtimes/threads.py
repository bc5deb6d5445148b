"""The tasks of a threaded execution: each an OS thread, all under one guard, from their start to their end.

What a task may do between is `concurrency.runtimes.threaded`. Here is what both sides need: which task runs, which are
stuck, and how an execution is stopped from whichever thread finds that it must be.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from random import Random
from typing import Any

from sugarbush.concurrency.checks import Meeting
from sugarbush.concurrency.core import (
    END,
    OUTSIDE,
    ConcurrencyError,
    Failure,
    Observer,
    Operation,
    Task,
    TaskKilled,
    Watcher,
    check_ran,
    describe_deadlock,
    from_outside,
    hearers,
    is_ready,
    own_name,
    raised_by,
    role_of,
    uncaught,
)
from sugarbush.concurrency.time import Clock
from sugarbush.lockdep.model import RawFrame


class _Local(threading.local):
    """What each thread knows about itself."""

    task: Task = OUTSIDE
    hushed = False


class Threads:
    """The part of `Threaded` that starts and ends tasks."""

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
        # Under `with` this lock, never the condition on it: `Condition.__enter__` is a function of Python, and where a
        # KeyboardInterrupt comes right before its return, the lock stays taken for ever.
        self._lock = threading.RLock()
        self._guard = threading.Condition(self._lock)
        self._bell = threading.Lock()
        self._bell.acquire()
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
        """The task of the calling thread; `OUTSIDE` while it is inside `quiet()`."""
        local = self._local
        return OUTSIDE if local.hushed else local.task

    @property
    def hushed(self) -> bool:
        """Whether the calling thread is inside `quiet()`."""
        return self._local.hushed

    @hushed.setter
    def hushed(self, value: bool) -> None:
        self._local.hushed = value

    def _is_stuck(self, task: Task) -> bool:
        op = task.op
        if isinstance(task.obj, Clock) and task.obj.pending:
            return False
        return task in self._waiting and op is not None and op.ready is not None and not is_ready(task)

    def stop(self, failure: Failure) -> None:
        """The execution has failed: the first failure counts, and each task ends at its next operation."""
        with self._lock:
            if self._failure is None and not self._stopping:
                failure.step = self.steps
                failure.task = self._local.task.name
                self._failure = failure
                self._stopping = True
                self._notify()

    def give_up(self, error: BaseException) -> None:
        """The execution makes no sense: `run` raises `error`; the first one counts."""
        if self._broken is None:
            self._broken = error

    def step(self, op: Operation, obj: object) -> None:  # noqa: ARG002
        """Announce an operation that never blocks: count it, and now and then give up the processor."""
        if self._local.hushed:
            return
        self.steps += 1
        if self._stopping:
            raise TaskKilled
        if self._noise and self._random.random() < self._noise:
            time.sleep(0)

    def _step_heard(self, op: Operation, obj: object) -> None:
        """`step` as long as it is not known whether tasks meet."""
        local = self._local
        if not local.hushed and self._meeting is not None:
            with self._lock:
                self._meeting.accessed(local.task, op, obj)
        type(self).step(self, op, obj)

    def _look(self, task: Task, op: Operation) -> None:
        """Tell those that watch what `task` does; wake the tasks that wait if one of them says so."""
        for watcher in tuple(self._watchers):
            if watcher.looked(task, op):
                self._guard.notify_all()

    def _notify(self) -> None:
        """Wake all tasks that wait, and whoever waits for the end of the execution; asks for the lock."""
        self._guard.notify_all()
        # Only who holds the lock rings, so nobody else does in between.
        if self._bell.locked():
            self._bell.release()

    def _look_for_deadlock(self) -> None:
        alive = [task for task in self.tasks if not task.ended]
        if any(not task.daemon for task in alive):
            if all(self._is_stuck(task) for task in alive):
                self.stop(describe_deadlock(alive))
        else:
            self._notify()

    def _start(
        self,
        parent: Task | None,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        name: str,
        daemon: bool,
        where: RawFrame | None = None,
    ) -> Task:
        # The guard is held from the number to the observers: two tasks that spawn at once get two numbers, and
        # observers hear of the tasks in the order of their numbers.
        with self._lock:
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
                # It counts as a task already; a search for a deadlock must not wait for one that never ran.
                task.ended = True
                if isinstance(error.__context__, KeyboardInterrupt):
                    # It came while `Thread.start` waited, which then gives back a lock that it does not hold.
                    raise error.__context__ from None
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
        # `ended` and what follows from it are one step to all others: no task may find all tasks stuck while the last
        # one that could go on has ended but has not said so.
        with self._lock:
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
            self._notify()
