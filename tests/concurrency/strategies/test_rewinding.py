"""What a search keeps of the execution before is what it would have found out again."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from bounded_programs import Body, Judge, Sees, World, placing_program, random_program

from sugarbush.concurrency.lowlevel import Simulated
from sugarbush.concurrency.strategies.base import Pruned
from sugarbush.concurrency.strategies.bounded import BoundedDPOR
from sugarbush.concurrency.strategies.events import Events


class FromTheStart(BoundedDPOR):
    """Keeps nothing: each execution is computed from its first event."""

    def begin(self, execution: int) -> None:
        super().begin(execution)
        self._trace, self._made, self._began, self._known = Events(self._dependence), [None], {}, 0


def story(search: BoundedDPOR, tasks: list[Body], most: int) -> list[Any]:
    """For each execution the tasks in the order of their turns, its trace, and what the bound has cut so far."""
    world = World(tasks)
    runtime = Simulated(search, (Judge(Sees(), world),))
    told = []
    while search.left and len(told) < most:
        try:
            runtime.run(world.program)
            pruned = False
        except Pruned:
            pruned = True
        told.append((pruned, tuple(search._trace.who), search.signature, search.cut, search.spent))
    return told


def same(seeds: range, most: int) -> None:
    for seed in seeds:
        for make in (random_program, placing_program):
            tasks = make(Random(f"rewinding {seed}"))
            for bound in range(3):
                assert story(BoundedDPOR(bound), tasks, most) == story(FromTheStart(bound), tasks, most), (
                    tasks
                )


def test_executions_are_those_of_a_search_that_keeps_nothing() -> None:
    same(range(25), 40)


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(10))
def test_so_they_are_for_many_programs(part: int) -> None:
    same(range(1000 + 60 * part, 1060 + 60 * part), 400)


@pytest.mark.parametrize("kept", ["_told", "_placed", "_kinds", "_by_kind"])
def test_what_lies_behind_must_be_forgotten(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rewind = Events.rewind

    def forgets_too_little(self: Events, count: int) -> None:
        stays = getattr(self, kept)
        rewind(self, count)
        setattr(self, kept, stays)

    monkeypatch.setattr(Events, "rewind", forgets_too_little)
    with pytest.raises(AssertionError):
        same(range(60), 60)
