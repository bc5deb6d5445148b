"""Attributes that tell the state of a primitive: whoever reads one looks at what others change.

So the read is an operation. Were it none, its order against theirs would be no order of operations, and a search that
leaves out orders could pass a program that fails: `if lock.owner is None` beside a task that takes the lock. Inside of
effects and of reports the slot itself is read, which has the same name with an underscore.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency.core.kinds import Access
from sugarbush.concurrency.core.operation import Operation
from sugarbush.concurrency.core.runtime import perform
from sugarbush.concurrency.core.task import Task


def _value(obj: object, _task: Task, slot: str) -> Any:
    value = getattr(obj, slot)
    # What the program gets stays as it was when it looked.
    return tuple(value) if isinstance(value, list) else value


LOOK_AT = Operation("look", Access.READ_ONCE, effect=_value, local=True)
# The end of a task belongs to its last operation, whatever that touches. So this is not local: it depends on all.
LOOK_AT_TASK = Operation("look", Access.READ_ONCE, effect=_value)


def look_at(obj: object, slot: str) -> Any:
    """What `slot` of `obj` holds at this moment; a list as a tuple."""
    return perform(LOOK_AT, obj, slot)


def look_at_task(task: Task, slot: str) -> Any:
    """The same of a task."""
    return perform(LOOK_AT_TASK, task, slot)


Task._look_at = staticmethod(look_at_task)
