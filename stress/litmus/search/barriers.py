"""Barriers: what becomes known to whom by them.

Under sequential consistency they do nothing: everybody knows everything.
"""

from __future__ import annotations

from sugarbush.stress.litmus.code import Step
from sugarbush.stress.litmus.search.knowing import Knowing
from sugarbush.stress.litmus.search.states import MachineState


class Barriers(Knowing):
    """The part of `Machine` that passes barriers."""

    def _mb(self, state: MachineState, process: int, _step: Step) -> list[tuple[int, MachineState]]:
        after = self._past(state, process)
        if self.weak:
            # Full barriers stand in one order, that of the search: each learns what those before it have made known
            # to all, and adds what its process has seen. So of two processes in SB the later one sees the write of
            # the earlier one.
            knows = after.knows[process]
            seen = self._join(state, knows.seen, state.everywhere)
            after.everywhere = seen
            after.knows[process] = knows._replace(
                floor=self._join(state, knows.floor, seen),
                seen=seen,
                own=seen,
                released=seen,
                strong=seen,
                heard=self._nothing,
            )
        return [(0, after)]

    def _unlock_lock_mb(
        self, state: MachineState, process: int, _step: Step
    ) -> list[tuple[int, MachineState]]:
        """A full barrier for what was seen at the unlock; linux-kernel.cat, v6.6:

        ``[M] ; po ; [UL] ; (co | po) ; [LKW] ; fencerel(After-unlock-lock) ; [M]``.
        """
        after = self._past(state, process)
        knows = after.knows[process]
        if self.weak and knows.unlocked is not None:
            was = knows.unlocked
            everywhere = state.everywhere
            after.everywhere = self._join(state, everywhere, was)
            after.knows[process] = knows._replace(
                floor=self._join(state, self._join(state, knows.floor, everywhere), was),
                seen=self._join(state, knows.seen, everywhere),
                own=self._join(state, knows.own, after.everywhere),
                released=self._join(state, knows.released, after.everywhere),
                strong=self._join(state, knows.strong, after.everywhere),
            )
        return [(0, after)]

    def _wmb(self, state: MachineState, process: int, _step: Step) -> list[tuple[int, MachineState]]:
        after = self._past(state, process)
        knows = after.knows[process]
        # Of writes only: what the process has read before it is handed on by a release or a full barrier.
        after.knows[process] = knows._replace(released=knows.own)
        return [(0, after)]

    def _rmb(self, state: MachineState, process: int, _step: Step) -> list[tuple[int, MachineState]]:
        after = self._past(state, process)
        knows = after.knows[process]
        after.knows[process] = knows._replace(
            floor=self._join(state, knows.floor, knows.heard), heard=self._nothing
        )
        return [(0, after)]
