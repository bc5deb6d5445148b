"""Who may touch the tree: the lock checks of the kernel's annotations, and the steps that make a missing lock visible.

The kernel checks nothing when an external lock was announced but not registered; here there is no such state: a
tree has its own spinlock or is given its lock when it is made. Models mt_locked(), mt_write_locked() and the
rcu_dereference checks of lib/maple_tree.c, v6.6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sugarbush.concurrency.core import Failure, Kind, Runtime, active, fail
from sugarbush.concurrency.rcu import rcu_read_lock_held
from sugarbush.tree.core.errors import NotLocked
from sugarbush.tree.core.lock_kind import TreeLock
from sugarbush.tree.core.operations import READ_TREE, WRITE_TREE


class Guarded(Protocol):
    """What is asked of a structure whose users are checked."""

    rcu: bool
    external: bool
    lock: TreeLock


# The step comes after the lock check in all three. If the lock is missing, the report is of that, at the call; the race
# detector, which would need a second task at the right moment, would come later or not at all.
def writer(tree: Guarded) -> None:
    """The calling task is about to change the tree, which needs the lock in write mode."""
    rt = active.runtime
    if rt is not None:
        tree.lock.assert_held_write()
        rt.step(WRITE_TREE, tree)
    elif tree.external:
        _outside(tree, tree.lock.assert_held_write)


def locked_reader(tree: Guarded) -> None:
    """The calling task is about to read the tree in a way that needs the lock, in any mode."""
    rt = active.runtime
    if rt is not None:
        tree.lock.assert_held()
        rt.step(READ_TREE, tree)
    elif tree.external:
        _outside(tree, tree.lock.assert_held)


def reader(tree: Guarded) -> Runtime | None:
    """The calling task is about to read the tree; gives the runtime if writers may go on meanwhile.

    Under the lock the whole read is one step. In RCU mode, inside a reader, it is one step per word. Without either
    it is reported, except for a tree that is not in RCU mode and has its own lock: there the race detector sees more.
    """
    rt = active.runtime
    if rt is None:
        if tree.external and not (tree.rcu and rcu_read_lock_held()):
            _outside(tree, tree.lock.assert_held)
        return None
    if tree.lock.held_by_me():
        rt.step(READ_TREE, tree)
        return None
    if tree.rcu:
        if not rcu_read_lock_held():
            # Failed even though this read might go well: that nobody freed a node meanwhile is luck.
            fail(
                Failure(
                    Kind.RCU,
                    "WARNING: suspicious RCU usage",
                    f"{rt.current.name} reads {tree!r} outside a reader and without its lock",
                )
            )
        return rt
    if tree.external:
        tree.lock.assert_held()
    rt.step(READ_TREE, tree)
    return None


def _outside(tree: Guarded, check: Callable[[], None]) -> None:
    try:
        check()
    except Failure as failure:
        raise NotLocked(
            f"{tree!r} is used without the lock that it was given: {failure.headline}"
        ) from failure
