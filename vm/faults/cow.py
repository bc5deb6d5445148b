"""Copy on write: fork shares pages, the first write copies. Kernel: mm/memory.c, v6.1."""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, cond_resched, trace
from sugarbush.vm.files import is_vm_hugetlb_page
from sugarbush.vm.frames import (
    addresses,
    alloc_folio,
    flush_tlb_page,
    folio_free_swap,
    folio_put,
    free_page_and_swap_cache,
    maybe_mkwrite,
    mk_pte,
    mm_tlb_flush_pending,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    pfn_swap_entry_to_page,
    pmdp_get,
    pte_alloc,
    ptep_change,
    ptep_clear_flush,
    ptep_get,
    ptep_set_wrprotect,
    set_pte,
    swap_duplicate,
    userfaultfd_pte_wp,
    userfaultfd_wp,
    vm_normal_page,
)
from sugarbush.vm.huge import copy_huge_pmd, copy_hugetlb_page_range
from sugarbush.vm.objects import (
    EAGAIN,
    ENOMEM,
    MM_ANONPAGES,
    MM_FILEPAGES,
    MM_SWAPENTS,
    PAGE_SIZE,
    PTE_DIRTY,
    PTE_SWP_EXCLUSIVE,
    PTE_UFFD_WP,
    PTE_WRITE,
    PTE_YOUNG,
    VM_MIXEDMAP,
    VM_SHARED,
    Folio,
    Migration,
    MmStruct,
    PageTable,
    Present,
    Swap,
    VmArea,
    folio_get,
    folio_maybe_dma_pinned,
    folio_test_anon,
)
from sugarbush.vm.reverse import anon_vma_prepare, folio_add_new_anon_rmap, folio_dup_rmap, folio_remove_rmap
from sugarbush.vm.spaces import SINGLE_DEPTH_NESTING, add_mm_counter, mm_counter, mmlist_add

PROTECTED = 2
"""userfaultfd keeps stores away; kernel: VM_FAULT_RETRY of handle_userfault()."""

# -- the write fault --------------------------------------------------------------------------------------------


def do_wp_page(vma: VmArea, table: PageTable, address: int, pte: Present) -> int:
    """A store met the read-only entry `pte`: make it writable if the page is ours alone, else copy it. 0 or -ENOMEM.

    PROTECTED if userfaultfd keeps stores away. Needs mmap_lock, or the VMA's lock. `pte` was read without the
    page-table lock. Where userfaultfd may have write-protected the page, and its flush is still to come, that is done
    here: else another CPU could go on storing to the page while it is copied.
    """
    mm = vma.vm_mm
    with table.ptl:
        if ptep_get(table, address) != pte:
            return 0
        if userfaultfd_pte_wp(vma, pte):
            return PROTECTED
        if userfaultfd_wp(vma) and mm_tlb_flush_pending(mm):
            # Without this a thread on another CPU goes on storing by its writable translation while the page
            # is copied, and what it stores is lost (uffd-wp-copy, Z28). Looked at under the lock under which
            # the entry was protected.
            flush_tlb_page(mm, address)
        folio = vm_normal_page(mm.memory, pte)
        if folio is not None:
            if vma.vm_flags & VM_SHARED or (
                folio_test_anon(folio) and (folio.anon_exclusive or _may_reuse(folio, vma))
            ):
                wp_page_reuse(vma, table, address)
                return 0
            # The entry keeps the page only as long as its lock is held, and the copy is made without.
            folio_get(folio)
    return wp_page_copy(vma, table, address, pte, folio)


