"""What has happened to locks is told after the fact, with the places where it happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sugarbush.lockdep.engine.core import Core
from sugarbush.lockdep.model import (
    READ_MASK,
    SUBCLASS_MASK,
    SUBCLASS_SHIFT,
    TRYLOCK,
    Held,
    LockMap,
    RawFrame,
    TaskContext,
)

LockEvent = (
    tuple[TaskContext, Held]
    | tuple[TaskContext, LockMap]
    | tuple[TaskContext, Callable[[Any], None], RawFrame]
)
"""What a task did: an acquire, as the entry that it has pushed; a release of the newest lock, as its map; or any other
call of a validator, and where it was made."""


class Later(Core):
    """A validator that hears of events late."""

    def tell_later(self, events: Sequence[LockEvent]) -> None:
        """Go through what happened, as if it happened now: afterwards all is as if it had been told at once.

        Each context must be as it was before the first event (`TaskContext.reset`). Kept are innermost frames only,
        so the validator must be one without stacks.
        """
        task: TaskContext
        before, files, tracer = self._current, self._files, self._tracer
        self._current = lambda: task
        # In no file that it knows is user code, so `acquire` asks the tracer, who was told.
        self._files = {}
        try:
            for event in events:
                task, what = event[0], event[1]
                if isinstance(what, LockMap):
                    self.release(what)
                elif isinstance(what, tuple):
                    lock_map, chain, code, lasti, _ = what
                    tracer.told = code, lasti
                    key = chain.key
                    self.acquire(
                        lock_map,
                        read=key & READ_MASK,
                        trylock=bool(key & TRYLOCK),
                        subclass=(key & SUBCLASS_MASK) >> SUBCLASS_SHIFT,
                    )
                else:
                    tracer.told = event[2]  # type: ignore[misc]
                    what(self)
        finally:
            self._current, self._files, tracer.told = before, files, None
