"""Reads, writes and read-modify-writes: one state for each write that may be read, or place that may be written."""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency.lowlevel import Order
from sugarbush.concurrency.memory import KEEP
from sugarbush.stress.litmus.code import Step
from sugarbush.stress.litmus.search.knowing import Knowing
from sugarbush.stress.litmus.search.states import MachineState, View, Write, at_of, with_write


class Accesses(Knowing):
    """The part of `Machine` that reads and writes."""

    def _visible(self, state: MachineState, process: int, step: Step, place: int) -> int:
        """The index of the oldest write that may be read."""
        history = state.hist[place]
        if not self.weak:
            return len(history) - 1
        # Coherence: no write older than one that the process has read, or must have seen (`floor`).
        low = at_of(history, state.knows[process].floor[place])
        # An address dependency orders this one read, and no later one.
        if step.led:
            taint = self._taint(state, state.taints[process], step.led)
            if taint is not None and taint[place]:
                low = max(low, at_of(history, taint[place]))
        return low

    def _read_from(
        self,
        state: MachineState,
        process: int,
        step: Step,
        place: int,
        write: Write,
        *,
        acquires: bool,
        silent: bool,
    ) -> View | None:
        """The process comes to know of `write`; gives what depends on its value knows."""
        knows = state.knows[process]
        floor, seen, heard, strong = knows.floor, knows.seen, knows.heard, knows.strong
        # A value carries on what it was made of, by dependencies of the process that wrote it.
        taint: View | None = write.fed if write.fed != self._nothing else None
        if write.number != floor[place]:
            floor = with_write(floor, place, write.number)
        have = seen[place]
        if write.number != have and at_of(state.hist[place], have) < at_of(state.hist[place], write.number):
            seen = with_write(seen, place, write.number)
        if write.process != process:
            # What a process has told itself it is told by nobody: rfi is no part of hb (linux-kernel.cat).
            seen = self._join(state, seen, write.told)
            strong = self._join(state, strong, write.strong)
            if acquires:
                floor = self._join(state, floor, write.told)
            # smp_rmb() does not order the read of an atomic without a result (linux-kernel.cat, v6.6: R4rmb).
            elif not silent:
                heard = self._join(state, heard, write.told)
            if not step.plain and write.told != self._nothing:
                taint = write.told if taint is None else self._join(state, taint, write.told)
        if step.led:
            # A dependency from a read to the address of the next goes on through the value of that.
            before = self._taint(state, state.taints[process], step.led)
            if before is not None:
                taint = before if taint is None else self._join(state, taint, before)
        state.knows[process] = knows._replace(floor=floor, seen=seen, heard=heard, strong=strong)
        return taint

    def _read(self, state: MachineState, process: int, step: Step) -> list[tuple[int, MachineState]]:
        place = self._place(state, process, step)
        if place < 0:
            return self._break(state, process, "NULL")
        history = state.hist[place]
        low = self._visible(state, process, step, place)
        made = []
        # One state for each write that may be read, the newest first: that is choice 0 of the engine.
        for at in range(len(history) - 1, low - 1, -1):
            after = self._past(state, process)
            write = history[at]
            acquires = step.order is Order.ACQUIRE
            taint = self._read_from(after, process, step, place, write, acquires=acquires, silent=False)
            self._give(after, process, step, write.value, taint)
            made.append((len(history) - 1 - at, after))
        return made

    def _fed(self, state: MachineState, process: int, step: Step) -> View:
        if not step.fed and not step.led:
            return self._nothing
        taints = state.taints[process]
        return self._taint(state, taints, step.fed + step.led) or self._nothing

    def _write(self, state: MachineState, process: int, step: Step) -> list[tuple[int, MachineState]]:
        place = self._place(state, process, step)
        if place < 0:
            return self._break(state, process, "NULL")
        history = state.hist[place]
        knows = state.knows[process]
        value = step.values[0](state.registers[process], self.places)  # type: ignore[arg-type]
        oldest = at_of(history, knows.seen[place]) if self.weak else len(history) - 1
        fed = self._fed(state, process, step)
        made = []
        choice = 0
        # It may come in before writes of others that this process has not seen: coherence orders it after those it has.
        for spot in range(len(history), oldest, -1):
            if spot < len(history) and history[spot - 1].taken:
                continue
            after = self._past(state, process)
            told = (
                knows.seen if step.order is Order.RELEASE else self._join(state, knows.released, knows.strong)
            )
            self._wrote(after, process, step, place, spot, value, told, knows.strong, fed)
            made.append((choice, after))
            choice += 1
        return made

    def _wrote(
        self,
        state: MachineState,
        process: int,
        step: Step,
        place: int,
        spot: int,
        value: Any,
        told: View,
        strong: View,
        fed: View,
        own: View | None = None,
    ) -> None:
        nothing = self._nothing
        write = Write(step.number, value, told, strong, own or nothing, False, process, fed)
        history = state.hist[place]
        state.hist[place] = (*history[:spot], write, *history[spot:])
        knows = state.knows[process]
        mine = self._join(state, knows.own, told) if told != nothing else knows.own
        state.knows[process] = knows._replace(
            floor=with_write(knows.floor, place, step.number),
            seen=with_write(knows.seen, place, step.number),
            own=with_write(mine, place, step.number),
        )

    def _look(self, state: MachineState, process: int, step: Step) -> list[tuple[int, MachineState]]:
        """Whether a fully ordered compare-and-exchange fails, which is a relaxed read, or passes its barrier."""
        if not self.weak:
            return [(0, self._past(state, process))]
        place = self._place(state, process, step)
        if place < 0:
            return self._break(state, process, "NULL")
        history = state.hist[place]
        made: list[tuple[int, MachineState]] = []
        succeeds = False
        for at in range(len(history) - 1, self._visible(state, process, step, place) - 1, -1):
            write = history[at]
            new, result = self._changed(state, process, step, write.value)
            if new is not KEEP:
                succeeds = True
                continue
            after = self._past(state, process)
            after.pcs[process] = step.target
            taint = self._read_from(after, process, step, place, write, acquires=False, silent=False)
            self._give(after, process, step, result, taint)
            made.append((len(made), after))
        if succeeds:
            made = [(0, self._past(state, process)), *((choice + 1, after) for choice, after in made)]
        return made

    def _changed(self, state: MachineState, process: int, step: Step, value: Any) -> Any:
        assert step.change is not None
        registers: Any = state.registers[process]
        return step.change(value, *[argument(registers, self.places) for argument in step.values])

    def _modify(self, state: MachineState, process: int, step: Step) -> list[tuple[int, MachineState]]:
        place = self._place(state, process, step)
        if place < 0:
            return self._break(state, process, "NULL")
        history = state.hist[place]
        knows = state.knows[process]
        oldest = at_of(history, knows.seen[place]) if self.weak else len(history) - 1
        fed = self._fed(state, process, step)
        made = []
        choice = 0
        for at in range(len(history) - 1, self._visible(state, process, step, place) - 1, -1):
            old = history[at]
            new, result = self._changed(state, process, step, old.value)
            wrote = new is not KEEP
            if wrote and (at < oldest or old.taken):
                continue
            choice += 1
            if not wrote and step.must and self.weak:
                # It has failed before the barrier, or not at all.
                continue
            after = self._past(state, process)
            # A compare-and-exchange that fails orders nothing: it is a relaxed read.
            acquires = wrote and step.order in (Order.ACQUIRE, Order.FULL)
            taint = self._read_from(after, process, step, place, old, acquires=acquires, silent=step.silent)
            if wrote:
                self._rewrote(after, process, step, place, at, new, fed)
            self._give(after, process, step, result, taint)
            made.append((choice - 1, after))
        return made

    def _rewrote(
        self, state: MachineState, process: int, step: Step, place: int, at: int, value: Any, fed: View
    ) -> None:
        """The write of a read-modify-write, right after what it has read."""
        history = state.hist[place]
        old = history[at]
        knows = state.knows[process]
        releases = step.order in (Order.RELEASE, Order.FULL)
        told = knows.seen if releases else self._join(state, knows.released, knows.strong)
        state.hist[place] = (*history[:at], old._replace(taken=True), *history[at + 1 :])
        self._wrote(
            state,
            process,
            step,
            place,
            at + 1,
            value,
            self._join(state, told, old.told),
            self._join(state, knows.strong, old.strong),
            fed,
        )
