"""What the processes of a litmus test may call, with the kernel's names and meanings.

The meanings are those of tools/memory-model/linux-kernel.def, v6.6. A call is made of *actions*, each of which is one
operation of the engine under weak memory: ``xchg`` is a full barrier, the exchange, and a full barrier.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

from sugarbush.concurrency import (
    READ_ONCE,
    WRITE_ONCE,
    Plain,
    Shared,
    Unshared,
    rcu_read_lock,
    rcu_read_unlock,
    smp_load_acquire,
    smp_mb,
    smp_rmb,
    smp_store_release,
    smp_wmb,
    srcu_down_read,
    srcu_read_lock,
    srcu_read_unlock,
    srcu_up_read,
    synchronize_rcu,
    synchronize_srcu,
)
from sugarbush.concurrency.lowlevel import Order
from sugarbush.concurrency.memory import KEEP, NO_RESULT, modify


class Location(Shared):
    """A location of a litmus test. Accesses without a mark are plain. `index` is its number among all locations."""

    v: Plain[Any] = 0
    name: Unshared[str]
    index: Unshared[int]


class Act(IntEnum):
    """What one operation does to memory."""

    READ = 0
    WRITE = 1
    MODIFY = 2
    LOOK = 3
    """Whether a fully ordered cmpxchg() fails, before its barrier: one that fails is a READ_ONCE()."""
    MB = 4
    WMB = 5
    RMB = 6
    LOCK = 7
    TRYLOCK = 8
    UNLOCK = 9
    IS_LOCKED = 10
    READER = 11
    READER_ENDS = 12
    GRACE = 13
    GRACE_OVER = 14
    UNLOCK_LOCK_MB = 15
    """smp_mb__after_unlock_lock(): a full barrier for what came before an unlock that the last lock comes after."""


class Changed(NamedTuple):
    """What a read-modify-write makes of a value: what it writes (or `KEEP`), and what the call gives."""

    new: Any
    result: Any


Change = Callable[..., Changed]
"""From the old value and the arguments of the call."""


class Call(NamedTuple):
    r"""A function: one letter for each argument, its actions, and what it does in the engine.

    ``*`` is a location that is spelt ``*x``, ``p`` a pointer to one, ``v`` a value, ``l`` a spinlock, ``s`` a
    srcu_struct. `order` is that of the one access among the actions, `change` what it makes of the value if it is a
    read-modify-write. `silent` says that it gives no result (``atomic_inc``), which makes its read one that smp_rmb()
    does not order (linux-kernel.cat: ``R4rmb = R \ Noreturn``). A barrier that `completes` an action is one only if
    the process has such an action before it, or after it (`ahead`).
    """

    arguments: str
    acts: tuple[Act, ...]
    does: Callable[..., Any]
    order: Order = Order.RELAXED
    change: Change | None = None
    silent: bool = False
    completes: Act | None = None
    ahead: bool = False


def _whole(value: int) -> int:
    """What a register of 64 bits holds; without it a chain of multiplications fills the memory."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def _sum(one: Any, other: Any) -> Any:
    return _whole(number(one) + number(other))


class NotANumber(Exception):
    """The test computes with the address of a location as if it were a number."""


def number(value: Any) -> int:
    """`value`, which must not be an address."""
    if isinstance(value, int):
        return value
    raise NotANumber


_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "add": _sum,
    "sub": lambda old, n: _sum(old, -number(n)),
    "and": lambda old, n: number(old) & number(n),
    "or": lambda old, n: number(old) | number(n),
    "xor": lambda old, n: number(old) ^ number(n),
    "andnot": lambda old, n: number(old) & ~number(n),
}
# A fully ordered operation is the relaxed one between two full barriers, and a conditional one that fails orders
# nothing (Documentation/atomic_t.txt, v6.6): so it looks first, and passes the barrier only if it will not fail.
_MODIFY = (Act.MODIFY,)
_FULL = (Act.MB, Act.MODIFY, Act.MB)
_COMPARE = (Act.LOOK, Act.MB, Act.MODIFY, Act.MB)


