"""Mutex: one holder, which may sleep while it waits and while it holds. Kernel: struct mutex, v6.6.

Copy this file for a lock with one owner; `RwSemaphore` for one with several kinds of holders.

>>> from sugarbush import Plain, Shared, explore, spawn
>>> class Account(Shared):
...     balance: Plain[int] = 0
>>> def program():
...     account, mutex = Account(), Mutex("m")
...     def deposit():
...         with mutex:
...             account.balance += 1
...     for _ in range(2):
...         spawn(deposit)
>>> explore(program, strategy="dpor").verdict.value
'passed'
"""

from __future__ import annotations

from sugarbush.concurrency.locks.lock import OwnedLock, owned_operations


class Mutex(OwnedLock):
    """A sleeping lock: mutex_lock(), mutex_trylock(), mutex_unlock()."""

    __slots__ = ()
    _lock, _trylock, _unlock = owned_operations("mutex", atomic=False)
    _sleeps = True
