"""Scenarios: named programs, with what is expected of them.

@scenario("brk-standard", era="6.1")
def brk_standard() -> None:
    "One line that `sugarbush list` shows."
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from concurrency import Observer, Settings
from stress.checks import model_observers
from stress.patch import Patch


class UnknownScenario(Exception):
    """No scenario has this name; the message lists those that exist."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named program.

    `expect` names the check that it breaks, None for a program that must be clean. `patches` are applied while it
    runs. `faults` is how many allocations may fail in one execution, `without` the checks that it looks past.
    `observers` makes its further observers: the invariants of what it drives.
    """

    name: str
    program: Callable[[], Any]
    era: str
    expect: str | None
    patches: tuple[Patch, ...]
    faults: int
    without: frozenset[str]
    observers: Callable[[], Sequence[Observer]]

    def settings(self, without: frozenset[str] = frozenset()) -> Settings:
        """How its executions are run; `without` are further checks to look past."""
        return Settings(without=self.without | without, faults=self.faults, observers=self.observers)

    @property
    def summary(self) -> str:
        """The first line of the program's docstring."""
        return (self.program.__doc__ or "").strip().partition("\n")[0]


_registered: dict[str, Scenario] = {}


def scenario(
    name: str,
    *,
    era: str,
    expect: str | None = None,
    patches: tuple[Patch, ...] = (),
    faults: int = 0,
    without: tuple[str, ...] = (),
    observers: Callable[[], Sequence[Observer]] = model_observers,
) -> Callable[[Callable[[], Any]], Scenario]:
    """Register the decorated program under `name`; `era` is the kernel version that it models."""

    def register(program: Callable[[], Any]) -> Scenario:
        made = _registered[name] = Scenario(
            name, program, era, expect, patches, faults, frozenset(without), observers
        )
        return made

    return register


def find_scenario(name: str) -> Scenario:
    """The scenario of this name; raises `UnknownScenario`."""
    found = _registered.get(name)
    if found is None:
        raise UnknownScenario(f"no scenario is called {name!r}: there are {', '.join(sorted(_registered))}")
    return found


def all_scenarios() -> list[Scenario]:
    """All scenarios, by name."""
    return [_registered[name] for name in sorted(_registered)]
