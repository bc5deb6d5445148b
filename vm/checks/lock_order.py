"""The lock order of mm, written down once, and the observer that asserts it at every acquire.

Source: the comment at the top of mm/rmap.c, v6.1, as far as the model has these locks. A task may take a lock only
if all locks that it holds stand further out. Locks of one name may nest where a subclass or nest lock says so; the
lock validator sees to that. A trylock may be taken in any order.

`fs_reclaim` stands for reclaim: it is held by a task that reclaims, and taken for a moment by every allocation
that may (might_alloc() in include/linux/sched/mm.h), but not by those of reclaim itself (PF_MEMALLOC).
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import Failure, Kind, Task
from sugarbush.concurrency.core import TRACE, position
from sugarbush.concurrency.lowlevel import Dep, Observer, Operation, Runtime
from sugarbush.lockdep.model import GFP_DIRECT_RECLAIM, GFP_FS

FS_RECLAIM = "fs_reclaim"

# A task that holds a lock may take one further down. Locks that the comment of mm/rmap.c does not name stand
# where v6.1 nests them. The locks of a device are inside of the rmap locks, because a walk of rmap tells
# devices (`notified`). Those of hugetlbfs are outside of what they are classes of, because mmap takes the one
# with mmap_lock held, and page tables are allocated under the other.
LOCK_ORDER = (
    "inode->i_rwsem",
    "mm->mmap_lock",
    "hugetlbfs_i_rwsem",
    "mm_all_locks_mutex",
    "mapping->invalidate_lock",
    "hugetlb_fault_mutex",
    "hugetlb_vma_lock",
    "folio_lock",
    "hugetlbfs_i_mmap_rwsem_key",
    "vma->vm_lock",
    # Between the locks under which memory may be reclaimed and those that reclaim takes: one line for the
    # rule that nothing is allocated with GFP_KERNEL under an rmap lock (clone-alloc-under-rmap-lock, Z40a).
    FS_RECLAIM,
    "mapping->i_mmap_rwsem",
    "anon_vma->rwsem",
    "driver_lock",
    "subscriptions->lock",
    "mm->page_table_lock",
    "ptlock",
    "mmlist_lock",
    "resv_map->lock",
    "hugetlb_lock",
)
"""From the outermost to the innermost."""

_RANK = {name: rank for rank, name in enumerate(LOCK_ORDER)}


class LockOrder(Observer):
    """Fails an execution at the first acquire that is against `LOCK_ORDER`; the check is called ``lock-order``."""

    # Each task is asked about what it holds itself.
    sight = TRACE

    def __init__(self) -> None:
        self._held: dict[Task, list[str]] = {}
        self._on = True

    def begin(self, runtime: Runtime) -> None:
        """Forget what tasks of the last execution held."""
        self._held = {}
        self._on = "lock-order" not in runtime.without

    def hears_of(self, event: str, op: Operation) -> bool:
        """Acquires and the beginning of reclaim where they are asked for, what is got and given back where it is."""
        if op.dep is None:
            return False
        if event == "asked":
            return op.dep is Dep.RECLAIM_ENTER or op.dep <= Dep.ACQUIRE_RECURSIVE
        return op.dep in (Dep.TRY, Dep.TRY_READ, Dep.RELEASE, Dep.RECLAIM_EXIT)

    def asked(self, task: Task, op: Operation, obj: Any, arg: Any) -> None:  # noqa: ARG002
        """Look whether a task may take the lock that it asks for, or begin to reclaim, before it waits for anything."""
        if op.dep is Dep.RECLAIM_ENTER:
            self._ask(task, FS_RECLAIM).append(FS_RECLAIM)
        # Acquires that wait, in whatever mode: those stand first among the kinds. A trylock is never against
        # the order.
        elif op.dep is not None and op.dep <= Dep.ACQUIRE_RECURSIVE and obj.name in _RANK:
            self._ask(task, obj.name, obj).append(obj.name)

    def allocating(self, task: Task, gfp: int) -> None:
        """Look whether a task may reclaim here, whether or not this allocation has to."""
        # Reclaim itself does not reclaim once more (PF_MEMALLOC), and without __GFP_FS it takes none of these
        # locks.
        if gfp & GFP_DIRECT_RECLAIM and gfp & GFP_FS and FS_RECLAIM not in self._held.get(task, ()):
            self._ask(task, FS_RECLAIM)

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """Note what a trylock has got, and what was given back."""
        if op.dep in (Dep.TRY, Dep.TRY_READ) and result and obj.name in _RANK:
            self._held.setdefault(task, []).append(obj.name)
        elif op.dep is Dep.RELEASE and obj.name in _RANK:
            self._held[task].remove(obj.name)
        elif op.dep is Dep.RECLAIM_EXIT:
            self._held[task].remove(FS_RECLAIM)

    def _ask(self, task: Task, wanted: str, obj: object = None) -> list[str]:
        """What `task` holds, if it may take `wanted` with that."""
        held = self._held.setdefault(task, [])
        rank = _RANK[wanted]
        # Locks of one rank may nest as far as this check goes: whether a subclass or a nest lock permits it
        # the validator knows.
        inner = [name for name in held if _RANK[name] > rank]
        if inner and self._on:
            raise Failure(
                Kind.LOCKDEP,
                f"lock order: {task.name} asks for {wanted} while it holds {inner[-1]}",
                "\n".join(["the order, outermost first: " + " > ".join(LOCK_ORDER), *position(task, obj)]),
                check="lock-order",
            )
        return held
