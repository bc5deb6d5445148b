"""An execution that is held open: its only task makes one call after another, between which the test is on its own.

The task is a greenlet like that of any execution. It hands over to the test where it has nothing to do, and goes on
with the next call. So all checks, and the state of the execution, are those of one run, and each call is made inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from greenlet import getcurrent, greenlet

from sugarbush.concurrency import Settings, Task
from sugarbush.concurrency.core.execution import Execution
from sugarbush.concurrency.core.runtime import active


class OneTask:
    """Of the allocations of a call the `failing`-th fails, none if that is 0. Nothing else is to choose."""

    name = "one task"
    numbers = None
    lease = 1

    def __init__(self) -> None:
        self.failing = 0

    def begin(self, execution: int) -> None:
        """There is one execution."""

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        """Whoever is first."""
        return runnable[0]

    def data(self, n: int, label: str) -> int:
        """Whether this allocation fails."""
        self.failing -= 1
        return int(self.failing == 0 and label.endswith("fails"))

    def end(self, steps: int, forced: int) -> None:
        """There is no other."""


class HeldOpen:
    """Begins an execution under `settings`; `call` makes calls inside it, `close` lets it end."""

    def __init__(self, settings: Settings) -> None:
        self._strategy = OneTask()
        self._runtime = settings.runtime(self._strategy, stacks=True)
        self._test = getcurrent()
        self._task: greenlet | None = None
        self._runner = greenlet(self._run)
        self._runner.switch()
        self._leave()

    def _run(self) -> Execution:
        return self._runtime.run(self._serve)

    def _serve(self) -> None:
        self._task = getcurrent()
        call = self._test.switch()
        while call is not None:
            call = self._test.switch(call())

    def _leave(self) -> None:
        active.runtime = None

    def call(self, function: Callable[[], Any] | None, failing: int = 0) -> Any:
        """Make the call inside the execution; an AssertionError if that ends it with a failure."""
        if self._runner.dead:
            return None
        assert self._task is not None
        self._strategy.failing = failing
        active.runtime = self._runtime
        try:
            answer = self._task.switch(function)
        finally:
            self._leave()
        if not self._runner.dead:
            return answer
        failure = answer.failure
        if failure is not None:
            raise AssertionError(f"{failure.headline}\n{failure.detail}") from failure
        return None

    def close(self) -> None:
        """Let the execution end; an AssertionError if it finds something left over."""
        self.call(None)
