"""anon_vma: from an anonymous folio to the VMAs that may map it; its lock and its references.

Kernel: include/linux/rmap.h and mm/rmap.c, v6.1. All anon_vmas of a family share the lock of their root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurrency import (
    Access,
    Atomic,
    KmemCache,
    Once,
    Operation,
    RwSemaphore,
    Shared,
    Unshared,
    atomic_add_return,
    might_sleep,
    peek,
    perform,
    poke,
)

if TYPE_CHECKING:
    from vm.vma import VmArea


class AnonVma(Shared):
    """The VMAs that share anonymous pages, as an interval tree over page offsets; guarded by `root.rwsem`.

    A reference keeps the object; the VMAs in the tree hold one together. A root counts itself among its children.
    `num_active_vmas` are the VMAs whose `anon_vma` it is. Its memory is type-safe by RCU: it may be another anon_vma
    at any time for whoever has no reference, but the lock in it stays a lock (anon_vma_ctor()).
    """

    root: Unshared[AnonVma]
    parent: Unshared[AnonVma]
    rwsem: Unshared[RwSemaphore]
    refcount: Atomic[int] = 1
    num_children: Once[int] = 0
    num_active_vmas: Once[int] = 0
    rb_root: Unshared[list[tuple[int, int, AnonVmaChain]]]

    def __init__(self) -> None:
        rwsem = getattr(self, "rwsem", None) or RwSemaphore("anon_vma->rwsem")
        super().__init__(rwsem=rwsem, rb_root=[])
        self.root = self.parent = self

    @property
    def name(self) -> str:
        """How traces call it."""
        return "anon_vma"


class AnonVmaChain:
    """The link between one VMA and one anon_vma; kernel: struct anon_vma_chain."""

    __slots__ = ("anon_vma", "key", "vma")

    vma: VmArea
    anon_vma: AnonVma

    def __init__(self) -> None:
        self.key: tuple[int, int, AnonVmaChain] | None = None


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
    if atomic_add_return(anon_vma, "refcount", -1) == 0:
        free_anon_vma(anon_vma)


def free_anon_vma(anon_vma: AnonVma) -> None:
    """Free an anon_vma without references, and drop its hold on the root; kernel: __put_anon_vma().

    `folio_lock_anon_vma_read` holds the lock without a reference: whoever does so is waited for.
    """
    might_sleep()
    root = anon_vma.root
    if perform(RWSEM_IS_LOCKED, root.rwsem):
        anon_vma_lock_write(anon_vma)
        anon_vma_unlock_write(anon_vma)
    anon_vma_cache.free(anon_vma)
    if root is not anon_vma:
        put_anon_vma(root)
