"""Which anon_vmas a VMA is linked to: from its first page, through split, merge and fork, to its end.

Kernel: mm/rmap.c, v6.1. After a fork the child's VMA has two links, the newest first: to an anon_vma of its own, for
the pages that it will have alone, and to its parent's, for those that both have. One lock, the root's, is for both.

    >>> from sugarbush.vm.access import user_store
    >>> from sugarbush.vm.syscalls import sys_brk, sys_fork
    >>> from sugarbush.vm.vmas import boot
    >>> machine = boot(frames=8)
    >>> parent = machine.add_mm("make", start_brk=0x10_0000)
    >>> end = sys_brk(parent, 0x10_1000)
    >>> user_store(parent, 0x10_0000, "a page")
    >>> child = sys_fork(machine, parent, "cc1")
    >>> parent.mmap_lock.down_read(); child.mmap_lock.down_read()
    >>> old, new = (mm.mm_mt.load(0x10_0000) for mm in (parent, child))
    >>> child.mmap_lock.up_read(); parent.mmap_lock.up_read()
    >>> [avc.anon_vma is new.anon_vma for avc in new.anon_vma_chain]
    [True, False]
    >>> new.anon_vma_chain[1].anon_vma is old.anon_vma is new.anon_vma.root
    True
    >>> old.anon_vma.num_children, old.anon_vma.num_active_vmas     # itself and the child's; the parent's VMA
    (2, 1)
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, WRITE_ONCE, atomic_add_return, bug_on
from sugarbush.concurrency.lowlevel import Access, Operation, step
from sugarbush.lockdep.model import GFP_KERNEL, GFP_NOWAIT, GFP_NOWARN
from sugarbush.vm.objects import PAGE_SHIFT, VM_ACCESS_FLAGS, VM_SOFTDIRTY, AnonVma, AnonVmaChain, VmArea
from sugarbush.vm.reverse.anon_vma import (
    anon_vma_cache,
    anon_vma_lock_write,
    anon_vma_unlock_write,
    avc_cache,
    put_anon_vma,
)
from sugarbush.vm.reverse.interval_tree import interval_tree_insert, interval_tree_remove

CHAIN_READ = Operation("list_is_singular", Access.READ_ONCE, field="anon_vma_chain", local=True)
CHAIN_ADD = Operation("list_add", Access.WRITE_ONCE, field="anon_vma_chain", local=True)


def anon_vma_chain_link(vma: VmArea, avc: AnonVmaChain, anon_vma: AnonVma) -> None:
    """Link a VMA to an anon_vma, in its tree; needs the root's lock for writing.

    A VMA's chain has the newest link first, so that the root is the last one to be unlinked.
    """
    avc.vma = vma
    avc.anon_vma = anon_vma
    step(CHAIN_ADD, vma)
    vma.anon_vma_chain.insert(0, avc)
    interval_tree_insert(avc)


def anon_vma_prepare(vma: VmArea) -> bool:
    """Give `vma` an anon_vma before its first anonymous page; needs mmap_lock. False without memory.

    That of a neighbour if the two may become one VMA later, else a new one.
    """
    if READ_ONCE(vma, "anon_vma") is not None:
        return True
    # Both allocations before the locks: they may reclaim, and reclaim takes the lock of some family.
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
    # Even if it is new and nobody can know it: the memory may have been another anon_vma a moment ago, and a
    # walk that comes from a page of that one holds the lock, or waits for it (anon-vma-not-locked, Z38).
    anon_vma_lock_write(anon_vma)
    # Two faults in the VMA may both come here, with mmap_lock for reading only: this lock decides which of
    # them is first.
    with vma.vm_mm.page_table_lock:
        installed = READ_ONCE(vma, "anon_vma") is None
        if installed:
            # From here on another fault may map pages, before the link below. No walk notices: it needs the
            # lock that is held.
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
    # The neighbours are kept by mmap_lock alone, never by the lock of `vma`: hence a fault that holds only
    # that may not come here (vma-lock-anon-vma, Z20).
    mas = vma.vm_mm.mm_mt.cursor(vma.vm_end)
    above = mas.walk()
    if above is not None:
        found = _reusable_anon_vma(above, vma, above)
        if found is not None:
            return found
    below = vma.vm_mm.mm_mt.load(vma.vm_start - 1) if vma.vm_start else None
    return None if below is None else _reusable_anon_vma(below, below, vma)


def _anon_vma_compatible(low: VmArea, high: VmArea) -> bool:
    """They are neighbours, and alike but for what mprotect could change. Needs mmap_lock."""
    return (
        low.vm_end == high.vm_start
        and low.vm_file is high.vm_file
        and not (low.vm_flags ^ high.vm_flags) & ~(VM_ACCESS_FLAGS | VM_SOFTDIRTY)
        and high.vm_pgoff == low.vm_pgoff + ((high.vm_start - low.vm_start) >> PAGE_SHIFT)
    )


def _reusable_anon_vma(old: VmArea, low: VmArea, high: VmArea) -> AnonVma | None:
    """The anon_vma of `old`, if its only link is its own: one from a parent is not for new pages. Needs mmap_lock."""
    if not _anon_vma_compatible(low, high):
        return None
    # Read twice as in the kernel: the pointer here, and the links in the next step. A first fault in the
    # neighbour sets both under a lock that we do not have; what we get is right, or None.
    anon_vma: AnonVma | None = READ_ONCE(old, "anon_vma")
    return anon_vma if anon_vma is not None and list_is_singular(old) else None


def list_is_singular(vma: VmArea) -> bool:
    """`vma` has exactly one link; a switch point of its own, since a fault in it may be making the first one.
    Needs mmap_lock.
    """
    step(CHAIN_READ, vma)
    return len(vma.anon_vma_chain) == 1


def lock_anon_vma_root(locked: AnonVma | None, anon_vma: AnonVma) -> AnonVma:
    """Lock the root of `anon_vma` for writing, unless that is `locked`, which is held already; gives the root."""
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
    # From the oldest on, since each goes to the front of the chain: so both chains have the same order.
    for link in reversed(src.anon_vma_chain):
        avc = avc_cache.alloc(GFP_NOWAIT | GFP_NOWARN)
        if avc is None:
            if locked is not None:
                anon_vma_unlock_write(locked)
                locked = None
            avc = avc_cache.alloc(GFP_KERNEL)
            if avc is None:
                # It is not counted there yet, and would be counted off.
                dst.anon_vma = None
                unlink_anon_vmas(dst)
                return False
        anon_vma = link.anon_vma
        locked = lock_anon_vma_root(locked, anon_vma)
        anon_vma_chain_link(dst, avc, anon_vma)
        if (
            dst.anon_vma is None
            and src.anon_vma is not None
            # No VMA uses it, and at most one child. With children and VMAs in one number, an anon_vma with
            # one VMA and no child looked the same, and was given to a second VMA with other links
            # (anon-vma-degree, Z24).
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
    # First into the parent's trees, for the pages that both will have; they must be found there before the
    # first entry is copied (`dup_vma`).
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
    # Before the lock below, which is then the family's. Nobody else knows the object, so these need none.
    anon_vma.root = above.root
    anon_vma.parent = above
    # The lock lies in the root: it may not go before the last of the family.
    atomic_add_return(anon_vma.root, "refcount", 1)
    vma.anon_vma = anon_vma
    anon_vma_lock_write(anon_vma)
    anon_vma_chain_link(vma, avc, anon_vma)
    above.num_children += 1
    anon_vma_unlock_write(anon_vma)
    return True


def unlink_anon_vmas(vma: VmArea) -> None:
    """Take `vma` out of all its trees; from here on no rmap walk finds it. Takes the root's lock for writing.

    Needs mmap_lock, for writing if `vma` is in the tree of its address space, or that no other task knows it.
    Which trees are empty now is decided under the lock; they are freed without it, since freeing may take it.
    """
    locked: AnonVma | None = None
    empty: list[AnonVma] = []
    for avc in vma.anon_vma_chain:
        anon_vma = avc.anon_vma
        locked = lock_anon_vma_root(locked, anon_vma)
        interval_tree_remove(avc)
        if not anon_vma.rb_root:
            # A root is its own parent, and so counts itself off.
            anon_vma.parent.num_children -= 1
            empty.append(anon_vma)
        avc_cache.free(avc)
    vma.anon_vma_chain.clear()
    # The VMA may stay, and be touched again: a move that leaves it (MREMAP_DONTUNMAP) comes here too.
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
    """`vma` covers now what `swallowed` covers too, which is about to be freed. Needs mmap_lock for writing."""
    bug_on(
        vma.anon_vma is not swallowed.anon_vma,
        "VM_BUG_ON_VMA(vma->anon_vma != next->anon_vma): anon_vma_merge()",
    )
    unlink_anon_vmas(swallowed)
