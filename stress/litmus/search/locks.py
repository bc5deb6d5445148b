"""Spinlocks: their words are places, and an unlock tells what a lock after it learns."""

from __future__ import annotations

from sugarbush.stress.litmus.code import Step
from sugarbush.stress.litmus.search.accesses import Accesses
from sugarbush.stress.litmus.search.states import MachineState


class Locks(Accesses):
    """The part of `Machine` that takes locks and gives them back."""

    def _lock(self, state: MachineState, process: int, step: Step) -> list[tuple[int, MachineState]] | None:
        # The newest value: to take a lock is a read-modify-write, which follows what it has read at once.
        if state.hist[step.at][-1].value:
            return None
        return [(0, self._locked(state, process, step))]

    def _locked(self, state: MachineState, process: int, step: Step) -> MachineState:
        after = self._past(state, process)
        place = step.at
        history = state.hist[place]
        free = history[-1]
        self._read_from(after, process, step, place, free, acquires=True, silent=False)
        knows = after.knows[process]
        floor, released = knows.floor, knows.released
        if knows.given is not None:
            # po-unlock-lock-po (linux-kernel.cat, v6.6): what came before an unlock of this process comes before what
            # follows its next lock, also where that is another lock.
            seen, own = knows.given
            floor = self._join(after, floor, seen)
            released = self._join(after, released, own)
        # Kept only where the barrier may still come: a state is the same without it else.
        unlocked = None
        if self._futures[process][after.pcs[process]].unlock_locks:
            unlocked = knows.unlocked if knows.given is None else knows.given[0]
            if free.number:
                unlocked = free.told if unlocked is None else self._join(after, unlocked, free.told)
        after.knows[process] = knows._replace(
            floor=floor,
            released=self._join(after, released, free.own),
            own=self._join(after, knows.own, free.own),
            given=None,
            unlocked=unlocked,
        )
        self._rewrote(after, process, step, place, len(history) - 1, 1, self._nothing)
        self._give(after, process, step, 1, None)
        return after

    def _trylock(self, state: MachineState, process: int, step: Step) -> list[tuple[int, MachineState]]:
        """One that fails reads any lock that it may still see, and orders nothing (lock.cat: LF)."""
        place = step.at
        history = state.hist[place]
        made: list[tuple[int, MachineState]] = []
        if not history[-1].value:
            made.append((0, self._locked(state, process, step)))
        for at in range(len(history) - 1, self._visible(state, process, step, place) - 1, -1):
            write = history[at]
            if write.value:
                after = self._past(state, process)
                self._read_from(after, process, step, place, write, acquires=False, silent=False)
                self._give(after, process, step, 0, None)
                made.append((len(made), after))
        return made

    def _unlock(self, state: MachineState, process: int, step: Step) -> list[tuple[int, MachineState]]:
        place = step.at
        last = state.hist[place][-1]
        if not last.value or last.process != process:
            return self._break(state, process, "unlock")
        after = self._past(state, process)
        knows = state.knows[process]
        self._wrote(
            after,
            process,
            step,
            place,
            len(state.hist[place]),
            0,
            knows.seen,
            knows.strong,
            self._nothing,
            knows.own,
        )
        after.knows[process] = after.knows[process]._replace(given=(knows.seen, knows.own))
        return [(0, after)]

    def _is_locked(self, state: MachineState, process: int, step: Step) -> list[tuple[int, MachineState]]:
        place = step.at
        history = state.hist[place]
        made = []
        for at in range(len(history) - 1, self._visible(state, process, step, place) - 1, -1):
            after = self._past(state, process)
            self._read_from(after, process, step, place, history[at], acquires=False, silent=False)
            self._give(after, process, step, int(history[at].value), None)
            made.append((len(history) - 1 - at, after))
        return made
