"""The validator itself: what is told of locks, interrupts, reclaim and RCU, and when it is checked."""

from sugarbush.lockdep.engine.validator import Lockdep

__all__ = [
    "Lockdep",
]
