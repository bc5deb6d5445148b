"""What every task of a running program is doing: for a person who wonders why it does not end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sugarbush.concurrency.core import Task, active, holds, is_waiting, label, waits, where


def describe_tasks() -> str:
    """One paragraph a task that has not ended: what it waits for, what it holds, and where it is.

    Empty when no program runs. Made for a look from outside, also from another thread: it reads and changes nothing.
    """
    runtime: Any = active.runtime
    tasks: Sequence[Task] = () if runtime is None else tuple(runtime.tasks)
    current = getattr(runtime, "current", None)
    return "\n".join(describe(task, task is current) for task in tasks if not task.ended)


def describe(task: Task, is_current: bool = False) -> str:
    """One task: what it waits for, what it holds, and where it is."""
    lines = [f"task {task.id} ({task.name}): {'it is running' if is_current else _waits(task)}"]
    lines += [f"  holds {lock}" for lock in holds(task)] or [f"  {_nothing_held()}"]
    if task.rcu_nesting:
        lines.append("  is in an RCU reader")
    if not is_current:
        lines.append(f"  is at {where(task)}")
    return "\n".join(lines)


def _nothing_held() -> str:
    """How to say that nothing is known to be held."""
    # Without the validator only locks are known that a task waits for.
    rt = active.runtime
    return (
        "holds no lock"
        if rt is None or "lockdep" not in rt.without
        else "holds no lock that a task waits for"
    )


def _waits(task: Task) -> str:
    op, obj = task.op, task.obj
    rt = active.runtime
    if is_waiting(task):
        return f"it {waits(task)}"
    if rt is not None and rt.parallel:
        # A thread goes on by itself, and its last wait is over.
        return "it is running"
    if op is None:
        return "it has not begun"
    return f"it could go on with {op.name}({label(obj)})"