def _modifying(arguments: str, order: Order, change: Change, *, may_fail: bool = False) -> Call:
    full = _COMPARE if may_fail else _FULL

    def does(*given: Any) -> Any:
        at = arguments.index("p")
        place, rest = given[at], given[:at] + given[at + 1 :]
        return modify(place, "v", lambda old: change(old, *rest), order, may_fail=may_fail)

    return Call(arguments, full if order is Order.FULL else _MODIFY, does, order, change)


def _exchange(_old: Any, new: Any) -> Changed:
    return Changed(new, _old)


def _compare(old: Any, wanted: Any, new: Any) -> Changed:
    return Changed(new if old is wanted or old == wanted else KEEP, old)


def _unless(old: Any, n: Any, unless: Any) -> Changed:
    same = old is unless or old == unless
    return Changed(KEEP, 0) if same else Changed(_sum(old, n), 1)


def _returns(operation: Callable[[Any, Any], Any]) -> Change:
    def change(old: Any, n: Any) -> Changed:
        new = operation(old, n)
        return Changed(new, new)

    return change


def _fetches(operation: Callable[[Any, Any], Any]) -> Change:
    return lambda old, n: Changed(operation(old, n), old)


def _silently(operation: Callable[[Any, Any], Any]) -> Change:
    return lambda old, n: Changed(operation(old, n), NO_RESULT)


def _tests(operation: Callable[[Any, Any], Any], test: Callable[[Any], bool]) -> Change:
    def change(old: Any, n: Any) -> Changed:
        new = operation(old, n)
        return Changed(new, int(test(new)))

    return change


def _by(n: int, change: Change) -> Change:
    return lambda old: change(old, n)


def _atomics(prefix: str) -> dict[str, Call]:
    """The operations of include/linux/atomic/atomic-instrumented.h whose names begin with `prefix`."""
    found: dict[str, Call] = {}
    for order in Order:
        for name, operation in _OPERATIONS.items():
            found[f"{prefix}_fetch_{name}{order}"] = _modifying("vp", order, _fetches(operation))
            if name in ("add", "sub"):
                found[f"{prefix}_{name}_return{order}"] = _modifying("vp", order, _returns(operation))
        for name, n in (("inc", 1), ("dec", -1)):
            found[f"{prefix}_{name}_return{order}"] = _modifying("p", order, _by(n, _returns(_sum)))
            found[f"{prefix}_fetch_{name}{order}"] = _modifying("p", order, _by(n, _fetches(_sum)))
        found[f"{prefix}_xchg{order}"] = _modifying("pv", order, _exchange)
        found[f"{prefix}_cmpxchg{order}"] = _modifying("pvv", order, _compare, may_fail=True)
        found[f"{prefix}_add_negative{order}"] = _modifying("vp", order, _tests(_sum, lambda new: new < 0))
    for name, operation in _OPERATIONS.items():
        found[f"{prefix}_{name}"] = _modifying("vp", Order.RELAXED, _silently(operation))._replace(
            silent=True
        )
    for name, n in (("inc", 1), ("dec", -1)):
        found[f"{prefix}_{name}"] = _modifying("p", Order.RELAXED, _by(n, _silently(_sum)))._replace(
            silent=True
        )
        tests = _by(n, _tests(_sum, lambda new: new == 0))
        found[f"{prefix}_{name}_and_test"] = _modifying("p", Order.FULL, tests)
    tests = _tests(_OPERATIONS["sub"], lambda new: new == 0)
    found[f"{prefix}_sub_and_test"] = _modifying("vp", Order.FULL, tests)
    found[f"{prefix}_add_unless"] = _modifying("pvv", Order.FULL, _unless, may_fail=True)
    found[f"{prefix}_inc_not_zero"] = _modifying(
        "p", Order.FULL, lambda old: _unless(old, 1, 0), may_fail=True
    )
    found[f"{prefix}_read"] = Call("p", (Act.READ,), lambda at: READ_ONCE(at, "v"))
    found[f"{prefix}_read_acquire"] = CALLS["smp_load_acquire"]
    found[f"{prefix}_set"] = Call("pv", (Act.WRITE,), lambda at, value: WRITE_ONCE(at, "v", value))
    found[f"{prefix}_set_release"] = CALLS["smp_store_release"]
    return found


