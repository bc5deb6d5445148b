"""What the comparison asks of a tool. One module `run_NAME` a tool, with `STRATEGIES`, `speed` and `hunt`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple


class Hunt(NamedTuple):
    """What came of one hunt: `verdict` is failed (found), passed or inconclusive."""

    verdict: str
    executions: int


class Inexpressible(Exception):
    """The tool has nothing to write this program with."""


def rate(some: Callable[[], int], seconds: float) -> tuple[int, float]:
    """Calls `some`, which gives how many executions it made, until so many seconds are over and one was made.

    On a machine that is busy with other work a short time may be over before the first execution is.
    """
    executions = 0
    start = time.perf_counter()
    while True:
        executions += some()
        passed = time.perf_counter() - start
        if passed >= seconds and executions:
            return executions, passed
