"""A plan: what to run, how, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sugarbush.concurrency import Settings
from sugarbush.concurrency.lowlevel import Search
from sugarbush.concurrency.strategies import make_strategy
from sugarbush.stress.kit.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Plan:
    """How to run a scenario; `schedules` or `seconds` bounds it, or nothing does: then it is a search with an end."""

    scenario: Scenario
    runtime: str
    strategy: str
    depth: int | None
    schedules: int | None
    seconds: float | None
    seed: int
    without: frozenset[str]
    keep_going: bool
    out: Path
    memory: str = "sc"
    jobs: int = 1

    @property
    def settings(self) -> Settings:
        """What `concurrency` needs to know of it."""
        return self.scenario.settings(self.without, self.memory)

    @property
    def has_rounds(self) -> bool:
        """It runs for so many seconds, and is no search: then it can be stopped and resumed."""
        # A search is one exploration, which goes on to its end: there is nothing between its parts to go on from.
        if self.seconds is None:
            return False
        return self.runtime == "threaded" or not isinstance(
            make_strategy(self.strategy, self.seed, self.depth), Search
        )
