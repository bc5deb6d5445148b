"""Reports of wrong lock order: circular dependencies, and recursion on one class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sugarbush.lockdep.model import ClassLine, Frame, LockLine, Report, Stack, trace_block


@dataclass(frozen=True, slots=True)
class Link:
    """A step of a dependency chain: this class was wanted here while the one before it was held.

    `by` is the task that did so, with its irq context if it was in one; `held` is the class that it held then, and
    `held_at` where it had taken that.
    """

    wanted: ClassLine
    stack: Stack
    by: str
    held: str
    held_at: Frame

    def lines(self) -> Iterator[str]:
        """The lines of the step: the task that made it, and its stack."""
        # The kernel prints the stack alone. Ours stands above it, where whoever reads kernel reports passes it over.
        yield f"       by {self.by}, holding ({self.held}), taken at: {self.held_at}"
        yield from trace_block(self.stack)


@dataclass(frozen=True, slots=True)
class WaitState:
    """One task of a deadlock: what it would hold, and what it would wait for, at this place; `by` did so first."""

    holds: tuple[str, ...]
    wants: str
    stack: Stack
    by: str


def verb(read: int, sync: bool = False) -> str:
    """How scenario tables write an acquire."""
    if sync:
        return "sync"
    return "rlock" if read else "lock"


def scenario_row(left: str, right: str = "") -> str:
    """A line of the two-column table."""
    return f"  {left:<29}{right}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class CircularReport(Report):
    """A new dependency closes a strong cycle (kernel: `print_circular_bug`).

    `chain` holds the existing dependencies from the newest to the oldest, then the acquire being made.
    `guards` names the locks that make the cycle impossible, because tasks that hold one exclusively cannot be
    in it together; it is empty for a real cycle. `witness` then lists tasks that would wait for each other,
    when a set of them was found within the search budget.
    """

    wanted: LockLine
    wanted_read: int
    sync: bool
    owned: LockLine
    owned_read: int
    chain: tuple[Link, ...]
    guards: tuple[str, ...]
    witness: tuple[WaitState, ...]

    def body(self) -> Iterator[str]:
        yield f"{self.task} is trying to acquire lock:"
        yield str(self.wanted)
        yield ""
        yield "but task is already holding lock:"
        yield str(self.owned)
        yield ""
        yield "which lock already depends on the new lock."
        yield ""
        yield ""
        yield "the existing dependency chain (in reverse order) is:"
        for index, link in enumerate(self.chain):
            yield ""
            yield f"-> #{len(self.chain) - 1 - index} {link.wanted}:"
            yield from link.lines()
        yield ""
        yield "other info that might help us debug this:"
        yield ""
        yield from self._scenario()
        yield ""
        yield from self.held_section()
        yield from self.backtrace()

    def _scenario(self) -> Iterator[str]:
        # Two columns suffice whatever the length of the chain: the second CPU stands for all others (the kernel's
        # print_circular_lock_scenario() does the same), and the whole chain is printed above.
        middle = self.chain[1].wanted.name
        if len(self.chain) > 2:
            yield "Chain exists of:"
            yield f"  {self.wanted.name} --> {middle} --> {self.owned.name}"
            yield ""
        yield " Possible unsafe locking scenario:"
        yield ""
        yield "       CPU0                    CPU1"
        yield "       ----                    ----"
        yield scenario_row(f"{verb(self.owned_read)}({self.owned.name});")
        yield scenario_row("", f"lock({middle});")
        yield scenario_row("", f"lock({self.owned.name});")
        yield scenario_row(f"{verb(self.wanted_read, self.sync)}({self.wanted.name});")
        yield ""
        if self.guards:
            yield f" *** GUARDED by ({'), ('.join(self.guards)}): not a deadlock ***"
        else:
            yield " *** DEADLOCK ***"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecursiveReport(Report):
    """A class is taken again by the task that holds it (kernel: `print_deadlock_bug`).

    `comparison` is what the ordering function of the class returned, None when there is none.
    """

    wanted: LockLine
    wanted_read: int
    owned: LockLine
    owned_read: int
    comparison: int | None

    def body(self) -> Iterator[str]:
        yield f"{self.task} is trying to acquire lock:"
        yield str(self.wanted)
        yield ""
        yield "but task is already holding lock:"
        yield str(self.owned)
        if self.comparison is not None:
            yield f"and the lock comparison function returns {self.comparison}:"
        yield ""
        yield "other info that might help us debug this:"
        yield " Possible unsafe locking scenario:"
        yield ""
        yield "       CPU0"
        yield "       ----"
        yield f"  {verb(self.owned_read)}({self.owned.name});"
        yield f"  {verb(self.wanted_read)}({self.wanted.name});"
        yield ""
        yield " *** DEADLOCK ***"
        yield ""
        yield " May be due to missing lock nesting notation"
        yield ""
        yield from self.held_section()
        yield from self.backtrace()
