"""The verdict of a litmus test: its executions are searched, and the question is asked of each final state."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from sugarbush.concurrency import Kind, Settings, Witness, explore
from sugarbush.stress.litmus.code import Built, build
from sugarbush.stress.litmus.engine import OBSERVED, answers, program, witness
from sugarbush.stress.litmus.search import DEADLOCK, Ended, Machine, MachineState, search
from sugarbush.stress.litmus.source import Litmus

BUDGET = 200_000
"""States of one test; a search that comes to more says so."""
ENUMERATED = 2000
"""So many states are looked at for what final states there are; after them only for what the question is about."""
RACES = 1000
"""Executions in which a data race is looked for."""
WITHOUT = frozenset({"lockdep", "leak", "data-race"})
"""Checks of a program, which say nothing of a final state; for a data race there is a run of its own (`_race`)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a test.

    `verdict` is ``Allowed`` (a final state satisfies the question; for forall: one violates it), ``Forbidden`` (none
    does, in all executions), ``Unknown`` (none did, but the budget ended) or ``Failed`` (no execution came to its end
    and through the filter, or one dereferenced NULL or broke a rule of RCU or of a lock). `observed` is what herd7
    calls the observation: whether the proposition holds in no final state (``Never``), in some or in all (``Always``);
    None if that is open. Executions that deadlock have no final state.

    The search ends as soon as all of that is known, and leaves out what can only answer as others have, once it has
    reached `ENUMERATED` states. So `states`, the final values that it saw, are all of them only with `all_states`;
    `exhaustive` says that it was not cut short. `executions` counts those that were followed to their end, `reached`
    the states on the way. `witness` is the execution of an Allowed or Failed. `race` is the headline of a data race, if
    there is one; `race_open` says that it was not looked for in all executions. `deadlocks` says that some execution
    ends in one, whatever the verdict.
    """

    test: Litmus
    verdict: str
    observed: str | None
    question: str
    states: tuple[tuple[tuple[str, int | str], ...], ...]
    executions: int
    reached: int
    exhaustive: bool
    all_states: bool
    seconds: float
    witness: Witness | None
    race: str | None
    race_open: bool
    deadlocks: bool
    broken: bool
    filtered: bool

    @property
    def agrees(self) -> bool | None:
        """Whether this is what the file leads to expect; None if it says nothing, or if the answer is open."""
        wanted = self.test.observes
        if wanted is None:
            return None
        if wanted == "DEADLOCK":
            # herd7 has no final state for one that deadlocks, nor has a filter that lets nothing through.
            return not self.states if self.exhaustive or self.states else None
        if self.broken:
            return False
        if self.observed is None:
            if wanted == "Never":
                return False if self.verdict == "Allowed" else None
            return None
        return self.observed == wanted


class _Search:
    """What a search has seen, and what it still wants to see."""

    def __init__(self, built: Built, machine: Machine) -> None:
        self.built = built
        self.machine = machine
        self.states: dict[tuple[Any, ...], None] = {}
        self.executions = 0
        self.steps = 0
        self.left_out = False
        self.holds = False
        self.fails = False
        self.answered: MachineState | None = None
        self.broken: MachineState | None = None
        self.deadlocked: MachineState | None = None

    @property
    def decided(self) -> bool:
        """Some final state satisfies the proposition and some violates it: no further state can change the verdict."""
        return self.holds and self.fails

    def worth(self, state: MachineState) -> bool:
        """Something new may come of `state`: it may pass the filter, and may answer the question as no other has."""
        if self.steps < ENUMERATED and self.built.filtered is None:
            return True
        # Where a pointer leads nowhere the test has failed, whatever its values are: that must not be left out.
        if self.machine.follows_pointers(state):
            return True
        known = partial(self.machine.known, state)
        built = self.built
        if built.filtered is not None and built.filtered(known) is False:
            return False
        if self.steps < ENUMERATED:
            return True
        assert built.asks is not None
        holds = built.asks(known)
        if holds is None or (holds and not self.holds) or (not holds and not self.fails):
            return True
        self.left_out = True
        return False

    def ended(self, ended: Ended) -> None:
        """An execution has come to its end."""
        self.executions += 1
        reached = ended.state
        if ended.why == DEADLOCK:
            self.deadlocked = self.deadlocked or reached
            return
        built = self.built
        state = partial(self.machine.known, reached)
        if ended.why:
            # What the filter rules out has not happened, whatever it would have broken.
            if built.filtered is None or built.filtered(state) is not False:
                self.broken = self.broken or reached
            return
        if built.filtered is not None and not built.filtered(state):
            return
        self.states[tuple(state(*asked) for asked in built.asked)] = None
        assert built.asks is not None
        if built.asks(state):
            self.holds = True
        else:
            self.fails = True
        if self.answered is None and answers(built, state):
            self.answered = reached


def check(test: Litmus, *, memory: str = "weak", budget: int = BUDGET) -> Answer:
    """Search the executions of a test until its question is answered; raises `BadLitmus` for what has no meaning."""
    start = time.monotonic()
    built = build(test)
    found = _Search(built, Machine(built, weak=memory == "weak"))
    settings = Settings(without=WITHOUT, memory=memory)
    exhaustive = True
    for ended in search(found.machine, found.worth):
        found.steps += 1
        if ended is not None:
            found.ended(ended)
        if found.decided or found.steps >= budget:
            exhaustive = False
            break
    verdict = _verdict(found, exhaustive=exhaustive)
    shows = found.answered if verdict == "Allowed" else None
    if verdict == "Failed":
        shows = found.broken or found.deadlocked
    race, race_open = None, False
    if built.plain and verdict != "Failed":
        race, race_open = _race(built, memory, deadlocks=found.deadlocked is not None)
    names = [name if who is None else f"{who}:{name}" for who, name in built.asked]
    return Answer(
        test=test,
        verdict=verdict,
        observed=_observed(found, exhaustive=exhaustive),
        question=built.spelt,
        states=tuple(tuple(zip(names, state, strict=True)) for state in sorted(found.states, key=repr)),
        executions=found.executions,
        reached=found.steps,
        exhaustive=exhaustive,
        all_states=exhaustive and not found.left_out,
        seconds=time.monotonic() - start,
        witness=None if shows is None else witness(built, shows, settings, answered=verdict == "Allowed"),
        race=race,
        race_open=race_open,
        deadlocks=found.deadlocked is not None,
        broken=found.broken is not None,
        filtered=built.filtered is not None,
    )


def _verdict(found: _Search, *, exhaustive: bool) -> str:
    if found.answered is not None:
        return "Allowed"
    if found.broken is not None or (found.deadlocked is not None and not found.states and exhaustive):
        return "Failed"
    return "Forbidden" if exhaustive else "Unknown"


def _observed(found: _Search, *, exhaustive: bool) -> str | None:
    if found.decided:
        return "Sometimes"
    if not exhaustive:
        return None
    return "Always" if found.holds else "Never"


def _race(built: Built, memory: str, *, deadlocks: bool) -> tuple[str | None, bool]:
    """The headline of a data race, and whether there may be one that was not looked for."""
    settings = Settings(without=WITHOUT - {"data-race"}, memory=memory)
    result = explore(
        program(built, asks=False),
        strategy="dpor",
        executions=RACES,
        # A deadlock would end the run before a race is found.
        keep_going=deadlocks,
        settings=settings,
    )
    races = (one.failure.headline for one in result.failures if one.failure.kind is Kind.DATA_RACE)
    race = next(races, None)
    return race, race is None and not result.exhaustive


__all__ = ["BUDGET", "OBSERVED", "Answer", "check"]
