"""What a task keeps for itself: whether it would do the same once more, if nobody else does anything.

A loop that looks in vain for ever is told from one that counts its looks by what it has in its hands: `own_state` takes
down where each of its frames stands, the values of their variables, and all that is reached from them. If two looks
leave the same behind, the next one will do what the last one did. What cannot be seen is not taken for unchanged:
`Hidden` is raised, and the caller has to take every look for a new one.

What lies on the value stack of a frame cannot be read. So the stack is followed through the bytecode (`stacks`), to
know at least what kind of things lie there: the exit of a `with` statement stays what it is; an iterator is accepted if
the variable of its loop says how far it is (``for n in range(3)``); anything else is hidden.

Not seen: what lives in C (a clock, random numbers, files), and what another task changes without an operation after
the state was taken down.
"""

from __future__ import annotations

import builtins
import dis
import sys
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import lru_cache, partial
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
from typing import Any, NamedTuple

from sugarbush.lockdep.model import is_part

MOST = 5000
"""So many values are taken down; who has more in reach is taken for one that may have changed."""


class Hidden(Exception):
    """Something that may differ next time cannot be seen."""


class State:
    """What a task had in its hands; two are equal if nothing that was seen differs.

    It keeps all of it alive, so that an identity stands for one object.
    """

    __slots__ = ("_kept", "_seen")

    def __init__(self, seen: tuple[Any, ...], kept: list[object]) -> None:
        self._seen = seen
        self._kept = kept

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and self._seen == other._seen

    def __hash__(self) -> int:
        return hash(self._seen)


# -- what lies on the stack of a frame ---------------------------------------------------------------------------------

Tag = tuple[Any, ...]
"""What is known of a value on the stack: how it came there."""

_OTHER: Tag = ("other",)
_WITH: Tag = ("with",)
_ONLY_POPS = frozenset(
    [
        "POP_TOP",
        "POP_EXCEPT",
        "STORE_FAST",
        "STORE_NAME",
        "STORE_GLOBAL",
        "STORE_DEREF",
        "STORE_ATTR",
        "STORE_SUBSCR",
        "STORE_SLICE",
        "NOP",
        "RESUME",
        "CACHE",
        "EXTENDED_ARG",
        "KW_NAMES",
        "PRECALL",
        "COPY_FREE_VARS",
        "MAKE_CELL",
        "RETURN_CONST",
        "RETURN_VALUE",
        "END_FOR",
        "DELETE_FAST",
        "DELETE_NAME",
        "DELETE_GLOBAL",
        "DELETE_DEREF",
        "DELETE_ATTR",
        "DELETE_SUBSCR",
        "LIST_APPEND",
        "SET_ADD",
        "MAP_ADD",
        "LIST_EXTEND",
        "SET_UPDATE",
        "DICT_UPDATE",
        "DICT_MERGE",
        "PUSH_NULL",
        "STORE_FAST_STORE_FAST",
        "RERAISE",
        "RAISE_VARARGS",
    ]
)
"""What takes values from the stack, or adds some, but leaves those below as they are."""
_ENDS = frozenset(
    [
        "RETURN_VALUE",
        "RETURN_CONST",
        "RAISE_VARARGS",
        "RERAISE",
        "JUMP_FORWARD",
        "JUMP_BACKWARD",
        "JUMP_BACKWARD_NO_INTERRUPT",
    ]
)
_CALLS = frozenset(("CALL", "CALL_KW", "CALL_FUNCTION_EX"))
_JUMPS = frozenset((*dis.hasjrel, *dis.hasjabs))


class Loop(NamedTuple):
    """A `for` loop: the variable that takes what comes next, and from where to where it goes round."""

    variable: str | None
    """None if it is no variable of the frame, or if something else changes it."""
    again: bool
    """The loop may be begun more than once, with another iterator."""
    source_stays: bool
    """What it goes through, if that is a variable of the frame, is set once at most."""


