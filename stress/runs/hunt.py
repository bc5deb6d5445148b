"""Hunting the bugs of the catalogue: each is found in its patched form, and is absent from the unpatched one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sugarbush.concurrency import (
    DEFAULT_STRATEGY,
    Kind,
    Result,
    Verdict,
    Witness,
    explore,
    minimise,
)
from sugarbush.stress.kit import Bug, Scenario, applied
from sugarbush.stress.runs.beside import side_by_side

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
    nothing was found, or something else than the catalogue says (`surprise`: by what kind of failure and
    which check, and its headline). `met` says that two tasks have met in the patched form, `fixed` is the
    exploration of the fixed one.
    """

    bug: Bug
    executions: int
    seconds: float
    witness: Witness | None
    surprise: str
    met: bool
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
        """Nothing was found in the fixed form, though it was explored.

        A bug that one task meets alone has a fixed form of one task, which counts as explored though no tasks meet.
        """
        alone = not self.met and self.fixed.verdict is Verdict.UNEXPLORED
        return alone or self.fixed.verdict not in (Verdict.FAILED, Verdict.UNEXPLORED)

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


def hunted(bugs: Sequence[Bug], how: Hunt, jobs: int = 1) -> Iterator[Outcome]:
    """Hunt the bugs, by so many processes side by side; the outcomes come in the order of the bugs."""
    return side_by_side(bugs, partial(hunt, how=how), jobs)


def hunt(bug: Bug, how: Hunt) -> Outcome:
    """Explore both forms of `bug`, and minimise the witness; raises KeyboardInterrupt if it is interrupted."""
    start = time.monotonic()
    result = _explored(bug.broken, how)
    seconds = time.monotonic() - start
    witness, surprise = None, ""
    if result.failures:
        witness = result.failures[0]
        failure = witness.failure
        # Another check has seen something, perhaps another bug: that is said, and is no witness of this one.
        if failure.kind is not bug.kind or failure.check != bug.check:
            witness, surprise = None, f"{shown_by(failure.kind, failure.check)}: {failure.headline}"
        else:
            with applied(bug.broken.patches):
                witness = minimise(bug.broken.program, witness, bug.broken.settings(), tries=_TRIES)
    return Outcome(bug, result.executions, seconds, witness, surprise, result.met, _explored(bug.fixed, how))


def shown_by(kind: Kind, check: str | None) -> str:
    """What kind of failure shows something, and which check sees it, in words."""
    return f"{kind.value}, check {check!r}" if check else kind.value


def _explored(scenario: Scenario, how: Hunt) -> Result:
    with applied(scenario.patches):
        result = explore(
            scenario.program,
            strategy=how.strategy,
            executions=how.schedules,
            seed=how.seed,
            settings=scenario.settings(),
        )
    if result.interrupted:
        raise KeyboardInterrupt
    return result
