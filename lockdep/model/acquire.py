"""One acquire on its way through the checks."""

from __future__ import annotations

from dataclasses import dataclass

from sugarbush.lockdep.model.chains import Chain
from sugarbush.lockdep.model.classes import LockClass
from sugarbush.lockdep.model.keys import LockMap
from sugarbush.lockdep.model.task import Held, TaskContext
from sugarbush.lockdep.model.trace import Trace


@dataclass(slots=True)
class Acquire:
    """A lock that a task asks for in a way that a look-up alone does not validate.

    `chain` is the stack with the new lock on top. `known` says that it was seen before, but has to be looked
    at each time because the instances matter.
    """

    ctx: TaskContext
    lock_map: LockMap
    lock_class: LockClass
    read: int
    trylock: bool
    checked: bool
    sync: bool
    nest_lock: LockMap | None
    trace: Trace
    chain: Chain
    known: bool

    def context_entries(self) -> list[Held]:
        """The held locks of the present irq context, oldest first."""
        return context_entries(self.ctx)


def context_entries(ctx: TaskContext) -> list[Held]:
    """The locks that a task holds in its present irq context, oldest first."""
    # Handlers give back what they take before they end, so the locks of the present context lie together on top.
    held = ctx.held
    if not held:
        return []
    context = ctx.irq_context
    first = len(held)
    while first and held[first - 1][1].context == context:
        first -= 1
    return held[first:]


def matches(entry: Held, lock_map: LockMap) -> bool:
    """True when a held entry stands for this instance, alone or with others merged into it."""
    if entry[0] is lock_map:
        return True
    extra = entry[4]
    return extra is not None and any(other is lock_map for other in extra.merged)
