"""anon_vma: from an anonymous folio to the VMAs that may map it.

Kernel: mm/rmap.c and mm/interval_tree.c, v6.1. All anon_vmas of a family share the lock of their root.

Simpler here: the interval tree is a list in the order of its keys, and a search looks at every element. What it
matches against are the live fields of the VMA, as in the kernel, so they must not change while it is in the tree.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from typing import TYPE_CHECKING

from concurrency import (
    READ_ONCE,
    Access,
    Atomic,
    KmemCache,
    Once,
    Operation,
    RwSemaphore,
    Shared,
    active,
    atomic_add_return,
    trace,
)
from lockdep.gfp import GFP_KERNEL, GFP_NOWAIT
from vm.layout import PAGE_SHIFT

if TYPE_CHECKING:
    from vm.vma import VmArea

RB_READ = Operation("anon_vma_interval_tree_iter", Access.READ, field="rb_root")
RB_INSERT = Operation("anon_vma_interval_tree_insert", Access.WRITE, field="rb_root")
RB_REMOVE = Operation("anon_vma_interval_tree_remove", Access.WRITE, field="rb_root")


class AnonVma(Shared):
    """The VMAs that share anonymous pages, as an interval tree over page offsets; guarded by `root.rwsem`."""

    root: AnonVma
    rwsem: RwSemaphore
    refcount: Atomic[int] = 1
    num_children: Once[int] = 0
    num_active_vmas: Once[int] = 0
    rb_root: list[tuple[int, int, AnonVmaChain]]

    def __init__(self) -> None:
        super().__init__(rwsem=RwSemaphore("anon_vma->rwsem"), rb_root=[])
        self.root = self

    @property
    def name(self) -> str:
        """How traces call it."""
        return "anon_vma"


class AnonVmaChain:
    """The link between one VMA and one anon_vma; kernel: struct anon_vma_chain."""

    __slots__ = ("anon_vma", "key", "vma")

    def __init__(self, vma: VmArea, anon_vma: AnonVma) -> None:
        self.vma = vma
        self.anon_vma = anon_vma
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


def interval_tree_insert(avc: AnonVmaChain) -> None:
    """Put a VMA into the tree under the page offsets that it has now; needs the root's lock for writing."""
    anon_vma = avc.anon_vma
    first = avc.vma.vm_pgoff
    last = first + ((avc.vma.vm_end - avc.vma.vm_start) >> PAGE_SHIFT) - 1
    rt = active.runtime
    if rt is not None:
        rt.step(RB_INSERT, anon_vma)
    avc.key = (first, last, avc)
    insort(anon_vma.rb_root, avc.key, key=lambda entry: entry[:2])


def interval_tree_remove(avc: AnonVmaChain) -> None:
    """Take a VMA out of the tree; needs the root's lock for writing."""
    rt = active.runtime
    if rt is not None:
        rt.step(RB_REMOVE, avc.anon_vma)
    entries = avc.anon_vma.rb_root
    avc.anon_vma.rb_root = [entry for entry in entries if entry[2] is not avc]
    avc.key = None


def interval_tree_foreach(anon_vma: AnonVma, pgoff: int) -> Iterator[AnonVmaChain]:
    """The links whose VMA covers page offset `pgoff` by its live fields; needs the root's lock."""
    rt = active.runtime
    if rt is not None:
        rt.step(RB_READ, anon_vma)
    for _, _, avc in list(anon_vma.rb_root):
        vma = avc.vma
        start = vma.vm_pgoff
        if start <= pgoff < start + ((vma.vm_end - vma.vm_start) >> PAGE_SHIFT):
            yield avc


def get_anon_vma(anon_vma: AnonVma) -> None:
    """Take a reference."""
    atomic_add_return(anon_vma, "refcount", 1)


