"""Prints a digest of the schedules and failures of fixed programs: the same on every machine and Python."""

# ruff: noqa: E402
from __future__ import annotations

import hashlib
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3] / "src")]

from concurrency_programs import Cell, abba, lost_update

from sugarbush.concurrency import (
    KmemCache,
    RwSemaphore,
    Settings,
    call_rcu,
    explore,
    join,
    rcu_barrier,
    rcu_reader,
    spawn,
)
from sugarbush.concurrency.strategies.table import make_strategy
from sugarbush.lockdep.model.gfp import GFP_KERNEL


def mixed() -> None:
    """Locks, RCU, a slab cache with failing allocations, in sets and dicts along the way."""
    cache = KmemCache("cell", Cell)
    sem, root = RwSemaphore("sem"), Cell()

    def update() -> None:
        new = cache.alloc(GFP_KERNEL)
        if new is None:
            return
        sem.down_write()
        old, root.pointer = root.once and None, new
        root.once += 1
        root.pointer = old
        sem.up_write()
        call_rcu(cache.free, new)

    def read() -> None:
        sem.down_read()
        with rcu_reader():
            found = root.pointer
            if found is not None:
                found.plain  # noqa: B018
        sem.up_read()

    join(*[spawn(fn) for fn in (update, read, update, read)])
    rcu_barrier()


def lines() -> list[str]:
    lines: list[str] = []
    for program in (lost_update, abba, mixed):
        for strategy in ("random", "pct"):
            runtime = Settings(faults=1).runtime(make_strategy(strategy, 7))
            for _ in range(40):
                execution = runtime.run(program)
                failure = execution.failure
                what = "" if failure is None else f"{failure.signature} {failure.detail}"
                lines.append(f"{program.__name__} {strategy} {execution.schedule} {what}")
            found = explore(program, strategy=strategy, executions=60, keep_going=True)
            lines += [str(witness.events) for witness in found.failures]
    return lines


def schedules() -> str:
    """A digest of what a strategy chose: no places in files, so that editing this file changes nothing."""
    found = []
    for program in (lost_update, abba, mixed):
        for strategy in ("random", "pct"):
            runtime = Settings(faults=1).runtime(make_strategy(strategy, 7))
            found += [str(runtime.run(program).schedule) for _ in range(40)]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]


def digest() -> str:
    return hashlib.sha256("\n".join(lines()).encode()).hexdigest()


if __name__ == "__main__":
    print("\n".join(lines()) if "--lines" in sys.argv else digest())
