"""Proofs: what a bounded search has shown of a scenario, as a certificate that can be made again.

A certificate says of one program, and of the sources that made it, for each bound on preemptions up to the last one
that was completed: how many traces there are, and a hash of the set of them. So whoever makes it again from the same
sources gets the same numbers, whichever machine made them.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path

from sugarbush.concurrency import Result, Verdict, Witness, explore
from sugarbush.concurrency.lowlevel import audit
from sugarbush.lockdep.outside import UnusableFile, save_text
from sugarbush.stress.kit import CHECKS, FileFormat, Scenario, ScenarioSource, applied

FORMAT = 1
_MAGIC = "sugarbush-proof"
_FILE = FileFormat(
    "a certificate of `sugarbush prove`", _MAGIC, FORMAT, "sugarbush.stress.runs", "proof.schema.json"
)
_PACKAGES = ("lockdep", "concurrency", "tree", "vm", "stress")
DEFAULT_SECONDS = 60.0
"""How long a proof may take if nobody says."""
_AUDITED = 4
"""Executions of the program in which operations are compared with what they say that they touch, and checks with what
they say that they look at, before anything is proven by that."""
_ALONE = 1.0
"""Seconds for which this process searches alone: most small bounds are over before workers have loaded the scenario."""

_AT_LEAST, _TIMES = 1000, 3
"""For so many executions a search without a bound is tried after each bound, or so many times as the bound took.

