"""What an exploration has seen so far, and when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sugarbush.concurrency.core import Execution
from sugarbush.concurrency.runtimes import Settings
from sugarbush.concurrency.search.sample import Sampler
from sugarbush.concurrency.witness import Result, Witness, confirmed


@dataclass(frozen=True, slots=True)
class Wishes:
    """When an exploration ends, and what is called on the way.

    It ends after `executions`, after `seconds`, or at the first failure unless it should go on (`keep_going`).
    `progress` is called with the result so far, `found` with each witness that is kept. `sampler` hears some of the
    executions.
    """

    executions: int | None = None
    seconds: float | None = None
    keep_going: bool = False
    progress: Callable[[Result], None] | None = None
    found: Callable[[Witness], None] | None = None
    sampler: Sampler | None = None


class Tally:
    """Adds up executions in `result`, and keeps the simplest witness of each headline."""

    def __init__(
        self, program: Callable[[], Any], settings: Settings, result: Result, wishes: Wishes
    ) -> None:
        self.program = program
        self.settings = settings
        self.result = result
        self.wishes = wishes
        self.over = False
        """A failure was found and no other one is wanted, or everything was seen."""
        self._start = time.monotonic()
        self._kept: dict[str, tuple[int, tuple[int, int]]] = {}
        """For each headline the place of its witness among the failures, and its size."""

    @property
    def room(self) -> int | None:
        """How many executions the budget still allows; None: any number. Those that were given up use up none of it."""
        budget = self.wishes.executions
        return None if budget is None else budget - self.result.executions

    @property
    def time_is_up(self) -> bool:
        """Whether the seconds have passed."""
        return self.wishes.seconds is not None and time.monotonic() - self._start >= self.wishes.seconds

    @property
    def time_left(self) -> float | None:
        """Seconds until the time is up; None: there is no limit."""
        if self.wishes.seconds is None:
            return None
        return max(0.0, self._start + self.wishes.seconds - time.monotonic())

    @property
    def out_of_time(self) -> Callable[[], bool] | None:
        """Whether the time is up, to be asked within an execution; None: there is no limit."""
        return None if self.wishes.seconds is None else lambda: self.time_is_up

    @property
    def goes_on(self) -> bool:
        """Whether there may be another execution."""
        room = self.room
        # On a busy machine the seconds may be over before anything has begun, which would explore nothing.
        begun = self.result.executions + self.result.pruned > 0
        return not self.over and (room is None or room > 0) and not (begun and self.time_is_up)

    def executed(self, execution: Execution, strategy: str) -> None:
        """Count one execution, whose choices were those of `strategy`."""
        result = self.result
        result.executions += 1
        result.steps += execution.steps
        result.fair += execution.fair
        result.faults += execution.faults
        result.looks_cut += execution.looks_cut
        if execution.doubt:
            result.doubts.add(execution.doubt)
        failure = execution.failure
        if failure is not None:
            result.times[failure.headline] += 1
            if self.wants(failure.headline, (execution.preemptions, execution.steps)):
                self.failed(unconfirmed(execution, result.executions - 1, strategy))

    def wants(self, headline: str, size: tuple[int, int]) -> bool:
        """Whether a witness of this size (`Witness.size`) is the first of its headline, or the simplest so far."""
        kept = self._kept.get(headline)
        return kept is None or size < kept[1]

    def failed(self, witness: Witness) -> None:
        """An execution has failed: keep its witness, replayed, if it is wanted.

        An interrupt during that second run leaves a witness without events: what was found is not lost.
        """
        headline, size = witness.failure.headline, witness.size
        if not self.wants(headline, size):
            return
        failures = self.result.failures
        place, _ = self._kept.get(headline, (len(failures), size))
        self._kept[headline] = place, size
        if witness.schedule.choices:
            try:
                witness = confirmed(self.program, witness, self.settings)
            except KeyboardInterrupt:
                self.result.interrupted = True
        # A simpler witness takes the place of the one before, so that the headlines stay in the order of their
        # discovery.
        failures[place : place + 1] = [witness]
        if self.wishes.found is not None:
            self.wishes.found(witness)
        self.over = self.over or not self.wishes.keep_going or self.result.interrupted

    def stop(self) -> None:
        """The exploration has ended: look at the clock."""
        self.result.seconds = time.monotonic() - self._start

    def tick(self) -> None:
        """Call `progress` with the result so far."""
        self.stop()
        if self.wishes.progress is not None:
            self.wishes.progress(self.result)


def unconfirmed(execution: Execution, number: int, strategy: str) -> Witness:
    """The witness of an execution that failed, before it was replayed."""
    assert execution.failure is not None
    return Witness(
        execution.failure,
        execution.schedule,
        number,
        execution.steps,
        (),
        (),
        execution.preemptions,
        strategy,
    )
