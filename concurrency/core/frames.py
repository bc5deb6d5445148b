"""The state of a task's own: whether a loop that spins would do the same once more, if no other task does anything.

A loop that looks in vain for ever has to be told from one that counts its looks and gives up. `own_state` takes
down where each frame of the task stands, the values of its variables, and all that is reached from them. If that is
equal at two `cpu_relax()`, then what the task does next is what it did before, so one more look can be left out:

>>> from sugarbush import explore
>>> from sugarbush.concurrency import cpu_relax
>>> def patient():
...     while True:
...         cpu_relax()
>>> found = explore(patient, executions=1).failures[0].failure
>>> found.headline, found.step
('livelock: main can spin for ever, and no other task can go on', 3)

The variable `looks` is another one each time, so this loop is followed to its end:

>>> def impatient():
...     looks = 0
...     while looks < 5:
...         cpu_relax()
...         looks += 1
>>> explore(impatient, executions=1).failures
[]

What cannot be seen is never taken for unchanged: `Hidden` is raised, and the caller takes every look for a new one.
That costs executions (`Settings.looks`); the other way round a search would pass a loop that gives up.

`bytecode` says what lies on the value stack of a frame, `reach` what a value leads to. Not seen at all are state
that C code keeps (a clock, random numbers, files), and what another task changes without an operation after the
state was taken down.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from enum import Enum
from functools import partial
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FrameType,
    FunctionType,
    GeneratorType,
    GenericAlias,
    MethodType,
    ModuleType,
)
from typing import Any

from sugarbush.concurrency.core.bytecode import CALLS, WITH, Hidden, Loop, Tag, pushes, stacks
from sugarbush.concurrency.core.reach import (
    CONTAINERS,
    ENGINE,
    NO_STATE,
    PLAIN,
    STATIC,
    is_gone_through,
    is_plain_class,
    is_users,
    shared_fields,
    slots,
)
from sugarbush.lockdep.model import is_part

MOST = 5000
"""How many values are taken down at most: with more in reach the state counts as hidden. It bounds what one look
costs."""


class OwnState:
    """The state of a task's own at one moment; two are equal if nothing that was seen differs."""

    # Many values are known by their `id` only. So what was seen is kept alive as long as the state is: else another
    # object could get the same id, and two states that differ would be equal.

    __slots__ = ("_kept", "_seen")

    def __init__(self, seen: tuple[Any, ...], kept: list[object]) -> None:
        self._seen = seen
        self._kept = kept

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnState) and self._seen == other._seen

    def __hash__(self) -> int:
        return hash(self._seen)


def own_state(relaxing: FrameType, base: CodeType, function: Any, more: Iterable[object]) -> OwnState:
    """The state of the calling task's own, in all its frames between `base` and `relaxing`; raises `Hidden`.

    `relaxing` is the frame of the engine that the program called (`cpu_relax`), `base` the code of the engine that
    called `function`, with which the task began. `more` are values that the engine keeps about the task, and
    compares too.
    """
    taker = _Taker()
    taker.seen += more
    callee = relaxing
    one = relaxing.f_back
    while one is not None and one.f_code is not base:
        taker.frames.append(one)
        one = one.f_back
    if one is None:
        raise Hidden("the frames do not lead back to the start of the task")
    for frame in taker.frames:
        taker.frame(frame, callee)
        callee = frame
    if not _calls(function, callee):
        raise Hidden("the task was not begun by a function of Python")
    return OwnState(tuple(taker.seen), taker.kept)


def _calls(function: Any, callee: FrameType) -> bool:
    """Whether a call of `function` runs `callee` directly, with no C code between that could have state of its own."""
    code = callee.f_code
    while isinstance(function, (partial, MethodType)):
        function = function.func if isinstance(function, partial) else function.__func__
    if isinstance(function, FunctionType):
        return function.__code__ is code
    # next() of a generator runs the generator's frame; 0x20 is inspect.CO_GENERATOR.
    if function is builtins.next:
        return bool(code.co_flags & 0x20)
    return not isinstance(function, BuiltinFunctionType) and code.co_name in ("__init__", "__call__")


