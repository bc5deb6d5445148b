"""Where locks are made, and what they are called: a class for each place, named by its owner.

A lock that `queue.Queue` makes belongs to the line of the program that made the queue, and to the line of queue.py:
two locks of one queue are two classes, and the queues of two lines are.
"""

from __future__ import annotations

import inspect
import linecache
import re
from itertools import islice
from sys import _getframe
from types import CodeType, FrameType

from sugarbush.lockdep.model import Frame, LockClassKey, Tracer, resolve, short_path
from sugarbush.lockdep.python.context import PythonMap

_ASSIGNED = re.compile(r"((?:\b(?:self|cls)\.)?[A-Za-z_][\w.]*(?:\[[^\]=]*\])?)\s*(?::[^=;]+)?=(?!=)[^=;]*$")
_SEVERAL = re.compile(r"((?:[A-Za-z_][\w.]*\s*,\s*)+[A-Za-z_][\w.]*)\s*=(?!=)([^=;]*)$")
_SELF = re.compile(r"^(?:self|cls)\.")
_INNERMOST = 12


class SiteKey(LockClassKey):
    """The class of all locks that one place makes."""

    __slots__ = ("codes", "count", "kind", "made")

    def __init__(self, name: str, made: Frame, kind: str, codes: tuple[CodeType, ...]) -> None:
        super().__init__(name)
        self.made = made
        self.kind = kind
        self.codes = codes
        self.count = 0
        """How many locks of the class were made so far."""

    @property
    def place(self) -> str:
        """Where the locks are made."""
        return f"{self.made.file}:{self.made.line}"


class Sites:
    """The classes of the locks that a program makes, by place."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._keys: dict[tuple[object, ...], SiteKey] = {}
        self._named: dict[str, int] = {}

    def key(self, frame: FrameType, kind: str, name: str | None = None) -> SiteKey:
        """The class of a lock that is made here, under a name of its own if it has one."""
        inner = outer = frame
        files, at = self._tracer.files, frame
        # What was asked of a file before is looked up here: each new lock of a queue, or of a future, comes this way.
        while True:
            user = files.get(at.f_code.co_filename)
            if user is None:
                user = self._tracer.is_user(at)
            if user:
                outer = at
                break
            if at.f_back is None:
                break
            at = at.f_back
        # By file and first line, not by the code object: a program that executes one text again and again has
        # one class.
        ours, theirs = outer.f_code, inner.f_code
        known = (
            ours.co_filename,
            ours.co_firstlineno,
            outer.f_lasti,
            theirs.co_filename,
            theirs.co_firstlineno,
            inner.f_lasti,
            name,
        )
        # The inner place belongs to it: the locks of one queue are made by two lines of queue.py, for one line of the
        # user's.
        key = self._keys.get(known)
        if key is None:
            key = self._keys[known] = self._make(frame, outer, kind, name)
        key.count += 1
        return key

    def _make(self, inner: FrameType, outer: FrameType, kind: str, given: str | None) -> SiteKey:
        made = resolve((outer.f_code, outer.f_lasti))
        name = _named(outer, made)
        codes: list[CodeType] = []
        at: FrameType | None = inner
        while at is not None and len(codes) < _INNERMOST:
            codes.append(at.f_code)
            at = at.f_back
        if given is not None:
            return SiteKey(given, made, kind, tuple(codes))
        frame: FrameType | None = inner
        parts: list[str] = []
        # The queue's own name for its lock, the condition's for its own.
        while frame is not None and frame is not outer:
            part = _SELF.sub("", _assigned(frame))
            if part:
                parts.append(part)
            frame = frame.f_back
        owner = made.function.rpartition(".")[0].rpartition(".<locals>.")[2].removesuffix("<locals>")
        if parts and not name and owner:
            name = f"{owner}.{parts[-1]}"
        elif not name:
            name = f"lock of {short_path(made.file)}:{made.line}"
        elif parts and parts[-1] != "lock":
            name += f".{parts[-1]}"
        count = self._named[name] = self._named.get(name, 0) + 1
        return SiteKey(name if count == 1 else f"{name}({count})", made, kind, tuple(codes))


def _assigned(frame: FrameType) -> str:
    """To what a frame assigns what it makes just now: ``self.lock`` for ``self.lock = Lock()``; "" for nothing."""
    # By the text of the line up to the call, since no bytecode says where a result will go before it is there. A name
    # that is not found is not guessed: the class is then called after its place.
    code, lasti = frame.f_code, frame.f_lasti
    line, _, column, _ = next(islice(code.co_positions(), lasti // 2, None), (None, None, None, None))
    if line is None or column is None:
        return ""
    text = linecache.getline(code.co_filename, line).encode()[:column].decode(errors="replace")
    several = _SEVERAL.search(text)
    if several is not None:
        # ``a, b = Lock(), Lock()``: the one that stands where this call does.
        names = [name.strip() for name in several[1].split(",")]
        place = _commas(several[2])
        if place < len(names):
            return names[place]
    found = _ASSIGNED.search(text)
    return found[1] if found else ""


def _commas(text: str) -> int:
    """The commas that stand within no bracket."""
    depth = count = 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        count += char == "," and not depth
    return count


def _named(frame: FrameType, made: Frame) -> str:
    """What the program calls what it makes: ``Pool.lock`` for ``self.lock = Lock()`` in a method of Pool."""
    what = _assigned(frame)
    if not what:
        return ""
    owner, _, function = made.function.rpartition(".")
    owner = owner.removesuffix("<locals>").rstrip(".").rpartition(".<locals>.")[2]
    if _SELF.match(what):
        what = _SELF.sub("", what)
        return f"{owner}.{what}" if owner else what
    if made.function == "<module>":
        module = str(frame.f_globals.get("__name__", ""))
        return what if module in {"", "__main__"} else f"{module}.{what}"
    if not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        # The body of a class.
        return f"{made.function.rpartition('.<locals>.')[2]}.{what}"
    return f"{what} of {function}()" if not owner else f"{what} of {owner}.{function}()"


def caller(depth: int) -> FrameType:
    """The frame so many calls up."""
    return _getframe(depth + 1)


def new_map(key: LockClassKey, *, reentrant: bool) -> PythonMap:
    """The map of a new lock."""
    return PythonMap(key, reentrant=reentrant)
