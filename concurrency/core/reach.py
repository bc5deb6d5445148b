"""Which values of a program can be gone through: whose class they are of, and what of it holds state."""

from __future__ import annotations

import sys
from collections import deque
from enum import Enum
from functools import lru_cache, partial
from types import CellType, FunctionType, MethodType
from typing import Any

from sugarbush.lockdep.model import is_part

ENGINE = ("sugarbush.concurrency", "sugarbush.lockdep", "greenlet")
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
CONTAINERS = (list, tuple, dict, set, frozenset, deque, bytearray)
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
    if kind in CONTAINERS or kind in (MethodType, CellType, partial):
        return True
    if kind is FunctionType:
        return is_users(value.__module__)
    return not isinstance(value, (type, Enum)) and is_users(kind.__module__) and not shared_fields(kind)


@lru_cache(maxsize=1024)
def is_users(module: str | None) -> bool:
    """Whether a module of this name is a part of the program: neither the library's nor ours."""
    module = module or ""
    return not is_part(module, ENGINE) and module.partition(".")[0] not in sys.stdlib_module_names


@lru_cache(maxsize=1024)
def is_plain_class(kind: type) -> bool:
    """All that an object of this class holds is its attributes, and what its container holds.

    A class that was made in C has room for something else.
    """
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
    """The attributes of an object that do not stand in its dictionary."""
    return tuple(
        name
        for base in kind.__mro__
        for name, part in vars(base).items()
        if type(part).__name__ == "member_descriptor" and name != "_memory"
    )


@lru_cache(maxsize=1024)
def shared_fields(kind: type) -> frozenset[str]:
    """The slots of an object of `Shared` that operations change, and nothing else."""
    fields = getattr(kind, "_fields", None)
    if type(type(kind)).__name__ != "type" or type(kind).__module__ != "sugarbush.concurrency.memory.shared":
        return frozenset()
    return frozenset(f"_{name}" for name in fields or ())