def put_anon_vma(anon_vma: AnonVma) -> None:
    """Drop a reference; the last one frees it, and then its hold on the root."""
    if atomic_add_return(anon_vma, "refcount", -1) == 0:
        root = anon_vma.root
        anon_vma_cache.free(anon_vma)
        if root is not anon_vma:
            put_anon_vma(root)


def anon_vma_chain_link(vma: VmArea, avc: AnonVmaChain) -> None:
    """Hang `avc` on its VMA and into its anon_vma's tree; needs the root's lock for writing."""
    vma.anon_vma_chain.append(avc)
    interval_tree_insert(avc)


def anon_vma_prepare(vma: VmArea) -> bool:
    """Give `vma` an anon_vma before its first anonymous page; needs mmap_lock. False without memory.

    Simpler here: a neighbour's anon_vma is not shared (find_mergeable_anon_vma()).
    """
    if READ_ONCE(vma, "anon_vma") is not None:
        return True
    anon_vma = anon_vma_cache.alloc(GFP_KERNEL)
    if anon_vma is None:
        return False
    avc = avc_cache.alloc(GFP_KERNEL, vma, anon_vma)
    if avc is None:
        anon_vma_cache.free(anon_vma)
        return False
    anon_vma_lock_write(anon_vma)
    with vma.vm_mm.page_table_lock:
        installed = READ_ONCE(vma, "anon_vma") is None
        if installed:
            vma.anon_vma = anon_vma
            anon_vma_chain_link(vma, avc)
            anon_vma.num_active_vmas += 1
    anon_vma_unlock_write(anon_vma)
    if not installed:
        avc_cache.free(avc)
        put_anon_vma(anon_vma)
    return True


def anon_vma_clone(dst: VmArea, src: VmArea) -> bool:
    """Link `dst` to every anon_vma that `src` is linked to; False without memory, and then nothing is linked.

    The allocation under the lock must not reclaim, since reclaim takes this lock; if it fails, the lock is dropped
    and the allocation is done outside.
    """
    for pavc in reversed(src.anon_vma_chain):
        anon_vma = pavc.anon_vma
        anon_vma_lock_write(anon_vma)
        avc = avc_cache.alloc(GFP_NOWAIT, dst, anon_vma)
        if avc is None:
            anon_vma_unlock_write(anon_vma)
            avc = avc_cache.alloc(GFP_KERNEL, dst, anon_vma)
            if avc is None:
                dst.anon_vma = None
                unlink_anon_vmas(dst)
                return False
            anon_vma_lock_write(anon_vma)
        anon_vma_chain_link(dst, avc)
        anon_vma_unlock_write(anon_vma)
    if dst.anon_vma is not None:
        dst.anon_vma.num_active_vmas += 1
    return True


def unlink_anon_vmas(vma: VmArea) -> None:
    """Take `vma` out of all its trees; from here on no rmap walk finds it."""
    if not vma.anon_vma_chain:
        return
    root = vma.anon_vma_chain[0].anon_vma
    anon_vma_lock_write(root)
    links = list(vma.anon_vma_chain)
    for avc in links:
        interval_tree_remove(avc)
    vma.anon_vma_chain.clear()
    if vma.anon_vma is not None:
        vma.anon_vma.num_active_vmas -= 1
        vma.anon_vma = None
    anon_vma_unlock_write(root)
    for avc in links:
        anon_vma = avc.anon_vma
        avc_cache.free(avc)
        if not anon_vma.rb_root:
            put_anon_vma(anon_vma)


def pre_update_vma(vma: VmArea) -> None:
    """Before start, end or pgoff change: out of all trees; needs the root's lock for writing."""
    for avc in vma.anon_vma_chain:
        interval_tree_remove(avc)


def post_update_vma(vma: VmArea) -> None:
    """After they have changed: back into all trees, under the new keys."""
    for avc in vma.anon_vma_chain:
        interval_tree_insert(avc)
    trace("anon_vma_interval_tree_post_update", vma=vma.name)
