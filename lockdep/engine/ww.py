"""Wound/wait mutexes: the checks of their protocol, and their dependencies (ww_mutex.h, v6.12).

A task opens a ticket, locks objects of one class in any order under it, and closes it. The ticket is the nest
lock of its objects, so they make no dependencies among each other. Whoever is told to back off (EDEADLK) must
drop all its objects and take the contended one first.
"""

from __future__ import annotations

from sugarbush.lockdep.engine.core import Core
from sugarbush.lockdep.model import LockClassKey, LockMap, LockType, WaitType
from sugarbush.lockdep.reports import ReportKind, WarnReport, common


class WwClass:
    """A class of ww mutexes: the keys of its objects and of its tickets."""

    __slots__ = ("acquire_key", "mutex_key", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.mutex_key = LockClassKey(f"{name}_mutex")
        self.acquire_key = LockClassKey(f"{name}_acquire")


class WwTicket:
    """An acquire context (kernel: `struct ww_acquire_ctx`).

    `acquired` counts the objects locked under it. `contending` is the object at which it was told to back
    off.
    """

    __slots__ = ("acquired", "contending", "done", "first_map", "lock_map", "ww_class")

    def __init__(self, ww_class: WwClass) -> None:
        self.ww_class: WwClass | None = ww_class
        self.acquired = 0
        self.done = False
        self.contending: WwMutex | None = None
        self.lock_map = LockMap(ww_class.acquire_key, lock_type=LockType.ANNOTATION)
        self.first_map = LockMap(ww_class.mutex_key, wait_inner=WaitType.SLEEP)


class WwMutex:
    """The part of a ww mutex that is checked: its map, and the ticket that holds it."""

    __slots__ = ("lock_map", "ticket", "ww_class")

    def __init__(self, ww_class: WwClass) -> None:
        self.ww_class = ww_class
        self.lock_map = LockMap(ww_class.mutex_key, wait_inner=WaitType.SLEEP)
        self.ticket: WwTicket | None = None


class WwMutexes(Core):
    """What an implementation of ww mutexes tells the validator. Misuse is reported, and the call goes on."""

    def ww_acquire_init(self, ticket: WwTicket) -> None:
        """Opens a ticket; two open ones of a class in one task are recursion."""
        # Locks of one class under a nest lock are one entry, which is that of the first map. Objects may be freed
        # within the transaction, so the ticket brings a map that lives as long as it does (`first_lock_dep_map`,
        # v6.12).
        self.acquire(ticket.lock_map)
        self.acquire(ticket.first_map, nest_lock=ticket.lock_map)

    def ww_acquire_done(self, ticket: WwTicket) -> None:
        """No more objects will be locked under the ticket."""
        self._ww_check(not ticket.done, "ctx->done_acquire")
        ticket.done = True

    def ww_acquire_fini(self, ticket: WwTicket) -> None:
        """Closes a ticket, which must hold no object any more."""
        self._ww_check(not ticket.acquired, "ctx->acquired")
        self.release(ticket.first_map)
        self.release(ticket.lock_map)

    def ww_mutex_lock(self, mutex: WwMutex, ticket: WwTicket | None) -> None:
        """The task asks for an object, under a ticket or like a plain mutex; to be called before it waits."""
        self.acquire(mutex.lock_map, nest_lock=None if ticket is None else ticket.lock_map)

    def ww_mutex_lock_slow(self, mutex: WwMutex, ticket: WwTicket) -> None:
        """The task asks for the object at which it was told to back off."""
        self._ww_check(ticket.contending is not None, "!ctx->contending_lock")
        self.ww_mutex_lock(mutex, ticket)

    def ww_mutex_acquired(self, mutex: WwMutex, ticket: WwTicket) -> None:
        """The object was got under the ticket."""
        self._ww_check(mutex.ticket is None, "ww->ctx")
        self._ww_check(not ticket.done, "ww_ctx->done_acquire")
        if ticket.contending is not None:
            self._ww_check(ticket.contending is mutex, "ww_ctx->contending_lock != ww")
            self._ww_check(not ticket.acquired, "ww_ctx->acquired > 0")
            ticket.contending = None
        self._ww_check(ticket.ww_class is mutex.ww_class, "ww_ctx->ww_class != ww->ww_class")
        ticket.acquired += 1
        mutex.ticket = ticket

    def ww_mutex_backed_off(self, mutex: WwMutex, ticket: WwTicket) -> None:
        """The object was refused with EDEADLK."""
        self._ww_check(ticket.contending is None, "ctx->contending_lock")
        ticket.contending = mutex
        self.release(mutex.lock_map)

    def ww_mutex_trylocked(self, mutex: WwMutex) -> None:
        """The object was got at the first try, without a ticket."""
        self.acquire(mutex.lock_map, trylock=True)

    def ww_mutex_unlock(self, mutex: WwMutex) -> None:
        """The object is given back."""
        if mutex.ticket is not None:
            self._ww_check(mutex.ticket.acquired > 0, "!lock->ctx->acquired")
            mutex.ticket.acquired = max(mutex.ticket.acquired - 1, 0)
            mutex.ticket = None
        self.release(mutex.lock_map)

    def _ww_check(self, good: bool, condition: str) -> None:
        if good:
            return
        ctx = self._current()
        headline = f"WARNING: DEBUG_LOCKS_WARN_ON({condition})"
        trace = self._tracer.capture()
        self._reporter.add(ctx, WarnReport(**common(ctx, ReportKind.WW_MISUSE, headline, condition, trace)))
        self._reporter.deliver(ctx)
