"""Spinlock: one holder, which may not sleep. Kernel: spinlock_t, v6.6.

A task that waits is simply not runnable, so a spin loop costs no operations.
"""

from __future__ import annotations

from concurrency.lock import OwnedLock, owned_operations


class Spinlock(OwnedLock):
    """A lock under which nothing may sleep: spin_lock(), spin_trylock(), spin_unlock()."""

    __slots__ = ()
    _lock, _trylock, _unlock = owned_operations("spin", atomic=True)
    _sleeps = False
