"""Acquire and release: the part of the validator that runs for every lock operation.

`acquire` finds the task's new stack among those already validated, with one look-up; everything else happens
only for a stack never seen.
"""

from __future__ import annotations

from sys import _getframe
from types import FrameType

from sugarbush.lockdep.engine.state import ValidatorState
from sugarbush.lockdep.model import (
    AGAIN,
    IN_NMI,
    NESTED,
    READ_MASK,
    RECHECK,
    STATE_MASK,
    SUBCLASS_LIMIT,
    SUBCLASS_MASK,
    SUBCLASS_SHIFT,
    SYNC,
    TRYLOCK,
    UNCHECKED,
    Acquire,
    Chain,
    Extra,
    Held,
    LockClass,
    LockdepError,
    LockMap,
    TaskContext,
    Trace,
    matches,
)
from sugarbush.lockdep.prove import check_wait_context
from sugarbush.lockdep.reports import NestLockReport, ReportKind, common, lock_line


class Core(ValidatorState):
    """Acquires and releases, and the held stacks that they make."""

    def acquire(
        self,
        lock_map: LockMap,
        *,
        read: int = 0,
        trylock: bool = False,
        subclass: int = 0,
        nest_lock: LockMap | None = None,
        check: bool = True,
        sync: bool = False,
    ) -> None:
        """The current task asks for a lock; call it before it can block, or after a trylock succeeded.

        `read` is 0 for exclusive, 1 for read, 2 for recursive read; any true `trylock` means that the task
        did not wait. `subclass` gives the lock a class of its own within its key. `nest_lock` names a held
        lock that serialises the whole class. Without `check` the lock makes no dependencies. With `sync` it
        is validated as if taken, and not held afterwards. Raises `LockdepError` when `read` is something
        else. Kernel: `lock_acquire`.
        """
        # This is paid for every lock operation of a watched program: one integer, one look-up, one tuple. What is not
        # the same each time stands in the key, so nothing has to be asked that the look-up does not ask.
        ctx = self._current()
        if ctx.owner is not self:
            self._adopt(ctx)
        key = lock_map.token | ctx.state
        if read:
            if not 0 < read <= 2:
                raise LockdepError(f"read must be 0, 1 or 2, not {read!r}")
            key |= read
        if trylock:
            key |= TRYLOCK
        if not check:
            key |= UNCHECKED
        if subclass:
            # A key of 0 is in no table: what is wrong with the subclass comes out below.
            key = key & ~SUBCLASS_MASK | subclass << SUBCLASS_SHIFT if 0 < subclass < SUBCLASS_LIMIT else 0
        extra = None
        chain = ctx.chain.next.get(key)
        if chain is None or nest_lock is not None or sync:
            flags = read | (TRYLOCK if trylock else 0) | (0 if check else UNCHECKED) | (SYNC if sync else 0)
            placed = self._acquire_unseen(ctx, lock_map, flags, subclass, nest_lock)
            if ctx.pending:
                self._reporter.deliver(ctx)
            if placed is None:
                return
            chain, extra = placed
        else:
            chain.hits += 1
        # `Tracer.site` written out, since a known acquire is little more than this. It is asked about a file that was
        # not met before (None).
        frame: FrameType | None = _getframe(1)
        files = self._files
        user: bool | None = False
        while frame is not None:
            code = frame.f_code
            user = files.get(code.co_filename)
            if user is not False:
                break
            frame = frame.f_back
        if user and frame is not None:
            lasti = frame.f_lasti
        else:
            code, lasti = self._tracer.site(_getframe(1))
        ctx.held.append((lock_map, chain, code, lasti, extra))
        ctx.chain = chain

    def release(self, lock_map: LockMap) -> None:
        """The current task gives a lock back. Reports one that it does not hold. Kernel: `lock_release`."""
        ctx = self._current()
        # Nearly always the newest lock goes first. The others are put back by `_release_unusual`, as new acquires.
        held = ctx.held
        if held:
            top = held[-1]
            if top[0] is lock_map and top[4] is None and top[1] is ctx.chain:
                held.pop()
                ctx.chain = top[1].parent
                return
        self._release_unusual(ctx, lock_map)
        if ctx.pending:
            self._reporter.deliver(ctx)

    def _acquire_unseen(
        self, ctx: TaskContext, lock_map: LockMap, flags: int, subclass: int, nest_lock: LockMap | None
    ) -> tuple[Chain, Extra | None] | None:
        """The checks of an acquire that no look-up answers; gives what to push, None for nothing."""
        with self._lock:
            if not self._tracks(ctx, lock_map):
                return None
            trace = self._tracer.capture()
            lock_class = self._class_of(ctx, lock_map, subclass, trace)
            if lock_class is None:
                return None
            return self._place(ctx, lock_map, lock_class, flags | ctx.state, nest_lock, trace)

    def _place(
        self,
        ctx: TaskContext,
        lock_map: LockMap,
        lock_class: LockClass,
        flags: int,
        nest_lock: LockMap | None,
        trace: Trace,
        extra: Extra | None = None,
    ) -> tuple[Chain, Extra | None] | None:
        """Validates one lock on top of what the task holds; None when it is not to be pushed."""
        sync, checked = bool(flags & SYNC), lock_class.checked and not flags & UNCHECKED
        if nest_lock is not None:
            others = [] if extra is None else extra.merged
            if not sync and self._merge(ctx, lock_class, [lock_map, *others]):
                return None
            flags |= NESTED
            extra = extra or Extra(nest_lock)
        in_nmi = bool(ctx.chain.context & IN_NMI)
        if in_nmi or self._by_instance(ctx, lock_class):
            flags |= RECHECK
        # The key that `acquire` makes of map and task, here of the class: a map that was not known before has no
        # token yet.
        key = (lock_class.family.token | lock_class.subclass << SUBCLASS_SHIFT) | flags
        parent = ctx.chain
        chain = parent.next.get(key)
        if chain is not None and not flags & (NESTED | RECHECK):
            chain.hits += 1
            return None if sync else (chain, extra)
        known = chain is not None
        if chain is None:
            chain = Chain(parent, lock_class, key, trace, ctx.maker)
        trylock = bool(flags & TRYLOCK)
        acquire = Acquire(
            ctx,
            lock_map,
            lock_class,
            flags & READ_MASK,
            trylock,
            checked,
            sync,
            nest_lock,
            trace,
            chain,
            known,
        )
        # In the order of __lock_acquire() and validate_chain(): wait type, usage, nest lock, then recursion and
        # cycles. So of two things wrong with one acquire the same one is reported first.
        check_wait_context(acquire, self._reporter)
        if in_nmi and not trylock:
            self._irqs.check_nmi(acquire)
        elif not in_nmi:
            self._irqs.mark_acquire(acquire)
        if nest_lock is not None and not any(matches(entry, nest_lock) for entry in ctx.held):
            self._report_nest_lock(acquire, nest_lock)
        if checked and not trylock and not in_nmi:
            self._prover.validate(acquire)
        # Only now: an ordering function that raises must not leave a stack behind that counts as checked.
        if known:
            chain.hits += 1
        else:
            parent.next[key] = chain
        return None if sync else (chain, extra)

    def _by_instance(self, ctx: TaskContext, lock_class: LockClass) -> bool:  # noqa: ARG002
        """Whether the instances decide, so that no look-up by classes answers for this acquire."""
        return lock_class.order is not None

    def _merge(self, ctx: TaskContext, lock_class: LockClass, maps: list[LockMap]) -> bool:
        """Puts more locks into the top entry if it is of their class: a nest lock serialises them."""
        if not ctx.held:
            return False
        lock_map, chain, code, lasti, extra = ctx.held[-1]
        if chain.lock_class is not lock_class or chain is not ctx.chain:
            return False
        if extra is None:
            extra = Extra()
            ctx.held[-1] = (lock_map, chain, code, lasti, extra)
        extra.merged += maps
        return True

    def _release_unusual(self, ctx: TaskContext, lock_map: LockMap) -> None:
        with self._lock:
            index = self._find_tracked(ctx, lock_map)
            if index is None:
                return
            extra = ctx.held[index][4]
            if extra is not None:
                if extra.pins:
                    self._warn_here(ctx, f"WARNING: releasing a pinned lock ({lock_map.name})")
                if extra.merged:
                    self._split(ctx, index, lock_map)
                    return
            # What lay above is held without it from now on, which is another stack; AGAIN since nobody has waited for
            # it in this order (`reacquire_held_locks`).
            above = self._pop_to(ctx, index)
            for entry in above:
                self._put_back(ctx, entry, entry[1].key | AGAIN)

    def _split(self, ctx: TaskContext, index: int, lock_map: LockMap) -> None:
        """Takes one lock out of a merged entry; another one stands for the rest."""
        held, chain, code, lasti, extra = ctx.held[index]
        assert extra is not None
        maps = [held, *extra.merged]
        position = next(place for place, other in enumerate(maps) if other is lock_map)
        first, *extra.merged = maps[:position] + maps[position + 1 :]
        ctx.held[index] = (first, chain, code, lasti, extra)

    def _pop_to(self, ctx: TaskContext, index: int) -> list[Held]:
        """Takes a lock and all above it off the stack; gives those above, oldest first."""
        entry, *above = ctx.held[index:]
        del ctx.held[index:]
        ctx.chain = entry[1].parent
        return above

    def _put_back(self, ctx: TaskContext, entry: Held, key: int, lock_class: LockClass | None = None) -> None:
        """Acquires again a lock that something changed for, in another class if given.

        Kernel: `reacquire_held_locks`.
        """
        lock_map, chain, code, lasti, extra = entry
        flags = key & (READ_MASK | TRYLOCK | UNCHECKED | AGAIN | STATE_MASK)
        nest_lock = None if extra is None else extra.nest_lock
        trace = self._tracer.intern(((code, lasti),))
        lock_class = lock_class or chain.lock_class
        placed = self._place(ctx, lock_map, lock_class, flags, nest_lock, trace, extra)
        if placed is not None:
            ctx.chain = placed[0]
            ctx.held.append((lock_map, placed[0], code, lasti, placed[1]))

    def _report_nest_lock(self, acquire: Acquire, nest_lock: LockMap) -> None:
        title = acquire.lock_class.title
        self._reporter.add(
            acquire.ctx,
            NestLockReport(
                **common(
                    acquire.ctx,
                    ReportKind.NEST_LOCK,
                    NEST_LOCK_HEADLINE,
                    f"{title}|{nest_lock.name}",
                    acquire.trace,
                ),
                wanted=lock_line(acquire.lock_map, acquire.lock_class, acquire.trace.site),
                nest_lock=nest_lock.name,
            ),
        )


NEST_LOCK_HEADLINE = "WARNING: Nested lock was not taken"
