"""Bugs of the catalogue side by side: one process a bug, and what came of them in the order of the bugs."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from typing import TypeVar

from sugarbush.concurrency import ConcurrencyError
from sugarbush.concurrency.search import Processes
from sugarbush.stress.kit import Bug, find_bug, load_file, loaded_files, registry

T = TypeVar("T")


def side_by_side(bugs: Sequence[Bug], work: Callable[[Bug], T], jobs: int) -> Iterator[T]:
    """Do `work`, which can be pickled, for each bug, by so many processes; its results come in the order of the bugs.

    A KeyboardInterrupt comes after the results that are there already. Raises `ConcurrencyError` if workers die twice
    over one bug: once it may be something from outside, as a lack of memory.
    """
    if jobs == 1 or not bugs:
        yield from map(work, bugs)
        return
    with Processes(min(jobs, len(bugs))) as pool:
        futures = deque(_started(pool, bug, work) for bug in bugs)
        try:
            for bug in bugs:
                try:
                    result = futures[0].result()
                except BrokenExecutor:
                    futures[0] = _started(pool, bug, work)
                    result = futures[0].result()
                futures.popleft()
                yield result
        except BrokenExecutor:
            raise ConcurrencyError(f"a worker died twice, over {bug.name}") from None
        except BaseException as error:
            # The end of the pool would wait for what they do, which may take minutes.
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            if isinstance(error, KeyboardInterrupt):
                yield from _there(futures)
            raise


def _started(pool: Executor, bug: Bug, work: Callable[[Bug], T]) -> Future[T]:
    return pool.submit(_elsewhere, bug.name, work, loaded_files())


def _there(futures: Iterable[Future[T]]) -> Iterator[T]:
    for future in futures:
        if future.done() and not future.cancelled() and future.exception() is None:
            yield future.result()


def _elsewhere(name: str, work: Callable[[Bug], T], files: tuple[str, ...]) -> T:
    """What a worker does."""
    registry.load()
    for file in files:
        load_file(Path(file))
    return work(find_bug(name))
