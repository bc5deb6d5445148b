"""One declared field of a `Shared` object: its kind, its operations, and the attribute that programs use.

Strong memory only: what stands in the place of the attributes under weak memory is in `runtimes.weak`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from sugarbush.concurrency.core import (
    GENERATED,
    Access,
    Failure,
    Kind,
    Operation,
    active,
    caller,
    checked,
    current_task,
    fail,
    looking_from_outside,
    perform,
    position,
)


class FieldKind(StrEnum):
    """How a field is shared."""

    PLAIN = "Plain"
    ONCE = "Once"
    RCU = "RcuPtr"
    ATOMIC = "Atomic"


class Order(StrEnum):
    """How an atomic read-modify-write is ordered; kernel: Documentation/atomic_t.txt, v6.6."""

    FULL = ""
    ACQUIRE = "_acquire"
    RELEASE = "_release"
    RELAXED = "_relaxed"


KEEP: Any = object()
"""Given by the change of a read-modify-write that writes nothing after all, as a failed cmpxchg()."""

NO_RESULT: Any = object()
"""Given as the result of the change of a read-modify-write that has none, as atomic_inc()."""

_DECLARED_ACCESS = {
    FieldKind.PLAIN: (Access.READ, Access.WRITE),
    FieldKind.ONCE: (Access.READ_ONCE, Access.WRITE_ONCE),
    FieldKind.RCU: (Access.ACQUIRE, Access.RELEASE),
    FieldKind.ATOMIC: (Access.READ_ONCE, Access.WRITE_ONCE),
}

_WRITES = ("write", "write_once", "release")

_ACCESSORS = """
def read(obj):
    rt = active.runtime
    if rt is not None:
        rt.step(read_op, obj)
    return obj._{name}

def write(obj, value):
    rt = active.runtime
    if rt is not None:
        rt.step(write_op, obj)
    obj._{name} = value
"""


class SharedField:
    """One declared field: its operations and its kind."""

    def __init__(self, name: str, kind: FieldKind) -> None:
        self.name = name
        self.kind = kind
        self.slot = f"_{name}"
        self.kept = False
        """The last atomic read-modify-write has left the value as it was, since its condition did not hold."""
        plain = kind is FieldKind.PLAIN
        names = {
            "read": (_DECLARED_ACCESS[kind][0], "read"),
            "write": (_DECLARED_ACCESS[kind][1], "write"),
            "read_once": (Access.READ_ONCE, "READ_ONCE"),
            "write_once": (Access.WRITE_ONCE, "WRITE_ONCE"),
            "acquire": (Access.ACQUIRE, "smp_load_acquire"),
            "release": (Access.RELEASE, "smp_store_release"),
            "dereference": (Access.ACQUIRE, "rcu_dereference"),
        }
        if kind is FieldKind.RCU:
            names["read"] = names["dereference"]
            names["write"] = (Access.RELEASE, "rcu_assign_pointer")
        whole = self._set if kind is FieldKind.ATOMIC else None
        self.ops = {
            key: Operation(
                text,
                access,
                field=name,
                local=True,
                effect=whole if key in _WRITES else None,
                tracked=plain,
            )
            for key, (access, text) in names.items()
        }
        self.modify = {
            order: Operation(
                f"atomic{order}",
                Access.ACQ_REL,
                field=name,
                local=True,
                effect=self._modify,
                tracked=plain,
                acquires=(name,) if order in (Order.FULL, Order.ACQUIRE) else (),
                releases=(name,) if order in (Order.FULL, Order.RELEASE) else (),
                orders=self._if_it_wrote,
            )
            for order in Order
        }

    def _set(self, obj: object, _task: object, value: object) -> None:
        setattr(obj, self.slot, value)

    def _modify(self, obj: object, _task: object, change: Callable[[Any], tuple[Any, Any]]) -> Any:
        new, result = change(getattr(obj, self.slot))
        self.kept = new is KEEP
        if not self.kept:
            setattr(obj, self.slot, new)
        return result

    def _if_it_wrote(self, obj: object, _arg: object, _result: object) -> object:
        """One that fails orders nothing; kernel: Documentation/atomic_t.txt, "ORDERING", v6.6."""
        return None if self.kept else obj

    def property(self) -> property:
        """The attribute as programs use it."""
        scope: dict[str, Any] = {
            "__name__": __name__,
            "active": active,
            "read_op": self.ops["read"],
            "write_op": self.ops["write"],
        }
        exec(compile(_ACCESSORS.format(name=self.name), GENERATED, "exec"), scope)
        read, write = scope["read"], scope["write"]
        if self.kind is FieldKind.ATOMIC:
            write = _atomic_set(self.ops["write"])
        if self.kind is FieldKind.RCU:
            read = checked_dereference(read, self.name)
        return property(read, write)


def _atomic_set(op: Operation) -> Callable[[Any, Any], None]:
    """A store that no read-modify-write of another thread can tear apart."""

    def write(obj: Any, value: Any) -> None:
        perform(op, obj, value)

    return write


def checked_dereference(read: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
    """`read`, which says so if the task is in no reader."""

    def dereference(obj: Any) -> Any:
        rt = active.runtime
        if rt is not None and rt.current.rcu_nesting == 0:
            suspicious(name, False, "rcu_dereference_check")
        return read(obj)

    return dereference


def suspicious(name: str, fine: bool, call: str) -> None:
    if not fine and checked("rcu") and not looking_from_outside():
        fail(
            Failure(
                Kind.RCU,
                "WARNING: suspicious RCU usage",
                "\n".join(
                    [f"{caller()} suspicious {call}() usage! (field {name})", *position(current_task())]
                ),
                check="rcu",
            )
        )
