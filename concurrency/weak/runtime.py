"""The simulated runtime with weak memory: what is done by an operation reaches other tasks as barriers allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from concurrency.execution import END, Execution
from concurrency.fence import SMP_MB, Propagation
from concurrency.lock import Lock
from concurrency.operation import Access, Dep, Fence, Operation
from concurrency.race import RaceDetector
from concurrency.rcu.domain import READERS, UPDATES, RcuDomain, is_atomic
from concurrency.simulated import Simulated
from concurrency.task import Task
from concurrency.weak.accessors import WEAK
from concurrency.weak.memory import WeakMemory

_TRIES = (Dep.TRY, Dep.TRY_READ)
_UNLOCKS = (Dep.RELEASE, Dep.DOWNGRADE)


class WeakSimulated(Simulated):
    """Runs programs under weak memory.

    Fields of `Shared` objects and words (`Operation.word`) have a history. The effect of any other operation is
    atomic and every task sees it at once, as under sequential consistency; what it hands on stands in its `access`,
    `acquires` and `releases`. A full barrier that belongs to an operation is a step of its own before or after it.
    """

    announce: Callable[[Operation, object], None]
    """`step` for accesses that ask the memory themselves."""

    accessors = WEAK

    def _reset(self) -> None:
        super()._reset()
        self._races = next((one for one in self._observers if isinstance(one, RaceDetector)), None)
        self.announce = self.step
        self.step = self._touch
        self.memory = WeakMemory(self, self._races)

    def _step_by(self, step: Callable[[Operation, object], None]) -> None:
        """See `Liveness`: `step` itself goes on to tell the memory."""
        self.announce = step

    def _chooses(self, label: str) -> None:
        """See `Liveness`: to read something older is no other way to go on, since the newest can be read as well."""
        if not label.startswith("value of "):
            super()._chooses(label)

    def _written(self, op: Operation, obj: object) -> object:  # noqa: ARG002
        """See `Liveness`; `wrote` says it."""
        return None

    def wrote(self, *, kept: bool) -> None:
        """The calling task has written to a field what was its newest value already (`kept`), or something else."""
        if kept and self._watching:
            self._last[self.current] = True

    def _settle_memory(self, task: Task, *, settled: bool) -> None:
        """See `Liveness`: a write reaches every task in the end."""
        self.memory.known[task.id].settled = settled

    def _stop(self) -> None:
        super()._stop()
        self.announce = self.step

    def run(self, program: Callable[[], Any]) -> Execution:
        """See `Simulated.run`."""
        if self._races is not None:
            self._races.follows_reads = True
        return super().run(program)

    def _barrier(self) -> None:
        self._touch(SMP_MB, self.domain(Propagation))

    def _touch(self, op: Operation, obj: object) -> None:
        """`step` for all that is no field of a `Shared` object."""
        self.announce(op, obj)
        if op.access is not Access.NONE or op.before is not None or op.after is not None:
            self.memory.touch(self.current, op, obj)

    def load(self, op: Operation, obj: Any) -> Any:
        """See `Runtime.load`."""
        self.announce(op, obj)
        return self.memory.load(self.current, op, obj)

    def store(self, op: Operation, obj: Any, value: Any) -> None:
        """See `Runtime.store`."""
        self.announce(op, obj)
        self.memory.store(self.current, op, obj, value)

    def made(self, obj: object) -> None:
        """See `Runtime.made`."""
        self.memory.born(obj)

    def perform(self, op: Operation, obj: object, arg: Any = None) -> Any:
        """See `Runtime.perform`."""
        if op.before is Fence.MB:
            self._barrier()
        result = super().perform(op, obj, arg)
        memory, task = self.memory, self.current
        if op.acquires and not (op.dep in _TRIES and not result):
            for name in op.acquires:
                memory.take(task, memory.sync(obj, name), locks=isinstance(obj, Lock))
        if op.access is not Access.NONE:
            memory.touch(task, op, obj)
        for name in op.releases:
            memory.give(task, memory.sync(obj, name), unlocks=op.dep in _UNLOCKS and isinstance(obj, Lock))
        if op.region:
            self._stretch(task)
        if op.after is Fence.MB:
            self._barrier()
        return result

    def order(self, task: Task, op: Operation, obj: object) -> None:
        """See `Runtime.order`."""
        super().order(task, op, obj)
        for name in op.acquires:
            self.memory.take(task, self.memory.sync(obj, name), locks=False)
        for name in op.releases:
            self.memory.give(task, self.memory.sync(obj, name), unlocks=False)

    def _stretch(self, task: Task) -> None:
        """Preemption may have gone off or on: what grace periods of RCU wait for has begun or ended."""
        memory, rcu = self.memory, self.domain(RcuDomain)
        if is_atomic(task):
            for name in UPDATES:
                memory.take(task, memory.sync(rcu, name), locks=False)
        else:
            for name in READERS:
                memory.give(task, memory.sync(rcu, name), unlocks=False)

    def _start(
        self, parent: Task | None, fn: Callable[..., Any], args: tuple[Any, ...], name: str, daemon: bool
    ) -> Task:
        task = super()._start(parent, fn, args, name, daemon)
        self.memory.spawned(parent)
        return task

    def _end(self, task: Task) -> Task | None:
        for name in END.releases:
            self.memory.give(task, self.memory.sync(task, name), unlocks=False)
        return super()._end(task)
