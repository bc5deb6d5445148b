"""Artifacts: one JSON file that holds a witness and all that is needed to replay and explain it.

An artifact is data only. The scenario in it is looked up among the registered ones, and a file that is broken,
foreign or from a newer Sugarbush is refused with one sentence. The format is described in docs/artifacts.md, and by
stress/artifact.schema.json.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concurrency import MEMORIES, Schedule, Settings, Witness
from stress.checks import CHECKS
from stress.scenario import BadParameter, Scenario, UnknownScenario, find_scenario

FORMAT = 2
_MAGIC = "sugarbush"
_LARGEST = 16 * 1024 * 1024
_KEPT = ("trace", "spawn")
_MOST_EVENTS = 500
"""How many events are kept, counted from the failure back: a replay has them all."""


class BadArtifact(Exception):
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


def save(
    witness: Witness,
    scenario: Scenario,
    without: frozenset[str],
    found_by: dict[str, Any],
    out: Path,
    name: str | None = None,
) -> Path:
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
    out.mkdir(parents=True, exist_ok=True)
    base = name or f"{scenario.name}-{failure.kind.value}-{found_by['seed']}-{witness.execution}"
    path = out / f"{base}.json"
    partial = path.with_suffix(".part")
    try:
        partial.write_text(_spelt(data), encoding="utf-8")
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    return path


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
    """Read and check an artifact; raises `BadArtifact`."""
    try:
        if path.stat().st_size > _LARGEST:
            raise BadArtifact(f"{path} is larger than any artifact ({_LARGEST} bytes)")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadArtifact(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise BadArtifact(f"{path} is not an artifact: it is not JSON") from None
    if not isinstance(data, dict) or type(data.get(_MAGIC)) is not int:
        raise BadArtifact(f"{path} is not an artifact of sugarbush")
    if data[_MAGIC] > FORMAT:
        raise BadArtifact(
            f"{path} has format {data[_MAGIC]}, which is newer than this sugarbush (format {FORMAT})"
        )
    return _checked(path, data)


def _checked(path: Path, data: dict[str, Any]) -> Artifact:
    failure = _entry(path, data, "failure", dict)
    without = _entry(path, data, "without", list)
    if not all(isinstance(name, str) and name in CHECKS for name in without):
        raise BadArtifact(f"{path} is broken: 'without' names checks that do not exist")
    parameters = _entry(path, {"parameters": {}, **data}, "parameters", dict)
    found_by = _entry(path, data, "found_by", dict)
    _entry(path, {"execution": 0, **found_by}, "execution", int)
    faults = _entry(path, data, "faults", int) if "faults" in data else None
    if faults is not None and faults < 0:
        raise BadArtifact(f"{path} is broken: 'faults' is below 0")
    try:
        scenario = find_scenario(_entry(path, data, "scenario", str)).given(parameters, faults)
    except (UnknownScenario, BadParameter) as error:
        raise BadArtifact(f"{path}: {error}") from None
    if found_by.get("memory", "sc") not in MEMORIES:
        raise BadArtifact(f"{path} is broken: 'found_by' names a memory model that does not exist")
    return Artifact(
        scenario=scenario,
        schedule=Schedule.parse(_entry(path, data, "schedule", str)),
        without=frozenset(without),
        kind=_entry(path, failure, "kind", str),
        headline=_entry(path, failure, "headline", str),
        task=_entry(path, failure, "task", str),
        step=_entry(path, failure, "step", int),
        found_by=found_by,
    )


def _entry(path: Path, data: dict[str, Any], key: str, kind: type[Any]) -> Any:
    value = data.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadArtifact(f"{path} is broken: {key!r} is missing or not a {kind.__name__}")
    return value
