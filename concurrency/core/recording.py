"""Objects that tell which of their attributes are read and set: what the audit watches by.

An object that is watched gets a class of the same layout, which tells `current.watch` of each access; when the
execution is over it gets its own back.
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
_HEAP_TYPE = 1 << 9
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


class Watch(Protocol):
    """Who wants to know."""

    listening: bool

    def read(self, obj: object, name: str, value: Any) -> None:
        """An attribute was read."""

    def changed(self, obj: object, name: str) -> None:
        """An attribute was set."""

    def elsewhere(self) -> AbstractContextManager[None]:
        """What happens in the block is not told."""


class _Current:
    """Who watches now."""

    watch: Watch | None = None


current = _Current()
recorded: dict[type, type] = {}
"""For each class the one that notes what is read and set; the class itself where there can be none."""


def make_recording(cls: type) -> type:
    """A subclass of the same layout, which tells the watch of each access."""
    module = cls.__module__
    if (
        not cls.__flags__ & _HEAP_TYPE
        or issubclass(cls, (type, Enum, tuple, BaseException, Operation, *CONTAINERS))
        # What is compared by value is a value; what looks after its own attributes cannot be looked after.
        or cls.__eq__ is not object.__eq__
        or cls.__getattribute__ is not object.__getattribute__
        or cls.__setattr__ is not object.__setattr__
        or "__getattr__" in {name for base in cls.__mro__ for name in base.__dict__}
        # A class made by `exec` with globals that have no __name__ says that it is one of the builtins; those are not
        # on the heap.
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
        # A lock that sleeps adds 0 to it (`concurrency.locks.lock`). Only the task itself sets it, so what leaves it
        # as it is does so in every order.
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
    """The methods that answer about the calling task only (`of_oneself`)."""
    for base in reversed(cls.__mro__):
        for name, member in base.__dict__.items():
            if getattr(member, "of_oneself", False):
                yield name, member


def _unheard(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that nobody watches: what others change does not change its answer."""

    def call(*args: Any, **how: Any) -> Any:
        watch = current.watch
        if watch is None:
            return method(*args, **how)
        with watch.elsewhere():
            return method(*args, **how)

    return call


def is_empty(cell: CellType) -> bool:
    """The variable has no value yet."""
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def class_of(obj: object) -> type:
    """The class of an object as the program wrote it."""
    cls = type(obj)
    return cls.__base__ or cls if recorded.get(cls) is cls and "__getattribute__" in cls.__dict__ else cls


_data: dict[tuple[type, str], bool] = {}


def is_data(obj: object, name: str) -> bool:
    """The name is that of a value that the object itself holds, not of a method or a property."""
    key = type(obj), name
    found = _data.get(key)
    if found is None:
        member = getattr_static(type(obj), name, None)
        found = _data[key] = not name.startswith("__") and (
            isinstance(member, MemberDescriptorType) or not hasattr(member, "__get__")
        )
    return found


def has_entries(obj: object, name: str) -> bool:
    """The attribute is a dictionary of entries by the numbers of tasks, of which each task looks at its own only.

    That is `late` of what tasks wait for with a deadline (`concurrency.core.faces.Timed`). A task takes its entry
    out after `del_timer_sync`, an operation on the clock; others make and take theirs meanwhile. The entries are
    watched one by one, so what would be wrong is still found: an entry that the clock makes after the task has taken
    it out.
    """
    return name == "late" and any(_is_ours(base.__module__) for base in type(obj).__mro__)


def spell_out(value: Any, task: Task | None, depth: int = DEPTH) -> Any:
    """What a value is, so that two moments can be compared; without what is `task`'s own in dictionaries.

    An entry under a task is that task's own.
    """
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
    """All that an object holds."""
    names = sorted(
        {name for base in type(obj).__mro__ for name in base.__dict__ if is_data(obj, name)}
        | set(getattr(obj, "__dict__", ()))
    )
    return tuple((name, spell_out(getattr(obj, name, None), None)) for name in names)
