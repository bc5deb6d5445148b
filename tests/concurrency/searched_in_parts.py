"""A reduced search with a bound as one, and in parts that are made in any order."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from sugarbush.concurrency.core import OutOfTime
from sugarbush.concurrency.search.batch import Made, Report
from sugarbush.concurrency.search.marks import Marks
from sugarbush.concurrency.strategies import Part, Pruned
from sugarbush.concurrency.strategies.bounded import BoundedDPOR
from sugarbush.concurrency.witness import Result

Run = Callable[[BoundedDPOR], Callable[[], Any]]
"""Makes executions of a program under a search: each call makes one, and gives how it has ended."""
Seen = tuple[list[Any], int, int, str]
"""Of each execution, in order, its trace and how it has ended; what was cut, how many traces there are, their hash."""


class BreaksOff(BoundedDPOR):
    """Some executions are broken off, as where a budget of seconds ends."""

    random: Random | None = None

    def choose(self, *what: Any) -> Any:
        if self.random is not None and self.random.random() < 0.03:
            raise OutOfTime("at some choice")
        return super().choose(*what)


def whole(run: Run, bound: int, most: int) -> Seen | None:
    """What one search sees; None if it makes more than so many executions."""
    search = BoundedDPOR(bound)
    execute, seen = run(search), []
    while search.left:
        seen.append(made(search, execute))
        if len(seen) > most:
            return None
    return seen, search.cut, search.traces, search.digest


def made(search: BoundedDPOR, execute: Callable[[], Any]) -> Any:
    """One execution: its trace and how it has ended; None if it was given up."""
    try:
        ended = execute()
    except Pruned:
        return None
    return search.signature, ended


class TooMany(Exception):
    """There are more parts than there can be."""


def in_parts(run: Run, bound: int, random: Random, most: int = 100_000) -> tuple[Seen, int]:
    """What the parts of a search see, counted in their order; and how many parts there were, at most `most`."""
    search = BreaksOff(bound)
    execute = run(search)
    marks = Marks(search)
    parts: list[Part] = [search.root]
    done: list[tuple[Part, list[Any], Report]] = []
    while parts:
        part = parts.pop(random.randrange(len(parts)))
        search.enter(part)
        search.random = random if random.random() < 0.3 else None
        seen, report = [], Report(part)
        for _ in range(random.choice([1, 2, 5])):
            if not search.left:
                break
            cut = search.cut
            try:
                one = made(search, execute)
            except OutOfTime:
                break
            seen.append(one)
            trace = None if one is None else one[0]
            report.made.append(Made(1, search.cut - cut, 0, trace=trace, marked=search.marked))
        left = [*search.rest(), *marks.opened(report)]
        # Whoever counts in order takes it that nothing comes before what is counted.
        assert not seen or min(left, default=(1000,)) > part
        parts += left
        done.append((part, seen, report))
        if len(done) > most:
            raise TooMany
    result, all_seen = Result("dpor", 1), []
    for part, seen, report in sorted(done, key=lambda one: one[0]):
        all_seen += seen
        result.cut += sum(one.cut for one in report.made)
        marks.count(result, part, report.made)
    return (all_seen, result.cut, result.traces, result.digest), len(done)
