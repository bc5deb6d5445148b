"""Shared memory: the kind of a field stands in its declaration, and every access to it is an operation.

    class Counter(Shared):
        value: Plain[int] = 0        # checked for data races
        hits: Once[int] = 0          # every access is marked: READ_ONCE(), WRITE_ONCE()
        next: RcuPtr[Counter | None] = None
        users: Atomic[int] = 1
        lock: Unshared[Mutex]        # an ordinary attribute: no access to it is an operation

A field without a kind is refused when the class is made: were it an ordinary attribute, its lost updates would
never be seen.

Attributes are read and written as usual, as their kind says. An access that differs says so: `READ_ONCE(counter,
"value")`, `smp_store_release(counter, "value", 1)`. Kernel: Documentation/memory-barriers.txt and
tools/memory-model/Documentation/access-marking.txt, v6.6.

>>> from sugarbush import explore, spawn
>>> class Counter(Shared):
...     value: Plain[int] = 0
>>> counter = Counter(value=5)
>>> counter.value                       # no program runs, so no operation is made
5
>>> def program():
...     counter = Counter()
...     def increment():
...         counter.value += 1          # two operations: a read and a write
...     spawn(increment)
...     increment()
>>> explore(program).failures[0].failure.headline
'BUG: KCSAN: data-race in Counter.value: write by increment, read by main'
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeVar

from sugarbush.concurrency.core import ConcurrencyError, active, current_task, perform
from sugarbush.concurrency.memory.field import FieldKind, Order, SharedField, suspicious

T = TypeVar("T")

Plain = Annotated[T, "plain"]
Once = Annotated[T, "once"]
RcuPtr = Annotated[T, "rcu"]
Atomic = Annotated[T, "atomic"]
Unshared = Annotated[T, "unshared"]
"""Accesses to the field are not explored: it is set before other tasks know the object, or belongs to one task, or
a lock that is always held guards it."""


# By their text: with ``from __future__ import annotations`` they are texts, and to evaluate them in the metaclass
# would need names that are not defined yet (a class that refers to itself).
_KIND = re.compile(r"(?:\w+\.)*(Plain|Once|RcuPtr|Atomic|Unshared)\[")
_CLASS_VARIABLE = re.compile(r"(?:\w+\.)*ClassVar\b")
_UNSHARED = "Unshared"


class SharedMeta(type):
    """Turns the declared fields of a class into slots and operations."""

    def __new__(mcs, name: str, bases: tuple[type, ...], scope: dict[str, Any]) -> SharedMeta:
        """Make the class; a class body that declares no `__slots__` gets them from its annotations."""
        # The value of the field `f` is in the slot `_f`, and `f` itself is a property that makes an operation.
        # Slots also make a misspelt attribute an error, where an object with a dictionary would take it silently.
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
    """An annotation as text; an evaluated one as it is written: ``Annotated[int, "plain"]`` is ``Plain[int]``."""
    if isinstance(annotation, str):
        return annotation
    kinds = {"plain": "Plain", "once": "Once", "rcu": "RcuPtr", "atomic": "Atomic", "unshared": _UNSHARED}
    for mark in getattr(annotation, "__metadata__", ()):
        if mark in kinds:
            return f"{kinds[mark]}[{_spell(annotation.__origin__)}]"
    return annotation.__name__ if type(annotation) is type else str(annotation)


def _without_kind(field: str, spelt: str) -> str:
    # Plain is proposed first: it is the kind that is checked for data races, so a wrong guess is found.
    kind = re.sub(r"^(?:\w+\.)*(Plain|Once|RcuPtr|Atomic|Unshared)$", "...", spelt)
    return (
        f"{field} does not say how it is shared, so no access to it would be explored: write `Plain[{kind}]` (or Once, "
        f"RcuPtr, Atomic), or `{_UNSHARED}[{kind}]` if tasks never meet at it"
    )


def _refuse_inherited(cls: SharedMeta) -> None:
    """Raise `ConcurrencyError` for a field that `cls` inherits from a class which is not `Shared`.

    It would be an ordinary attribute, whatever its kind, since only this metaclass makes operations of fields.
    """
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

    Every field has a kind; `Unshared` ones are ordinary attributes. Keyword arguments of the constructor set fields
    before any other task can know the object, so that makes no operations.
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


# `_read`, `_write` and `_modify` are replaced in this module when the memory model changes (`use_accessors`), so
# whatever is below calls them by these names and keeps no reference to them.


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
    """The pointer for the update side; a report unless `condition` (its lock is held) is true."""
    suspicious(name, condition, "rcu_dereference_protected")
    return _read(obj, name, "read_once")


def rcu_dereference_check(obj: Shared, name: str, condition: bool) -> Any:
    """The pointer for a reader, or for a task for which `condition` (a lock is held) is true; otherwise a report."""
    suspicious(name, condition or current_task().rcu_nesting > 0, "rcu_dereference_check")
    return _read(obj, name, "dereference")


def rcu_dereference(obj: Shared, name: str) -> Any:
    """The pointer for a reader; what is read through it is at least as new as what its publisher had initialised."""
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

    `change` gets the old value and returns the new one and the result. It may be called more than once, and on
    older values, so it must not do anything else. ``may_fail=True`` declares that it may return `KEEP`: under weak
    memory the operation is then no barrier if it does, not even before the access, as a cmpxchg() that fails.
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
    """How fields are accessed under one memory model: what `use_accessors` puts in place."""

    property: Callable[[SharedField], property]
    read: Callable[[Shared, str, str], Any]
    write: Callable[[Shared, str, object, str], None]
    modify: Callable[[Shared, str, Callable[[Any], tuple[Any, Any]], Order, bool], Any]
    init: Callable[..., None]


STRONG = Accessors(SharedField.property, _read, _write, _modify, Shared.__init__)
"""Sequential consistency."""


def use_accessors(accessors: Accessors) -> None:
    """Access all shared fields of all classes so from now on.

    The runtime calls this at the start of each execution. It changes every `Shared` class, which takes long, but
    only when an execution has another memory model than the last one; in return no access has to ask which model
    holds.
    """
    global _accessors
    if _accessors is accessors:
        return
    _accessors = accessors
    globals().update(_read=accessors.read, _write=accessors.write, _modify=accessors.modify)
    type.__setattr__(Shared, "__init__", accessors.init)
    # `type.__subclasses__` holds them weakly, so a class that a program made inside of an execution goes with it.
    classes: list[type] = [Shared]
    for cls in classes:
        classes += type.__subclasses__(cls)
        for name, field in _own(cls, "_own_fields"):
            type.__setattr__(cls, name, accessors.property(field))


_accessors = STRONG
