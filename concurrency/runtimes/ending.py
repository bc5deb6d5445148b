"""How an execution ends: all that could run has run, or a check has found something."""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency.core import (
    Failure,
    Observer,
    Operation,
    TaskKilled,
    describe_deadlock,
    from_outside,
    raised_by,
    uncaught,
)
from sugarbush.concurrency.runtimes.choosing import Choosing


class Ending(Choosing):
    """The part of `Simulated` that ends an execution."""

    _observers: tuple[Observer, ...]
    _on_finished: list[Any]
    _failure: Failure | None
    _broken: BaseException | None

    def stop(self, failure: Failure) -> None:
        """The execution has failed: whatever tasks still do has no effect."""
        if self._failure is None and not self._stopping:
            failure.step = self.steps
            if self.current is not None:
                failure.task = self.current.name
            self._failure = failure
            self._stop()

    def give_up(self, error: BaseException) -> None:
        """The execution makes no sense: `run` raises `error` in the end, even if the program swallows it."""
        if self._broken is None:
            self._broken = error
        self._stop()

    def _blame(self, error: BaseException) -> None:
        """An observer may have raised it: then the execution has failed, even if the program swallows it."""
        if isinstance(error, TaskKilled) or from_outside(error):
            return
        by = raised_by(error, self._observers)
        if by is not None:
            self.stop(uncaught(error, by))

    def _stop(self) -> None:
        self._stopping = True
        self.step = self._step_stopping

    def _kill(self) -> None:
        """Unwind what is left of the tasks; whatever they do while they unwind ends in `TaskKilled` again."""
        self._stop()
        for task in self.tasks:
            # Thrown into each task that has begun, so that its clean-up runs now, and not whenever it is collected.
            if task.greenlet is not None:
                self.current = task
                task.greenlet.throw(TaskKilled)
            task.resume = None

    def _settle(self) -> None:
        """All that can run has run: fail if a task that is no daemon is left, and ask the observers."""
        if self._failure is not None or self._broken is not None:
            return
        # The reduced searches rely on it: to them a task that could still go on says that the execution has failed.
        assert not self._runnable, "an execution without a failure ends when no task can go on"
        try:
            stuck = [task for task in self.tasks if not task.ended]
            if stuck and not all(task.daemon for task in stuck):
                raise describe_deadlock(stuck)
            for finished in self._on_finished:
                finished()
        except Failure as failure:
            self.stop(failure)
        except BaseException as error:
            self._blame(error)
            if self._failure is None:
                raise

    def _step_stopping(self, op: Operation, obj: object) -> None:  # noqa: ARG002
        """`step` when the execution has ended."""
        raise TaskKilled
