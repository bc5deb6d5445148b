"""Programs that worker processes import: what they do may depend on which process they run in."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path

from concurrency_programs import Cell

from sugarbush.concurrency import check, join, spawn


def three_writers() -> None:
    """Shows a failure of its own for each order of the first two writes that is not the usual one."""
    cell = Cell()
    seen: list[int] = []

    def work(number: int) -> None:
        cell.once = number
        seen.append(number)
        cell.count = number

    join(*[spawn(work, number) for number in range(3)])
    check(seen[:2] == [0, 1], f"first {seen[0]}, then {seen[1]}")


def always_dies() -> None:
    """Ends a worker, and fails elsewhere."""
    if multiprocessing.parent_process() is not None:
        os._exit(1)
    three_writers()


@dataclass(frozen=True)
class DiesOnce:
    """Ends the first worker that runs it, which leaves a mark; as `three_writers` afterwards."""

    mark: Path

    def __call__(self) -> None:
        if multiprocessing.parent_process() is not None and not self.mark.exists():
            self.mark.touch()
            os._exit(1)
        three_writers()


def never_fails() -> None:
    """Two tasks of some steps."""
    cell = Cell()

    def work() -> None:
        for _ in range(5):
            cell.once = 1

    join(spawn(work), spawn(work))


def worse_in_a_worker() -> None:
    """Not the same program in a worker: no failure of it replays."""
    cell = Cell()
    if multiprocessing.parent_process() is not None:
        cell.once = 1
        check(False, "only in a worker")
