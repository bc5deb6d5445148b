"""A lock validator with the power of the Linux kernel's, usable alone."""

from lockdep.errors import SugarbushError
from lockdep.keys import NO_TRACK, NO_VALIDATE, LockClassKey, LockdepError, LockMap, LockType, WaitType
from lockdep.reports import Report, ReportKind
from lockdep.task import TaskContext
from lockdep.validator import Lockdep

__all__ = [
    "NO_TRACK",
    "NO_VALIDATE",
    "LockClassKey",
    "LockMap",
    "LockType",
    "Lockdep",
    "LockdepError",
    "Report",
    "ReportKind",
    "SugarbushError",
    "TaskContext",
    "WaitType",
]
