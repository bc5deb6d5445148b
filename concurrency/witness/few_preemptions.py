"""Plans by their number of preemptions: those without any, then those with one, and so on.

What is not interrupted runs until it ends or has to wait, and then the runnable task of the lowest number goes on. A
plan *deviates* from that at some operations: another task goes on, which may be a preemption. Among plans with as many
preemptions those with the fewest deviations come first. The order by preemptions is that of Musuvathi and Qadeer,
"Iterative Context Bounding for Systematic Testing of Multithreaded Programs", PLDI 2007; the order by deviations
resembles that of Emmi, Qadeer and Rakamaric, "Delay-Bounded Scheduling", POPL 2011.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from sugarbush.concurrency.core import Task
from sugarbush.concurrency.strategies import Guided, Noted, Plan, Stretch, can_be_preempted

MOST = 1000
"""At most so many plans of one number of preemptions are made; of more, as many from all over them."""

_Span = tuple[int, int, tuple[int, ...], bool]
"""At the operations from the first number up to the second one these tasks could have gone on as well; and whether the
current one could, too.
"""


class Offered(Noted):
    """`Noted`, asked at every operation, with which other tasks could have gone on."""

    def begin(self, execution: int) -> None:
        """Begin in the other strategy; no switch was offered yet."""
        super().begin(execution)
        self.free: list[_Span] = []
        self.costly: list[_Span] = []

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        """As the other strategy; note which other tasks could have gone on, and whether that would have cost."""
        chosen = super().choose(runnable, current, step, forced)
        self.lease = 1
        others = tuple(task.id for task in runnable if task is not chosen)
        spans = self.costly if can_be_preempted(current) else self.free
        here = (step, others, current is not None)
        first = spans.pop()[0] if spans and spans[-1][1:] == here else step
        spans.append((first, step + 1, others, current is not None))
        return chosen


@dataclass(frozen=True, slots=True)
class _Tried:
    """What came of a plan: the stretches of its execution, at which operation each started, and what else could have
    been done after the last deviation.
    """

    plan: Plan
    starts: list[int]
    free: list[_Span]
    costly: list[_Span]

    def deviating(self, spans: list[_Span]) -> Iterator[tuple[Plan, int]]:
        """The plans with one deviation more, and at which operation that is."""
        for first, last, others, early in spans:
            for step in range(first, last):
                before = self._up_to(step, early=early)
                for task in others:
                    yield (*before, Stretch(task, None)), step

    def _up_to(self, step: int, *, early: bool) -> Plan:
        """The plan up to operation `step`, where the current task ends or waits, or is left early."""
        last = bisect_left(self.starts, step) - 1
        length = step - self.starts[last] if early else None
        return (*self.plan[:last], Stretch(self.plan[last].task, length))


def _count(spans: list[_Span]) -> int:
    return sum((last - first) * len(others) for first, last, others, _ in spans)


class FewPreemptions:
    """The plans with `preemptions` preemptions, which grows with each call of `more`.

    Each plan that is given must be run under `noted` before the next one is asked for. Data choices are those of the
    caller's guide.
    """

    def __init__(self, guide: Guided) -> None:
        self.noted = Offered(guide)
        self._guide = guide
        self._before: list[list[_Tried]] = []
        self._now: list[list[_Tried]] = []

    def plans(self, *, grows: bool) -> Iterator[Plan]:
        """Those with one preemption more than the last call gave, at most `MOST`; with `grows` there is a next call."""
        self._before, self._now = self._now, []
        left = MOST
        deviations = 0
        while left and (deviations <= len(self._before) or self._now[-1]):
            tried: list[_Tried] = []
            for plan, since in self._level(deviations, left):
                yield plan
                left -= 1
                tried.append(self._tried(since, grows=grows))
            self._now.append(tried)
            deviations += 1

    def _level(self, deviations: int, most: int) -> Iterator[tuple[Plan, int]]:
        """The plans with so many deviations, evenly spread if there are more than `most`."""
        if not deviations:
            return iter([] if self._before else [((), -1)])
        fewer = self._before[deviations - 1] if deviations <= len(self._before) else []
        same = self._now[deviations - 1]
        count = sum(_count(one.costly) for one in fewer) + sum(_count(one.free) for one in same)
        plans = chain(
            chain.from_iterable(one.deviating(one.costly) for one in fewer),
            chain.from_iterable(one.deviating(one.free) for one in same),
        )
        # Spread over all of them: the first so many would be much alike.
        return islice(plans, 0, None, max(1, -(-count // most)))

    def _tried(self, since: int, *, grows: bool) -> _Tried:
        """What came of the last plan, whose last deviation was at operation `since`."""
        who, when = self._guide.runtime.trail
        costly = _after(self.noted.costly, since) if grows else []
        return _Tried(self.noted.plan(who, when), when, _after(self.noted.free, since), costly)


def _after(spans: list[_Span], since: int) -> list[_Span]:
    """The spans behind operation `since`."""
    return [(max(span[0], since + 1), *span[1:]) for span in spans if span[1] > since + 1]
