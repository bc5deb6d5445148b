"""Artifacts: a failure in a file, replayed, and the locks in it."""

from sugarbush.stress.witness.artifact import Artifact, Found, load
from sugarbush.stress.witness.locks import lock_snapshot
from sugarbush.stress.witness.replaying import minimise_artifact, replay_artifact

__all__ = [
    "Artifact",
    "Found",
    "load",
    "lock_snapshot",
    "minimise_artifact",
    "replay_artifact",
]
