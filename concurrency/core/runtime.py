"""The face between primitives and whatever runs them.

A primitive is written once. It calls `step` or `perform`; the runtime that is active decides when the calling task
goes on. `active.runtime` is None when no program runs: primitives then act at once, for the one task `OUTSIDE`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol, TypeVar

from sugarbush.concurrency.core.failure import ConcurrencyError, Failure, Kind, WouldBlock
from sugarbush.concurrency.core.kinds import Footprint
from sugarbush.concurrency.core.operation import Operation
from sugarbush.concurrency.core.task import OUTSIDE, Task
from sugarbush.concurrency.core.unrun import check_ran, refused

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


POISONED = "_is_poisoned"
"""Stands in the class of an object that was freed (`concurrency.memory.slab`): nobody but a task may touch it."""


class Watcher(Protocol):
    """What operations can wait for, and what anything that a task does may make ready."""

    def looked(self, task: Task, op: Operation) -> bool:
        """`op` of `task` has taken effect, or `task` waits for it; gives whether somebody may go on now."""


class Runtime(Protocol):
    """What a primitive may ask of the runtime that runs it."""

    tracing: bool
    """Somebody wants tracepoints."""

    without: frozenset[str]
    """Names of the checks that are switched off."""

    parallel: bool
    """Other tasks go on while an observer looks at the program."""

    hushed: bool
    """The calling thread is inside `quiet()` (only where tasks run in parallel)."""

    domains: dict[Callable[[], Any], Any]
    """What `domain` has made in this execution."""

    faults: int
    """How many allocations may still fail, by choice, in this execution."""

    spurious: int
    """How many waits of each task may end for no reason, by choice."""

    tasks: list[Task]
    """All tasks of this execution, by number; those that have ended stay."""

    @property
    def current(self) -> Task:
        """The task that is calling."""

    def step(self, op: Operation, obj: object) -> None:
        """Announce an operation that never blocks; returns when the caller may make its effect."""

    def perform(self, op: Operation, obj: object, arg: Any = None) -> Any:
        """Wait until `op` is ready, let it take effect, and return its result. The effect is atomic."""

    def load(self, op: Operation, obj: Any) -> Any:
        """`step`, and what the word of the operation holds as far as the caller can tell (weak memory)."""

    def store(self, op: Operation, obj: Any, value: Any) -> None:
        """`step`, and set the word of the operation."""

    def made(self, obj: object) -> None:
        """The caller has made an object of a slab cache, which no other task knows yet."""

    def relax(self) -> None:
        """The calling task spins: it goes on once another one has done something."""

    def choose(self, n: int, label: str) -> int:
        """A choice in range(n) that the program does not determine: it is recorded in the schedule."""

    def domain(self, factory: Callable[[], T]) -> T:
        """The one object that `factory` made for this execution (an RCU domain, a slab's counters)."""

    def spawn(self, fn: Callable[..., Any], args: tuple[Any, ...], name: str | None, daemon: bool) -> Task:
        """Start a task."""

    def waits(self, task: Task) -> bool:
        """`task` has announced an operation that cannot take effect now."""

    def asleep(self, task: Task) -> bool:
        """`task` waits for something, and keeps no CPU by that."""

    def watch(self, watcher: Watcher) -> None:
        """From now on `watcher` is told what tasks do."""

    def unwatch(self, watcher: Watcher) -> None:
        """Undoes `watch`."""

    def alarm(self, operations: int, ring: Callable[[], None]) -> None:
        """Have `ring` called after so many operations; a `Failure` that it raises ends the execution."""

    def trace(self, event: str, fields: dict[str, object]) -> None:
        """Record a tracepoint."""

    def finds_held(self, lock: Any, *, tries: bool) -> bool | None:
        """Whether the calling task sees that somebody holds a `Spinlock`; None if it has one value for all tasks.

        If it `tries` to take the lock, False says that it may: it has not looked at older values that say so, too.
        """

    def might_alloc(self, gfp: int) -> None:
        """Tell the lock validator that the calling task may allocate with these flags here."""

    def stop(self, failure: Failure) -> None:
        """The execution has failed: whatever tasks still do has no effect."""

    def give_up(self, error: BaseException) -> None:
        """The execution makes no sense: `run` raises `error`, even if the program swallows it."""


class _Active:
    """Holds the runtime of the execution that is going on in this process, if any."""

    __slots__ = ("outside", "quiet", "runtime")

    def __init__(self) -> None:
        self.runtime: Runtime | None = None
        self.quiet = False
        """An observer looks at the program from outside, so nobody's locks matter."""
        self.outside: dict[Callable[[], Any], Any] = {}


active = _Active()


def _end_by(error: ConcurrencyError) -> None:
    # The execution ends by it even if the program swallows what it calls raises.
    if active.runtime is not None:
        active.runtime.give_up(error)


refused.append(_end_by)


def step(op: Operation, obj: object) -> None:
    """`Runtime.step`, or nothing when no program runs: the caller then makes the effect of `op` itself.

    What is done most often asks `active.runtime` in place of this, and saves a call: the accessors of fields.
    """
    rt = active.runtime
    if rt is not None:
        rt.step(op, obj)


def perform(op: Operation, obj: object, arg: Any = None) -> Any:
    """`Runtime.perform`, or the effect at once when no program runs.

    Raises `WouldBlock` when no program runs and the operation is not ready.
    """
    rt = active.runtime
    if rt is not None:
        return rt.perform(op, obj, arg)
    return at_once(op, obj, arg)


def at_once(op: Operation, obj: object, arg: Any = None) -> Any:
    """The effect of `op` for `OUTSIDE`; raises `WouldBlock` when it is not ready."""
    if op.ready is not None and not op.ready(obj, OUTSIDE):
        raise WouldBlock(f"{op.name} would wait for ever: no other task runs, and the object is {obj!r}")
    return op.effect(obj, OUTSIDE, arg) if op.effect is not None else None


def of_oneself(method: F) -> F:
    """Mark a method that answers about the calling task only, whatever it looks at for that.

    Other tasks cannot change the answer, so it needs no operation, and the audit does not watch it.
    """
    method.of_oneself = True  # type: ignore[attr-defined]
    return method


def current_task() -> Task:
    """The task that is calling; `OUTSIDE` when no program runs."""
    rt = active.runtime
    return OUTSIDE if rt is None else rt.current


def domain(factory: Callable[[], T]) -> T:
    """The one object that `factory` made for this execution (or for the time outside all executions)."""
    rt = active.runtime
    if rt is not None:
        return rt.domain(factory)
    found = active.outside.get(factory)
    if found is None:
        found = active.outside[factory] = factory()
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Look at shared state from outside the program: no access in here is an operation."""
    rt = active.runtime
    if rt is not None and rt.parallel:
        was_hushed, rt.hushed = rt.hushed, True
        try:
            yield
        finally:
            rt.hushed = was_hushed
        return
    active.runtime = None
    was, active.quiet = active.quiet, True
    try:
        yield
    finally:
        active.runtime = rt
        active.quiet = was


def looking_from_outside() -> bool:
    """The caller is inside `quiet()`."""
    rt = active.runtime
    return active.quiet if rt is None else rt.hushed


def trace(event: str, **fields: object) -> None:
    """A tracepoint: says in the program's own words what just happened. Not a switch point, and free when off."""
    rt = active.runtime
    if rt is not None and rt.tracing:
        rt.trace(event, fields)


def fail(failure: Failure) -> NoReturn:
    """End the execution with `failure`; outside an execution it is simply raised."""
    rt = active.runtime
    if rt is not None:
        rt.stop(failure)
    raise failure


def checked(name: str | None) -> bool:
    """Whether the check of this name is on; a check without a name always is."""
    rt = active.runtime
    return name is None or rt is None or name not in rt.without


def check(condition: object, message: str) -> None:
    """Fail the execution unless `condition` holds; `message` says what should be true."""
    if not condition:
        fail(Failure(Kind.CHECK, f"check failed: {message}"))
    if condition is not True:
        # A coroutine is true, whatever it would say.
        check_ran(condition, "the condition of a check", type(condition))


def bug_on(condition: object, text: str, check: str | None = None, detail: str = "") -> None:
    """The kernel's BUG_ON: fail the execution if `condition` holds, in the words `text`.

    `check` names the assertion, so that a run can switch it off (``--without``) and watch what happens next. `detail`
    says which object it was.
    """
    if condition and checked(check):
        fail(Failure(Kind.BUG_ON, text, detail, check=check))


def spawn(fn: Callable[..., Any], *args: Any, name: str | None = None) -> Task:
    """Start a task that calls `fn(*args)`; only inside a program that a runtime runs."""
    rt = active.runtime
    if rt is None:
        raise WouldBlock(
            "spawn() needs a running program: call it inside the function given to explore() or run()"
        )
    return rt.spawn(fn, args, name, False)


def _task_done(obj: Task, _task: Task) -> bool:
    return obj.ended


def _task_result(obj: Task, _task: Task, _arg: Any) -> Any:
    return obj.returned


JOIN = Operation(
    "join", ready=_task_done, alike=True, effect=_task_result, acquires=("end",), footprint=Footprint.NOTHING
)


def join(*tasks: Task) -> list[Any]:
    """Wait until the tasks have ended; gives their results in the same order."""
    return [perform(JOIN, task) for task in tasks]
