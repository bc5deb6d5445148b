"""What can be done with an artifact: replay it, minimise it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sugarbush.concurrency import BadSchedule, Witness, replay
from sugarbush.concurrency.core import without_places
from sugarbush.concurrency.lowlevel import Observer
from sugarbush.concurrency.witness import Explanation, Minimised, explain, minimised
from sugarbush.lockdep.outside import reason
from sugarbush.stress.kit import applied
from sugarbush.stress.witness.artifact import Artifact, Found, saved

_MINIMISED = "-min"


def minimise_artifact(artifact: Artifact, path: Path) -> tuple[Minimised, Explanation, Found]:
    """Minimise the artifact of the file `path`, explain the result, and save it beside it as ``NAME-min.json``.

    Raises `BadSchedule` unless the artifact replays.
    """
    witness = replay_artifact(artifact)
    settings = artifact.settings
    with applied(artifact.scenario.patches):
        small = minimised(artifact.scenario.program, witness, settings)
        why = explain(artifact.scenario.program, small.witness, settings)
    # A result that is minimised again replaces itself.
    name = path.stem.removesuffix(_MINIMISED) + _MINIMISED
    try:
        kept = saved(
            small.witness, artifact.scenario, artifact.without, artifact.found_by, path.parent, name=name
        )
    except OSError as error:
        return small, why, Found(small.witness, None, f"{path.parent}: {reason(error)}")
    return small, why, Found(small.witness, kept)


def replay_artifact(artifact: Artifact, *watchers: Observer) -> Witness:
    """Run the artifact's schedule again, with `watchers` among the observers.

    Raises `BadSchedule` unless it ends in the same failure at the same step. The line of the source where that is
    may be another one: the model has been edited since, or its files have been moved.
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
    # The step, too: a schedule that leads to the same failure elsewhere has met another program.
    failure = witness.failure
    found = (failure.kind.value, without_places(failure.headline), failure.task, failure.step)
    if found != (artifact.kind, without_places(artifact.headline), artifact.task, artifact.step):
        raise BadSchedule(
            f"the schedule no longer fits the program: it gave {failure.headline!r} at operation {failure.step}, "
            f"the artifact says {artifact.headline!r} at operation {artifact.step}"
        )
    return witness
