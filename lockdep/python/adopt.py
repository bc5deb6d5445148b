"""Locks and factories that modules have made, or taken hold of, before the program was watched."""

from __future__ import annotations

import gc
import sys
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sugarbush.lockdep.model import Frame
from sugarbush.lockdep.python.factories import WatchedLock, WatchedRLock
from sugarbush.lockdep.python.locks import BaseLock, LockType, RealLock, RealRLock
from sugarbush.lockdep.python.patches import Patches
from sugarbush.lockdep.python.relocks import BaseRLock
from sugarbush.lockdep.python.sites import SiteKey

if TYPE_CHECKING:
    from sugarbush.lockdep.python.program import Program

# Watching itself uses their locks, for imports, threads, the collector's own work: to watch those would go in circles.
_LEFT_ALONE = frozenset(
    ("threading", "_thread", "importlib", "_weakrefset", "weakref", "sys", "builtins", "faulthandler", "signal", "gc",
     "linecache", "tokenize", "re", "enum", "io", "greenlet", "gevent", "eventlet", "sugarbush", "_pytest", "pluggy")
)  # fmt: skip
_CONDITION = ("acquire", "release", "_release_save", "_acquire_restore", "_is_owned")


class Adopter:
    """Puts watched locks where real ones are held, around the very same locks."""

    def __init__(self, program: Program, patches: Patches) -> None:
        self._program = program
        self._patches = patches
        self._known: dict[int, tuple[Any, BaseLock | BaseRLock]] = {}
        self._keys: dict[tuple[str, str], SiteKey] = {}
        self._factories = {
            id(RealLock): WatchedLock,
            id(RealRLock): WatchedRLock,
            id(threading.Lock): WatchedLock,
            id(threading.RLock): WatchedRLock,
        }

    def modules(self) -> None:
        """Adopt the locks that modules hold in their globals, and the factories that they have taken hold of."""
        for name, module in list(sys.modules.items()):
            if isinstance(module, ModuleType) and name.partition(".")[0] not in _LEFT_ALONE:
                file = getattr(module, "__file__", None) or name
                for attribute, value in list(vars(module).items()):
                    factory = self._factories.get(id(value))
                    if factory is not None:
                        self._patches.put(module, attribute, factory)
                    elif type(value) is LockType or type(value) is RealRLock:
                        self._patches.put(module, attribute, self._around(value, name, attribute, file))

    def objects(self) -> None:
        """Adopt the locks in attributes of objects that live already: handlers, queues, conditions."""
        conditions = []
        for one in gc.get_objects():
            kind = type(one)
            module: object = kind.__module__
            if not isinstance(module, str):
                # A class may have anything under that name: the description of an attribute of its objects, say.
                continue
            if module.partition(".")[0] in _LEFT_ALONE and kind is not threading.Condition:
                continue
            if kind is threading.Condition:
                conditions.append(one)
                continue
            if not kind.__flags__ & _HEAP or type(names := _own_names(one)) is not dict:
                continue
            for attribute, value in list(names.items()):
                if type(value) is LockType or type(value) is RealRLock:
                    self._patches.put(
                        one, attribute, self._around(value, kind.__qualname__, attribute, module)
                    )
        for condition in conditions:
            self._condition(condition)

    def _condition(self, condition: threading.Condition) -> None:
        """A condition calls the methods of its lock by names of its own."""
        names = vars(condition)
        known = self._known.get(id(names.get("_lock")))
        if known is None:
            return
        lock = known[1]
        names["_lock"] = lock
        for name in _CONDITION:
            if name in names:
                names[name] = getattr(lock, name)

    def _around(self, real: Any, owner: str, attribute: str, file: str) -> BaseLock | BaseRLock:
        known = self._known.get(id(real))
        if known is None:
            name = f"{owner}.{attribute}"
            kind = "Lock" if type(real) is LockType else "RLock"
            key = self._keys.get((owner, attribute))
            if key is None:
                made = Frame("before lockdep was installed", file, 0)
                key = self._keys[owner, attribute] = SiteKey(name, made, kind, ())
            known = self._known[id(real)] = real, self._program.adopt(real, key)
        return known[1]


_HEAP = 1 << 9


def _own_names(one: object) -> object:
    """The attributes that an object keeps in a dictionary; None if it keeps none."""
    # Not by getattr(): an object with a `__getattr__` or `__getattribute__` of its own would run the program's code
    # here, and may raise whatever it likes (a model of pydantic that is not made yet does).
    try:
        return object.__getattribute__(one, "__dict__")
    except Exception:
        return None
