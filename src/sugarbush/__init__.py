"""A correctness harness for locks and RCU: every interleaving that matters, each failure replayable from one line.

Here is what a program under test and whoever explores it need. `sugarbush.concurrency` has all primitives,
`sugarbush.lockdep` the lock validator by itself, `sugarbush.tree` the maple tree, `sugarbush.vm` the mm model, and
`sugarbush.stress` the scenarios and the command line.

    from sugarbush import Mutex, Once, Shared, explore, join, spawn
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sugarbush.concurrency import (
        Atomic,
        Barrier,
        Completion,
        Condition,
        Failure,
        Flag,
        Mutex,
        Once,
        Plain,
        RcuPtr,
        Result,
        RwLock,
        RwSemaphore,
        Semaphore,
        SeqCount,
        SeqLock,
        Settings,
        Shared,
        Spinlock,
        SugarbushError,
        Unshared,
        Verdict,
        WaitQueue,
        Witness,
        bug_on,
        check,
        explore,
        join,
        replay,
        spawn,
    )

__all__ = [
    "Atomic",
    "Barrier",
    "Completion",
    "Condition",
    "Failure",
    "Flag",
    "Mutex",
    "Once",
    "Plain",
    "RcuPtr",
    "Result",
    "RwLock",
    "RwSemaphore",
    "Semaphore",
    "SeqCount",
    "SeqLock",
    "Settings",
    "Shared",
    "Spinlock",
    "SugarbushError",
    "Unshared",
    "Verdict",
    "WaitQueue",
    "Witness",
    "bug_on",
    "check",
    "explore",
    "join",
    "replay",
    "spawn",
]


def __getattr__(name: str) -> Any:
    # On demand: the command line starts with this package, and must be able to say within a moment what it can do; and
    # who wants the lock validator alone needs no greenlets.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sugarbush import concurrency

    value = globals()[name] = getattr(concurrency, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
