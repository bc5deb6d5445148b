"""What all actions share: joining views, going past a step, and giving a result.

A view is a tuple with a number for each place, so that states can be compared and kept in a set; to join two is the
most frequent thing that a search does, and most often one of them is the other.
"""

from __future__ import annotations

from typing import Any

from sugarbush.stress.litmus.calls import Location
from sugarbush.stress.litmus.code import Built, Step
from sugarbush.stress.litmus.search.futures import futures_of
from sugarbush.stress.litmus.search.states import MachineState, Told, View, at_of


class Knowing:
    """The part of `Machine` that knows what processes know."""

    def __init__(self, built: Built, *, weak: bool) -> None:
        self.built = built
        self.weak = weak
        self.codes = built.processes
        # Places are numbered as they are declared; a set of them is an int, one bit each.
        kinds = list(built.kinds.values())
        self.names = list(built.kinds)
        self.places = [Location(name=name, index=index) for index, name in enumerate(self.names)]
        self._memory = sum(1 << index for index, kind in enumerate(kinds) if kind == "p")
        self._nothing: View = (0,) * len(kinds)
        self._all = (1 << len(kinds)) - 1
        self._place_of = {name: index for index, name in enumerate(self.names)}
        self._number_of = {code.number: at for at, code in enumerate(self.codes)}
        srcu = [index for index, kind in enumerate(kinds) if kind == "s"]
        self._domains = {-1: 0} | {index: number for number, index in enumerate(srcu, 1)}
        # Of each process, before the search: what it may still do from a step on does not depend on the state.
        self._futures = [futures_of(code, self._memory, self._domains) for code in self.codes]
        self._asked = [
            frozenset(code.names[name] for process, name in built.asked if process == code.number)
            for code in self.codes
        ]

    def _join(self, state: MachineState, one: View, other: View) -> View:
        """What either view knows."""
        if one is other or other == one:
            return one
        hist = state.hist
        nothing = self._nothing
        if one == nothing:
            return other
        if other == nothing:
            return one
        # By where they stand in the history, not by number: a write may be put before one that was made earlier.
        made = list(one)
        for place, write in enumerate(other):
            have = made[place]
            if write != have and write and (not have or at_of(hist[place], write) > at_of(hist[place], have)):
                made[place] = write
        return tuple(made)

    def _joined(self, state: MachineState, one: Told | None, other: Told) -> Told:
        if one is None:
            return other
        a, b, c = one
        d, e, f = other
        return self._join(state, a, d), self._join(state, b, e), self._join(state, c, f)

    def _taint(self, state: MachineState, taints: Any, registers: tuple[int, ...]) -> View | None:
        """What is known to who reads at an address that is made of these registers."""
        made: View | None = None
        for register in registers:
            view = taints[register]
            if view is not None:
                made = view if made is None else self._join(state, made, view)
        return made

    def _past(self, state: MachineState, process: int) -> MachineState:
        after = state.copy()
        after.pcs[process] += 1
        return after

    def _give(self, state: MachineState, process: int, step: Step, value: Any, taint: View | None) -> None:
        """The result of an action."""
        if step.into >= 0:
            registers = list(state.registers[process])
            registers[step.into] = value
            state.registers[process] = tuple(registers)
            if taint is not None or state.taints[process][step.into] is not None:
                taints = list(state.taints[process])
                taints[step.into] = taint
                state.taints[process] = tuple(taints)

    def _break(self, state: MachineState, process: int, says: str) -> list[tuple[int, MachineState]]:
        after = self._past(state, process)
        after.broken = says
        return [(0, after)]

    def _place(self, state: MachineState, process: int, step: Step) -> int:
        """The location that an action is done to; -1 if there is none."""
        if step.at >= 0:
            return step.at
        assert step.pointer is not None
        found = step.pointer(state.registers[process], self.places)  # type: ignore[arg-type]
        return found.index if isinstance(found, Location) else -1

    def _told(self, state: MachineState, process: int) -> Told:
        knows = state.knows[process]
        return knows.seen, knows.own, knows.strong

    def _learns(self, state: MachineState, process: int, told: Told | None) -> None:
        if told is None or not self.weak:
            return
        seen, own, strong = told
        knows = state.knows[process]
        state.knows[process] = knows._replace(
            floor=self._join(state, knows.floor, seen),
            seen=self._join(state, knows.seen, seen),
            own=self._join(state, knows.own, own),
            released=self._join(state, knows.released, own),
            strong=self._join(state, knows.strong, strong),
        )
