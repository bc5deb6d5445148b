"""One declared field of a `Shared` class: its kind, its operations, and the attribute that programs use.

This is for sequentially consistent memory; under weak memory other attributes stand in the same place
(`runtimes.weak.accessors`), so that no access has to ask which memory model holds.
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
"""What the function given to `modify` returns as the new value if nothing is to be written, as in a failed
cmpxchg()."""

NO_RESULT: Any = object()
"""What that function returns as the result if there is none, as in atomic_inc(): then no read barrier orders it."""

_DECLARED_ACCESS = {
    FieldKind.PLAIN: (Access.READ, Access.WRITE),
    FieldKind.ONCE: (Access.READ_ONCE, Access.WRITE_ONCE),
    FieldKind.RCU: (Access.ACQUIRE, Access.RELEASE),
    FieldKind.ATOMIC: (Access.READ_ONCE, Access.WRITE_ONCE),
}

_WRITES = ("write", "write_once", "release")

# Compiled for each field, with the name of the slot in the text: `getattr` with a variable name, or a closure,
# costs more, and this is what programs call most. `active.runtime` is asked here and not in `step`, which saves a
# call.
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
        """Whether the last atomic read-modify-write has written nothing (`KEEP`). One for all objects is enough: it is
        read by `_if_it_wrote` right after the effect, before any other task runs."""
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
        # A store to an atomic field is an operation with an effect, so that it is never between the read and the
        # write of a read-modify-write; under threads the effects alone are atomic.
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
        """For `Operation.orders`: one that fails orders nothing; Documentation/atomic_t.txt, "ORDERING", v6.6."""
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
    """The setter of an atomic field: an operation whose effect is atomic under threads, too."""

    def write(obj: Any, value: Any) -> None:
        perform(op, obj, value)

    return write


def checked_dereference(read: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
    """The getter `read`, and a report if the task is in no RCU reader."""

    def dereference(obj: Any) -> Any:
        rt = active.runtime
        if rt is not None and rt.current.rcu_nesting == 0:
            suspicious(name, False, "rcu_dereference_check")
        return read(obj)

    return dereference


def suspicious(name: str, fine: bool, call: str) -> None:
    """Report a pointer that is followed outside of a reader (`fine` is False), in the kernel's words."""
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
