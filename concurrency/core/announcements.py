"""What two executions of one schedule must agree on: what each task announced, in order, and which tasks could go on.

The strategy `check` makes each execution twice under this observer, and so finds programs that depend on a clock, a
random number or the order of a set; a replay that does not show its failure again says by it where two executions
part.
"""

from __future__ import annotations

from collections.abc import Sequence

from sugarbush.concurrency.core.execution import END
from sugarbush.concurrency.core.observer import Observer
from sugarbush.concurrency.core.operation import Operation
from sugarbush.concurrency.core.runtime import Runtime
from sugarbush.concurrency.core.site import caller
from sugarbush.concurrency.core.task import Task
from sugarbush.concurrency.core.waiting import label

Log = list[tuple[object, ...]]


class Announcements(Observer):
    """Keeps in `log` what is announced (task, operation, object, place), and which tasks could go on."""

    def __init__(self) -> None:
        self.log: Log = []

    def begin(self, runtime: Runtime) -> None:  # noqa: ARG002
        """Forget what the last execution announced."""
        self.log = []

    def announced(self, task: Task, op: Operation, obj: object) -> None:
        """Note the operation in words: objects of two executions can be compared by name only."""
        if op is END:
            self.log.append((task.name, "its end"))
            return
        on = f"{label(obj)}.{op.field}" if op.field else label(obj)
        self.log.append((task.name, op.name, on, caller()))

    def can_go_on(self, runnable: Sequence[Task]) -> None:
        """Note that a choice among these tasks was made. Not an event of `Observer`: the strategy tells it."""
        self.log.append(tuple(task.id for task in runnable))


def first_difference(one: Log, other: Log) -> str:
    """The first operation in which two executions of one schedule differ, in words."""
    # If one log is a beginning of the other, they differ where the shorter one has ended.
    number = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    if number is None:
        number = min(len(one), len(other))
    step = 1 + sum(len(entry) > 0 and isinstance(entry[0], str) for entry in one[:number])
    first, second = (_in_words(log[number]) if number < len(log) else "nothing more" for log in (one, other))
    return f"operation {step} under one schedule was {first} once and {second} now"


def _in_words(entry: tuple[object, ...]) -> str:
    if not entry or not isinstance(entry[0], str):
        return f"a choice among the tasks {', '.join(map(str, entry))}"
    task, what, *rest = entry
    return f"{task}'s {what}({rest[0]}) at {rest[1]}" if rest else f"{task}'s end"
