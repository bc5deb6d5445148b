"""anon_vma: from an anonymous folio to the VMAs that may map it; its lock and its references
(`vm.objects.mm_types.AnonVma`).

Kernel: include/linux/rmap.h and mm/rmap.c, v6.1. All anon_vmas of a family share the lock of their root.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import KmemCache, RwSemaphore, atomic_add_return, might_sleep
from sugarbush.concurrency.lowlevel import Access, Operation, peek, perform, poke
from sugarbush.vm.objects import AnonVma, AnonVmaChain

anon_vma_cache = KmemCache("anon_vma", AnonVma, object_size=104, typesafe_by_rcu=True)
avc_cache = KmemCache("anon_vma_chain", AnonVmaChain, object_size=64)


def anon_vma_lock_write(anon_vma: AnonVma) -> None:
    """Lock the whole family for changes."""
    anon_vma.root.rwsem.down_write()


def anon_vma_unlock_write(anon_vma: AnonVma) -> None:
    """The end of `anon_vma_lock_write`."""
    anon_vma.root.rwsem.up_write()


def anon_vma_lock_read(anon_vma: AnonVma) -> None:
    """Lock the whole family for walks."""
    anon_vma.root.rwsem.down_read()


def anon_vma_unlock_read(anon_vma: AnonVma) -> None:
    """The end of `anon_vma_lock_read`."""
    anon_vma.root.rwsem.up_read()


def _inc_not_zero(anon_vma: AnonVma, _task: Any, _arg: Any) -> bool:
    count = peek(anon_vma, "refcount")
    if count:
        poke(anon_vma, "refcount", count + 1)
    return bool(count)


def _is_locked(rwsem: RwSemaphore, _task: Any, _arg: Any) -> bool:
    return not rwsem.unheld


_COUNT = ("refcount",)
INC_NOT_ZERO = Operation(
    "atomic_inc_not_zero",
    Access.ACQ_REL,
    field="refcount",
    effect=_inc_not_zero,
    acquires=_COUNT,
    releases=_COUNT,
    local=True,
)
RWSEM_IS_LOCKED = Operation("rwsem_is_locked", effect=_is_locked, local=True)


def get_anon_vma_unless_zero(anon_vma: AnonVma) -> bool:
    """Take a reference unless the object is free; it may since have become another anon_vma."""
    return bool(perform(INC_NOT_ZERO, anon_vma))


def put_anon_vma(anon_vma: AnonVma) -> None:
    """Drop a reference; the last one frees it, and then its hold on the root. May sleep."""
    # The VMAs in its tree hold one reference together: `unlink_anon_vmas` drops that with the last of them.
    if atomic_add_return(anon_vma, "refcount", -1) == 0:
        free_anon_vma(anon_vma)


def free_anon_vma(anon_vma: AnonVma) -> None:
    """Free an anon_vma without references, and drop its hold on the root; kernel: __put_anon_vma().

    `folio_lock_anon_vma_read` holds the lock without a reference: whoever does so is waited for.
    """
    might_sleep()
    root = anon_vma.root
    # The count has gone to zero before this look, and a walk that tries the lock looks at its page
    # afterwards: so either the lock is seen held here, and waited for, or the walk sees that nothing maps the
    # page.
    if perform(RWSEM_IS_LOCKED, root.rwsem):
        anon_vma_lock_write(anon_vma)
        anon_vma_unlock_write(anon_vma)
    anon_vma_cache.free(anon_vma)
    # Last: the lock that was asked for lies in the root.
    if root is not anon_vma:
        put_anon_vma(root)
