"""Who listens to an execution: the lock validator, the race detector, invariants, the recorder.

A runtime calls only the methods that a subclass overrides, so an observer costs nothing for what it does not hear.
A method may raise a `Failure`: it ends the execution there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sugarbush.concurrency.core.sight import Sight, Sights
from sugarbush.concurrency.core.unrun import check_runs

if TYPE_CHECKING:
    from sugarbush.concurrency.core.operation import Operation
    from sugarbush.concurrency.core.runtime import Runtime
    from sugarbush.concurrency.core.task import Task


class Observer:
    """Hears the one stream of events of an execution.

    One that never ends an execution by what it hears, a recorder say, sets `judges` to False. Any other may look at the
    whole state, which is another one at the same event of an equivalent execution; so under it a reduced search, which
    makes one of these, says nothing of the rest (`Result.watched`). Unless its `sight` says what it looks at, and when:
    then `dpor` with a bound keeps the order of what it sees.
    """

    judges: bool = True
    sight: Sight | None = None

    def begin(self, runtime: Runtime) -> None:
        """A new execution starts."""

    def announced(self, task: Task, op: Operation, obj: object) -> None:
        """`task` is about to do `op`; everything done before has taken effect, nobody has run since."""

    def asked(self, task: Task, op: Operation, obj: Any, arg: Any) -> None:
        """As `announced`, for operations on locks and on interrupts only (`op.dep` is set)."""

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        """`task` makes a step now (no other task runs between this and its effect)."""

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:
        """`op` has taken effect with this result."""

    def blocked(self, task: Task, op: Operation, obj: object) -> None:
        """`task` cannot go on: `op` is not ready."""

    def spawned(self, parent: Task | None, task: Task) -> None:
        """`parent` has started `task`; None for task 0."""

    def allocating(self, task: Task, gfp: int) -> None:
        """`task` is about to allocate with these GFP flags."""

    def ended(self, task: Task) -> None:
        """`task` has returned."""

    def traced(self, task: Task, event: str, fields: dict[str, object]) -> None:
        """`task` has passed a tracepoint."""

    def finished(self) -> None:
        """All tasks have ended without a failure."""


def looks_on_the_way(observers: tuple[Observer, ...], *, seeing: bool = False) -> bool:
    """Whether one of these may judge an execution before its end, where equivalent ones have the same state.

    A search that is `seeing` keeps the order of what an observer sees that says so (`Observer.sight`).
    """
    return any(
        observer.judges
        and not (seeing and observer.sight is not None)
        and any(
            getattr(type(observer), name) is not method
            for name, method in vars(Observer).items()
            if callable(method) and not name.startswith("_") and name not in ("begin", "finished")
        )
        for observer in observers
    )


def sights_of(observers: tuple[Observer, ...]) -> Sights:
    """What the observers look at that say so."""
    return Sights([one.sight for one in observers if one.judges and one.sight is not None])


def one_of(hearing: list[Any]) -> Any:
    """One function that calls all of these, for events of a task, an operation and its object; None for nobody."""
    if len(hearing) < 2:
        return hearing[0] if hearing else None

    def hear(task: Task, op: Operation, obj: object) -> None:
        for each in hearing:
            each(task, op, obj)

    return hear


def raised_by(error: BaseException, observers: tuple[Observer, ...]) -> str | None:
    """The name of the observer in which `error` was raised; None if it was none. Too deep a recursion is nobody's."""
    if isinstance(error, RecursionError):
        return None
    trace = error.__traceback__
    while trace is not None:
        found = trace.tb_frame.f_locals.get("self")
        if any(found is observer for observer in observers):
            return type(found).__name__
        trace = trace.tb_next
    return None


def hearers(observers: tuple[Observer, ...], method: str) -> list[Any]:
    """The bound methods of those observers that override `method`."""
    found = [
        getattr(observer, method)
        for observer in observers
        if getattr(type(observer), method) is not getattr(Observer, method)
    ]
    for one in found:
        check_runs(one, f"the method {method} of the observer {type(one.__self__).__name__}")
    return found
