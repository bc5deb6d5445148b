"""How soon each bug of the catalogue is found, how few preemptions it needs, and how much memory an execution takes.

    python benchmarks/catalogue.py [NAME ...] [--seeds N] [--minimise N] [--cap N] [--jobs N] [--out DIR]

For each bug (by name or id; all if none), over the seeds, with the default strategy: how often it was found in the way
that the catalogue says, the median and the largest number of executions until then (a hunt that found nothing counts
as the cap), the median of processor seconds of a hunt, and of minimising. `preemptions` are those of the minimised
witnesses (those of the first seeds, as many as `--minimise` says; else all), `needs` what the catalogue says; `MB` is
the most that Python allocated in the execution of a witness, in units of 10**6 bytes, as tracemalloc counts. `over`
names what is above its limit: a median of 300 executions for the bugs of the brk patch's family, else 2,000; what the
catalogue says of preemptions; 100 MB. Writes catalogue.json and catalogue.md; the exit status is 1 if something is over
its limit, or was not found.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import tracemalloc
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sugarbush.concurrency import Witness, explore, minimise
from sugarbush.concurrency.strategies.replay import Replay
from sugarbush.stress.cli import built_in as scenarios
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.bugs import Bug, all_bugs, find_bug
from sugarbush.stress.kit.patches import applied

# Worker processes import this file, too: whoever looks a bug up by its name needs them all.
registry.load()

assert scenarios
FAMILY = frozenset({*(f"Z{number:02}" for number in range(1, 9)), "Z31", "Z39", "Z47", "Z48", "Z50"})
FAMILY_LIMIT, LIMIT, MEMORY_LIMIT = 300, 2000, 100


def memory(bug: Bug, witness: Witness) -> float:
    """How many MB Python allocates at most in one execution of the bug."""
    runtime = bug.broken.settings().runtime(Replay(witness.schedule))
    tracemalloc.start()
    runtime.run(bug.broken.program)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def hunt(cap: int, minimised: int, what: tuple[str, int]) -> dict[str, Any]:
    """Look for one bug from one seed; minimise the witnesses of so many seeds."""
    name, seed = what
    bug = find_bug(name)
    program, settings = bug.broken.program, bug.broken.settings()
    with applied(bug.broken.patches):
        start = time.process_time()
        result = explore(program, executions=cap, seed=seed, settings=settings)
        seconds = time.process_time() - start
        run = {"bug": name, "seed": seed, "executions": result.executions, "seconds": seconds, "found": False}
        if not result.failures:
            return run
        witness = result.failures[0]
        failure = witness.failure
        if (failure.kind, failure.check) != (bug.kind, bug.check):
            return {**run, "surprise": f"{failure.kind.value}: {failure.headline}"}
        run |= {"found": True, "memory": memory(bug, witness)}
        if seed > minimised:
            return run
        start = time.process_time()
        small = minimise(program, witness, settings)
        seconds = time.process_time() - start
        return {
            **run,
            "minimising": seconds,
            "preemptions": small.preemptions,
            "schedule": str(small.schedule),
        }


def row(bug: Bug, runs: list[dict[str, Any]], cap: int) -> dict[str, Any]:
    """What the runs of one bug say."""
    found = [run for run in runs if run["found"]]
    executions = [run["executions"] if run["found"] else cap for run in runs]
    small = [run for run in found if "preemptions" in run]
    preemptions = sorted({run["preemptions"] for run in small})
    family = re.sub(r"[a-z]$", "", bug.id) in FAMILY
    most = max((run["memory"] for run in found), default=0.0)
    over = [
        word
        for word, wrong in (
            ("found", len(found) < len(runs)),
            ("median", median(executions) > (FAMILY_LIMIT if family else LIMIT)),
            ("preemptions", bug.preemptions is not None and max(preemptions, default=0) > bug.preemptions),
            ("memory", most > MEMORY_LIMIT),
        )
        if wrong
    ]
    return {
        "id": bug.id,
        "bug": bug.name,
        "found": f"{len(found)} of {len(runs)}",
        "median": median(executions),
        "largest": max(executions),
        "seconds": round(median(run["seconds"] for run in runs), 2),
        "minimising": round(median([run["minimising"] for run in small] or [0.0]), 2),
        "preemptions": " or ".join(map(str, preemptions)),
        "needs": "" if bug.preemptions is None else bug.preemptions,
        "MB": round(most, 2),
        "over": ", ".join(over),
    }


def as_markdown(rows: list[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(rows[0]) + " |", "| " + " | ".join("---" for _ in rows[0]) + " |"]
    lines += ["| " + " | ".join(str(value) for value in one.values()) + " |" for one in rows]
    return "\n".join(lines) + "\n"


def hunts(bugs: list[Bug], options: argparse.Namespace) -> Iterable[dict[str, Any]]:
    """All the runs, those of one bug together."""
    what = [(bug.name, seed) for bug in bugs for seed in range(1, options.seeds + 1)]
    one = partial(hunt, options.cap, options.minimise)
    if options.jobs == 1:
        yield from map(one, what)
        return
    with ProcessPoolExecutor(options.jobs) as pool:
        yield from pool.map(one, what)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Executions, preemptions and memory of each bug of the catalogue."
    )
    parser.add_argument("names", nargs="*", help="bugs, by name or id")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument(
        "--minimise", type=int, default=10**9, help="for so many seeds the witness is minimised"
    )
    parser.add_argument("--cap", type=int, default=5000, help="executions of one hunt at most")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the hunts")
    parser.add_argument("--out", type=Path, default=Path())
    options = parser.parse_args()
    bugs = [find_bug(name) for name in options.names] if options.names else all_bugs()
    rows: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    for run in hunts(bugs, options):
        runs.append(run)
        if run["seed"] == options.seeds:
            rows.append(row(bugs[len(rows)], runs[-options.seeds :], options.cap))
            print(" ".join(f"{name} {value}" for name, value in rows[-1].items() if value != ""), flush=True)
    text = as_markdown(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "catalogue.json").write_text(json.dumps({"rows": rows, "runs": runs}, indent=1) + "\n")
    (options.out / "catalogue.md").write_text(text)
    print(f"{len(rows)} bugs, {sum(one['seconds'] for one in rows):.0f} s by the medians")
    return int(any(one["over"] for one in rows))


if __name__ == "__main__":
    sys.exit(main())
