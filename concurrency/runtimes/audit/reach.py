"""Which objects are watched: those that operations are done to, and what is reached from there."""

from __future__ import annotations

from functools import partial
from types import FunctionType, MethodType
from typing import Any

from sugarbush.concurrency.core import (
    CONTAINERS,
    DEPTH,
    ENGINE,
    current,
    is_empty,
    make_recording,
    recorded,
)
from sugarbush.lockdep.model import is_part


class Reach:
    """The watched objects of one execution: each has a class that notes which of its attributes are read and set."""

    def begin(self) -> None:
        """A new execution: nothing is watched yet."""
        self._watched: dict[int, tuple[object, type]] = {}

    def end(self) -> None:
        """The execution is over: every object has its own class again."""
        for obj, cls in self._watched.values():
            if type(obj) is recorded.get(cls):
                object.__setattr__(obj, "__class__", cls)
        self._watched.clear()
        current.watch = None

    def _reached(self, value: Any) -> None:
        """Watch what an attribute or an argument leads to, too; of a container all that is in it."""
        if type(value) in CONTAINERS or type(value) is tuple:
            for one in tuple(value):
                self._adopt(one)
            if type(value) is dict:
                for one in tuple(value.values()):
                    self._adopt(one)
        else:
            self._adopt(value)

    def _known_to(self, function: Any, depth: int = DEPTH) -> None:
        """Watch what a function can reach by name: arguments that it has already, variables of its surroundings."""
        if isinstance(function, partial):
            self._reached(function.args)
            self._reached(function.keywords)
            function = function.func
        self._adopt(getattr(function, "__self__", None))
        function = getattr(function, "__func__", function)
        if not isinstance(function, FunctionType):
            return
        known = list(function.__defaults__ or ())
        known += [cell.cell_contents for cell in function.__closure__ or () if not is_empty(cell)]
        # Not what the engine's own modules hold: those are its tables. (A function whose globals have no __name__,
        # made by `exec`, has no module.)
        if not is_part(str(function.__module__), ENGINE):
            names = function.__code__.co_names
            known += [function.__globals__[name] for name in names if name in function.__globals__]
        for one in known:
            if isinstance(one, (FunctionType, MethodType, partial)):
                if depth:
                    self._known_to(one, depth - 1)
            else:
                self._reached(one)

    def _adopt(self, obj: object) -> None:
        cls = type(obj)
        if id(obj) in self._watched:
            return
        recording = recorded.get(cls)
        if recording is None:
            recording = recorded[cls] = make_recording(cls)
        if recording is cls:
            return
        try:
            object.__setattr__(obj, "__class__", recording)
        except TypeError:
            recorded[cls] = cls
            return
        self._watched[id(obj)] = obj, cls
