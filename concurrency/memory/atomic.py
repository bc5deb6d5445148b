"""Atomic read-modify-write, with the kernel's names and orders.

What returns a value is fully ordered unless its name says otherwise; what returns none orders nothing. Kernel:
Documentation/atomic_t.txt, v6.6.

Each is one `modify` with a function that makes the new value and the result of the old one, so what is atomic, ordered
and visible under weak memory is decided there, once for all.
"""

from __future__ import annotations

from typing import TypeVar

from sugarbush.concurrency.memory.field import KEEP, NO_RESULT, Order
from sugarbush.concurrency.memory.shared import Shared, modify

T = TypeVar("T")


def xchg(obj: Shared, name: str, value: T, order: Order = Order.FULL) -> T:
    """Atomically replace the field; gives the old value."""
    return modify(obj, name, lambda old: (value, old), order)  # type: ignore[no-any-return]


def cmpxchg(obj: Shared, name: str, old: T, new: T, order: Order = Order.FULL) -> T:
    """Atomically replace the field if it equals `old`; gives what was there. If it differs, nothing is ordered."""
    change = lambda was: (new if was == old else KEEP, was)  # noqa: E731
    return modify(obj, name, change, order, may_fail=True)  # type: ignore[no-any-return]


def atomic_add_return(obj: Shared, name: str, n: int, order: Order = Order.FULL) -> int:
    """Atomically add; gives the new value."""
    return modify(obj, name, lambda old: (old + n, old + n), order)  # type: ignore[no-any-return]


def atomic_fetch_add(obj: Shared, name: str, n: int, order: Order = Order.FULL) -> int:
    """Atomically add; gives the old value."""
    return modify(obj, name, lambda old: (old + n, old), order)  # type: ignore[no-any-return]


def atomic_add(obj: Shared, name: str, n: int) -> None:
    """Atomically add; orders nothing, and smp_rmb() does not order what it read."""
    modify(obj, name, lambda old: (old + n, NO_RESULT), Order.RELAXED)


def atomic_inc(obj: Shared, name: str) -> None:
    """Atomically add 1; orders nothing."""
    atomic_add(obj, name, 1)


def atomic_dec(obj: Shared, name: str) -> None:
    """Atomically subtract 1; orders nothing."""
    atomic_add(obj, name, -1)


def atomic_dec_and_test(obj: Shared, name: str) -> bool:
    """Atomically subtract 1; True if the result is 0."""
    return atomic_add_return(obj, name, -1) == 0


def atomic_add_unless(obj: Shared, name: str, n: int, unless: int) -> bool:
    """Atomically add `n` unless the field is `unless`; True if it was added. Otherwise nothing is ordered."""
    change = lambda old: (KEEP if old == unless else old + n, old != unless)  # noqa: E731
    return bool(modify(obj, name, change, Order.FULL, may_fail=True))
