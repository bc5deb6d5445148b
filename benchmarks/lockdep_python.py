"""What a watched lock of an unmodified program costs, as ratios to the bare one in the same run.

Run it with ``python benchmarks/lockdep_python.py``. Exit status 1 when a bound is broken.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import _thread

from sugarbush.lockdep import python as watched

ROUNDS, PAIRS = 31, 4_000


def pair(statement: str, lock: Any) -> Callable[[], None]:
    """A body of its own: CPython learns at each call which lock it is of, and two in turn would spoil that for both."""
    names: dict[str, Any] = {"lock": lock}
    exec(f"def body():\n    for _ in range({PAIRS}):\n        {statement}\n", names)
    body: Callable[[], None] = names["body"]
    return body


WITH, CALLED = "with lock: pass", "lock.acquire(); lock.release()"


def best(*bodies: Callable[[], None]) -> list[float]:
    """Nanoseconds a pair, of the fastest of many rounds that take turns: what else the machine does is left out."""
    times = [float("inf")] * len(bodies)
    for _ in range(ROUNDS):
        for index, body in enumerate(bodies):
            start = time.thread_time_ns()
            body()
            times[index] = min(times[index], time.thread_time_ns() - start)
    return [one / PAIRS for one in times]


def main() -> int:
    import threading

    bare, bare_again = _thread.allocate_lock(), _thread.RLock()
    watched.install(show=False, adopt=False)
    lock, rlock, outer = threading.Lock(), threading.RLock(), threading.Lock()
    names = ("with lock", "lock.acquire(), lock.release()", "with rlock", "rlock.acquire(), rlock.release()")
    bodies = []
    for statement, real, ours in (
        (WITH, bare, lock),
        (CALLED, bare, lock),
        (WITH, bare_again, rlock),
        (CALLED, bare_again, rlock),
    ):
        bodies += [pair(statement, real), pair(statement, ours)]
    times = best(*bodies)
    with outer:
        nested = best(pair(WITH, lock))[0]
    worst = 0
    for index, name in enumerate(names):
        plain, ours_took = times[2 * index : 2 * index + 2]
        bound = 8 if "rlock" in name else 6
        ratio = ours_took / plain
        worst = max(worst, int(ratio > bound))
        print(
            f"{name:34} {plain:7.0f} ns bare, {ours_took:7.0f} ns watched, {ratio:5.1f} x (at most {bound})"
        )
    print(f"{'with lock, under another one':34} {'':16} {nested:7.0f} ns watched")
    return worst


if __name__ == "__main__":
    sys.exit(main())
