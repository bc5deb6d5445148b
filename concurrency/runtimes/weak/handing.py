"""What one task hands on to others under weak memory: by barriers, locks, and the start and end of tasks."""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency.core import Fence, Task
from sugarbush.concurrency.runtimes.weak.history import NOTHING, Knowledge, Sync, joined, learn
from sugarbush.concurrency.runtimes.weak.reading import Knowing


class Handing(Knowing):
    """The part of `WeakMemory` that hands on."""

    def barrier(self, task: Task, barrier: Fence) -> None:
        """`task` passes a barrier."""
        me = self.known[task.id]
        if barrier is Fence.WMB:
            me.released = me.own.copy()
            me.stamp = None
            return
        # Full barriers are ordered among each other: each learns what the one before it, of whatever task, had made
        # known.
        if barrier is Fence.MB:
            learn(me.seen, self.everywhere)
            if me.aside:
                learn(me.seen, me.aside)
                me.aside = NOTHING
            me.snapshot = None
            self.everywhere = me.released = me.strong = me.stamp = me.frozen()
            # A later smp_wmb() passes on what the barrier has made known, not only what the task wrote.
            me.own = me.seen.copy()
        # Both barriers for reads: what was seen binds all that is read later.
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
        # Known even if nothing is learned: `give` goes by it.
        sync.taker = me
        view = sync.view
        # Nothing to learn: the task gave the lock back last, and has seen nothing since; what its unlock and this
        # lock order is done above. Of what is no lock (a completion) all is still to be done: to wait for what one
        # has completed oneself orders reads and writes, too.
        if not view or (locks and view is me.snapshot):
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
        # Who took it last and gives it back alone knows all that was handed on before: a plain copy is the join.
        alone = sync.taker is me
        sync.taker = None
        sync.view = view if alone else joined(sync.view, view)
        sync.own = own if alone else joined(sync.own, own)
        sync.strong = me.strong if alone else joined(sync.strong, me.strong)
        if unlocks:
            me.given = (view, own)
