"""Blocks that were put off for nothing: what came meanwhile could as well have come after them.

Where a point is racy, all that can go on is tried there, one after the other. Let x be a task that was tried at a point
p, and let another way be tried there now. From p on x is *put off*, until it makes an event that depends on one since
p. Say that x goes on later in this execution, makes a block B (all that it does up to the next switch) and is still put
off then. Let u be what came between p and B, and v what comes after B. No event of u depends on one of B, so "B, u, v"
is the same trace as "u, B, v". It begins at p with x, which was tried there. And it costs no more:

- the first switch costs the same, as neither x nor who begins u is the task that ran before p, or all is free there;
- a switch within u costs the same, unless the task that was switched away there had to wait and B lets it go on. That
  counts as if an event of B depended on one of u;
- the switches from u to B and from B to v become those from B to u and from u to v. Whoever can go on at the end of u
  could before B, so the one from u to v costs no more than that from u to B. The one from B to u costs no more than
  that from B to v, if x waits after B in both cases or in none: so, where it waits after B, what it wants to do then
  may not depend on an event of u either.

So this execution is given up at the end of B, and if x is preempted within B, that is not tried. Who goes on where a
block has come to nothing is another choice, so the point where it began becomes racy.

It goes by what was made, where sleep (rule 4 of `concurrency.strategies.bounded`) has to guess: who sleeps is woken by
whatever might matter to what it will do, such as any free of an object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sugarbush.concurrency.core import Task
from sugarbush.concurrency.strategies.events import Events
from sugarbush.concurrency.strategies.switch_points import SwitchPoint
from sugarbush.concurrency.strategies.trace import Edges

Since = Mapping[int, int]
"""The tasks that are put off, each with the number of the first event since then."""


def put_off(point: SwitchPoint, number: int, counts: bool) -> Since:
    """Who is put off when event `number` is made, the turn of `point`.

    `counts` says that its task was, and that this event could not as well have come before.
    """
    now = {**point.put_off, **dict.fromkeys(point.tried[:-1], number)}
    if counts:
        del now[point.turn]
    return now


def waits_anyway(trace: Events, task: Task, since: int) -> bool:
    """Whether `task`, which has to wait, would have to without the events from number `since` on as well."""
    # What stays ready once it is would have been ready after fewer events only if it were now.
    return (task.op is not None and task.op.footprint in trace.stays_ready) or in_vain(
        trace.edges(task), since
    )


def in_vain(edges: Edges, since: int) -> bool:
    """Whether an event depends on none from number `since` on, as its `edges` say."""
    return all(number < since for number in edges.dependent)


def lets_go_on(trace: Events, task: Task, since: int, made: Sequence[SwitchPoint | None]) -> bool:
    """Whether the next event of `task` may let one go on that has had to wait since event `since`.

    `made` has the point of each event, and that of the next one.
    """
    for number, other in trace.tasks.items():
        last = trace.last_of(number)
        if last < since or other is task or other.ended:
            continue
        after = made[last + 1]
        if after is not None and number not in after.enabled and trace.meet(task, other):
            return True
    return False
