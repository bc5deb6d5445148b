"""The validator as its users see it: all parts together."""

from __future__ import annotations

from lockdep.asserts import Asserts
from lockdep.changes import Changes
from lockdep.irqs import IrqEvents
from lockdep.lifetime import Lifetime
from lockdep.rcu import Rcu
from lockdep.reclaim import Reclaim
from lockdep.stats import State
from lockdep.waiting import Waiting
from lockdep.ww import WwMutexes


class Lockdep(Asserts, Changes, Lifetime, Rcu, IrqEvents, Reclaim, Waiting, WwMutexes):
    """One lock validator: classes, dependencies and reports of one run.

    `current` gives the task that is running. Frames of the top-level packages named in `internal` are left
    out of sites and stacks, so that these point to the user's lines. `on_report` gets each report that is a
    failure (a guarded cycle is none: it only stands in `reports`), once the validator's state is consistent
    again; what it raises goes through to the task that called. Without `stacks` reports know the innermost frame
    only.
    """

    def state(self) -> State:
        """The tables, for listings."""
        return State(
            self._registry.classes,
            self.roots,
            self._prover.waits,
            [ctx for ctx in self._tasks.values() if ctx.owner is self],
            self._prover.edges,
            self._registry.zapped,
            len(self._tracer),
            self._tracer.entries,
        )
