"""What lets a task go on that waits: pairs of events of which the second cannot come first, whatever the schedule.

A task t waits to make e, since something has not ended yet: a task that it joins, readers that a grace period waits
for, callbacks that a barrier waits for. Let a be an event that ends one of these. e comes after it in every schedule,
so their order is nothing to turn round. But the pair may matter for what a schedule costs. If others come before a, and
t comes to e meanwhile, it waits there, and that who goes on next is free. With a first, t could go on at once, and
whoever comes next preempts it. So within a bound a pair (a, e) is a race (rule 2 of `concurrency.strategies.bounded`).

Not so if t was waiting when a was made, and could go on right after it. Then t does nothing before a, however long that
is put off, and is none of those that can go on: no switch of others costs more or less. So the pair is no race.

This is said of the event that has let t go on, and of no other end that e depends on. The end of a reader that came too
late for the grace period, say, can come after e. To leave out that pair and to keep its order would be wrong: by that,
what the other task did before is ordered before e, and would never be tried later.

Example. Task 0 spawns p and q, and joins p, then q. It waits when p ends, so that it could have been switched away
before the end of p is of no use, and both orders of two tasks that share nothing are one trace, made once:

>>> from sugarbush.concurrency import join, spawn
>>> from sugarbush.concurrency.lowlevel import Access, Operation, Simulated, step
>>> from sugarbush.concurrency.strategies.bounded import BoundedDPOR
>>> write = Operation("write", Access.WRITE_ONCE, local=True)
>>> def program():
...     join(spawn(step, write, "x", name="p"), spawn(step, write, "y", name="q"))
>>> search = BoundedDPOR(1)
>>> _ = Simulated(search).run(program)
>>> search.left, search.cut
(False, 0)
"""

from __future__ import annotations

from collections.abc import Sequence

from sugarbush.concurrency.core import JOIN, Dep, Footprint, Operation, Task
from sugarbush.concurrency.strategies.switch_points import SwitchPoint
from sugarbush.concurrency.strategies.trace import Edges, Trace


def races(trace: Trace, made: Sequence[SwitchPoint | None], task: Task, edges: Edges) -> list[int]:
    """The events with which the next one of `task`, which can go on, races: all it depends on but what let it go on.

    `made` has the point of each event.
    """
    number, came = len(made) - 1, trace.last_of(task.id) + 1
    while number >= came and (point := made[number]) is not None and task.id in point.enabled:
        number -= 1
    if number < came or not lets_go(trace, number, task):
        return edges.dependent
    return [one for one in edges.dependent if one != number]


def lets_go(trace: Trace, number: int, task: Task) -> bool:
    """Whether event `number`, right after which `task` could go on that had waited, has ended what it waited for."""
    op, obj = task.op, task.obj
    if op is JOIN:
        assert isinstance(obj, Task)
        return trace.last_of(obj.id) == number
    return op is not None and op.footprint in trace.stays_ready and _ends(trace.ops[number])


def _ends(op: Operation | None) -> bool:
    """Whether all that an operation can do to somebody who waits for what stays over is to let them go on.

    To queue a callback is no such thing: whether one begins before or after that matters, as it is a reader.
    """
    if op is None:
        return False
    # Where a lock is given back a stretch without preemption ends, which is a reader, too.
    return op.footprint in (Footprint.READER_ENDS, Footprint.CALLBACK_ENDS) or (
        op.region and op.dep is Dep.RELEASE
    )
