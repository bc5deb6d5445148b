"""Weak memory: what each access and each barrier does to what the tasks know.

The rules are those of the operational model in tools/memory-model/Documentation/explanation.txt, v6.6, told as views:

- A read returns a write that is not older than the task's floor. A marked read of a pointer orders what is read
  through it, an acquire everything after it, `smp_rmb` the reads after it.
- A write comes after all that the task has seen, so an earlier read never depends on it: no load buffering. It may
  come before writes of other tasks that this one has not seen.
- A write tells of what `smp_wmb` put before it (what the task wrote itself), a release of all that it has seen.
- A full barrier has reached every task: the next one, of whatever task, knows all that this one knew, and so does
  whoever comes to know, by any read, of something that was done after it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sugarbush.concurrency.checks import same_value
from sugarbush.concurrency.core import (
    Access,
    Failure,
    Fence,
    Kind,
    Operation,
    active,
    caller,
    checked,
    fail,
    label,
)
from sugarbush.concurrency.memory import KEEP, NO_RESULT, Order, Shared
from sugarbush.concurrency.runtimes.weak.history import (
    KEPT,
    NOTHING,
    Home,
    Knowledge,
    Place,
    Sync,
    Taken,
    View,
    Write,
    joined,
    learn,
)
from sugarbush.concurrency.runtimes.weak.prune import prune

if TYPE_CHECKING:
    from sugarbush.concurrency.checks import RaceDetector
    from sugarbush.concurrency.core import Task
    from sugarbush.concurrency.locks import Spinlock


T = TypeVar("T")


class Reads(IntEnum):
    """What a read orders."""

    NOTHING = 0
    POINTER = 1
    """What is read through the pointer that it returns."""
    ACQUIRE = 2


_PRUNE_AT = 64
_WORD = "lock word"
LOOKS_HELD = Operation("looks whether it is held", Access.READ_ONCE, local=True)
"""What a trylock that fails does, and `is_locked`: it reads the lock's word."""


class Host(Protocol):
    """What the memory asks of the runtime that it is the memory of,
    `concurrency.runtimes.weak.runtime.WeakSimulated`.
    """

    current: Task
    tasks: list[Task]

    def choose(self, ways: int, what: str) -> int:
        """One of so many ways, by choice of the strategy."""

    def wrote(self, *, kept: bool) -> None:
        """The task has written; with `kept` what was there already."""


