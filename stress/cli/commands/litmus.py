"""``sugarbush litmus``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sugarbush.stress.kit import timeline
from sugarbush.stress.litmus import Answer, build, check, read
from sugarbush.stress.runs import line, out


def litmus_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Litmus tests, herd C format.")],
    memory: Annotated[str, typer.Option(help="The memory model: weak or sc.")] = "weak",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on the last line.")] = False,
) -> int:
    """Say of litmus tests whether what they ask for is allowed or forbidden; status 1 if a file says otherwise."""
    tests = [read(path) for path in files]
    # All files are understood before any is searched, so a mistake in the last one costs no time.
    for test in tests:
        build(test)
    outcomes = []
    for test in tests:
        outcome = check(test, memory=memory)
        outcomes.append(outcome)
        _print(outcome, alone=len(tests) == 1)
    if as_json:
        print(json.dumps({"tests": [_entry(outcome) for outcome in outcomes]}))
    return int(any(outcome.agrees is False for outcome in outcomes))


def _print(outcome: Answer, *, alone: bool) -> None:
    how = f"{outcome.executions} executions, {outcome.reached} states"
    if not outcome.exhaustive and outcome.observed is None:
        how += ", not all of them"
    observed = f", {outcome.observed}" if outcome.observed is not None and outcome.states else ""
    line(f"{outcome.test.name}: {outcome.verdict}{observed} ({how}, {outcome.seconds:.2f} s)")
    if outcome.agrees is False:
        said = outcome.test.expected if outcome.test.expected != outcome.verdict else outcome.test.observes
        line(f"  the file says {said}")
    elif outcome.agrees is None and outcome.test.expected is not None:
        line(f"  the file says {outcome.test.observes}; whether that is so was not found out")
    elif outcome.test.here is not None:
        line(f"  the kernel's model says {outcome.test.stated}: {outcome.test.why}")
    if not outcome.states and outcome.exhaustive:
        line("  no execution comes to its end" + (" and through the filter" if outcome.filtered else ""))
    if outcome.deadlocks:
        line("  some executions end in a deadlock; they have no final state")
    if outcome.race is not None:
        line(f"  {outcome.race}")
    elif outcome.race_open:
        line("  no data race was found, but not all executions were looked at for one")
    if not alone:
        return
    line(f"  {outcome.question}")
    for state in outcome.states:
        line("  " + " ".join(f"{name}={value};" for name, value in state))
    if not outcome.all_states:
        line("  (more final states are possible: the search ends when the answer is known)")
    if outcome.witness is not None:
        out.print()
        out.print(timeline(outcome.witness))
        if outcome.verdict == "Failed":
            line(f"\n{outcome.witness.failure.headline}\n{outcome.witness.failure.detail}")
        line(f"\nschedule: {outcome.witness.schedule}")
    elif outcome.verdict in ("Allowed", "Failed"):
        # smp_mb__after_unlock_lock() is a full barrier there always, and more than 8 writes of a place are not kept.
        line(
            "  (the engine has stronger barriers, or keeps fewer writes, and so makes no execution that shows it)"
        )


def _entry(outcome: Answer) -> dict[str, Any]:
    witness = outcome.witness
    return {
        "name": outcome.test.name,
        "file": str(outcome.test.path),
        "verdict": outcome.verdict,
        "observed": outcome.observed,
        "expected": outcome.test.expected,
        "says": outcome.test.observes,
        "kernel": outcome.test.stated,
        "agrees": outcome.agrees,
        "question": outcome.question,
        "states": [dict(state) for state in outcome.states],
        "executions": outcome.executions,
        "reached": outcome.reached,
        "exhaustive": outcome.exhaustive,
        "all_states": outcome.all_states,
        "deadlocks": outcome.deadlocks,
        "seconds": round(outcome.seconds, 3),
        "schedule": None if witness is None else str(witness.schedule),
        "failure": witness.failure.headline if witness is not None and outcome.verdict == "Failed" else None,
        "data_race": outcome.race,
    }
