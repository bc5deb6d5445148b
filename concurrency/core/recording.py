"""Objects that tell which of their attributes are read and set: the audit watches a program by them.

An object that is watched gets another class of the same layout (`make_recording`), whose `__getattribute__` and
`__setattr__` tell `current.watch` of each access. When the execution is over it gets its own class back. So nothing
has to be changed in the program, and without an audit nothing costs anything.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from enum import Enum
from inspect import getattr_static
from types import CellType, MemberDescriptorType
from typing import Any, Protocol

from sugarbush.concurrency.core.operation import Operation
from sugarbush.concurrency.core.task import Task
from sugarbush.lockdep.model import is_part

CONTAINERS = (list, dict, set, deque)
DEPTH = 3
"""How deep containers inside of containers are gone through (`spell_out`); deeper ones count by their identity."""
_HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: the class was made by a class statement, so that `__class__` can be set to a subclass."""
ENGINE = ("sugarbush.concurrency", "sugarbush.lockdep", "greenlet", "hypothesis", "_pytest", "pytest")
_OUR_ROOMS = ("sugarbush.concurrency.locks", "sugarbush.concurrency.waits", "sugarbush.concurrency.time")
"""The rooms of primitives: a new one is watched by where it lies (`tests/.../runtimes/test_audit_watches.py`)."""
_OUR_MODULES = (
    "sugarbush.concurrency.core.fence",
    "sugarbush.concurrency.core.task",
    "sugarbush.concurrency.memory.pressure",
    "sugarbush.concurrency.memory.slab",
    "sugarbush.concurrency.rcu.domain",
    "sugarbush.concurrency.rcu.queue",
    "sugarbush.concurrency.rcu.srcu",
    "sugarbush.concurrency.rcu.tasks",
)
"""In rooms that hold parts of the machine, too, the modules whose objects hold what operations change."""


def _is_ours(module: str) -> bool:
    """Objects of classes of this module of the engine hold what operations change; the rest of it is the machine."""
    return module in _OUR_MODULES or module.rpartition(".")[0] in _OUR_ROOMS


class AttributeWatch(Protocol):
    """What is told of each access, if it is `listening`: the audit."""

    listening: bool

    def read(self, obj: object, name: str, value: Any) -> None:
        """An attribute was read."""

    def changed(self, obj: object, name: str) -> None:
        """An attribute was set."""

    def elsewhere(self) -> AbstractContextManager[None]:
        """A block inside of which no access is told."""


class _Current:
    """Holds the one that watches now, if any. An attribute of an object, so that all modules see it change."""

    watch: AttributeWatch | None = None


current = _Current()
recorded: dict[type, type] = {}
"""For each class its recording class, or the class itself where there can be none; a recording class is its own."""


def make_recording(cls: type) -> type:
    """A subclass of the same layout, which tells the watch of each access; `cls` itself if there can be none."""
    module = cls.__module__
    if (
        not cls.__flags__ & _HEAP_TYPE
        or issubclass(cls, (type, Enum, tuple, BaseException, Operation, *CONTAINERS))
        # An object that is compared by value counts as a value. One that has its own way of finding attributes would
        # lose it, since the recording class puts another one in front.
        or cls.__eq__ is not object.__eq__
        or cls.__getattribute__ is not object.__getattribute__
        or cls.__setattr__ is not object.__setattr__
        or "__getattr__" in {name for base in cls.__mro__ for name in base.__dict__}
        # A class made by `exec` with globals that have no `__name__` claims to be of the module builtins. It is
        # watched: the true builtins are no heap types, and were sorted out above.
        or (module != "builtins" and module.partition(".")[0] in sys.stdlib_module_names)
        or (is_part(module, ENGINE) and not _is_ours(module))
    ):
        return cls

    def get(obj: object, name: str) -> Any:
        if name == "__class__":
            return cls
        value = object.__getattribute__(obj, name)
        watch = current.watch
        if watch is not None and watch.listening:
            watch.read(obj, name, value)
        return value

    def put(obj: object, name: str, value: Any) -> None:
        # A sleeping lock adds 0 to the `preempt_count` of its task (`count` in `locks.lock.owned_operations`). Only
        # the task itself changes that, so a set that leaves it as it is does so in every order, and is no change.
        stays = name == "preempt_count" and getattr(obj, name, None) == value
        object.__setattr__(obj, name, value)
        watch = current.watch
        if watch is not None and watch.listening and not stays:
            watch.changed(obj, name)

    scope = {
        **{name: _unheard(member) for name, member in _own_questions(cls)},
        "__slots__": (),
        "__getattribute__": get,
        "__setattr__": put,
        "__module__": module,
        "__qualname__": cls.__qualname__,
    }
    try:
        meta: Any = type(cls)
        made: type = meta(cls.__name__, (cls,), scope)
    except TypeError:
        return cls
    recorded[made] = made
    return made


