"""Makes reports from the validator's state, keeps each once, and hands them to the receiver that was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from sugarbush.lockdep.model import (
    ClassLine,
    LockClass,
    LockLine,
    LockMap,
    RawFrame,
    Report,
    ReportKind,
    Stack,
    TaskLine,
    Trace,
    resolve,
)

if TYPE_CHECKING:
    from sugarbush.lockdep.model import Held, TaskContext

# Reports look like the kernel's, so locks have addresses; made of numbers, so that the same program prints the same
# ones on every machine. They lie as far apart as maps of this size would.
MAP_BASE = 0xFFFF_8880_0000_0000
MAP_SIZE = 0x40


def address_of(lock_map: LockMap) -> int:
    """The address that reports show for a map, made of its number in order of first acquire."""
    return MAP_BASE + MAP_SIZE * lock_map.number


def class_line(lock_class: LockClass) -> ClassLine:
    """A class as it is now."""
    return ClassLine(
        lock_class.title, lock_class.usage_chars, int(lock_class.wait_outer), int(lock_class.wait_inner)
    )


def lock_line(lock_map: LockMap, lock_class: LockClass, site: RawFrame) -> LockLine:
    """A lock instance as it is now."""
    return LockLine(
        address_of(lock_map),
        lock_class.title,
        lock_class.usage_chars,
        int(lock_class.wait_outer),
        int(lock_class.wait_inner),
        resolve(site),
    )


def held_line(entry: Held) -> LockLine:
    """A held lock as it is now."""
    return lock_line(entry[0], entry[1].lock_class, (entry[2], entry[3]))


def held_lines(ctx: TaskContext) -> tuple[LockLine, ...]:
    """All that a task holds, oldest first."""
    return tuple(map(held_line, ctx.held))


def task_line(ctx: TaskContext) -> TaskLine:
    """A task as it is now."""
    return TaskLine(
        ctx.comm,
        ctx.pid,
        ctx.hardirq_depth,
        ctx.softirq_depth or ctx.bh_disabled,
        ctx.hardirqs_enabled,
        ctx.softirqs_enabled,
    )


class CommonFields(TypedDict):
    """The fields that every report has."""

    kind: ReportKind
    headline: str
    key: str
    task: TaskLine
    held: tuple[LockLine, ...]
    stack: Stack


class Reporter:
    """The reports of one validator. Each cause is kept once, by the report's key."""

    __slots__ = ("_known", "_on_report", "reports")

    def __init__(self, on_report: Callable[[Report], None] | None) -> None:
        self._known: dict[str, Report] = {}
        self._on_report = on_report
        self.reports: list[Report] = []

    def find(self, kind: ReportKind, cause: str) -> Report | None:
        """The report of this cause, if there is one."""
        return self._known.get(f"{kind}|{cause}")

    def add(self, ctx: TaskContext, report: Report) -> None:
        """Keeps a report that is new; it is delivered when the validator's state is consistent again."""
        # The first one of a cause is kept. The others would say the same with other lines, and one mistake in a loop
        # would hide all that is found beside it.
        if report.key in self._known:
            return
        self._known[report.key] = report
        self.reports.append(report)
        ctx.pending.append(report)

    def add_warning(self, ctx: TaskContext, report: Report) -> None:
        """Keeps a warning once, but delivers it every time: an assert that fails again must not pass."""
        if report.key not in self._known:
            self._known[report.key] = report
            self.reports.append(report)
        ctx.pending.append(report)

    def deliver(self, ctx: TaskContext) -> None:
        """Hands the task's new failures over; what the receiver raises goes through to the task."""
        # Emptied first: the receiver may take locks, which may lead here again, or raise, and nothing is told twice.
        pending, ctx.pending = ctx.pending, []
        if self._on_report is not None:
            for report in pending:
                if report.is_failure:
                    self._on_report(report)


def common(ctx: TaskContext, kind: ReportKind, headline: str, cause: str, trace: Trace) -> CommonFields:
    """The common fields as they are now; `cause` tells this report from others of its kind."""
    return {
        "kind": kind,
        "headline": headline,
        "key": f"{kind}|{cause}",
        "task": task_line(ctx),
        "held": held_lines(ctx),
        "stack": trace.resolve(),
    }
