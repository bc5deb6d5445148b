"""``sugarbush list``."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from sugarbush.stress.kit import CHECKS, Scenario, all_scenarios, find_scenario
from sugarbush.stress.runs import line, out


def list_command(
    scenario: Annotated[str | None, typer.Argument(help="Only this one, with its parameters.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """List the scenarios, and the checks that --without takes; or say what there is to know of one scenario."""
    chosen = all_scenarios() if scenario is None else [find_scenario(scenario)]
    if as_json:
        scenarios = [
            {
                "name": s.name,
                "era": s.era,
                "expect": s.expect,
                "patches": [p.name for p in s.patches],
                "parameters": s.parameters,
                "summary": s.summary,
            }
            for s in chosen
        ]
        print(json.dumps({"scenarios": scenarios, "checks": CHECKS}))
        return 0
    if scenario is not None:
        _say(*chosen)
        return 0
    table = Table("scenario", "era", "expected", "what it does", box=None, pad_edge=False)
    for one in chosen:
        table.add_row(one.name, one.era, one.expect or "clean", Text(one.summary))
    out.print(table)
    checks = Table("check", "what it says", box=None, pad_edge=False)
    for name, says in CHECKS.items():
        checks.add_row(name, Text(says))
    out.print()
    out.print(checks)
    return 0


def _say(scenario: Scenario) -> None:
    line(f"{scenario.name}: {scenario.summary}")
    line(f"era {scenario.era}, {scenario.memory} memory, expected: {scenario.expect or 'clean'}")
    for patch in scenario.patches:
        line(f"patched: {patch.name}")
    for name, default in scenario.parameters.items():
        line(f"--{name.replace('_', '-')} {default}")
