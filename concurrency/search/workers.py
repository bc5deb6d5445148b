"""What runs batches: processes of our own, or any `concurrent.futures.Executor`."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from multiprocessing.connection import wait as wait_for_any
from typing import Any

from sugarbush.concurrency.core import ConcurrencyError
from sugarbush.concurrency.search.answers import run_text, sent, understood
from sugarbush.concurrency.search.batch import Parts, Range, Report, Work
from sugarbush.concurrency.search.running import ignore_interrupts, run_batch

_AHEAD = 2
"""Batches kept ready for each worker, so that none waits for the next."""
_DEATHS = 2
"""So often a batch may end its worker: it may be another batch's doing once, and then it runs alone."""
_IDLE = 100
"""So many batches in a row may come back without an execution, as they do when the time is up."""

Batch = Range | Parts


_PATIENCE = 10.0
"""Seconds in which workers that are not ours may still give what they have, once no more is asked for."""


def processes(jobs: int) -> ProcessPoolExecutor:
    """So many fresh processes: a fork of one that has threads may hang. They ignore interrupts, and end with us."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(["sugarbush.concurrency"])
    return _Processes(jobs, mp_context=context, initializer=_begin)


class _Processes(ProcessPoolExecutor):
    """As the library's, but a worker that dies as soon as it is there is noticed, too.

    The library wakes the thread that watches the workers, then starts a new one, which the thread does not know before
    it is woken again (`submit` in concurrent/futures/process.py, Python 3.11 to 3.13). If that worker dies holding the
    queue that all of them read from, no other worker gets any work, so nothing wakes the thread: both wait for ever.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As the library's; then the thread looks again at which workers there are."""
        future = super().submit(fn, *args, **kwargs)
        wakes: Any = getattr(self, "_executor_manager_thread_wakeup", None)
        if wakes is not None:
            with self._shutdown_lock:
                wakes.wakeup()
        return future


def _begin() -> None:
    """What a worker does first."""
    ignore_interrupts()
    threading.Thread(target=_end_with_parent, name="sugarbush parent", daemon=True).start()


def _end_with_parent() -> None:
    """Wait for the end of the process that started this one, whatever ends it, and end as well.

    A worker waits for work at a pipe of which all workers have both ends, so it would not see that no more is sent.
    The server that it was forked from is no help: it waits for its children. What tells is a pipe of which the parent
    alone has the other end; the system closes that even if the parent is killed.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_any([parent.sentinel])
        os._exit(1)


class Workers:
    """Keeps batches running; one that ends its worker is run again, alone, and then reported.

    `executor` is used as it is and not shut down; without one, `jobs` processes of our own are started.
    """

    def __init__(self, jobs: int, executor: Executor | None = None) -> None:
        if jobs < 1:
            raise ConcurrencyError(f"there must be at least one job, not {jobs}")
        self._own = executor is None
        self.jobs = jobs if executor is None else max(jobs, os.cpu_count() or 1)
        self._executor = executor or processes(jobs)
        self._running: dict[Future[Any], Batch] = {}
        self._suspects: deque[Batch] = deque()
        self._work: Work | None = None
        self._idle = 0
        """Batches in a row of which no execution came back."""

    @property
    def wants_more(self) -> bool:
        """Whether another batch would not wait for long."""
        return not self._suspects and len(self._running) < _AHEAD * self.jobs

    @property
    def busy(self) -> bool:
        """Whether there is a batch whose reports have not come yet."""
        return bool(self._running or self._suspects)

    def submit(self, work: Work, batch: Batch) -> None:
        """Start a batch."""
        self._work = work
        try:
            if self._own:
                future: Future[Any] = self._executor.submit(run_batch, work, batch)
            else:
                future = self._executor.submit(run_text, sent(work, batch))
            self._running[future] = batch
        except (BrokenExecutor, EOFError, OSError):
            self._broke([batch])

    def finished(self, timeout: float | None) -> Iterator[tuple[Batch, list[Report]]]:
        """The batches that are done, at least one unless `timeout` seconds have passed."""
        if self._suspects and not self._running and self._work is not None:
            self.submit(self._work, self._suspects[0])
        if timeout is not None:
            timeout = min(timeout, threading.TIMEOUT_MAX)
        done, _ = wait(self._running, timeout, FIRST_COMPLETED)
        broken: list[Batch] = []
        for future in done:
            batch = self._running.pop(future)
            try:
                reports = self._reports(future, batch)
            except (BrokenExecutor, CancelledError):
                broken.append(batch)
                continue
            if self._suspects and batch is self._suspects[0]:
                self._suspects.popleft()
            yield batch, reports
        if broken:
            self._broke(broken)

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

    def _broke(self, batches: list[Batch]) -> None:
        """A worker has died. It is not known which batch it had, so each is run again alone."""
        if not self._own:
            raise ConcurrencyError("the executor broke: its workers, or who hands out their work, have gone")
        if self._suspects and batches == [self._suspects[0]]:
            raise ConcurrencyError(
                f"a worker died {_DEATHS} times over the same work, {batches[0]}: the program ends its process"
            )
        batches += self._running.values()
        self._running.clear()
        self._suspects = deque(batches)
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = processes(self.jobs)

    def stop(self) -> Iterator[tuple[Batch, list[Report]]]:
        """Start nothing more; gives what is done and what comes of batches that run already."""
        self._suspects.clear()
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
        """Shut our own processes down."""
        for future in self._running:
            future.cancel()
        if self._own:
            self._executor.shutdown(wait=True, cancel_futures=True)
