"""Page faults: how page tables are filled. Kernel: mm/memory.c, v6.1."""

from __future__ import annotations

from sugarbush.concurrency import trace
from sugarbush.vm.faults import (
    PROTECTED,
    do_fault,
    do_swap_page,
    do_wp_page,
    handle_userfault,
    hold_mmap_lock,
    pte_marker_handle,
)
from sugarbush.vm.files import is_vm_hugetlb_page
from sugarbush.vm.frames import (
    alloc_folio,
    folio_put,
    maybe_mkwrite,
    mk_pte,
    pfn_swap_entry_to_page,
    pmdp_get,
    pte_alloc,
    ptep_get,
    set_pte,
    userfaultfd_pte_wp,
)
from sugarbush.vm.huge import (
    FALLBACK,
    do_huge_pmd_anonymous_page,
    do_huge_pmd_wp_page,
    huge_pmd_set_accessed,
    hugetlb_fault,
    pmd_migration_entry_wait,
)
from sugarbush.vm.objects import (
    EFAULT,
    ENOMEM,
    MM_ANONPAGES,
    PAGE_SIZE,
    PTE_DIRTY,
    PTE_YOUNG,
    TASK_SIZE,
    VM_HUGEPAGE,
    VM_READ,
    VM_WRITE,
    ZERO_PFN,
    Hold,
    Marker,
    Migration,
    MmStruct,
    PageTable,
    Present,
    Swap,
    VmArea,
    migration_entry_wait_on_locked,
)
from sugarbush.vm.reclaim import do_huge_pmd_numa_page, do_numa_page
from sugarbush.vm.reverse import anon_vma_prepare, folio_add_new_anon_rmap
from sugarbush.vm.spaces import (
    add_mm_counter,
    check_stable_address_space,
    holds_vma_lock,
    vma_is_accessible,
    vma_is_anonymous,
)

RETRY = 3
"""The VMA's own lock is not enough for this fault. Kernel: VM_FAULT_RETRY."""


def handle_user_fault(mm: MmStruct, address: int, *, write: bool = False) -> int:
    """A user access found no entry that permits it: map the page. 0, -ENOMEM, or -EFAULT (no VMA, not permitted, behind
    the end of a file, or what the OOM reaper may have taken).

    Kernel: do_user_addr_fault(). Takes mmap_lock for reading, or the lock of the VMA.
    """
    if not 0 <= address < TASK_SIZE:
        return EFAULT
    # The lock of the VMA where the era has one, and mmap_lock otherwise: both keep the VMA and its page
    # tables.
    held = mm.era.hold_for_fault(mm, address)
    if held is None:
        return EFAULT
    result = _handle_held(mm, held, address, write=write)
    if result == RETRY:
        held = hold_mmap_lock(mm, address)
        if held is None:
            return EFAULT
        result = _handle_held(mm, held, address, write=write)
    return result


def _handle_held(mm: MmStruct, held: Hold, address: int, *, write: bool) -> int:
    """The fault with its VMA held as `held` says, which is given back here in any case."""
    vma, release = held
    if access_error(vma, write=write):
        result = EFAULT
    else:
        result = handle_mm_fault(mm, vma, address & -PAGE_SIZE, write=write)
    if result == PROTECTED:
        # It gives the lock back itself, since that must happen between the queue and the sleep.
        handle_userfault(mm, address & -PAGE_SIZE, release)
        return 0
    release()
    return result


def access_error(vma: VmArea, *, write: bool) -> bool:
    """The VMA does not permit the access. As on x86-64, what may be written may be read."""
    return not vma.vm_flags & (VM_WRITE if write else VM_READ | VM_WRITE)


