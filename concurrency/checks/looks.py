"""Which operations change nothing, and which take something and give it back: what a task that spins may do in vain."""

from __future__ import annotations

from sugarbush.concurrency.core import CPU_RELAX, SMP_MB, SMP_RMB, SMP_WMB, Access, Dep, Operation
from sugarbush.concurrency.cpu import PREEMPT_DISABLE, PREEMPT_ENABLE
from sugarbush.concurrency.locks import (
    DOWN,
    DOWN_READ_SLOW,
    DOWN_SLOW,
    DOWN_TRYLOCK,
    DOWN_WRITE_SLOW,
    UP,
    WRITE_SEQCOUNT_BEGIN,
    WRITE_SEQCOUNT_END,
)
from sugarbush.concurrency.rcu import (
    RCU_READ_LOCK,
    RCU_READ_LOCK_NESTED,
    RCU_READ_UNLOCK,
    RCU_READ_UNLOCK_NESTED,
    RCU_WAITS,
    SRCU_WAITS,
)
from sugarbush.concurrency.waits import DEL_TIMER, TRY_WAIT_FOR_COMPLETION, WAKE_UP_PROCESS

_READS = (Access.READ, Access.READ_ONCE, Access.ACQUIRE)
_TRIES = (Dep.TRY, Dep.TRY_READ)
_TAKES = (Dep.ACQUIRE, Dep.ACQUIRE_READ, Dep.ACQUIRE_RECURSIVE, *_TRIES)
_OWN = frozenset(Dep) - {*_TAKES, Dep.RELEASE, Dep.DOWNGRADE, Dep.WAIT_FOR, Dep.WAIT_FOR_WRITER, Dep.SYNC}

# A barrier writes nothing; that it makes others see what was written before is seen to by `WeakMemory.settle`.
_LOOK = frozenset((CPU_RELAX, SMP_RMB, SMP_WMB, SMP_MB))
_LOOK_IF_FALSE = frozenset(
    (TRY_WAIT_FOR_COMPLETION, DOWN_TRYLOCK, DEL_TIMER, WAKE_UP_PROCESS, RCU_WAITS.poll, SRCU_WAITS.poll)
)
_BALANCE = {
    RCU_READ_LOCK: 1,
    RCU_READ_LOCK_NESTED: 1,
    RCU_READ_UNLOCK: -1,
    RCU_READ_UNLOCK_NESTED: -1,
    DOWN_SLOW: 1,
    UP: -1,
    DOWN_READ_SLOW: 0,
    DOWN_WRITE_SLOW: 0,
    PREEMPT_DISABLE: 0,
    PREEMPT_ENABLE: 0,
}
_TAKEN_IF_TRUE = frozenset((DOWN, DOWN_TRYLOCK))
_COUNTS = frozenset((WRITE_SEQCOUNT_BEGIN, WRITE_SEQCOUNT_END))


def only_looks(op: Operation, result: object = None) -> bool:
    """`op`, which gave `result`, has changed nothing that another task could see."""
    if op.access in _READS or op in _LOOK:
        return True
    return not result and (op.dep in _TRIES or op in _LOOK_IF_FALSE)


def tries(op: Operation) -> bool:
    """`op` looks whether it can take something, and takes it if so."""
    return op.dep in _TRIES or op is DOWN_TRYLOCK


def balance(op: Operation, result: object) -> int | None:
    """By how much the task holds more of the object after `op`, which gave `result`; None if that is not all it does.

    Who takes something and gives it back has changed nothing in the end, and in between only what those see who look
    at the object itself. What a task turns off and on for itself has no balance: it is a part of its own state.
    """
    if op.dep in _TAKES or op.dep is Dep.RELEASE:
        # The number of a sequence counter is not what it was before.
        return None if op in _COUNTS else (-1 if op.dep is Dep.RELEASE else 1)
    if op.dep in _OWN:
        return 0
    if op in _TAKEN_IF_TRUE:
        return 1 if result else 0
    return _BALANCE.get(op)


def same_value(old: object, new: object) -> bool:
    """Whether a place that held `old` and holds `new` is as it was; only of plain values their own `==` is asked."""
    return old is new or (type(old) is type(new) and type(old) in (int, str, bytes) and old == new)
