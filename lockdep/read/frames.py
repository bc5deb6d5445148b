"""Frames of stacks, in every form that kernels and the tools around them print."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from sugarbush.lockdep.model import Frame
from sugarbush.lockdep.read.model import NOWHERE

_OFFSET: Final = re.compile(
    r"(?:\[<[0-9a-fx_]*(?:ptrval)?_*>\]\s*)?\(?(?P<function>[^\s()\[\]{}+]+)\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?\)?"
    r"(?:\s+\[[\w.\- ]+\])?(?:\s+\(?(?P<file>[\w./+\-]+\.[\w]+):(?P<line>\d+)\)?)?"
)
"""``f+0x1/0x2 [module] dir/file.c:12``, with ``[<address>]`` or ARM's parentheses."""
_BARE: Final = re.compile(
    r"(?:\[<[0-9a-fx]+>\]\s*)?(?P<function>[A-Za-z_][\w.]*)\s+\(?(?P<file>[\w./+\-]+\.\w+):(?P<line>\d+)"
)
"""Without an offset: ``f dir/file.h:3 [inline]`` and ``f (dir/file.c:12)``."""
_ARM: Final = re.compile(r"\[<[0-9a-f]+>\] \((?P<function>[A-Za-z_][\w.]*)\)")
_ADDRESS: Final = re.compile(r"\[<[0-9a-f]{8,16}>\]\s+(?P<function>[A-Za-z_][\w.]*)$")
_PLAIN: Final = re.compile(r"(\w+)\+0x[0-9a-f]+/0x[0-9a-f]+$")
_CLONE: Final = re.compile(r"\.(?:isra|part|constprop|cold|llvm|lto_priv)\b.*$")


def is_frame(text: str) -> bool:
    """Whether a line without prefix is a frame, also one that the kernel only guesses (``? f``)."""
    text = text.removeprefix("? ")
    return any(form.match(text) for form in (_OFFSET, _BARE, _ARM, _ADDRESS))


@lru_cache(maxsize=4096)
def frame_of(text: str) -> Frame | None:
    """The frame in a line; None for a guess and for what is no frame. Clones of a function count as it."""
    if text[:2] == "? ":
        # The kernel found an address on the stack that no frame vouches for.
        return None
    found = _PLAIN.match(text)
    if found is not None:
        return Frame(found[1], "", 0)
    for form in (_OFFSET, _BARE, _ARM, _ADDRESS):
        found = form.match(text)
        if found is not None:
            parts = found.groupdict()
            function = parts["function"]
            if "." in function:
                function = _CLONE.sub("", function)
            return Frame(function, parts.get("file") or "", int(parts.get("line") or 0))
    return None


def site_of(text: str) -> Frame:
    """The place after ``at:``; unknown if there is none."""
    return frame_of(text.strip()) or NOWHERE


def stack_of(lines: Iterable[str]) -> tuple[Frame, ...]:
    """The frames of a stack, innermost first, without guesses."""
    return tuple(frame for frame in map(frame_of, lines) if frame is not None)


def frame_end(text: str) -> int:
    """Where the first frame of a line ends: more than one stand in lines that were run together. 0: no frame."""
    found = _OFFSET.match(text.removeprefix("? "))
    return 0 if found is None else found.end() + (2 if text.startswith("? ") else 0)