def handle_mm_fault(mm: MmStruct, vma: VmArea, address: int, *, write: bool) -> int:
    """Map the page at `address`, or wait for whoever is moving it; needs mmap_lock, or the VMA's lock.

    0, -ENOMEM, -EFAULT, PROTECTED, or RETRY: what is swapped out needs mmap_lock, since its page is waited for, and a
    folio lock comes before the VMA's lock. Kernel: handle_pte_fault(), as up to v6.5. The entry is read without its
    lock; whoever acts on it looks again under the lock.
    """
    if is_vm_hugetlb_page(vma):
        return hugetlb_fault(vma, address, write=write)
    # Read without its lock, as the entry below: all that follows is a guess what to do, and each way looks
    # again under the lock, and gives up with 0 if it was wrong. Then the access is made again.
    pmd = pmdp_get(mm, address)
    if pmd is None and vma.vm_flags & VM_HUGEPAGE and vma_is_anonymous(vma):
        result = do_huge_pmd_anonymous_page(vma, address, write=write)
        if result != FALLBACK:
            return result
    elif isinstance(pmd, Migration):
        pmd_migration_entry_wait(mm, address)
        return 0
    elif isinstance(pmd, Present):
        # Only in a VMA that permits something: elsewhere no rights is what the VMA says (PROT_NONE).
        if pmd.protnone and vma_is_accessible(vma):
            return do_huge_pmd_numa_page(vma, address, pmd)
        if write and not pmd.write:
            if userfaultfd_pte_wp(vma, pmd):
                return PROTECTED
            return do_huge_pmd_wp_page(vma, address, pmd)
        huge_pmd_set_accessed(mm)
        return 0
    table = pmd
    pte = None if table is None else ptep_get(table, address)
    if table is None or pte is None:
        if vma_is_anonymous(vma):
            return do_anonymous_page(mm, vma, address, write=write)
        return do_fault(vma, address, write=write)
    if isinstance(pte, Marker):
        return (
            do_fault(vma, address, write=write, marker=pte)
            if pte_marker_handle(vma, table, address, pte)
            else 0
        )
    if isinstance(pte, Migration):
        migration_entry_wait(mm, table, address)
    elif isinstance(pte, Swap):
        if holds_vma_lock(vma):
            return RETRY
        return do_swap_page(vma, table, address, pte, write=write)
    elif isinstance(pte, Present):
        if pte.protnone and vma_is_accessible(vma):
            return do_numa_page(vma, table, address, pte)
        if write and not pte.write:
            return do_wp_page(vma, table, address, pte)
    return 0


def do_anonymous_page(mm: MmStruct, vma: VmArea, address: int, *, write: bool) -> int:
    """Map a new page of zeroes at `address`, for a read the zero page, unless somebody was faster. 0, -ENOMEM, or
    -EFAULT in a victim of the OOM reaper.

    Needs mmap_lock, or the VMA's lock. The zero page needs no anon_vma: no walk looks for it. If somebody has mapped a
    huge page meanwhile, the caller looks again (pmd_trans_unstable()).
    """
    table = pte_alloc(mm, address)
    if table is None:
        return ENOMEM if pmdp_get(mm, address) is None else 0
    if not write:
        return _map_zero_page(mm, vma, table, address)
    # Before the page, and both before the lock: they may sleep.
    if not anon_vma_prepare(vma):
        return ENOMEM
    folio = alloc_folio(mm.memory)
    if folio is None:
        return ENOMEM
    folio.token = 0
    bits = vma.vm_page_prot | maybe_mkwrite(vma) | PTE_YOUNG | PTE_DIRTY
    stable = True
    with table.ptl:
        # Two threads may fault here at once; the one who is late gives his page back, and has nothing to
        # report.
        installed = ptep_get(table, address) is None
        if installed:
            installed = stable = check_stable_address_space(mm)
        if installed:
            add_mm_counter(mm, MM_ANONPAGES, 1)
            # rmap, then LRU, then the entry: a walk that comes by the LRU finds the anon_vma, and waits for
            # the lock we hold.
            folio_add_new_anon_rmap(folio, vma, address)
            folio.lru = True
            set_pte(table, address, mk_pte(folio, bits))
            trace("fault", mm=mm.name, addr=hex(address), page=folio.name)
    if not installed:
        folio_put(mm.memory, folio)
    return 0 if stable else EFAULT


def _map_zero_page(mm: MmStruct, vma: VmArea, table: PageTable, address: int) -> int:
    """The read fault: as `do_anonymous_page`, with no page, no count and nothing to find it by."""
    stable = True
    with table.ptl:
        if ptep_get(table, address) is None:
            stable = check_stable_address_space(mm)
            if stable:
                set_pte(table, address, Present(ZERO_PFN, 0, vma.vm_page_prot | PTE_YOUNG))
                trace("fault", mm=mm.name, addr=hex(address), page=mm.memory.zero_page.name)
    return 0 if stable else EFAULT


def migration_entry_wait(mm: MmStruct, table: PageTable, address: int) -> None:
    """Sleep until the page at `address` has been moved; the caller looks again.

    Kernel: migration_entry_wait() in mm/migrate.c. The page-table lock is dropped before sleeping, and no reference
    is held, so the entry must be looked at afresh. Needs mmap_lock, or the VMA's lock.
    """
    with table.ptl:
        pte = ptep_get(table, address)
        # Under the lock, where the entry and so the old frame stay; the lock of the folio alone is used after
        # that.
        folio = pfn_swap_entry_to_page(mm.memory, pte) if isinstance(pte, Migration) else None
    if folio is not None:
        migration_entry_wait_on_locked(folio)
