"""Small programs that several tests of strategies run."""

from __future__ import annotations

from collections.abc import Callable

from concurrency_programs import Cell

from sugarbush.concurrency import RwSemaphore, check, spawn


def two_by_two() -> None:
    """Two tasks of two steps each: six orders."""
    cell = Cell()

    def work() -> None:
        cell.once = 1
        cell.once = 2

    spawn(work)
    spawn(work)


def one_window() -> None:
    """Depth 2: fails if one step of a task of ten is followed at once by the other task."""
    cell = Cell()

    def counts() -> None:
        for n in range(10):
            cell.once = n

    def looks() -> None:
        check(cell.once != 4, "never seen at four")

    spawn(counts)
    spawn(looks)


def rw_sections(readers: int, writing: int) -> Callable[[], None]:
    """So many readers and writers of one lock, each once."""

    def program() -> None:
        sem = RwSemaphore("s")

        def reads() -> None:
            sem.down_read()
            sem.up_read()

        def writes() -> None:
            sem.down_write()
            sem.up_write()

        for _ in range(readers):
            spawn(reads)
        for _ in range(writing):
            spawn(writes)

    return program
