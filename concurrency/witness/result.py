"""What an exploration finds: witnesses, and a verdict on all of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from sugarbush.concurrency.checks import Event
from sugarbush.concurrency.core import Failure, Schedule


class Verdict(StrEnum):
    """What an exploration can say: never 'passed' unless everything within the stated bound was seen.

    Where no two tasks have met, all schedules are one, and it is 'unexplored', however many were made.
    """

    FAILED = "failed"
    PASSED = "passed"
    INCONCLUSIVE = "inconclusive"
    UNEXPLORED = "unexplored"


@dataclass(frozen=True, slots=True)
class Witness:
    """A schedule that ends in a failure, and what happened on the way.

    `execution` is the number, from 0, of the execution that found it, and `strategy` what made its choices (of a
    portfolio: the member). `preemptions` counts the switches away from a task that could have gone on and did not
    offer its CPU (`cond_resched`).
    """

    failure: Failure
    schedule: Schedule
    execution: int
    steps: int
    tasks: tuple[str, ...]
    events: tuple[Event, ...]
    preemptions: int = 0
    strategy: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Of two witnesses the one of smaller size is the simpler one: fewer preemptions, then fewer operations."""
        return self.preemptions, self.steps


@dataclass(slots=True)
class Result:
    """What an exploration found; `seconds` is wall-clock time, `steps` counts operations of all executions.

    `exhaustive` says that every schedule was seen within `bound` preemptions or delays, whichever `unit` says (None:
    every schedule). `cut` is the number of switch points at which that bound forbade to go on with another task; with
    0 it forbade nothing. `completed` is the bound up to which an iterative search has seen everything, and `repeated`
    how many executions it made again since a smaller bound allowed them, too. `pruned` counts the executions that
    were begun and given up, since nothing new could come of them; they are not among `executions`. `traces` counts
    the traces that a search that reduces has completed, within the bound of now, and `digest` is a hash of the set of
    them. `watched` says that a reduced search ran with checks that look at the whole state: they saw one execution of
    each trace, and what they would say of the others is open. `fair` counts the executions that took so long that
    they were scheduled fairly in the end (`Execution.fair`): of those not every schedule was seen. `looks_cut` counts
    the executions in which a loop that may give up was not followed to its end (`Settings.looks`): what it would have
    done is open. `doubts` says why else not all was seen (`Execution.doubt`). `faults` counts the allocations that
    failed by choice. `met` says that two tasks have met in some execution (`concurrency.checks.meeting`). `times`
    says for each headline how many executions showed it, of which the simplest is among `failures`.
    """

    strategy: str
    seed: int
    executions: int = 0
    steps: int = 0
    seconds: float = 0.0
    exhaustive: bool = False
    interrupted: bool = False
    bound: int | None = None
    unit: str = "preemption"
    cut: int = 0
    completed: int | None = None
    repeated: int = 0
    pruned: int = 0
    traces: int = 0
    digest: str = ""
    watched: bool = False
    fair: int = 0
    faults: int = 0
    looks_cut: int = 0
    doubts: set[str] = field(default_factory=set)
    met: bool = False
    times: Counter[str] = field(default_factory=Counter)
    failures: list[Witness] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """Failed, unexplored (no two tasks met), passed (everything was seen) or inconclusive."""
        if self.failures:
            return Verdict.FAILED
        if self.unexplored:
            return Verdict.UNEXPLORED
        # Each of the others says that something within the bound was not seen, and `scope` says what.
        seen = (
            self.exhaustive and not self.watched and not self.fair and not self.looks_cut and not self.doubts
        )
        return Verdict.PASSED if seen else Verdict.INCONCLUSIVE

    @property
    def unexplored(self) -> str:
        """Why this is no exploration at all, in a sentence; empty if it is one."""
        if self.met or self.failures or not self.executions:
            return ""
        return (
            f"nothing was explored: no two tasks touched a common place in any execution ({self.executions}): let them "
            "meet at fields of Shared objects, locks or other operations"
        )

    @property
    def scope(self) -> str:
        """What the exploration has seen, in words, and what is in doubt."""
        cut = (
            f"in {self.looks_cut} executions a loop was not followed beyond the looks in vain that Settings.looks "
            "allows"
        )
        return "; ".join([self._seen, *([cut] if self.looks_cut else []), *sorted(self.doubts)])

    @property
    def _seen(self) -> str:
        if self.unexplored:
            return "nothing: no two tasks touched a common place in any execution"
        watched = "; checks of the whole state saw one execution of each" if self.watched else ""
        traces = f" ({self.traces} traces, {self.executions} executions{watched})" if self.traces else ""
        if not self.exhaustive and self.completed is not None:
            seen = f"every schedule within {self.unit} bound {self.completed}"
            return seen if self.completed == self.bound else f"{seen}, and some of bound {self.bound}"
        if not self.exhaustive:
            return "some of the schedules"
        if self.strategy == "dpor" and self.bound is None:
            return f"every trace ({self.executions}; {self.pruned} executions were given up){watched}"
        if not self.cut:
            return f"every schedule{traces}"
        return f"every schedule within {self.unit} bound {self.bound}, which cut {self.cut} switch points{traces}"
