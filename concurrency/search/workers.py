"""What runs batches: processes of our own, or any `concurrent.futures.Executor`."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    wait,
)
from typing import Any

from sugarbush.concurrency.core import ConcurrencyError
from sugarbush.concurrency.search.answers import run_text, sent, understood
from sugarbush.concurrency.search.batch import Parts, Range, Report, Work
from sugarbush.concurrency.search.pool import Processes
from sugarbush.concurrency.search.running import run_batch

_AHEAD = 2
"""Batches kept ready for each worker, so that none waits for the next."""
_DEATHS = 2
"""So often a batch may end its worker: once it may be something from outside, as a lack of memory."""
_IDLE = 100
"""So many batches in a row may come back without an execution, as they do when the time is up."""

Batch = Range | Parts


_PATIENCE = 10.0
"""Seconds in which workers that are not ours may still give what they have, once no more is asked for."""


class Workers:
    """Keeps batches running; one that ends its worker is run again, and then reported.

    `executor` is used as it is and not shut down; without one, `jobs` processes of our own are started. An executor of
    such processes (`Processes`) is ours, too: who explores many times keeps it, and starts none anew.
    """

    def __init__(self, jobs: int, executor: Executor | None = None) -> None:
        if jobs < 1:
            raise ConcurrencyError(f"there must be at least one job, not {jobs}")
        self._executor = executor or Processes(jobs)
        self._own = isinstance(self._executor, Processes)
        self._is_kept = executor is not None
        if isinstance(executor, Processes):
            self.jobs = executor.jobs
        else:
            self.jobs = jobs if executor is None else max(jobs, os.cpu_count() or 1)
        self._running: dict[Future[Any], Batch] = {}
        self._ended_one: set[Batch] = set()
        """Batches that have ended a worker once."""
        self._work: Work | None = None
        self._idle = 0
        """Batches in a row of which no execution came back."""

    @property
    def wants_more(self) -> bool:
        """Whether another batch would not wait for long."""
        return len(self._running) < _AHEAD * self.jobs

    @property
    def busy(self) -> bool:
        """Whether there is a batch whose reports have not come yet."""
        return bool(self._running)

    def submit(self, work: Work, batch: Batch) -> None:
        """Start a batch."""
        self._work = work
        try:
            if self._own:
                future: Future[Any] = self._executor.submit(run_batch, work, batch)
            else:
                future = self._executor.submit(run_text, sent(work, batch))
        except (BrokenExecutor, EOFError, OSError):
            self._broke(batch)
        else:
            self._running[future] = batch

    def finished(self, timeout: float | None) -> Iterator[tuple[Batch, list[Report]]]:
        """The batches that are done, at least one unless `timeout` seconds have passed."""
        if timeout is not None:
            timeout = min(timeout, threading.TIMEOUT_MAX)
        done, _ = wait(self._running, timeout, FIRST_COMPLETED)
        for future in done:
            batch = self._running.pop(future)
            try:
                reports = self._reports(future, batch)
            except (BrokenExecutor, CancelledError):
                self._broke(batch)
            else:
                yield batch, reports

    def _reports(self, future: Future[Any], batch: Batch, timeout: float | None = None) -> list[Report]:
        """What has come of a batch."""
        result = future.result(timeout)
        if self._own:
            return list(result)
        assert self._work is not None
        reports = understood(result, self._work, batch)
        # One that was interrupted, or had no time left, has done nothing; one that never does anything would be asked
        # for the same part of a search for ever.
        self._idle = 0 if any(report.made for report in reports) else self._idle + 1
        if self._idle > _IDLE:
            raise ConcurrencyError(
                "the workers give back what they are asked for undone, again and again, which is no report of this "
                "Sugarbush (no executions): install the same version there"
            )
        return reports

    def _broke(self, batch: Batch) -> None:
        """A worker has died over `batch`: another one makes it, once."""
        if not self._own:
            raise ConcurrencyError("the executor broke: its workers, or who hands out their work, have gone")
        if batch in self._ended_one:
            raise ConcurrencyError(
                f"a worker died {_DEATHS} times over the same work, {batch}: the program ends its process"
            )
        self._ended_one.add(batch)
        assert self._work is not None, "what died was submitted"
        self.submit(self._work, batch)

    def stop(self) -> Iterator[tuple[Batch, list[Report]]]:
        """Start nothing more; gives what is done and what comes of batches that run already."""
        for future in list(self._running):
            # What has not begun is not made; what runs already counts, if it comes in time.
            future.cancel()
        until = time.monotonic() + _PATIENCE
        for future, batch in list(self._running.items()):
            if not future.cancelled():
                timeout = None if self._own else max(0.0, until - time.monotonic())
                try:
                    yield batch, self._reports(future, batch, timeout)
                except (BrokenExecutor, CancelledError, TimeoutError):
                    pass
                except ConcurrencyError:
                    # What comes of one batch must not lose what has come of the others.
                    if self._own:
                        raise
        self._running.clear()

    def close(self) -> None:
        """Shut our own processes down, unless they are kept."""
        for future in self._running:
            future.cancel()
        if not self._is_kept:
            self._executor.shutdown(wait=True, cancel_futures=True)
