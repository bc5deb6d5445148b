"""How a DPOR search is divided, so that several processes share it.

The first places are shared out: there all that can go on is tried, each with those before it asleep. So no race found
below has anything to add there, and each leads to a part of its own. After `LEVELS` places at which there was something
to share the search goes on as usual. Each trace is completed in one part: sleep sets keep them apart (Godefroid, LNCS
1032, 1996, chapter 5). But a part may hold none, and then its executions are given up.

A part is the state of the search. Its first numbers are the ways that it takes at the shared places: they order the
parts. The next part of a place is known when the one before has made its first execution, since it matters whether
that ended in a failure there. Which parts there are depends on the program only, not on when anybody asks.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace

from sugarbush.concurrency.strategies.base import Part
from sugarbush.concurrency.strategies.trace import Order
from sugarbush.concurrency.strategies.wakeup import Turn

LEVELS = 3


@dataclass(slots=True)
class Place:
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
    order: Order | None = None
    """Of the event that the turn is; None if it is not known yet."""
    shared: bool = False
    """What is left to try here is for others, and no race adds to it."""
    levels: int = 0
    """How many places are still to be shared out from here on."""
    way: int = 0
    """How many turns of a place that is shared out come before this one."""
    ends: bool = False
    """The turn of a place that is shared out ends in a failure."""


def first_places(levels: int = 0) -> list[Place]:
    """Before the first choice: task 0 starts."""
    return [Place((0,), Turn(0), [], [], [], shared=levels > 0, levels=levels)]


def entered(part: Part) -> tuple[list[Place], int]:
    """The places of a part, and from which on those that are shared out have nothing shared yet."""
    if not part:
        return first_places(LEVELS), 0
    path, fresh = pickle.loads(bytes(part[part.index(-1) + 1 :]))
    return path, fresh


def share_out(place: Place) -> None:
    """All that is awake at a new place is to be tried."""
    quiet = {turn.task for turn in (place.turn, *place.asleep, *place.failed)}
    place.todo = [Turn(task) for task in place.enabled if task not in quiet]
    place.levels -= bool(place.todo)


def keep_whole(path: list[Place]) -> None:
    """Nothing is shared out after all: what was to be tried for that reason is left to the races that are found."""
    for place in path:
        place.shared = False
        place.levels = 0
        place.todo = []


def mark_failed(path: list[Place]) -> None:
    """The last turn has ended in a failure: with all its data choices it is no witness that others need not go on."""
    last = len(path) - 1
    path[last].ends = True
    while path[last].turn.more:
        last -= 1
        path[last].ends = True


def rest(path: list[Place], *, left: bool) -> list[Part]:
    """The parts that are left; `left` says whether the one that was entered is one of them."""
    shared = [replace(place, todo=[], order=None) for place in path]
    ways = [place.way for place in path if place.shared]
    parts = []
    if left:
        own = [
            new if place.shared else replace(place, order=None)
            for new, place in zip(shared, path, strict=True)
        ]
        parts.append(_packed(ways, own, len(own)))
    for number, place in enumerate(path):
        if place.shared and place.todo:
            asleep, failed = (
                (place.asleep, [*place.failed, place.turn])
                if place.ends
                else ([*place.asleep, place.turn], place.failed)
            )
            following = replace(
                place,
                turn=place.todo[0],
                asleep=asleep,
                failed=failed,
                todo=place.todo[1:],
                ways=0,
                order=None,
                way=place.way + 1,
                ends=False,
            )
            parts.append(_packed([*ways[:number], place.way + 1], [*shared[:number], following], number))
    return sorted(parts)


def _packed(ways: list[int], path: list[Place], fresh: int) -> Part:
    return (*ways, -1, *pickle.dumps((path, fresh)))
