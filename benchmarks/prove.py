"""How much of the catalogue is proven: the fixed forms within P and P + 1 preemptions, and where each bug is found.

P is the number of preemptions that the bug needs, as the catalogue says, or as the search finds where that says
nothing. "all" is every schedule: within the bound nothing was cut, or the search without a bound ended. Seconds are of
this process's CPU, so a busy machine changes little:

    python benchmarks/prove.py [--seconds 60] [--out proofs.md] [NAME ...]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from sugarbush.concurrency.strategies.base import Pruned
from sugarbush.concurrency.strategies.bounded import BoundedDPOR
from sugarbush.concurrency.strategies.table import make_strategy
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.bugs import Bug, all_bugs
from sugarbush.stress.kit.patches import applied
from sugarbush.stress.kit.scenarios import Scenario

registry.load()


def searched(scenario: Scenario, bound: int | None, seconds: float) -> tuple[str, float]:
    """What the search within one bound says, or that without one, and the seconds that it took."""
    # From the table, so that what is measured is what `prove` makes.
    faults, weak = scenario.faults > 0, scenario.memory != "sc"
    search = make_strategy("sleep" if bound is None else "dpor", 1, bound, faults=faults, weak=weak)
    assert isinstance(search, BoundedDPOR)
    runtime = scenario.settings().runtime(search)
    executions = 0
    start = time.process_time()
    with applied(scenario.patches):
        while search.left and time.process_time() - start < seconds:
            try:
                execution = runtime.run(scenario.program)
            except Pruned:
                continue
            executions += 1
            if execution.failure is not None:
                return f"fails, {executions} executions", time.process_time() - start
    took = time.process_time() - start
    if search.left:
        return f"open, {search.traces} traces", took
    return f"{'all' if not search.cut else 'passed'}, {search.traces} ({executions})", took


def row(bug: Bug, seconds: float) -> list[str]:
    """One line of the table."""
    needs = 0 if bug.preemptions is None else bug.preemptions
    found, took = searched(bug.broken, needs, seconds)
    while bug.preemptions is None and found.startswith("passed"):
        needs += 1
        found, took = searched(bug.broken, needs, seconds)
    cells = [bug.name, str(needs)]
    for bound in (needs, needs + 1, None):
        said, seconds_taken = searched(bug.fixed, bound, seconds)
        cells.append(f"{said}, {seconds_taken:.1f} s")
        if said.startswith("all"):
            cells += ["the same"] * (5 - len(cells))
            break
    return [*cells, f"{found}, {took:.1f} s"]


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    lines = [
        "| bug | P | fixed form within P | within P + 1 | without a bound | the bug within P |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for bug in all_bugs():
        if not given.names or bug.name in given.names:
            lines.append(f"| {' | '.join(row(bug, given.seconds))} |")
            print(lines[-1], flush=True)
    if given.out is not None:
        given.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
