"""How a published program is entered with its number of traces, and what the programs are written with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from sugarbush.concurrency import (
    Atomic,
    Once,
    Shared,
    Task,
    check,
    spawn,
)

Program = Callable[[], Any]

CONCUERROR = "parapluu/Concuerror 0cbd2fc, tests/suites/dpor_tests/src/"
GENMC = "MPI-SWS/genmc b03f01e, tests/correct/"
NIDHUGG = "nidhugg/nidhugg 0aea4d2, "
SCTBENCH = "mc-imperial/sctbench d59ab26, benchmarks/concurrent-software-benchmarks/"
POPL = "Abdulla, Aronis, Jonsson, Sagonas, Optimal Dynamic Partial Order Reduction, POPL 2014, "
FLANAGAN = "Flanagan, Godefroid, Dynamic Partial-Order Reduction for Model Checking Software, POPL 2005, "
LITMUS = "Linux v6.6, Documentation/litmus-tests/rcu/"


@dataclass(frozen=True)
class Published:
    """One program of one size."""

    name: str
    source: str
    program: Program
    traces: int
    stated: bool
    """The source gives this number."""
    slow: bool
    """Too many traces for the quick part of the suite."""
    broken: str | None
    """The claim that some schedule breaks, if there is one."""
    deadlocks: bool
    """Some schedule ends in a deadlock."""


PROGRAMS: list[Published] = []


def published(
    source: str,
    counts: dict[tuple[Any, ...], int] | int,
    *,
    slow: dict[tuple[Any, ...], int] | None = None,
    stated: tuple[tuple[Any, ...], ...] | bool = False,
    broken: str | None = None,
    broken_by: tuple[tuple[Any, ...], ...] | None = None,
    deadlocks: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Enter a program into `PROGRAMS`, with its numbers of traces by its arguments.

    `stated` says for which arguments the source gives the number; True stands for all. `broken` is a claim that some
    schedule breaks, with the arguments in `broken_by` only, if there are any.
    """

    def enter(program: Callable[..., None]) -> Callable[..., None]:
        sizes = {(): counts} if isinstance(counts, int) else counts
        for quick, some in ((True, sizes), (False, slow or {})):
            for args, traces in some.items():
                label = program.__name__ + "".join(f"-{arg}" for arg in args)
                said = stated if isinstance(stated, bool) else args in stated
                PROGRAMS.append(
                    Published(
                        label,
                        source,
                        partial(program, *args),
                        traces,
                        said,
                        not quick,
                        broken if broken_by is None or args in broken_by else None,
                        deadlocks,
                    )
                )
        return program

    return enter


_noted: set[str] | None = None


def claim(holds: object, words: str) -> None:
    """What the program asserts."""
    if _noted is None:
        check(bool(holds), words)
    elif not holds:
        _noted.add(words)


@contextmanager
def claims_noted() -> Iterator[set[str]]:
    """While this lasts a broken claim is no failure but put into this set."""
    global _noted
    found: set[str] = set()
    _noted = found
    try:
        yield found
    finally:
        _noted = None


class Place(Shared):
    """One variable of a program."""

    v: Once[Any] = 0


class Counter(Shared):
    """One variable that is also changed atomically."""

    v: Atomic[Any] = 0


def places(n: int, value: object = 0) -> list[Place]:
    """So many variables."""
    return [Place(v=value) for _ in range(n)]


def look(place: Place) -> Any:
    """Read a variable and do nothing with what is there."""
    return place.v


def put(place: Place, value: object) -> None:
    """Write a variable."""
    place.v = value


def do(*steps: tuple[Any, ...]) -> Task:
    """A task that takes these steps, each a function and its arguments, one after the other."""

    def body() -> None:
        for step, *args in steps:
            step(*args)

    return spawn(body)
