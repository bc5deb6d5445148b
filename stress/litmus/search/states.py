"""Where an execution of a litmus test is: what was written, and what each process knows."""

from __future__ import annotations

from typing import Any, NamedTuple

from sugarbush.stress.litmus.code import Step

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


class MachineState:
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
    path: tuple[MachineState, int, Step, int] | None
    broken: str
    dead: int
    """The places that nobody accesses any more, as bits."""

    def copy(self) -> MachineState:
        """A state that may be changed."""
        made = MachineState()
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


def at_of(history: tuple[Write, ...], number: int) -> int:
    """Where a write stands in the history of its place."""
    if not number:
        return 0
    for at, write in enumerate(history):
        if write.number == number:
            return at
    # The place was forgotten, and with it what was known of it.
    return 0


def with_write(view: View, place: int, write: int) -> View:
    return (*view[:place], write, *view[place + 1 :])
