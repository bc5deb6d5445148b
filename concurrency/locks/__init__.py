"""Locks, one file each."""

from sugarbush.concurrency.locks.lock import (
    Lock,
    Nested,
    OwnedLock,
    SharedLock,
    lock_class_key,
    owned_operations,
)
from sugarbush.concurrency.locks.mutex import Mutex
from sugarbush.concurrency.locks.rwlock import READ_LOCK, READ_TRYLOCK, READ_UNLOCK, RwLock
from sugarbush.concurrency.locks.rwsem import (
    DOWN_READ,
    DOWN_READ_SLOW,
    DOWN_READ_TRYLOCK,
    DOWN_WRITE_SLOW,
    DOWNGRADE_WRITE,
    UP_READ,
    UP_WRITE,
    RwSemaphore,
    is_in_vain,
)
from sugarbush.concurrency.locks.semaphore import DOWN, DOWN_SLOW, DOWN_TRYLOCK, UP, Semaphore
from sugarbush.concurrency.locks.seqlock import WRITE_SEQCOUNT_BEGIN, WRITE_SEQCOUNT_END, SeqCount, SeqLock
from sugarbush.concurrency.locks.spinlock import Spinlock

__all__ = [
    "DOWN",
    "DOWNGRADE_WRITE",
    "DOWN_READ",
    "DOWN_READ_SLOW",
    "DOWN_READ_TRYLOCK",
    "DOWN_SLOW",
    "DOWN_TRYLOCK",
    "DOWN_WRITE_SLOW",
    "READ_LOCK",
    "READ_TRYLOCK",
    "READ_UNLOCK",
    "UP",
    "UP_READ",
    "UP_WRITE",
    "WRITE_SEQCOUNT_BEGIN",
    "WRITE_SEQCOUNT_END",
    "Lock",
    "Mutex",
    "Nested",
    "OwnedLock",
    "RwLock",
    "RwSemaphore",
    "Semaphore",
    "SeqCount",
    "SeqLock",
    "SharedLock",
    "Spinlock",
    "is_in_vain",
    "lock_class_key",
    "owned_operations",
]
