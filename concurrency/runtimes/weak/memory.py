"""Weak memory: what each access and each barrier does to what the tasks know.

The rules are those of the operational model in tools/memory-model/Documentation/explanation.txt, v6.6, told as views:

- A read returns a write that is not older than the task's floor. A marked read of a pointer orders what is read
  through it, an acquire everything after it, `smp_rmb` the reads after it.
- A write comes after all that the task has seen, so an earlier read never depends on it: no load buffering. It may
  come before writes of other tasks that this one has not seen.
- A write tells of what `smp_wmb` put before it (what the task wrote itself), a release of all that it has seen.
- A full barrier has reached every task: the next one, of whatever task, knows all that this one knew, and so does
  every task that comes to know, by any read, of something that was done after it.

Example: what a reader of `ready` and then of `data` may see, after all that a writer may do who writes them in the
other order. (`concurrency.runtimes.weak.reading` has the same, read by read.)

>>> from sugarbush.concurrency import Once, Settings, Shared, explore, join, spawn
>>> from sugarbush.concurrency import smp_load_acquire, smp_rmb, smp_store_release, smp_wmb
>>> class Message(Shared):
...     data: Once[int] = 0
...     ready: Once[int] = 0
>>> def seen(write, read):
...     found = set()
...     def program():
...         message = Message()
...         def writer():
...             message.data = 1
...             write(message)
...         def reader():
...             found.add((read(message), message.data))
...         join(spawn(writer), spawn(reader))
...     explore(program, strategy="dfs", settings=Settings(memory="weak"))
...     return sorted(found)
>>> def store(message):
...     message.ready = 1
>>> def load(message):
...     return message.ready
>>> seen(store, load)
[(0, 0), (0, 1), (1, 0), (1, 1)]

That the message is ready, and its data are not, needs a barrier on both sides to be impossible:

>>> def store_behind_barrier(message):
...     smp_wmb()
...     message.ready = 1
>>> def load_before_barrier(message):
...     ready = message.ready
...     smp_rmb()
...     return ready
>>> (1, 0) in seen(store_behind_barrier, load), (1, 0) in seen(store, load_before_barrier)
(True, True)
>>> seen(store_behind_barrier, load_before_barrier)
[(0, 0), (0, 1), (1, 1)]

So does a release that is read by an acquire:

>>> def release(message):
...     smp_store_release(message, "ready", 1)
>>> def acquire(message):
...     return smp_load_acquire(message, "ready")
>>> (1, 0) in seen(release, load), seen(release, acquire)
(True, [(0, 0), (0, 1), (1, 1)])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from sugarbush.concurrency.core import (
    Access,
    Operation,
    active,
    label,
)
from sugarbush.concurrency.runtimes.weak.fields import Fields
from sugarbush.concurrency.runtimes.weak.handing import Handing
from sugarbush.concurrency.runtimes.weak.history import (
    Home,
    Knowledge,
    joined,
    learn,
)
from sugarbush.concurrency.runtimes.weak.lock_words import LockWords
from sugarbush.concurrency.runtimes.weak.reading import Reads

if TYPE_CHECKING:
    from sugarbush.concurrency.core import Task


T = TypeVar("T")


class WeakMemory(Fields, LockWords, Handing):
    """The memory of one execution: here what is not `Shared`, in its bases fields, locks and what is handed on."""

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
                # The value is the newest, as under sequential consistency; what it tells binds later reads only if
                # this acquires.
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
        location = self._location(home, op.field, newest)
        ways = self._ways(me, obj, location)
        chosen = self._runtime.choose(ways, f"value of {op.field}") if ways > 1 else 0
        write = location.history[-1 - chosen]
        reads = Reads.ACQUIRE if op.access is Access.ACQUIRE else Reads.POINTER
        self._read_from(me, op, location, write, reads, obj)
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
