"""Greenlets that outlive their tasks: to make one costs more than to run a small execution."""

from __future__ import annotations

from typing import Any

from greenlet import getcurrent, greenlet


class Greenlets:
    """Greenlets that run one call after another for the hub, the greenlet that made this."""

    def __init__(self) -> None:
        self.hub = getcurrent()
        self._idle: list[greenlet] = []

    def take(self) -> greenlet:
        """One that waits: `switch(function, argument)` has it make that call. Only the hub may take one."""
        while self._idle:
            worker = self._idle.pop()
            # An interrupt may have ended it.
            if not worker.dead:
                worker.gr_context = None
                return worker
        worker = greenlet(_work, self.hub)
        worker.switch()
        return worker

    def give_back(self, worker: greenlet) -> None:
        """Its call is about to return; the hub goes on then."""
        self._idle.append(worker)


def _work() -> None:
    """What a worker runs.

    While it waits it refers to the hub only, so that it ends with its `Greenlets` and keeps nothing alive that it ran.
    """
    hub = getcurrent().parent
    assert hub is not None
    wait = hub.switch
    function: Any
    while True:
        function, argument = wait()
        function(argument)
        del function, argument
