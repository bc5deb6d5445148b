"""Explanation: the orders of operations that made a witness fail, each verified before it is told.

An order is a pair of moments: `first` came before `second`. It is turned round: the witness is told again up to the
moment before `first`, whose task is held there until `second` is done; from there on everything is free
(`concurrency.witness.continuations`). What is said of the pair is what was seen then:

- in no way to go on did anything fail: "the failure would not have happened". Either that were all ways, or the words
  say in how many it was looked for;
- this kind of failure did not come again, but another one did: so it says that;
- staying as close to the witness as can be, nothing fails, but in other ways to go on it does: "need not have
  happened". That is told only where nothing stronger was found.

A pair on one place is tried as it is; where that is not enough, as in a loop that comes round again, whole stretches
are turned: up to where the task of `second` gives its locks back, or to its end, before `first`, or before the lock or
the round of a loop to which `first` belongs. `first` is then the lock, or the first round: what is told is what was
held.

Pairs after Flanagan and Godefroid, "Dynamic Partial-Order Reduction for Model Checking Software", POPL 2005, section
2; that the closest way to go on decides "need not", after Lewis, "Counterfactuals", 1973; the idea of an experiment for
each cause after Zeller, "Isolating Cause-Effect Chains from Computer Programs", FSE 2002.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sugarbush.concurrency.checks import Dependence, either_first, takes_lock
from sugarbush.concurrency.core import END, BadSchedule, Dep, Failure, Kind, Task, spell
from sugarbush.concurrency.memory import FREE, FREE_STEPPED
from sugarbush.concurrency.runtimes import Settings
from sugarbush.concurrency.witness.continuations import Budget, Retelling, Tally, Ways
from sugarbush.concurrency.witness.replaying import known
from sugarbush.concurrency.witness.result import Witness
from sugarbush.concurrency.witness.story import (
    GOING_ON,
    TOUCH,
    Done,
    Moment,
    Retold,
    Story,
    had_come,
    outermost_release,
)

__all__ = ["DEFAULT_TRIES", "Claim", "Explanation", "Moment", "Pair", "explain"]

DEFAULT_TRIES = 1000
_OPERATIONS = 100_000
"""So many operations an explanation may make: of long witnesses that is fewer executions, but `_AT_LEAST`."""
_AT_LEAST = 100
LINES = 5
_SCREEN = 4
"""So many ways to go on decide whether a pair is worth the effort to verify it."""
_SHARE = 16
"""This part of what is left of the budget may each order have that could not be turned round so far."""
_NEAR = 12
"""So many operations of a task, the last ones, are where it is held for want of a pair on one place."""


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

    first: Moment
    second: Moment
    claim: Claim
    tried: int
    again: int
    otherwise: int
    complete: bool
    also_first: tuple[Moment, ...] = ()
    also_second: tuple[Moment, ...] = ()
    """What else came first, or second, where turning round one alone is not enough."""
    within: Moment | None = None
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

    first: Moment
    second: Moment
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
    round, `idle` counts those of which turning them round changed nothing. `complete` says that all candidates were
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
    if execution.failure is None or execution.schedule != witness.schedule:
        raise BadSchedule(
            "the schedule does not fit the program: it does not lead to the failure of the witness"
        )
    budget = Budget(tries, max(_OPERATIONS, _AT_LEAST * execution.steps))
    retelling = Retelling(program, settings, told, story, execution, budget)
    return _Search(retelling, story, execution.failure).explanation(tries)


_Order = tuple[tuple[Done, ...], tuple[Done, ...]]
"""What came first, one operation of each of some tasks, and what came second."""


@dataclass(slots=True)
class _Turned:
    """An order that was turned round, with its ways to go on."""

    firsts: tuple[Done, ...]
    seconds: tuple[Done, ...]
    ways: Ways
    distance: int
    within: Done | None = None

    @property
    def tally(self) -> Tally:
        return self.ways.tally


class _Search:
    """Tries candidates, the tightest first, as long as the budget lasts."""

    def __init__(self, retelling: Retelling, story: Story, failure: Failure) -> None:
        self._retelling = retelling
        self._budget = retelling.budget
        self._story = story
        self._failure = failure
        self._ops = story.at_the_end(failure)
        self._places = {id(done): place for place, done in enumerate(self._ops)}
        self._alike: dict[tuple[int, str, str, str], int] = {}
        self._times: dict[int, int] = {}
        self._number(self._ops)
        self._strong: list[_Turned] = []
        self._weak: list[_Turned] = []
        self._fixed: list[tuple[_Order, Ways]] = []
        self._ends: dict[int, Done] = {}
        self._later: dict[Done, dict[int, Done]] = {}
        """Of an operation those of other tasks, one of each, that depend on it and that the witness did not come to."""
        self._cut = False
        self._fresh: list[Done] = []
        """Kept, since they are known by their identity."""
        self._tried = 0
        self._idle = 0
        self._done: set[_Order] = set()

    def explanation(self, tries: int) -> Explanation:
        """Everything, in the end in words."""
        pairs = self._sorted([*_candidates(self._ops), *self._to_come()])
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

    def _number(self, ops: Sequence[Done]) -> None:
        """The how-manieth of its kind, at its place, each operation is; nothing is said where there is only one."""
        alike: dict[tuple[int, str, str, str], list[Done]] = {}
        for done in ops:
            alike.setdefault((done.task.id, done.op.name, done.called, spell(done.place)), []).append(done)
        for key, several in alike.items():
            before = self._alike.get(key, 0)
            self._alike[key] = before + len(several)
            if before + len(several) > 1:
                self._times |= {id(done): before + nth for nth, done in enumerate(several, 1)}

    # -- candidates -----------------------------------------------------------------------------------------------

    def _sorted(self, pairs: Sequence[tuple[Done, Done]]) -> list[tuple[Done, Done]]:
        """The tightest first, then the one nearest to the failure."""
        return sorted(pairs, key=lambda pair: self._tightness(((pair[0],), (pair[1],))))

    def _place(self, done: Done) -> int:
        """Where it stands among all; what did not happen stands behind, in its task's order."""
        return self._places.get(id(done), len(self._ops) + done.number)

    def _distance(self, firsts: Sequence[Done], seconds: Sequence[Done]) -> int:
        """From the first moment to the last one, in operations."""
        return max(map(self._place, seconds)) - min(map(self._place, firsts))

    def _tightness(self, order: _Order) -> tuple[int, int, int]:
        firsts, seconds = order
        return self._distance(firsts, seconds), -self._place(seconds[-1]), firsts[0].task.id

    def _to_come(self) -> Iterator[tuple[Done, Done]]:
        """Operations that the witness did not come to, since it failed before: they might have come first.

        Each failing task in turn is held where it began while all others run as far as they get, and what they did
        beyond the witness is paired with what the task did. Whether it can come before that is then tried.
        """
        known = {(done.task.id, done.number) for done in self._ops}
        for task in self._story.failing(self._failure):
            own = [done for done in self._ops if done.task is task and done.op is not TOUCH]
            if not own or self._budget.spent:
                continue
            ahead = self._retelling.ahead(own[0])
            fresh = [
                done for done in ahead if done.task.id != task.id and (done.task.id, done.number) not in known
            ]
            self._number(fresh)
            self._fresh += fresh
            dependence = Dependence()
            called = [(done, done.called) for done in reversed(own)]
            for second in fresh:
                second.happened = False
                second.step = self._failure.step
                second.decision = self._story.decided
                # Objects are made anew in each execution, so places are compared by what they are called.
                name = second.called
                matching = [
                    first
                    for first, its_name in called
                    if its_name == name
                    and dependence.dependent(first.op, second.obj, second.op, second.obj)
                    and either_first(first.op, second.op)
                ]
                for first in matching:
                    self._later.setdefault(first, {}).setdefault(second.task.id, second)
                yield from ((first, second) for first in matching[:1])

    def _single(self, pairs: Sequence[tuple[Done, Done]]) -> Iterator[_Order]:
        """Each pair as it is."""
        for first, second in pairs:
            yield (first,), (second,)

    def _several(self, pairs: Sequence[tuple[Done, Done]]) -> Iterator[_Order]:
        """One operation and those of several tasks, of each the nearest one, that came before it, or after it.

        What is to come after it has to stay behind what did come before it and is now to come after it as well.
        """
        before: dict[Done, dict[int, Done]] = {}
        after: dict[Done, dict[int, Done]] = {}
        for first, second in pairs:
            # The pairs stand by distance, so the first one of a task is the nearest.
            before.setdefault(second, {}).setdefault(first.task.id, first)
            after.setdefault(first, {}).setdefault(second.task.id, second)
        for second, firsts in before.items():
            for task, later in self._later.get(second, {}).items():
                firsts.setdefault(task, later)
            if len(firsts) > 1:
                yield tuple(firsts.values()), (second,)
        for first, seconds in after.items():
            if len(seconds) > 1:
                yield (first,), tuple(seconds.values())

    def _stretches(self, pairs: Sequence[tuple[Done, Done]]) -> Iterator[_Order]:
        """Each pair with more of the one task before more of the other: a locked region, a round, all the rest."""
        for first, second in pairs:
            ends = [self._end(second.task)]
            released = outermost_release(self._ops, second, takes_lock)
            if released is not None:
                ends.insert(0, released)
            starts = [first, *self._locks(first)]
            rounds = (
                done
                for done in self._ops
                if done.task is first.task and done.op is first.op and done.place == first.place
            )
            starts.append(next(rounds, first))
            for start in starts:
                for end in ends:
                    yield (start,), (end,)
            for start in starts[1:]:
                yield (start,), (second,)

    def _end(self, task: Task) -> Done:
        found = self._ends.get(task.id)
        if found is None:
            step = self._failure.step
            found = Done(task, 0, END, task, None, 0, step, happened=False, on=task.name, where="its end")
            self._ends[task.id] = found
        return found

    def _between_tasks(self, pairs: Sequence[tuple[Done, Done]]) -> Iterator[_Order]:  # noqa: ARG002
        """What one task did last, against all that others do: for what tasks share without an operation."""
        tasks = list(dict.fromkeys(done.task for done in (*self._ops, *self._fresh)))
        ending = {done.task.id for done in (*self._ops, *self._fresh) if done.op is END}
        for failing in self._story.failing(self._failure):
            own = [one for one in self._ops if one.task is failing and one.op is not TOUCH][-_NEAR:][::-1]
            others = [one for one in tasks if one.id != failing.id]
            for one in own:
                yield from (((one,), (self._end(other),)) for other in others)
            # All at once, but for those who wait for the failing one, and so cannot come to their ends before it.
            ends = tuple(self._end(other) for other in others if other.id in ending)
            if len(ends) > 1:
                yield from (((one,), ends) for one in own)
            if self._failure.kind is not Kind.DEADLOCK:
                passed = self._story.going_on(failing, self._failure)
                for other in others:
                    theirs = [one for one in self._ops if one.task is other and one.op is not END][-_NEAR:]
                    yield from (((one,), (passed,)) for one in theirs[::-1])

    def _locks(self, first: Done) -> list[Done]:
        """Where the task of `first` took the locks that it has then, the last one first."""
        held: list[Done] = []
        for done in self._ops:
            if done is first:
                break
            if done.task is first.task:
                if takes_lock(done.op):
                    held.append(done)
                elif done.op.dep is Dep.RELEASE:
                    held = [one for one in held if one.obj is not done.obj]
        return held[::-1]

    # -- trying ---------------------------------------------------------------------------------------------------

    def _try(self, orders: Iterable[_Order]) -> None:
        """Screen all orders first, so that a long witness does not spend all on the first few; then verify."""
        promising = []
        for order in sorted(orders, key=self._tightness):
            if self._budget.spent:
                self._cut = True
                break
            if order not in self._done:
                self._done.add(order)
                self._tried += 1
                promising += self._turn(order)
        # Who takes a lock first says less than what is done under it, unless the locks are what it is about.
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
        """What turning this one round would say is said: by a smaller change, or by what is done under a lock."""
        return any(
            _implied(one, other)
            or (
                _locks_only(one)
                and one.firsts == other.firsts
                and any(one.seconds[0] in self._locks(second) for second in other.seconds)
            )
            for other in self._strong
        )

    def _turn(self, order: _Order) -> list[_Turned]:
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
        # Of several at once, and of whole stretches, it says little that they stay as they are.
        if len(firsts) == len(seconds) == 1 and seconds[0].op not in (END, GOING_ON):
            self._fixed.append((order, made[0]))
        return []

    def _judge(self, turned: _Turned, tally: Tally) -> None:
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

    def _moment(self, done: Done) -> Moment:
        return done.moment(self._times.get(id(done), 0))

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
    """Turning `one` round turns `other` round, too, which is a smaller change."""
    return all(
        any(mine.task is theirs.task and mine.number <= theirs.number for mine in one.firsts)
        for theirs in other.firsts
    ) and all(any(_no_later(theirs, mine) for mine in one.seconds) for theirs in other.seconds)


def _no_later(one: Done, other: Done) -> bool:
    """The task of `other` has done `one` by then."""
    return one.task is other.task and (other.op is END or (one.op is not END and one.number <= other.number))


def _candidates(ops: Sequence[Done]) -> Iterator[tuple[Done, Done]]:
    """Each operation with the last one of each other task that it depends on and that could have come later."""
    dependence = Dependence()
    places: dict[int, list[tuple[int, Done]]] = {}
    for position, second in enumerate(ops):
        earlier = places.setdefault(id(second.obj), [])
        seen: set[int] = set()
        for at, first in reversed(earlier):
            if (
                first.task is not second.task
                and first.task.id not in seen
                and _matter(dependence, first, second)
            ):
                seen.add(first.task.id)
                if at >= second.born:
                    yield first, second
        earlier.append((position, second))


def _matter(dependence: Dependence, first: Done, second: Done) -> bool:
    if second.op is TOUCH:
        return first.op in (FREE, FREE_STEPPED)
    return dependence.dependent(first.op, first.obj, second.op, second.obj) and either_first(
        first.op, second.op
    )
