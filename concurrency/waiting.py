"""Who waits for what, and who for whom in a circle: the words of a deadlock and of all that does not end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from types import FrameType, MemberDescriptorType
from typing import Any

from concurrency.failure import Failure, Kind
from concurrency.runtime import JOIN, POISONED, quiet
from concurrency.shared import Shared
from concurrency.site import caller, place_in, spell
from concurrency.task import Task


def label(obj: object) -> str:
    """How reports call an object: its name, or its class.

    A class may compute its name from fields. That is code of the program: it runs here as a look from outside, so that
    none of its accesses is an operation, and never on an object that was freed, where it would be a use after free
    that no task has made. Such an object is called by the name that is stored in it, or by its class.
    """
    kind = type(obj)
    found = _in_class(kind, "name")
    is_stored = found is None or isinstance(found, str | MemberDescriptorType)
    name = None
    if is_stored:
        try:
            name = object.__getattribute__(obj, "name")
        except AttributeError:
            pass
    elif not is_freed(obj):
        with quiet():
            try:
                name = obj.name  # type: ignore[attr-defined]
            except Exception:
                # What cannot say its name has a class all the same: the report is about something else.
                pass
    return name if isinstance(name, str) else kind.__name__


def _in_class(kind: type, name: str) -> object:
    """What the classes of an object say about an attribute, without asking the object."""
    for base in kind.__mro__:
        if name in base.__dict__:
            return base.__dict__[name]
    return None


def is_freed(obj: object) -> bool:
    """`obj` was freed to its slab cache, so that whoever touches it uses it after that."""
    return POISONED in type(obj).__dict__


def of_waiting(obj: object, name: str) -> Any:
    """What the object that a task waits for says about that in its attribute `name`, if it says anything.

    One that was freed while a task waited for it says nothing: asking it would be a use after free by whoever asks.
    """
    # A field of a Shared object may have any name; to look at it would be an operation.
    return None if obj is None or is_freed(obj) or isinstance(obj, Shared) else getattr(obj, name, None)


def is_ready(task: Task) -> bool:
    """Whether `task` could go on now; seen from outside. What was freed makes nobody ready."""
    op = task.op
    if op is None or op.ready is None:
        return True
    return not is_freed(task.obj) and op.ready(task.obj, task)


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
    why: Callable[[Task], list[str]] | None = of_waiting(task.obj, "why_waiting")
    return [] if why is None else why(task)


def waits(task: Task) -> str:
    """What a task waits for, and who holds that."""
    assert task.op is not None
    if is_freed(task.obj):
        return f"waits in {task.op.name}({label(task.obj)}), which was freed"
    holders: Iterable[Task] = of_waiting(task.obj, "holders") or ()
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
    who: Callable[[Task], Iterable[Task]] | None = of_waiting(task.obj, "awaited")
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
            task,
            waits(task),
            *_reasons(task),
            *([] if of_waiting(task.obj, "holders") is not None else [_nobody(task)]),
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
        elif not is_ready(task):
            what = waits(task)
        else:
            what = "runs"
        count = counts.get(task)
        told.append(_paragraph(task, f"{what}: {count} operations" if count else what))
    return "\n".join(told)
