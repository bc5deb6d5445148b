"""The verdict of a litmus test: every execution is made, and the question is asked of each final state."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from concurrency import Failure, Kind, Settings, Witness, explore, fail, join, peek, quiet, spawn
from stress.litmus.build import Built, build
from stress.litmus.calls import Location
from stress.litmus.source import Litmus

BUDGET = 200_000
"""Executions of one test, those given up included; a search that needs more says so."""
_OBSERVED = "observed"
_WITHOUT = frozenset({"lockdep", "leak", "data-race"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a test.

    `verdict` is ``Allowed`` (a final state satisfies the question; for forall: one violates it), ``Forbidden`` (none
    does, in all executions), ``Unknown`` (none did, but the budget ended) or ``Failed`` (an execution broke a rule,
    as a grace period inside a reader does). The search ends with the first execution that shows an Allowed or Failed,
    the `witness`; so `states`, the final values that it saw, are all of them only if the verdict is Forbidden. `race`
    is the headline of a data race, if there is one.
    """

    test: Litmus
    verdict: str
    question: str
    states: tuple[tuple[tuple[str, int | str], ...], ...]
    executions: int
    given_up: int
    exhaustive: bool
    seconds: float
    witness: Witness | None
    race: str | None

    @property
    def agrees(self) -> bool | None:
        """Whether the verdict is what the file leads to expect; None if it says nothing."""
        return None if self.test.expected is None else self.verdict == self.test.expected


def check(test: Litmus, *, memory: str = "weak", budget: int = BUDGET) -> Outcome:
    """Make the executions of a test until one shows what it asks for; raises `BadLitmus` for what has no meaning."""
    start = time.monotonic()
    built = build(test)
    states: dict[tuple[Any, ...], None] = {}
    result = explore(
        program(built, states),
        strategy="dpor",
        executions=budget,
        settings=Settings(without=_WITHOUT, memory=memory),
    )
    witness = result.failures[0] if result.failures else None
    if witness is not None:
        verdict = "Allowed" if witness.failure.headline == _OBSERVED else "Failed"
    else:
        verdict = "Forbidden" if result.exhaustive else "Unknown"
    names = [name if who == "*" else f"{who}:{name}" for who, name in built.asked]
    return Outcome(
        test=test,
        verdict=verdict,
        question=built.spelt,
        states=tuple(tuple(zip(names, state, strict=True)) for state in sorted(states, key=repr)),
        executions=result.executions,
        given_up=result.pruned,
        exhaustive=result.exhaustive,
        seconds=time.monotonic() - start,
        witness=witness,
        race=_race(built, memory, budget) if built.plain and verdict != "Failed" else None,
    )


def _race(built: Built, memory: str, budget: int) -> str | None:
    settings = Settings(without=_WITHOUT - {"data-race"}, memory=memory)
    result = explore(
        program(built, {}), strategy="dpor", executions=budget, keep_going=True, settings=settings
    )
    found = (one.failure.headline for one in result.failures if one.failure.kind is Kind.DATA_RACE)
    return next(found, None)


def program(built: Built, states: dict[tuple[Any, ...], None]) -> Callable[[], None]:
    """The test as a program, whose final states are added to `states`; one that answers the question is a failure."""

    def run() -> None:
        places = built.locations()
        registers = {number: dict(places) for number in built.processes}
        for (number, name), value in built.registers.items():
            registers[number][name] = places[value] if isinstance(value, str) else value
        join(*[spawn(code, registers[number], name=f"P{number}") for number, code in built.processes.items()])

        def state(who: str | int, name: str) -> Any:
            value = peek(places[name], "v") if isinstance(who, str) else registers[who].get(name, 0)
            return value.name if isinstance(value, Location) else value

        with quiet():
            if built.filtered is not None and not built.filtered(state):
                return
            states[tuple(state(*asked) for asked in built.asked)] = None
            answered = built.question is not None and built.question(state)
        if answered:
            fail(Failure(Kind.CHECK, _OBSERVED, built.spelt))

    return run