def _own_questions(cls: type) -> Iterator[tuple[str, Any]]:
    """The methods of a class that answer about the calling task only (`runtime.of_oneself`), the bases' first."""
    for base in reversed(cls.__mro__):
        for name, member in base.__dict__.items():
            if getattr(member, "of_oneself", False):
                yield name, member


def _unheard(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, made so that its accesses are not told: what other tasks change does not change its answer."""

    def call(*args: Any, **how: Any) -> Any:
        watch = current.watch
        if watch is None:
            return method(*args, **how)
        with watch.elsewhere():
            return method(*args, **how)

    return call


def is_empty(cell: CellType) -> bool:
    """Whether the variable of a closure has no value yet."""
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def class_of(obj: object) -> type:
    """The class of an object as the program has it, also while the object is watched."""
    cls = type(obj)
    return cls.__base__ or cls if recorded.get(cls) is cls and "__getattribute__" in cls.__dict__ else cls


_data: dict[tuple[type, str], bool] = {}


def is_data(obj: object, name: str) -> bool:
    """Whether the attribute is a value that the object itself holds, not a method or a property."""
    key = type(obj), name
    found = _data.get(key)
    if found is None:
        member = getattr_static(type(obj), name, None)
        found = _data[key] = not name.startswith("__") and (
            isinstance(member, MemberDescriptorType) or not hasattr(member, "__get__")
        )
    return found


def has_entries(obj: object, name: str) -> bool:
    """Whether the attribute is a dictionary with one entry a task, under its number, at which only that task looks.

    That is `late` of objects that tasks wait for with a deadline (`faces.Timed`). The task takes its entry out
    after `del_timer_sync`, which is an operation on the clock, not on this object; other tasks make and take out
    theirs meanwhile. As one attribute that would be reported. So the entries are watched one by one, and what would
    be wrong is still found: an entry that the clock makes after the task has taken it out.
    """
    return name == "late" and any(_is_ours(base.__module__) for base in type(obj).__mro__)


def spell_out(value: Any, task: Task | None, depth: int = DEPTH) -> Any:
    """A value in a form in which two moments can be compared; containers are gone through `depth` levels deep.

    The entry of a dictionary under `task` is left out: an entry under a task is that task's own.
    """
    # Objects count by identity: the audit watches their attributes by themselves. A set and a dictionary have no order
    # here, a list has.
    kind = type(value)
    if kind is dict:
        return frozenset(
            (id(key) if isinstance(key, Task) else key, _inner(one, task, depth))
            for key, one in value.items()
            if task is None or key is not task
        )
    if kind in (list, deque, tuple):
        return tuple(_inner(one, task, depth) for one in value)
    if kind is set:
        return frozenset(_inner(one, task, depth) for one in value)
    return value if isinstance(value, (int, str, float, bytes, type(None))) else id(value)


def _inner(value: Any, task: Task | None, depth: int) -> Any:
    if depth and type(value) in (*CONTAINERS, tuple):
        return spell_out(value, task, depth - 1)
    return value if isinstance(value, (int, str, float, bytes, type(None))) else id(value)


def state_of(obj: Any) -> object:
    """All values that an object holds, by the names of its attributes in a fixed order, as `spell_out` gives them."""
    names = sorted(
        {name for base in type(obj).__mro__ for name in base.__dict__ if is_data(obj, name)}
        | set(getattr(obj, "__dict__", ()))
    )
    return tuple((name, spell_out(getattr(obj, name, None), None)) for name in names)