class WeakMemory:
    """The memory of one execution. `newest` in a method is what the field holds, the last of its history."""

    def __init__(self, runtime: Host, races: RaceDetector | None) -> None:
        self._runtime = runtime
        self._races = races
        self.known: list[Knowledge] = []
        """For each task, by number, what it knows."""
        self.everywhere: View = NOTHING
        """What the last full barrier has made known."""
        self.others: dict[int, Home] = {}
        """What is kept about objects that are not `Shared`, by id."""
        self.handed_on: Callable[[], list[View]] = list
        """The views that somebody else keeps."""
        self._writes = 0
        self._prune_at = _PRUNE_AT

    # -- places -------------------------------------------------------------------------------------------------

    def _home(self, obj: Any) -> Home:
        if isinstance(obj, Shared):
            try:
                home = obj._memory
                if home.memory is self:
                    return home  # type: ignore[no-any-return]
            except AttributeError:
                pass
            home = obj._memory = Home(self, None)
            return home
        found = self.others.get(id(obj))
        if found is None:
            found = self.others[id(obj)] = Home(self, obj)
        return found

    def _place(self, home: Home, field: str, newest: Any) -> Place:
        """The place, in whose history `newest` is the last.

        If it is not, an effect has set the field, which every task sees at once.
        """
        place = home.places.get(field)
        if place is None:
            place = home.places[field] = Place(newest, home)
        elif place.history[-1].value is not newest:
            last = place.history[-1].at
            place.forget(len(place.history))
            place.history.append(Write(newest, last + 1, NOTHING, NOTHING))
        return place

    def born(self, obj: Any) -> None:
        """The calling task has made `obj`."""
        home = self._home(obj)
        if home.birth is None:
            home.birth = birth = Place(None, home)
            birth.insert(1, Write(None, 1, NOTHING, NOTHING))
            self._made(self.known[self._runtime.current.id], birth, birth.history[1])

    # -- fields -------------------------------------------------------------------------------------------------

    def read(self, op: Operation, obj: Any, field: str, reads: Reads, newest: Any) -> Any:
        """What a read of a field returns."""
        try:
            home = obj._memory
            if home.memory is not self:
                home = self._home(obj)
        except AttributeError:
            home = self._home(obj)
        place = home.places.get(field)
        if place is None or place.history[-1].value is not newest:
            place = self._place(home, field, newest)
        history = place.history
        write = history[-1]
        me = self.known[self._runtime.current.id]
        if me.floor.get(place) is write and (
            reads is Reads.NOTHING or (reads is Reads.POINTER and newest.__class__ is int)
        ):
            return newest
        if home.birth is not None:
            ways = self._ways(me, obj, place)
            if self._may_be_unborn(me, home.birth, obj, place):
                chosen = self._runtime.choose(ways + 1, f"value of {field}")
                if chosen == ways:
                    self._unborn(op, obj, field)
                    chosen = ways - 1
            else:
                chosen = self._runtime.choose(ways, f"value of {field}") if ways > 1 else 0
            write = history[-1 - chosen]
        elif len(history) > 1:
            ways = self._ways(me, obj, place)
            if ways > 1:
                write = history[-1 - self._runtime.choose(ways, f"value of {field}")]
        elif not write.view and write.clock is None and not (op.tracked and reads is Reads.ACQUIRE):
            return newest
        self._read_from(me, op, place, write, reads, obj)
        if op.tracked and reads is Reads.ACQUIRE and self._races is not None:
            self._races.compare(self._runtime.current, op, obj)
        return write.value

    def _ways(self, me: Knowledge, obj: Any, place: Place) -> int:
        """How many of the newest writes the task may read from."""
        history = place.history
        low = me.floor.get(place)
        if low is history[-1] or me.settled:
            return 1
        oldest = history[0].at if low is None else low.at
        if me.through:
            led = me.through.get(id(obj))
            if led is not None:
                through = led[1].get(place)
                if through is not None and through.at > oldest:
                    oldest = through.at
        ways = 0
        for write in reversed(history):
            if write.at < oldest:
                break
            ways += 1
        return ways

    def _read_from(
        self, me: Knowledge, op: Operation, place: Place, write: Write, reads: Reads, obj: Any
    ) -> None:
        """The task comes to know of `write`, and of what it tells."""
        seen = me.seen
        have = seen.get(place)
        if have is not write:
            me.snapshot = None
            if have is None or have.at < write.at:
                seen[place] = write
            if write.view:
                learn(seen, write.view)
            if write.strong and write.strong is not me.strong:
                me.strong = joined(me.strong, write.strong)
                me.stamp = None
        me.floor[place] = write
        if write.view:
            if reads is Reads.ACQUIRE:
                learn(me.floor, write.view)
            elif reads is Reads.POINTER:
                self._lead(me, write, obj)
        if write.clock is not None and self._races is not None:
            acquires = reads is Reads.ACQUIRE or op.access is Access.ACQUIRE
            self._races.reads_from(self._runtime.current, write.clock, acquires=acquires)

    def _pass_by(self, me: Knowledge, place: Place, write: Write) -> None:
        """An atomic without a result has read `write`: a later smp_rmb() does not order that (`Knowledge.aside`)."""
        aside = me.aside.copy()
        have = aside.get(place)
        if have is None or have.at < write.at:
            aside[place] = write
        learn(aside, write.view)
        me.aside = aside
        me.snapshot = None
        if write.strong and write.strong is not me.strong:
            me.strong = joined(me.strong, write.strong)
            me.stamp = None
        me.floor[place] = write
        if write.clock is not None and self._races is not None:
            self._races.reads_from(self._runtime.current, write.clock, acquires=False)

    def _lead(self, me: Knowledge, write: Write, obj: Any) -> None:
        """What is read through a pointer, or one of a tuple of them, comes after the read of the pointer."""
        before = me.through.get(id(obj))
        view = write.view if before is None else joined(write.view, before[1])
        for target in write.value if isinstance(write.value, tuple) else (write.value,):
            if target is not None and not isinstance(target, (int, str, float)):
                have = me.through.get(id(target))
                me.through[id(target)] = (target, view if have is None else joined(view, have[1]))
        if len(me.through) > _PRUNE_AT:
            for _, led in me.through.values():
                learn(me.floor, led)
            me.through.clear()

    def write(self, obj: Any, field: str, value: Any, newest: Any, *, releases: bool) -> bool:
        """Write to a field; whether the write is now the last of its history."""
        try:
            home = obj._memory
            if home.memory is not self:
                home = self._home(obj)
        except AttributeError:
            home = self._home(obj)
        place = home.places.get(field)
        if place is None or place.history[-1].value is not newest:
            place = self._place(home, field, newest)
        me = self.known[self._runtime.current.id]
        history = place.history
        spot = len(history)
        low = me.seen.get(place) if not me.aside else me.newest(place)
        if spot > 1 and low is not history[-1]:
            oldest = history[0].at if low is None else low.at
            spots = [
                n
                for n in range(spot, 0, -1)
                if history[n - 1].at >= oldest and (n == spot or not history[n - 1].taken)
            ]
            if len(spots) > 1:
                spot = spots[self._runtime.choose(len(spots), f"order of the write to {field}")]
        write = Write(value, 0, me.frozen() if releases else me.told(), me.strong)
        if self._races is not None:
            write.clock = self._races.writes(self._runtime.current, releases=releases)
        if spot == len(history):
            write.at = history[-1].at + 1
            history.append(write)
            if spot == KEPT:
                place.forget(1)
        else:
            place.insert(spot, write)
        self._made(me, place, write)
        last = history[-1] is write
        self._runtime.wrote(kept=last and same_value(newest, value))
        return last

    def _made(self, me: Knowledge, place: Place, write: Write) -> None:
        me.floor[place] = me.seen[place] = me.own[place] = write
        me.snapshot = None
        if write.view:
            learn(me.own, write.view)
        self._writes += 1
        if self._writes >= self._prune_at:
            kept = prune(self, self._runtime.tasks)
            self._writes = 0
            self._prune_at = max(_PRUNE_AT, 2 * kept)

    def modify(
        self,
        op: Operation,
        obj: Any,
        field: str,
        change: Callable[[Any], tuple[Any, Any]],
        order: Order,
        newest: Any,
    ) -> tuple[Any, Any, bool]:
        """An atomic read-modify-write: the result of `change`, what it wrote (or `KEEP`), and whether that is last."""
        place = self._place(self._home(obj), field, newest)
        me = self.known[self._runtime.current.id]
        history = place.history
        low = me.seen.get(place) if not me.aside else me.newest(place)
        oldest = history[0].at if low is None else low.at
        ways = []
        for n in range(len(history) - 1, len(history) - 1 - self._ways(me, obj, place), -1):
            old = history[n]
            new, result = change(old.value)
            if new is KEEP or (old.at >= oldest and not old.taken):
                ways.append((n, new, result))
        n, new, result = ways[self._runtime.choose(len(ways), f"value of {field}") if len(ways) > 1 else 0]
        old = history[n]
        acquires = order in (Order.FULL, Order.ACQUIRE) and new is not KEEP
        if result is NO_RESULT:
            self._pass_by(me, place, old)
        else:
            self._read_from(me, op, place, old, Reads.ACQUIRE if acquires else Reads.POINTER, obj)
        if op.tracked and self._races is not None:
            self._races.compare(self._runtime.current, op, obj)
        self._runtime.wrote(kept=new is KEEP or (old is history[-1] and same_value(old.value, new)))
        if new is KEEP:
            return result, new, False
        releases = order in (Order.FULL, Order.RELEASE)
        view = joined(me.frozen() if releases else me.told(), old.view)
        write = Write(new, 0, view, joined(me.strong, old.strong))
        if self._races is not None:
            write.clock = self._races.writes(self._runtime.current, releases=releases, onto=old.clock)
        old.taken = True
        place.insert(n + 1, write)
        self._made(me, place, write)
        return result, new, place.history[-1] is write

    def fails(
        self, op: Operation, obj: Any, field: str, change: Callable[[Any], tuple[Any, Any]], newest: Any
    ) -> tuple[Any, bool]:
        """Before the barrier of a fully ordered read-modify-write: what it gives, if it fails, and whether it does.

        One that fails is a READ_ONCE() and no barrier (tools/memory-model/linux-kernel.def and lib/CSem.ml of herd7,
        CmpExchange). It can go on if something that it could read would not have it fail.
        """
        place = self._place(self._home(obj), field, newest)
        me = self.known[self._runtime.current.id]
        history = place.history
        found = []
        goes_on = False
        for n in range(len(history) - 1, len(history) - 1 - self._ways(me, obj, place), -1):
            new, result = change(history[n].value)
            if new is KEEP:
                found.append((history[n], result))
            else:
                goes_on = True
        if not found:
            return None, False
        ways = len(found) + goes_on
        chosen = self._runtime.choose(ways, f"value of {field}") if ways > 1 else 0
        if goes_on:
            if not chosen:
                return None, False
            chosen -= 1
        write, result = found[chosen]
        self._read_from(me, op, place, write, Reads.POINTER, obj)
        if op.tracked and self._races is not None:
            self._races.compare(self._runtime.current, op, obj)
        self._runtime.wrote(kept=True)
        return result, True

    def _may_be_unborn(self, me: Knowledge, birth: Place, obj: Any, place: Place | None) -> bool:
        """The task knows neither that the object was made nor a later write to the place."""
        if len(birth.history) == 1 or birth in me.floor or (place is not None and place in me.floor):
            return False
        led = me.through.get(id(obj))
        return led is None or birth not in led[1]

    def _unborn(self, op: Operation, obj: Any, field: str | None) -> None:
        if checked("uninit"):
            where = label(obj) if field is None else f"{label(obj)}.{field}"
            fail(
                Failure(
                    Kind.UNINIT,
                    f"BUG: KMSAN: uninit-value in {where}: {op.name} by {self._runtime.current.name}",
                    f"at {caller()}\nthe object was published before it was initialised: no release, barrier or "
                    "lock orders what its maker wrote before this read",
                    check="uninit",
                )
            )

    # -- barriers, locks, and steps of objects that are not Shared ------------------------------------------------

    def barrier(self, task: Task, barrier: Fence) -> None:
        """`task` passes a barrier."""
        me = self.known[task.id]
        if barrier is Fence.WMB:
            me.released = me.own.copy()
            me.stamp = None
            return
        if barrier is Fence.MB:
            learn(me.seen, self.everywhere)
            if me.aside:
                learn(me.seen, me.aside)
                me.aside = NOTHING
            me.snapshot = None
            self.everywhere = me.released = me.strong = me.stamp = me.frozen()
            me.own = me.seen.copy()
        learn(me.floor, me.seen)
        me.through.clear()

    def spawned(self, parent: Task | None) -> None:
        """The next task starts with all that `parent` knows."""
        me = Knowledge()
        self.known.append(me)
        if parent is not None:
            before = self.known[parent.id]
            me.released = me.stamp = before.frozen()
            me.strong = before.strong
            me.floor, me.seen, me.own = (dict(me.released) for _ in range(3))

    def sync(self, obj: Any, name: str | None) -> Sync:
        """What is handed on by this part of `obj`."""
        syncs = self._home(obj).syncs
        found = syncs.get(name)
        if found is None:
            found = syncs[name] = Sync()
        return found

    def take(self, task: Task, sync: Sync, *, locks: bool) -> None:
        """`task` takes a lock, or whatever else was given by `give`."""
        me = self.known[task.id]
        if locks and me.given is not None:
            seen, own = me.given
            me.given = None
            learn(me.floor, seen)
            me.released = joined(me.released, own)
            me.stamp = None
        sync.taker = me
        view = sync.view
        if not view or view is me.snapshot:
            return
        learn(me.floor, view)
        learn(me.seen, view)
        learn(me.own, sync.own)
        me.snapshot = me.stamp = None
        me.released = joined(me.released, sync.own)
        me.strong = joined(me.strong, sync.strong)

    def give(self, task: Task, sync: Sync, *, unlocks: bool) -> None:
        """`task` gives a lock back, or ends something that others wait for."""
        me = self.known[task.id]
        view, own = me.frozen(), me.own.copy()
        alone = sync.taker is me
        sync.taker = None
        sync.view = view if alone else joined(sync.view, view)
        sync.own = own if alone else joined(sync.own, own)
        sync.strong = me.strong if alone else joined(sync.strong, me.strong)
        if unlocks:
            me.given = (view, own)

    # A spinlock has a word: True is what a lock wrote (LKW in tools/memory-model/lock.cat,
    # v6.6), False an unlock (UL). Only who fails, or looks, reads it; to take the lock needs the newest.

    def holds(self, task: Task, lock: Spinlock) -> None:
        """`task` has taken `lock`."""
        place = self._word(lock, held=False)
        me = self.known[task.id]
        last = place.history[-1]
        # The write of a read-modify-write: whoever sees it is told what the unlock before told, too (rmw-sequence).
        # Hardly anybody does, so the two are joined then.
        self._append(me, place, Taken(True, last.at + 1, me.told(), me.strong, last))

    def let_go(self, task: Task, lock: Spinlock) -> None:
        """`task` has given `lock` back."""
        place = self._word(lock, held=True)
        me = self.known[task.id]
        self._append(me, place, Write(False, place.history[-1].at + 1, me.frozen(), me.strong))

    def _word(self, lock: Spinlock, *, held: bool) -> Place:
        home = self._home(lock)
        place = home.places.get(_WORD)
        if place is None:
            place = home.places[_WORD] = Place(held, home)
        return place

    def _append(self, me: Knowledge, place: Place, write: Write) -> None:
        place.history.append(write)
        if len(place.history) > KEPT:
            place.forget(1)
        me.floor[place] = me.seen[place] = me.own[place] = write
        me.snapshot = None

    def finds_held(self, task: Task, op: Operation, lock: Spinlock, *, tries: bool) -> bool:
        """What `task` sees in the word of `lock`; see `Runtime.finds_held`."""
        me = self.known[task.id]
        place = self._word(lock, held=not lock.unheld)
        newest = place.history[-1]
        ways = place.history[len(place.history) - self._ways(me, lock, place) :][::-1]
        if tries:
            ways = [write for write in ways if write.value or write is newest]
        write = ways[self._runtime.choose(len(ways), "value of the lock") if len(ways) > 1 else 0]
        if tries and not write.value:
            return False
        self._read_word(me, op, place, write, lock)
        return bool(write.value)

    def failed(self, task: Task, op: Operation, lock: Spinlock) -> None:
        """`task` has not got `lock`, which somebody took after it had looked: so it has read that."""
        place = self._word(lock, held=True)
        self._read_word(self.known[task.id], op, place, place.history[-1], lock)

    def _read_word(self, me: Knowledge, op: Operation, place: Place, write: Write, lock: Spinlock) -> None:
        if isinstance(write, Taken):
            write.view = joined(write.view, write.before)
            write.before = NOTHING
        self._read_from(me, op, place, write, Reads.NOTHING, lock)

    def touch(self, task: Task, op: Operation, obj: Any) -> None:
        """An access to an object that is not `Shared`: its value is always the newest, what it tells is not."""
        if op.before is not None:
            self.barrier(task, op.before)
        access = op.access
        if access is not Access.NONE:
            home = self._home(obj)
            me = self.known[task.id]
            if access in _LOADS:
                self._find_born(me, home, op, obj)
                sync = home.syncs.get(op.field)
                if sync is not None and sync.view:
                    learn(me.seen, sync.view)
                    me.snapshot = None
                    me.strong = joined(me.strong, sync.strong)
                    me.stamp = None
                    if access is Access.ACQUIRE or access is Access.ACQ_REL:
                        learn(me.floor, sync.view)
            if access in _STORES:
                sync = self.sync(obj, op.field)
                releases = access is Access.RELEASE or access is Access.ACQ_REL
                sync.view = me.frozen() if releases else me.told()
                sync.strong = me.strong
        if op.after is not None:
            self.barrier(task, op.after)

    def _find_born(self, me: Knowledge, home: Home, op: Operation, obj: Any) -> None:
        birth = home.birth
        if (
            birth is not None
            and self._may_be_unborn(me, birth, obj, None)
            and self._runtime.choose(2, f"{label(obj)} is not initialised")
        ):
            self._unborn(op, obj, op.field)

    def load(self, task: Task, op: Operation, obj: Any) -> Any:
        """A read of a word (`Operation.word`) of an object that is not `Shared`."""
        assert op.word is not None
        assert op.field is not None
        if op.before is not None:
            self.barrier(task, op.before)
        newest = getattr(obj, op.word)
        me = self.known[task.id]
        home = self._home(obj)
        self._find_born(me, home, op, obj)
        place = self._place(home, op.field, newest)
        ways = self._ways(me, obj, place)
        chosen = self._runtime.choose(ways, f"value of {op.field}") if ways > 1 else 0
        write = place.history[-1 - chosen]
        reads = Reads.ACQUIRE if op.access is Access.ACQUIRE else Reads.POINTER
        self._read_from(me, op, place, write, reads, obj)
        if op.after is not None:
            self.barrier(task, op.after)
        return write.value

    def store(self, task: Task, op: Operation, obj: Any, value: Any) -> None:
        """A write to a word of an object that is not `Shared`."""
        assert op.word is not None
        assert op.field is not None
        if op.before is not None:
            self.barrier(task, op.before)
        releases = op.access is Access.RELEASE
        if self.write(obj, op.field, value, getattr(obj, op.word), releases=releases):
            setattr(obj, op.word, value)
        if op.after is not None:
            self.barrier(task, op.after)


def by_name(obj: Any, access: Callable[[], T]) -> T:
    """Make an access to `obj` that no pointer led to: it depends on no read of one.

    Python knows objects, not the expressions that led to them, so an access counts as one through whatever pointer to
    its object the task has read. A litmus test says which it is: ``READ_ONCE(*x)`` depends on nothing, though `x` was
    found in a pointer before (tools/memory-model: a dependency belongs to the address, not to where it leads).
    """
    memory = getattr(active.runtime, "memory", None)
    if not isinstance(memory, WeakMemory) or active.runtime is None:
        return access()
    through = memory.known[active.runtime.current.id].through
    led = through.pop(id(obj), None)
    if led is None:
        return access()
    result = access()
    # The access may have led here itself, by a pointer to its own object, or passed a barrier, which forgets them all.
    through.setdefault(id(obj), led)
    return result


_LOADS = frozenset({Access.READ, Access.READ_ONCE, Access.ACQUIRE, Access.ACQ_REL})
_STORES = frozenset({Access.WRITE, Access.WRITE_ONCE, Access.RELEASE, Access.ACQ_REL})
