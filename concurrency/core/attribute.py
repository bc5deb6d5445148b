"""Attributes that tell the state of a primitive (`mutex.owner`, `task.done`): to read one is an operation.

Other tasks change what is read. If the read were no operation, its order against their operations would be no order
of operations, and a search that leaves out orders could pass a program that fails: ``if lock.owner is None`` beside
a task that takes the lock. Inside of effects and reports the slot itself is read, whose name has an underscore
(`lock._owner`).
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency.core.kinds import Access
from sugarbush.concurrency.core.operation import Operation
from sugarbush.concurrency.core.runtime import perform
from sugarbush.concurrency.core.task import Task


def _value(obj: object, _task: Task, slot: str) -> Any:
    value = getattr(obj, slot)
    # A copy: the program keeps what it saw, although the primitive goes on to change its list.
    return tuple(value) if isinstance(value, list) else value


LOOK_AT = Operation("look", Access.READ_ONCE, effect=_value, local=True)
# Not local. That a task has ended follows its last operation without an operation of its own between, and that may
# have been done to anything; so this look must be tried before and after every other operation.
LOOK_AT_TASK = Operation("look", Access.READ_ONCE, effect=_value)


def look_at(obj: object, slot: str) -> Any:
    """The value of the attribute `slot` of `obj` at this moment, a list as a tuple; this is an operation."""
    return perform(LOOK_AT, obj, slot)


def look_at_task(task: Task, slot: str) -> Any:
    """The same for an attribute of a task, which depends on every other operation."""
    return perform(LOOK_AT_TASK, task, slot)


# `core.task` stands below the runtime, whose `perform` this needs, so it cannot import it.
Task._look_at = staticmethod(look_at_task)
