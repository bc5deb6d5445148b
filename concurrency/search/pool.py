"""Processes of our own that work side by side, of which each may die without the others' harm."""

from __future__ import annotations

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any

from sugarbush.concurrency.core import ConcurrencyError
from sugarbush.concurrency.search.running import ignore_interrupts


class Processes(ThreadPoolExecutor):
    """An executor of `jobs` fresh processes; a call whose process dies raises `BrokenExecutor`, and no other does.

    Why not `concurrent.futures.ProcessPoolExecutor`: its workers share one queue of calls and one of results, each
    with a lock. A worker that is killed while it holds one leaves all the others waiting, and whether that is noticed
    depends on when it happens (Python 3.11 to 3.13: a worker that dies while another is being started may be waited
    for without end). Here each process has a pipe of its own, and a thread of the parent that waits for the pipe and
    for the end of the process at once. It is known which call the process had, and the next call gets a new one.

    The processes come from a server that has no threads, or start afresh: a fork of a process with threads may hang.
    They ignore interrupts, and end with their parent, whatever ends it.
    """

    def __init__(self, jobs: int) -> None:
        super().__init__(jobs, thread_name_prefix="sugarbush worker")
        self.jobs = jobs
        methods = multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:
            self._context.set_forkserver_preload(["sugarbush.concurrency"])
        self._mine = threading.local()
        """Each thread's process and the pipe to it."""
        self._there: dict[BaseProcess, Connection] = {}
        """All of them."""
        # If nobody shuts the executor down, the end of the program would wait for processes that wait for work.
        Finalize(self, _end, args=(self._there,), exitpriority=1)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn` in one of the processes; what is sent and what comes back must be picklable."""
        return super().submit(self._call, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As the library's; with `wait` the processes have ended when it returns."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            _end(self._there)

    def _call(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """In a thread: have this thread's process make the call."""
        try:
            process, pipe = self._process()
            pipe.send((fn, args, kwargs))
            # The system closes the pipe of a process that ends, unless the process has left it to children of its own.
            wait_for_any([pipe, process.sentinel])
            if not pipe.poll():
                raise EOFError
            good, value = pipe.recv()
        except (EOFError, OSError) as error:
            self._drop()
            raise BrokenExecutor("a worker process died") from error
        if not good:
            raise value
        return value

    def _process(self) -> tuple[BaseProcess, Connection]:
        """Give the process of this thread and the pipe to it, started if there is none."""
        mine = self._mine
        process: BaseProcess | None = getattr(mine, "process", None)
        if process is not None and not process.is_alive():
            # It has died without work, so no call is lost: this one was not begun.
            self._drop()
            process = None
        if process is None:
            mine.pipe, its = self._context.Pipe()
            # Our copy of its end is closed, or its death would not end the pipe.
            with its:
                process = self._context.Process(target=_serve, args=(its,), name="sugarbush worker")
                process.start()
            mine.process = process
            self._there[process] = mine.pipe
        return process, mine.pipe

    def _drop(self) -> None:
        """Forget the process of this thread, which has died or cannot be reached: the next call starts another."""
        process: BaseProcess | None = getattr(self._mine, "process", None)
        if process is not None:
            self._there.pop(process).close()
            process.kill()
            process.join()
            self._mine.process = None


def _end(there: dict[BaseProcess, Connection]) -> None:
    """End processes that have no work: one that waits for some ends when its pipe does."""
    while there:
        process, pipe = there.popitem()
        pipe.close()
        process.join()


def _serve(pipe: Connection) -> None:
    """What a process does: calls, one after another, until its parent has no more."""
    ignore_interrupts()
    threading.Thread(target=_end_with_parent, name="sugarbush parent", daemon=True).start()
    while True:
        try:
            fn, args, kwargs = pipe.recv()
        except EOFError:
            return
        except Exception as error:
            _answer(pipe, False, error)
            continue
        try:
            value = fn(*args, **kwargs)
        except BaseException as error:
            _answer(pipe, False, error)
        else:
            _answer(pipe, True, value)


def _answer(pipe: Connection, good: bool, value: object) -> None:
    """Send what came of a call; what cannot be sent is said in words."""
    if isinstance(value, BaseException):
        # The traceback does not travel; whoever is stuck wants it, so its text does.
        value.add_note("in a worker process:\n" + "".join(traceback.format_exception(value)))
    try:
        pipe.send((good, value))
    except (EOFError, OSError):
        raise
    except Exception as error:
        pipe.send((False, ConcurrencyError(f"a worker cannot send back {value!r}: {error}")))


def _end_with_parent() -> None:
    """Wait for the end of the process that started this one, whatever ends it, and end as well.

    The end of the pipe is seen by a process that waits for work, but not by one that has some. What tells is a pipe of
    which the parent alone has the other end; the system closes that even if the parent is killed.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_any([parent.sentinel])
        os._exit(1)