class Stacks(NamedTuple):
    """Of a code object: for each instruction what lies on the stack before it, and its loops by where they begin."""

    offsets: list[int]
    instructions: list[dis.Instruction]
    before: list[tuple[Tag, ...] | None]
    loops: dict[int, Loop]

    def at(self, lasti: int) -> tuple[dis.Instruction, tuple[Tag, ...]]:
        """The instruction that a frame is in, and the stack before it; `lasti` may be that of its cache."""
        number = bisect_right(self.offsets, lasti) - 1
        if number >= 0 and self.instructions[number].opname == "PRECALL":
            # Python 3.11 calls what is not Python here once it has got to know the place, and at the CALL before that.
            number += 1
        before = self.before[number] if number >= 0 else None
        if before is None:
            raise Hidden("the instruction is not known")
        return self.instructions[number], before


@lru_cache(maxsize=1024)
def stacks(code: CodeType) -> Stacks | None:
    """Follow the stack through `code`; None where that does not come out even."""
    instructions = list(dis.get_instructions(code))
    offsets = [one.offset for one in instructions]
    place = {offset: number for number, offset in enumerate(offsets)}
    handlers = _handlers(code)
    before: list[tuple[Tag, ...] | None] = [None] * len(instructions)
    before[0] = ()
    left = [0]
    following: dict[int, set[int]] = {}
    try:
        while left:
            number = left.pop()
            one = instructions[number]
            now = before[number]
            assert now is not None
            ways = [] if one.opname in _ENDS else [(number + 1, _after(one, now, jump=False))]
            if one.opcode in _JUMPS:
                ways.append((place[one.argval], _after(one, now, jump=True)))
            for start, stop, target, depth, lasti in handlers:
                if start <= one.offset < stop:
                    # What an exception leaves: the values below, perhaps where it was raised, and the exception.
                    ways.append((place[target], (*now[:depth], *(_OTHER,) * (1 + lasti))))
            following[number] = {to for to, _ in ways}
            for to, stack in ways:
                known = before[to]
                merged = stack if known is None else _merged(known, stack)
                if merged != known:
                    before[to] = merged
                    left.append(to)
    except (Hidden, KeyError, IndexError, ValueError):
        return None
    loops = {
        one.offset: Loop(
            _variable(instructions, number),
            _reaches(following, number),
            _is_fixed(instructions, before[number]),
        )
        for number, one in enumerate(instructions)
        if one.opname == "GET_ITER" and before[number] is not None
    }
    return Stacks(offsets, instructions, before, loops)


def _handlers(code: CodeType) -> list[tuple[int, int, int, int, bool]]:
    entries = dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]
    return [(one.start, one.end, one.target, one.depth, bool(one.lasti)) for one in entries]


def _merged(one: tuple[Tag, ...], other: tuple[Tag, ...]) -> tuple[Tag, ...]:
    if len(one) != len(other):
        raise Hidden("two ways lead here with stacks of different depths")
    return tuple(a if a == b else _OTHER for a, b in zip(one, other, strict=True))


def _after(one: dis.Instruction, before: tuple[Tag, ...], *, jump: bool) -> tuple[Tag, ...]:
    """The stack behind an instruction."""
    name, argument = one.opname, one.arg
    stack = list(before)
    change = _pushes(one, jump=jump)
    if name == "RETURN_GENERATOR":
        # Where a generator goes on, what was sent lies on the stack; Python 3.11 does not count it.
        change = 1
    if -change > len(stack):
        raise Hidden("more is taken from the stack than was there")
    if name in _CALLS:
        popped = stack[change - 1 :]
        del stack[change - 1 :]
        ranges = name == "CALL" and ("global", "range") in popped[:2]
        stack.append(("range", *popped[2:]) if ranges else _OTHER)
    elif name.startswith("LOAD_FAST"):
        names = one.argval if isinstance(one.argval, tuple) else (one.argval,)
        stack += [("fast", own) for own in names]
    elif name == "STORE_FAST_LOAD_FAST":
        stack[-1] = ("fast", one.argval[1])
    elif name in ("LOAD_DEREF", "LOAD_CLASSDEREF"):
        stack.append(("deref", one.argval))
    elif name == "LOAD_CONST":
        stack.append(("const", type(one.argval).__name__, repr(one.argval)))
    elif name == "LOAD_GLOBAL":
        # With its second bit it pushes a NULL as well, before or behind, as the version has it.
        stack += [("global", one.argval)] * change
    elif name in ("LOAD_ATTR", "LOAD_METHOD"):
        stack[-1:] = [("attr", one.argval)] * (1 + change)
    elif name == "COPY":
        stack.append(stack[-(argument or 0)])
    elif name == "SWAP":
        at = -(argument or 0)
        stack[at], stack[-1] = stack[-1], stack[at]
    elif name == "GET_ITER":
        stack[-1] = ("iter", one.offset, stack[-1])
    elif name == "FOR_ITER":
        stack = [*stack, _OTHER] if change > 0 else stack[: len(stack) + change]
    elif name == "BEFORE_WITH":
        stack[-1:] = [_WITH, _OTHER]
    elif name in _ONLY_POPS or name.startswith(("POP_JUMP", "JUMP")):
        stack = [*stack, *[_OTHER] * change] if change > 0 else stack[: len(stack) + change]
    else:
        if change < 0:
            del stack[change:]
        if stack and not name.startswith("LOAD_"):
            stack[-1] = _OTHER
        stack += [_OTHER] * max(0, change)
    if len(stack) != len(before) + change:
        raise Hidden("the stack is not understood")
    return tuple(stack)


