"""What is kept for each thread, and for each stretch of work that it does."""

from __future__ import annotations

import os
import threading
import weakref
from _thread import get_ident
from itertools import count
from types import CodeType
from typing import Any, NamedTuple

from sugarbush.lockdep.model import Chain, Held, LockClassKey, LockMap, Order, RawFrame, TaskContext
from sugarbush.lockdep.python.places import NO_PLACE, NOWHERE, Place

_KEPT_UNITS = 16
"""For each lock, the threads whose last use of it is remembered; the ones longest ago are forgotten."""


class Unit:
    """A stretch of a thread's work: from its start, a wait or a wake-up to the next one.

    `number` counts the stretches of one thread; `heard` says for other threads, by their numbers, up to which of their
    stretches everything happened before this one (by start, join, queue, event, future; never by a lock). `label`
    names the work, if somebody handed it to the thread. From stretch `floor` on the thread's own order counts:
    which piece of work a pool's thread did before this one is chance. `since` is the stretch that the thread's
    last wait began.
    """

    __slots__ = ("ctx", "floor", "heard", "label", "number", "since")

    def __init__(
        self,
        ctx: ThreadContext,
        number: int,
        heard: dict[int, int],
        label: str,
        floor: int = 0,
        since: int | None = None,
    ) -> None:
        self.floor = floor
        self.since = number if since is None else since
        self.ctx = ctx
        self.number = number
        self.heard = heard
        self.label = label

    def leads_to(self, other: Unit) -> bool:
        """Whether the thread came from here to the other stretch without a wait in between."""
        return self.ctx is other.ctx and self.since == other.since and self.number <= other.number

    def before(self, other: Unit) -> bool:
        """Whether all of this stretch happened before the other one, whatever the scheduler does."""
        if self.ctx is other.ctx:
            return (
                other.floor <= self.number < other.number or other.heard.get(self.ctx.pid, -1) >= self.number
            )
        return other.heard.get(self.ctx.pid, -1) >= self.number


class PythonMap(LockMap):
    """The map of one lock of a Python program: who has it now, and which stretches of work took it.

    `up` is the place of who took it last in a way that comes often; only who has the lock changes it. `seen` and `at`
    are the place and the offset of the last acquire that went the longer way.
    """

    __slots__ = ("__weakref__", "at", "code", "last", "owner", "rank", "reentrant", "seen", "takers", "up")

    def __init__(
        self,
        key: LockClassKey,
        name: str | None = None,
        *,
        reentrant: bool = False,
        subclass: int = 0,
        order: Order | None = None,
    ) -> None:
        super().__init__(key, name, subclass=subclass, order=order)
        self.rank: Any = None
        self.code: CodeType | None = None
        self.owner: ThreadContext | None = None
        self.last: Unit | None = None
        self.takers: dict[int, tuple[Unit, RawFrame]] = {}
        self.reentrant = reentrant
        self.up: Place = NO_PLACE
        self.seen: Place = NOWHERE
        self.at = -1

    def saw(self, unit: Unit, site: RawFrame) -> None:
        """A stretch of work takes the lock for the first time."""
        self.last = unit
        takers = self.takers
        number = unit.ctx.pid
        takers.pop(number, None)
        takers[number] = unit, site
        if len(takers) > _KEPT_UNITS:
            del takers[next(iter(takers))]


