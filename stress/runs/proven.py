"""Proving the catalogue: the broken form of a bug fails within P preemptions, and the fixed form passes within P.

P is found by the search itself. It raises the bound from 0, so the first failure has the fewest preemptions; that there
is none with fewer is proven by the bounds below. What the search did not come to within its budget is said, and nothing
is claimed of it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from sugarbush.concurrency import Verdict, Witness
from sugarbush.stress.kit import Bug
from sugarbush.stress.runs import proof as proofs
from sugarbush.stress.runs.hunt import shown_by
from sugarbush.stress.runs.proof import Within


@dataclass(frozen=True, slots=True)
class Proving:
    """How bugs are proven: `seconds` for each form; the fixed one within `depth` preemptions, or within P if None."""

    seconds: float
    depth: int | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """What a search of the broken form has shown.

    `preemptions` is P, None if the bug was not found; `least` says that it is proven that fewer do not show it.
    `executions` were made within that bound. `open` says why it was not found, or why fewer may do.
    """

    preemptions: int | None
    least: bool
    executions: int
    open: str = ""

    @property
    def words(self) -> str:
        """The same in words."""
        if self.preemptions is None:
            return f"not found: {self.open}"
        fewer = ", none of fewer" if self.least else f" ({self.open})"
        return f"fails with {_preemptions(self.preemptions)}{fewer if self.preemptions else ''}"


@dataclass(frozen=True, slots=True)
class Proven:
    """What is proven of one bug: of its `broken` form, and the `bounds` within which all of the fixed one was seen.

    `within` is the bound that was asked for; None if nobody knows P. `open` says why it went no further, and `failed`
    which failure the fixed form has; both may be empty.
    """

    bug: Bug
    broken: Broken
    bounds: tuple[Within, ...]
    within: int | None
    open: str = ""
    failed: str = ""

    @property
    def complete(self) -> bool:
        """Of the fixed form nothing was cut: every schedule is covered."""
        return bool(self.bounds) and not self.bounds[-1].cut

    @property
    def passed(self) -> bool:
        """The fixed form is passed within the bound that was asked for."""
        last = self.bounds[-1].bound if self.bounds else None
        reached = last is not None and self.within is not None and last >= self.within
        return not self.failed and (self.complete or reached)

    @property
    def contradicts(self) -> bool:
        """The catalogue says something else: the fixed form fails."""
        return bool(self.failed)

    @property
    def words(self) -> str:
        """What is proven of the fixed form, in words."""
        if self.failed:
            return f"FAILS: {self.failed}"
        if not self.bounds:
            return f"nothing proven: {self.open}"
        last = self.bounds[-1]
        seen = "every schedule"
        if last.bound is not None and not self.complete:
            seen += f" with at most {_preemptions(last.bound)}"
        return f"{seen}, {last.traces} traces" + (f"; {self.open}" if self.open else "")

    def as_json(self) -> dict[str, Any]:
        """The entry that ``catalogue --prove --json`` prints."""
        broken = self.broken
        return {
            "name": self.bug.name,
            "id": self.bug.id,
            "broken": {
                "preemptions": broken.preemptions,
                "least": broken.least,
                "executions": broken.executions,
                "open": broken.open,
            },
            "fixed": {
                "within": self.within,
                "passed": self.passed,
                "complete": self.complete,
                "bounds": [
                    {
                        "bound": one.bound,
                        "traces": one.traces,
                        "executions": one.executions,
                        "cut": one.cut,
                        "digest": one.digest,
                    }
                    for one in self.bounds
                ],
                "open": self.open,
                "failed": self.failed,
            },
        }


def _preemptions(number: int) -> str:
    return f"{number} preemption" + "s" * (number != 1)


def prove_bug(bug: Bug, how: Proving) -> Proven:
    """Search both forms of a bug; raises KeyboardInterrupt if that is interrupted."""
    broken = _broken(bug, how.seconds)
    within = broken.preemptions if how.depth is None else how.depth
    fixed = proofs.prove(bug.fixed, how.seconds, within)
    if "interrupted" in fixed.open:
        raise KeyboardInterrupt
    failed = "" if fixed.failed is None else fixed.failed.failure.headline
    return Proven(bug, broken, fixed.bounds, within, fixed.open, failed)


def _broken(bug: Bug, seconds: float) -> Broken:
    """Raise the bound until the bug shows itself in the way that the catalogue says."""
    start = time.monotonic()
    # What a search does not find proves nothing if it believes what does not hold; what it finds is found all the same.
    wrong = proofs.undeclared(bug.broken)
    others = ""
    for bound in count():
        left = seconds - (time.monotonic() - start)
        if left <= 0:
            return Broken(
                None, False, 0, others or f"the budget of {seconds:.0f} s ended before bound {bound}"
            )
        result = proofs.within(bug.broken, bound, left, keep_going=bool(others))
        if result.failures and not others and _shows(bug, result.failures) is None:
            # Something else shows itself first, and has ended the search: go on behind it.
            failure = result.failures[0].failure
            others = f"another check sees {shown_by(failure.kind, failure.check)} first: {failure.headline}"
            left = max(0.1, seconds - (time.monotonic() - start))
            result = proofs.within(bug.broken, bound, left, keep_going=True)
        if result.interrupted:
            raise KeyboardInterrupt
        witness = _shows(bug, result.failures)
        if witness is not None:
            # A failure hides what comes after it, so behind others the bug may have been hidden within a smaller bound.
            why = wrong or others
            return Broken(bound, not why, result.executions, why)
        if (
            result.verdict not in (Verdict.PASSED, Verdict.FAILED, Verdict.UNEXPLORED)
            or not result.exhaustive
        ):
            return Broken(None, False, 0, others or proofs.why_open(result, bound))
        if not result.cut:
            return Broken(None, False, 0, others or "no schedule shows it")
    raise AssertionError("the bounds have no end")


def _shows(bug: Bug, failures: Sequence[Witness]) -> Witness | None:
    """The first of the failures by which the catalogue says that the bug shows itself."""
    for one in failures:
        if (one.failure.kind, one.failure.check) == (bug.kind, bug.check):
            return one
    return None
