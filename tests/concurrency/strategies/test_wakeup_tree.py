"""No leaf of a wakeup tree has, before it, a turn that is a weak initial of what is left of its sequence.

Abdulla, Aronis, Jonsson and Sagonas (JACM 64(4), 2017), section 6. Which operations depend is decided here once more,
and objects are compared by their numbers, since the turns of a tree come from several executions.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from trace_model import Machine, Variable, random_program

from sugarbush.concurrency import Mutex
from sugarbush.concurrency.lowlevel import DPOR, Access, Simulated
from sugarbush.concurrency.strategies import Pruned, dpor
from sugarbush.concurrency.strategies.wakeup import Reversal, Turn

Step = tuple[int, object, bool]
"""Which task, on what, and whether it may change that."""


def step(task: int, op: Any, obj: object) -> Step:
    if isinstance(obj, Variable):
        return task, obj.number, op.access is not Access.READ_ONCE
    return task, obj.name if isinstance(obj, Mutex) else None, True


def is_weak_initial(first: Step, rest: list[Step]) -> bool:
    """`first` can be exchanged with all that comes before it in `rest`, or with all of it if it is not there."""
    task, place, changes = first
    for other, there, changed in rest:
        if other == task:
            return True
        if place == there and (changes or changed):
            return False
    return True


def sequences(turn: Turn) -> Iterator[list[Turn]]:
    """The turns from this one to each of its leaves."""
    for after in turn.after:
        for rest in sequences(after):
            yield [turn, *rest]
    if not turn.after:
        yield [turn]


class Watched:
    """Stands in for `insert`, knows what each turn does that was ever put into a tree, and looks at the whole tree."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: dict[int, tuple[Turn, Step]] = {}
        self.insertions = self.compared = 0
        insert, rest = dpor.insert, Reversal.rest

        def watched_rest(wanted: Reversal) -> list[Turn]:
            trace, left = wanted._trace, wanted._left & wanted._asked
            events = [number for number in range(len(trace.who)) if left >> number & 1]
            steps = [step(trace.who[number], trace.ops[number], trace.objs[number]) for number in events]
            steps.append(step(wanted._last.task, wanted._op, wanted._obj))
            turns = rest(wanted)
            self.steps.update({id(turn): (turn, does) for turn, does in zip(turns, steps, strict=True)})
            return turns

        def watched_insert(tree: list[Turn], wanted: Reversal) -> bool:
            grown = insert(tree, wanted)
            self.insertions += grown
            self.look(tree)
            return grown

        monkeypatch.setattr(Reversal, "rest", watched_rest)
        monkeypatch.setattr(dpor, "insert", watched_insert)

    def look(self, tree: list[Turn]) -> None:
        """Assert the property for all leaves of a tree."""
        for number, turn in enumerate(tree):
            for rest in sequences(turn):
                steps = [self.steps[id(one)][1] for one in rest]
                for earlier in tree[:number]:
                    self.compared += 1
                    assert not is_weak_initial(self.steps[id(earlier)][1], steps), (earlier, rest)
            self.look(turn.after)


@pytest.mark.parametrize("locks", [False, True])
def test_no_earlier_turn_is_a_weak_initial_of_a_later_leaf(
    locks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    for seed in range(60):
        machine = Machine(random_program(Random(f"tree {seed}"), locks=locks, largest=9))
        search = DPOR()
        runtime = Simulated(search)
        for _ in range(60):
            try:
                runtime.run(machine.program)
            except Pruned:
                pytest.fail("an execution was begun in vain")
            if not search.left:
                break
    assert watched.insertions > 500
    assert watched.compared > 300


def test_the_earlier_rule_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """To take a turn that is not one of the sequence's for one that nothing is known of: what this replaced."""

    def has(self: Reversal, turn: Turn) -> bool:
        return True

    def take(self: Reversal, task: int) -> None:
        if self._own(task) is None:
            lost.setdefault(id(self), set()).add(task)
        else:
            real_take(self, task)

    def disturbed(self: Reversal, turn: Turn) -> int | None:
        return self._all if turn.task in lost.get(id(self), ()) else real_disturbed(self, turn)

    lost: dict[int, set[int]] = {}
    real_take, real_disturbed = Reversal.take, Reversal.disturbed
    kept: list[Reversal] = []
    real_init = Reversal.__init__

    def init(self: Reversal, *args: Any) -> None:
        real_init(self, *args)
        kept.append(self)

    monkeypatch.setattr(Reversal, "__init__", init)
    monkeypatch.setattr(Reversal, "has", has)
    monkeypatch.setattr(Reversal, "take", take)
    monkeypatch.setattr(Reversal, "disturbed", disturbed)
    with pytest.raises((AssertionError, pytest.fail.Exception), match=r"in vain|Turn\("):
        test_no_earlier_turn_is_a_weak_initial_of_a_later_leaf(False, monkeypatch)
