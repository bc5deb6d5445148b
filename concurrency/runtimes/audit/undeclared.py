"""Effects that say where they go (`Operation.touches`): whether they go anywhere else.

A place that was left out shows by the order of turns only where nothing else happens to order the two tasks. So what
such an effect looks at and changes is also compared with the places that it names, whatever the order was:

>>> from sugarbush import join, spawn
>>> from sugarbush.concurrency.lowlevel import Operation, WrongDeclaration, audit, perform
>>> __name__ = "program"  # What the engine's own modules hold is not watched.
>>> class Cell:
...     def __init__(self, name):
...         self.name, self.value = name, 1
>>> def move(a, _task, b):
...     a.value, b.value = 0, a.value
>>> MOVE = Operation("move", effect=move, touches=lambda a, _task, b: [(a, "value", True)])
>>> def program():
...     a, b = Cell("a"), Cell("b")
...     join(spawn(perform, MOVE, a, b), spawn(perform, MOVE, b, a))
>>> audit(program, keep_going=True).found[0].rpartition("and its ")[2]
"touches= leaves that out: add (a, 'value', True)"

An attribute needs no place if no other task changes it, or only before or after, by a spawn or a join: no schedule
turns those round. So neither constants nor what the set-up has made must be named. Nor if all that changes it are
operations that say nothing: those depend on every other one as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sugarbush.concurrency.checks import REACHING, Clock, merge
from sugarbush.concurrency.core import Place, Task, class_of, label
from sugarbush.concurrency.runtimes.audit.turns import Said, Touched, WatchedTurn

_OWN_NAMES: Mapping[str, str] = {}


def place_of(obj: object, name: str) -> str:
    """The `field` by which operations name this attribute: its own name, unless its class says another (`Renamed`)."""
    name = name.removeprefix("_")
    names: Mapping[str, str] = getattr(class_of(obj), "PLACE_NAMES", _OWN_NAMES)
    return names.get(name, name)


def by_object(places: Iterable[Place]) -> Said:
    """The places by the ids of their objects: an effect may name many, and each of its touches is looked up."""
    said: Said = {}
    for on, part, may in places:
        said.setdefault(id(on), []).append((part, may))
    return said


def covers(said: Said, obj: object, name: str, *, changed: bool) -> bool:
    """One of the places is this attribute, or all of its object, and may be changed if that is what happens."""
    field = place_of(obj, name)
    return any(part in (None, field) and (may or not changed) for part, may in said.get(id(obj), ()))


class Undeclared:
    """What effects have touched, in one execution, outside of the places that they name."""

    def __init__(self, wrong: Callable[[str], None]) -> None:
        self._wrong = wrong
        self._family: dict[int, Clock] = {}
        """For each task the turns that are before it in every schedule: its own, its parent's, those that it joined."""
        self._left_out: dict[tuple[int, str], dict[int, tuple[WatchedTurn, bool]]] = {}
        """For each attribute the last turn of each task whose effect has touched it unsaid, and whether it changed it.
        `Touched` keeps the objects alive, so that an id stands for one of them."""

    def spawned(self, parent: Task | None, task: Task) -> None:
        """What the parent has done so far is before all that the task does."""
        self._family[task.id] = {} if parent is None else dict(self._family[parent.id])

    def joined(self, task: Task, ended: Task) -> None:
        """What the other one has done is before all that `task` does from here on."""
        merge(self._family[task.id], self._family[ended.id])

    def turned(self, turn: WatchedTurn) -> None:
        """A turn begins."""
        self._family[turn.task.id][turn.task.id] = turn.number

    def touched(self, turn: WatchedTurn, touched: Touched, name: str, *, changed: bool, inside: bool) -> None:
        """The turn touches an attribute, of which `touched` knows the touches before; `inside` of its effect or not."""
        key = id(touched.obj), name
        before = self._left_out.get(key)
        if before:
            for other, alters in before.values():
                if (changed or alters) and self._can_be_turned_round(other, turn):
                    self._tell(other, alters, turn, touched.obj, name)
        if not inside or turn.said is None or covers(turn.said, touched.obj, name, changed=changed):
            return
        for others in (touched.changes, touched.looks) if changed else (touched.changes,):
            for other, _ in others.values():
                if self._can_be_turned_round(other, turn):
                    self._tell(turn, changed, other, touched.obj, name)
        left_out = self._left_out.setdefault(key, {})
        # A change is more than a look: it stays known where both were made.
        if changed or turn.task.id not in left_out:
            left_out[turn.task.id] = turn, changed

    def _can_be_turned_round(self, other: WatchedTurn, turn: WatchedTurn) -> bool:
        """Neither spawns and joins nor an operation that reaches everything order the two, whatever the schedule."""
        if other.footprint in REACHING or turn.footprint in REACHING:
            return False
        return other.number > self._family[turn.task.id].get(other.task.id, 0)

    def _tell(self, turn: WatchedTurn, changes: bool, other: WatchedTurn, obj: object, name: str) -> None:
        what = f"{label(obj)}.{place_of(obj, name)}"
        self._wrong(
            f"{turn} {'changes' if changes else 'looks at'} {what}, which {other.task.name} touches after {other}, and "
            f"its touches= leaves that out: add ({label(obj)}, {place_of(obj, name)!r}, {changes})"
        )
