"""What executions did, counted: operations by kind, locks, failed allocations, grace periods; and what they covered."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from concurrency import Dep, Observer, Operation, Runtime, Task
from concurrency.rcu.domain import GracePeriods
from concurrency.waiting import label

_ALLOC = "kmem_cache_alloc"


class Counts(Observer):
    """Counts over all executions that it listens to.

    `chains` are the sequences of lock classes that some task held at once, `met` the operations that two tasks did to
    one object one after the other: what a campaign has seen of what there is to see.
    """

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        self.acquired: Counter[str] = Counter()
        self.waited: Counter[str] = Counter()
        self.failed_allocations = 0
        self.grace_periods = 0
        self.executions = 0
        self.chains: set[tuple[str, ...]] = set()
        self._kinds: defaultdict[Operation, int] = defaultdict(int)
        self.met: set[tuple[Operation, Operation]] = set()
        self._last: dict[int, list[Any]] = {}
        """For each object that an operation was done to: the last task, its operation, and the object."""
        self._domains: list[GracePeriods[Any]] = []

    def begin(self, runtime: Runtime) -> None:  # noqa: ARG002
        """See `Observer.begin`."""
        self.executions += 1
        self._last = {}
        self._settle()

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        """See `Observer.accessed`."""
        self._kinds[op] += 1
        last = self._last.get(id(obj))
        if last is None:
            self._last[id(obj)] = [task, op, obj]
            return
        if last[0] is not task:
            self.met.add((last[1], op))
            last[0] = task
        last[1] = op

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """See `Observer.performed`."""
        self.accessed(task, op, obj)
        dep = op.dep
        if dep is not None and (dep < Dep.TRY or (dep <= Dep.TRY_READ and result is not False)):
            self.acquired[obj.name] += 1
            self.chains.add(tuple([entry[0].name for entry in task.context.held]))
        elif result is None and op.name == _ALLOC:
            self.failed_allocations += 1
        elif isinstance(obj, GracePeriods) and obj not in self._domains:
            self._domains.append(obj)

    def blocked(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """See `Observer.blocked`."""
        if hasattr(obj, "dep_map"):
            self.waited[label(obj)] += 1

    def _settle(self) -> None:
        self.grace_periods += sum(domain.begun for domain in self._domains)
        self._domains = []
        for op, count in self._kinds.items():
            self.operations[op.name] += count
        self._kinds.clear()

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file or the last line of a run."""
        self._settle()
        locks = {
            name: {"acquired": self.acquired[name], "waited": self.waited[name]}
            for name in sorted({*self.acquired, *self.waited})
        }
        return {
            "executions": self.executions,
            "operations": dict(self.operations.most_common()),
            "locks": locks,
            "failed_allocations": self.failed_allocations,
            "grace_periods": self.grace_periods,
            "lock_chains": len(self.chains),
            "operation_pairs": len({(one.name, other.name) for one, other in self.met}),
        }
