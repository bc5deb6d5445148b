"""What a log says of one lock report, in the objects of our own validator, with what it did not say marked as
unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sugarbush.lockdep.model import (
    ClassLine,
    Frame,
    LockLine,
    Report,
    ReportKind,
    Stack,
    TaskLine,
    held_block,
    trace_block,
)
from sugarbush.lockdep.reports import ClassBlock, Link, UsageTrace
from sugarbush.lockdep.show import HeldRow

UNKNOWN: Final = -1
"""Stands in a field of numbers (address, wait type, pid) for what a log did not say; JSON has null there."""
NOBODY: Final = TaskLine("unknown", UNKNOWN)
NOWHERE: Final = Frame("unknown", "", 0)
"""A place that the log did not say. A known function whose file is not known has file "" and line 0."""

WORDS: Final = {
    ReportKind.CIRCULAR: "circular",
    ReportKind.RECURSIVE: "recursive",
    ReportKind.IRQ_ORDER: "irq-order",
    ReportKind.INCONSISTENT: "inconsistent",
    ReportKind.INVERSION: "inversion",
    ReportKind.WAIT_CONTEXT: "wait-context",
    ReportKind.RCU: "rcu",
    ReportKind.BAD_UNLOCK: "bad-unlock",
    ReportKind.BAD_CONTENTION: "bad-contention",
    ReportKind.HELD_FREED: "held-freed",
    ReportKind.RETURN_TO_USER: "held-user",
    ReportKind.TASK_EXIT: "held-exit",
    ReportKind.NEST_LOCK: "nest-lock",
    ReportKind.SLEEP_IN_ATOMIC: "sleep",
    ReportKind.SCHEDULE_IN_ATOMIC: "schedule",
    ReportKind.KEY: "key",
    ReportKind.SUBCLASS: "subclass",
    ReportKind.WORKER_LEAK: "worker-leak",
    ReportKind.TABLE: "table",
    ReportKind.HUNG: "hung",
    ReportKind.STALL: "stall",
    ReportKind.ALL_LOCKS: "all-locks",
    ReportKind.DATA_RACE: "race",
    ReportKind.UNKNOWN: "unknown",
}
"""The short word for each kind that logs have; reports and JSON say it."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One line of the scenario table: the CPU, `lock`, `rlock`, `sync` or `interrupt`, and the lock."""

    cpu: int
    verb: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport(Report):
    r"""A report that another program printed.

    `cycle` holds the class names as printed: of a circular report #0 (the lock that was wanted) first, each
    wanted while the one before it was held; of an incomplete one only what is known, so that nothing closes
    it. `links` are the steps as `CircularReport.chain` has them, the highest first. `stacks` counts nothing:
    it holds all stacks that the log printed. `complete` is False when anything is missing or two parts
    contradict each other: then `key` is "", since what was not said cannot be compared.

    >>> from sugarbush.lockdep.read import read_text
    >>> read_text("[ 1.000000] BUG: MAX_LOCKDEP_KEYS too low!\n")[0].word
    'table'
    """

    cycle: tuple[str, ...] = ()
    complete: bool = False
    title: str = ""
    wanted: LockLine | None = None
    owned: LockLine | None = None
    links: tuple[Link, ...] = ()
    usages: tuple[UsageTrace, ...] = ()
    blocks: tuple[ClassBlock, ...] = ()
    safe: str = ""
    unsafe: str = ""
    states: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()
    table: tuple[TableRow, ...] = ()
    message: str = ""
    site: Frame = NOWHERE
    tasks: tuple[tuple[TaskLine, tuple[LockLine, ...]], ...] = ()
    release: str = ""
    source: str = ""
    line: int = 0
    time: str = ""
    reporter: str = "lockdep"

    @property
    def rows(self) -> tuple[HeldRow, ...]:
        """Of a list of all held locks the tasks, as a `Snapshot` has them."""
        return tuple(HeldRow(task.comm, task.pid, tuple(map(told_lock, lines))) for task, lines in self.tasks)

    @property
    def word(self) -> str:
        """The short word for the kind."""
        return WORDS.get(self.kind, str(self.kind))

    @property
    def is_failure(self) -> bool:
        """A list of all held locks says nothing is wrong; everything else does."""
        return self.kind is not ReportKind.ALL_LOCKS

    @property
    def stacks(self) -> tuple[tuple[str, Stack], ...]:
        """Every stack that is not empty, with what it belongs to; the closing one last."""
        every = [(f"#{len(self.links) - 1 - at}", link.stack) for at, link in enumerate(self.links)]
        every += [(usage.usage, usage.stack) for usage in self.usages]
        for block in self.blocks:
            every += [(f"{block.line.name} {usage.usage}", usage.stack) for usage in block.usages]
            every.append((f"{block.line.name} acquired", block.acquired))
        every.append(("closing", self.stack))
        return tuple((what, stack) for what, stack in every if stack)

    @property
    def edges(self) -> tuple[tuple[str, str, Stack], ...]:
        """The steps of a whole cycle from its first class on: held, wanted, and the stack of that; none if
        incomplete.
        """
        if not self.complete or self.kind is not ReportKind.CIRCULAR or not self.links:
            return ()
        upward = self.links[::-1]
        names = [link.wanted.name for link in upward]
        steps = [(names[at - 1], names[at], upward[at].stack) for at in range(1, len(names))]
        return (*steps, (names[-1], names[0], upward[0].stack))

    def body(self) -> Iterator[str]:
        yield f"{self.task} is trying to acquire lock:" if self.wanted else f"in task {self.task}"
        if self.wanted:
            yield told_lock(self.wanted)
        if self.owned:
            yield ""
            yield "but task is already holding lock:"
            yield told_lock(self.owned)
        for at, link in enumerate(self.links):
            yield ""
            yield f"-> #{len(self.links) - 1 - at} ({link.wanted.name}){{{link.wanted.usage}}}:"
            yield from trace_block(link.stack)
        for usage in self.usages:
            yield f"{usage.usage} at:"
            yield from trace_block(usage.stack)
        yield from held_block(self.task, self.held) if self.held else ()
        yield from self.backtrace()

    def to_json(self) -> dict[str, Any]:
        """What the log said, unknown as null; `lockdep.read.gathering` adds what identifies it."""
        return {
            "kind": self.word,
            "report_kind": str(self.kind),
            "headline": self.headline,
            "title": self.title,
            "key": self.key or None,
            "complete": self.complete,
            "cycle": list(self.cycle),
            "edges": [
                {
                    "held": held,
                    "wanted": wanted,
                    "kind": None,
                    "closing": at == len(self.edges) - 1,
                    "stack": _stack(stack),
                }
                for at, (held, wanted, stack) in enumerate(self.edges)
            ],
            "wanted": _lock(self.wanted),
            "owned": _lock(self.owned),
            "held": [_lock(line) for line in self.held]
            or [{**(_lock(line) or {}), "task": str(task)} for task, lines in self.tasks for line in lines],
            "stacks": [{"of": what, "frames": _stack(stack)} for what, stack in self.stacks],
            "states": list(self.states),
            "message": self.message or None,
            "task": None if self.task is NOBODY else {"comm": self.task.comm, "pid": self.task.pid},
            "kernel": self.release or None,
            "source": self.source,
            "line": self.line,
            "time": self.time or None,
            "reporter": self.reporter,
        }


