"""Hunting the bugs of the catalogue: each is found in its patched form, and is absent from the unpatched one."""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sugarbush.concurrency import (
    DEFAULT_STRATEGY,
    ConcurrencyError,
    Kind,
    Result,
    Verdict,
    Witness,
    explore,
    minimise,
)
from sugarbush.concurrency.search import Processes
from sugarbush.stress.kit import Bug, Scenario, applied, find_bug, load_file, loaded_files, registry

DEFAULT_SCHEDULES = 3000
_TRIES = 3000
"""How many executions minimising a witness may take."""


@dataclass(frozen=True, slots=True)
class Hunt:
    """How bugs are looked for: at most `schedules` executions of each form, from `seed` on."""

    schedules: int = DEFAULT_SCHEDULES
    strategy: str = DEFAULT_STRATEGY
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one bug.

    `executions` and `seconds` are what it took to find it, minimising apart. `witness` is the minimised one, None if
    nothing was found, or something else than the catalogue says (`surprise`: by what kind of failure and
    which check, and its headline). `met` says that two tasks have met in the patched form, `fixed` is the
    exploration of the fixed one.
    """

    bug: Bug
    executions: int
    seconds: float
    witness: Witness | None
    surprise: str
    met: bool
    fixed: Result

    @property
    def found(self) -> bool:
        """The bug showed itself, in the way that the catalogue says."""
        return self.witness is not None

    @property
    def preemptions(self) -> int | None:
        """Of the minimised witness."""
        return None if self.witness is None else self.witness.preemptions

    @property
    def fixed_clean(self) -> bool:
        """Nothing was found in the fixed form, though it was explored.

        A bug that one task meets alone has a fixed form of one task, which counts as explored though no tasks meet.
        """
        alone = not self.met and self.fixed.verdict is Verdict.UNEXPLORED
        return alone or self.fixed.verdict not in (Verdict.FAILED, Verdict.UNEXPLORED)

    def as_json(self) -> dict[str, Any]:
        """The entry that ``catalogue --json`` prints."""
        bug = self.bug
        return {
            "name": bug.name,
            "id": bug.id,
            "title": bug.title,
            "found": self.found,
            "executions": self.executions,
            "seconds": round(self.seconds, 3),
            "preemptions": self.preemptions,
            "kind": bug.kind.value,
            "check": bug.check,
            "schedule": None if self.witness is None else str(self.witness.schedule),
            "surprise": self.surprise or None,
            "fixed_clean": self.fixed_clean,
            "fixed_executions": self.fixed.executions,
            "fixed_exhaustive": self.fixed.exhaustive,
        }


def hunted(bugs: Sequence[Bug], how: Hunt, jobs: int = 1) -> Iterator[Outcome]:
    """Hunt the bugs, by so many processes side by side; the outcomes come in the order of the bugs.

    A KeyboardInterrupt comes after the outcomes that are there already. Raises `ConcurrencyError` if workers die twice
    over one bug: once it may be something from outside, as a lack of memory.
    """
    if jobs == 1 or not bugs:
        yield from (hunt(bug, how) for bug in bugs)
        return
    with Processes(min(jobs, len(bugs))) as pool:
        futures = deque(_started(pool, bug, how) for bug in bugs)
        try:
            for bug in bugs:
                try:
                    outcome = futures[0].result()
                except BrokenExecutor:
                    futures[0] = _started(pool, bug, how)
                    outcome = futures[0].result()
                futures.popleft()
                yield outcome
        except BrokenExecutor:
            raise ConcurrencyError(f"a worker died twice, over {bug.name}") from None
        except BaseException as error:
            # The end of the pool would wait for what they do, which may take minutes.
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            if isinstance(error, KeyboardInterrupt):
                yield from _there(futures)
            raise


def _started(pool: Executor, bug: Bug, how: Hunt) -> Future[Outcome]:
    return pool.submit(_hunt_elsewhere, bug.name, how, loaded_files())


def _there(futures: Iterable[Future[Outcome]]) -> Iterator[Outcome]:
    for future in futures:
        if future.done() and not future.cancelled() and future.exception() is None:
            yield future.result()


def _hunt_elsewhere(name: str, how: Hunt, files: tuple[str, ...]) -> Outcome:
    """What a worker does."""
    registry.load()
    for file in files:
        load_file(Path(file))
    return hunt(find_bug(name), how)


def hunt(bug: Bug, how: Hunt) -> Outcome:
    """Explore both forms of `bug`, and minimise the witness; raises KeyboardInterrupt if it is interrupted."""
    start = time.monotonic()
    result = _explored(bug.broken, how)
    seconds = time.monotonic() - start
    witness, surprise = None, ""
    if result.failures:
        witness = result.failures[0]
        failure = witness.failure
        # Another check has seen something, perhaps another bug: that is said, and is no witness of this one.
        if failure.kind is not bug.kind or failure.check != bug.check:
            witness, surprise = None, f"{shown_by(failure.kind, failure.check)}: {failure.headline}"
        else:
            with applied(bug.broken.patches):
                witness = minimise(bug.broken.program, witness, bug.broken.settings(), tries=_TRIES)
    return Outcome(bug, result.executions, seconds, witness, surprise, result.met, _explored(bug.fixed, how))


def shown_by(kind: Kind, check: str | None) -> str:
    """What kind of failure shows something, and which check sees it, in words."""
    return f"{kind.value}, check {check!r}" if check else kind.value


def _explored(scenario: Scenario, how: Hunt) -> Result:
    with applied(scenario.patches):
        result = explore(
            scenario.program,
            strategy=how.strategy,
            executions=how.schedules,
            seed=how.seed,
            settings=scenario.settings(),
        )
    if result.interrupted:
        raise KeyboardInterrupt
    return result
