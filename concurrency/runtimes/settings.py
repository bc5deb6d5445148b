"""How each execution is run: which checks, which observers, how long at most."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import cast

from sugarbush.concurrency.checks import LockValidator, RaceDetector, Sections
from sugarbush.concurrency.core import DEFAULT_LOOKS, DEFAULT_SPINS, ConcurrencyError, Observer
from sugarbush.concurrency.memory import LeakCheck
from sugarbush.concurrency.rcu import RcuCheck
from sugarbush.concurrency.runtimes.audit import Audited
from sugarbush.concurrency.runtimes.simulated import DEFAULT_MAX_STEPS, Simulated
from sugarbush.concurrency.runtimes.threaded import Threaded
from sugarbush.concurrency.runtimes.weak import WeakSimulated
from sugarbush.concurrency.strategies import Listening, Strategy, fits

MEMORIES = ("sc", "weak")


@dataclass(frozen=True, slots=True)
class Settings:
    """How each execution is run.

    `without` names checks that are switched off. `faults` is how many allocations may fail, by choice, in one
    execution, `spurious` how many waits of each task may end for no reason, by choice (`schedule`,
    `Condition.wait`). An execution has at most `max_steps` operations; in their second half tasks are scheduled
    fairly, and so they are once a task has spun `spins` times in vain (`cpu_relax`). A loop that may give up is
    followed for `looks` looks in a row while no other task does anything; what it would do then is not seen.
    `observers` makes the further observers of a runtime: the invariants of a scenario. `memory` is the memory
    model: sequential consistency ("sc") or `concurrency.runtimes.weak` ("weak"). With `audit` operations are compared
    with what they are declared to be, which is slow (`lowlevel.audit`). `patience` is for how many seconds of
    wall-clock time no operation may be done before the exploration is given up with an error; None: for ever.
    """

    without: frozenset[str] = frozenset()
    faults: int = 0
    spurious: int = 0
    max_steps: int = DEFAULT_MAX_STEPS
    spins: int = DEFAULT_SPINS
    looks: int = DEFAULT_LOOKS
    observers: Callable[[], Sequence[Observer]] = tuple
    memory: str = "sc"
    audit: bool = False
    patience: float | None = 60.0

    def __post_init__(self) -> None:
        """Refuse a memory model that does not exist, and numbers under which nothing could be explored."""
        for word, value, least in (
            ("faults", self.faults, 0),
            ("spurious", self.spurious, 0),
            ("max_steps", self.max_steps, 1),
            ("spins", self.spins, 1),
            ("looks", self.looks, 1),
        ):
            if type(value) is not int or value < least:
                raise ConcurrencyError(f"{word} must be a whole number, {least} or more, not {value!r}")
        patience = self.patience
        if patience is not None and (type(patience) not in (int, float) or not patience > 0):
            raise ConcurrencyError(f"patience must be a number of seconds above 0, or None, not {patience!r}")
        # A text is a collection of letters, none of which is a check: all checks would stay on, without a word.
        without: object = self.without
        if (
            isinstance(without, str)
            or not isinstance(without, Collection)
            or not all(isinstance(name, str) for name in without)
        ):
            raise ConcurrencyError(f"without must be a set of names of checks, not {without!r}")
        if not callable(self.observers):
            raise ConcurrencyError(
                f"observers must be a function that gives a list of observers, not {self.observers!r}: each execution "
                "has its own"
            )
        if self.memory not in MEMORIES:
            raise ConcurrencyError(
                f"no memory model is called {self.memory!r}: there are {', '.join(MEMORIES)}"
            )
        if not isinstance(self.audit, bool):
            raise ConcurrencyError(f"audit must be True or False, not {self.audit!r}")
        if self.audit and self.memory != "sc":
            raise ConcurrencyError(
                'the audit watches sequentially consistent memory: leave out memory="weak" or audit=True'
            )

    def _common(self, *, stacks: bool) -> list[Observer]:
        # A place costs as much as a whole operation, so the sections are noted only where the execution is told.
        common: list[Observer] = [Sections()] if stacks else []
        if "rcu" not in self.without:
            common.append(RcuCheck())
        if "lockdep" not in self.without:
            common.append(LockValidator(stacks=stacks))
        if "leak" not in self.without:
            common.append(LeakCheck())
        return common

    def further(self) -> list[Observer]:
        """What `observers` makes; raises `ConcurrencyError` if that is no list of observers."""
        made = self.observers()
        if not isinstance(made, Sequence) or not all(isinstance(one, Observer) for one in made):
            raise ConcurrencyError(f"observers must give a list of observers, not {made!r}")
        return list(made)

    def threaded(self, seed: int) -> Threaded:
        """A threaded runtime with those observers that make sense there."""
        if self.memory != "sc":
            raise ConcurrencyError(
                "the threaded runtime has the memory of the machine: weak memory is simulated"
            )
        return Threaded(
            (*self._common(stacks=True), *self.further()),
            without=self.without,
            faults=self.faults,
            spurious=self.spurious,
            seed=seed,
            patience=self.patience,
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
        # Before the checks, so that the event by which one of them ends the execution is recorded, too.
        if recorder is not None:
            observers.insert(0, recorder)
        if fits(strategy, Listening):
            observers.insert(0, cast(Listening, strategy).listener)
        if "data-race" not in self.without:
            observers.append(RaceDetector(stacks=stacks))
        observers += self.further()
        kind = Audited if self.audit else WeakSimulated if self.memory == "weak" else Simulated
        return kind(
            strategy,
            tuple(observers),
            without=self.without,
            faults=self.faults,
            spurious=self.spurious,
            max_steps=max_steps or self.max_steps,
            spins=self.spins,
            looks=self.looks,
        )
