"""What locktorture does to each kind of lock: take it to write, take it to read, and give it back.

Kernel: struct lock_torture_ops in kernel/locking/locktorture.c, v6.6. Where there is a trylock it is a choice whether
that is tried first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sugarbush.concurrency import (
    Mutex,
    RwLock,
    RwSemaphore,
    Semaphore,
    SeqLock,
    Spinlock,
    local_irq_disable,
    local_irq_enable,
)
from sugarbush.stress.torture.tables import of_table


@dataclass(frozen=True, slots=True)
class TorturedLock:
    """One lock of one kind. `read` takes what a reader does inside and says whether it saw one state; None if a kind
    has no readers.
    """

    name: str
    write_lock: Callable[[], Any]
    write_unlock: Callable[[Any], None]
    write_trylock: Callable[[], bool] | None = None
    read_lock: Callable[[], None] | None = None
    read_unlock: Callable[[], None] | None = None
    read_trylock: Callable[[], bool] | None = None
    downgrade: Callable[[], None] | None = None
    seq: SeqLock | None = None


def _spin() -> TorturedLock:
    lock = Spinlock("torture_spinlock")
    return TorturedLock("spin_lock", lock.lock, lambda _: lock.unlock(), lock.trylock)


def _spin_irq() -> TorturedLock:
    lock = Spinlock("torture_spinlock")
    return TorturedLock("spin_lock_irq", lock.lock_irqsave, lock.unlock_irqrestore)


def _spin_bh() -> TorturedLock:
    lock = Spinlock("torture_spinlock")
    return TorturedLock("spin_lock_bh", lock.lock_bh, lambda _: lock.unlock_bh())


def _mutex() -> TorturedLock:
    lock = Mutex("torture_mutex")
    return TorturedLock("mutex_lock", lock.lock, lambda _: lock.unlock(), lock.trylock)


def _rwsem() -> TorturedLock:
    lock = RwSemaphore("torture_rwsem")
    return TorturedLock(
        "rwsem_lock",
        lock.down_write,
        lambda _: lock.up_write(),
        lock.down_write_trylock,
        lock.down_read,
        lock.up_read,
        lock.down_read_trylock,
        lock.downgrade_write,
    )


def _rwlock() -> TorturedLock:
    lock = RwLock("torture_rwlock")
    return TorturedLock(
        "rw_lock",
        lock.write_lock,
        lambda _: lock.write_unlock(),
        lock.write_trylock,
        lock.read_lock,
        lock.read_unlock,
        lock.read_trylock,
    )


def _rwlock_irq() -> TorturedLock:
    lock = RwLock("torture_rwlock")

    def off(take: Callable[[], None]) -> Callable[[], None]:
        def locked() -> None:
            local_irq_disable()
            take()

        return locked

    def write_unlock(_: object) -> None:
        lock.write_unlock()
        local_irq_enable()

    def read_unlock() -> None:
        lock.read_unlock()
        local_irq_enable()

    return TorturedLock(
        "rw_lock_irq",
        off(lock.write_lock),
        write_unlock,
        read_lock=off(lock.read_lock),
        read_unlock=read_unlock,
    )


def _semaphore() -> TorturedLock:
    lock = Semaphore(1, "torture_sem")
    return TorturedLock("semaphore", lock.down, lambda _: lock.up(), lock.down_trylock)


def _seqlock() -> TorturedLock:
    lock = SeqLock("torture_seqlock")
    return TorturedLock("seqlock", lock.write_seqlock, lambda _: lock.write_sequnlock(), seq=lock)


LOCKS: dict[str, Callable[[], TorturedLock]] = {
    "spin_lock": _spin,
    "spin_lock_irq": _spin_irq,
    "spin_lock_bh": _spin_bh,
    "mutex": _mutex,
    "rwsem": _rwsem,
    "rwlock": _rwlock,
    "rwlock_irq": _rwlock_irq,
    "semaphore": _semaphore,
    "seqlock": _seqlock,
}


def make_lock(name: str) -> TorturedLock:
    """A lock of this kind, for one execution; raises `ConcurrencyError` if there is no such kind."""
    return of_table(LOCKS, "lock to torture", name)()
