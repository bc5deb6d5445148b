"""Where each task began what it is inside of: readers of RCU, preemption, bottom halves and interrupts switched off.

Locks have the lock validator to remember that. Listens only where everything is recorded, since a place costs as much
as a whole operation.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency.core import Observer, Operation, Task, place


class Sections(Observer):
    """Keeps `Task.inside`."""

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """Note the section that an operation begins, or forget the innermost one of the kind that it ends."""
        if op.begins is not None:
            # Interrupts do not nest: to switch them off again begins nothing, and its result is False.
            if result is not False:
                task.inside += ((op.begins, place()),)
            return
        ends = op.ends
        if ends is not None:
            # From the top: sections of different kinds may cross, and those of one kind end innermost first. None is
            # there if a handler has ended with interrupts off, which switches them on.
            for at in range(len(task.inside) - 1, -1, -1):
                if task.inside[at][0] == ends:
                    task.inside = task.inside[:at] + task.inside[at + 1 :]
                    break
