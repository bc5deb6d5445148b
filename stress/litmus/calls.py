"""What the processes of a litmus test may call, with the kernel's names and meanings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from concurrency import (
    READ_ONCE,
    WRITE_ONCE,
    Order,
    Plain,
    Shared,
    Unshared,
    atomic_add,
    atomic_add_return,
    atomic_add_unless,
    atomic_fetch_add,
    cmpxchg,
    rcu_access_pointer,
    rcu_assign_pointer,
    rcu_read_lock,
    rcu_read_unlock,
    smp_load_acquire,
    smp_mb,
    smp_mb__after_atomic,
    smp_mb__after_spinlock,
    smp_mb__after_srcu_read_unlock,
    smp_mb__after_unlock_lock,
    smp_mb__before_atomic,
    smp_rmb,
    smp_store_release,
    smp_wmb,
    srcu_read_lock,
    srcu_read_unlock,
    synchronize_rcu,
    synchronize_rcu_expedited,
    synchronize_srcu,
    synchronize_srcu_expedited,
    xchg,
)


class Location(Shared):
    """A location of a litmus test. Accesses without a mark are plain."""

    v: Plain[Any] = 0
    name: Unshared[str]


class Call(NamedTuple):
    """A function: one letter for each argument, and what it does.

    ``*`` is a location that is spelt ``*x``, ``p`` a pointer to one, ``v`` a value, ``l`` a spinlock, ``s`` a
    srcu_struct.
    """

    arguments: str
    does: Callable[..., Any]


def _order(order: Order) -> dict[str, Call]:
    """The atomic operations of one order."""

    def add(n: int, at: Location) -> int:
        return atomic_add_return(at, "v", n, order)

    def fetch(n: int, at: Location) -> int:
        return atomic_fetch_add(at, "v", n, order)

    def exchange(at: Location, value: Any) -> Any:
        return xchg(at, "v", value, order)

    def compare(at: Location, old: Any, new: Any) -> Any:
        return cmpxchg(at, "v", old, new, order)

    return {
        f"{name}{order}": call
        for name, call in {
            "xchg": Call("pv", exchange),
            "atomic_xchg": Call("pv", exchange),
            "cmpxchg": Call("pvv", compare),
            "atomic_cmpxchg": Call("pvv", compare),
            "atomic_add_return": Call("vp", add),
            "atomic_sub_return": Call("vp", lambda n, at: add(-n, at)),
            "atomic_inc_return": Call("p", lambda at: add(1, at)),
            "atomic_dec_return": Call("p", lambda at: add(-1, at)),
            "atomic_fetch_add": Call("vp", fetch),
            "atomic_fetch_sub": Call("vp", lambda n, at: fetch(-n, at)),
            "atomic_fetch_inc": Call("p", lambda at: fetch(1, at)),
            "atomic_fetch_dec": Call("p", lambda at: fetch(-1, at)),
        }.items()
    }


def _store_mb(at: Location, value: Any) -> None:
    WRITE_ONCE(at, "v", value)
    smp_mb()


def _nothing() -> None:
    pass


CALLS: dict[str, Call] = {
    "READ_ONCE": Call("*", lambda at: READ_ONCE(at, "v")),
    "WRITE_ONCE": Call("*v", lambda at, value: WRITE_ONCE(at, "v", value)),
    "smp_load_acquire": Call("p", lambda at: smp_load_acquire(at, "v")),
    "smp_store_release": Call("pv", lambda at, value: smp_store_release(at, "v", value)),
    "smp_store_mb": Call("*v", _store_mb),
    "rcu_dereference": Call("*", lambda at: rcu_access_pointer(at, "v")),
    "rcu_dereference_raw": Call("*", lambda at: rcu_access_pointer(at, "v")),
    "rcu_access_pointer": Call("*", lambda at: rcu_access_pointer(at, "v")),
    "rcu_assign_pointer": Call("*v", lambda at, value: rcu_assign_pointer(at, "v", value)),
    "smp_mb": Call("", smp_mb),
    "smp_rmb": Call("", smp_rmb),
    "smp_wmb": Call("", smp_wmb),
    "smp_mb__before_atomic": Call("", smp_mb__before_atomic),
    "smp_mb__after_atomic": Call("", smp_mb__after_atomic),
    "smp_mb__after_spinlock": Call("", smp_mb__after_spinlock),
    "smp_mb__after_unlock_lock": Call("", smp_mb__after_unlock_lock),
    "smp_mb__after_srcu_read_unlock": Call("", smp_mb__after_srcu_read_unlock),
    "barrier": Call("", _nothing),
    "spin_lock": Call("l", lambda lock: lock.lock()),
    "spin_trylock": Call("l", lambda lock: int(lock.trylock())),
    "spin_unlock": Call("l", lambda lock: lock.unlock()),
    "rcu_read_lock": Call("", rcu_read_lock),
    "rcu_read_unlock": Call("", rcu_read_unlock),
    "synchronize_rcu": Call("", synchronize_rcu),
    "synchronize_rcu_expedited": Call("", synchronize_rcu_expedited),
    "srcu_read_lock": Call("s", srcu_read_lock),
    "srcu_read_unlock": Call("sv", srcu_read_unlock),
    "synchronize_srcu": Call("s", synchronize_srcu),
    "synchronize_srcu_expedited": Call("s", synchronize_srcu_expedited),
    "atomic_read": Call("p", lambda at: READ_ONCE(at, "v")),
    "atomic_read_acquire": Call("p", lambda at: smp_load_acquire(at, "v")),
    "atomic_set": Call("pv", lambda at, value: WRITE_ONCE(at, "v", value)),
    "atomic_set_release": Call("pv", lambda at, value: smp_store_release(at, "v", value)),
    "atomic_inc": Call("p", lambda at: atomic_add(at, "v", 1)),
    "atomic_dec": Call("p", lambda at: atomic_add(at, "v", -1)),
    "atomic_add": Call("vp", lambda n, at: atomic_add(at, "v", n)),
    "atomic_sub": Call("vp", lambda n, at: atomic_add(at, "v", -n)),
    "atomic_inc_and_test": Call("p", lambda at: int(atomic_add_return(at, "v", 1) == 0)),
    "atomic_dec_and_test": Call("p", lambda at: int(atomic_add_return(at, "v", -1) == 0)),
    "atomic_sub_and_test": Call("vp", lambda n, at: int(atomic_add_return(at, "v", -n) == 0)),
    "atomic_add_unless": Call("pvv", lambda at, n, unless: int(atomic_add_unless(at, "v", n, unless))),
}
for _each in Order:
    CALLS.update(_order(_each))