def _pushes(one: dis.Instruction, *, jump: bool = False) -> int:
    """By how much an instruction makes the stack deeper."""
    # Python 3.11 books the arguments of a call with the instruction before it, though they are there until the call.
    if one.opname == "PRECALL":
        return 0
    if one.opname == "CALL":
        return -1 - (one.arg or 0)
    return dis.stack_effect(one.opcode, one.arg, jump=jump)


def _variable(instructions: list[dis.Instruction], number: int) -> str | None:
    """The variable of the loop whose iterator is made at `number`, if only the loop sets it."""
    if number + 2 >= len(instructions) or instructions[number + 1].opname != "FOR_ITER":
        return None
    taker = instructions[number + 2]
    if taker.opname not in ("STORE_FAST", "STORE_FAST_LOAD_FAST"):
        return None
    name = taker.argval[0] if isinstance(taker.argval, tuple) else taker.argval
    return name if _stores(instructions, name) == 1 else None


def _stores(instructions: Iterable[dis.Instruction], name: str) -> int:
    """At how many places a variable of the frame is set."""
    count = 0
    for one in instructions:
        if one.opname == "STORE_FAST_STORE_FAST":
            count += list(one.argval).count(name)
        elif one.opname in ("STORE_FAST", "DELETE_FAST", "STORE_FAST_LOAD_FAST", "LOAD_FAST_AND_CLEAR"):
            count += (one.argval[0] if isinstance(one.argval, tuple) else one.argval) == name
    return count


def _is_fixed(instructions: list[dis.Instruction], stack: tuple[Tag, ...] | None) -> bool:
    """What lies on top is a variable of the frame that is set once at most."""
    return bool(stack) and stack[-1][0] == "fast" and _stores(instructions, stack[-1][1]) <= 1  # type: ignore[index]


def _reaches(following: Mapping[int, set[int]], number: int) -> bool:
    """Whether one can come back to instruction `number`."""
    seen: set[int] = set()
    left = list(following.get(number, ()))
    while left:
        one = left.pop()
        if one == number:
            return True
        if one not in seen:
            seen.add(one)
            left += following.get(one, ())
    return False


# -- what a task has in its hands -------------------------------------------------------------------------------

_ENGINE = ("sugarbush.concurrency", "sugarbush.lockdep", "greenlet")
_PLAIN = (int, str, bytes, bool, complex, type(None), type(Ellipsis), type(NotImplemented), range)
_STATIC = frozenset(
    [
        "member_descriptor",
        "getset_descriptor",
        "wrapper_descriptor",
        "method_descriptor",
        "classmethod_descriptor",
    ]
)
_CONTAINERS = (list, tuple, dict, set, frozenset, deque, bytearray)


