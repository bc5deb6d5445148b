"""What each task waits for and which tasks wait for each other in a circle: the words of deadlocks and livelocks.

Everything here looks at tasks and objects from outside, between two operations: it reads slots and asks the faces
(`core.faces`), and makes no operation.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import FrameType, MemberDescriptorType

from sugarbush.concurrency.core.faces import Explaining, Holdable, Waitable, asked, dep_map_of, is_freed
from sugarbush.concurrency.core.failure import Failure, Kind
from sugarbush.concurrency.core.runtime import JOIN, active, quiet
from sugarbush.concurrency.core.site import caller, place_in, spell, stack
from sugarbush.concurrency.core.task import Task, task_number
from sugarbush.lockdep.model import Held


def label(obj: object) -> str:
    """How reports call an object: its name, or its class.

    A class may compute its name from fields, in a property. That is code of the program. It is run as a look from
    outside (`quiet`), so that none of its accesses is an operation, and never on an object that was freed: there it
    would report a use after free that no task has made. Such an object is called by its stored name, or by its class.
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
                # The report is about something else than an error in a name, so the name of the class has to do.
                pass
    return name if isinstance(name, str) else kind.__name__


def _in_class(kind: type, name: str) -> object:
    """What stands under this name in the class of an object or its bases; reading it runs no code of the program."""
    for base in kind.__mro__:
        if name in base.__dict__:
            return base.__dict__[name]
    return None


def is_ready(task: Task) -> bool:
    """Whether `task` could go on now, seen from outside; False if the object that it waits for was freed."""
    op = task.op
    if op is None or op.ready is None:
        return True
    return not is_freed(task.obj) and op.ready(task.obj, task)


def names(tasks: Iterable[Task]) -> str:
    """The names of some tasks, in one line."""
    return ", ".join(task.name for task in tasks)


def where(task: Task) -> str:
    """``file:line`` of the program's code that a task is in; where it was spawned if it has no such code."""
    # The frame of a task that does not run hangs on its greenlet, or on its thread. Without one the task is the
    # caller.
    if task.thread:
        return spell(place_in(sys._current_frames().get(task.thread)) or task.born)
    if task.greenlet is None:
        return spell(task.born)
    frame: FrameType | None = task.greenlet.gr_frame
    return caller() if frame is None else spell(place_in(frame) or task.born)


def _times_held(obj: object, task: Task) -> int | None:
    """How often `task` holds `obj` now; None if `obj` does not say (`Holdable`)."""
    times = asked(obj, Holdable.times_held)
    return None if times is None else times(obj, task)


def held_now(task: Task, asked_for: object = None) -> list[Held]:
    """The locks that a task holds, as the lock validator keeps them, oldest first, without one that it only waits for.

    The validator enters a lock when it is asked for, not when it is taken, since an order of locks is an order whether
    or not the task has to wait. Whether the task has the lock by now only the lock itself knows (`Holdable`).

    `asked_for` is the object of the calling task's operation where the runtime has not noted that in `Task.obj` yet:
    inside the effect of an acquire, and while an observer is called.
    """
    held = task.context.held
    obj = task.obj if asked_for is None else asked_for
    wanted = dep_map_of(obj)
    times = None if wanted is None else _times_held(obj, task)
    # A task can be waiting for one lock at most: the object of its last operation. If that operation has taken effect
    # since, what the lock says is right as well. So only entries of this one lock can be too many, and of those the
    # newest are.
    if times is None or sum(_stands_for(entry, wanted) for entry in held) <= times:
        return list(held)
    kept = []
    for entry in held:
        mine = _stands_for(entry, wanted)
        if not mine or times >= mine:
            kept.append(entry)
        times -= mine
    return kept


def _stands_for(entry: Held, dep_map: object) -> int:
    """How many holds of a map an entry of the held stack stands for: itself, and what a nest lock merged into it."""
    extra = entry[4]
    merged = () if extra is None else extra.merged
    return (entry[0] is dep_map) + sum(other is dep_map for other in merged)


def holds(task: Task, asked_for: object = None) -> list[str]:
    """What a task holds, in words, oldest first: each lock, and where it was taken if the lock validator watches.

    `asked_for` as for `held_now`.
    """
    found: list[str] = []
    known: set[object] = set()
    for lock, chain, code, at, extra in held_now(task, asked_for):
        for one in (lock, *([] if extra is None else extra.merged)):
            known.add(one)
            how = " to read" if chain.read else ""
            found.append(f"{one.name}{how}, taken at {spell((code, at))}")
    # Without the validator no list is kept. Then at least the locks that other tasks wait for are asked: those are the
    # ones that a report of a deadlock is about.
    rt = active.runtime
    if rt is not None and "lockdep" in rt.without:
        for other in rt.tasks:
            dep_map = None if other.ended else dep_map_of(other.obj)
            if dep_map is not None and dep_map not in known and _times_held(other.obj, task):
                known.add(dep_map)
                found.append(label(other.obj))
    return found


def sections(task: Task) -> list[str]:
    """The sections that a task is inside of besides locks, outermost first, if `checks.Sections` listens."""
    return [f"is inside {what}, begun at {spell(where)}" for what, where in task.inside]


