"""Objects that tell when they are touched, so that a search knows which turns a free has to be compared with.

To free an object makes every later touch of it a failure, also one that is no operation. No declaration says what code
between two operations touches, so a free would have to be compared with everything. Here the objects of slab
caches have a class of the same layout that tells of each touch, as long as a search wants to know;
`concurrency.core.recording` does the same for the audit, which wants to know more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sugarbush.concurrency.core import active

_known: dict[type, type] = {}


class _Current:
    """What is called at each touch, if a search wants to know."""

    touched: Callable[[object], None] | None = None


current = _Current()


def have_told(obj: object) -> bool:
    """Have `obj` tell of each touch from now on; False if its class cannot be replaced."""
    cls = type(obj)
    telling = _known.get(cls)
    if telling is None:
        telling = _known[cls] = _make(cls)
    if telling is cls:
        return False
    object.__setattr__(obj, "__class__", telling)
    return True


def _make(cls: type) -> type:
    kept: Any = cls
    # A class that has ways of its own to read or set attributes keeps them: what it does there may matter.
    if kept.__getattribute__ is not object.__getattribute__ or kept.__setattr__ is not object.__setattr__:
        return cls

    def get(obj: object, name: str) -> Any:
        if name == "__class__":
            return cls
        # Not the program: an observer that looks from outside, or `Operation.touches`.
        if active.runtime is not None and current.touched is not None:
            current.touched(obj)
        return object.__getattribute__(obj, name)

    def put(obj: object, name: str, value: Any) -> None:
        if active.runtime is not None and current.touched is not None:
            current.touched(obj)
        object.__setattr__(obj, name, value)

    scope = {
        "__slots__": (),
        "__getattribute__": get,
        "__setattr__": put,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
    }
    meta: Any = type(cls)
    try:
        made: type = meta(cls.__name__, (cls,), scope)
    except TypeError:
        # It allows no subclass, or its metaclass wants more.
        return cls
    _known[made] = made
    return made
