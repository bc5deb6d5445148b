"""The validator itself: what is told of locks, interrupts, reclaim and RCU, and when it is checked."""

from sugarbush.lockdep.engine.later import LockEvent
from sugarbush.lockdep.engine.shared import SharedLockdep
from sugarbush.lockdep.engine.validator import Lockdep

__all__ = [
    "LockEvent",
    "Lockdep",
    "SharedLockdep",
]
