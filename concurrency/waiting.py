"""Who waits for what, and who for whom in a circle: the words of a deadlock and of all that does not end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from types import FrameType

from concurrency.failure import Failure, Kind
from concurrency.runtime import JOIN
from concurrency.site import caller, place_in, spell
from concurrency.task import Task


def label(obj: object) -> str:
    """How reports call an object: its name, or its class. A poisoned object may be asked, too."""
    try:
        name = object.__getattribute__(obj, "name")
    except AttributeError:
        name = None
    return name if isinstance(name, str) else type(obj).__name__


def names(tasks: Iterable[Task]) -> str:
    """The names of some tasks, in one line."""
    return ", ".join(task.name for task in tasks)


def where(task: Task) -> str:
    """``file:line`` of the user's code that a task of the running program is in; "?" if it has not begun."""
    if task.thread:
        return spell(place_in(sys._current_frames().get(task.thread)))
    if task.greenlet is None:
        return "?"
    frame: FrameType | None = task.greenlet.gr_frame
    return caller() if frame is None else spell(place_in(frame))


def holds(task: Task) -> list[str]:
    """What the lock validator knows that a task holds, oldest first: each lock, and where it was taken."""
    return [f"{lock.name}, taken at {spell((code, at))}" for lock, _, code, at, _ in task.context.held]


def _reasons(task: Task) -> list[str]:
    """What the object that `task` waits for says about that, if it says anything."""
    why: Callable[[Task], list[str]] | None = getattr(task.obj, "why_waiting", None)
    return [] if why is None else why(task)


def waits(task: Task) -> str:
    """What a task waits for, and who holds that."""
    assert task.op is not None
    holders: Iterable[Task] = getattr(task.obj, "holders", ())
    held = names(holders)
    return f"waits in {task.op.name}({label(task.obj)})" + (f", held by {held}" if held else "")


def _paragraph(task: Task, what: str, *more: str) -> str:
    """One task: what it does, where, and what it holds."""
    return "\n  ".join(
        [f"{task.name} {what}", f"at {where(task)}", *more, *(f"holds {lock}" for lock in holds(task))]
    )


def awaited(task: Task) -> Iterable[Task]:
    """The tasks without each of which `task`, which waits, can never go on: who owns the lock, who is joined."""
    if task.op is JOIN:
        assert isinstance(task.obj, Task)
        return (task.obj,)
    who: Callable[[Task], Iterable[Task]] | None = getattr(task.obj, "awaited", None)
    return () if who is None else who(task)


def circle(task: Task, is_blocked: Callable[[Task], bool]) -> list[Task]:
    """The tasks that wait for each other in a circle which `task` closes by waiting; empty if there is none.

    None of them can ever go on, whatever the others do.
    """
    trail = {task: task}
    left = [task]
    while left:
        one = left.pop()
        for other in awaited(one):
            if other is task:
                found = [one]
                while found[-1] is not task:
                    found.append(trail[found[-1]])
                found.reverse()
                first = min(range(len(found)), key=lambda at: found[at].id)
                return found[first:] + found[:first]
            if other not in trail and is_blocked(other):
                trail[other] = one
                left.append(other)
    return []


def describe_circle(tasks: list[Task]) -> Failure:
    """The failure of an execution in which these tasks wait for each other in a circle."""
    who = " -> ".join(task.name for task in [*tasks, tasks[0]])
    told = [_paragraph(task, waits(task)) for task in tasks]
    return Failure(Kind.DEADLOCK, f"deadlock: a circle of waits ({who})", "\n".join(told))


def describe_deadlock(stuck: list[Task]) -> Failure:
    """The failure of an execution in which no task can go on; `stuck` are those that have not ended."""
    told = [
        _paragraph(
            task, waits(task), *_reasons(task), *([] if hasattr(task.obj, "holders") else [_nobody(task)])
        )
        for task in stuck
        if task.op is not None and not task.daemon
    ]
    who = names(task for task in stuck if not task.daemon)
    return Failure(Kind.DEADLOCK, f"deadlock: no task can go on ({who})", "\n".join(told))


def _nobody(task: Task) -> str:
    return "which cannot end" if task.op is JOIN else "nobody is left who could wake it"


def doings(tasks: list[Task], counts: Mapping[Task, int]) -> str:
    """What each task is doing that has not ended; `counts` are the operations that it has made of late."""
    told = []
    for task in tasks:
        if task.done or (task.daemon and not counts.get(task)):
            continue
        if task.has_looked or task.spins:
            what = "spins"
        elif task.op is not None and task.op.ready is not None and not task.op.ready(task.obj, task):
            what = waits(task)
        else:
            what = "runs"
        count = counts.get(task)
        told.append(_paragraph(task, f"{what}: {count} operations" if count else what))
    return "\n".join(told)
