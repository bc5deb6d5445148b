"""A worker process that dies as soon as it is there is noticed: nobody waits for its work for ever."""

from __future__ import annotations

import os
from concurrent.futures import BrokenExecutor
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

from sugarbush.concurrency.search import workers


def test_a_worker_that_dies_before_it_is_watched_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second worker dies while `submit` starts it, and the first one never has anything to tell."""
    started: list[BaseProcess] = []
    pool = workers.processes(2)
    context: Any = pool._mp_context
    start = context.Process.start

    def starts(process: Any) -> None:
        start(process)
        started.append(process)
        if len(started) == 2:
            process.kill()
            process.join()

    monkeypatch.setattr(context.Process, "start", starts)
    hang = pool.submit(_wait_for_the_parent)
    pool.submit(os.getpid)
    with pytest.raises(BrokenExecutor):
        hang.result(timeout=60)
    pool.shutdown(wait=False)


def _wait_for_the_parent() -> None:
    """Work that never ends; the worker ends with its parent."""
    import threading

    threading.Event().wait()
