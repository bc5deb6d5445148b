"""Changes to locks that are held: downgrade, another class, pins (kernel: lockdep.c)."""

from __future__ import annotations

from sugarbush.lockdep.engine.core import Core
from sugarbush.lockdep.model import (
    AGAIN,
    NO_TRACK,
    NO_VALIDATE,
    READ_MASK,
    SUBCLASS_MASK,
    SUBCLASS_SHIFT,
    Extra,
    LockClassKey,
    LockMap,
    TaskContext,
)


class Changes(Core):
    """What may happen to a lock between its acquire and its release."""

    def downgrade(self, lock_map: LockMap) -> None:
        """An exclusive hold becomes a shared one, without letting go (kernel: `lock_downgrade`)."""
        ctx = self._current()
        with self._lock:
            index = self._find_tracked(ctx, lock_map)
            if index is not None:
                entry = ctx.held[index]
                if entry[1].read:
                    self._warn_here(ctx, f"WARNING: downgrading a read lock ({lock_map.name})")
                # The locks above it are taken off and put back, too: they are held under a shared lock from now on.
                above = self._pop_to(ctx, index)
                self._put_back(ctx, entry, entry[1].key & ~READ_MASK | 1 | AGAIN)
                for other in above:
                    self._put_back(ctx, other, other[1].key | AGAIN)
        self._reporter.deliver(ctx)

    def set_class(
        self, lock_map: LockMap, key: LockClassKey, name: str | None = None, subclass: int = 0
    ) -> None:
        """Gives a lock another class; if the task holds it, its stack is validated anew from there on.

        `name` defaults to the key's. Kernel: `lock_set_class`, `lockdep_set_class`.
        """
        ctx = self._current()
        with self._lock:
            if self._usable(ctx, key, lock_map.name, subclass, self._tracer.capture()):
                index = None if ctx.owner is not self or ctx.off else self._find(ctx, lock_map)
                known, moved = self._registry.knows(lock_map), key is not lock_map.key
                lock_map.key, lock_map.subclass = key, subclass
                lock_map.name = key.name if name is None else name
                if known and moved:
                    self._joined(ctx, self._registry.join(lock_map))
                elif known:
                    lock_map.token = lock_map.token & ~SUBCLASS_MASK | subclass << SUBCLASS_SHIFT
                if index is not None:
                    self._move_class(ctx, index)
        self._reporter.deliver(ctx)

    def set_subclass(self, lock_map: LockMap, subclass: int) -> None:
        """Moves a lock to another subclass of its key; the name stays (kernel: `lockdep_set_subclass`)."""
        self.set_class(lock_map, lock_map.key, lock_map.name, subclass)

    def set_novalidate(self, lock_map: LockMap) -> None:
        """From now on the lock makes no dependencies (kernel: `lockdep_set_novalidate_class`)."""
        self.set_class(lock_map, NO_VALIDATE, lock_map.name)

    def set_notrack(self, lock_map: LockMap) -> None:
        """From now on the validator ignores the lock (kernel: `lockdep_set_notrack_class`)."""
        self.set_class(lock_map, NO_TRACK, lock_map.name)

    def pin(self, lock_map: LockMap) -> int:
        """Forbids to release a held lock until it is unpinned with the cookie that this gives.

        A lock that is not held gives a warning and the cookie 0. Kernel: `lockdep_pin_lock`.
        """
        ctx = self._current()
        extra = self._extra_of(ctx, lock_map, "pinning")
        if extra is None:
            return 0
        self._pins += 1
        extra.pins = (*extra.pins, self._pins)
        return self._pins

    def repin(self, lock_map: LockMap, cookie: int) -> None:
        """Pins again with a cookie that was used before (kernel: `lockdep_repin_lock`)."""
        extra = self._extra_of(self._current(), lock_map, "repinning")
        if extra is not None:
            extra.pins = (*extra.pins, cookie)

    def unpin(self, lock_map: LockMap, cookie: int) -> None:
        """Undoes a pin; warns of a cookie that fits none (kernel: `lockdep_unpin_lock`)."""
        ctx = self._current()
        extra = self._extra_of(ctx, lock_map, "unpinning")
        if extra is None:
            return
        if not extra.pins:
            self._warn_here(ctx, f"WARNING: unpinning an unpinned lock ({lock_map.name})")
        elif cookie not in extra.pins:
            self._warn_here(ctx, f"WARNING: pin count corrupted ({lock_map.name})")
        else:
            extra.pins = tuple(pin for pin in extra.pins if pin != cookie)
        self._reporter.deliver(ctx)

    def _extra_of(self, ctx: TaskContext, lock_map: LockMap, action: str) -> Extra | None:
        index = None if ctx.off else self._find(ctx, lock_map)
        if index is None:
            if not ctx.off:
                self._warn_here(ctx, f"WARNING: {action} an unheld lock ({lock_map.name})")
                self._reporter.deliver(ctx)
            return None
        held, chain, code, lasti, extra = ctx.held[index]
        if extra is None:
            extra = Extra()
            ctx.held[index] = (held, chain, code, lasti, extra)
        return extra

    def _move_class(self, ctx: TaskContext, index: int) -> None:
        entry = ctx.held[index]
        above = self._pop_to(ctx, index)
        lock_class = self._class_of(ctx, entry[0], 0, self._tracer.capture())
        # Without AGAIN, unlike a downgrade: in the new class the task did wait in this order, and nobody has checked
        # that.
        if lock_class is not None:
            self._put_back(ctx, entry, entry[1].key, lock_class)
        for other in above:
            self._put_back(ctx, other, other[1].key)
