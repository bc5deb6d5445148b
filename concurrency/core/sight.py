"""What checks look at, as a reduced search has to know it: a look is a read by the operation after which it is made.

A check that looks at the state after an operation sees what others have changed by then. So the order of these changes
and of that operation matters, although nothing that the operation itself does is touched by them. An observer says so
by its *sight*: it sorts operations into kinds, and says which kinds see each other. The search takes operations that
see each other for dependent. Then the values that a look reads are the same in all executions of a trace, and so is
what it says.

An observer that counts how many boxes are full whenever a lock is given back, and fails if there are too many, looks
at every box in each `mutex_unlock`:

    class Boxes(Sight):
        bits = 2

        def kinds(self, op, obj):
            return 1 if op is MUTEX_UNLOCK else 2 if op is FILL else 0

        def sees(self, kinds):
            return {0: 0, 1: 2, 2: 1}[kinds]

Whether that is all it looks at, and whether there are other operations that change it, `lowlevel.audit` verifies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sugarbush.concurrency.core.operation import Operation


class Sight:
    """Of an observer whose words depend on the trace alone, as those of the lock validator: it sees no state.

    `kinds` gives the kinds of an operation that is about to be done, as bits of a number of at most `bits`; 0 says that
    it is nothing to the checks. It may look at the state, and at what the observer has noted, if it counts these looks
    among those of the operation: two operations of which one changes the other's kind must see each other before and
    after. `sees` gives the kinds that an operation of these kinds sees, and is seen by: it must say the same from both
    sides.
    """

    bits = 0

    def kinds(self, op: Operation, obj: Any) -> int:  # noqa: ARG002
        """The kinds of `op`, which is about to be done to `obj`."""
        return 0

    def sees(self, kinds: int) -> int:  # noqa: ARG002
        """The kinds whose operations must keep their order against one of these kinds."""
        return 0

    def overlooks(self, op: Operation, attribute: str) -> bool:  # noqa: ARG002
        """No look depends on what `op` changes in an attribute of this name: the audit asks before it complains."""
        return False


TRACE = Sight()
"""Of observers that look at nothing but the operations of the execution and what these gave, in orders that a trace
keeps: those of one task, and those on one object."""


class Sights:
    """The sights of several observers as one: each has bits of its own."""

    def __init__(self, sights: Sequence[Sight]) -> None:
        self._of: list[tuple[Sight, int]] = []
        at = 0
        for sight in sights:
            if sight.bits:
                self._of.append((sight, at))
                at += sight.bits
        self.bits = at
        self._seen: dict[int, tuple[int, ...]] = {}

    def kinds(self, op: Operation, obj: object) -> int:
        """See `Sight.kinds`."""
        found = 0
        for sight, at in self._of:
            found |= sight.kinds(op, obj) << at
        return found

    def sees(self, kinds: int) -> int:
        """See `Sight.sees`."""
        found = 0
        for sight, at in self._of:
            found |= sight.sees(kinds >> at & (1 << sight.bits) - 1) << at
        return found

    def overlooks(self, op: Operation, attribute: str) -> bool:
        """See `Sight.overlooks`."""
        return any(sight.overlooks(op, attribute) for sight, _ in self._of)

    def places(self, kinds: int) -> tuple[int, ...]:
        """The numbers of the bits that `sees` gives."""
        found = self._seen.get(kinds)
        if found is None:
            seen = self.sees(kinds)
            found = self._seen[kinds] = tuple([bit for bit in range(self.bits) if seen >> bit & 1])
        return found


NO_SIGHT = Sights(())
"""Nobody looks."""