class _Taker:
    """Takes values down into `seen`, one after the other, depth first.

    The order in which values are reached is the same for two states that are equal, so `seen` needs no structure:
    it is a flat list, and an object that is reached again is its number there.
    """

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.kept: list[object] = []
        self.frames: list[FrameType] = []
        self._known: dict[int, int] = {}

    def frame(self, frame: FrameType, callee: FrameType) -> None:
        """Take down where a frame stands and what its variables are; `callee` is the frame that it has called."""
        code = frame.f_code
        known = stacks(code)
        if known is None:
            raise Hidden("the bytecode is not understood")
        one, stack = known.at(frame.f_lasti)
        local = dict(frame.f_locals)
        # `f_lasti` stands at the call, whose callable and arguments still lie on the stack: they are used up by it.
        if one.opname in CALLS:
            pops = 1 - pushes(one)
            if not any(self._named(tag, frame, local, callee) for tag in stack[-pops:][:2]):
                raise Hidden("something that is not Python stands between two frames")
            stack = stack[:-pops]
        elif one.opname == "BEFORE_WITH" and callee.f_code.co_name == "__enter__":
            stack = stack[:-1]
        else:
            raise Hidden(f"the frame stands at {one.opname}")
        for tag in stack:
            if tag[0] == "iter":
                self._iterator(known.loops[tag[1]], tag[2], frame, local)
            elif tag is not WITH and tag != WITH:
                raise Hidden("something lies on the stack")
        self.kept.append(code)
        self.seen += (id(code), one.offset, len(local))
        for name, value in local.items():
            self.seen.append(name)
            self.value(value)
        if is_users(frame.f_globals.get("__name__", "")):
            self._names(code, frame.f_globals)

    def _named(self, tag: Tag, frame: FrameType, local: dict[str, Any], callee: FrameType) -> bool:
        """Whether the value of this tag is the callable that has run `callee`.

        Otherwise C code stands between (`map`, `sorted`), which may keep state of its own, an iterator say.
        """
        what = tag[0]
        if what == "attr":
            return bool(tag[1] == callee.f_code.co_name)
        if what == "global":
            missing = frame.f_builtins.get(tag[1])
            return _calls(frame.f_globals.get(tag[1], missing), callee)
        return what in ("fast", "deref") and tag[1] in local and _calls(local[tag[1]], callee)

    def _iterator(self, loop: Loop, source: Tag, frame: FrameType, local: dict[str, Any]) -> None:
        """Raise `Hidden` unless the variable of a loop tells how far its iterator is."""
        if loop.variable is None or loop.variable not in local:
            raise Hidden("how far a loop has come is not seen")
        if source[0] == "range" and "range" not in frame.f_globals and frame.f_builtins["range"] is range:
            # Of one range each number comes once; another one must have the same bounds.
            if not loop.again or all(bound[0] == "const" for bound in source[1:]):
                return
        elif source[0] == "fast" and not loop.again and source[1] in local:
            values = local[source[1]]
            # With one value twice in the list the variable does not tell at which of the two the iterator stands.
            same = loop.source_stays and type(values) in (list, tuple)
            if same and len({id(value) for value in values}) == len(values):
                return
        raise Hidden("how far a loop has come is not seen")

    def _names(self, code: CodeType, scope: dict[str, Any]) -> None:
        """Take down the global variables that `code` names, and those that functions inside of it name.

        Of a module of the program that is named, its variables of all the names in `code`: ``config.limit``.
        """
        # Not all globals of the module: they may hold more than the loop can reach, and each look would cost as much.
        for name in code.co_names:
            if name in scope:
                value = scope[name]
                self.seen.append(name)
                self.value(value)
                if isinstance(value, ModuleType) and is_users(value.__name__):
                    inside = vars(value)
                    for inner in code.co_names:
                        if inner in inside:
                            self.seen.append(inner)
                            self.value(inside[inner])
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._names(constant, scope)

    def value(self, value: Any) -> None:
        """Take down one value, and all that is reached from it."""
        kind = type(value)
        seen = self.seen
        if len(seen) > MOST:
            raise Hidden("too much is in reach")
        if kind in PLAIN:
            seen += (kind, value)
            return
        # As text, because NaN is not equal to itself, and 0.0 is equal to -0.0.
        if kind is float:
            seen += (kind, value.hex())
            return
        known = self._known.get(id(value))
        if known is not None:
            seen.append(known)
            return
        self._known[id(value)] = -len(self._known)
        self.kept.append(value)
        # A list that the loop makes anew in each round counts as the one before if the same is in it, or every such
        # loop would differ from itself. An object that is not gone through is known by its identity only.
        seen += (kind, None if is_gone_through(value, kind) else id(value))
        if isinstance(value, (type, Enum)) or not is_users(kind.__module__):
            self._builtin(value, kind)
        else:
            self._instance(value, kind)

    def _builtin(self, value: Any, kind: type) -> None:
        """Take down a value of a type that is not the program's: what is not known here is hidden."""
        if kind in CONTAINERS:
            self._container(value)
        elif kind is FunctionType:
            self._function(value)
        elif kind is MethodType:
            self.value(value.__self__)
            self.value(value.__func__)
        elif kind is partial:
            for part in (value.func, value.args, value.keywords):
                self.value(part)
        elif kind is CellType:
            try:
                self.value(value.cell_contents)
            except ValueError:
                self.seen.append("empty")
        elif kind in (staticmethod, classmethod):
            self.value(value.__func__)
        elif kind is property:
            for part in (value.fget, value.fset, value.fdel):
                self.value(part)
        elif kind is BuiltinFunctionType:
            if not isinstance(value.__self__, (ModuleType, type)):
                self.value(value.__self__)
        elif isinstance(value, type):
            if is_users(value.__module__):
                self._class(value)
        elif kind is GeneratorType:
            # One whose frame is on the task's stack is taken down as a frame; another one is suspended somewhere.
            if value.gi_frame is None or value.gi_frame not in self.frames:
                raise Hidden("a generator is in reach")
        elif (
            isinstance(value, (ModuleType, Enum, CodeType))
            or kind.__name__ in STATIC
            or kind is GenericAlias
            or kind is object
        ):
            # Nothing in them changes; a bare object() is known by its identity, as sentinels are.
            pass
        elif not is_part(kind.__module__, ENGINE):
            if kind.__module__ == "builtins" or not is_plain_class(kind):
                raise Hidden(f"a {kind.__name__} is in reach")
            self._attributes(value, kind)

    def _container(self, value: Any) -> None:
        """Take down what is in a container."""
        self.seen.append(len(value))
        if isinstance(value, dict):
            for key, item in value.items():
                self.value(key)
                self.value(item)
        elif isinstance(value, (set, frozenset)):
            # They have no order of their own, so they are compared as sets; what is in them must then be comparable by
            # value, without being gone through.
            if not all(type(item) in PLAIN for item in value):
                raise Hidden("a set of objects is in reach")
            self.seen.append(frozenset((type(item), item) for item in value))
        elif isinstance(value, bytearray):
            self.seen.append(bytes(value))
        else:
            for item in value:
                self.value(item)

    def _function(self, value: FunctionType) -> None:
        """Take down what a function of the program would use if it were called: defaults, closure, globals."""
        if not is_users(value.__module__):
            return
        for part in (value.__defaults__, value.__kwdefaults__, value.__dict__):
            self.value(part)
        for cell in value.__closure__ or ():
            self.value(cell)
        self.kept.append(value.__code__)
        self.seen.append(id(value.__code__))
        self._names(value.__code__, value.__globals__)

    def _class(self, cls: type) -> None:
        """Take down the attributes of a class of the program, and of its bases."""
        for name, part in vars(cls).items():
            # What `Shared` keeps of its fields, and what Python itself puts into every class, never changes.
            kind = type(part)
            if name in NO_STATE or kind.__name__ in STATIC:
                continue
            if kind is property and not is_users(part.fget.__module__):
                continue
            self.seen.append(name)
            self.value(part)
        for base in cls.__bases__:
            self.value(base)

    def _instance(self, value: Any, kind: type) -> None:
        """Take down an object of a class of the program."""
        if not is_plain_class(kind):
            raise Hidden(f"a {kind.__name__} is in reach")
        self.value(kind)
        self._attributes(value, kind)

    def _attributes(self, value: Any, kind: type) -> None:
        """Take down the attributes of an object, and its entries if its class derives from a container."""
        fields = shared_fields(kind)
        if isinstance(value, CONTAINERS):
            self._container(value)
        for name in slots(kind):
            try:
                item = object.__getattribute__(value, name)
            except AttributeError:
                continue
            if name in fields:
                # The value of a shared field is left out: only operations change it, and these are counted as changes
                # (`Look.changed`, `Liveness._changes`). What a field leads to may be changed without an operation.
                if type(item) not in PLAIN and type(item) is not float:
                    self.value(item)
            else:
                self.seen.append(name)
                self.value(item)
        if kind.__dictoffset__:
            inside: dict[str, Any] = object.__getattribute__(value, "__dict__")
            for name, item in inside.items():
                self.seen.append(name)
                self.value(item)
