"""What is given up since it could as well have come before: nothing is lost by it, and each condition is needed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from bounded_programs import WRITTEN, Body, TooMany, World, differs, random_program

from sugarbush.concurrency.lowlevel import Simulated
from sugarbush.concurrency.strategies import bounded
from sugarbush.concurrency.strategies.base import Pruned
from sugarbush.concurrency.strategies.bounded import BoundedDPOR
from sugarbush.concurrency.strategies.put_off import in_vain, lets_go_on, waits_anyway
from sugarbush.concurrency.strategies.sleep import SleepSets
from sugarbush.concurrency.strategies.switch_points import SwitchPoint


def made(search: BoundedDPOR, tasks: list[Body]) -> tuple[int, int, bool]:
    """The executions that were completed, the traces, and whether any failed: which traces fail is not compared."""
    runtime, world, executions, failed = Simulated(search), World(tasks), 0, False
    while search.left:
        try:
            failed = runtime.run(world.program).failure is not None or failed
        except Pruned:
            continue
        executions += 1
    return executions, search.traces, failed


def _nobody(point: SwitchPoint, number: int, counts: bool) -> dict[int, int]:
    return {}


def test_what_could_as_well_have_come_before_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = [random_program(Random(f"put off {seed}")) for seed in range(30)]
    within = [made(BoundedDPOR(bound), tasks) for tasks in programs for bound in (0, 1)]
    monkeypatch.setattr(bounded, "put_off", _nobody)
    without = [made(BoundedDPOR(bound), tasks) for tasks in programs for bound in (0, 1)]
    clean = [(new, old) for new, old in zip(within, without, strict=True) if not new[2]]
    assert len(clean) > 30
    assert all(new[1:] == old[1:] for new, old in clean)
    assert sum(new[0] for new, _ in clean) < sum(old[0] for _, old in clean)


def _it_comes_to_nothing_anyway(*what: Any) -> bool:
    return True


def _it_lets_nobody_go_on(*what: Any) -> bool:
    return False


def _gives_up_without_a_mark(self: BoundedDPOR, ran: Any) -> None:
    since = self._put_off.get(ran.id)
    if since is not None and (ran.ended or waits_anyway(self._trace, ran, since)):
        self._give_up("what was done could as well have come before")
    _wait(self, ran)


_wait = BoundedDPOR._wait
MUTANTS: list[tuple[Any, str, Callable[..., Any]]] = [
    (bounded, in_vain.__name__, _it_comes_to_nothing_anyway),
    (bounded, lets_go_on.__name__, _it_lets_nobody_go_on),
    (bounded, waits_anyway.__name__, _it_comes_to_nothing_anyway),
    (BoundedDPOR, "_wait", _gives_up_without_a_mark),
]


@pytest.mark.parametrize(("where", "name", "mutant"), MUTANTS, ids=[name for _, name, _ in MUTANTS])
def test_each_condition_is_needed(
    where: Any, name: str, mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not any(differs(tasks, bound, 2000) for tasks, bound in WRITTEN.values())
    monkeypatch.setattr(where, name, mutant)
    assert any(differs(tasks, bound, 2000) for tasks, bound in WRITTEN.values())


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(4))
def test_a_large_bound_has_the_traces_of_the_search_without_one(part: int) -> None:
    """A bound that forbids nothing has the traces of the search without one, which makes each once."""
    compared = 0
    for seed in range(60000 + 100 * part, 60100 + 100 * part):
        tasks = random_program(Random(f"put off {seed}"))
        try:
            assert not differs(tasks, 3, 3000)
        except TooMany:
            continue
        executions, traces, failed = made(SleepSets(), tasks)
        if not failed:
            assert executions == traces == made(BoundedDPOR(40), tasks)[1], f"seed {seed}\n{tasks}"
            compared += 1
    assert compared > 20
