"""Check: every schedule is made twice, and both executions are compared.

A program is deterministic if its choices decide all that happens. Where it looks at a clock, at hash order or at real
randomness, or keeps something from one execution to the next, the two executions of one schedule differ: in what a
task does next, or in which tasks can go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sugarbush.concurrency.core import Announcements, BadSchedule, Observer, Task, first_difference
from sugarbush.concurrency.strategies.base import Strategy


class Check:
    """Makes each execution of `inner` twice; `inner` must depend on the number of an execution only.

    `end` raises `BadSchedule` with the first operation that differs.
    """

    name = "check"
    numbers: Iterator[int] | None = None
    lease = 1

    def __init__(self, inner: Strategy) -> None:
        self._inner = inner
        self._heard = Announcements()
        self.listener: Observer = self._heard
        self._before: list[tuple[object, ...]] | None = None
        self._is_second = False

    def begin(self, execution: int) -> None:
        """Executions 2i and 2i + 1 are execution i of the inner strategy."""
        self._is_second = execution % 2 == 1
        self._inner.begin(execution // 2)

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        """As the inner strategy; which tasks could go on is noted."""
        self._heard.can_go_on(runnable)
        return self._inner.choose(runnable, current, step, forced)

    def data(self, n: int, label: str) -> int:
        """As the inner strategy."""
        return self._inner.data(n, label)

    def end(self, steps: int, forced: int) -> None:
        """Compare the second execution with the first one."""
        self._inner.end(steps, forced)
        log, before = self._heard.log, self._before
        self._before = None if self._is_second else log
        if self._is_second and before is not None and before != log:
            raise BadSchedule(f"the program is not deterministic: {first_difference(before, log)}")
