"""RCU and SRCU: readers, and the grace periods that wait for them.

A reader that begins learns what grace periods knew when they began; a grace period that ends learns what the readers
did that it has waited for, and those that were over before (linux-kernel.cat, v6.6: rcu-order).
"""

from __future__ import annotations

from sugarbush.stress.litmus.code import Step
from sugarbush.stress.litmus.search.knowing import Knowing
from sugarbush.stress.litmus.search.states import Domain, Grace, MachineState


class Readers(Knowing):
    """The part of `Machine` that reads under RCU and waits for grace periods."""

    def _reader(self, state: MachineState, process: int, step: Step) -> list[tuple[int, MachineState]]:
        number = self._domains[step.domain]
        after = self._past(state, process)
        domain = state.domains[number]
        # There are no loops, so a step begins one reader at most: its number is the key, which srcu_read_lock() gives.
        key = step.number
        if not number:
            knows = state.knows[process]
            after.knows[process] = knows._replace(nesting=knows.nesting + 1)
            # rcu_read_lock() nests, and grace periods wait for the outermost; so a process is one reader.
            if knows.nesting:
                return [(0, after)]
            key = process
        self._learns(after, process, domain.known)
        # srcu_up_read() of another process may end what srcu_down_read() began.
        owner = -1 if step.down else process
        after.domains[number] = domain._replace(open=tuple(sorted((*domain.open, (key, owner)))))
        self._give(after, process, step, key, None)
        return [(0, after)]

    def _reader_ends(self, state: MachineState, process: int, step: Step) -> list[tuple[int, MachineState]]:
        number = self._domains[step.domain]
        domain = state.domains[number]
        after = self._past(state, process)
        if number:
            key = step.values[0](state.registers[process], self.places)  # type: ignore[arg-type]
            if (key, process) not in domain.open and (key, -1) not in domain.open:
                return self._break(state, process, "reader")
        else:
            knows = state.knows[process]
            if not knows.nesting:
                return self._break(state, process, "reader")
            after.knows[process] = knows._replace(nesting=knows.nesting - 1)
            if knows.nesting > 1:
                return [(0, after)]
            key = process
        told = self._told(state, process)
        graces = tuple(
            grace._replace(
                waits=tuple(one for one in grace.waits if one != key),
                readers=self._joined(state, grace.readers, told),
            )
            if key in grace.waits
            else grace
            for grace in domain.graces
        )
        before = self._joined(state, domain.before, told)
        left = tuple(reader for reader in domain.open if reader[0] != key)
        after.domains[number] = Domain(domain.known, before, left, graces)
        return [(0, after)]

    def _grace(self, state: MachineState, process: int, step: Step) -> list[tuple[int, MachineState]]:
        number = self._domains[step.domain]
        domain = state.domains[number]
        # It would wait for its own reader, for ever.
        if any(owner == process for _, owner in domain.open) or state.knows[process].nesting:
            return self._break(state, process, "grace")
        after = self._past(state, process)
        known = self._joined(state, domain.known, self._told(state, process))
        # Both are sorted where they are kept: who began first is no difference between states.
        waits = tuple(key for key, _ in domain.open)
        grace = Grace(process, waits, domain.before)
        after.domains[number] = domain._replace(known=known, graces=tuple(sorted((*domain.graces, grace))))
        return [(0, after)]

    def _grace_over(
        self, state: MachineState, process: int, step: Step
    ) -> list[tuple[int, MachineState]] | None:
        number = self._domains[step.domain]
        domain = state.domains[number]
        mine = next(grace for grace in domain.graces if grace.process == process)
        if mine.waits:
            return None
        after = self._past(state, process)
        after.domains[number] = domain._replace(
            graces=tuple(grace for grace in domain.graces if grace is not mine)
        )
        self._learns(after, process, mine.readers)
        return [(0, after)]
