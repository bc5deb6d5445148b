"""A batch: some executions of an exploration, as data that can be sent to another process, and what comes back."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from sugarbush.concurrency.core import (
    ConcurrencyError,
)
from sugarbush.concurrency.runtimes import Settings
from sugarbush.concurrency.search.sample import Sampler
from sugarbush.concurrency.strategies import (
    Part,
)
from sugarbush.concurrency.witness import Witness

_SKEW = 60.0
"""Seconds that a batch may wait beyond its time, before it is taken for a clock that is wrong."""

Opened = tuple[Callable[[], Any], Settings]


class Source(Protocol):
    """Where a worker gets the program from; it must be possible to pickle it."""

    def opened(self) -> AbstractContextManager[Opened]:
        """The program and its settings, for the length of a `with` block."""


@dataclass(frozen=True, slots=True)
class ByName:
    """A program that is importable by its name, and settings of importable parts."""

    program: Callable[[], Any]
    settings: Settings

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        """The program and the settings themselves: they came by their names."""
        yield self.program, self.settings


def packed(source: Source) -> bytes:
    """The source as data; raises `ConcurrencyError` if it cannot be sent to another process."""
    try:
        return pickle.dumps(source)
    except Exception as error:
        raise ConcurrencyError(
            "this program cannot be sent to another process, so it runs with one job only: it and its settings must "
            f"be importable by name, as a function at the top of a module is ({error})"
        ) from error


@dataclass(frozen=True, slots=True)
class Work:
    """What all batches of an exploration share; with `first_only` a batch ends at its first failure.

    `sampler` is the class of the sampler that hears some of the executions. At `sent`, a wall-clock time, there were
    `seconds` left (None: there is no limit).
    """

    source: bytes
    strategy: str
    seed: int
    depth: int | None
    first_only: bool
    sampler: type[Sampler] | None = None
    seconds: float | None = None
    sent: float = 0.0

    @property
    def out_of_time(self) -> Callable[[], bool] | None:
        """Whether the time is up, counted from now; None: there is no limit."""
        if self.seconds is None:
            return None
        # A batch may have waited for its worker. The clock of another machine may be wrong: then its wait is not
        # known.
        waited = time.time() - self.sent
        left = self.seconds - waited if 0 <= waited <= self.seconds + _SKEW else self.seconds
        until = time.monotonic() + left
        return lambda: time.monotonic() >= until


@dataclass(frozen=True, slots=True)
class Range:
    """Executions `start` to `stop` - 1 of a strategy that draws, after it learned what it `knows`."""

    start: int
    stop: int
    knows: Any = None

    def __str__(self) -> str:
        return f"executions {self.start} to {self.stop - 1}"


@dataclass(frozen=True, slots=True)
class Parts:
    """The first `most` executions of these parts of a search, in order.

    Samplers take their numbers to be those from `start` on.
    """

    parts: tuple[Part, ...]
    most: int
    start: int

    def __str__(self) -> str:
        return f"the executions that begin with the choices {', '.join(map(str, self.parts))}"


@dataclass(frozen=True, slots=True)
class Finding:
    """An execution that failed: how many of its report were completed before it, and its witness."""

    number: int
    witness: Witness


class Made(NamedTuple):
    """One execution: its operations (None: it was given up), and what it added to `cut` and `repeated` of the search.

    The others are as in `Execution`; `headline` is that of its failure. Of a search that reduces, `trace` is the
    number of its trace, and `marked` what it has marked above its part (`Marking`).
    """

    steps: int | None
    cut: int
    repeated: int
    fair: bool = False
    faults: int = 0
    looks_cut: bool = False
    headline: str | None = None
    doubt: str = ""
    trace: int | None = None
    marked: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True)
class Report:
    """What came of a range or of one part.

    `findings` has for each headline the first execution, and each that was simpler than those before. `rest` are the
    parts that are left of this one. `met`: in the whole batch, two tasks have touched a common place (`Meeting`).
    `heard` is what the sampler has heard in the whole batch, in one of its reports.
    """

    part: Part = ()
    made: list[Made] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    lessons: list[Any] = field(default_factory=list)
    rest: list[Part] = field(default_factory=list)
    heard: Any = None
    met: bool = False
