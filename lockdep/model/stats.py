"""The numbers of /proc/lockdep_stats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sugarbush.lockdep.model.chains import TRYLOCK, UNCHECKED, Chain
from sugarbush.lockdep.model.classes import LockClass
from sugarbush.lockdep.model.contexts import IN_HARDIRQ, IN_SOFTIRQ
from sugarbush.lockdep.model.task import TaskContext
from sugarbush.lockdep.model.usage import ENABLED_MASK, STATE_NAMES, STATES, USED_IN_MASK, enabled, used_in


@dataclass(frozen=True, slots=True)
class Tables:
    """The validator's tables, to read from; `waits` are the stacks in which a task may block."""

    classes: Sequence[LockClass]
    roots: tuple[Chain, ...]
    waits: Sequence[Chain]
    tasks: Sequence[TaskContext]
    edges: int
    zapped: int
    traces: int
    trace_entries: int


def statistics(state: Tables, indirect: int) -> dict[str, int]:
    """The counters, under the kernel's names and in its order. `indirect` counts pairs joined by a path."""
    stats = {
        "lock-classes": len(state.classes),
        "direct dependencies": state.edges,
        "indirect dependencies": indirect,
        **_chain_counts(state.roots),
        "stack-trace entries": state.trace_entries,
        "number of stack traces": state.traces,
    }
    for name, used in (("safe", True), ("unsafe", False)):
        for state_name, which in (*zip(STATE_NAMES, ((s,) for s in STATES), strict=True), ("irq", STATES)):
            for suffix, read in (("", False), ("-read", True)):
                mask = sum(1 << (used_in(s, read) if used else enabled(s, read)) for s in which)
                count = sum(bool(known.usage & mask) for known in state.classes)
                stats[f"{state_name.lower()}{suffix}-{name}"] = count
    irq_mask = USED_IN_MASK | ENABLED_MASK
    stats["uncategorized locks"] = sum(known.usage & irq_mask == 0 < known.usage for known in state.classes)
    stats["unused locks"] = sum(not known.usage for known in state.classes)
    stats["zapped classes"] = state.zapped
    return stats


def _chain_counts(roots: tuple[Chain, ...]) -> dict[str, int]:
    chains = locks = hits = deepest = hardirq = softirq = process = 0
    pending = [(chain, 1) for root in roots for chain in root.next.values()]
    while pending:
        chain, depth = pending.pop()
        deepest = max(deepest, depth)
        hits += chain.hits
        pending.extend((up, depth + 1) for up in chain.next.values())
        # The kernel makes no chain of a trylock, or of what is not checked (validate_chain()); here they are nodes,
        # since a task that took one stands on it.
        if chain.key & (TRYLOCK | UNCHECKED):
            continue
        chains += 1
        locks += depth
        if chain.context & IN_HARDIRQ:
            hardirq += 1
        elif chain.context & IN_SOFTIRQ:
            softirq += 1
        else:
            process += 1
    return {
        "dependency chains": chains,
        "dependency chain hlocks used": locks,
        "in-hardirq chains": hardirq,
        "in-softirq chains": softirq,
        "in-process chains": process,
        "max locking depth": deepest,
        "chain lookup misses": chains,
        "chain lookup hits": hits,
    }
