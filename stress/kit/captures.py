"""What holds a function itself, beside the names by which it is looked up: a patch has to reach all of it.

A module that imported a function by name, a table, a partial, a closure, a default argument: each goes on calling the
function of before if only the name in its own module is replaced. The garbage collector knows all of them:

    changes = Changes()
    changes.replace("sugarbush.vm.faults.fault_lock.hold_mmap_lock", hold_mmap_lock, replacement)
    # The Era that holds it calls the replacement now, too.
    changes.undo()

What cannot be changed in place (a tuple, a bound method) is made anew, and replaced where it is held.
"""

from __future__ import annotations

import dis
import gc
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import (
    AsyncGeneratorType,
    CellType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    TracebackType,
)
from typing import Any

from greenlet import greenlet

from sugarbush.lockdep.model import is_part

_RUNNING = (FrameType, GeneratorType, CoroutineType, AsyncGeneratorType, TracebackType, greenlet)
"""What holds local variables of code that is running: a value at hand, nothing that is called again later."""
_DEPTH = 6
"""A tuple within a tuple within ..., so deep; what lies deeper is refused, so that this ends."""


class HeldFast(Exception):
    """Something holds the function in a way that cannot be changed; the message says what."""


class _Found(list[Any]):
    """What was found to hold something; a class of its own, so that it is not found itself."""


class _Change:
    """One place that was changed: `put` writes to it, `old` is what was there.

    A class of its own, so that what this module holds itself is told from what others hold.
    """

    __slots__ = ("old", "put")

    def __init__(self, put: Callable[[Any], None], old: object) -> None:
        self.put = put
        self.old = old


class Changes:
    """Replacements that can be taken back."""

    def __init__(self, unconcerned: tuple[type, ...] = (), makers: tuple[object, ...] = ()) -> None:
        self._unconcerned = (_Change, _Found, _Key, _Member, _Own, *unconcerned)
        """Whatever is of these types may keep the function."""
        self._makers = makers
        """Whoever calls one of these names a function to say what is to be replaced, not to call it."""
        self._made: list[_Change] = []

    def replace(self, name: str, old: FunctionType, new: object, others: Iterable[object] = ()) -> int:
        """Replace the function `old`, called `name`, wherever it is held; gives in how many places.

        What `new` itself holds stays: a replacement that calls the function of before has to get that. `others` are
        further replacements of it, which nobody calls now, so whatever they hold does not matter. Raises `HeldFast`,
        and then part of the changes may have been made: `undo` takes them back.
        """
        own = _Own(old, new)
        # What costs is going through all objects that there are, however many are looked for: once for both.
        found = _Found(gc.get_referrers(old, *own.named_spaces))
        own.check_names(name, found, others, self._makers)
        before = len(self._made)
        try:
            self._replace(name, old, new, own, _holding(found, old), 0)
        except HeldFast:
            held_fast = True
        else:
            held_fast = False
        if held_fast:
            # It may be garbage that holds it, which nobody will call: whether that is there still is chance. It is no
            # garbage as long as it is in the list, or in the frames of the error.
            found.clear()
            gc.collect()
            self._replace(name, old, new, own, _Found(gc.get_referrers(old)), 0)
        return len(self._made) - before

    def undo(self) -> None:
        """Put everything back, the last change first."""
        # A later change may be of what an earlier one has put there: a tuple made anew for two functions.
        while self._made:
            change = self._made.pop()
            change.put(change.old)

    def _replace(self, name: str, old: object, new: object, own: _Own, holders: _Found, depth: int) -> None:
        for holder in holders:
            if id(holder) in own.holders or isinstance(holder, (*_RUNNING, *self._unconcerned)):
                continue
            made = _made_anew(holder, old, new)
            if made is not None:
                if depth == _DEPTH:
                    raise HeldFast(f"{name} is held too deep inside of tuples: look it up when it is called")
                self._replace(name, holder, made, own, _Found(gc.get_referrers(holder)), depth + 1)
                continue
            kept = own.names.get(id(holder), set())
            puts = list(_places(holder, old, kept))
            if not puts and not kept:
                raise HeldFast(
                    f"{name} is held by {_told(holder)}, which cannot be changed: patch what calls it there, or let "
                    "that look the function up when it is called"
                )
            for put in puts:
                self._made.append(_Change(put, old))
                put(new)


