"""Where in the program something happened: the innermost frames that are neither the engine's nor the library's.

A place is kept as a code object and an offset, which costs next to nothing; only a report that is printed turns it
into ``file:line`` (`spell`). The lock validator takes one at each lock.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType

from sugarbush.concurrency.core.runtime import active
from sugarbush.lockdep.model import RawFrame, Tracer, is_part, resolve, short_path

GENERATED = "<sugarbush.concurrency.memory.shared>"
"""The file name in the code of the accessors of shared fields, which are compiled from text (`memory.field`)."""

_tracer = Tracer(("sugarbush.concurrency", "sugarbush.lockdep"))
"""Tells the program's frames from others. Frames of the standard library may stand between two of the program: between
a `with` statement and what it enters, say."""
_files = _tracer.files
_files[GENERATED] = False


def place(skip: int = 1) -> RawFrame | None:
    """The innermost instruction of the program; None if there is none. The `skip` innermost frames are passed over."""
    return place_in(sys._getframe(skip))


def place_in(frame: FrameType | None) -> RawFrame | None:
    """The innermost instruction of the program in `frame` or its callers; None if there is none."""
    # By file name, in a dictionary that `is_user` fills: this runs at each lock, and most frames are of few files.
    while frame is not None:
        code = frame.f_code
        user = _files.get(code.co_filename)
        if user is None:
            user = _tracer.is_user(frame)
        if user:
            return code, frame.f_lasti
        frame = frame.f_back
    return None


_SPELT: dict[tuple[int, int], tuple[CodeType, str]] = {}


def spell(where: RawFrame | None) -> str:
    """A place as ``file:line``."""
    if where is None:
        return "?"
    code, lasti = where
    # As `resolve`: the same places are spelt again and again, each time that something is allocated there.
    known = _SPELT.get((id(code), lasti))
    if known is None:
        found = resolve(where)
        known = _SPELT[id(code), lasti] = code, f"{short_path(found.file)}:{found.line}"
    return known[1]


def caller() -> str:
    """``file:line`` of the program's innermost frame; where the task was spawned if it has none."""
    return spell(place(2) or _born())


def born(fn: object) -> RawFrame | None:
    """The place to keep for a task that runs `fn`: the caller's, if no code of the program will run in the task."""
    # That is so for a bound method of a lock or a partial of one: ``spawn(mutex.lock)``.
    module = getattr(fn, "__module__", "") or ""
    return place(2) if is_part(module, ("sugarbush.concurrency", "functools")) else None


def _born() -> RawFrame | None:
    rt = active.runtime
    return None if rt is None else rt.current.born


def stack_of(frame: FrameType | None) -> tuple[str, ...]:
    """All frames of a thread that are the program's, innermost first, one ``function at file:line`` a frame."""
    # Frames of the engine in the middle are passed over, too: wait_event() calls a condition of the program.
    found = []
    while frame is not None:
        if _tracer.is_user(frame):
            found.append(f"{frame.f_code.co_qualname} at {spell((frame.f_code, frame.f_lasti))}")
        frame = frame.f_back
    return tuple(found)


def stack(skip: int = 0) -> tuple[str, ...]:
    """The program's stack, as `stack_of` spells it, without the `skip` innermost callers.

    If no code of the program runs in the task, it is the place where the task was spawned.
    """
    found = stack_of(sys._getframe(1 + skip))
    if not found and (where := _born()) is not None:
        return (f"spawned at {spell(where)}",)
    return found
