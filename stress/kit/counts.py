"""What executions do, counted in a sample of them: operations by kind, locks, grace periods; and what they covered."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from sugarbush.concurrency import Task
from sugarbush.concurrency.core import label
from sugarbush.concurrency.lowlevel import Dep, Operation, Runtime, Sampler
from sugarbush.concurrency.rcu import GracePeriods


@dataclass(slots=True)
class Counted:
    """What was heard of so many executions, by names.

    `chains` are the sequences of lock classes that some task held at once, `pairs` the operations that two tasks did to
    one object one after the other: what a campaign has seen of what there is to see.
    """

    executions: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    acquired: Counter[str] = field(default_factory=Counter)
    waited: Counter[str] = field(default_factory=Counter)
    grace_periods: int = 0
    chains: set[tuple[str, ...]] = field(default_factory=set)
    pairs: set[tuple[str, str]] = field(default_factory=set)

    def add(self, other: Counted) -> None:
        """Count what `other` has counted as well."""
        self.executions += other.executions
        self.operations += other.operations
        self.acquired += other.acquired
        self.waited += other.waited
        self.grace_periods += other.grace_periods
        self.chains |= other.chains
        self.pairs |= other.pairs

    def as_json(self, executions: int) -> dict[str, Any]:
        """Everything, as estimates for so many executions; chains and pairs are those that were seen."""
        scale = executions / max(1, self.executions)

        def of_all(count: int) -> int:
            return round(count * scale)

        ranked = sorted(self.operations.items(), key=lambda item: (-item[1], item[0]))
        return {
            "sampled": self.executions,
            "operations": {name: of_all(count) for name, count in ranked},
            "locks": {
                name: {"acquired": of_all(self.acquired[name]), "waited": of_all(self.waited[name])}
                for name in sorted({*self.acquired, *self.waited})
            },
            "grace_periods": of_all(self.grace_periods),
            "lock_chains": len(self.chains),
            "operation_pairs": len(self.pairs),
        }


class Counts(Sampler):
    """Counts over those executions that it hears."""

    hears = Counted

    def __init__(self) -> None:
        self._counted = Counted()
        self._kinds: defaultdict[Operation, int] = defaultdict(int)
        self._met: set[tuple[Operation, Operation]] = set()
        self._last: dict[int, list[Any]] = {}
        """For each object that an operation was done to: the last task, its operation, and the object, whose id nobody
        else gets while it is kept. A list that is changed in place: this is called at every access."""
        self._domains: list[GracePeriods[Any]] = []

    def begin(self, runtime: Runtime) -> None:  # noqa: ARG002
        """Keep what has a name of the execution before this one, and count this one."""
        self._settle()
        self._counted.executions += 1

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        """Count the operation, and the pair that it makes with another task's last operation on the same object."""
        self._kinds[op] += 1
        last = self._last.get(id(obj))
        if last is None:
            self._last[id(obj)] = [task, op, obj]
            return
        if last[0] is not task:
            self._met.add((last[1], op))
            last[0] = task
        last[1] = op

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """Count as an access; a lock that is now held counts with the stack of locks that its task holds."""
        self.accessed(task, op, obj)
        dep = op.dep
        if dep is not None and (dep < Dep.TRY or (dep <= Dep.TRY_READ and result is not False)):
            self._counted.acquired[obj.name] += 1
            self._counted.chains.add(tuple([entry[0].name for entry in task.context.held]))
        elif isinstance(obj, GracePeriods) and obj not in self._domains:
            self._domains.append(obj)

    def blocked(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """Count a task that waits, where it waits for a lock."""
        if hasattr(obj, "dep_map"):
            self._counted.waited[label(obj)] += 1

    def _settle(self) -> None:
        """Keep of the last execution what has a name, and nothing else."""
        counted = self._counted
        for op, count in self._kinds.items():
            counted.operations[op.name] += count
        counted.pairs.update((_spelt(one), _spelt(other)) for one, other in self._met)
        counted.grace_periods += sum(domain.begun for domain in self._domains)
        self._kinds.clear()
        self._met.clear()
        self._last.clear()
        self._domains.clear()

    @property
    def counted(self) -> Counted:
        """What it has heard so far, when no execution is going on."""
        self._settle()
        return self._counted

    def taken(self) -> Counted:
        """Hand over what was counted, and begin at nothing."""
        taken, self._counted = self.counted, Counted()
        return taken

    def add(self, taken: Counted) -> None:
        """Count what another process has counted as well."""
        self._counted.add(taken)


def _spelt(op: Operation) -> str:
    return op.name if op.field is None else f"{op.name} {op.field}"
