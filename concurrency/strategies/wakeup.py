"""Wakeup trees: what is still to be tried from a state, so that each try leads to a trace that was not seen.

Abdulla, Aronis, Jonsson and Sagonas, "Source Sets: A Foundation for Optimal Dynamic Partial Order Reduction", Journal
of the ACM 64(4), 2017, sections 6 and 7. A tree is a list of branches, the first to be tried first; a branch is a
turn of a task and what comes after it.

What must hold, for each leaf and each turn that stands before it among the branches on the way to it: the turn is no
*weak initial* of what is left of the leaf's sequence from there, that is, no continuation of that sequence is
equivalent to one that begins with the turn. Else the search below the earlier turn makes what the later sequence
leads to, so the later one is begun in vain; and sequences that are inserted afterwards are taken to be covered by a
leaf below which they are asleep, so that their traces are lost. `tests/concurrency/strategies/test_wakeup_tree.py`
asserts it at every insertion.

Example. Task p writes x; q reads y, then x; r reads z, then writes x. They have done so in the order below, and each
event says with which earlier ones it races (event 0 is the start of p, which nothing here depends on):

>>> from sugarbush.concurrency.checks import Dependence
>>> from sugarbush.concurrency.core import Access
>>> from sugarbush.concurrency.strategies.trace import Trace
>>> read = Operation("read", Access.READ_ONCE, local=True)
>>> write = Operation("write", Access.WRITE_ONCE, local=True)
>>> trace, tasks = Trace(Dependence()), [Task(number, name, print) for number, name in enumerate("pqr")]
>>> trace.arrive(tasks)
>>> for number, op, place in [(0, write, "x"), (1, read, "y"), (2, read, "z"), (1, read, "x"), (2, write, "x")]:
...     tasks[number].op, tasks[number].obj = op, place
...     order = trace.order(tasks[number])
...     trace.go(tasks[number], order.before)
...     print(tasks[number].name, op.name, place, [first for first, _ in order.races])
p write x []
q read y []
r read z []
q read x [1]
r write x [4]

To reverse the race of event 1 with event 4, q's read of x, the search goes back to before event 1. The paper's
`notdep` is what has come since and does not need event 1, the bits 2 and 3 here. The turn that shall come before
event 1 follows it. r's read of z is left out of the sequence, since nothing in that depends on it:

>>> trace.values = [None] * 6
>>> notdep = 0b111110 & ~trace.after(1)
>>> bin(notdep)
'0b1100'
>>> wanted = Reversal(trace, 1, notdep, Turn(1, does="read"), own=trace.before[2], op=read, obj="x")
>>> [(tasks[turn.task].name, turn.does) for turn in wanted.rest()]
[('q', 'read'), ('q', 'read')]

Could a task's next turn come first in some continuation of that? Not p's, which writes what the sequence reads. q's
could, which begins it, and so could r's, since no other task touches z: both are weak initials. Into an empty tree all
of the sequence goes:

>>> [wanted.disturbed(Turn(task)) is None for task in range(3)]
[False, True, True]
>>> def shown(tree):
...     return {f"{tasks[turn.task].name} {turn.does}": shown(turn.after) for turn in tree}
>>> tree = []
>>> insert(tree, wanted)
True
>>> shown(tree)
{'q read': {'q read': {}}}

Say r's write shall come before event 1, too. Its sequence can begin with q's read of y as well, so it follows that
branch, and takes the turn off. It cannot begin with q's read of x, which the write would change: so it becomes a
branch beside that, without what was taken off. To insert it once more changes nothing:

>>> def writes_first():
...     return Reversal(trace, 1, notdep, Turn(2, does="write"), own=trace.before[3], op=write, obj="x")
>>> insert(tree, writes_first()), insert(tree, writes_first())
(True, False)
>>> shown(tree)
{'q read': {'q read': {}, 'r read': {'r write': {}}}}

When the search goes on with q's read of y, it takes that turn off the tree, and the tree of the next state is what
stood below it (`DPOR._point`): q's read of x, then r's two turns.

`insert` goes down the tree as the paper's function does, but only along turns that are events of the sequence. It
stops where it meets a turn that is a weak initial of the sequence without being an event of it, or that is its last
turn. To add nothing is right there: the search below a turn is complete by itself, whatever it was told to begin
with, and each sequence that is inserted later keeps the property above, since it is compared with this turn, too. The
paper goes further down. That cannot be decided here: what the task does after a turn that it has not made in this
execution is known from another execution, whose objects are other Python objects, so that it cannot be said whether it
depends on an event of this one. (To guess loses traces: one that was taken to depend put leaves beside siblings that
contained them.)

For instance, where ``p`` reads y and has ``q`` behind it, which writes y, and the sequence is ``r.s``, two reads of z:
``p`` is independent of both, so it is a weak initial, and is no event of ``r.s``. Nothing is inserted: below ``p`` the
search will meet ``r`` and ``s`` anyway.

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
    # None is a value that is not known yet, so it may turn out to be the other one.
    return one is None or other is None or one == other


def is_one_look_more(task: Task, does: str, did: str) -> bool:
    """Whether the operations `does` and `did` of one turn differ only by a look: `task` spins, and looked once more.

    Whether a task that spins waits after a look, or looks again, goes by all that its loop can reach
    (`concurrency.core.frames`): by a list, say, that its function names and others append to, without an operation. So
    the order of independent operations may decide it. A look more or less changes nothing that can be seen, so both
    executions stand for one another.
    """
    return task.look is not None and CPU_RELAX.name in (does, did)


def differs(task: Task, does: str, did: str) -> BadSchedule:
    """The error that says: after the same operations that it depends on, `task` does something else now."""
    return BadSchedule(
        f"the program is not deterministic, or tasks tell each other something without an operation (by an ordinary "
        f"attribute or a list, say): {task.name} does {does} where it did {did} before"
    )


class Reversal:
    """The sequence of turns that reverses a race: the events `left` of a trace, in their order, then one more turn.

    The events are numbered from `start` on. `own` are those that the task of the last turn has to have seen, `op` and
    `obj` are the operation of the last turn.

    The paper makes all of `left`, which it calls `notdep`. Here only what shows that the sequence leads to a new
    trace is made: what the last turn depends on, and what was asked for (`ask`), which shows that a turn that was
    tried earlier did not come first. The search below makes the rest anyway, since it is complete from whatever it
    begins with.
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
        assert not left & (1 << start) - 1, "what came before the race stays as it is"
        self._trace = trace
        self._start = start
        self._all = self._left = left
        self._last = last
        self._op = op
        self._obj = obj
        # Closed under what is ordered before them, so that they can be made in the order of their numbers.
        asked = own & left
        for number in trace.touched(op, obj, left):
            asked |= trace.before[number] & left
        self._asked = self._asked_by_last = asked
        self._taken: dict[int, int] = {}
        """How many events of each task were taken off."""

    def _own(self, task: int) -> int | None:
        """The first event of `task` that is left; None if none is."""
        number = self._trace.turn(task, self._start, self._taken.get(task, 0))
        return number if number is not None and self._left >> number & 1 else None

    def has(self, turn: Turn) -> bool:
        """Whether `turn`, which could come first, is one of the events that are left."""
        return self._own(turn.task) is not None

    def is_own_beginning(self, turn: Turn) -> bool:
        """Whether `turn` is an *initial* of the sequence: one of its turns, which no other has to precede."""
        number = self._own(turn.task)
        last = self._last
        if number is not None:
            # It is first among those left if no other one that is left is ordered before it.
            before, value = self._trace.before[number] & self._left == 1 << number, self._trace.values[number]
        elif last.task == turn.task:
            before, value = not self._asked_by_last & self._left, last.value
        else:
            return False
        return before and _agree(turn.value, value)

    def disturbed(self, turn: Turn) -> int | None:
        """None if `turn` is a weak initial of the sequence: it could come first in some continuation of that.

        Otherwise the events that have to be made, before or with the last turn, to show that it did not come first. 0
        if the last turn alone shows it.
        """
        trace = self._trace
        task = turn.task
        number = self._own(task)
        if number is not None:
            return None if self.is_own_beginning(turn) else trace.before[number] & self._all
        if self._last.task == task:
            return None if self.is_own_beginning(turn) else 0
        if turn.more:
            # A further data choice is made within a turn that has been made, and no other task's operation sees it.
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
            # What the other look touched is not known. Not to call it a weak initial is the side on which nothing is
            # lost: at worst a sequence is tried that would have been made anyway.
            return 0
        for number in trace.touched(op, obj, self._left):
            return trace.before[number] & self._all
        return 0 if trace.dependent(op, obj, self._op, self._obj) else None

    def ask(self, events: int) -> None:
        """Have `events` made as a part of the sequence."""
        self._asked |= events

    def take(self, task: int) -> None:
        """Take the first event of `task` off the sequence; it has been followed down a branch of the tree."""
        number = self._own(task)
        assert number is not None, "only a turn that the sequence has is taken off it"
        assert self._trace.before[number] & self._left == 1 << number, (
            "what comes before it is taken off first"
        )
        self._left ^= 1 << number
        self._taken[task] = self._taken.get(task, 0) + 1

    def rest(self) -> list[Turn]:
        """The turns that are left of the sequence, each with what it does."""
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
        # A further data choice belongs to the turn that was made last, so nothing can come between.
        return [self._last, *turns] if self._last.more else [*turns, self._last]


def insert(tree: list[Turn], wanted: Reversal) -> bool:
    """Add `wanted` to the tree as a leaf, unless a leaf covers it; True if the tree has grown.

    An example is in the docstring of this module. The paper's function has the same name.
    """
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
    # Last among its siblings: those before it were compared with it, and one that stood behind it would have to be.
    for turn in wanted.rest():
        tree.append(turn)
        tree = turn.after
    return True
