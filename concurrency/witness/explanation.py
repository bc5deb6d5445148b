"""What an explanation says: pairs of moments, what was verified of each, and the sentences that tell it.

Nothing here runs anything. Each claim has its own words, and none is stronger than what was tried: "would not" is said
only where all ways to go on were made.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sugarbush.concurrency.witness.moments import StoryMoment, had_come

LINES = 5


class Claim(Enum):
    """What was verified of a pair."""

    WOULD_NOT = "would not"
    """Turned round, nothing failed in any way to go on that was made."""
    OTHERWISE = "otherwise"
    """This kind of failure did not come, another one did in some."""
    NEED_NOT = "need not"
    """The closest way to go on did not fail; some others did, in this way."""


@dataclass(frozen=True, slots=True)
class Pair:
    """`first` came before `second`. The other order was tried, in `tried` ways to go on from before `first`.

    In `again` of them this kind of failure happened nevertheless, in `otherwise` another one. With `complete` they are
    all the ways there are, so that `claim` is proven and not just sampled.
    """

    first: StoryMoment
    second: StoryMoment
    claim: Claim
    tried: int
    again: int
    otherwise: int
    complete: bool
    also_first: tuple[StoryMoment, ...] = ()
    also_second: tuple[StoryMoment, ...] = ()
    """What else came first, or second, where turning round one alone is not enough."""
    within: StoryMoment | None = None
    """What the task took `first`, a lock, for: that is what depends on `second`."""

    def __str__(self) -> str:
        firsts = " and ".join(one.told for one in (self.first, *self.also_first))
        if self.within is not None:
            firsts += f", taken for its {self.within.what}({self.within.on}) at {self.within.where}"
        return f"if {had_come((self.second, *self.also_second))} before {firsts}, {self._then}"

    @property
    def _then(self) -> str:
        many = f"{self.tried} way{'s' if self.tried != 1 else ''} to go on"
        if self.claim is Claim.NEED_NOT:
            clean = self.tried - self.again - self.otherwise
            return f"the failure need not have happened: nothing fails in {clean} of {many}{self._more}"
        if self.claim is Claim.OTHERWISE:
            other = f"in {self.otherwise} of {many}{self._more} something else fails"
            if self.complete:
                return f"this failure would not have happened, but {other}"
            return f"this failure did not happen, but {other}"
        if self.complete:
            every = "the only way" if self.tried == 1 else f"all {self.tried} ways"
            return f"the failure would not have happened ({every} to go on tried)"
        return f"the failure did not happen in any of {many} that were tried, not all"

    @property
    def _more(self) -> str:
        return "" if self.complete else " that were tried"


@dataclass(frozen=True, slots=True)
class Fixed:
    """`first` came before `second`, and no way was found to turn that round; with `proven` there is none."""

    first: StoryMoment
    second: StoryMoment
    proven: bool

    def __str__(self) -> str:
        how = (
            "cannot be turned round"
            if self.proven
            else "could not be turned round in the ways that were tried"
        )
        return f"{self.first.told}, before {self.second}: that {how}"


@dataclass(frozen=True, slots=True)
class Schedules:
    """What became of so many executions from the start, in any order, where no pair was found.

    `failed` of the `tried` ones failed, all or some in the way of the witness. With `complete` there are no others.
    `same_data` says that they made the data choices of the witness.
    """

    tried: int
    failed: int
    complete: bool
    same_data: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """The pairs that matter, the tightest first: those with the fewest operations from the one moment to the other.

    Pairs of the weakest claim are there only if there is none of another. `fixed` are orders that could not be turned
    round, `idle` counts those that were turned round
    and changed nothing. `complete` says that all candidates were
    tried, before the budget was used up. `schedules` is known where there are no pairs.
    """

    pairs: tuple[Pair, ...]
    fixed: tuple[Fixed, ...]
    tried: int
    idle: int
    executions: int
    complete: bool
    schedules: Schedules | None = None

    @property
    def lines(self) -> list[str]:
        """At most five lines: the tightest pairs, how many there are beside, or what is known without any."""
        if not self.pairs:
            return self._without_pairs()
        shown = self.pairs if len(self.pairs) <= LINES else self.pairs[: LINES - 1]
        lines = [str(pair) for pair in shown]
        if len(shown) < len(self.pairs):
            lines.append(f"and {len(self.pairs) - len(shown)} more")
        elif self.fixed and len(lines) < LINES:
            lines.append(self._fixed(1)[0])
        return lines

    def _fixed(self, most: int) -> list[str]:
        """Some of what could not be turned round, the last with the number of the others."""
        lines = [str(one) for one in self.fixed[:most]]
        if lines and len(self.fixed) > most:
            lines[-1] += f", and {len(self.fixed) - most} more could not be either"
        return lines

    @property
    def text(self) -> str:
        """The lines, as one text."""
        return "\n".join(self.lines)

    def _without_pairs(self) -> list[str]:
        seen = self.schedules
        if seen is None or not seen.tried:
            return ["nothing found so far"]
        every = "every schedule with the data choices of the witness" if seen.same_data else "every schedule"
        if seen.failed < seen.tried:
            most = f"{seen.tried - seen.failed} of {seen.tried} schedules do not fail"
            if not self.complete:
                return [f"nothing found so far, but {most}"]
            lines = [f"no order of two operations was found that decides it, but {most}"]
        elif seen.complete:
            lines = [
                f"no order matters: {every} fails"
                + (f" (all {seen.tried} tried)" if seen.tried > 1 else " (there is only this one)")
            ]
        else:
            lines = [
                f"no order was found that matters: {every} fails of {seen.tried} that were tried, not all"
            ]
        # Where every schedule fails it is idle to tell which of them there cannot be.
        return lines if seen.failed == seen.tried and seen.complete else lines + self._fixed(LINES - 1)