def own_state(relaxing: FrameType, base: CodeType, function: Any, more: Iterable[object]) -> State:
    """What a task has in its hands, whose innermost frame of the user's has called `relaxing`.

    `base` is the code that called `function`, in which the task began; `more` are further values. Raises `Hidden`.
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
    return State(tuple(taker.seen), taker.kept)


def _calls(function: Any, callee: FrameType) -> bool:
    """Whether a call of `function` runs `callee` directly, with nothing between that could count."""
    code = callee.f_code
    while isinstance(function, (partial, MethodType)):
        function = function.func if isinstance(function, partial) else function.__func__
    if isinstance(function, FunctionType):
        return function.__code__ is code
    if function is builtins.next:
        return bool(code.co_flags & 0x20)
    return not isinstance(function, BuiltinFunctionType) and code.co_name in ("__init__", "__call__")


class _Taker:
    """Takes values down, one after the other."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.kept: list[object] = []
        self.frames: list[FrameType] = []
        self._known: dict[int, int] = {}

    def frame(self, frame: FrameType, callee: FrameType) -> None:
        """Where a frame stands and what its variables are; `callee` is the frame that it has called."""
        code = frame.f_code
        known = stacks(code)
        if known is None:
            raise Hidden("the bytecode is not understood")
        one, stack = known.at(frame.f_lasti)
        local = dict(frame.f_locals)
        if one.opname in _CALLS:
            pops = 1 - _pushes(one)
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
            elif tag is not _WITH and tag != _WITH:
                raise Hidden("something lies on the stack")
        self.kept.append(code)
        self.seen += (id(code), one.offset, len(local))
        for name, value in local.items():
            self.seen.append(name)
            self.value(value)
        if _is_users(frame.f_globals.get("__name__", "")):
            self._names(code, frame.f_globals)

    def _named(self, tag: Tag, frame: FrameType, local: dict[str, Any], callee: FrameType) -> bool:
        """Whether what a tag stands for is what has run `callee`."""
        what = tag[0]
        if what == "attr":
            return bool(tag[1] == callee.f_code.co_name)
        if what == "global":
            missing = frame.f_builtins.get(tag[1])
            return _calls(frame.f_globals.get(tag[1], missing), callee)
        return what in ("fast", "deref") and tag[1] in local and _calls(local[tag[1]], callee)

    def _iterator(self, loop: Loop, source: Tag, frame: FrameType, local: dict[str, Any]) -> None:
        """Whether the variable of a loop says how far its iterator is."""
        if loop.variable is None or loop.variable not in local:
            raise Hidden("how far a loop has come is not seen")
        if source[0] == "range" and "range" not in frame.f_globals and frame.f_builtins["range"] is range:
            # Of one range each number comes once; another one must have the same bounds.
            if not loop.again or all(bound[0] == "const" for bound in source[1:]):
                return
        elif source[0] == "fast" and not loop.again and source[1] in local:
            values = local[source[1]]
            same = loop.source_stays and type(values) in (list, tuple)
            if same and len({id(value) for value in values}) == len(values):
                return
        raise Hidden("how far a loop has come is not seen")

    def _names(self, code: CodeType, scope: dict[str, Any]) -> None:
        """The global variables that `code` names, and those of functions that stand in it."""
        for name in code.co_names:
            if name in scope:
                value = scope[name]
                self.seen.append(name)
                self.value(value)
                if isinstance(value, ModuleType) and _is_users(value.__name__):
                    inside = vars(value)
                    for inner in code.co_names:
                        if inner in inside:
                            self.seen.append(inner)
                            self.value(inside[inner])
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._names(constant, scope)

    def value(self, value: Any) -> None:
        """One value, and all that is reached from it."""
        kind = type(value)
        seen = self.seen
        if len(seen) > MOST:
            raise Hidden("too much is in reach")
        if kind in _PLAIN:
            seen += (kind, value)
            return
        if kind is float:
            seen += (kind, value.hex())
            return
        known = self._known.get(id(value))
        if known is not None:
            seen.append(known)
            return
        self._known[id(value)] = -len(self._known)
        self.kept.append(value)
        # A list that is made anew in each round is the same as the last one if the same is in it: which of the two it
        # is cannot be told. An object that is not gone through is known by its identity only.
        seen += (kind, None if _is_gone_through(value, kind) else id(value))
        if isinstance(value, (type, Enum)) or not _is_users(kind.__module__):
            self._builtin(value, kind)
        else:
            self._instance(value, kind)

    def _builtin(self, value: Any, kind: type) -> None:
        """A value of a type that is not the user's."""
        if kind in _CONTAINERS:
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
            if _is_users(value.__module__):
                self._class(value)
        elif kind is GeneratorType:
            if value.gi_frame is None or value.gi_frame not in self.frames:
                raise Hidden("a generator is in reach")
        elif (
            isinstance(value, (ModuleType, Enum, CodeType))
            or kind.__name__ in _STATIC
            or kind is GenericAlias
            or kind is object
        ):
            # Nothing in them changes; a bare object() is known by its identity, as sentinels are.
            pass
        elif not is_part(kind.__module__, _ENGINE):
            if kind.__module__ == "builtins" or not _is_plain_class(kind):
                raise Hidden(f"a {kind.__name__} is in reach")
            self._attributes(value, kind)

    def _container(self, value: Any) -> None:
        self.seen.append(len(value))
        if isinstance(value, dict):
            for key, item in value.items():
                self.value(key)
                self.value(item)
        elif isinstance(value, (set, frozenset)):
            # Their order is that of hashes, so what is in them is taken down as a set, and must be seen at a glance.
            if not all(type(item) in _PLAIN for item in value):
                raise Hidden("a set of objects is in reach")
            self.seen.append(frozenset((type(item), item) for item in value))
        elif isinstance(value, bytearray):
            self.seen.append(bytes(value))
        else:
            for item in value:
                self.value(item)

    def _function(self, value: FunctionType) -> None:
        if not _is_users(value.__module__):
            return
        for part in (value.__defaults__, value.__kwdefaults__, value.__dict__):
            self.value(part)
        for cell in value.__closure__ or ():
            self.value(cell)
        self.kept.append(value.__code__)
        self.seen.append(id(value.__code__))
        self._names(value.__code__, value.__globals__)

    def _class(self, cls: type) -> None:
        for name, part in vars(cls).items():
            # What Shared keeps of its fields never changes; the module's own entries say nothing.
            kind = type(part)
            if name in _NO_STATE or kind.__name__ in _STATIC:
                continue
            if kind is property and not _is_users(part.fget.__module__):
                continue
            self.seen.append(name)
            self.value(part)
        for base in cls.__bases__:
            self.value(base)

    def _instance(self, value: Any, kind: type) -> None:
        """An object of a class of the user's."""
        if not _is_plain_class(kind):
            raise Hidden(f"a {kind.__name__} is in reach")
        self.value(kind)
        self._attributes(value, kind)

    def _attributes(self, value: Any, kind: type) -> None:
        fields = _shared_fields(kind)
        if isinstance(value, _CONTAINERS):
            self._container(value)
        for name in _slots(kind):
            try:
                item = object.__getattribute__(value, name)
            except AttributeError:
                continue
            if name in fields:
                # Operations alone change the field; what it leads to may be changed without one.
                if type(item) not in _PLAIN and type(item) is not float:
                    self.value(item)
            else:
                self.seen.append(name)
                self.value(item)
        if kind.__dictoffset__:
            inside: dict[str, Any] = object.__getattribute__(value, "__dict__")
            for name, item in inside.items():
                self.seen.append(name)
                self.value(item)


