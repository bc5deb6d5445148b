"""Operations that are declared to commute: both orders are made, on copies, and compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sugarbush.concurrency.checks import Dependence
from sugarbush.concurrency.core import (
    Failure,
    Operation,
    Seen,
    Task,
    asked,
    label,
    quiet,
    spell_out,
    state_of,
)
from sugarbush.concurrency.rcu import RcuDomain, is_atomic
from sugarbush.concurrency.runtimes.audit.touches import Touches
from sugarbush.concurrency.runtimes.audit.turns import (
    COMMUTING,
    WatchedRuntime,
)
from sugarbush.concurrency.strategies import copied

_ENOUGH = 20
"""So often each pair is tried in one execution: it bounds what an audit costs."""


class BothOrders(Touches):
    """Makes two operations in both orders, and sees whether a program could notice which order it was."""

    def __init__(self, runtime: WatchedRuntime) -> None:
        super().__init__(runtime)
        self._effects: dict[Operation, Callable[[Any, Any, Any], Any]] = {}

    def begin(self) -> None:
        """A new execution: nothing is known of it."""
        super().begin()
        self._relation = Dependence(faults=self._runtime.__dict__.get("_faults", 0) > 0)
        self._args: dict[int, Any] = {}
        """For each task the argument of the operation that it has announced."""
        self._pairs: set[tuple[Operation, Operation]] = set()
        self._tried: dict[tuple[Operation, Operation], int] = {}

    def _compare_orderings(self, op: Operation, other: Operation, obj: object) -> None:
        """Two independent operations: refuse that one hands an ordering on to the other, which tells their order."""
        if (op, other) in self._pairs:
            return
        self._pairs.add((op, other))
        for gives, takes in ((op, other), (other, op)):
            for name in gives.releases:
                if name in takes.acquires:
                    self._runtime.wrong(
                        f"{takes.name}({label(obj)}) takes over what {gives.name} leaves behind ({name!r}), yet the "
                        "two are declared independent: their order counts"
                    )

    def _try_both_orders(self, task: Task, op: Operation, obj: object, arg: Any) -> None:
        """Of operations on one object that change it and are declared to commute: make both orders, on copies."""
        footprint = self._relation.footprint(op, obj)
        if footprint not in COMMUTING:
            return
        for other in self._runtime.tasks:
            two = other.op
            if (
                other is task
                or other.ended
                or two is None
                or other.obj is not obj
                or two not in self._effects
            ):
                continue
            if self._relation.footprint(two, obj) not in COMMUTING or self._tried.get((op, two), 0) > _ENOUGH:
                continue
            if self._relation.dependent(op, obj, two, obj) or not (
                two.ready is None or two.ready(obj, other)
            ):
                continue
            # Of a domain that no program runs in, tasks without preemption cannot be asked for.
            if isinstance(obj, RcuDomain) and any(map(is_atomic, self._runtime.tasks)):
                continue
            self._tried[op, two] = self._tried.get((op, two), 0) + 1
            one = (task, op, arg)
            second = (other, two, self._args.get(other.id))
            with quiet():
                forth, back = self._made(obj, one, second), self._made(obj, second, one)
            if forth != back:
                self._runtime.wrong(
                    f"{op.name} and {two.name} on {label(obj)} are declared independent, yet the order in which they "
                    "are done makes a difference"
                )

    def _made(self, obj: object, *moves: tuple[Task, Operation, Any]) -> object:
        """What two operations leave behind in this order: results by task, the state, and what is ready then."""
        copy = copied(obj)
        counts = [(task, task.preempt_count, task.rcu_nesting, task.irqs_off) for task, _, _ in moves]
        results: dict[int, object] = {}
        try:
            for task, op, arg in moves:
                if op.ready is not None and not op.ready(copy, task):
                    results[task.id] = "has to wait"
                    continue
                try:
                    results[task.id] = spell_out(self._effects[op](copy, task, arg), None)
                except Failure as failure:
                    results[task.id] = failure.headline
            seen = asked(copy, Seen.as_seen)
            state = state_of(copy) if seen is None else seen(copy)
            ready = [
                (task.id, op.ready(copy, task))
                for task, op in self._runtime._waiting.get(id(obj), {}).items()
                if op.ready is not None and all(task is not mover for mover, _, _ in moves)
            ]
        finally:
            for task, preempt_count, rcu_nesting, irqs_off in counts:
                task.preempt_count, task.rcu_nesting, task.irqs_off = preempt_count, rcu_nesting, irqs_off
        return results, state, ready
