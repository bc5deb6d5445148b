"""Where in the user's code something happened: the innermost frames that are not ours.

Taking a place is cheap; spelling it is left to whoever prints it.
"""

from __future__ import annotations

import sys
from types import FrameType

from sugarbush.concurrency.core.runtime import active
from sugarbush.lockdep.model import RawFrame, Tracer, is_part, resolve, short_path

GENERATED = "<sugarbush.concurrency.memory.shared>"
"""The file name of the accessors of shared fields."""

_tracer = Tracer(("sugarbush.concurrency", "sugarbush.lockdep"))
"""Passes over frames of ours and those of the standard library, between a `with` statement and what it enters, say."""
_files = _tracer.files
_files[GENERATED] = False


def place(skip: int = 1) -> RawFrame | None:
    """The innermost instruction of the user's; None if there is none. The `skip` innermost frames are known ours."""
    return place_in(sys._getframe(skip))


def place_in(frame: FrameType | None) -> RawFrame | None:
    """The innermost instruction of the user's, seen from `frame`; None if there is none."""
    while frame is not None:
        code = frame.f_code
        user = _files.get(code.co_filename)
        if user is None:
            user = _tracer.is_user(frame)
        if user:
            return code, frame.f_lasti
        frame = frame.f_back
    return None


def spell(where: RawFrame | None) -> str:
    """A place as ``file:line``."""
    if where is None:
        return "?"
    found = resolve(where)
    return f"{short_path(found.file)}:{found.line}"


def caller() -> str:
    """``file:line`` of the innermost frame of the user's; where the task was spawned if there is none in it."""
    return spell(place(2) or _born())


def born(fn: object) -> RawFrame | None:
    """The place to keep for a task that runs `fn`: where it is spawned, if `fn` is not the user's own."""
    # A bound method of a lock, a partial of one: no frame of the task will ever be the user's.
    module = getattr(fn, "__module__", "") or ""
    return place(2) if is_part(module, ("sugarbush.concurrency", "functools")) else None


def _born() -> RawFrame | None:
    rt = active.runtime
    return None if rt is None else rt.current.born


def stack_of(frame: FrameType | None) -> tuple[str, ...]:
    """All frames of a thread that are the user's, innermost first, one ``function at file:line`` a frame."""
    # Frames of ours in the middle are passed over, too: a condition that wait_event() looks at has been called by
    # somebody who waits.
    found = []
    while frame is not None:
        if _tracer.is_user(frame):
            found.append(f"{frame.f_code.co_qualname} at {spell((frame.f_code, frame.f_lasti))}")
        frame = frame.f_back
    return tuple(found)


def stack(skip: int = 0) -> tuple[str, ...]:
    """The user's stack, spelt as by `stack_of`; `skip` callers are passed over. Where a task of ours was spawned."""
    found = stack_of(sys._getframe(1 + skip))
    if not found and (where := _born()) is not None:
        return (f"spawned at {spell(where)}",)
    return found
