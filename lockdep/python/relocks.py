"""Locks that their owner may take again, and tell a watcher of the outermost acquire and release only."""

from __future__ import annotations

from collections.abc import Callable
from sys import _getframe
from typing import Any

from sugarbush.lockdep.python.context import PythonMap, ThreadContext
from sugarbush.lockdep.python.locks import Home, RealRLock, Watched, forward


class BaseRLock(Watched):
    """A `threading.RLock` that tells the validator, of its outermost acquire and release only."""

    __slots__ = ("_depth", "_owned")

    _depth: int
    _owned: Callable[[], bool]

    def _set_up(self, home: Home, lock: Any, lock_map: PythonMap) -> None:
        super()._set_up(home, lock, lock_map)
        self._depth = 0
        self._owned = lock._is_owned

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock as a `threading.RLock`: once more if the thread has it, else as `BaseLock.acquire`."""
        try:
            ctx = self._tls.ctx
        except AttributeError:
            ctx = self._home.new_context()
        frame = _getframe(1)
        lock_map = self._map
        up = lock_map.up
        # Below that place the thread does not have the lock, so nobody is asked whether it has.
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
                    self._lock.acquire()
                else:
                    self._wait(ctx)
                self._depth = 1
            except BaseException:
                self._undo(ctx)
                raise
            lock_map.owner = ctx
            return True
        if self._lock._is_owned():
            taken = self._acquire(blocking, timeout)
            self._depth += 1
            return taken
        if self._again(ctx, frame, blocking, timeout, None, None):
            self._depth = 1
            return True
        return False

    __enter__ = acquire

    def release(self) -> None:
        """Give the lock back once; the last time it is free. Who does not have it gets `RuntimeError`."""
        try:
            ctx = self._tls.ctx
        except AttributeError:
            ctx = self._home.new_context()
        lock_map = self._map
        up = lock_map.up
        if up is ctx.here and self._depth == 1:
            ctx.here = up.below
            lock_map.owner = None
            self._lock.release()
        elif not self._lock._is_owned():
            self._lock.release()
        elif self._depth > 1:
            self._depth -= 1
            self._lock.release()
        else:
            self._depth = 0
            self._unlock(ctx)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        # The most common way written out, as in `BaseLock`.
        try:
            ctx = self._tls.ctx
        except AttributeError:
            ctx = self._home.new_context()
        lock_map = self._map
        up = lock_map.up
        if up is ctx.here and self._depth == 1:
            ctx.here = up.below
            lock_map.owner = None
            self._lock.release()
        else:
            BaseRLock.release(self)

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


forward(BaseRLock, RealRLock)
