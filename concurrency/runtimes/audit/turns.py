"""Turns, what touches what in them, and which is before which.

The order is that of the dependence relation, by vector clocks.

A turn is the effect of an operation and all that its task does until its next one: what a task does after its
operation is the program's own, and a search moves it together with the operation.
"""

from __future__ import annotations

from typing import NamedTuple

from sugarbush.concurrency.checks import REACHING, Clock
from sugarbush.concurrency.core import (
    START,
    Footprint,
    Operation,
    Task,
    label,
)
from sugarbush.concurrency.runtimes.simulated import Simulated

UNWATCHED = frozenset(
    {"args", "context", "fn", "greenlet", "name", "obj", "op", "resume", "thread", "id", "daemon"}
    # What `concurrency.runtimes.liveness` notes of tasks that spin, in `Runtime.relax` and with the operations of
    # others: it makes them wait and go on as `ready` does for an operation, and no program asks for it.
    | {"has_looked", "idle_spins", "kept", "look", "spins", "yielding"}
)
"""Attributes of a task that only the machine uses, or that never change."""
MADE_ONCE = frozenset({"sleep"})
"""Made by the first task that comes, and the same from then on: which task that was makes no difference."""
COMMUTING = frozenset(
    one
    for one in Footprint
    if one not in (Footprint.READ, Footprint.CHANGE, Footprint.NOTHING, Footprint.PLACES, *REACHING)
)
"""Footprints that change the same attributes and commute all the same: tried in both orders, on copies."""


class WatchedRuntime(Simulated):
    """The runtime that is watched, as far as watching asks for it: `Audited` is the one there is."""

    def wrong(self, said: str) -> None:
        """An operation is not as it is declared; `said` is the sentence about it."""
        raise NotImplementedError


Said = dict[int, list[tuple[str | None, bool]]]
"""Places by the id of the object: the field, None for all of it, and whether it may be changed."""


class WatchedTurn(NamedTuple):
    """One operation of a task, and all that the task does until its next one."""

    task: Task
    number: int
    op: Operation
    obj: object
    clock: Clock
    footprint: Footprint
    kinds: int = 0
    """What it is to the checks (`Sight.kinds`)."""
    said: Said | None = None
    """Where its effect goes, if its operation says that (`Operation.touches`)."""

    def __str__(self) -> str:
        if self.op is START:
            return f"the start of {self.task.name}"
        place = f".{self.op.field}" if self.op.field else ""
        return f"{self.op.name}({label(self.obj)}{place})"


class Touched:
    """Of one attribute of one object: for each task the last turn that looked at it, and the last that changed it.

    Each with whether the operation itself did, or the task after it.
    """

    __slots__ = ("changes", "checks", "looks", "obj")

    def __init__(self, obj: object) -> None:
        self.obj = obj
        self.looks: dict[int, tuple[WatchedTurn, bool]] = {}
        self.changes: dict[int, tuple[WatchedTurn, bool]] = {}
        self.checks: dict[int, WatchedTurn] = {}
        """By each task the last turn after which a check looked at it."""


Access = tuple[WatchedTurn, bool, bool]
"""A turn that touches something, whether its operation does, and whether that changes it."""


def in_words(access: Access, what: str) -> str:
    turn, inside, changes = access
    does = f"{'changes' if changes else 'looks at'} {what}"
    return f"{turn} {does}" if inside else f"{turn.task.name} {does} without an operation after {turn}"
