"""Wakeup trees: what is still to be tried from a state, so that each try leads to a trace that was not seen.

Abdulla, Aronis, Jonsson and Sagonas, "Source Sets: A Foundation for Optimal Dynamic Partial Order Reduction", Journal
of the ACM 64(4), 2017, sections 6 and 7. A tree is a list of branches, the first to be tried first; a branch is a
turn of a task and what comes after it. A sequence of turns is covered by a leaf if both have a common continuation:
exchanging neighbouring independent turns makes one of the other.

Beyond the paper: a turn also has the value of its data choice; further choices are turns of their own, which follow
at once. Turns of one task with different values exclude each other, so each is reached by a sequence of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from concurrency.operation import Operation

if TYPE_CHECKING:
    from concurrency.strategy.trace import Trace


@dataclass(slots=True)
class Turn:
    """A task goes on, then one of the branches `after` it.

    `value` is that of its data choice; None if there is none, or if that is not known yet (it will be 0). With `more`
    the task makes a further choice in the turn before, and nothing else.
    """

    task: int
    value: int | None = None
    more: bool = False
    after: list[Turn] = field(default_factory=list)


def _agree(one: int | None, other: int | None) -> bool:
    return one is None or other is None or one == other


class Reversal:
    """The turns that lead to a reversed race: the events `left` of a trace, in their order, then one more turn.

    The events are from number `start` on. `own` are those that the task of the last turn has to have seen, `op` and
    `obj` its operation. Of the events only those are made, in the end, that the last turn depends on, and those that
    are asked for: what disturbs turns that must not come first.
    """

    __slots__ = (
        "_all",
        "_asked",
        "_asked_by_last",
        "_last",
        "_left",
        "_lost",
        "_obj",
        "_op",
        "_start",
        "_taken",
        "_trace",
    )

    def __init__(
        self, trace: Trace, start: int, left: int, last: Turn, own: int, op: Operation | None, obj: object
    ) -> None:
        self._trace = trace
        self._start = start
        self._all = self._left = left
        self._last: Turn | None = last
        self._op = op
        self._obj = obj
        asked = own & left
        for number in trace.touched(op, obj, left):
            asked |= trace.before[number] & left
        self._asked = self._asked_by_last = asked
        self._taken: dict[int, int] = {}
        """How many turns of each task were taken off."""
        self._lost: set[int] = set()
        """Tasks of which it is not known what they do next."""

    def _own(self, task: int) -> int | None:
        """The event of `task` that is left and comes first."""
        number = self._trace.turn(task, self._start, self._taken.get(task, 0))
        return number if number is not None and self._left >> number & 1 else None

    def is_own_beginning(self, turn: Turn) -> bool:
        """Whether the sequence has this turn, and it could come first."""
        number = self._own(turn.task)
        last = self._last
        if number is not None:
            before, value = self._trace.before[number] & self._left == 1 << number, self._trace.values[number]
        elif last is not None and last.task == turn.task:
            before, value = not self._asked_by_last & self._left, last.value
        else:
            return False
        return before and _agree(turn.value, value)

    def disturbed(self, turn: Turn) -> int | None:
        """Which events must come, so that it shows that this turn did not come first; None if it could come first."""
        trace = self._trace
        task = turn.task
        number = self._own(task)
        last = self._last
        if number is not None:
            return None if self.is_own_beginning(turn) else trace.before[number] & self._all
        if last is not None and last.task == task:
            return None if self.is_own_beginning(turn) else 0
        if turn.more:
            return None
        if task in self._lost:
            return self._all
        number = trace.turn(task, self._start, self._taken.get(task, 0))
        if number is not None:
            op, obj = trace.ops[number], trace.objs[number]
        else:
            op, obj = trace.tasks[task].op, trace.tasks[task].obj
        for number in trace.touched(op, obj, self._left):
            return trace.before[number] & self._all
        return 0 if last is not None and trace.dependent(op, obj, self._op, self._obj) else None

    def ask(self, events: int) -> None:
        """These have to be made."""
        self._asked |= events

    def take(self, task: int) -> None:
        """A turn of `task`, which could come first, has been made."""
        number = self._own(task)
        if number is not None:
            self._left ^= 1 << number
            self._taken[task] = self._taken.get(task, 0) + 1
            return
        self._lost.add(task)
        if self._last is not None and self._last.task == task:
            self._last = None

    def rest(self) -> list[Turn]:
        """The turns that are left."""
        trace = self._trace
        left = self._left & self._asked
        turns = []
        while left:
            bit = left & -left
            left ^= bit
            number = bit.bit_length() - 1
            turns.append(Turn(trace.who[number], trace.values[number], trace.more >> number & 1 == 1))
        if self._last is None:
            return turns
        return [self._last, *turns] if self._last.more else [*turns, self._last]


def insert(tree: list[Turn], wanted: Reversal) -> bool:
    """Have `wanted` tried unless a leaf covers it; says whether the tree has grown."""
    while True:
        for turn in tree:
            events = wanted.disturbed(turn)
            if events is None:
                break
            wanted.ask(events)
        else:
            break
        if not turn.after:
            return False
        wanted.take(turn.task)
        tree = turn.after
    rest = wanted.rest()
    for turn in rest:
        tree.append(turn)
        tree = turn.after
    return bool(rest)
