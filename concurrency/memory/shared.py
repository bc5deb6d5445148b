"""Shared memory: the kind of a field stands in its declaration, and every access to it is an operation.

    class Counter(Shared):
        value: Plain[int] = 0        # checked for data races
        hits: Once[int] = 0          # every access is marked: READ_ONCE(), WRITE_ONCE()
        next: RcuPtr[Counter | None] = None
        users: Atomic[int] = 1
        lock: Unshared[Mutex]        # an ordinary attribute: no access to it is an operation

A field that says nothing is refused when the class is made: forgotten, its lost updates would never be seen.

Attributes are read and written as usual, as their kind says. A site that differs says so: `READ_ONCE(counter,
"value")`, `smp_store_release(counter, "value", 1)`. Kernel: Documentation/memory-barriers.txt and
tools/memory-model/Documentation/access-marking.txt, v6.6.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, TypeVar

from sugarbush.concurrency.core import (
    GENERATED,
    Access,
    ConcurrencyError,
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

T = TypeVar("T")

Plain = Annotated[T, "plain"]
Once = Annotated[T, "once"]
RcuPtr = Annotated[T, "rcu"]
Atomic = Annotated[T, "atomic"]
Unshared = Annotated[T, "unshared"]
"""The field is outside of what is explored: set before others know the object, of one task, or guarded by a lock."""


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

_KIND = re.compile(r"(?:\w+\.)*(Plain|Once|RcuPtr|Atomic|Unshared)\[")
_CLASS_VARIABLE = re.compile(r"(?:\w+\.)*ClassVar\b")
_UNSHARED = "Unshared"
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
            _suspicious(name, False, "rcu_dereference_check")
        return read(obj)

    return dereference


def _suspicious(name: str, fine: bool, call: str) -> None:
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


class SharedMeta(type):
    """Turns the declared fields of a class into slots and operations."""

    def __new__(mcs, name: str, bases: tuple[type, ...], scope: dict[str, Any]) -> SharedMeta:
        """Make the class; a class body that declares no `__slots__` gets them from its annotations."""
        annotations = scope.get("__annotations__", {})
        fields: dict[str, SharedField] = {}
        others: list[str] = []
        for field, annotation in annotations.items():
            spelt = _spell(annotation)
            match = _KIND.match(spelt)
            if match is not None and match[1] != _UNSHARED:
                fields[field] = SharedField(field, FieldKind(match[1]))
            elif match is not None:
                others.append(field)
            # Shared itself declares what the engine keeps about an object, in slots of its own.
            elif bases and not _CLASS_VARIABLE.match(spelt):
                raise ConcurrencyError(_without_kind(f"{name}.{field}", spelt))
        defaults = {field: scope.pop(field) for field in [*fields, *others] if field in scope}
        slots = [field.slot for field in fields.values()]
        scope.setdefault("__slots__", tuple(slots + others))
        scope["_own_fields"] = fields
        scope["_own_defaults"] = defaults
        scope.update({field: _accessors.property(shared) for field, shared in fields.items()})
        cls = super().__new__(mcs, name, bases, scope)
        cls._fields = {
            key: field for base in reversed(cls.__mro__) for key, field in _own(base, "_own_fields")
        }
        cls._defaults = {
            key: value for base in reversed(cls.__mro__) for key, value in _own(base, "_own_defaults")
        }
        _refuse_inherited(cls)
        return cls

    _fields: dict[str, SharedField]
    _defaults: dict[str, Any]


def _own(base: type, what: str) -> list[tuple[str, Any]]:
    return list(base.__dict__.get(what, {}).items())


def _spell(annotation: Any) -> str:
    """An annotation as text; one that was evaluated as it is written: ``Annotated[int, "plain"]`` is ``Plain[int]``."""
    if isinstance(annotation, str):
        return annotation
    kinds = {"plain": "Plain", "once": "Once", "rcu": "RcuPtr", "atomic": "Atomic", "unshared": _UNSHARED}
    for mark in getattr(annotation, "__metadata__", ()):
        if mark in kinds:
            return f"{kinds[mark]}[{_spell(annotation.__origin__)}]"
    return annotation.__name__ if type(annotation) is type else str(annotation)


def _without_kind(field: str, spelt: str) -> str:
    # Plain stands for what no access says more about, so it is what a reader who has not thought about it means.
    kind = re.sub(r"^(?:\w+\.)*(Plain|Once|RcuPtr|Atomic|Unshared)$", "...", spelt)
    return (
        f"{field} does not say how it is shared, so no access to it would be explored: write `Plain[{kind}]` (or Once, "
        f"RcuPtr, Atomic), or `{_UNSHARED}[{kind}]` if tasks never meet at it"
    )


def _refuse_inherited(cls: SharedMeta) -> None:
    """A field that a class which is not `Shared` declares would be an ordinary attribute, whatever its kind."""
    for base in cls.__mro__:
        if isinstance(base, SharedMeta):
            continue
        for field, annotation in inspect.get_annotations(base).items():
            spelt = _spell(annotation)
            if field in cls._fields or field in _slots(cls) or _CLASS_VARIABLE.match(spelt):
                continue
            raise ConcurrencyError(
                f"{base.__name__}.{field}, which {cls.__name__} inherits, would not be shared, since "
                f"{base.__name__} is no Shared class: make it one, or declare the field in {cls.__name__}"
            )


def _slots(cls: SharedMeta) -> set[str]:
    """The ordinary attributes that `Shared` classes of this one have declared."""
    return {
        name
        for base in cls.__mro__
        if isinstance(base, SharedMeta)
        for name in base.__dict__.get("__slots__", ())
    }


class Shared(metaclass=SharedMeta):
    """Base of objects with shared fields.

    Every field has a kind; `Unshared` ones are ordinary attributes: tasks never meet at them, or something else guards
    them. Keyword arguments of the constructor set fields before the object is visible to anybody, so they are not
    operations.
    """

    __slots__ = ("__weakref__", "_memory")

    _memory: Any
    """What weak memory keeps about the object (`concurrency.runtimes.weak`)."""

    def __init__(self, **values: Any) -> None:
        fields = type(self)._fields
        for name, value in {**type(self)._defaults, **values}.items():
            setattr(self, fields[name].slot if name in fields else name, value)


def field_of(obj: Shared, name: str) -> SharedField:
    """The declared field of this name; raises `ConcurrencyError`."""
    field = type(obj)._fields.get(name)
    if field is None:
        raise ConcurrencyError(f"{type(obj).__name__} declares no shared field {name!r}")
    return field


def _read(obj: Shared, name: str, how: str) -> Any:
    field = field_of(obj, name)
    rt = active.runtime
    if rt is not None:
        rt.step(field.ops[how], obj)
    return getattr(obj, field.slot)


def _write(obj: Shared, name: str, value: object, how: str) -> None:
    field = field_of(obj, name)
    op = field.ops[how]
    if op.effect is not None:
        perform(op, obj, value)
        return
    rt = active.runtime
    if rt is not None:
        rt.step(op, obj)
    setattr(obj, field.slot, value)


def peek(obj: Shared, name: str) -> Any:
    """The value of a field, seen from inside the effect of an operation or from outside the program."""
    return getattr(obj, type(obj)._fields[name].slot)


def poke(obj: Shared, name: str, value: object) -> None:
    """Set a field from inside the effect of an operation, of which it is a part."""
    setattr(obj, type(obj)._fields[name].slot, value)


def READ_ONCE(obj: Shared, name: str) -> Any:
    """A marked read of a field of any kind."""
    return _read(obj, name, "read_once")


def WRITE_ONCE(obj: Shared, name: str, value: object) -> None:
    """A marked write to a field of any kind."""
    _write(obj, name, value, "write_once")


def smp_load_acquire(obj: Shared, name: str) -> Any:
    """A read after which everything before the release that it reads from is visible."""
    return _read(obj, name, "acquire")


def smp_store_release(obj: Shared, name: str, value: object) -> None:
    """A write before which everything of this task is visible."""
    _write(obj, name, value, "release")


def rcu_assign_pointer(obj: Shared, name: str, value: object) -> None:
    """Publish: what `value` points to is initialised for every reader that sees it."""
    _write(obj, name, value, "release")


def rcu_access_pointer(obj: Shared, name: str) -> Any:
    """The pointer's value only, not to be followed; needs no reader."""
    return _read(obj, name, "read_once")


