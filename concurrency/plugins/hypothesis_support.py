"""Schedules as a Hypothesis strategy: its shrinking and its example database then work on interleavings.

    @given(schedules())
    def test_deposits(choices: Choices) -> None:
        run(two_deposits, choices)

A drawn value says after how many operations which other task goes on, so it fits any program, and shrinking it takes
preemptions away and makes the rest earlier. Needs the package ``hypothesis``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import currently_in_test_context, event, note, reject
from hypothesis import strategies as st

from sugarbush.concurrency.checks import Meeting
from sugarbush.concurrency.core import ConcurrencyError, Task, check_runs, no_threads, run_heard
from sugarbush.concurrency.runtimes import Settings

_FOR_EVER = 1 << 60
_LONGEST = 64
_SWITCHES = 16
_DATA = 16


@dataclass(frozen=True, slots=True)
class Choices:
    """All choices of one execution, as Hypothesis draws and shrinks them.

    `switches` has a pair for each time that another task may go on: after how many operations of the current one (a
    task that ends or must wait is left at once), and which of the others, counted round. After the last pair a task
    runs until it cannot go on. `values` are the choices that are not tasks, counted round, then 0.
    """

    switches: tuple[tuple[int, int], ...] = ()
    values: tuple[int, ...] = ()


class Chosen:
    """The strategy that makes the choices of a `Choices`."""

    name = "hypothesis"
    numbers = None

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self.lease = 1
        self._at = self._used = self._until = 0

    def begin(self, execution: int) -> None:  # noqa: ARG002
        """Start from the first choice."""
        self._at = self._used = 0
        self._until = self._next_length(0)

    def _next_length(self, step: int) -> int:
        switches = self._choices.switches
        return step + switches[self._at][0] if self._at < len(switches) else _FOR_EVER

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """The current task until its time is up, then another one."""
        if current is not None and step < self._until:
            self.lease = self._until - step
            return current
        others = [task for task in runnable if task is not current]
        which = 0
        if self._at < len(self._choices.switches):
            which = self._choices.switches[self._at][1]
            self._at += 1
        elif current is not None:
            others = [current]
        self._until = self._next_length(step)
        self.lease = max(1, self._until - step)
        return others[which % len(others)]

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """The next value."""
        values = self._choices.values
        self._used += 1
        return values[self._used - 1] % n if self._used <= len(values) else 0

    def end(self, steps: int, forced: int) -> None:
        """Nothing is carried over."""


def schedules(switches: int = _SWITCHES, longest: int = _LONGEST) -> st.SearchStrategy[Choices]:
    """Choices with at most `switches` switches, none later than `longest` operations after the one before.

    A bug that needs more of either cannot be found; a larger bound makes each one rarer.
    """
    pair = st.tuples(st.integers(1, longest), st.integers(0, 7))
    return st.builds(
        Choices,
        st.lists(pair, max_size=switches).map(tuple),
        st.lists(st.integers(0, 3), max_size=_DATA).map(tuple),
    )


def run(program: Callable[[], Any], choices: Choices, settings: Settings | None = None) -> None:
    """Run `program` once under these choices; raises the `Failure` that it shows, after noting its schedule.

    Choices under which no two tasks meet (`concurrency.checks.meeting`) count for nothing, as by `hypothesis.assume`.

    Hypothesis then shrinks the choices, and prints the schedule for `concurrency.replay` with its falsifying example.
    """
    check_runs(program, "the program given to run()", "write run(program, choices)")
    settings = settings or Settings()
    meeting = Meeting()
    watched = replace(settings, observers=lambda: (*settings.observers(), meeting))
    with no_threads():
        execution = run_heard(watched.runtime(Chosen(choices)), program, 0)
    if execution.failure is not None:
        note(f"schedule: {execution.schedule}")
        raise execution.failure
    meeting.over(execution)
    if not meeting.met:
        _did_not_meet()


def _did_not_meet() -> None:
    """No two tasks touched a common place, so this example says nothing; a test of nothing but such ones is red."""
    said = "nothing was explored: no two tasks touched a common place in this execution"
    if not currently_in_test_context():
        raise ConcurrencyError(said)
    # An input may well leave the tasks nothing to meet at (an empty list of work). So it is passed over, as by
    # assume(): Hypothesis fails a test that it finds no other example for.
    event(said)
    reject()
