"""Which operations on one object conflict: done in the other order, they may leave something else behind.

Coarse where an operation does not say what it touches: then any two conflict.
"""

from __future__ import annotations

from concurrency.operation import Access, Dep, Operation
from concurrency.slab import FREE
from concurrency.task import Task

_READS = (Access.READ, Access.READ_ONCE, Access.ACQUIRE)
_TAKES = (Dep.ACQUIRE, Dep.ACQUIRE_READ, Dep.ACQUIRE_RECURSIVE, Dep.TRY, Dep.TRY_READ)
_SHARES = (Dep.ACQUIRE_READ, Dep.ACQUIRE_RECURSIVE, Dep.TRY_READ)


def takes_lock(op: Operation) -> bool:
    """The operation takes a lock, or tries to."""
    return op.dep in _TAKES


def conflict(one: Operation, other: Operation, obj: object) -> bool:
    """Whether the two operations, done to `obj` by two tasks that both could go on, conflict.

    Taking a lock conflicts with taking it, unless both share it; giving it back can come in one order only.
    """
    if isinstance(obj, Task):
        return False
    if one is FREE or other is FREE:
        return True
    if one.field != other.field:
        return False
    if one.dep is not None or other.dep is not None:
        return takes_lock(one) and takes_lock(other) and not (one.dep in _SHARES and other.dep in _SHARES)
    if one.access is Access.NONE and other.access is Access.NONE:
        return one is not other
    return one.access not in _READS or other.access not in _READS
