"""Who listens to an execution: the lock validator, the race detector, invariants, the recorder.

A runtime calls only the methods that the *class* of an observer overrides, so an observer costs nothing for what it
does not hear. `Settings(observers=...)` takes a function that makes observers. It is called more than once (for the
exploration, and again to replay a failure), and what it has made hears many executions, each from `begin` on.
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
    """Base of all that listen to executions: each method is called at one kind of event, in the order of events.

    Override what you want to hear. An event is heard in the thread of the task that causes it, before anything else
    happens, so the state of the program stands still while a method looks at it. (Under the threaded runtime this
    holds of blocking operations only: other threads make plain accesses meanwhile.) A `Failure` that a method
    raises ends the execution, even if the program catches what its call raises. Any other exception is a failure,
    too, in which the report names the observer (`raised_by`).

    Which methods one operation calls, in this order:

    | the task makes | methods |
    | --- | --- |
    | ``step(op, obj)``: a field is read or written, an allocation | `announced`, `accessed` |
    | ``perform(op, obj, arg)`` that is ready | `announced`, `asked` (if `op.dep` is set), `performed` |
    | ``perform(op, obj, arg)`` that has to wait | `announced`, `asked`, `blocked`, and later `performed` |
    | its end | `announced(END)`, `performed(END)`, `ended` |

    So a step is never heard by `performed`, and a perform never by `accessed`: who wants both overrides both, as
    the race detector does. Between `announced` and the event after it other tasks may run and be heard.

    A method may look at the program's state. It reads fields of `Shared` objects by `peek`, or inside of ``with
    quiet():``; an ordinary read of a field would be an operation of the program. It must not change the program's
    state, and must not look at a clock or go through a set of objects: executions must replay.

    >>> from sugarbush import Atomic, Settings, Shared, explore
    >>> class Log(Observer):
    ...     judges = False
    ...     def begin(self, runtime): self.heard = []
    ...     def announced(self, task, op, obj): self.heard.append(f"announced {op.name}")
    ...     def accessed(self, task, op, obj): self.heard.append(f"accessed {op.name}")
    ...     def performed(self, task, op, obj, arg, result): self.heard.append(f"performed {op.name}")
    ...     def ended(self, task): self.heard.append("ended")
    >>> class Counter(Shared):
    ...     value: Atomic[int] = 0
    >>> def program():
    ...     counter = Counter()
    ...     seen = counter.value        # reading an Atomic field is a step
    ...     counter.value = seen + 1    # writing one is an operation with an effect
    >>> log = Log()
    >>> _ = explore(program, executions=1, settings=Settings(observers=lambda: [log]))
    >>> log.heard  # doctest: +NORMALIZE_WHITESPACE
    ['announced read', 'accessed read', 'announced write', 'performed write', 'announced end', 'performed end',
    'ended']
    """

    # A reduced search makes one execution of each set of equivalent ones (a trace: what differs is the order of
    # operations that do not depend on each other). They agree in the state at the end, but not in the state at an
    # event on the way. So what a judge said of the one that was made says nothing about the rest; the search then
    # does not say `passed` (`Result.watched`).
    judges: bool = True
    """Whether it may end an execution (raise) by what it hears or sees. False is for those that only listen, as a
    recorder: then a reduced search may say `passed` while it listens. One that overrides `begin` and `finished`
    alone may leave it True, since it looks at the end only."""
    sight: Sight | None = None
    """For one that judges on the way: at which operations it looks at what (`core.sight`). `dpor` with a bound then
    keeps the order of what it sees, and may say `passed` all the same."""

    def hears_of(self, event: str, op: Operation) -> bool:  # noqa: ARG002
        """Whether the method of this name ("asked", "accessed" or "performed") does anything for `op`.

        It is asked once for each operation, for all executions of a runtime, so it must not depend on anything else.
        False saves a call; that the method is not called is no promise (the threaded runtime does not ask).
        """
        return True

    def begin(self, runtime: Runtime) -> None:
        """A new execution begins: forget the last one. No task exists yet; `runtime` is the one that runs it."""

    def announced(self, task: Task, op: Operation, obj: object) -> None:
        """`task` is about to do `op`, which has not taken effect; all that it did before has.

        Simulated runtime only. Heard for each operation once: for steps, for operations with an effect, whether or
        not they have to wait, and for `END`. This is the moment at which the state of the program is whole, since
        what a task does between two operations is a part of the first one; so it is where invariants look at it.
        """

    def asked(self, task: Task, op: Operation, obj: Any, arg: Any) -> None:
        """As `announced`, and right after it, for operations that have a `dep` and are made by `perform`.

        Under the threaded runtime, too. These are the operations on locks, interrupts, bottom halves and reclaim. The
        lock validator hears here that a lock is wanted, before it is known whether the task has to wait.
        """

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        """`task` goes on with a `step`: what its caller does now, before any other task runs, is the effect.

        Simulated runtime only. Not heard for operations made by `perform`: those are `performed`. The effect has not
        been made when this is called, so a field still holds its old value.
        """

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:
        """The effect of `op` has been made and has given `result`; no other task has run since.

        Not heard for a `step`: that is `accessed`. The end of a task is heard as `END` done to the task itself,
        with `task.ended` set. (Under threads that is the first that is heard of it: nothing is announced there.) A
        task that is still waiting when its execution ends, or is ended by a failure, has no `END`.
        """

    def blocked(self, task: Task, op: Operation, obj: object) -> None:
        """`op` was not ready when it was announced, so `task` waits for `obj`.

        Not heard if it was ready then and another task, which went on first, has made it unready; nor if the wait
        closes a circle, which is a deadlock at once. When the task goes on, `performed` follows without a second
        announcement.
        """

    def spawned(self, parent: Task | None, task: Task) -> None:
        """`parent` has started `task`, which has not run yet. The first task of an execution has None as its parent.

        To spawn is no operation: nothing is announced, and the parent goes on to its next operation.
        """

    def allocating(self, task: Task, gfp: int) -> None:
        """`task` is about to allocate memory with these GFP flags. Heard before the allocation itself is announced."""

    def ended(self, task: Task) -> None:
        """`task` has returned from its function, and `performed(END)` was heard."""

    def traced(self, task: Task, event: str, fields: dict[str, object]) -> None:
        """`task` has passed a tracepoint (`trace`), which is no operation. Simulated runtime only.

        Tracepoints are free as long as no observer of an execution overrides this.
        """

    def finished(self) -> None:
        """The execution is over and nothing has failed: all tasks have ended but for daemons, which may still wait.

        Not heard if the execution has failed or was given up.
        """


_NOT_ON_THE_WAY = ("begin", "finished", "hears_of")
"""Methods that see nothing of the state on the way."""


def looks_on_the_way(observers: tuple[Observer, ...], *, seeing: bool = False) -> bool:
    """Whether one of these may end an execution on the way, so that a reduced search cannot speak for the others.

    A search that is `seeing` keeps the order of what an observer with a `sight` sees, so that one does not count.
    """
    # By what the class overrides, not by what it does: which state a method looks at cannot be seen from here. `begin`
    # comes before anything has happened; in `finished` all equivalent executions have the same state.
    return any(
        observer.judges
        and not (seeing and observer.sight is not None)
        and any(
            getattr(type(observer), name) is not method
            for name, method in vars(Observer).items()
            if callable(method) and not name.startswith("_") and name not in _NOT_ON_THE_WAY
        )
        for observer in observers
    )


def sights_of(observers: tuple[Observer, ...]) -> Sights:
    """The sights of the judges that have one, as one."""
    return Sights([one.sight for one in observers if one.judges and one.sight is not None])


def one_of(hearing: list[Any]) -> Any:
    """One function that calls all of these with the task, the operation and its object of an event; None for none."""
    # Called at each access, where a loop over a list of one costs more than the call: so a single one is called
    # directly.
    if len(hearing) < 2:
        return hearing[0] if hearing else None

    def hear(task: Task, op: Operation, obj: object) -> None:
        for each in hearing:
            each(task, op, obj)

    return hear


def raised_by(error: BaseException, observers: tuple[Observer, ...]) -> str | None:
    """The name of the class of the observer in which `error` was raised; None if it was raised elsewhere."""
    # Where a recursion gets too deep is chance: a program that recurses without end may reach the limit inside of an
    # observer that it calls, and that is no fault of the observer's.
    if isinstance(error, RecursionError):
        return None
    # A method of an observer has the observer as `self`, also where it has called something else that raised.
    trace = error.__traceback__
    while trace is not None:
        found = trace.tb_frame.f_locals.get("self")
        if any(found is observer for observer in observers):
            return type(found).__name__
        trace = trace.tb_next
    return None


def wanting(hearing: list[Any], event: str, op: Operation) -> list[Any]:
    """Of the methods that hear an event, those whose observers want to hear it of `op` (`Observer.hears_of`)."""
    # What is no method of an observer is around one (the audit), and hears of all.
    return [
        hears
        for hears in hearing
        if not isinstance(owner := getattr(hears, "__self__", None), Observer) or owner.hears_of(event, op)
    ]


def hearers(observers: tuple[Observer, ...], method: str) -> list[Any]:
    """The bound methods of those observers that override `method`."""
    # Looked up in the class, as `looks_on_the_way` does: a function that is set on one observer alone is never called.
    found = [
        getattr(observer, method)
        for observer in observers
        if getattr(type(observer), method) is not getattr(Observer, method)
    ]
    for one in found:
        check_runs(one, f"the method {method} of the observer {type(one.__self__).__name__}")
    return found
