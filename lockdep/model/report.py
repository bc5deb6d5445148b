"""What all reports share: their kinds, the snapshots they are made of, and the frame around the text.

A report is a value: it holds copies of names, flags and lines, so it does not change when the program goes
on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any, ClassVar

from sugarbush.lockdep.model.trace import Frame

IDENT = "lockdep Not tainted"
"""Stands where the kernel prints its release and taint flags."""


class ReportKind(StrEnum):
    """What went wrong."""

    CIRCULAR = "circular-locking"
    GUARDED = "guarded-circular-locking"
    RECURSIVE = "recursive-locking"
    IRQ_ORDER = "irq-safe-to-unsafe-order"
    INCONSISTENT = "inconsistent-lock-state"
    INVERSION = "irq-lock-inversion"
    WAIT_CONTEXT = "invalid-wait-context"
    RCU = "suspicious-rcu-usage"
    BAD_UNLOCK = "bad-unlock-balance"
    BAD_CONTENTION = "bad-contention"
    HELD_FREED = "held-lock-freed"
    RETURN_TO_USER = "held-at-return-to-user"
    TASK_EXIT = "held-at-exit"
    NEST_LOCK = "nested-lock-not-taken"
    ASSERT = "assert"
    SLEEP_IN_ATOMIC = "sleep-in-atomic"
    SCHEDULE_IN_ATOMIC = "schedule-in-atomic"
    KEY = "bad-key"
    SUBCLASS = "bad-subclass"
    WORKER_LEAK = "worker-leak"
    WW_MISUSE = "ww-api-misuse"
    TABLE = "table-too-low"
    HUNG = "hung-task"
    STALL = "rcu-stall"
    ALL_LOCKS = "all-locks-held"
    DATA_RACE = "data-race"
    UNKNOWN = "unknown-lock-report"
    WAIT_UNDER_LOCK = "wait-under-lock"
    POOL = "pool-waits-for-itself"
    LOOP = "event-loop-waits-for-itself"
    DEADLOCK = "deadlock"
    BLOCKING = "blocking-under-lock"
    FORK = "lock-held-at-fork"


LOG_KINDS = frozenset(
    (
        ReportKind.TABLE,
        ReportKind.HUNG,
        ReportKind.STALL,
        ReportKind.ALL_LOCKS,
        ReportKind.DATA_RACE,
        ReportKind.UNKNOWN,
    )
)
"""Kinds that are only read from logs of kernels: our validator has no full tables and no hung tasks."""
PYTHON_KINDS = frozenset(
    (
        ReportKind.WAIT_UNDER_LOCK,
        ReportKind.POOL,
        ReportKind.LOOP,
        ReportKind.DEADLOCK,
        ReportKind.BLOCKING,
        ReportKind.FORK,
    )
)
"""Kinds that only programs in Python have (`lockdep.python`)."""


@dataclass(frozen=True, slots=True)
class LockLine:
    """One lock instance, as the kernel's lock line shows it."""

    address: int
    name: str
    usage: str
    outer: int
    inner: int
    site: Frame

    def __str__(self) -> str:
        line = ClassLine(self.name, self.usage, self.outer, self.inner)
        return f"{self.address:016x} {line}, at: {self.site}"


@dataclass(frozen=True, slots=True)
class ClassLine:
    """One lock class with its usage."""

    name: str
    usage: str
    outer: int
    inner: int

    def __str__(self) -> str:
        return f"({self.name}){{{self.usage}}}-{{{self.outer}:{self.inner}}}"


@dataclass(frozen=True, slots=True)
class TaskLine:
    """The task that a report is about, and its irq state."""

    comm: str
    pid: int
    hardirq_depth: int = 0
    softirq_depth: int = 0
    hardirqs_enabled: bool = True
    softirqs_enabled: bool = True

    def __str__(self) -> str:
        return f"{self.comm}/{self.pid}"

    @property
    def tag(self) -> str:
        """The task with its irq state, as irq reports print it."""
        return (
            f"{self} [HC{int(self.hardirq_depth > 0)}[{self.hardirq_depth}]"
            f":SC{int(self.softirq_depth > 0)}[{self.softirq_depth}]"
            f":HE{int(self.hardirqs_enabled)}:SE{int(self.softirqs_enabled)}]"
        )


Stack = tuple[Frame, ...]


def trace_block(stack: Stack) -> Iterator[str]:
    """An indented stack, innermost frame first."""
    for frame in stack:
        yield f"       {frame}"


def held_block(task: TaskLine, held: tuple[LockLine, ...]) -> Iterator[str]:
    """The locks that a task holds, oldest first."""
    if not held:
        yield f"no locks held by {task}."
        return
    yield f"{len(held)} lock{'s' if len(held) > 1 else ''} held by {task}:"
    for index, line in enumerate(held):
        yield f" #{index}: {line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Something that the validator found.

    `headline` is the line to search for; `key` is the same for two reports of one cause, whatever the
    execution; `held` is what the task held, `stack` where it was.
    """

    kind: ReportKind
    headline: str
    key: str
    task: TaskLine
    held: tuple[LockLine, ...]
    stack: Stack

    framed: ClassVar[bool] = True

    @property
    def is_failure(self) -> bool:
        """False for a report that describes no possible failure (a guarded cycle)."""
        return self.kind is not ReportKind.GUARDED

    def body(self) -> Iterator[str]:
        """The lines below the headline."""
        raise NotImplementedError

    def render(self) -> str:
        """The report as text, in the kernel's shape: sections, order and words."""
        lines = [self.headline]
        if self.framed:
            lines = ["", "=" * len(self.headline), self.headline, IDENT, "-" * len(self.headline)]
        lines.extend(self.body())
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values that `json.dumps` takes."""
        return {"is_failure": self.is_failure, **_plain(self)}

    def held_section(self) -> Iterator[str]:
        """The list of held locks."""
        return held_block(self.task, self.held)

    def backtrace(self) -> Iterator[str]:
        """The closing stack."""
        yield ""
        yield "stack backtrace:"
        for frame in self.stack:
            yield f" {frame}"


def _plain(value: Any) -> Any:
    if isinstance(value, Frame):
        return {"function": value.function, "file": value.file, "line": value.line}
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    return str(value) if isinstance(value, StrEnum) else value