def _may_reuse(folio: Folio, vma: VmArea) -> bool:
    """Nobody else refers to the page, so it may become exclusive; needs the page-table lock.

    The count is looked at twice: cheaply, and under the folio lock, which is only tried here. The swap cache
    holds a reference too; the page leaves it if no entry names the slot. The page moves to the anon_vma of `vma`,
    so that walks for it do not visit the relatives who had it, too (page_move_anon_rmap()). A walk by the old
    anon_vma holds the folio lock, so none is under way.
    """
    if folio.head.order:
        return False
    cached = READ_ONCE(folio, "swap") is not None
    # Only tried: a folio lock comes before the page-table lock that is held.
    if READ_ONCE(folio, "refcount") > 1 + cached or not folio.lock.trylock():
        return False
    if cached:
        # Its reference goes with it, if no other entry names the slot: then the count below says whether we
        # are alone.
        folio_free_swap(folio)
    alone = bool(READ_ONCE(folio, "refcount") == 1)
    if alone:
        folio.mapping = vma.anon_vma
        folio.anon_exclusive = True
    folio.lock.unlock()
    return alone


def wp_page_reuse(vma: VmArea, table: PageTable, address: int) -> None:
    """Let the store go on in the page that is there; needs the page-table lock. More permission needs no flush."""
    ptep_change(table, address, gained=maybe_mkwrite(vma) | PTE_DIRTY | PTE_YOUNG)
    trace("wp_page_reuse", mm=vma.vm_mm.name, addr=hex(address))


def wp_page_copy(vma: VmArea, table: PageTable, address: int, pte: Present, old: Folio | None) -> int:
    """Map a copy of `old`, unless the entry is not `pte` any more. 0 or -ENOMEM. Takes over a reference to `old`.

    Without `old` it is the zero page: the copy is a page of zeroes, and the first one of the VMA that counts.

    The copy is made without the page-table lock. Whoever could still store to `old` in the meantime, through a
    translation of before, would lose that store; so a page is write-protected only together with a flush, or under
    a lock that keeps this function out until the flush.
    """
    mm = vma.vm_mm
    # Under no lock of page tables or of rmap: both may reclaim.
    new = alloc_folio(mm.memory) if anon_vma_prepare(vma) else None
    if new is None:
        if old is not None:
            folio_put(mm.memory, old)
        return ENOMEM
    new.token = 0 if old is None else READ_ONCE(old, "token")
    mmu_notifier_invalidate_range_start(mm, address, address + PAGE_SIZE)
    with table.ptl:
        copied = ptep_get(table, address) == pte
        if copied:
            # The old translations first, then the new entry: no thread may read the old page while another
            # one writes to the new. Devices have dropped theirs before (set-pte-notify, Z69).
            ptep_clear_flush(mm, table, address)
            if old is None or not folio_test_anon(old):
                if old is not None:
                    add_mm_counter(mm, MM_FILEPAGES, -1)
                add_mm_counter(mm, MM_ANONPAGES, 1)
            folio_add_new_anon_rmap(new, vma, address)
            new.lru = True
            bits = vma.vm_page_prot | maybe_mkwrite(vma) | PTE_DIRTY | PTE_YOUNG
            set_pte(table, address, mk_pte(new, bits))
            if old is not None:
                # Only now that the entry names the new page: another process that sees itself as the last one
                # to map `old` takes the page for its own, and writes to it, while threads of this process
                # could still read it here.
                folio_remove_rmap(old)
            trace("wp_page_copy", mm=mm.name, addr=hex(address), old=str(pte), new=new.name)
    mmu_notifier_invalidate_range_end(mm, address, address + PAGE_SIZE)
    if not copied:
        folio_put(mm.memory, new)
    if old is not None:
        if copied:
            # The reference of the entry; the one below is the caller's.
            free_page_and_swap_cache(mm.memory, old)
        folio_put(mm.memory, old)
    return 0


# -- fork -------------------------------------------------------------------------------------------------------


