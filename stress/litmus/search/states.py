"""Where an execution of a litmus test is: what was written, and what each process knows."""

from __future__ import annotations

from typing import Any, NamedTuple

from sugarbush.stress.litmus.code import Step

View = tuple[int, ...]


class Write(NamedTuple):
    """A write, as it stands in the history of its place."""

    number: int
    value: Any
    told: View
    """What a process that reads it comes to know."""
    strong: View
    """The part of `told` that a full barrier had made known to all."""
    own: View
    """Of an unlock, what its process had written itself."""
    taken: bool
    """A read-modify-write has read it, so the write of that follows at once: nothing may come between the two."""
    process: int
    fed: View
    """What its value depends on."""


class Knows(NamedTuple):
    """What a process knows, as `concurrency.runtimes.weak.history.Knowledge` has it for the engine."""

    floor: View
    """The oldest write of each place that it may still read."""
    seen: View
    """The newest write of each place that it has read, written or been told of: its own writes come after these."""
    own: View
    """The part that it has written itself, or handed on by a write."""
    released: View
    """What its next write hands on without being a release: what smp_wmb() or a full barrier has put before it."""
    strong: View
    """What full barriers have made known to all, as far as it knows."""
    heard: View
    """What smp_rmb() will add to `floor`: all that its reads were told, but for atomics without a result."""
    given: tuple[View, View] | None
    """What it had seen, and written, at its last unlock."""
    unlocked: View | None
    """What was seen at the unlock before its last lock, if it may pass smp_mb__after_unlock_lock() later on."""
    nesting: int
    """How many rcu_read_lock()s are open."""


Told = tuple[View, View, View]
"""What a process hands on to another: what it has seen, what it has written itself, and what full barriers made known
to all."""


class Grace(NamedTuple):
    """A grace period that has begun and has not ended."""

    process: int
    waits: tuple[int, ...]
    """The keys of the readers that it still waits for."""
    readers: Told | None
    """What the readers handed on that were over before it, or that it has waited for."""


class Domain(NamedTuple):
    """RCU, or one srcu_struct."""

    known: Told | None
    """What a reader that begins now comes to know: what grace periods knew when they began."""
    before: Told | None
    """What a grace period that begins now comes to know: what readers did that have ended."""
    open: tuple[tuple[int, int], ...]
    """The open readers: the key of each, and its process, -1 where any process may end it."""
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
        """A state that may be changed; `broken` is of one state only."""
        # Only the outer lists are copied: what stands in them is tuples, which states may share.
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
    # The place was forgotten (`Forgetting`), and a view that still names its writes means the one that is left.
    return 0


def with_write(view: View, place: int, write: int) -> View:
    return (*view[:place], write, *view[place + 1 :])