def _holding(found: _Found, old: object) -> _Found:
    """Those that hold `old`. A loop, as the function of a comprehension would hold `old` in a cell."""
    holders = _Found()
    for one in found:
        for held in gc.get_referents(one):
            if held is old:
                holders.append(one)
                break
    return holders


def _made_anew(holder: object, old: object, new: object) -> object | None:
    """The same as `holder`, which nobody can change, with `new` in place of `old`; None if it can be changed."""
    kind = type(holder)
    if isinstance(holder, tuple):
        return tuple.__new__(kind, [new if one is old else one for one in holder])  # type: ignore[type-var]
    if kind is frozenset:
        assert isinstance(holder, frozenset)
        return frozenset(new if one is old else one for one in holder)
    if isinstance(holder, MethodType):
        return MethodType(new, holder.__self__) if holder.__func__ is old and callable(new) else None
    if kind in (staticmethod, classmethod):
        return kind(new)  # type: ignore[arg-type]
    if kind is property:
        assert isinstance(holder, property)
        return property(*(new if one is old else one for one in (holder.fget, holder.fset, holder.fdel)))  # type: ignore[arg-type]
    return None


def _places(holder: object, old: object, kept: set[str]) -> Iterator[Callable[[Any], None]]:
    """What writes to each of the places in `holder`, which can be changed, where `old` is, but for the names
    `kept` of a module.
    """
    if isinstance(holder, dict):
        owner = _class_of(holder)
        for key, value in list(holder.items()):
            if value is old and key not in kept:
                # A class keeps caches of what it holds, which only setattr() empties.
                yield partial(setattr, owner, key) if owner is not None else partial(holder.__setitem__, key)
            if key is old:
                yield _Key(holder, old)
    elif isinstance(holder, (list, deque)):
        for number, value in enumerate(holder):
            if value is old:
                yield partial(holder.__setitem__, number)
    elif isinstance(holder, set):
        yield _Member(holder, old)
    elif isinstance(holder, CellType):
        yield partial(setattr, holder, "cell_contents")
    elif isinstance(holder, partial):
        yield partial(_set_partial, holder, "func" if holder.func is old else "args")
    elif isinstance(holder, FunctionType):
        if holder.__defaults__ is old:
            yield partial(setattr, holder, "__defaults__")
    else:
        yield from _attributes(holder, old)


def _attributes(holder: object, old: object) -> Iterator[Callable[[Any], None]]:
    """The attributes of an object of an ordinary class: those in its slots, and those in its dictionary."""
    for cls in type(holder).__mro__:
        for member in list(vars(cls).values()):
            # Past whatever the class does when it is assigned to: frozen dataclasses, fields that are operations.
            if isinstance(member, MemberDescriptorType) and _value(member, holder) is old:
                yield partial(member.__set__, holder)
    attributes = getattr(holder, "__dict__", None)
    if isinstance(attributes, dict):
        # Until it is asked for, the values stand in the object itself, and so it is the object that holds them.
        for name, value in list(attributes.items()):
            if value is old:
                yield partial(attributes.__setitem__, name)


def _value(member: MemberDescriptorType | GetSetDescriptorType, holder: object) -> object:
    try:
        return member.__get__(holder, type(holder))
    except AttributeError:
        return None


def _class_of(attributes: dict[Any, Any]) -> type | None:
    """The class whose own dictionary this is."""
    if "__module__" not in attributes or "__builtins__" in attributes:
        return None
    for one in gc.get_referrers(attributes):
        if isinstance(one, type) and any(own is attributes for own in gc.get_referents(_proxy(one))):
            return one
    return None


def _proxy(cls: type) -> MappingProxyType[str, Any]:
    # type.__dict__ of a metaclass may be something else.
    return type.__dict__["__dict__"].__get__(cls)  # type: ignore[no-any-return]


def _set_partial(holder: partial[Any], where: str, value: Any) -> None:
    func, args = (value, holder.args) if where == "func" else (holder.func, value)
    holder.__setstate__((func, args, holder.keywords, holder.__dict__ or None))  # type: ignore[attr-defined]


class _Key:
    """Writes to the place of a key of a dictionary, without changing the order."""

    __slots__ = ("_holder", "_key")

    def __init__(self, holder: dict[Any, Any], key: object) -> None:
        self._holder = holder
        self._key = key

    def __call__(self, new: object) -> None:
        items = [(new if key is self._key else key, value) for key, value in self._holder.items()]
        self._holder.clear()
        self._holder.update(items)
        self._key = new


