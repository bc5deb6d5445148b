"""What the lock validator has seen of an artifact: its listings, with times in operations."""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import Task
from sugarbush.concurrency.lowlevel import Dep, LockValidator, Observer, Operation, Runtime
from sugarbush.lockdep.show import LockStat, Snapshot
from sugarbush.stress.witness.artifact import Artifact
from sugarbush.stress.witness.replaying import replay_artifact

_STEP = 1000
"""Nanoseconds that an operation takes in lock statistics: there is no other clock in an execution."""
_READS = (Dep.ACQUIRE_READ, Dep.ACQUIRE_RECURSIVE, Dep.TRY_READ)


class _Watch(Observer):
    """Keeps lock statistics beside the validator of an execution."""

    def __init__(self) -> None:
        self._runtime: Any = None
        self._task: Task | None = None
        self._asked: dict[Task, int] = {}
        self.stat = LockStat(
            self._context,
            self._clock,
            internal=("sugarbush",),
        )

    def _context(self) -> Any:
        assert self._task is not None
        return self._task.context

    def _clock(self) -> int:
        return int(self._runtime.steps) * _STEP

    def begin(self, runtime: Runtime) -> None:
        """Keep the runtime: its operations are the clock of the statistics."""
        self._runtime = runtime

    def asked(self, task: Task, op: Operation, obj: Any, arg: Any) -> None:  # noqa: ARG002
        """Note that the task asks for a lock, and whether to read: `performed` tells when it has it."""
        if op.dep is not None and op.dep <= Dep.TRY_READ:
            self._asked[task] = int(op.dep in _READS)

    def blocked(self, task: Task, op: Operation, obj: Any) -> None:  # noqa: ARG002
        """Count a task that has to wait for the lock it asked for."""
        if task in self._asked and hasattr(obj, "dep_map"):
            self._task = task
            self.stat.contended(obj.dep_map, self._asked[task])

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """Count a lock that was taken or released; a try that failed has no holder and counts as nothing."""
        if not hasattr(obj, "dep_map"):
            return
        self._task = task
        if op.dep is Dep.RELEASE:
            self.stat.released(obj.dep_map)
        elif op.dep in (Dep.TRY, Dep.TRY_READ) and not result:
            # Else the next operation on any lock that the task holds would be taken for what it asked for here.
            self._asked.pop(task, None)
        elif task in self._asked and task in obj.holders:
            self.stat.acquired(obj.dep_map, self._asked.pop(task))

    @property
    def validators(self) -> list[LockValidator]:
        """The lock validators of the execution: one, or none where it is switched off."""
        return [one for one in self._runtime.observers if isinstance(one, LockValidator)]


def lock_snapshot(artifact: Artifact) -> Snapshot:
    """What the validator knows when the artifact's execution has ended; empty if it was switched off."""
    watch = _Watch()
    replay_artifact(artifact, watch)
    for validator in watch.validators:
        return validator.snapshot(watch.stat.rows())
    return Snapshot(lock_stat=watch.stat.rows())
