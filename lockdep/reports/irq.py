"""Reports of locks that mix badly with interrupts: inconsistent state, unsafe order, inversion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sugarbush.lockdep.model import ClassLine, Frame, LockLine, Report, Stack, trace_block
from sugarbush.lockdep.reports.order import scenario_row


@dataclass(frozen=True, slots=True)
class UsageTrace:
    """A usage of a class, where it was first seen, and of which task."""

    usage: str
    stack: Stack
    by: str


@dataclass(frozen=True, slots=True)
class ClassBlock:
    """A class on a dependency path: its usages, and where it was acquired to make the path.

    `by` is the task that made that step, `held` the class that it held then, and `held_at` where it had taken it; ""
    and None for the first class of a path.
    """

    line: ClassLine
    operations: int
    usages: tuple[UsageTrace, ...]
    key: str
    acquired: Stack
    by: str = ""
    held: str = ""
    held_at: Frame | None = None

    def lines(self, depth: int) -> Iterator[str]:
        """The block, indented by its place on the path."""
        pad = " " * depth
        yield f"{pad}-> {self.line} ops: {self.operations} {{"
        for usage in self.usages:
            yield f"{pad}   {usage.usage} at:"
            yield f"{pad}                    by {usage.by}"
            yield from (f"{pad}                    {frame}" for frame in usage.stack)
        yield f"{pad} }}"
        yield f"{pad} ... key      at: {self.key}"
        if self.acquired:
            yield f"{pad} ... acquired at:"
            yield f"{pad}   by {self.by}, holding ({self.held}), taken at: {self.held_at}"
            yield from (f"{pad}   {frame}" for frame in self.acquired)


@dataclass(frozen=True, slots=True)
class IrqStamp:
    """When interrupts were last switched: the task's event count then, and the place (None: never)."""

    what: str
    stamp: int
    site: Frame | None

    def __str__(self) -> str:
        where = "[<>] 0x0" if self.site is None else f"[<>] {self.site}"
        return f"{self.what} at ({self.stamp}): {where}"


def path_blocks(blocks: tuple[ClassBlock, ...]) -> Iterator[str]:
    """Several class blocks, each a little further in."""
    for depth, block in enumerate(blocks):
        yield from block.lines(depth)
        yield ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InconsistentReport(Report):
    """One class is used in a context and held where that context may come in (kernel: `print_usage_bug`)."""

    wanted: LockLine
    before: str
    after: str
    registered: Stack
    registered_by: str
    stamps: tuple[IrqStamp, ...]
    events: int

    def body(self) -> Iterator[str]:
        yield f"inconsistent {{{self.before}}} -> {{{self.after}}} usage."
        yield f"{self.task.tag} takes:"
        yield str(self.wanted)
        yield f"{{{self.before}}} state was registered at:"
        yield f"       by {self.registered_by}"
        yield from trace_block(self.registered)
        yield f"irq event stamp: {self.events}"
        yield from map(str, self.stamps)
        yield ""
        yield "other info that might help us debug this:"
        yield " Possible unsafe locking scenario:"
        yield ""
        yield "       CPU0"
        yield "       ----"
        yield f"  lock({self.wanted.name});"
        yield "  <Interrupt>"
        yield f"    lock({self.wanted.name});"
        yield ""
        yield " *** DEADLOCK ***"
        yield ""
        yield from self.held_section()
        yield from self.backtrace()


