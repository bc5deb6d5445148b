"""Weak memory: a read may return any value that release/acquire order allows, as a choice of the schedule.

An operational form of the kernel's memory model without load buffering; docs/memory.md says what it does and what not.
"""

from sugarbush.concurrency.runtimes.weak.memory import by_name
from sugarbush.concurrency.runtimes.weak.runtime import WeakSimulated

__all__ = ["WeakSimulated", "by_name"]
