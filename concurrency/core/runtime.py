"""The face between primitives and whatever runs them.

A primitive is written once, and works under every runtime. It calls `step` or `perform`; the runtime that is active
decides when the calling task goes on. `active.runtime` is None when no program runs: primitives then act at once, for
the one task `OUTSIDE`, and an operation that would have to wait raises `WouldBlock`.

>>> from sugarbush import Mutex
>>> mutex = Mutex("m")
>>> mutex.lock()                        # no program runs: it is taken at once
>>> try:
...     mutex.lock()
... except WouldBlock as error:
...     print(error)
mutex_lock would wait for ever: no other task runs, and the object is <Mutex m: held by outside>
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, Protocol, TypeVar

from sugarbush.concurrency.core.failure import ConcurrencyError, Failure, Kind, WouldBlock
from sugarbush.concurrency.core.kinds import Footprint
from sugarbush.concurrency.core.operation import Operation
from sugarbush.concurrency.core.task import OUTSIDE, Task
from sugarbush.concurrency.core.unrun import check_ran, refused
from sugarbush.lockdep.outside import shown

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


POISONED = "_is_poisoned"
"""An attribute that stands in the class of an object that was freed (`memory.slab._poisoned`). The engine asks for it
before it touches an object for a report: only a touch by a task is a use after free."""


class Watcher(Protocol):
    """An object on which tasks wait for something that any operation of any task may bring about.

    A grace period of RCU is one: it may end whenever a task turns preemption on, and that is an operation on the task.
    """

    def looked(self, task: Task, op: Operation) -> bool:
        """`op` of `task` has taken effect, or `task` waits in it; True if a task that waits here may go on by that.

        The runtime then asks `ready` again for all that wait for this object.
        """


class Runtime(Protocol):
    """What a primitive may ask of the runtime that runs it."""

    tracing: bool
    """An observer hears tracepoints."""

    without: frozenset[str]
    """Names of the checks that are switched off."""

    parallel: bool
    """Tasks are threads, so others go on while an observer looks at the program."""

    hushed: bool
    """The calling thread is inside `quiet()`; used only where `parallel` is true."""

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
        """Announce an operation that never waits; returns when the caller may make its effect."""

    def perform(self, op: Operation, obj: object, arg: Any = None) -> Any:
        """Wait until `op` is ready, let it take effect, and return its result. The effect is atomic."""

    def load(self, op: Operation, obj: Any) -> Any:
        """`step`, and the value of the attribute `op.word`, which under weak memory may be an older one, by choice."""

    def store(self, op: Operation, obj: Any, value: Any) -> None:
        """`step`, and set the attribute `op.word`."""

    def made(self, obj: object) -> None:
        """The caller has made an object of a slab cache, which no other task knows yet."""

    def relax(self) -> None:
        """The calling task spins (`cpu_relax`): if its next look would be the same, it waits for a change."""

    def choose(self, n: int, label: str) -> int:
        """A choice in range(n) that the program does not determine, recorded in the schedule; `label` names it."""

    def domain(self, factory: Callable[[], T]) -> T:
        """The one object that `factory` makes for this execution, made at the first call (an RCU domain, say)."""

    def spawn(self, fn: Callable[..., Any], args: tuple[Any, ...], name: str | None, daemon: bool) -> Task:
        """Start a task."""

    def waits(self, task: Task) -> bool:
        """Whether `task` has announced an operation that cannot take effect now."""

    def asleep(self, task: Task) -> bool:
        """Whether `task` waits and has left its CPU: in any operation but one that `spins`."""

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher.looked` after each `perform` and at the end of each task, from now on."""

    def unwatch(self, watcher: Watcher) -> None:
        """Undo one `watch`."""

    def alarm(self, operations: int, ring: Callable[[], None]) -> None:
        """Have `ring` called after so many operations; a `Failure` that it raises ends the execution."""

    def trace(self, event: str, fields: dict[str, object]) -> None:
        """Tell observers of a tracepoint."""

    def finds_held(self, lock: Any, *, tries: bool) -> bool | None:
        """Whether the calling task, which may see an older value, sees that a `Spinlock` is held (weak memory only).

        None under other memory models, where all tasks see one value: the caller then looks itself. With `tries` the
        task is going to take the lock if the answer is False. That needs the newest value, so no older one says False.
        """

    def might_alloc(self, gfp: int) -> None:
        """Tell the lock validator that the calling task may allocate with these flags here."""

    def stop(self, failure: Failure) -> None:
        """The execution has failed by `failure`: every further operation of a task raises `TaskKilled`."""

    def give_up(self, error: BaseException) -> None:
        """The execution is worth nothing: `run` raises `error`, even if the program catches it where it is raised."""


class _Active:
    """Holds the runtime of the execution that is going on in this process, if any."""

    __slots__ = ("outside", "quiet", "runtime")

    def __init__(self) -> None:
        self.runtime: Runtime | None = None
        self.quiet = False
        """The caller is inside `quiet()`: assertions that it holds a lock do not apply to it."""
        self.outside: dict[Callable[[], Any], Any] = {}
        """What `domain` has made while no program ran."""


active = _Active()


def _end_by(error: ConcurrencyError) -> None:
    # The execution ends by the error even if the program catches it.
    if active.runtime is not None:
        active.runtime.give_up(error)


refused.append(_end_by)


def step(op: Operation, obj: object) -> None:
    """`Runtime.step`, or nothing when no program runs: the caller then makes the effect of `op` itself.

    The accessors of fields, which are called most often, ask `active.runtime` themselves and save a call.
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
    """Mark a method whose answer is about the calling task only: whether it holds a lock, say.

    It may read what other tasks change (the list of all holders), but no other task can change the answer. So it
    needs no operation, and the audit does not watch what it reads.
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


class quiet:  # noqa: N801  it is called like a function
    """A block in which an observer looks at shared state from outside the program: no access in it is an operation."""

    # No generator of `contextlib`, which costs several times as much: the checks of the mm model look after each
    # operation that may have broken something.
    __slots__ = ("_rt", "_was")

    def __enter__(self) -> None:
        self._rt = rt = active.runtime
        # One thread runs all tasks: then nobody else looks at `active` meanwhile. Where tasks are threads only the
        # calling one may become quiet, or operations of the others would get lost.
        if rt is not None and rt.parallel:
            self._was, rt.hushed = rt.hushed, True
        else:
            active.runtime = None
            self._was, active.quiet = active.quiet, True

    def __exit__(self, *_error: object) -> None:
        rt = self._rt
        if rt is not None and rt.parallel:
            rt.hushed = self._was
        else:
            active.runtime = rt
            active.quiet = self._was


def looking_from_outside() -> bool:
    """Whether the caller is inside `quiet()`."""
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
        # A coroutine is true, whatever it would return.
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


# The end of a task (`END`) is done to the task itself, and is what makes a join of it ready. The searches order a join
# after all that its task did by themselves (`strategies.trace`), so it needs no place (`Footprint.NOTHING`).
JOIN = Operation(
    "join", ready=_task_done, alike=True, effect=_task_result, acquires=("end",), footprint=Footprint.NOTHING
)


def join(*tasks: Task) -> list[Any]:
    """Wait until the tasks have ended; gives their results in the same order."""
    for task in tasks:
        if not isinstance(task, Task):
            raise ConcurrencyError(f"join() waits for tasks, as spawn() gives them, not for {shown(task)}")
    return [perform(JOIN, task) for task in tasks]
