"""A lock validator with the power of the Linux kernel's, usable alone."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

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
    from sugarbush.lockdep.python import Program
    from sugarbush.lockdep.reports import Report, ReportKind


# Where each name is from. It is fetched when it is asked for: the command line meets the world outside through this
# package, and must be able to say within a moment what it can do, which takes no validator.
_ROOMS = {
    "engine": ("Lockdep",),
    "model": (
        "NO_TRACK",
        "NO_VALIDATE",
        "LockClassKey",
        "LockMap",
        "LockType",
        "LockdepError",
        "TaskContext",
        "WaitType",
    ),
    "outside": ("SugarbushError",),
    "reports": ("Report", "ReportKind"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
