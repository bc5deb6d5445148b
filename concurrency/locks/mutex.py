"""Mutex: one holder, which may sleep while it waits and while it holds. Kernel: struct mutex, v6.6."""

from __future__ import annotations

from sugarbush.concurrency.locks.lock import OwnedLock, owned_operations


class Mutex(OwnedLock):
    """A sleeping lock: mutex_lock(), mutex_trylock(), mutex_unlock()."""

    __slots__ = ()
    _lock, _trylock, _unlock = owned_operations("mutex", atomic=False)
    _sleeps = True