def rcu_dereference_protected(obj: Shared, name: str, condition: bool) -> Any:
    """The pointer as the update side sees it; `condition` says that its lock is held."""
    _suspicious(name, condition, "rcu_dereference_protected")
    return _read(obj, name, "read_once")


def rcu_dereference_check(obj: Shared, name: str, condition: bool) -> Any:
    """The pointer as seen by a reader, or by someone for whom `condition` (a lock is held) is true."""
    _suspicious(name, condition or current_task().rcu_nesting > 0, "rcu_dereference_check")
    return _read(obj, name, "dereference")


def rcu_dereference(obj: Shared, name: str) -> Any:
    """The pointer as seen by a reader; what is read through it is at least what its publisher had initialised."""
    return rcu_dereference_check(obj, name, False)


def modify(
    obj: Shared,
    name: str,
    change: Callable[[Any], tuple[Any, Any]],
    order: Order,
    *,
    may_fail: bool = False,
) -> Any:
    """Atomically replace the field by what `change` makes of it (or `KEEP`); gives its second result (or `NO_RESULT`).

    `change` may be called more than once, so it must not do anything else. If it `may_fail`, one in full order that
    gives `KEEP` is no barrier under weak memory, not even before it, as a cmpxchg() that fails.
    """
    return _modify(obj, name, change, order, may_fail)


def _modify(
    obj: Shared,
    name: str,
    change: Callable[[Any], tuple[Any, Any]],
    order: Order,
    may_fail: bool,  # noqa: ARG001
) -> Any:
    return perform(field_of(obj, name).modify[order], obj, change)


class Accessors(NamedTuple):
    """How fields are accessed under one memory model."""

    property: Callable[[SharedField], property]
    read: Callable[[Shared, str, str], Any]
    write: Callable[[Shared, str, object, str], None]
    modify: Callable[[Shared, str, Callable[[Any], tuple[Any, Any]], Order, bool], Any]
    init: Callable[..., None]


STRONG = Accessors(SharedField.property, _read, _write, _modify, Shared.__init__)
"""Sequential consistency."""


def use_accessors(accessors: Accessors) -> None:
    """Have all shared fields accessed so, from now on; then no access has to ask which memory model holds."""
    global _accessors
    if _accessors is accessors:
        return
    _accessors = accessors
    globals().update(_read=accessors.read, _write=accessors.write, _modify=accessors.modify)
    type.__setattr__(Shared, "__init__", accessors.init)
    classes: list[type] = [Shared]
    for cls in classes:
        classes += type.__subclasses__(cls)
        for name, field in _own(cls, "_own_fields"):
            type.__setattr__(cls, name, accessors.property(field))


_accessors = STRONG
