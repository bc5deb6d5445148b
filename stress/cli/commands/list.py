"""``sugarbush list``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sugarbush.stress.cli.index import indexed, listed
from sugarbush.stress.cli.lazy import load_scenarios
from sugarbush.stress.screen import line, out, table

if TYPE_CHECKING:
    from sugarbush.stress.kit import Scenario


def list_command(
    scenario: Annotated[str | None, typer.Argument(help="Only this one, with its parameters.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """List the scenarios, and the checks that --without takes; or say what there is to know of one scenario."""
    if scenario is None and not as_json:
        show_all()
        return 0
    load_scenarios()
    from sugarbush.stress.kit import CHECKS, all_scenarios, find_scenario

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
    _say(*chosen)
    return 0


def show_all() -> None:
    """What the command does without arguments."""
    # Once scenarios are registered, perhaps of files of the user's own, these are what there is.
    found = None if "sugarbush.stress.kit" in sys.modules else indexed()
    if found is None:
        load_scenarios()
        found = listed()
    table(("scenario", "era", "expected", "what it does"), found.scenarios)
    out.print()
    table(("check", "what it says"), list(found.checks.items()))


def _say(scenario: Scenario) -> None:
    line(f"{scenario.name}: {scenario.summary}")
    line(f"era {scenario.era}, {scenario.memory} memory, expected: {scenario.expect or 'clean'}")
    for patch in scenario.patches:
        line(f"patched: {patch.name}")
    for name, default in scenario.parameters.items():
        line(f"--{name.replace('_', '-')} {default}")
