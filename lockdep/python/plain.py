"""The validator for threads with the kernel's rules, and its lock, which nobody waits for without end."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import FrameType, TracebackType

from sugarbush.lockdep.engine import Lockdep
from sugarbush.lockdep.model import (
    Frame,
    LockClassKey,
    LockMap,
    RawFrame,
    TaskContext,
    Trace,
    Tracer,
    resolve,
)
from sugarbush.lockdep.python.context import PythonMap
from sugarbush.lockdep.python.locks import RealRLock
from sugarbush.lockdep.python.places import NO_PLACE
from sugarbush.lockdep.python.watcher import Passed
from sugarbush.lockdep.reports import Report

PATIENCE = 2.0


class _Bounded:
    """The validator's own lock, which is never waited for without end.

    A finaliser or a signal handler that runs while a thread is in here may wait for a lock of the program
    whose owner is waiting for this one: a deadlock of our own making. The one who waits too long passes on,
    unwatched.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = RealRLock()

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=PATIENCE):
            raise Passed

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


class PlainLockdep(Lockdep):
    """The kernel's rules for threads: what `ThreadMonitor` has."""

    def __init__(
        self,
        current: Callable[[], TaskContext],
        *,
        internal: Collection[str] = ("sugarbush.lockdep",),
        on_report: Callable[[Report], None] | None = None,
    ) -> None:
        super().__init__(current, internal=internal, on_report=on_report)
        self.forgets: Callable[[], object] = lambda: None
        """Called when stacks that were known are so no more."""
        self.fresh_lock()

    def fresh_lock(self) -> None:
        """The lock of the validator is free: for the child of a fork."""
        self._lock = _Bounded()  # type: ignore[assignment]

    def unregister_key(self, key: LockClassKey) -> None:
        super().unregister_key(key)
        self.forgets()

    def set_class(
        self, lock_map: LockMap, key: LockClassKey, name: str | None = None, subclass: int = 0
    ) -> None:
        super().set_class(lock_map, key, name, subclass)
        if isinstance(lock_map, PythonMap):
            # It is another lock now, and must not be taken for the one that it was.
            lock_map.up = NO_PLACE

    def is_user(self, frame: FrameType) -> bool:
        """Whether a frame is the user's."""
        return self._tracer.is_user(frame)

    def place(self, frame: FrameType) -> RawFrame:
        """The innermost user's frame from here."""
        # `Tracer.site` written out: each acquire that a library makes for somebody asks, through four or five frames.
        files = self._files
        at: FrameType | None = frame
        while at is not None:
            code = at.f_code
            user = files.get(code.co_filename)
            if user:
                return code, at.f_lasti
            if user is None:
                break
            at = at.f_back
        return self._tracer.site(frame)

    def use_tracer(self, tracer: Tracer) -> None:
        """Stacks are what this says: for what another process has seen."""
        self._tracer = tracer
        self._files = tracer.files

    def line(self, site: RawFrame) -> Frame:
        """The line of a place."""
        return resolve(site)

    def capture(self) -> Trace:
        """The stack of the caller."""
        return self._tracer.capture()

    def stand(self, ctx: TaskContext) -> None:
        """Puts a task where its held locks say."""
        self._stand(ctx)