def _store_mb(at: Location, value: Any) -> None:
    WRITE_ONCE(at, "v", value)
    smp_mb()


def _nothing() -> None:
    pass


def _wait_for_lock(lock: Any) -> None:
    lock.lock()
    lock.unlock()


_READ = Call("*", (Act.READ,), lambda at: READ_ONCE(at, "v"))
_MB = Call("", (Act.MB,), smp_mb)
_GRACE = (Act.MB, Act.GRACE, Act.GRACE_OVER, Act.MB)
CALLS: dict[str, Call] = {
    "READ_ONCE": _READ,
    "WRITE_ONCE": Call("*v", (Act.WRITE,), lambda at, value: WRITE_ONCE(at, "v", value)),
    "smp_load_acquire": Call("p", (Act.READ,), lambda at: smp_load_acquire(at, "v"), Order.ACQUIRE),
    "smp_store_release": Call(
        "pv", (Act.WRITE,), lambda at, value: smp_store_release(at, "v", value), Order.RELEASE
    ),
    "smp_store_mb": Call("*v", (Act.WRITE, Act.MB), _store_mb),
    "rcu_dereference": _READ,
    "rcu_dereference_raw": _READ,
    "rcu_dereference_protected": _READ,
    "rcu_access_pointer": _READ,
    "lockless_dereference": _READ,
    "rcu_assign_pointer": Call(
        "*v", (Act.WRITE,), lambda at, value: smp_store_release(at, "v", value), Order.RELEASE
    ),
    "smp_mb": _MB,
    "smp_rmb": Call("", (Act.RMB,), smp_rmb),
    "smp_wmb": Call("", (Act.WMB,), smp_wmb),
    "smp_mb__before_atomic": _MB._replace(completes=Act.MODIFY, ahead=True),
    "smp_mb__after_atomic": _MB._replace(completes=Act.MODIFY),
    "smp_mb__after_spinlock": _MB._replace(completes=Act.LOCK),
    "smp_mb__after_unlock_lock": Call("", (Act.UNLOCK_LOCK_MB,), smp_mb, completes=Act.LOCK),
    "smp_mb__after_srcu_read_unlock": _MB._replace(completes=Act.READER_ENDS),
    "barrier": Call("", (), _nothing),
    "spin_lock": Call("l", (Act.LOCK,), lambda lock: lock.lock(), Order.ACQUIRE),
    "spin_trylock": Call("l", (Act.TRYLOCK,), lambda lock: int(lock.trylock()), Order.ACQUIRE),
    "spin_unlock": Call("l", (Act.UNLOCK,), lambda lock: lock.unlock(), Order.RELEASE),
    "spin_is_locked": Call("l", (Act.IS_LOCKED,), lambda lock: int(lock.is_locked())),
    "spin_unlock_wait": Call("l", (Act.LOCK, Act.UNLOCK), _wait_for_lock, Order.ACQUIRE),
    "rcu_read_lock": Call("", (Act.READER,), rcu_read_lock),
    "rcu_read_unlock": Call("", (Act.READER_ENDS,), rcu_read_unlock),
    "synchronize_rcu": Call("", _GRACE, synchronize_rcu),
    "synchronize_rcu_expedited": Call("", _GRACE, synchronize_rcu),
    "srcu_read_lock": Call("s", (Act.READER,), srcu_read_lock),
    "srcu_read_unlock": Call("sv", (Act.READER_ENDS,), srcu_read_unlock),
    "srcu_down_read": Call("s", (Act.READER,), srcu_down_read),
    "srcu_up_read": Call("sv", (Act.READER_ENDS,), srcu_up_read),
    "synchronize_srcu": Call("s", _GRACE, synchronize_srcu),
    "synchronize_srcu_expedited": Call("s", _GRACE, synchronize_srcu),
}
for _order in Order:
    CALLS[f"xchg{_order}"] = _modifying("pv", _order, _exchange)
    CALLS[f"cmpxchg{_order}"] = _modifying("pvv", _order, _compare, may_fail=True)
for _prefix in ("atomic", "atomic_long"):
    CALLS.update(_atomics(_prefix))