_NO_STATE = frozenset(
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


def _is_gone_through(value: Any, kind: type) -> bool:
    if kind in _CONTAINERS or kind in (MethodType, CellType, partial):
        return True
    if kind is FunctionType:
        return _is_users(value.__module__)
    return not isinstance(value, (type, Enum)) and _is_users(kind.__module__) and not _shared_fields(kind)


@lru_cache(maxsize=1024)
def _is_users(module: str | None) -> bool:
    """Whether a module of this name is a part of the program: neither the library's nor ours."""
    module = module or ""
    return not is_part(module, _ENGINE) and module.partition(".")[0] not in sys.stdlib_module_names


@lru_cache(maxsize=1024)
def _is_plain_class(kind: type) -> bool:
    """All that an object of this class holds is its attributes, and what its container holds.

    A class that was made in C has room for something else.
    """
    for base in kind.__mro__:
        if base is object or base in _CONTAINERS:
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
def _slots(kind: type) -> tuple[str, ...]:
    """The attributes of an object that do not stand in its dictionary."""
    return tuple(
        name
        for base in kind.__mro__
        for name, part in vars(base).items()
        if type(part).__name__ == "member_descriptor" and name != "_memory"
    )


@lru_cache(maxsize=1024)
def _shared_fields(kind: type) -> frozenset[str]:
    """The slots of an object of `Shared` that operations change, and nothing else."""
    fields = getattr(kind, "_fields", None)
    if type(type(kind)).__name__ != "type" or type(kind).__module__ != "sugarbush.concurrency.memory.shared":
        return frozenset()
    return frozenset(f"_{name}" for name in fields or ())
