"""Locks that behave as those of `threading` do, and tell a watcher.

What a known acquire costs is paid for every lock operation of a program, so there are three ways to take a lock. One
that this thread has taken here, under the same locks, before is a step (`acquire`, and `places`). One whose stack is
known to the validator is looked up (`_again`). All else is checked (`_slowly`).

An exception may come at any line, from a signal handler or another thread, and must not leave a lock that the
validator takes for held: so what tells the validator that a lock is wanted takes that back on any `BaseException`.
"""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable
from sys import _getframe
from types import FrameType
from typing import Any, Protocol

from sugarbush.lockdep.model import LockMap, RawFrame
from sugarbush.lockdep.python.context import PythonMap, ThreadContext
from sugarbush.lockdep.python.places import LOT, NOWHERE

RealLock: Callable[[], Any] = _thread.allocate_lock
RealRLock: Any = _thread.RLock
LockType: type = _thread.LockType
OFTEN = 32
"""How many times a stack is taken before it is believed that the same code always takes it in the same way."""
SOMETIMES = 127
"""A mask of the count of hits: every 128th time it is looked at again."""
DIRECT = 1
"""The user's own code takes the lock: its frame is the place to name."""
GLUE = 2
"""A library takes it for the user, whose frame has to be looked for further up."""


class Home(Protocol):
    """Who a lock tells what becomes of it, `lockdep.python.watcher.LockWatcher`, which has the words."""

    tls: threading.local
    pairs: dict[int, int]

    def current(self) -> ThreadContext: ...
    def new_context(self) -> ThreadContext: ...
    def wanted(self, ctx: ThreadContext, lock_map: PythonMap) -> None: ...
    def wanted_nested(
        self, ctx: ThreadContext, lock_map: PythonMap, subclass: int, nest_lock: LockMap | None
    ) -> None: ...
    def taken(self, ctx: ThreadContext, lock_map: PythonMap) -> None: ...
    def contended(self, ctx: ThreadContext, lock_map: PythonMap) -> None: ...
    def got(self, ctx: ThreadContext, lock_map: PythonMap) -> None: ...
    def untell(self, ctx: ThreadContext, lock_map: PythonMap) -> bool: ...
    def gave(self, ctx: ThreadContext, lock_map: PythonMap) -> None: ...
    def handed_over(self, lock_map: PythonMap, owner: ThreadContext) -> None: ...
    def reborn(self, lock_map: PythonMap) -> None: ...
    def site(self, frame: FrameType, how: int | None, ctx: ThreadContext) -> RawFrame | None: ...


