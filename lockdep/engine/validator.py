"""The validator as its users see it: all parts together."""

from __future__ import annotations

from sugarbush.lockdep.engine.asserts import Asserts
from sugarbush.lockdep.engine.changes import Changes
from sugarbush.lockdep.engine.irqs import IrqEvents
from sugarbush.lockdep.engine.later import Later
from sugarbush.lockdep.engine.lifetime import Lifetime
from sugarbush.lockdep.engine.rcu import Rcu
from sugarbush.lockdep.engine.reclaim import Reclaim
from sugarbush.lockdep.engine.waiting import Waiting
from sugarbush.lockdep.engine.ww import WwMutexes
from sugarbush.lockdep.model import Tables


class Lockdep(Asserts, Changes, Later, Lifetime, Rcu, IrqEvents, Reclaim, Waiting, WwMutexes):
    """One lock validator: classes, dependencies and reports of one run.

    `current` gives the task that is running. Frames of the top-level packages named in `internal` are left
    out of sites and stacks, so that these point to the user's lines. `on_report` gets each report that is a
    failure (a guarded cycle is none: it only stands in `reports`), once the validator's state is consistent
    again; what it raises goes through to the task that called. Without `stacks` reports know the innermost frame
    only.
    """

    def state(self) -> Tables:
        """The tables, for listings."""
        return Tables(
            self._registry.classes,
            self.roots,
            self._prover.waits,
            [ctx for ctx in self._tasks.values() if ctx.owner is self],
            self._prover.edges,
            self._registry.zapped,
            len(self._tracer),
            self._tracer.entries,
        )
