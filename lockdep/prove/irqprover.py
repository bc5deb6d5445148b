"""Proves that locks taken in interrupts and locks held with interrupts on do not meet.

A class is *safe* for a context once it was taken in it, and *unsafe* once it was held while the context was enabled.
A deadlock needs a safe class, a strong path of dependencies from it, and an unsafe class at the path's end: one CPU
holds the unsafe lock and is interrupted by a handler that waits for the safe one, whose owner on another CPU waits
for the unsafe one. So it is enough to look whenever one of the three is new. Without a path, in one class, it is an
"inconsistent lock state"; where a usage is new, an "irq lock inversion"; where a dependency is new, a "safe -> unsafe
lock order". Kernel: `mark_lock`, `check_irq_usage`.

A handler takes `stats`, which makes it safe. Somewhere else `log` is taken with interrupts on, which makes that
unsafe. Neither is wrong, and nobody has met anybody yet:

>>> from sugarbush.lockdep import LockClassKey, Lockdep, LockMap, TaskContext
>>> task = TaskContext("driver", 1)
>>> lockdep = Lockdep(lambda: task)
>>> stats, log = (LockMap(LockClassKey(name)) for name in ("stats", "log"))
>>> lockdep.hardirq_enter()
>>> lockdep.acquire(stats)
>>> lockdep.release(stats)
>>> lockdep.hardirq_exit()
>>> lockdep.acquire(log)
>>> lockdep.release(log)
>>> lockdep.reports
[]

Now `log` is wanted while `stats` is held, with interrupts off, as it should be for `stats`. The dependency joins the
two: a handler may come in where `log` is held with interrupts on, and wait for `stats`, whose owner waits for `log`.

>>> lockdep.hardirqs_off()
>>> lockdep.acquire(stats)
>>> lockdep.acquire(log)
>>> report = lockdep.reports[0]
>>> report.headline
'WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected'
>>> report.safe.name, report.safe_by, report.unsafe.name, report.unsafe_by
('stats', 'driver/1 in hardirq', 'log', 'driver/1')
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sugarbush.lockdep.model import (
    ENABLED_BIT,
    ENABLED_MASK,
    HARDIRQ,
    HARDIRQS_ON,
    IN_HARDIRQ,
    IN_SOFTIRQ,
    NAMES,
    READ_BIT,
    SOFTIRQ,
    SOFTIRQS_ON,
    STATE_NAMES,
    STATES,
    USED,
    USED_IN_MASK,
    USED_READ,
    Found,
    LockClass,
    LockMap,
    Made,
    Path,
    Trace,
    enabled,
    has_usage,
    makings,
    no_irq_path,
    opposite,
    resolve,
    search_backwards,
    search_forwards,
    usage_of_arrivals,
    used_in,
    visible_usage,
)
from sugarbush.lockdep.reports import (
    ClassBlock,
    InconsistentReport,
    InversionReport,
    IrqOrderReport,
    IrqStamp,
    Reporter,
    ReportKind,
    UsageTrace,
    class_line,
    common,
    held_line,
    lock_line,
)

if TYPE_CHECKING:
    from sugarbush.lockdep.model import Acquire, Held, IrqEvent, TaskContext

_HARDIRQS_ENABLED = (enabled(HARDIRQ, False), enabled(HARDIRQ, True))
_SOFTIRQS_ENABLED = (enabled(SOFTIRQ, False), enabled(SOFTIRQ, True))
_OPPOSITE = tuple(opposite(1 << bit) for bit in range(USED))

INCONSISTENT_HEADLINE = "WARNING: inconsistent lock state"
INVERSION_HEADLINE = "WARNING: possible irq lock inversion dependency detected"


Operations = Callable[[LockClass], int]
"""How often a class was acquired."""


class IrqProver:
    """Marks usages and checks them against the dependencies."""

    __slots__ = ("_operations", "_reporter", "_seen")

    def __init__(self, reporter: Reporter, operations: Operations) -> None:
        self._reporter = reporter
        self._operations = operations
        # The usages of all classes. A search for one that no class has would find nothing, and without interrupts, as
        # in most programs, all searches are such ones: this makes the prover free there.
        self._seen = 0

    def mark_acquire(self, acquire: Acquire) -> None:
        """Sets the usage bits that an acquire shows (kernel: `mark_usage`)."""
        chain, read = acquire.chain, acquire.read > 0
        bits = []
        if acquire.checked:
            # A trylock in a handler does not wait, so no owner can be the one that was interrupted. It is held all
            # the same: with interrupts on it can be interrupted like any other, and the other two bits are set.
            if not acquire.trylock:
                if chain.context & IN_HARDIRQ:
                    bits.append(used_in(HARDIRQ, read))
                if chain.context & IN_SOFTIRQ:
                    bits.append(used_in(SOFTIRQ, read))
            if chain.key & HARDIRQS_ON and not acquire.sync:
                bits.append(_HARDIRQS_ENABLED[read])
                if chain.key & SOFTIRQS_ON:
                    bits.append(_SOFTIRQS_ENABLED[read])
        bits.append(USED_READ if read else USED)
        lock_class = acquire.lock_class
        for bit in bits:
            if not lock_class.usage >> bit & 1:
                self._mark_class(acquire.ctx, acquire.lock_map, lock_class, acquire.read, bit, acquire.trace)

    def mark_held(self, ctx: TaskContext, entry: Held, state: int, trace: Trace) -> None:
        """A held lock meets a context that was just enabled (kernel: `mark_held_locks`)."""
        chain = entry[1]
        if chain.checked:
            bit = enabled(state, chain.read > 0)
            if not chain.lock_class.usage >> bit & 1:
                self._mark_class(ctx, entry[0], chain.lock_class, chain.read, bit, trace)

    def check_nmi(self, acquire: Acquire) -> None:
        """A lock used outside of NMI must not be waited for inside (kernel: `verify_lock_unused`)."""
        used = acquire.lock_class.usage
        for bit in (USED,) if acquire.read else (USED, USED_READ):
            if used >> bit & 1:
                self._report_inconsistent(
                    acquire.ctx, acquire.lock_map, acquire.lock_class, bit, "IN-NMI", acquire.trace
                )
                return

    def _mark_class(
        self, ctx: TaskContext, lock_map: LockMap, lock_class: LockClass, read: int, bit: int, trace: Trace
    ) -> None:
        # The bit is set before anything is looked at: then a class that is safe and unsafe is seen by the one of the
        # two usages that comes last, whichever that is.
        before = lock_class.usage
        self._seen |= 1 << bit
        lock_class.usage |= 1 << bit
        lock_class.traces[bit] = trace
        lock_class.makers[bit] = ctx.maker
        if bit >= USED:
            return
        # Two usages of one class conflict unless both are for read. The exclusive one is named if there is one
        # (mark_lock_irq() asks in this order), since a reader's says less.
        conflict = (bit ^ ENABLED_BIT) & ~READ_BIT
        if not before >> conflict & 1 and not bit & READ_BIT:
            conflict |= READ_BIT
        if before >> conflict & 1:
            self._report_inconsistent(ctx, lock_map, lock_class, conflict, NAMES[bit], trace)
        else:
            self._check_paths(ctx, lock_map, lock_class, read, bit, trace)

    def _check_paths(
        self, ctx: TaskContext, lock_map: LockMap, lock_class: LockClass, read: int, bit: int, trace: Trace
    ) -> None:
        """Looks for a class of the opposite usage: before this one if it became unsafe, behind it if safe."""
        if not self._seen & _OPPOSITE[bit]:
            return
        ends_path = has_usage(opposite(1 << bit))
        forwards = not bit & ENABLED_BIT
        start_weak = read == 2 if forwards else read > 0

        def match(at: LockClass, weak: bool) -> bool:
            # The class itself counts, as the root of check_usage_forwards() does in v6.6 (__bfs() asks usage_match()
            # for it, too): a reader that is no recursive one, in an interrupt over a reader of the same class, waits
            # for a writer that waits for the one below. It counts as it stands at the start only. A way that comes
            # back to it is a cycle, which has been reported, and where a writer is involved `_mark_class` has told.
            return ends_path(at, weak) and (at is not lock_class or weak == start_weak)

        search = search_forwards if forwards else search_backwards
        found = search(lock_class, start_weak, match, no_irq_path)
        if found is not None:
            self._report_inversion(ctx, lock_map, lock_class, start_weak, bit, found, trace)

    def _report_inversion(
        self,
        ctx: TaskContext,
        lock_map: LockMap,
        lock_class: LockClass,
        weak: bool,
        bit: int,
        found: Found,
        trace: Trace,
    ) -> None:
        """A class became unsafe behind a safe one, or safe before an unsafe one: `found` is the way between them."""
        forwards = not bit & ENABLED_BIT
        state = STATE_NAMES[bit // 4]
        cause = f"{state}|{lock_class.title}|{found.at.title}|{forwards}"
        self._reporter.add(
            ctx,
            InversionReport(
                **common(ctx, ReportKind.INVERSION, INVERSION_HEADLINE, cause, trace),
                changed=lock_line(lock_map, lock_class, trace.site),
                other=class_line(found.at),
                state=state,
                forwards=forwards,
                path=self._blocks(found.path, makings(found.path, weak, forwards=forwards), lock_class),
            ),
        )

    def check_edge(self, acquire: Acquire, entry: Held) -> None:
        """Looks for a safe class before a new dependency, an unsafe one behind (`check_irq_usage`)."""
        if not self._seen & USED_IN_MASK:
            return
        prev, prev_weak = entry[1].lock_class, entry[1].read > 0
        safe_bits = usage_of_arrivals(prev, prev_weak) & USED_IN_MASK
        if not safe_bits:
            return
        ends_path = has_usage(opposite(safe_bits))
        # From all safe usages at once to the nearest unsafe class that fits one of them; then back to the nearest
        # safe class that fits what was found. Two searches, instead of one for each pair, which is what
        # check_irq_usage() does, too.
        unsafe = search_forwards(acquire.lock_class, acquire.read == 2, ends_path, no_irq_path)
        if unsafe is None:
            return
        unsafe_bits = visible_usage(unsafe.at, unsafe.weak) & ENABLED_MASK
        safe = search_backwards(prev, prev_weak, has_usage(opposite(unsafe_bits)), no_irq_path)
        if safe is None:
            return
        safe_bit, unsafe_bit = _matching(visible_usage(safe.at, safe.weak), unsafe_bits)
        safe_state, unsafe_state = _state_name(safe_bit), _state_name(unsafe_bit)
        ctx = acquire.ctx
        cause = f"{safe_state}|{safe.at.title}|{unsafe_state}|{unsafe.at.title}"
        if self._reporter.find(ReportKind.IRQ_ORDER, cause) is not None:
            return
        headline = f"WARNING: {safe_state}-safe -> {unsafe_state}-unsafe lock order detected"
        self._reporter.add(
            ctx,
            IrqOrderReport(
                **common(ctx, ReportKind.IRQ_ORDER, headline, cause, acquire.trace),
                wanted=lock_line(acquire.lock_map, acquire.lock_class, acquire.trace.site),
                owned=held_line(entry),
                dependency=(class_line(prev), class_line(acquire.lock_class)),
                safe=class_line(safe.at),
                safe_state=safe_state,
                safe_stack=safe.at.traces[safe_bit].resolve(),
                safe_by=str(safe.at.makers[safe_bit]),
                unsafe=class_line(unsafe.at),
                unsafe_state=unsafe_state,
                unsafe_stack=unsafe.at.traces[unsafe_bit].resolve(),
                unsafe_by=str(unsafe.at.makers[unsafe_bit]),
                safe_path=self._blocks(safe.path, makings(safe.path, prev_weak, forwards=False), safe.at),
                unsafe_path=self._blocks(
                    unsafe.path, makings(unsafe.path, acquire.read == 2, forwards=True), unsafe.at
                ),
            ),
        )

    def _report_inconsistent(
        self,
        ctx: TaskContext,
        lock_map: LockMap,
        lock_class: LockClass,
        before: int,
        after: str,
        trace: Trace,
    ) -> None:
        self._reporter.add(
            ctx,
            InconsistentReport(
                **common(
                    ctx,
                    ReportKind.INCONSISTENT,
                    INCONSISTENT_HEADLINE,
                    f"{lock_class.title}|{NAMES[before]}|{after}",
                    trace,
                ),
                wanted=lock_line(lock_map, lock_class, trace.site),
                before=NAMES[before],
                after=after,
                registered=lock_class.traces[before].resolve(),
                registered_by=str(lock_class.makers[before]),
                events=ctx.irq_events,
                stamps=(
                    _stamp("hardirqs last  enabled", ctx.hardirq_on),
                    _stamp("hardirqs last disabled", ctx.hardirq_off),
                    _stamp("softirqs last  enabled", ctx.softirq_on),
                    _stamp("softirqs last disabled", ctx.softirq_off),
                ),
            ),
        )

    def _blocks(self, path: Path, made: Sequence[Made], lone: LockClass) -> tuple[ClassBlock, ...]:
        """The classes of a path, each with how the step to it was made; `lone` if there is no step."""
        first = self._block(path[0].prev if path else lone)
        steps = zip(path, made, strict=True)
        return (first, *(self._block(edge.next, edge.prev, how) for edge, how in steps))

    def _block(
        self, lock_class: LockClass, held: LockClass | None = None, made: Made | None = None
    ) -> ClassBlock:
        usages = tuple(
            UsageTrace(NAMES[bit], lock_class.traces[bit].resolve(), str(lock_class.makers[bit]))
            for bit in sorted(lock_class.traces)
        )
        line, operations, key = class_line(lock_class), self._operations(lock_class), lock_class.key.name
        if held is None or made is None:
            return ClassBlock(line, operations, usages, key, ())
        how = (made.trace.resolve(), str(made.by), held.title, resolve(made.held))
        return ClassBlock(line, operations, usages, key, *how)


def _matching(safe: int, unsafe: int) -> tuple[int, int]:
    """The first pair of bits, one of each mask, that conflict."""
    for state in STATES:
        for safe_read in (False, True):
            for unsafe_read in (False, True):
                pair = used_in(state, safe_read), enabled(state, unsafe_read)
                if safe >> pair[0] & 1 and unsafe >> pair[1] & 1:
                    return pair
    raise AssertionError("the two masks share no state")


def _state_name(bit: int) -> str:
    return STATE_NAMES[bit // 4] + ("-READ" if bit & READ_BIT else "")


def _stamp(what: str, event: IrqEvent) -> IrqStamp:
    return IrqStamp(what, event.stamp, None if event.site is None else resolve(event.site))
