"""Wait types: may a lock that waits this long be taken here (kernel: `check_wait_context`).

A spinning lock may not be the outer one of a lock that sleeps:

>>> from sugarbush.lockdep import LockClassKey, Lockdep, LockMap, TaskContext, WaitType
>>> task = TaskContext("reader", 1)
>>> lockdep = Lockdep(lambda: task)
>>> spinning = LockMap(LockClassKey("ptl"), wait_inner=WaitType.CONFIG)
>>> sleeping = LockMap(LockClassKey("mmap_lock"), wait_inner=WaitType.SLEEP)
>>> lockdep.acquire(sleeping)
>>> lockdep.acquire(spinning)
>>> lockdep.release(spinning)
>>> lockdep.release(sleeping)
>>> lockdep.reports
[]
>>> lockdep.acquire(spinning)
>>> lockdep.acquire(sleeping)
>>> lockdep.reports[0].headline
'[ BUG: Invalid wait context ]'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sugarbush.lockdep.model import IN_HARDIRQ, IN_NMI, IN_SOFTIRQ, NOT_THREADED, Chain, LockType, WaitType
from sugarbush.lockdep.reports import Reporter, ReportKind, WaitContextReport, common, lock_line

if TYPE_CHECKING:
    from sugarbush.lockdep.model import Acquire

HEADLINE = "[ BUG: Invalid wait context ]"


def context_limit(chain: Chain) -> int:
    """The longest wait that the context of a stack allows, its locks aside (kernel: `task_wait_context`)."""
    if chain.context & IN_NMI:
        return WaitType.SPIN
    if chain.context & IN_HARDIRQ:
        return WaitType.SPIN if chain.key & NOT_THREADED else WaitType.CONFIG
    if chain.context & IN_SOFTIRQ:
        return WaitType.CONFIG
    return WaitType.MAX


def check_wait_context(acquire: Acquire, reporter: Reporter) -> None:
    """Reports a lock that needs a longer wait than the context and every held lock allow."""
    wanted = acquire.lock_class
    # A trylock does not wait, and what has no wait type is not checked: neither can be wrong here.
    if acquire.trylock or wanted.wait_inner == WaitType.INV:
        return
    limit = context = context_limit(acquire.chain)
    for entry in acquire.context_entries():
        owned = entry[1].lock_class
        if owned.wait_inner == WaitType.INV:
            continue
        # From the oldest lock to the newest, since an override replaces what the locks below it allow, and those
        # above it lower the limit again.
        if owned.lock_type == LockType.WAIT_OVERRIDE:
            limit = owned.wait_inner
        else:
            limit = min(limit, owned.wait_inner)
    if wanted.wait_outer <= limit:
        return
    ctx = acquire.ctx
    cause = f"{wanted.title}|{wanted.wait_outer}|{limit}"
    reporter.add(
        ctx,
        WaitContextReport(
            **common(ctx, ReportKind.WAIT_CONTEXT, HEADLINE, cause, acquire.trace),
            wanted=lock_line(acquire.lock_map, wanted, acquire.trace.site),
            context_outer=int(context),
            context_inner=int(context),
        ),
    )
