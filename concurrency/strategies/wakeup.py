"""Wakeup trees: what is still to be tried from a state, so that each try leads to a trace that was not seen.

Abdulla, Aronis, Jonsson and Sagonas, "Source Sets: A Foundation for Optimal Dynamic Partial Order Reduction", Journal
of the ACM 64(4), 2017, sections 6 and 7. A tree is a list of branches, the first to be tried first; a branch is a
turn of a task and what comes after it.

What must hold, for each leaf and each turn that stands before it among the branches on the way to it: the turn is no
weak initial of what is left of the leaf's sequence from there, that is, no continuation of that sequence is equivalent
to one that begins with the turn. Else the search below the earlier turn makes what the later sequence leads to, so the
later one is begun in vain; and sequences that are inserted afterwards are taken to be covered by a leaf below which
they are asleep, so that their traces are lost. `tests/concurrency/strategies/test_wakeup_tree.py` asserts it at every
insertion.

`insert` goes down the tree as the paper's function does, but only along turns that are events of the sequence. It stops
where it meets a turn that is a weak initial of the sequence without being an event of it, or that is its last turn. To
add nothing is right there: the search below a turn is complete by itself, whatever it was told to begin with, and each
sequence that is inserted later keeps the property above, since it is compared with this turn, too. The paper goes
further down. That cannot be decided here: what the task does after a turn that it has not made in this execution is
known from another execution, whose objects are other Python objects, so that nobody can say whether it depends on an
event of this one. (To guess loses traces: one that was taken to depend put leaves beside siblings that contained them.)

Example. The tree is ``p`` with ``q`` behind it, where ``p`` reads y and ``q`` writes y. Wanted is ``r.s``, two reads
of z: ``p`` is independent of both, so it is a weak initial, and is no event of ``r.s``. Nothing is inserted: below
``p`` the search will meet ``r`` and ``s`` anyway.

Beyond the paper: a turn also has the value of its data choice; further choices are turns of their own, which follow
at once. Turns of one task with different values exclude each other, so each is reached by a sequence of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sugarbush.concurrency.core import CPU_RELAX, BadSchedule, Operation, Task

if TYPE_CHECKING:
    from sugarbush.concurrency.strategies.trace import Trace


@dataclass(slots=True)
class Turn:
    """A task goes on, then one of the branches `after` it.

    `value` is that of its data choice; None if there is none, or if that is not known yet (it will be 0). With `more`
    the task makes a further choice in the turn before, and nothing else.

    `does` is the name of the operation that the turn makes, where that is known. The turn is made in another execution
    than the one that asked for it, so it is compared there: if the task does something else, then something that no
    operation showed has made the difference (`DPOR.choose`).
    """

    task: int
    value: int | None = None
    more: bool = False
    after: list[Turn] = field(default_factory=list)
    does: str | None = None


def _agree(one: int | None, other: int | None) -> bool:
    return one is None or other is None or one == other


def is_one_look_more(task: Task, does: str, did: str) -> bool:
    """Two operations of one turn differ since `task`, which spins, has looked once more in one of two executions.

    Whether it waits after a look, or looks again, goes by all that its loop can reach (`concurrency.core.frames`): by a
    list, say, that its function names and others append to, without an operation. So the order of what is independent
    may decide it. A look more or less changes nothing that anybody sees: both executions stand for one another.
    """
    return task.look is not None and CPU_RELAX.name in (does, did)


def differs(task: Task, does: str, did: str) -> BadSchedule:
    """`task` does something else than it did after the same operations that it depends on."""
    return BadSchedule(
        f"the program is not deterministic, or tasks tell each other something without an operation (by an ordinary "
        f"attribute or a list, say): {task.name} does {does} where it did {did} before"
    )


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
        self._last = last
        self._op = op
        self._obj = obj
        asked = own & left
        for number in trace.touched(op, obj, left):
            asked |= trace.before[number] & left
        self._asked = self._asked_by_last = asked
        self._taken: dict[int, int] = {}
        """How many events of each task were taken off."""

    def _own(self, task: int) -> int | None:
        """The event of `task` that is left and comes first."""
        number = self._trace.turn(task, self._start, self._taken.get(task, 0))
        return number if number is not None and self._left >> number & 1 else None

    def has(self, turn: Turn) -> bool:
        """Whether a turn that could come first is one of the events."""
        return self._own(turn.task) is not None

    def is_own_beginning(self, turn: Turn) -> bool:
        """Whether the sequence has this turn, and it could come first: an initial of the sequence."""
        number = self._own(turn.task)
        last = self._last
        if number is not None:
            before, value = self._trace.before[number] & self._left == 1 << number, self._trace.values[number]
        elif last.task == turn.task:
            before, value = not self._asked_by_last & self._left, last.value
        else:
            return False
        return before and _agree(turn.value, value)

    def disturbed(self, turn: Turn) -> int | None:
        """Which events must come, so that it shows that this turn did not come first; None if it could come first.

        None says that the turn is a weak initial of the sequence.
        """
        trace = self._trace
        task = turn.task
        number = self._own(task)
        if number is not None:
            return None if self.is_own_beginning(turn) else trace.before[number] & self._all
        if self._last.task == task:
            return None if self.is_own_beginning(turn) else 0
        if turn.more:
            return None
        # All turns of the task that were taken off are events of this execution, so its next event, though it is none
        # of the sequence, is what the task would do now.
        number = trace.turn(task, self._start, self._taken.get(task, 0))
        op, obj = (
            trace.next_of(trace.tasks[task]) if number is None else (trace.ops[number], trace.objs[number])
        )
        if turn.does is not None and op is not None and turn.does != op.name:
            if not is_one_look_more(trace.tasks[task], op.name, turn.does):
                raise differs(trace.tasks[task], op.name, turn.does)
            # What the other one touched is not known. To try a sequence that would be made anyway loses nothing.
            return 0
        for number in trace.touched(op, obj, self._left):
            return trace.before[number] & self._all
        return 0 if trace.dependent(op, obj, self._op, self._obj) else None

    def ask(self, events: int) -> None:
        """These have to be made."""
        self._asked |= events

    def take(self, task: int) -> None:
        """The first event of `task`, which could come first, has been made."""
        number = self._own(task)
        assert number is not None, "only a turn that the sequence has is taken off it"
        assert self._trace.before[number] & self._left == 1 << number, (
            "what comes before it is taken off first"
        )
        self._left ^= 1 << number
        self._taken[task] = self._taken.get(task, 0) + 1

    def rest(self) -> list[Turn]:
        """The turns that are left, each with what it does."""
        trace = self._trace
        left = self._left & self._asked
        turns = []
        while left:
            bit = left & -left
            left ^= bit
            number = bit.bit_length() - 1
            op = trace.ops[number]
            turns.append(
                Turn(
                    trace.who[number],
                    trace.values[number],
                    trace.more >> number & 1 == 1,
                    does=None if op is None else op.name,
                )
            )
        return [self._last, *turns] if self._last.more else [*turns, self._last]


def insert(tree: list[Turn], wanted: Reversal) -> bool:
    """Have `wanted` tried unless it is covered (see above); says whether the tree has grown."""
    while True:
        for turn in tree:
            events = wanted.disturbed(turn)
            if events is None:
                break
            # What shows that this turn does not come first belongs to the sequence, so the new leaf has the property.
            wanted.ask(events)
        else:
            break
        if not turn.after or not wanted.has(turn):
            return False
        wanted.take(turn.task)
        tree = turn.after
    for turn in wanted.rest():
        tree.append(turn)
        tree = turn.after
    return True
