"""How a DPOR search is divided, so that several processes share it.

The first points are shared out: there all that can go on is tried, each with those before it asleep. So no race found
below has anything to add there, and each leads to a part of its own. After `LEVELS` points at which there was something
to share the search goes on as usual. Each trace is completed in one part: sleep sets keep them apart (Godefroid, LNCS
1032, 1996, chapter 5). But a part may hold none, and then its executions are given up.

A part is the state of the search. Its first numbers are the ways that it takes at the shared points: they order the
parts. The next part of a point is known when the one before has made its first execution, since it matters whether
that ended in a failure there. Which parts there are depends on the program only, not on when anybody asks.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace

from sugarbush.concurrency.strategies.base import Part
from sugarbush.concurrency.strategies.trace import EventOrder
from sugarbush.concurrency.strategies.wakeup import Turn

LEVELS = 3


@dataclass(slots=True)
class ChoicePoint:
    """A state in the current execution, what was tried from there, and what is to be tried.

    `enabled` are the tasks that could go on, `turn` is what is done now. `asleep` are the turns that need not be tried:
    what they lead to is seen elsewhere, or was tried here; `failed` those that end the execution. `todo` are the turns
    to try, in that order.
    """

    enabled: tuple[int, ...]
    turn: Turn
    asleep: list[Turn]
    failed: list[Turn]
    todo: list[Turn]
    ways: int = 0
    """How many values the data choice of the turn has; 0: it has made none."""
    order: EventOrder | None = None
    """Of the event that the turn is; None if it is not known yet."""
    shared: bool = False
    """What is left to try here is for others, and no race adds to it."""
    levels: int = 0
    """How many points are still to be shared out from here on."""
    way: int = 0
    """How many turns of a point that is shared out come before this one."""
    ends: bool = False
    """The turn of a point that is shared out ends in a failure."""


def first_points(levels: int = 0) -> list[ChoicePoint]:
    """Before the first choice: task 0 starts."""
    return [ChoicePoint((0,), Turn(0), [], [], [], shared=levels > 0, levels=levels)]


def entered(part: Part) -> tuple[list[ChoicePoint], int]:
    """The points of a part, and from which on those that are shared out have nothing shared yet."""
    if not part:
        return first_points(LEVELS), 0
    path, fresh = pickle.loads(bytes(part[part.index(-1) + 1 :]))
    return path, fresh


def share_out(point: ChoicePoint) -> None:
    """All that is awake at a new point is to be tried."""
    quiet = {turn.task for turn in (point.turn, *point.asleep, *point.failed)}
    point.todo = [Turn(task) for task in point.enabled if task not in quiet]
    point.levels -= bool(point.todo)


def keep_whole(path: list[ChoicePoint]) -> None:
    """Nothing is shared out after all: what was to be tried for that reason is left to the races that are found."""
    for point in path:
        point.shared = False
        point.levels = 0
        point.todo = []


def mark_failed(path: list[ChoicePoint]) -> None:
    """The last turn has ended in a failure: with all its data choices it is no witness that others need not go on."""
    last = len(path) - 1
    path[last].ends = True
    while path[last].turn.more:
        last -= 1
        path[last].ends = True


def rest(path: list[ChoicePoint], *, left: bool) -> list[Part]:
    """The parts that are left; `left` says whether the one that was entered is one of them."""
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
    return (*ways, -1, *pickle.dumps((path, fresh)))