def position(task: Task, asked_for: object = None) -> list[str]:
    """Lines for a report about what the calling task, `task`, has just done: what it holds, and its stack.

    `asked_for` as for `held_now`.
    """
    lines = [f"{task.name} holds {lock}" for lock in holds(task, asked_for)] or [f"{task.name} holds no lock"]
    lines += [f"{task.name} {section}" for section in sections(task)]
    return [*lines, "stack backtrace:", *(f"  {frame}" for frame in stack())]


def _reasons(task: Task) -> list[str]:
    """The lines that the object that `task` waits for has for a report (`Explaining`)."""
    why = asked(task.obj, Explaining.why_waiting)
    return [] if why is None else why(task.obj, task)


def is_waiting(task: Task) -> bool:
    """Whether `task` of the running program has announced an operation that cannot take effect now."""
    rt = active.runtime
    return rt is not None and rt.waits(task)


def waits(task: Task) -> str:
    """In words, what a task waits for, and which tasks would have to do something before it can go on."""
    assert task.op is not None, "a task waits in the operation that it has announced"
    if is_freed(task.obj):
        return f"waits in {task.op.name}({label(task.obj)}), which was freed"
    words = f"waits in {task.op.name}({label(task.obj)})"
    by: dict[str, list[Task]] = {}
    for other, how in awaited(task).items():
        by.setdefault(how, []).append(other)
    return words + "".join(f", {how.format(names(tasks))}" for how, tasks in by.items() if how)


def _paragraph(task: Task, what: str, *more: str) -> str:
    """A paragraph of a report about one task: what it does, where, and what it holds."""
    return "\n  ".join(
        [
            f"{task.name} {what}",
            f"at {where(task)}",
            *more,
            *(f"holds {lock}" for lock in holds(task)),
            *sections(task),
        ]
    )


def awaited(task: Task) -> Mapping[Task, str]:
    """The tasks that must do something before `task`, which waits, can go on, in the order to tell them.

    Under each stand the words for it, with ``{}`` for the name ("held by {}", "queued behind {}"), or "" where the
    name of the operation says it already. A task is named only if no other one could do what is waited for
    (`Waitable.awaited`).
    """
    if task.op is JOIN:
        assert isinstance(task.obj, Task), "join() is done to tasks"
        return {task.obj: ""}
    who = asked(task.obj, Waitable.awaited)
    return {} if who is None else who(task.obj, task)


def circle(task: Task, is_blocked: Callable[[Task], bool]) -> list[Task]:
    """The tasks that wait for each other in a circle which `task` closes by waiting; empty if there is none.

    None of them can ever go on, whatever other tasks do. It is a shortest circle, told from its lowest number on.
    It is looked for whenever a task begins to wait, so a deadlock is seen at once, although other tasks could still
    go on.
    """
    # Most that a task waits for can go on: then there is nothing to search.
    if task.op is JOIN and isinstance(task.obj, Task):
        nearest: Iterable[Task] = (task.obj,)
    else:
        nearest = awaited(task)
    for other in nearest:
        if other is task or is_blocked(other):
            break
    else:
        return []
    # Breadth first finds a shortest circle. A longer one would name tasks as well that are held up by the deadlock and
    # no part of it: a reader that is queued behind a writer that waits for a reader.
    trail = {task: task}
    left = deque([task])
    while left:
        one = left.popleft()
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
    paragraphs = [_paragraph(task, waits(task), *_reasons(task)) for task in tasks]
    return Failure(Kind.DEADLOCK, f"deadlock: a circle of waits ({who})", "\n".join(paragraphs))


def describe_deadlock(stuck: list[Task]) -> Failure:
    """The failure of an execution in which no task can go on; `stuck` are the tasks that have not ended.

    A daemon is in the report only if another task in it waits for that daemon: the one that would run a callback, say.
    """
    shown = [task for task in stuck if task.op is not None and not task.daemon]
    # The list grows while it is gone through: what a daemon waits for is shown as well.
    for task in shown:
        shown += [other for other in awaited(task) if other in stuck and other not in shown]
    lines = [
        _paragraph(
            task, waits(task), *_reasons(task), *([] if any(awaited(task).values()) else [_nobody(task)])
        )
        for task in sorted(shown, key=task_number)
    ]
    who = names(task for task in stuck if not task.daemon)
    return Failure(Kind.DEADLOCK, f"deadlock: no task can go on ({who})", "\n".join(lines))


def _nobody(task: Task) -> str:
    """Why a task waits for ever that waits for no task in particular."""
    return "which cannot end" if task.op is JOIN else "nobody is left who could wake it"


def doings(tasks: list[Task], counts: Mapping[Task, int]) -> str:
    """What each task that has not ended is doing, in words; `counts` are the operations that each has made of late."""
    found = []
    for task in tasks:
        if task.ended or (task.daemon and not counts.get(task)):
            continue
        if is_waiting(task) and not task.has_looked:
            what = waits(task)
        elif task.has_looked or task.spins:
            what = "spins"
        else:
            what = "runs"
        count = counts.get(task)
        found.append(_paragraph(task, f"{what}: {count} operations" if count else what))
    return "\n".join(found)