class ThreadContext(TaskContext):
    """A thread, as the validator sees it.

    `slow` sends its acquires past the look-up: it is in an interrupt, or another thread gave back a lock of its
    (`gone`), or what was known of stacks is known no more (`stale`). It is `busy` while it is in the validator itself,
    which a collection or a signal may enter again. `waits` says what it waits for that is no lock.

    What it holds is told in one of two ways. In those that come often it is `here`, a path of places, and nothing else
    is looked at. By any longer way it is the list `stack` with the chain `top`, and `here` is `NOWHERE`. Whoever asks
    for `held` or sets `chain` or `state`, as the validator does, makes a list of the path. From there it goes on by
    places as soon as it takes a lock in a known way (`stand`): the list is the ground of those.
    """

    __slots__ = (
        "bits",
        "busy",
        "ended",
        "finalising",
        "gone",
        "grounds",
        "here",
        "ident",
        "interrupts",
        "slow",
        "stack",
        "stale",
        "top",
        "unit",
        "waits",
    )

    def __init__(self, comm: str, pid: int, *, slow: bool = False) -> None:
        self.here: Place = NOWHERE
        self.grounds: dict[Chain, Place] = {}
        self.ident = get_ident()
        super().__init__(comm, pid)
        self.slow = slow
        self.stale = False
        self.busy = False
        self.finalising = ""
        self.ended = False
        self.gone: list[PythonMap] = []
        self.interrupts: list[str] = []
        self.unit = Unit(self, 0, {}, "")
        self.waits: ThreadWait | None = None

    @property
    def held(self) -> list[Held]:
        """The held locks, oldest first: for the thread itself the list, for others a copy."""
        here = self.here
        if here is NOWHERE:
            return self.stack
        if self.ident != get_ident():
            return [*self.stack[: here.depth], *here.entries()]
        self.leave()
        return self.stack

    @held.setter
    def held(self, entries: list[Held]) -> None:
        self.here = NOWHERE
        self.stack = entries

    @property
    def holds(self) -> bool:
        """Whether it holds anything: the thread may ask for that and stay where it is."""
        here = self.here
        return bool(self.stack) if here is NOWHERE else here.depth > 0 or here.below is not None

    @property
    def chain(self) -> Chain:
        """Its place among all stacks."""
        here = self.here
        return self.top if here is NOWHERE else here.chain

    @chain.setter
    def chain(self, chain: Chain) -> None:
        self.leave()
        self.top = chain

    @property
    def state(self) -> int:
        """Which interrupts may come, as bits of the keys of chains."""
        return self.bits

    @state.setter
    def state(self, bits: int) -> None:
        if self.ident == get_ident():
            self.leave()
        elif self.here is not NOWHERE:
            # Only a thread itself may leave its place. It does at its next acquire.
            self.stale = self.slow = True
        self.bits = bits

    def leave(self) -> None:
        """What the thread holds is a list from now on."""
        here = self.here
        if here is NOWHERE:
            return
        # What lies above the ground was left there by a handler that came in the middle of a step: it had to make a
        # list, and the thread has gone on by places since.
        self.stack[here.depth :] = here.entries()
        self.top = here.chain
        self.here = NOWHERE

    def stand(self) -> Place:
        """The place of the thread: the same one whenever it holds what is the same to the validator."""
        # Locks of the same classes, of which none is taken below a place: two of one class are looked at each time.
        if self.here is NOWHERE and not self.slow:
            top = self.top
            ground = self.grounds.get(top)
            if ground is None or ground.state != self.bits or ground.depth != len(self.stack):
                ground = self.grounds[top] = Place(None, top, self.bits, len(self.stack))
            self.here = ground
        return self.here

    def parted(self) -> tuple[list[Held], Held | None]:
        # A lock that is not contended is not said to be wanted, which would cost each acquire: but while a lock is
        # another one's, or nobody's, the thread only waits for it.
        held = self.held
        wanted = self.wanted
        for at in range(len(held) - 1, -1, -1):
            if held[at][0] is wanted:
                return held[:at] + held[at + 1 :], held[at]
        if wanted is None and held and getattr(held[-1][0], "owner", self) is not self:
            return held[:-1], held[-1]
        return held, None

    @property
    def wants(self) -> LockMap | None:
        """The lock that it waits for at this moment."""
        if self.wanted is not None:
            return self.wanted
        waiting = self.parted()[1]
        return None if waiting is None else waiting[0]

    @property
    def waits_for(self) -> ThreadContext | None:
        """The thread that it waits for at this moment, if that is known: for its lock, or for itself."""
        wanted = self.wants
        if isinstance(wanted, PythonMap):
            return wanted.owner
        return None if self.waits is None else self.waits.target

    def next_unit(self, heard: dict[int, int] | None = None, *, waited: bool = True) -> None:
        """The thread begins a new stretch, after all that it has heard of; `waited` says that it waited for that."""
        old = self.unit
        merged = old.heard
        if heard:
            merged = dict(merged)
            for number, at in heard.items():
                if merged.get(number, -1) < at:
                    merged[number] = at
        since = None if waited else old.since
        self.unit = Unit(self, old.number + 1, merged, old.label, old.floor, since)

    def begin_work(self, heard: dict[int, int], label: str) -> None:
        """The thread begins a piece of work that was handed to it: what it did before has nothing to do with that."""
        number = self.unit.number + 1
        self.unit = Unit(self, number, dict(heard), label, number)

    def tell(self) -> dict[int, int]:
        """The stretches that a thread woken now may rely on, by thread; the waking thread begins a new stretch."""
        told = {**self.unit.heard, self.pid: self.unit.number}
        self.next_unit(waited=False)
        return told


def thread_name() -> str:
    """The name of the running thread, without making a dummy for one that `threading` does not know."""
    known = threading._active.get(get_ident())  # type: ignore[attr-defined]
    return known.name if known is not None else f"thread-{get_ident()}"


class Watcher:
    """Who watches locks: one context for each thread, and what is known of the places from which locks are taken."""

    def __init__(self) -> None:
        _WATCHERS.add(self)
        self.tls = threading.local()
        self.live = True
        self.always_slow = False
        self.contexts: dict[int, ThreadContext] = {}
        self._numbers = count(1)

    def current(self) -> ThreadContext:
        """The running thread's context."""
        try:
            ctx: ThreadContext = self.tls.ctx
        except AttributeError:
            return self.new_context()
        return ctx

    def new_context(self) -> ThreadContext:
        """Makes the context of the running thread."""
        name = getattr(self.tls, "name", None) or thread_name()
        ctx = ThreadContext(name, next(self._numbers), slow=self.always_slow or not self.live)
        # A collection in the middle of this may run a finaliser that takes a lock, and has made one then.
        known: ThreadContext | None = getattr(self.tls, "ctx", None)
        if known is not None:
            return known
        self.tls.ctx = ctx
        self.contexts[ctx.ident] = ctx
        self.begins(ctx)
        return ctx

    def begins(self, ctx: ThreadContext) -> None:
        """A thread takes its first lock."""

    def forked(self) -> None:
        """The process is the child of a fork: the other threads are gone, and what they had stays taken."""
        me = getattr(self.tls, "ctx", None)
        self.contexts = {} if me is None else {me.ident: me}


_WATCHERS: weakref.WeakSet[Watcher] = weakref.WeakSet()


def _in_child() -> None:
    for watcher in list(_WATCHERS):
        watcher.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class ThreadWait(NamedTuple):
    """What a thread waits for at this moment: in words, and the thread that it waits for, if there is one."""

    what: str
    target: ThreadContext | None
