"""What locks tell, and what is done with it: the way from a lock to the validator and back."""

from __future__ import annotations

import inspect
import sys
import weakref
from types import CodeType, FrameType
from typing import Protocol

from sugarbush.lockdep.model import LockMap, RawFrame, TaskContext, context_entries, matches
from sugarbush.lockdep.python.context import PythonMap, ThreadContext, Watcher
from sugarbush.lockdep.python.locks import DIRECT, GLUE
from sugarbush.lockdep.show import LockStat

HOOK = "a hook"
_SUSPECT = 3
"""A function by which a finaliser has come, or may come: its callers are looked at each time."""
_NEAR = 5
_KEPT = 50_000
"""Code objects that are kept at most: a program may make functions without end."""
_WAYS = 2_000
"""Ways to places without a finaliser that are remembered at most."""
_DEPTH = 60
"""Frames that are looked at for a finaliser, from the innermost one outwards."""


class Passed(Exception):
    """The validator was not to be had in time; the lock is taken unwatched."""


class Validator(Protocol):
    """What is asked of the validator, `lockdep.python.validator.PlainLockdep`, which has the words."""

    def acquire(
        self,
        lock_map: LockMap,
        *,
        trylock: bool = ...,
        subclass: int = ...,
        nest_lock: LockMap | None = ...,
    ) -> None: ...
    def release(self, lock_map: LockMap) -> None: ...
    def lock_contended(self, lock_map: LockMap) -> None: ...
    def fresh_lock(self) -> None: ...
    def is_user(self, frame: FrameType) -> bool: ...
    def place(self, frame: FrameType) -> RawFrame: ...
    def stand(self, ctx: TaskContext) -> None: ...


