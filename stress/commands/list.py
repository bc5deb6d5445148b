"""``sugarbush list``."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from stress.checks import CHECKS
from stress.console import out
from stress.scenario import all_scenarios


def list_command(as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> int:
    """List the scenarios, and the checks that --without takes."""
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
            for s in all_scenarios()
        ]
        print(json.dumps({"scenarios": scenarios, "checks": CHECKS}))
        return 0
    table = Table("scenario", "era", "expected", "what it does", box=None, pad_edge=False)
    for scenario in all_scenarios():
        table.add_row(scenario.name, scenario.era, scenario.expect or "clean", Text(scenario.summary))
    out.print(table)
    checks = Table("check", "what it says", box=None, pad_edge=False)
    for name, says in CHECKS.items():
        checks.add_row(name, Text(says))
    out.print()
    out.print(checks)
    return 0
