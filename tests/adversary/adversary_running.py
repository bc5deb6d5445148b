"""Running a program on the engine: all executions of a search, each with its outcome and its trace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from adversary_language import Compiled, Program, compiled
from adversary_traces import Story, trace_of

from sugarbush.concurrency import Failure, Settings
from sugarbush.concurrency.lowlevel import Simulated
from sugarbush.concurrency.strategies.base import Pruned
from sugarbush.concurrency.strategies.table import make_strategy

BARE = frozenset({"lockdep", "data-race", "leak", "circle"})
"""Without the checks that end an execution before it has shown how it would end."""

Outcome = tuple[Any, ...]


def headline(failure: Failure) -> str:
    """What a failure is about. Who saw it first, and where, is a matter of the execution that shows it."""
    if failure.kind in ("check", "bug-on", "exception"):
        return failure.headline
    words = failure.headline.removeprefix("BUG: ").removeprefix("WARNING: ").split(" by ")[0]
    return re.sub(r"\bt\d[\w.]*|/\d+", "T", words)


def outcome_of(made: Compiled, failure: Failure | None) -> Outcome:
    """How an execution has ended. With a deadlock the tasks have come as far as they could, so that counts, too."""
    if failure is None:
        return ("done", *made.outcome)
    if failure.kind == "deadlock":
        return ("deadlock", *made.outcome)
    if failure.kind in ("livelock", "starvation", "stall"):
        return ("hangs",)
    return ("failed", str(failure.kind), headline(failure))


class TooMany(Exception):
    """There are more executions than the comparison wants to see."""


@dataclass(slots=True)
class Search:
    """What all executions of one search have shown. `traces` has one entry for each execution, in their order."""

    outcomes: set[Outcome] = field(default_factory=set)
    traces: list[Any] = field(default_factory=list)
    executions: int = 0
    pruned: int = 0
    fair: int = 0
    failures: list[tuple[Failure, int]] = field(default_factory=list)
    """Each failure that was seen, and how many preemptions its execution had."""

    @property
    def fails(self) -> bool:
        """Some execution ended in a failure before all tasks had come as far as they could."""
        return any(outcome[0] in ("failed", "hangs") for outcome in self.outcomes)


def settings_of(program: Program, without: frozenset[str] = BARE, **more: Any) -> Settings:
    """How a program is run."""
    return Settings(without=without, faults=program.faults, spurious=program.spurious, **more)


def searched(
    program: Program,
    strategy: str,
    most: int,
    *,
    traces: bool = False,
    without: frozenset[str] = BARE,
    made: Compiled | None = None,
    depth: int | None = None,
) -> Search:
    """All executions of a search; raises `TooMany` if there are more than `most`."""
    made = made or compiled(program)
    story = Story()
    settings = settings_of(
        program, without, observers=lambda: (story,) if traces else (), max_steps=600, spins=30
    )
    chooser = make_strategy(strategy, 1, depth, faults=program.faults > 0)
    runtime: Simulated = settings.runtime(chooser)
    found = Search()
    steps = 0
    while chooser.left:  # type: ignore[attr-defined]
        if found.executions + found.pruned >= most:
            raise TooMany
        try:
            execution = runtime.run(made.run)
        except Pruned:
            found.pruned += 1
            continue
        found.executions += 1
        steps += execution.steps
        if steps > 40 * most:
            raise TooMany
        found.fair += execution.fair
        outcome = outcome_of(made, execution.failure)
        found.outcomes.add(outcome)
        if execution.failure is not None:
            found.failures.append((execution.failure, execution.preemptions))
        if traces:
            # An operation whose effect fails is in no story: then who has failed tells executions apart.
            failed = execution.who[-1].name if outcome[0] == "failed" else ""
            found.traces.append((trace_of(story.events), failed))
    return found


def programs(profile: str, seeds: range) -> Iterator[Program]:
    """The programs of a profile with these seeds."""
    from adversary_generate import generate

    for seed in seeds:
        yield generate(profile, seed)
