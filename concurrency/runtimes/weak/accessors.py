"""How fields are accessed under weak memory, in the place of what `concurrency.memory.shared` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from sugarbush.concurrency.core import Operation, active, smp_mb
from sugarbush.concurrency.memory import (
    KEEP,
    FieldKind,
    Order,
    Shared,
    SharedField,
    checked_dereference,
    shared,
)
from sugarbush.concurrency.runtimes.weak.memory import WeakMemory
from sugarbush.concurrency.runtimes.weak.reading import Reads


class Weak(Protocol):
    """The runtime with weak memory, `concurrency.runtimes.weak.runtime.WeakSimulated`, as fields see it."""

    memory: WeakMemory

    def announce(self, op: Operation, obj: object) -> None:
        """A switch point before `op` on `obj`."""


_ORDERS = {
    "read": Reads.NOTHING,
    "read_once": Reads.POINTER,
    "acquire": Reads.ACQUIRE,
    "dereference": Reads.POINTER,
}

_ACCESSORS = """
def read(obj):
    rt = active.runtime
    if rt is None:
        return obj._{name}
    rt.announce(read_op, obj)
    return rt.memory.read(read_op, obj, {name!r}, order, obj._{name})

def write(obj, value):
    rt = active.runtime
    if rt is None:
        obj._{name} = value
        return
    rt.announce(write_op, obj)
    if rt.memory.write(obj, {name!r}, value, obj._{name}, releases=releases):
        obj._{name} = value
"""


def _property(field: SharedField) -> property:
    scope: dict[str, Any] = {
        "__name__": __name__,
        "active": active,
        "read_op": field.ops["read"],
        "write_op": field.ops["write"],
        "order": Reads.NOTHING if field.kind is FieldKind.PLAIN else Reads.POINTER,
        "releases": field.kind is FieldKind.RCU,
    }
    # As source, so that the slot is an attribute in the code: to look it up by its name would cost more at each
    # access.
    exec(_ACCESSORS.format(name=field.name), scope)
    read: Callable[[Any], Any] = scope["read"]
    if field.kind is FieldKind.RCU:
        read = checked_dereference(read, field.name)
    return property(read, scope["write"])


def _runtime() -> Weak | None:
    return cast("Weak | None", active.runtime)


def _read(obj: Shared, name: str, how: str) -> Any:
    field = shared.field_of(obj, name)
    rt = _runtime()
    if rt is None:
        return getattr(obj, field.slot)
    op = field.ops[how]
    rt.announce(op, obj)
    return rt.memory.read(op, obj, name, _ORDERS[how], getattr(obj, field.slot))


def _write(obj: Shared, name: str, value: object, how: str) -> None:
    field = shared.field_of(obj, name)
    rt = _runtime()
    if rt is not None:
        rt.announce(field.ops[how], obj)
        newest = getattr(obj, field.slot)
        if not rt.memory.write(obj, name, value, newest, releases=how == "release"):
            return
    setattr(obj, field.slot, value)


def _modify(
    obj: Shared, name: str, change: Callable[[Any], tuple[Any, Any]], order: Order, may_fail: bool
) -> Any:
    """A read-modify-write; one in full order is a full barrier, the access, and a full barrier.

    If it writes nothing it is no barrier at all.
    """
    field = shared.field_of(obj, name)
    rt = _runtime()
    if rt is None:
        return shared.STRONG.modify(obj, name, change, order, may_fail)
    op = field.modify[order]
    if order is Order.FULL:
        if may_fail:
            rt.announce(op, obj)
            result, failed = rt.memory.fails(op, obj, name, change, getattr(obj, field.slot))
            if failed:
                return result
        smp_mb()
    rt.announce(op, obj)
    result, new, last = rt.memory.modify(op, obj, name, change, order, getattr(obj, field.slot))
    if last:
        setattr(obj, field.slot, new)
    if order is Order.FULL and new is not KEEP:
        smp_mb()
    return result


def _init(obj: Shared, **values: Any) -> None:
    shared.STRONG.init(obj, **values)
    rt = _runtime()
    if rt is not None:
        rt.memory.born(obj)


WEAK = shared.Accessors(_property, _read, _write, _modify, _init)
