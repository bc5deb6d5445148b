"""The search for what a litmus test may see: all executions, by the states that they pass through.

The rules are those of `concurrency.runtimes.weak` and `concurrency.rcu.order`, told once more for states that can be
compared, so that executions which come to the same state are followed once. An Allowed is shown by the engine in the
end (`stress.litmus.engine`), and the tests hold both to each other and to the axioms of the kernel's model.

A view names for each place a write that is known, by its number; 0 is the initial one. `join` takes the newer one by
the order of the place's history, in which writes may come between later on, so views never change by that.

Two things keep the number of states small. What nothing can read any more is left out of them: the knowledge of
processes that have ended or tell nobody, registers without a reader, places that nobody accesses again. And where one
process can go on without taking anything from the others, it goes on alone (`_alone`): Godefroid's persistent sets of
one task, for operations that may see older values. A write goes first always, since who comes later may still read
what was there before, and may still write before it; so does whatever only gives (an unlock, the end of a reader), and
what nobody else can meet any more. What is left to be ordered is reads and exchanges of places that others still
write, full barriers against each other, locks, and the begin of readers against that of grace periods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sugarbush.stress.litmus.calls import Act, Location
from sugarbush.stress.litmus.code import OPEN, Step
from sugarbush.stress.litmus.search.barriers import Barriers
from sugarbush.stress.litmus.search.forgetting import Forgetting
from sugarbush.stress.litmus.search.futures import BARRIERS
from sugarbush.stress.litmus.search.locks import Locks
from sugarbush.stress.litmus.search.readers import Readers
from sugarbush.stress.litmus.search.states import Domain, Knows, MachineState, View, Write

# GRACE_OVER takes something, too; but once its readers have ended nobody adds to what it takes (`Readers`).
_FIRST = (Act.WRITE, Act.UNLOCK, Act.WMB, Act.RMB, Act.READER_ENDS, Act.GRACE_OVER)
"""What goes on alone always."""

DEADLOCK = "deadlock"


class Machine(Forgetting, Locks, Barriers, Readers):
    """The states of a test under weak memory, or under sequential consistency."""

    def known(self, state: MachineState, process: int | None, name: str) -> Any:
        """The final value of a register (process number) or of a location; `OPEN` if it may still change."""
        if process is None:
            place = self._place_of[name]
            for number, pc in enumerate(state.pcs):
                if self._futures[number][pc].writes >> place & 1:
                    return OPEN
            value = state.hist[place][-1].value
        else:
            at = self._number_of[process]
            register = self.codes[at].names[name]
            if register in self._futures[at][state.pcs[at]].sets:
                return OPEN
            value = state.registers[at][register]
        return value.name if isinstance(value, Location) else value

    def follows_pointers(self, state: MachineState) -> bool:
        """A process may still go where a pointer leads, which may be nowhere."""
        return any(self._futures[number][pc].pointers for number, pc in enumerate(state.pcs))

    # -- states ---------------------------------------------------------------------------------------------------

    def start(self) -> MachineState:
        """The initial state."""
        state = MachineState()
        nothing = self._nothing
        state.pcs = [0] * len(self.codes)
        state.registers = [tuple(self.built.registers(code, self.places)) for code in self.codes]
        state.taints = [(None,) * code.size for code in self.codes]
        knows = Knows(nothing, nothing, nothing, nothing, nothing, nothing, None, None, 0)
        state.knows = [knows] * len(self.codes)
        state.hist = []
        for name in self.names:
            value = self.built.initial.get(name, 0)
            first = self.places[self.built.index(value)] if isinstance(value, str) else value
            state.hist.append((Write(0, first, nothing, nothing, nothing, False, -1, nothing),))
        state.everywhere = nothing
        state.domains = [Domain(None, None, (), ())] * len(self._domains)
        state.path = None
        state.broken = ""
        state.dead = 0
        for process in range(len(self.codes)):
            self._go_on(state, process)
        for process in range(len(self.codes)):
            self._forget(state, process)
        return state

    def over(self, state: MachineState) -> bool:
        """All processes have ended."""
        return all(pc == len(code.steps) for pc, code in zip(state.pcs, self.codes, strict=True))

    def _go_on(self, state: MachineState, process: int) -> None:
        """Pass the steps that no other process can notice, up to the next action."""
        steps = self.codes[process].steps
        at = state.pcs[process]
        registers: list[Any] | None = None
        taints: list[View | None] = []
        # It ends: jumps lead forward only.
        while at < len(steps) and steps[at].act is None:
            step = steps[at]
            if step.told:
                at += 1
            elif step.into >= 0:
                if registers is None:
                    registers, taints = list(state.registers[process]), list(state.taints[process])
                assert step.pointer is not None
                value = step.pointer(registers, self.places)
                taints[step.into] = self._taint(state, taints, step.fed)
                registers[step.into] = value
                at += 1
            elif step.pointer is None or not step.pointer(
                list(state.registers[process]) if registers is None else registers, self.places
            ):
                at = step.target
            else:
                at += 1
        state.pcs[process] = at
        if registers is not None:
            state.registers[process] = tuple(registers)
            state.taints[process] = tuple(taints)

    # -- going on -------------------------------------------------------------------------------------------------

    def successors(self, state: MachineState) -> list[MachineState]:
        """The states that come next; none if the execution has ended, or all wait."""
        pcs = state.pcs
        goers = []
        for process, code in enumerate(self.codes):
            if pcs[process] < len(code.steps):
                step = code.steps[pcs[process]]
                if self._alone(state, process, step):
                    # None: it waits. Then it is no set of its own, and the others decide when it can go on.
                    made = self._after(state, process, step)
                    if made is not None:
                        return made
                else:
                    goers.append((process, step))
        found: list[MachineState] = []
        for process, step in goers:
            found += self._after(state, process, step) or ()
        return found

    def _alone(self, state: MachineState, process: int, step: Step) -> bool:
        """Nothing that the other processes may still do has to be tried before this action.

        The action may have to wait all the same, for a lock or for readers.
        """
        act = step.act
        # Under sequential consistency a write is seen at once, so reads of the others must be tried before it as well.
        if act in _FIRST and (self.weak or act not in (Act.WRITE, Act.UNLOCK)):
            return True
        others = [self._futures[other][pc] for other, pc in enumerate(state.pcs) if other != process]
        if act in BARRIERS:
            if not self.weak or not any(other.barriers for other in others):
                return True
            # Whose barrier makes nothing known that is not known already learns less now than later, and all that is
            # known only forbids: what may come of it later may come of it now.
            seen = state.knows[process].seen
            return act is Act.MB and self._join(state, state.everywhere, seen) == state.everywhere
        # A grace period waits for a reader that began before it, and a reader that begins after it learns from it:
        # so both orders are tried, unless no process can begin a grace period any more. The same below.
        if act is Act.READER:
            bit = 1 << self._domains[step.domain]
            return not any(other.graces & bit for other in others)
        if act is Act.GRACE:
            bit = 1 << self._domains[step.domain]
            return not any(other.readers & bit for other in others)
        # Through a pointer any memory may be meant; a lock or an srcu_struct is no memory (`_memory`).
        place = 1 << step.at if step.at >= 0 else self._memory
        if not self.weak and act not in (Act.READ, Act.IS_LOCKED):
            return not any(other.touches & place for other in others)
        return not any(other.writes & place for other in others)

    def _after(self, state: MachineState, process: int, step: Step) -> list[MachineState] | None:
        """The states after an action, one for each choice; None if it has to wait."""
        act = step.act
        assert act is not None
        choices = _DOES[act](self, state, process, step)
        if choices is None:
            return None
        made = []
        for choice, after in choices:
            # Choices are numbered as the engine asks for them: the path is what `engine.Follow` goes by.
            after.path = (state, process, step, choice)
            if not after.broken:
                self._go_on(after, process)
                self._forget(after, process)
            made.append(after)
        return made


_DOES: dict[Act, Any] = {
    Act.READ: Machine._read,
    Act.WRITE: Machine._write,
    Act.MODIFY: Machine._modify,
    Act.LOOK: Machine._look,
    Act.MB: Machine._mb,
    Act.UNLOCK_LOCK_MB: Machine._unlock_lock_mb,
    Act.WMB: Machine._wmb,
    Act.RMB: Machine._rmb,
    Act.LOCK: Machine._lock,
    Act.TRYLOCK: Machine._trylock,
    Act.UNLOCK: Machine._unlock,
    Act.IS_LOCKED: Machine._is_locked,
    Act.READER: Machine._reader,
    Act.READER_ENDS: Machine._reader_ends,
    Act.GRACE: Machine._grace,
    Act.GRACE_OVER: Machine._grace_over,
}


@dataclass(slots=True)
class Ended:
    """An execution that has ended, in this state; `why` is empty if all processes have, else what went wrong."""

    state: MachineState
    why: str = ""


def search(machine: Machine, worth: Callable[[MachineState], bool]) -> Iterator[Ended | None]:
    """The executions of a test, depth first, those that come to a state that was seen only once; None for each step.

    What comes of a state that is not `worth` it is left out.
    """
    first = machine.start()
    seen = {first.key()}
    stack = [first]
    while stack:
        state = stack.pop()
        if state.broken:
            yield Ended(state, state.broken)
            continue
        if not worth(state):
            yield None
            continue
        after = machine.successors(state)
        if not after:
            yield Ended(state, "" if machine.over(state) else DEADLOCK)
            continue
        yield None
        # The newest value first, as the engine would choose; a state goes onto the stack once, whoever leads to it.
        for one in reversed(after):
            key = (*one.key(), one.broken)
            if key not in seen:
                seen.add(key)
                stack.append(one)
