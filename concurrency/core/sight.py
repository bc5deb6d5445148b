"""Sights: what a check looks at and when, said so that a reduced search can keep the order of it.

A check that looks at the state after an operation sees what other tasks have changed by then. So the order of that
operation and of those changes matters to the check, even where it matters to nothing else, and a reduced search that
leaves out one of the orders could miss a failure. A *sight* says so: it sorts operations into kinds, and says which
kinds see each other. The search then takes operations that see each other for dependent, so what a look reads is the
same in all executions that the search takes for equivalent, and so is what the check says.

Here a check counts how many boxes are full whenever the desk is counted. `COUNT` is declared to touch the desk alone,
so nothing orders it against `FILL` of a box, and without a sight `dpor` makes one execution:

>>> from sugarbush import Failure, Settings, explore, spawn
>>> from sugarbush.concurrency import Kind
>>> from sugarbush.concurrency.lowlevel import Observer, Operation, perform
>>> class Box:
...     def __init__(self, name):
...         self.name, self.full = name, False
>>> class Desk:
...     def __init__(self):
...         self.name, self.boxes = "desk", [Box("a"), Box("b")]
>>> def fill(box, _task, _arg):
...     box.full = True
>>> FILL, COUNT = Operation("fill", effect=fill, local=True), Operation("count", local=True)
>>> def program():
...     desk = Desk()
...     for box in desk.boxes:
...         spawn(perform, FILL, box)
...     perform(COUNT, desk)
>>> class AtMostOne(Observer):
...     def performed(self, task, op, obj, arg, result):
...         if op is COUNT and all(box.full for box in obj.boxes):
...             raise Failure(Kind.CHECK, "both boxes are full")
>>> result = explore(program, strategy="dpor", depth=3, settings=Settings(observers=lambda: [AtMostOne()]))
>>> result.verdict.value, result.executions
('unexplored', 1)

With a sight the search tries both orders of `COUNT` and each `FILL`:

>>> class Boxes(Sight):
...     bits = 2                       # kind 1: looks at all boxes; kind 2: changes a box
...     def kinds(self, task, op, obj, arg):
...         return 1 if op is COUNT else 2 if op is FILL else 0
...     def sees(self, kinds):
...         return {0: 0, 1: 2, 2: 1}[kinds]
>>> class Says(AtMostOne):
...     sight = Boxes()
>>> result = explore(program, strategy="dpor", depth=3, settings=Settings(observers=lambda: [Says()]))
>>> result.failures[0].failure.headline
'both boxes are full'

Whether that is all the check looks at, and whether other operations change it, `lowlevel.audit` verifies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sugarbush.concurrency.core.operation import Operation
    from sugarbush.concurrency.core.task import Task


class Sight:
    """Base of all sights. As it is, it sees nothing: `TRACE`.

    A kind is a bit of a number, and an operation may be of several kinds. Override `bits`, `kinds` and `sees`.
    """

    bits = 0
    """How many kinds there are."""

    def kinds(self, task: Task, op: Operation, obj: Any, arg: Any) -> int:  # noqa: ARG002
        """The kinds of `op`, which `task` is about to do to `obj`; 0 if no look depends on it and it makes none.

        `arg` is what the operation was given, and known for those only that have `touches` or ``keeps_arg=True``; of
        all others it is None.
        This may look at the state, and at what the observer has noted, to tell the kinds. Those looks then count among
        the looks of `op`: an operation that would change the kinds of `op` must see `op`, before the change and after.
        """
        return 0

    def sees(self, kinds: int) -> int:  # noqa: ARG002
        """The kinds whose operations must keep their order against an operation of these kinds.

        It must be symmetric: if a kind sees another one, that one sees it.
        """
        return 0

    def overlooks(self, op: Operation, attribute: str, change: int, look: int) -> bool:  # noqa: ARG002
        """Whether the look does not depend on what `op` changes in attributes of this name; the audit asks.

        `change` are the kinds of `op`, `look` those of the operation after which is looked. The audit believes the
        answer, so say why beside it, and test that it is true.
        """
        return False


TRACE = Sight()
"""The sight of observers that look at operations and their results only, in orders that every equivalent execution
has: the operations of one task, and those on one object. The lock validator is one."""


class Sights:
    """The sights of several observers as one: each has bits of its own, one after the other."""

    def __init__(self, sights: Sequence[Sight]) -> None:
        self._of: list[tuple[Sight, int]] = []
        at = 0
        for sight in sights:
            if sight.bits:
                self._of.append((sight, at))
                at += sight.bits
        self.bits = at
        self._seen: dict[int, tuple[int, ...]] = {}

    def kinds(self, task: Task, op: Operation, obj: object, arg: object) -> int:
        """The kinds that the sights give the operation, each shifted to its bits."""
        # A task keeps its last argument of those only, so to any other one it does not belong.
        arg, found = arg if op.keeps_arg else None, 0
        for sight, at in self._of:
            found |= sight.kinds(task, op, obj, arg) << at
        return found

    def sees(self, kinds: int) -> int:
        """The kinds that must keep their order against these; the kinds of one sight never see those of another."""
        found = 0
        for sight, at in self._of:
            found |= sight.sees(kinds >> at & (1 << sight.bits) - 1) << at
        return found

    def overlooks(self, op: Operation, attribute: str, change: int, look: int) -> bool:
        """Whether one of the sights overlooks this."""
        for sight, at in self._of:
            mask = (1 << sight.bits) - 1
            if sight.overlooks(op, attribute, change >> at & mask, look >> at & mask):
                return True
        return False

    def places(self, kinds: int) -> tuple[int, ...]:
        """The numbers of the bits that `sees` gives."""
        # A search asks at each operation, and there are few different answers.
        found = self._seen.get(kinds)
        if found is None:
            seen = self.sees(kinds)
            found = self._seen[kinds] = tuple([bit for bit in range(self.bits) if seen >> bit & 1])
        return found


NO_SIGHT = Sights(())
"""No observer looks at anything."""
