"""Which values of a program `frames` goes through, and in which attributes of them there is state.

The line is drawn between the program and all else: of an object of the program's own classes every attribute counts;
the engine's objects change by operations only, which are counted as such, and the library's are not gone through.
"""

from __future__ import annotations

import sys
from collections import deque
from enum import Enum
from functools import lru_cache, partial
from types import CellType, FunctionType, MethodType
from typing import Any

from sugarbush.lockdep.model import is_part

ENGINE = ("sugarbush.concurrency", "sugarbush.lockdep", "greenlet")
# `float` is not among the plain types: NaN is not equal to itself (`frames` takes the text).
PLAIN = (int, str, bytes, bool, complex, type(None), type(Ellipsis), type(NotImplemented), range)
STATIC = frozenset(
    [
        "member_descriptor",
        "getset_descriptor",
        "wrapper_descriptor",
        "method_descriptor",
        "classmethod_descriptor",
    ]
)
"""Types of what Python puts into classes; none of it changes."""
CONTAINERS = (list, tuple, dict, set, frozenset, deque, bytearray)
# Attributes of classes that Python, abc, typing, dataclasses and `Shared` make when the class is made.
NO_STATE = frozenset(
    [
        "__module__",
        "__doc__",
        "__dict__",
        "__weakref__",
        "__annotations__",
        "__qualname__",
        "__static_attributes__",
        "__firstlineno__",
        "__slots__",
        "__abstractmethods__",
        "_abc_impl",
        "__orig_bases__",
        "__parameters__",
        "__match_args__",
        "__classcell__",
        "_own_fields",
        "_own_defaults",
        "_fields",
        "_defaults",
        "__dataclass_fields__",
        "__dataclass_params__",
    ]
)


def is_gone_through(value: Any, kind: type) -> bool:
    """Whether a value counts by what is in it, and not by which object it is, as a list does."""
    if kind in CONTAINERS or kind in (MethodType, CellType, partial):
        return True
    if kind is FunctionType:
        return is_users(value.__module__)
    return not isinstance(value, (type, Enum)) and is_users(kind.__module__) and not shared_fields(kind)


@lru_cache(maxsize=1024)
def is_users(module: str | None) -> bool:
    """Whether a module of this name is a part of the program: neither of the standard library nor of the engine."""
    module = module or ""
    return not is_part(module, ENGINE) and module.partition(".")[0] not in sys.stdlib_module_names


@lru_cache(maxsize=1024)
def is_plain_class(kind: type) -> bool:
    """Whether an object of this class holds nothing but its attributes, and its entries if it is a container.

    A class made in C may have fields of its own in the memory of its objects. They cannot be seen, but their size can:
    the object is larger than its base and its own slots account for.
    """
    # `__flags__ >> 9 & 1` is Py_TPFLAGS_HEAPTYPE, which classes that a program makes have, those of C mostly not.
    for base in kind.__mro__:
        if base is object or base in CONTAINERS:
            continue
        below = base.__base__
        assert below is not None
        members = sum(type(part).__name__ == "member_descriptor" for part in vars(base).values())
        members += base.__dictoffset__ > 0 and not below.__dictoffset__
        members += base.__weakrefoffset__ > 0 and not below.__weakrefoffset__
        if not base.__flags__ >> 9 & 1 or base.__basicsize__ != below.__basicsize__ + members * _POINTER:
            return False
    return True


_POINTER = tuple.__itemsize__


@lru_cache(maxsize=1024)
def slots(kind: type) -> tuple[str, ...]:
    """The attributes of an object that stand in slots, without what weak memory keeps there (`Shared._memory`)."""
    return tuple(
        name
        for base in kind.__mro__
        for name, part in vars(base).items()
        if type(part).__name__ == "member_descriptor" and name != "_memory"
    )


@lru_cache(maxsize=1024)
def shared_fields(kind: type) -> frozenset[str]:
    """The slots of an object of a `Shared` class that only operations change; empty for any other class."""
    # By the name of the metaclass's module: `memory` stands above this room, so it cannot be imported here.
    fields = getattr(kind, "_fields", None)
    if type(type(kind)).__name__ != "type" or type(kind).__module__ != "sugarbush.concurrency.memory.shared":
        return frozenset()
    return frozenset(f"_{name}" for name in fields or ())