def copy_page_range(dst: VmArea, src: VmArea) -> int:
    """Give the child's `dst` the pages of the parent's `src`; 0 or -ENOMEM.

    Needs mmap_lock of both for writing. Pages of a private mapping become read-only in both; the caller flushes the
    parent's translations once, at the end of the fork, with mmap_lock still held: no write fault copies before that.
    """
    # Faults bring the pages of a file back, but not that they are protected (vma_needs_copy()).
    # Nor the pages that a driver has mapped.
    if src.anon_vma is None and not userfaultfd_wp(dst) and not src.vm_flags & VM_MIXEDMAP:
        return 0
    mm = src.vm_mm
    cow = not src.vm_flags & VM_SHARED
    hugetlb = is_vm_hugetlb_page(src)
    if cow:
        if mm.notifier_subscriptions is not None:
            mmu_notifier_invalidate_range_start(mm, src.vm_start, src.vm_end)
        # Odd before the first page is asked for pins: see gup-fast-against-fork (Z36).
        mm.write_protect_seq = READ_ONCE(mm, "write_protect_seq") + 1
    result = 0
    for low, high in addresses(mm, src.vm_start, src.vm_end):
        # Read once, and what is done goes by what was read. mmap_lock keeps faults away, but huge pages are
        # split by others.
        pmd = pmdp_get(mm, low)
        if isinstance(pmd, (Present, Migration)):
            result = copy_huge_pmd(dst, src, low & -mm.pmd_size)
            pmd = pmdp_get(mm, low) if result == EAGAIN else None
        if isinstance(pmd, PageTable) and hugetlb:
            result = copy_hugetlb_page_range(dst, src, pmd, low, high)
        elif isinstance(pmd, PageTable):
            result = copy_pte_range(dst, src, pmd, low, high)
        if result:
            break
    if cow:
        mm.write_protect_seq = READ_ONCE(mm, "write_protect_seq") + 1
        if mm.notifier_subscriptions is not None:
            mmu_notifier_invalidate_range_end(mm, src.vm_start, src.vm_end)
    return result


def copy_pte_range(dst: VmArea, src: VmArea, table: PageTable, start: int, end: int) -> int:
    """Copy the entries of ``[start, end)`` of one page-table page; 0 or -ENOMEM.

    A page that is pinned is copied for the child at once. The new page is allocated without the locks, and then the
    entry is looked at again. The CPU is offered whenever the locks were dropped. Needs mmap_lock of both for writing.
    """
    child = dst.vm_mm
    copy = pte_alloc(child, start)
    if copy is None:
        return ENOMEM
    rss: dict[str, int] = {}
    spare: Folio | None = None
    address = start
    result = 0
    while address < end and result == 0:
        # The child's first, then the parent's as a subclass. Nobody else takes these two together.
        copy.ptl.lock()
        table.ptl.lock(SINGLE_DEPTH_NESTING)
        while address < end:
            pte = ptep_get(table, address)
            if pte is not None:
                if isinstance(pte, Present):
                    member = _copy_present_pte(dst, src, table, copy, address)
                elif isinstance(pte, Migration):
                    member = _copy_migration_pte(dst, src, table, copy, address, pte)
                elif isinstance(pte, Swap):
                    member = _copy_swap_pte(dst, src.vm_mm, table, copy, address, pte)
                else:
                    if userfaultfd_wp(dst):
                        set_pte(copy, address, pte)
                    address += PAGE_SIZE
                    continue
                if member is None and spare is not None and isinstance(pte, Present):
                    member = _copy_pinned_page(dst, copy, address, pte, spare)
                    spare = None
                if member is None:
                    break
                if member:
                    rss[member] = rss.get(member, 0) + 1
                trace("copy_pte", mm=child.name, addr=hex(address), pte=pte)
            address += PAGE_SIZE
        table.ptl.unlock()
        copy.ptl.unlock()
        # The only place where fork can be left without a preemption, and so where a fault meets it that need
        # not wait for mmap_lock (fork-without-vma-locks, Z19).
        cond_resched()
        if address < end:
            # Without locks; mmap_lock does not keep migration and reclaim from the entry meanwhile, hence the
            # look anew.
            spare = alloc_folio(child.memory)
            result = ENOMEM if spare is None else 0
    if spare is not None:
        folio_put(child.memory, spare)
    # Counted at the end, as v6.1 adds up for each table: nobody reads these counters to decide anything.
    for member, value in rss.items():
        add_mm_counter(child, member, value)
    return result


def _inherited(dst: VmArea, bits: int) -> int:
    """The bits that the child's entry gets: a protection goes with the registration of its VMA, for nobody else would
    take it away again.
    """
    return bits & ~PTE_UFFD_WP if bits & PTE_UFFD_WP and not userfaultfd_wp(dst) else bits