def interrupt_table(safe: str, unsafe: str, middle: str) -> Iterator[str]:
    """The two-CPU table: the safe lock comes in by interrupt over the unsafe one."""
    yield " Possible interrupt unsafe locking scenario:"
    yield ""
    yield "       CPU0                    CPU1"
    yield "       ----                    ----"
    yield scenario_row(f"lock({unsafe});")
    yield scenario_row("", "local_irq_disable();")
    yield scenario_row("", f"lock({safe});")
    yield scenario_row("", f"lock({middle});")
    yield scenario_row("<Interrupt>")
    yield scenario_row(f"  lock({safe});")
    yield ""
    yield " *** DEADLOCK ***"
    yield ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IrqOrderReport(Report):
    """A new dependency joins an irq-safe class to an irq-unsafe one (kernel: `print_bad_irq_dependency`).

    `state` is what the safe class is (``HARDIRQ``, ``SOFTIRQ-READ``), `unsafe_state` what the other is not.
    """

    wanted: LockLine
    owned: LockLine
    dependency: tuple[ClassLine, ClassLine]
    safe: ClassLine
    safe_state: str
    safe_stack: Stack
    safe_by: str
    unsafe: ClassLine
    unsafe_state: str
    unsafe_stack: Stack
    unsafe_by: str
    safe_path: tuple[ClassBlock, ...]
    unsafe_path: tuple[ClassBlock, ...]

    def body(self) -> Iterator[str]:
        yield f"{self.task.tag} is trying to acquire:"
        yield str(self.wanted)
        yield ""
        yield "and this task is already holding:"
        yield str(self.owned)
        yield "which would create a new lock dependency:"
        yield f" {self.dependency[0]} -> {self.dependency[1]}"
        yield ""
        yield f"but this new dependency connects a {self.safe_state}-irq-safe lock:"
        yield f" {self.safe}"
        yield ""
        yield f"... which became {self.safe_state}-irq-safe at:"
        yield f"       by {self.safe_by}"
        yield from trace_block(self.safe_stack)
        yield ""
        yield f"to a {self.unsafe_state}-irq-unsafe lock:"
        yield f" {self.unsafe}"
        yield ""
        yield f"... which became {self.unsafe_state}-irq-unsafe at:"
        yield f"       by {self.unsafe_by}"
        yield from trace_block(self.unsafe_stack)
        yield ""
        yield "other info that might help us debug this:"
        yield ""
        # The lock between the two, to show that there is a chain at all: the one that is held, unless that is the
        # safe one.
        middle = self.owned.name if self.safe.name != self.owned.name else self.wanted.name
        if middle != self.unsafe.name:
            yield "Chain exists of:"
            yield f"  {self.safe.name} --> {middle} --> {self.unsafe.name}"
            yield ""
        yield from interrupt_table(self.safe.name, self.unsafe.name, middle)
        yield from self.held_section()
        yield ""
        yield f"the dependencies between {self.safe_state}-irq-safe lock and the holding lock:"
        yield from path_blocks(self.safe_path)
        yield f"the dependencies between the lock to be acquired and {self.unsafe_state}-irq-unsafe lock:"
        yield from path_blocks(self.unsafe_path)
        yield from self.backtrace()


@dataclass(frozen=True, slots=True, kw_only=True)
class InversionReport(Report):
    """A class changed its irq state and completes an inversion (kernel: `print_irq_inversion_bug`).

    `forwards`: the changed lock became irq-safe and took `other` in the past; else it became unsafe and
    `other`, an irq-safe lock, took it.
    """

    changed: LockLine
    other: ClassLine
    state: str
    forwards: bool
    path: tuple[ClassBlock, ...]

    def body(self) -> Iterator[str]:
        yield f"{self.task} just changed the state of lock:"
        yield str(self.changed)
        if self.forwards:
            yield f"but this lock took another, {self.state}-unsafe lock in the past:"
        else:
            yield f"but this lock was taken by another, {self.state}-safe lock in the past:"
        yield f" {self.other}"
        yield ""
        yield ""
        yield "and interrupts could create inverse lock ordering between them."
        yield ""
        yield ""
        yield "other info that might help us debug this:"
        safe, unsafe = self.changed.name, self.other.name
        if not self.forwards:
            safe, unsafe = unsafe, safe
        middle = self.path[min(1, len(self.path) - 1)].line.name
        if len(self.path) > 2:
            yield "Chain exists of:"
            yield f"  {safe} --> {middle} --> {unsafe}"
            yield ""
        yield from interrupt_table(safe, unsafe, middle)
        yield from self.held_section()
        yield ""
        yield "the shortest dependencies between 2nd lock and 1st lock:"
        yield from path_blocks(self.path)
        yield from self.backtrace()
