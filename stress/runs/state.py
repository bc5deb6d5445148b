"""The state of a campaign in its directory: data only, checked when it is read, written whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sugarbush.concurrency import STRATEGIES, SugarbushError
from sugarbush.concurrency.strategies import checked_depth
from sugarbush.lockdep.outside import UnusableFile, shown, write_text
from sugarbush.stress.kit import FileFormat, Plan, find_scenario, known_checks

NAME = "campaign.json"
FORMAT = 2
_MAGIC = "sugarbush-campaign"
_FILE = FileFormat("the state of a campaign", _MAGIC, FORMAT, "sugarbush.stress.runs", "campaign.schema.json")


class BadState(SugarbushError):
    """A directory has no state of a campaign that can be used; the message says why."""


@dataclass(frozen=True, slots=True)
class CampaignState:
    """How far a campaign is: the next round, and what the rounds before it came to. `times` is for each artifact."""

    plan: Plan
    round: int
    executions: int
    steps: int
    seconds: float
    times: dict[str, int]


def save(state: CampaignState, counts: dict[str, Any]) -> None:
    """Write the state to the directory of its plan; `counts` are for readers. Raises OSError."""
    plan = state.plan
    data = {
        _MAGIC: FORMAT,
        "scenario": plan.scenario.name,
        "parameters": dict(plan.scenario.values),
        "faults": plan.scenario.faults,
        "runtime": plan.runtime,
        "memory": plan.memory,
        "strategy": plan.strategy,
        "depth": plan.depth,
        "seed": plan.seed,
        "without": sorted(plan.without),
        "keep_going": plan.keep_going,
        "round": state.round,
        "executions": state.executions,
        "steps": state.steps,
        "seconds": round(state.seconds, 3),
        "failures": state.times,
        "counts": counts,
    }
    write_text(plan.out / NAME, json.dumps(data, indent=1) + "\n")


def load(folder: Path, seconds: float, jobs: int) -> CampaignState:
    """The state in `folder`, with a plan for `seconds` more; raises `BadState`."""
    path = folder / NAME
    try:
        data = _FILE.read(path)
        without = known_checks(path, data["without"])
    except UnusableFile as error:
        raise BadState(str(error)) from None
    if data["strategy"] not in STRATEGIES:
        raise BadState(
            f"{path} is broken: 'strategy' is {shown(data['strategy'])}; there are {', '.join(STRATEGIES)}"
        )
    try:
        scenario = find_scenario(data["scenario"]).given(data["parameters"], data.get("faults"))
        plan = Plan(
            scenario=scenario,
            runtime=data["runtime"],
            strategy=data["strategy"],
            depth=checked_depth(data["strategy"], data["depth"]),
            schedules=None,
            # Seconds count from the start of the campaign, as the executions do.
            seconds=data["seconds"] + seconds,
            seed=data["seed"],
            without=without,
            keep_going=data["keep_going"],
            out=folder,
            memory=data["memory"],
            jobs=jobs,
        )
        has_rounds = plan.has_rounds
    except SugarbushError as error:
        raise BadState(f"{path}: {error}") from None
    if not has_rounds:
        raise BadState(f"{path} is broken: {plan.strategy} is a search, which has no rounds to go on with")
    ran = float(data["seconds"])
    return CampaignState(plan, data["round"], data["executions"], data["steps"], ran, data["failures"])
