"""Which operations change nothing, and which take something and give it back: what a task that spins may do in vain.

All of it is declared on the operation (`Operation.looks`, `Operation.hold`); here it is only read.
"""

from __future__ import annotations

from sugarbush.concurrency.core import Hold, Operation

_LOOK_IF_FALSE = (Hold.TRIES, Hold.IF_TRUE)
_MORE = {Hold.TAKES: 1, Hold.GIVES: -1, Hold.KEEPS: 0}


def only_looks(op: Operation, result: object = None) -> bool:
    """Whether `op`, which gave `result`, has changed nothing that another task could see."""
    # A barrier is a look, too (`idle`): it writes nothing. Under weak memory a task that looks in vain reads the
    # newest in the end, with or without a barrier (`WeakSimulated._settle_memory`).
    return op.looks or (not result and op.hold in _LOOK_IF_FALSE)


def tries(op: Operation) -> bool:
    """Whether `op` looks if it can take something, and takes it if so."""
    return op.hold is Hold.TRIES


def balance(op: Operation, result: object) -> int | None:
    """By how much the task holds more of the object after `op`, which gave `result`; None if that is not all it does.

    A task that takes something and gives it back has changed nothing in the end, and what it changed in between is
    seen only by looks at the object itself. What a task turns off and on for itself has no balance: it is its own
    state.
    """
    if op.hold is Hold.TRIES or op.hold is Hold.ASKS:
        return 1 if result else 0
    return None if op.hold is None else _MORE.get(op.hold)


def same_value(old: object, new: object) -> bool:
    """Whether a place that held `old` and holds `new` is as it was; only of plain values their own `==` is asked."""
    return old is new or (type(old) is type(new) and type(old) in (int, str, bytes) and old == new)