class Watched:
    """What both kinds share: the real lock within, its map, the way to the watcher."""

    # No `__getattr__` here, for what a later Python adds to its locks (see the end of the module): with one, CPython
    # looks up each attribute of a lock as if it were not known, and all of this takes a third longer.
    __slots__ = ("__weakref__", "_acquire", "_home", "_lock", "_map", "_pairs", "_release", "_tls")

    _acquire: Callable[..., bool]
    _release: Callable[[], None]
    _lock: Any
    _map: PythonMap
    _home: Home

    def _set_up(self, home: Home, lock: Any, lock_map: PythonMap) -> None:
        self._home = home
        self._tls = home.tls
        self._pairs = home.pairs
        self._lock = lock
        self._acquire = lock.acquire
        self._release = lock.release
        self._map = lock_map

    @property
    def dep_map(self) -> PythonMap:
        """The map by which the validator knows the lock."""
        return self._map

    def __repr__(self) -> str:
        return repr(self._lock)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Raises, in the words of the real one.
        return self._lock.__reduce_ex__(protocol)

    def _again(
        self,
        ctx: ThreadContext,
        frame: FrameType,
        blocking: bool,
        timeout: float,
        subclass: int | None,
        nest_lock: Watched | None,
    ) -> bool:
        """Takes the lock, with one look-up if its stack is known to the validator."""
        lock_map = self._map
        here = ctx.here
        chain = (ctx.top if here is NOWHERE else here.chain).next.get(lock_map.token | ctx.bits)
        if (
            chain is None
            or ctx.slow
            or blocking is not True
            or timeout != -1
            or subclass is not None
            or nest_lock is not None
        ):
            return self._slowly(ctx, blocking, timeout, subclass, nest_lock)
        code, lasti = frame.f_code, frame.f_lasti
        up, place = lock_map.up, None
        worn = not up.left and up.below is here and up.code is code and up.lasti == lasti
        hits = chain.hits = chain.hits + (LOT if worn else 1)
        # Who called whom is looked at the first times, and now and then: it may be a finaliser this time.
        if worn and up.renew():
            place = up
        elif code is lock_map.code and hits & SOMETIMES and not worn:
            here = ctx.stand()
            # The third time in a row: a place is made. Two threads in turn, or two lines, would make one each time.
            if lock_map.seen is here and lock_map.at == lasti and here is not NOWHERE:
                place = here.above(lock_map, chain, (code, lasti))
            lock_map.seen, lock_map.at = here, lasti
        else:
            how = self._pairs.get(id(code)) if hits > OFTEN and hits & SOMETIMES and not worn else None
            where = self._home.site(frame, how, ctx)
            if where is None:
                return self._slowly(ctx)
            if hits > OFTEN and where[0] is code and self._pairs.get(id(code)) == DIRECT:
                lock_map.code = code
                if worn:
                    place = up
                    up.looked_at()
            code, lasti = where
        if lock_map.last is not ctx.unit:
            lock_map.saw(ctx.unit, (code, lasti))
        if place is not None:
            ctx.here = place
        else:
            ctx.leave()
            ctx.stack.append((lock_map, chain, code, lasti, None))
            ctx.top = chain
        try:
            if lock_map.owner is not None:
                self._wait(ctx)
            else:
                self._lock.acquire()
            lock_map.owner = ctx
            if place is not None:
                # Only now: who has the lock stands on the place that it remembers.
                lock_map.up = place
        except BaseException:
            self._undo(ctx)
            raise
        return True

    def _unlock(self, ctx: ThreadContext) -> None:
        """Gives the lock back, when it is not the place where the thread stands."""
        try:
            here = ctx.here
            held = ctx.stack if here is NOWHERE else ctx.held
            if held and not ctx.slow:
                lock_map, chain, _, _, extra = held[-1]
                if lock_map is self._map and extra is None and chain is ctx.top:
                    held.pop()
                    ctx.top = chain.parent
                    lock_map.owner = None
                    return
            self._given(ctx)
        finally:
            self._lock.release()

    def _slowly(
        self,
        ctx: ThreadContext,
        blocking: bool = True,
        timeout: float = -1,
        subclass: int | None = None,
        nest_lock: Watched | None = None,
    ) -> bool:
        """Takes the lock with all checks, or, if it may end without it, tells afterwards that it was taken."""
        # A trylock is told after it succeeded, since one that fails is no acquire; a wait is told before it begins,
        # since one that never ends could not be told afterwards.
        home, lock_map = self._home, self._map
        if not blocking or timeout != -1:
            if not self._acquire(blocking, timeout):
                return False
            try:
                home.taken(ctx, lock_map)
                lock_map.owner = ctx
            except BaseException:
                home.untell(ctx, lock_map)
                self._release()
                raise
            return True
        try:
            if subclass is not None or nest_lock is not None:
                outer = None if nest_lock is None else nest_lock.dep_map
                home.wanted_nested(ctx, lock_map, subclass or 0, outer)
            else:
                home.wanted(ctx, lock_map)
        except RecursionError:
            # The program is so deep that there is no room for a check, but for the lock there would be: it is taken
            # unwatched.
            home.untell(ctx, lock_map)
        try:
            if not self._acquire(False):
                self._wait(ctx)
            lock_map.owner = ctx
        except BaseException:
            self._undo(ctx)
            raise
        home.got(ctx, lock_map)
        return True

    def _wait(self, ctx: ThreadContext) -> None:
        """Waits, and says meanwhile that the thread only waits."""
        # For the dump of a program that hangs: the lock is on the held stack from the moment on at which it is
        # wanted.
        ctx.wanted = self._map
        try:
            self._home.contended(ctx, self._map)
            self._acquire()
        finally:
            ctx.wanted = None

    def _undo(self, ctx: ThreadContext) -> None:
        """An exception came while the lock was waited for: take back what the validator was told of the acquire."""
        ctx.wanted = None
        self._home.untell(ctx, self._map)

    def _given(self, ctx: ThreadContext) -> None:
        """The lock is about to be given back: the rare ways."""
        home, lock_map = self._home, self._map
        if not home.untell(ctx, lock_map):
            owner = lock_map.owner
            if owner is not None and owner is not ctx:
                home.handed_over(lock_map, owner)
        lock_map.owner = None
        home.gave(ctx, lock_map)


