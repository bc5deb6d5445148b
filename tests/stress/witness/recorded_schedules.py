"""What 200 schedules did when they were recorded, in tests/data/schedules/recorded.jsonl: nothing since may change it.

    python tests/stress/witness/recorded_schedules.py

writes the file anew. That is right only for a change that is meant to make other executions of the same schedules; the
CHANGELOG marks such a change with **schedules**.
"""

# ruff: noqa: E402
from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[3] / "src")]

from sugarbush.concurrency import explore, replay
from sugarbush.concurrency.core.failure import without_places
from sugarbush.concurrency.lowlevel import Observer
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.bugs import all_bugs
from sugarbush.stress.kit.patches import applied
from sugarbush.stress.kit.scenarios import find_scenario

registry.load()
FILE = Path(__file__).parents[2] / "data" / "schedules" / "recorded.jsonl"
_COUNT = 200
_TRIES = 3000


class Steps(Observer):
    """A digest of who announced which operation, in order."""

    judges = False

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def announced(self, task: Any, op: Any, _obj: object) -> None:
        """Names of operations are part of what a schedule means; where they stand in the code is not."""
        self._hash.update(f"{task.id} {op.name}\n".encode())

    @property
    def digest(self) -> str:
        """Of all steps until now."""
        return self._hash.hexdigest()[:16]


def replayed(scenario: Any, schedule: str) -> dict[str, Any]:
    """What comes of the schedule now; the patches of the scenario are applied."""
    steps = Steps()
    settings = scenario.settings()
    observers = settings.observers
    settings = replace(settings, observers=lambda: (steps, *observers()))
    witness = replay(scenario.program, schedule, settings=settings)
    failure = witness.failure
    return {
        "scenario": scenario.name,
        "schedule": schedule,
        "kind": failure.kind.value,
        "check": failure.check,
        "headline": without_places(failure.headline),
        "task": failure.task,
        "step": failure.step,
        "steps": witness.steps,
        "operations": steps.digest,
    }


def recorded() -> list[dict[str, Any]]:
    """The lines of the file."""
    return [json.loads(line) for line in FILE.read_text().splitlines()]


def _found() -> Iterator[tuple[Any, str]]:
    """The first witness of each bug, from one seed after the other."""
    for seed in range(1, 10):
        for bug in all_bugs():
            scenario = bug.broken
            with applied(scenario.patches):
                result = explore(
                    scenario.program,
                    strategy="pct",
                    executions=_TRIES,
                    seed=seed,
                    settings=scenario.settings(),
                )
            if result.failures:
                yield scenario, str(result.failures[0].schedule)


def main() -> None:
    lines = []
    for scenario, schedule in _found():
        with applied(scenario.patches):
            lines.append(json.dumps(replayed(find_scenario(scenario.name), schedule)))
        if len(lines) == _COUNT:
            break
    FILE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
