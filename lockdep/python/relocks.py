"""Locks that their owner may take again, and tell a watcher of the outermost acquire and release only."""

from __future__ import annotations

from collections.abc import Callable
from sys import _getframe
from types import FrameType
from typing import Any

from sugarbush.lockdep.python.context import PythonMap, ThreadContext
from sugarbush.lockdep.python.locks import DIRECT, OFTEN, SOMETIMES, Home, Watched


class BaseRLock(Watched):
    """A `threading.RLock` that tells the validator, of its outermost acquire and release only."""

    __slots__ = ("_depth", "_owned")

    _depth: int
    _owned: Callable[[], bool]

    def _set_up(self, home: Home, lock: Any, lock_map: PythonMap) -> None:
        super()._set_up(home, lock, lock_map)
        self._depth = 0
        self._owned = lock._is_owned

    def acquire(
        self,
        blocking: bool = True,
        timeout: float = -1,
        *,
        subclass: int = 0,
        nest_lock: Watched | None = None,
    ) -> bool:
        """Take the lock as a `threading.RLock`: once more if the thread has it, else as `BaseLock.acquire`."""
        if self._lock._is_owned():
            taken = self._acquire(blocking, timeout)
            self._depth += 1
            return taken
        try:
            ctx = self._tls.ctx
        except AttributeError:
            ctx = self._home.new_context()
        lock_map = self._map
        chain = ctx.chain.next.get(lock_map.token | ctx.state)
        if (
            chain is None
            or ctx.slow
            or blocking is not True
            or timeout != -1
            or subclass
            or nest_lock is not None
        ):
            if self._slowly(ctx, blocking, timeout, subclass, nest_lock):
                self._depth = 1
                return True
            return False
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
                self._slowly(ctx)
                self._depth = 1
                return True
            if hits > OFTEN and where[0] is code and self._pairs.get(id(code)) == DIRECT:
                lock_map.code = code
            code, lasti = where
        if lock_map.last is not ctx.unit:
            lock_map.saw(ctx.unit, (code, lasti))
        ctx.held.append((lock_map, chain, code, lasti, None))
        ctx.chain = chain
        try:
            if lock_map.owner is not None:
                self._wait(ctx)
            else:
                ctx.wanted = lock_map
                self._lock.acquire()
                ctx.wanted = None
            self._depth = 1
            lock_map.owner = ctx
        except BaseException:
            self._undo(ctx)
            raise
        return True

    __enter__ = acquire

    def release(self) -> None:
        """Give the lock back once; the last time it is free. Who does not have it gets `RuntimeError`."""
        if self._lock._is_owned():
            if self._depth > 1:
                self._depth -= 1
            else:
                self._depth = 0
                try:
                    ctx = self._tls.ctx
                    held = ctx.held
                    top = held[-1] if held and not ctx.slow else None
                    if top is not None and top[0] is self._map and top[4] is None and top[1] is ctx.chain:
                        held.pop()
                        ctx.chain = top[1].parent
                        top[0].owner = None
                    else:
                        self._given(ctx)
                finally:
                    self._lock.release()
                return
        self._lock.release()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.release()

    # The private face that `Condition` looks for.

    def _is_owned(self) -> bool:
        return self._owned()

    def _recursion_count(self) -> int:
        return self._depth if self._owned() else 0

    def _release_save(self) -> Any:
        if not self._owned():
            return self._lock._release_save()
        depth, self._depth = self._depth, 0
        self._given(self._home.current())
        return depth, self._lock._release_save()

    def _acquire_restore(self, saved: Any) -> None:
        depth, state = saved
        ctx, home, lock_map = self._home.current(), self._home, self._map
        home.wanted(ctx, lock_map)
        ctx.wanted = lock_map
        try:
            self._lock._acquire_restore(state)
            self._depth = depth
            lock_map.owner = ctx
        except BaseException:
            self._undo(ctx)
            raise
        finally:
            ctx.wanted = None
        home.got(ctx, lock_map)

    def _at_fork_reinit(self) -> None:
        self._home.reborn(self._map)
        self._depth = 0
        self._lock._at_fork_reinit()

    def _undo(self, ctx: ThreadContext) -> None:
        super()._undo(ctx)
        if self._owned():
            self._depth = 0
            self._map.owner = None
            self._release()