class _Member:
    """Writes to the place of a member of a set."""

    __slots__ = ("_holder", "_member")

    def __init__(self, holder: set[Any], member: object) -> None:
        self._holder = holder
        self._member = member

    def __call__(self, new: object) -> None:
        self._holder.discard(self._member)
        self._holder.add(new)
        self._member = new


def _told(holder: object) -> str:
    kind = type(holder)
    name = getattr(holder, "__qualname__", None)
    return f"{name} of the type {kind.__name__}" if isinstance(name, str) else f"a {kind.__name__}"


# -- what the replacement holds itself ----------------------------------------------------------------------------


class _Own:
    """What a replacement holds of the function of before, and so means: closures, default arguments, names.

    A name of its module is its own if it, or a function of that module that it calls, uses that name and nobody else
    does. If somebody else does, too, the name would have to mean two functions, and that is refused.
    """

    def __init__(self, old: FunctionType, new: object) -> None:
        self._old = old
        self._functions: dict[int, FunctionType] = {}
        seen: dict[int, object] = {}
        waiting = [new]
        while waiting:
            one = waiting.pop()
            if id(one) in seen or one is old:
                continue
            seen[id(one)] = one
            if isinstance(one, FunctionType):
                self._functions[id(one)] = one
                waiting += [one.__closure__, one.__defaults__, one.__kwdefaults__, vars(one)]
                if not _of_the_model(one.__module__):
                    waiting += [
                        value
                        for name in _names(one.__code__)
                        if isinstance(value := one.__globals__.get(name), FunctionType)
                        and value.__globals__ is one.__globals__
                    ]
            elif isinstance(one, (CellType, tuple, partial, MethodType, staticmethod, classmethod)) or (
                isinstance(one, dict) and "__builtins__" not in one
            ):
                waiting += gc.get_referents(one)
        self.holders = frozenset(seen)
        """The ids of all objects that may keep the function of before."""
        self.names = {id(space): self._named(space, used) for space, used in self._spaces()}
        """And the names that may, of the modules with these ids."""
        self.named_spaces = [space for space, _ in self._spaces() if self.names[id(space)]]
        """The modules that have such names."""

    def _spaces(self) -> list[tuple[dict[str, Any], set[str]]]:
        """The modules that the functions are of, each with the names that they use there; not those of the model."""
        spaces: dict[int, tuple[dict[str, Any], set[str]]] = {}
        for function in self._functions.values():
            if not _of_the_model(function.__module__):
                space = function.__globals__
                spaces.setdefault(id(space), (space, set()))[1].update(_names(function.__code__))
        return list(spaces.values())

    def _named(self, space: dict[str, Any], names: set[str]) -> set[str]:
        return {name for name in names if space.get(name) is self._old}

    def check_names(
        self, name: str, found: _Found, others: Iterable[object], makers: tuple[object, ...]
    ) -> None:
        """Raise `HeldFast` if a name would have to mean both functions; `found` has all functions of `named_spaces`."""
        # Whoever defines a replacement inside of itself names the function to say what it replaces.
        codes = {
            one.__code__ for one in (*self._functions.values(), *others) if isinstance(one, FunctionType)
        }
        for space in self.named_spaces:
            mine = self.names[id(space)]
            for other in found:
                if not isinstance(other, FunctionType) or other.__globals__ is not space:
                    continue
                theirs = _names(other.__code__)
                if not theirs & mine or _contains(other.__code__, codes):
                    continue
                if not any(space.get(one) is maker for one in theirs for maker in makers):
                    raise HeldFast(
                        f"{name} is called {min(theirs & mine)!r} in {space.get('__name__')} by its replacement, which "
                        f"means the function of before, and by {other.__qualname__}(), which must get the replacement: "
                        "let the replacement call the `original` of the patch"
                    )


MODEL = ("sugarbush.vm", "sugarbush.tree")
"""What can be patched."""


def _of_the_model(module: str | None) -> bool:
    return is_part(module or "", MODEL)


def _contains(code: CodeType, codes: set[CodeType]) -> bool:
    return code in codes or any(
        _contains(constant, codes) for constant in code.co_consts if isinstance(constant, CodeType)
    )


def _names(code: CodeType) -> set[str]:
    """The names of its module that the code, or code inside of it, looks up."""
    found = {
        str(one.argval)
        for one in dis.get_instructions(code)
        if one.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    }
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found


assert sys.implementation.name == "cpython", "who holds what is asked of CPython's garbage collector"
