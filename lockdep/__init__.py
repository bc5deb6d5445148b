"""A lock validator with the power of the Linux kernel's, usable alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockdep.errors import SugarbushError
from lockdep.keys import NO_TRACK, NO_VALIDATE, LockClassKey, LockdepError, LockMap, LockType, WaitType
from lockdep.reports import Report, ReportKind
from lockdep.task import TaskContext
from lockdep.validator import Lockdep

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockdep.python import Program


def install(on_report: Callable[[Report], None] | None = None, *, show: bool = True) -> Program:
    """Watches all locks of this process from now on: `lockdep.python.install` with what is asked for most."""
    # Only then: who uses a validator by hand need not load what a whole program takes.
    from lockdep.python import install as install_program

    return install_program(on_report, show=show)


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
    "install",
]
