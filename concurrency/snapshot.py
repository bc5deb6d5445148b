"""What every task of a running program is doing: for a person who wonders why it does not end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from concurrency.runtime import active
from concurrency.task import Task
from concurrency.waiting import holds, is_ready, label, waits, where


def describe_tasks() -> str:
    """One paragraph a task that has not ended: what it waits for, what it holds, and where it is.

    Empty when no program runs. Made for a look from outside, also from another thread: it reads and changes nothing.
    """
    runtime: Any = active.runtime
    tasks: Sequence[Task] = () if runtime is None else tuple(runtime.tasks)
    current = getattr(runtime, "current", None)
    return "\n".join(describe(task, task is current) for task in tasks if not task.done)


def describe(task: Task, is_current: bool = False) -> str:
    """One task: what it waits for, what it holds, and where it is."""
    lines = [f"task {task.id} ({task.name}): {'it is running' if is_current else _waits(task)}"]
    lines += [f"  holds {lock}" for lock in holds(task)] or ["  holds no lock"]
    if task.rcu_nesting:
        lines.append("  is in an RCU reader")
    if not is_current:
        lines.append(f"  is at {where(task)}")
    return "\n".join(lines)


def _waits(task: Task) -> str:
    op, obj = task.op, task.obj
    if op is None:
        return "it has not begun"
    if is_ready(task):
        return f"it could go on with {op.name}({label(obj)})"
    return f"it {waits(task)}"
