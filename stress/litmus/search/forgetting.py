"""Leaving out of a state what nothing that is to come can look at.

States that differ in what nobody can see any more are the same state then, and are followed once. What is left out is
an optimisation only: with `_forget` empty the answers are the same, and the numbers of states grow.
"""

from __future__ import annotations

from sugarbush.stress.litmus.search.futures import Future
from sugarbush.stress.litmus.search.knowing import Knowing
from sugarbush.stress.litmus.search.states import Domain, Knows, MachineState, Told, View, Write


class Forgetting(Knowing):
    """The part of `Machine` that forgets."""

    def _forget(self, state: MachineState, process: int) -> None:
        """Leave out of the state what nothing that is to come can look at, now that `process` has gone on."""
        futures = [self._futures[n][pc] for n, pc in enumerate(state.pcs)]
        nothing = self._nothing
        if not self.weak:
            self._forget_all(state)
        future = futures[process]
        knows = state.knows[process]
        # What it knows counts in two ways: for what it may read itself (floor, heard), and for what it tells others.
        if not future.tells:
            if future.touches:
                knows = Knows(
                    knows.floor, nothing, nothing, nothing, nothing, knows.heard, None, None, knows.nesting
                )
            else:
                knows = Knows(nothing, nothing, nothing, nothing, nothing, nothing, None, None, knows.nesting)
            state.knows[process] = knows
        elif not future.reads:
            knows = state.knows[process] = knows._replace(floor=nothing, heard=nothing)
        if knows.floor != nothing or knows.heard != nothing:
            # Nobody else is told of these: they matter where the process itself still reads.
            touches = future.touches
            floor = tuple(write if touches >> place & 1 else 0 for place, write in enumerate(knows.floor))
            heard = tuple(write if touches >> place & 1 else 0 for place, write in enumerate(knows.heard))
            if floor != knows.floor or heard != knows.heard:
                state.knows[process] = knows._replace(floor=floor, heard=heard)
        self._forget_registers(state, process, future)
        # Only a full barrier takes from it, and only another one adds.
        if state.everywhere != nothing and not any(future.barriers for future in futures):
            state.everywhere = nothing
        for number, domain in enumerate(state.domains):
            if domain.known is None and domain.before is None:
                continue
            bit = 1 << number
            # `known` is for readers that begin, `before` for grace periods that do.
            known = domain.known if any(future.readers & bit for future in futures) else None
            before = domain.before if any(future.graces & bit for future in futures) else None
            state.domains[number] = domain._replace(known=known, before=before)
        # A place that nobody accesses any more keeps its last value, which the question may ask for, under number 0:
        # it is the same then, whoever wrote it. `dead` holds the places for which that is done already.
        touched = state.dead
        for future in futures:
            touched |= future.touches
        dead = self._all & ~touched
        if dead:
            state.dead |= dead
            places = [place for place in range(len(nothing)) if dead >> place & 1]
            for place in places:
                last = state.hist[place][-1]
                if last.number:
                    state.hist[place] = (Write(0, last.value, nothing, nothing, nothing, False, -1, nothing),)
            self._blank(state, places)

    def _forget_registers(self, state: MachineState, process: int, future: Future) -> None:
        # What the question asks for is read at the end, by no step.
        wanted = future.registers | self._asked[process]
        registers = state.registers[process]
        for number, value in enumerate(registers):
            if value != 0 and number not in wanted:
                state.registers[process] = tuple(
                    value if number in wanted else 0 for number, value in enumerate(registers)
                )
                break
        taints = state.taints[process]
        for taint in taints:
            if taint is not None:
                live = future.registers if future.touches else frozenset()
                state.taints[process] = tuple(
                    taint if number in live else None for number, taint in enumerate(taints)
                )
                break

    def _forget_all(self, state: MachineState) -> None:
        """Under sequential consistency there is nothing to know but the newest value of each place."""
        nothing = self._nothing
        for place, history in enumerate(state.hist):
            last = history[-1]
            if last.number or len(history) > 1:
                state.hist[place] = (
                    Write(0, last.value, nothing, nothing, nothing, False, last.process, nothing),
                )
        for process, knows in enumerate(state.knows):
            state.knows[process] = Knows(
                nothing, nothing, nothing, nothing, nothing, nothing, None, None, knows.nesting
            )
            state.taints[process] = (None,) * len(state.taints[process])

    def _blank(self, state: MachineState, dead: list[int]) -> None:
        """No view says anything of these places."""
        nothing = self._nothing

        def blank(view: View) -> View:
            if view == nothing or not any(view[place] for place in dead):
                return view
            made = list(view)
            for place in dead:
                made[place] = 0
            return tuple(made)

        def told(one: Told | None) -> Told | None:
            return None if one is None else (blank(one[0]), blank(one[1]), blank(one[2]))

        for number, knows in enumerate(state.knows):
            given = knows.given
            state.knows[number] = Knows(
                blank(knows.floor),
                blank(knows.seen),
                blank(knows.own),
                blank(knows.released),
                blank(knows.strong),
                blank(knows.heard),
                None if given is None else (blank(given[0]), blank(given[1])),
                None if knows.unlocked is None else blank(knows.unlocked),
                knows.nesting,
            )
        for place, history in enumerate(state.hist):
            if len(history) > 1:
                state.hist[place] = tuple(
                    write._replace(
                        told=blank(write.told),
                        strong=blank(write.strong),
                        own=blank(write.own),
                        fed=blank(write.fed),
                    )
                    for write in history
                )
        state.everywhere = blank(state.everywhere)
        for number, taints in enumerate(state.taints):
            if any(taint is not None for taint in taints):
                state.taints[number] = tuple(None if taint is None else blank(taint) for taint in taints)
        for number, domain in enumerate(state.domains):
            graces = tuple(grace._replace(readers=told(grace.readers)) for grace in domain.graces)
            state.domains[number] = Domain(told(domain.known), told(domain.before), domain.open, graces)
