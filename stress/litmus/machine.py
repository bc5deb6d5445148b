"""The search for what a litmus test may see: all executions, by the states that they pass through.

The rules are those of `concurrency.runtimes.weak` and `concurrency.rcu.order`, told once more for states that can be
compared, so that executions which come to the same state are followed once. An Allowed is shown by the engine in the
end (`stress.litmus.engine`), and the tests hold both to each other and to the axioms of the kernel's model.

A view names for each place a write that is known, by its number; 0 is the initial one. `join` takes the newer one by
the order of the place's history, in which writes may come between later on, so views never change by that.

Two things keep the number of states small. What nothing can read any more is left out of them: the knowledge of
processes that have ended or tell nobody, registers without a reader, places that nobody accesses again. And where one
process can go on without taking anything from the others, it goes on alone (`_alone`): Godefroid's persistent sets of
one task, for operations that may see older values. A write goes first always, since who comes later may still read what
was there before, and may still write before it; so does whatever only gives (an unlock, the end of a reader), and what
nobody else can meet any more. What is left to be ordered is reads and exchanges of places that others still write, full
barriers against each other, locks, and the begin of readers against that of grace periods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from sugarbush.concurrency.lowlevel import Order
from sugarbush.concurrency.memory import KEEP
from sugarbush.stress.litmus.build import OPEN, Built, Code, Step
from sugarbush.stress.litmus.calls import Act, Location

View = tuple[int, ...]


class Write(NamedTuple):
    """A write in the history of its place, oldest first. `told` is what who reads it comes to know, `strong` the part
    that a full barrier has made known to all, `own` (of an unlock) what its process has written itself. `taken`: a
    read-modify-write follows, nothing may come between. `fed` is what its value depends on.
    """

    number: int
    value: Any
    told: View
    strong: View
    own: View
    taken: bool
    process: int
    fed: View


class Knows(NamedTuple):
    """What a process knows; see `concurrency.runtimes.weak.history.Knowledge`.

    `heard` is what smp_rmb() will order: all that reads were told, but for those of atomics without a result. `given`
    is what it had seen and written at its last unlock. `unlocked` is what was seen at an unlock that its last lock
    comes after, if it passes smp_mb__after_unlock_lock() later on. `nesting` counts rcu_read_lock()s.
    """

    floor: View
    seen: View
    own: View
    released: View
    strong: View
    heard: View
    given: tuple[View, View] | None
    unlocked: View | None
    nesting: int


Told = tuple[View, View, View]
"""What a process hands on: what it has seen, what it has written itself, and what barriers made known to all."""


class Grace(NamedTuple):
    """A grace period that goes on: for whose readers it waits, and what those did that have ended."""

    process: int
    waits: tuple[int, ...]
    readers: Told | None


class Domain(NamedTuple):
    """RCU, or an srcu_struct: what every reader that begins now knows, what readers did that have ended, the open
    readers (key, process or -1 if another one may end it) and the grace periods.
    """

    known: Told | None
    before: Told | None
    open: tuple[tuple[int, int], ...]
    graces: tuple[Grace, ...]


class State:
    """Where an execution is. `path` leads back to the start: the state before, the process, and its choice.

    `broken` is the line and the words of a rule that the last action broke.
    """

    __slots__ = (
        "broken",
        "dead",
        "domains",
        "everywhere",
        "hist",
        "knows",
        "path",
        "pcs",
        "registers",
        "taints",
    )

    pcs: list[int]
    registers: list[tuple[Any, ...]]
    taints: list[tuple[View | None, ...]]
    knows: list[Knows]
    hist: list[tuple[Write, ...]]
    everywhere: View
    domains: list[Domain]
    path: tuple[State, int, Step, int] | None
    broken: str
    dead: int
    """The places that nobody accesses any more, as bits."""

    def copy(self) -> State:
        """A state that may be changed."""
        made = State()
        made.pcs = self.pcs.copy()
        made.registers = self.registers.copy()
        made.taints = self.taints.copy()
        made.knows = self.knows.copy()
        made.hist = self.hist.copy()
        made.everywhere = self.everywhere
        made.domains = self.domains.copy()
        made.path = self.path
        made.broken = ""
        made.dead = self.dead
        return made

    def key(self) -> tuple[Any, ...]:
        """What tells it from other states."""
        return (
            *self.pcs,
            *self.registers,
            *self.taints,
            *self.knows,
            *self.hist,
            self.everywhere,
            *self.domains,
        )


@dataclass(slots=True)
class Future:
    """What a process may do from some step on, as bits: the places that it `touches` and `writes`, the domains in
    which it begins `readers` and `graces` (bit 0: plain RCU); whether it passes full barriers, tells anybody anything,
    and reads; the registers that it looks at and those that it `sets`; whether it follows `pointers`, and
    whether it passes smp_mb__after_unlock_lock() (`unlock_locks`).
    """

    touches: int = 0
    writes: int = 0
    readers: int = 0
    graces: int = 0
    barriers: bool = False
    tells: bool = False
    reads: bool = False
    registers: frozenset[int] = frozenset()
    sets: frozenset[int] = frozenset()
    pointers: bool = False
    unlock_locks: bool = False

    def joined(self, other: Future) -> Future:
        """What either may do."""
        return Future(
            self.touches | other.touches,
            self.writes | other.writes,
            self.readers | other.readers,
            self.graces | other.graces,
            self.barriers or other.barriers,
            self.tells or other.tells,
            self.reads or other.reads,
            self.registers | other.registers,
            self.sets | other.sets,
            self.pointers or other.pointers,
            self.unlock_locks or other.unlock_locks,
        )


_WRITES = (Act.WRITE, Act.MODIFY, Act.LOOK, Act.LOCK, Act.TRYLOCK, Act.UNLOCK)
_READS = (Act.READ, Act.MODIFY, Act.LOOK, Act.LOCK, Act.TRYLOCK, Act.IS_LOCKED)
_BARRIERS = (Act.MB, Act.UNLOCK_LOCK_MB)
_TELLS = (*_WRITES, *_BARRIERS, Act.READER_ENDS, Act.GRACE)
_FIRST = (Act.WRITE, Act.UNLOCK, Act.WMB, Act.RMB, Act.READER_ENDS, Act.GRACE_OVER)
"""What goes on alone always."""

DEADLOCK = "deadlock"


class Machine:
    """The states of a test under weak memory, or under sequential consistency."""

    def __init__(self, built: Built, *, weak: bool) -> None:
        self.built = built
        self.weak = weak
        self.codes = built.processes
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
        self._futures = [self._futures_of(code) for code in self.codes]
        self._asked = [
            frozenset(code.names[name] for process, name in built.asked if process == code.number)
            for code in self.codes
        ]

    def known(self, state: State, process: int | None, name: str) -> Any:
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

    def follows_pointers(self, state: State) -> bool:
        """A process may still go where a pointer leads, which may be nowhere."""
        return any(self._futures[number][pc].pointers for number, pc in enumerate(state.pcs))

    # -- what is to come ------------------------------------------------------------------------------------------

    def _futures_of(self, code: Code) -> list[Future]:
        futures = [Future()] * (len(code.steps) + 1)
        for at in range(len(code.steps) - 1, -1, -1):
            step = code.steps[at]
            if step.act is None and step.target >= 0 and step.pointer is None:
                future = futures[step.target]
            else:
                future = futures[at + 1]
                if step.target >= 0:
                    future = future.joined(futures[step.target])
            futures[at] = future.joined(self._does(step))
        return futures

    def _does(self, step: Step) -> Future:
        act = step.act
        looks = frozenset(step.led + step.fed)
        sets = frozenset((step.into,)) if step.into >= 0 else frozenset()
        if act is None:
            return Future(registers=looks, sets=sets)
        place = (1 << step.at if step.at >= 0 else self._memory) if act in _WRITES or act in _READS else 0
        domain = 1 << self._domains.get(step.domain, 0)
        return Future(
            touches=place,
            writes=place if act in _WRITES else 0,
            readers=domain if act is Act.READER else 0,
            graces=domain if act is Act.GRACE else 0,
            barriers=act in _BARRIERS,
            tells=act in _TELLS,
            reads=act in _READS,
            registers=looks,
            sets=sets,
            pointers=step.pointer is not None,
            unlock_locks=act is Act.UNLOCK_LOCK_MB,
        )

    # -- views ----------------------------------------------------------------------------------------------------

    def _join(self, state: State, one: View, other: View) -> View:
        """What either view knows."""
        if one is other or other == one:
            return one
        hist = state.hist
        nothing = self._nothing
        if one == nothing:
            return other
        if other == nothing:
            return one
        made = list(one)
        for place, write in enumerate(other):
            have = made[place]
            if write != have and write and (not have or _at(hist[place], write) > _at(hist[place], have)):
                made[place] = write
        return tuple(made)

    def _joined(self, state: State, one: Told | None, other: Told) -> Told:
        if one is None:
            return other
        a, b, c = one
        d, e, f = other
        return self._join(state, a, d), self._join(state, b, e), self._join(state, c, f)

    # -- states ---------------------------------------------------------------------------------------------------

    def start(self) -> State:
        """The initial state."""
        state = State()
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

    def over(self, state: State) -> bool:
        """All processes have ended."""
        return all(pc == len(code.steps) for pc, code in zip(state.pcs, self.codes, strict=True))

    def _go_on(self, state: State, process: int) -> None:
        """Pass the steps that no other process can notice, up to the next action."""
        steps = self.codes[process].steps
        at = state.pcs[process]
        registers: list[Any] | None = None
        taints: list[View | None] = []
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

    def _taint(self, state: State, taints: Any, registers: tuple[int, ...]) -> View | None:
        """What is known to who reads at an address that is made of these registers."""
        made: View | None = None
        for register in registers:
            view = taints[register]
            if view is not None:
                made = view if made is None else self._join(state, made, view)
        return made

    def _forget(self, state: State, process: int) -> None:
        """Leave out of the state what nothing that is to come can look at, now that `process` has gone on."""
        futures = [self._futures[n][pc] for n, pc in enumerate(state.pcs)]
        nothing = self._nothing
        if not self.weak:
            self._forget_all(state)
        future = futures[process]
        knows = state.knows[process]
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
        if state.everywhere != nothing and not any(future.barriers for future in futures):
            state.everywhere = nothing
        for number, domain in enumerate(state.domains):
            if domain.known is None and domain.before is None:
                continue
            bit = 1 << number
            known = domain.known if any(future.readers & bit for future in futures) else None
            before = domain.before if any(future.graces & bit for future in futures) else None
            state.domains[number] = domain._replace(known=known, before=before)
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

    def _forget_registers(self, state: State, process: int, future: Future) -> None:
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

    def _forget_all(self, state: State) -> None:
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

    def _blank(self, state: State, dead: list[int]) -> None:
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

    # -- going on -------------------------------------------------------------------------------------------------

    def successors(self, state: State) -> list[State]:
        """The states that come next; none if the execution has ended, or all wait."""
        pcs = state.pcs
        goers = []
        for process, code in enumerate(self.codes):
            if pcs[process] < len(code.steps):
                step = code.steps[pcs[process]]
                if self._alone(state, process, step):
                    made = self._after(state, process, step)
                    if made is not None:
                        return made
                else:
                    goers.append((process, step))
        found: list[State] = []
        for process, step in goers:
            found += self._after(state, process, step) or ()
        return found

    def _alone(self, state: State, process: int, step: Step) -> bool:
        """Nothing that the others may do has to come before this action; if it can go on at all."""
        act = step.act
        if act in _FIRST and (self.weak or act not in (Act.WRITE, Act.UNLOCK)):
            return True
        others = [self._futures[other][pc] for other, pc in enumerate(state.pcs) if other != process]
        if act in _BARRIERS:
            if not self.weak or not any(other.barriers for other in others):
                return True
            # Whose barrier makes nothing known that is not known already learns less now than later, and all that is
            # known only forbids: what may come of it later may come of it now.
            seen = state.knows[process].seen
            return act is Act.MB and self._join(state, state.everywhere, seen) == state.everywhere
        if act is Act.READER:
            bit = 1 << self._domains[step.domain]
            return not any(other.graces & bit for other in others)
        if act is Act.GRACE:
            bit = 1 << self._domains[step.domain]
            return not any(other.readers & bit for other in others)
        place = 1 << step.at if step.at >= 0 else self._memory
        if not self.weak and act not in (Act.READ, Act.IS_LOCKED):
            return not any(other.touches & place for other in others)
        return not any(other.writes & place for other in others)

    def _after(self, state: State, process: int, step: Step) -> list[State] | None:
        """The states after an action, one for each choice; None if it has to wait."""
        act = step.act
        assert act is not None
        choices = _DOES[act](self, state, process, step)
        if choices is None:
            return None
        made = []
        for choice, after in choices:
            after.path = (state, process, step, choice)
            if not after.broken:
                self._go_on(after, process)
                self._forget(after, process)
            made.append(after)
        return made

    def _past(self, state: State, process: int) -> State:
        after = state.copy()
        after.pcs[process] += 1
        return after

    def _give(self, state: State, process: int, step: Step, value: Any, taint: View | None) -> None:
        """The result of an action."""
        if step.into >= 0:
            registers = list(state.registers[process])
            registers[step.into] = value
            state.registers[process] = tuple(registers)
            if taint is not None or state.taints[process][step.into] is not None:
                taints = list(state.taints[process])
                taints[step.into] = taint
                state.taints[process] = tuple(taints)

    def _break(self, state: State, process: int, says: str) -> list[tuple[int, State]]:
        after = self._past(state, process)
        after.broken = says
        return [(0, after)]

    def _place(self, state: State, process: int, step: Step) -> int:
        """The location that an action is done to; -1 if there is none."""
        if step.at >= 0:
            return step.at
        assert step.pointer is not None
        found = step.pointer(state.registers[process], self.places)  # type: ignore[arg-type]
        return found.index if isinstance(found, Location) else -1

    # -- reading and writing --------------------------------------------------------------------------------------

    def _visible(self, state: State, process: int, step: Step, place: int) -> int:
        """The index of the oldest write that may be read."""
        history = state.hist[place]
        if not self.weak:
            return len(history) - 1
        low = _at(history, state.knows[process].floor[place])
        if step.led:
            taint = self._taint(state, state.taints[process], step.led)
            if taint is not None and taint[place]:
                low = max(low, _at(history, taint[place]))
        return low

    def _read_from(
        self,
        state: State,
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
        taint: View | None = write.fed if write.fed != self._nothing else None
        if write.number != floor[place]:
            floor = _with(floor, place, write.number)
        have = seen[place]
        if write.number != have and _at(state.hist[place], have) < _at(state.hist[place], write.number):
            seen = _with(seen, place, write.number)
        if write.process != process:
            # What a process has told itself it is told by nobody: rfi is no part of hb (linux-kernel.cat).
            seen = self._join(state, seen, write.told)
            strong = self._join(state, strong, write.strong)
            if acquires:
                floor = self._join(state, floor, write.told)
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

    def _read(self, state: State, process: int, step: Step) -> list[tuple[int, State]]:
        place = self._place(state, process, step)
        if place < 0:
            return self._break(state, process, "NULL")
        history = state.hist[place]
        low = self._visible(state, process, step, place)
        made = []
        for at in range(len(history) - 1, low - 1, -1):
            after = self._past(state, process)
            write = history[at]
            acquires = step.order is Order.ACQUIRE
            taint = self._read_from(after, process, step, place, write, acquires=acquires, silent=False)
            self._give(after, process, step, write.value, taint)
            made.append((len(history) - 1 - at, after))
        return made

    def _fed(self, state: State, process: int, step: Step) -> View:
        if not step.fed and not step.led:
            return self._nothing
        taints = state.taints[process]
        return self._taint(state, taints, step.fed + step.led) or self._nothing

    def _write(self, state: State, process: int, step: Step) -> list[tuple[int, State]]:
        place = self._place(state, process, step)
        if place < 0:
            return self._break(state, process, "NULL")
        history = state.hist[place]
        knows = state.knows[process]
        value = step.values[0](state.registers[process], self.places)  # type: ignore[arg-type]
        oldest = _at(history, knows.seen[place]) if self.weak else len(history) - 1
        fed = self._fed(state, process, step)
        made = []
        choice = 0
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
        state: State,
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
            floor=_with(knows.floor, place, step.number),
            seen=_with(knows.seen, place, step.number),
            own=_with(mine, place, step.number),
        )

    def _look(self, state: State, process: int, step: Step) -> list[tuple[int, State]]:
        """Whether a fully ordered compare-and-exchange fails, which is a relaxed read, or passes its barrier."""
        if not self.weak:
            return [(0, self._past(state, process))]
        place = self._place(state, process, step)
        if place < 0:
            return self._break(state, process, "NULL")
        history = state.hist[place]
        made: list[tuple[int, State]] = []
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

    def _changed(self, state: State, process: int, step: Step, value: Any) -> Any:
        assert step.change is not None
        registers: Any = state.registers[process]
        return step.change(value, *[argument(registers, self.places) for argument in step.values])

    def _modify(self, state: State, process: int, step: Step) -> list[tuple[int, State]]:
        place = self._place(state, process, step)
        if place < 0:
            return self._break(state, process, "NULL")
        history = state.hist[place]
        knows = state.knows[process]
        oldest = _at(history, knows.seen[place]) if self.weak else len(history) - 1
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
            acquires = wrote and step.order in (Order.ACQUIRE, Order.FULL)
            taint = self._read_from(after, process, step, place, old, acquires=acquires, silent=step.silent)
            if wrote:
                self._rewrote(after, process, step, place, at, new, fed)
            self._give(after, process, step, result, taint)
            made.append((choice - 1, after))
        return made

    def _rewrote(
        self, state: State, process: int, step: Step, place: int, at: int, value: Any, fed: View
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

    # -- barriers -------------------------------------------------------------------------------------------------

    def _mb(self, state: State, process: int, _step: Step) -> list[tuple[int, State]]:
        after = self._past(state, process)
        if self.weak:
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

    def _unlock_lock_mb(self, state: State, process: int, _step: Step) -> list[tuple[int, State]]:
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

    def _wmb(self, state: State, process: int, _step: Step) -> list[tuple[int, State]]:
        after = self._past(state, process)
        knows = after.knows[process]
        after.knows[process] = knows._replace(released=knows.own)
        return [(0, after)]

    def _rmb(self, state: State, process: int, _step: Step) -> list[tuple[int, State]]:
        after = self._past(state, process)
        knows = after.knows[process]
        after.knows[process] = knows._replace(
            floor=self._join(state, knows.floor, knows.heard), heard=self._nothing
        )
        return [(0, after)]

    # -- locks ----------------------------------------------------------------------------------------------------

    def _lock(self, state: State, process: int, step: Step) -> list[tuple[int, State]] | None:
        if state.hist[step.at][-1].value:
            return None
        return [(0, self._locked(state, process, step))]

    def _locked(self, state: State, process: int, step: Step) -> State:
        after = self._past(state, process)
        place = step.at
        history = state.hist[place]
        free = history[-1]
        self._read_from(after, process, step, place, free, acquires=True, silent=False)
        knows = after.knows[process]
        floor, released = knows.floor, knows.released
        if knows.given is not None:
            # po-unlock-lock-po, also for another lock.
            seen, own = knows.given
            floor = self._join(after, floor, seen)
            released = self._join(after, released, own)
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

    def _trylock(self, state: State, process: int, step: Step) -> list[tuple[int, State]]:
        """One that fails reads any lock that it may still see, and orders nothing (lock.cat: LF)."""
        place = step.at
        history = state.hist[place]
        made: list[tuple[int, State]] = []
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

    def _unlock(self, state: State, process: int, step: Step) -> list[tuple[int, State]]:
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

    def _is_locked(self, state: State, process: int, step: Step) -> list[tuple[int, State]]:
        place = step.at
        history = state.hist[place]
        made = []
        for at in range(len(history) - 1, self._visible(state, process, step, place) - 1, -1):
            after = self._past(state, process)
            self._read_from(after, process, step, place, history[at], acquires=False, silent=False)
            self._give(after, process, step, int(history[at].value), None)
            made.append((len(history) - 1 - at, after))
        return made

    # -- RCU ------------------------------------------------------------------------------------------------------

    def _told(self, state: State, process: int) -> Told:
        knows = state.knows[process]
        return knows.seen, knows.own, knows.strong

    def _learns(self, state: State, process: int, told: Told | None) -> None:
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

    def _reader(self, state: State, process: int, step: Step) -> list[tuple[int, State]]:
        number = self._domains[step.domain]
        after = self._past(state, process)
        domain = state.domains[number]
        key = step.number
        if not number:
            knows = state.knows[process]
            after.knows[process] = knows._replace(nesting=knows.nesting + 1)
            if knows.nesting:
                return [(0, after)]
            key = process
        self._learns(after, process, domain.known)
        owner = -1 if step.down else process
        after.domains[number] = domain._replace(open=tuple(sorted((*domain.open, (key, owner)))))
        self._give(after, process, step, key, None)
        return [(0, after)]

    def _reader_ends(self, state: State, process: int, step: Step) -> list[tuple[int, State]]:
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

    def _grace(self, state: State, process: int, step: Step) -> list[tuple[int, State]]:
        number = self._domains[step.domain]
        domain = state.domains[number]
        if any(owner == process for _, owner in domain.open) or state.knows[process].nesting:
            return self._break(state, process, "grace")
        after = self._past(state, process)
        known = self._joined(state, domain.known, self._told(state, process))
        waits = tuple(key for key, _ in domain.open)
        grace = Grace(process, waits, domain.before)
        after.domains[number] = domain._replace(known=known, graces=tuple(sorted((*domain.graces, grace))))
        return [(0, after)]

    def _grace_over(self, state: State, process: int, step: Step) -> list[tuple[int, State]] | None:
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


def _at(history: tuple[Write, ...], number: int) -> int:
    """Where a write stands in the history of its place."""
    if not number:
        return 0
    for at, write in enumerate(history):
        if write.number == number:
            return at
    # The place was forgotten, and with it what was known of it.
    return 0


def _with(view: View, place: int, write: int) -> View:
    return (*view[:place], write, *view[place + 1 :])


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

    state: State
    why: str = ""


def search(machine: Machine, worth: Callable[[State], bool]) -> Iterator[Ended | None]:
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
        for one in reversed(after):
            key = (*one.key(), one.broken)
            if key not in seen:
                seen.add(key)
                stack.append(one)
