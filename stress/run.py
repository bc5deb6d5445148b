"""Running a scenario, and replaying an artifact: what the command line does, without the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from concurrency import BadSchedule, Observer, Result, Settings, Witness, explore, replay
from concurrency.explain import Explanation, explain
from concurrency.minimise import Minimised, minimised
from stress.artifact import Artifact, save
from stress.patch import applied
from stress.scenario import Scenario
from stress.source import ScenarioSource

_MINIMISED = "-min"


@dataclass(frozen=True, slots=True)
class Plan:
    """How to run a scenario; exactly one of `schedules` and `seconds` bounds it."""

    scenario: Scenario
    runtime: str
    strategy: str
    depth: int | None
    schedules: int | None
    seconds: float | None
    seed: int
    without: frozenset[str]
    keep_going: bool
    out: Path
    memory: str = "sc"
    jobs: int = 1

    @property
    def settings(self) -> Settings:
        """What `concurrency` needs to know of it."""
        return self.scenario.settings(self.without, self.memory)


@dataclass(frozen=True, slots=True)
class Found:
    """A witness, and the artifact that it was saved to; None with the reason if that could not be written."""

    witness: Witness
    path: Path | None
    problem: str = ""


def run(plan: Plan, progress: Callable[[Result], None] | None = None) -> tuple[Result, list[Found]]:
    """Explore the plan's scenario; every witness is saved as soon as it is found."""
    saved: list[Found] = []
    how = {
        "runtime": plan.runtime,
        "memory": plan.memory,
        "strategy": plan.strategy,
        "depth": plan.depth,
        "seed": plan.seed,
    }

    def keep(witness: Witness) -> None:
        try:
            saved.append(Found(witness, save(witness, plan.scenario, plan.without, how, plan.out)))
        except OSError as error:
            saved.append(Found(witness, None, f"{plan.out}: {error.strerror}"))

    with applied(plan.scenario.patches):
        result = explore(
            plan.scenario.program,
            strategy=plan.strategy,
            depth=plan.depth,
            executions=plan.schedules,
            seconds=plan.seconds,
            seed=plan.seed,
            keep_going=plan.keep_going,
            runtime=plan.runtime,
            settings=plan.settings,
            progress=progress,
            found=keep,
            jobs=plan.jobs,
            source=ScenarioSource.of(plan.scenario, plan.without, plan.memory),
        )
    return result, saved


def minimise_artifact(artifact: Artifact, path: Path) -> tuple[Minimised, Explanation, Found]:
    """Minimise the artifact of the file `path`, explain the result, and save it beside it as ``NAME-min.json``.

    Raises `BadSchedule` unless the artifact replays.
    """
    witness = replay_artifact(artifact)
    settings = artifact.settings
    with applied(artifact.scenario.patches):
        small = minimised(artifact.scenario.program, witness, settings)
        why = explain(artifact.scenario.program, small.witness, settings)
    name = path.stem.removesuffix(_MINIMISED) + _MINIMISED
    try:
        saved = save(
            small.witness, artifact.scenario, artifact.without, artifact.found_by, path.parent, name=name
        )
    except OSError as error:
        return small, why, Found(small.witness, None, f"{path.parent}: {error.strerror}")
    return small, why, Found(small.witness, saved)


def replay_artifact(artifact: Artifact, *watchers: Observer) -> Witness:
    """Run the artifact's schedule again, with `watchers` among the observers.

    Raises `BadSchedule` unless it ends in the same failure at the same step.
    """
    if not artifact.schedule.choices:
        raise BadSchedule("the artifact was found by the threaded runtime, whose choices nobody records")
    settings = artifact.settings
    if watchers:
        observers = settings.observers
        settings = replace(settings, observers=lambda: (*watchers, *observers()))
    with applied(artifact.scenario.patches):
        witness = replay(
            artifact.scenario.program,
            artifact.schedule,
            settings=settings,
            execution=artifact.found_by.get("execution", 0),
        )
    failure = witness.failure
    if failure.signature != (artifact.kind, artifact.headline, artifact.task, artifact.step):
        raise BadSchedule(
            f"the schedule no longer fits the program: it gave {failure.headline!r} at operation {failure.step}, "
            f"the artifact says {artifact.headline!r} at operation {artifact.step}"
        )
    return witness


def summary(plan: Plan, result: Result, found: list[Found]) -> dict[str, Any]:
    """The object that ``run --json`` prints."""
    return {
        "scenario": plan.scenario.name,
        "parameters": dict(plan.scenario.values),
        "runtime": plan.runtime,
        "memory": plan.memory,
        "strategy": result.strategy,
        "seed": plan.seed,
        "executions": result.executions,
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        "failures": [
            {
                "kind": one.witness.failure.kind.value,
                "headline": one.witness.failure.headline,
                "schedule": str(one.witness.schedule),
                "first_execution": one.witness.execution,
                "strategy": one.witness.strategy,
                "artifact": None if one.path is None else str(one.path),
            }
            for one in found
        ],
        "verdict": result.verdict.value,
        "exhaustive": result.exhaustive,
        "preemption_bound": result.bound,
        "bound_of": result.unit,
        "completed": result.completed,
        "repeated": result.repeated,
        "cut": result.cut,
        "pruned": result.pruned,
    }