class BaseLock(Watched):
    """A `threading.Lock` that tells the validator. Any thread may give it back."""

    __slots__ = ()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, or wait for it, as a `threading.Lock`. A wait that may end without it counts as a trylock."""
        try:
            ctx = self._tls.ctx
        except AttributeError:
            ctx = self._home.new_context()
        frame = _getframe(1)
        lock_map = self._map
        up = lock_map.up
        # From here to the step no handler can come, as CPython looks for one after calls only.
        if (
            up.below is ctx.here
            and frame.f_lasti == up.lasti
            and frame.f_code is up.code
            and (left := up.left)
            and blocking is True
            and timeout == -1
            and not ctx.slow
        ):
            up.left = left - 1
            if lock_map.last is not ctx.unit:
                lock_map.saw(ctx.unit, (up.code, up.lasti))
            ctx.here = up
            try:
                if lock_map.owner is None:
                    # A method without arguments, of the lock itself: anything else costs more.
                    self._lock.acquire()
                else:
                    self._wait(ctx)
            except BaseException:
                self._undo(ctx)
                raise
            lock_map.owner = ctx
            return True
        return self._again(ctx, frame, blocking, timeout, None, None)

    acquire_lock = acquire
    __enter__ = acquire

    def release(self) -> None:
        """Give the lock back, whoever took it; one that is free raises `RuntimeError`, as the real one does."""
        try:
            ctx = self._tls.ctx
        except AttributeError:
            # A thread that has not met a lock yet gives back one that another has taken, or nobody.
            ctx = self._home.new_context()
        lock_map = self._map
        up = lock_map.up
        if up is ctx.here:
            ctx.here = up.below
            lock_map.owner = None
            self._lock.release()
        else:
            self._unlock(ctx)

    release_lock = release

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        # The same again: a call costs as much as half of it.
        try:
            ctx = self._tls.ctx
        except AttributeError:
            ctx = self._home.new_context()
        lock_map = self._map
        up = lock_map.up
        if up is ctx.here:
            ctx.here = up.below
            lock_map.owner = None
            self._lock.release()
        else:
            self._unlock(ctx)

    def locked(self) -> bool:
        """Say whether anybody holds the lock."""
        return bool(self._lock.locked())

    locked_lock = locked

    def _at_fork_reinit(self) -> None:
        self._home.reborn(self._map)
        self._lock._at_fork_reinit()

    def _undo(self, ctx: ThreadContext) -> None:
        super()._undo(ctx)
        # The exception may have come in the one moment between the lock being taken and us knowing it: then nobody
        # owns it, and it would stay taken for ever.
        if self._map.owner is ctx or (self._map.owner is None and self._lock.locked()):
            self._map.owner = None
            self._release()


def forward(kind: type[Watched], real: type) -> None:
    """Gives a kind of locks all that real ones have and it has not: what a later Python adds."""
    for name in dir(real):
        if not hasattr(kind, name):
            setattr(kind, name, property(_passed_on(name)))


def _passed_on(name: str) -> Callable[[Watched], Any]:
    return lambda lock: getattr(lock._lock, name)


forward(BaseLock, LockType)
