"""A lock validator with the power of the Linux kernel's, usable alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sugarbush.lockdep.engine import Lockdep
from sugarbush.lockdep.model import (
    NO_TRACK,
    NO_VALIDATE,
    LockClassKey,
    LockdepError,
    LockMap,
    LockType,
    TaskContext,
    WaitType,
)
from sugarbush.lockdep.outside import SugarbushError
from sugarbush.lockdep.reports import Report, ReportKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from sugarbush.lockdep.python import Program


def install(on_report: Callable[[Report], None] | None = None, *, show: bool = True) -> Program:
    """Watches all locks of this process from now on: `lockdep.python.install` with what is asked for most."""
    # Only then: who uses a validator by hand need not load what a whole program takes.
    from sugarbush.lockdep.python import install as install_program

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

if __name__ != "sugarbush.lockdep":
    raise ImportError(
        "import sugarbush.lockdep: the folder of the repository is a part of the package sugarbush"
    )
