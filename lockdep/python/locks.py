"""Locks that behave as those of `threading` do, and tell a watcher.

What a known acquire costs is paid for every lock operation of a program: `acquire` of `BaseLock` is written out, and
what is rare is behind one test each. An exception may come at any line, from a signal handler or another thread, and
must not leave a lock that the validator takes for held: so what tells the validator that a lock is wanted takes that
back on any `BaseException`.
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

    def __getattr__(self, name: str) -> Any:
        # What a later Python adds to its locks.
        if name in Watched.__slots__:
            raise AttributeError(name)
        return getattr(self._lock, name)

    def _slowly(
        self,
        ctx: ThreadContext,
        blocking: bool = True,
        timeout: float = -1,
        subclass: int = 0,
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
        if subclass or nest_lock is not None:
            home.wanted_nested(ctx, lock_map, subclass, None if nest_lock is None else nest_lock.dep_map)
        else:
            home.wanted(ctx, lock_map)
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

    def acquire(
        self,
        blocking: bool = True,
        timeout: float = -1,
        *,
        subclass: int = 0,
        nest_lock: Watched | None = None,
    ) -> bool:
        """Take the lock, or wait for it, as a `threading.Lock`. A wait that may end without it counts as a trylock.

        `subclass` and `nest_lock` say how a lock may be taken under another one of its class.
        """
        try:
            ctx = self._tls.ctx
        except AttributeError:
            ctx = self._home.new_context()
        if blocking is not True or timeout != -1 or subclass or nest_lock is not None:
            return self._slowly(ctx, blocking, timeout, subclass, nest_lock)
        lock_map = self._map
        chain = ctx.chain.next.get(lock_map.token | ctx.state)
        if chain is None or ctx.slow:
            return self._slowly(ctx)
        frame: FrameType = _getframe(1)
        code = frame.f_code
        hits = chain.hits = chain.hits + 1
        # Who called whom is looked at the first times, and now and then: it may be a finaliser this time.
        if code is lock_map.code and hits & SOMETIMES:
            lasti = frame.f_lasti
        else:
            how = self._pairs.get(id(code)) if hits > OFTEN and hits & SOMETIMES else None
            where = self._home.site(frame, how, ctx)
            if where is None:
                return self._slowly(ctx)
            if hits > OFTEN and where[0] is code and self._pairs.get(id(code)) == DIRECT:
                lock_map.code = code
            code, lasti = where
        if lock_map.last is not ctx.unit:
            lock_map.saw(ctx.unit, (code, lasti))
        ctx.held.append((lock_map, chain, code, lasti, None))
        ctx.chain = chain
        try:
            # Methods without arguments, of the lock itself: anything else costs more than all the rest of this.
            if lock_map.owner is not None:
                self._wait(ctx)
            else:
                ctx.wanted = lock_map
                self._lock.acquire()
                ctx.wanted = None
            lock_map.owner = ctx
        except BaseException:
            self._undo(ctx)
            raise
        return True

    acquire_lock = acquire

    def __enter__(self) -> bool:
        # The same again without what `acquire` may be given: this is what most programs call.
        try:
            ctx = self._tls.ctx
        except AttributeError:
            ctx = self._home.new_context()
        lock_map = self._map
        chain = ctx.chain.next.get(lock_map.token | ctx.state)
        if chain is None or ctx.slow:
            return self._slowly(ctx)
        frame: FrameType = _getframe(1)
        code = frame.f_code
        hits = chain.hits = chain.hits + 1
        # Who called whom is looked at the first times, and now and then: it may be a finaliser this time.
        if code is lock_map.code and hits & SOMETIMES:
            lasti = frame.f_lasti
        else:
            how = self._pairs.get(id(code)) if hits > OFTEN and hits & SOMETIMES else None
            where = self._home.site(frame, how, ctx)
            if where is None:
                return self._slowly(ctx)
            if hits > OFTEN and where[0] is code and self._pairs.get(id(code)) == DIRECT:
                lock_map.code = code
            code, lasti = where
        if lock_map.last is not ctx.unit:
            lock_map.saw(ctx.unit, (code, lasti))
        ctx.held.append((lock_map, chain, code, lasti, None))
        ctx.chain = chain
        try:
            # Methods without arguments, of the lock itself: anything else costs more than all the rest of this.
            if lock_map.owner is not None:
                self._wait(ctx)
            else:
                ctx.wanted = lock_map
                self._lock.acquire()
                ctx.wanted = None
            lock_map.owner = ctx
        except BaseException:
            self._undo(ctx)
            raise
        return True

    def release(self) -> None:
        """Give the lock back, whoever took it; one that is free raises `RuntimeError`, as the real one does."""
        try:
            ctx = self._tls.ctx
            held = ctx.held
            if held and not ctx.slow:
                lock_map, chain, _, _, extra = held[-1]
                if lock_map is self._map and extra is None and chain is ctx.chain:
                    held.pop()
                    ctx.chain = chain.parent
                    lock_map.owner = None
                    return
            self._given(ctx)
        except AttributeError:
            # A thread that has not met a lock yet gives back one that another has taken, or nobody.
            self._given(self._home.current())
        finally:
            self._lock.release()

    release_lock = release

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            ctx = self._tls.ctx
            held = ctx.held
            if held and not ctx.slow:
                lock_map, chain, _, _, extra = held[-1]
                if lock_map is self._map and extra is None and chain is ctx.chain:
                    held.pop()
                    ctx.chain = chain.parent
                    lock_map.owner = None
                    return
            self._given(ctx)
        finally:
            self._lock.release()

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
