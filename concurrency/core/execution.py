"""What one execution leaves behind, whichever runtime made it."""

from __future__ import annotations

from dataclasses import dataclass

from sugarbush.concurrency.core.failure import Failure
from sugarbush.concurrency.core.kinds import Footprint
from sugarbush.concurrency.core.operation import Operation
from sugarbush.concurrency.core.schedule import Datum, Schedule, Segment
from sugarbush.concurrency.core.task import Task

END = Operation("end", releases=("end",))
"""A task returns. The object is the task itself, and what it did is visible to the task that joins it (`JOIN`)."""

START = Operation("start", footprint=Footprint.NOTHING)
"""What a spawned task does up to its first operation. No runtime announces it, and `Task.op` is None meanwhile. It
stands for that code where a search compares turns: the code may look at an object that another task frees
(`checks.dependence`)."""


# Nobody changes one, but to have that refused (frozen) would take as long as to make two tasks.
@dataclass(slots=True)
class Execution:
    """One run of a program under one schedule.

    The schedule is kept as it was made, since an execution that fails is rare: two lists of who went on and when,
    which cost two appends a switch, and a list of the other choices. `schedule` makes the text form of it.

    >>> main, worker = Task(0, "main", print), Task(1, "worker", print)
    >>> run = Execution(None, 9, who=[main, worker, main], when=[0, 5, 7], data=[(2, 1)])
    >>> str(run.schedule)               # 5 operations of main, 2 of worker with a choice of value 1, 2 of main
    's1:0*5,1*2,=1,0*2'
    """

    failure: Failure | None
    steps: int
    """How many operations were announced."""
    who: list[Task]
    """The tasks that went on, one entry each time that another one did; the first is task 0."""
    when: list[int]
    """For each entry of `who`, how many operations had been announced before it went on."""
    data: list[tuple[int, int]]
    """The choices that are no tasks: how many entries `who` had by then, and the value."""
    fair: bool = False
    """It took so long that from some operation on tasks were scheduled round robin, not by the strategy."""
    preemptions: int = 0
    """How often a task was switched away from that could have gone on (`can_be_preempted`)."""
    faults: int = 0
    """How many allocations failed by choice."""
    looks_cut: bool = False
    """A task has looked in vain `Settings.looks` times in a row, and its loop was not followed further: it waited."""
    doubt: str = ""
    """Any other reason why a search that has seen this execution may not have seen all that it stands for; or
    empty."""

    @property
    def schedule(self) -> Schedule:
        """All choices that were made; none under the threaded runtime."""
        if not self.who:
            return Schedule(())
        choices: list[Segment | Datum] = []
        # An entry behind all others ends the merge below, so that it need not ask whether there is another one.
        data = iter([*self.data, (len(self.who) + 1, 0)])
        position, value = next(data)
        ends = [*self.when[1:], self.steps]
        for number, (task, start, end) in enumerate(zip(self.who, self.when, ends, strict=True), 1):
            choices.append(Segment(task.id, end - start))
            while position == number:
                choices.append(Datum(value))
                position, value = next(data)
        return Schedule(tuple(choices))
