"""How a DPOR search is divided, so that several processes share it; and the points that its path is made of.

The first points are shared out: there all that can go on is tried, each with those before it asleep. So no race found
below has anything to add there, and each leads to a part of its own. After `LEVELS` points at which there was
something to share the search goes on as usual. Each trace is completed in one part: sleep sets keep them apart
(Godefroid, LNCS 1032, 1996, chapter 5). But a part may hold none, and then its executions are given up.

A part is the state of the search. Its first numbers are the ways that it takes at the shared points: they order the
parts. The next part of a point is known when the one before has made its first execution, since it matters whether
that ended in a failure there. Which parts there are depends on the program only, not on when a process asks for one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sugarbush.concurrency.core import from_text, to_text
from sugarbush.concurrency.strategies.base import Part
from sugarbush.concurrency.strategies.trace import EventOrder
from sugarbush.concurrency.strategies.wakeup import Turn

LEVELS = 3
"""So many points with something to share are shared out; each divides a part into as many as there are awake tasks."""


@dataclass(slots=True)
class ChoicePoint:
    """A state that the current execution came to, what was tried from there, and what is to be tried.

    `enabled` are the tasks that could go on, `turn` is what is done now. `asleep` are the turns that need not be
    tried: what they lead to is seen elsewhere, or was tried here; `failed` those that end the execution. `todo` are
    the turns to try, in that order: the branches of the wakeup tree.

    Example. Task p writes x; q reads y, then x; r reads z, then writes x.

    >>> from sugarbush.concurrency import spawn
    >>> from sugarbush.concurrency.lowlevel import DPOR, Access, Operation, Simulated, step
    >>> read = Operation("read", Access.READ_ONCE, local=True)
    >>> write = Operation("write", Access.WRITE_ONCE, local=True)
    >>> def program():
    ...     spawn(lambda: step(write, "x"), name="p")
    ...     spawn(lambda: (step(read, "y"), step(read, "x")), name="q")
    ...     spawn(lambda: (step(read, "z"), step(write, "x")), name="r")
    >>> search = DPOR()
    >>> runtime = Simulated(search)
    >>> def execute():
    ...     runtime.run(program)
    ...     trace = search._trace
    ...     turns = zip(trace.who, trace.ops, trace.objs)
    ...     return ", ".join(f"{' pqr'[task]} {op.name} {on}" for task, op, on in turns if on in ("x", "y", "z"))
    >>> execute()
    'r read z, r write x, p write x, q read y, q read x'

    Neighbours on x race: r's write with p's, and p's with q's read. Reversed, the first race says: p before r's
    write. The second says: q's two reads in place of p's write, which falls asleep. That place is the last point of
    the path now. The branch that is taken has become its turn, with the rest of the branch below it:

    >>> def shown(tree):
    ...     return {f"{' pqr'[turn.task]} {turn.does}": shown(turn.after) for turn in tree}
    >>> [shown(point.todo) for point in search._path if point.todo]
    [{'p write': {}}]
    >>> last = search._path[-1]
    >>> shown([last.turn]), shown(last.asleep)
    ({'q read': {'q read': {}}}, {'p write': {}})
    >>> execute()
    'r read z, r write x, q read y, q read x, p write x'

    Three operations on x can be ordered in six ways. Each is made once:

    >>> while search.left:
    ...     made = execute()
    >>> search.traces
    6
    """

    enabled: tuple[int, ...]
    turn: Turn
    asleep: list[Turn]
    failed: list[Turn]
    todo: list[Turn]
    ways: int = 0
    """How many values the data choice of the turn has; 0 if it has made none."""
    order: EventOrder | None = None
    """Of the event that the turn is; None if it is not known yet."""
    shared: bool = False
    """What is left to try here is left to other processes, and no race adds to it."""
    levels: int = 0
    """At how many more points, from this one on, what there is to try is still to be shared out."""
    way: int = 0
    """At a point that is shared out: how many of its turns come before this one."""
    ends: bool = False
    """At a point that is shared out: its turn ends in a failure."""


_PACKED = tuple[list[ChoicePoint], int]


def first_points(levels: int = 0) -> list[ChoicePoint]:
    """The path before the first choice: task 0 starts."""
    return [ChoicePoint((0,), Turn(0), [], [], [], shared=levels > 0, levels=levels)]


def entered(part: Part) -> tuple[list[ChoicePoint], int]:
    """The points of a part, and from which of them on those that are shared out are not known yet."""
    if not part:
        return first_points(LEVELS), 0
    # Read by its type, not unpickled: what is left of a part comes from one worker and goes to another one.
    path, fresh = from_text(bytes(part[part.index(-1) + 1 :]).decode(errors="replace"), _PACKED)
    return path, fresh


def share_out(point: ChoicePoint) -> None:
    """Have all tasks that are awake at a new point tried, whether a race asks for them or not."""
    quiet = {turn.task for turn in (point.turn, *point.asleep, *point.failed)}
    point.todo = [Turn(task) for task in point.enabled if task not in quiet]
    point.levels -= bool(point.todo)


def keep_whole(path: list[ChoicePoint]) -> None:
    """Share out nothing after all: what was to be tried for that reason only is left to the races that are found."""
    for point in path:
        point.shared = False
        point.levels = 0
        point.todo = []


def mark_failed(path: list[ChoicePoint]) -> None:
    """Note that the last turn has ended in a failure, with the data choices that belong to it."""
    # `rest` then hands it on as failed and not as asleep: below a turn that fails nothing was tried, so it does not
    # show that others need not go on.
    last = len(path) - 1
    path[last].ends = True
    while path[last].turn.more:
        last -= 1
        path[last].ends = True


def rest(path: list[ChoicePoint], *, left: bool) -> list[Part]:
    """The parts that are left, in order; `left` says whether the one that was entered is one of them."""
    shared = [replace(point, todo=[], order=None) for point in path]
    ways = [point.way for point in path if point.shared]
    parts = []
    if left:
        own = [
            new if point.shared else replace(point, order=None)
            for new, point in zip(shared, path, strict=True)
        ]
        parts.append(_packed(ways, own, len(own)))
    for number, point in enumerate(path):
        if point.shared and point.todo:
            asleep, failed = (
                (point.asleep, [*point.failed, point.turn])
                if point.ends
                else ([*point.asleep, point.turn], point.failed)
            )
            following = replace(
                point,
                turn=point.todo[0],
                asleep=asleep,
                failed=failed,
                todo=point.todo[1:],
                ways=0,
                order=None,
                way=point.way + 1,
                ends=False,
            )
            parts.append(_packed([*ways[:number], point.way + 1], [*shared[:number], following], number))
    return sorted(parts)


def _packed(ways: list[int], path: list[ChoicePoint], fresh: int) -> Part:
    # -1 ends the ways, which are not negative. The order of parts is that of the ways alone: no two have the same.
    return (*ways, -1, *to_text((path, fresh)).encode())
