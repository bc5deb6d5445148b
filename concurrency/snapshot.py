"""What every task of a running program is doing: for a person who wonders why it does not end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from types import FrameType
from typing import Any

from concurrency.runtime import active
from concurrency.task import Task
from concurrency.waiting import label

_INTERNAL = ("concurrency", "lockdep")


def describe_tasks() -> str:
    """One paragraph a task that has not ended: what it waits for, what it holds, and where it is.

    Empty when no program runs. Made for a look from outside, also from another thread: it reads and changes nothing.
    """
    runtime: Any = active.runtime
    tasks: Sequence[Task] = () if runtime is None else tuple(runtime.tasks)
    current = getattr(runtime, "current", None)
    return "\n".join(_describe(task, task is current) for task in tasks if not task.done)


def _describe(task: Task, is_current: bool) -> str:
    lines = [f"task {task.id} ({task.name}): {'it is running' if is_current else _waits(task)}"]
    held = [f"{entry[0].name}" for entry in task.context.held]
    lines.append(f"  holds {', '.join(held) if held else 'no lock'}")
    if task.rcu_nesting:
        lines.append("  is in an RCU reader")
    where = None if is_current else place_of(task)
    if where:
        lines.append(f"  is at {where}")
    return "\n".join(lines)


def _waits(task: Task) -> str:
    op, obj = task.op, task.obj
    if op is None:
        return "it has not begun"
    on = label(obj)
    if op.ready is None or op.ready(obj, task):
        return f"it could go on with {op.name}({on})"
    holders = ", ".join(holder.name for holder in getattr(obj, "holders", ()))
    return f"it waits in {op.name}({on})" + (f", held by {holders}" if holders else "")


def place_of(task: Task) -> str | None:
    """``file:line`` of the innermost frame of the user's in a task that does not run now."""
    frame: FrameType | None = getattr(task.greenlet, "gr_frame", None)
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _INTERNAL:
            return f"{'/'.join(PurePath(frame.f_code.co_filename).parts[-2:])}:{frame.f_lineno}"
        frame = frame.f_back
    return None
