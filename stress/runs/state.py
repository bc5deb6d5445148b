"""The state of a campaign in its directory: data only, checked when it is read, written whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sugarbush.concurrency import STRATEGIES, SugarbushError
from sugarbush.concurrency.strategies import checked_depth
from sugarbush.lockdep.outside import UnusableFile, check_schema, read_json, shown, write_text
from sugarbush.stress.kit import CHECKS, Plan, find_scenario

NAME = "campaign.json"
FORMAT = 2
_MAGIC = "sugarbush-campaign"
_SCHEMA = "campaign.schema.json"


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
    data = _read(path)
    unknown = sorted(set(data["without"]) - set(CHECKS))
    if unknown:
        raise BadState(
            f"{path} is broken: 'without' names checks that do not exist, {shown(unknown[0])}; `sugarbush list` names "
            "those that do"
        )
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
            seconds=data["seconds"] + seconds,
            seed=data["seed"],
            without=frozenset(data["without"]),
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


def _read(path: Path) -> dict[str, Any]:
    try:
        data = read_json(path, "the state of a campaign")
        number = data.get(_MAGIC)
        if type(number) is not int:
            raise BadState(f"{path} is not the state of a campaign: no key {_MAGIC!r} says its format")
        if number > FORMAT:
            raise BadState(
                f"{path} has format {shown(number)}, which is newer than this sugarbush (format {FORMAT}): install "
                "the one that wrote it"
            )
        check_schema(data, "sugarbush.stress.runs", _SCHEMA, str(path))
    except UnusableFile as error:
        raise BadState(str(error)) from None
    return data
