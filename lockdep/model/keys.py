"""What a lock brings to the validator: its static key, and the map that each instance embeds.

All locks that share a key and a subclass are one class; rules are learnt and checked per class (kernel:
`struct lock_class_key`, `struct lockdep_map`). Keys and maps outlive validators: a map caches its class for
the validator that saw it last, as a token that is unique among all validators of the process.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from sugarbush.lockdep.outside import SugarbushError


class LockdepError(SugarbushError):
    """The validator was called in a way that has no meaning; the message says which."""


class WaitType(IntEnum):
    """How a lock waits, from the least to the most (kernel: `enum lockdep_wait_type`).

    CONFIG spins normally and sleeps under PREEMPT_RT. A lock may be taken where everything already held lets
    it wait that long; INV is not checked.
    """

    INV = 0
    FREE = 1
    SPIN = 2
    CONFIG = 3
    SLEEP = 4
    MAX = 5


class LockType(IntEnum):
    """What kind of thing a class stands for (kernel: `enum lockdep_lock_type`; ANNOTATION is ours)."""

    NORMAL = 0
    PERCPU = 1
    """One lock per CPU (local_lock): left out of the irq-inversion searches."""
    WAIT_OVERRIDE = 2
    """Sets the limit of what may wait inside it, instead of lowering it."""
    ANNOTATION = 3
    """Not a lock: a map like fs_reclaim, that any number of tasks hold at once. It never guards a cycle."""


Order = Callable[["LockMap", "LockMap"], int]
"""Compares a held and a wanted instance of one class; they may nest when the result is negative."""


class LockClassKey:
    """The identity of a lock class: make one per kind of lock, once, at module level."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<LockClassKey {self.name}>"


NO_VALIDATE = LockClassKey("__lockdep_no_validate__")
"""Locks set to this key make no dependencies; balance, asserts and wait contexts are still checked."""

NO_TRACK = LockClassKey("__lockdep_no_track__")
"""Locks set to this key are ignored altogether."""


class LockMap:
    """What a lock instance embeds (kernel: `struct lockdep_map`).

    `key` and `subclass` name the class. `wait_inner` says what may wait inside this lock; `wait_outer` what
    it needs from outside, the same when not given. `order` lets two instances of the class nest in one
    direction (kernel: `lockdep_set_cmp_fn`). Name, wait types, type and order of a class are those of the map
    that reaches the validator first.

    `token` and `number` belong to the validator: the class (0 when not known) and the instance, numbered from
    1.
    """

    __slots__ = (
        "key",
        "lock_type",
        "name",
        "number",
        "order",
        "subclass",
        "token",
        "wait_inner",
        "wait_outer",
    )

    def __init__(
        self,
        key: LockClassKey,
        name: str | None = None,
        *,
        subclass: int = 0,
        wait_inner: int = WaitType.INV,
        wait_outer: int | None = None,
        lock_type: int = LockType.NORMAL,
        order: Order | None = None,
    ) -> None:
        self.key = key
        self.name = key.name if name is None else name
        self.subclass = subclass
        self.wait_inner = wait_inner
        self.wait_outer = wait_inner if wait_outer is None else wait_outer
        self.lock_type = lock_type
        self.order = order
        self.token = 0
        self.number = 0

    def __repr__(self) -> str:
        return f"<LockMap {self.name}>"
