"""What the validator found, as values: typed fields, text in the kernel's shape, JSON."""

from lockdep.reports.base import LOG_KINDS, PYTHON_KINDS, ClassLine, LockLine, Report, ReportKind, TaskLine
from lockdep.reports.irq import (
    ClassBlock,
    InconsistentReport,
    InversionReport,
    IrqOrderReport,
    IrqStamp,
    UsageTrace,
)
from lockdep.reports.order import CircularReport, Link, RecursiveReport, WaitState
from lockdep.reports.task import (
    BadUnlockReport,
    HeldFreedReport,
    NestLockReport,
    RcuReport,
    ReturnToUserReport,
    SleepReport,
    TaskExitReport,
    WaitContextReport,
    WarnReport,
)

__all__ = [
    "LOG_KINDS",
    "PYTHON_KINDS",
    "BadUnlockReport",
    "CircularReport",
    "ClassBlock",
    "ClassLine",
    "HeldFreedReport",
    "InconsistentReport",
    "InversionReport",
    "IrqOrderReport",
    "IrqStamp",
    "Link",
    "LockLine",
    "NestLockReport",
    "RcuReport",
    "RecursiveReport",
    "Report",
    "ReportKind",
    "ReturnToUserReport",
    "SleepReport",
    "TaskExitReport",
    "TaskLine",
    "UsageTrace",
    "WaitContextReport",
    "WaitState",
    "WarnReport",
]
