"""Explanation: the orders of operations that made a witness fail, each verified before it is told.

An order is a pair of moments: `first` came before `second`. It is turned round: the witness is told again up to the
moment before `first`, whose task is held there until `second` is done; from there on everything is free
(`concurrency.witness.continuations`). What is said of the pair is what was seen then:

- in no way to go on did anything fail: "the failure would not have happened". Either these were all ways, or the words
  say how many were tried;
- this kind of failure did not come again, but another one did: so it says that;
- staying as close to the witness as can be, nothing fails, but in other ways to go on it does: "need not have
  happened". That is told only where nothing stronger was found.

A pair on one place is tried as it is; where that is not enough, as in a loop that comes round again, whole stretches
are turned: up to where the task of `second` gives its locks back, or to its end, before `first`, or before the lock or
the round of a loop to which `first` belongs. `first` is then the lock, or the first round: what is told is what was
held.

Pairs after Flanagan and Godefroid, "Dynamic Partial-Order Reduction for Model Checking Software", POPL 2005, section
2; that the closest way to go on decides "need not", after Lewis, "Counterfactuals", 1973; the idea of an experiment
for each cause after Zeller, "Isolating Cause-Effect Chains from Computer Programs", FSE 2002.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sugarbush.concurrency.checks import takes_lock
from sugarbush.concurrency.core import END, BadSchedule, Failure, Kind
from sugarbush.concurrency.runtimes import Settings
from sugarbush.concurrency.witness.continuations import Budget, Endings, Retelling, Ways
from sugarbush.concurrency.witness.explanation import LINES, Claim, Explanation, Fixed, Pair, Schedules
from sugarbush.concurrency.witness.moments import GOING_ON, Done, StoryMoment
from sugarbush.concurrency.witness.orders import Order, Orders, candidates
from sugarbush.concurrency.witness.replaying import known
from sugarbush.concurrency.witness.result import Witness
from sugarbush.concurrency.witness.story import Retold, Story

__all__ = ["DEFAULT_TRIES", "Claim", "Explanation", "Pair", "StoryMoment", "explain"]

DEFAULT_TRIES = 1000
_OPERATIONS = 100_000
"""So many operations an explanation may make: of long witnesses that is fewer executions, but `_AT_LEAST`."""
_AT_LEAST = 100
_SCREEN = 4
"""So many ways to go on decide whether a pair is worth the effort to verify it."""
_SHARE = 16
"""This part of what is left of the budget may each order have that could not be turned round so far."""


def explain(
    program: Callable[[], Any], witness: Witness, settings: Settings | None = None, tries: int = DEFAULT_TRIES
) -> Explanation:
    """What made `witness` fail; a minimised witness gives the shortest answer.

    At most `tries` executions are made, and of long ones fewer. Raises `BadSchedule` if the schedule does not fit the
    program.
    """
    settings = known(program, settings, witness, tries=tries)
    story = Story()
    told = Retold(witness.schedule, story)
    execution = settings.runtime(told, recorder=story).run(program)
    # What is said is about this schedule, so it has to be this one that fails.
    if execution.failure is None or execution.schedule != witness.schedule:
        raise BadSchedule(
            "the schedule does not fit the program: it does not lead to the failure of the witness"
        )
    budget = Budget(tries, max(_OPERATIONS, _AT_LEAST * execution.steps))
    retelling = Retelling(program, settings, told, story, execution, budget)
    return _CandidateSearch(retelling, story, execution.failure).explanation(tries)


@dataclass(slots=True)
class _Turned:
    """An order that was turned round, with its ways to go on."""

    firsts: tuple[Done, ...]
    seconds: tuple[Done, ...]
    ways: Ways
    distance: int
    within: Done | None = None

    @property
    def tally(self) -> Endings:
        return self.ways.tally


class _CandidateSearch(Orders):
    """Tries candidates, the tightest first, as long as the budget lasts."""

    def __init__(self, retelling: Retelling, story: Story, failure: Failure) -> None:
        super().__init__(retelling, story, failure)
        self._strong: list[_Turned] = []
        self._weak: list[_Turned] = []
        self._fixed: list[tuple[Order, Ways]] = []
        self._cut = False
        self._tried = 0
        self._idle = 0
        self._done: set[Order] = set()

    def explanation(self, tries: int) -> Explanation:
        """Try orders of ever larger parts until some pair explains the failure; give what was found."""
        pairs = self._sorted([*candidates(self._ops), *self._to_come()])
        # From the smallest change to the largest: as soon as one kind explains the failure, the larger ones are not
        # tried.
        for more in (self._single, self._stretches, self._several, self._between_tasks):
            if not self._strong:
                self._try(more(pairs))
        self._look_again()
        found = self._strong or self._worth_telling()
        schedules = None if found or self._budget.spent else self._anyhow()
        return Explanation(
            tuple(self._pair(one) for one in found),
            tuple(
                Fixed(self._moment(firsts[0]), self._moment(seconds[0]), ways.impossible)
                for (firsts, seconds), ways in self._fixed
            ),
            self._tried,
            self._idle,
            tries - self._budget.executions,
            not self._cut,
            schedules,
        )

    # -- trying ---------------------------------------------------------------------------------------------------

    def _try(self, orders: Iterable[Order]) -> None:
        """Screen all orders first, so that a long witness does not spend its budget on the first few; then verify."""
        promising = []
        for order in sorted(orders, key=self._tightness):
            if self._budget.spent:
                self._cut = True
                break
            if order not in self._done:
                self._done.add(order)
                self._tried += 1
                promising += self._turn(order)
        # Which task takes a lock first says less than what is done under it, unless the failure is about locks.
        about_locks = self._failure.kind in (Kind.DEADLOCK, Kind.LOCKDEP)
        promising.sort(key=lambda one: (not about_locks and _locks_only(one), one.distance))
        while promising:
            one = promising.pop(0)
            # Each of those that are left gets its part, and what it does not use is for those behind it.
            self._judge(one, one.ways.look(self._budget.share(len(promising) + 1), until_again=True))
            rest = [two for two in promising if not self._is_told(two)]
            self._idle += len(promising) - len(rest)
            promising = rest

    def _is_told(self, one: _Turned) -> bool:
        """Whether what this one would say is said: by a smaller change, or by what is done under a lock."""
        return any(
            _implied(one, other)
            or (
                _locks_only(one)
                and one.firsts == other.firsts
                and any(one.seconds[0] in self._locks(second) for second in other.seconds)
            )
            for other in self._strong
        )

    def _turn(self, order: Order) -> list[_Turned]:
        """Turn one order round, where the first task can be held: at its operation, or where it took a lock."""
        firsts, seconds = order
        holds = [firsts]
        if len(firsts) == 1:
            holds += [(lock,) for lock in self._locks(firsts[0])]
        made = [self._retelling.ways(hold, seconds) for hold in holds]
        # Where the closest way does not get there, the next lock is more likely to help than another way; in the end
        # a few others are made all the same.
        for hold, ways, few in [
            *((*one, 1) for one in zip(holds, made, strict=True)),
            (firsts, made[0], _SCREEN),
        ]:
            tally = ways.look(few, until_again=True)
            if tally.tried:
                tally = ways.look(_SCREEN - 1, until_again=True)
            if tally.tried:
                within = firsts[0] if hold != firsts else None
                turned = _Turned(hold, seconds, ways, self._distance(hold, seconds), within)
                if not tally.again:
                    return [turned]
                self._judge(turned, tally)
                return []
        # That one operation cannot come before another one is worth saying; of several at once, or of whole stretches,
        # it is not.
        if len(firsts) == len(seconds) == 1 and seconds[0].op not in (END, GOING_ON):
            self._fixed.append((order, made[0]))
        return []

    def _judge(self, turned: _Turned, tally: Endings) -> None:
        """Which kind of claim, if any, is true of the pair as far as it was tried."""
        if not tally.again and tally.clean:
            self._strong.append(turned)
        elif tally.closest:
            self._weak.append(turned)
        else:
            self._idle += 1

    def _look_again(self) -> None:
        """What is left of the budget is for those claims that are not proven, a little of it for what was fixed."""
        for _, ways in self._fixed[: LINES - 1]:
            ways.look(self._budget.share(_SHARE))
        for number in range(len(self._strong)):
            one = self._strong[number]
            one.ways.look(self._budget.share(len(self._strong) - number), until_again=True)
        strong, self._strong = self._strong, []
        for one in sorted(strong, key=lambda one: one.distance):
            self._judge(one, one.tally)

    def _worth_telling(self) -> list[_Turned]:
        """Of the weak ones those that are not implied by a tighter one, each with more ways to go on."""
        kept: list[_Turned] = []
        for one in sorted(self._weak, key=lambda one: one.distance):
            if not any(_implied(one, other) for other in kept):
                kept.append(one)
        for number, one in enumerate(kept):
            one.ways.look(self._budget.share(len(kept) - number))
        return kept

    def _pair(self, turned: _Turned) -> Pair:
        tally = turned.tally
        claim = Claim.WOULD_NOT
        if tally.again:
            claim = Claim.NEED_NOT
        elif tally.otherwise:
            claim = Claim.OTHERWISE
        return Pair(
            self._moment(turned.firsts[0]),
            self._moment(turned.seconds[0]),
            claim,
            tally.tried,
            tally.again,
            tally.otherwise,
            tally.complete,
            tuple(map(self._moment, turned.firsts[1:])),
            tuple(map(self._moment, turned.seconds[1:])),
            None if turned.within is None else self._moment(turned.within),
        )

    def _anyhow(self) -> Schedules:
        """No pair was found: do all schedules fail, and if not, do all with the data choices of the witness?"""
        seen = self._schedules(same_data=False)
        if seen.failed == seen.tried or not self._retelling.data_made:
            return seen
        alike = self._schedules(same_data=True)
        return alike if alike.tried and alike.failed == alike.tried else seen

    def _schedules(self, *, same_data: bool) -> Schedules:
        tally = self._retelling.ways(same_data=same_data).look(self._budget.executions // 2)
        return Schedules(tally.tried, tally.tried - tally.clean, tally.complete, same_data)


def _locks_only(one: _Turned) -> bool:
    """Two tasks that take one lock."""
    return len(one.firsts) == len(one.seconds) == 1 and takes_lock(one.seconds[0].op) and one.within is None


def _implied(one: _Turned, other: _Turned) -> bool:
    """Whether turning `one` round turns `other` round, too, which is a smaller change."""
    return all(
        any(mine.task is theirs.task and mine.number <= theirs.number for mine in one.firsts)
        for theirs in other.firsts
    ) and all(any(_no_later(theirs, mine) for mine in one.seconds) for theirs in other.seconds)


def _no_later(one: Done, other: Done) -> bool:
    """Whether the task of `other` has done `one` by then."""
    return one.task is other.task and (other.op is END or (one.op is not END and one.number <= other.number))