Many programs have fewer traces in all than schedules within two preemptions, and nobody can tell before. The next bound
takes ten times as many as a rule, so this adds a third to it at most. In executions, not in seconds: so it is the same
on every machine that has the time."""

Progress = Callable[[int | None, Result, int | None], None]
"""Called with the bound (None: there is none), the result so far, and how many executions it may take (`expected`)."""


@dataclass(frozen=True, slots=True)
class Within:
    """What was seen within one bound: all of it. `cut` is 0 if the bound forbade nothing that could matter.

    `bound` is None if there was none.
    """

    bound: int | None
    traces: int
    executions: int
    cut: int
    digest: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Proof:
    """What is proven of a scenario: the bounds that were completed, and why it went no further.

    `open` says in words why it is not `passed`, or why a larger bound is not; empty if nothing was cut at all.
    """

    scenario: Scenario
    sources: str
    bounds: tuple[Within, ...]
    open: str = ""
    failed: Witness | None = None

    @property
    def complete(self) -> bool:
        """Nothing was cut: all schedules are covered."""
        return bool(self.bounds) and not self.bounds[-1].cut

    @property
    def words(self) -> str:
        """What is proven, in a sentence."""
        if self.failed is not None:
            return f"failed: {self.failed.failure.headline}"
        if not self.bounds:
            return f"nothing proven: {self.open}"
        last = self.bounds[-1]
        seen = f"{last.traces} traces, {last.executions} executions, {last.seconds:.1f} s"
        if last.bound is None or self.complete:
            return f"passed: every schedule; {seen}"
        return f"passed: every schedule with at most {_preemptions(last.bound)}; {seen}" + (
            f"; {self.open}" if self.open else ""
        )


def _preemptions(bound: int) -> str:
    return f"{bound} preemption" + "s" * (bound != 1)


def prove(
    scenario: Scenario,
    seconds: float,
    most: int | None = None,
    done: Proof | None = None,
    progress: Progress | None = None,
    workers: Executor | None = None,
) -> Proof:
    """Go through the bounds, from 0 or from where `done` ends, until `seconds` are over or nothing is cut any more.

    `most` is the last bound; if there is none, a search without a bound is tried after each of them. `progress` is
    called after each execution, or batch of them. `workers` share each bound that takes longer than a second; what is
    proven is the same. A KeyboardInterrupt ends the proof, and the bounds that were completed count.
    """
    proof = done or Proof(scenario, sources(), ())
    start = time.monotonic()
    bound = len(proof.bounds)
    # A certificate that is gone on from is of the same sources, and was audited when its first bound was made.
    if not bound and (wrong := undeclared(scenario)):
        return replace(proof, open=f"what is said of operations or checks does not hold: {wrong}")
    while not proof.complete and (most is None or bound <= most):
        left = seconds - (time.monotonic() - start)
        if left <= 0:
            return replace(proof, open=f"the budget of {seconds:.0f} s ended before bound {bound} was begun")
        told = None if progress is None else partial(_tell, progress, bound, expected(proof.bounds))
        result = within(scenario, bound, left, told, workers)
        if result.failures:
            return replace(proof, failed=result.failures[0], open="")
        if result.verdict is Verdict.UNEXPLORED and result.exhaustive:
            # One task, or tasks that never meet: all schedules are one.
            one = Within(bound, result.traces, result.executions, 0, result.digest, result.seconds)
            return replace(proof, bounds=(*proof.bounds, one), open="")
        if result.verdict is not Verdict.PASSED:
            return replace(proof, open=why_open(result, bound))
        proof = replace(proof, bounds=(*proof.bounds, _made(bound, result)), open="")
        if most is None:
            proof = without_bound(proof, seconds - (time.monotonic() - start), progress, workers)
            if proof.failed is not None or "interrupted" in proof.open:
                return proof
        bound += 1
    return proof


def without_bound(
    proof: Proof, seconds: float, progress: Progress | None = None, workers: Executor | None = None
) -> Proof:
    """Try a search without a bound behind the last bound of `proof`, as long as `_AT_LEAST` says; gives what is proven.

    That is as much as before if it does not come to its end.
    """
    if proof.complete or not proof.bounds or seconds <= 0:
        return proof
    most = max(_AT_LEAST, _TIMES * proof.bounds[-1].executions)
    told = None if progress is None else partial(_tell, progress, None, None)
    result = within(proof.scenario, None, seconds, told, workers, executions=most)
    if result.failures:
        return replace(proof, failed=result.failures[0], open="")
    if result.interrupted:
        return replace(proof, open=why_open(result, None))
    if result.verdict is not Verdict.PASSED:
        return proof
    return replace(proof, bounds=(*proof.bounds, _made(None, result)), open="")


def _made(bound: int | None, result: Result) -> Within:
    seconds = round(result.seconds, 3)
    return Within(bound, result.traces, result.executions, result.cut, result.digest, seconds)


def named(bound: int | None) -> str:
    """How messages call the search within a bound, or that without one."""
    return "without a bound" if bound is None else f"within bound {bound}"


def why_open(result: Result, bound: int | None) -> str:
    """Why a search within a bound has proven nothing, in words."""
    if not result.exhaustive:
        ended = "it was interrupted" if result.interrupted else "the budget ended"
        return f"{ended} {named(bound)}, after {result.traces} traces"
    if result.watched:
        return "a check looks at the state and does not say at what (Observer.sight)"
    reasons = [*sorted(result.doubts), *(["a loop was not followed to its end"] if result.looks_cut else [])]
    if result.fair:
        reasons.append("executions took so long that they were scheduled fairly in the end")
    return f"{named(bound)}: {'; '.join(reasons)}"


def _tell(progress: Progress, bound: int | None, likely: int | None, result: Result) -> None:
    progress(bound, result, likely)


def expected(bounds: Sequence[Within]) -> int | None:
    """How many executions the next bound takes, if their number grows as it did the last time; None if nobody knows.

    >>> made = [Within(bound, 0, many, 1, "", 0.0) for bound, many in enumerate((6, 30, 290))]
    >>> expected(made), expected(made[:2]), expected(made[:1])
    (2803, 150, None)
    """
    if len(bounds) < 2:
        return None
    before, last = bounds[-2:]
    return last.executions * last.executions // before.executions


def within(
    scenario: Scenario,
    bound: int | None,
    seconds: float | None = None,
    progress: Callable[[Result], None] | None = None,
    workers: Executor | None = None,
    *,
    keep_going: bool = False,
    executions: int | None = None,
) -> Result:
    """The search within one bound, or without one if that is None."""
    explored = partial(
        explore,
        scenario.program,
        strategy="sleep" if bound is None else "dpor",
        depth=bound,
        executions=executions if seconds is not None or executions is not None else 10**15,
        keep_going=keep_going,
        settings=scenario.settings(),
        progress=progress,
    )
    with applied(scenario.patches):
        if workers is None:
            return explored(seconds=seconds)
        alone = _ALONE if seconds is None else min(seconds, _ALONE)
        result = explored(seconds=alone)
        if (
            result.exhaustive
            or result.executions == executions
            or result.interrupted
            or alone == seconds
            or (result.failures and not keep_going)
        ):
            return result
        # From the beginning: the result of an exploration is that of all of it.
        source = ScenarioSource.of(scenario, frozenset(), scenario.memory)
        return explored(seconds=None if seconds is None else seconds - alone, executor=workers, source=source)


def undeclared(scenario: Scenario) -> str:
    """What an audit of a few executions finds: the search would be wrong that believes it; empty if nothing."""
    # What a process of `stress.kit.process` knows of its own pages is in an ordinary dictionary, which the rule of that
    # class orders: no two threads use one page at a time.
    # The audit knows sequentially consistent memory only. Under weak memory the same operations go to the same places.
    settings = replace(scenario, memory="sc").settings()
    with applied(scenario.patches):
        found = audit(scenario.program, executions=_AUDITED, settings=settings, keep_going=True).found
    return next((said for said in found if ".written without an operation" not in said), "")


# -- certificates -----------------------------------------------------------------------------------------------------


def sources() -> str:
    """A hash of the sources of which the program and the search are made."""
    total = hashlib.sha256()
    for package in _PACKAGES:
        folder = Path(str(import_module(f"sugarbush.{package}").__file__)).parent
        for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
            total.update(f"{package}/{path.relative_to(folder).as_posix()}\n".encode())
            total.update(path.read_bytes())
    return total.hexdigest()


def commit() -> str | None:
    """The commit that is checked out, where the sources are under git."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def save(proof: Proof, path: Path) -> None:
    """Write the certificate; raises `UnusableFile`."""
    scenario = proof.scenario
    without = scenario.without
    data = {
        _MAGIC: FORMAT,
        "scenario": scenario.name,
        "parameters": dict(scenario.values),
        "faults": scenario.faults,
        "memory": scenario.memory,
        "checks": [name for name in CHECKS if name not in without],
        "commit": commit(),
        "sources": proof.sources,
        "verdict": proof.words,
        "bounds": [
            {
                "bound": one.bound,
                "traces": one.traces,
                "executions": one.executions,
                "cut": one.cut,
                "digest": one.digest,
                "seconds": one.seconds,
            }
            for one in proof.bounds
        ],
    }
    save_text(path, json.dumps(data, indent=1) + "\n")


