"""anon_vma: from an anonymous folio to the VMAs that may map it.

Kernel: mm/rmap.c and mm/interval_tree.c, v6.1. All anon_vmas of a family share the lock of their root.

Simpler here: the interval tree is a list in the order of its keys, and a search looks at every element. What it
matches against are the live fields of the VMA, and what it leaves out goes by those of when the VMA was inserted, as in
the kernel. So they must not change while it is in the tree.
A walk that finds nothing takes as many steps as one that does.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from concurrency import (
    READ_ONCE,
    WRITE_ONCE,
    Access,
    Atomic,
    KmemCache,
    Once,
    Operation,
    RwSemaphore,
    Shared,
    active,
    atomic_add_return,
    bug_on,
    might_sleep,
    peek,
    perform,
    poke,
    trace,
)
from lockdep.gfp import GFP_KERNEL, GFP_NOWAIT, GFP_NOWARN
from vm.layout import PAGE_SHIFT, VM_ACCESS_FLAGS, VM_SOFTDIRTY

if TYPE_CHECKING:
    from vm.vma import VmArea

RB_READ = Operation("anon_vma_interval_tree_iter", Access.READ, field="rb_root", local=True)
RB_INSERT = Operation("anon_vma_interval_tree_insert", Access.WRITE, field="rb_root", local=True)
RB_REMOVE = Operation("anon_vma_interval_tree_remove", Access.WRITE, field="rb_root", local=True)
CHAIN_READ = Operation("list_is_singular", Access.READ_ONCE, field="anon_vma_chain", local=True)
CHAIN_ADD = Operation("list_add", Access.WRITE_ONCE, field="anon_vma_chain", local=True)


class AnonVma(Shared):
    """The VMAs that share anonymous pages, as an interval tree over page offsets; guarded by `root.rwsem`.

    A reference keeps the object; the VMAs in the tree hold one together. A root counts itself among its children.
    `num_active_vmas` are the VMAs whose `anon_vma` it is. Its memory is type-safe by RCU: it may be another anon_vma
    at any time for whoever has no reference, but the lock in it stays a lock (anon_vma_ctor()).
    """

    root: AnonVma
    parent: AnonVma
    rwsem: RwSemaphore
    refcount: Atomic[int] = 1
    num_children: Once[int] = 0
    num_active_vmas: Once[int] = 0
    rb_root: list[tuple[int, int, AnonVmaChain]]

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
    """The links whose VMA covers page offset `pgoff`; needs the root's lock.

    A search leaves out what ended below `pgoff` when it was inserted, and looks at the live fields of the rest.
    """
    rt = active.runtime
    if rt is not None:
        rt.step(RB_READ, anon_vma)
    for _, last, avc in list(anon_vma.rb_root):
        if last < pgoff:
            continue
        vma = avc.vma
        start = vma.vm_pgoff
        if start <= pgoff < start + ((vma.vm_end - vma.vm_start) >> PAGE_SHIFT):
            yield avc


def _inc_not_zero(anon_vma: AnonVma, _task: Any, _arg: Any) -> bool:
    count = peek(anon_vma, "refcount")
    if count:
        poke(anon_vma, "refcount", count + 1)
    return bool(count)


def _is_locked(rwsem: RwSemaphore, _task: Any, _arg: Any) -> bool:
    return not rwsem.free


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


def anon_vma_chain_link(vma: VmArea, avc: AnonVmaChain, anon_vma: AnonVma) -> None:
    """Link a VMA to an anon_vma, in its tree; needs the root's lock for writing.

    A VMA's chain has the newest link first, so that the root is the last one to be unlinked.
    """
    avc.vma = vma
    avc.anon_vma = anon_vma
    rt = active.runtime
    if rt is not None:
        rt.step(CHAIN_ADD, vma)
    vma.anon_vma_chain.insert(0, avc)
    interval_tree_insert(avc)


def anon_vma_prepare(vma: VmArea) -> bool:
    """Give `vma` an anon_vma before its first anonymous page; needs mmap_lock. False without memory.

    That of a neighbour if the two may become one VMA later, else a new one.
    """
    if READ_ONCE(vma, "anon_vma") is not None:
        return True
    avc = avc_cache.alloc(GFP_KERNEL)
    if avc is None:
        return False
    anon_vma = find_mergeable_anon_vma(vma)
    allocated = None
    if anon_vma is None:
        anon_vma = allocated = anon_vma_cache.alloc(GFP_KERNEL)
        if anon_vma is None:
            avc_cache.free(avc)
            return False
        anon_vma.num_children += 1
    anon_vma_lock_write(anon_vma)
    with vma.vm_mm.page_table_lock:
        installed = READ_ONCE(vma, "anon_vma") is None
        if installed:
            vma.anon_vma = anon_vma
            anon_vma_chain_link(vma, avc, anon_vma)
            anon_vma.num_active_vmas += 1
    anon_vma_unlock_write(anon_vma)
    if not installed:
        if allocated is not None:
            put_anon_vma(allocated)
        avc_cache.free(avc)
    return True


def find_mergeable_anon_vma(vma: VmArea) -> AnonVma | None:
    """The anon_vma of a neighbour that `vma` could become one with if mprotect made them alike; needs mmap_lock.

    Two VMAs with different anon_vmas never become one, so sharing early saves VMAs later. The neighbours' anon_vmas
    are read without page_table_lock: a fault in the neighbour may be setting one.
    """
    mas = vma.vm_mm.mm_mt.cursor(vma.vm_end)
    above = mas.walk()
    if above is not None:
        found = _reusable_anon_vma(above, vma, above)
        if found is not None:
            return found
    below = vma.vm_mm.mm_mt.load(vma.vm_start - 1) if vma.vm_start else None
    return None if below is None else _reusable_anon_vma(below, below, vma)


def _anon_vma_compatible(low: VmArea, high: VmArea) -> bool:
    """They differ in nothing that mprotect could not change."""
    return (
        low.vm_end == high.vm_start
        and low.vm_file is high.vm_file
        and not (low.vm_flags ^ high.vm_flags) & ~(VM_ACCESS_FLAGS | VM_SOFTDIRTY)
        and high.vm_pgoff == low.vm_pgoff + ((high.vm_start - low.vm_start) >> PAGE_SHIFT)
    )


def _reusable_anon_vma(old: VmArea, low: VmArea, high: VmArea) -> AnonVma | None:
    """The anon_vma of `old`, if its only link is its own: one from a parent is not for new pages."""
    if not _anon_vma_compatible(low, high):
        return None
    anon_vma: AnonVma | None = READ_ONCE(old, "anon_vma")
    return anon_vma if anon_vma is not None and list_is_singular(old) else None


def list_is_singular(vma: VmArea) -> bool:
    """`vma` has exactly one link; a switch point of its own, since a fault in it may be making the first one."""
    rt = active.runtime
    if rt is not None:
        rt.step(CHAIN_READ, vma)
    return len(vma.anon_vma_chain) == 1


def lock_anon_vma_root(locked: AnonVma | None, anon_vma: AnonVma) -> AnonVma:
    """Have the root of `anon_vma` locked, of which `locked` is the one so far."""
    root = anon_vma.root
    if locked is not root:
        bug_on(locked is not None, "WARNING: lock_anon_vma_root(): the anon_vmas of a VMA have several roots")
        anon_vma_lock_write(root)
    return root


def anon_vma_clone(dst: VmArea, src: VmArea) -> bool:
    """Link `dst` to every anon_vma that `src` is linked to; False without memory, and then nothing is linked.

    `dst.anon_vma` is set already if pages are to go on in the same anon_vma. If it is not, as in fork, `dst` may get
    one of those of `src` that has no VMA of its own any more and at most one child: so a chain of forks whose parents
    exit does not grow for ever. Needs mmap_lock of `src`.

    The allocation under the lock must not reclaim, since reclaim takes this lock; if it fails, the lock is dropped
    and the allocation is done outside.
    """
    locked: AnonVma | None = None
    for link in reversed(src.anon_vma_chain):
        avc = avc_cache.alloc(GFP_NOWAIT | GFP_NOWARN)
        if avc is None:
            if locked is not None:
                anon_vma_unlock_write(locked)
                locked = None
            avc = avc_cache.alloc(GFP_KERNEL)
            if avc is None:
                dst.anon_vma = None
                unlink_anon_vmas(dst)
                return False
        anon_vma = link.anon_vma
        locked = lock_anon_vma_root(locked, anon_vma)
        anon_vma_chain_link(dst, avc, anon_vma)
        if (
            dst.anon_vma is None
            and src.anon_vma is not None
            and anon_vma.num_children < 2
            and anon_vma.num_active_vmas == 0
        ):
            dst.anon_vma = anon_vma
    active_in = dst.anon_vma
    if active_in is not None:
        active_in.num_active_vmas += 1
    if locked is not None:
        anon_vma_unlock_write(locked)
    return True


def anon_vma_fork(vma: VmArea, parent: VmArea) -> bool:
    """Link `vma`, the child's copy of `parent`, to all its anon_vmas and to a new one; False without memory.

    New pages of the child are in the new one, so that walks for them do not visit the parent. All of them share the
    root, and so its lock. Needs mmap_lock of both.
    """
    if parent.anon_vma is None:
        return True
    WRITE_ONCE(vma, "anon_vma", None)
    if not anon_vma_clone(vma, parent):
        return False
    if vma.anon_vma is not None:
        return True
    anon_vma = anon_vma_cache.alloc(GFP_KERNEL)
    avc = None if anon_vma is None else avc_cache.alloc(GFP_KERNEL)
    if anon_vma is None or avc is None:
        if anon_vma is not None:
            put_anon_vma(anon_vma)
        unlink_anon_vmas(vma)
        return False
    above = parent.anon_vma
    anon_vma.num_active_vmas += 1
    anon_vma.root = above.root
    anon_vma.parent = above
    atomic_add_return(anon_vma.root, "refcount", 1)
    vma.anon_vma = anon_vma
    anon_vma_lock_write(anon_vma)
    anon_vma_chain_link(vma, avc, anon_vma)
    above.num_children += 1
    anon_vma_unlock_write(anon_vma)
    return True


def unlink_anon_vmas(vma: VmArea) -> None:
    """Take `vma` out of all its trees; from here on no rmap walk finds it.

    Which trees are empty now is decided under the lock; they are freed without it, since freeing may take it.
    """
    locked: AnonVma | None = None
    empty: list[AnonVma] = []
    for avc in vma.anon_vma_chain:
        anon_vma = avc.anon_vma
        locked = lock_anon_vma_root(locked, anon_vma)
        interval_tree_remove(avc)
        if not anon_vma.rb_root:
            anon_vma.parent.num_children -= 1
            empty.append(anon_vma)
        avc_cache.free(avc)
    vma.anon_vma_chain.clear()
    active_in = vma.anon_vma
    if active_in is not None:
        active_in.num_active_vmas -= 1
        vma.anon_vma = None
    if locked is not None:
        anon_vma_unlock_write(locked)
    for anon_vma in empty:
        bug_on(anon_vma.num_children, "WARNING: unlink_anon_vmas(): VM_WARN_ON(anon_vma->num_children)")
        bug_on(anon_vma.num_active_vmas, "WARNING: unlink_anon_vmas(): VM_WARN_ON(anon_vma->num_active_vmas)")
        put_anon_vma(anon_vma)


def anon_vma_merge(vma: VmArea, swallowed: VmArea) -> None:
    """`vma` covers now what `swallowed` covers too, which is about to be freed."""
    bug_on(
        vma.anon_vma is not swallowed.anon_vma,
        "VM_BUG_ON_VMA(vma->anon_vma != next->anon_vma): anon_vma_merge()",
    )
    unlink_anon_vmas(swallowed)


def pre_update_vma(vma: VmArea) -> None:
    """Before start, end or pgoff change: out of all trees; needs the root's lock for writing."""
    for avc in vma.anon_vma_chain:
        interval_tree_remove(avc)


def post_update_vma(vma: VmArea) -> None:
    """After they have changed: back into all trees, under the new keys."""
    for avc in vma.anon_vma_chain:
        interval_tree_insert(avc)
    trace("anon_vma_interval_tree_post_update", vma=vma.name)
