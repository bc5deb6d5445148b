"""One validator for many executions of one program, which says only whether a fresh one has to be asked.

Each execution of an exploration has lock reports of its own, as if nothing had run before it. To prove the same stacks
of locks again in each of them costs more than the rest of a small execution. This validator keeps what it has learned:
classes, dependencies, stacks. Its word is "nothing" or "I doubt", and only a fresh validator, to which the execution is
told again (`Lockdep.tell_later`), reports anything.

That is right because no rule is about what did *not* happen: what a fresh validator reports follows from classes,
usages, dependencies and stacks that the execution has shown, and all of these are here as well, among others. So here,
too, the last of them to come finds the others. Two rules of `Lockdep` are of another kind, and are sharpened:

- A cycle may be guarded (`prove.guards`): that it is follows from other ways round *not* being there, and from a class
  having one instance. Here every cycle is a doubt, guarded or not.
- A class is as the first of its locks is. Another execution may have another first one. Here a lock that differs from
  the first one of its key is a doubt, and so is one with an ordering function, which is the program's own code.

(`implied`, by which a lock that is put back after one below it went need not be checked, is about what is there. It
does no harm that the path may be another execution's: the lock that went has left one of this execution's as well.)

A doubt may be wrong: two orders of locks that no single execution shows make a cycle here.

>>> from sugarbush.lockdep import LockClassKey, LockMap, TaskContext
>>> task = TaskContext("worker", 1)
>>> shared = SharedLockdep(lambda: task)
>>> a, b = LockClassKey("a"), LockClassKey("b")
>>> for keys in ((a, b), (a, b), (b, a)):
...     shared.begin()
...     task.reset()
...     for key in keys:                    # each execution makes its locks anew
...         shared.acquire(LockMap(key))
...     print(shared.doubts, shared.learned)
False 2
False 4
True 6

`known` is the short way of an acquire: it answers where nothing has to be proved.

>>> task.reset()
>>> str(shared.known(task, LockMap(a), 0))
'<Chain a>'
"""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType

from sugarbush.lockdep.engine.validator import Lockdep
from sugarbush.lockdep.model import (
    NO_TRACK,
    SUBCLASS_LIMIT,
    SUBCLASS_MASK,
    SUBCLASS_SHIFT,
    Chain,
    Extra,
    LockClassKey,
    LockMap,
    PseudoLocks,
    RawFrame,
    TaskContext,
)


class SharedLockdep(Lockdep):
    """A validator that outlives executions. Call `begin` before each, and ask `doubts` after each event.

    Once it doubts it is of no use any more. `learned` counts the acquires that no look-up answered: what it keeps has
    at most so many parts, so whoever uses it can bound its growth.
    """

    def __init__(self, current: Callable[[], TaskContext]) -> None:
        super().__init__(current, stacks=False)
        # These are its own and outlive executions as it does, so they are never admitted.
        for pseudo in PseudoLocks.__slots__:
            self._registry.enrol(getattr(self.maps, pseudo))
        # So `acquire` knows no file, and asks the tracer, who was told (`hear`).
        self._files = {}
        self._admitted: list[LockMap] = []
        self._kinds: dict[LockClassKey, tuple[int, int, int, int, object]] = {}
        """Of each key the token of its classes, and what its first lock was."""
        self._differs = False
        self.learned = 0

    @property
    def doubts(self) -> bool:
        """Whether an execution may have broken a rule: a fresh validator has to be asked."""
        return self._differs or bool(self._reporter.reports)

    def begin(self) -> None:
        """The next execution begins: its locks are new, also those that were there before."""
        # A lock that outlives executions is looked at anew in each, as a fresh validator would, since a program may
        # have given it another key meanwhile.
        for lock_map in self._admitted:
            lock_map.token = 0
        self._admitted = []

    def known(self, ctx: TaskContext, lock_map: LockMap, flags: int, subclass: int = 0) -> Chain | None:
        """The stack of an acquire, if one like it was proved before; the caller then pushes it. None: acquire it.

        `flags` are those of a chain's key: read mode and TRYLOCK. What differs in anything else is acquired.
        """
        if ctx.owner is not self:
            self._adopt(ctx)
        if not lock_map.token or not self._registry.knows(lock_map):
            # Nearly always the first lock of its class in this execution, which other executions have shown.
            known = self._kinds.get(lock_map.key)
            if known is None or known[1:] != _kind(lock_map) or lock_map.subclass:
                if not self._admit(lock_map):
                    return None
            else:
                lock_map.token = known[0]
                self._admitted.append(lock_map)
        key = lock_map.token | ctx.state | flags
        if subclass:
            if not 0 < subclass < SUBCLASS_LIMIT:
                return None
            key = key & ~SUBCLASS_MASK | subclass << SUBCLASS_SHIFT
        return ctx.chain.next.get(key)

    def hear(self, call: Callable[[Lockdep], None], frame: FrameType) -> RawFrame:
        """Hear an event that happens in `frame`; gives the place, by which it can be told later."""
        tracer = self._tracer
        # Found once, for all that asks for it.
        place = tracer.told = tracer.site(frame)
        try:
            call(self)
        finally:
            tracer.told = None
        return place

    def _admit(self, lock_map: LockMap) -> bool:
        """Give a lock its token, which the long way would do only with the first stack; False if it gets none."""
        key = lock_map.key
        if (
            not isinstance(key, LockClassKey)
            or key is NO_TRACK
            or not 0 <= lock_map.subclass < SUBCLASS_LIMIT
        ):
            return False
        known = self._kinds.get(key)
        if lock_map.order is not None or (known is not None and known[1:] != _kind(lock_map)):
            self._differs = True
            return False
        # How many locks a class has, and which number each, only a report says.
        family = self._registry.enrol(lock_map)
        self._kinds[key] = (family.token, *_kind(lock_map))
        self._admitted.append(lock_map)
        return True

    def _adopt(self, ctx: TaskContext) -> None:
        # Not kept among the tasks: nobody asks this validator for listings, and executions make tasks without end.
        if ctx.owner is not self:
            ctx.owner = self
            ctx.held = []
            self._stand(ctx)

    def _acquire_unseen(
        self, ctx: TaskContext, lock_map: LockMap, flags: int, subclass: int, nest_lock: LockMap | None
    ) -> tuple[Chain, Extra | None] | None:
        self.learned += 1
        if not self._registry.knows(lock_map):
            self._admit(lock_map)
            # Not even an ordering function is called: the fresh validator is going to.
            if self._differs:
                return None
        return super()._acquire_unseen(ctx, lock_map, flags, subclass, nest_lock)


def _kind(lock_map: LockMap) -> tuple[int, int, int, object]:
    """What a class takes over from its first lock, but for the name, by which nothing is decided."""
    return lock_map.wait_inner, lock_map.wait_outer, lock_map.lock_type, lock_map.order
