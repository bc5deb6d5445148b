"""Hunting the bugs of the catalogue: each is found in its patched form, and is absent from the unpatched one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from concurrency import DEFAULT_STRATEGY, Result, Verdict, Witness, explore, minimise
from stress.bug import Bug
from stress.patch import applied
from stress.scenario import Scenario

DEFAULT_SCHEDULES = 3000
_TRIES = 3000
"""How many executions minimising a witness may take."""


@dataclass(frozen=True, slots=True)
class Hunt:
    """How bugs are looked for: at most `schedules` executions of each form, from `seed` on."""

    schedules: int = DEFAULT_SCHEDULES
    strategy: str = DEFAULT_STRATEGY
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one bug.

    `executions` and `seconds` are what it took to find it, minimising apart. `witness` is the minimised one, None if
    nothing was found, or something else than the catalogue says (`surprise`). `fixed` is the exploration of the fixed
    form.
    """

    bug: Bug
    executions: int
    seconds: float
    witness: Witness | None
    surprise: str
    fixed: Result

    @property
    def found(self) -> bool:
        """The bug showed itself, in the way that the catalogue says."""
        return self.witness is not None

    @property
    def preemptions(self) -> int | None:
        """Of the minimised witness."""
        return None if self.witness is None else self.witness.preemptions

    @property
    def fixed_clean(self) -> bool:
        """Nothing was found in the fixed form."""
        return self.fixed.verdict is not Verdict.FAILED

    @property
    def as_expected(self) -> bool:
        """Found, and clean when fixed."""
        return self.found and self.fixed_clean

    def as_json(self) -> dict[str, Any]:
        """The entry that ``catalogue --json`` prints."""
        bug = self.bug
        return {
            "name": bug.name,
            "id": bug.id,
            "title": bug.title,
            "found": self.found,
            "executions": self.executions,
            "seconds": round(self.seconds, 3),
            "preemptions": self.preemptions,
            "kind": bug.kind.value,
            "check": bug.check,
            "schedule": None if self.witness is None else str(self.witness.schedule),
            "surprise": self.surprise or None,
            "fixed_clean": self.fixed_clean,
            "fixed_executions": self.fixed.executions,
            "fixed_exhaustive": self.fixed.exhaustive,
        }


def hunt(bug: Bug, how: Hunt) -> Outcome:
    """Explore both forms of `bug`, and minimise the witness."""
    start = time.monotonic()
    result = _explored(bug.broken, how)
    seconds = time.monotonic() - start
    witness, surprise = None, ""
    if result.failures:
        witness = result.failures[0]
        failure = witness.failure
        if failure.kind is not bug.kind or failure.check != bug.check:
            witness, surprise = None, f"{failure.kind.value}: {failure.headline}"
        else:
            with applied(bug.broken.patches):
                witness = minimise(bug.broken.program, witness, bug.broken.settings(), tries=_TRIES)
    return Outcome(bug, result.executions, seconds, witness, surprise, _explored(bug.fixed, how))


def _explored(scenario: Scenario, how: Hunt) -> Result:
    with applied(scenario.patches):
        return explore(
            scenario.program,
            strategy=how.strategy,
            executions=how.schedules,
            seed=how.seed,
            settings=scenario.settings(),
        )