def _copy_pinned_page(dst: VmArea, copy: PageTable, address: int, pte: Present, new: Folio) -> str:
    """Give the child a copy of a pinned page; needs both page-table locks. Kernel: copy_present_page()."""
    new.token = READ_ONCE(dst.vm_mm.memory.mem_map[pte.pfn], "token")
    folio_add_new_anon_rmap(new, dst, address)
    new.lru = True
    bits = dst.vm_page_prot | maybe_mkwrite(dst) | PTE_DIRTY
    if userfaultfd_pte_wp(dst, pte):
        bits = bits & ~PTE_WRITE | PTE_UFFD_WP
    set_pte(copy, address, mk_pte(new, bits))
    return MM_ANONPAGES


def _copy_present_pte(
    dst: VmArea, src: VmArea, table: PageTable, copy: PageTable, address: int
) -> str | None:
    """The counter that the child's entry is in, "" for the zero page; None if the page is pinned, and must be copied at
    once.

    The child's entry of a shared page is clean: whoever stored to it has the dirty bit. Needs both page-table locks.
    """
    pte = ptep_get(table, address)
    assert isinstance(pte, Present)
    folio = vm_normal_page(src.vm_mm.memory, pte)
    if folio is not None:
        # A pinned page may be written to by its frame at any time. Were it shared, the next store of the
        # parent would go to a copy, and a device's to the old page.
        if folio.anon_exclusive and folio_maybe_dma_pinned(folio):
            return None
        # Reference and count before the child's entry is there.
        folio_get(folio)
        folio_dup_rmap(folio)
    shared = bool(pte.bits & (PTE_WRITE | PTE_DIRTY) and src.vm_flags & VM_SHARED)
    if pte.write and not shared:
        # In one step, since the processor may set the dirty bit just now. The flush comes once, at the end of
        # the fork.
        pte = ptep_set_wrprotect(table, address)
        assert isinstance(pte, Present)
        pte = pte.lacking(PTE_WRITE)
    bits = pte.bits & ~(PTE_YOUNG | PTE_DIRTY if shared else PTE_YOUNG)
    set_pte(copy, address, Present(pte.pfn, pte.generation, _inherited(dst, bits)))
    return "" if folio is None else mm_counter(folio)


def _copy_migration_pte(
    dst: VmArea, src: VmArea, table: PageTable, copy: PageTable, address: int, pte: Migration
) -> str:
    """Both entries of a private page become read-only and shared. Needs both page-table locks."""
    folio = pfn_swap_entry_to_page(src.vm_mm.memory, pte)
    if pte.bits & (PTE_WRITE | PTE_SWP_EXCLUSIVE) and not src.vm_flags & VM_SHARED:
        pte = Migration(pte.pfn, pte.generation, pte.bits & ~(PTE_WRITE | PTE_SWP_EXCLUSIVE))
        # The parent's as well: the second walk of the migration makes both entries out of what stands there,
        # and would make the parent's writable and exclusive again.
        set_pte(table, address, pte)
    set_pte(copy, address, Migration(pte.pfn, pte.generation, _inherited(dst, pte.bits)))
    return mm_counter(folio)


def _copy_swap_pte(
    dst: VmArea, mm: MmStruct, table: PageTable, copy: PageTable, address: int, pte: Swap
) -> str:
    """Both entries name the slot, and the page is exclusive to neither. Needs both page-table locks."""
    area = mm.memory.swap
    assert area is not None
    # Slot and list before the entry: as long as it stands there the slot is counted, and swapoff finds the
    # child.
    swap_duplicate(area.slots[pte.slot])
    mmlist_add(dst.vm_mm, behind=mm)
    if pte.bits & PTE_SWP_EXCLUSIVE:
        pte = Swap(pte.slot, pte.bits & ~PTE_SWP_EXCLUSIVE)
        set_pte(table, address, pte)
    set_pte(copy, address, Swap(pte.slot, _inherited(dst, pte.bits)))
    return MM_SWAPENTS
