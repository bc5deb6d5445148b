"""The fields of a tree (kernel: `struct maple_tree`); `tree.api.maple.MapleTree` adds the calls."""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency.core import active
from sugarbush.concurrency.locks import Spinlock
from sugarbush.tree.core.alloc import PLAIN, NodeSource, default_source
from sugarbush.tree.core.layout import FLAG_GAPS, FLAG_HEIGHT_SHIFT, FLAG_LOCK_EXTERN, FLAG_RCU
from sugarbush.tree.core.lock_kind import LockKind, TreeLock


class TreeBody:
    """What walks and writes look at and change: they take this class, and need not know the calls of `MapleTree`."""

    def __init__(
        self,
        track_gaps: bool,
        rcu: bool,
        lock: TreeLock | None,
        source: NodeSource | None,
        lock_kind: LockKind,
    ) -> None:
        self.track_gaps = track_gaps
        self.rcu = rcu
        self.external = lock is not None
        self._spinlock = Spinlock("ma_lock") if lock is None else None
        self.lock_kind = lock_kind
        self.lock: TreeLock = lock if lock is not None else self._own_lock
        self.source = default_source() if source is None else source
        self.plain = self.source is PLAIN
        """Nodes never run out and nobody counts them, so none is taken ahead, and needless copies are left out."""
        self.root: Any = None
        """None, a `MapleNode`, or an entry, which is then at key 0 and at no other."""
        self.height = 0
        """How many levels of nodes: 0 if and only if `root` is no node."""
        self.mending = False
        """A writer has published a sub-tree and is telling its children where they hang now."""
        self.changes = 0
        """Counts the writes, so that a state notices those that it did not make."""

    @property
    def _own_lock(self) -> Spinlock:
        assert self._spinlock is not None
        return self._spinlock

    @property
    def flags(self) -> int:
        """The kernel's flags word (`ma_flags`)."""
        return (
            FLAG_GAPS * self.track_gaps
            | FLAG_RCU * self.rcu
            | self.height << FLAG_HEIGHT_SHIFT
            | FLAG_LOCK_EXTERN * self.external
            | self.lock_kind
        )

    def drop_lock(self) -> None:
        """Let go of the tree's own lock for an allocation that may sleep.

        An external lock stays taken (`mas_nomem`): the tree cannot know what else it protects, nor whether its holder
        may sleep. Whoever comes back from here begins at the root again.
        """
        if active.runtime is not None and not self.external:
            self.lock_kind.give_back(self._own_lock)

    def retake_lock(self) -> None:
        """Take the tree's own lock again."""
        if active.runtime is not None and not self.external:
            self.lock_kind.take(self._own_lock)
