"""``sugarbush prove``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from sugarbush.concurrency import Result
from sugarbush.concurrency.search import Processes
from sugarbush.lockdep.outside import INTERRUPTED, check_writable
from sugarbush.stress.cli.refusals import refuse_inputs
from sugarbush.stress.kit import find_scenario
from sugarbush.stress.runs import DEFAULT_OUT, DEFAULT_SECONDS, Proof, all_cores, dask, line, note
from sugarbush.stress.runs import proof as proofs

_HEARTBEAT = 10.0
"""Seconds between two words of how far it is."""


def prove_command(
    scenarios: Annotated[list[str], typer.Argument(help="Names from `sugarbush list`, or certificates.")],
    seconds: Annotated[float, typer.Option(help="When to stop, for each scenario.")] = DEFAULT_SECONDS,
    depth: Annotated[
        int | None, typer.Option(help="The last bound on preemptions; until nothing is cut if not given.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="How many processes share each proof; one for each core if not given.")
    ] = None,
    executor: Annotated[str | None, typer.Option(help="The address of a Dask scheduler.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Make the proofs of these certificates again.")
    ] = False,
    directory: Annotated[Path, typer.Option("--out", help="Where certificates go.")] = DEFAULT_OUT,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on the last line.")] = False,
) -> int:
    """Prove that a scenario passes under every schedule with at most 0, 1, 2 ... preemptions, all checks on."""
    with _workers(jobs, executor) as workers:
        if verify:
            return _verify([Path(name) for name in scenarios], depth, workers)
        return _prove(scenarios, seconds, depth, directory, as_json, workers)


@contextmanager
def _workers(jobs: int | None, executor: str | None) -> Iterator[Executor | None]:
    """Who shares the work; None if nobody does."""
    if executor is not None:
        with dask(executor) as (pool, _):
            yield pool
        return
    jobs = jobs or all_cores()
    if jobs == 1:
        yield None
        return
    with Processes(jobs) as pool:
        yield pool


def _prove(
    scenarios: list[str],
    seconds: float,
    depth: int | None,
    directory: Path,
    as_json: bool,
    workers: Executor | None,
) -> int:
    chosen = [find_scenario(name) for name in scenarios]
    # Before anything is proven: a certificate that cannot be written is found out at the end else.
    for one in chosen:
        check_writable(_path(directory, one.name), "--out")
    made: list[Proof] = []
    interrupted = False
    for one in chosen:
        done = _before(_path(directory, one.name), one.name)
        try:
            proof = proofs.prove(one, seconds, depth, done, _progress(one.name), workers)
        except KeyboardInterrupt:
            interrupted = True
            break
        made.append(proof)
        line(f"{one.name}: {proof.words}")
        if proof.failed is not None:
            line(f"schedule: {proof.failed.schedule}")
        elif proof.bounds:
            path = _path(directory, one.name)
            proofs.save(proof, path)
            line(f"certificate: {path}")
        interrupted = "interrupted" in proof.open
        if interrupted:
            break
    if as_json:
        print(json.dumps({"proofs": [_as_json(proof) for proof in made]}))
    if interrupted:
        return INTERRUPTED
    return int(any(proof.failed is not None for proof in made))


def _path(directory: Path, name: str) -> Path:
    return directory / f"{name}.proof.json"


def _before(path: Path, name: str) -> Proof | None:
    """What an earlier run has proven of the same program with the same sources, to go on from there."""
    if not path.exists():
        return None
    proof = proofs.load(path, find_scenario)
    if proof.sources != proofs.sources() or proof.scenario.name != name or proof.scenario.values:
        note(f"{path} is of other sources: it is made anew")
        return None
    return proof


def _progress(name: str) -> proofs.Progress:
    """Says now and then how far it is."""
    last = time.monotonic()

    def tell(bound: int | None, result: Result, likely: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _HEARTBEAT:
            last = now
            note(f"{name}: {_how_far(bound, result, likely)}")

    return tell


def _how_far(bound: int | None, result: Result, likely: int | None) -> str:
    """How far the search within a bound is; `likely` is how many executions it may take.

    >>> result = Result("dpor", 1, executions=100, traces=90, seconds=4.0)
    >>> _how_far(2, result, 700)
    'within bound 2, 90 traces, 25 executions a second; 600 executions left and 24 s to bound 3, if they grow as before'
    >>> _how_far(2, result, 80)
    'within bound 2, 90 traces, 25 executions a second; 20 executions more than if they grew as before'
    """
    rate = result.executions / max(result.seconds, 1e-9)
    said = f"{proofs.named(bound)}, {result.traces} traces, {rate:.0f} executions a second"
    if likely is None or bound is None:
        return said
    left = likely - result.executions
    if left < 0:
        return f"{said}; {-left} executions more than if they grew as before"
    time_left = f"{left / max(rate, 1e-9):.0f} s" if rate else "some time"
    return f"{said}; {left} executions left and {time_left} to bound {bound + 1}, if they grow as before"


def _verify(paths: list[Path], depth: int | None, workers: Executor | None) -> int:
    """Make certificates again, within all of their bounds or within one; the status is 1 if one differs."""
    wrong = 0
    for path in paths:
        proof = proofs.load(path, find_scenario)
        if proof.sources != proofs.sources():
            note(f"{path} was made from other sources than these: its traces may be others, too")
        refuse_inputs("prove --verify", certificate=path, proven=len(proof.bounds), bound=depth or 0)
        for bound in range(len(proof.bounds)) if depth is None else [depth]:
            said = proofs.differs(proof, bound, _progress(proof.scenario.name), workers)
            wrong += bool(said)
            claimed = proof.bounds[bound]
            line(
                f"{path}: {said or f'{proofs.named(claimed.bound)} it is as it says, {claimed.traces} traces'}"
            )
            if said:
                break
    return int(wrong > 0)


def _as_json(proof: Proof) -> dict[str, object]:
    return {
        "scenario": proof.scenario.name,
        "verdict": proof.words,
        "complete": proof.complete,
        "bound": proof.bounds[-1].bound if proof.bounds else None,
        "traces": proof.bounds[-1].traces if proof.bounds else 0,
        "failed": None if proof.failed is None else proof.failed.failure.headline,
    }
