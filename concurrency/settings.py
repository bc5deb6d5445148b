"""How each execution is run: which checks, which observers, how long at most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from concurrency.observer import Observer
from concurrency.race import RaceDetector
from concurrency.simulated import DEFAULT_MAX_STEPS, Simulated
from concurrency.slab import LeakCheck
from concurrency.strategy.base import Listening, Strategy
from concurrency.threaded import Threaded
from concurrency.validator import LockValidator


@dataclass(frozen=True, slots=True)
class Settings:
    """How each execution is run.

    `without` names checks that are switched off. `faults` is how many allocations may fail, by choice, in one
    execution, `spurious` how many waits of each task may end for no reason, by choice (`schedule`,
    `Condition.wait`). `observers` makes the further observers of a runtime: the invariants of a scenario.
    """

    without: frozenset[str] = frozenset()
    faults: int = 0
    spurious: int = 0
    max_steps: int = DEFAULT_MAX_STEPS
    observers: Callable[[], Sequence[Observer]] = tuple

    def _common(self, *, stacks: bool) -> list[Observer]:
        common: list[Observer] = []
        if "lockdep" not in self.without:
            common.append(LockValidator(stacks=stacks))
        if "leak" not in self.without:
            common.append(LeakCheck())
        return common

    def threaded(self, seed: int) -> Threaded:
        """A threaded runtime with those observers that make sense there."""
        return Threaded(
            (*self._common(stacks=True), *self.observers()),
            without=self.without,
            faults=self.faults,
            seed=seed,
        )

    def runtime(
        self,
        strategy: Strategy,
        *,
        stacks: bool = False,
        recorder: Observer | None = None,
        max_steps: int | None = None,
    ) -> Simulated:
        """A simulated runtime with the observers that these settings ask for, and `recorder` before them."""
        observers = self._common(stacks=stacks)
        if recorder is not None:
            observers.insert(0, recorder)
        if isinstance(strategy, Listening):
            observers.insert(0, strategy.listener)
        if "data-race" not in self.without:
            observers.append(RaceDetector(stacks=stacks))
        observers += self.observers()
        return Simulated(
            strategy,
            tuple(observers),
            without=self.without,
            faults=self.faults,
            spurious=self.spurious,
            max_steps=max_steps or self.max_steps,
        )
