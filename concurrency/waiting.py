"""Who waits for what: the words of a deadlock."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from concurrency.failure import Failure, Kind
from concurrency.task import Task


def label(obj: object) -> str:
    """How reports call an object: its name, or its class. A poisoned object may be asked, too."""
    try:
        name = object.__getattribute__(obj, "name")
    except AttributeError:
        name = None
    return name if isinstance(name, str) else type(obj).__name__


def _holders(obj: object) -> str:
    holders: Iterable[Task] = getattr(obj, "holders", ())
    names = [task.name for task in holders]
    return f", held by {', '.join(names)}" if names else ""


def _reasons(task: Task) -> list[str]:
    """What the object that `task` waits for says about that, if it says anything."""
    why: Callable[[Task], list[str]] | None = getattr(task.obj, "why_waiting", None)
    return [] if why is None else [f"  {line}" for line in why(task)]


def describe_deadlock(stuck: list[Task]) -> Failure:
    """The failure of an execution in which no task can go on; `stuck` are those that have not ended."""
    waits = [
        line
        for task in stuck
        if task.op is not None and not task.daemon
        for line in (
            f"{task.name} waits in {task.op.name}({label(task.obj)}){_holders(task.obj)}",
            *_reasons(task),
        )
    ]
    names = ", ".join(task.name for task in stuck if not task.daemon)
    return Failure(Kind.DEADLOCK, f"deadlock: no task can go on ({names})", "\n".join(waits))