def _stack(stack: Stack) -> list[dict[str, Any]]:
    return [
        {"function": frame.function, "file": frame.file or None, "line": frame.line or None}
        for frame in stack
    ]


def _lock(line: LockLine | None) -> dict[str, Any] | None:
    if line is None:
        return None
    return {
        "name": line.name,
        "usage": line.usage or None,
        "outer": _known(line.outer),
        "inner": _known(line.inner),
        "address": None if line.address == UNKNOWN else f"{line.address:016x}",
        "at": None if line.site is NOWHERE else line.site.function,
    }


def _known(number: int) -> int | None:
    return None if number == UNKNOWN else number


def told_lock(line: LockLine | ClassLine) -> str:
    """A lock as text, with only what is known."""
    text = f"({line.name})" + (f"{{{line.usage}}}" if line.usage else "")
    if line.outer != UNKNOWN:
        text += f"-{{{line.outer}:{line.inner}}}"
    if isinstance(line, LockLine):
        if line.address != UNKNOWN:
            text = f"{line.address:016x} {text}"
        text += f", at: {told_frame(line.site)}"
    return text


def told_frame(frame: Frame) -> str:
    """A frame as text, with only what is known."""
    return f"{frame.function} ({frame.file}:{frame.line})" if frame.file else frame.function
