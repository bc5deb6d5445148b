"""The two that have huge pages made of small ones: khugepaged by and by, and MADV_COLLAPSE at once. Kernel:
mm/khugepaged.c, v6.1.

Both look at the small pages under mmap_lock for reading and the lock of the page table
(`hpage_collapse_scan_pmd`). If they are fit, mmap_lock is given back for as long as it takes to get a huge page,
and all is looked at anew (`vm.huge.khugepaged.collapse_huge_page`). So a caller that goes on afterwards has no
VMA any more: it looks the VMA up again, and takes no more of it than it was asked for.

Simpler here: what is swapped out or being moved is not waited for, and no page is left alone because it is old.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, trace
from sugarbush.vm.frames import pmdp_get, ptep_get, userfaultfd_wp, vm_normal_page
from sugarbush.vm.huge.collapse_control import (
    GOES_ON,
    KHUGEPAGED,
    MADVISE,
    CollapseControl,
    Scan,
    madvise_collapse_errno,
)
from sugarbush.vm.huge.khugepaged import (
    collapse_huge_page,
    find_pmd_or_thp_or_none,
    hugepage_vma_check,
    hugepage_vma_revalidate,
    may_be_hole,
)
from sugarbush.vm.objects import (
    EINVAL,
    PAGE_SIZE,
    PTE_UFFD_WP,
    MmStruct,
    PageTable,
    Present,
    Swap,
    VmArea,
    folio_test_anon,
    folio_test_locked,
)
from sugarbush.vm.spaces import mmap_read_lock, mmap_read_unlock


def hpage_collapse_scan_pmd(mm: MmStruct, vma: VmArea, start: int, cc: CollapseControl) -> tuple[Scan, bool]:
    """Look at the small pages at `start` and make a huge one of them, if they are fit; and whether mmap_lock is
    still held. Needs mmap_lock for reading, and gives it back before it tries.
    """
    result = find_pmd_or_thp_or_none(mm, start)
    table = pmdp_get(mm, start) if result is Scan.SUCCEED else None
    if result is Scan.SUCCEED:
        # It is looked at again: a fault may have mapped a huge page meanwhile (pte_offset_map_lock() of v6.5).
        result = _scan_ptes(vma, table, start, cc) if isinstance(table, PageTable) else Scan.PMD_NULL
    if result is not Scan.SUCCEED:
        return result, True
    mmap_read_unlock(mm)
    return collapse_huge_page(mm, start, cc), False


def _scan_ptes(vma: VmArea, table: PageTable, start: int, cc: CollapseControl) -> Scan:
    """Whether the small pages of the table are fit. Takes the lock of the table; needs mmap_lock."""
    mm = vma.vm_mm
    holes, writable, pages = 0, False, mm.memory.ptrs_per_pte
    with table.ptl:
        for address in range(start, start + mm.pmd_size, PAGE_SIZE):
            pte = ptep_get(table, address)
            if may_be_hole(pte):
                holes += 1
                if userfaultfd_wp(vma) or not cc.permits_holes(holes, pages):
                    return Scan.EXCEED_NONE_PTE
                continue
            # Neither brought back nor waited for here; v6.1 brings back a few from swap.
            if not isinstance(pte, Present):
                armed = isinstance(pte, Swap) and pte.bits & PTE_UFFD_WP
                return Scan.PTE_UFFD_WP if armed else Scan.PTE_NON_PRESENT
            if pte.bits & PTE_UFFD_WP:
                return Scan.PTE_UFFD_WP
            writable |= pte.write
            page = vm_normal_page(mm.memory, pte)
            assert page is not None
            if page.head.order or page.head is not page:
                return Scan.PAGE_COMPOUND
            if not READ_ONCE(page, "lru"):
                return Scan.PAGE_LRU
            if folio_test_locked(page):
                return Scan.PAGE_LOCK
            if not folio_test_anon(page):
                return Scan.PAGE_ANON
            # A task that has a reference may go on using the small page when it is not mapped any more.
            # Looked at once more when the page is isolated: that look decides, this one saves the trouble.
            if READ_ONCE(page, "refcount") != 1:
                return Scan.PAGE_COUNT
    # All read-only: probably shared since a fork, so a huge copy would be one page more, not one less.
    return Scan.SUCCEED if writable else Scan.PAGE_RO


def madvise_collapse(vma: VmArea, _prev: VmArea | None, start: int, end: int) -> VmArea | int | None:
    """Make huge pages of all of ``[start, end)`` of `vma` that can be; the VMA, None if mmap_lock was given
    back and taken again, or an error. Needs mmap_lock for reading.

    While it was given back anything may have happened to the VMA: each further round looks it up. It may even
    be longer than before, but no more of it was asked for than up to `end`.
    """
    mm, size = vma.vm_mm, vma.vm_mm.pmd_size
    if not hugepage_vma_check(vma, MADVISE):
        return EINVAL
    # Rounded inwards: what was not asked for is left as it is.
    first, last = -(-start // size) * size, end & -size
    made, failed, held, dropped = 0, Scan.FAIL, True, False
    address = first
    while address < last:
        if not held:
            mmap_read_lock(mm)
            held = True
            again = hugepage_vma_revalidate(mm, address, MADVISE)
            if again is None:
                failed = Scan.VMA_CHECK
                break
            vma = again
            last = limit_of_collapse(vma, last)
        result, held = hpage_collapse_scan_pmd(mm, vma, address, MADVISE)
        dropped |= not held
        if result in (Scan.SUCCEED, Scan.PMD_MAPPED):
            made += 1
        else:
            failed = result
            if result not in GOES_ON:
                break
        address += size
    if not held:
        mmap_read_lock(mm)
    trace("madvise_collapse", mm=mm.name, start=hex(start), end=hex(end), made=made)
    if made != (last - first) // size:
        return madvise_collapse_errno(failed)
    return None if dropped else vma


def limit_of_collapse(vma: VmArea, last: int) -> int:
    """Up to where to go on in the VMA as it is now: not beyond its end, nor beyond what was asked for. Needs
    mmap_lock.
    """
    # `last` only ever comes down: the VMA may have grown while mmap_lock was away (52dc031088f0).
    return min(last, vma.vm_end & -vma.vm_mm.pmd_size)


def khugepaged_scan_mm_slot(mm: MmStruct) -> int:
    """One visit of khugepaged to an address space: the first place that is fit becomes a huge page; gives how
    many did.

    mmap_lock is only tried, and given back as soon as something was made: then the VMAs may be others.
    """
    # A daemon must not hold up the process: it passes this address space over, and comes back some other
    # time.
    if not mm.mmap_lock.down_read_trylock():
        return 0
    size = mm.pmd_size
    walk = mm.mm_mt.cursor()
    while not mm.ended and (vma := walk.find()) is not None:
        if not hugepage_vma_check(vma, KHUGEPAGED):
            continue
        for address in range(-(-vma.vm_start // size) * size, vma.vm_end & -size, size):
            result, held = hpage_collapse_scan_pmd(mm, vma, address, KHUGEPAGED)
            if not held:
                return int(result is Scan.SUCCEED)
    mmap_read_unlock(mm)
    return 0