class LockWatcher(Watcher):
    """Tells a validator of the locks of a program with threads.

    `pairs` says for a function that takes locks, by the number of its code, whether it is a user's own (`DIRECT`),
    the standard library's on behalf of one (`GLUE`), or may be a finaliser's (then it is looked at each time).
    """

    lockdep: Validator

    def __init__(self, stat: LockStat | None = None) -> None:
        super().__init__()
        self.stat = stat
        self.always_slow = stat is not None
        self.pairs: dict[int, int] = {}
        self._codes: list[CodeType] = []
        self._plain: set[tuple[int, ...]] = set()
        self.interrupting: set[int] = set()

    def wanted(self, ctx: ThreadContext, lock_map: PythonMap) -> None:
        """A thread is about to wait for a lock."""
        self._tell(ctx, lock_map, False)

    def wanted_nested(
        self, ctx: ThreadContext, lock_map: PythonMap, subclass: int, nest_lock: LockMap | None
    ) -> None:
        """A thread is about to wait for a lock, and says how it may be taken under another one of its class."""
        self._tell(ctx, lock_map, False, subclass, nest_lock)

    def forked(self) -> None:
        super().forked()
        self.lockdep.fresh_lock()

    def taken(self, ctx: ThreadContext, lock_map: PythonMap) -> None:
        """A thread has taken a lock that it would not have waited for without end."""
        self._tell(ctx, lock_map, True)
        self.got(ctx, lock_map)

    def _tell(
        self,
        ctx: ThreadContext,
        lock_map: PythonMap,
        trylock: bool,
        subclass: int = 0,
        nest_lock: LockMap | None = None,
    ) -> None:
        if ctx.slow and not self._catch_up(ctx):
            return
        ctx.leave()
        if ctx.busy:
            # A collection or a signal came in the middle of a check: the validator is not whole now.
            return
        # Set before the validator is entered: from here on a finaliser in this thread finds tables that are half
        # changed.
        ctx.busy = True
        try:
            self.lockdep.acquire(lock_map, trylock=trylock, subclass=subclass, nest_lock=nest_lock)
        except Passed:
            pass
        finally:
            ctx.busy = False
        if lock_map.last is not ctx.unit and ctx.held and ctx.held[-1][0] is lock_map:
            lock_map.saw(ctx.unit, ctx.held[-1][2:4])

    def _catch_up(self, ctx: ThreadContext) -> bool:
        """Takes off what other threads gave back; False when the thread is not watched."""
        if not self.live:
            return False
        while ctx.gone:
            self.untell(ctx, ctx.gone.pop())
        if ctx.stale:
            # No place that was known is come to any more, as there is new ground below all.
            ctx.stale = False
            ctx.grounds.clear()
        ctx.slow = self.always_slow or bool(ctx.interrupts)
        return True

    def forget_places(self) -> None:
        """What was known of stacks is known no more: each thread looks again at what it takes."""
        for ctx in list(self.contexts.values()):
            ctx.stale = ctx.slow = True

    def untell(self, ctx: ThreadContext, lock_map: PythonMap) -> bool:
        """The thread does not have the lock any more; False when the validator does not know that it had it."""
        held = ctx.held
        if not held:
            return False
        top = held[-1]
        if top[0] is lock_map and top[4] is None and top[1] is ctx.chain:
            held.pop()
            ctx.chain = top[1].parent
            return True
        if not any(entry[0] is lock_map for entry in held):
            return False
        if any(matches(entry, lock_map) for entry in context_entries(ctx)):
            busy, ctx.busy = ctx.busy, True
            try:
                self.lockdep.release(lock_map)
                return True
            except Passed:
                pass
            finally:
                ctx.busy = busy
        # A handler gives back what it interrupted; or the validator is not to be had.
        held[:] = [entry for entry in held if entry[0] is not lock_map]
        self.lockdep.stand(ctx)
        return True

    def handed_over(self, lock_map: PythonMap, owner: ThreadContext) -> None:
        """Another thread than the one that took the lock gives it back, which is legal: a hand-over.

        The stack of the owner is its own, and nobody else may touch it while it runs. It takes the lock off itself,
        at its next acquire (`_catch_up`).
        """
        owner.gone.append(lock_map)
        owner.slow = True

    def reborn(self, lock_map: PythonMap) -> None:
        """A lock is as new, in the child of a fork."""
        self.untell(self.current(), lock_map)
        lock_map.owner = None

    def contended(self, ctx: ThreadContext, lock_map: PythonMap) -> None:  # noqa: ARG002
        """A lock has to be waited for."""
        if self.stat is not None:
            self.lockdep.lock_contended(lock_map)
            self.stat.contended(lock_map)

    def got(self, ctx: ThreadContext, lock_map: PythonMap) -> None:  # noqa: ARG002
        """A lock was taken."""
        if self.stat is not None:
            self.stat.acquired(lock_map)

    def gave(self, ctx: ThreadContext, lock_map: PythonMap) -> None:  # noqa: ARG002
        """A lock is given back."""
        if self.stat is not None and self.live:
            self.stat.released(lock_map)

    def site(self, frame: FrameType, how: int | None, ctx: ThreadContext) -> RawFrame | None:  # noqa: ARG002
        """The user's line that takes a lock; None when all checks are to be made, since it may be a finaliser."""
        if how is None:
            how = self._look(frame)
            code = frame.f_code
            if id(code) not in self.pairs:
                if len(self._codes) > _KEPT:
                    self.pairs.clear()
                    self._codes.clear()
                # As long as it is kept, its number is nobody else's.
                self._codes.append(code)
            if self.pairs.get(id(code)) != _SUSPECT:
                self.pairs[id(code)] = how
        if how == _SUSPECT and self.finaliser(frame):
            return None
        if how == DIRECT:
            return frame.f_code, frame.f_lasti
        return self.lockdep.place(frame)

    def _look(self, frame: FrameType) -> int:
        if self.finaliser(frame) or _near_finaliser(frame):
            return _SUSPECT
        return DIRECT if self.lockdep.is_user(frame) else GLUE

    def finaliser(self, frame: FrameType | None) -> str:
        """What kind of interrupt a place is in, by the functions that led there; "" for none."""
        # To look at the arguments of all of them costs twenty times as much as to look who they are, and those who led
        # here once without being one are so again: what differs is who is at the end, and that is another function.
        way = _way(frame)
        if way in self._plain:
            return ""
        found = self._finaliser(frame)
        if not found:
            if len(self._plain) > _WAYS:
                self._plain.clear()
            self._plain.add(way)
        return found

    def _finaliser(self, frame: FrameType | None) -> str:
        depth = 0
        traced = id(getattr(sys.gettrace(), "__code__", None))
        while frame is not None and depth < _DEPTH:
            code = frame.f_code
            name = code.co_name
            if name == "__del__":
                return "a finaliser"
            if name == "__call__" and code.co_qualname == "finalize.__call__":
                return "a finaliser (weakref.finalize)"
            if id(code) == traced or id(code) in self.interrupting:
                return HOOK
            if code.co_argcount and _dead_reference(frame):
                return "a weakref callback"
            frame = frame.f_back
            depth += 1
        return ""


def _way(frame: FrameType | None) -> tuple[int, ...]:
    """The functions that led to a place, by the numbers of their code."""
    way: list[int] = []
    while frame is not None and len(way) < _DEPTH:
        way.append(id(frame.f_code))
        frame = frame.f_back
    return tuple(way)


def _near_finaliser(frame: FrameType | None) -> bool:
    """Whether a method of an object that has a finaliser led here: ``__del__`` may call it as well."""
    for _ in range(_NEAR):
        if frame is None:
            return False
        first = _first_argument(frame)
        if hasattr(first, "__del__") and getattr(first, frame.f_code.co_name, None) is not None:
            return True
        frame = frame.f_back
    return False


def _dead_reference(frame: FrameType) -> bool:
    """Whether a function was given a reference to what is gone: so it is that weakref callbacks are called."""
    return _first_argument(frame) is weakref.ReferenceType


def _first_argument(frame: FrameType) -> type | None:
    """The class of a function's first argument; `ReferenceType` for a weak reference to what is gone only."""
    code = frame.f_code
    if not code.co_argcount or not code.co_flags & inspect.CO_OPTIMIZED:
        return None
    names = frame.f_locals
    value = names.get(code.co_varnames[0])
    kind: type | None = type(value)
    if isinstance(value, weakref.ReferenceType):
        kind = weakref.ReferenceType if type(value) is weakref.ReferenceType and value() is None else None
    del value
    if sys.version_info < (3, 13):
        # The frame keeps this copy: what it names would live until the function returns, and be finalised later.
        names.clear()
    return kind
