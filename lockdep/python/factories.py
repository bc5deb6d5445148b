"""What stands in the place of `threading.Lock` and `threading.RLock` while a program is watched."""

from __future__ import annotations

import threading
from sys import _getframe
from typing import TYPE_CHECKING, Any

from sugarbush.lockdep.python.locks import BaseLock, LockType, RealLock, RealRLock
from sugarbush.lockdep.python.relocks import BaseRLock

if TYPE_CHECKING:
    from sugarbush.lockdep.python.program import Program

_THREAD_INIT = threading.Thread.__init__.__code__
_EVENT_INIT = threading.Event.__init__.__code__


class Current:
    """The program that is watched now; None for none."""

    program: Program | None = None


class _Posing:
    """Locks say that they are of the class that real ones are of."""

    __slots__ = ()

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._lock)  # type: ignore[attr-defined]


class _OfLocks(type):
    """``isinstance(lock, threading.Lock)`` holds for real ones, too: in 3.13 that is a class."""

    def __instancecheck__(cls, one: object) -> bool:
        return isinstance(one, LockType) or type.__instancecheck__(cls, one)


class WatchedLock(_Posing, BaseLock, metaclass=_OfLocks):
    """`threading.Lock` of a watched program."""

    __slots__ = ()

    def __new__(cls) -> Any:
        program, frame = Current.program, _getframe(1)
        if program is None:
            return RealLock()
        # What a thread tells with that it has started is its own: nobody else can wait for anything else meanwhile.
        back = frame.f_back
        if frame.f_code is _EVENT_INIT and back is not None and _is_thread_init(back.f_code):
            return RealLock()
        try:
            return program.new_lock(cls, frame)
        except RecursionError:
            # The program is so deep that there is no room to look where it is made, but for a real one there is.
            return RealLock()

    def __init_subclass__(cls) -> None:
        raise TypeError("type '_thread.lock' is not an acceptable base type")


class WatchedRLock(_Posing, BaseRLock):
    """`threading.RLock` of a watched program; may be inherited from, as the real one."""

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG004
        program, frame = Current.program, _getframe(1)
        if program is None and cls is WatchedRLock:
            return RealRLock()
        assert program is not None or Current.program is None
        if program is None:
            raise TypeError(
                "lockdep was uninstalled: this subclass was made of a watched lock, and can make none now"
            )
        try:
            return program.new_rlock(cls, frame)
        except RecursionError:
            if cls is not WatchedRLock:
                raise
            return RealRLock()


def _is_thread_init(code: object) -> bool:
    return code is _THREAD_INIT


for _made, _real in ((WatchedLock, "lock"), (WatchedRLock, "RLock")):
    _made.__name__ = _made.__qualname__ = _real
    _made.__module__ = "_thread"
