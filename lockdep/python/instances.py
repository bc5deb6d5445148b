"""The order of single locks: two of one class may be nested, as long as no circle of instances can close.

The kernel lets a class be nested in itself under an annotation only, since its rules are those of classes. An
ordinary program has parents and children, accounts sorted by number, hand-over-hand lists: all are right as long as
no two threads can wait for each other's *instances*. So an edge here joins two numbers, and keeps under which other
locks it was seen: a circle is real when its edges can be made by threads that exclude each other by nothing.
"""

from __future__ import annotations

import weakref
from typing import NamedTuple

from sugarbush.lockdep.model import Made
from sugarbush.lockdep.python.context import PythonMap

_LARGE = 20_000
"""From so many instances on, those that are gone are forgotten."""
_GUARDS = 4
"""Ways in which one pair was nested that are kept: under other locks each time, none of them a part of another."""
_BUDGET = 5_000
"""Steps of one search. When they are used up the circle is not found, and so not reported: a missed one is the price
for a program of many instances not standing still. (The search for guards of classes decides the other way round.)"""


class Seen(NamedTuple):
    """One way in which a lock was wanted under another one: under which others (by number), and how it was made."""

    guards: frozenset[int]
    made: Made
    held: str
    wanted: str


class InstanceOrder:
    """The instances that were nested, and the search for circles among them."""

    def __init__(self) -> None:
        self._after: dict[int, dict[int, list[Seen]]] = {}
        self._alive: dict[int, weakref.ref[PythonMap]] = {}
        self._prune_at = _LARGE

    def add(self, held: PythonMap, wanted: PythonMap, seen: Seen) -> tuple[list[Seen], list[Seen]] | None:
        """Adds a nesting. Gives a new circle by its steps, the newest last; second of the two if it is guarded."""
        ways = self._after.setdefault(held.number, {}).setdefault(wanted.number, [])
        for number, lock_map in ((held.number, held), (wanted.number, wanted)):
            if number not in self._alive:
                self._alive[number] = weakref.ref(lock_map)
        # A way with fewer other locks held can do all that one with more can, so only the least are kept; and a
        # nesting that adds nothing to those is not searched from again.
        if any(way.guards <= seen.guards for way in ways):
            return None
        ways[:] = [way for way in ways if not seen.guards <= way.guards]
        if len(ways) < _GUARDS:
            ways.append(seen)
        if len(self._alive) > self._prune_at:
            self._prune()
        self._left = _BUDGET
        self._guarded: list[Seen] = []
        found = self._search(wanted.number, held.number, seen.guards, {wanted.number}, [])
        if found is not None:
            return [*found, seen], []
        if self._guarded:
            return [], [*self._guarded, seen]
        return None

    def _search(
        self, at: int, goal: int, guards: frozenset[int], seen: set[int], path: list[Seen]
    ) -> list[Seen] | None:
        for number, ways in self._after.get(at, {}).items():
            if number in seen:
                continue
            for way in ways:
                self._left -= 1
                if self._left < 0:
                    return None
                # Two steps under one lock cannot be made at the same time. Instances, not classes, so here a guard is
                # one.
                free = not way.guards & guards
                if number == goal:
                    if free:
                        return [*path, way]
                    self._guarded = self._guarded or [*path, way]
                    continue
                seen.add(number)
                # Beyond a guard the way is followed to know that there is a circle at all.
                found = self._search(number, goal, guards | way.guards, seen, [*path, way]) if free else None
                seen.discard(number)
                if found is not None:
                    return found
        return None

    def _prune(self) -> None:
        gone = {number for number, reference in self._alive.items() if reference() is None}
        for number in gone:
            del self._alive[number]
            self._after.pop(number, None)
        for behind in self._after.values():
            for number in gone & behind.keys():
                del behind[number]
        self._prune_at = max(_LARGE, 2 * len(self._alive))