def load(path: Path, find: Callable[[str], Scenario]) -> Proof:
    """The proof of a certificate; raises `UnusableFile`."""
    data = _FILE.read(path)
    scenario = find(data["scenario"]).given(data["parameters"], data["faults"])
    bounds = tuple(Within(**{name: one[name] for name in Within.__slots__}) for one in data["bounds"])
    numbers = [one.bound for one in bounds]
    # The last one may be that there was none.
    if numbers[:-1] != [*range(len(bounds) - 1)] or (numbers and numbers[-1] not in (None, len(bounds) - 1)):
        raise UnusableFile(f"{path} is broken: its bounds are not 0, 1, 2 and so on")
    return Proof(scenario, data["sources"], bounds)


def differs(
    proof: Proof, number: int, progress: Progress | None = None, workers: Executor | None = None
) -> str:
    """Make one of the bounds of a proof again, told by its place; gives how it differs, empty if it does not."""
    claimed = proof.bounds[number]
    bound, where = claimed.bound, named(claimed.bound)
    told = None if progress is None else partial(_tell, progress, bound, claimed.executions)
    result = within(proof.scenario, bound, None, told, workers)
    if result.failures:
        return f"it fails {where}: {result.failures[0].failure.headline}"
    if not result.exhaustive:
        return f"the search {where} was not made to its end"
    for what, now, then in (
        ("traces", result.traces, claimed.traces),
        ("places cut", result.cut, claimed.cut),
        ("the hash of the traces", result.digest, claimed.digest),
    ):
        if now != then:
            return f"{where}: {what} {now}, the certificate says {then}"
    return ""
