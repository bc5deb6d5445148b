"""The watchdog: a task that waits or loops outside the runtime hangs everything, and cannot be seen from inside.

The watchdog looks at the wall clock, but nothing that a schedule drives depends on it: all that it can do is to end a
run that would not have ended.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sugarbush.concurrency.checks import describe_tasks
from sugarbush.concurrency.core import ConcurrencyError, active, place_in, spell

_LOOKS = 4
"""So many looks in a row have to find nothing new: a process that was stopped and goes on is not reported at once."""
_watched: set[threading.Thread] = set()


class _Watchdog(threading.Thread):
    """Reports, once, that no operation was done for so many seconds while a program runs in `thread`."""

    def __init__(self, seconds: float, thread: threading.Thread) -> None:
        super().__init__(name="sugarbush watchdog", daemon=True)
        self._seconds = seconds
        self._watched = thread
        self._over = threading.Event()
        self.found = ""

    def run(self) -> None:
        """Look from time to time whether an operation was done."""
        before: object = None
        idle = 0
        while not self._over.wait(self._seconds / _LOOKS):
            runtime: Any = active.runtime
            now = runtime and (runtime.executions, runtime.steps)
            idle = idle + 1 if now is not None and now == before else 0
            before = now
            if idle >= _LOOKS:
                self._bark(runtime)
                return

    def _bark(self, runtime: Any) -> None:
        frame = sys._current_frames().get(self._watched.ident or 0)
        self.found = (
            f"{runtime.current.name} has done no operation for {self._seconds:g} seconds, at {spell(place_in(frame))}: "
            "it waits or loops outside the runtime (a lock of threading, a socket, a loop without operations)"
        )
        told = f"{self.found}\n{describe_tasks()}"
        # Only the main thread can be interrupted (`signal` calls its handlers there); elsewhere it can only be said.
        if self._watched is threading.main_thread():
            signal.pthread_kill(self._watched.ident or 0, signal.SIGINT)
        else:
            sys.stderr.write(told + "\n")

    def end(self) -> None:
        """No program runs any more."""
        self._over.set()
        self.join()


@contextmanager
def watchdog(seconds: float | None) -> Iterator[None]:
    """Raise `ConcurrencyError` when no operation has been done for so many seconds of wall-clock time; None: never.

    Outside the main thread nothing can be interrupted: there it says on standard error what hangs, and where. Inside
    another watchdog of the same thread it does nothing.
    """
    thread = threading.current_thread()
    if seconds is None or thread in _watched or not hasattr(signal, "pthread_kill"):
        yield
        return
    dog = _Watchdog(seconds, thread)
    dog.start()
    _watched.add(thread)
    try:
        yield
    except KeyboardInterrupt:
        if not dog.found:
            raise
        raise ConcurrencyError(dog.found) from None
    finally:
        _watched.discard(thread)
        dog.end()
