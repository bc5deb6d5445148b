"""``sugarbush litmus``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from concurrency import MEMORIES
from stress.console import line, one_of, out
from stress.litmus import Outcome, check, read
from stress.timeline import timeline


def litmus_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Litmus tests, herd C format.")],
    memory: Annotated[str, typer.Option(help="The memory model: weak or sc.")] = "weak",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on the last line.")] = False,
) -> int:
    """Say of litmus tests whether what they ask for is allowed or forbidden; status 1 if a file says otherwise."""
    one_of("--memory", memory, MEMORIES)
    tests = [read(path) for path in files]
    outcomes = []
    for test in tests:
        outcome = check(test, memory=memory)
        outcomes.append(outcome)
        _print(outcome, alone=len(tests) == 1)
    if as_json:
        print(json.dumps({"tests": [_entry(outcome) for outcome in outcomes]}))
    return int(any(outcome.agrees is False for outcome in outcomes))


def _print(outcome: Outcome, *, alone: bool) -> None:
    how = f"{outcome.executions} executions" + (f", {outcome.given_up} given up" if outcome.given_up else "")
    if outcome.verdict == "Unknown":
        how += ", not all of them"
    line(f"{outcome.test.name}: {outcome.verdict} ({how}, {outcome.seconds:.2f} s)")
    if outcome.agrees is False:
        line(f"  the file says {outcome.test.expected}")
    elif outcome.test.here is not None:
        line(f"  the kernel's model says {outcome.test.stated}: {outcome.test.why}")
    if outcome.race is not None:
        line(f"  {outcome.race}")
    if not alone:
        return
    line(f"  {outcome.question}")
    for state in outcome.states:
        line("  " + " ".join(f"{name}={value};" for name, value in state))
    if outcome.witness is not None:
        out.print()
        out.print(timeline(outcome.witness))
        if outcome.verdict == "Failed":
            line(f"\n{outcome.witness.failure.headline}\n{outcome.witness.failure.detail}")
        line(f"\nschedule: {outcome.witness.schedule}")


def _entry(outcome: Outcome) -> dict[str, Any]:
    witness = outcome.witness
    return {
        "name": outcome.test.name,
        "file": str(outcome.test.path),
        "verdict": outcome.verdict,
        "expected": outcome.test.expected,
        "kernel": outcome.test.stated,
        "agrees": outcome.agrees,
        "question": outcome.question,
        "states": [dict(state) for state in outcome.states],
        "executions": outcome.executions,
        "pruned": outcome.given_up,
        "exhaustive": outcome.exhaustive,
        "seconds": round(outcome.seconds, 3),
        "schedule": None if witness is None else str(witness.schedule),
        "failure": witness.failure.headline if witness is not None and outcome.verdict == "Failed" else None,
        "data_race": outcome.race,
    }
