"""Spinlock: one holder, which may not sleep. Kernel: spinlock_t, v6.6.

A task that waits is simply not runnable, so waiting costs no operations and no schedules. The irq and bh forms are
made of two operations, in the order of include/linux/spinlock_api_smp.h: interrupts go off before the lock is taken
and on after it is given back, and another task may come in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sugarbush.concurrency.core import active
from sugarbush.concurrency.cpu import (
    local_bh_disable,
    local_bh_enable,
    local_irq_disable,
    local_irq_enable,
    local_irq_restore,
    local_irq_save,
)
from sugarbush.concurrency.locks.lock import Lock, OwnedLock, owned_operations


class Spinlock(OwnedLock):
    """A lock under which nothing may sleep: spin_lock(), spin_trylock(), spin_unlock(), and the irq and bh forms."""

    __slots__ = ()
    _lock, _trylock, _unlock = owned_operations("spin", atomic=True)
    _sleeps = False

    # Under weak memory a trylock that fails and a look whether it is held read the lock's word, and may see an old
    # value (tools/memory-model/lock.cat: LF, RU, RL). The kernel's model has that for spinlocks only, and so has
    # this: to keep the history of its word makes each lock and unlock under weak memory about a third dearer.
    def trylock(self) -> bool:
        """Take it if it is free now. One that fails is a READ_ONCE(): under weak memory it may see an older holder."""
        rt = active.runtime
        if rt is not None and rt.finds_held(self, tries=True):
            return False
        return super().trylock()

    def is_locked(self) -> bool:
        """Whether a task holds it, as READ_ONCE() finds it: under weak memory that may be an old value."""
        rt = active.runtime
        held = None if rt is None else rt.finds_held(self, tries=False)
        return super().is_locked() if held is None else held

    def lock_irq(self, subclass: int = 0, nest_lock: Lock | None = None) -> None:
        """Turn interrupts off and take it; kernel: spin_lock_irq()."""
        local_irq_disable()
        self.lock(subclass, nest_lock)

    def unlock_irq(self) -> None:
        """Give it back and turn interrupts on, whatever they were before; kernel: spin_unlock_irq()."""
        self.unlock()
        local_irq_enable()

    def lock_irqsave(self, subclass: int = 0, nest_lock: Lock | None = None) -> bool:
        """As `lock_irq`; gives the flags for `unlock_irqrestore`. Kernel: spin_lock_irqsave()."""
        flags = local_irq_save()
        self.lock(subclass, nest_lock)
        return flags

    def unlock_irqrestore(self, flags: bool) -> None:
        """Give it back; interrupts go back to what they were. Kernel: spin_unlock_irqrestore()."""
        self.unlock()
        local_irq_restore(flags)

    def lock_bh(self, subclass: int = 0, nest_lock: Lock | None = None) -> None:
        """Turn bottom halves off and take it; kernel: spin_lock_bh()."""
        local_bh_disable()
        self.lock(subclass, nest_lock)

    def unlock_bh(self) -> None:
        """Give it back and undo the local_bh_disable(); kernel: spin_unlock_bh()."""
        self.unlock()
        local_bh_enable()

    @contextmanager
    def irq(self) -> Iterator[None]:
        """`lock_irq` and `unlock_irq`, as a `with` block; kernel: guard(spinlock_irq)."""
        self.lock_irq()
        try:
            yield
        finally:
            self.unlock_irq()

    @contextmanager
    def bh(self) -> Iterator[None]:
        """`lock_bh` and `unlock_bh`, as a `with` block; kernel: guard(spinlock_bh)."""
        self.lock_bh()
        try:
            yield
        finally:
            self.unlock_bh()
