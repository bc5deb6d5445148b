"""What one execution leaves behind, whichever runtime made it."""

from __future__ import annotations

from dataclasses import dataclass

from sugarbush.concurrency.core.failure import Failure
from sugarbush.concurrency.core.kinds import Footprint
from sugarbush.concurrency.core.operation import Operation
from sugarbush.concurrency.core.schedule import Datum, Schedule, Segment
from sugarbush.concurrency.core.task import Task

END = Operation("end", releases=("end",))
"""A task returns; what it did is visible to whoever joins it."""

START = Operation("start", footprint=Footprint.NOTHING)
"""A task that was spawned goes on for the first time, up to its first operation. No runtime announces it: `Task.op` is
None then. It stands for what the task does there, which `concurrency.checks.dependence` must know of."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a program under one schedule; `steps` counts the operations.

    The n-th time that a task went on, it was `who[n]`, after `when[n]` announced operations. `data` has the other
    choices: how many times a task had gone on by then, and the value. With `fair` it took so long that from some
    operation on tasks were scheduled round robin, not by the strategy. `preemptions` counts the switches away from a
    task that could be preempted (`can_be_preempted`), `faults` the allocations that failed by choice. With `looks_cut`
    a task looked in vain so often (`Settings.looks`) that its loop was not followed further: it waited for the others.
    `doubt` says why else a search that has seen this execution has not seen all that it stands for.
    """

    failure: Failure | None
    steps: int
    who: list[Task]
    when: list[int]
    data: list[tuple[int, int]]
    fair: bool = False
    preemptions: int = 0
    faults: int = 0
    looks_cut: bool = False
    doubt: str = ""

    @property
    def schedule(self) -> Schedule:
        """All choices that were made; none under the threaded runtime."""
        if not self.who:
            return Schedule(())
        choices: list[Segment | Datum] = []
        data = iter([*self.data, (len(self.who) + 1, 0)])
        position, value = next(data)
        ends = [*self.when[1:], self.steps]
        for number, (task, start, end) in enumerate(zip(self.who, self.when, ends, strict=True), 1):
            choices.append(Segment(task.id, end - start))
            while position == number:
                choices.append(Datum(value))
                position, value = next(data)
        return Schedule(tuple(choices))
