"""How a tree's own lock is taken: the three kinds of internal lock in the flags word.

The kernel defines MT_FLAGS_LOCK_IRQ and MT_FLAGS_LOCK_BH (include/linux/maple_tree.h, v6.6), and its mtree_lock() looks
at neither: a caller who wants them takes `ma_lock` himself. Here the normal interface does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Protocol

from sugarbush.concurrency.locks import Spinlock
from sugarbush.tree.core.layout import FLAG_LOCK_BH, FLAG_LOCK_IRQ


class LockKind(IntEnum):
    """The lock bits of the flags word, for a tree with a lock of its own."""

    PLAIN = 0
    IRQ = FLAG_LOCK_IRQ
    """spin_lock_irq(): for a tree that interrupt handlers use."""
    BH = FLAG_LOCK_BH
    """spin_lock_bh(): for a tree that bottom halves use."""

    def take(self, lock: Spinlock, subclass: int = 0) -> None:
        """Take `lock` in this form."""
        if self is LockKind.IRQ:
            lock.lock_irq(subclass)
        elif self is LockKind.BH:
            lock.lock_bh(subclass)
        else:
            lock.lock(subclass)

    def give_back(self, lock: Spinlock) -> None:
        """Undo `take`."""
        if self is LockKind.IRQ:
            lock.unlock_irq()
        elif self is LockKind.BH:
            lock.unlock_bh()
        else:
            lock.unlock()

    @contextmanager
    def held(self, lock: Spinlock, subclass: int = 0) -> Iterator[None]:
        """`lock` is held in this form inside the block."""
        self.take(lock, subclass)
        try:
            yield
        finally:
            self.give_back(lock)


class TreeLock(Protocol):
    """What the tree asks of the lock that protects it."""

    def held_by_me(self) -> bool:
        """The calling task holds it, in any mode."""

    def assert_held(self) -> None:
        """Fail unless the calling task holds it, in any mode."""

    def assert_held_write(self) -> None:
        """Fail unless the calling task holds it alone."""
