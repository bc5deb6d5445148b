"""Where something happened: call sites and stacks, resolved to lines only when printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable
from types import CodeType, FrameType
from typing import NamedTuple

RawFrame = tuple[CodeType, int]
"""A code object and an instruction offset in it (bytes)."""


class Frame(NamedTuple):
    """One resolved line of a stack."""

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.function} ({short_path(self.file)}:{self.line})"


def short_path(path: str) -> str:
    """The last two parts of a path: enough to find the file, the same on every machine."""
    return "/".join(path.replace("\\", "/").rsplit("/", 2)[-2:])


# For the whole process, like `_FILES` below: the same lines are printed by one validator after the other, one for each
# execution of an exploration.
_RESOLVED: dict[tuple[int, int], tuple[CodeType, Frame]] = {}


def resolve(raw: RawFrame) -> Frame:
    """The function, file and line of an instruction."""
    code, lasti = raw
    # Code objects are slow to hash; kept here, their identity stays theirs.
    known = _RESOLVED.get((id(code), lasti))
    if known is None:
        known = _RESOLVED[id(code), lasti] = code, _look_up(code, lasti)
    return known[1]


def _look_up(code: CodeType, lasti: int) -> Frame:
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= lasti < end:
            line = number or line
            break
    return Frame(code.co_qualname, code.co_filename, line)


class Trace:
    """A stack, innermost frame first."""

    __slots__ = ("frames",)

    def __init__(self, frames: tuple[RawFrame, ...]) -> None:
        self.frames = frames

    @property
    def site(self) -> RawFrame:
        """The innermost frame."""
        return self.frames[0] if self.frames else _NOWHERE

    def resolve(self) -> tuple[Frame, ...]:
        """All frames with file and line."""
        return tuple(map(resolve, self.frames))


_NOWHERE: RawFrame = (compile("", "<unknown>", "exec"), 0)


_FILES: dict[frozenset[str], dict[str, bool]] = {}
"""For each set of internal packages, what is known of the source files."""


def _is_glue(code: CodeType) -> bool:
    """Whether the user has not written this code, although it is not of the packages that look: it only leads there.

    That is the standard library (a `with` statement enters a lock through contextlib, a thread begins in threading),
    and the methods that dataclasses writes for a class, whose file is called ``<string>``.
    """
    path = code.co_filename
    if path.startswith("<"):
        return path.startswith("<frozen ") or code.co_qualname.startswith(_DATACLASS)
    # What is installed lies below the library's directory, too, and is somebody's program as good as any.
    below = path.startswith(_STDLIB)
    return below and not path.startswith(("site-packages", "dist-packages"), len(_STDLIB))


_STDLIB = os.path.join(os.path.dirname(os.__file__), "")
_DATACLASS = "__create_fn__.<locals>."
"""How the code objects are called that `dataclasses` makes (3.11 to 3.13): `__init__`, `__eq__` and the like."""


def is_part(module: str, packages: Iterable[str]) -> bool:
    """Whether the module of this name is one of the packages, or lies in one.

    >>> is_part("house.room.desk", ("house.room",)), is_part("house.roomy", ("house.room",))
    (True, False)
    """
    return any(module == package or module.startswith(package + ".") for package in packages)


class Tracer:
    """Takes stacks for one validator, without the frames of the packages named `internal` and the standard library's.

    Equal stacks are kept once. With `whole` false a stack is its innermost frame only, which costs a tenth, and is
    not kept.
    """

    __slots__ = ("_internal", "_traces", "_whole", "files", "told")

    def __init__(self, internal: Collection[str], *, whole: bool = True) -> None:
        self._internal = frozenset(internal)
        self._whole = whole
        self._traces: dict[tuple[int, ...], Trace] = {}
        self.files = _FILES.setdefault(self._internal, {})
        """Whether a source file holds user code, for each file that any tracer has met so far."""
        self.told: RawFrame | None = None
        """What is told happened earlier, and there: the frames of now have nothing to do with it."""

    def __len__(self) -> int:
        return len(self._traces)

    @property
    def entries(self) -> int:
        """Frames kept in all stacks."""
        return sum(len(trace.frames) for trace in self._traces.values())

    def is_user(self, frame: FrameType) -> bool:
        """True when the frame runs code outside of the internal packages."""
        path = frame.f_code.co_filename
        known = self.files.get(path)
        if known is None:
            module = str(frame.f_globals.get("__name__", ""))
            known = not is_part(module, self._internal) and not _is_glue(frame.f_code)
            # Generated code shares names like <string>, whoever made it.
            if not path.startswith("<"):
                self.files[path] = known
        return known

    def site(self, frame: FrameType) -> RawFrame:
        """The innermost user frame from here; the given frame itself when there is none."""
        if self.told is not None:
            return self.told
        files = self.files
        at: FrameType | None = frame
        while at is not None:
            code = at.f_code
            user = files.get(code.co_filename)
            if user is None:
                user = self.is_user(at)
            if user:
                return code, at.f_lasti
            at = at.f_back
        return frame.f_code, frame.f_lasti

    def capture(self) -> Trace:
        """The caller's stack, user frames only."""
        if self.told is not None:
            return self._told(self.told)
        frames: list[RawFrame] = []
        files = self.files
        at: FrameType | None = sys._getframe(1)
        while at is not None:
            code = at.f_code
            user = files.get(code.co_filename)
            if user is None:
                user = self.is_user(at)
            if user:
                frames.append((code, at.f_lasti))
                if not self._whole:
                    return Trace(tuple(frames))
            at = at.f_back
        return self.intern(tuple(frames))

    def _told(self, told: RawFrame) -> Trace:
        # Nobody keeps whole stacks of what may have to be told later. Where there was no frame of the user's, `site`
        # has given one of the internal packages, and those are known: then the stack was empty.
        assert not self._whole, "only the innermost frame is known of what is told later"
        return Trace((told,) if self.files.get(told[0].co_filename) is not False else ())

    def intern(self, frames: tuple[RawFrame, ...]) -> Trace:
        """The one Trace of these frames."""
        # Identity stands for equality: a kept Trace keeps its code objects alive, so no id is reused.
        key = tuple([part for code, lasti in frames for part in (id(code), lasti)])
        trace = self._traces.get(key)
        if trace is None:
            trace = self._traces[key] = Trace(frames)
        return trace
