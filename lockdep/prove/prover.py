"""Checks a new stack of locks for recursion, dependencies and cycles (kernel: `validate_chain`).

Two locks taken in both orders. The first time only a dependency is learnt; the second time a path leads back, and the
report says what each of two tasks would hold and want when they hang:

>>> from sugarbush.lockdep import LockClassKey, Lockdep, LockMap, TaskContext
>>> task = TaskContext("worker", 1)
>>> lockdep = Lockdep(lambda: task)
>>> a, b = (LockMap(LockClassKey(name)) for name in "ab")
>>> for first, second in ((a, b), (b, a)):
...     lockdep.acquire(first)
...     lockdep.acquire(second)
...     lockdep.release(second)
...     lockdep.release(first)
>>> [report.headline for report in lockdep.reports]
['WARNING: possible circular locking dependency detected']
>>> [(state.holds, state.wants) for state in lockdep.reports[0].witness]
[(('b',), 'a'), (('a',), 'b')]

Both orders under a third lock cannot hang: two tasks would have to hold that at the same time. The cycle is kept as a
hint:

>>> gate, c, d = (LockMap(LockClassKey(name)) for name in ("gate", "c", "d"))
>>> lockdep.acquire(gate)
>>> for first, second in ((c, d), (d, c)):
...     lockdep.acquire(first)
...     lockdep.acquire(second)
...     lockdep.release(second)
...     lockdep.release(first)
>>> guarded = lockdep.reports[1]
>>> guarded.headline, guarded.guards, guarded.is_failure
('INFO: guarded circular locking dependency detected', ('gate',), False)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sugarbush.lockdep.model import (
    AGAIN,
    Acquire,
    Chain,
    Edge,
    Family,
    Held,
    LockClass,
    Made,
    Path,
    TaskContext,
    find_cycle,
    implied,
    kind_of,
    makings,
    resolve,
)
from sugarbush.lockdep.prove.guards import Guards
from sugarbush.lockdep.prove.irqprover import IrqProver
from sugarbush.lockdep.reports import (
    CircularReport,
    Link,
    RecursiveReport,
    Reporter,
    ReportKind,
    WaitState,
    class_line,
    common,
    held_line,
    lock_line,
)


@dataclass(frozen=True, slots=True)
class GuardedCycle:
    """A cycle that was reported as guarded, and what is needed to look at it again."""

    chain: Chain
    report: CircularReport
    guards: tuple[LockClass, ...]


class Prover:
    """The dependency graph of one validator, and the checks of what is added to it."""

    __slots__ = ("_guarded", "_guards", "_irqs", "_reporter", "edges")

    def __init__(self, reporter: Reporter, irqs: IrqProver) -> None:
        self._reporter = reporter
        self._irqs = irqs
        self._guards = Guards()
        self._guarded: list[GuardedCycle] = []
        self.edges = 0

    @property
    def waits(self) -> Sequence[Chain]:
        """The stacks in which a task may block, in order of their first validation."""
        return self._guards.states

    def validate(self, acquire: Acquire) -> None:
        """Checks a stack never seen before, and adds its dependencies to the graph."""
        # Of this irq context only. What was interrupted holds its locks, too, but an order between the two contexts
        # is not one that a second task could turn round; that is what the irq prover is for.
        entries = acquire.context_entries()
        if acquire.chain.waits and not acquire.known:
            self._guards.states.append(acquire.chain)
        if self._check_recursion(acquire, entries):
            self._add_dependencies(acquire, entries)

    def _check_recursion(self, acquire: Acquire, entries: list[Held]) -> bool:
        """Reports the class taken twice; False when a held nest lock excuses it, and all dependencies too."""
        wanted = acquire.lock_class
        nested = False
        for entry in entries:
            if entry[0] is acquire.nest_lock:
                nested = True
            owned = entry[1]
            # A recursive reader gets a lock that is held for read, even with a writer waiting: that is what it is
            # for.
            if owned.lock_class is not wanted or (acquire.read == 2 and owned.read):
                continue
            comparison = None
            if wanted.order is not None:
                comparison = wanted.order(entry[0], acquire.lock_map)
                if comparison < 0:
                    continue
            if nested:
                return False
            self._report_recursion(acquire, entry, comparison)
            break
        return True

    def _add_dependencies(self, acquire: Acquire, entries: list[Held]) -> None:
        """Adds held -> wanted for each lock that the task may keep another waiting with.

        A held lock that was itself waited for brings the older ones in by its own dependencies, so the walk
        ends there.
        """
        # The kernel ends it at the first lock that was no trylock (check_prevs_add()). Behind a recursive reader, or
        # a nested lock, that loses what is below: the edge on a reader is weak, so a path through it may not close
        # where one between its neighbours would.
        distance = 1
        for entry in reversed(entries):
            owned = entry[1]
            if owned.checked:
                if owned.lock_class is not acquire.lock_class:
                    self._add_edge(acquire, entry, distance)
                if owned.brings_older:
                    return
            distance += 1

    def _add_edge(self, acquire: Acquire, entry: Held, distance: int) -> None:
        prev, next_ = entry[1].lock_class, acquire.lock_class
        kind = kind_of(entry[1].read, acquire.read)
        edge = prev.after.get(next_.number)
        known = edge is not None and edge.kinds & kind
        # Put back after a lock below it went: nobody has waited in this order, and if a strong path joins the two
        # already, the edge closes no cycle that was not there.
        again = acquire.chain.key & AGAIN
        if again and not known:
            known = implied(prev, entry[1].read, next_, acquire.read)
        # A wait that adds no edge can still be the way round a guard.
        if not known or (self._guarded and not again):
            path = find_cycle(prev, entry[1].read, next_, acquire.read)
            if path:
                self._report_cycle(acquire, entry, path)
        if edge is None:
            edge = Edge(prev, next_, distance)
            prev.after[next_.number] = next_.before[prev.number] = edge
            self.edges += 1
        if not edge.kinds & kind:
            edge.add(made_by(acquire, entry, kind))
        edge.distance = min(edge.distance, distance)
        # After the edge is in, so that a way through it counts, and only where it is new: of an old one the usages
        # are checked when they are set.
        if not known:
            self._irqs.check_edge(acquire, entry)

    def gained_instance(self, ctx: TaskContext, family: Family) -> None:
        """A key has two instances from now on: looks again at the cycles that its classes guarded."""
        kept = []
        for cycle in self._guarded:
            if not any(guard.family is family for guard in cycle.guards):
                kept.append(cycle)
                continue
            ring, guards = self._guards.find_ring(cycle.chain)
            if guards:
                kept.append(GuardedCycle(cycle.chain, cycle.report, guards))
            else:
                self._reporter.add(ctx, _as_real(cycle.report, ring))
        self._guarded = kept

    def forget(self, gone: list[LockClass]) -> None:
        """Drops what mentions classes that went."""
        self._guards.forget(gone)
        edges = [(known.number, number) for known in gone for number in known.after]
        edges += [(number, known.number) for known in gone for number in known.before]
        self.edges -= len(set(edges))
        dead = {known.title for known in gone}
        self._guarded = [
            cycle
            for cycle in self._guarded
            if not dead.intersection(link.wanted.name for link in cycle.report.chain)
        ]

    def _report_cycle(self, acquire: Acquire, entry: Held, path: Path) -> None:
        ctx = acquire.ctx
        names = [(edge.prev.title, edge.next.title) for edge in path]
        names.append((entry[1].lock_class.title, acquire.lock_class.title))
        cause = ", ".join(f"{prev} -> {next_}" for prev, next_ in sorted(names))
        # One cause is one cycle of classes, told by its edges in sorted order: wherever it was entered it is the
        # same.
        if self._reporter.find(ReportKind.CIRCULAR, cause) is not None:
            return
        ring, guards = self._guards.find_ring(acquire.chain)
        before = self._reporter.find(ReportKind.GUARDED, cause)
        if guards and isinstance(before, CircularReport):
            self._guarded.append(GuardedCycle(acquire.chain, before, guards))
            return
        made = makings(path, acquire.read == 2, forwards=True)
        links = [_link(edge.prev, edge.next, how) for edge, how in zip(path, made, strict=True)][::-1]
        links.append(_link(entry[1].lock_class, acquire.lock_class, made_by(acquire, entry, 0)))
        report = CircularReport(
            **common(ctx, ReportKind.GUARDED, GUARDED_HEADLINE, cause, acquire.trace),
            wanted=lock_line(acquire.lock_map, acquire.lock_class, acquire.trace.site),
            wanted_read=acquire.read,
            sync=acquire.sync,
            owned=held_line(entry),
            owned_read=entry[1].read,
            chain=tuple(links),
            guards=tuple(guard.title for guard in guards),
            witness=(),
        )
        if guards:
            self._guarded.append(GuardedCycle(acquire.chain, report, guards))
            self._reporter.add(ctx, report)
        else:
            self._reporter.add(ctx, _as_real(report, ring))

    def _report_recursion(self, acquire: Acquire, entry: Held, comparison: int | None) -> None:
        ctx, title = acquire.ctx, acquire.lock_class.title
        cause = f"{title}|{entry[1].read}|{acquire.read}"
        self._reporter.add(
            ctx,
            RecursiveReport(
                **common(ctx, ReportKind.RECURSIVE, RECURSIVE_HEADLINE, cause, acquire.trace),
                wanted=lock_line(acquire.lock_map, acquire.lock_class, acquire.trace.site),
                wanted_read=acquire.read,
                owned=held_line(entry),
                owned_read=entry[1].read,
                comparison=comparison,
            ),
        )


def made_by(acquire: Acquire, entry: Held, kind: int) -> Made:
    """How an edge from a held lock to the one that is being acquired comes to have a kind."""
    return Made(kind, acquire.ctx.maker, acquire.trace, (entry[2], entry[3]))


def _link(held: LockClass, wanted: LockClass, made: Made) -> Link:
    """An edge as a step of the chain that a report prints."""
    return Link(class_line(wanted), made.trace.resolve(), str(made.by), held.title, resolve(made.held))


CIRCULAR_HEADLINE = "WARNING: possible circular locking dependency detected"
GUARDED_HEADLINE = "INFO: guarded circular locking dependency detected"
RECURSIVE_HEADLINE = "WARNING: possible recursive locking detected"


def _as_real(report: CircularReport, ring: tuple[Chain, ...] | None) -> CircularReport:
    cause = report.key.partition("|")[2]
    return replace(
        report,
        kind=ReportKind.CIRCULAR,
        headline=CIRCULAR_HEADLINE,
        key=f"{ReportKind.CIRCULAR}|{cause}",
        guards=(),
        witness=tuple(map(_wait_state, ring or ())),
    )


def _wait_state(chain: Chain) -> WaitState:
    holds = tuple(entry.lock_class.title for entry in chain.held())[::-1]
    return WaitState(holds, chain.lock_class.title, chain.trace.resolve(), str(chain.by))
