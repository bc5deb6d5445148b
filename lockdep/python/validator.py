"""The validator of a Python program: the kernel's rules, with what is different where locks are objects.

Three things are. Locks of one class may be nested as long as no circle of *instances* can close (`instances`).
A cycle of
classes whose instances lived side by side, and were yet never nested both ways, is an order of instances as
well (stages of a pipeline), while instances that never met stand for each other (the same pair of objects in
two tests). And an interrupt that takes a lock of its own thread again waits for itself only if the lock is no RLock.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from sugarbush.lockdep.model import (
    Acquire,
    Chain,
    Extra,
    Held,
    LockClass,
    LockMap,
    Path,
    TaskContext,
    Trace,
    resolve,
)
from sugarbush.lockdep.prove import IrqProver, Prover, made_by
from sugarbush.lockdep.python.context import PythonMap, ThreadContext
from sugarbush.lockdep.python.finalisers import PythonIrqProver
from sugarbush.lockdep.python.instances import InstanceOrder, Seen
from sugarbush.lockdep.python.plain import PlainLockdep
from sugarbush.lockdep.python.watcher import Passed
from sugarbush.lockdep.reports import (
    CircularReport,
    Link,
    Report,
    ReportKind,
    class_line,
    common,
    held_line,
    lock_line,
)

if TYPE_CHECKING:
    from sugarbush.lockdep.reports import Reporter

INTERNAL = ("sugarbush.lockdep", "_pytest", "pluggy", "xdist", "execnet", "pytest_timeout")
"""Packages whose frames are passed over: how a test was called says nothing of it."""
_PAIRS = 4


class Pair(NamedTuple):
    """Two instances that were nested, by which an edge between their classes is remembered."""

    held: weakref.ref[LockMap]
    wanted: weakref.ref[LockMap]
    held_number: int
    wanted_number: int
    seen: Seen


class PythonProver(Prover):
    """Classes as in the kernel; instances where two of one class meet, or a cycle of classes is none of objects."""

    __slots__ = ("_order", "_pairs", "changed", "watched")

    def __init__(self, reporter: Reporter, irqs: IrqProver) -> None:
        super().__init__(reporter, irqs)
        self._order = InstanceOrder()
        self._pairs: dict[tuple[int, int], list[Pair]] = {}
        self.watched: set[int] = set()
        self.changed = False

    def _check_recursion(self, acquire: Acquire, entries: list[Held]) -> bool:
        # The same lock again is a recursion. Another one of its class is none here, unlike in the kernel: a program
        # that nobody has annotated nests parents and children, and what is wrong with that shows in the order of the
        # instances.
        wanted = acquire.lock_map
        for entry in entries:
            if entry[0] is wanted:
                return super()._check_recursion(acquire, [entry])
        for entry in entries:
            if entry[1].lock_class is acquire.lock_class:
                self._nest(acquire, entry, entries)
        return True

    def _add_edge(self, acquire: Acquire, entry: Held, distance: int) -> None:
        prev, next_ = entry[1].lock_class, acquire.lock_class
        pairs = self._pairs.setdefault((prev.number, next_.number), [])
        # The first ones that are seen, and the latest.
        if len(pairs) >= _PAIRS:
            pairs.pop()
        pairs.append(_pair(acquire, entry))
        super()._add_edge(acquire, entry, distance)
        if prev.number in self.watched and next_.number in self.watched:
            self._nest(acquire, entry, acquire.context_entries())

    def _nest(self, acquire: Acquire, entry: Held, entries: list[Held]) -> None:
        """Two instances whose order counts by itself."""
        held, wanted = entry[0], acquire.lock_map
        assert isinstance(held, PythonMap)
        assert isinstance(wanted, PythonMap)
        seen = _seen(acquire, entry, entries)
        found = self._order.add(held, wanted, seen)
        if found is None:
            return
        steps, guarded = found
        self._report_instances(acquire, entry, steps or guarded, guarded=not steps)

    def _report_instances(self, acquire: Acquire, entry: Held, steps: list[Seen], *, guarded: bool) -> None:
        ctx, kind = acquire.ctx, ReportKind.GUARDED if guarded else ReportKind.CIRCULAR
        names = sorted({f"{step.held} -> {step.wanted}" for step in steps})
        cause = (
            ", ".join(names) + "|" + "|".join(sorted({str(resolve(step.made.trace.site)) for step in steps}))
        )
        links = [
            Link(
                class_line(acquire.lock_class)
                if step.wanted == acquire.lock_class.title
                else class_line(entry[1].lock_class),
                step.made.trace.resolve(),
                str(step.made.by),
                step.held,
                resolve(step.made.held),
            )
            for step in steps
        ]
        common_guards: frozenset[int] = frozenset()
        if guarded:
            common_guards = frozenset.intersection(*[step.guards for step in steps])
        headline = (
            "INFO: guarded circular locking dependency detected"
            if guarded
            else ("WARNING: possible circular locking dependency detected")
        )
        titles = tuple(
            one[1].lock_class.title for one in acquire.context_entries() if one[0].number in common_guards
        )
        self._reporter.add(
            ctx,
            CircularReport(
                **common(ctx, kind, headline, cause, acquire.trace),
                wanted=lock_line(acquire.lock_map, acquire.lock_class, acquire.trace.site),
                wanted_read=0,
                sync=False,
                owned=held_line(entry),
                owned_read=0,
                chain=tuple(links),
                guards=titles or (("another lock",) if guarded else ()),
                witness=(),
            ),
        )

    def _report_cycle(self, acquire: Acquire, entry: Held, path: Path) -> None:
        joined = self._joined(acquire, entry, path)
        if joined:
            super()._report_cycle(acquire, entry, path)
            return
        # A circle of classes that is none of objects, as far as is known. From here on the instances of these classes
        # are told apart, so that a real one is found when it comes.
        fresh = {edge.prev.number for edge in path} | {edge.next.number for edge in path}
        if not fresh <= self.watched:
            self.watched |= fresh
            self.changed = True
            self._begin_with_known()

    def _begin_with_known(self) -> None:
        """The instances that were nested before anybody watched them count as well, as far as they are remembered."""
        for (prev, next_), pairs in self._pairs.items():
            if prev in self.watched and next_ in self.watched:
                for pair in pairs:
                    held, wanted = pair.held(), pair.wanted()
                    if isinstance(held, PythonMap) and isinstance(wanted, PythonMap):
                        self._order.add(held, wanted, pair.seen)

    def _joined(self, acquire: Acquire, entry: Held, path: Path) -> bool:
        """Whether the edges of a cycle of classes can be one of objects."""
        steps = [self._pairs.get((edge.prev.number, edge.next.number), []) for edge in path]
        steps.append([_pair(acquire, entry)])
        classes = [edge.next for edge in path] + [acquire.lock_class]
        # A lock of the class that is wanted is held below: the stack itself shows the order of the two.
        same = any(
            one[1].lock_class is acquire.lock_class and one[0] is not acquire.lock_map
            for one in acquire.context_entries()
        )
        apart = []
        for index, pairs in enumerate(steps):
            # Two edges meet in an object only if a lock that was wanted by the one was held by the other.
            following = steps[(index + 1) % len(steps)]
            known = classes[index]
            if not pairs or not following:
                continue
            if {pair.wanted_number for pair in pairs} & {pair.held_number for pair in following}:
                continue
            # Gone is gone: nobody will ever know whether the two would have been nested, so one stands for the other.
            if any(pair.wanted() is None for pair in pairs) or any(pair.held() is None for pair in following):
                continue
            apart.append(known)
        if not apart:
            return True
        hub = all(_single(known) for known in classes if known not in apart)
        return len(apart) == 1 and len(classes) > 1 and hub and not same


def _seen(acquire: Acquire, entry: Held, entries: list[Held]) -> Seen:
    guards = frozenset(one[0].number for one in entries if one[0] is not entry[0])
    return Seen(guards, made_by(acquire, entry, 0), entry[1].lock_class.title, acquire.lock_class.title)


def _pair(acquire: Acquire, entry: Held) -> Pair:
    held, wanted = entry[0], acquire.lock_map
    seen = _seen(acquire, entry, acquire.context_entries())
    return Pair(weakref.ref(held), weakref.ref(wanted), held.number, wanted.number, seen)


def _single(known: LockClass) -> bool:
    """Whether a class has one lock only; locks that were made and not taken yet count."""
    return known.family.instances == 1 and getattr(known.key, "count", 1) <= 1


class PythonLockdep(PlainLockdep):
    """The validator that `install()` uses."""

    _prover: PythonProver
    _irqs: PythonIrqProver

    def __init__(
        self, current: Callable[[], TaskContext], *, on_report: Callable[[Report], None] | None = None
    ) -> None:
        super().__init__(current, internal=INTERNAL, on_report=on_report)
        self._irqs = PythonIrqProver(self._reporter, self.operations)
        self._prover = PythonProver(self._reporter, self._irqs)

    def enrol(self, lock_map: PythonMap) -> None:
        """Makes a new lock one more of its class, if that has several already: its first acquire need not look then."""
        registry = self._registry
        if not registry.has(lock_map.key) or registry.family(lock_map.key).instances < 2:
            # The second one opens cycles that the first one guarded, which takes the long way.
            return
        try:
            with self._lock:
                registry.enrol(lock_map)
        except Passed:
            return

    @property
    def by_instance(self) -> set[int]:
        """The classes whose instances decide."""
        return self._prover.watched

    @property
    def irqs(self) -> PythonIrqProver:
        """The part that knows of interrupts."""
        return self._irqs

    def _place(
        self,
        ctx: TaskContext,
        lock_map: LockMap,
        lock_class: LockClass,
        flags: int,
        nest_lock: LockMap | None,
        trace: Trace,
        extra: Extra | None = None,
    ) -> tuple[Chain, Extra | None] | None:
        placed = super()._place(ctx, lock_map, lock_class, flags, nest_lock, trace, extra)
        # At once: the next acquire may be one that is looked up, and the last one of a circle.
        if self._prover.changed:
            self._forget_looked_up()
        return placed

    def _by_instance(self, ctx: TaskContext, lock_class: LockClass) -> bool:
        assert isinstance(ctx, ThreadContext)
        if ctx.finalising:
            return True
        return bool(ctx.held) and (
            lock_class.number in self._prover.watched
            or any(entry[1].lock_class is lock_class for entry in ctx.held)
        )

    def _forget_looked_up(self) -> None:
        """The instances of more classes decide now: stacks with them are looked at each time."""
        # A stack that is found is taken for checked, whatever the instances in it. So stacks with these classes are
        # dropped from the tables, and no acquire of them is looked up any more.
        self._prover.changed = False
        watched = self._prover.watched
        pending = list(self.roots)
        while pending:
            chain = pending.pop()
            if not chain.is_root:
                chain.next = {
                    key: up for key, up in chain.next.items() if up.lock_class.number not in watched
                }
            pending.extend(chain.next.values())
        self.forgets()

    def add(self, ctx: TaskContext, report: Report) -> None:
        """Keeps and delivers a report that another part has made."""
        with self._lock:
            self._reporter.add(ctx, report)
        self._reporter.deliver(ctx)

    def deliver(self, ctx: TaskContext) -> None:
        """Hands over what is pending."""
        self._reporter.deliver(ctx)

    def known(self, key: object) -> LockClass | None:
        """The class of a key."""
        return next((one for one in self._registry.classes if one.key is key), None)

    def no_order(self, lock_class: LockClass) -> None:
        """Forget the order of a class, and learn none any more: its edges go, and none is added."""
        with self._lock:
            lock_class.checked = False
            self._prover.forget([lock_class])
            for number in list(lock_class.after):
                lock_class.after.pop(number).next.before.pop(lock_class.number, None)
            for number in list(lock_class.before):
                lock_class.before.pop(number).prev.after.pop(lock_class.number, None)
