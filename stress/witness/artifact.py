"""Artifacts: one JSON file that holds a witness and all that is needed to replay and explain it.

An artifact is data only. The scenario in it is looked up among the registered ones, and a file that is broken,
foreign or from a newer Sugarbush is refused with one sentence. The format is described in docs/artifacts.md, and by
stress/artifact.schema.json.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sugarbush.concurrency import Schedule, Settings, SugarbushError, Witness
from sugarbush.concurrency.runtimes import DEFAULT_MAX_STEPS
from sugarbush.lockdep.outside import (
    Identity,
    UnusableFile,
    identity,
    write_text,
)
from sugarbush.stress.kit import (
    BadParameter,
    FileFormat,
    Scenario,
    UnknownScenario,
    find_scenario,
    known_checks,
)

FORMAT = 2
_MAGIC = "sugarbush"
_FILE = FileFormat(
    "an artifact of sugarbush", _MAGIC, FORMAT, "sugarbush.stress.witness", "artifact.schema.json"
)
_MOST_CHOICES = 2 * DEFAULT_MAX_STEPS
"""An execution has so many operations at most, and hardly more than one choice at each."""
_KEPT = ("trace", "spawn")
_MOST_EVENTS = 500
"""How many events are kept, counted from the failure back: a replay has them all."""


class BadArtifact(SugarbushError):
    """A file is not an artifact that can be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """What an artifact says, checked: a failure of `scenario` and the schedule that leads to it."""

    scenario: Scenario
    schedule: Schedule
    without: frozenset[str]
    kind: str
    headline: str
    task: str
    step: int
    found_by: dict[str, Any]

    @property
    def settings(self) -> Settings:
        """How its execution is run."""
        return self.scenario.settings(self.without, self.memory)

    @property
    def memory(self) -> str:
        """The memory model under which it was found."""
        return str(self.found_by.get("memory", "sc"))


@dataclass(frozen=True, slots=True)
class Saved:
    """An artifact on disk; `ours` tells it from a file that somebody else has written, None if one was there before."""

    path: Path
    ours: Identity | None

    def remove(self) -> None:
        """Remove it if it is still the file that was written, and nobody else has written one of its name.

        Two runs of one seed in one directory find the same and call it the same; what one of them has no more use for
        the other one may have told its user about.
        """
        try:
            if self.ours is not None and self.ours == identity(self.path):
                self.path.unlink()
        except OSError:
            # What cannot be removed is one artifact too many; nothing is lost by that.
            pass


def saved(
    witness: Witness,
    scenario: Scenario,
    without: frozenset[str],
    found_by: dict[str, Any],
    out: Path,
    name: str | None = None,
) -> Saved:
    """Write the artifact of `witness` to the directory `out`, under a name that says what it is; gives the file.

    `found_by` says how it was found (runtime, memory, strategy, depth, seed). The file appears whole or not at all.
    Raises OSError if it cannot be written.
    """
    failure = witness.failure
    data = {
        _MAGIC: FORMAT,
        "scenario": scenario.name,
        "parameters": dict(scenario.values),
        "faults": scenario.faults,
        "without": sorted(without),
        "found_by": {**found_by, "execution": witness.execution},
        "schedule": str(witness.schedule),
        "steps": witness.steps,
        "failure": {
            "kind": failure.kind.value,
            "headline": failure.headline,
            "task": failure.task,
            "step": failure.step,
            "check": failure.check,
            "detail": failure.detail,
        },
        "tasks": list(witness.tasks),
        "events": [[e.step, e.task, e.what, e.on] for e in witness.events if e.kind in _KEPT][-_MOST_EVENTS:],
    }
    base = name or f"{scenario.name}-{failure.kind.value}-{found_by['seed']}-{witness.execution}"
    path = out / f"{base}.json"
    # `scenario()` takes no name that could lead elsewhere, and `minimise` names the file after one that it has read.
    assert path.parent == out, f"{base!r} is no name of a file"
    return Saved(path, write_text(path, _spelt(data)))


def _spelt(data: dict[str, Any]) -> str:
    """JSON with one key, and one event, a line."""
    lines = []
    for key, value in data.items():
        spelt = json.dumps(value)
        if key == "events" and value:
            spelt = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        lines.append(f" {json.dumps(key)}: {spelt}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def load(path: Path) -> Artifact:
    """Read and check an artifact; raises `BadArtifact`, or `BadSchedule` for a schedule that is none."""
    try:
        data = _FILE.read(path)
        without = known_checks(path, data["without"])
    except UnusableFile as error:
        raise BadArtifact(str(error)) from None
    # What the schema says nothing of: which scenarios and parameters there are.
    try:
        scenario = find_scenario(data["scenario"]).given(data.get("parameters", {}), data.get("faults"))
    except (UnknownScenario, BadParameter) as error:
        raise BadArtifact(f"{path}: {error}") from None
    spelt = data["schedule"]
    if spelt.count(",") >= _MOST_CHOICES:
        raise BadArtifact(f"{path} is broken: its schedule has more than {_MOST_CHOICES} choices")
    failure = data["failure"]
    return Artifact(
        scenario=scenario,
        schedule=Schedule.parse(spelt),
        without=without,
        kind=failure["kind"],
        headline=failure["headline"],
        task=failure["task"],
        step=failure["step"],
        found_by=data["found_by"],
    )


@dataclass(slots=True)
class Found:
    """A witness, and the artifact that it was saved to; None with the reason if that could not be written.

    `first` is the number of the execution in the whole campaign that first showed it. `times` counts the executions
    that showed it, of which this is the simplest: those with the headline of one that was replayed and showed it.
    """

    witness: Witness
    saved: Saved | None
    problem: str = ""
    first: int = 0
    times: int = 0

    @property
    def path(self) -> Path | None:
        """The file of the artifact."""
        return None if self.saved is None else self.saved.path
