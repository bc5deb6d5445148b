"""The state of a validator, which all its parts share: its tasks, its classes, its tables."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from itertools import count
from threading import RLock
from weakref import WeakValueDictionary

from sugarbush.lockdep.model import (
    NO_CHAIN,
    NO_TRACK,
    SUBCLASS_LIMIT,
    Chain,
    Family,
    LockClass,
    LockClassKey,
    LockMap,
    PseudoLocks,
    Registry,
    TaskContext,
    Trace,
    Tracer,
    context_entries,
    matches,
    resolve,
    short_path,
)
from sugarbush.lockdep.prove import IrqProver, Prover
from sugarbush.lockdep.reports import BadUnlockReport, Report, Reporter, ReportKind, WarnReport, common

KEY_ADVICE = (
    "The code is fine but needs lockdep annotation, or maybe",
    "you didn't initialize this object before use?",
)
BAD_UNLOCK_HEADLINE = "WARNING: bad unlock balance detected!"


class ValidatorState:
    """The state of one validator, and what every part needs of it."""

    def __init__(
        self,
        current: Callable[[], TaskContext],
        *,
        internal: Collection[str] = ("sugarbush.lockdep", "sugarbush.concurrency"),
        on_report: Callable[[Report], None] | None = None,
        stacks: bool = True,
    ) -> None:
        self._current = current
        self._tracer = Tracer(internal, whole=stacks)
        self._files = self._tracer.files
        self._registry = Registry()
        self._reporter = Reporter(on_report)
        self._irqs = IrqProver(self._reporter, self.operations)
        self._prover = Prover(self._reporter, self._irqs)
        self._roots: dict[int, Chain] = {}
        self._pins = 0
        self._adopted = count(1)
        # Weak: a task that ended is no longer listed, and a program that starts threads for ever does not grow. The
        # numbers keep the order in which the tasks came.
        self._tasks: WeakValueDictionary[int, TaskContext] = WeakValueDictionary()
        # Only stacks never seen take it: two threads may meet there. Re-entrant: an ordering function of the
        # user's is called under it, and may take locks itself.
        self._lock = RLock()

    @property
    def files(self) -> dict[str, bool]:
        """Whether a source file holds user code, for each file that was met so far."""
        return self._tracer.files

    @cached_property
    def maps(self) -> PseudoLocks:
        """The maps that stand for no lock."""
        return PseudoLocks()

    @property
    def roots(self) -> tuple[Chain, ...]:
        """The empty stacks of the irq contexts that were met, in order of their contexts."""
        return tuple(self._roots[context] for context in sorted(self._roots))

    @property
    def reports(self) -> list[Report]:
        """Everything found so far, each cause once, in order."""
        return self._reporter.reports

    def _adopt(self, ctx: TaskContext) -> None:
        """Takes over a task that another validator watched before, or none."""
        if ctx.owner is not self:
            with self._lock:
                ctx.owner = self
                self._tasks[next(self._adopted)] = ctx
                ctx.held = []
                self._stand(ctx)

    def _stand(self, ctx: TaskContext) -> None:
        """Puts a task where its held locks say: on its newest lock of this irq context, or on none."""
        # A chain never spans two contexts: the stack of a handler begins anew, since what it interrupted is another
        # order. Without a validator a task stands where nothing is known, so that each acquire takes the long way,
        # and stops there.
        context = ctx.irq_context
        if ctx.off:
            ctx.chain = NO_CHAIN
        elif ctx.held and ctx.held[-1][1].context == context:
            ctx.chain = ctx.held[-1][1]
        else:
            root = self._roots.get(context)
            if root is None:
                root = self._roots[context] = Chain.root(context)
            ctx.chain = root

    def _tracks(self, ctx: TaskContext, lock_map: LockMap) -> bool:
        self._adopt(ctx)
        return not ctx.off and lock_map.key is not NO_TRACK

    def _class_of(self, ctx: TaskContext, lock_map: LockMap, subclass: int, trace: Trace) -> LockClass | None:
        """The class of an acquire; None, with a report, when key or subclass are of no use."""
        subclass = subclass or lock_map.subclass
        if not self._usable(ctx, lock_map.key, lock_map.name, subclass, trace):
            return None
        if not self._registry.knows(lock_map):
            self._joined(ctx, self._registry.enrol(lock_map))
        return self._registry.look_up(lock_map, subclass)

    def _joined(self, ctx: TaskContext, family: Family) -> None:
        """A key has one more instance; the second one opens the cycles that the first one guarded."""
        if family.instances == 2:
            self._prover.gained_instance(ctx, family)

    def _usable(self, ctx: TaskContext, key: object, name: str, subclass: int, trace: Trace) -> bool:
        """False, with a report, for a key of a foreign type or a subclass that there is no room for."""
        if not isinstance(key, LockClassKey):
            headline = "INFO: trying to register non-static key."
            self._warn(ctx, ReportKind.KEY, headline, name, trace, *KEY_ADVICE)
            return False
        if not 0 <= subclass < SUBCLASS_LIMIT:
            headline = f"BUG: looking up invalid subclass: {subclass}"
            self._warn(ctx, ReportKind.SUBCLASS, headline, f"{name}|{subclass}", trace)
            return False
        return True

    def _find_tracked(self, ctx: TaskContext, lock_map: LockMap) -> int | None:
        """The index of a held map; None when the task is not watched, or, with a report, does not hold it."""
        if not self._tracks(ctx, lock_map):
            return None
        index = self._find(ctx, lock_map)
        if index is None:
            self._not_held(ctx, lock_map)
        return index

    def _not_held(self, ctx: TaskContext, lock_map: LockMap) -> None:
        trace = self._tracer.capture()
        site = resolve(trace.site)
        cause = f"{lock_map.name}|{short_path(site.file)}:{site.line}"
        fields = common(ctx, ReportKind.BAD_UNLOCK, BAD_UNLOCK_HEADLINE, cause, trace)
        self._reporter.add(ctx, BadUnlockReport(**fields, name=lock_map.name, site=site))

    def _find(self, ctx: TaskContext, lock_map: LockMap) -> int | None:
        """The index of a map on the held stack, from the top, within the present irq context.

        A handler cannot release a lock of what it interrupted (`find_held_lock`): to it that lock is not held.
        """
        entries = context_entries(ctx)
        first = len(ctx.held) - len(entries)
        for index in range(len(entries) - 1, -1, -1):
            if matches(entries[index], lock_map):
                return first + index
        return None

    def _warn(
        self, ctx: TaskContext, kind: ReportKind, headline: str, cause: str, trace: Trace, *advice: str
    ) -> None:
        self._reporter.add(ctx, WarnReport(**common(ctx, kind, headline, cause, trace), advice=advice))

    def _warn_here(self, ctx: TaskContext, headline: str) -> None:
        self._warn(ctx, ReportKind.ASSERT, headline, headline, self._tracer.capture())

    def operations(self, lock_class: LockClass) -> int:
        """How often a class was acquired. Walks all chains: for listings and reports."""
        total = 0
        pending = list(self.roots)
        while pending:
            chain = pending.pop()
            if chain.lock_class is lock_class:
                total += chain.hits + 1
            pending.extend(chain.next.values())
        return total
