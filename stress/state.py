"""The state of a campaign in its directory: data only, checked when it is read, written whole or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concurrency import MEMORIES, RUNTIMES, STRATEGIES
from stress.checks import CHECKS
from stress.plan import Plan
from stress.scenario import BadParameter, UnknownScenario, find_scenario

NAME = "campaign.json"
FORMAT = 2
_MAGIC = "sugarbush-campaign"


class BadState(Exception):
    """A directory has no state of a campaign that can be used; the message says why."""


@dataclass(frozen=True, slots=True)
class State:
    """How far a campaign is: the next round, and what the rounds before it came to. `times` is for each artifact."""

    plan: Plan
    round: int
    executions: int
    steps: int
    seconds: float
    times: dict[str, int]


def save(state: State, counts: dict[str, Any]) -> None:
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
    plan.out.mkdir(parents=True, exist_ok=True)
    partial = plan.out / f"{NAME}.part"
    partial.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, plan.out / NAME)


def load(folder: Path, seconds: float, jobs: int) -> State:
    """The state in `folder`, with a plan for `seconds` more; raises `BadState`."""
    path = folder / NAME
    data = _read(path)

    def entry(key: str, *kinds: type) -> Any:
        value = data.get(key)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise BadState(f"{path} is broken: {key!r} is missing or not a {kinds[0].__name__}")
        return value

    def number(key: str) -> int:
        value: int = entry(key, int)
        if value < 0:
            raise BadState(f"{path} is broken: {key!r} is below 0")
        return value

    def one_of(key: str, allowed: tuple[str, ...]) -> str:
        value: str = entry(key, str)
        if value not in allowed:
            raise BadState(f"{path} is broken: {key!r} is {value!r}")
        return value

    ran = float(entry("seconds", float, int))
    without = entry("without", list)
    if not all(isinstance(name, str) and name in CHECKS for name in without):
        raise BadState(f"{path} is broken: 'without' names checks that do not exist")
    times = entry("failures", dict)
    if not all(type(count) is int and Path(name).name == name for name, count in times.items()):
        raise BadState(f"{path} is broken: 'failures' is not a table of artifacts")
    faults = number("faults") if "faults" in data else None
    try:
        scenario = find_scenario(entry("scenario", str)).given(entry("parameters", dict), faults)
    except (UnknownScenario, BadParameter) as error:
        raise BadState(f"{path}: {error}") from None
    plan = Plan(
        scenario=scenario,
        runtime=one_of("runtime", RUNTIMES),
        strategy=one_of("strategy", STRATEGIES),
        depth=entry("depth", int, type(None)),
        schedules=None,
        seconds=ran + seconds,
        seed=number("seed"),
        without=frozenset(without),
        keep_going=entry("keep_going", bool),
        out=folder,
        memory=one_of("memory", MEMORIES),
        jobs=jobs,
    )
    return State(plan, number("round"), number("executions"), number("steps"), ran, times)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadState(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise BadState(f"{path} is not the state of a campaign: it is not JSON") from None
    if not isinstance(data, dict) or type(data.get(_MAGIC)) is not int:
        raise BadState(f"{path} is not the state of a campaign")
    if data[_MAGIC] > FORMAT:
        raise BadState(
            f"{path} has format {data[_MAGIC]}, which is newer than this sugarbush (format {FORMAT})"
        )
    return data
